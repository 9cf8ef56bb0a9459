"""HIQL: reaches goals that nobody pursued in the data, where imitation does not, and far ones, where the same value function guides a flat policy less well.

In pointmaze-medium-mixed half of the data are demonstrations of the five tasks that are evaluated, and cloning is told where each one ended: the bed asks for
no more than imitation. In the corridor no walk goes half of the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.offline.beds import corridor
from operant.loops.goals import Subgoals
from operant.loops.results import summary
from operant.loops.runs import train
from operant.loops.value_learning import Optim, Phase, Update
from operant.nets.actors import ActorNet
from operant.worlds import make_world
from operant.worlds.data.collect import make_dataset
from operant.worlds.store import Store, Transitions

DATA = "pointmaze-medium-mixed-v0"
COMMON = {"seeds": 5, "episodes": 15, "learning_rate": 1e-3, "batch_size": 128, "hidden": (64, 64), "progress": False}
UPDATES, FLAT_BETA = 1_600, 10.0
LONG = {
    "hidden": (64, 64),
    "batch_size": 128,
    "learning_rate": 2e-3,
    "gamma": 0.95,
    "tau": 0.1,
    "subgoal_steps": 8,
    "policy_random_goals": 0.5,
}
CORRIDOR = (
    "a winding corridor of 41 cells, from one end to the other (30,000 steps of walks of at most 15; seed 0), subgoals 8 steps ahead, two layers of 64, "
    "inverse temperatures of 3 (the flat policy 10; of 1, 3, 10 and 30 on other seeds), 1,600 updates, 20 episodes of 5 seeds: the return (1 for who arrives)"
)


@check(
    "hiql",
    "point-maze",
    "real",
    "pointmaze-medium-mixed (300,000 generated steps, half wandering, half demonstrations; seed 0), five tasks drawn at random, two layers of 64, "
    "8,000 updates: the success over 5 seeds is at least 0.5 and lies above that of cloning towards what an episode reached in the end, with 95 % "
    "intervals that do not overlap",
)
def point_maze(folder: Path) -> Finding:
    path, task = make_dataset(DATA, steps=300_000, seed=0), f"ogbench:{DATA}"
    hiql = train("hiql", task, steps=8_000, every=8_000, out=folder / "hiql", tau=0.02, **COMMON).result
    bc = train("bc", task, steps=3_000, every=3_000, out=folder / "bc", **COMMON).result
    holds = float(np.mean(hiql["score"]["per_seed"])) >= 0.5 and hiql["score"]["low"] > bc["score"]["high"]
    return Finding(holds, {"hiql": hiql["score"], "bc": bc["score"], "threshold": 0.5, "data": path.name}, seeds=5)


@check("hiql", "over-flat", "small", f"{CORRIDOR} is at least 0.5, and its mean above that of a flat policy that the same V guides to the same goals")
def over_flat(folder: Path) -> Finding:
    return above(folder, "flat", lambda hiql, flat: float(np.mean(hiql["per_seed"])) > float(np.mean(flat["per_seed"])))


@check(
    "hiql",
    "over-cloning",
    "small",
    f"{CORRIDOR} is at least 0.5, and lies above that of cloning towards what a walk reached later, with 95 % intervals that do not overlap",
)
def over_cloning(folder: Path) -> Finding:
    return above(folder, "clone", lambda hiql, clone: hiql["low"] > clone["high"])


def above(folder: Path, name: str, better: Callable[[dict[str, Any], dict[str, Any]], bool]) -> Finding:
    found = far(folder)
    hiql, other = found["actor"], found[name]
    return Finding(float(np.mean(hiql["per_seed"])) >= 0.5 and better(hiql, other), {"hiql": hiql, name: other, "threshold": 0.5}, seeds=5)


@cache
def far(folder: Path) -> dict[str, dict[str, Any]]:
    """The scores in the corridor of HIQL's policy ("actor") and of two flat ones that learn beside it, from the same batches: "flat" and "clone"."""
    h, world = configure("hiql", LONG), make_world(corridor(folder / "corridor.npz"))
    spine = get_method("hiql").build(h)

    def flat(u: Update) -> dict[str, Tensor]:
        batch, value, actor = u.batch, u.net("value"), u.net("flat")
        parts, goal = value.parts, batch.extras["goal"]
        here, there = (parts.row(observation[..., parts.state], goal) for observation in (batch.observation, batch.next_observation))
        with torch.no_grad():
            weight = ops.advantage_weight(value(there).mean(1) - value(here).mean(1), beta=FLAT_BETA, max_weight=h.max_weight)
        return {"flat": -weight * actor.distribution.log_prob(actor(here), batch.action)}

    def clone(u: Update) -> dict[str, Tensor]:
        batch, actor, parts = u.batch, u.net("clone"), u.net("value").parts
        return {"clone": -actor.distribution.log_prob(actor(parts.row(batch.observation[..., parts.state], batch.extras["later"])), batch.action)}

    def later(batch: Transitions, store: Store, streams: Streams) -> Transitions:
        return replace(batch, extras=batch.extras | {"later": Subgoals(1)(batch, store, streams).extras["goal"]})

    net = ActorNet(hidden=h.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True)
    flats = [Phase(losses, trains=(name,), optim=Optim(h.learning_rate)) for name, losses in {"flat": flat, "clone": clone}.items()]
    beside = replace(spine, nets={**spine.nets, "flat": net, "clone": net}, phases=[*spine.phases, *flats], relabel=[later, *spine.relabel])
    learner = beside.learner(world, range(5), UPDATES, torch.device("cpu"))
    while learner.step < UPDATES:
        learner.iterate()
    return {name: summary(world.evaluate(learner.nets[name], 5, episodes=20))["score"] for name in ("actor", "flat", "clone")}
