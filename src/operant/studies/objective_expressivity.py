"""What a Markov reward cannot ask for: orderings of policies that other ways to say an objective induce, held against all rewards at once by a linear program.

Paper: Subramani et al. 2023, arXiv:2310.11840. A formalism is as expressive as another where it induces every ordering of policies that the other does, in
every environment. The value of a Markov reward is linear in a policy's occupancy (`ops.stationary_occupancy`), so that an ordering is one of a Markov reward
exactly where some reward puts the occupancies in its order: a linear program, whose largest margin is 0 where there is none. Each witness here is a small
environment, a few stationary policies, and an objective of another formalism that orders them as no reward does.

Settled: policies are stationary, stochastic ones among them; orderings are total with ties, of the policies that a witness lists, for what no reward does to
these it does not do to all. Thirteen of the seventeen formalisms are here. The four others (outer MORL with an order in the place of a number, and free orders
of occupancies, of trajectory lotteries and of policies) differ from those only on infinitely many policies, which no program can list. The discount belongs to
a Markov objective, and the program is solved for each of `--discounts`; between them it is the witness's structure that decides, which its line names.

An ordering of your own, of deterministic policies of a task of yours: --task tabular:NAME --order 01=10,00=11, best first, a digit a state, "=" between equals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import Count, Range
from operant.core.seeds import derive_seed
from operant.studies import Say, StudyResult, Table, study
from operant.worlds import kind_of, make_world
from operant.worlds.tabular.linear_program import check_solver, maximum

TIE = 1e-9  # values that are nearer are equal; and a margin that is not above it is 0
F64 = torch.float64


@dataclass(frozen=True)
class ExpressivityOptions:
    instances: Count = 1000  # random Markov rewards, on random environments of 2 and 3 states, whose orderings must all be found
    discounts: Annotated[tuple[float, ...], Range(0, 1, open_high=True)] = (0.0, 0.3, 0.6, 0.9, 0.99)  # of the Markov rewards that witnesses are held against
    seed: Annotated[int, Range(0)] = 0  # of the random environments, and of a --task that has an instance a seed
    task: str | None = None  # a finite MDP, tabular:NAME without a horizon, whose policies --order puts in order; its reward counts for nothing
    order: str | None = None  # policies of --task, best first: a digit a state, "," before what is worse and "=" between equals, as in 01=10,00=11


@dataclass(frozen=True)
class Environment:
    """What there is before anybody wants something: `transition [K, A, K]` and `initial [K]`, float64."""

    transition: Tensor
    initial: Tensor

    def occupancy(self, policy: Tensor, discount: float) -> Tensor:
        return ops.stationary_occupancy(self.initial, self.transition, policy, discount=discount)

    def chain(self, policy: Tensor) -> Tensor:
        return torch.einsum("kaj,ka->kj", self.transition, policy)

    def trajectories(self, policy: Tensor, most: int = 12) -> list[tuple[float, list[tuple[int, int]]]]:
        """All that may happen, each with its probability and its pairs, up to a state that is not left, whose actions count for nothing.

        Raises:
            BadInput: some do not end within `most` steps.
        """
        stays = [bool((self.transition[state, :, state] == 1).all()) for state in range(len(self.initial))]
        open_, ended = [(float(p), [], state) for state, p in enumerate(self.initial) if p > 0], []
        for _ in range(most + 1):
            ended += [(chance, pairs) for chance, pairs, state in open_ if stays[state]]
            going = [each for each in open_ if not stays[each[2]]]
            open_ = [
                (chance * float(policy[state, action] * self.transition[state, action, following]), [*pairs, (state, action)], int(following))
                for chance, pairs, state in going
                for action in policy[state].nonzero().flatten().tolist()
                for following in self.transition[state, action].nonzero().flatten().tolist()
            ]
            if not open_:
                return ended
        raise BadInput(f"an objective over trajectories is computed where they end within {most} steps")


# The formalisms: each gives an environment's policy [K, A] a number.


@dataclass(frozen=True)
class MarkovReward:
    """Σ discount^t r: linear in the occupancy."""

    reward: Tensor
    discount: float

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        return float((environment.occupancy(policy, self.discount) * self.reward).sum() / (1 - self.discount))


@dataclass(frozen=True)
class LimitAverage:
    """The mean reward of a step in the long run."""

    reward: Tensor

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        shares = environment.initial @ ops.limit_matrix(environment.chain(policy))
        return float((shares * (policy * self.reward).sum(-1)).sum())


def product(environment: Environment, policy: Tensor, following: Tensor) -> tuple[Environment, Tensor]:
    """The environment beside an automaton, which goes from state u to `following [U, K, A]` where a pair is seen; both begin in their first state. The policy
    looks at the environment alone."""
    machine, (states, actions) = len(following), policy.shape
    joint = torch.zeros(machine, states, actions, machine, states, dtype=F64)
    u, k, a = torch.meshgrid(torch.arange(machine), torch.arange(states), torch.arange(actions), indexing="ij")
    joint[u, k, a, following] = environment.transition
    initial = torch.cat([environment.initial, torch.zeros((machine - 1) * states, dtype=F64)])
    return Environment(joint.view(machine * states, actions, machine * states), initial), policy.repeat(machine, 1)


@dataclass(frozen=True)
class RewardMachine:
    """Σ discount^t r, the reward `[U, K, A]` being of an automaton's state too."""

    following: Tensor
    reward: Tensor
    discount: float

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        both, same = product(environment, policy, self.following)
        return MarkovReward(self.reward.flatten(0, 1), self.discount).evaluate(both, same)


@dataclass(frozen=True)
class TemporalLogic:
    """The probability that a formula of linear temporal logic holds, given as a deterministic Büchi automaton: `accepting [U]` states are seen for ever."""

    following: Tensor
    accepting: Tensor

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        both, same = product(environment, policy, self.following)
        shares = ops.limit_matrix(both.chain(same)).clamp(min=0)
        accepts = self.accepting.repeat_interleave(len(environment.initial))
        good = ((shares > TIE) & accepts).any(-1).to(F64)  # of recurrent states: their class has an accepting one
        return float((both.initial @ shares * good).sum())


@dataclass(frozen=True)
class Regularised:
    """Σ discount^t (r - weight · F(π(·|s))), F a function of what a policy does in a state."""

    reward: Tensor
    discount: float
    weight: float
    regulariser: Callable[[Tensor], Tensor]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        reward = self.reward - self.weight * self.regulariser(policy).unsqueeze(-1)
        return MarkovReward(reward, self.discount).evaluate(environment, policy)


@dataclass(frozen=True)
class OuterNonlinear:
    """A function of the values of one Markov reward, or of several (outer multi-objective)."""

    rewards: tuple[Tensor, ...]
    discount: float
    of: Callable[..., float]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        return float(self.of(*(MarkovReward(reward, self.discount).evaluate(environment, policy) for reward in self.rewards)))


@dataclass(frozen=True)
class TrajectoryFunction:
    """The mean of a number that each trajectory, its pairs in order, is worth."""

    of: Callable[[Sequence[tuple[int, int]]], float]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        return sum(chance * self.of(pairs) for chance, pairs in environment.trajectories(policy))


def inner_nonlinear(rewards: tuple[Tensor, ...], discount: float, of: Callable[..., float]) -> TrajectoryFunction:
    """The mean of a function of a trajectory's return, or of several returns (inner multi-objective)."""

    def worth(pairs: Sequence[tuple[int, int]]) -> float:
        return float(of(*(sum(discount**step * float(reward[pair]) for step, pair in enumerate(pairs)) for reward in rewards)))

    return TrajectoryFunction(worth)


@dataclass(frozen=True)
class OccupancyFunction:
    """Any function of the occupancy."""

    discount: float
    of: Callable[[Tensor], float]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        return float(self.of(environment.occupancy(policy, self.discount)))


@dataclass(frozen=True)
class LotteryFunction:
    """Any function of the distribution of trajectories: a list of chances, and one of returns."""

    reward: Tensor
    of: Callable[[np.ndarray, np.ndarray], float]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        chances, returns = zip(*((chance, sum(float(self.reward[pair]) for pair in pairs)) for chance, pairs in environment.trajectories(policy)), strict=True)
        return float(self.of(np.array(chances), np.array(returns)))


@dataclass(frozen=True)
class PolicyFunction:
    """Any function of the policy, where it is never in a state too."""

    of: Callable[[Tensor], float]

    def evaluate(self, environment: Environment, policy: Tensor) -> float:
        return float(self.of(policy))


# The program.


def ordering(values: Sequence[float]) -> list[list[int]]:
    """Places by value, best first, those of equal values (to `TIE`) together."""
    found: list[list[int]] = []
    for place in sorted(range(len(values)), key=lambda place: -values[place]):
        if found and abs(values[found[-1][-1]] - values[place]) <= TIE:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def markov_margin(occupancy: Tensor, order: Sequence[Sequence[int]]) -> tuple[float, Tensor]:
    """The largest m for which some reward within [-1, 1] puts occupancies in an order, each at least m above the next worse ones, equals being equal.

    Args:
        occupancy: `[P, K, A]`, of the policies.
        order: places among them, best first, equals together.

    Returns:
        (m, the reward `[K, A]`): 0 where no reward does, and infinite where there is nothing to tell apart.
    """
    d = occupancy.flatten(1).numpy()
    equal = [d[a] - d[b] for group in order for a, b in zip(group, group[1:], strict=False)]
    strict = [d[better[0]] - d[worse[0]] for better, worse in zip(order, order[1:], strict=False)]
    pairs = d.shape[1]
    if not strict:
        return np.inf, torch.zeros(occupancy.shape[1:], dtype=F64)
    # variables: the reward's positive and negative part, what is left up to 1, the margin, what a strict step has above it
    eye, steps = np.eye(pairs), len(strict)
    rows = [np.hstack([eye, eye, eye, np.zeros((pairs, 1 + steps))])]
    up = np.array(strict)
    rows.append(np.hstack([up, -up, np.zeros((steps, pairs)), -np.ones((steps, 1)), -np.eye(steps)]))
    if equal:
        same = np.array(equal)
        rows.append(np.hstack([same, -same, np.zeros((len(same), pairs + 1 + steps))]))
    gain = np.zeros(3 * pairs + 1 + steps)
    gain[3 * pairs] = 1
    found = maximum(gain, np.vstack(rows), np.concatenate([np.ones(pairs), np.zeros(steps + len(equal))]))
    return float(found[3 * pairs]), torch.from_numpy(found[:pairs] - found[pairs : 2 * pairs]).view(occupancy.shape[1:])


# The witnesses.


@dataclass(frozen=True)
class Witness:
    """An objective that orders policies of an environment as no Markov reward does.

    Attributes:
        formalism: what the objective is one of.
        says: what it asks for, in words; `why` no reward does, whatever its discount.
        policies: `[P, K, A]`, each with a name.
    """

    formalism: str
    says: str
    why: str
    environment: Environment
    policies: Tensor
    names: tuple[str, ...]
    objective: Any

    def values(self) -> list[float]:
        return [self.objective.evaluate(self.environment, policy) for policy in self.policies]

    def told(self) -> str:
        """Its ordering in words."""
        return " > ".join(" ~ ".join(sorted(self.names[place] for place in group)) for group in ordering(self.values()))

    def margin(self, discounts: Sequence[float]) -> float:
        """The largest that any reward has, at any of the discounts."""
        order = ordering(self.values())
        return max(markov_margin(torch.stack([self.environment.occupancy(policy, discount) for policy in self.policies]), order)[0] for discount in discounts)


def coin() -> Environment:
    """One state, two actions, for ever."""
    return Environment(torch.ones(1, 2, 1, dtype=F64), torch.ones(1, dtype=F64))


def two_steps() -> Environment:
    """Two choices between two actions, one after the other, and an end."""
    transition = torch.zeros(3, 2, 3, dtype=F64)
    transition[0, :, 1] = transition[1, :, 2] = transition[2, :, 2] = 1
    return Environment(transition, torch.tensor([1.0, 0.0, 0.0], dtype=F64))


def leaving() -> Environment:
    """Action 1 leaves the first state for good; the second has one way to be."""
    transition = torch.zeros(2, 2, 2, dtype=F64)
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, :, 1] = 1
    return Environment(transition, torch.tensor([1.0, 0.0], dtype=F64))


def mixing(*chances: float) -> tuple[Tensor, tuple[str, ...]]:
    """Policies of `coin` that take action 1 so often."""
    return torch.tensor([[[1 - p, p]] for p in chances], dtype=F64), tuple(f"{p:g}" for p in chances)


def choices() -> tuple[Tensor, tuple[str, ...]]:
    """The four deterministic policies of `two_steps`."""
    names = ("00", "01", "10", "11")
    return torch.stack([torch.eye(2, dtype=F64)[[int(name[0]), int(name[1]), 0]] for name in names]), names


def witnesses() -> list[Witness]:
    """One for each formalism that is not within Markov rewards."""
    one, two = coin(), two_steps()
    action = torch.zeros(3, 2, dtype=F64)
    action[:2, 1] = 1  # taking action 1
    other = torch.zeros(3, 2, dtype=F64)
    other[:2, 0] = 1
    heads = torch.tensor([[0.0, 1.0]], dtype=F64)
    saw = torch.tensor([[[1, 2]]]).repeat(3, 1, 1)  # nothing yet, action 0, action 1 was the last
    changed = torch.zeros(3, 1, 2, dtype=F64)
    changed[1, 0, 1] = changed[2, 0, 0] = 1
    differ = torch.tensor([[[1, 2], [3, 3], [3, 3]], [[1, 1], [3, 4], [1, 1]], [[2, 2], [4, 3], [2, 2]], [[3, 3]] * 3, [[4, 4]] * 3])  # 4: they differed
    stays = torch.stack([torch.tensor([[1 - p, p], [1.0, 0.0]], dtype=F64) for p in (0.0, 0.5, 1.0)])
    idle = torch.stack([torch.eye(2, dtype=F64)[[0, place]] for place in (0, 1)])  # never in the second state
    linear = "values are sums of what each choice is worth, and both pairs of choices sum up alike"
    between = "mixing two pure policies is worth what they are in the mean"
    found = [
        (
            "limit average",
            "be away in the long run, however late",
            "leaving by chance is worth something strictly between leaving at once and never",
            (leaving(), stays, ("0", "0.5", "1")),
            LimitAverage(torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=F64)),
        ),
        (
            "temporal logic",
            "the second action differs from the first",
            linear,
            (two, *choices()),
            TemporalLogic(differ, torch.tensor([False, False, False, False, True])),
        ),
        ("reward machine", "do not do the same twice in a row", between, (one, *mixing(0, 0.5, 1)), RewardMachine(saw, changed, 0.9)),
        ("regularised", "action 1, but undecided", between, (one, *mixing(0, 0.25, 0.5, 0.75, 1)), Regularised(heads * 0.2, 0.9, 1.0, _decided)),
        (
            "outer nonlinear",
            "a value of 1, neither more nor less",
            linear,
            (two, *choices()),
            OuterNonlinear((torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 0.0]], dtype=F64),), 0.5, _near_one),
        ),
        ("outer multi-objective", "the lesser of two values", between, (one, *mixing(0, 0.5, 1)), OuterNonlinear((heads, 1 - heads), 0.9, min)),
        ("inner nonlinear", "a return of 1, neither more nor less", linear, (two, *choices()), inner_nonlinear((action,), 1.0, _near_one)),
        ("inner multi-objective", "some of both in every episode", linear, (two, *choices()), inner_nonlinear((action, other), 1.0, min)),
        ("trajectory function", "end as it began", linear, (two, *choices()), TrajectoryFunction(lambda pairs: float(pairs[0][1] == pairs[1][1]))),
        (
            "occupancy function",
            "visit all pairs alike",
            between,
            (one, *mixing(0, 0.5, 1)),
            OccupancyFunction(0.9, lambda d: float(torch.special.entr(d).sum())),
        ),
        ("trajectory lottery", "a sure return, whatever it is", between, (two, *first_choice(0, 0.5, 1)), LotteryFunction(action, _sure)),
        ("policy function", "be careful where one never is", "both visit the same", (leaving(), idle, ("careless", "careful")), PolicyFunction(_careful)),
    ]
    return [Witness(formalism, says, why, *bed, objective) for formalism, says, why, bed, objective in found]


def first_choice(*chances: float) -> tuple[Tensor, tuple[str, ...]]:
    """Policies of `two_steps` that take action 1 first so often, and action 0 then."""
    return torch.stack([torch.tensor([[1 - p, p], [1.0, 0.0], [1.0, 0.0]], dtype=F64) for p in chances]), tuple(f"{p:g}" for p in chances)


def _near_one(value: float) -> float:
    return -((value - 1) ** 2)


def _careful(policy: Tensor) -> float:
    return float(policy[1, 1])


def _decided(policy: Tensor) -> Tensor:
    """The negative entropy of what is done in each state."""
    return -torch.special.entr(policy).sum(-1)


def _sure(chances: np.ndarray, returns: np.ndarray) -> float:
    mean = (chances * returns).sum()
    return -float((chances * (returns - mean) ** 2).sum())


def random_orderings(instances: int, seed: int) -> dict[str, int]:
    """Orderings of all deterministic policies by random Markov rewards: how many the program denies, and how many its reward puts otherwise."""
    denied = wrong = 0
    for instance in range(instances):
        generator = torch.Generator().manual_seed(derive_seed(seed, "expressivity", instance))
        states = 2 + instance % 2
        weight = -torch.log1p(-torch.rand(states, 2, states, generator=generator, dtype=F64))
        environment = Environment(weight / weight.sum(-1, keepdim=True), torch.full((states,), 1 / states, dtype=F64))
        reward, discount = torch.rand(states, 2, generator=generator, dtype=F64), float(0.95 * torch.rand((), generator=generator, dtype=F64))
        policies = torch.cartesian_prod(*[torch.arange(2)] * states)
        occupancy = torch.stack([environment.occupancy(torch.eye(2, dtype=F64)[policy], discount) for policy in policies])
        order = ordering((occupancy * reward).sum((-2, -1)).tolist())
        margin, found = markov_margin(occupancy, order)
        denied += margin <= 0
        wrong += [place for group in order for place in group] != torch.argsort((occupancy * found).sum((-2, -1)), descending=True).tolist()
    return {"instances": instances, "denied": denied, "put otherwise": wrong}


@study(
    "objective-expressivity",
    paper="arXiv:2310.11840",
    summary="Which orderings of policies no Markov reward induces, by a linear program; an ordering of your own on a finite MDP",
)
def objective_expressivity(options: ExpressivityOptions, folder: Path, say: Say) -> StudyResult:
    check_solver()
    if (options.task is None) != (options.order is None):
        raise BadInput("study objective-expressivity: --task and --order go together, as in --task tabular:chain --order 00000,11111")
    if options.task is not None:
        return own_ordering(options.task, options.order, options.seed)
    figures: dict[str, Any] = {"witnesses": {}}
    rows = []
    for witness in witnesses():
        margin = max(0.0, witness.margin(options.discounts))
        figures["witnesses"][witness.formalism] = {"ordering": witness.told(), "markov_margin": margin, "says": witness.says, "why": witness.why}
        rows.append((witness.formalism, witness.says, witness.told(), f"{margin:.1e}" if margin > TIE else "0"))
    say(f"{len(rows)} witnesses at {len(options.discounts)} discounts; now {options.instances} random rewards")
    figures["random"] = random_orderings(options.instances, options.seed)
    title = "orderings that no Markov reward induces: margin 0 of the best reward at any discount"
    tables = [Table(title, ("formalism", "asks for", "ordering", "margin"), tuple(rows))]
    counts = tuple((name, str(value)) for name, value in figures["random"].items())
    tables.append(Table("orderings by random Markov rewards, which the program must find", ("of the random rewards", "number"), counts))
    return StudyResult(figures, tuple(tables))


def own_ordering(task: str, order: str, seed: int) -> StudyResult:
    """Whether a Markov reward puts deterministic policies of a finite MDP in an order."""
    if kind_of(task) != "tabular":
        raise BadInput(f"study objective-expressivity: --task {task} is no finite MDP: take one, such as tabular:chain")
    world = make_world(task)
    if world.horizon is not None:
        raise BadInput(
            f"study objective-expressivity: --task {task} has a horizon, and stationary policies are compared: take one without, such as tabular:chain"
        )
    mdp = world.mdp(Streams([seed]))
    if "," not in order:
        raise BadInput(f"study objective-expressivity: --order {order} puts nothing below anything: a comma stands before what is worse, as in 00000,11111")
    names = [[word.strip() for word in group.split("=")] for group in order.split(",")]
    said = [name for group in names for name in group]
    for name in said:
        if len(name) != mdp.states or not all(mark.isdigit() and int(mark) < mdp.actions for mark in name):
            raise BadInput(f"study objective-expressivity: --order: {name!r} is no policy of {task}: {mdp.states} digits, 0 to {mdp.actions - 1}")
        if said.count(name) > 1:
            raise BadInput(f"study objective-expressivity: --order has {name} twice")
    policies = torch.stack([torch.eye(mdp.actions, dtype=F64)[[int(mark) for mark in name]] for name in said])
    occupancy = torch.cat([mdp.occupancy(policy[None]) for policy in policies])
    margin, reward = markov_margin(occupancy, [[said.index(name) for name in group] for group in names])
    expressible = margin > TIE
    values = (occupancy * reward).sum((-2, -1)) / (1 - mdp.discount)
    figures = {"task": world.task, "order": order, "discount": mdp.discount, "expressible": expressible, "margin": margin, "reward": reward.tolist()}
    if not expressible:
        return StudyResult(figures, (Table(f"no Markov reward on {world.task} orders these so", ("order", "margin"), ((order, "0"),)),))
    rows = tuple((str(state), *(f"{x:.4g}" for x in each)) for state, each in enumerate(reward.tolist()))
    found = Table(f"a reward within [-1, 1] that orders them so, by {margin:.3g} a step", ("state", *(f"action {a}" for a in range(mdp.actions))), rows)
    valued = Table("what the policies are worth with it", ("policy", "value"), tuple((name, f"{x:.6g}") for name, x in zip(said, values.tolist(), strict=True)))
    return StudyResult(figures, (found, valued))
