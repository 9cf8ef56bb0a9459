"""GLOW and HyGLOW: value functions are held against density ratios, which exist because what is new is measured against the mixture of all that was played.

Paper: Amortila et al. 2024, arXiv:2401.09681. There is a class F of values and a class W of ratios. GLOW (algorithm 1) keeps those f of which no ratio
makes too much of the Bellman residuals δ = f_h - r - max f_{h+1} at any step: mean(w δ) - alpha mean(w²) ≤ beta over all data, w clipped at gamma t, which
grows; it plays what is greedy in the kept f of the largest f_1 at the first state. HyGLOW (algorithm 2, `--hybrid`) has logged transitions beside, and
no optimism: each round it plays the f of the smallest Σ_h max_w |mean(w δ)| - alpha mean(w²) on all data. What it needs is that the data cover a good policy:
an f that says too little of it is refuted by that policy's ratio, and by nothing that f itself would play.

F and W are enumerated, of the M models that are told: f the optimal Q of each, w the occupancy of each f's greedy policy over that of the mixture of all
policies that played, in each model. Every ratio is held against every f. Of logged data t counts those of a step too.

Settled, and departures: alpha is `alpha` / (gamma t) and beta `scale` · gamma · log(M² H T / delta), the paper's up to constants, which drop nothing in the
first thousands of episodes. The paper's gamma falls as one over the root of the episodes that are planned; here it is fixed, and with it beta but for the
logarithm: an f so near that it stays within beta is never dropped, and regret grows linearly where its policy is a worse one. An episode a round, in the paper
several. Where no f is kept the one that is missed by least is played. Rewards are known. With `--hybrid` logged data are part of the mixture as often as they
were logged, by their frequencies. That its steps are summed is from memory of the paper.
An iteration is an episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class GLOW:
    hybrid: bool = False  # HyGLOW: logged transitions beside what is played, and no optimism
    gamma: Positive = 0.1  # ratios are clipped at so much times the number of episodes (and of logged transitions of a step)
    alpha: Positive = 0.5  # weight of their squares
    scale: Positive = 0.02  # of the radius, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that the right f is dropped


@method("glow-hyglow", name="GLOW", family="tabular", paper="arXiv:2401.09681", worlds=("tabular",), example="tabular:low-rank")
def glow_hyglow(h: GLOW) -> Planning:
    def models(problem: Problem) -> tuple[Tensor, Tensor]:
        """Transitions `[S or 1, M, 1, K, A, K]`, and the optimal Q of each `[S or 1, M, H, K, A]`."""
        features, measures = problem.candidates
        transition = (features.flatten(2, 3) @ measures).unflatten(2, features.shape[2:4]).unsqueeze(2)
        reward = problem.reward.unsqueeze(1)
        value = ops.horizon_optimum(reward, transition, horizon=problem.shape[0])[0]
        return transition, ops.bellman_q(reward, transition, ops.next_step_value(value), discount=1.0)

    def start(problem: Problem) -> State:
        problem.check_rewards("glow-hyglow")
        transition, q = models(problem)
        following, gained = problem.zeros(*problem.shape, problem.shape[1]), problem.zeros(*problem.shape)
        q = q.expand(len(gained), *q.shape[1:]).clone()
        initial = problem.initial.view(-1, 1, 1, problem.shape[1]).expand(-1, q.shape[1], q.shape[1], -1)
        reached = ops.horizon_occupancy(initial, transition.unsqueeze(2), ops.greedy_policy(q).unsqueeze(1))  # [S, models, f, H, K, A]
        mixture = torch.zeros_like(q)
        if h.hybrid:
            count, reward, frequency = problem.samples.model
            following, gained = frequency * count.unsqueeze(-1), reward * count
            mixture = mixture + count.unsqueeze(1)
        state = {"q": q, "reached": reached, "mixture": mixture, "following": following, "gained": gained}
        return state | chosen(problem, state, 0)

    def chosen(problem: Problem, state: State, episodes: int) -> State:
        """The f of the next episode, and what is greedy in it."""
        rounds = episodes + 1 + (problem.samples.size / problem.shape[0] if h.hybrid else 0)
        count, clip = state["following"].sum(-1), h.gamma * rounds
        reward, transition = state["gained"] / count.clamp(min=1), state["following"] / count.clamp(min=1).unsqueeze(-1)
        q = state["q"]
        following = ops.next_step_value(q.amax(-1))
        residual = q - ops.bellman_q(reward.unsqueeze(1), transition.unsqueeze(1), following, discount=1.0)
        mean = state["mixture"] / state["mixture"].sum((-2, -1), keepdim=True).clamp(min=1)
        weight = (state["reached"] / mean.unsqueeze(2).clamp(min=1e-12)).flatten(-2).flatten(1, 2).transpose(1, 2)  # [S, H, models · f, K A]
        delta = residual.flatten(-2).transpose(1, 2)  # [S, H, f, K A]
        if h.hybrid:  # without optimism an f that says too little is as wrong
            delta = torch.cat([delta, -delta], 2)
        each = ops.clipped_weighted_residual(weight, delta, count.flatten(-2), clip=clip, penalty=h.alpha / clip).amax(2)
        most = each.unflatten(2, (2, -1)).amax(2).sum(1) if h.hybrid else each.amax(1)  # [S, f]
        first = (problem.initial.unsqueeze(1) * q[:, :, 0].amax(-1)).sum(-1)
        beta = h.scale * h.gamma * math.log(q.shape[1] ** 2 * problem.shape[0] * rounds / h.delta)
        score = -most if h.hybrid else torch.where(most <= beta, first, first - FAR * (1 + most))
        best = score.argmax(-1)
        policy = ops.greedy_policy(q[torch.arange(len(q), device=q.device), best])
        return {"policy": policy, "kept": (most <= beta).to(q.dtype), "chosen": best}

    def improve(problem: Problem, state: State) -> State:
        played = problem.play(state["policy"], 1)
        following, gained = played.seen(problem.shape, stationary=False)
        reached = state["reached"][torch.arange(len(gained), device=gained.device), :, state["chosen"]]
        found = {
            "q": state["q"],
            "reached": state["reached"],
            "mixture": state["mixture"] + reached,
            "following": state["following"] + following,
            "gained": state["gained"] + gained,
        }
        return found | chosen(problem, found, problem.step + 1)

    return Planning(start, improve, reads="hybrid" if h.hybrid else "episodes", iterations=20)


FAR = 1e6  # more than any value
