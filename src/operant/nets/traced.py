"""Forward passes of one sample, and what a gradient of their output gives the parameters: what learning along traces differentiates, after every step.

Where a perceptron stands first this is worked out without autograd, each node of which costs more than what it computes for one sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from operant.nets.kernels import pulled
from operant.nets.layers import MLP

Pull = Callable[[Tensor], list[Tensor]]
"""From a gradient of the output, in its shape, to those of the parameters that are trained, in the order of `module.parameters()`."""

Traced = Callable[[Tensor], tuple[Tensor, Pull]]
"""From normalised observations `[S, N, D]` to the output, without gradients, and its `Pull`. Parameters may change between calls, and not between a call and
its pull."""


class TracedModule(nn.Module):
    """A network of observations that says how it is traced."""

    def traced(self) -> Traced:
        """Forward passes for many calls: what is looked up is looked up once. The parameters may change where they are."""
        return by_autograd(self)


def by_autograd(module: nn.Module) -> Traced:
    """How any network is traced."""
    parameters = [p for p in module.parameters() if p.requires_grad]

    def run(x: Tensor) -> tuple[Tensor, Pull]:
        with torch.enable_grad():
            output = module(x)

        def pull(gradient: Tensor) -> list[Tensor]:
            with torch.enable_grad():
                return list(torch.autograd.grad((output * gradient).sum(), parameters, materialize_grads=True))

        return output.detach(), pull

    return run


def by_layers(net: MLP, *heads: nn.Module) -> Callable[[Tensor], tuple[Tensor, Pull]] | None:
    """How a perceptron is traced, with a linear layer behind it or none; None where its layers are not plain."""
    if not net.plain:
        return None
    parameters = [p.data for p in (*net.parameters_in_turn, *(p for head in heads for p in (head.weight, head.bias)))]
    activation, activated, layer_norm = net.fused, net.activated, net.layer_norm

    def run(x: Tensor) -> tuple[Tensor, Pull]:
        return pulled(x, parameters, activation, activated, layer_norm)

    return run
