"""VI-LCB: value iteration on logged transitions, with every reward lowered by how little was seen of it, so that what data do not cover is not chosen.

Paper: Rashidinejad et al. 2021, arXiv:2103.12021. MDPs (algorithm 3): from V = 0 and the action that was taken most, each iteration computes
Q(s, a) = r̂ - b + discount · P̂ V with b = V_max √(L / N(s, a)), and takes a state's greedy action and its value only where that raises V. Bandits, with
contexts or without (algorithms 1 and 2, a horizon of one step): the action with the largest r̂ - b. L = scale · log(2 (T + 1) K A / delta).
With a `scale` of 0 this is planning on the empirical model, pessimistic about what was not seen alone.

Departures: the paper's scale is 2000 (1/2 in algorithm 1), with which nothing but the most frequent action is chosen below millions of transitions. The paper
has log(2 A / delta) and log(2 K A / delta) for bandits, and a penalty of 1 of what was not seen. It splits the data into T + 1 parts, one for each iteration
and one for the first policy, for its proof; here all data are used each time unless `split`. What was not seen leads nowhere (P̂ V = 0, where the paper has any
distribution) and costs V_max at least. delta is 1 / N, as in the theorems. A longer horizon, which the paper does not treat, is done as algorithm 3, with the
values of all steps replaced at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import NonNegative, method
from operant.loops.planning import Planning, Problem, State
from operant.worlds.tabular.mdp import Samples


@dataclass(frozen=True)
class VILCB:
    scale: NonNegative = 1e-3  # of the penalty, before the logarithm in L; 0 for none
    split: bool = False  # a part of the data for each iteration, as in the paper, and not all of them each time


@method("vi-lcb", name="VI-LCB", family="tabular", paper="arXiv:2103.12021", worlds=("tabular",))
def vi_lcb(h: VILCB) -> Planning:
    def rounds(samples: Samples) -> int:
        """T, the iterations that the paper has: log(N) / (1 - discount), with a horizon as many."""
        return samples.horizon or math.ceil(math.log(max(samples.size, 2)) / (1 - samples.discount))

    def start(problem: Problem) -> State:
        samples = problem.samples
        problem.check_rewards("vi-lcb")
        if h.split and samples.size <= rounds(samples):
            raise BadInput(f"vi-lcb --split has {rounds(samples) + 1:,} parts of {samples.size:,} transitions: give more --transitions")
        first = samples.part(0, rounds(samples) + 1) if h.split else samples
        return {"value": problem.zeros(*problem.shape[:-1]), "policy": ops.greedy_policy(first.model[0])}

    def improve(problem: Problem, state: State) -> State:
        samples, last = problem.samples, rounds(problem.samples)
        if h.split:
            if problem.step >= last:
                return state
            samples = samples.part(problem.step + 1, last + 1)
        count, reward, transition = samples.model
        log = math.log(2 * (last + 1) * math.prod(problem.shape) * problem.samples.size)
        penalty = ops.count_penalty(count, scale=h.scale * log, most=samples.most)
        q = samples.backup(reward - penalty, transition, state["value"])
        if problem.shape[:-2] == (1,):  # a bandit
            return {"value": q.amax(-1), "policy": ops.greedy_policy(q)}
        better = q.amax(-1) > state["value"]
        return {
            "value": torch.where(better, q.amax(-1), state["value"]),
            "policy": torch.where(better.unsqueeze(-1), ops.greedy_policy(q), state["policy"]),
        }

    return Planning(start, improve, reads="samples")
