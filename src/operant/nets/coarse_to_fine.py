"""Soft advantages of an action's bins, chosen from coarse to fine and one number of it after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from operant import ops
from operant.core.random import Streams
from operant.core.spec import Spec
from operant.nets.actors import Policy
from operant.nets.distributions import TanhPoint, distribution_for, gumbel
from operant.nets.encoders import build_encoder
from operant.nets.layers import network, orthogonal
from operant.nets.normalize import RunningNormalizer, observation_normalizer

Conditioning = Literal["all", "level"]


class BinPoint(TanhPoint):
    """A single action in (−1, 1), which is the parameters themselves, and the path of bins that leads to it.

    Attributes:
        levels: of bins within bins.
        bins: that each level cuts a number's bin of the level before into.
    """

    def __init__(self, action: Spec, levels: int, bins: int):
        super().__init__(action)
        self.levels, self.bins = levels, bins

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        """`[S, *shape, L, A, bins]`, added to the log-probabilities of bins."""
        return gumbel(streams, name, *shape, self.levels, self.size, self.bins)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return parameters

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def path(self, action: Tensor) -> Tensor:
        """The bins that actions `[…, A]` lie in, `[…, L, A]` int64."""
        return ops.coarse_to_fine_bins(action, levels=self.levels, bins=self.bins).mT


class CoarseToFine(Policy):
    """Two networks, each of V(s) and of soft advantages of bins (ARSQ, arXiv:2502.00288). A path to an action chooses a bin for each of its A numbers, and
    level after level a bin within that one; a step of it is one number at one level. Q(s, a) is V plus the advantages of all L · A steps.

    An advantage is α times a log-probability given the steps before, so that exp(Σ / α) is the policy. It draws by the least of both networks; its mode
    (`forward`) takes the best bin at each step, and is the middle of the last ones.

    Args:
        value: `[S, B, F] → [S, 2, B, 1]`.
        advantage: scores of the bins of all steps, of features and the middle of what each number's path has come down to, `[S, B, F + A] → [S, 2, B, L · A ·
            bins]`.
        alpha: temperature, in units of the return.
        conditioning: what of its own level a step is told: "all", the bins of the numbers before it; "level", none, so that a level's numbers are independent.
    """

    consists = "soft advantages of bins"
    stochastic = True

    def __init__(
        self,
        observation: Spec,
        distribution: BinPoint,
        value: nn.Module,
        advantage: nn.Module,
        encoder: nn.Module | None,
        *,
        alpha: float,
        conditioning: Conditioning,
        normalizer: RunningNormalizer | None = None,
    ):
        super().__init__(observation, distribution, normalizer)
        self.state_value, self.advantage, self.encoder, self.alpha = value, advantage, encoder, alpha
        earlier = torch.ones(distribution.size, distribution.size, dtype=torch.bool).tril(-1)
        self.register_buffer("_told", earlier if conditioning == "all" else torch.zeros_like(earlier), persistent=False)  # [A of the step, A]
        self.register_buffer("_axes", torch.eye(distribution.size), persistent=False)

    def _features(self, observation: Tensor) -> Tensor:
        return observation if self.encoder is None else self.encoder(observation)

    def value(self, observation: Tensor) -> Tensor:
        """V of both networks at normalised observations `[S, B, D]`, `[S, 2, B]`."""
        return self.state_value(self._features(observation)).squeeze(-1)

    def advantages(self, observation: Tensor, path: Tensor) -> Tensor:
        """Of both networks the advantage of each bin at each step of a path `[S, B, L, A]`, given the steps before it, `[S, 2, B, L, A, bins]`."""
        levels, size = path.shape[2:]
        middle = ops.coarse_to_fine_middles(path.mT, bins=self.distribution.bins).mT.to(observation.dtype)  # [S, B, L + 1, A]
        before, behind = middle[:, :, :-1].unsqueeze(-2), middle[:, :, 1:].unsqueeze(-2)
        told = torch.where(self._told, behind, before).flatten(2, 3)  # [S, B, L · A, A]
        features = self._features(observation).unsqueeze(2).expand(-1, -1, levels * size, -1)
        scores = self.advantage(torch.cat([features, told], -1).flatten(1, 2)).unflatten(2, told.shape[1:3])  # [S, 2, B, L · A, L · A · bins]
        own = scores.unflatten(-1, (levels * size, -1)).diagonal(dim1=3, dim2=4).mT  # each step's own scores, [S, 2, B, L · A, bins]
        return ops.soft_advantage(own, alpha=self.alpha).unflatten(3, (levels, size))

    def forward(self, observation: Tensor) -> Tensor:
        """The action `[S, B, A]` to which the best bins lead, at normalised observations `[S, B, D]`."""
        return self._descend(observation, None)

    @torch.no_grad()
    def drawn(self, observation: Tensor, carry: None, streams: Streams) -> tuple[Tensor, None]:
        return self._descend(self.normalized(observation), self.distribution.noise(streams, "action", observation.shape[1])), None

    def _descend(self, observation: Tensor, noise: Tensor | None) -> Tensor:
        features, (levels, bins, size) = self._features(observation), (self.distribution.levels, self.distribution.bins, self.distribution.size)
        middle = features.new_zeros(*features.shape[:-1], size)
        for level in range(levels):
            before = middle
            for number in range(size):
                told = torch.where(self._told[number], middle, before)
                scores = self.advantage(torch.cat([features, told], -1)).unflatten(-1, (levels, size, bins))[..., level, number, :]
                found = ops.soft_advantage(scores, alpha=self.alpha).amin(1)
                chosen = (found if noise is None else found / self.alpha + noise[:, :, level, number]).argmax(-1, keepdim=True)
                middle = middle + (2 * chosen + 1 - bins) / bins ** (level + 1) * self._axes[number]
        return middle


@dataclass(frozen=True)
class CoarseToFineNet:
    """How to build a `CoarseToFine`: perceptrons of tanh for V and for advantages, orthogonal, whose last layers begin near 0.

    Attributes:
        hidden: widths of the layers of each.
        levels, bins, alpha, conditioning: see `CoarseToFine`.
        normalize: running normalisation of observations.
    """

    hidden: tuple[int, ...] = (256, 256)
    levels: int = 2
    bins: int = 7
    alpha: float = 0.01
    conditioning: Conditioning = "all"
    normalize: bool = False

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "q") -> CoarseToFine:
        distribution = distribution_for(action, partial(BinPoint, levels=self.levels, bins=self.bins))
        encoder = build_encoder(observation, streams, f"{name}/encoder")
        width = observation.size if encoder is None else encoder.size
        made = partial(network, hidden=self.hidden, streams=streams, activation="tanh", initialize=orthogonal(2**0.5), last=orthogonal(0.01), ensemble=2)
        value = made(width, outputs=1, name=f"{name}/value")
        advantage = made(width + distribution.size, outputs=self.levels * distribution.size * self.bins, name=f"{name}/advantage")
        normalizer = observation_normalizer(observation, len(streams.seeds)) if self.normalize else None
        return CoarseToFine(observation, distribution, value, advantage, encoder, alpha=self.alpha, conditioning=self.conditioning, normalizer=normalizer)
