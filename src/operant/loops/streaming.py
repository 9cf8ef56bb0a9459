"""The streaming loop: act → step → learn. Each sample is used once, when it comes: there is no replay, no target network and no batch.

Every net that is trained has an eligibility trace, z ← γλ z + ∇f, and moves along it by the step's temporal difference δ. A step is a pass at each of two
observations and a gradient, so the fixed costs of operations are all there is: networks are differentiated by hand where they are perceptrons
(`nets/traced.py`), what observations are normalised by stands on the host, and draws are made for a whole iteration at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from operant import ops
from operant.core.errors import BadInput, a_type, calling_place, place_of
from operant.core.flat import FlatParameters
from operant.core.random import Streams
from operant.core.registry import Positive, Share, Widths
from operant.core.traces import AdamTrace, AdaptiveObGD, ObGD, TraceStep
from operant.loops.behaviour import Choosing, EpsilonGreedy
from operant.loops.learner import Learner, Spine, check_batch, check_finite
from operant.nets.actors import Net, Policy
from operant.nets.layers import sparse
from operant.nets.normalize import SampleStatistics
from operant.nets.traced import Pull, TracedModule, by_autograd
from operant.worlds.base import World
from operant.worlds.gym.collect import episode_means

Optimizer = Literal["obgd", "adaptive-obgd", "sgd", "adam"]


@dataclass(frozen=True)
class Trace:
    """How a net moves along its trace.

    Attributes:
        optimizer: "obgd" bounds a step so that it does not go beyond its target, "adaptive-obgd" along a trace that is scaled number by number; "sgd" takes
            steps of the learning rate, and "adam" Adam's.
        kappa: of the bound, without meaning for the last two; larger ones make smaller steps.
    """

    learning_rate: float = 1.0
    kappa: float = 2.0
    optimizer: Optimizer = "obgd"

    def at_work(self, flat: FlatParameters, decay: float) -> TraceStep:
        kinds: dict[Optimizer, Callable[..., TraceStep]] = {
            "obgd": partial(ObGD, kappa=self.kappa),
            "adaptive-obgd": partial(AdaptiveObGD, kappa=self.kappa),
            "sgd": TraceStep,
            "adam": AdamTrace,
        }
        return kinds[self.optimizer](flat, learning_rate=self.learning_rate, decay=decay)


@dataclass(frozen=True)
class StreamSettings:
    """What streaming methods share."""

    gamma: Share = 0.99  # discount a step
    lam: Share = 0.8  # lambda: share of the trace that is left after a step, beside the discount
    learning_rate: Positive = 1.0  # of a step along the trace, before it is bounded
    kappa: Positive = 2.0  # of the bound on steps of values: larger ones make smaller steps
    optimizer: Optimizer = "obgd"  # bounded steps, the same along a scaled trace, or the plain ones of sgd or adam
    normalize: bool = True  # observations by their running mean and deviation
    scale_reward: bool = True  # rewards over the running deviation of their discounted sum
    hidden: Widths = (32, 32)  # widths of each network
    sparsity: Share = 0.9  # share of each unit's incoming weights that begins as 0

    @property
    def trace(self) -> Trace:
        """Of values."""
        return Trace(self.learning_rate, self.kappa, self.optimizer)

    @property
    def seen(self) -> dict[str, Any]:
        """Fields of the net that acts: how it sees observations. Normalised ones are not clipped."""
        return {"normalize": self.normalize, "clip": math.inf}

    @property
    def layers(self) -> dict[str, Any]:
        """Fields of a net of these names."""
        return {"hidden": self.hidden, "activation": "leaky_relu", "layer_norm": True, "initialize": sparse(self.sparsity)}

    @property
    def course(self) -> dict[str, Any]:
        """Fields of `Streaming` of these names."""
        return {"gamma": self.gamma, "lam": self.lam, "scale_reward": self.scale_reward}


@dataclass(frozen=True)
class ActionStreamSettings(StreamSettings):
    """What those share that act by values of actions."""

    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.01  # and once it has fallen
    epsilon_share: Share = 0.05  # share of training in which it falls

    @property
    def acts(self) -> EpsilonGreedy:
        return EpsilonGreedy("q", self.epsilon_start, self.epsilon_end, self.epsilon_share)


@dataclass(frozen=True)
class Lesson:
    """What one step teaches.

    Attributes:
        error: the temporal difference δ, `[S, 1]`.
        grows: for each net that has a trace the gradient of what is to grow where δ is positive, with respect to the net's output, in the shape of that. Of a
            value it is 1, of Q `moment.taken`, of an actor the gradient of its log-probability (`Distribution.score`, or `moment.gradient`).
        cut: whether the traces end behind this step, `[S, 1]`, as they do at the end of an episode; None where no other step ends them.
    """

    error: Tensor
    grows: Mapping[str, Tensor]
    cut: Tensor | None = None


class Moment:
    """One step of each seed's environment, as a method sees it. Tensors are `[S, 1, …]`.

    Attributes:
        observation, next_observation: normalised; the latter is the step's true outcome.
        action: in the policy's units.
        reward: scaled.
        deviation: what rewards were divided by.
        terminated, truncated: bool.
        count: steps of a seed before this one.
        progress: share of training that is done, 0 to 1.
        streams: random streams; a draw takes a name of its own.
    """

    def __init__(self, learner: StreamLearner, observation: Tensor, progress: float):
        self._learner = learner
        self.observation, self.progress = observation, progress
        self.count, self.streams = learner.step, learner.streams
        self._now: dict[str, tuple[Tensor, Pull]] = {}
        self._next: dict[str, Tensor] = {}
        self._next_action: Tensor | None = None

    action: Tensor
    reward: Tensor
    deviation: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observation: Tensor

    def net(self, name: str) -> nn.Module:
        if name not in self._learner.nets:
            raise BadInput(f"this method asks for the net {name!r}; there are {', '.join(self._learner.nets)}{calling_place()}")
        return self._learner.nets[name]

    def now(self, name: str) -> Tensor:
        """A net's output at the observation, without gradients; of the net that acts what it acted by."""
        if name not in self._now:
            self.net(name)
            self._now[name] = self._learner.pass_of(name, self.observation)
        return self._now[name][0]

    def next(self, name: str) -> Tensor:
        """A net's output at the next observation, with the same weights."""
        if name not in self._next:
            self.net(name)
            self._next[name] = self._learner.pass_of(name, self.next_observation)[0]
        return self._next[name]

    @property
    def next_action(self) -> Tensor:
        """What is done next where the episode goes on, `[S, 1, …]`, of methods that decide that before they learn (`ahead`)."""
        if self._next_action is None:
            self._next_action = self._learner.decide_ahead(self)
        return self._next_action

    def td_error(self, value: Tensor, next_value: Tensor, *, gamma: float) -> Tensor:
        """r + γ V(s') − V(s), `[S, 1]`. Termination ends it, truncation does not."""
        return ops.td_target(self.reward, next_value, self.terminated, gamma=gamma) - value

    def taken(self, values: Tensor) -> Tensor:
        """The gradient of the action's value, `[S, 1, A]`, with respect to those of all actions: the action, one-hot."""
        return torch.zeros_like(values).scatter_(-1, self.action.unsqueeze(-1), 1.0)

    def gradient(self, name: str, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradient of a function of a net's output at the observation, `[S, 1]`, with respect to that output, by autograd."""
        leaf = self.now(name).detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(function(leaf).sum(), leaf)[0]

    def pull(self, name: str, gradient: Tensor) -> list[Tensor]:
        """What a gradient of a net's output at the observation gives its parameters."""
        self.now(name)
        return self._now[name][1](gradient)


@dataclass(frozen=True)
class Streaming(Spine):
    """A configured streaming loop: one environment a seed.

    Attributes:
        nets: by name.
        learn: `(moment) → Lesson`, after every step. It reads nothing to the host.
        traces: of the nets that are trained, how they move along them.
        acts: how actions are chosen; its net is the policy that is evaluated and kept, whose normaliser is that of all nets.
        gamma, lam: traces decay by their product; the former also discounts the sum by whose deviation rewards are scaled.
        scale_reward: rewards are divided by the running deviation of their discounted sum.
        ahead: the next action is decided before the step is learned from, for methods that value it (SARSA).
        measures: `(learner) → {name: [S]}`, what stands beside the score of an evaluation; None for nothing.
        updates_per_iteration: steps between two looks at the metrics.
    """

    goes_on = True

    nets: Mapping[str, Net]
    learn: Callable[[Moment], Lesson]
    traces: Mapping[str, Trace]
    acts: Choosing
    gamma: float = 0.99
    lam: float = 0.8
    scale_reward: bool = True
    ahead: bool = False
    measures: Callable[[StreamLearner], dict[str, np.ndarray]] | None = None
    updates_per_iteration: int = 100

    def __post_init__(self) -> None:
        for name in (self.acts.net, *self.traces):
            if name not in self.nets:
                raise BadInput(f"a streaming method has the nets {', '.join(self.nets)}, and asks for {name!r}")

    @property
    def policy(self) -> Net:
        return self.nets[self.acts.net]

    def with_policy(self, net: Net) -> Streaming:
        return replace(self, nets={**self.nets, self.acts.net: net})

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_stream(len(seeds))
        check_batch(world, len(seeds), 1, self.policy)
        super().check(world, seeds, steps, episodes)

    def trial(self, world: World, device: torch.device) -> None:
        """Two steps of two seeds, in environments of their own."""
        learner = replace(self, updates_per_iteration=2).learner(world, (0, 1), 2, device)
        try:
            learner.iterate()
        finally:
            learner.close()

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> StreamLearner:
        return StreamLearner(self, world, list(seeds), total_steps, device)


class StreamLearner(Learner):
    """The loop at work. A step is a step of each seed's environment, and an update.

    Logs "td_error", the mean size of δ, and "trace", the mean sum of the absolute values of all traces.

    Attributes:
        nets: by name.
        stream: the environments.
        deviation: what rewards are divided by, `[S, 1]`.
    """

    def __init__(self, method: Streaming, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.streams = Streams(seeds, device)
        self.nets = nn.ModuleDict({name: self._build(name, net) for name, net in method.nets.items()}).to(device)
        self.policy: Policy = self.nets[method.acts.net]
        if self.policy.initial(1) is not None:
            raise BadInput(f"net {method.acts.net!r} remembers its episode, and streaming learns from single steps: take a net without memory")
        decay = method.gamma * method.lam
        self._steppers = {name: trace.at_work(FlatParameters(self.nets[name], seeds=len(seeds), by_rows=True), decay) for name, trace in method.traces.items()}
        self._passes = {name: net.traced() if isinstance(net, TracedModule) else by_autograd(net) for name, net in self.nets.items()}
        self.stream = world.stream(self.streams)
        normalizer = self.policy.normalizer
        self._samples = None if normalizer is None else SampleStatistics(len(seeds), normalizer.mean.shape[1])
        self._columns = slice(None) if normalizer is None or normalizer.columns is None else normalizer.columns
        self._discounted, self._rewards = np.zeros((len(seeds), 1)), SampleStatistics(len(seeds), 1)
        self.deviation = np.ones((len(seeds), 1))
        self._seen: np.ndarray | None = None  # [S, D], normalised, what is acted on next; None before it was taken in
        self._chosen: Tensor | None = None  # what is done next, decided ahead; None where that is decided when it is due
        self._fresh = np.ones((len(seeds), 1), dtype=bool)  # whose episode begins there
        self._draws: list[tuple[Tensor, ...]] = []
        self._place = 0
        self._forget_metrics()

    @property
    def resume(self) -> str:
        return self.stream.resume

    def _build(self, name: str, net: Net) -> nn.Module:
        if name == self.method.acts.net:
            return self.world.policy(net, self.streams)
        return net.build(self.world.observation, self.world.action, self.streams, name)

    def _forget_metrics(self) -> None:
        self._errors: list[Tensor] = []
        self._norms: list[Tensor] = []
        self.stream.episodes = [[] for _ in self.seeds]

    def measures(self) -> dict[str, np.ndarray]:
        return {} if self.method.measures is None else self.method.measures(self)

    def notes(self) -> list[str]:
        return [*super().notes(), *self.world.notes_on(self.policy)]

    def iterate(self) -> dict[str, Tensor]:
        self._forget_metrics()
        count = min(self.method.updates_per_iteration, self.total_steps - self.step)
        self._draws = [self.method.acts.draws(self.policy, self.streams, count) for _ in range(1 + self.method.ahead)]
        with torch.no_grad():
            for stepper in self._steppers.values():
                stepper.clear()
            for self._place in range(count):
                began = time.perf_counter()
                self._advance()
                self.collecting += time.perf_counter() - began
                self.update()
        if self._samples is not None:
            self.policy.normalizer.take_over(self._samples)
        errors, norms = torch.stack(self._errors).cpu(), torch.stack(self._norms).cpu()
        check_finite(self, ["td_error"], errors.unsqueeze(1), norms, self._recalled)
        return {"td_error": errors.abs().mean(0), "trace": norms.mean(0)} | episode_means(self.stream.episodes)

    def _recalled(self, place: int) -> dict[str, Tensor]:
        """What is left of a sample."""
        return {"td_error": self._errors[place], "trace": self._norms[place]}

    # A step

    def pass_of(self, name: str, observation: Tensor) -> tuple[Tensor, Pull]:
        return self._passes[name](observation)

    def decide_ahead(self, moment: Moment) -> Tensor:
        if not self.method.ahead:
            raise BadInput(f"a streaming method asks for the next action, which is decided before it learns with Streaming(…, ahead=True){calling_place()}")
        return self._choose(moment.next(self.method.acts.net), moment.next_observation, moment.progress, 1)

    def _choose(self, parameters: Tensor, observation: Tensor, progress: float, which: int) -> Tensor:
        draws = tuple(each[:, self._place : self._place + 1] for each in self._draws[which])
        return self.method.acts.choose(self.policy, parameters, observation, draws, progress)

    def _advance(self) -> None:
        """Act, and step every environment."""
        if self._seen is None:
            self._seen = self._taken(self.stream.seen)
        self._moment = moment = Moment(self, self._on_device(self._seen), self.progress)
        parameters = moment.now(self.method.acts.net)
        if self._chosen is None or self._fresh.any():
            action = self._choose(parameters, moment.observation, moment.progress, 0)
            if self._chosen is not None:
                fresh = torch.from_numpy(self._fresh).to(self.streams.device)
                action = torch.where(fresh.view(-1, 1, *[1] * (action.ndim - 2)), action, self._chosen)
        else:
            action = self._chosen
        moment.action = action
        step = self.stream.act(self.policy.distribution.to_environment(action.flatten(0, 1).cpu()))
        self.step += 1
        ended = step.terminated | step.truncated
        following = self._taken(step.next_observation)
        moment.next_observation = self._on_device(following)
        moment.reward = self._on_device(self._scaled(step.reward, ended))[:, :, 0]
        moment.deviation = self._on_device(self.deviation.astype(np.float32))[:, :, 0]
        moment.terminated, moment.truncated = (torch.from_numpy(flags).view(-1, 1).to(self.streams.device) for flags in (step.terminated, step.truncated))
        self._fresh = ended[:, None]
        self._seen = following
        if ended.any():
            self._seen = following.copy()
            self._seen[ended] = self._taken(step.observation, ended)
        self._chosen = moment.next_action if self.method.ahead else None

    def _on_device(self, rows: np.ndarray) -> Tensor:
        """`[S, …]` of the host as `[S, 1, …]`."""
        return torch.from_numpy(rows).unsqueeze(1).to(self.streams.device)

    def _taken(self, rows: np.ndarray, seeds: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Observations `[S, D]` of these seeds, taken in and normalised."""
        if self._samples is None:
            return rows[seeds]
        self._samples.take(rows[seeds][:, self._columns], seeds)
        return self._normalized(rows[seeds], seeds)

    def _normalized(self, rows: np.ndarray, seeds: np.ndarray | slice = slice(None)) -> np.ndarray:
        found, clip = rows.copy(), self.policy.normalizer.clip
        inner = (rows[:, self._columns] - self._samples.mean[seeds]) / self._samples.deviation[seeds]
        found[:, self._columns] = np.clip(inner, -clip, clip)
        return found

    def _scaled(self, reward: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Rewards over the deviation of their discounted sums, `[S, 1]` float32. The sum begins anew with an episode's last reward, as in the authors' code."""
        reward = reward[:, None]
        if self.method.scale_reward:
            self._discounted = self._discounted * (self.method.gamma * ~ended[:, None]) + reward
            self._rewards.take(self._discounted)
            self.deviation = self._rewards.deviation
        return (reward / self.deviation).astype(np.float32)

    def update(self) -> None:
        """Learn from the step. No host read happens here."""
        moment = self._moment
        lesson = self.method.learn(moment)
        self._check(lesson, moment)
        error = lesson.error[:, 0]
        ends = moment.terminated | moment.truncated
        ends = (ends if lesson.cut is None else ends | lesson.cut)[:, 0]
        norm: Tensor | float = 0.0
        for name, stepper in self._steppers.items():
            stepper.take(moment.pull(name, lesson.grows[name]))
            norm = norm + stepper.step(error)
            stepper.forget(ends)
        self._errors.append(error)
        self._norms.append(norm)

    def _check(self, lesson: Lesson, moment: Moment) -> None:
        """Raise `BadInput` for a lesson of other shapes or nets."""
        place, wanted = self.method.learn, moment.reward.shape
        if not isinstance(lesson, Lesson):
            raise BadInput(f"learn gave {a_type(lesson)}: a streaming method gives a Lesson{place_of(place)}")
        for name, found in (("error", lesson.error), ("cut", lesson.cut)):
            if found is not None and found.shape != wanted:
                raise BadInput(f"the lesson's {name} has shape {list(found.shape)}, one a seed is wanted, {list(wanted)}{place_of(place)}")
        if lesson.grows.keys() != self._steppers.keys():
            found = ", ".join(lesson.grows) or "nothing"
            raise BadInput(f"the lesson has gradients of {found}, and the traces are of {', '.join(self._steppers)}{place_of(place)}")
        for name, found in lesson.grows.items():
            if found.shape != moment.now(name).shape:
                shapes = f"{list(found.shape)}, and the net's output {list(moment.now(name).shape)}"
                raise BadInput(f"the lesson's gradient of {name!r} has shape {shapes}: they are the same{place_of(place)}")

    def probes(self) -> Mapping[str, Callable[[], object]]:
        self._draws = [self.method.acts.draws(self.policy, self.streams, 1) for _ in range(1 + self.method.ahead)]
        self._place = 0
        with torch.no_grad():
            self._advance()
        return {"update": torch.no_grad()(self.update)}

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        rewards = {name: state["rewards"][name] for name in ("mean", "squares", "count", "deviation")}
        return {"nets": state["nets"], "rewards": rewards} | ({} if state["samples"] is None else {"samples": state["samples"]})

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        if "nets" in learned:
            self.nets.load_state_dict(learned["nets"])
            self._rewards.load_state_dict(learned["rewards"])
            self.deviation = learned["rewards"]["deviation"]
        else:
            super().begin_from(learned)
        if self._samples is not None:
            normalizer = self.policy.normalizer
            count = normalizer.count.numpy()
            seen = {"mean": normalizer.mean.numpy(), "squares": normalizer.variance.numpy() * np.maximum(count - 1, 0), "count": count}
            self._samples.load_state_dict(learned.get("samples", seen))

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "streams": self.streams.state_dict(),
            "nets": dict(self.nets.state_dict()),
            "traces": {name: stepper.state_dict() for name, stepper in self._steppers.items()},
            "stream": self.stream.state_dict(),
            "samples": None if self._samples is None else self._samples.state_dict(),
            "rewards": {"discounted": self._discounted, "deviation": self.deviation} | self._rewards.state_dict(),
            "seen": self._seen,
            "chosen": self._chosen,
            "fresh": self._fresh,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.streams.load_state_dict(state["streams"])
        self.nets.load_state_dict(state["nets"])
        for name, stepper in self._steppers.items():
            stepper.load_state_dict(state["traces"][name])
        self.stream.load_state_dict(state["stream"])
        if self._samples is not None:
            self._samples.load_state_dict(state["samples"])
        self._rewards.load_state_dict(state["rewards"])
        self.deviation = state["rewards"]["deviation"]
        if self.resume == "bitwise":
            self._discounted, self._seen, self._fresh = state["rewards"]["discounted"], state["seen"], state["fresh"]
            self._chosen = None if state["chosen"] is None else state["chosen"].to(self.streams.device)
        else:
            self._discounted, self._seen, self._chosen, self._fresh = self._discounted * 0, None, None, np.ones_like(self._fresh)
            for stepper in self._steppers.values():
                stepper.forget(torch.ones(len(self.seeds), dtype=torch.bool, device=self.streams.device))

    def close(self) -> None:
        self.stream.close()
