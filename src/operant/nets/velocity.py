"""A velocity field as a policy over denoising steps."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.nets.layers import MLP
from operant.nets.policy import TrainedPolicy

FREQUENCIES = 4  # of the sines and cosines of time


class VelocityPolicy(TrainedPolicy):
    """v(x, t) of a rectified flow, for S seeds at once. A step of a row is a Gaussian whose mean is linear in the velocity, keep · x + gain · v(x, t).

    That is a denoising step of an SDE (`ops.flow_sde_step`), or, with keep 0 and gain 1, the velocity itself beside a target.

    Args:
        size: D, numbers in a point.
        hidden: widths.
        streams: what weights are drawn from.
    """

    span = "row"

    def __init__(self, size: int, hidden: tuple[int, ...], streams: Streams):
        super().__init__()
        self.seeds = len(streams.seeds)
        self.net = MLP([size + 2 * FREQUENCIES, *hidden, size], streams.torch_generators("initialize/velocity"), activation="silu")

    def velocity(self, latent: Tensor, time: Tensor) -> Tensor:
        """`[S, …, D]` at points `[S, …, D]` and times `[S, …]`, 0 (data) to 1 (noise)."""
        angle = time.unsqueeze(-1) * torch.pi * torch.arange(1, FREQUENCIES + 1, device=time.device)
        return self.net(torch.cat([latent, angle.sin(), angle.cos()], -1))

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = ()) -> dict[str, Tensor]:
        """Log-probabilities of steps, with gradients.

        Args:
            inputs: "latent" `[S, N, T, D]`; "time", "keep", "gain" and "log_deviation" `[S, N, T]`, of the step.
            action: `[S, N, T, D]`, where it went.
            needs: of "velocity".

        Returns:
            "log_prob" `[S, N, T]`, and as asked "velocity" `[S, N, T, D]`.
        """
        velocity = self.velocity(inputs["latent"], inputs["time"])
        mean = inputs["keep"].unsqueeze(-1) * inputs["latent"] + inputs["gain"].unsqueeze(-1) * velocity
        found = {"log_prob": ops.gaussian_log_prob(action, mean, inputs["log_deviation"].unsqueeze(-1).expand_as(mean))}
        return found | ({"velocity": velocity} if "velocity" in needs else {})

    @torch.no_grad()
    def draw(self, noise: Tensor, steps: int) -> Tensor:
        """Samples `[S, …, D]` by Euler's steps of the ODE from `noise [S, …, D]`."""
        latent = noise
        for place in range(steps, 0, -1):
            latent = latent - self.velocity(latent, latent.new_full(latent.shape[:-1], place / steps)) / steps
        return latent
