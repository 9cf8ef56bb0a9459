"""All parameters of a module in one contiguous buffer, with the seed axis in front of every parameter.

One buffer makes the optimiser, the target network, the hand-over to workers and the checkpoint single operations, however many layers there are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FlatParameters:
    """The trainable parameters of `module`, moved into one buffer of which they become views; gradients likewise.

    Args:
        module: a module on its final device. Its parameters keep their names and shapes.
        seeds: S. With `stacked`, every parameter has S as its first axis; otherwise S must be 1.

    Attributes:
        data: `[P]`, every parameter end to end.
        grad: `[P]`, the gradients. Backward passes add to it; `zero_grad` clears it.
    """

    def __init__(self, module: nn.Module, *, seeds: int = 1, stacked: bool = True):
        self.seeds = seeds
        self.stacked = stacked
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("the module has no trainable parameter")
        for name, p in module.named_parameters():
            if stacked and p.requires_grad and p.shape[0] != seeds:
                raise ValueError(f"parameter {name} has shape {list(p.shape)}; its first axis must be the {seeds} seeds")
        first = self.parameters[0]
        total = sum(p.numel() for p in self.parameters)
        self.data = nn.Parameter(torch.empty(total, dtype=first.dtype, device=first.device))
        self.grad = torch.zeros_like(self.data.data)
        self.data.grad = self.grad
        offset = 0
        with torch.no_grad():
            for p in self.parameters:
                view = self.data.data[offset : offset + p.numel()].view(p.shape)
                view.copy_(p)
                p.data = view
                p.grad = self.grad[offset : offset + p.numel()].view(p.shape)
                offset += p.numel()

    def zero_grad(self) -> None:
        self.grad.zero_()

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scale each seed's gradient to at most `max_norm` (L2, over all parameters); the norms before, `[S]`."""
        if not self.stacked:
            norm = self.grad.norm()
            self.grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
            return norm[None]
        norms = torch.stack([torch.linalg.vector_norm(p.grad.flatten(1), dim=1) for p in self.parameters]).square().sum(0).sqrt()
        scale = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        for p in self.parameters:
            p.grad.mul_(scale.view(-1, *[1] * (p.ndim - 1)))
        return norms


def adam(flats: list[FlatParameters], *, learning_rate: float, eps: float = 1e-8, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0):
    """Adam over flat buffers (AdamW when `weight_decay` is positive). Elementwise, so seeds stay apart."""
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    return kind([flat.data for flat in flats], lr=learning_rate, eps=eps, betas=betas, weight_decay=weight_decay, fused=True)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict:
    """An optimiser's moments as a state of strings and tensors."""
    state = optimizer.state_dict()["state"]
    return {str(index): dict(moments) for index, moments in state.items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Put back what `optimizer_state` gave."""
    whole = optimizer.state_dict()
    whole["state"] = {int(index): moments for index, moments in state.items()}
    optimizer.load_state_dict(whole)


def shared_view(module: nn.Module, twin: nn.Module) -> nn.Module:
    """Make `twin` (a copy of `module`) a frozen view of it: the same storage, no gradients to the parameters.

    A critic seen through such a view passes gradients to its inputs alone, as the reparameterised actor loss needs.
    """
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        q.data = p.data
        q.requires_grad_(False)
    return twin
