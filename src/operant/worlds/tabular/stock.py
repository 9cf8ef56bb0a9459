"""Finite MDPs whose states also say what was gained so far: what is needed where not the mean of the return counts but its distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.worlds.tabular.mdp import FiniteMDP

MOST = 4_096  # states
CLOSE = 1e-9  # of a reward to a multiple


@dataclass(frozen=True)
class StockMDP(FiniteMDP):
    """A finite MDP with a horizon whose states are (state, stock): see `stocked`.

    Attributes:
        base: the MDP without.
        spacing: the unit of the stock.
        state, stock: `[K']` int64, of each state those of `base` and how many units were gained before.
        low, high: no return is below or above so many units; 0 is between.
    """

    base: FiniteMDP | None = None
    spacing: float = 1.0
    state: Tensor | None = None
    stock: Tensor | None = None
    low: int = 0
    high: int = 0

    def to(self, device: torch.device) -> StockMDP:
        """The same on a device."""
        return replace(super().to(device), base=self.base.to(device))

    @property
    def units(self) -> Tensor:
        """What each pair of `base` pays, in units: `[K, A]` int64."""
        return (self.base.reward[0, 0] / self.spacing).round().long()

    def returns(self, policy: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution of the return of a policy `[S, H, K', A]`, exact: the values in units `[F]` int64, from the smallest on, and their probabilities
        `[S, F]`."""
        last = self.occupancy(policy)[:, -1]
        total = (self.stock.unsqueeze(-1) + self.units[self.state]).flatten()
        low, high = int(total.min()), int(total.max())
        chance = last.new_zeros(len(last), high - low + 1)
        return torch.arange(low, high + 1, device=total.device), chance.index_add(1, total - low, last.flatten(1))


def stocked(mdp: FiniteMDP, spacing: float) -> StockMDP:
    """A finite MDP with a horizon as one whose states say what was gained, in units of `spacing`: exact, for every reward is a multiple of it.

    Raises:
        BadInput: no horizon, rewards that are drawn, hang on the step or on the seed, or are no multiples, more states than `MOST`.
    """
    if mdp.horizon is None:
        raise BadInput("what is gained counts to the end of an episode: give a --horizon, as in --horizon 10")
    if len(mdp.reward) > 1 or mdp.bernoulli or mdp.reward.shape[1] > 1 or mdp.transition.shape[1] > 1:
        raise BadInput("--stock is of tasks whose rewards are the same for all seeds and steps, and not drawn: take one, such as tabular:risky")
    units = (mdp.reward / spacing).round()
    if (off := (units * spacing - mdp.reward).abs() > CLOSE).any():
        raise BadInput(f"--stock {spacing:g}: a reward is {mdp.reward[off][0].item():g}, which is no multiple of it")
    pays, leads = units[0, 0].long().tolist(), (mdp.transition[:, 0] > 0).any(0).tolist()
    moves = [[(pays[state][action], leads[state][action]) for action in range(mdp.actions)] for state in range(mdp.states)]
    there = {(state, 0) for state in range(mdp.states) if mdp.initial[:, state].any()}
    known = set(there)
    for _ in range(mdp.horizon - 1):
        there = {(following, gained + paid) for state, gained in there for paid, may in moves[state] for following in range(mdp.states) if may[following]}
        known |= there
        if len(known) > MOST:
            raise BadInput(f"--stock {spacing:g}: states and stocks are more than {MOST:,}: take a larger one, or a shorter horizon")
    pairs = sorted(known, key=lambda pair: (pair[1], pair[0]))
    place = {pair: number for number, pair in enumerate(pairs)}
    transition = mdp.transition.new_zeros(len(mdp.transition), len(pairs), mdp.actions, len(pairs))
    for number, (state, gained) in enumerate(pairs):
        for action, (paid, may) in enumerate(moves[state]):
            for following in range(mdp.states):
                if may[following]:  # what can be reached behind the last step alone is no state: it stays
                    chance = mdp.transition[:, 0, state, action, following]
                    transition[:, number, action, place.get((following, gained + paid), number)] += chance
    state, stock = (torch.tensor(column) for column in zip(*pairs, strict=True))
    initial = torch.where(stock == 0, mdp.initial[:, state], 0.0)
    tables = (transition.unsqueeze(1), mdp.reward[:, :, state], initial)
    ends = [mdp.horizon * end for end in (min(0, *map(min, pays)), max(0, *map(max, pays)))]
    return StockMDP(*tables, 1.0, mdp.horizon, base=mdp, spacing=spacing, state=state, stock=stock, low=ends[0], high=ends[1])
