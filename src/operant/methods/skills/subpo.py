"""SubPO: the policy gradient of submodular rewards, which hang on all that an episode has visited.

Paper: Prajapat et al. 2023, arXiv:2307.13372. The aim is the mean of F over paths, F being a monotone submodular function of the places that a path visits; a
step's reward is what it adds to F, and the gradient that of REINFORCE: log π(a_i|s_i) times the sum of this and all later gains, less a baseline of the state.
The environment pays the gains (`gym:coverage-grid` does), for it knows the path; the policy sees the state and must be told the step, since the best one
changes with it. The definition is followed, and not the authors' code (manish-pra/non-additive-RL, main.py), which weighs log π of a step by F of the path as
far as that step, and sums no later gains (with its type SRL, its baseline, F counts repeats); as there the entropy bonus falls as 1 / iteration, from 0.1,
there with a weight of 0 in all its parameter files of grids. Departures from it: the baseline is a learned value of the state, which shares nothing with the
actor, there is none there; advantages are normalised over the batch, there divided by a constant; a mean over steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import Count, NonNegative, Positive, Widths, method
from operant.loops.credit import GAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import FadingEntropyBonus, SquaredValueError, WeightedLogLikelihood
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps


@dataclass(frozen=True)
class SubPO:
    environments: Count = 32  # copies of the environment a seed
    rollout_length: Count = 40  # steps of each copy between updates: those of an episode, or of several
    learning_rate: Positive = 3e-3  # Adam's
    entropy_coefficient: NonNegative = 0.1  # weight of the entropy bonus at first; it falls as 1 / iteration
    value_coefficient: NonNegative = 0.5  # weight of the squared error of the baseline
    max_grad_norm: Positive = 0.5  # L2, over all parameters of a seed
    hidden: Widths = (64,)  # widths of actor and baseline


@method("subpo", name="SubPO", family="skills", paper="arXiv:2307.13372", worlds=("gym",), example="gym:coverage-grid")
def subpo(h: SubPO) -> PolicyGradient:
    return PolicyGradient(
        policy=ActorCriticNet(hidden=h.hidden, shared=False),
        sample=Steps(h.environments, h.rollout_length),
        credit=GAE(gamma=1.0, lam=1.0),
        terms=[WeightedLogLikelihood(), SquaredValueError(h.value_coefficient), FadingEntropyBonus(h.entropy_coefficient)],
        normalize_advantage="rollout",
        reduce="token-mean",
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
