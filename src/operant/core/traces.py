"""Steps along eligibility traces, after every sample: each seed along its own trace, by its own temporal difference.

The trace is the gradient buffer of the parameters, z ← γλ z + ∇f, where f is what is to grow and no loss. The parameters lie by rows, so that what a seed has
of them is a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from operant import ops
from operant.core.flat import Adam, FlatParameters

TINY = 1e-30


class TraceStep:
    """A trace, and steps along it with a fixed step size: w ← w + α δ z. What is called classic TD(λ), Q(λ) and the like.

    Args:
        flat: parameters that lie by rows.
        learning_rate: α.
        decay: γλ.
    """

    def __init__(self, flat: FlatParameters, *, learning_rate: float, decay: float):
        self.learning_rate, self.decay = learning_rate, decay
        self.flat = flat
        self.weights, self.trace = flat.rows(flat.data.data), flat.rows(flat.grad)
        self._parts = [p.grad for p in flat.parameters]
        self._factor = torch.full((flat.seeds, 1), decay, device=flat.grad.device)

    def take(self, gradients: list[Tensor]) -> None:
        """The trace decays, that of a seed that forgot it to 0, and takes in the gradient of each parameter."""
        self.trace.mul_(self._factor)
        torch._foreach_add_(self._parts, gradients)

    def step(self, error: Tensor) -> Tensor:
        """One step by the temporal differences `[S]`. Returns the sums of the absolute values of the traces, `[S]`. No host read happens here."""
        self.weights.addcmul_(self.trace, (self.learning_rate * error).unsqueeze(1))
        return self.norm(self.trace)

    def forget(self, seeds: Tensor) -> None:
        """Begin the traces of these seeds, bool `[S]`, anew with the next sample; those of the others go on."""
        torch.mul(~seeds.unsqueeze(1), self.decay, out=self._factor)

    def clear(self) -> None:
        """Make 0 of what is next to nothing, once in some hundred steps: a trace that nothing is added to would end in the smallest number that there is, which
        rounding keeps from becoming 0, and with which processors compute many times as slowly."""
        self.trace.masked_fill_(self.trace.abs() < TINY, 0.0)

    @staticmethod
    def norm(trace: Tensor) -> Tensor:
        return torch.linalg.vector_norm(trace, 1, dim=1)

    def state_dict(self) -> dict:
        return {"trace": self.flat.grad, "factor": self._factor}

    def load_state_dict(self, state: dict) -> None:
        self.flat.grad.copy_(state["trace"])
        self._factor.copy_(state["factor"])


class ObGD(TraceStep):
    """Overshooting-bounded gradient descent (arXiv:2410.14606; see `ops.bounded_step_size`).

    Args:
        kappa: κ.
    """

    def __init__(self, flat: FlatParameters, *, learning_rate: float, decay: float, kappa: float):
        super().__init__(flat, learning_rate=learning_rate, decay=decay)
        self.kappa = kappa

    def step(self, error: Tensor) -> Tensor:
        norm = self.norm(self.trace)
        size = ops.bounded_step_size(error, norm, learning_rate=self.learning_rate, kappa=self.kappa)
        self.weights.addcmul_(self.trace, (size * error).unsqueeze(1))
        return norm


class AdaptiveObGD(ObGD):
    """ObGD whose trace is divided, number by number, by the root of the running mean of (δ z)², as the code of arXiv:2410.14606 has it."""

    BETA, EPS = 0.999, 1e-8

    def __init__(self, flat: FlatParameters, *, learning_rate: float, decay: float, kappa: float):
        super().__init__(flat, learning_rate=learning_rate, decay=decay, kappa=kappa)
        self._square, self._count = torch.zeros_like(self.trace), torch.zeros((), device=self.trace.device)

    def step(self, error: Tensor) -> Tensor:
        change = self.trace * error.unsqueeze(1)
        self._square.mul_(self.BETA).addcmul_(change, change, value=1 - self.BETA)
        self._count += 1
        scaled = self.trace / (self._square / (1 - self.BETA**self._count) + self.EPS).sqrt()
        norm = self.norm(scaled)
        size = ops.bounded_step_size(error, norm, learning_rate=self.learning_rate, kappa=self.kappa)
        self.weights.addcmul_(scaled, (size * error).unsqueeze(1))
        return norm

    def state_dict(self) -> dict:
        return super().state_dict() | {"square": self._square, "count": self._count}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._square.copy_(state["square"])
        self._count.copy_(state["count"])


class AdamTrace(TraceStep):
    """Adam on −δ z in the place of a gradient, in whose buffer it stands for the step."""

    def __init__(self, flat: FlatParameters, *, learning_rate: float, decay: float):
        super().__init__(flat, learning_rate=learning_rate, decay=decay)
        self._kept = torch.zeros_like(self.trace)
        self._adam = Adam([flat], learning_rate=learning_rate)

    def step(self, error: Tensor) -> Tensor:
        norm = self.norm(self.trace)
        self._kept.copy_(self.trace)
        self.trace.mul_(-error.unsqueeze(1))
        self._adam.step(norm)
        self.trace.copy_(self._kept)
        return norm

    def state_dict(self) -> dict:
        return super().state_dict() | {"adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._adam.load_state_dict(state["adam"])
