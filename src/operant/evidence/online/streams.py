"""What claims of streaming methods share: the returns of a stream's last episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from operant.core.registry import configure, get_method
from operant.worlds import make_world

LAST = 100  # episodes


def last_returns(method: str, task: str, *, seeds: int, steps: int, **hyperparameters: Any) -> list[float]:
    """Of each seed the mean return of the last 100 episodes that ended in its stream, as it acted while it learned."""
    world = make_world(task)
    learner = get_method(method).build(configure(method, hyperparameters)).learner(world, list(range(seeds)), steps, torch.device("cpu"))
    found: list[list[float]] = [[] for _ in range(seeds)]
    while learner.step < steps:
        learner.iterate()
        for mine, ended in zip(found, learner.stream.episodes, strict=True):
            mine += [total for total, _ in ended]
            del mine[:-LAST]
    learner.close()
    return [float(np.mean(mine)) if mine else 0.0 for mine in found]
