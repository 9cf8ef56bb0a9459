"""HF-UCRL-RFE++: a mixture of known transitions is explored without a reward, at a cost that hardly hangs on the horizon, for every reward that is told later.

Paper: Zhang, Zhang and Gu 2023, arXiv:2303.10165. P = Σ_j theta_j P_j. Each episode has a value V_h in [0, 1] that is optimistic for a hard reward, and
plays what meets most of what is not known about it: W_h = min(1, beta ‖phi_V‖ + <phi_W, theta>), in the elliptic norm of Σ⁻¹. Then theta is fitted to what
V was at the states that came, each target weighted by 1 / w², w² = max(variance + its error, floor, gamma² ‖phi_V‖); the variance comes from a ladder of
such regressions, of V, V², V⁴, …: V^(2m) less the square of V^m. As V is at most 1 in all, its variances along an episode sum to a constant, whatever the
horizon. When it has explored, the policy for a reward is that of optimistic value iteration with the theta that was found.

Settled (the row is of low confidence), and departures: the hard reward is one that the last state pays, 0 or 1 in each state by a coin of each episode; the
paper maximises over all rewards. beta is `scale`, for the paper's explores for ever. All steps of an episode are weighted by what was known before it. With
`--weighted false` every target counts alike, as in UCRL-RFE (arXiv:2110.06394).
An iteration is an episode of exploration. The policy that is evaluated is that for the task's own reward, brought into [0, 1] in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, Positive, Range, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class HFRFLinMix:
    scale: NonNegative = 0.1  # of the elliptic norm in what is not known (beta)
    moments: Annotated[int, Range(1, 30)] = 3  # regressions, of V, V², V⁴, …
    weighted: bool = True  # targets by their variance
    floor: Positive = 0.01  # of a target's variance (alpha²)
    gamma: NonNegative = 0.1  # of the norm in a target's weight
    ridge: Positive = 1.0  # of the regressions (lambda)


@method("hf-rf-linmix", name="HF-UCRL-RFE++", family="tabular", paper="arXiv:2303.10165", worlds=("tabular",), example="tabular:linear-mixture")
def hf_rf_linmix(h: HFRFLinMix) -> Planning:
    def upper(problem: Problem, value: Tensor, state: State, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of a value `[S, K]` next, `[S, K, A]`, and beta times how little is known of it."""
        phi = ops.mixture_features(problem.kernels, value)
        return (phi @ state["theta"][:, 0].view(-1, 1, phi.shape[-1], 1)).squeeze(-1), h.scale * ops.elliptic_norm(phi, inverse)

    def explored(problem: Problem, state: State, inverse: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """What to play `[S, H, K, A]`, and the values behind each step `[S, H, K]`."""
        value, gain, values, policies = last, torch.zeros_like(last), [], []
        for _ in range(problem.shape[0]):
            values.append(value)
            mean, unknown = upper(problem, value, state, inverse)
            q = (unknown + upper(problem, gain, state, inverse)[0]).clamp(0, 1)
            policies.append(ops.greedy_policy(q))
            value, gain = (mean + unknown).clamp(0, 1).amax(-1), q.amax(-1)
        return torch.stack(policies[::-1], 1), torch.stack(values[::-1], 1)

    def planned(problem: Problem, state: State, inverse: Tensor) -> Tensor:
        """The policy for the task's reward."""
        reward = problem.reward.expand(-1, *problem.shape)
        reward = reward / reward.flatten(2).amax(-1).sum(-1).clamp(min=1e-12).view(-1, 1, 1, 1)
        value, policies = torch.zeros_like(state["b"][:, 0, :1]).expand(-1, problem.shape[1]), []
        for step in reversed(range(problem.shape[0])):
            mean, unknown = upper(problem, value, state, inverse)
            q = (reward[:, step] + mean + unknown).clamp(0, 1)
            policies.append(ops.greedy_policy(q))
            value = q.amax(-1)
        return torch.stack(policies[::-1], 1)

    def fitted(precision: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """theta `[S, moments, d]`, and Σ⁻¹."""
        inverse = torch.linalg.inv_ex(precision)[0]
        return (inverse @ b.unsqueeze(-1)).squeeze(-1), inverse

    def start(problem: Problem) -> State:
        problem.check_rewards("hf-rf-linmix")
        dimension = problem.kernels.shape[1]
        precision = problem.zeros(h.moments, dimension, dimension) + h.ridge * torch.eye(dimension, dtype=torch.float64, device=problem.streams.device)
        b = problem.zeros(h.moments, dimension)
        state = {"precision": precision, "b": b, "theta": torch.zeros_like(b)}
        return state | {"policy": planned(problem, state, fitted(precision, b)[1][:, 0])}

    def improve(problem: Problem, state: State) -> State:
        inverse = fitted(state["precision"], state["b"])[1]
        last = (problem.streams.uniform("reward", problem.shape[1]) < 0.5).to(torch.float64)
        policy, values = explored(problem, state, inverse[:, 0], last)
        played = problem.play(policy, 1)
        place, powers = played.pair(problem.shape, stationary=True)[:, 0], 2.0 ** torch.arange(h.moments, device=values.device).view(-1, 1)
        kernels = problem.kernels.flatten(2, 3).expand(len(place), -1, -1, -1)
        seed = torch.arange(len(place), device=place.device).unsqueeze(1)
        moments = values.unsqueeze(2) ** powers  # [S, H, moments, K]
        phi = moments @ kernels[seed, :, place].mT  # [S, H, moments, d]
        target = moments.gather(-1, played.state[:, 0, 1:].view(*place.shape, 1, 1).expand(-1, -1, h.moments, 1)).squeeze(-1)
        norm = ops.elliptic_norm(phi.transpose(1, 2).unsqueeze(2), inverse).squeeze(2).transpose(1, 2)  # [S, H, moments]
        weight = weights((phi * state["theta"].unsqueeze(1)).sum(-1), norm).unsqueeze(-1)
        precision = state["precision"] + torch.einsum("shmd,shme->smde", phi / weight, phi)
        b = state["b"] + (phi * target.unsqueeze(-1) / weight).sum(1)
        theta, inverse = fitted(precision, b)
        found = {"precision": precision, "b": b, "theta": theta}
        return found | {"policy": planned(problem, found, inverse[:, 0])}

    def weights(mean: Tensor, norm: Tensor) -> Tensor:
        """w² of targets `[S, H, moments]`, of their means and norms."""
        if not h.weighted:
            return torch.ones_like(mean)
        mean, unknown = mean.clamp(0, 1), (h.scale * norm).clamp(max=1)
        variance = mean[..., 1:] - mean[..., :-1].square() + 2 * unknown[..., :-1] + unknown[..., 1:]
        variance = torch.cat([variance.clamp(0, 1), torch.ones_like(mean[..., :1])], -1)
        return ops.uncertainty_weight(variance, norm, floor=h.floor, gamma=h.gamma)

    return Planning(start, improve, reads="episodes", iterations=100)
