"""The finite MDPs that have names. Rewards are in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.seeds import derive_seed
from operant.worlds.tabular.pomdp import FinitePOMDP

F64 = torch.float64
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
FOUR_ROOMS = """
#############
#.....#....G#
#.....#.....#
#...........#
#.....#.....#
#.....#.....#
##.####.....#
#.....###.###
#.....#.....#
#.....#.....#
#...........#
#S....#.....#
#############
"""
CLIFF = """
............
............
............
SxxxxxxxxxxG
"""
WINDY = """
..........
..........
..........
S......G..
..........
..........
..........
"""
GUSTY = """
..xx..
......
S....G
......
......
......
"""
CORNER = """
....
....
....
...G
"""
WINDS = ((0, 1, 1, 1, 1, 0), (0, 0, 0, 0, 0, 0), (0, 1, 2, 2, 1, 0))  # the usual one, none, a storm
GOAL = GUSTY.replace("\n", "").replace("x", "").index("G")
PAIRS = {"observations": 4, "revealing": 0.5}
WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)  # rows upwards, by the column that a step begins in


@dataclass(frozen=True)
class Table:
    """A named finite MDP.

    Attributes:
        build: `(states, actions, seeds) → (transition, reward, initial)`, as `FiniteMDP` has them without a horizon; tables that all seeds share have S = 1.
            A reward that hangs on the step, `[S, H, K, A]`, is of a task whose horizon is its own.
        states, actions: the default sizes.
        sized: which options a person may choose, by their names: "states", "actions" and what `others` has.
        fewest: states that it must have.
        discount: where no other one is asked for.
        horizon: of tasks that have episodes, by default of so many steps, or of so many for a number of states; None for none.
        fixed: they have no other horizon, and are not discounted.
        bernoulli: rewards are drawn.
        own: each seed has an instance of its own.
        told: `(states, actions, seeds) → tables`, what else a planner is told of it: "features" `[S or 1, K, A, d]`, "kernels" `[S or 1, d, K, A, K]`
            "available" `[S or 1, K, A]` or candidates (see `FiniteMDP`); or "models" `[S or 1, U, K, A, K]` of an `UncertainMDP`; or "successor", of a
            `SparseMDP`, whose `transition` `build` then gives.
        branches: states that a pair of such a one leads to; 0 of others.
        kernels: how many kernels or models there are.
        rounds: how many `told` has, of adversarial tasks, "rounds" `[S, R, K, A]` (see `FiniteMDP`).
        picture: rows of marks, where the states are cells of a map; those of `#` and `x` are none, the others are counted row by row.
        arrows: the ways of the actions on it.
        stock: the unit of what was gained, which states say too (see `stocked`); None where they do not.
        hidden: something is, and `build` is `(states, actions, seeds, horizon, **others) → FinitePOMDP`.
        others: defaults of further options, which `build` is given where something is hidden, and else the `FiniteMDP`.
    """

    build: Callable[..., Any]
    states: int
    actions: int
    sized: tuple[str, ...] = ()
    discount: float = 0.95
    horizon: int | Callable[[int], int] | None = None
    fixed: bool = False
    bernoulli: bool = False
    own: bool = False
    told: Callable[[int, int, Sequence[int]], dict[str, Tensor]] | None = None
    branches: int = 0
    kernels: int = 0
    rounds: int = 0
    fewest: int = 1
    picture: str | None = None
    arrows: str = "↑→↓←"
    stock: float | None = None
    hidden: bool = False
    others: Mapping[str, Any] = field(default_factory=dict)


def chain(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Action 0 goes on, and pays 1 at the end; action 1 goes back to the start and pays 0.2. Each does the other's with probability 0.2 (Strens 2000)."""
    transition, reward = torch.zeros(states, 2, states, dtype=F64), torch.zeros(states, 2, dtype=F64)
    for state in range(states):
        on = min(state + 1, states - 1)
        pays = 1.0 if state == states - 1 else 0.0
        for action, slip in ((0, 0.2), (1, 0.8)):
            transition[state, action, on] += 1 - slip
            transition[state, action, 0] += slip
            reward[state, action] = (1 - slip) * pays + slip * 0.2
    return transition[None], reward[None], _at(states, 0)


def river_swim(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Action 0 swims down and pays 0.005 at the lower end; action 1 swims up against the current and pays 1 at the upper one.

    Strehl and Littman 2008; the numbers are those of Osband et al. 2013.
    """
    transition, reward = torch.zeros(states, 2, states, dtype=F64), torch.zeros(states, 2, dtype=F64)
    for state in range(states):
        down, up = max(state - 1, 0), min(state + 1, states - 1)
        transition[state, 0, down] = 1
        for place, chance in ((down, 0.05), (state, 0.6), (up, 0.35)):
            transition[state, 1, place] += chance
    transition[0, 1] = transition[-1, 1] = 0
    transition[0, 1, 0], transition[0, 1, 1] = 0.4, 0.6
    transition[-1, 1, -1], transition[-1, 1, -2] = 0.6, 0.4
    reward[0, 0], reward[-1, 1] = 0.005, 1
    return transition[None], reward[None], _at(states, 0)


def grid(text: str, slip: float, wind: Sequence[int] = ()) -> Callable[[int, int, Sequence[int]], tuple[Tensor, Tensor, Tensor]]:
    """A maze: `#` a wall, `S` the start, `G` the goal, which pays 1 once and ends all, `x` a fall back to the start.

    Args:
        slip: probability that a step goes in one of the three other directions.
        wind: of each column, how many rows upwards it carries a step that begins there; none for no wind.
    """
    rows = text.strip().splitlines()
    height, width = len(rows), len(rows[0])
    cells = [(y, x) for y, row in enumerate(rows) for x, mark in enumerate(row) if mark not in "#x"]
    number = {cell: place for place, cell in enumerate(cells)}
    mark = {(y, x): value for y, row in enumerate(rows) for x, value in enumerate(row)}
    start = next(number[cell] for cell in cells if mark[cell] == "S")

    def build(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        transition, reward = torch.zeros(states, 4, states, dtype=F64), torch.zeros(states, 4, dtype=F64)
        for cell, place in number.items():
            for action in range(4):
                for way, (dy, dx) in enumerate(MOVES):
                    chance = 1 - slip if way == action else slip / 3
                    up = wind[cell[1]] if wind else 0
                    target = (min(max(cell[0] + dy - up, 0), height - 1), min(max(cell[1] + dx, 0), width - 1))
                    falls = mark.get(target) == "x"
                    target = cell if mark[cell] == "G" or target not in number else target
                    transition[place, action, start if falls and mark[cell] != "G" else number[target]] += chance
                    reward[place, action] += chance * (mark[target] == "G" and mark[cell] != "G")
        return transition[None], reward[None], _at(states, start)

    return build


def corner(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A walk over 4 × 4 places, where a step goes astray 1 time in 10; every step that begins in the corner pays 1, all places are alike at first. What is
    hidden in the pictures of `gym:block-grid`."""
    transition, _, goal = grid(CORNER.replace("G", "S"), 0.1)(states, actions, seeds)
    return transition, goal.unsqueeze(-1).expand(1, states, actions).clone(), torch.full((1, states), 1 / states, dtype=F64)


def cells(picture: str) -> list[list[int | None]]:
    """Of a table's picture the states that its marks are, row by row; None where a mark is none."""
    number = count()
    return [[next(number) if mark not in "#x" else None for mark in row] for row in picture.splitlines()]


def gusty(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A windy maze with a cliff above, where a step goes astray 1 time in 10 and the goal pays 1 as it is left, for good; the wind is the first of `WINDS`."""
    _, _, initial = grid(GUSTY, 0.1)(states - 1, actions, seeds)
    reward = torch.zeros(1, states, actions, dtype=F64)
    reward[0, GOAL] = 1
    return winds(states, actions, seeds)["models"][:, 0], reward, torch.cat([initial, torch.zeros(1, 1, dtype=F64)], 1)


def winds(states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Of `gusty` the transitions of each of `WINDS`, of which every pair may have another one."""
    models = torch.zeros(1, len(WINDS), states, actions, states, dtype=F64)
    for place, wind in enumerate(WINDS):
        models[0, place, :-1, :, :-1] = grid(GUSTY, 0.1, wind)(states - 1, actions, seeds)[0][0]
    models[:, :, GOAL] = 0
    models[:, :, GOAL, :, -1] = models[:, :, -1, :, -1] = 1
    return {"models": models}


def risky(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Action 0 holds, for a sure 0.3 at the next step; action 1 bets, for 1 with probability 0.45 and else nothing. States: held, won, lost."""
    transition = torch.zeros(1, 3, 2, 3, dtype=F64)
    transition[:, :, 0, 0], transition[:, :, 1, 1], transition[:, :, 1, 2] = 1, 0.45, 0.55
    reward = torch.tensor([0.3, 1.0, 0.0], dtype=F64).view(1, 3, 1).expand(1, 3, 2).clone()
    return transition, reward, _at(3, 0)


def random_risky(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """States pay 0, 0.3 and 1; transitions are uniform over all distributions, an instance for each seed. The first state is the one that pays 0.3."""
    reward = torch.tensor([0.0, 0.3, 1.0], dtype=F64).view(1, 3, 1).expand(1, 3, actions).clone()
    return _simplex(_drawn(seeds, "random-risky", 3, actions, 3)), reward, _at(3, 1)


def random_uncertain(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pair three transitions can be, each uniform over all distributions, the first of which is the nominal one; mean rewards are uniform in [0, 1). An
    instance for each seed."""
    reward = _drawn(seeds, "random-uncertain-reward", states, actions)
    return random_models(states, actions, seeds)["models"][:, 0], reward, torch.full((1, states), 1 / states, dtype=F64)


def random_models(states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
    """Of `random_uncertain`."""
    return {"models": _simplex(_drawn(seeds, "random-uncertain", 3, states, actions, states))}


def maze(text: str, slip: float, wind: Sequence[int] = ()) -> Table:
    """The table of a `grid`."""
    return Table(grid(text, slip, wind), sum(mark not in "#x\n" for mark in text), 4, picture=text.strip())


def dense(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions uniform over all distributions, mean rewards uniform in [0, 1); an instance for each seed."""
    transition = _simplex(_drawn(seeds, "random-dense", states, actions, states))
    return transition, _drawn(seeds, "random-dense-reward", states, actions), torch.full((1, states), 1 / states, dtype=F64)


def sparse(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Each pair leads to three states (Garnet, Archibald et al. 1995), mean rewards are uniform in [0, 1); an instance for each seed."""
    weight = -torch.log1p(-_drawn(seeds, "random-sparse", states, actions, states))
    order = _drawn(seeds, "random-sparse-branches", states, actions, states)
    kept = weight * (order <= order.kthvalue(min(3, states), -1, keepdim=True).values)
    return kept / kept.sum(-1, keepdim=True), _drawn(seeds, "random-sparse-reward", states, actions), torch.full((1, states), 1 / states, dtype=F64)


def layered(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Three layers, which tell the step: state 0, half of the others, and the rest. A step leads to the next layer, mostly to one of its states; mean rewards
    are uniform in [0, 1); an instance for each seed."""
    ends = (0, 1, 1 + (states - 1) // 2, states)
    transition, uniform = torch.zeros(len(seeds), states, actions, states, dtype=F64), _drawn(seeds, "layered", states, actions, states)
    for begin, end, following in zip(ends, ends[1:], ends[2:], strict=False):
        transition[:, begin:end, :, end:following] = _simplex(uniform[:, begin:end, :, end:following], 2.0)
    transition[:, ends[2] :, :, -1] = 1
    return transition, _drawn(seeds, "layered-reward", states, actions), _at(states, 0)


class Garnet:
    """Each pair leads to the same number of states, all sets of so many alike, with probabilities uniform over all distributions; mean rewards are uniform in
    [0, 1); an instance for each seed (Archibald et al. 1995). Nothing is as large as all states by all.

    Args:
        branches: states that a pair leads to; all, where there are fewer.
    """

    def __init__(self, branches: int):
        self.branches = branches

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """`transition` is `[S, K, A, B]`, as of a `SparseMDP`."""
        transition = _simplex(_drawn(seeds, "garnet", states, actions, min(self.branches, states)))
        return transition, _drawn(seeds, "garnet-reward", states, actions), torch.full((1, states), 1 / states, dtype=F64)

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Where they lead, `[S, K, A, B]`: sets without repetition, by Floyd's algorithm (Bentley and Floyd 1987)."""
        branches = min(self.branches, states)
        uniform, chosen = _drawn(seeds, "garnet-successor", states, actions, branches), []
        for place in range(branches):
            last = states - branches + place
            drawn = (uniform[..., place] * (last + 1)).long()
            taken = torch.stack([drawn == each for each in chosen]).any(0) if chosen else torch.zeros_like(drawn, dtype=torch.bool)
            chosen.append(torch.where(taken, last, drawn))
        return {"successor": torch.stack(chosen, -1)}


def bandit(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Contexts are equally likely, rewards are 0 or 1 with means uniform in [0, 1); an instance for each seed. One state is a bandit without contexts."""
    transition = torch.full((1, states, actions, states), 1 / states, dtype=F64)
    return transition, _drawn(seeds, "bandit", states, actions), torch.full((1, states), 1 / states, dtype=F64)


class MisspecifiedBandit:
    """One context, and rewards that are linear in known features up to eps: <phi(a), theta> + nu(a), cut at 0 and 1, with nu uniform in [-eps, eps]. phi(a) and
    theta are of length 1 and have no entry below 0, theta has s entries above it: directions drawn uniformly, made positive. An instance for each seed; rewards
    are not drawn (Dong and Yang 2023; Du et al. 2020 without sparsity).

    Args:
        dimension: d.
        sparsity: s.
        misspecification: eps.
    """

    def __init__(self, dimension: int, sparsity: int, misspecification: float):
        self.dimension, self.sparsity, self.misspecification = dimension, sparsity, misspecification

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        """`[S, 1, A, d]`."""
        return {"features": _direction(_drawn(seeds, "misspecified-bandit", states, actions, self.dimension)).abs()}

    def theta(self, seeds: Sequence[int]) -> Tensor:
        """`[S, d]`."""
        order = _drawn(seeds, "misspecified-bandit-support", self.dimension).argsort(-1)
        values = _direction(_drawn(seeds, "misspecified-bandit-theta", self.sparsity)).abs()
        return torch.zeros(len(seeds), self.dimension, dtype=F64).scatter(1, order[:, : self.sparsity], values)

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        linear = torch.einsum("skad,sd->ska", self.told(states, actions, seeds)["features"], self.theta(seeds))
        noise = self.misspecification * (2 * _drawn(seeds, "misspecified-bandit-nu", states, actions) - 1)
        return torch.ones(1, 1, actions, 1, dtype=F64), (linear + noise).clamp(0, 1), torch.ones(1, 1, dtype=F64)


class Payments:
    """A bandit as a processor of payments meets it, whose own data are not public: contexts with actions of their own, of which each is available with a chance
    of 0.7, and two at least; a payment succeeds with the logistic chance of (1, x)' w(a), x of each context being a direction in d - 1 dimensions, and w of
    each action normal, with deviation 1.5. What is told of a pair is (1, x) in the place of its action, and 0 in those of the others, A d numbers, on which
    logistic regression is right and linear regression wrong. Contexts have likelihoods that are uniform on the simplex. Feedback comes in batches, and late.

    Args:
        dimension: d.
    """

    def __init__(self, dimension: int):
        self.dimension = dimension

    def contexts(self, states: int, seeds: Sequence[int]) -> Tensor:
        """(1, x), `[S, K, d]`."""
        return 2**0.5 * _lifted(_drawn(seeds, "payments", states, self.dimension - 1))

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        """`[S, K, A, A d]` and `[S, K, A]`."""
        features = torch.einsum("skd,ab->skabd", self.contexts(states, seeds), torch.eye(actions, dtype=F64)).flatten(-2)
        drawn = _drawn(seeds, "payments-available", states, actions)
        return {"features": features, "available": (drawn < 0.7) | (drawn <= drawn.kthvalue(2, -1, keepdim=True).values)}

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        weights = 1.5 * torch.special.ndtri(_drawn(seeds, "payments-weights", actions, self.dimension).clamp(min=1e-12))
        chance = torch.einsum("skd,sad->ska", self.contexts(states, seeds), weights).sigmoid()
        likelihood = _simplex(_drawn(seeds, "payments-contexts", states))
        transition = torch.full((1, states, actions, states), 1 / states, dtype=F64)
        return transition, chance * self.told(states, actions, seeds)["available"], likelihood


class AdversarialBandit:
    """Rewards of 0 or 1 that were drawn beforehand, a sequence of R rounds for each seed, which begins again behind its end.

    The chances that they were drawn from are what makes a bandit hard that is not stochastic. How much all actions pay changes between phases, each 1.6 times
    as long as the one before (Zimmert and Seldin 2021, section 6, stochastically constrained adversaries): the best action is worth 1 in one phase and 0.3 in
    the next. What another action lacks drifts, as a wave of its own, between half and three halves of 0.2. And after a third of the rounds another action is
    the best one, which in hindsight it is of the whole. Contexts, of which there is one by default, are equally likely, and sequences of their own.

    Args:
        rounds: R.
    """

    def __init__(self, rounds: int, gap: float = 0.2, low: float = 0.3, growth: float = 1.6, waves: int = 3):
        self.rounds, self.gap, self.low, self.growth, self.waves = rounds, gap, low, growth, waves

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        """`[S, R, K, A]`."""
        time = torch.arange(self.rounds, dtype=F64).view(-1, 1, 1)
        rich = _rich(time, self.growth)
        order = _drawn(seeds, "adversarial-bandit-best", states, actions).argsort(-1).unsqueeze(1)
        best = torch.where(time < self.rounds / 3, order[..., :1], order[..., 1:2])
        wave = self.waves * time / self.rounds + _drawn(seeds, "adversarial-bandit-drift", 1, states, actions)
        short = self.gap * (1 - 0.5 * torch.cos(2 * torch.pi * wave))
        mean = torch.where(rich, 1.0, self.low) - torch.where(torch.arange(actions) == best, 0.0, short)
        return {"rounds": (_drawn(seeds, "adversarial-bandit", self.rounds, states, actions) < mean).to(F64)}

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        transition = torch.full((1, states, actions, states), 1 / states, dtype=F64)
        return transition, self.told(states, actions, seeds)["rounds"].mean(1), torch.full((1, states), 1 / states, dtype=F64)


def deep_sea(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """A dive of as many steps as the sea has columns: action 1 goes a column to the right, action 0 one to the left, which pays 0.01 over their number. The
    last step to the right in the last column pays 1, and nothing but going right all the way leads there (Osband et al. 2019; there the step to the right costs
    what going left pays here)."""
    transition, reward = torch.zeros(states, 2, states, dtype=F64), torch.zeros(states, states, 2, dtype=F64)
    for column in range(states):
        transition[column, 0, max(column - 1, 0)] = transition[column, 1, min(column + 1, states - 1)] = 1
    reward[:, :, 0] = 0.01 / states
    reward[-1, -1, 1] = 1
    return transition[None], reward[None], _at(states, 0)


def combination_lock(states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """One action of each place, drawn for each seed, leads to the next one, and at the last place pays 1; every other one leads to the last state for good, and
    pays 0.1 once: a decoy (as in Misra et al. 2020, without their noise)."""
    places = states - 1
    right = (_drawn(seeds, "combination-lock", places) * actions).long()
    transition, reward = torch.zeros(len(seeds), states, actions, states, dtype=F64), torch.zeros(len(seeds), states, actions, dtype=F64)
    transition[..., -1], reward[:, :places] = 1, 0.1
    for place in range(places):
        opens = right[:, place]
        seed = torch.arange(len(seeds))
        transition[seed, place, opens] = _at(states, place + 1 if place + 1 < places else places)
        reward[seed, place, opens] = float(place + 1 == places)
    return transition, reward, _at(states, 0)


def latent(states: int, actions: int, seeds: Sequence[int], horizon: int) -> FinitePOMDP:
    """A latent MDP of two contexts that are equally likely: transitions uniform over all distributions, rewards uniform in [0, 1 / horizon), the first state
    seen is 0; an instance for each seed."""
    transition = _simplex(_drawn(seeds, "latent", 2, states, actions, states))
    reward = _drawn(seeds, "latent-reward", 2, states, actions) / horizon
    initial = _at(states, 0).expand(len(seeds), 2, states)
    return FinitePOMDP.latent(torch.full((len(seeds), 2), 0.5, dtype=F64), transition, reward, initial, horizon)


def tiger(states: int, actions: int, seeds: Sequence[int], horizon: int) -> FinitePOMDP:
    """A tiger is behind one of two doors. Action 0 listens and hears the right side 85 times in 100; actions 1 and 2 open the left and the right door, after
    which it starts anew. The rewards -1, -100 (the tiger) and 10 are brought into [0, 1] as (r + 100) / 110 (Kaelbling, Littman and Cassandra 1998).

    Hidden states: the tiger left or right before anything was heard, and left or right after. Observations: nothing, left, right.
    """
    transition, reward = torch.zeros(4, 3, 4, dtype=F64), torch.zeros(4, 3, dtype=F64)
    for state in range(4):
        side = state % 2
        transition[state, 0, 2 + side] = 1
        transition[state, 1:, :2] = 0.5
        reward[state] = torch.tensor([-1.0, -100.0 if side == 0 else 10.0, 10.0 if side == 0 else -100.0])
    emission = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0.85, 0.15], [0, 0.15, 0.85]], dtype=F64)
    initial = torch.tensor([[0.5, 0.5, 0, 0]], dtype=F64)
    return FinitePOMDP(transition[None, None], emission[None, None], ((reward + 100) / 110)[None, None], initial, horizon)


def revealing(states: int, actions: int, seeds: Sequence[int], horizon: int, observations: int, revealing: float) -> FinitePOMDP:
    """Each action opens a branch with a good or a bad state, which is hidden. One branch, drawn for each seed, always has the good one, the others have either
    with probability 1/2. The good state shows the symbol i with probability (1 + α σ_i) / O, the bad one with (1 - α σ_i) / O, α being `revealing`; the signs σ
    sum to 0 and are drawn for each seed. Then action 0 stays, which pays 1 in the good state and nothing in the bad one, and any other leaves, for 1/2.

    Exactly α-revealing. After the single-step instances of arXiv:2302.01333, of which it keeps the pairs of symbols and the branches: to tell the branch by
    its symbols, whose signs nobody says, takes about √O / α² episodes of each.
    """
    if observations % 2:
        raise BadInput(f"tabular:revealing: observations = {observations}: symbols are in pairs: it must be even")
    root, good, bad = range(3)
    sign = 1 - 2 * (_drawn(seeds, "revealing-signs", observations).argsort(-1) % 2).to(F64)
    branch = (_drawn(seeds, "revealing", 1).squeeze(-1) * actions).long()
    transition = torch.zeros(len(seeds), 1, 3, actions, 3, dtype=F64)
    transition[:, 0, root, :, good:] = 0.5
    transition[torch.arange(len(seeds)), 0, root, branch] = torch.tensor([0.0, 1, 0], dtype=F64)
    transition[:, 0, good, :, good] = transition[:, 0, bad, :, bad] = 1
    emission = torch.zeros(len(seeds), 1, 3, observations + 1, dtype=F64)
    emission[:, 0, root, -1] = 1
    emission[:, 0, good, :-1], emission[:, 0, bad, :-1] = (1 + revealing * sign) / observations, (1 - revealing * sign) / observations
    reward = torch.zeros(1, 1, 3, actions, dtype=F64)
    reward[:, :, good:] = 0.5
    reward[0, 0, good, 0], reward[0, 0, bad, 0] = 1, 0
    return FinitePOMDP(transition, emission, reward, _at(3, root), horizon)


class LinearBandit:
    """A bandit whose mean rewards are linear in features: (1 + <x, w>) / 2, x of each arm in each context and w of each seed being random
    directions in d - 1 dimensions. What is told is phi = (1, x) / √2, of length 1, and not theta = (1, w) / √2. Contexts are equally likely, rewards 0 or 1.

    Args:
        dimension: d, at least 2.
    """

    def __init__(self, dimension: int):
        self.dimension = dimension

    def features(self, states: int, actions: int, seeds: Sequence[int]) -> Tensor:
        """`[S, K, A, d]`."""
        return _lifted(_drawn(seeds, "linear-bandit", states, actions, self.dimension - 1))

    def theta(self, seeds: Sequence[int]) -> Tensor:
        """`[S, d]`."""
        return _lifted(_drawn(seeds, "linear-bandit-theta", self.dimension - 1))

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        transition = torch.full((1, states, actions, states), 1 / states, dtype=F64)
        reward = torch.einsum("skad,sd->ska", self.features(states, actions, seeds), self.theta(seeds))
        return transition, reward.clamp(0, 1), torch.full((1, states), 1 / states, dtype=F64)

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        return {"features": self.features(states, actions, seeds)}


class LinearMDP:
    """P(s'|s, a) = Σ_i phi_i(s, a) mu_i(s') and r(s, a) = <phi(s, a), theta>, an instance for each seed (Jin et al. 2020, assumption A and example 2.2).

    phi(s, a) is on the simplex, mu_i are distributions of the next state, of which most have a large and many small probabilities (normalised powers of
    exponential draws); theta is uniform in [0, 1). The first state is 0.

    Args:
        dimension: d.
        peaked: the powers, from which on differences between actions are worth something.
    """

    def __init__(self, dimension: int, peaked: float = 4.0):
        self.dimension, self.peaked = dimension, peaked

    def features(self, states: int, actions: int, seeds: Sequence[int]) -> Tensor:
        """`[S, K, A, d]`."""
        return _simplex(_drawn(seeds, "linear-mdp", states, actions, self.dimension), self.peaked)

    def measures(self, states: int, seeds: Sequence[int]) -> Tensor:
        """mu, `[S, d, K]`."""
        return _simplex(_drawn(seeds, "linear-mdp-measures", self.dimension, states), self.peaked)

    def theta(self, seeds: Sequence[int]) -> Tensor:
        """`[S, d]`."""
        return _drawn(seeds, "linear-mdp-theta", self.dimension)

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        features = self.features(states, actions, seeds)
        transition = torch.einsum("skad,sdj->skaj", features, self.measures(states, seeds))
        return transition, torch.einsum("skad,sd->ska", features, self.theta(seeds)), _at(states, 0)

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        return {"features": self.features(states, actions, seeds)}


class LowRank(LinearMDP):
    """The same MDP, of which features are not told, but models, of which one is right, at a place that is drawn. Three by three the others mix phi and mu of
    the right one with those of MDPs drawn for themselves, 1 : 0 at first, then 1/2 : 1/2, 1/4 : 3/4 and so on.

    Args:
        dimension, peaked: as of `LinearMDP`.
        models: how many there are.
    """

    def __init__(self, dimension: int, peaked: float = 4.0, models: int = 31):
        super().__init__(dimension, peaked)
        self.models = models

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        others = self.models - 1
        share = 0.5 ** (torch.arange(others, dtype=F64) // 3)
        features = _simplex(_drawn(seeds, "low-rank", others, states, actions, self.dimension), self.peaked)
        measures = _simplex(_drawn(seeds, "low-rank-measures", others, self.dimension, states), self.peaked)
        place = (_drawn(seeds, "low-rank-place") * self.models).long().tolist()

        def among(right: Tensor, wrong: Tensor) -> Tensor:
            by = share.view(-1, *[1] * (right.ndim - 1))
            found = torch.cat([right.unsqueeze(1), (1 - by) * right.unsqueeze(1) + by * wrong], 1)
            return torch.stack([table.roll(shift, 0) for table, shift in zip(found, place, strict=True)])

        return {
            "candidate_features": among(self.features(states, actions, seeds), features),
            "candidate_measures": among(self.measures(states, seeds), measures),
        }


class AdversarialLinearMDP(LinearMDP):
    """A linear MDP whose rewards in round t are <phi(s, a), theta_t>, theta_t in {0, 1}^d drawn beforehand, a sequence of R for each seed, which begins again
    behind its end. How much all features pay changes between phases, each 1.6 times as long as the one before: their chances are those of a vector in one
    phase and 0.3 of them in the next.

    Args:
        dimension, peaked: as of `LinearMDP`.
        rounds: R.
    """

    def __init__(self, dimension: int, rounds: int, peaked: float = 4.0):
        super().__init__(dimension, peaked)
        self.rounds = rounds

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        features, chance = self.features(states, actions, seeds), self.theta(seeds).unsqueeze(1)
        rich = _rich(torch.arange(self.rounds, dtype=F64).view(-1, 1), 1.6)
        theta = (_drawn(seeds, "adversarial-linear-mdp", self.rounds, self.dimension) < torch.where(rich, chance, 0.3 * chance)).to(F64)
        return {"features": features, "rounds": torch.einsum("skad,std->stka", features, theta).clamp(0, 1)}

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        transition, _, initial = super().build(states, actions, seeds)
        return transition, self.told(states, actions, seeds)["rounds"].mean(1), initial


class LinearMixture:
    """P = Σ_j theta_j P_j, the kernels P_j being told and theta, uniform on the simplex, not (Ayoub et al. 2020, section 3; Zhou, Gu and Szepesvári 2021);
    an instance for each seed. Mean rewards are uniform in [0, 1), the first state is 0.

    Args:
        dimension: d, kernels.
        peaked: as of `LinearMDP`, of the kernels' distributions.
    """

    def __init__(self, dimension: int, peaked: float = 4.0):
        self.dimension, self.peaked = dimension, peaked

    def kernels(self, states: int, actions: int, seeds: Sequence[int]) -> Tensor:
        """`[S, d, K, A, K]`."""
        return _simplex(_drawn(seeds, "linear-mixture", self.dimension, states, actions, states), self.peaked)

    def theta(self, seeds: Sequence[int]) -> Tensor:
        """`[S, d]`."""
        return _simplex(_drawn(seeds, "linear-mixture-theta", self.dimension))

    def build(self, states: int, actions: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        transition = torch.einsum("sdkaj,sd->skaj", self.kernels(states, actions, seeds), self.theta(seeds))
        return transition, _drawn(seeds, "linear-mixture-reward", states, actions), _at(states, 0)

    def told(self, states: int, actions: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        return {"kernels": self.kernels(states, actions, seeds)}


GARNET = Garnet(5)
ADVERSARIAL_BANDIT, MISSPECIFIED_BANDIT, PAYMENTS = AdversarialBandit(20_000), MisspecifiedBandit(10, 2, 0.1), Payments(4)
ADVERSARIAL_LINEAR_MDP = AdversarialLinearMDP(5, 10_000)
LINEAR_BANDIT, LINEAR_MDP, LOW_RANK, LINEAR_MIXTURE = LinearBandit(5), LinearMDP(5), LowRank(5), LinearMixture(5)
TABLES: dict[str, Table] = {
    "chain": Table(chain, 5, 2, ("states",)),
    "river-swim": Table(river_swim, 6, 2, ("states",), 0.99, 20, fewest=2),
    "deep-sea": Table(deep_sea, 10, 2, ("states",), horizon=lambda states: states, fixed=True),
    "combination-lock": Table(combination_lock, 7, 3, ("states", "actions"), horizon=lambda states: states - 1, own=True, fewest=2),
    "four-rooms": maze(FOUR_ROOMS, 1 / 3),
    "cliff": maze(CLIFF, 0.1),
    "windy": maze(WINDY, 0.0, WIND),
    "corner": Table(corner, 16, 4, horizon=20, picture=CORNER.strip()),
    "random-dense": Table(dense, 20, 4, ("states", "actions"), 0.9, own=True),
    "random-sparse": Table(sparse, 20, 4, ("states", "actions"), 0.9, own=True),
    "garnet": Table(GARNET.build, 1_000, 4, ("states", "actions"), 0.9, own=True, told=GARNET.told, branches=GARNET.branches),
    "random-episodes": Table(sparse, 8, 3, ("states", "actions"), horizon=5, own=True),
    "layered": Table(layered, 5, 3, ("states", "actions"), horizon=3, fixed=True, bernoulli=True, own=True, fewest=3),
    "bandit": Table(bandit, 10, 5, ("states", "actions"), horizon=1, fixed=True, bernoulli=True, own=True),
    "latent": Table(latent, 3, 2, ("states", "actions"), horizon=4, own=True, fewest=2, hidden=True),
    "tiger": Table(tiger, 4, 3, horizon=5, hidden=True),
    "revealing": Table(revealing, 3, 3, ("actions", "observations", "revealing"), horizon=2, fixed=True, own=True, hidden=True, others=PAIRS),
    "gusty": Table(gusty, 35, 4, told=winds, kernels=3, picture=GUSTY.strip()),
    "random-uncertain": Table(random_uncertain, 8, 3, ("states", "actions"), 0.9, own=True, told=random_models, kernels=3),
    "random-risky": Table(random_risky, 3, 3, ("actions",), horizon=5, stock=0.1, own=True),
    "risky": Table(risky, 3, 2, horizon=5, stock=0.1),
    "adversarial-bandit": Table(
        ADVERSARIAL_BANDIT.build, 1, 5, ("states", "actions"), horizon=1, fixed=True, own=True, told=ADVERSARIAL_BANDIT.told, rounds=ADVERSARIAL_BANDIT.rounds
    ),
    "payments": Table(
        PAYMENTS.build,
        50,
        20,
        ("states", "actions", "batch", "delay"),
        horizon=1,
        fixed=True,
        bernoulli=True,
        own=True,
        told=PAYMENTS.told,
        others={"batch": 5_000, "delay": 1},
    ),
    "misspecified-bandit": Table(MISSPECIFIED_BANDIT.build, 1, 500, ("actions",), horizon=1, fixed=True, own=True, told=MISSPECIFIED_BANDIT.told),
    "linear-bandit": Table(LINEAR_BANDIT.build, 10, 5, ("states", "actions"), horizon=1, fixed=True, bernoulli=True, own=True, told=LINEAR_BANDIT.told),
    "linear-mdp": Table(LINEAR_MDP.build, 20, 4, ("states", "actions"), 0.9, 6, own=True, told=LINEAR_MDP.told),
    "adversarial-linear-mdp": Table(
        ADVERSARIAL_LINEAR_MDP.build,
        10,
        3,
        ("states", "actions"),
        horizon=3,
        own=True,
        told=ADVERSARIAL_LINEAR_MDP.told,
        rounds=ADVERSARIAL_LINEAR_MDP.rounds,
    ),
    "low-rank": Table(LOW_RANK.build, 20, 4, ("states", "actions"), 0.9, 6, own=True, told=LOW_RANK.told),
    "linear-mixture": Table(LINEAR_MIXTURE.build, 15, 4, ("states", "actions"), 0.9, 6, own=True, told=LINEAR_MIXTURE.told, kernels=5),
}


def _at(states: int, place: int) -> Tensor:
    initial = torch.zeros(1, states, dtype=F64)
    initial[0, place] = 1
    return initial


def _simplex(uniform: Tensor, power: float = 1.0) -> Tensor:
    """Distributions over the last axis, of uniform draws: normalised powers of exponential ones, uniform on the simplex with a power of 1, and the more unequal
    the larger it is."""
    weight = (-torch.log1p(-uniform)) ** power
    return weight / weight.sum(-1, keepdim=True)


def _rich(time: Tensor, growth: float) -> Tensor:
    """Whether a time, counted from 0, is in the first, third, … phase, of which each is `growth` times as long as the one before, and the first 1."""
    ends, length = [0.0], 1.0
    while ends[-1] < time.max():
        ends.append(ends[-1] + length)
        length *= growth
    return torch.bucketize(time, torch.tensor(ends, dtype=F64), right=True) % 2 == 1


def _lifted(uniform: Tensor) -> Tensor:
    """(1, x) / √2 of a uniformly random direction x, `[..., d]` of uniform draws `[..., d - 1]`."""
    direction = _direction(uniform)
    return torch.cat([torch.ones_like(direction[..., :1]), direction], -1) / 2**0.5


def _direction(uniform: Tensor) -> Tensor:
    """Uniformly random directions, of uniform draws `[..., d]`."""
    normal = torch.special.ndtri(uniform.clamp(min=1e-12))
    return normal / normal.norm(dim=-1, keepdim=True)


def _drawn(seeds: Sequence[int], name: str, *shape: int) -> Tensor:
    """Uniform draws in [0, 1) of each seed's own, `[S, *shape]` float64."""
    generators = [torch.Generator().manual_seed(derive_seed(seed, "tabular", name)) for seed in seeds]
    return torch.stack([torch.rand(shape, generator=generator, dtype=F64) for generator in generators])
