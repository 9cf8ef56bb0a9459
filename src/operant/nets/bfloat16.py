"""Language models that compute in bfloat16 with weights in float32.

`forward` of an object is replaced and its class, its weights' names and its config are left alone, so that it is saved as what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BFloat16Linear(nn.Linear):
    """`nn.Linear` that computes in bfloat16, whatever its weights are kept in. Gradients have the weights' dtype."""

    held: tuple[Tensor, Tensor | None] | None = None  # the weights in bfloat16, while `cast_once` holds them

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input.to(torch.bfloat16), *(self.held or self.cast()))

    def cast(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in bfloat16."""
        return self.weight.to(torch.bfloat16), None if self.bias is None else self.bias.to(torch.bfloat16)


def compute_in_bfloat16(model: nn.Module) -> None:
    """Make a model compute in bfloat16, in place: itself and its trunk under autocast, and every linear layer by itself (the output layer is called alone)."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = BFloat16Linear
    for whole in (model, model.base_model):
        whole.forward = partial(_forward_in_bfloat16, whole)  # which can be pickled, and a bound method of a name that its class has not cannot


def own_forward(module: nn.Module) -> bool:
    """Whether a module's forward pass is that of its class, in bfloat16 or not, and no other one was put in its place."""
    replaced = vars(module).get("forward")
    return replaced is None or getattr(replaced, "func", None) is _forward_in_bfloat16


@contextmanager
def cast_once(model: nn.Module) -> Iterator[None]:
    """Meanwhile the weights of a model that computes in bfloat16 are cast once and not at each call; they must not change, and get no gradients."""
    layers = [module for module in model.modules() if type(module) is BFloat16Linear]
    try:
        for layer in layers:
            layer.held = layer.cast()
        yield
    finally:
        for layer in layers:
            layer.held = None


def _forward_in_bfloat16(whole: nn.Module, *args: Any, **kwargs: Any) -> Any:
    with torch.autocast(whole.device.type, torch.bfloat16):
        return type(whole).forward(whole, *args, **kwargs)
