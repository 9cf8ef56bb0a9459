"""Matrix products and activations of networks, by the kernels that are the faster ones on this processor.

Two sets compute the same in full float32 and round the last bits otherwise. "native" is what PyTorch itself calls: MKL's products and vector functions, the
faster ones on Intel's processors. "onednn" takes wide products to oneDNN, which PyTorch calls for compiled models, and tanh to the logistic function: on AMD's
processors without AVX-512, where MKL runs its slow paths, 1.5 to 2.4 times as fast from about 256 × 23 × 256 on. "mixed" does so where there are many rows, as
the tokens of an update are; with AVX-512 on AMD's processors MKL is as fast at batches of some hundred, faster on two threads, and of the few rows of a token
that is drawn takes half to nine tenths of the time. Which set a process takes hangs on what its processor is and on nothing that is measured, so that a command
gives the same bits each time; a run records it and goes on with it. `operant bench kernels` measures the sets on this machine. Within a set, shapes decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from operant.core.processor import maker, said

SETS = ("native", "onednn", "mixed")
MANY = 1000  # rows from which the set "mixed" goes to oneDNN, and the way around of a weight's gradient matters
WORTH = 1_400_000  # multiplications from which oneDNN's call overhead pays
ROUNDED = 4_000_000  # multiplications from which a product in bfloat16 pays for the conversions
WIDE = 4096  # numbers from which tanh by the logistic function pays

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def fitting() -> str:
    """The set of kernels that is taken on this processor."""
    if maker() != "AuthenticAMD" or _ONEDNN is None:
        return "native"
    return "mixed" if "avx512f" in said().get("flags", "").split() else "onednn"


_taken = fitting()


def taken() -> str:
    """The set of kernels that this process computes with."""
    return _taken


def take(kernels: str) -> None:
    """Compute with one of `SETS` from now on; with "native" where this build of PyTorch has no oneDNN."""
    global _taken
    _taken = kernels if _ONEDNN is not None else "native"


_in_bfloat16 = False


@contextmanager
def in_bfloat16(wanted: bool) -> Iterator[None]:
    """Within it perceptrons compute their wide layers in bfloat16, forward and backward: weights, sums of gradients and narrow layers, which are the first and
    the last ones as a rule, stay in float32."""
    global _in_bfloat16
    before, _in_bfloat16 = _in_bfloat16, wanted
    try:
        yield
    finally:
        _in_bfloat16 = before


_twice = False


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Within it networks are computed layer by layer, in products and activations whose gradients have gradients themselves."""
    global _twice
    before, _twice = _twice, True
    try:
        yield
    finally:
        _twice = before


def layer_by_layer() -> bool:
    """Whether layers stand alone: for a compiler, and where gradients are differentiated."""
    return _twice or torch.compiler.is_compiling()


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16; without it such products take many times as long."""
    return _ONEDNN is not None and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent; beside the set "native" of large tensors by the logistic function, 2σ(2x) − 1, within 1e-7."""
    if _taken == "native" or torch.compiler.is_compiling() or x.numel() < WIDE:
        return torch.tanh(x)
    return torch.sigmoid(x * 2).mul(2).sub(1)


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
    return _taken != "native" and not _twice and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32


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
    if x.numel() == 0:
        return F.linear(x, weight, bias)
    if not _suits(x, weight) or not _many(x.numel() // x.shape[-1]):
        # As one matrix: of more axes PyTorch multiplies in one way or another, with other last bits, by whether the weight wants a gradient.
        found = F.linear(x.reshape(-1, x.shape[-1]), weight, bias)
        return found if x.ndim == 2 else found.view(*x.shape[:-1], weight.shape[0])
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


class FastLinear(nn.Linear):
    """`nn.Linear` that computes by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def _many(rows: int) -> bool:
    """Whether so many rows go to oneDNN: few of them are faster by MKL, but where it runs its slow paths."""
    return rows >= MANY or _taken == "onednn"


def _worth(rows: int, weights: int) -> bool:
    return rows * weights >= WORTH and _many(rows)


def _wide(x: Tensor, weight: Tensor) -> bool:
    return _worth(x.shape[1], weight.shape[1] * weight.shape[2]) and _suits(x, weight)


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if _wide(x, weight):
        return _each(lambda a, b, c: _onednn(a, b.t(), c[0]), x, weight, bias)
    return torch.baddbmm(bias, x, weight)


def _for_input(gradient: Tensor, weight: Tensor) -> Tensor:
    return _each(_onednn, gradient, weight) if _wide(gradient, weight) else torch.bmm(gradient, weight.transpose(1, 2))


def _for_weights(x: Tensor, gradient: Tensor) -> Tensor:
    if _worth(x.shape[1], x.shape[2] * gradient.shape[2]) and _suits(x, gradient):
        return _each(lambda a, b: _onednn(a.t(), b.t()), x, gradient)
    return torch.bmm(x.transpose(1, 2), gradient)


def products(x: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All that a layer multiplies in an update: its output `[L, B, O]`, and the gradients of its weight `[L, I, O]` and of its input `[L, B, I]`."""
    return _affine(x, weight, bias), _for_weights(x, gradient), _for_input(gradient, weight)


def _each(product, *operands: Tensor) -> Tensor:
    found = [product(*members) for members in zip(*operands, strict=True)]
    return found[0].unsqueeze(0) if len(found) == 1 else torch.stack(found)


class _BatchedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _affine(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        for_x = _for_input(gradient, weight) if ctx.needs_input_grad[0] else None
        for_weight = _for_weights(x, gradient) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, gradient.sum(1, keepdim=True) if ctx.needs_input_grad[2] else None


def batched_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`torch.baddbmm(bias, x, weight)`: x `[L, B, I]`, weight `[L, I, O]`, bias `[L, 1, O]` → `[L, B, O]`. Gradients are once differentiable."""
    if torch.compiler.is_compiling() or not _wide(x, weight):  # a compiler would take the number of rows for a condition
        return torch.baddbmm(bias, x, weight)
    return _BatchedLinear.apply(x, weight, bias)


# ------------------------------------------------------------------------------------------------------------------------------------------- perceptrons

SLOPE, EPS = 0.01, 1e-5  # of leaky_relu below 0, and of layer norms: PyTorch's own

FUSED = {
    "relu": torch.relu_,
    "tanh": lambda x: x.copy_(tanh(x)) if x.numel() >= WIDE and _taken != "native" else torch.tanh_(x),
    "leaky_relu": lambda x: F.leaky_relu_(x, SLOPE),
}
"""Activations of which `perceptron` knows the derivative by what they gave, computed in place."""


_NORM_BACKWARD, _LEAKY_BACKWARD = torch.ops.aten.native_layer_norm_backward.default, torch.ops.aten.leaky_relu_backward.grad_input  # looked up once


def _backward_of(activation: str, gradient: Tensor, output: Tensor, into: Tensor | None) -> Tensor:
    """The gradient before an activation from the one behind it and what it gave; `into` is what may be written to."""
    into = torch.empty_like(gradient) if into is None else into
    if activation == "relu":
        return torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=into)
    if activation == "leaky_relu":
        return _LEAKY_BACKWARD(gradient, output, SLOPE, True, grad_input=into)
    return torch.ops.aten.tanh_backward.grad_input(gradient, output, grad_input=into)


def _stretched(x: Tensor, weight: Tensor) -> Tensor:
    """Rows of a seed `[S, B, I]` or of each member of an ensemble `[S, E, B, I]`, as the weights' leading axes want them: `[L, B, I]`."""
    if weight.ndim == 3:
        return x
    return (x.unsqueeze(1).expand(-1, weight.shape[1], -1, -1) if x.ndim == 3 else x).flatten(0, 1)


def _run(
    x: Tensor, parameters: Sequence[Tensor], activation: str, activated: int, normed: list[Tensor] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """The input `[L, B, I]` of each layer and the last one's output, and the layers' weights, each as it computed with them.

    Args:
        normed: where layers are normalised before their activation; it takes, of each, what went into the norm, its mean and its inverse deviation.
    """
    flow, flows, weights = _stretched(x, parameters[0]), [], []
    for place, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        if weight.ndim > 3:
            weight, bias = weight.flatten(0, -3), bias.flatten(0, -3)
        if _in_bfloat16 and flow.shape[1] * weight.shape[1] * weight.shape[2] >= ROUNDED:
            flow, weight, bias = flow.bfloat16(), weight.bfloat16(), bias.bfloat16()
        flow = flow.to(weight.dtype)
        flows.append(flow)
        weights.append(weight)
        flow = _affine(flow, weight, bias)
        if place < activated:
            if normed is not None:
                before = flow
                flow, mean, inverse = torch.native_layer_norm(before, before.shape[-1:], None, None, EPS)
                normed += [before, mean, inverse]
            flow = FUSED[activation](flow)
    return [*flows, flow.to(parameters[0].dtype)], weights


def _run_back(
    gradient: Tensor,
    flows: Sequence[Tensor],
    weights: Sequence[Tensor],
    activation: str,
    activated: int,
    wanted: Sequence[bool],
    normed: Sequence[Tensor] = (),
) -> tuple[Tensor | None, list[Tensor | None]]:
    """The gradient of the first layer's input `[L, B, I]`, and those of the parameters, `[L, …]`, from the last output's.

    Args:
        flows, weights, normed: what `_run` gave; the last flow may be missing where it is not activated.
        wanted: whether the input's is, and whether each parameter's.
    """
    found: list[Tensor | None] = []
    given = gradient
    for place in reversed(range(len(weights))):
        weight = weights[place]
        if place < activated:
            gradient = _backward_of(activation, gradient, flows[place + 1], None if gradient is given else gradient)
            if normed:
                before, mean, inverse = normed[3 * place : 3 * place + 3]
                gradient = _NORM_BACKWARD(gradient, before, before.shape[-1:], mean, inverse, None, None, [True, False, False])[0]
        gradient = gradient.to(weight.dtype)
        trains = wanted[1 + 2 * place]
        found.append(gradient.sum(1, keepdim=True) if trains else None)
        found.append(_for_weights(flows[place], gradient) if trains else None)
        if place or wanted[0]:
            gradient = _for_input(gradient, weight)
    return (gradient if wanted[0] else None), found[::-1]


def _parted(found: list[Tensor | None], lead: torch.Size) -> list[Tensor | None]:
    """Gradients `[L, …]` with the parameters' own leading axes."""
    return found if len(lead) == 1 else [None if x is None else x.unflatten(0, lead) for x in found]


def _shrunk(gradient: Tensor | None, shape: torch.Size, lead: torch.Size) -> Tensor | None:
    """The inverse of `_stretched`, for gradients."""
    if gradient is None or len(lead) == 1:
        return gradient
    gradient = gradient.unflatten(0, lead)
    return gradient.sum(1) if len(shape) == 3 else gradient


class _Perceptron(torch.autograd.Function):
    """Layers behind one another with their activations: the same products as layer by layer, without a node, a copy and a buffer for each step."""

    @staticmethod
    def forward(ctx, activation: str, activated: int, layer_norm: bool, x: Tensor, *parameters: Tensor) -> Tensor:
        normed: list[Tensor] | None = [] if layer_norm else None
        flows, weights = _run(x, parameters, activation, activated, normed)
        ctx.kind = activation, activated, x.shape, parameters[0].shape[:-2]
        ctx.kept = len(weights), len(weights) + (activated == len(weights))
        ctx.save_for_backward(*weights, *flows[: ctx.kept[1]], *(normed or ()))
        return _parted(flows[-1:], parameters[0].shape[:-2])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        activation, activated, shape, lead = ctx.kind
        count, seen = ctx.kept
        saved = ctx.saved_tensors
        weights, flows, normed = saved[:count], saved[count : count + seen], saved[count + seen :]
        for_x, found = _run_back(gradient.flatten(0, -3), flows, weights, activation, activated, ctx.needs_input_grad[3:], normed)
        return None, None, None, _shrunk(for_x, shape, lead), *_parted(found, lead)


def perceptron(x: Tensor, parameters: Sequence[Tensor], activation: str, activated: int, layer_norm: bool = False) -> Tensor:
    """Affine maps with an activation behind each of the first `activated`: `[S, B, I] → [S, B, O]`, or `[S, E, B, O]` of an ensemble.

    Args:
        x: `[S, B, I]`, or `[S, E, B, I]` for each member of an ensemble.
        parameters: weight `[S, …, I, O]` and bias `[S, …, 1, O]` of each layer, in turn.
        activation: of `FUSED`. Gradients are once differentiable.
        layer_norm: before each activation, without a learned scale and shift.
    """
    if not torch.is_grad_enabled():
        return _parted(_run(x, parameters, activation, activated, [] if layer_norm else None)[0][-1:], parameters[0].shape[:-2])[0]
    return _Perceptron.apply(activation, activated, layer_norm, x, *parameters)


def pulled(
    x: Tensor, parameters: Sequence[Tensor], activation: str, activated: int, layer_norm: bool = False
) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
    """`perceptron` of no ensemble, and what makes a gradient of its output `[S, B, O]` those of its parameters: without autograd, for updates of one sample,
    where each node would cost more than what it computes. The parameters, which take no gradients, must not change between the two."""
    normed: list[Tensor] | None = [] if layer_norm else None
    flows, weights = _run(x, parameters, activation, activated, normed)
    wanted = [False, *[True] * len(parameters)]

    def pull(gradient: Tensor) -> list[Tensor]:
        return _run_back(gradient, flows, weights, activation, activated, wanted, normed or ())[1]

    return flows[-1], pull


def standing(parameters: Sequence[Tensor], activation: str, activated: int) -> Callable[[Tensor], Tensor]:
    """`perceptron` of weights that stand still, `[S, B, I] → [S, B, O]` without gradients and to the same bits: what is looked up is looked up once.

    Args:
        parameters: of no ensemble.
    """
    layers = [(weight.detach(), bias.detach()) for weight, bias in zip(parameters[::2], parameters[1::2], strict=True)]
    activate = FUSED[activation]

    def run(x: Tensor) -> Tensor:
        for weight, bias in layers[:activated]:
            x = activate(_affine(x, weight, bias))
        for weight, bias in layers[activated:]:
            x = _affine(x, weight, bias)
        return x

    return run


class _Towers(torch.autograd.Function):
    @staticmethod
    def forward(ctx, activation: str, x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        trunk, (weight, bias, other, shift) = parameters[:-4], parameters[-4:]
        flows, weights = _run(x, trunk, activation, len(trunk) // 2)
        ctx.kind = activation, x.shape, trunk[0].shape[:-2]
        ctx.save_for_backward(*weights, weight, other, *flows)
        last = flows[-1].unflatten(0, (-1, 2))
        return _affine(last[:, 0], weight, bias), _affine(last[:, 1], other, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx, first: Tensor, second: Tensor):
        activation, shape, lead = ctx.kind
        count = (len(ctx.needs_input_grad) - 6) // 2
        weights, (weight, other), flows = ctx.saved_tensors[:count], ctx.saved_tensors[count : count + 2], ctx.saved_tensors[count + 2 :]
        last = flows[-1].unflatten(0, (-1, 2))
        gradient = torch.stack([_for_input(first, weight), _for_input(second, other)], 1).flatten(0, 1)
        for_x, found = _run_back(gradient, flows, weights, activation, count, ctx.needs_input_grad[1:])
        heads = [_for_weights(last[:, 0], first), first.sum(1, keepdim=True), _for_weights(last[:, 1], second), second.sum(1, keepdim=True)]
        return None, _shrunk(for_x, shape, lead), *_parted(found, lead), *heads


def towers(x: Tensor, trunk: Sequence[Tensor], heads: Sequence[Tensor], activation: str) -> tuple[Tensor, Tensor]:
    """Two perceptrons of equal widths side by side and a head on each: `[S, B, I] → ([S, B, O], [S, B, P])`.

    Args:
        x: `[S, B, I]`, or `[S, 2, B, I]` for each.
        trunk: weight `[S, 2, I, H]` and bias `[S, 2, 1, H]` of each layer, in turn; all are activated.
        heads: weight and bias of the first one's head, and of the second's.
        activation: of `FUSED`. Gradients are once differentiable.
    """
    return _Towers.apply(activation, x, *trunk, *heads)
