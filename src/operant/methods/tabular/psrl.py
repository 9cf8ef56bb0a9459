"""PSRL: each episode plays the optimal policy of an MDP that is drawn from what one may believe after all episodes before.

Paper: Osband, Russo and Van Roy 2013, arXiv:1306.0940 (Strens 2000 before it). Transitions of a pair have a Dirichlet posterior, whose prior is worth `prior`
visits, spread over all next states alike. The mean reward of a pair has by `rewards` a Beta posterior of the uniform prior, rewards of 0 and 1 being counted
and others counting as parts of both (so it needs rewards in [0, 1]); or a normal one, of the prior N(0, 1) and noise of deviation 1, whatever rewards are.

Departures: the paper's experiments have a normal-gamma prior for rewards, of mean 1 and worth a visit, where the means are 0 here (normal) and 1/2 (beta); its
prior of transitions is this one. The authors' code learns nothing from the last step of an episode. Where transitions or rewards differ between the steps of an
episode, so do the posteriors. An iteration is an episode. The policy that is evaluated is that of the next one, a draw too: a posterior that is wide costs
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.planning import Model, Planning, Problem, State


@dataclass(frozen=True)
class PSRL:
    prior: Positive = 1.0  # visits that the prior of a pair's transitions is worth
    rewards: Literal["beta", "normal"] = "beta"  # posterior of a mean reward


@method("psrl", name="PSRL", family="tabular", paper="arXiv:1306.0940", worlds=("tabular",), example="tabular:river-swim", baseline=True)
def psrl(h: PSRL) -> Planning:
    def drawn(problem: Problem, seen: Model) -> Tensor:
        """The optimal policy of a draw."""
        gained, count = seen.gained, seen.count
        weight = problem.gamma("transitions", seen.following + h.prior / problem.shape[-2])
        transition = weight / weight.sum(-1, keepdim=True).clamp(min=1e-300)
        if h.rewards == "beta":
            share = problem.gamma("rewards", torch.stack([1 + gained, 1 + count - gained], -1))
            reward = share[..., 0] / share.sum(-1)
        else:
            reward = (gained + (count + 1).sqrt() * problem.streams.normal("rewards", *gained.shape[1:])) / (count + 1)
        if problem.stationary:
            reward, transition = reward.unsqueeze(1), transition.unsqueeze(1)
        return ops.horizon_optimum(reward, transition, horizon=problem.shape[0])[1]

    def start(problem: Problem) -> State:
        if h.rewards == "beta":
            problem.check_rewards("psrl")
        seen = problem.model()
        return seen.tables | {"policy": drawn(problem, seen)}

    def improve(problem: Problem, state: State) -> State:
        seen = problem.model(state, problem.play(state["policy"], 1))
        return seen.tables | {"policy": drawn(problem, seen)}

    return Planning(start, improve, reads="episodes", iterations=100)
