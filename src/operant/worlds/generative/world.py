"""Generative models of two-dimensional mixtures: a row is a sample's denoising steps, the reward is known of every point, and the base model is pre-trained."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, unknown
from operant.core.flat import Adam, FlatParameters
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.velocity import VelocityPolicy
from operant.worlds.base import SampleWorkers, Source, World
from operant.worlds.generative.plans import GenerativePlan
from operant.worlds.generative.problems import ABOUT, PROBLEMS, Mixture

SIZE, HIDDEN = 2, (64, 64)
UPDATES, BATCH, RATE = 1_000, 512, 2e-3  # of pre-training
SAMPLES, STEPS = 1_000, 25  # of an evaluation, and denoising steps of each
SIDE, CELLS = 4.0, 24  # of the histogram: half its width, and cells a side


class GenerativeWorld(World):
    """One mixture and its reward; a small velocity field, pre-trained by flow matching, is where training starts from. Seeds are stacked.

    The score is the mean reward of fresh samples. Beside it stand `coverage`, the share of modes that at least a quarter of their part of the samples fall to,
    and `kl_to_base`, KL(policy || base model) of histograms of samples, nats.
    """

    kind = "generative"
    step_unit = "iterations"
    answers = True
    default_steps = 100
    stacked = True
    score = "reward"

    def __init__(self, problem: Mixture, name: str):
        self.problem, self.task = problem, f"generative:{name}"
        self.longest = STEPS

    @classmethod
    def from_name(cls, name: str) -> GenerativeWorld:
        if name not in PROBLEMS:
            raise unknown("generative task", name, PROBLEMS)
        return cls(PROBLEMS[name], name)

    @staticmethod
    def names() -> dict[str, str]:
        return ABOUT

    def fingerprint(self) -> str:
        return f"{self.task} {self.problem.modes} {self.problem.radius} {self.problem.deviation}"

    def check_source(self, plan: Any, seeds: int, workers: SampleWorkers | None) -> None:
        if not isinstance(plan, GenerativePlan):
            raise BadInput(f"{self.task} is sampled by denoising; this method's plan is {type(plan).__name__}")

    def policy(self, net: Any, streams: Streams) -> VelocityPolicy:
        """The pre-trained model, the same for every seed."""
        if net is not None:
            raise BadInput(f"{self.task} brings its own network; leave policy= out")
        policy = VelocityPolicy(SIZE, HIDDEN, streams)
        start = pretrained(self.problem)
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                parameter.copy_(start[name].expand_as(parameter))
        return policy

    def source(self, plan: Any, streams: Streams, *, workers: SampleWorkers | None = None) -> GenerativeSource:
        self.check_source(plan, len(streams.seeds), workers)
        return GenerativeSource(self.problem, plan, streams)

    def evaluate(self, policy: VelocityPolicy, seeds: int, *, episodes: int = SAMPLES, seed: int = 0) -> Evaluation:
        """Reward of `episodes` fresh samples, `values [S, episodes]`, all seeds' from the same noise; details "coverage" and "kl_to_base" `[S]`."""
        drawn = self.samples_of(policy, episodes, seed)
        base = self.samples_of(self.policy(None, Streams([0])).to(drawn.device), 10 * SAMPLES, seed + 1)
        return Evaluation(
            self.score,
            self.problem.reward(drawn, self.problem).double().cpu().numpy(),
            {"coverage": coverage(drawn, self.problem), "kl_to_base": histogram_kl(drawn, base)},
        )

    def samples_of(self, policy: VelocityPolicy, count: int, seed: int) -> Tensor:
        """Fresh samples `[S, count, 2]`."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "generative/evaluation"))
        device = policy.device
        return policy.draw(torch.randn(count, SIZE, generator=generator).to(device).expand(policy.seeds, -1, -1), STEPS)


class GenerativeSource(Source):
    """Samples of a plan, with the reward of each on its row's last step."""

    def __init__(self, problem: Mixture, plan: GenerativePlan, streams: Streams):
        self.problem, self.plan, self.streams = problem, plan, streams

    @torch.no_grad()
    def sample(self, policy: VelocityPolicy, version: int) -> Rollout:
        rows = self.plan.rows(policy, SIZE, self.streams)
        log_prob = policy.replay(rows.inputs, rows.action)["log_prob"]
        mask = torch.ones_like(log_prob, dtype=torch.bool)
        last = torch.zeros_like(mask)
        last[..., -1] = True
        group = torch.arange(self.plan.prompts, device=mask.device).repeat_interleave(self.plan.n).expand(mask.shape[:2])
        return Rollout(
            inputs=rows.inputs,
            action=rows.action,
            log_prob=log_prob,
            mask=mask,
            reward=torch.zeros_like(log_prob),
            terminated=last,
            truncated=torch.zeros_like(mask),
            group=group,
            status=torch.full_like(group, Status.OK),
            version=version,
            extras={"clean": rows.clean},
        )

    def score(self, rollout: Rollout) -> Rollout:
        rollout.reward = self.problem.reward(rollout.extras["clean"], self.problem).unsqueeze(-1) * rollout.terminated
        return rollout

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        return {"reward": rollout.reward.sum(-1).mean(-1).cpu()}

    def state_dict(self) -> dict[str, Any]:
        return {"streams": self.streams.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.streams.load_state_dict(state["streams"])


@cache
def pretrained(problem: Mixture) -> dict[str, Tensor]:
    """The parameters of the base model, S = 1: flow matching on samples of the mixture, from a seed; seconds, once a process."""
    policy = VelocityPolicy(SIZE, HIDDEN, Streams([0]))
    flat = FlatParameters(policy)
    optimizer = Adam([flat], learning_rate=RATE)
    generator = torch.Generator().manual_seed(derive_seed(0, "generative/pretraining"))
    for update in range(UPDATES):
        clean = problem.sample(BATCH, generator)
        noise, time = torch.randn(BATCH, SIZE, generator=generator), torch.rand(BATCH, generator=generator)
        flat.zero_grad()
        (policy.velocity(ops.flow_point(clean, noise, time)[None], time[None])[0] - (noise - clean)).square().mean().backward()
        optimizer.learning_rate = RATE * (1 - update / UPDATES)
        optimizer.step(flat.grad_norm())
    return {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}


def coverage(samples: Tensor, problem: Mixture) -> np.ndarray:
    """Share of modes that at least a quarter of their part of the samples `[S, N, 2]` fall to, `[S]`."""
    share = torch.nn.functional.one_hot(problem.mode(samples), problem.modes).double().mean(1)
    return (share >= 1 / (4 * problem.modes)).double().mean(1).cpu().numpy()


def histogram_kl(samples: Tensor, base: Tensor) -> np.ndarray:
    """KL(samples || base), nats, of histograms on a grid with one sample's worth added to the base's cells together, `[S]`.

    Args:
        samples: `[S, N, 2]`.
        base: `[1, M, 2]`.
    """

    def shares(points: Tensor) -> Tensor:
        cell = ((points / SIDE + 1) / 2 * CELLS).long().clamp(0, CELLS - 1)
        return torch.stack([torch.bincount(row[:, 0] * CELLS + row[:, 1], minlength=CELLS**2) for row in cell]).double() / points.shape[1]

    ours, theirs = shares(samples), shares(base)
    theirs = (theirs * base.shape[1] + 1 / CELLS**2) / (base.shape[1] + 1)
    return torch.special.xlogy(ours, ours / theirs).sum(1).cpu().numpy()
