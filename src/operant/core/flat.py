"""All parameters of a module in one contiguous buffer, with the seed axis in front of every parameter.

One buffer makes the optimiser, the target network, the hand-over to workers and the checkpoint single operations, however many layers there are.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


class FlatParameters:
    """The trainable parameters of `module`, moved into one buffer of which they become views; gradients likewise.

    Args:
        module: a module on its final device. Its parameters keep their names and shapes.
        seeds: S. With `stacked`, every parameter has S as its first axis; otherwise S must be 1.
        by_rows: a seed's parameters lie end to end, so that both buffers are `[S, P / S]` too (`rows`); otherwise the seeds of each parameter do.

    Attributes:
        data: `[P]`, every parameter end to end.
        grad: `[P]`, the gradients. Backward passes add to it; `zero_grad` clears it.
        dtype: of both.
    """

    def __init__(self, module: nn.Module, *, seeds: int = 1, stacked: bool = True, by_rows: bool = False):
        self.seeds = seeds
        self.stacked = stacked
        self.by_rows = by_rows
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("the module has no trainable parameter")
        for name, p in module.named_parameters():
            if stacked and p.requires_grad and p.shape[0] != seeds:
                raise ValueError(f"parameter {name} has shape {list(p.shape)}; its first axis must be the {seeds} seeds")
        first = self.parameters[0]
        self.dtype = first.dtype
        total = sum(p.numel() for p in self.parameters)
        self.data = nn.Parameter(torch.empty(total, dtype=first.dtype, device=first.device))
        self.grad = torch.zeros_like(self.data.data)
        self.data.grad = self.grad
        with torch.no_grad():
            for p, view, gradient in zip(self.parameters, self._views(self.data.data), self._views(self.grad), strict=True):
                view.copy_(p)
                p.data = view
                p.grad = gradient

    def rows(self, buffer: Tensor) -> Tensor:
        """A buffer that is laid out as `data`, `[S, P / S]`, of parameters that lie `by_rows`: a view."""
        return buffer.view(self.seeds, -1)

    def _views(self, buffer: Tensor) -> list[Tensor]:
        """Each parameter's part of a buffer that is laid out as `data`, in its shape."""
        if self.by_rows:
            parts = self.rows(buffer).split([p[0].numel() for p in self.parameters], 1)
        else:
            parts = buffer.split([p.numel() for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]

    def weights(self) -> list[Tensor]:
        """What holds the parameters."""
        return [self.data.data]

    def parts(self, buffer: Tensor) -> list[Tensor]:
        """A buffer that is laid out as `grad`, in the pieces of `weights`: views."""
        return [buffer]

    def to_keep(self, buffer: Tensor) -> Any:
        """Such a buffer as a state holds it."""
        return buffer

    def to_take(self, kept: Tensor) -> Tensor:
        """What a state holds of such a buffer, as this has it."""
        return kept

    def zero_grad(self) -> None:
        self.grad.zero_()

    def grad_norm(self) -> Tensor:
        """The norm of each seed's gradient (L2, over all parameters), `[S]`."""
        if self.seeds == 1:
            return self.grad.norm()[None]
        return torch.stack([torch.linalg.vector_norm(p.grad.flatten(1), dim=1) for p in self.parameters]).square().sum(0).sqrt()

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scale each seed's gradient to at most `max_norm`; the norms before, `[S]`."""
        norms = self.grad_norm()
        self.scale_grad(clip_scale(norms, max_norm))
        return norms

    def scale_grad(self, scale: Tensor) -> None:
        """Multiply each seed's gradient by its `scale [S]`."""
        if self.seeds == 1:
            self.grad.mul_(scale[0])
            return
        for p in self.parameters:
            p.grad.mul_(scale.view(-1, *[1] * (p.ndim - 1)))

    def by_seed(self, buffer: Tensor) -> list[list[Tensor]]:
        """What each seed has of a buffer that is laid out as `data`: a view for each parameter."""
        views = self._views(buffer)
        return [[view[seed].flatten() for view in views] for seed in range(self.seeds)]

    def gradient(self) -> Tensor:
        """A copy of each seed's gradient, `[S, P / S]`; the parameters must be stacked."""
        return torch.cat([p.grad.flatten(1) for p in self.parameters], 1)

    def set_gradient(self, gradient: Tensor) -> None:
        """Put in the place of the gradient what `gradient()` has the shape of."""
        for p, part in zip(self.parameters, gradient.split([p[0].numel() for p in self.parameters], 1), strict=True):
            p.grad.copy_(part.view(p.shape))


def clip_scale(norms: Tensor, max_norm: float) -> Tensor:
    """What gradients of norms `[S]` are multiplied by, so that none is longer than `max_norm`."""
    return (max_norm / (norms + 1e-6)).clamp(max=1.0)


class Optimizer(Protocol):
    """What takes a step with the gradients of flat buffers. `learning_rate` may be set before any step."""

    learning_rate: float

    def keep_rate_on(self, device: torch.device) -> None: ...

    def step(self, norms: Tensor) -> None: ...

    def reset(self, seeds: Tensor | None = None) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Rated:
    """A learning rate that may be set before any step.

    Attributes:
        rate: what a step computes with: the number, or a tensor that has its value.
    """

    rate: float | Tensor

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = value
        if isinstance(getattr(self, "rate", None), Tensor):
            self.rate.fill_(value)
        else:
            self.rate = value

    def keep_rate_on(self, device: torch.device) -> None:
        """Compute with a tensor from now on, so that a step that is replayed goes by the rate of its day. PyTorch's kernels want it in float32 on a GPU."""
        self.rate = torch.full((), self.learning_rate, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)


class Adam(Rated):
    """Adam over flat buffers (Kingma & Ba, arXiv:1412.6980, algorithm 1; with decoupled weight decay, arXiv:1711.05101). Elementwise, so seeds stay apart.

    PyTorch's fused kernel without `torch.optim`, whose first use costs a second and a half of imports.

    Args:
        apart: each seed counts its steps by itself, so that one can stand still, or its moments be forgotten, while the others go on.
    """

    def __init__(
        self,
        flats: list[FlatParameters],
        *,
        learning_rate: float,
        eps: float = 1e-8,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        apart: bool = False,
    ):
        self.learning_rate = learning_rate
        self.eps, self.betas, self.weight_decay = eps, betas, weight_decay
        self._means, self._squares = ([torch.zeros_like(flat.grad) for flat in flats] for _ in range(2))
        self._steps = [torch.zeros((), device=flat.grad.device) for flat in flats for _ in range(flat.seeds if apart else 1)]

        def parts(buffers: list[Tensor]) -> list[list[Tensor]]:
            """What has a count of steps of its own: a whole buffer, or a seed's share of it."""
            return [part for flat, buffer in zip(flats, buffers, strict=True) for part in (flat.by_seed(buffer) if apart else [flat.parts(buffer)])]

        weights = [part for flat in flats for part in (flat.by_seed(flat.data.data) if apart else [flat.weights()])]
        kinds = [weights, *(parts(kind) for kind in ([flat.grad for flat in flats], self._means, self._squares))]
        self._apart, self._seeds = apart, flats[0].seeds if apart else 1
        every = [slice(seed, None, self._seeds) for seed in range(self._seeds)]  # what is stepped together: all, or what a seed has in each buffer
        self._tensors = [[[tensor for part in kind[of] for tensor in part] for kind in kinds] for of in every]
        self._counts = [[count for count, part in zip(self._steps[of], kinds[0][of], strict=True) for _ in part] for of in every]
        self._moments = [(count, *means, *squares) for count, means, squares in zip(self._steps, kinds[2], kinds[3], strict=True)]  # of each count
        self._flats = flats

    def step(self, norms: Tensor) -> None:
        """One update, unless a gradient is not finite: then parameters and moments stay as they are, of that seed alone where seeds are `apart`. No host read
        happens here.

        Args:
            norms: of the gradients, any shape; `[S]` where seeds are apart.
        """
        skips = list((~torch.isfinite(norms)).float()) if self._apart else [(~torch.isfinite(norms).all()).float()]
        torch._foreach_add_(self._steps, [1 - skip for skip in skips] * (len(self._steps) // len(skips)))  # a list: one tensor would be read by the host
        update = torch._fused_adamw_ if self.weight_decay else torch._fused_adam_
        for skip, tensors, counts in zip(skips, self._tensors, self._counts, strict=True):
            update(
                *tensors,
                [],
                counts,
                lr=self.rate,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=self.weight_decay,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
                found_inf=skip,
            )

    def reset(self, seeds: Tensor | None = None) -> None:
        """Forget moments, as if no step had been made.

        Args:
            seeds: bool `[S]`, whose, where seeds are `apart`; None for all.
        """
        for place, moments in enumerate(self._moments):
            if seeds is None or seeds[place % self._seeds]:
                for tensor in moments:
                    tensor.zero_()

    def state_dict(self) -> dict:
        kept = {name: [flat.to_keep(x) for flat, x in zip(self._flats, buffers, strict=True)] for name, buffers in self._buffers()}
        return kept | {"step": self._steps}

    def load_state_dict(self, state: dict) -> None:
        for name, buffers in self._buffers():
            for flat, buffer, saved in zip(self._flats, buffers, state[name], strict=True):
                buffer.copy_(flat.to_take(saved))
        for count, saved in zip(self._steps, state["step"], strict=True):
            count.copy_(saved)

    def _buffers(self) -> tuple[tuple[str, list[Tensor]], ...]:
        return ("mean", self._means), ("square", self._squares)


class RMSProp(Rated):
    """RMSProp over flat buffers, without momentum, not centred: g <- decay g + (1 - decay) G^2, and a step of -rate G / sqrt(g + eps). Elementwise, so seeds
    stay apart.

    Args:
        inside: eps stands within the root and g begins at 1, as in TensorFlow; otherwise eps is added to the root and g begins at 0, as in PyTorch.
        apart: the squares of one seed can be forgotten while those of the others stay.
    """

    def __init__(self, flats: list[FlatParameters], *, learning_rate: float, decay: float = 0.99, eps: float = 1e-5, inside: bool = True, apart: bool = False):
        self.learning_rate = learning_rate
        self.decay, self.eps, self.inside = decay, eps, inside
        self._start = 1.0 if inside else 0.0
        self._flats, self._apart = flats, apart
        self._squares = [torch.full_like(flat.grad, self._start) for flat in flats]

    @torch.no_grad()
    def step(self, norms: Tensor) -> None:
        """One update, unless a gradient is not finite: then parameters and squares stay as they are. No host read happens here.

        Args:
            norms: of the gradients, any shape.
        """
        finite = torch.isfinite(norms).all()
        for flat, whole in zip(self._flats, self._squares, strict=True):
            for weight, gradient, square in zip(flat.weights(), flat.parts(flat.grad), flat.parts(whole), strict=True):
                moved = (square * self.decay).addcmul_(gradient, gradient, value=1 - self.decay)
                root = (moved + self.eps).sqrt_() if self.inside else moved.sqrt().add_(self.eps)
                square.copy_(torch.where(finite, moved, square))
                weight.sub_(torch.where(finite, self.rate * gradient / root, 0.0))

    def reset(self, seeds: Tensor | None = None) -> None:
        """Forget the squares (see `Adam.reset`)."""
        for flat, square in zip(self._flats, self._squares, strict=True):
            parts = flat.by_seed(square) if self._apart else [[square]]
            for place, tensors in enumerate(parts):
                if seeds is None or seeds[place]:
                    for tensor in tensors:
                        tensor.fill_(self._start)

    def state_dict(self) -> dict:
        return {"square": [flat.to_keep(square) for flat, square in zip(self._flats, self._squares, strict=True)]}

    def load_state_dict(self, state: dict) -> None:
        for flat, square, saved in zip(self._flats, self._squares, state["square"], strict=True):
            square.copy_(flat.to_take(saved))


def shared_view(module: nn.Module, twin: nn.Module) -> nn.Module:
    """Make `twin` (a copy of `module`) a frozen view of it: the same storage, no gradients to the parameters.

    A net seen through such a view passes gradients to its inputs alone, as the reparameterised actor loss needs.
    """
    for p, q in zip((*module.parameters(), *module.buffers()), (*twin.parameters(), *twin.buffers()), strict=True):
        q.data, q.grad = p.data, None
        q.requires_grad_(False)
    return twin


def rows_of(module: nn.Module, axes: int = 1) -> Tensor:
    """The parameters of each seed of a module end to end, `[S, P]`: a copy.

    Args:
        axes: leading axes that all parameters share; of a module whose seeds have members 2, for `[S, M, P]`.
    """
    return torch.cat([p.detach().flatten(axes) for p in module.parameters()], axes)


@torch.no_grad()
def set_rows(module: nn.Module, rows: Tensor) -> None:
    """Give a module's seeds the parameters `[S, P]`, or `[S, M, P]`, in the order of `rows_of`."""
    parameters = list(module.parameters())
    sizes = [p.shape[rows.ndim - 1 :].numel() for p in parameters]
    for p, part in zip(parameters, rows.split(sizes, -1), strict=True):
        p.copy_(part.view(p.shape))
