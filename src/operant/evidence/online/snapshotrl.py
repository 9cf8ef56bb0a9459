"""SnapshotRL: what is put back goes on as it did, and TD3 learns to hop from fewer steps where its episodes begin along another policy's. There is one teacher
for all students, so that the figures say nothing of how much hangs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.online.curve import curve
from operant.loops.runs import train
from operant.worlds.gym.adapter import make_objects

HOPPER, STEPS, EVERY = "gym:Hopper-v5", 30_000, 3_000
SIZES = {"hidden": (64, 64), "batch_size": 64, "learning_rate": 1e-3, "learning_starts": 1_000}


def difference(task: str) -> tuple[float, int]:
    """The largest difference in 50 steps of the same actions behind a state that was put into a row which was elsewhere, and how many steps were compared."""
    there, other = make_objects(task, [1]), make_objects(task, [2])
    space, rng = there.action_space, np.random.default_rng(0)
    actions = rng.uniform(space.low, space.high, (75, 1, *space.shape)).astype(np.float32)
    seen, _ = there.reset(), other.reset()
    for action in actions[:5]:
        seen = there.step(action).observation
        other.step(-action)
    other.place(0, there.taken(0), seen[0])
    worst, compared = float(np.abs(other.observation - seen).max()), 0
    for action in actions[5:55]:
        ours, theirs = there.step(action), other.step(action)
        worst = max(worst, float(np.abs(ours.next_observation - theirs.next_observation).max()), float(np.abs(ours.reward - theirs.reward).max()))
        compared += 1
        if (ours.terminated | ours.truncated | theirs.terminated | theirs.truncated).any():
            break
    there.close()
    other.close()
    return worst, compared


@check(
    "snapshotrl",
    "fidelity",
    "exact",
    "a state that is put into another row gives the same observations and rewards for the same 50 actions: largest difference 0, on Pendulum-v1 and "
    "MountainCarContinuous-v0",
)
def fidelity(folder: Path) -> Finding:
    found = {task: difference(task) for task in ("Pendulum-v1", "MountainCarContinuous-v0")}
    holds = all(worst == 0 and steps == 50 for worst, steps in found.values())
    return Finding(holds, {f"difference {task}": worst for task, (worst, _) in found.items()} | {"steps": 50})


@check(
    "snapshotrl",
    "fidelity-mujoco",
    "small",
    "the same on Hopper-v5, HalfCheetah-v5 and Swimmer-v5: largest difference 0 in 50 steps, or until the hopper falls",
)
def fidelity_mujoco(folder: Path) -> Finding:
    found = {task: difference(task) for task in ("Hopper-v5", "HalfCheetah-v5", "Swimmer-v5")}
    holds = all(worst == 0 for worst, _ in found.values())
    figures = {f"difference {task}": worst for task, (worst, _) in found.items()} | {f"steps {task}": steps for task, (_, steps) in found.items()}
    return Finding(holds, figures)


@check(
    "snapshotrl",
    "hopper",
    "small",
    "Hopper-v5, 5 seeds, 30,000 steps (the paper's are more), two layers of 64, batches of 64, a learning rate of 1e-3: the mean return over ten evaluations "
    "of 5 episodes along training is at least 1.1 times TD3's where TD3 is the student of a TD3 policy that was trained for 20,000 steps",
)
def hopper(folder: Path) -> Finding:
    run = train("td3", HOPPER, seeds=1, seed=100, steps=20_000, every=20_000, episodes=5, progress=False, out=folder / "teacher", **SIZES)
    teacher, asked = str(run.path), {"seeds": 5, "steps": STEPS, "every": EVERY}
    plain = curve("td3", HOPPER, **asked, **SIZES)
    ours = curve("snapshotrl", HOPPER, **asked, **SIZES, teacher_run=teacher)
    uniform = curve("snapshotrl", HOPPER, **asked, **SIZES, teacher_run=teacher, clusters=1, cut=None)
    means = {name: float(scores.mean()) for name, scores in (("snapshotrl", ours), ("td3", plain), ("all states alike, not cut", uniform))}
    ratio = means["snapshotrl"] / means["td3"]
    figures = {f"mean return {name}": value for name, value in means.items()} | {"ratio": ratio, "at_least": 1.1, "teacher": run.result["score"]["iqm"]}
    return Finding(ratio >= 1.1, figures | {"per_seed snapshotrl": ours.mean(0).tolist(), "per_seed td3": plain.mean(0).tolist()}, seeds=5)
