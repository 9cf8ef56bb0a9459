"""FTPedel: policies are dropped once their values are known to fall short, and what is played fills in what logged transitions do not tell about those left.

Paper: Wagenmaker and Pacchiano 2022, arXiv:2211.04974. Epochs have accuracies epsilon_l, halved each time. In one, an experiment design plays until
phi_piᵀ (Λ + Λ_off)⁻¹ phi_pi ≤ epsilon_l² / beta_l for every policy that is left and every step, phi_pi being its expected features, Λ the covariance of what
was played and Λ_off that of the logged transitions; values are then estimated by least squares on both, and policies whose value is more than epsilon_l below
the largest are dropped. It stops when epsilon_l is `epsilon`, or one policy is left. With `--offline false` it is Pedel (Wagenmaker and Jamieson 2022,
arXiv:2207.02575), which has no data; with `--explore uniform` episodes are of uniform actions in the place of the design.

The design is Frank-Wolfe on the covariance, over policies: a step's linear problem, whose reward is how much a pair's visit lowers the largest of these
norms, is solved in the model that was fitted, and its policy is played `batch_episodes` times, so that what was played is the iterate.

Settled (the row is of medium confidence), and departures: policies are all deterministic ones that hang on the state alone, at most 512, which are all that
there are where states tell the step. On tasks without features a pair's are one-hot. One design serves all steps; the paper has one for each, of episodes of
its own, and a regret minimiser in the place of planning in the model. The first state's distribution is known, as in the paper. beta_l = scale · H² · log(4
H² N l² / delta), N policies being left; the paper's scale is 64. epsilon_l begins at H / 2. The ridge is 1 / d. What is returned is the policy of the largest
estimate, which by the bounds is `epsilon` from the best of the class at most; that is of the paper's scale, and the default is a small part of it
(`operant evidence ftpedel` counts how often it holds; at a hundredth of the default it stops after a few episodes, off by up to 0.9).
An iteration learns from what is there, and plays `batch_episodes`. The policy that is evaluated is that of the largest estimate before these; once it has
stopped, it stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import Count, Positive, Range, method
from operant.loops.planning import Model, Planning, Problem, State

MOST = 512  # policies


@dataclass(frozen=True)
class FTPedel:
    offline: bool = True  # logged transitions count beside what is played
    explore: Literal["design", "uniform"] = "design"  # what episodes are of
    epsilon: Positive = 0.1  # by how much at most the policy falls short, in units of the return
    batch_episodes: Count = 10  # episodes of an iteration, a step of Frank-Wolfe
    scale: Positive = 0.05  # of the squared confidence width, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("ftpedel", name="FTPedel", family="hybrid", paper="arXiv:2211.04974", worlds=("tabular",), example="tabular:layered")
def ftpedel(h: FTPedel) -> Planning:
    def policies(problem: Problem) -> Tensor:
        """All that are compared, `[N, 1, K, A]`."""
        states, actions = problem.shape[1:]
        each = torch.arange(actions, device=problem.streams.device)
        choice = torch.cartesian_prod(*[each] * states).view(-1, 1, states, 1)
        return (choice == each).to(torch.float64)

    def features(problem: Problem) -> Tensor:
        """`[S or 1, H or 1, K, A, d]`, one-hot where none are known; of one step where all are alike."""
        if problem.linear:
            return problem.model_features.unsqueeze(1) if problem.stationary else problem.features
        states, actions = problem.shape[1:]
        return torch.eye(states * actions, dtype=torch.float64, device=problem.streams.device).view(1, 1, states, actions, -1)

    def estimated(problem: Problem, seen: Model) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Transitions as they are fitted `[S, H or 1, K, A, K]`, all policies' mean features `[S, H, N, d]` and values `[S, N]` in them, and Λ⁻¹."""
        if problem.stationary:
            seen = Model(seen.following.unsqueeze(1), seen.gained.unsqueeze(1))
        phi, plays = features(problem), policies(problem).expand(-1, problem.shape[0], -1, -1)
        ridge = 1 / phi.shape[-1]
        fitted = seen.fitted(phi, ridge)
        inverse = torch.linalg.inv_ex(ridge * torch.eye(phi.shape[-1], dtype=phi.dtype, device=phi.device) + ops.feature_covariance(phi, seen.count))[0]
        initial = problem.initial.expand(len(inverse), -1).unsqueeze(1)
        occupancy = ops.horizon_occupancy(initial, fitted.transition.unsqueeze(1), plays)  # [S, N, H, K, A]
        mean = ops.policy_features(phi.unsqueeze(1), occupancy).transpose(1, 2)
        return fitted.transition, mean, (occupancy * fitted.reward.unsqueeze(1)).sum((-3, -2, -1)), inverse

    def epochs(problem: Problem) -> int:
        """From H / 2 to epsilon."""
        return max(1, math.ceil(math.log2(problem.shape[0] / h.epsilon)))

    def going(state: State) -> Tensor:
        """Who has not stopped, `[S, 1, 1, 1]`."""
        return (state["accuracy"] > h.epsilon).view(-1, 1, 1, 1)

    def settled(problem: Problem, state: State, norms: Tensor, value: Tensor) -> State:
        """After all epochs that are over, with what is known."""
        horizon, kept, epoch, reached = problem.shape[0], state["kept"], state["epoch"], state["accuracy"]
        largest = norms.amax(1)
        for _ in range(epochs(problem)):
            accuracy = (horizon * 0.5**epoch).clamp(min=h.epsilon)
            beta = h.scale * horizon**2 * (4 * horizon**2 * kept.sum(-1) * epoch.square() / h.delta).log()
            over = ((largest * kept).amax(-1) <= accuracy.square() / beta) & (reached > h.epsilon)
            best = value.masked_fill(kept == 0, -torch.inf).amax(-1)
            kept = torch.where(over.unsqueeze(-1), kept * (value >= (best - accuracy).unsqueeze(-1)), kept)
            reached = torch.where(over, torch.where(kept.sum(-1) == 1, 0.0, accuracy), reached)
            epoch = epoch + over
        found = policies(problem)[value.masked_fill(kept == 0, -torch.inf).argmax(-1)].expand(-1, horizon, -1, -1)
        return {"kept": kept, "epoch": epoch, "accuracy": reached, "policy": torch.where(going(state), found, state["policy"])}

    def start(problem: Problem) -> State:
        problem.check_rewards("ftpedel")
        horizon, states, actions = problem.shape
        if (count := actions**states) > MOST:
            here = f"{count:,}" if count < 1e9 else f"about 1e{states * math.log10(actions):.0f}"
            told = f"ftpedel compares all policies of {states} states and {actions} actions, here {here}, and can {MOST} at most"
            raise BadInput(f"{told}: take fewer --states or --actions, or a method that enumerates none, such as lsvi-ucb")
        state = {
            "kept": problem.zeros(count) + 1,
            "epoch": problem.zeros() + 1,
            "accuracy": problem.zeros() + horizon,
            "explored": problem.zeros(),
            "policy": problem.uniform(),
        }
        return (problem.logged if h.offline else problem.model()).tables | state

    def improve(problem: Problem, state: State) -> State:
        transition, mean, value, inverse = estimated(problem, Model(state["following"], state["gained"]))
        norms = ops.design_norms(mean, inverse)
        found, explores = settled(problem, state, norms, value), problem.uniform()
        if h.explore == "design":
            explores = ops.design_direction(features(problem), transition, mean, norms, found["kept"], inverse, step=problem.step)
        played = problem.play(torch.where(going(found), explores, found["policy"]), h.batch_episodes)
        explored = state["explored"] + h.batch_episodes * (found["accuracy"] > h.epsilon)
        return problem.model(state, played).tables | found | {"explored": explored}

    def measures(problem: Problem, state: State) -> dict[str, Tensor]:
        return {"certified accuracy": state["accuracy"], "exploring episodes": state["explored"], "policies left": state["kept"].sum(-1)}

    return Planning(start, improve, reads="hybrid" if h.offline else "episodes", iterations=20, measures=measures, plays=h.batch_episodes)
