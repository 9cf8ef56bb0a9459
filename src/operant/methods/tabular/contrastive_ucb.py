"""Contrastive UCB: features are learned by telling what came next from what is drawn at random, and what is unlike all that was seen in them is worth trying.

Paper: Qiu et al. 2022, arXiv:2207.14800, algorithm 1. P(s'|s, a) = psi(s')ᵀ phi(s, a) p0(s'), with phi and psi in a finite class that is told. Each
transition that is played is a positive, and the same pair with a state drawn from p0 a negative; the model whose f = psiᵀ phi has the smallest contrastive
loss on all of them is that of which f estimates P / p0. Each episode plays what is greedy in Q = r + P̂ V + b, at most H - h, with the P̂ of that model and
b = min(H, scale · H · √(phiᵀ Σ⁻¹ phi)), Σ = ridge · I + Σ phi phiᵀ over all that was played, in that model's features.

Settled, and departures: p0 is uniform. The paper's last two actions of each episode are uniform, for its proof; here they are the policy's. All steps share
a model. Of several models of the same loss, as before anything is seen, the first is taken. Rewards are known, as in the paper. Of Markov games, and of the
paper's agent for pixels, there is nothing here. A `scale` of 0 is the greedy learner that it is compared with.
An iteration is an episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import NonNegative, Positive, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class ContrastiveUCB:
    scale: NonNegative = 0.1  # of the bonus
    ridge: Positive = 1.0  # of Σ (lambda)


@method("contrastive-ucb", name="Contrastive UCB", family="tabular", paper="arXiv:2207.14800", worlds=("tabular",), example="tabular:low-rank")
def contrastive_ucb(h: ContrastiveUCB) -> Planning:
    def model(problem: Problem, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Features and transitions `[S, K, A, d or K]` of one candidate a seed, `[S]`."""
        features, measures = (table.expand(len(chosen), *table.shape[1:]) for table in problem.candidates)
        seed = torch.arange(len(chosen), device=chosen.device)
        phi = features[seed, chosen]
        return phi, (phi.flatten(-3, -2) @ measures[seed, chosen]).unflatten(-2, phi.shape[-3:-1])

    def planned(problem: Problem, count: Tensor, chosen: Tensor) -> Tensor:
        """The greedy policy."""
        horizon, (phi, transition), reward = problem.shape[0], model(problem, chosen), problem.reward[:, 0]
        eye = torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device)
        inverse = torch.linalg.inv_ex(h.ridge * eye + ops.feature_covariance(phi, count))[0]
        optimistic = reward + (h.scale * horizon * ops.elliptic_norm(phi, inverse)).clamp(max=horizon)

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            return ops.bellman_q(optimistic, transition, value, discount=1.0).clamp(max=horizon - step)

        return ops.greedy_policy(problem.backwards(q_at))

    def losses(problem: Problem, place: Tensor, negative: Tensor, positive: Tensor) -> Tensor:
        """Of each candidate the loss of M transitions, `[S, models]`: places of pairs, states that were drawn and that came next, `[S, M]`."""
        features, measures = (table.expand(len(place), *table.shape[1:]) for table in problem.candidates)
        seed = torch.arange(len(place), device=place.device).unsqueeze(1)
        phi = features.flatten(2, 3)[seed, :, place]  # [S, M, models, d]
        following, drawn = ((phi * measures.mT[seed, :, state]).sum(-1) * problem.shape[1] for state in (positive, negative))
        return ops.contrastive_loss(following, drawn).sum(1)

    def start(problem: Problem) -> State:
        problem.check_rewards("contrastive-ucb")
        models = problem.candidates[0].shape[1]
        if not problem.stationary:
            raise BadInput("contrastive-ucb has one model of all steps, and here they differ: take tabular:low-rank")
        count, loss = problem.zeros(*problem.model_shape), problem.zeros(models)
        return {"count": count, "loss": loss, "policy": planned(problem, count, loss.argmin(-1))}

    def improve(problem: Problem, state: State) -> State:
        played = problem.play(state["policy"], 1)
        place = played.pair(problem.shape, stationary=True).flatten(1)
        drawn = problem.streams.integers("negatives", problem.shape[1], place.shape[1])
        loss = state["loss"] + losses(problem, place, drawn, played.state[..., 1:].flatten(1))
        count = state["count"].flatten(1).scatter_add(1, place, torch.ones_like(place, dtype=loss.dtype)).view_as(state["count"])
        return {"count": count, "loss": loss, "policy": planned(problem, count, loss.argmin(-1))}

    return Planning(start, improve, reads="episodes", iterations=100)
