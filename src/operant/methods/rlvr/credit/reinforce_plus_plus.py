"""REINFORCE++: no critic; advantages are returns that are normalised over the whole batch, and the KL is paid token by token in the reward. A baseline.

Paper: Hu et al. 2025, arXiv:2501.03262 (version 9). The advantage of token t is the answer's reward less beta times the k1 estimates of the KL from t to the
end (no discount), shifted and scaled by mean and standard deviation over all tokens of the batch; then PPO's clipped loss.
With `group_baseline` (the paper's "w/ baseline") the group's mean reward is subtracted from each answer's first, the normalisation follows, and the KL moves
into the loss, estimated by k2.
Settled on: statistics over tokens, so that a long answer weighs more in them, as in verl and OpenRLHF; population standard deviation; the mean over tokens of
the batch; beta 0.001, for the paper's figures differ by task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import KLInReward
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class ReinforcePlusPlus(KLWeighting, GroupSettings):
    group_size: Count = 16  # answers a prompt
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.001  # weight of the KL to the base policy: in the reward, or in the loss with group_baseline
    group_baseline: bool = False  # subtract the mean reward of the prompt's answers first (the paper's "w/ baseline")


def return_to_go(rollout: Rollout) -> Tensor:
    """Sum of the row's rewards from each step on, undiscounted, `[S, N, T]`: generalised advantages of a value function that is 0 everywhere."""
    nothing = torch.zeros_like(rollout.reward)
    return ops.gae(rollout.reward, nothing, nothing, rollout.terminated, rollout.truncated, gamma=1.0, lam=1.0)


@method("reinforce++", family="rlvr", paper="arXiv:2501.03262", worlds=("text", "sequences"), baseline=True)
def reinforce_plus_plus(h: ReinforcePlusPlus) -> PolicyGradient:
    kl_in_loss = h.beta > 0 and h.group_baseline
    kl_in_reward = h.beta > 0 and not h.group_baseline
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[KLInReward(h.beta, "k1")] if kl_in_reward else [],
        credit=Grouped(partial(ops.group_normalized_advantage, normalize_std=False)) if h.group_baseline else return_to_go,
        normalize_advantage="rollout",
        terms=[ClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k2", h.kl_importance_weight)] if kl_in_loss else [])],
        reduce="token-mean",
        **h.updates,
    )
