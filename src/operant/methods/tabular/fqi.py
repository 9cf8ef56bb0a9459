"""FQI: fitted Q iteration on logged transitions: Q is fitted anew, again and again, to rewards and the best that the Q before says of what came next.

Paper: Ernst, Geurts and Wehenkel 2005, figure 1: from Q = 0, each iteration fits Q(s, a) to r + discount · max_a' Q(s', a') over all transitions by least
squares. Theirs are trees; here Q is a table, and the fit the mean of a pair's targets, so that this is value iteration on the frequencies of the data.

Departures: a pair without data has no fit: it is never preferred, and a state without any is worth 0 and keeps the uniform policy. With a horizon, Q of all
steps is fitted at once, which is exact after as many iterations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class FQI:
    pass


@method("fqi", name="Fitted Q iteration", family="tabular", paper="none", worlds=("tabular",), baseline=True)
def fqi(h: FQI) -> Planning:
    def start(problem: Problem) -> State:
        return {"value": problem.zeros(*problem.shape[:-1]), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        samples = problem.samples
        target = samples.reward + samples.discount * samples.next_value(state["value"])
        count, q = ops.mean_by_pair(samples.pair, target, shape=problem.shape)
        q, there = q.masked_fill(count == 0, -torch.inf), (count > 0).any(-1)
        policy = torch.where(there.unsqueeze(-1), ops.greedy_policy(q), problem.uniform())
        return {"value": torch.where(there, q.amax(-1), 0.0), "policy": policy}

    return Planning(start, improve, reads="samples")
