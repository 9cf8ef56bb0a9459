"""What a planner has lost by what it played, the regret of its policies, and what its policy can lose in a game: computed and not estimated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from operant import ops
from operant.worlds.tabular.games import FiniteGame
from operant.worlds.tabular.mdp import FiniteMDP

CLOSE = 1.1  # episodes at a point of the curve, as a multiple of those at the point before
FITTED = 100  # the exponent is of the newest points, whose episodes are within this factor of each other
FEWEST = 8  # points that a line is fitted to


class Curve:
    """Figures of every seed against a count that grows, at points that are ever farther apart."""

    def __init__(self) -> None:
        self._points: list[int] = []
        self._values: list[Tensor] = []

    def due(self, count: int) -> bool:
        """Whether the next point is here."""
        return not self._points or count >= CLOSE * self._points[-1]

    def add(self, count: int, values: Tensor) -> None:
        """`values` are `[S]`."""
        self._points.append(count)
        self._values.append(values)

    def exponent(self, count: int) -> Tensor | None:
        """The slope of log values against log counts over the newest factor of `FITTED` before `count`, `[S]`; None before there are enough points, and NaN
        where a value is not above 0."""
        new = [place for place, at in enumerate(self._points) if at * FITTED >= count]
        if len(new) < FEWEST:
            return None
        values = torch.stack([self._values[place] for place in new], -1)
        return ops.log_log_slope(torch.tensor([self._points[place] for place in new], dtype=values.dtype, device=values.device), values)

    def state_dict(self) -> dict[str, Any]:
        return {"points": list(self._points), "curve": torch.stack(self._values) if self._values else torch.zeros(0, 0)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._points = list(state["points"])
        self._values = list(state["curve"].to(device)) if self._points else []


class Exploitability:
    """How exploitable a planner's policy was after so many iterations, of finite games (see `FiniteGame.exploitability`).

    Attributes:
        iterations: that are done.
    """

    def __init__(self, game: FiniteGame, seeds: int):
        self._game, self._curve, self._seeds = game, Curve(), seeds
        self.iterations = 0

    def add(self, policy: Tensor) -> None:
        """One more iteration led to a policy `[S, I, A]`. No host read happens here."""
        self.iterations += 1
        if self._curve.due(self.iterations):
            self._curve.add(self.iterations, self._game.exploitability(policy))

    def exponent(self) -> Tensor:
        """The slope of log exploitability against log iterations, `[S]`: -1/2 where it falls as one over the root. NaN before there are enough points, and
        where an equilibrium was reached."""
        found = self._curve.exponent(self.iterations)
        return self._game.payoff.new_full((self._seeds,), torch.nan) if found is None else found

    def state_dict(self) -> dict[str, Any]:
        return {"iterations": self.iterations} | self._curve.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.iterations = state["iterations"]
        self._curve.load_state_dict(state, self._game.payoff.device)


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
        self._curve = Curve()

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
        if self._curve.due(self.episodes):
            self._curve.add(self.episodes, self.total)

    def exponent(self) -> Tensor:
        """The slope of log regret against log episodes, `[S]`: 1 where nothing is learned, 1/2 of a regret that grows as the root, towards 0 of one that
        stops. NaN before there are enough points, and where a seed has lost nothing."""
        found = self._curve.exponent(self.episodes)
        return torch.full_like(self._lost, torch.nan) if found is None else found

    def state_dict(self) -> dict[str, Any]:
        return {"episodes": self.episodes, "total": self._lost} | self._curve.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self._lost.device
        self.episodes, self._lost = state["episodes"], state["total"].to(device)
        self._curve.load_state_dict(state, device)
