"""Memories: what a policy keeps of earlier observations of its episode, between its encoders and the layers behind them.

A memory has members, each with weights of its own: one that actor and critic share, or one each. All of them together have one *carry*, `[S, N, C]`: what they
know of each row when the next observation comes. A new episode's carry is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from operant.core.random import Streams
from operant.nets.layers import Initialize, Linear


class Memory(nn.Module):
    """What every memory is: a step, and a run over many.

    Args:
        members: E.
        size: numbers that one member gives to what reads it.
        width: numbers that one member carries from step to step.

    Attributes:
        carried: C, numbers that all members carry together, E · width.
    """

    def __init__(self, members: int, size: int, width: int):
        super().__init__()
        self.members, self.size, self.carried = members, size, members * width

    def project(self, x: Tensor) -> Tensor:
        """What does not hang on the carry, of all steps at once: `[S, E, B, F] → [S, E, B, P]`."""
        return x

    def step(self, x: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """One step of L = S · E members: projected `[L, N, P]` and carry `[L, N, width]` to what is read `[L, N, size]` and the carry after it."""
        raise NotImplementedError

    def run(self, x: Tensor, carry: Tensor, keeps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Steps one after the other: projected `[T, L, N, P]` and the carry before them to what is read, `[T, L, N, size]`, and the carry after each.

        Args:
            keeps: 0 where the carry before a step is forgotten, 1 elsewhere, `[T, L, N, 1]`; None: nowhere.
        """
        found, carries = [], []
        for t, seen in enumerate(x.unbind()):
            out, carry = self.step(seen, carry if keeps is None else carry * keeps[t])
            found.append(out)
            carries.append(carry)
        return torch.stack(found), torch.stack(carries)

    def forward(self, x: Tensor, carry: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """T steps of N rows. Gradients reach back to the first step, and the carry before it is given.

        Args:
            x: features `[S, E, N, T, F]`.
            carry: `[S, N, C]`, before the first step.
            begins: True where a new episode begins with a step, so that nothing is known before it, `[S, N, T]`; None: nowhere.

        Returns:
            What is read at each step `[S, E, N, T, size]`, and the carry after each, `[S, N, T, C]`, without gradient.
        """
        seeds, members, rows, length = x.shape[:4]
        projected = self.project(x.flatten(2, 3)).reshape(seeds * members, rows, length, -1).permute(2, 0, 1, 3)
        first = carry.view(seeds, rows, members, -1).transpose(1, 2).reshape(seeds * members, rows, -1)
        keeps = None
        if begins is not None:
            keeps = (~begins).to(x.dtype).permute(2, 0, 1).unsqueeze(2).expand(-1, -1, members, -1).flatten(1, 2).unsqueeze(-1)
        found, carries = self.run(projected, first, keeps)
        found = found.view(length, seeds, members, rows, -1).permute(1, 2, 3, 0, 4)
        return found, carries.detach().view(length, seeds, members, rows, -1).permute(1, 3, 0, 2, 4).flatten(3)


def _uniform(size: int) -> Initialize:
    bound = 1 / math.sqrt(size)
    return lambda weight, generator: weight.uniform_(-bound, bound, generator=generator)


class _Gated(Memory):
    """Gates from the input and from the state before: the weights of both, drawn uniformly in ±1/√size, as PyTorch does."""

    def __init__(self, inputs: int, size: int, gates: int, members: int, width: int, generators: Sequence[torch.Generator]):
        super().__init__(members, size, width)
        self.input = Linear(inputs, gates * size, generators, _uniform(size), ensemble=members)
        self.recurrent = Linear(size, gates * size, generators, _uniform(size), ensemble=members)

    def project(self, x: Tensor) -> Tensor:
        return self.input(x)


class LSTMCell(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000). A member carries its output h and its cell c.

    The gates stand in the order output, input, forget, candidate.
    """

    def __init__(self, inputs: int, size: int, members: int, generators: Sequence[torch.Generator]):
        super().__init__(inputs, size, 4, members, 2 * size, generators)

    def project(self, x: Tensor) -> Tensor:
        return self.input(x) + self.recurrent.bias

    def run(self, x: Tensor, carry: Tensor, keeps: Tensor | None) -> tuple[Tensor, Tensor]:
        h, c = _LSTM.apply(x, self.recurrent.weight.flatten(0, 1), carry, keeps)
        return h, torch.cat([h.detach(), c], -1)


class _LSTM(torch.autograd.Function):
    """All steps of an LSTM. Gradients are once differentiable, and of h alone.

    The backward pass is written out: autograd would add up the weight's gradient step by step, which costs more than all the rest; here it is one product.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, carry: Tensor, keeps: Tensor | None):
        size = weight.shape[1]
        h, c = carry.split(size, -1)
        before, cells, gates, candidates, squashed, outs, states = [], [], [], [], [], [], []
        for seen, kept in zip(x.unbind(), [None] * len(x) if keeps is None else keeps.unbind(), strict=True):
            if kept is not None:
                h, c = h * kept, c * kept
            before.append(h)
            cells.append(c)
            z = torch.baddbmm(seen, h, weight)
            gate, candidate = torch.sigmoid(z[..., : 3 * size]), torch.tanh(z[..., 3 * size :])
            leave, enter, keep = gate.split(size, -1)
            c = torch.addcmul(keep * c, enter, candidate)
            q = torch.tanh(c)
            h = leave * q
            gates.append(gate)
            candidates.append(candidate)
            squashed.append(q)
            outs.append(h)
            states.append(c)
        h, c = torch.stack(outs), torch.stack(states)
        ctx.save_for_backward(weight, *(torch.stack(part) for part in (before, cells, gates, candidates, squashed)))
        ctx.keeps = keeps
        ctx.mark_non_differentiable(c)
        return h, c

    @staticmethod
    def backward(ctx, of_h: Tensor, of_c: Tensor):
        weight, before, cells, gates, candidate, squashed = ctx.saved_tensors
        leave, enter, keep = gates.chunk(3, -1)
        to_leave, to_cell = squashed * leave * (1 - leave), leave * (1 - squashed * squashed)
        to_rest = torch.stack([candidate * enter * (1 - enter), cells * keep * (1 - keep), enter * (1 - candidate * candidate)], -2)
        keep = keep if ctx.keeps is None else keep * ctx.keeps
        back = weight.transpose(1, 2).contiguous()
        h, c = torch.zeros_like(cells[0]), torch.zeros_like(cells[0])
        steps = [part.unbind() for part in (of_h, to_leave, to_cell, to_rest, keep)]
        kepts = [None] * len(of_h) if ctx.keeps is None else ctx.keeps.unbind()
        found = []
        for of_out, leaves, to_c, rest, stays, kept in zip(*map(reversed, steps), reversed(kepts), strict=True):
            h = of_out + h
            c = torch.addcmul(c, h, to_c)
            found.append(torch.cat([h * leaves, (c.unsqueeze(-2) * rest).flatten(-2)], -1))
            h, c = torch.bmm(found[-1], back), c * stays
            h = h if kept is None else h * kept
        of_x = torch.stack(found[::-1])
        return of_x, torch.bmm(before.permute(1, 3, 0, 2).flatten(2), of_x.transpose(0, 1).flatten(1, 2)), None, None


class GRUCell(_Gated):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), with the reset gate behind the product, as in PyTorch. A member carries its output.

    The gates stand in the order reset, update, candidate.
    """

    def __init__(self, inputs: int, size: int, members: int, generators: Sequence[torch.Generator]):
        super().__init__(inputs, size, 3, members, size, generators)

    def step(self, x: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        sizes = [2 * self.size, self.size]
        remembered = torch.baddbmm(self.recurrent.bias.flatten(0, 1), carry, self.recurrent.weight.flatten(0, 1))
        (seen, new), (kept, old) = x.split(sizes, -1), remembered.split(sizes, -1)
        reset, update = torch.sigmoid(seen + kept).split(self.size, -1)
        candidate = torch.tanh(new + reset * old)
        h = candidate + update * (carry - candidate)
        return h, h


class Frames(Memory):
    """The last k observations side by side, oldest first, 0 in the place of those before the episode. It has no weights; a member carries k − 1."""

    def __init__(self, inputs: int, length: int, members: int):
        super().__init__(members, length * inputs, (length - 1) * inputs)
        self._inputs = inputs

    def step(self, x: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([carry, x], -1)
        return seen, seen[..., self._inputs :]


class MemoryNet(Protocol):
    """How a memory is built."""

    def build(self, inputs: int, members: int, streams: Streams, name: str) -> Memory:
        """A memory of `members` behind features of width `inputs`; its weights are drawn from a stream of that name."""


@dataclass(frozen=True)
class LSTM:
    """How to build an LSTM.

    Attributes:
        size: width of its output.
    """

    size: int = 64

    def build(self, inputs: int, members: int, streams: Streams, name: str) -> LSTMCell:
        return LSTMCell(inputs, self.size, members, streams.torch_generators(f"initialize/{name}"))


@dataclass(frozen=True)
class GRU:
    """How to build a GRU.

    Attributes:
        size: width of its output.
    """

    size: int = 64

    def build(self, inputs: int, members: int, streams: Streams, name: str) -> GRUCell:
        return GRUCell(inputs, self.size, members, streams.torch_generators(f"initialize/{name}"))


@dataclass(frozen=True)
class History:
    """The last observations as the input (a frame stack).

    Attributes:
        length: how many, this one among them; at least 2.
    """

    length: int = 4

    def build(self, inputs: int, members: int, streams: Streams, name: str) -> Frames:
        return Frames(inputs, self.length, members)
