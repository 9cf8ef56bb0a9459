"""DAPO (Direct Advantage Policy Optimization): each step's log-ratio is fitted to its scaled advantage, which a critic of intermediate states gives.

Paper: Liu et al. 2024, arXiv:2412.18279 (not the DAPO of arXiv:2503.14476). States are a prompt and the steps so far. A critic learns the rate of success
from a state by cross-entropy with what Monte Carlo completions reached; several next steps of one state get A(s, a) = V(s + a) − V(s); the policy minimises
(A / beta − log π(a|s) / π_ref(a|s))² over them, a regression towards π_ref · exp(A / beta) to first order.
What differs from the paper: it collects once, fits the critic, and then trains offline; here every iteration is such a round in small, with π_ref the policy
that acted in it and `epochs` passes as its offline stage, and the first `critic_iterations` fit the critic alone. Critic and policy share no weights, but
one Adam and one clip. The critic's labels come from the same completions as the candidates. A step is `step_tokens` tokens. beta belongs to steps of that
length (the log-ratio is a sum over tokens). States whose completions all ended alike carry no signal and are left to the critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Passes, Positive, Range, method
from operant.core.status import Status
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.row_terms import row_log_ratio
from operant.loops.settings import UpdateSettings
from operant.loops.terms import TermBatch
from operant.nets.language import TokenCritic
from operant.worlds.next_steps import NextSteps


@dataclass(frozen=True)
class DirectAPO(UpdateSettings):
    prompts: Count = 16  # prompts an iteration, one state of each
    candidates: Annotated[int, Range(2)] = 4  # next steps a state
    completions: Count = 3  # Monte Carlo completions a next step
    step_tokens: Count = 2  # tokens of a step
    learning_rate: Positive = 1e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 2  # passes over each round's steps
    micro_batch: Annotated[int, Range(0)] = 64  # rows that go through the model at once, 0 for all; never changes the loss
    beta: Positive = 0.5  # divides advantages; the larger, the closer to the reference
    critic_iterations: Annotated[int, Range(0)] = 10  # first iterations, in which only the critic learns


@method("direct-apo", name="Direct APO", family="rlvr", paper="arXiv:2412.18279", worlds=("text", "sequences"))
def direct_apo(h: DirectAPO) -> PolicyGradient:
    return PolicyGradient(
        sample=NextSteps(h.prompts, h.candidates, h.completions, h.step_tokens),
        credit=step_advantage,
        mark=[success_of_states],
        focus=[undecided_states],
        terms=[StepRegression(h.beta, h.critic_iterations), SoftLabel()],
        policy=TokenCritic("model"),
        reduce="sequence-mean",
        **h.updates,
    )


@dataclass(frozen=True)
class Outcomes:
    """What a round's answers say of its states, `[S, N]` each.

    Attributes:
        candidate: the row is a next step that is learned from; completion: it is a completion of one that could be scored.
        worth: the rate of success behind a candidate, or its reward where it completes the answer.
        behind: the rate of success of the completions of each row; tried: it has some.
        parent: the row that each row branched from, -1 for none.
    """

    candidate: Tensor
    completion: Tensor
    worth: Tensor
    behind: Tensor
    tried: Tensor
    unfinished: Tensor
    parent: Tensor
    first: Tensor  # the first step of each row behind the state it branched from, `[S, N, T]`

    @classmethod
    def of(cls, rollout: Rollout) -> Outcomes:
        reward, candidate = rollout.reward.sum(-1), rollout.mask.any(-1)
        unfinished = rollout.extras.get("unfinished", torch.zeros_like(candidate))
        parent = torch.full_like(rollout.group, -1) if rollout.parent is None else rollout.parent
        completion = (rollout.status == int(Status.OK)) & rollout.extras["probe"] & (parent >= 0)
        behind, tried = rate_of_children(reward, completion, parent)
        place = torch.arange(rollout.shape[-1], device=parent.device)
        first = rollout.extras["present"] & (place == rollout.branch_at.unsqueeze(-1))
        return cls(candidate, completion, torch.where(unfinished, behind, reward), behind, tried, unfinished, parent, first)


def step_advantage(rollout: Rollout) -> Tensor:
    """The critic's A(s, a) = V(s + a) − V(s) of each candidate, at its steps, `[S, N, T]`. A candidate that completes the answer is worth its reward."""
    extras, mask, found = rollout.extras, rollout.mask, Outcomes.of(rollout)
    value = extras["value"].sigmoid()
    before = (value * (found.first & mask)).sum(-1)
    last = mask & (mask.cumsum(-1) == mask.sum(-1, keepdim=True))
    after = torch.where(found.unfinished, (extras["next_value"].sigmoid() * last).sum(-1), rollout.reward.sum(-1))
    return (after - before).unsqueeze(-1) * mask


def success_of_states(rollout: Rollout) -> dict[str, Tensor]:
    """For focus, "success" `[S, N]`: the rate of success from the state of each candidate. For the critic, "label" `[S, N, T]` and where it holds, "states":

    at a candidate's first step the rate of success from its state, at the first step of its first completion that from behind it.
    """
    found = Outcomes.of(rollout)
    parent, place = found.parent, found.parent.clamp(min=0)
    success, _ = rate_of_children(found.worth, found.candidate & (found.tried | ~found.unfinished), parent)
    success = success.gather(1, place)  # of the row that the state was taken from, at each of its candidates
    leads = found.completion & torch.cat([torch.ones_like(parent[:, :1], dtype=torch.bool), parent[:, 1:] != parent[:, :-1]], 1)
    states = found.first & (found.candidate | leads).unsqueeze(-1)
    label = torch.where(found.candidate, success, found.behind.gather(1, place)).unsqueeze(-1) * states
    return {"success": success, "states": states, "label": label}


step_advantage.needs = frozenset({"value"})


def rate_of_children(x: Tensor, among: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
    """(mean of `x [S, N]` over the rows `among` whose parent each row is, 0 where none is; whether any is), `[S, N]` each."""
    place = parent.clamp(min=0)
    total = torch.zeros_like(x).scatter_add(1, place, x * among)
    count = torch.zeros_like(x).scatter_add(1, place, among.to(x.dtype))
    return total / count.clamp(min=1), count > 0


def undecided_states(rollout: Rollout) -> Tensor:
    """Steps of candidates whose state led to right and to wrong answers, `[S, N, T]`."""
    success = rollout.extras["success"].unsqueeze(-1)
    return rollout.mask & (success > 0) & (success < 1)


@dataclass(frozen=True)
class StepRegression:
    """`(A / beta − log-ratio)²` of each candidate step, its tokens together, the same at each of them; 0 in the first iterations."""

    beta: float
    critic_iterations: int
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()
    weighed: ClassVar[str] = "never"  # the advantage is what the log-ratio is fitted to

    def __call__(self, batch: TermBatch) -> Tensor:
        mask = batch.mask
        advantage = ops.row_mean(batch.advantage, mask).squeeze(-1)
        loss = ops.log_ratio_regression_loss(row_log_ratio(batch), advantage, beta=self.beta) * (batch.iteration >= self.critic_iterations)
        return loss.unsqueeze(-1).expand(mask.shape)


@dataclass(frozen=True)
class SoftLabel:
    """Cross-entropy of the critic's logit with the rate of success, at the states where there is one."""

    name: ClassVar[str] = "critic"
    over: ClassVar[str] = "states"
    needs: ClassVar[frozenset[str]] = frozenset({"value", "label"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return functional.binary_cross_entropy_with_logits(batch.value, batch["label"].to(batch.value.dtype), reduction="none")
