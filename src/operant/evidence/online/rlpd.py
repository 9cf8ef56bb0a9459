"""RLPD: with logged episodes that reach a far goal it needs fewer steps than SAC without them."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np

from operant.evidence import Finding, check
from operant.evidence.online.curve import curve, steps_until
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz

NAME, EVERY = "MountainCarContinuous-v0", 250
SIZES = {"hidden": (64, 64), "learning_rate": 1e-3, "learning_starts": 250}


@check(
    "rlpd",
    "mountain-car",
    "small",
    "MountainCarContinuous-v0 (100 at the goal, minus the cost of actions), with 20 logged episodes of a controller that pushes along its speed with noise of "
    "deviation 1, two layers of 64, 3 seeds, 3 evaluation episodes after each 250 steps: the median of the steps until a return of 80 is at most 1,500, "
    "and at most half of SAC's without data (up to 6,000)",
)
def mountain_car(folder: Path) -> Finding:
    task = pushes(folder / "pushes.npz")
    rlpd = curve("rlpd", task, seeds=3, steps=1_500, every=EVERY, episodes=3, batch_size=64, **SIZES)
    sac = curve("sac-v2", f"gym:{NAME}", seeds=3, steps=6_000, every=EVERY, episodes=3, batch_size=64, **SIZES)
    steps = {name: steps_until(scores, 80.0, EVERY) for name, scores in (("rlpd", rlpd), ("sac", sac))}
    bound = min(1_500.0, min(float(np.median(steps["sac"])), 6_000.0) / 2)
    figures = {f"steps {name}": [value if np.isfinite(value) else None for value in each] for name, each in steps.items()}
    figures |= {"return rlpd": rlpd[-1].tolist(), "return sac": sac[-1].tolist(), "median_at_most": bound}
    return Finding(float(np.median(steps["rlpd"])) <= bound, figures, seeds=3)


def pushes(path: Path, episodes: int = 20, seed: int = 0) -> str:
    """A task (`data:PATH`) of episodes of a controller that pushes in the direction in which the car moves, with noise."""
    rng, env = np.random.default_rng(seed), gymnasium.make(NAME)
    rows = []
    for episode in range(episodes):
        seen, _ = env.reset(seed=seed + episode)
        over = cut = False
        while not over and not cut:
            action = np.clip(np.sign(seen[1:] + 1e-6) * 0.7 + rng.normal(size=1), -1, 1).astype(np.float32)
            following, reward, over, cut, _ = env.step(action)
            rows.append((seen, action, following, np.float32(reward), over, cut))
            seen = following
    env.close()
    observation, action, following, reward, over, cut = (np.array(column) for column in zip(*rows, strict=True))
    said = {"environment": NAME, "reward": "environment", "action_low": [-1.0], "action_high": [1.0]}
    data = Dataset(observation, action, following, reward, over, cut & ~over, said)
    return f"data:{save_npz(data, path)}"
