"""Expected SARSA: after each step Q moves towards the reward and what the policy that plays has to expect of the next state.

Papers: Rummery and Niranjan 1994; the expected target is van Seijen et al. 2009: Q_h(s, a) ← (1 - α) Q_h(s, a) + α [r + Σ_a' π(a'|s') Q_{h+1}(s', a')], π
being the epsilon-greedy policy that plays, which with a' drawn from it is SARSA: the mean of the targets is the same, and they vary less. α = (H + 1) / (H +
t) at the t-th visit, as in `q-learning`, and each step of an episode has a table of its own.

It learns what its own exploration costs: where a wrong step is dear it keeps away from the edge that `q-learning` walks along. So the policy that is
evaluated is the one that plays, chance and all; with an epsilon that fades both learn the same.
An iteration is an episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State
from operant.loops.settings import FadingEpsilon


@dataclass(frozen=True)
class SARSA(FadingEpsilon):
    pass


@method("sarsa", name="Expected SARSA", family="tabular", paper="none", worlds=("tabular",), example="tabular:river-swim", baseline=True)
def sarsa(h: SARSA) -> Planning:
    def start(problem: Problem) -> State:
        q = problem.zeros(*problem.shape)
        return {"q": q, "visits": torch.zeros_like(q), "policy": ops.epsilon_greedy_policy(q, h.at(0))}

    def improve(problem: Problem, state: State) -> State:
        q, policy = state["q"], state["policy"]
        played = problem.play(policy, 1)
        pair = played.pair(problem.shape, stationary=False).flatten(1)
        visits = state["visits"].flatten(1).scatter_add(1, pair, torch.ones_like(pair, dtype=q.dtype))
        target = played.reward.flatten(1) + played.next_value((policy * q).sum(-1)).flatten(1)
        q = ops.moved_entries(q, pair, target, ops.rescaled_linear_rate(visits.gather(1, pair), horizon=problem.shape[0]))
        return {"q": q, "visits": visits.view_as(q), "policy": ops.epsilon_greedy_policy(q, h.at(problem.step + 1))}

    return Planning(start, improve, reads="episodes", iterations=100)
