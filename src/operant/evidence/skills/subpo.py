"""SubPO: its gradient where every path can be written down, its guarantee where steps choose places freely, and coverage against rewards that count repeats."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.terms import TermBatch, WeightedLogLikelihood
from operant.worlds import make_world

HORIZON, STATES, ACTIONS = 4, 5, 3
INSTANCES, PLACES, CHOICES = 100, 10, 5
SHARE = 1 - 1 / math.e
SEEDS, STEPS = 5, 384_000


@check(
    "subpo",
    "gradient",
    "exact",
    "five states, three actions, four steps, facility location: the expected gradient of the method's loss, summed over all 81 paths with a random baseline of "
    "the state, is that of the mean utility by central differences, within 1e-4",
)
def gradient(folder: Path) -> Finding:
    worst = max(gradient_difference(seed) for seed in range(3))
    return Finding(worst <= 1e-4, {"largest difference": worst, "at most": 1e-4})


@check(
    "subpo",
    "guarantee",
    "exact",
    "100 problems of four steps that choose freely among five places each (a third each of coverage, facility location and information of a Gaussian process): "
    "from a uniform policy exact gradient steps reach at least 1 - 1/e of the best path's utility in all",
)
def guarantee(folder: Path) -> Finding:
    shares = reached()
    held = int((shares >= SHARE).sum())
    return Finding(held == INSTANCES, {"problems": held, "of": INSTANCES, "smallest share": float(shares.min()), "at least": SHARE})


@check(
    "subpo",
    "coverage",
    "small",
    "gym:coverage-grid, 384,000 steps (300 iterations), 5 seeds: the mean weight of what the policy's path senses is at least 1.3 times that of the same "
    "method on rewards that count repeats (gym:coverage-grid-modular), both played as modes and as they draw",
)
def coverage(folder: Path) -> Finding:
    found = {name: covered(f"gym:{name}") for name in ("coverage-grid", "coverage-grid-modular")}
    ratios = {how: float(found["coverage-grid"][how].mean() / found["coverage-grid-modular"][how].mean()) for how in ("mode", "drawn")}
    figures = {f"{name}, {how}": values.tolist() for name, each in found.items() for how, values in each.items()}
    return Finding(min(ratios.values()) >= 1.3, figures | {f"ratio, {how}": ratio for how, ratio in ratios.items()} | {"at least": 1.3}, seeds=SEEDS)


def gradient_difference(seed: int) -> float:
    """The largest difference of the two gradients with respect to the table of logits, one for each step, state and action."""
    generator = torch.Generator().manual_seed(seed)
    following = torch.randint(STATES, (STATES, ACTIONS), generator=generator)
    similarity = torch.rand(STATES, 7, generator=generator, dtype=torch.float64)
    weight, baseline = (torch.rand(size, generator=generator, dtype=torch.float64) for size in (7, STATES))
    action = torch.tensor(list(product(range(ACTIONS), repeat=HORIZON)))  # [N, T]
    state = torch.zeros(len(action), HORIZON + 1, dtype=torch.int64)
    for step in range(HORIZON):
        state[:, step + 1] = following[state[:, step], action[:, step]]
    gain = ops.facility_gains(similarity, weight, state)[:, 1:]
    logits = torch.randn(HORIZON, STATES, ACTIONS, generator=generator, dtype=torch.float64).requires_grad_()

    def log_probs(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)[torch.arange(HORIZON), state[:, :-1], action]

    spine, log_prob = get_method("subpo").build(configure("subpo", {})), log_probs(logits)
    last = torch.zeros(1, *action.shape, dtype=torch.bool)
    last[..., -1] = True
    rollout = Rollout(
        inputs={},
        action=action.unsqueeze(0),
        log_prob=log_prob.detach().unsqueeze(0),
        mask=torch.ones_like(last),
        reward=gain.unsqueeze(0),
        terminated=last,
        truncated=torch.zeros_like(last),
        group=torch.zeros(1, len(action), dtype=torch.int64),
        status=torch.zeros(1, len(action), dtype=torch.int64),
        version=0,
        extras={"value": baseline[state[:, :-1]].unsqueeze(0), "next_value": baseline[state[:, 1:]].unsqueeze(0)},
    )
    (term,) = (term for term in spine.terms if isinstance(term, WeightedLogLikelihood))
    loss = term(TermBatch({"log_prob": log_prob.unsqueeze(0), "mask": rollout.mask, "advantage": spine.credit(rollout)}))
    (-(log_prob.sum(-1).detach().exp() * loss[0].sum(-1)).sum()).backward()

    def utility(logits: Tensor) -> float:
        return float((log_probs(logits).sum(-1).exp() * gain.sum(-1)).sum())

    worst, size = 0.0, 1e-5
    with torch.no_grad():
        for place in np.ndindex(*logits.shape):
            ahead, behind = logits.detach().clone(), logits.detach().clone()
            ahead[place] += size
            behind[place] -= size
            worst = max(worst, abs((utility(ahead) - utility(behind)) / (2 * size) - float(logits.grad[place])))
    return worst


def reached() -> Tensor:
    """The share of the best path's utility that exact gradient steps reach in each problem, `[INSTANCES]`."""
    generator = torch.Generator().manual_seed(0)
    choice = torch.tensor(list(product(range(CHOICES), repeat=HORIZON)))  # of all paths, [N, T]
    utilities = []
    for instance in range(INSTANCES):
        place = torch.stack([torch.randperm(PLACES, generator=generator)[:CHOICES] for _ in range(HORIZON)])  # what a step's choices are
        visited = place[torch.arange(HORIZON), choice]
        similarity = torch.rand(PLACES, 12, generator=generator, dtype=torch.float64)
        weight = torch.rand(12, generator=generator, dtype=torch.float64)
        gains = (
            ops.facility_gains((similarity > 0.7).double(), weight, visited),
            ops.facility_gains(similarity, weight, visited),
            ops.information_gains(torch.cov(torch.randn(PLACES, 6, generator=generator, dtype=torch.float64)), visited, noise=0.1),
        )
        utilities.append(gains[instance % 3].sum(-1))
    utility = torch.stack(utilities)  # [I, N]
    logits = torch.zeros(INSTANCES, HORIZON, CHOICES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.1)
    for _ in range(300):
        chance = logits.log_softmax(-1)[:, torch.arange(HORIZON), choice].sum(-1).exp()  # [I, N]
        optimizer.zero_grad()
        (-(chance * utility).sum()).backward()
        optimizer.step()
    return ((chance * utility).sum(-1) / utility.amax(-1)).detach()


def covered(task: str) -> dict[str, np.ndarray]:
    """The weight of what paths sense, by a policy trained on a task, `[SEEDS]`: its mode's path, and the mean of 128 that it draws."""
    bed = make_world("gym:coverage-grid")
    learner = get_method("subpo").build(configure("subpo", {})).learner(make_world(task), list(range(SEEDS)), STEPS, torch.device("cpu"))
    while learner.step < STEPS:
        learner.iterate()
    mode = bed.evaluate(learner.policy, SEEDS, episodes=1).values.reshape(SEEDS)
    source = bed.source(learner.method.sample, learner.streams)
    rollouts = [source.sample(learner.policy, learner.version) for _ in range(4)]
    drawn = torch.cat([rollout.reward.sum(-1) for rollout in rollouts], 1).mean(1).numpy()
    source.close()
    return {"mode": mode, "drawn": drawn}
