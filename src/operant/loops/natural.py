"""Natural-gradient steps within a trust region, in the place of an optimiser's, for all seeds side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from operant import ops
from operant.core.flat import Rated, rows_of, set_rows
from operant.loops.terms import TermBatch
from operant.loops.update import Fields, Updated, Updater
from operant.nets.kernels import twice_differentiable


@dataclass(frozen=True)
class TrustRegion:
    """How a natural-gradient step is found, and how far it may go (TRPO, arXiv:1502.05477).

    Attributes:
        max_kl: largest mean KL(policy that acted ‖ policy now), nats.
        damping: what is added to the Fisher matrix's diagonal.
        iterations: of conjugate gradients.
        backtracks: steps that the line search tries, each `shrink` times as long as the one before.
    """

    max_kl: float = 0.01
    damping: float = 0.1
    iterations: int = 15
    backtracks: int = 10
    shrink: float = 0.8


class Whole(Rated):
    """Stands in the place of an optimiser: it keeps nothing, and its rate is the share of an accepted step that is made."""

    def __init__(self) -> None:
        self.learning_rate = 1.0

    def reset(self, seeds: Tensor | None = None) -> None:
        """There is nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is nothing to restore."""


class NaturalUpdater(Updater):
    """An updater whose step goes along the natural gradient of its terms: F⁻¹ g by conjugate gradients, with products of the Fisher matrix by differentiating
    the KL twice, and a line search for the longest of a few steps that lowers the terms and keeps the mean KL.

    All seeds try the same lengths; each takes the first that does, by a mask, and none where none does. Rows go through the policy at once.
    """

    def __init__(self, *args: Any, region: TrustRegion, **settings: Any):
        super().__init__(*args, **settings | {"optimizer": lambda flats, **rate: Whole()})
        self.region = region
        self.needs = self.needs | {"kl_from_acted"}
        self._replayed = self._replayed | {"kl_from_acted"}

    def _step(self, batch: Fields, numbers: Mapping[str, float | Tensor], first: bool, last: bool, whole: bool, fresh: bool) -> Updated:
        """As `Updater._step`; its diagnostics are those of the step that was taken."""
        region, flat, share = self.region, self.flat, self.optimizer.rate
        batch, weights = self._weighed(batch, whole)
        weight = {over: x.flatten(1) for over, x in weights.items()}

        def measured() -> tuple[TermBatch, Tensor, Tensor]:
            """(what terms see, the terms' losses `[terms, S]`, the mean KL `[S]`) of the policy as it is now."""
            seen = TermBatch(batch | self._replay(batch), **numbers)
            return seen, self._losses(seen, weight), torch.linalg.vecdot(weight[None], seen.kl_from_acted.flatten(1))

        with twice_differentiable():
            seen, losses, kl = measured()
            gradient = _rows(torch.autograd.grad(losses.sum(), flat.parameters, retain_graph=True, allow_unused=True), flat.parameters)
            fisher = hessian_products(kl, flat.parameters)

            def damped(vector: Tensor) -> Tensor:
                return fisher(vector) + region.damping * vector

            direction = ops.conjugate_gradients(damped, -gradient, iterations=region.iterations)
            curvature = (direction * damped(direction)).sum(-1, keepdim=True)
        flat.set_gradient(gradient)
        norm = flat.grad_norm() if self.max_grad_norm is None else flat.clip_grad_norm(self.max_grad_norm)
        longest = torch.where(curvature == 0, 0.0, (2 * region.max_kl / curvature).sqrt() * direction)
        with torch.no_grad():
            before = rows_of(self.policy)
            taken, length, reached = before, torch.zeros_like(kl), torch.zeros_like(kl)
            for place in range(region.backtracks):
                scale = region.shrink**place
                set_rows(self.policy, before + scale * longest)
                _, now, away = measured()
                fits = (length == 0) & (now.sum(0) < losses.sum(0)) & (away <= region.max_kl)
                taken = torch.where(fits.unsqueeze(-1), before + share * scale * longest, taken)
                length, reached = torch.where(fits, scale, length), torch.where(fits, away, reached)
            set_rows(self.policy, taken)
        told = {"kl_behaviour": reached, "step_length": length, "step_taken": (length > 0).float()} if last else {}
        return Updated(losses.detach(), norm, self._largest_log_ratio(seen) if first else None, told)


def hessian_products(value: Tensor, parameters: Sequence[nn.Parameter]) -> Callable[[Tensor], Tensor]:
    """Products `[S, P] → [S, P]` of vectors with the Hessian of each seed's number, by differentiating twice (within `kernels.twice_differentiable`).

    Of a mean KL that is 0 at the weights there are, it is the Fisher matrix.

    Args:
        value: `[S]`, with its graph.
        parameters: with the seeds in front, of which each number hangs on its own seed's.
    """
    slopes = torch.autograd.grad(value.sum(), parameters, create_graph=True, allow_unused=True)

    def product(vector: Tensor) -> Tensor:
        parts = vector.split([p[0].numel() for p in parameters], 1)
        along = sum((slope.flatten(1) * part).sum() for slope, part in zip(slopes, parts, strict=True) if slope is not None)
        return _rows(torch.autograd.grad(along, parameters, retain_graph=True, allow_unused=True), parameters)

    return product


def _rows(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> Tensor:
    """Gradients of all parameters as each seed's row, `[S, P]`; 0 where there is none."""
    parts = [torch.zeros_like(p) if gradient is None else gradient for p, gradient in zip(parameters, gradients, strict=True)]
    return torch.cat([part.flatten(1) for part in parts], 1)
