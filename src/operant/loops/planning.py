"""The planning loop: finite MDPs and games, solved from what is known of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.loops.learner import Learner, Spine
from operant.loops.regret import Exploitability, Regret
from operant.worlds.base import World
from operant.worlds.tabular.games import FiniteGame
from operant.worlds.tabular.mdp import FiniteMDP, Played, Samples
from operant.worlds.tabular.pomdp import HistoryMDP
from operant.worlds.tabular.robust import UncertainMDP

EPISODES = 1_000  # iterations of a planner that plays, without a budget
PROPOSALS = 6  # of a gamma draw
PLAYED = 100  # bytes of a step that is played, at the least: draws, places, and what came of it
Reads = Literal["mdp", "samples", "episodes", "hybrid", "game"]
PLAYS, LOGGED = ("episodes", "hybrid"), ("samples", "hybrid")  # what reads what comes of its policies, and what reads logged transitions
State = dict[str, Tensor]
"""Where a planner stands: tables by name, among them "policy" `[S, *shape]`, probabilities, which is evaluated and kept."""


@dataclass(frozen=True)
class Model:
    """What was seen of an MDP by playing in it.

    Attributes:
        following: `[S, *model, K]`, how often each pair led to each state.
        gained: `[S, *model]`, the sum of the rewards there.
    """

    following: Tensor
    gained: Tensor

    @cached_property
    def count(self) -> Tensor:
        """Visits of each pair, `[S, *model]`."""
        return self.following.sum(-1)

    @cached_property
    def reward(self) -> Tensor:
        """Mean rewards, `[S, *model]`; 0 where nothing was seen, as transitions are."""
        return self.gained / self.count.clamp(min=1)

    @cached_property
    def transition(self) -> Tensor:
        """Frequencies of what came next, `[S, *model, K]`."""
        return self.following / self.count.clamp(min=1).unsqueeze(-1)

    @property
    def tables(self) -> State:
        """As a state keeps it."""
        return {"following": self.following, "gained": self.gained}

    def fitted(self, features: Tensor, ridge: float) -> Fitted:
        """What linear regression on features `[S or 1, *model, d]` makes of it."""
        return Fitted(*ops.ridge_model(features, self.count, self.following, self.gained, ridge=ridge))


@dataclass(frozen=True)
class Fitted:
    """A model of an MDP that is linear in known features.

    Attributes:
        reward: `[S, *model]`.
        transition: `[S, *model, K]`; its rows need not be distributions.
        width: `[S, *model]`, the elliptic norm of each pair's features: by how much what is said of it may be off, up to a constant.
    """

    reward: Tensor
    transition: Tensor
    width: Tensor


class Late:
    """Episodes that were played, and of which the planner is told in batches: of each once `delay` later ones are full."""

    def __init__(self, batch: int, delay: int):
        self.batch, self.delay = batch, delay
        self._waiting: list[Played] = []
        self._count = 0

    def told(self, played: Played) -> Played:
        """Of these and those that waited what it is told now, in the order in which they were played: none, or whole batches."""
        self._waiting.append(played)
        self._count += played.reward.shape[1]
        if not (count := max(self._count // self.batch - self.delay, 0) * self.batch):
            return played.part(0, 0)
        everything = self._all()
        self._waiting, self._count = [everything.part(count, self._count - count)], self._count - count
        return everything.part(0, count)

    def _all(self) -> Played:
        return Played(**{name: torch.cat([each.tables[name] for each in self._waiting], 1) for name in self._waiting[0].tables})

    def state_dict(self) -> dict[str, Any]:
        return self._all().tables if self._waiting else {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._waiting = [Played(**{name: table.to(device) for name, table in state.items()})] if state else []
        self._count = sum(each.reward.shape[1] for each in self._waiting)


class Problem:
    """What a planner is given, for all seeds at once.

    Attributes:
        task: its name.
        shape: of what a policy decides: (K, A), with a horizon (H, K, A), of a game (I, A).
        streams: of random draws, a generator a seed.
        step: iterations that are done.
        regret: of what planners that read "episodes" or "hybrid" have played; None for others.
        late: what they have played and were not told of yet, of tasks that tell late; None of others.
        exploitability: of what planners that read "game" came to; None for others.
    """

    def __init__(self, reads: Reads, world: World, streams: Streams):
        self._reads, self.task = reads, world.task
        self._game = world.game(streams).to(streams.device) if reads == "game" else None
        self.exploitability = None if self._game is None else Exploitability(self._game, len(streams.seeds))
        self.streams, self.step = streams, 0
        self.regret, self.late, self._samples = None, None, None
        if self._game is not None:
            self.shape = self._game.shape
            return
        self._mdp = world.mdp(streams).to(streams.device)
        self._samples = world.samples(streams).to(streams.device) if reads in LOGGED else None
        self.shape = self._mdp.shape
        self.regret = Regret(self._mdp, len(streams.seeds)) if reads in PLAYS else None
        late = self.regret is not None and (self._mdp.batch, self._mdp.delay) != (1, 0)
        self.late = Late(self._mdp.batch, self._mdp.delay) if late else None

    @property
    def mdp(self) -> FiniteMDP:
        """The MDP itself, of planners that read "mdp"."""
        if self._reads != "mdp":
            raise RunFailed('a planner asked for the MDP, and reads samples of it: Planning(…, reads="mdp")')
        return self._mdp

    @property
    def game(self) -> FiniteGame:
        """The game, of planners that read "game"."""
        if self._game is None:
            raise RunFailed('a planner asked for the game, and reads something else: Planning(…, reads="game")')
        return self._game

    @property
    def in_game(self) -> bool:
        """Of planners that take games and MDPs, whether the task is a game."""
        return self._game is not None

    @property
    def samples(self) -> Samples:
        """Logged transitions, of planners that read "samples" or "hybrid"."""
        if self._samples is None:
            raise RunFailed('a planner asked for samples, and reads the MDP itself: Planning(…, reads="samples")')
        return self._samples

    @property
    def features(self) -> Tensor:
        """Known features of the pairs, `[S or 1, K, A, d]`, with a horizon `[S or 1, H or 1, K, A, d]`. Raises `BadInput` where the task has none."""
        return self._known("features", "tabular:linear-mdp or tabular:linear-bandit")

    @property
    def kernels(self) -> Tensor:
        """Known transitions that the MDP mixes, `[S or 1, d, K, A, K]`. Raises `BadInput` where the task has none."""
        return self._known("kernels", "tabular:linear-mixture")

    @property
    def candidates(self) -> tuple[Tensor, Tensor]:
        """Features `[S or 1, M, K, A, d]` and measures `[S or 1, M, d, K]` of models phi mu, of which one is right. Raises `BadInput` without any."""
        return tuple(self._known(f"candidate_{name}", "tabular:low-rank") for name in ("features", "measures"))

    @property
    def reward(self) -> Tensor:
        """Mean rewards `[S or 1, H or 1, K, A]`, of planners that play and know them."""
        return self._mdp.reward

    @property
    def transition(self) -> Tensor:
        """Transitions `[S or 1, H or 1, K, A, K]`, of planners that play and have a simulator."""
        return self._mdp.transition

    @property
    def initial(self) -> Tensor:
        """The distribution of the first state `[S or 1, K]`, of planners that play and know it."""
        return self._mdp.initial

    @property
    def linear(self) -> bool:
        """Features are known."""
        return self._mdp.features is not None

    def _known(self, name: str, tasks: str) -> Tensor:
        if (table := getattr(self._mdp, name)) is None:
            raise BadInput(f"{self.task} tells no {name}, and this planner needs them: take {tasks}, or a file that has them")
        return table

    def play(self, policy: Tensor, count: int) -> Played:
        """So many episodes of a policy `[S, H, K, A]`, of planners that read "episodes" or "hybrid"."""
        if self.regret is None:
            raise RunFailed('a planner asked for episodes, and reads something else: Planning(…, reads="episodes")')
        self._newest = (first := self.regret.episodes), count
        self.regret.add(policy, count)
        played = self._mdp.play(policy, count, self.streams, first=first)
        return played if self.late is None else self.late.told(played)

    @property
    def revealed(self) -> Tensor:
        """What every action would have earned in the episodes that were played last, the sum of their mean rewards, `[S or 1, H or 1, K, A]`: of planners with
        full information (`check_rounds`)."""
        return self._mdp.over(*self._newest)

    def unrolled(self, key: str) -> HistoryMDP:
        """Of a problem where something is hidden its histories and the sizes of what is hidden, which a planner of this key may know, and not its tables.

        Raises:
            BadInput: nothing is hidden.
        """
        if not isinstance(self._mdp, HistoryMDP):
            raise BadInput(f"{key} is for problems where something is hidden, and here nothing is: take one, such as tabular:latent")
        return self._mdp

    def uncertain(self, key: str) -> UncertainMDP:
        """The MDP with its uncertainty set, of planners that read "mdp". Raises `BadInput`, with the planner's key, where transitions are certain."""
        if not isinstance(self.mdp, UncertainMDP):
            raise BadInput(f"{key} is for problems whose transitions are uncertain, and here they are certain: take one, such as tabular:gusty")
        return self.mdp

    def check_rewards(self, key: str) -> None:
        """Raise `BadInput` where a planner of this key, whose bounds hold for rewards in [0, 1], would meet others."""
        low, high = self._mdp.rewards if self._samples is None else (self._samples.reward.min().item(), self._samples.reward.max().item())
        if low < 0 or high > 1:
            raise BadInput(f"{key} needs rewards in [0, 1]; these are from {low:g} to {high:g}: scale them")

    @property
    def available(self) -> Tensor:
        """The actions that can be taken in each state, `[S or 1, K, A]` bool."""
        given = self._mdp.available
        return torch.ones(1, *self.shape[-2:], dtype=torch.bool, device=self.streams.device) if given is None else given

    def check_rounds(self, key: str) -> None:
        """Raise `BadInput` where a planner of this key, which is shown whole rounds, would meet episodes that are all alike."""
        if self._mdp.rounds is None:
            raise BadInput(f"{key} needs rewards that differ between rounds and are shown afterwards: take tabular:adversarial-bandit, or a file with rounds")

    @property
    def stationary(self) -> bool:
        """All steps of an episode are alike: transitions, mean rewards and known features hang on the state and the action alone."""
        tables = (self._mdp.transition, self._mdp.reward, *([] if self._mdp.features is None else [self._mdp.features]))
        return self._mdp.horizon is None or all(table.shape[1] == 1 for table in tables)

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Of what a model of the MDP counts apart: (K, A) where it is `stationary`, else (H, K, A)."""
        return self.shape[-2:] if self.stationary else self.shape

    @property
    def most(self) -> Tensor:
        """The most that is left from each step on with rewards in [0, 1], with a horizon: H - h, `[H, 1, 1]`."""
        return torch.arange(self.shape[0], 0, -1, dtype=torch.float64, device=self.streams.device).view(-1, 1, 1)

    def model(self, state: State | None = None, played: Played | None = None) -> Model:
        """What a state has seen, and what was played since; nothing without them."""
        if state is None or played is None:
            return Model(self.zeros(*self.model_shape, self.shape[-2]), self.zeros(*self.model_shape))
        following, gained = played.seen(self.shape, stationary=self.stationary)
        return Model(state["following"] + following, state["gained"] + gained)

    @property
    def model_features(self) -> Tensor:
        """Of the pairs that a model counts apart, `[S or 1, *model, d]`."""
        return self.features[:, 0] if self.stationary and len(self.shape) == 3 else self.features

    @property
    def logged(self) -> Model:
        """What the logged transitions say, of planners that read "hybrid"."""
        samples = self.samples
        count, reward, transition = samples.model
        following, gained = transition * count.unsqueeze(-1), reward * count
        return Model(following.sum(1), gained.sum(1)) if self.model_shape != self.shape else Model(following, gained)

    def gamma(self, name: str, shape: Tensor) -> Tensor:
        """Draws of gamma distributions of these shapes, `[S, …]`, each seed's from its own streams of a name."""
        normal = self.streams.normal(f"{name} normal", *shape.shape[1:], PROPOSALS).to(shape.dtype)
        uniform = self.streams.uniform(f"{name} uniform", *shape.shape[1:], PROPOSALS + 1).to(shape.dtype)
        return ops.gamma_variate(shape, normal, uniform)

    def backwards(self, q: Callable[[int, Any, Tensor], Tensor], worth: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """Q of all steps, `[S, H, K, A]`, from the last one on.

        Args:
            q: `(step, here, value) → Q [S, K, A]` of a step; a model's tables have at `here` what they say of it, and `value [S, K]` is what the
                step after it is worth, 0 behind the last.
            worth: `(step, Q) → value [S, K]`; the largest Q by default.
        """
        value, found = self.zeros(self.shape[-2]), []
        for step in reversed(range(self.shape[0])):
            found.append(q(step, slice(None) if self.stationary else (slice(None), step), value))
            value = found[-1].amax(-1) if worth is None else worth(step, found[-1])
        return torch.stack(found[::-1], 1)

    def zeros(self, *axes: int) -> Tensor:
        """`[S, *axes]` float64. Raises `BadInput` where the machine has no memory for it."""
        seeds = len(self.streams.seeds)
        check_memory(f"{self.task}: a table of {' × '.join(f'{size:,}' for size in (seeds, *axes))} numbers", 8 * seeds * math.prod(axes), "take a smaller one")
        return torch.zeros(len(self.streams.seeds), *axes, dtype=torch.float64, device=self.streams.device)

    def uniform(self) -> Tensor:
        """The policy that takes every action alike, of those that there are."""
        if self._game is not None:
            return self._game.uniform.expand(len(self.streams.seeds), -1, -1).clone()
        return torch.full_like(self.zeros(*self.shape), 1 / self.shape[-1])


@dataclass(frozen=True)
class Planning(Spine):
    """A configured planner: where it starts, and one iteration of it.

    It is a function from a state to the next one and no generator, for what a generator knows cannot be saved: so a run goes on bit for bit from the tables of
    its last checkpoint, however many iterations it took to get there.

    Attributes:
        start: `(problem) → state`, before the first iteration. Raises `BadInput` for a problem that the planner is not for.
        improve: `(problem, state) → state`, one iteration; it reads nothing to the host.
        reads: "mdp", the truth, "samples", logged transitions alone, "episodes", what comes of policies that it plays, with a horizon, "hybrid", both of
            these, or "game", a finite game, whose both players it is.
        iterations: between two looks at the metrics.
        measures: `(problem, state) → {name: [S]}`, figures of a planner's own beside the score.
        late: it makes do with episodes that it is told of late, none or many at a time; others are refused tasks that tell so.
        stepwise: an iteration is a step of the episode, so that a run without a budget has as many; others that play have `EPISODES`.
        plays: episodes that it plays at a time, at the most; where tasks tell late, a batch at the least.
        games: one that reads something else takes games too, and reads them there.
    """

    start: Callable[[Problem], State]
    improve: Callable[[Problem, State], State]
    reads: Reads = "mdp"
    iterations: int = 1
    measures: Callable[[Problem, State], Mapping[str, Tensor]] | None = None
    late: bool = False
    stepwise: bool = False
    plays: int = 1
    games: bool = False

    policy = None

    def steps_of(self, world: World, loop: str) -> int:
        return EPISODES if self.reads in PLAYS and not self.stepwise else super().steps_of(world, loop)

    def reads_of(self, world: World) -> Reads:
        """What it reads on a task."""
        return "game" if self.games and world.is_game else self.reads

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        reads = self.reads_of(world)
        (world.check_game if reads == "game" else world.check_samples if reads in LOGGED else world.check_mdp)(len(seeds))
        super().check(world, seeds, steps, episodes)
        if reads in PLAYS and world.horizon is None:
            raise BadInput(f"{world.task}: this planner plays episodes, and they have no end: give a --horizon, as in --horizon 10")
        problem = Problem(reads, world, Streams(seeds[:1]))
        if problem.late is not None and not self.late:
            raise BadInput(f"{world.task}: this planner needs to be told of each play at once: give --batch 1 --delay 0")
        if reads in PLAYS:
            plays = self.plays if problem.late is None else max(self.plays, problem.late.batch)
            each = f" for each of {len(seeds):,} seeds" * (len(seeds) > 1)
            what = f"playing {plays:,} episodes of {world.horizon:,} step{'s' * (world.horizon > 1)} at a time{each}"
            check_memory(what, PLAYED * len(seeds) * plays * world.horizon, "take fewer")
        self.start(problem)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> Planner:
        return Planner(self, world, list(seeds), total_steps, device)


class Planner(Learner):
    """The loop at work. A step is one iteration.

    Logs "change": the largest difference between the state's "value" and that of the iteration before, where it has one; of planners that play episodes
    "regret", of all that were played; and in games "exploitability".
    """

    def __init__(self, method: Planning, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.streams = Streams(seeds, device)
        self.problem = Problem(method.reads_of(world), world, self.streams)
        self.policy = world.policy(None, self.streams).to(device)
        self.state: State = {}
        self._take(method.start(self.problem))

    def iterate(self) -> dict[str, Tensor]:
        for _ in range(max(1, min(self.method.iterations, self.total_steps - self.step))):
            before = self.state
            self._take(self.improve())
            self.step += 1
            if self.problem.exploitability is not None:
                self.problem.exploitability.add(self.state["policy"])
        wrong = ((self.state["policy"].sum(-1) - 1).abs() > 1e-6) | (self.state["policy"] < 0).any(-1)
        if wrong.any():
            place = wrong.nonzero()[0].tolist()
            raise RunFailed(f"the policy of iteration {self.step} is no distribution over actions: seed {self.seeds[place[0]]}, state {place[1:]}")
        metrics = {"change": (self.state["value"] - before["value"]).abs().flatten(1).amax(1).cpu()} if "value" in before else {}
        if self.problem.in_game:
            metrics["exploitability"] = self.problem.game.exploitability(self.state["policy"]).cpu()
        return metrics if self.problem.regret is None else metrics | {"regret": self.problem.regret.total.cpu()}

    def measures(self) -> dict[str, np.ndarray]:
        own = {} if self.method.measures is None else {name: x.cpu().numpy() for name, x in self.method.measures(self.problem, self.state).items()}
        regret, exploitability = self.problem.regret, self.problem.exploitability
        if exploitability is not None and (exponent := exploitability.exponent().cpu()).isfinite().all():
            return own | {"exploitability exponent": exponent.numpy()}
        if regret is None or not regret.episodes:
            return own
        exponent = regret.exponent().cpu()
        found = {"episodes played": torch.full_like(exponent, regret.episodes), "regret": regret.total.cpu()}
        return own | {name: x.numpy() for name, x in (found | ({"regret exponent": exponent} if exponent.isfinite().all() else {})).items()}

    def improve(self) -> State:
        """The state after one more iteration. No host read happens here."""
        self.problem.step = self.step
        return self.method.improve(self.problem, self.state)

    def probes(self) -> Mapping[str, Callable[[], object]]:
        return {"update": self.improve}

    def _take(self, state: State) -> None:
        if (policy := state.get("policy")) is None or policy.shape != self.policy.probabilities.shape:
            found = "no policy" if policy is None else f"a policy of shape {list(policy.shape)}"
            raise RunFailed(f"the planner's state has {found}; [S, *shape] is {list(self.policy.probabilities.shape)}")
        self.state = state
        self.policy.probabilities.copy_(policy)

    def state_dict(self) -> dict[str, Any]:
        state = {"step": self.step, "streams": self.streams.state_dict(), "state": self.state}
        if self.problem.late is not None:
            state["late"] = self.problem.late.state_dict()
        if self.problem.exploitability is not None:
            state["exploitability"] = self.problem.exploitability.state_dict()
        return state if self.problem.regret is None else state | {"regret": self.problem.regret.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.streams.load_state_dict(state["streams"])
        if self.problem.regret is not None:
            self.problem.regret.load_state_dict(state["regret"])
        if self.problem.late is not None:
            self.problem.late.load_state_dict(state["late"], self.streams.device)
        if self.problem.exploitability is not None:
            self.problem.exploitability.load_state_dict(state["exploitability"])
        self._take({name: table.to(self.streams.device) for name, table in state["state"].items()})
