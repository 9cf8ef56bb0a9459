"""SQIRL: shallow Q-iteration from the returns of random play: one look back for each step of the episode, k backups deep.

Paper: arXiv:2312.08369. For step i = 1, …, H: m episodes follow the greedy policies of the steps before i and then act uniformly at random. Q^1(s, a) is fitted
to the sum of the rewards from step i + k − 1 on, Q^j(s, a) to r + max_a' Q^(j−1)(s', a') of the step before, and step i is greedy in Q^k. It finds an optimal
policy where the MDP is k-QVI-solvable (`worlds.tabular.horizon.shallow`) and m is large enough. Here the regression is on tables: means. Differences from the
authors' code (cassidylaidlaw/effective-horizon): theirs is one network with k heads for all steps alike, which are fitted together, on a buffer of the episodes
of all steps; what was never seen is never preferred, and a state in which nothing was seen keeps the random policy. An iteration is a step of the episode: a
run makes as many as the horizon has, and no more are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import Count, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class SQIRL:
    k: Count = 2  # backups of random play's values, the first among them
    episodes: Count = 200  # played for each step of an episode (m)


@method("sqirl", name="SQIRL", family="tabular", paper="arXiv:2312.08369", worlds=("tabular",), example="tabular:random-episodes")
def sqirl(h: SQIRL) -> Planning:
    def improve(problem: Problem, state: State) -> State:
        here, (horizon, states, actions) = problem.step, problem.shape
        if here >= horizon:
            return state
        played = problem.play(state["policy"], h.episodes)  # of the steps from here on it is still uniform
        last = min(here + h.k, horizon) - 1
        target = played.to_go[..., last]
        for step in range(last, here - 1, -1):
            pair = played.state[..., step] * actions + played.action[..., step]
            count, mean = ops.mean_by_pair(pair, target, shape=(states, actions))
            q = mean.masked_fill(count == 0, -torch.inf)
            if step > here:
                target = played.reward[..., step - 1] + q.amax(-1).gather(1, played.state[..., step])
        policy = state["policy"].clone()
        policy[:, here] = torch.where((count > 0).any(-1, keepdim=True), ops.greedy_policy(q), policy[:, here])
        return {"policy": policy}

    return Planning(lambda problem: {"policy": problem.uniform()}, improve, reads="episodes", stepwise=True, plays=h.episodes)
