"""ALP-GMM: a teacher that draws the levels of PPO's episodes from where absolute learning progress is large.

Paper: Portelas et al. 2019, arXiv:1910.07224 (algorithm 1). After an episode at level p with return R its progress is ALP = |R − R_old|, R_old being the
return of the nearest level tried before. Every `period` episodes mixtures of 2 to 10 Gaussians are fitted to the newest (p, ALP), and the one with the best
AIC kept. A level is uniform with probability `uniform`, and for the first `period` episodes; else a component is drawn by its mean ALP, and the level from its
Gaussian, held to the bounds.

As in the authors' code (flowersteam/teachDeepRL): ALP is 0 for the first six episodes, nothing is forgotten, each fit starts anew, and where no component has
progress levels are uniform. Departures: levels are measured in shares of their range, and ALP, in the fit, in shares of the largest; k-means starts at drawn
rows; levels of an iteration's episodes are drawn before it.

Logs "progress": the ALP of the newest `period` episodes, mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import Count, Share, method
from operant.loops.clipped import ClippedSettings, clipped_policy_gradient
from operant.loops.learner import Learner
from operant.loops.outer import Outer, Outside
from operant.worlds.base import World

COMPONENTS = range(2, 11)
SILENT = 5  # episodes of which more must be over before progress is told
QUEUE = 32  # levels that are drawn ahead for each copy of the environment; episodes beyond them are uniform


@dataclass(frozen=True)
class ALPGMM(ClippedSettings):
    period: Count = 250  # episodes between two fits, and before the first; each is to as many
    uniform: Share = 0.2  # share of levels that are drawn uniformly


class LevelTeacher:
    """The teacher of one student.

    Args:
        low, high: bounds of the levels `[d]`.
        draws: its own generator.
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], draws: np.random.Generator, *, period: int = 250, uniform: float = 0.2):
        self.low, self.high, self.draws = np.asarray(low, np.float64), np.asarray(high, np.float64), draws
        self.period, self.uniform = period, uniform
        self.levels, self.returns, self.progress = np.zeros((0, len(self.low))), np.zeros(0), np.zeros(0)
        self.weight, self.mean, self.factor = np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0, 0))  # of the mixture, without ALP

    def propose(self, count: int) -> np.ndarray:
        """Levels `[count, d]`."""
        levels = self.draws.uniform(size=(count, len(self.low)))
        guided = self.draws.uniform(size=count) >= self.uniform
        if len(self.weight) and self.weight.sum() > 0:
            chosen = self.draws.choice(len(self.weight), size=count, p=self.weight / self.weight.sum())
            normal = self.draws.normal(size=levels.shape)
            drawn = self.mean[chosen] + np.einsum("nij,nj->ni", self.factor[chosen], normal)
            levels = np.where(guided[:, None], drawn.clip(0, 1), levels)
        return self.low + levels * (self.high - self.low)

    def tell(self, level: np.ndarray, outcome: float) -> None:
        """What came of an episode at a level `[d]`."""
        level, progress = (level - self.low) / (self.high - self.low), 0.0
        if len(self.returns) > SILENT:
            progress = float(ops.absolute_learning_progress(torch.from_numpy(level), outcome, torch.from_numpy(self.levels), torch.from_numpy(self.returns)))
        self.levels, self.returns = np.vstack([self.levels, level]), np.append(self.returns, outcome)
        self.progress = np.append(self.progress, progress)
        if len(self.returns) % self.period == 0:
            self.fit()

    def fit(self) -> None:
        """The mixture of the newest episodes."""
        progress = self.progress[-self.period :]
        data = torch.from_numpy(np.column_stack([self.levels[-self.period :], progress / max(progress.max(), 1e-12)]))
        best, least = None, np.inf
        for components in COMPONENTS:
            if components > len(data):
                break
            first = torch.from_numpy(self.draws.choice(len(data), components, replace=False))
            *mixture, log_density = ops.fit_gaussian_mixture(data, first)
            criterion = float(ops.mixture_aic(log_density, rows=len(data), components=components, size=data.shape[1]))
            if criterion < least:
                best, least = mixture, criterion
        if best is not None:
            _, mean, covariance = (part.numpy() for part in best)
            self.weight, self.mean, self.factor = mean[:, -1].clip(0), mean[:, :-1], np.linalg.cholesky(covariance[:, :-1, :-1])

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("levels", "returns", "progress", "weight", "mean", "factor")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, np.asarray(value))


class Curriculum(Outside):
    """A teacher for each seed, whose draws are its stream's."""

    def __init__(self, h: ALPGMM, world: World, streams: Streams):
        levels = world.check_levels()
        settings = {"period": h.period, "uniform": h.uniform}
        self.teachers = [LevelTeacher(levels.low, levels.high, draws, **settings) for draws in streams.numpy_generators("teacher")]
        self.rows = h.environments

    def before(self, inner: Learner) -> None:
        levels = [teacher.propose(self.rows * QUEUE).reshape(self.rows, QUEUE, -1) for teacher in self.teachers]
        inner.source.assign(np.concatenate(levels))

    def after(self, inner: Learner) -> dict[str, Tensor]:
        found = inner.source.outcomes()
        for row, level, total in zip(found.row, found.level, found.total, strict=True):
            self.teachers[row // self.rows].tell(level, total)
        return {"progress": torch.tensor([float(teacher.progress[-teacher.period :].mean()) if len(teacher.progress) else 0.0 for teacher in self.teachers])}

    def state_dict(self) -> dict[str, Any]:
        return {"teachers": [teacher.state_dict() for teacher in self.teachers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for teacher, saved in zip(self.teachers, state["teachers"], strict=True):
            teacher.load_state_dict(saved)


@method("alp-gmm", name="ALP-GMM", family="curriculum", paper="arXiv:1910.07224", worlds=("gym",), example="gym:cartpole-levels")
def alp_gmm(h: ALPGMM) -> Outer:
    return Outer(clipped_policy_gradient(h), lambda world, streams: Curriculum(h, world, streams))
