"""The cases of the battery: every registered method in every kind of world that it trains in, with sizes that make an iteration take milliseconds.

A method that is registered later is covered without a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from long_tier import due

from operant.core.records import Rollout
from operant.core.registry import Method, configure, get_method, methods
from operant.core.status import Status
from operant.loops.base_policy import ensure_models
from operant.loops.outer import Outer
from operant.loops.policy_gradient import PolicyGradient, PolicyGradientLearner
from operant.loops.streaming import Streaming
from operant.loops.update import Fields, RowCutter, StepCutter
from operant.loops.value_learning import ValueLearning
from operant.nets.exploring import ExploringValueNet
from operant.worlds import make_world
from operant.worlds.plans import Turns

TASKS = {
    "gym": {"discrete": "gym:CartPole-v1", "continuous": "gym:Pendulum-v1"},
    "data": {"continuous": "ogbench:pointmaze-medium-navigate-singletask-v0"},
    "text": {"tokens": "text:arithmetic"},
    "preferences": {"tokens": "preferences:arithmetic"},
    "sequences": {"tokens": "sequences:target"},
    "generative": {"tokens": "generative:mixture"},
    "agents": {"discrete": "agents:spread"},
    "tabular": {"discrete": "tabular:random-sparse"},
}
SMALL = {
    "hidden": (16, 16),
    "environments": 2,
    "rollout_length": 16,
    "epochs": 2,
    "minibatches": 2,
    "batch_size": 16,
    "learning_starts": 16,
    "capacity": 1_000,
    "prompts": 4,
    "group_size": 4,
    "micro_batch": 3,
    "workers": 1,
    "warmup_steps": 3,
    "pool": 4,
    "critic_iterations": 0,
    "completions": 2,
    "tries": 4,
    "rounds": 2,
    "rehearsals": 4,
    "memory": 8,
    "critics": 3,
    "critic_updates": 2,
    "updates_per_step": 1.0,
    "models": 2,
    "model_batch": 8,
    "model_warmup": 4,
    "model_hidden": (16, 16),
    "rollouts": 8,
    "rollout_every": 4,
    "rollout_end": 2,
    "imagined": 64,
    "cells": 16,
    "members": 4,
    "actors": 1,
    "gradient_steps": 2,
    "critic_hidden": (16, 16),
    "episode_steps": 8,
    "period": 20,
    "fresh": 8,
    "critic_batch": 8,
    "warm_up": 0,
    "refresh": 20,
    "value_epochs": 2,
    "value_minibatches": 2,
    "bins": 6,
    "v_min": -3.0,
    "v_max": 4.0,
    "quantiles": 4,
    "fractions": 4,
}
ALL_METHODS = ("src/operant/core/", "src/operant/loops/", "src/operant/worlds/text/")  # what methods on text run through, whichever they are
TOTAL = 100_000  # steps of a run that no test finishes


@dataclass(frozen=True)
class Case:
    key: str
    task: str

    @property
    def kind(self) -> str:
        scheme = self.task.partition(":")[0]
        return "data" if scheme == "ogbench" else scheme

    @property
    def entry(self) -> Method:
        return get_method(self.key)

    @property
    def combination(self) -> tuple[str, ...]:
        """The parts that decide which code of the loops a method runs through: the loop, the world, the kinds of its parts that are more than functions."""
        spine = configured(self)
        parts = [getattr(spine, item.name) for item in fields(spine)]
        kinds = [type(part).__name__ for part in parts if is_dataclass(part) and not callable(part)]
        return (type(spine).__name__, self.task, *kinds)

    def values(self, **others: Any) -> dict[str, Any]:
        """Small hyper-parameters, of those that the method has."""
        return {item.name: value for item in fields(self.entry.hyperparameters) if (value := (SMALL | others).get(item.name)) is not None}

    def spine(self, **others: Any) -> Any:
        return self.entry.build(configure(self.key, self.values(**others)))

    def world(self) -> Any:
        world = make_world(self.task)
        if world.makes_base:
            ensure_models(world, self.spine(), lambda message: None)
        return world

    def learner(self, seeds: tuple[int, ...] | None = None, *, spine: Any = None, world: Any = None, total: int = TOTAL) -> Any:
        """A fresh learner: two stacked seeds where the world stacks them, one otherwise."""
        world = world if world is not None else self.world()
        seeds = seeds if seeds is not None else battery_seeds(world)
        learner = shorten(spine if spine is not None else self.spine()).learner(world, seeds, total, torch.device("cpu"))
        while looking(learner):
            learner.iterate()
        return learner


@cache
def configured(case: Case) -> Any:
    """Its spine to look at, made once: a test that runs one makes its own (`Case.spine`), for parts may have a state."""
    return case.spine()


def battery_seeds(world: Any) -> tuple[int, ...]:
    """The seeds of a learner that is not told others."""
    return (0, 1) if world.stacked else (0,)


def looking(learner: Any) -> bool:
    """Whether a sampling plan still looks at what the policy can do, and nothing is learned yet."""
    source = getattr(learner, "source", None)
    plans = [seed.plan for seed in getattr(source, "_seeds", ())] or [getattr(source, "plan", None)]
    return any(getattr(plan, "looking", False) for plan in plans)


def shorten(spine: Any) -> Any:
    """The same spine with few updates between two looks at the metrics (supervised and offline loops have 100 otherwise)."""
    from dataclasses import replace

    return replace(spine, updates_per_iteration=24 if getattr(spine, "online", None) else 6) if hasattr(spine, "updates_per_iteration") else spine


@cache
def cases() -> list[Case]:
    """Every method with every kind of task."""
    found = []
    for key, entry in methods().items():
        for kind in entry.worlds if entry.example is None else ():
            found += [Case(key, task) for actions, task in TASKS[kind].items() if actions == "tokens" or actions in entry.actions]
        found += [Case(key, entry.example)] if entry.example is not None else []
    return [Case(case.key, "text:uncertain") if case.kind == "text" and "confidence" in getattr(configured(case), "needs", ()) else case for case in found]


def takes_turns(case: Case) -> bool:
    return isinstance(getattr(configured(case), "sample", None), Turns)


def learning(case: Case) -> bool:
    """Whether the method learns at all."""
    return not (case.entry.baseline and case.entry.spine == "fixed policy")


def is_outer(case: Case) -> bool:
    """Whether it stands around another loop, whose updates are tested as that loop's."""
    return issubclass(spine_class(case), Outer)


def updates(case: Case) -> bool:
    """Whether a loop of its own learns."""
    return learning(case) and not is_outer(case)


def is_policy_gradient(case: Case) -> bool:
    return issubclass(spine_class(case), PolicyGradient)


def has_likelihoods(case: Case) -> bool:
    """Whether what its policy does has a likelihood that hangs on its weights smoothly, so that ratios say whether it is the one that acted."""
    return not isinstance(configured(case).policy, ExploringValueNet)


def is_value_learning(case: Case) -> bool:
    return issubclass(spine_class(case), ValueLearning)


def is_streaming(case: Case) -> bool:
    return issubclass(spine_class(case), Streaming)


def spine_class(case: Case) -> type:
    return type(configured(case))


def parametrize(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Parametrise a test over the cases that meet all conditions."""
    chosen = [case for case in cases() if all(condition(case) for condition in conditions)]
    return _parametrized(chosen, [True] * len(chosen))


def combinations(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Parametrise a test of what the loops do over one case of each combination of their parts that meets all conditions; the others are the long tier."""
    return _first_of_each(lambda case: case.combination, conditions)


def loops(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """As `combinations`, of one case of each loop and world."""
    return _first_of_each(lambda case: case.combination[:2], conditions)


def worlds(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """As `combinations`, of one case of each kind of world; one of each loop and world has its turn."""
    chosen = [case for case in cases() if all(condition(case) for condition in conditions)]
    always = {case.kind: case for case in reversed(chosen)}.values()
    first = {case.combination[:2]: case for case in reversed(chosen)}.values()
    return _parametrized(chosen, [case in always or (case in first and due(case.key, *ALL_METHODS)) for case in chosen])


def covering(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Parametrise a test over the cases that meet all conditions. Of methods that train on sequences too, which takes a fifth of the time, one of each loop
    and world runs on text; the others are the long tier, those with parts of their own also where what all methods run through has changed."""
    chosen = [case for case in cases() if all(condition(case) for condition in conditions)]
    always = {case.combination[:2]: case for case in reversed(chosen)}.values()
    first = {case.combination: case for case in reversed(chosen)}.values()
    twice = {case.key for case in chosen if case.kind == "sequences"} & {case.key for case in chosen if case.kind == "text"}

    def runs(case: Case) -> bool:
        return case.kind != "text" or case.key not in twice or case in always or due(case.key, *(ALL_METHODS if case in first else ()))

    return _parametrized(chosen, [runs(case) for case in chosen])


def _first_of_each(kind: Callable[[Case], tuple[str, ...]], conditions: Sequence[Callable[[Case], bool]]) -> pytest.MarkDecorator:
    chosen = [case for case in cases() if all(condition(case) for condition in conditions)]
    first = {kind(case): case for case in reversed(chosen)}
    return _parametrized(chosen, [case in first.values() for case in chosen])


def long(*conditions: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """Parametrise a test that takes long over the cases that meet all conditions: it runs for methods that changed and for a share of the others."""
    chosen = [case for case in cases() if all(condition(case) for condition in conditions)]
    return _parametrized(chosen, [due(case.key) for case in chosen])


def _parametrized(chosen: list[Case], now: list[bool]) -> pytest.MarkDecorator:
    """The cases, those that do not run now marked as long."""
    marked = [pytest.param(case, id=f"{case.key}-{case.task}", marks=() if runs else pytest.mark.long) for case, runs in zip(chosen, now, strict=True)]
    return pytest.mark.parametrize("case", marked)


def everything(batch: dict[str, torch.Tensor], count: int) -> torch.Tensor:
    """The index `[S, count]` of all units of a batch, in order."""
    return torch.arange(count).expand(len(batch["mask"]), -1)


def whole_batch(learner: PolicyGradientLearner, fields: Fields) -> Fields:
    """All of a rollout as one minibatch."""
    cut = StepCutter(fields) if learner.policy.span == "step" else RowCutter(fields)
    return cut(everything(fields, cut.units))


def gradient(learner: PolicyGradientLearner, fields: Fields) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of one update and its largest |log ratio|; the optimiser must stand still."""
    assert learner.updater.optimizer.learning_rate == 0
    log_ratio = learner.updater.step(whole_batch(learner, fields), progress=0.0, iteration=0, first=True).log_ratio
    return learner.updater.flat.grad.clone(), log_ratio


def credited(learner: Any) -> Rollout:
    """A rollout with all that an update reads, as the loop makes it."""
    for _ in range(50):  # a method that keeps little may keep nothing of a small batch
        rollout = learner.prepare(learner._collect()[0])
        if rollout.mask.any():
            return rollout
    raise AssertionError("no rollout had anything to learn from")


class OneStep(gymnasium.Env):
    """Episodes of one step that end as `ending` says. The reward is highest for the action that the observation (−1 or 1) asks for.

    Discrete: 1 for action 0 at −1 and for action 1 at 1, else 0. Continuous: minus the squared distance of the action from half the observation.
    """

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, *, discrete: bool, ending: str = "terminated"):
        self.action_space = gymnasium.spaces.Discrete(2) if discrete else gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.discrete, self.ending = discrete, ending
        self.side = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = float(self.np_random.choice([-1.0, 1.0]))
        return self.seen(), {}

    def seen(self) -> np.ndarray:
        return np.array([self.side], np.float32)

    def step(self, action):
        reward = float(action == (self.side > 0)) if self.discrete else -float((np.asarray(action).item() - self.side / 2) ** 2)
        return self.seen(), reward, self.ending == "terminated", self.ending == "truncated", {}


def iterate_scored(learner: Any, reward: float, status: Status) -> None:
    """One iteration in which one row that is trained on has this reward and status, whatever its scoring found."""
    score, rows = learner.source.score, 0

    def failing(rollout: Rollout) -> Rollout:
        nonlocal rows
        rollout = score(rollout)
        rows = rollout.mask.shape[1]
        trained = rollout.mask.any(-1).all(0).nonzero().flatten().tolist()  # no probe, in any seed
        row = trained[1]
        rollout.reward[:, row] = reward * (rollout.terminated | rollout.truncated)[:, row]
        rollout.status[:, row] = int(status)
        return rollout

    learner.source.score = failing
    metrics = learner.iterate()
    learner.source.score = score
    if status:
        assert metrics[f"score/{status.name.lower()}"].tolist() == pytest.approx([1 / rows] * len(learner.seeds))
