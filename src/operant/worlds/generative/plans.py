"""How rows of denoising steps come about. A plan is a frozen dataclass with `prompts` groups of `n` rows each and a method `rows`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.velocity import VelocityPolicy
from operant.worlds.base import SamplingPlan


@dataclass(frozen=True)
class DenoisingRows:
    """Rows that are not scored yet.

    Attributes:
        inputs, action: as `VelocityPolicy.replay` takes them.
        clean: the samples that the rows are about, `[S, N, D]`.
    """

    inputs: dict[str, Tensor]
    action: Tensor
    clean: Tensor


@dataclass(frozen=True)
class GenerativePlan(SamplingPlan):
    """Groups of samples.

    Attributes:
        prompts: groups an iteration.
        n: samples a group.
        steps: denoising steps of a sample.
    """

    prompts: int = 4
    n: int = 24
    steps: int = 14

    def __post_init__(self) -> None:
        for name in ("prompts", "n", "steps"):
            if getattr(self, name) < 1:
                raise BadInput(f"{type(self).__name__}: {name}={getattr(self, name)} must be 1 or more; nearest: 1")

    @property
    def row_steps(self) -> int:
        """Steps of a row."""
        return self.steps

    def rows(self, policy: VelocityPolicy, size: int, streams: Streams) -> DenoisingRows:
        """One iteration's rows, of points with `size` numbers. Called without gradients."""
        raise NotImplementedError


@dataclass(frozen=True)
class Denoising(GenerativePlan):
    """A row is the trajectory of the sampling SDE, from noise to a sample: each step is a Gaussian choice (DDPO, arXiv:2305.13301; Flow-GRPO).

    Attributes:
        noise_level: of the SDE, above 0 (`ops.flow_sde_step`).
    """

    noise_level: float = 0.7

    def rows(self, policy: VelocityPolicy, size: int, streams: Streams) -> DenoisingRows:
        count = self.prompts * self.n
        latent = streams.normal("generative/noise", count, size)
        noise = streams.normal("generative/step", count, self.steps, size)
        seen: dict[str, list[Tensor]] = {name: [] for name in ("latent", "time", "keep", "gain", "log_deviation")}
        action = []
        for place in range(self.steps):
            time = 1 - place / self.steps
            keep, gain, deviation = ops.flow_sde_step(time, 1 / self.steps, noise_level=self.noise_level, latest=1 - 1 / self.steps)
            full = latent.new_full(latent.shape[:-1], 1.0)
            step = {"latent": latent, "time": time * full, "keep": keep * full, "gain": gain * full, "log_deviation": math.log(deviation) * full}
            for name, value in step.items():
                seen[name].append(value)
            latent = keep * latent + gain * policy.velocity(latent, time * full) + deviation * noise[:, :, place]
            action.append(latent)
        return DenoisingRows({name: torch.stack(values, 2) for name, values in seen.items()}, torch.stack(action, 2), latent)


@dataclass(frozen=True)
class Matching(GenerativePlan):
    """A row is a clean sample seen at several times: each step is a point x_t of it, and the action the velocity ε − x_0 that pre-training would fit there.

    The log-probability of a step is −w · (mean over coordinates of (v(x_t, t) − (ε − x_0))²) and a constant: what bounds the sample's likelihood. Samples are
    drawn by the ODE. Times are one in each of `times` equal parts of (0, 1).

    Attributes:
        times: T, steps of a row.
        weight: w, above 0.
    """

    times: int = 6
    weight: float = 1.0

    @property
    def row_steps(self) -> int:
        return self.times

    def rows(self, policy: VelocityPolicy, size: int, streams: Streams) -> DenoisingRows:
        count = self.prompts * self.n
        clean = policy.draw(streams.normal("generative/noise", count, size), self.steps)
        time = (torch.arange(self.times, device=clean.device) + streams.uniform("generative/time", count, self.times)) / self.times
        noise = streams.normal("generative/match", count, self.times, size)
        full = torch.ones_like(time)
        inputs = {"latent": ops.flow_point(clean.unsqueeze(2), noise, time), "time": time, "keep": 0 * full, "gain": full}
        inputs["log_deviation"] = full * (math.log(size / (2 * self.weight)) / 2)
        return DenoisingRows(inputs, noise - clean.unsqueeze(2), clean)
