"""PPO: many epochs of minibatch updates on fresh experience, kept near the policy that acted by clipping the likelihood ratio.

Paper: Schulman et al. 2017, arXiv:1707.06347; the objective is eq. 9 with the clipped surrogate of eq. 7, the advantage is GAE (arXiv:1506.02438, eq. 16).
Departures from the paper and from the authors' code (openai/baselines, ppo2): the value loss is not clipped, and the squared error weighs 0.5, as in
Stable-Baselines3 (theirs: half of it weighs 0.5); one learning rate and clip, the rate constant unless `anneal`. As in the authors' code, advantages are
normalised over each minibatch, and Adam's epsilon is 1e-5; the deviation that divides them is at least 1e-4 (1e-8 there), so that what is left of advantages
where nothing tells actions apart is not blown up. Time limits bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import method
from operant.loops.clipped import ClippedSettings, clipped_policy_gradient
from operant.loops.on_policy import WorkerSettings
from operant.loops.policy_gradient import PolicyGradient


@dataclass(frozen=True)
class PPO(WorkerSettings, ClippedSettings):
    pass


@method("ppo", family="online", paper="arXiv:1707.06347", worlds=("gym",))
def ppo(h: PPO) -> PolicyGradient:
    return clipped_policy_gradient(h, workers=h.workers)
