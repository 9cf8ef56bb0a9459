"""Steps along eligibility traces."""

from __future__ import annotations

from torch import Tensor

from operant.ops.shapes import same_axes


def bounded_step_size(error: Tensor, trace_norm: Tensor, *, learning_rate: float, kappa: float) -> Tensor:
    """The step size α / max(1, α κ max(|δ|, 1) ‖z‖₁) of overshooting-bounded gradient descent (ObGD, arXiv:2410.14606).

    Of a linear value function whose x − γ x' has no number beyond κ in size, a step along δ z then never goes beyond its target: δ keeps its sign on the same
    transition.

    Args:
        error: `[...]`, the temporal difference δ.
        trace_norm: `[...]`, the sum of the absolute values of the trace z, over all parameters.
        learning_rate: α.
        kappa: κ, above 1 for what is not linear.
    """
    same_axes("bounded_step_size", error=error, trace_norm=trace_norm)
    return learning_rate / (learning_rate * kappa * error.abs().clamp(min=1.0) * trace_norm).clamp(min=1.0)
