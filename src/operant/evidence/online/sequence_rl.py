"""Sequence RL: what is left of a score where decisions are rare, beside SAC that repeats its actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds import make_world

INTERVALS, SEEDS, EPISODES = (1, 2, 4, 8, 16), 5, 5
TASKS = {"gym:Pendulum-v1": 10_000, "gym:InvertedDoublePendulum-v5": 15_000, "gym:Swimmer-v5": 15_000}
SIZES = {"hidden": (64, 64), "batch_size": 64, "learning_rate": 1e-3, "learning_starts": 1_000}


def scores(method: str, task: str, steps: int, **values: Any) -> np.ndarray:
    """Mean returns of a trained method at each interval, `[seeds, intervals]`; one that says one action at a time repeats it."""
    world = make_world(task)
    learner = get_method(method).build(configure(method, SIZES | values)).learner(world, list(range(SEEDS)), steps, torch.device("cpu"))
    while learner.step < steps:
        learner.iterate()
    found = []
    for interval in INTERVALS:
        if learner.policy.plans:
            learner.policy.interval = interval
        played = world if learner.policy.plans or interval == 1 else make_world(task, action_repeat=interval)
        found.append(played.evaluate(learner.policy, SEEDS, episodes=EPISODES).values.mean(1))
    learner.close()
    return np.stack(found, 1)


@check("sequence-rl", "constant", "exact", "the frequency-averaged score of a constant curve over the intervals 1 to 16 is its constant, to 1e-9")
def constant(folder: Path) -> Finding:
    interval, values = torch.tensor(INTERVALS), torch.tensor([-3.0, 0.0, 0.7, 1e3], dtype=torch.float64)
    found = ops.frequency_averaged_score(interval, values.unsqueeze(-1).expand(-1, len(INTERVALS)))
    worst = float((found - values).abs().max())
    return Finding(worst <= 1e-9, {"largest difference": worst, "at_most": 1e-9})


@check(
    "sequence-rl",
    "frequencies",
    "small",
    "Pendulum-v1 (10,000 steps), InvertedDoublePendulum-v5 and Swimmer-v5 (15,000 each; the paper's are more), two layers of 64, 5 seeds: with J = 8 the "
    "frequency-averaged score over decision intervals 1, 2, 4, 8, 16 is at least 1.5 times SAC's, or 0.15 where SAC's is below 0.1, on at least 2 of the 3, "
    "and at interval 1 the return at least 0.8 of SAC's on as many, 0 being random actions and 1 SAC at interval 1; a task where SAC at interval 1 is not "
    "better than random actions, by a fifth of what these lose or win, counts for neither",
)
def frequencies(folder: Path) -> Finding:
    figures: dict[str, Any] = {}
    over = near = 0
    for task, steps in TASKS.items():
        world = make_world(task)
        random = float(world.evaluate(world.random_policy(), 1, episodes=20).values.mean())
        sac, ours = scores("sac-v2", task, steps), scores("sequence-rl", task, steps, sequence=8)
        unit = float(sac[:, 0].mean()) - random
        figures |= {f"{task} random": random, f"{task} sac": float(sac[:, 0].mean())}
        if unit <= abs(random) / 5:
            continue
        curves = {name: torch.from_numpy((found.mean(0) - random) / unit) for name, found in (("sac", sac), ("srl", ours))}
        fas = {name: float(ops.frequency_averaged_score(torch.tensor(INTERVALS), curve)) for name, curve in curves.items()}
        over += fas["srl"] >= 1.5 * max(fas["sac"], 0.1)
        near += float(curves["srl"][0]) >= 0.8
        figures |= {f"{task} {name}": {"fas": fas[name], "curve": curve.tolist()} for name, curve in curves.items()}
    return Finding(over >= 2 and near >= 2, figures | {"tasks over 1.5": over, "tasks near 0.8": near, "of": len(TASKS)}, seeds=SEEDS)
