"""What a planner has lost by what it played: the regret of its policies, computed and not estimated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from operant import ops
from operant.worlds.tabular.mdp import FiniteMDP

CLOSE = 1.1  # episodes at a point of the curve, as a multiple of those at the point before
FITTED = 100  # the exponent is of the newest points, whose episodes are within this factor of each other
FEWEST = 8  # points that a line is fitted to


class Regret:
    """Σ over the episodes that were played of V* − V^π at the first state, π being the policy that played (Auer, Jaksch and Ortner 2008 and many since).

    Of adversarial MDPs, in hindsight: the largest Σ over these episodes that one policy has, less Σ V^π (Auer et al. 2002, section 2). It is below 0 where what
    played was better than any one policy.

    Attributes:
        episodes: that each seed has played.
    """

    def __init__(self, mdp: FiniteMDP, seeds: int):
        self._mdp, self._hindsight = mdp, mdp.rounds is not None
        self._best = mdp.start_value(mdp.optimum[0])
        self.episodes, self._lost = 0, self._best.new_zeros(seeds)  # of Σ V* − V^π; in hindsight of Σ −V^π
        self._points: list[int] = []
        self._curve: list[Tensor] = []

    @property
    def total(self) -> Tensor:
        """`[S]`, the regret of all episodes. No host read happens here."""
        if not self._hindsight or not self.episodes:
            return self._lost
        mdp = self._mdp
        value, _ = ops.horizon_optimum(mdp.over(0, self.episodes), mdp.transition, horizon=mdp.horizon, discount=mdp.discount)
        return self._lost + mdp.start_value(value)

    def add(self, policy: Tensor, count: int) -> None:
        """So many episodes were played by a policy `[S, H, K, A]`. No host read happens here."""
        if self._hindsight:
            gained = self._mdp.value(policy, self._mdp.over(self.episodes, count))
            self._lost = self._lost - self._mdp.start_value(gained)
        else:
            self._lost = self._lost + count * (self._best - self._mdp.start_value(self._mdp.value(policy)))
        self.episodes += count
        if not self._points or self.episodes >= CLOSE * self._points[-1]:
            self._points.append(self.episodes)
            self._curve.append(self.total)

    def exponent(self) -> Tensor:
        """The slope of log regret against log episodes, `[S]`: 1 where nothing is learned, 1/2 of a regret that grows as the root, towards 0 of one that
        stops. NaN before there are enough points, and where a seed has lost nothing."""
        new = [place for place, episodes in enumerate(self._points) if episodes * FITTED >= self.episodes]
        if len(new) < FEWEST:
            return torch.full_like(self._lost, torch.nan)
        episodes = torch.tensor([self._points[place] for place in new], dtype=self._lost.dtype, device=self._lost.device)
        return ops.log_log_slope(episodes, torch.stack([self._curve[place] for place in new], -1))

    def state_dict(self) -> dict[str, Any]:
        curve = torch.stack(self._curve) if self._curve else self._lost.new_zeros(0, len(self._lost))
        return {"episodes": self.episodes, "total": self._lost, "points": list(self._points), "curve": curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self._lost.device
        self.episodes, self._lost, self._points = state["episodes"], state["total"].to(device), list(state["points"])
        self._curve = list(state["curve"].to(device)) if self._points else []
