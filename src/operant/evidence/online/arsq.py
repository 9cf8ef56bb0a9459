"""ARSQ: its advantages are a policy; of mostly bad data it learns what goes together, which independent numbers cannot; Hopper from the replay of SAC."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.core.spec import Field, Spec
from operant.evidence import Finding, check
from operant.evidence.online.beds import Corners
from operant.evidence.online.curve import curve
from operant.loops.draw import Mixed, Uniform
from operant.nets.coarse_to_fine import CoarseToFineNet
from operant.worlds import make_world
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz

FORMS = ("all", "level")  # what a step is told: the numbers before it too, or the coarser levels alone, as CQN's are
BANDIT, HOPPER = "OperantCorners-v0", "Hopper-v5"
SMALL = {"hidden": (32, 32), "batch_size": 64, "learning_rate": 1e-3, "learning_starts": 100, "bins": 5, "margin": -0.3}
SIZES = {"hidden": (64, 64), "batch_size": 64, "learning_rate": 1e-3}
BAD = {"two corners": np.array([[0.5, -0.5], [-0.5, 0.5]]), "one corner": np.array([[0.5, -0.5]])}


@check(
    "arsq",
    "identity",
    "exact",
    "both networks of 3 seeds, random weights, 4 observations, float64: over all joint bins of 2 numbers (2 levels of 3) and of 3 numbers (1 level of 4), at "
    "temperatures 0.01, 0.1 and 1, with either conditioning, |logsumexp(sum A / alpha)| <= 1e-5",
)
def identity(folder: Path) -> Finding:
    seeds, observation, worst, spread = (0, 1, 2), Spec((Field("observation", (3,), "float32", low=(-1.0,), high=(1.0,)),)), 0.0, torch.inf
    for (size, levels, bins), alpha, form in itertools.product(((2, 2, 3), (3, 1, 4)), (0.01, 0.1, 1.0), FORMS):
        action = Spec((Field("action", (size,), "float32", low=(-1.0,), high=(1.0,)),))
        policy = CoarseToFineNet((16, 16), levels, bins, alpha, form).build(observation, action, Streams(seeds)).double()
        generator = torch.Generator().manual_seed(size)
        with torch.no_grad():
            for weight in policy.parameters():
                weight += 0.5 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            path = torch.tensor(list(itertools.product(range(bins), repeat=levels * size))).view(1, -1, levels, size).expand(len(seeds), -1, -1, -1)
            for seen in torch.randn(4, len(seeds), 1, 3, generator=generator, dtype=torch.float64):
                advantage = policy.advantages(seen.expand(-1, path.shape[1], -1), path)
                total = advantage.gather(-1, path.unsqueeze(1).unsqueeze(-1).expand(-1, 2, -1, -1, -1, 1)).sum((-1, -2, -3)) / alpha
                worst, spread = max(worst, total.logsumexp(-1).abs().max().item()), min(spread, total.std(-1).min().item())
    return Finding(worst <= 1e-5, {"largest": worst, "at_most": 1e-5, "least deviation of log-probabilities": spread})


@check(
    "arsq",
    "corners",
    "small",
    "a bandit of two numbers that gives 1 around two opposite corners of a square and 0 elsewhere; 1,000 logged actions around corners (deviation 0.1), 30 % "
    "at these two, 70 % at the two others, or all 70 % at one of them; 1,500 updates on these data alone, 2 levels of 5 bins, margin -0.3, 10 seeds: with "
    "either mix the mean regret of what the policy draws is at most 0.1, and at least 0.4 where numbers are independent within a level",
)
def corners(folder: Path) -> Finding:
    if BANDIT not in gymnasium.registry:
        gymnasium.register(BANDIT, entry_point=Corners)
    figures: dict[str, Any] = {"all at_most": 0.1, "level at_least": 0.4}
    tasks = {mix: logged(folder / f"{mix}.npz", bad) for mix, bad in BAD.items()}
    for mix, form in itertools.product(tasks, FORMS):
        figures[f"regret, bad at {mix}, {form}"] = regret(tasks[mix], 1_500, online=False, conditioning=form)
        # no part of the claim: what becomes of it in the bandit itself
        figures[f"regret, 600 steps in the bandit beside the data, bad at {mix}, {form}"] = regret(tasks[mix], 600, online=True, conditioning=form)
    holds = all(figures[f"regret, bad at {mix}, all"] <= 0.1 and figures[f"regret, bad at {mix}, level"] >= 0.4 for mix in tasks)
    return Finding(holds, figures, seeds=10)


@check(
    "arsq",
    "hopper",
    "real",
    "Hopper-v5, data: all of SAC's replay after 15,000 steps (one seed); 8,000 steps, two layers of 64, batches of 64, 5 seeds: the mean of the last 4 of 8 "
    "evaluations (5 episodes each), above random actions, is at least 1.2 times that of the same with numbers independent within a level",
)
def hopper(folder: Path) -> Finding:
    task, world = replayed(folder / "hopper.npz", 15_000), make_world(f"gym:{HOPPER}")
    random = float(world.evaluate(world.random_policy(), 1, episodes=20).values.mean())
    found = {form: curve("arsq", task, seeds=5, steps=8_000, every=1_000, conditioning=form, **SIZES)[-4:].mean(0) for form in FORMS}
    ratio = float((found["all"].mean() - random) / (found["level"].mean() - random))
    figures = {f"return, {form}": score.tolist() for form, score in found.items()} | {"random": random, "ratio": ratio, "at_least": 1.2}
    return Finding(ratio >= 1.2, figures, seeds=5)


def logged(path: Path, bad: np.ndarray, count: int = 1_000, share: float = 0.7, seed: int = 0) -> str:
    """A task (`data:PATH`) of actions of the bandit, a share of them around the bad corners, the others around the good ones."""
    rng = np.random.default_rng(seed)
    corner = np.where((rng.random(count) < share)[:, None], bad[rng.integers(len(bad), size=count)], Corners.good[rng.integers(2, size=count)])
    action = np.clip(corner + rng.normal(0, 0.1, (count, 2)), -1, 1).astype(np.float32)
    seen, said = np.zeros((count, 1), np.float32), {"environment": BANDIT, "reward": "environment", "action_low": [-1.0] * 2, "action_high": [1.0] * 2}
    return f"data:{save_npz(Dataset(seen, action, seen, Corners.rewards(action), np.ones(count, bool), np.zeros(count, bool), said), path)}"


def regret(task: str, steps: int, *, online: bool, seeds: int = 10, **values: Any) -> float:
    """The mean over seeds of 1 minus the reward of 1,000 draws of a trained policy.

    Args:
        steps: updates, both halves of each batch from the data; or, online, steps in the bandit, of which the first 100 are random.
    """
    spine = get_method("arsq").build(configure("arsq", SMALL | values))
    if not online:
        half = Uniform(SMALL["batch_size"] // 2, store="data")
        spine = replace(spine, online=None, draw=Mixed((half, half)))
    learner = spine.learner(make_world(task), list(range(seeds)), steps, torch.device("cpu"))
    while learner.step < steps:
        learner.iterate()
    drawn, _ = learner.policy.drawn(torch.zeros(seeds, 1_000, 1), None, Streams(learner.seeds))
    learner.close()
    return float(1 - Corners.rewards(drawn.numpy()).mean())


def replayed(path: Path, steps: int) -> str:
    """A task (`data:PATH`) of all that SAC did in its first steps."""
    learner = get_method("sac-v2").build(configure("sac-v2", SIZES)).learner(make_world(f"gym:{HOPPER}"), [0], steps, torch.device("cpu"))
    while learner.step < steps:
        learner.iterate()
    store = learner.stores["replay"]
    batch = store.gather(torch.arange(store.size).unsqueeze(0))
    learner.close()
    seen, action, following, reward, over, cut = (
        x[0].numpy() for x in (batch.observation, batch.action, batch.next_observation, batch.reward, batch.terminated, batch.truncated)
    )  # fmt: skip
    said = {"environment": HOPPER, "reward": "environment", "action_low": [-1.0] * 3, "action_high": [1.0] * 3}
    return f"data:{save_npz(Dataset(seen, action, following, reward, over, cut & ~over, said), path)}"
