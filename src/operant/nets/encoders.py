"""From an observation's row to the features that a network's layers read: vectors go as they are, pictures through convolutions, masks not at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from operant.core.errors import unknown
from operant.core.memory import TRAINED, check_memory
from operant.core.random import Streams
from operant.core.spec import Field, Role, Spec
from operant.nets.layers import Initialize, Linear, uniform_fan_in
from operant.nets.lifted import PlainModule, lift

LARGE = 36  # pixels of the shorter side from which the strides of the Atari network fit
# (channels, kernel, stride) of each layer, and the width of what they end in
ATARI = ((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512  # Mnih et al. 2015, doi:10.1038/nature14236
SMALL = ((16, 3, 1),), 128  # MinAtar, arXiv:1903.03176


class Convolution(nn.Module):
    """A convolution a seed: `[S, B, C, H, W] → [S, B, O, H', W']`.

    Seeds go one after the other: on a processor that is two to three times as fast as one convolution in groups, and gives a seed the bits that it has alone.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int, generators: Sequence[torch.Generator], initialize: Initialize):
        super().__init__()
        self.stride = stride
        fan_in = inputs * kernel[0] * kernel[1]
        weight, bias = torch.zeros(len(generators), outputs, inputs, *kernel), torch.zeros(len(generators), outputs)
        matrix = torch.empty(fan_in, outputs)
        with torch.no_grad():
            for seed, generator in enumerate(generators):
                initialize(matrix, generator)
                weight[seed] = matrix.T.view(outputs, inputs, *kernel)
                if initialize is uniform_fan_in:
                    bias[seed].uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        seeds = zip(x.unbind(), self.weight.unbind(), self.bias.unbind(), strict=True)
        return torch.stack([nn.functional.conv2d(pictures, weight, bias, self.stride) for pictures, weight, bias in seeds])


class PictureEncoder(nn.Module):
    """A convolutional network a seed over one field: `[S, B, size] → [S, B, F]`, F = `self.size`.

    Large pictures (shorter side from 36 pixels) go through the three layers of the Atari network, small ones through the one of MinAtar's, with further ones of
    stride 2 while more than 12 pixels a side are left. Bytes are divided by the largest that the space allows.

    Args:
        field: a picture; its channels are the shorter of its first and last axis, those of a stack of pictures all together.
        generators: one a seed.
    """

    def __init__(self, field: Field, generators: Sequence[torch.Generator], initialize: Initialize):
        super().__init__()
        self._top = field.top
        self._shape, self._order = _layout(field.shape)
        stack, channels, height, width = (self._shape[axis] for axis in self._order)
        layers, self.size = ATARI if min(height, width) >= LARGE else SMALL
        layers = list(layers)
        self.layers = nn.ModuleList()
        inputs = stack * channels
        while layers:
            outputs, kernel, stride = layers.pop(0)
            sides = min(kernel, height), min(kernel, width)
            self.layers.append(Convolution(inputs, outputs, sides, stride, generators, initialize))
            inputs, height, width = outputs, (height - sides[0]) // stride + 1, (width - sides[1]) // stride + 1
            if not layers and max(height, width) > 12:
                layers = [(min(2 * outputs, 64), 3, 2)]
        flat = inputs * height * width
        what = f"field {field.name!r} of shape {field.shape}: training a layer of {flat:,} × {self.size} weights for each of {len(generators)} seeds"
        check_memory(what, TRAINED * flat * self.size * len(generators), "take smaller pictures")
        self.dense = Linear(flat, self.size, generators, initialize)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(-1, self._shape).permute(0, 1, *(2 + axis for axis in self._order)).flatten(2, 3)
        x = x / self._top if self._top != 1.0 else x
        for layer in self.layers:
            x = torch.relu(layer(x))
        return torch.relu(self.dense(x.flatten(2)))


def _layout(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A picture's shape with four axes, and which of them are (stack, channels, height, width)."""
    if len(shape) == 2:
        return (1, 1, *shape), (0, 1, 2, 3)
    whole = shape if len(shape) == 4 else (1, *shape)
    _, first, middle, last = whole
    return whole, (0, 1, 2, 3) if first < min(middle, last) else (0, 3, 1, 2)


class Encoder(nn.Module):
    """Rows `[S, …, D]` to features `[S, …, F]`, F = `self.size`: the vectors side by side, and behind them what each other field's own encoder makes of it.

    Args:
        fields: what is read.
        encoders: of some of them, by name.
    """

    def __init__(self, observation: Spec, fields: Sequence[Field], encoders: Mapping[str, nn.Module]):
        super().__init__()
        self._vectors = [(observation.slices[field.name], field.top) for field in fields if field.name not in encoders]
        self._places = [observation.slices[name] for name in encoders]
        self.encoders = nn.ModuleList(encoders.values())
        self.size = sum(place.stop - place.start for place, _ in self._vectors) + sum(encoder.size for encoder in encoders.values())

    def forward(self, rows: Tensor) -> Tensor:
        lead = rows.shape[1:-1]
        x = rows.flatten(1, -2) if len(lead) > 1 else rows
        parts = [x[..., place] if top == 1.0 else x[..., place] / top for place, top in self._vectors]
        parts += [encoder(x[..., place]) for encoder, place in zip(self.encoders, self._places, strict=True)]
        features = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return features.unflatten(1, lead) if len(lead) > 1 else features


class Encoded(nn.Module):
    """A network behind an encoder: `[S, …, D] → [S, …, outputs]`."""

    def __init__(self, encoder: Encoder, net: nn.Module):
        super().__init__()
        self.encoder, self.net = encoder, net

    def forward(self, rows: Tensor) -> Tensor:
        return self.net(self.encoder(rows))


def reads_rows(observation: Spec) -> bool:
    """Whether a network can read the rows as they are: no pictures, bytes or masks are in them."""
    return not any(field.picture or field.bytes or field.role == "action_mask" for field in observation.fields)


def build_encoder(
    observation: Spec,
    streams: Streams,
    name: str,
    own: Mapping[str, PlainModule] | None = None,
    initialize: Initialize = uniform_fan_in,
    *,
    unseen: Collection[Role] = (),
) -> Encoder | None:
    """What stands between rows of an observation and a network's layers; None where they read the rows as they are.

    Args:
        name: of the network, for its draws.
        own: plain modules by field, `[N, *row_shape] → [N, F]` of the field's numbers as the environment has them, in the place of the house's.
        unseen: roles of fields that this network does not read, beside the action mask.

    Raises:
        BadInput: no such field, or a module that does not fit it.
    """
    own = own or {}
    fields = {field.name: field for field in observation.fields if field.role not in ("action_mask", *unseen)}
    for field in own:
        if field not in fields:
            raise unknown("observation field", field, fields)
    if not own and reads_rows(observation) and len(fields) == len(observation.fields):
        return None
    encoders: dict[str, nn.Module] = {}
    for field in fields.values():
        if field.name in own:
            encoders[field.name] = _own(own[field.name], field, streams, f"{name}/{field.name}")
        elif field.picture:
            encoders[field.name] = PictureEncoder(field, streams.torch_generators(f"initialize/{name}/{field.name}"), initialize)
    return Encoder(observation, list(fields.values()), encoders)


def _shaped(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    return rows.unflatten(-1, shape or (1,))


def _own(module: PlainModule, field: Field, streams: Streams, name: str) -> nn.Module:
    wanted = ", ".join(["N", *map(str, field.row_shape or (1,))])
    said = f"encoder of {field.name!r}", f"[{wanted}]"
    return lift(module, field.size, None, streams, name=name, said=said, read=partial(_shaped, shape=field.row_shape))
