"""How far predicted returns are from those that came."""

from __future__ import annotations

import numpy as np
import torch

from operant.core.seeds import derive_seed
from operant.nets.prediction import Predictor
from operant.worlds.base import World

EPISODES, LONGEST = 8, 500
SEED = derive_seed(0, "prediction")  # of how episodes begin; no evaluation's


def prediction_error(world: World, predictor: Predictor, seeds: int, gamma: float) -> dict[str, np.ndarray]:
    """Of 8 fresh episodes a seed, cut after 500 steps: "value_error", the root mean squared difference of predicted and observed discounted returns over all
    steps, in the environment's units, and "explained_variance", 1 − Var[G − V] / Var[G]: 1 is perfect, and 0 is a constant's. `[S]` each; NaN where all returns
    are equal.

    The return of an episode that was cut goes on with what is predicted there.
    """
    played = world.play(predictor, seeds, EPISODES, SEED, LONGEST, record=True)
    steps, shape = played.steps, played.steps["reward"].shape  # [S, E, T]

    def values(name: str) -> np.ndarray:
        rows = torch.from_numpy(steps[name].reshape(seeds, EPISODES * shape[2], -1))
        return predictor.predicted(rows).cpu().numpy().astype(np.float64).reshape(shape)

    value, following = values("observation"), values("next_observation")
    returns = np.zeros(shape)
    for t in reversed(range(shape[2])):
        ends = steps["terminated"][:, :, t] | steps["truncated"][:, :, t]
        ahead = returns[:, :, t + 1] if t + 1 < shape[2] else following[:, :, t]
        behind = np.where(steps["terminated"][:, :, t], 0.0, np.where(ends, following[:, :, t], ahead))
        returns[:, :, t] = steps["reward"][:, :, t] + gamma * behind
    there = np.arange(shape[2]) < played.length[..., None]
    error, spread = (returns - value), []
    for seed in range(seeds):
        mine = there[seed]
        variance = returns[seed][mine].var()
        spread.append(1 - error[seed][mine].var() / variance if variance > 0 else np.nan)
    mean = (error**2 * there).sum((1, 2)) / there.sum((1, 2))
    return {"value_error": np.sqrt(mean), "explained_variance": np.array(spread)}
