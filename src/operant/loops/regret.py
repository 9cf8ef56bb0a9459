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

    Attributes:
        episodes: that each seed has played.
        total: `[S]`, the regret of them.
    """

    def __init__(self, mdp: FiniteMDP, seeds: int):
        self._mdp = mdp
        self._best = mdp.start_value(mdp.optimum[0])
        self.episodes, self.total = 0, self._best.new_zeros(seeds)
        self._points: list[int] = []
        self._curve: list[Tensor] = []

    def add(self, policy: Tensor, count: int) -> None:
        """So many episodes were played by a policy `[S, H, K, A]`. No host read happens here."""
        self.total = self.total + count * (self._best - self._mdp.start_value(self._mdp.value(policy)))
        self.episodes += count
        if not self._points or self.episodes >= CLOSE * self._points[-1]:
            self._points.append(self.episodes)
            self._curve.append(self.total)

    def exponent(self) -> Tensor:
        """The slope of log regret against log episodes, `[S]`: 1 where nothing is learned, 1/2 of a regret that grows as the root, towards 0 of one that
        stops. NaN before there are enough points, and where a seed has lost nothing."""
        new = [place for place, episodes in enumerate(self._points) if episodes * FITTED >= self.episodes]
        if len(new) < FEWEST:
            return torch.full_like(self.total, torch.nan)
        episodes = torch.tensor([self._points[place] for place in new], dtype=self.total.dtype, device=self.total.device)
        return ops.log_log_slope(episodes, torch.stack([self._curve[place] for place in new], -1))

    def state_dict(self) -> dict[str, Any]:
        curve = torch.stack(self._curve) if self._curve else self.total.new_zeros(0, len(self.total))
        return {"episodes": self.episodes, "total": self.total, "points": list(self._points), "curve": curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self.total.device
        self.episodes, self.total, self._points = state["episodes"], state["total"].to(device), list(state["points"])
        self._curve = list(state["curve"].to(device)) if self._points else []
