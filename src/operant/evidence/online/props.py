"""PROPS: samples of a fixed policy are nearer to it than independent ones, and learning from a buffer of them is no worse than from an uncorrected one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.online.beds import Grid
from operant.evidence.online.curve import curve
from operant.loops.correction import Correction
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.world import GymWorld

SEEDS, SIZES = 5, (256, 512, 1_024, 2_048)
# PPO of the authors' code on CartPole: one environment, rollouts of 2,048 steps, here of 512; batches of two rollouts.
BUFFER = {"environments": 1, "rollout_length": 512, "epochs": 8, "minibatches": 8, "learning_rate": 1e-3, "batches": 2}
STEPS = 40_960


@check(
    "props",
    "sampling-error",
    "small",
    "a fixed policy on a grid of 25 places, 5 seeds: the KL from the policy of the frequencies of actions in each place, weighted by visits, is lower than "
    "with samples of the policy itself after 256, 512, 1,024 and 2,048 steps, and their total variation after 2,048 at most half (means over seeds)",
)
def sampling_error(folder: Path) -> Finding:
    found = {name: errors(range(SEEDS), plan) for name, plan in {"corrected": CORRECTION, "on policy": None}.items()}
    lower = all(found["corrected"][f"kl {size}"] < found["on policy"][f"kl {size}"] for size in SIZES)
    share = found["corrected"]["variation"] / found["on policy"]["variation"]
    figures = {f"{name}, {what}": value for name, one in found.items() for what, value in one.items()}
    return Finding(lower and share <= 0.5, figures | {"share of the variation": share, "at most": 0.5}, seeds=SEEDS)


@check(
    "props",
    "cartpole",
    "small",
    "CartPole-v1, 40,960 steps, 5 seeds, a buffer of two rollouts of 512: the mean return along training (10 evaluations) is at least that of PPO on the same "
    "buffer; PPO on one rollout stands beside it",
)
def cartpole(folder: Path) -> Finding:
    arms = {"props": {}, "same buffer": {"correct": False}, "one rollout": {"correct": False, "batches": 1}}
    scores = {
        name: curve("props", "gym:CartPole-v1", seeds=SEEDS, steps=STEPS, every=STEPS // 10, episodes=10, **(BUFFER | values)) for name, values in arms.items()
    }
    means = {name: float(found.mean()) for name, found in scores.items()}
    beside = {f"per seed, {name}": found.mean(0).tolist() for name, found in scores.items()}
    return Finding(means["props"] >= means["same buffer"], means | beside | {"steps": STEPS}, seeds=SEEDS)


# With 25 places seen one-hot an action is corrected nearly place by place; the KL that ends an adaptation is the larger one of the authors' code.
CORRECTION = Correction(every=8, epochs=16, minibatches=4, clip=0.3, max_kl=0.1, learning_rate=1e-2)


def errors(seeds: range, behaviour: Correction | None) -> dict[str, float]:
    """Of steps of a fixed policy: the KL of each place's frequencies from the policy after some of them, and their total variation after all."""
    world, streams = GymWorld(Grid), Streams(list(seeds))
    policy = world.policy(ActorCriticNet(hidden=(64, 64)), streams)
    with torch.no_grad():
        policy.net.actor_head.weight.mul_(100)  # its weights are made so that all actions are nearly alike
    source = world.source(Steps(1, SIZES[-1], behaviour=behaviour), streams)
    rollout = source.sample(policy, 0)
    place, action = rollout.inputs["observation"][:, 0].argmax(-1), rollout.action[:, 0]
    with torch.no_grad():
        wanted = policy(torch.eye(Grid.side**2).expand(len(seeds), -1, -1)).softmax(-1).double()
    found = {f"kl {size}": float(np.mean(_distance(place[:, :size], action[:, :size], wanted)[0])) for size in SIZES}
    return found | {"variation": float(np.mean(_distance(place, action, wanted)[1]))}


def _distance(place: Tensor, action: Tensor, wanted: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(KL, total variation) of each seed's frequencies from the policy, weighted by visits, `[S]` each."""
    kl, variation = [], []
    for mine, did, policy in zip(place, action, wanted, strict=True):
        counts = torch.zeros_like(policy).index_put((mine, did), torch.ones(len(mine), dtype=policy.dtype), accumulate=True)
        visits = counts.sum(-1, keepdim=True)
        frequency = counts / visits.clamp(min=1)
        ratio = torch.where(counts > 0, frequency / policy, 1.0).log()
        kl.append(float((visits * frequency * ratio).sum() / visits.sum()))
        variation.append(float((visits * (frequency - policy).abs()).sum() / visits.sum() / 2))
    return np.array(kl), np.array(variation)
