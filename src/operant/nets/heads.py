"""What a critic's last layer says of a return: a number, quantiles, or a histogram. The value is its expectation, so that one stands in the place of another.

A histogram is learned by cross-entropy with a target that it makes itself, of a value (`Histogram.encode`) or of what a target network says of the next one
(`Histogram.target`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput


@dataclass(frozen=True)
class Head:
    """A number, which is the value itself. Other heads have `size` outputs for each value."""

    @property
    def size(self) -> int:
        return 1

    def mean(self, outputs: Tensor) -> Tensor:
        """The value, `[…, size]` → `[…]`."""
        return outputs.squeeze(-1)

    def forbid(self, outputs: Tensor, allowed: Tensor) -> Tensor:
        """Outputs of actions `[…, A, size]` of which none that `allowed […, A]` forbids is preferred, where outputs are values."""
        return ops.forbid(outputs, allowed.unsqueeze(-1))


VALUE = Head()


@dataclass(frozen=True)
class Quantiles(Head):
    """`count` quantiles of the return, each in the middle of one of as many parts of equal probability (QR-DQN, arXiv:1710.10044)."""

    count: int

    @property
    def size(self) -> int:
        return self.count

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.mean(-1)

    def fractions(self, like: Tensor) -> Tensor:
        """Which quantiles they are, `[count]`, in (0, 1)."""
        return (torch.arange(self.count, device=like.device, dtype=like.dtype) + 0.5) / self.count


@dataclass(frozen=True)
class Histogram(Head):
    """Logits of a distribution over `bins` values from `low` to `high`. All returns must lie there: what does not counts as the nearest end.

    Raises:
        BadInput: a range that is none, or less than two bins.
    """

    low: float
    high: float
    bins: int

    def __post_init__(self) -> None:
        if not self.low < self.high or self.bins < 2:
            raise BadInput(f"values of {self.bins} bins from {self.low:g} to {self.high:g}: at least 2 bins are wanted, and a lower end below the higher one")

    @property
    def size(self) -> int:
        return self.bins

    def centres(self, like: Tensor) -> Tensor:
        """The value of each bin, `[bins]`, on the device and in the type of a tensor."""
        raise NotImplementedError

    def mean(self, outputs: Tensor) -> Tensor:
        return self.decode(outputs.softmax(-1))

    def decode(self, probability: Tensor) -> Tensor:
        """The expectation of distributions over the bins, `[…, bins]` → `[…]`."""
        return (probability * self.centres(probability)).sum(-1)

    def encode(self, value: Tensor) -> Tensor:
        """A distribution over the bins whose expectation is a value, `[…]` → `[…, bins]`."""
        raise NotImplementedError

    def target(self, outputs: Tensor, bellman: Callable[[Tensor], Tensor]) -> Tensor:
        """The distribution to be learned, `[S, B, bins]`, from the outputs of the next action; without gradients.

        Args:
            bellman: from K next values of each transition `[S, B, K]` to their targets, as `Update.bellman_each`.
        """
        return self.encode(bellman(self.mean(outputs).unsqueeze(-1)).squeeze(-1))

    def forbid(self, outputs: Tensor, allowed: Tensor) -> Tensor:
        return outputs


@dataclass(frozen=True)
class TwoHot(Histogram):
    """The target stands on the two bins beside it (Two-Hot, arXiv:2403.03950). The first and the last bin stand at the ends of the range."""

    def centres(self, like: Tensor) -> Tensor:
        return torch.linspace(self.low, self.high, self.bins, device=like.device, dtype=like.dtype)

    def encode(self, value: Tensor) -> Tensor:
        return ops.two_hot(value, low=self.low, high=self.high, count=self.bins)


@dataclass(frozen=True)
class C51(TwoHot):
    """The target is the next distribution, shrunk, shifted and projected onto the bins (arXiv:1707.06887): the return's own distribution is learned."""

    def target(self, outputs: Tensor, bellman: Callable[[Tensor], Tensor]) -> Tensor:
        location = bellman(self.centres(outputs).expand_as(outputs))
        return ops.project_distribution(outputs.softmax(-1), location, low=self.low, high=self.high, count=self.bins)


@dataclass(frozen=True)
class HLGauss(Histogram):
    """The target is a normal distribution around it, cut into the bins (HL-Gauss, arXiv:2403.03950), whose values are their middles.

    Attributes:
        deviation: of that distribution, in widths of a bin.
    """

    deviation: float = 0.75

    def edges(self, like: Tensor) -> Tensor:
        """The bounds of the bins, `[bins + 1]`."""
        return torch.linspace(self.low, self.high, self.bins + 1, device=like.device, dtype=like.dtype)

    def centres(self, like: Tensor) -> Tensor:
        edges = self.edges(like)
        return (edges[1:] + edges[:-1]) / 2

    def encode(self, value: Tensor) -> Tensor:
        return ops.gaussian_histogram(value, self.edges(value), deviation=self.deviation * (self.high - self.low) / self.bins)
