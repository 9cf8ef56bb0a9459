"""MDPO: what its inner problem is solved by and how fast its outer one, exactly; several steps against one, and against a clip, on HalfCheetah.

Exact: tables in float64. The inner problem is the method's own terms, summed over all actions of the policy that acted instead of drawn from it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds import make_world

STATES, ACTIONS, DISCOUNT = 6, 4, 0.9
STEP_SIZE = 0.5
ITERATIONS = 200
STEPS, SEEDS = 100_000, 5
# One environment and rollouts of 2,048 steps as in the authors' code; observations and rewards normalised as there.
SETTINGS = {"environments": 1, "rollout_length": 2048, "value_minibatches": 16, "value_epochs": 5, "normalize_observation": True, "normalize_reward": True}


@check(
    "mdpo",
    "inner-problem",
    "exact",
    "tables of 6 states and 4 actions: gradient steps on the method's loss, summed over actions, end at π_k exp(t A) / Z (largest difference 1e-6; t = 0.5, 3 "
    "random problems)",
)
def inner_problem(folder: Path) -> Finding:
    worst = inner_difference()
    return Finding(worst <= 1e-6, {"largest difference": worst, "at most": 1e-6})


@check(
    "mdpo",
    "rate",
    "exact",
    "random MDPs of 6 states and 4 actions, discount 0.9: with exact steps the largest gap of values after k iterations is at most (log 4 / t + 1 / (1 - γ)) / "
    "((1 - γ) k) for every k up to 200 (t = 0.5, 3 problems)",
)
def rate(folder: Path) -> Finding:
    gaps = np.stack([value_gaps(seed) for seed in range(3)])
    count = np.arange(1, ITERATIONS + 1)
    bound = (math.log(ACTIONS) / STEP_SIZE + 1 / (1 - DISCOUNT)) / (1 - DISCOUNT)
    worst = float((gaps * count).max() / bound)
    after = {f"gap after {place}": float(gaps[:, place - 1].max()) for place in (1, ITERATIONS)}
    return Finding(worst <= 1, {"largest share of the bound": worst} | after)


@check(
    "mdpo",
    "several-steps",
    "real",
    "HalfCheetah-v5, 100,000 steps, 5 seeds: the mean return with 10 gradient steps an iteration is above that with one, and at least 0.9 times that of the "
    "clipped ratio in the place of ratio and KL in the same loop, with as many steps",
)
def several_steps(folder: Path) -> Finding:
    ten = halfcheetah(spine(epochs=10))
    one = halfcheetah(spine(epochs=1))
    clipped = halfcheetah(replace(spine(epochs=10), terms=[ClippedRatio()]))
    means = {name: float(found.mean()) for name, found in {"10 steps": ten, "1 step": one, "clipped": clipped}.items()}
    holds = means["10 steps"] > means["1 step"] and means["10 steps"] >= 0.9 * means["clipped"]
    beside = {f"per seed, {name}": found.tolist() for name, found in {"10 steps": ten, "1 step": one, "clipped": clipped}.items()}
    return Finding(holds, means | beside | {"steps": STEPS}, seeds=SEEDS)


@check(
    "mdpo",
    "without-the-kl",
    "exact",
    "off policy with 1 / t = 0 the actor's loss is that of SAC at the same temperature, on the same draws (largest difference 1e-6)",
)
def without_the_kl(folder: Path) -> Finding:
    worst = difference_from_sac()
    return Finding(worst <= 1e-6, {"largest difference": worst, "at most": 1e-6})


def spine(**hyper: object) -> PolicyGradient:
    return get_method("mdpo").build(configure("mdpo", SETTINGS | hyper))


def inner_difference() -> float:
    generator = torch.Generator().manual_seed(0)
    advantage, logits = (torch.randn(3, STATES, ACTIONS, generator=generator, dtype=torch.float64) for _ in range(2))
    old = logits.log_softmax(-1)
    advantage = advantage - (old.exp() * advantage).sum(-1, keepdim=True)
    terms = spine(step_size=STEP_SIZE, anneal=False).terms
    trained = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([trained], 0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.996)
    for _ in range(5_000):
        new = trained.log_softmax(-1)
        kl = ops.categorical_kl(trained, logits).unsqueeze(-1).expand_as(new)
        batch = TermBatch({"log_prob": new, "old_log_prob": old, "advantage": advantage, "mask": torch.ones_like(new, dtype=torch.bool), "kl_to_acted": kl})
        loss = (old.exp() * sum(term(batch) for term in terms)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float((trained.softmax(-1) - (old + STEP_SIZE * advantage).softmax(-1)).abs().max().detach())


def value_gaps(seed: int) -> np.ndarray:
    """The largest gap of values over states after each iteration of exact mirror descent, `[ITERATIONS]`."""
    generator = torch.Generator().manual_seed(seed)
    reward = torch.rand(STATES, ACTIONS, generator=generator, dtype=torch.float64)
    transition = torch.rand(STATES, ACTIONS, STATES, generator=generator, dtype=torch.float64).square().square()
    transition = transition / transition.sum(-1, keepdim=True)
    best, _ = ops.stationary_optimum(reward, transition, discount=DISCOUNT)
    logits, gaps = torch.zeros_like(reward), []
    for _ in range(ITERATIONS):
        logits = (logits + STEP_SIZE * _q(reward, transition, logits)).log_softmax(-1)  # π exp(t A) / Z: V falls out of Z
        gaps.append(float((best - ops.stationary_value(reward, transition, logits.exp(), discount=DISCOUNT)).max()))
    return np.array(gaps)


def _q(reward: Tensor, transition: Tensor, logits: Tensor) -> Tensor:
    value = ops.stationary_value(reward, transition, logits.softmax(-1), discount=DISCOUNT)
    return ops.bellman_q(reward, transition, value, discount=DISCOUNT)


def halfcheetah(method: PolicyGradient) -> np.ndarray:
    """Mean return of 10 episodes of each seed's policy after `STEPS` steps."""
    world = make_world("gym:HalfCheetah-v5")
    learner = method.learner(world, list(range(SEEDS)), STEPS, torch.device("cpu"))
    while learner.step < STEPS:
        learner.iterate()
    found = world.evaluate(learner.policy, SEEDS, episodes=10).values.reshape(SEEDS, -1).mean(1)
    learner.close()
    return found


def difference_from_sac() -> float:
    """The largest difference of the actor's losses, a transition each, of two learners with the same weights, batch and draws."""
    small = {"hidden": (16, 16), "batch_size": 64, "learning_starts": 64}
    alpha, found = 0.3, {}
    for key, values in {"mdpo-off": {"alpha": alpha, "inverse_step_size": 0.0}, "sac-v2": {"initial_alpha": alpha}}.items():
        learner = get_method(key).build(configure(key, small | values)).learner(make_world("gym:Pendulum-v1"), [0, 1], 1_000, torch.device("cpu"))
        while learner.step < 64:
            learner.gather(64 - learner.step)
        (phase, drawer), *_ = learner.at_work()
        found[key] = learner.losses(phase, learner.seen(drawer.draw(), drawer))["actor"].detach()
    return float((found["mdpo-off"] - found["sac-v2"]).abs().max())
