"""Scores of PPO, A2C, DQN, SAC and TD3 beside Stable-Baselines3's, each pair of a method and a task at equal settings and steps.

Written before it was run. Ten seeds a side; the final policy on ten episodes that begin alike on both sides, by its mode. A pair's check holds where the 95 %
intervals of the two IQMs overlap, or ours is above. What the budget allows on two cores: 60,000 steps of policy gradients, 50,000 of DQN, 10,000 of SAC and TD3
with networks and batches of 64, where the learning curves are steep and not yet flat. MinAtar's games are seen through the network of their paper on both
sides. PPO on Acrobot, CartPole, LunarLander and Hopper and SAC on Pendulum are the claim "parity", with more seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operant.core.files import write_marked
from operant.evidence import Finding, check, recorded
from operant.evidence.online.parity import PPO_PEER, PPO_TASKS, SAC_TASKS, rank_test
from operant.evidence.online.peer import on_the_same_starts, sb3_scores
from operant.loops.runs import train

SEEDS = 10
MARK = "operant evidence --write"
HEAD = ("Method", "Task", "Steps", "Seeds", "Operant, IQM of the return", "Stable-Baselines3", "p of no difference", "Intervals")
CONTINUOUS = ("MountainCarContinuous-v0", "LunarLanderContinuous-v3", "BipedalWalker-v3", "Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5")


@dataclass(frozen=True)
class Pair:
    """A method beside its peer on a task.

    Attributes:
        algorithm: the peer's class.
        steps: environment steps a seed.
        ours, peer: settings, where they are not the defaults.
        environments: the peer's copies of the environment.
    """

    method: str
    algorithm: str
    task: str
    steps: int
    ours: Mapping[str, Any] = field(default_factory=dict)
    peer: Mapping[str, Any] = field(default_factory=dict)
    environments: int = 1


DQN_OURS = {
    "learning_rate": 5e-4,
    "batch_size": 64,
    "hidden": (64, 64),
    "updates_per_step": 0.25,
    "target_every": 125,
    "epsilon_share": 0.2,
    "capacity": 100_000,
    "double": False,
}
DQN_PEER = {
    "learning_rate": 5e-4,
    "batch_size": 64,
    "learning_starts": 1000,
    "target_update_interval": 500,
    "exploration_fraction": 0.2,
    "buffer_size": 100_000,
}
SMALL_OURS = {"hidden": (64, 64), "batch_size": 64, "learning_rate": 1e-3}
SMALL_PEER = {"policy_kwargs": {"net_arch": [64, 64]}, "batch_size": 64, "learning_rate": 1e-3, "learning_starts": 1000}

MINATAR = ("MinAtar/Breakout-v1", "MinAtar/Asterix-v1")
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3", "Pendulum-v1", *CONTINUOUS)

PAIRS = (
    *(Pair("ppo", "PPO", task, 60_000, {}, PPO_PEER, 8) for task in ("MountainCar-v0", "Pendulum-v1", *(task for task in CONTINUOUS if task != "Hopper-v5"))),
    *(Pair("a2c", "A2C", task, 60_000, {"rms_prop": "torch"}, {}, 8) for task in CLASSIC),
    *(Pair("dqn", "DQN", task, 50_000, DQN_OURS, DQN_PEER) for task in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3")),
    *(Pair("ppo", "PPO", task, 60_000, {}, PPO_PEER, 8) for task in MINATAR),
    *(Pair("a2c", "A2C", task, 60_000, {"rms_prop": "torch"}, {}, 8) for task in MINATAR),
    *(Pair("dqn", "DQN", task, 50_000, DQN_OURS, DQN_PEER | {"policy_kwargs": {"net_arch": [64, 64]}}) for task in MINATAR),
    *(Pair("sac-v2", "SAC", task, 10_000, SMALL_OURS, SMALL_PEER) for task in CONTINUOUS),
    *(Pair("td3", "TD3", task, 10_000, SMALL_OURS, {**SMALL_PEER, "action_noise": 0.1}) for task in ("Pendulum-v1", *CONTINUOUS)),
)


def _name(pair: Pair) -> str:
    return f"{pair.method}-{pair.task}"


def measured(folder: Path, pair: Pair) -> Finding:
    """One pair's scores."""
    out = folder / _name(pair)
    run = train(pair.method, f"gym:{pair.task}", seeds=SEEDS, steps=pair.steps, every=pair.steps, out=out, progress=False, **pair.ours)
    peer = sb3_scores(pair.algorithm, pair.task, steps=pair.steps, seeds=SEEDS, environments=pair.environments, settings=dict(pair.peer))
    ours = on_the_same_starts(run, pair.task)
    found = {"operant": ours | {"steps": run.result["steps"]}, "peer": peer, "p": rank_test(ours["per_seed"], peer["per_seed"])}
    return Finding(ours["high"] >= peer["low"], found, SEEDS)


for _pair in PAIRS:

    @check(
        "scores",
        _name(_pair),
        "real",
        f"{_pair.method} on {_pair.task}, {_pair.steps:,} steps, {SEEDS} seeds, the same ten starts: the 95 % interval of the IQM overlaps that of "
        f"Stable-Baselines3's {_pair.algorithm} at equal settings, or is above it",
    )
    def measure(folder: Path, pair: Pair = _pair) -> Finding:
        return measured(folder, pair)


def write_table(path: Path) -> None:
    """Put the table of all recorded scores into a Markdown file, between its two marks. Raises `BadInput` as `write_marked`."""
    write_marked(path, MARK, markdown())


def markdown() -> str:
    """The table of what the claims "parity" and "scores" have recorded, a line a pair."""
    parity = {f"ppo-{task.split('-')[0].lower()}": ("ppo", task, steps) for task, steps in PPO_TASKS.items()}
    parity |= {f"sac-{task.split('-')[0].lower()}": ("sac-v2", task, steps) for task, steps in SAC_TASKS.items()}
    pairs = {"parity": parity, "scores": {_name(pair): (pair.method, pair.task, pair.steps) for pair in PAIRS}}
    rows = []
    for key, named in pairs.items():
        record = recorded(key)
        checks = {} if record is None else {each["name"]: each for each in record["checks"] if each["holds"] is not None}
        rows += [_row(*pair, checks[name]) for name, pair in named.items() if name in checks]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [HEAD, ("---",) * len(HEAD), *sorted(rows)]) + "\n"


def _row(method: str, task: str, steps: int, measured: dict[str, Any]) -> tuple[str, ...]:
    ours, peer = (measured["figures"][side] for side in ("operant", "peer"))
    verdict = "above" if ours["low"] > peer["high"] else "below" if ours["high"] < peer["low"] else "overlap"
    shown = (f"{side['iqm']:,.4g} [{side['low']:,.4g}, {side['high']:,.4g}]" for side in (ours, peer))
    return f"`{method}`", task, f"{steps:,}", str(measured["seeds"]), *shown, f"{measured['figures']['p']:.2g}", verdict
