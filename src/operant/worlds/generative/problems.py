"""Two-dimensional mixtures with a reward: what a generative model is trained on, and what it should make more of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """K round Gaussians of equal weight on a circle, and a reward of points.

    Attributes:
        modes: K.
        radius, deviation: of the circle, and of each Gaussian.
        reward: `(points [..., 2], mixture) → [...]`, 0 to 1.
    """

    reward: Callable[[Tensor, Mixture], Tensor]
    modes: int = 8
    radius: float = 2.0
    deviation: float = 0.2

    @property
    def means(self) -> Tensor:
        """`[K, 2]`."""
        angle = 2 * math.pi * torch.arange(self.modes) / self.modes
        return self.radius * torch.stack([angle.cos(), angle.sin()], -1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points `[count, 2]`."""
        mode = torch.randint(self.modes, (count,), generator=generator)
        return self.means[mode] + self.deviation * torch.randn(count, 2, generator=generator)

    def mode(self, points: Tensor) -> Tensor:
        """The nearest mode of each point, `[...]` from `[..., 2]`."""
        return (points.unsqueeze(-2) - self.means.to(points)).square().sum(-1).argmin(-1)


def class_probability(points: Tensor, mixture: Mixture) -> Tensor:
    """Probability that a point is of the first component, or of the one beside it."""
    squared = (points.unsqueeze(-2) - mixture.means.to(points)).square().sum(-1)
    return (-squared / (2 * mixture.deviation**2)).softmax(-1)[..., :2].sum(-1)


def inner_half(points: Tensor, mixture: Mixture) -> Tensor:
    """1 right of the circle's middle and within its radius, else 0."""
    return ((points[..., 0] > 0) & (points.square().sum(-1) < mixture.radius**2)).to(points.dtype)


PROBLEMS: dict[str, Mixture] = {"mixture": Mixture(class_probability), "region": Mixture(inner_half)}
ABOUT = {"mixture": "eight Gaussians, reward: class probability of two", "region": "eight Gaussians, reward: a half disc"}
