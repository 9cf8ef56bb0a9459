"""AWM: on policy it is advantage-weighted flow matching, its target has less variance than DDPO's, and it needs fewer samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.terms import ClippedRatio, TermBatch
from operant.nets.velocity import VelocityPolicy
from operant.worlds import make_world
from operant.worlds.generative.plans import Matching

SEEDS, ITERATIONS, LOOKED = 5, 80, 500
WANTED = 0.9


@check(
    "awm",
    "gradient",
    "exact",
    "generative:mixture, a pre-trained policy, 96 samples at 6 times: on policy the gradient of the ratio loss is that of A w (v − (eps − x_0))² (relative "
    "difference < 1e-5)",
)
def is_weighted_matching(folder: Path) -> Finding:
    error = gradient_error()
    return Finding(error < 1e-5, {"relative": error, "tolerance": 1e-5})


@check(
    "awm",
    "variance",
    "small",
    "generative:mixture, the pre-trained policy, 256 draws each: at 100 random pairs of times s < t the trace of the gradient's covariance is larger with the "
    "target that is noised to x_s than with the clean one (all of 100), and its ratio rises with s / t (rank correlation above 0.5)",
)
def clean_targets_vary_less(folder: Path) -> Finding:
    ratio, nearness = variance_ratios(100)
    rank = float(np.corrcoef(ratio.argsort().argsort(), nearness.argsort().argsort())[0, 1])
    figures = {"smallest_ratio": float(ratio.min()), "median_ratio": float(np.median(ratio)), "rank_correlation": rank, "threshold": 0.5}
    return Finding(bool((ratio > 1).all()) and rank > 0.5, figures, seeds=1)


@check(
    "awm",
    "samples",
    "small",
    "generative:mixture, 5 seeds, the defaults (learning rate 1e-3, 4 updates a batch of 96 samples for both): the mean reward of 500 fresh samples reaches "
    "0.9 with at most half the samples that Flow-GRPO draws (means over the seeds, looked at after every iteration, at most 80)",
)
def needs_fewer_samples(folder: Path) -> Finding:
    own, baseline = samples_to("awm"), samples_to("flow-grpo")
    ratio = own["samples"] / baseline["samples"]
    return Finding(ratio <= 0.5, {"awm": own, "flow-grpo": baseline, "ratio": ratio, "threshold": 0.5}, seeds=SEEDS)


def gradient_error() -> float:
    """Relative distance of the loss's gradient on fresh samples from that of advantage-weighted flow matching."""
    world = make_world("generative:mixture")
    policy = world.policy(None, Streams([0]))
    rollout = world.source(Matching(4, 24), Streams([0])).sample(policy, 0)
    advantage = torch.randn(rollout.shape, generator=torch.Generator().manual_seed(0))
    fields = {"old_log_prob": rollout.log_prob, "advantage": advantage, "mask": rollout.mask}

    def gradient(loss: Tensor) -> Tensor:
        return torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(policy.parameters()))])

    replayed = policy.replay(rollout.inputs, rollout.action)
    found = gradient(ClippedRatio(1.0, 1.0)(TermBatch(fields | replayed)).mean())
    velocity = policy.velocity(rollout.inputs["latent"], rollout.inputs["time"])
    want = gradient((advantage * (velocity - rollout.action).square().mean(-1)).mean())
    return float((found - want).norm() / want.norm())


def variance_ratios(points: int, draws: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """(trace of the gradient's covariance with noised targets over that with clean ones, s / t), `[points]` each."""
    world = make_world("generative:mixture")
    policy, generator = world.policy(None, Streams([0])), torch.Generator().manual_seed(0)
    ratios, nearness = [], []
    for _ in range(points):
        pair = torch.rand(2, generator=generator)
        time, before = 0.05 + 0.9 * pair[0], (0.05 + 0.9 * pair[0]) * (0.1 + 0.85 * pair[1])  # between 0.05 and 0.95, and a tenth to 95 % of it
        t, s = time.expand(draws), before.expand(draws)
        clean = world.problem.sample(draws, generator)
        earlier = ops.flow_point(clean, torch.randn(draws, 2, generator=generator), s)
        a = (1 - time) / (1 - before)
        point = a * earlier + (time.square() - (a * before).square()).sqrt() * torch.randn(draws, 2, generator=generator)
        jacobian = jacobians(policy, point, t)
        with torch.no_grad():
            velocity = policy.velocity(point[None], t[None])[0]
        targets = (ops.noised_target(point, clean, t, torch.zeros_like(t)), ops.noised_target(point, earlier, t, s))
        traces = [float(torch.einsum("nd,ndp->np", velocity - target, jacobian).var(0).sum()) for target in targets]
        ratios.append(traces[1] / traces[0])
        nearness.append(float(before / time))
    return np.array(ratios), np.array(nearness)


def jacobians(policy: VelocityPolicy, point: Tensor, time: Tensor) -> Tensor:
    """Of the velocity at each point by the parameters of the last layer, `[n, 2, P]`: the other layers' gradients are linear maps of the same residuals."""
    last = policy.net.layers[-1]
    kept: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    with torch.no_grad():
        policy.velocity(point[None], time[None])
    handle.remove()
    features = torch.cat([kept[0][0], torch.ones(len(point), 1)], -1)  # [n, H + 1]
    return torch.einsum("nh,de->ndhe", features, torch.eye(2)).flatten(2)


def samples_to(key: str) -> dict[str, float]:
    """Samples until fresh ones have the wanted reward (of a seed that never gets there, all), and how the model stands then, means over the seeds."""
    world = make_world("generative:mixture")
    learner = get_method(key).build(configure(key, {})).learner(world, list(range(SEEDS)), ITERATIONS, torch.device("cpu"))
    samples, kl, reached = np.full(SEEDS, np.nan), np.full(SEEDS, np.nan), np.zeros(SEEDS, bool)
    for _ in range(ITERATIONS):
        learner.iterate()
        found = world.evaluate(learner.policy, SEEDS, episodes=LOOKED)
        now = ~reached & (found.values.mean(1) >= WANTED)
        samples[now], kl[now] = learner.spent["samples"], found.details["kl_to_base"][now]
        reached |= now
        if reached.all():
            break
    samples[~reached], kl[~reached] = learner.spent["samples"], found.details["kl_to_base"][~reached]
    return {"samples": float(samples.mean()), "reached": int(reached.sum()), "kl_to_base": float(kl.mean()), "reward": float(found.values.mean())}
