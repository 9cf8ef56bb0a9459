"""What RL Baselines3 Zoo's settings give here, each preset on its task with its whole budget, beside what the Zoo published of it.

Written before it was run. The Zoo's figure (benchmark.md at commit 22e3ff2) is of one agent of Stable-Baselines3: the mean over the episodes of 150,000 steps,
by its mode, and the deviation between episodes. A check holds where the IQM over our seeds is no further below that mean than this deviation, so that on
CartPole, where it is 0, every episode counts. LunarLander was published as version 2. Left out: MuJoCo's tasks, whose figures are of version 3, and TRPO on
LunarLanderContinuous, whose figure is of another number of steps.
"""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.presets import PRESETS, Preset
from operant.loops.runs import train

SEEDS, EPISODES = 5, 20
PUBLISHED = {  # (mean, deviation between episodes)
    ("ppo", "CartPole-v1"): (500.0, 0.0),
    ("ppo", "MountainCar-v0"): (-110.423, 19.473),
    ("ppo", "Acrobot-v1"): (-73.506, 18.201),
    ("ppo", "LunarLander-v3"): (242.119, 31.823),
    ("ppo", "LunarLanderContinuous-v3"): (270.863, 32.072),
    ("ppo", "BipedalWalker-v3"): (287.939, 2.448),
    ("a2c", "CartPole-v1"): (500.0, 0.0),
    ("a2c", "MountainCar-v0"): (-111.263, 24.087),
    ("a2c", "Acrobot-v1"): (-83.353, 17.213),
    ("a2c", "LunarLander-v3"): (155.751, 80.419),
    ("trpo", "CartPole-v1"): (500.0, 0.0),
    ("trpo", "MountainCar-v0"): (-107.278, 13.231),
    ("trpo", "Acrobot-v1"): (-83.114, 18.648),
    ("trpo", "LunarLander-v3"): (133.166, 112.173),
    ("dqn", "CartPole-v1"): (500.0, 0.0),
    ("dqn", "MountainCar-v0"): (-100.849, 9.925),
    ("dqn", "Acrobot-v1"): (-76.639, 11.752),
    ("dqn", "LunarLander-v3"): (154.382, 79.241),
    ("qr-dqn", "CartPole-v1"): (500.0, 0.0),
    ("qr-dqn", "MountainCar-v0"): (-106.042, 15.536),
    ("qr-dqn", "Acrobot-v1"): (-69.135, 9.967),
    ("sac-v2", "Pendulum-v1"): (-156.995, 88.714),
    ("ddpg", "Pendulum-v1"): (-152.099, 94.282),
    ("ddpg", "LunarLanderContinuous-v3"): (230.217, 92.372),
    ("ddpg", "BipedalWalker-v3"): (197.486, 141.580),
    ("td3", "Pendulum-v1"): (-151.855, 90.227),
    ("td3", "LunarLanderContinuous-v3"): (207.451, 67.562),
    ("td3", "BipedalWalker-v3"): (305.990, 56.886),
}


def _measure(preset: Preset, mean: float, deviation: float) -> None:
    @check(
        "presets",
        preset.pair,
        "real",
        f"{preset.method} on {preset.task} with --preset {preset.name}, {preset.steps:,} steps, {SEEDS} seeds, {EPISODES} episodes of each: the IQM of the "
        f"return is at least {mean - deviation:,.1f}, what the Zoo published of one agent ({mean:,.1f}) less its deviation between episodes ({deviation:,.1f})",
    )
    def measure(folder: Path) -> Finding:
        given = {"preset": preset.name, "seeds": SEEDS, "every": preset.steps, "episodes": EPISODES, "progress": False}
        run = train(preset.method, f"gym:{preset.task}", out=folder / preset.pair, **given)
        score = run.result["score"]
        return Finding(score["iqm"] >= mean - deviation, score | {"steps": run.result["steps"], "threshold": mean - deviation}, SEEDS)


for _preset in PRESETS:
    if (_preset.method, _preset.task) in PUBLISHED:
        _measure(_preset, *PUBLISHED[_preset.method, _preset.task])
