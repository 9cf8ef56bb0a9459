"""What planners of bandits share: episodes of one step, whose contexts are the states and whose rounds are the episodes."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.loops.planning import Problem, State
from operant.worlds.tabular.mdp import Played


def check_bandit(problem: Problem, key: str, *, features: bool = False) -> None:
    """Raise `BadInput` where episodes of a planner of this key have more than one step, or rewards outside [0, 1], or where it needs features and has none."""
    if problem.shape[0] != 1:
        raise BadInput(f"{key} is for bandits, episodes of one step; these have {problem.shape[0]}: give --horizon 1, or take tabular:bandit")
    problem.check_rewards(key)
    if features:
        _ = problem.features


def tally(problem: Problem, state: State | None = None, played: Played | None = None) -> State:
    """How often a state has seen each action in each context, "count" `[S, K, A]`, and the sum of its rewards, "gained", with what was played since; nothing
    without them."""
    if state is None or played is None:
        return {"count": problem.zeros(*problem.shape[1:]), "gained": problem.zeros(*problem.shape[1:])}
    pair, reward = played.pair(problem.shape, stationary=True).flatten(1), played.reward.flatten(1)
    both = (("count", torch.ones_like(reward)), ("gained", reward))
    return {name: state[name].flatten(1).scatter_add(1, pair, more).view_as(state[name]) for name, more in both}


def arms(problem: Problem, key: str) -> Tensor:
    """Known features of the actions of a bandit without contexts, `[S, A, d]`. Raises `BadInput` for another one."""
    if problem.shape[:2] != (1, 1):
        raise BadInput(f"{key} is for bandits without contexts, one state and one step: take tabular:misspecified-bandit, or a file")
    return problem.model_features[:, 0].expand(len(problem.streams.seeds), -1, -1)


def query(problem: Problem, state: State, repeats: int) -> Tensor:
    """Play the first action that a state has "asked" for (`[S, A]`, above 0) and not "found" (-inf), and where there is none its policy: "found" with the mean
    of its rewards, `[S, A]`."""
    asked = (state["asked"] > 0) & state["found"].isneginf()
    waits, action = asked.any(-1, keepdim=True), asked.to(torch.int8).argmax(-1, keepdim=True)
    one = torch.zeros_like(state["found"]).scatter(1, action, 1.0)
    played = problem.play(torch.where(waits, one, state["policy"][:, 0, 0])[:, None, None], repeats)
    mean = played.reward.flatten(1).mean(1, keepdim=True)
    return torch.where(waits, state["found"].scatter(1, action, mean), state["found"])
