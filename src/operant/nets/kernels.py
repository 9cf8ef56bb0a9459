"""Matrix products of linear layers, by the faster of two libraries on a processor.

PyTorch multiplies float32 matrices with MKL. On AMD processors oneDNN, which PyTorch itself calls for compiled models, is 1.5 to 2.4 times as fast on
matrices from about 256 × 23 × 256 on, and slower on small ones. Both compute in full float32; rounding differs in the last bits. Which one is used depends on
shapes alone, so a run repeats bit for bit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY = 1000  # rows from which the way around of a weight's gradient matters
WORTH = 1_400_000  # multiplications from which oneDNN's call overhead pays

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def round_rows(count: int) -> int:
    """The next number of rows that keeps the kinds of products few: at most a quarter more than `count`, four of them between a power of two and the next.

    oneDNN compiles a program for each shape it meets, a fifth of a millisecond and some hundred kilobytes that it keeps, and batches of tokens are never of one
    size twice; buffers of few sizes also fit where earlier ones lay.
    """
    quantum = 1 << max(count.bit_length() - 3, 0)
    return -(-count // quantum) * quantum


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _ONEDNN(x, weight, bias, "none", [], "")


def _suits(x: Tensor, weight: Tensor) -> bool:
    return _ONEDNN is not None and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32


def _for_weight(gradient: Tensor, x: Tensor) -> Tensor:
    # The same sum over rows either way around; over many of them the flat result is the faster one by up to a quarter.
    if len(x) >= MANY and gradient.shape[1] > x.shape[1]:
        return _onednn(x.t(), gradient.t()).t()
    return _onednn(gradient.t(), x.t())


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        for_x = _onednn(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        for_weight = _for_weight(rows, x.reshape(-1, x.shape[-1])) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, rows.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: x `[…, I]`, weight `[O, I]`, bias `[O]` → `[…, O]`. Gradients are once differentiable."""
    if not _suits(x, weight) or x.numel() == 0:
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


class FastLinear(nn.Linear):
    """`nn.Linear` that computes by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _BatchedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.stack([_onednn(x[member], weight[member].t(), bias[member, 0]) for member in range(len(weight))])

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        layers = range(len(weight))
        for_x = torch.stack([_onednn(gradient[member], weight[member]) for member in layers]) if ctx.needs_input_grad[0] else None
        for_weight = torch.stack([_onednn(x[member].t(), gradient[member].t()) for member in layers]) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, gradient.sum(1, keepdim=True) if ctx.needs_input_grad[2] else None


def batched_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`torch.baddbmm(bias, x, weight)`: x `[L, B, I]`, weight `[L, I, O]`, bias `[L, 1, O]` → `[L, B, O]`. Gradients are once differentiable."""
    if x.shape[1] * weight.shape[1] * weight.shape[2] < WORTH or not _suits(x, weight):
        return torch.baddbmm(bias, x, weight)
    return _BatchedLinear.apply(x, weight, bias)
