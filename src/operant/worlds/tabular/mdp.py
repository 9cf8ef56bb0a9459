"""Finite Markov decision processes, and transitions that were drawn from one."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import value_text

ROUNDING = 1e-9  # by how much the sum of probabilities may miss 1
LARGEST = 1e150  # of values: their squares, of which deviations are made, are finite


@dataclass(frozen=True)
class FiniteMDP:
    """S finite MDPs of the same size: a seed each, or one that all seeds share (S = 1, which broadcasts).

    Attributes:
        transition: `[S, K, A, K]` float64, P(s'|s, a). With a horizon `[S, H, K, A, K]`, or 1 in the place of H where it is the same at every step.
        reward: `[S, K, A]` float64, the mean reward, with a horizon `[S, H or 1, K, A]`.
        initial: `[S, K]` float64, the distribution of the first state.
        discount: in [0, 1), and 1 with a horizon.
        horizon: H, steps of an episode; None for no end.
        bernoulli: rewards are drawn, 1 with the mean's probability and else 0; otherwise each is the mean.
        features: `[S or 1, K, A, d]`, known features of the pairs, with a horizon `[S or 1, H or 1, K, A, d]`; None where there are none.
        kernels: `[S or 1, d, K, A, K]`, known transitions of which the MDP's are a mixture, P = Σ_j theta_j P_j with theta not known; None for none.
        rounds: `[S, R, H or 1, K, A]`, of adversarial MDPs, which have a horizon: episode t, counted from 0, has the mean rewards `rounds[:, t % R]`, and
            `reward` is their mean. None where all episodes are alike.
        available: `[S or 1, K, A]` bool, the actions that can be taken in each state; another earns nothing, and nothing earns less. None: all can.
        batch, delay: who plays is told of episodes in batches of so many, and of each batch once so many later ones are full; with 1 and 0 at once.
        candidate_features, candidate_measures: phi `[S or 1, M, K, A, d]` and mu `[S or 1, M, d, K]` of M models phi mu, of which one is right; None for none.

    Raises:
        BadInput: a shape, a probability or a number that cannot be, with its place.
    """

    transition: Tensor
    reward: Tensor
    initial: Tensor
    discount: float
    horizon: int | None = None
    bernoulli: bool = False
    features: Tensor | None = None
    kernels: Tensor | None = None
    rounds: Tensor | None = None
    available: Tensor | None = None
    batch: int = 1
    delay: int = 0
    candidate_features: Tensor | None = None
    candidate_measures: Tensor | None = None

    def __post_init__(self):
        steps = () if self.horizon is None else ("H",)
        for name, axes in (("transition", ("S", *steps, "K", "A", "K")), ("reward", ("S", *steps, "K", "A")), ("initial", ("S", "K"))):
            table = getattr(self, name)
            if table.ndim != len(axes) or 0 in table.shape:
                raise BadInput(f"finite MDP: {name} has shape {list(table.shape)}, must be [{', '.join(axes)}]")
            if not table.isfinite().all():
                raise BadInput(f"finite MDP: {name}{place(~table.isfinite())} is {table[~table.isfinite()][0].item()}, must be a finite number")
        pairs, states = self.transition.shape[-3:-1], self.initial.shape[-1]
        if pairs[0] != states or self.reward.shape[-2:] != pairs or self.transition.shape[-1] != self.branches:
            shapes = ", ".join(f"{name} {list(getattr(self, name).shape)}" for name in ("transition", "reward", "initial"))
            raise BadInput(f"finite MDP: the numbers of states and actions do not agree: {shapes}")
        _check_distributions("transition", self.transition)
        _check_distributions("initial", self.initial)
        if self.horizon is None and not 0 <= self.discount < 1:
            raise BadInput(f"finite MDP: discount {value_text(self.discount)} without a horizon, must be in [0, 1)")
        if self.horizon is not None and any(size not in (1, self.horizon) for size in (self.transition.shape[1], self.reward.shape[1])):
            raise BadInput(f"finite MDP: transition has {self.transition.shape[1]} steps and reward {self.reward.shape[1]}, must be 1 or {self.horizon}")
        if self.rounds is not None:
            self._check_rounds()
        if self.available is not None:
            self._check_available()
        largest, reach = max(-self.rewards[0], self.rewards[1]), 1 / (1 - self.discount) if self.horizon is None else self.horizon
        if largest > LARGEST / reach:
            raise BadInput(f"finite MDP: a reward of size {largest:g} makes values that cannot be computed with over {reach:g} steps: scale rewards")
        if self.bernoulli and (self.rewards[0] < 0 or self.rewards[1] > 1):
            raise BadInput(f"finite MDP: rewards that are drawn as 0 or 1 have means in [0, 1], these are from {self.rewards[0]:g} to {self.rewards[1]:g}")
        self._check_known(steps)

    def _check_known(self, steps: tuple[str, ...]) -> None:
        """What is known of the MDP beside its tables has their shapes."""
        pairs = (self.states, self.actions)
        for name, axes, fits in (
            ("features", ("S", *steps, "K", "A", "d"), lambda table: table.shape[-3:-1] == pairs and (not steps or table.shape[1] in (1, self.horizon))),
            ("kernels", ("S", "d", "K", "A", "K"), lambda table: table.shape[-3:] == (*pairs, self.states)),
            ("candidate_features", ("S", "M", "K", "A", "d"), lambda table: table.shape[-3:-1] == pairs),
            ("candidate_measures", ("S", "M", "d", "K"), lambda table: table.shape[-1] == self.states),
        ):
            if (table := getattr(self, name)) is None:
                continue
            if table.ndim != len(axes) or 0 in table.shape or not fits(table) or len(table) not in (1, self.seeds):
                raise BadInput(f"finite MDP: {name} has shape {list(table.shape)}, must be [{', '.join(axes)}] with {pairs[0]} states and {pairs[1]} actions")
            if not table.isfinite().all():
                raise BadInput(f"finite MDP: {name}{place(~table.isfinite())} is {table[~table.isfinite()][0].item()}, must be a finite number")
        if self.kernels is not None:
            _check_distributions("kernels", self.kernels)
            self._check_mixture()

    def _check_mixture(self) -> None:
        """One theta mixes the kernels to the transitions of all steps, by least squares."""
        kernels, steps = self.kernels.flatten(2).mT, self.transition.reshape(len(self.transition), -1, math.prod(self.kernels.shape[2:])).mT
        theta = torch.linalg.pinv(kernels) @ steps.mean(-1, keepdim=True)
        if (off := (kernels @ theta - steps).abs().max().item()) > ROUNDING:
            raise BadInput(f"finite MDP: transition is no mixture of the kernels: the nearest one, by least squares, is off by {off:.2g}")

    def _check_available(self) -> None:
        allowed, pairs = self.available, (self.states, self.actions)
        if allowed.dtype != torch.bool or allowed.ndim != 3 or allowed.shape[1:] != pairs or len(allowed) not in (1, self.seeds):
            raise BadInput(f"finite MDP: available is {list(allowed.shape)} {allowed.dtype}, must be bool [S, K, A] with {pairs[0]} states, {pairs[1]} actions")
        if (none := ~allowed.any(-1)).any():
            raise BadInput(f"finite MDP: available{place(none)} has no action")
        paid = self.reward.amax(1) if self.horizon is not None else self.reward
        if (paid.masked_fill(allowed, 0.0) > 0).any() or self.rewards[0] < 0:
            raise BadInput("finite MDP: actions that are not available earn 0, and no reward is below it")

    def _check_rounds(self) -> None:
        axes = "S", "R", "H", "K", "A"
        if self.horizon is None or self.rounds.ndim != len(axes) or 0 in self.rounds.shape or self.rounds.shape[2:] != self.reward.shape[1:]:
            told = f"finite MDP: rounds has shape {list(self.rounds.shape)}, must be [{', '.join(axes)}] with the last three axes of reward"
            raise BadInput(f"{told}, {list(self.reward.shape)}" if self.horizon is not None else "finite MDP: rounds are of MDPs with a horizon")
        if not self.rounds.isfinite().all():
            raise BadInput(f"finite MDP: rounds{place(~self.rounds.isfinite())} is {self.rounds[~self.rounds.isfinite()][0].item()}, must be a finite number")
        if (off := ((self.rounds.mean(1) - self.reward).abs() > ROUNDING * self.rounds.abs().amax(1))).any():
            raise BadInput(f"finite MDP: reward{place(off)} is {self.reward.expand_as(off)[off][0].item():.12g}, must be the mean of rounds")

    @property
    def states(self) -> int:
        """K."""
        return self.initial.shape[-1]

    @property
    def branches(self) -> int:
        """Next states of a pair whose probabilities `transition` has: all K."""
        return self.states

    @property
    def actions(self) -> int:
        """A."""
        return self.reward.shape[-1]

    @property
    def seeds(self) -> int:
        """S: of one that all seeds share, 1."""
        return max(len(table) for table in (self.transition, self.reward, self.initial))

    @cached_property
    def rewards(self) -> tuple[float, float]:
        """The smallest and the largest mean reward that there is, in any round."""
        table = self.reward if self.rounds is None else self.rounds
        return table.min().item(), table.max().item()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what a policy decides, (K, A), with a horizon (H, K, A)."""
        return (*(() if self.horizon is None else (self.horizon,)), self.states, self.actions)

    @property
    def known(self) -> tuple[Tensor, ...]:
        """What tells two of them apart beside `transition` and `reward`."""
        return tuple(table for table in (self.features, self.kernels, self.rounds, self.candidate_features) if table is not None)

    def to(self, device: torch.device) -> FiniteMDP:
        """The same on a device."""
        tables = {item.name: table for item in fields(self) if isinstance(table := getattr(self, item.name), Tensor)}
        return replace(self, **{name: table.to(device) for name, table in tables.items()})

    def backup(self, value: Tensor) -> Tensor:
        """Bellman's Q of next values: `[S, *shape]` from values `[S, K]`, with a horizon from those of all steps `[S, H, K]`."""
        self._check("values", value, self.shape[:-1])
        following = value if self.horizon is None else ops.next_step_value(value)
        mean = torch.einsum("...j,...jx->...x", following, self._onto)
        return self.reward + self.discount * mean.unflatten(-1, (self.states, self.actions))

    @cached_property
    def _onto(self) -> Tensor:
        """The transitions with the next state first, `[..., K, K A]`: a product with values then runs along memory, for all pairs at once."""
        return self.transition.flatten(-3, -2).mT.contiguous()

    def _check(self, what: str, table: Tensor, shape: tuple[int, ...]) -> None:
        """Raise `RunFailed` where a table that a planner hands over has another shape than `[S, *shape]`."""
        if table.shape[-len(shape) :] != shape:
            axes = "K, A" if len(shape) > len(self.shape[:-1]) else "K"
            told = f"[S, {'H, ' * (self.horizon is not None)}{axes}], here [S, {', '.join(map(str, shape))}]"
            raise RunFailed(f"finite MDP: {what} have shape {list(table.shape)}, must be {told}")

    def value(self, policy: Tensor, reward: Tensor | None = None) -> Tensor:
        """V of a policy `[S, *shape]`, exact: `[S, K]`, with a horizon `[S, H, K]`; of another reward of the same shape in the place of its own."""
        self._check("policies", policy, self.shape)
        reward = self.reward if reward is None else reward
        if self.horizon is None:
            return ops.stationary_value(reward, self.transition, policy, discount=self.discount)
        return ops.horizon_value(reward, self.transition, policy, discount=self.discount)

    @cached_property
    def _sums(self) -> Tensor:
        """Of the rounds before each, and of all, `[S, R + 1, H or 1, K, A]`."""
        return torch.cat([torch.zeros_like(self.rounds[:, :1]), self.rounds.cumsum(1)], 1)

    def over(self, first: int, count: int) -> Tensor:
        """The sum of the mean rewards of so many episodes from one on, `[S, H or 1, K, A]`, of MDPs with a horizon."""
        if self.rounds is None:
            return count * self.reward
        size = self.rounds.shape[1]
        if count == 1:
            return self.rounds[:, first % size]
        (before, begins), (after, ends) = divmod(first, size), divmod(first + count, size)
        return self._sums[:, ends] - self._sums[:, begins] + (after - before) * self._sums[:, -1]

    def start_value(self, value: Tensor) -> Tensor:
        """The value before the first step `[S]`, of values as `value` gives them."""
        return (self.initial * (value if self.horizon is None else value[..., 0, :])).sum(-1)

    def occupancy(self, policy: Tensor) -> Tensor:
        """How often a policy `[S, *shape]` visits each pair, exact: `[S, *shape]`. It sums to 1, with a horizon at each step."""
        if self.horizon is None:
            return ops.stationary_occupancy(self.initial, self.transition, policy, discount=self.discount)
        return ops.horizon_occupancy(self.initial, self.transition, policy)

    @cached_property
    def optimum(self) -> tuple[Tensor, Tensor]:
        """The largest values, as `value` gives them, and a policy `[S, *shape]` that has them."""
        if self.horizon is None:
            return ops.stationary_optimum(self.reward, self.transition, discount=self.discount)
        return ops.horizon_optimum(self.reward, self.transition, horizon=self.horizon, discount=self.discount)

    def measures(self, policy: Tensor) -> dict[str, Tensor]:
        """What else there is to say of a policy `[S, *shape]` beside its value: `[S]` each."""
        return {}

    def sample(self, data: Tensor, size: int, streams: Streams, name: str = "data") -> Samples:
        """Transitions of pairs that are drawn independently, each seed's from its own stream.

        Args:
            data: `[S or 1, *shape]`, the distribution of pairs; each seed's sums to 1, or with a horizon each step's.
            size: M, transitions a seed.
            streams: whose seeds are those of the MDPs.
        """
        seeds = len(streams.seeds)
        joint = (data.unsqueeze(-1) * self.transition).flatten(1).expand(seeds, -1)
        generators = streams.torch_generators(name)
        cell = torch.stack([torch.multinomial(weight, size, replacement=True, generator=one) for weight, one in zip(joint, generators, strict=True)])
        pair, branch = cell // self.branches, cell % self.branches
        reward = self.reward.expand(seeds, *self.shape).reshape(seeds, -1).gather(1, pair)
        if self.bernoulli:
            reward = (streams.uniform(name, size).to(reward.device) < reward).to(reward.dtype)
        return Samples(pair, self._leads(pair, branch), reward, self.shape, self.discount, self.horizon)

    def _leads(self, pair: Tensor, branch: Tensor) -> Tensor:
        """Where the branches of pairs lead, `[S, M]` all three."""
        return branch

    @cached_property
    def _cumulative(self) -> tuple[Tensor, Tensor]:
        """Of the transitions, and of the first state."""
        return self.transition.cumsum(-1), self.initial.cumsum(-1)

    def play(self, policy: Tensor, count: int, streams: Streams, name: str = "episodes", first: int = 0) -> Played:
        """Episodes of a policy `[S, H, K, A]`, each seed's from its own stream, of which the first has the number `first`. Of MDPs with a horizon alone."""
        seeds, horizon = len(streams.seeds), self.shape[0]
        draws = streams.uniform(name, horizon + 1, 3, count).to(self.initial.dtype)
        seed = torch.arange(seeds, device=draws.device).unsqueeze(1)
        of_transition, of_reward = (torch.zeros_like(seed) if len(table) == 1 else seed for table in (self.transition, self.reward))
        following, beginning = self._cumulative
        acting = policy.cumsum(-1)
        state = drawn(beginning.unsqueeze(1), draws[:, horizon, 0])
        states, actions = [state], []
        for step in range(horizon):
            action = drawn(acting[seed, step, state], draws[:, step, 0])
            state = drawn(following[of_transition, min(step, following.shape[1] - 1), state, action], draws[:, step, 1])
            actions.append(action)
            states.append(state)
        state, action = torch.stack(states, -1), torch.stack(actions, -1)
        step = torch.arange(horizon, device=state.device) if self.reward.shape[1] > 1 else torch.zeros(1, dtype=torch.int64, device=state.device)
        if self.rounds is None:
            reward = self.reward[of_reward.unsqueeze(-1), step, state[..., :-1], action]
        else:
            episode = torch.arange(first, first + count, device=state.device).unsqueeze(-1) % self.rounds.shape[1]
            reward = self.rounds[of_reward.unsqueeze(-1), episode, step, state[..., :-1], action]
        if self.bernoulli:
            reward = (draws[:, :horizon, 2].transpose(1, 2) < reward).to(reward.dtype)
        return Played(state, action, reward)


@dataclass(frozen=True)
class Played:
    """Whole episodes of finite MDPs with a horizon.

    Attributes:
        state: `[S, M, H + 1]` int64, the one behind the last step too.
        action: `[S, M, H]` int64.
        reward: `[S, M, H]` float64.
        hidden: `[S, M, H]` int64, where something is hidden: what it was.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    hidden: Tensor | None = None

    @property
    def tables(self) -> dict[str, Tensor]:
        """What there is of them, by name."""
        return {item.name: table for item in fields(self) if (table := getattr(self, item.name)) is not None}

    @cached_property
    def to_go(self) -> Tensor:
        """The sum of the rewards from each step on, `[S, M, H]`."""
        return self.reward.flip(-1).cumsum(-1).flip(-1)

    def part(self, first: int, count: int) -> Played:
        """So many of these episodes, from one on."""
        here = slice(first, first + count)
        return Played(**{name: table[:, here] for name, table in self.tables.items()})

    def pair(self, shape: tuple[int, ...], *, stationary: bool) -> Tensor:
        """The place of each step's state and action among the pairs of a model, in row-major order: `[S, M, H]`. Arguments as of `seen`."""
        horizon, states, actions = shape
        step = torch.zeros(horizon, dtype=torch.int64, device=self.action.device) if stationary else torch.arange(horizon, device=self.action.device)
        return (step * states + self.state[..., :-1]) * actions + self.action

    def next_value(self, value: Tensor) -> Tensor:
        """Of values `[S, H, K]` those of where each step led, and 0 behind the last: `[S, M, H]`."""
        return ops.next_step_value(value).gather(-1, self.state[..., 1:].transpose(1, 2)).transpose(1, 2)

    def seen(self, shape: tuple[int, ...], *, stationary: bool) -> tuple[Tensor, Tensor]:
        """What a model counts of them: how often each pair led to each state, `[S, *model, K]`, and the sum of the rewards there, `[S, *model]`.

        Args:
            shape: (H, K, A).
            stationary: steps are counted together, and the model is (K, A); otherwise it is (H, K, A).
        """
        states, model = shape[-2], shape[1:] if stationary else shape
        pair = self.pair(shape, stationary=stationary).flatten(1)
        following, gained = self.reward.new_zeros(len(pair), math.prod(model) * states), self.reward.new_zeros(len(pair), math.prod(model))
        reward = self.reward.flatten(1)
        following.scatter_add_(1, pair * states + self.state[..., 1:].flatten(1), torch.ones_like(reward))
        return following.view(-1, *model, states), gained.scatter_add_(1, pair, reward).view(-1, *model)


def drawn(cumulative: Tensor, uniform: Tensor) -> Tensor:
    """One of the last axis of cumulative probabilities `[..., n]` for each number `[...]` in [0, 1), by inversion: the last of what can be, where rounding
    leaves their end below 1."""
    cumulative = cumulative.expand(*uniform.shape, -1).contiguous()
    return torch.searchsorted(cumulative, (uniform * cumulative[..., -1]).unsqueeze(-1), right=True).squeeze(-1)


@dataclass(frozen=True)
class Samples:
    """Logged transitions of finite MDPs, all that somebody who plans from data knows of them.

    Attributes:
        pair: `[S, M]` int64, the place of state and action (with a horizon of step, state and action) among `shape`.
        next_state: `[S, M]` int64.
        reward: `[S, M]` float64, in [0, 1].
        shape: (K, A), with a horizon (H, K, A).
        discount, horizon: of the MDP.
    """

    pair: Tensor
    next_state: Tensor
    reward: Tensor
    shape: tuple[int, ...]
    discount: float
    horizon: int | None

    @property
    def size(self) -> int:
        """M, transitions a seed."""
        return self.pair.shape[1]

    @property
    def most(self) -> float:
        """The largest value that a policy can have, with rewards in [0, 1]: 1 / (1 - discount), with a horizon H."""
        return 1 / (1 - self.discount) if self.horizon is None else float(self.horizon)

    def to(self, device: torch.device) -> Samples:
        """The same on a device."""
        return replace(self, pair=self.pair.to(device), next_state=self.next_state.to(device), reward=self.reward.to(device))

    def part(self, number: int, parts: int) -> Samples:
        """One of several parts of equal size, in the order of the data.

        Raises:
            RunFailed: there is no part of that number (0 to `parts` - 1).
        """
        if not 0 <= number < parts:
            raise RunFailed(f"part {number} of {parts} parts of samples was asked for; they are counted from 0 to {parts - 1}")
        size = self.size // parts
        here = slice(number * size, (number + 1) * size)
        return replace(self, pair=self.pair[:, here], next_state=self.next_state[:, here], reward=self.reward[:, here])

    @cached_property
    def model(self) -> tuple[Tensor, Tensor, Tensor]:
        """What they say of the MDP: counts `[S, *shape]`, mean rewards `[S, *shape]` and transitions `[S, *shape, K]`, 0 where nothing was seen."""
        return ops.empirical_model(self.pair, self.next_state, self.reward, shape=self.shape)

    def next_value(self, value: Tensor) -> Tensor:
        """Of values as `FiniteMDP.value` gives them, those of where each transition led, and 0 behind the last step: `[S, M]`."""
        if self.horizon is None:
            return value.gather(1, self.next_state)
        states, actions = self.shape[-2:]
        step = self.pair // (states * actions)
        return ops.next_step_value(value).flatten(1).gather(1, step * states + self.next_state)

    def backup(self, reward: Tensor, transition: Tensor, value: Tensor) -> Tensor:
        """Bellman's Q of a reward `[S, *shape]` and transitions `[S, *shape, K]` of one's own, as `FiniteMDP.backup`."""
        following = value if self.horizon is None else ops.next_step_value(value)
        return ops.bellman_q(reward, transition, following, discount=self.discount)


def covering(mdp: FiniteMDP, concentrability: float | None) -> Tensor:
    """A distribution of pairs `[S, *shape]` whose concentrability is known; it sums to 1, with a horizon at each step.

    mu(s, a) = d*(s, a) / C* + (1 - 1 / C*) d*(s) / (A - 1) for the actions that an optimal policy does not take, d* being its occupancy: exactly C*. 1 is the
    optimal policy's own data, and all that there is where there is one action.

    Args:
        concentrability: C*, at least 1; None for all pairs alike.
    """
    occupancy = mdp.occupancy(mdp.optimum[1])
    if concentrability is None:
        return torch.full_like(occupancy, 1 / (mdp.states * mdp.actions))
    if mdp.actions == 1:  # there is one policy, and its data are all that there can be
        return occupancy
    others = (occupancy.sum(-1, keepdim=True) - occupancy) / (mdp.actions - 1)
    return occupancy / concentrability + (1 - 1 / concentrability) * others


def _check_distributions(name: str, table: Tensor) -> None:
    """Raise `BadInput` where numbers along the last axis are no probabilities."""
    if (low := table < 0).any():
        raise BadInput(f"finite MDP: {name}{place(low)} is {table[low][0].item():g}: a probability is at least 0")
    if (off := (table.sum(-1) - 1).abs() > ROUNDING).any():
        raise BadInput(f"finite MDP: {name}{place(off)} sums to {table.sum(-1)[off][0].item():.12g}, must be 1")


def place(where: Tensor) -> str:
    """The first place that is marked, as a seed's table is indexed, and of several seeds which."""
    seed, *index = where.nonzero()[0].tolist()
    return f"{index if index else ''}{f' of seed {seed}' if len(where) > 1 else ''}"
