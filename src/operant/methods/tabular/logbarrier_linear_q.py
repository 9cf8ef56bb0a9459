"""Log-barrier policy optimisation against an adversary, where the Q of every policy is linear in known features and only what was paid is seen.

Paper: Dai, Luo, Wei and Zimmert 2023, arXiv:2301.12942. Losses are 1 - reward. Of each episode, with L_h the losses from step h on, Q̂_h(x, a) = phi(x, a)ᵀ
Σ_h⁻¹ phi_h L_h estimates Q, Σ_h = gamma I + E phi phiᵀ under the policy, and B is a bonus that is to come with it, B(x, a) = b(x, a) + (1 + 1/H) E B(x', a'), b
= beta (‖phi(x, a)‖² + E ‖phi(x, a')‖²) in the norm of Σ⁻¹. In every state the next policy minimises <p, Σ (Q̂ - B)> + Ψ(p) / eta. With the log barrier Ψ = Σ
log 1/p_a estimates may be as negative as they like. `--regularizer entropy` has Ψ = Σ p log p and the magnitude-reduced estimate (`ops.magnitude_reduced`),
which is never far below 0; `--reduced false` with it is the estimate as it is, and is compared with. That this one's regret grows as √K is not among the
checks.

Departures: transitions are known, for E phi phiᵀ and E B are computed, where the paper asks a simulator. eta, beta and gamma fall with the number of
episodes k, as 1 / √k, 1 / √k and 1 / k; in the paper they are set for a number of episodes that is known, with constants of theirs.
An iteration is an episode. The policy that is evaluated, against the mean rewards of all rounds, is that of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, Positive, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class LogBarrierLinearQ:
    regularizer: Literal["log-barrier", "entropy"] = "log-barrier"  # Ψ
    reduced: bool = True  # with entropy: the estimate whose magnitude is reduced
    eta: Positive = 5.0  # step size of the first episode
    beta: NonNegative = 0.01  # of the bonus, of the first episode
    gamma: Positive = 0.1  # added to Σ, of the first episode


@method(
    "logbarrier-linear-q",
    name="Log-barrier policy optimisation",
    family="tabular",
    paper="arXiv:2301.12942",
    worlds=("tabular",),
    example="tabular:adversarial-linear-mdp",
)
def logbarrier_linear_q(h: LogBarrierLinearQ) -> Planning:
    def start(problem: Problem) -> State:
        problem.check_rewards("logbarrier-linear-q")
        problem.features  # noqa: B018 (refuses)
        return {"cost": problem.zeros(*problem.shape), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        horizon, policy, episode = problem.shape[0], state["policy"], problem.step + 1
        played = problem.play(policy, 1)
        features = problem.features.expand(len(policy), horizon, *problem.features.shape[2:])
        occupancy = ops.horizon_occupancy(problem.initial.expand(len(policy), -1), problem.transition, policy)
        ridge = h.gamma / episode * torch.eye(features.shape[-1], dtype=policy.dtype, device=policy.device)
        inverse = torch.linalg.inv_ex(ridge + ops.feature_covariance(features, occupancy))[0]
        lost = (1 - played.reward[:, 0]).flip(-1).cumsum(-1).flip(-1).view(len(policy), horizon, 1, 1)  # L_h
        place = played.state[:, 0, :-1] * problem.shape[-1] + played.action[:, 0]
        phi = features.flatten(2, 3).gather(2, place.view(*place.shape, 1, 1).expand(-1, -1, 1, features.shape[-1])).squeeze(2)
        projection = (features @ (inverse @ phi.unsqueeze(-1)).unsqueeze(-3)).squeeze(-1)
        estimate = projection * lost
        if h.regularizer == "entropy" and h.reduced:
            estimate = ops.magnitude_reduced(projection, lost, negative(features, inverse, occupancy), most=horizon)
        cost = state["cost"] + estimate - bonus(problem, policy, ops.elliptic_norm(features, inverse).square(), h.beta / episode**0.5)
        rate = h.eta / episode**0.5
        following = ops.log_barrier_policy(cost, rate=rate) if h.regularizer == "log-barrier" else (-rate * cost).softmax(-1)
        return {"cost": cost, "policy": following}

    def negative(features: Tensor, inverse: Tensor, occupancy: Tensor) -> Tensor:
        """E min(X, 0) of each pair, over what the policy takes, `[S, H, K, A]`."""
        phi = features.flatten(2, 3)
        projections = (phi @ inverse @ phi.mT).clamp(max=0)
        return (projections @ occupancy.flatten(2).unsqueeze(-1)).view_as(occupancy)

    def bonus(problem: Problem, policy: Tensor, width: Tensor, beta: float) -> Tensor:
        """B, `[S, H, K, A]`."""
        reward, horizon = beta * (width + (policy * width).sum(-1, keepdim=True)), problem.shape[0]
        value, found = torch.zeros_like(policy[:, 0, :, 0]), []
        for step in reversed(range(horizon)):
            transition = problem.transition[:, min(step, problem.transition.shape[1] - 1)]
            found.append(ops.bellman_q(reward[:, step], transition, value, discount=1 + 1 / horizon))
            value = (policy[:, step] * found[-1]).sum(-1)
        return torch.stack(found[::-1], 1)

    return Planning(start, improve, reads="episodes", iterations=100)
