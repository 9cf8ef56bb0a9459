"""VI-LCB: rates of its suboptimality where data are an expert's and where they are not, against copying the most frequent action and trusting every mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

CONTEXTS, ACTIONS, REPEATS = 10, 5, 200
BANDIT_SCALE, MDP_SCALE = 0.03, 1e-3  # of the penalty: 2000 in the paper
SIZES = (100, 316, 1_000, 3_162, 10_000, 31_623)
MDP_SIZES = (3_162, 10_000, 31_623, 100_000)
GAPS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times √(C* S / N)
COVERAGES = (1.0, 1.2, 2.0, 8.0)


EXPERT = "suboptimality with C* = 1 where {what} of mass 1/N stay unseen: log-log slope of the mean against N at most -0.9 ({bed}; penalty's scale {scale:g})"
HARD = "suboptimality on the worst of five gaps of 0.25 to 4 times sqrt(C* S / N): log-log slope of the mean against N in [-0.6, -0.4] with {bed}"


@check(
    "vi-lcb",
    "expert-bandit",
    "small",
    EXPERT.format(what="contexts", bed="10 contexts, 5 actions, N from 100 to 31,623, 200 repeats", scale=BANDIT_SCALE),
    theorem="suboptimality 1/N where C* is 1",
)
def expert_bandit_rate(folder: Path) -> Finding:
    return faster(slope({size: suboptimality(*expert_bandit(size), size, BANDIT_SCALE) for size in SIZES}), REPEATS)


@check(
    "vi-lcb",
    "expert-mdp",
    "small",
    EXPERT.format(what="first states", bed="10 states, discount 0.9, N from 3,162 to 100,000, 100 repeats", scale=MDP_SCALE),
    theorem="suboptimality 1/N where C* is 1",
)
def expert_mdp_rate(folder: Path) -> Finding:
    return faster(slope({size: suboptimality(*expert_mdp(size), size, MDP_SCALE, repeats=REPEATS // 2) for size in MDP_SIZES}), REPEATS // 2)


@check("vi-lcb", "hard-bandit-2", "small", HARD.format(bed="C* = 2 (contextual bandit, 10 contexts, 200 repeats)"), theorem="suboptimality √(C* S / N)")
def hard_bandit_rate(folder: Path) -> Finding:
    return between(slope({size: worst_bandit(size, 2.0) for size in SIZES}), REPEATS)


@check("vi-lcb", "hard-bandit-8", "small", HARD.format(bed="C* = 8 (contextual bandit, 10 contexts, 200 repeats)"), theorem="suboptimality √(C* S / N)")
def harder_bandit_rate(folder: Path) -> Finding:
    return between(slope({size: worst_bandit(size, 8.0) for size in SIZES}), REPEATS)


@check("vi-lcb", "hard-mdp-2", "small", HARD.format(bed="C* = 2 (10 states, discount 0.9, 100 repeats)"), theorem="suboptimality √(C* S / N)")
def hard_mdp_rate(folder: Path) -> Finding:
    return between(slope({size: worst_mdp(size, 2.0) for size in MDP_SIZES}), REPEATS // 2)


@check(
    "vi-lcb",
    "adapts",
    "small",
    "contextual bandit with a frequent and three rare inferior actions, half of the contexts rare, N = 1,000, C* = 1, 1.2, 2, 8 (200 repeats): at most 1.1"
    " times the suboptimality of the better of copying the most frequent action and of trusting every mean, each of which is at least 3 times worse somewhere",
    theorem="pessimism adapts between imitation and √(C* S / N)",
)
def adapts(folder: Path) -> Finding:
    beside = {f"C* {cover:g}": compared(cover) for cover in COVERAGES}
    ratio = max(found["lcb"] / max(min(found["imitation"], found["means"]), 1e-12) for found in beside.values())
    worse = {name: max(found[name] / max(found["lcb"], 1e-12) for found in beside.values()) for name in ("imitation", "means")}
    figures = {"suboptimality": beside, "largest_ratio": ratio, "ratio_at_most": 1.1, "times_worse": worse, "times_worse_at_least": 3}
    return Finding(ratio <= 1.1 and min(worse.values()) >= 3, figures, REPEATS)


def faster(found: dict[str, float], repeats: int) -> Finding:
    return Finding(found["slope"] <= -0.9, found | {"at most": -0.9}, repeats)


def between(found: dict[str, float], repeats: int) -> Finding:
    return Finding(-0.6 <= found["slope"] <= -0.4, found | {"between": [-0.6, -0.4]}, repeats)


def suboptimality(mdp: FiniteMDP, data: Tensor, size: int, scale: float, *, repeats: int = REPEATS, iterations: int | None = None) -> np.ndarray:
    """Of each repeat, `[repeats]`; no iteration is imitation."""
    world = TabularWorld(mdp, data=data, transitions=size)
    learner = get_method("vi-lcb").build(configure("vi-lcb", {"scale": scale})).learner(world, list(range(repeats)), 10_000, torch.device("cpu"))
    for _ in range(world.steps_of("planning") if iterations is None else iterations):
        learner.iterate()
    return world.evaluate(learner.policy, repeats).measures["suboptimality"]


def slope(found: dict[int, np.ndarray]) -> dict[str, float]:
    """The slope of log mean against log N, with a 95 % bootstrap interval over the repeats."""
    sizes, draws = np.log(list(found)), np.random.default_rng(0)

    def fitted(means: list[float]) -> float:
        return float(np.polyfit(sizes, np.log(np.maximum(means, 1e-12)), 1)[0])

    again = [fitted([values[draws.integers(len(values), size=len(values))].mean() for values in found.values()]) for _ in range(200)]
    return {"slope": fitted([values.mean() for values in found.values()]), "low": float(np.quantile(again, 0.025)), "high": float(np.quantile(again, 0.975))}


def contextual(reward: Tensor, contexts: Tensor) -> FiniteMDP:
    """A contextual bandit with 0/1 rewards: means `[S, A]` and the contexts' distribution `[S]`."""
    transition = contexts.expand(1, 1, *reward.shape, len(contexts))
    return FiniteMDP(transition.clone(), reward[None, None], contexts[None], 1.0, 1, True)


def expert_bandit(size: int) -> tuple[FiniteMDP, Tensor]:
    """All contexts but one have mass 1/N; the last action pays 1, the others nothing, and the data are the expert's."""
    contexts = torch.full((CONTEXTS,), 1 / size, dtype=torch.float64)
    contexts[0] = 1 - (CONTEXTS - 1) / size
    reward = torch.zeros(CONTEXTS, ACTIONS, dtype=torch.float64)
    reward[:, -1] = 1
    data = torch.zeros_like(reward)
    data[:, -1] = contexts
    return contextual(reward, contexts), data[None, None]


def worst_bandit(size: int, cover: float) -> np.ndarray:
    """Two actions whose means differ by a gap that shrinks with N; the better one has 1/C* of the data: the gap that costs most."""
    found = []
    for times in GAPS:
        gap = min(0.5, times * (cover * CONTEXTS / size) ** 0.5)
        reward = torch.tensor([0.5, 0.5 + gap], dtype=torch.float64).expand(CONTEXTS, 2).clone()
        data = torch.tensor([1 - 1 / cover, 1 / cover], dtype=torch.float64).expand(1, 1, CONTEXTS, 2) / CONTEXTS
        found.append(suboptimality(contextual(reward, torch.full((CONTEXTS,), 1 / CONTEXTS, dtype=torch.float64)), data, size, BANDIT_SCALE))
    return max(found, key=np.mean)


def gates(better: float, initial: Tensor) -> FiniteMDP:
    """Eight first states, each with two actions: to a state that pays 1 for ever with probability 1/2, or `better`, else to one that pays nothing."""
    transition = torch.zeros(10, 2, 10, dtype=torch.float64)
    for action, chance in enumerate((0.5, better)):
        transition[:8, action, 8], transition[:8, action, 9] = chance, 1 - chance
    transition[8, :, 8] = transition[9, :, 9] = 1
    reward = torch.zeros(10, 2, dtype=torch.float64)
    reward[8] = 1
    return FiniteMDP(transition[None], reward[None], initial[None], 0.9)


def gate_data(mdp: FiniteMDP, cover: float) -> Tensor:
    """The better action's occupancy, of which the first states' other action takes all but 1/C*."""
    policy = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(1, 10, 2)
    data = mdp.occupancy(policy).clone()
    data[:, :8, 0] = (1 - 1 / cover) * data[:, :8, 1]
    data[:, :8, 1] = data[:, :8, 1] / cover
    return data


def expert_mdp(size: int) -> tuple[FiniteMDP, Tensor]:
    """All first states but one have mass 1/N (10/N of the data's first states are theirs, a tenth of which are decisions); the better action always works."""
    initial = torch.zeros(10, dtype=torch.float64)
    initial[:8] = 10 / size
    initial[0] = 1 - 70 / size
    mdp = gates(1.0, initial)
    return mdp, gate_data(mdp, 1.0)


def worst_mdp(size: int, cover: float) -> np.ndarray:
    """As `worst_bandit`, of eight first states that share a tenth of the data."""
    initial = torch.zeros(10, dtype=torch.float64)
    initial[:8] = 1 / 8
    found = []
    for times in GAPS:
        mdp = gates(0.5 + min(0.5, times * (cover * 80 / size) ** 0.5), initial)
        found.append(suboptimality(mdp, gate_data(mdp, cover), size, MDP_SCALE, repeats=REPEATS // 2))
    return max(found, key=np.mean)


def compared(cover: float, size: int = 1_000) -> dict[str, float]:
    """Mean suboptimality of VI-LCB, of the most frequent action, and of the largest mean, on the same data."""
    contexts = torch.full((CONTEXTS,), 1 / size, dtype=torch.float64)
    contexts[: CONTEXTS // 2] = (1 - CONTEXTS / 2 / size) / (CONTEXTS / 2)
    reward = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.9], dtype=torch.float64).expand(CONTEXTS, ACTIONS)
    rare = min(1.5 * CONTEXTS / 2 / size, (1 - 1 / cover) / 4)  # 1.5 rows of each rare action in a frequent context
    shares = torch.tensor([1 - 1 / cover - 3 * rare, rare, rare, rare, 1 / cover], dtype=torch.float64)
    mdp, data = contextual(reward.clone(), contexts), (contexts[:, None] * shares)[None, None]
    found = {
        "lcb": suboptimality(mdp, data, size, BANDIT_SCALE),
        "imitation": suboptimality(mdp, data, size, 0.0, iterations=0),
        "means": suboptimality(mdp, data, size, 0.0),
    }
    return {name: float(values.mean()) for name, values in found.items()}
