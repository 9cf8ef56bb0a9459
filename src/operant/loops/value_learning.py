"""The value-learning loop: draw → relabel → phases of losses → track. For off-policy, offline, hybrid and model-based methods alike."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from operant import ops
from operant.core.errors import BadInput, a_type, calling_place, place_of
from operant.core.flat import Adam, FlatParameters, clip_scale, shared_view
from operant.core.graphs import PLAIN, Execution
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.loops.behaviour import Behaviour, InTwoParts, Sampled
from operant.loops.draw import Draw, Drawer, NStep, Relabel, Uniform, Windows
from operant.loops.goals import AchievedLater
from operant.loops.imagine import Imagination, Imagine
from operant.loops.learner import Learner, Spine, check_batch, check_finite, check_values
from operant.loops.trial import SEEDS, try_losses
from operant.nets.actors import Net, Policy
from operant.nets.kernels import in_bfloat16
from operant.nets.layers import BatchRenorm, batch_norms
from operant.worlds.base import SampleWorkers, World
from operant.worlds.gym.collect import episode_means
from operant.worlds.gym.experience import Act, Online
from operant.worlds.store import Column, Store, Transitions, row_bytes, transition_columns

BLOCK = 2**14  # transitions of a data set that a normaliser takes in at a time
TRIED = 2**20  # numbers of a batch's observations up to which a trial takes a fraction of a second
MOST_UPDATES = 500  # of an iteration online, about: a run that is told to stop ends with the iteration
LEARNED = ("nets", "targets", "scalars")
SCALARS = "scalars"  # under this name a phase trains the learned scalars


@dataclass(frozen=True)
class Optim:
    """One phase's optimiser: Adam.

    Attributes:
        weight_decay: decoupled.
        betas: of the running means of gradients and of their squares.
        max_grad_norm: gradients are scaled to at most this norm, over all that the phase trains; None leaves them.
    """

    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float | None = None


Followed = Sequence[tuple[Tensor, Tensor]]  # numbers of a target network, and those of the trained one in their place


@dataclass(frozen=True)
class Polyak:
    """A target network that takes in a share of the trained one at every `every`th update."""

    share: float = 0.005
    every: int = 1

    def follow(self, followed: Followed, update: int) -> None:
        if update % self.every == 0:
            for target, trained in followed:
                target.lerp_(trained, self.share)


@dataclass(frozen=True)
class Copy:
    """A target network that becomes the trained one at every `every`th update."""

    every: int = 1000

    def follow(self, followed: Followed, update: int) -> None:
        if update % self.every == 0:
            for target, trained in followed:
                target.copy_(trained)


@dataclass(frozen=True)
class Phase:
    """Some nets, and the losses that train them together: one backward pass, one optimiser step.

    Attributes:
        losses: `(update) → {name: loss [S, B]}`, one number a seed and transition, to be minimised. They are averaged over transitions (with the weights of the
            batch, where it has some) and summed. A net that the phase does not train must be reached through `update.frozen`, or without gradients. Batch
            norms go by the batch in the nets that the phase trains, and by running statistics in all others.
        trains: names of nets, and "scalars" for all learned scalars.
        every: the phase runs at every `every`th update.
        starts: updates before it runs at all.
        steps: optimiser steps when it runs, each with a batch of its own behind the first.
        draw: the phase's own batches; None for the one that phases share.
        combine: where a method puts gradients together itself: `({loss name: gradient [S, P]}) → gradient [S, P]`, over all parameters that the phase trains.
        anew: its optimiser forgets its moments each time that the phase runs, for nets that are then given other weights.
    """

    losses: Callable[[Update], dict[str, Tensor]]
    trains: tuple[str, ...]
    every: int = 1
    starts: int = 0
    steps: int = 1
    optim: Optim = Optim()
    draw: Draw | None = None
    combine: Callable[[dict[str, Tensor]], Tensor] | None = None
    anew: bool = False

    @property
    def name(self) -> str:
        return "+".join(self.trains)


class Update:
    """What the losses of one update see.

    Attributes:
        batch: the drawn (and relabelled) transitions.
        count: updates of the run before this one.
        progress: share of training that is done, 0 to 1.
        streams: random streams; a draw takes a name of its own.
        targets: what `bellman` gave in this update, `[S, B]` each, and `bellman_each`, `[K, S, B]`.
        horizon: 1 / (1 − gamma) of these, the longest; infinite where nothing is discounted.
    """

    def __init__(self, learner: ValueLearner, batch: Transitions, drawer: Drawer):
        self._learner, self._drawer = learner, drawer
        self.batch = batch
        self.count, self.progress = learner.updates, learner.progress
        self.streams = learner.streams
        self.targets: list[Tensor] = []
        self.rewards: list[Tensor] = []  # that they were made of
        self.horizon = 1.0
        self.logged: dict[str, Tensor] = {}

    def net(self, name: str) -> nn.Module:
        """A net with gradients to its weights."""
        return _named(self._learner.nets, "net", name)

    def frozen(self, name: str) -> nn.Module:
        """The same weights without gradients to them: gradients reach the inputs alone."""
        return _named(self._learner.frozen, "net", name)

    def target(self, name: str) -> nn.Module:
        """The target network of a net that is tracked."""
        return _named(self._learner.targets, "net that is tracked", name)

    def scalar(self, name: str) -> Tensor:
        """A learned scalar, `[S, 1]`."""
        return _named(self._learner.scalars, "scalar", name)

    def noise(self, name: str, net: str = "actor") -> Tensor:
        """Draws for one action of each transition, for `distribution.sample` of a net."""
        return self.net(net).distribution.noise(self.streams, name, self.batch.reward.shape[1])

    def bellman(self, next_value: Tensor, *, gamma: float, reward: Tensor | None = None) -> Tensor:
        """The target r + γ V(s') `[S, B]`, γ to the power of the steps that a transition spans. Termination ends it, truncation does not. No gradients.

        Args:
            next_value: `[S, B]`, one number a transition. Of an ensemble `[S, E, B]` each is given by itself, and quantiles `[S, B, K]` to `bellman_each`:
                another shape would have two readings.
            reward: `[S, B]`, in the place of the batch's.

        Raises:
            BadInput: another shape.
        """
        batch = self.batch
        self._check("u.bellman takes next values", next_value, "; of an ensemble give each by itself and stack the targets, quantiles to u.bellman_each")
        if reward is not None:
            self._check("u.bellman takes rewards", reward)
        discount = gamma if batch.steps is None else gamma**batch.steps
        reward = batch.reward if reward is None else reward
        found = ops.td_target(reward, next_value.detach(), batch.terminated, gamma=discount)
        self._gave(found, reward, gamma)
        return found

    def bellman_each(self, next_values: Tensor, *, gamma: float) -> Tensor:
        """`bellman` of K next values of each transition, quantiles or atoms of what may come, `[S, B, K]`. Raises `BadInput` for another shape."""
        batch = self.batch
        if not isinstance(next_values, Tensor) or next_values.ndim != 3 or next_values.shape[:2] != batch.reward.shape:
            wanted = f"u.bellman_each takes next values [S, B, K] = {[*batch.reward.shape, 'K']}, K of each transition".replace("'", "")
            raise BadInput(f"{wanted}, found {_shape(next_values)}{calling_place()}")
        discount = gamma if batch.steps is None else (gamma**batch.steps).unsqueeze(-1)
        found = ops.td_target(batch.reward.unsqueeze(-1), next_values.detach(), batch.terminated.unsqueeze(-1), gamma=discount)
        self._gave(found.movedim(-1, 0), batch.reward, gamma)
        return found

    def _gave(self, targets: Tensor, reward: Tensor, gamma: float) -> None:
        self.targets.append(targets)
        self.rewards.append(reward)
        self.horizon = max(self.horizon, 1 / (1 - gamma) if gamma < 1 else math.inf)

    def prioritize(self, priority: Tensor) -> None:
        """Tell the draw how much is to be learned from each transition, `[S, B]` (the size of its temporal difference). Raises `BadInput` for another shape."""
        self._check("u.prioritize takes priorities", priority)
        self._drawer.prioritize(self.batch, priority.detach())

    def log(self, name: str, value: Tensor) -> None:
        """Show a person the mean of `[S, …]`. Raises `BadInput` where the first axis is not that of seeds."""
        seeds = len(self.batch.reward)
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != seeds:
            raise BadInput(f"u.log({name!r}) takes numbers of each of {seeds} seeds, [S, …], found {_shape(value)}{calling_place()}")
        self.logged[name] = value.detach().flatten(1).mean(1) if value.ndim > 1 else value.detach()

    def _check(self, what: str, found: Tensor, otherwise: str = "") -> None:
        wanted = self.batch.reward.shape
        if not isinstance(found, Tensor) or found.shape != wanted:
            raise BadInput(f"{what} [S, B] = {list(wanted)}, one a transition, found {_shape(found)}{otherwise}{calling_place()}")


def _shape(found: object) -> str:
    """What a method gave, in words."""
    return str(list(found.shape)) if isinstance(found, Tensor) else a_type(found)


@contextmanager
def _by_batch(layers: Sequence[BatchRenorm]) -> Iterator[None]:
    """Within it these layers go by the batch."""
    for layer in layers:
        layer.by_batch = True
    try:
        yield
    finally:
        for layer in layers:
            layer.by_batch = False


def _named(found: Any, what: str, name: str) -> Any:
    """What a method asks for by its name. Raises `BadInput` that lists what there is."""
    if name not in found:
        there = f"there {'is' if len(found) == 1 else 'are'} {', '.join(found) or 'none'}"
        raise BadInput(f"this method asks for the {what} {name!r}; {there}{calling_place()}")
    return found[name]


@dataclass(frozen=True)
class Replay:
    """A store "replay" that whoever stands around the loop appends to, where the loop steps no environments itself.

    Attributes:
        capacity: transitions kept a seed.
        columns: what a transition holds beside what all do.
    """

    capacity: int
    columns: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class ValueLearning(Spine):
    """A configured value-learning loop.

    Attributes:
        nets: actors, critics, encoders, models and whatever else is trained, by name.
        phases: what trains them, in order; an update runs each that is due.
        acts: how experience is gathered; its net is the policy that is evaluated.
        draw: the batches that phases share.
        hindsight: goals that the episode achieved later, for each one that was set, before any other relabel (HER); 0 for none.
        relabel: what batches go through, in order.
        track: nets that have a target network, and how it follows.
        scalars: learned scalars by name, with their initial values; those that no phase trains are settings.
        online: how experience enters replay; None for methods that learn from a data set, or from what they are given.
        replay: what an outer loop gives to learn from; None where nothing stands around this one. A step is then an update.
        data: a data set is learned from besides replay.
        rewards: the data's rewards are needed; False where a relabel gives others.
        imagine: rollouts of a model among the nets, for methods with replay.
        updates_per_iteration: updates (offline) or environment steps (online) between two looks at the metrics; of the latter fewer where many updates belong
            to a step.
        sample_workers: processes that step the environments; None for the one that trains.
        execution: how updates are computed.
    """

    bfloat16 = True
    goes_on = True

    nets: Mapping[str, Net]
    phases: Sequence[Phase]
    acts: Behaviour = Sampled()
    draw: Draw = Uniform()
    hindsight: int = 0
    relabel: Sequence[Relabel] = ()
    track: Mapping[str, Polyak | Copy] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)
    online: Online | None = None
    replay: Replay | None = None
    data: bool = False
    rewards: bool = True
    imagine: Imagine | None = None
    updates_per_iteration: int = 100
    sample_workers: SampleWorkers | None = None
    execution: Execution = PLAIN

    def __post_init__(self) -> None:
        _named(self.nets, "net that acts,", self.acts.net)
        for name in self.track:
            _named(self.nets, "net that is tracked,", name)
        for phase in self.phases:
            for name in phase.trains:
                _named({**self.nets, **dict.fromkeys([SCALARS] * bool(self.scalars))}, "net that a phase trains,", name)

    @property
    def policy(self) -> Net:
        return self.nets[self.acts.net]

    @property
    def rows(self) -> int:
        return self.draw.size

    @property
    def from_data(self) -> bool:
        return self.data or (self.online is None and self.replay is None)

    def step_unit(self, world: World) -> str:
        return world.step_unit if self.online is None else "environment steps"

    def with_policy(self, net: Net) -> ValueLearning:
        return replace(self, nets={**self.nets, self.acts.net: net})

    def sampled_by(self, workers: SampleWorkers) -> ValueLearning:
        if self.online is None:
            return super().sampled_by(workers)
        if workers.staleness:
            raise BadInput(f"--staleness {workers.staleness}: this method draws what it learns from out of replay, and acts and learns by turns; leave it out")
        return replace(self, sample_workers=workers)

    def executed_by(self, execution: Execution) -> ValueLearning:
        return replace(self, execution=execution)

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_workers(self.sample_workers)
        if self.from_data:
            world.check_data(rewards=self.rewards)
        if self.hindsight:
            self._check_hindsight(world)
        if self.online is not None:
            world.check_experience(self.online, len(seeds), steps, self.sample_workers)
        if self.replay is not None:
            each = row_bytes(transition_columns(world.observation, (world.action.numbers,)) | dict(self.replay.columns))
            what = f"replay of {self.replay.capacity:,} transitions for each of {len(seeds):,} seeds"
            check_memory(what, len(seeds) * self.replay.capacity * each, "lower --capacity")
        if self.imagine is not None:
            each = row_bytes(transition_columns(world.observation, (world.action.numbers,)))
            what = f"{self.imagine.capacity:,} imagined transitions for each of {len(seeds):,} seeds"
            check_memory(what, len(seeds) * self.imagine.capacity * each, "keep fewer")
        check_batch(world, len(seeds), self.draw.size, self.policy)
        for relabel in self.relabel:
            if isinstance(relabel, NStep):
                relabel.check_memory(len(seeds) * self.draw.size)
        super().check(world, seeds, steps, episodes)

    def _check_hindsight(self, world: World) -> None:
        """Raise `BadInput` where transitions have no goals, or are not learned from one by one."""
        if steps := [relabel.n for relabel in self.relabel if isinstance(relabel, NStep) and relabel.n > 1]:
            raise BadInput(f"hindsight: goals in hindsight are given to single steps, and n_step makes one of {steps[0]}: take --n-step 1")
        if self.imagine is not None or any(isinstance(draw, Windows) for draw in (self.draw, *(phase.draw for phase in self.phases))):
            raise BadInput("hindsight: goals in hindsight are given to single transitions that happened: draw no Windows, and imagine nothing")
        world.check_goals()

    def trial(self, world: World, device: torch.device) -> None:
        if self.online is None or self.from_data or self.imagine is not None or world.observation.size * self.draw.size > TRIED:
            return
        tried = replace(self, online=None, hindsight=0, replay=Replay(2 * self.draw.size))
        try_losses(tried.learner(world, SEEDS, 1, device))

    def notes(self, steps: int) -> list[str]:
        """Where a run ends before its first update, or before a phase has begun."""
        if self.online is None:
            return []
        random = self.online.learning_starts
        if steps <= random:
            return [f"all {steps:,} steps are random ones, of which there are {random:,} before the first update: nothing is learned; take more --steps"]
        updates = int((steps - random) * self.online.updates_per_step)
        late = [phase for phase in self.phases if updates <= phase.starts or updates < phase.every]
        return [f"{steps:,} steps give {updates:,} updates, fewer than {phase.name} waits for: it is not trained; take more --steps" for phase in late]

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> ValueLearner:
        return ValueLearner(self, world, list(seeds), total_steps, device)


class _Stepped(NamedTuple):
    """What one optimiser step of a phase gave, on its device.

    Attributes:
        names: of its losses; values: of them, `[terms, S]`.
        norms: of the gradients, `[S]`.
        logged: what the losses showed a person, `[S]` by name.
        targets, rewards, horizon: as of `Update`.
    """

    names: list[str]
    values: Tensor
    norms: Tensor
    logged: dict[str, Tensor]
    targets: list[Tensor]
    rewards: list[Tensor]
    horizon: float


class _Trained:
    """A phase at work: its optimiser, and the metrics of an iteration.

    Attributes:
        step: `(tensors of a batch, numbers) → _Stepped`.
        last: the newest step, and its batch.
    """

    def __init__(self, phase: Phase, flats: list[FlatParameters], drawer: Drawer):
        self.phase, self.flats, self.drawer = phase, flats, drawer
        self.step: Callable[[Mapping[str, Tensor], Mapping[str, float]], _Stepped]
        optim = phase.optim
        self.optimizer = Adam(flats, learning_rate=optim.learning_rate, eps=optim.eps, betas=optim.betas, weight_decay=optim.weight_decay)
        self.names: list[str] = []
        self.forget()

    def forget(self) -> None:
        self.values: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.indices: list[Tensor] = []
        self.logged: dict[str, list[Tensor]] = {}
        self.last: tuple[_Stepped, Transitions] | None = None


class ValueLearner(Learner):
    """The loop at work. A step is one update on a data set, one environment step where there are such.

    Attributes:
        nets, frozen, targets: by name.
        stores: transitions by name: "replay" (what the policy did), "data" (a data set), "imagined" (what a model answered).
        drawer: gives the batches that phases share.
        updates: done a seed.
    """

    def __init__(self, method: ValueLearning, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = self.updates = 0
        self._largest_reward = torch.zeros(())  # in size, of a seed's batches
        self.streams = Streams(seeds, device)
        built = {name: self._build(name, net) for name, net in method.nets.items()}
        self.nets = nn.ModuleDict(built).to(device)
        self.policy: Policy = self.nets[method.acts.net]
        if self.policy.normalizer is not None and method.imagine is not None:
            raise BadInput(f"net {method.acts.net!r} normalises observations, and models imagine them as they are: take one of the two")
        self._chooses = isinstance(method.acts, InTwoParts) and type(method.acts).act is InTwoParts.act  # not, where a subclass acts in a way of its own
        if self.policy.initial(1) is not None and not self.policy.plans:
            if not isinstance(method.draw, Windows):
                raise BadInput(f"net {method.acts.net!r} remembers its episode, and this method draws single transitions: draw Windows, or take no memory")
            if not self._chooses:
                raise BadInput(f"net {method.acts.net!r} remembers its episode: {a_type(method.acts)} acts at observations alone, take Sampled")
        self.scalars = nn.ParameterDict({name: torch.full((len(seeds), 1), value, device=device) for name, value in method.scalars.items()})
        self._flats = {name: FlatParameters(net, seeds=len(seeds)) for name, net in self.nets.items()}
        if method.scalars:
            self._flats[SCALARS] = FlatParameters(self.scalars, seeds=len(seeds))
        self.frozen = nn.ModuleDict({name: shared_view(net, copy.deepcopy(net)) for name, net in self.nets.items()})
        self.targets = nn.ModuleDict({name: copy.deepcopy(self.nets[name]) for name in method.track})
        self._target_flats = {name: FlatParameters(target, seeds=len(seeds)) for name, target in self.targets.items()}
        self.targets.requires_grad_(False)
        self._followed = {name: self._pairs(name) for name in method.track}
        self._batch_norms = {name: batch_norms(net) for name, net in self.nets.items()}
        self.experience = None
        self._carry: Tensor | None = None  # of a policy that plans or remembers
        self.stores: dict[str, Store] = {}
        if method.online is not None:
            self.experience = world.experience(method.online, self.policy, self.streams, total_steps, workers=method.sample_workers)
            self.stores["replay"] = self.experience.store
            self._owed = 0.0
            self._carry = self.policy.initial(method.online.environments)
        if method.replay is not None:
            columns = transition_columns(world.observation, self.policy.distribution.action_shape, self.policy.distribution.action_type)
            self.stores["replay"] = Store(len(seeds), method.replay.capacity, columns | dict(method.replay.columns), device=device)
        if method.from_data:
            self.stores["data"] = world.data(self.policy, device, rewards=method.rewards)
            self._take_in(self.stores["data"])
        self.imagination = None if method.imagine is None else Imagination(method.imagine, self.stores, self.streams)
        self._goals = world.goals() if method.hindsight else None
        achieved = [] if self._goals is None else [AchievedLater(self._goals, method.hindsight)]
        self._relabel = [*achieved, *method.relabel, *([self._normalized] if self.policy.normalizer is not None else [])]
        self.drawer = method.draw.bind(self.stores, self.streams, "draw", self._relabel)
        self._phases = [self._at_work(phase) for phase in method.phases]

    @property
    def resume(self) -> str:
        return super().resume if self.experience is None else self.experience.resume

    def _build(self, name: str, net: Net) -> nn.Module:
        if name == self.method.acts.net:
            return self.world.policy(net, self.streams)
        return net.build(self.world.observation, self.world.action, self.streams, name)

    def _pairs(self, name: str) -> Followed:
        """Weights and statistics of a net's target network, and the net's own."""
        target, trained = self.targets[name], self.nets[name]
        layers = zip(batch_norms(target), batch_norms(trained), strict=True)
        statistics = [pair for one, other in layers for pair in zip(one.statistics, other.statistics, strict=True)]
        return [(self._target_flats[name].data, self._flats[name].data), *statistics]

    def _at_work(self, phase: Phase) -> _Trained:
        drawer = self.drawer if phase.draw is None else phase.draw.bind(self.stores, self.streams, f"draw/{phase.name}", self._relabel)
        execution = self.method.execution
        compiled = execution.compiled(phase.losses, self.streams, lambda given: (self.seen(given[0].batch, drawer),))
        phase = replace(phase, losses=compiled)
        at_work = _Trained(phase, [self._flats[name] for name in phase.trains], drawer)
        at_work.step = execution.repeated(partial(self._step, at_work), self.streams, f"the update of phase {phase.name}")
        return at_work

    def _take_in(self, store: Store) -> None:
        """The normaliser's statistics from all observations of a data set, where there is one."""
        normalizer = self.policy.normalizer
        for start in range(0, store.size if normalizer is not None else 0, BLOCK):
            index = torch.arange(start, min(start + BLOCK, store.size), device=store.rows.device).expand(store.stores, -1)
            seen = store.gather(index).observation.expand(len(self.seeds), -1, -1)
            normalizer.update(seen, torch.ones(seen.shape[:2], dtype=torch.bool, device=seen.device))

    def _normalized(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        """The last relabel where observations are normalised: both of a transition, as the statistics stand now."""
        seen, following = self.policy.normalizer(torch.stack([batch.observation, batch.next_observation], 1)).unbind(1)
        return replace(batch, observation=seen, next_observation=following)

    def notes(self) -> list[str]:
        return [*super().notes(), *self.world.notes_on(self.policy)]

    @property
    def _iteration(self) -> int:
        """Steps until a person, and who wants the run to stop, are attended to."""
        most, online = self.method.updates_per_iteration, self.method.online
        return most if online is None else max(1, min(most, int(MOST_UPDATES / online.updates_per_step)))

    def iterate(self) -> dict[str, Tensor]:
        remaining = min(self._iteration, self.total_steps - self.step)
        if self.experience is not None:
            self.experience.episodes = [[] for _ in self.seeds]
        for at_work in self._phases:
            at_work.forget()
        while remaining > 0:
            before, updates = self.step, 1
            if self.experience is None:
                self.step += 1
            else:
                updates = self.gather(remaining)
            remaining -= self.step - before
            for _ in range(updates):
                self.update()
        metrics: dict[str, Tensor] = {}
        for at_work in self._phases:
            metrics |= self._metrics(at_work)
        metrics |= {name: value.detach().squeeze(-1).cpu().clone() for name, value in self.scalars.items()}
        if self.experience is not None:
            metrics |= episode_means(self.experience.episodes)
        return metrics

    def gather(self, remaining: int) -> int:
        """Step every environment until updates are due, or about `remaining` steps are done; the updates that are due."""
        began, rows = time.perf_counter(), self.method.online.environments
        turns, updates = self._due(remaining)
        acting = None if self.step < self.method.online.learning_starts else self._acting(turns, rows)
        for _ in range(turns):
            self.experience.step(acting)
            self.step += rows
            if self._carry is not None and self.experience.ended.any():
                over = torch.from_numpy(self.experience.ended).view(*self._carry.shape[:2], 1).to(self._carry.device)
                self._carry = torch.where(over, self.policy.initial(rows), self._carry)
        self.experience.keep()
        self.collecting += time.perf_counter() - began
        return updates

    def _due(self, remaining: int) -> tuple[int, int]:
        """(turns of all environments until updates are due, acting is no longer random, or about `remaining` steps are done; these updates)."""
        plan, step, turns = self.method.online, self.step, 0
        while remaining > 0:
            random = step < plan.learning_starts
            turns, step, remaining = turns + 1, step + plan.environments, remaining - plan.environments
            if step > plan.learning_starts:
                self._owed += plan.updates_per_step * plan.environments
                if step // plan.every != (step - plan.environments) // plan.every and (updates := int(self._owed)):
                    self._owed -= updates
                    return turns, updates
            if random and step >= plan.learning_starts:
                break
        return turns, 0

    def act(self, observation: Tensor) -> Tensor:
        """Actions `[S, N, …]` with exploration at raw observations `[S, N, D]` of the environments, one row each."""
        return self._acting(1, observation.shape[1])(observation)

    def _acting(self, turns: int, rows: int) -> Act:
        """What acts for so many turns of so many rows, between which no weight changes."""
        acts, policy = self.method.acts, self.policy
        if policy.plans:
            return self._go_on_with_plan
        if not self._chooses:
            return lambda observation: acts.act(policy, observation, self.streams, self.progress)
        draws = [x.split(rows, 1) for x in acts.draws(policy, self.streams, turns * rows)]
        of_turns, decide = zip(*draws, strict=True) if draws else repeat(()), policy.standing()

        def act(observation: Tensor) -> Tensor:
            carry = policy.initial(rows) if self._carry is None else self._carry
            parameters, self._carry = decide(policy.normalized(observation), carry)
            return acts.choose(policy, parameters, observation, next(of_turns), self.progress)

        return act

    def _go_on_with_plan(self, observation: Tensor) -> Tensor:
        carry = self.policy.initial(observation.shape[1]) if self._carry is None else self._carry
        action, self._carry = self.policy.drawn(observation, carry, self.streams)
        return action

    def _metrics(self, at_work: _Trained) -> dict[str, Tensor]:
        if not at_work.values:
            return {}
        values = torch.stack(at_work.values).cpu()
        norms, phase = torch.stack(at_work.norms).cpu(), at_work.phase.name
        check_finite(self, at_work.names, values, norms, lambda update: at_work.drawer.recall(at_work.indices[update]).tensors(), phase)
        last, batch = at_work.last
        if last.targets:  # of the last update alone: what explodes does not come back
            target, reward = (torch.stack([x.abs().movedim(-2, 0).flatten(1).amax(1) for x in of]).amax(0).cpu() for of in (last.targets, last.rewards))
            self._largest_reward = torch.maximum(self._largest_reward, reward)
            check_values(self, phase, target, self._largest_reward, last.horizon, batch.tensors())
        metrics = {f"loss/{name}": values[:, place].mean(0) for place, name in enumerate(at_work.names)}
        return metrics | {name: torch.stack(found).mean(0).cpu() for name, found in at_work.logged.items()}

    def update(self) -> None:
        """One update: imagination and every phase that are due, then target networks. No host read happens here."""
        self.updates += 1
        with in_bfloat16(self.world.bfloat16):
            self._learn()
        with torch.no_grad():
            for name, track in self.method.track.items():
                track.follow(self._followed[name], self.updates)

    def at_work(self) -> list[tuple[Phase, Drawer]]:
        """The phases and where their batches come from."""
        return [(at_work.phase, at_work.drawer) for at_work in self._phases]

    def seen(self, batch: Transitions, drawer: Drawer) -> Update:
        """What the losses of an update see of a batch."""
        return Update(self, batch, drawer)

    def train_once(self) -> None:
        """One optimiser step of every phase, due or not."""
        with in_bfloat16(self.world.bfloat16):
            for at_work in self._phases:
                self._train(at_work, at_work.drawer.draw())

    def _learn(self) -> None:
        if self.imagination is not None and self.imagination.due(self.updates):
            self.imagination.run(lambda batch: Update(self, batch, self.drawer), self.progress)
        shared: Transitions | None = None
        for at_work in self._phases:
            if self.updates <= at_work.phase.starts or self.updates % at_work.phase.every:
                continue
            if at_work.phase.anew:
                at_work.optimizer.reset()
            for step in range(at_work.phase.steps):
                if at_work.drawer is not self.drawer or step:
                    batch = at_work.drawer.draw()
                else:
                    shared = batch = self.drawer.draw() if shared is None else shared
                self._train(at_work, batch)

    def _train(self, at_work: _Trained, batch: Transitions) -> None:
        """One optimiser step of a phase."""
        done = at_work.step(batch.tensors(), {"count": self.updates, "progress": self.progress})
        at_work.names = done.names
        at_work.values.append(done.values)
        at_work.norms.append(done.norms)
        at_work.indices.append(batch.index)
        at_work.last = done, batch
        for name, value in done.logged.items():
            at_work.logged.setdefault(name, []).append(value)

    def _step(self, at_work: _Trained, tensors: Mapping[str, Tensor], numbers: Mapping[str, float | Tensor]) -> _Stepped:
        """What a device does in one optimiser step of a phase. No host read happens here, and nothing of the learner changes but tensors, in place."""
        phase, batch = at_work.phase, Transitions.of(tensors)
        update = self.seen(batch, at_work.drawer)
        update.count, update.progress = numbers["count"], numbers["progress"]
        for flat in at_work.flats:
            flat.zero_grad()
        losses = self.losses(phase, update)
        names = list(losses)
        means = torch.stack([(loss if batch.weight is None else loss * batch.weight).mean(-1) for loss in losses.values()])  # [terms, S]
        if phase.combine is None:
            means.sum().backward()
        else:
            self._combine(at_work, names, means)
        norms = torch.stack([flat.grad_norm() for flat in at_work.flats]).norm(dim=0)
        if phase.optim.max_grad_norm is not None:
            for flat in at_work.flats:
                flat.scale_grad(clip_scale(norms, phase.optim.max_grad_norm))
        at_work.optimizer.step(norms)
        return _Stepped(names, means.detach(), norms, update.logged, update.targets, update.rewards, update.horizon)

    def losses(self, phase: Phase, update: Update) -> dict[str, Tensor]:
        """A phase's losses of one update, `[S, B]` each.

        Raises:
            BadInput: no losses, one of another shape, or one that hangs on no weight.
        """
        with _by_batch([layer for name in phase.trains for layer in self._batch_norms.get(name, ())]):
            losses = phase.losses(update)
        if not isinstance(losses, dict) or not losses:
            given = f"the losses of phase {phase.name} are {a_type(losses)}"
            raise BadInput(f"{given}: a method gives them by name, {{name: loss}}{place_of(phase.losses)}")
        wanted = update.batch.reward.shape
        for name, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.shape != wanted:
                given = f"loss {name!r} has shape {_shape(loss)}; a method gives one number a seed and transition, {list(wanted)}, and reduces nothing"
                raise BadInput(given + place_of(phase.losses))
        if not any(loss.requires_grad for loss in losses.values()):
            raise BadInput(f"no loss of phase {phase.name} hangs on a weight: reach what it trains through u.net or u.scalar{place_of(phase.losses)}")
        return losses

    def _combine(self, at_work: _Trained, names: list[str], means: Tensor) -> None:
        found = {}
        for place, name in enumerate(names):
            means[place].sum().backward(retain_graph=place + 1 < len(names))
            found[name] = torch.cat([flat.gradient() for flat in at_work.flats], 1)
            for flat in at_work.flats:
                flat.zero_grad()
        combined, wanted = at_work.phase.combine(found), next(iter(found.values())).shape
        if not isinstance(combined, Tensor) or combined.shape != wanted:
            raise BadInput(f"combine of phase {at_work.phase.name} gave {_shape(combined)}; the gradients are {list(wanted)}{place_of(at_work.phase.combine)}")
        start = 0
        for flat in at_work.flats:
            width = flat.data.numel() // flat.seeds
            flat.set_gradient(combined[:, start : start + width])
            start += width

    def probes(self) -> Mapping[str, Callable[[], object]]:
        return {"update": self.update}

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {name: state[name] for name in LEARNED}

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        if "nets" not in learned:  # of another method
            super().begin_from(learned)
            if (acts := self.method.acts.net) in self.targets:
                self.targets[acts].load_state_dict(learned["policy"])
            return
        said = self.method.scalars and not any(SCALARS in phase.trains for phase in self.method.phases)
        for name in LEARNED:
            if name != SCALARS or not said:
                getattr(self, name).load_state_dict(learned[name])

    def state_dict(self) -> dict[str, Any]:
        state = {
            "step": self.step,
            "updates": self.updates,
            "streams": self.streams.state_dict(),
            "nets": dict(self.nets.state_dict()),
            "targets": dict(self.targets.state_dict()),
            "scalars": dict(self.scalars.state_dict()),
            "draw": self.drawer.state_dict(),
            "phases": [{"optimizer": at_work.optimizer.state_dict(), "draw": at_work.drawer.state_dict()} for at_work in self._phases],
        }
        if self.experience is not None:
            state |= {"experience": self.experience.state_dict(), "owed": self._owed, "carry": self._carry}
        if self.method.replay is not None:
            state["replay"] = self.stores["replay"].state_dict()
        if self.imagination is not None:
            state["imagined"] = self.imagination.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.updates = state["step"], state["updates"]
        self.streams.load_state_dict(state["streams"])
        for name in LEARNED:
            getattr(self, name).load_state_dict(state[name])
        if self.experience is not None:
            self.experience.load_state_dict(state["experience"])
            self._owed = state["owed"]
            if self._carry is not None:
                fresh = self.policy.initial(self.method.online.environments)
                self._carry = state["carry"].to(fresh.device) if self.resume == "bitwise" else fresh
        if self.method.replay is not None:
            self.stores["replay"].load_state_dict(state["replay"])
        if self.imagination is not None:
            self.imagination.load_state_dict(state["imagined"])
        self.drawer.load_state_dict(state["draw"])
        for at_work, saved in zip(self._phases, state["phases"], strict=True):
            at_work.optimizer.load_state_dict(saved["optimizer"])
            if at_work.drawer is not self.drawer:
                at_work.drawer.load_state_dict(saved["draw"])

    def close(self) -> None:
        if self.experience is not None:
            self.experience.close()
        if self._goals is not None:
            self._goals.close()
