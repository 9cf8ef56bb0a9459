"""Encoders of single frames, and what each of them learns from: pairs of frames of one video, and of labelled ones the first frame's action.

All of them are a multilayer perceptron a seed from a frame `[S, B, D]` to features `[S, B, F]`; they differ in what they are trained to do with these
(`loss`). Misra et al. 2024 (arXiv:2403.13765), section 3, has the autoencoder, the forward model and temporal contrastive learning; inverse dynamics over
several steps is of arXiv:2211.00164 (ACRO), and needs actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from operant import ops
from operant.core.random import Streams
from operant.core.registry import Count, NonNegative, Positive, Range, Widths
from operant.nets.layers import MLP


@dataclass(frozen=True)
class EncoderSettings:
    features: Count = 16  # F, numbers that a frame becomes
    hidden: Widths = (64,)  # of the encoder's layers, and of those behind it
    max_offset: Count = 2  # frames from the first of a pair to the second at the most; each number is as likely
    temperature: Positive = 0.5  # of contrastive scores
    normalize: bool = True  # features that are contrasted have length 1
    codes: Annotated[int, Range(2)] = 64  # of the vector-quantised forward model
    commitment: NonNegative = 0.25  # weight of what draws features to their code, there


@dataclass(frozen=True)
class FramePairs:
    """Pairs of frames of the same videos.

    Attributes:
        first, second: `[S, B, D]`, numbers from 0 to 1.
        offset: `[S, B]` int64, how many frames the second is behind the first, from 1 on.
        action: `[S, B]` int64, what was done at the first; only inverse dynamics reads it.
    """

    first: Tensor
    second: Tensor
    offset: Tensor
    action: Tensor


class FrameEncoder(nn.Module):
    """Features as they are at first: a random encoder. The others are this one, and learn.

    Args:
        size: D, numbers of a frame.
        actions: A, how many there are.
        settings: of all encoders.
        streams: what weights are drawn from.
    """

    learns = False

    def __init__(self, size: int, actions: int, settings: EncoderSettings, streams: Streams):
        super().__init__()
        self.settings = settings
        self._generators = streams.torch_generators("initialize/encoder")
        self.encoder = MLP([size, *settings.hidden, settings.features], self._generators)

    def head(self, inputs: int, outputs: int) -> MLP:
        """What reads features."""
        return MLP([inputs, *self.settings.hidden, outputs], self._generators)

    def settle(self, frames: Tensor, draws: Tensor) -> None:
        """Look at frames `[S, B, D]` half-way through training, with uniform draws `[S, codes]`."""

    def forward(self, frames: Tensor) -> Tensor:
        return self.encoder(frames)

    def loss(self, pairs: FramePairs) -> Tensor:
        """`[S, B]`, of encoders that learn."""
        raise NotImplementedError

    def offsets(self, pairs: FramePairs) -> Tensor:
        """One-hot, `[S, B, max_offset]`."""
        return nn.functional.one_hot(pairs.offset - 1, self.settings.max_offset).to(pairs.first.dtype)


class Autoencoder(FrameEncoder):
    """Reconstructs a frame from its features: ‖x - g(φ(x))‖²."""

    learns = True

    def __init__(self, size: int, actions: int, settings: EncoderSettings, streams: Streams):
        super().__init__(size, actions, settings, streams)
        self.decoder = self.head(settings.features, size)

    def loss(self, pairs: FramePairs) -> Tensor:
        return (self.decoder(self(pairs.first)) - pairs.first).square().sum(-1)


class ForwardModel(FrameEncoder):
    """Predicts a later frame from a frame's features and how far off it is: ‖x_{t+k} - g(φ(x_t), k)‖². What cannot be predicted needs no features."""

    learns = True

    def __init__(self, size: int, actions: int, settings: EncoderSettings, streams: Streams):
        super().__init__(size, actions, settings, streams)
        self.decoder = self.head(settings.features + settings.max_offset, size)

    def loss(self, pairs: FramePairs) -> Tensor:
        return self.error(self(pairs.first), pairs)

    def error(self, features: Tensor, pairs: FramePairs) -> Tensor:
        """Of the prediction, `[S, B]`."""
        return (self.decoder(torch.cat([features, self.offsets(pairs)], -1)) - pairs.second).square().sum(-1)


class QuantizedForwardModel(ForwardModel):
    """The same with a bottleneck: features are replaced by the nearest of several codes (see `ops.vector_quantized`).

    Codes begin half-way through training, at features that frames have then: at features of an untrained encoder, which are of noise, most of them stay unused.
    """

    def __init__(self, size: int, actions: int, settings: EncoderSettings, streams: Streams):
        super().__init__(size, actions, settings, streams)
        self.codes = nn.Parameter(torch.zeros(len(self._generators), settings.codes, settings.features))
        self.quantizes = False

    @torch.no_grad()
    def settle(self, frames: Tensor, draws: Tensor) -> None:
        self.codes.copy_(ops.spread_points(self.encoder(frames), draws))
        self.quantizes = True

    def forward(self, frames: Tensor) -> Tensor:
        return self._quantized(frames)[0]

    def loss(self, pairs: FramePairs) -> Tensor:
        features, distance = self._quantized(pairs.first)
        return self.error(features, pairs) + distance

    def _quantized(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(frames)
        if not self.quantizes:
            return features, features.new_zeros(features.shape[:-1])
        return ops.vector_quantized(features, self.codes, commitment=self.settings.commitment)


class TemporalContrastive(FrameEncoder):
    """Finds the frame of the same video among those of others (see `ops.info_nce_loss`)."""

    learns = True

    def forward(self, frames: Tensor) -> Tensor:
        features = self.encoder(frames)
        return nn.functional.normalize(features, dim=-1) if self.settings.normalize else features

    def loss(self, pairs: FramePairs) -> Tensor:
        first, second = self(torch.cat([pairs.first, pairs.second], 1)).chunk(2, 1)
        return ops.info_nce_loss(first, second, temperature=self.settings.temperature)


class InverseDynamics(FrameEncoder):
    """Tells what was done at a frame from its features, those of a later frame and how far off that is: -log p(a_t | φ(x_t), φ(x_{t+k}), k)."""

    learns = True

    def __init__(self, size: int, actions: int, settings: EncoderSettings, streams: Streams):
        super().__init__(size, actions, settings, streams)
        self.classifier = self.head(2 * settings.features + settings.max_offset, actions)

    def loss(self, pairs: FramePairs) -> Tensor:
        first, second = self(torch.cat([pairs.first, pairs.second], 1)).chunk(2, 1)
        logits = self.classifier(torch.cat([first, second, self.offsets(pairs)], -1))
        return -ops.categorical_log_prob(logits, pairs.action)


ENCODERS: dict[str, type[FrameEncoder]] = {
    "random": FrameEncoder,
    "autoencoder": Autoencoder,
    "forward": ForwardModel,
    "forward-vq": QuantizedForwardModel,
    "contrastive": TemporalContrastive,
    "inverse": InverseDynamics,
}
