"""DRRL: demonstrations are cloned, and what is then played for is the return less what it costs to leave the clone, which takes few episodes to solve.

Paper: Tiapkin et al. 2023, arXiv:2310.17303: behaviour cloning with one imagined demonstration of each action, (n + 1) / (N + A), and UCBVI-Ent+ (algorithm
3) on V^pi - lambda · KL of the trajectories of pi and of the clone. From the last step on, Q is r̂ + P̂ V_{h+1} + b and V = lambda · log Σ_a clone · exp(Q
/ lambda), an upper bound; a lower one has -b. The policy is the upper bound's. As V is smooth, what it lacks is of second order in what is not known:
G_h(s) = min(w, w² / (2 lambda)) + (1 + 1/H) Σ_a pi P̂ G_{h+1}, w being the largest difference of the bounds of an action in s, and an episode plays that
policy, except that at one step, which is drawn, it takes the action of the largest difference between the bounds. It stops where G at the first state is
epsilon / 2.

Demonstrations are the logged transitions, N^E = `--transitions` / H trajectories: an expert's with `--concentrability 1`, whose C* is 1.

Settled, and departures: lambda is epsilon (N^E + 1) / (2 (A - 1) K H), for (A - 1) K H / (N^E + 1) bounds the expected divergence of a deterministic expert
from its clone, which then costs epsilon / 2; in the paper there are logarithms beside it. The bonus is Bernstein's with `scale`, as in `ucbvi`, and G has
none of its own: the paper's constants never let it stop. Rewards are learned too; in the paper they are known. What the paper says of preferences is not
here.
An iteration is an episode. The policy that is evaluated is the upper bound's; once it has stopped it stays, and "stopped at episode" says when, 0 being not
yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.planning import Model, Planning, Problem, State


@dataclass(frozen=True)
class DRRL:
    epsilon: Positive = 0.1  # by how much at most the policy falls short of the expert, in units of the return
    scale: Positive = 0.001  # of the bonus, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("drrl", name="DRRL", family="tabular", paper="arXiv:2310.17303", worlds=("tabular",), example="tabular:random-episodes")
def drrl(h: DRRL) -> Planning:
    def temperature(problem: Problem) -> float:
        horizon, states, actions = problem.shape
        return h.epsilon * (problem.samples.size / horizon + 1) / (2 * max(actions - 1, 1) * states * horizon)

    def bounds(problem: Problem, seen: Model, clone: Tensor) -> tuple[Tensor, Tensor]:
        """Upper and lower Q, `[S, H, K, A]`."""
        (horizon, states, actions), cost = problem.shape, temperature(problem)
        log = h.scale * math.log(5 * states * actions * horizon * (problem.step + 1) / h.delta)

        def bound(sign: int) -> Tensor:
            def q_at(step: int, here: Any, value: Tensor) -> Tensor:
                mean, variance = ops.next_value_moments(seen.transition[here], value)
                bonus = ops.empirical_bernstein(seen.count[here], variance, log=log, most=horizon)
                return (seen.reward[here] + mean + sign * bonus).clamp(0, horizon - step)

            return problem.backwards(q_at, lambda step, q: ops.kl_regularized_value(q, clone[:, step], temperature=cost))

        return bound(1), bound(-1)

    def gap(problem: Problem, seen: Model, policy: Tensor, width: Tensor) -> Tensor:
        """G before the first step, of each first state, `[S, K]`."""
        widest, growth = width.amax(-1), 1 + 1 / problem.shape[0]
        loss = torch.minimum(widest, widest.square() / (2 * temperature(problem)))

        def to_come(step: int, here: Any, following: Tensor) -> Tensor:
            return growth * ops.next_value_moments(seen.transition[here], following)[0]

        def worth(step: int, later: Tensor) -> Tensor:
            return loss[:, step] + (policy[:, step] * later).sum(-1)

        return worth(0, problem.backwards(to_come, worth)[:, 0])

    def start(problem: Problem) -> State:
        problem.check_rewards("drrl")
        clone, seen = ops.cloned_policy(problem.samples.model[0]), problem.model()
        return seen.tables | {"clone": clone, "policy": clone, "explores": clone, "stopped": problem.zeros()}

    def improve(problem: Problem, state: State) -> State:
        horizon, going = problem.shape[0], state["stopped"] == 0
        step = torch.arange(horizon, device=going.device)
        drawn = problem.streams.integers("step", horizon + 1, 1)  # H: nowhere
        there = ((step == drawn) & going.unsqueeze(-1)).view(-1, horizon, 1, 1)
        seen = problem.model(state, problem.play(torch.where(there, state["explores"], state["policy"]), 1))
        upper, lower = bounds(problem, seen, state["clone"])
        found = ops.kl_regularized_policy(upper, state["clone"], temperature=temperature(problem))
        policy = torch.where(going.view(-1, 1, 1, 1), found, state["policy"])
        short = (problem.initial * gap(problem, seen, policy, upper - lower)).sum(-1)
        stopped = torch.where(going & (short <= h.epsilon / 2), problem.step + 1.0, state["stopped"])
        return seen.tables | {"clone": state["clone"], "policy": policy, "explores": ops.greedy_policy(upper - lower), "stopped": stopped}

    def stopped(problem: Problem, state: State) -> dict[str, Tensor]:
        return {"stopped at episode": state["stopped"]}

    return Planning(start, improve, reads="hybrid", iterations=100, measures=stopped)
