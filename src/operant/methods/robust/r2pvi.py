"""R2PVI: planning from logged transitions of a linear MDP against a nature that may change them for a price, and pessimistic about what was seen rarely.

Paper: Tang et al. 2024, arXiv:2411.18612. P(s'|s, a) = Σ_i phi_i(s, a) mu_i(s'), phi on the simplex and known; nature may lead each factor mu_i to another
distribution and pays price · D. With Λ = ridge · I + Σ phi phiᵀ of a step's data, from the last step on

    Q = clip(phi · (θ̂ + w) - beta Σ_i phi_i √(Λ⁻¹)_ii, 0, H - h),

θ̂ the ridge regression of the rewards, and w_i what is the worst for factor i in closed form (`ops.total_variation_robust`, `kl_robust`, `chi_square_robust`),
of the ridge regression of its next state. A price that nature never pays (`--price` at least the horizon, with total variation) is PEVI, with this penalty.

Departures: the authors' code (Simulated_Linear_MDP) knows θ; here it is learned. Its R2PVI has the penalty beta √(phiᵀ diag(Λ⁻¹) phi), its PEVI beta
√(phiᵀ Λ⁻¹ phi); here both have the paper's sum, which is larger: more is gained where transitions have changed, more is lost where they have not. Its Q is not
clipped at 0 below, and its fallen state is worth 0 by name; here the clip is the paper's and no state is known beforehand. With chi-square it takes the least
over the truncation level where the paper has the largest, as here; the constant 4 is that of E[(dmu/dmu0 - 1)²], in both. The smallest value that nature can
lead to is that of the next states that were seen at the step, as in the code. An iteration is the whole plan; a second one changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import NonNegative, Positive, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class R2PVI:
    divergence: Literal["total-variation", "kl", "chi-square"] = "total-variation"  # that nature pays for
    price: Positive = 0.1  # of a unit of it, in units of the return (lambda)
    beta: NonNegative = 0.1  # of the penalty
    ridge: Positive = 0.1  # of the regression


@method("r2pvi", name="R2PVI", family="robust", paper="arXiv:2411.18612", worlds=("tabular",), example="tabular:linear-mdp")
def r2pvi(h: R2PVI) -> Planning:
    def start(problem: Problem) -> State:
        problem.check_rewards("r2pvi")
        if problem.samples.horizon is None:
            raise BadInput("r2pvi plans for episodes, and they have no end: give a --horizon, as in --horizon 10")
        if problem.features.min() < 0 or (problem.features.sum(-1) - 1).abs().max() > 1e-6:
            raise BadInput("r2pvi needs features that are shares of factors, at least 0 with sum 1: take tabular:linear-mdp, or a file that has such")
        return {"policy": problem.uniform()}

    def worst(weight: Tensor, value: Tensor, seen: Tensor, most: float) -> Tensor:
        """Of each factor, `[S, d]`."""
        if h.divergence == "total-variation":
            least = torch.where(seen, value, torch.inf).amin(-1)
            return ops.total_variation_robust(weight, value, price=h.price, least=torch.where(least.isfinite(), least, 0.0))
        if h.divergence == "kl":
            return ops.kl_robust(weight, value, price=h.price, most=most)
        return ops.chi_square_robust(weight, value, price=h.price)

    def improve(problem: Problem, state: State) -> State:
        (horizon, states, actions), features = problem.shape, problem.features
        count, mean, transition = problem.samples.model
        value, policies = problem.zeros(states), []
        for step in reversed(range(horizon)):
            phi = features[:, min(step, features.shape[1] - 1)].flatten(1, 2)  # [S or 1, K A, d]
            seen = count[:, step].flatten(1)
            eye = torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device)
            inverse = torch.linalg.inv_ex(h.ridge * eye + phi.mT @ (phi * seen.unsqueeze(-1)))[0]
            following = (transition[:, step] * count[:, step].unsqueeze(-1)).flatten(1, 2)  # [S, K A, K]
            theta = (inverse @ (phi.mT @ (mean[:, step].flatten(1) * seen).unsqueeze(-1))).squeeze(-1)
            weight = inverse @ (phi.mT @ following)  # of the next states of each factor, [S, d, K]
            w = worst(weight, value, following.sum(1) > 0, float(horizon - step)) if step + 1 < horizon else torch.zeros_like(theta)
            penalty = h.beta * inverse.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
            q = (phi @ (theta + w - penalty).unsqueeze(-1)).squeeze(-1).clamp(0, horizon - step).unflatten(1, (states, actions))
            policies.append(ops.greedy_policy(q))
            value = q.amax(-1)
        return {"policy": torch.stack(policies[::-1], 1)}

    return Planning(start, improve, reads="samples")
