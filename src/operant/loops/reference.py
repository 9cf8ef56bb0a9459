"""The policy that a KL term holds on to: kept, set anew on a schedule, or a moving average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.nets.policy import TrainedPolicy


@dataclass(frozen=True)
class Reference:
    """How the reference policy comes about. It begins as the policy that training starts from.

    Attributes:
        kind: "frozen" keeps it; "reset" sets it to the trained policy at certain iterations and empties the optimiser's moments (ProRL, arXiv:2505.24864);
            "average" lets it follow, reference ← decay · reference + (1 − decay) · policy, after every iteration.
        every: iterations between two resets, 0 for none on a schedule.
        patience: iterations without a higher mean reward (its moving average over about ten iterations) after which it is reset, 0 for never. Each seed is
            judged by its own.
        decay: of the average, 0 to 1.
    """

    kind: Literal["frozen", "reset", "average"] = "frozen"
    every: int = 0
    patience: int = 0
    decay: float = 0.99

    def __post_init__(self) -> None:
        if self.kind == "reset" and not (self.every > 0 or self.patience > 0):
            raise BadInput("reference: kind reset needs every or patience above 0; for example every=50")
        if not 0 <= self.decay <= 1:
            raise BadInput(f"reference: decay={self.decay} is outside [0, 1]; nearest: {min(max(self.decay, 0.0), 1.0)}")


SMOOTHING = 0.9  # of the mean reward by which `patience` judges


class ReferencePolicy:
    """The reference at work.

    Args:
        plan: how it comes about.
        policy: the policy that training starts from.
        seeds: S; of more than one, every parameter has S as its first axis.
    """

    def __init__(self, plan: Reference, policy: TrainedPolicy, seeds: int):
        self.plan = plan
        self.policy = policy.make_reference() if plan.kind == "frozen" else TrainedPolicy.make_reference(policy)  # one that moves has weights of its own
        self._smooth: Tensor | None = None  # [S], as those that follow
        self._best = torch.full((seeds,), -torch.inf, dtype=torch.float64)
        self._since = torch.zeros(seeds, dtype=torch.int64)

    @torch.no_grad()
    def follow(self, policy: TrainedPolicy, iteration: int, reward: Tensor) -> Tensor:
        """Look at the policy after an iteration, counted from 1, and its seeds' mean rewards `[S]`; for which seeds the reference was reset, bool `[S]`.

        A reward that is NaN, of an iteration without one that was scored, leaves the mean as it is.
        """
        plan = self.plan
        if plan.kind == "average":
            for mine, theirs in zip(self.policy.parameters(), policy.parameters(), strict=True):
                mine.lerp_(theirs, 1 - plan.decay)
        if plan.kind != "reset":
            return torch.zeros_like(reward, dtype=torch.bool)
        before = reward.double() if self._smooth is None else self._smooth
        moved = SMOOTHING * before + (1 - SMOOTHING) * reward.double()
        self._smooth = torch.where(reward.isnan(), before, torch.where(before.isnan(), reward.double(), moved))
        higher = self._smooth > self._best + 1e-9
        self._best = torch.where(higher, self._smooth, self._best)
        self._since = torch.where(higher, 0, self._since + 1)
        due = (self._since >= plan.patience) if plan.patience > 0 else torch.zeros_like(higher)
        if plan.every > 0 and iteration % plan.every == 0:
            due = torch.ones_like(higher)
        if due.all():
            self.policy.load_state_dict(policy.state_dict())
        elif due.any():
            theirs = policy.state_dict()
            for name, mine in self.policy.state_dict().items():
                mine[due] = theirs[name][due]
        self._since[due] = 0
        return due

    def state_dict(self) -> dict[str, Any]:
        policy = None if self.policy.shares_weights else dict(self.policy.state_dict())
        return {"policy": policy, "smooth": self._smooth, "best": self._best, "since": self._since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["policy"] is not None:
            self.policy.load_state_dict(state["policy"])
        self._smooth, self._best, self._since = state["smooth"], state["best"], state["since"]
