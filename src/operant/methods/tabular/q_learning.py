"""Q-learning: after each step Q moves towards the reward and the best that it says of the next state. No model is kept.

Papers: Watkins 1989; with a horizon, and with the bonus, Jin et al. 2018, arXiv:1807.03765, algorithm 1. Q_h(s, a) ← (1 - α) Q_h(s, a) + α [r + max_a'
Q_{h+1}(s', a')], at the t-th visit with α = (H + 1) / (H + t), each step of an episode having a table of its own. `explore` says how it plays:
- epsilon-greedy: the greedy action, or with a probability that falls from episode to episode any. Q begins with 0.
- ucb: the greedy action, of a Q that begins with the most that can be had and whose targets have √(scale H³ L / t) added, L = log(K A T / delta) and T the
  steps that were played; a value is never above the most that can be had.

Departures: `scale` stands in the place of the square of the paper's constant, which is for the proof and explores for longer than most problems last; the
most that can be had at step h is H - h, where the paper has H for all; T grows, where the paper has the steps of the whole run. Watkins leaves the step size
open.
An iteration is an episode. The policy that is evaluated is the greedy one; regret is that of what played.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from operant import ops
from operant.core.registry import NonNegative, Range, method
from operant.loops.planning import Planning, Problem, State
from operant.loops.settings import FadingEpsilon


@dataclass(frozen=True)
class QLearning(FadingEpsilon):
    explore: Literal["epsilon-greedy", "ucb"] = "epsilon-greedy"  # by chance, or by a bonus for what was visited rarely
    scale: NonNegative = 1e-5  # of the bonus, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("q-learning", name="Q-learning", family="tabular", paper="arXiv:1807.03765", worlds=("tabular",), example="tabular:river-swim", baseline=True)
def q_learning(h: QLearning) -> Planning:
    optimistic = h.explore == "ucb"

    def start(problem: Problem) -> State:
        if optimistic:
            problem.check_rewards("q-learning --explore ucb")
        q = problem.zeros(*problem.shape) + (problem.most if optimistic else 0.0)
        return {"q": q, "visits": problem.zeros(*problem.shape), "policy": ops.greedy_policy(q)}

    def improve(problem: Problem, state: State) -> State:
        (horizon, states, actions), q = problem.shape, state["q"]
        played = problem.play(state["policy"] if optimistic else ops.epsilon_greedy_policy(q, h.at(problem.step)), 1)
        pair = played.pair(problem.shape, stationary=False).flatten(1)
        visits = state["visits"].flatten(1).scatter_add(1, pair, torch.ones_like(pair, dtype=q.dtype))
        count, value = visits.gather(1, pair), q.amax(-1)
        value = torch.minimum(value, problem.most[..., 0]) if optimistic else value
        target = played.reward.flatten(1) + played.next_value(value).flatten(1)
        if optimistic:
            log = math.log(states * actions * horizon * (problem.step + 1) / h.delta)
            target = target + ops.count_penalty(count, scale=h.scale * log, most=horizon**1.5)
        q = ops.moved_entries(q, pair, target, ops.rescaled_linear_rate(count, horizon=horizon))
        return {"q": q, "visits": visits.view_as(q), "policy": ops.greedy_policy(q)}

    return Planning(start, improve, reads="episodes", iterations=100)
