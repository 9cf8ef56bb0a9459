"""TRPO: natural-gradient steps that are as long as a bound on the mean KL allows.

Paper: Schulman et al. 2015, arXiv:1502.05477: the surrogate ratio · A is raised subject to a mean KL(policy that acted ‖ policy now) of at most `max_kl`, along
F⁻¹ g, which conjugate gradients find with products of the Fisher matrix, and as far as a backtracking line search finds both kept. The advantage is GAE
(arXiv:1506.02438, eq. 16), which the paper did not have. The reference is TRPO of Stable-Baselines3 contrib, whose defaults these are (15 iterations of
conjugate gradients, damping 0.1, at most 10 lengths, each 0.8 of the one before, advantages normalised over the rollout, 10 passes over it that fit the value
function by Adam at 1e-3, epsilon 1e-5). Departures from it: conjugate gradients begin at 0, there at small noise; the KL is bounded in the paper's direction,
there in the other one, whose Fisher matrix is the same; 8 copies and rollouts of 128 steps, there 1 of 2,048.

Logs "kl_behaviour", the mean KL of the step that was taken, "step_length", its share of the longest one, and "step_taken", 0 where no length would do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from operant.core.registry import Count, NonNegative, Positive, Share, method
from operant.loops.credit import GAE
from operant.loops.natural import TrustRegion
from operant.loops.on_policy import ApartSettings, WorkerSettings
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import Ratio


@dataclass(frozen=True)
class TRPO(WorkerSettings, ApartSettings):
    max_kl: Positive = 0.01  # largest mean KL of a step, nats
    damping: NonNegative = 0.1  # what is added to the Fisher matrix's diagonal
    conjugate_gradients: Count = 15  # iterations that find a step's direction
    backtracks: Count = 10  # lengths that the line search tries
    shrink: Share = 0.8  # of each length from the one before


@method("trpo", family="online", paper="arXiv:1502.05477", worlds=("gym",))
def trpo(h: TRPO) -> PolicyGradient:
    return PolicyGradient(
        policy=h.towers,
        sample=h.steps,
        credit=GAE(h.gamma, h.lam),
        terms=[Ratio()],
        normalize_advantage="rollout",
        reduce="token-mean",
        region=TrustRegion(h.max_kl, h.damping, h.conjugate_gradients, h.backtracks, h.shrink),
        max_grad_norm=None,
        fit=replace(h.fit, eps=1e-5),
        workers=h.workers,
    )
