"""ArCHer: its two regressions have the policy's values as their fixed point, and it needs fewer turns of the game than REINFORCE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.base_policy import ensure_base_policy
from operant.worlds import make_world

TASK = "text:lookup"  # and not text:twenty-questions, where REINFORCE does not get there in 150 iterations either: nothing could be compared
SEEDS, WINDOW, MOST = 5, 5, 60
OPTIMUM = 1.0  # who asks for each hop of a chain once, and answers with the last reply, is right in time


@check("archer", "tabular", "exact", "5 random utterance MDPs (8 states, 6 utterances): both regressions, iterated on expectations, end within 1e-4 of Q^pi")
def tabular(folder: Path) -> Finding:
    errors = [fixed_point_error(seed) for seed in range(5)]
    return Finding(max(errors) <= 1e-4, {"largest error": max(errors), "tolerance": 1e-4})


def fixed_point_error(seed: int, states: int = 8, utterances: int = 6, gamma: float = 0.95, tau: float = 0.1) -> float:
    """Largest distance of the iterated Q from the policy's, which is solved for."""
    generator = torch.Generator().manual_seed(seed)
    following = torch.rand(states, utterances, states, generator=generator, dtype=torch.float64) ** 4
    following = following / following.sum(-1, keepdim=True)
    reward = torch.rand(states, utterances, generator=generator, dtype=torch.float64)
    policy = torch.randn(states, utterances, generator=generator, dtype=torch.float64).mul(2).softmax(-1)
    done = torch.zeros(states, utterances, dtype=torch.bool)
    q_target, value_target = torch.zeros(states, utterances, 2, dtype=torch.float64), torch.zeros(states, 2, dtype=torch.float64)
    for _ in range(10_000):
        q = ops.utterance_q_target(reward, following @ value_target, done, gamma=gamma)
        value = (policy.unsqueeze(-1) * q_target).sum(1)
        q_target, value_target = q_target.lerp(q, tau), value_target.lerp(value, tau)
    moves = torch.einsum("su,sut->st", policy, following)
    truth = torch.linalg.solve(torch.eye(states, dtype=torch.float64) - gamma * moves, (policy * reward).sum(1))
    return float((q_target - (reward + gamma * following @ truth).unsqueeze(-1)).abs().max())


@check(
    "archer",
    "interactions",
    "small",
    f"text:lookup (five turns): turns until the mean outcome of {WINDOW} iterations reaches 0.8 of the optimum are at most 1/5 of those "
    f"of REINFORCE with a leave-one-out baseline (rloo, as many games an iteration, the same learning rate), {MOST} iterations at most, mean over 5 seeds",
)
def interactions(folder: Path) -> Finding:
    turns = {key: [turns_to(key, seed) for seed in range(SEEDS)] for key in ("archer", "rloo")}
    ratio = float(np.mean(turns["archer"]) / np.mean(turns["rloo"]))
    reached = {key: sum(count < float("inf") for count in counts) for key, counts in turns.items()}
    told = {key: [count if np.isfinite(count) else None for count in counts] for key, counts in turns.items()}
    figures = {"ratio": ratio if np.isfinite(ratio) else None, "at most": 0.2, "turns": told, "seeds that reach it": reached}
    return Finding(bool(ratio <= 0.2), figures, seeds=SEEDS)


def turns_to(key: str, seed: int) -> float:
    """Turns of the game until 0.8 of the optimum; infinite where it is not reached."""
    world = make_world(TASK)
    ensure_base_policy(world, lambda message: None)
    sizes = {"prompts": 4, "group_size": 4}
    learner = get_method(key).build(configure(key, sizes)).learner(world, [seed], MOST, torch.device("cpu"))
    played, outcomes = 0, []
    while learner.step < MOST:
        outcomes.append(float(learner.iterate()["reward"]))
        rollout = learner.rollout
        over = (rollout.terminated | rollout.truncated).any(-1)[0] & ~rollout.extras.get("unfinished", torch.zeros_like(rollout.group, dtype=torch.bool))[0]
        played += int((rollout.extras["turn"][0].masked_fill(~rollout.extras["drawn"][0], -1).amax(-1) + 1)[over].sum())
        if len(outcomes) >= WINDOW and np.mean(outcomes[-WINDOW:]) >= 0.8 * OPTIMUM:
            return played
    return float("inf")
