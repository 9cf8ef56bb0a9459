"""IWOCS: a robust MDP as a sequence of ordinary ones, each the worst that there is for the policy so far.

Paper: arXiv:2410.06212. Kept is Q(s, a) = min_j Q*_j(s, a) over the models T_j that were found, and the policy that is greedy in it. An iteration finds the
model that is worst for this policy, solves it, and takes its Q* into the minimum. Where the set is (s, a)-rectangular, the minimum over all its models is the
robust Q; it ends where the policy is worth under its worst model what Q says, within `tolerance`.

The models that are worst for policies need not be enough: what they do at pairs that a policy does not take is not said, and where nothing in the minimum
changes the policy stays, however much it lacks (near-deterministic sets, one in a hundred). Such an iteration takes, instead, the model that is worst for Q, of
each pair the transitions under which max_a Q is least; that is ours, not the paper's.

This is the exact half: models are solved by policy iteration, and the worst one is the optimum of nature's MDP (in the paper SAC, and CMA-ES over physical
parameters). Every Q* is known everywhere, so that no indicator says where it holds. The first model is the nominal one. Where the set is not rectangular the
paper's Q is a heuristic; it cannot be said here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, method
from operant.loops.planning import Planning, Problem, State
from operant.worlds.tabular.robust import UncertainMDP


@dataclass(frozen=True)
class IWOCS:
    tolerance: NonNegative = 1e-9  # between what Q says and the policy's worst case, at which it ends


@method("iwocs", name="IWOCS", family="robust", paper="arXiv:2410.06212", worlds=("tabular",), example="tabular:random-uncertain")
def iwocs(h: IWOCS) -> Planning:
    def optimal_q(mdp: UncertainMDP, transition: Tensor) -> Tensor:
        if mdp.horizon is None:
            following = ops.stationary_optimum(mdp.reward, transition, discount=mdp.discount, rounds=ROUNDS)[0]
        else:
            following = ops.next_step_value(ops.horizon_optimum(mdp.reward, transition, horizon=mdp.horizon)[0])
        return ops.bellman_q(mdp.reward, transition, following, discount=mdp.discount)

    def start(problem: Problem) -> State:
        mdp = problem.uncertain("iwocs")
        q = optimal_q(mdp, mdp.transition).expand(problem.zeros(*problem.shape).shape).contiguous()
        return {"q": q, "policy": ops.greedy_policy(q)}

    def improve(problem: Problem, state: State) -> State:
        mdp = problem.uncertain("iwocs")
        axes = [1] * len(problem.shape)
        worst, nature = mdp.worst(state["policy"])
        short = mdp.start_value(state["q"].amax(-1)) - mdp.start_value(worst) > h.tolerance
        found = torch.minimum(state["q"], optimal_q(mdp, nature))
        stands = (found == state["q"]).flatten(1).all(-1)
        beyond = torch.minimum(state["q"], optimal_q(mdp, mdp.worst_for(state["q"].amax(-1))))
        q = torch.where(short.view(-1, *axes), torch.where(stands.view(-1, *axes), beyond, found), state["q"])
        return {"q": q, "policy": ops.greedy_policy(q)}

    return Planning(start, improve)


ROUNDS = 15  # of policy iteration, which takes a handful
