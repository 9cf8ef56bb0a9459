"""Rewards made from rewards, before credit: callables `(rollout) → reward [S, N, T]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.core.status import Status
from operant.loops.terms import LOG_RATIO_ROUNDING


@dataclass(frozen=True)
class KLInReward:
    """`reward − coefficient · KL estimate` at every chosen step, the estimate being of the policy that acted against the reference (RLHF's token penalty).

    With k1, returns of these rewards give the gradient of the whole sequence's reverse KL; k2 and k3 in a reward are another penalty. A log-ratio within the
    rounding of two passes (1e-4 nats) costs nothing.
    """

    coefficient: float = 0.001
    estimator: Literal["k1", "k2", "k3"] = "k1"
    needs: ClassVar[frozenset[str]] = frozenset({"old_log_prob", "reference_log_prob"})

    def __call__(self, rollout: Rollout) -> Tensor:
        estimate = {"k1": ops.kl_k1, "k2": ops.kl_k2, "k3": ops.kl_k3}[self.estimator]
        acted, reference = rollout.extras["old_log_prob"], rollout.extras["reference_log_prob"]
        apart = (acted - reference).abs() > LOG_RATIO_ROUNDING  # before the first update the two are one policy
        penalty = estimate(acted, reference).masked_fill(~apart, 0.0)
        return rollout.reward - self.coefficient * penalty.masked_fill(~rollout.mask, 0.0)


@dataclass(frozen=True)
class OverlongPenalty:
    """Soft punishment of long answers (DAPO, arXiv:2503.14476, eq. 13), added to the reward: 0 up to `limit − buffer` tokens, then linear, to −1 at
    `limit`, the longest answer that the task allows.

    Args:
        buffer: last tokens before the limit in which the penalty grows, at least 1.
    """

    buffer: int
    needs: ClassVar[frozenset[str]] = frozenset({"limit"})

    def __post_init__(self) -> None:
        if self.buffer < 1:
            raise BadInput(f"overlong penalty: buffer={self.buffer} must be at least 1 token; nearest: 1")

    def __call__(self, rollout: Rollout) -> Tensor:
        length = rollout.extras.get("present", rollout.mask).sum(-1)
        return rollout.reward + on_last_step(rollout, ((rollout.extras["limit"] - self.buffer - length) / self.buffer).clamp(-1, 0))


def on_last_step(rollout: Rollout, score: Tensor) -> Tensor:
    """Rewards `[S, N, T]` with a row's score `[S, N]` on its last step, 0 for rows that are still being written."""
    return score.unsqueeze(-1).to(rollout.reward.dtype) * (rollout.terminated | rollout.truncated) * ~unfinished(rollout)


def unfinished(rollout: Rollout) -> Tensor:
    """Rows that are still being written, `[S, N, 1]`."""
    return rollout.extras.get("unfinished", torch.zeros_like(rollout.group, dtype=torch.bool)).unsqueeze(-1)


@dataclass(frozen=True)
class FlawPenalty:
    """Three levels of reward: right by sound steps, right by flawed ones, wrong (`ops.flaw_penalized_reward`). The task must have a check of steps."""

    penalty: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset({"sound"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return on_last_step(rollout, ops.flaw_penalized_reward(rollout.reward.sum(-1), rollout.extras["sound"], penalty=self.penalty))


@dataclass(frozen=True)
class CalibratedReward:
    """Correctness and the Brier score of the confidence that the answer states (`ops.calibrated_reward`). The task must have confidences."""

    needs: ClassVar[frozenset[str]] = frozenset({"confidence"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return on_last_step(rollout, ops.calibrated_reward((rollout.reward.sum(-1) > 0.5).to(rollout.reward.dtype), rollout.extras["confidence"]))


@dataclass(frozen=True)
class AnswerLikelihood:
    """How likely the policy finds the reference answer behind the row's own reasoning, in the place of a verifier's reward (`ops.answer_likelihood_reward`).

    The policy that judges is the present one, for the reasoning and for its absence alike.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"answer_probability", "answer_probability_alone"})

    def __call__(self, rollout: Rollout) -> Tensor:
        extras = rollout.extras
        return on_last_step(rollout, ops.answer_likelihood_reward(extras["answer_probability"], extras["answer_probability_alone"]))


class NoiseCorrection:
    """The reward of a noisy verifier, corrected for its rates of error (arXiv:2510.00915).

    With `appeals` above 0 the rate of false negatives is estimated as training goes: that share of the rejected answers is checked again by the task's own
    verifier, and nothing else of that check is used. The estimate is the exponential average (0.9) of each iteration's counts.

    Args:
        kind: "backward" gives a reward whose mean is the true one, "forward" the weight that needs the rate of false negatives alone.
        false_positive, false_negative: rates, their sum below 1; the second is where an estimate starts.
        appeals: share of rejected answers that are checked again, 0 to 1.
    """

    SMOOTHING = 0.9

    def __init__(self, kind: Literal["backward", "forward"], false_positive: float, false_negative: float, appeals: float = 0.0):
        self.kind, self.false_positive, self.start, self.appeals = kind, false_positive, false_negative, appeals
        self.needs = frozenset({"clean_score"}) if appeals else frozenset()
        self._counts: Tensor | None = None  # [S, 2]: false negatives and true positives, averaged
        self._generator = torch.Generator().manual_seed(0)

    def false_negative(self, seeds: int) -> Tensor:
        """The rate in use, `[S, 1]`."""
        if self._counts is None:
            return torch.full((seeds, 1), self.start, dtype=torch.float64)
        wrong, right = self._counts.unbind(-1)
        rate = torch.where(wrong + right > 0, wrong / (wrong + right).clamp(min=1e-9), self.start)
        return rate.clamp(0, 0.99 - self.false_positive).unsqueeze(-1)

    def __call__(self, rollout: Rollout) -> Tensor:
        verdict = rollout.reward.sum(-1)
        if self.appeals:
            self._estimate(rollout, verdict)
        rate = self.false_negative(len(verdict)).to(verdict)
        if self.kind == "backward":
            return on_last_step(rollout, ops.backward_corrected_reward(verdict, false_positive=self.false_positive, false_negative=rate))
        return on_last_step(rollout, ops.forward_corrected_weight(verdict, false_negative=rate))

    def _estimate(self, rollout: Rollout, verdict: Tensor) -> None:
        rejected = (verdict < 0.5) & (rollout.status == int(Status.OK))
        total = (rollout.status == int(Status.OK)).sum(-1).double()
        appealed = rejected & (torch.rand(verdict.shape, generator=self._generator).to(verdict.device) < self.appeals)
        overturned = (appealed & (rollout.extras["clean_score"] > 0.5)).sum(-1) / appealed.sum(-1).clamp(min=1)
        wrongly = overturned.double() * rejected.sum(-1)
        accepted = total - rejected.sum(-1)
        rightly = ((accepted - self.false_positive * (total - wrongly)) / (1 - self.false_positive)).clamp(min=0)
        counts = torch.stack([wrongly, rightly], -1).cpu()
        self._counts = counts if self._counts is None else self.SMOOTHING * self._counts + (1 - self.SMOOTHING) * counts

    def state_dict(self) -> dict:
        return {"counts": self._counts, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self._counts = state["counts"]
        self._generator.set_state(state["generator"])
