"""Finite partly observed MDPs, and the finite MDPs over histories that they unroll to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.worlds.tabular.linear_program import maximum
from operant.worlds.tabular.mdp import ROUNDING, FiniteMDP, Played, drawn

MOST = 4_096  # histories: the transitions between them are a table


@dataclass(frozen=True)
class FinitePOMDP:
    """S finite POMDPs of the same size: a seed each, or one that all seeds share (S = 1, which broadcasts).

    At each step the hidden state l shows an observation o with probability Z(o|l), an action a is taken that pays r(l, a) on average, and the next hidden state
    is drawn. What is paid is not shown: a reward that tells something has to be a part of the observation.

    Attributes:
        transition: `[S, H or 1, L, A, L]` float64, P(l'|l, a).
        emission: `[S, H or 1, L, O]` float64, Z(o|l).
        reward: `[S, H or 1, L, A]` float64, means.
        initial: `[S, L]` float64, the distribution of the first hidden state.
        horizon: H, steps of an episode.

    Raises:
        BadInput: a shape, a probability or a number that cannot be, with its place.
    """

    transition: Tensor
    emission: Tensor
    reward: Tensor
    initial: Tensor
    horizon: int

    def __post_init__(self):
        states, emission = self.revealed.states, self.emission
        if emission.ndim != 4 or emission.shape[2] != states or emission.shape[1] not in (1, self.horizon) or 0 in emission.shape:
            raise BadInput(f"finite POMDP: emission has shape {list(emission.shape)}, must be [S, 1 or {self.horizon}, {states}, O]")
        if not (emission >= 0).all() or (off := (emission.sum(-1) - 1).abs() > ROUNDING).any():
            place = [] if not (emission >= 0).all() else off.nonzero()[0].tolist()
            raise BadInput(f"finite POMDP: emission{place or ''} must be probabilities of observations, which sum to 1")

    @staticmethod
    def latent(weight: Tensor, transition: Tensor, reward: Tensor, initial: Tensor, horizon: int) -> FinitePOMDP:
        """A latent MDP (Kwon et al. 2021): which of M MDPs an episode is played in is drawn and hidden, its states are seen. Hidden state m · K + s.

        Args:
            weight: `[S, M]`, probabilities of the contexts.
            transition: `[S, M, K, A, K]`.
            reward: `[S, M, K, A]`.
            initial: `[S, M, K]`.
        """
        contexts, states, actions = reward.shape[1:]
        joint = transition.new_zeros(len(transition), contexts, states, actions, contexts, states)
        for context in range(contexts):
            joint[:, context, :, :, context] = transition[:, context]
        size = contexts * states
        seen = torch.eye(states, dtype=transition.dtype).repeat(contexts, 1)[None, None]
        first = (weight.unsqueeze(-1) * initial).flatten(1)
        return FinitePOMDP(joint.reshape(-1, 1, size, actions, size), seen, reward.reshape(-1, 1, size, actions), first, horizon)

    @cached_property
    def revealed(self) -> FiniteMDP:
        """The MDP of the hidden states: the same problem with nothing hidden."""
        return FiniteMDP(self.transition, self.reward, self.initial, 1.0, self.horizon)

    @property
    def seeds(self) -> int:
        """S: of one that all seeds share, 1."""
        return max(self.revealed.seeds, len(self.emission))

    @property
    def observations(self) -> int:
        """O."""
        return self.emission.shape[-1]

    @cached_property
    def contexts(self) -> int | None:
        """M of a latent MDP, whose hidden state is m · O + s: s is seen and m stays; None of others."""
        contexts, over = divmod(self.revealed.states, self.observations)
        if over:
            return None
        seen = torch.eye(self.observations, dtype=self.emission.dtype, device=self.emission.device).repeat(contexts, 1)
        context = torch.arange(self.revealed.states, device=seen.device) // self.observations
        leaves = self.transition.sum(-2) * (context.unsqueeze(-1) != context)
        return contexts if not leaves.any() and torch.equal(self.emission, seen.expand_as(self.emission)) else None

    @cached_property
    def largest_return(self) -> float:
        """The most that an episode can pay, whatever is drawn."""
        left = torch.zeros_like(self.initial)
        for step in reversed(range(self.horizon)):
            following = torch.where(at(self.transition, step) > 0, left[:, None, None], -torch.inf).amax(-1)
            left = (at(self.reward, step) + following).amax(-1)
        return torch.where(self.initial > 0, left, -torch.inf).max().item()

    def to(self, device: torch.device) -> FinitePOMDP:
        """The same on a device."""
        return replace(self, **{item.name: getattr(self, item.name).to(device) for item in fields(self) if item.name != "horizon"})

    def unrolled(self) -> HistoryMDP:
        """The finite MDP whose states are what was seen and done so far. Its optimum is the POMDP's: no memory is longer.

        Raises:
            BadInput: more histories than `MOST`.
        """
        histories = Histories.of(self)
        seeds, size, actions = self.seeds, len(histories.observation), self.revealed.actions
        transition = self.initial.new_zeros(seeds, size, actions, size + 1)
        where = histories.child.expand(seeds, -1, -1, -1)
        transition.scatter_add_(-1, where, histories.chance.expand(where.shape))
        transition = transition[..., :size]
        rest = 1 - transition.sum(-1)  # behind the last step, and of a seed that cannot have got there: it stays
        place = torch.arange(size, device=rest.device)
        transition[:, place, :, place] += torch.where(rest > ROUNDING, rest, 0.0).transpose(0, 1)
        reward = torch.cat([(histories.belief[:, here] @ at(self.reward, step)) for step, here in enumerate(histories.levels)], 1)
        initial = self.initial.new_zeros(seeds, size)
        first = histories.levels[0]
        initial[:, first] = torch.einsum("sl,slo->so", self.initial, at(self.emission, 0).expand(-1, -1, -1))[:, histories.observation[first]]
        return HistoryMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, self.horizon, pomdp=self, histories=histories)

    def revealing(self, steps: int = 1) -> Tensor:
        """How much the next observations reveal of a hidden state: alpha of the m-step alpha-revealing condition (arXiv:2302.01333), `[S]`, 0 of none.

        1 / alpha is the smallest norm of a left inverse of the matrix of probabilities of the next m observations given the hidden state; the smallest alpha of
        all steps of which so many observations are left counts, and at each step the hidden states that can be there. The norm takes sums of absolute values to
        such sums. Of m > 1 the paper's norm weighs the sequences of actions in between together; here the best sequence alone counts, which gives at most the
        paper's alpha.
        """
        found = [min(self._revealing(seed, step, steps) for step in range(self.horizon - steps + 1)) for seed in range(self.seeds)]
        return torch.tensor(found, dtype=torch.float64)

    def _revealing(self, seed: int, step: int, steps: int) -> float:
        """Of one seed and step."""
        tables = [table[min(seed, len(table) - 1)] for table in (self.transition, self.emission)]
        transition, emission = ([table[min(place, len(table) - 1)] for place in range(self.horizon)] for table in tables)
        there = self.initial[min(seed, len(self.initial) - 1)] > 0
        for before in range(step):
            there = (there.unsqueeze(-1) & (transition[before].sum(-2) > 0)).any(0)
        best = 0.0
        for sequence in product(range(self.revealed.actions), repeat=steps - 1):
            future = torch.ones(self.revealed.states, 1, dtype=torch.float64)  # of the observations from a step on, [L, …]
            for ahead in reversed(range(steps)):
                future = future if ahead == steps - 1 else transition[step + ahead][:, sequence[ahead]] @ future
                future = (emission[step + ahead].unsqueeze(-1) * future.unsqueeze(1)).flatten(1)
            best = max(best, _smallest_left_inverse(future[there].T.numpy()))
        return best


def _smallest_left_inverse(matrix: np.ndarray) -> float:
    """One over the smallest of the norms, largest column sum of absolute values, of the left inverses of a matrix `[O, L]`; 0 where there is none."""
    from scipy import sparse

    rows = np.unique(matrix, axis=0, return_inverse=True)
    if rows[0].shape[0] < len(matrix):  # observations that say the same are one
        matrix = np.stack([matrix[rows[1].ravel() == place].sum(0) for place in range(len(rows[0]))])
    shown, states = matrix.shape
    if np.linalg.matrix_rank(matrix) < states:
        return 0.0
    inverse = sparse.kron(sparse.identity(states), matrix.T)  # X in rows, X = plus - minus
    sums = sparse.kron(np.ones((1, states)), sparse.identity(shown))
    none = np.zeros((states * states, shown + 1))
    bounded = sparse.hstack([sums, sums, sparse.identity(shown), -np.ones((shown, 1))])
    equations = sparse.vstack([sparse.hstack([inverse, -inverse, none]), bounded], format="csr")
    gain = np.zeros(equations.shape[1])
    gain[-1] = -1.0
    solved = maximum(gain, equations, np.concatenate([np.eye(states).ravel(), np.zeros(shown)]))
    return 1 / solved[-1]


@dataclass(frozen=True)
class Histories:
    """All histories that can be, of all steps one behind the other. Where no action makes a difference to what comes next, none is remembered.

    Attributes:
        levels: of each step, where its histories stand.
        observation: `[K]` int64, the last one.
        parent: `[K]` int64, the history before, -1 at the first step; `action` `[K]` the action there, 0 where none is remembered.
        child: `[K, A, O]` int64, the history behind an action and an observation; K where there is none.
        chance: `[S, K, A, O]`, how likely it is.
        belief: `[S, K, L]`, of the hidden state at its step.
    """

    levels: tuple[slice, ...]
    observation: Tensor
    parent: Tensor
    action: Tensor
    child: Tensor
    chance: Tensor
    belief: Tensor

    @staticmethod
    def of(pomdp: FinitePOMDP) -> Histories:
        """Of a POMDP. Raises `BadInput` where there are more than `MOST`."""
        actions, shown, device = pomdp.revealed.actions, pomdp.observations, pomdp.initial.device
        transition, emission = pomdp.transition.expand(pomdp.seeds, -1, -1, -1, -1), pomdp.emission.expand(pomdp.seeds, -1, -1, -1)
        joint = torch.einsum("sl,slo->sol", pomdp.initial.expand(pomdp.seeds, -1), emission[:, 0])
        kept = joint.flatten(2).any(-1).any(0).nonzero().squeeze(-1)
        weight = joint[:, kept]
        observation, parent, action = kept, torch.full_like(kept, -1), torch.full_like(kept, -1)
        columns: dict[str, list[Tensor]] = {name: [] for name in ("observation", "parent", "action", "child", "chance", "belief")}
        levels, first = [], 0
        for step in range(pomdp.horizon):
            count = len(observation)
            if first + count > MOST:
                over = f"{first + count:,} after {step + 1} of {pomdp.horizon} steps"
                raise BadInput(f"finite POMDP: its histories are too many, {over}, there can be {MOST:,}: take a shorter horizon")
            belief = weight / weight.sum(-1, keepdim=True).clamp(min=1e-300)
            levels.append(slice(first, first + count))
            for name, column in (("observation", observation), ("parent", parent), ("action", action), ("belief", belief)):
                columns[name].append(column)
            child = torch.full((count, actions, shown), -1, device=device)
            chance = belief.new_zeros(pomdp.seeds, count, actions, shown)
            if step + 1 < pomdp.horizon:
                moves = at(transition, step)
                following = torch.einsum("snl,slaj,sjo->snaoj", belief, moves, at(emission, step + 1))
                chance = following.sum(-1)
                waits = ~(belief.any(0) & (moves != moves[:, :, :1]).any(-1).any(-1).any(0)).any(-1)  # no action makes a difference
                there = chance.any(0)
                there[waits, 1:] = False
                child[there] = first + count + torch.arange(int(there.sum()), device=device)
                child[waits] = child[waits, :1]
                before, action, observation = there.nonzero().unbind(-1)
                weight, parent = following[:, before, action, observation], first + before
            columns["child"].append(child)
            columns["chance"].append(chance)
            first += count
        whole = {name: torch.cat(parts, 1 if name in ("chance", "belief") else 0) for name, parts in columns.items()}
        return Histories(tuple(levels), **whole | {"child": whole["child"].masked_fill(whole["child"] < 0, first)})

    def to(self, device: torch.device) -> Histories:
        """The same on a device."""
        return replace(self, **{item.name: getattr(self, item.name).to(device) for item in fields(self) if item.name != "levels"})

    def text(self, place: int) -> str:
        """A history in words, `o0 a1 o2`: what was seen and done, in turn."""
        words = []
        while place >= 0:
            words[:0] = [f"a{self.action[place]}", f"o{self.observation[place]}"]
            place = int(self.parent[place])
        return " ".join(words[1:])


@dataclass(frozen=True)
class HistoryMDP(FiniteMDP):
    """A finite MDP over the histories of a POMDP, of which each belongs to a step: at other steps its value is 0. See `FinitePOMDP.unrolled`."""

    pomdp: FinitePOMDP | None = None
    histories: Histories | None = None

    def to(self, device: torch.device) -> HistoryMDP:
        return replace(super().to(device), pomdp=self.pomdp.to(device), histories=self.histories.to(device))

    def value(self, policy: Tensor) -> Tensor:
        return self._backwards(lambda step, here, q: (q * policy[:, step, here]).sum(-1), len(policy))

    @cached_property
    def optimum(self) -> tuple[Tensor, Tensor]:
        policy = self.reward.new_zeros(self.seeds, *self.shape)
        policy[..., 0] = 1

        def best(step: int, here: slice, q: Tensor) -> Tensor:
            policy[:, step, here] = ops.greedy_policy(q)
            return q.amax(-1)

        return self._backwards(best, self.seeds), policy

    def _backwards(self, decide: Any, seeds: int) -> Tensor:
        """Values `[S, H, K]` from the last step on; `decide(step, here, q [S, n, A]) → [S, n]`."""
        following, found = self.reward.new_zeros(seeds, self.states + 1), self.reward.new_zeros(seeds, self.horizon, self.states)
        for step in reversed(range(self.horizon)):
            here = self.histories.levels[step]
            q = self.reward[:, 0, here] + (self.histories.chance[:, here] * following[:, self.histories.child[here]]).sum(-1)
            found[:, step, here] = following[:, here] = decide(step, here, q)
        return found

    def play(self, policy: Tensor, count: int, streams: Streams, name: str = "episodes", first: int = 0) -> Played:
        """As of any finite MDP; what was hidden is drawn given all that was seen and done, from the last step on, and it pays the rewards: their means given
        the histories would tell what nothing shows."""
        played = super().play(policy, count, streams, name, first)
        seeds = len(played.action)
        draws = streams.uniform("hindsight", self.horizon, count).to(self.reward.dtype)
        row = torch.arange(seeds, device=draws.device).unsqueeze(-1)
        belief, transition, reward = (table.expand(seeds, *table.shape[1:]) for table in (self.histories.belief, self.pomdp.transition, self.pomdp.reward))
        hidden, paid = [], []
        for step in reversed(range(self.horizon)):
            action, weight = played.action[..., step], belief[row, played.state[..., step]]
            if hidden:
                leads = at(transition, step).permute(0, 2, 3, 1)  # [S, A, L', L]
                weight = weight * leads[row, action, hidden[-1]]
            hidden.append(drawn(weight.cumsum(-1), draws[:, step]))
            paid.append(at(reward, step)[row, hidden[-1], action])
        return replace(played, reward=torch.stack(paid[::-1], -1), hidden=torch.stack(hidden[::-1], -1))


def at(table: Tensor, step: int) -> Tensor:
    """A table `[S, H or 1, …]` at one step."""
    return table[:, min(step, table.shape[1] - 1)]
