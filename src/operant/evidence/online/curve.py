"""Scores along a training run, for claims of how many steps a method needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from operant.core.registry import configure, get_method
from operant.worlds import make_world


def curve(method: str, task: str, *, seeds: int, steps: int, every: int, episodes: int = 5, **hyperparameters: Any) -> np.ndarray:
    """Mean score of `episodes` fresh episodes of each seed's policy `[steps / every, seeds]`, after each `every` steps."""
    world = make_world(task)
    learner = get_method(method).build(configure(method, hyperparameters)).learner(world, list(range(seeds)), steps, torch.device("cpu"))
    found = []
    for stop in range(every, steps + 1, every):
        while learner.step < stop:
            learner.iterate()
        scores = world.evaluate(learner.policy, seeds, episodes=episodes, seed=stop).values
        found.append(scores.reshape(seeds, episodes).mean(1))
    learner.close()
    return np.stack(found)


def steps_until(scores: np.ndarray, threshold: float, every: int) -> list[float]:
    """Of each seed the steps until its first score of at least the threshold; infinite where there is none."""
    reached = scores >= threshold
    return [float((column.argmax() + 1) * every) if column.any() else float("inf") for column in reached.T]
