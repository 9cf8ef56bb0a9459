"""MDPO, on policy: mirror descent, whose each step is solved approximately by several gradient steps held near the policy that acted by a KL.

Paper: Tomar et al. 2020, arXiv:2005.09814. An iteration maximises the mean of ratio · A − KL(policy now ‖ policy that acted) / t by `epochs` steps of Adam; a
single one is a plain policy gradient, for the KL's gradient begins at 0. Nothing is clipped but the gradient. The authors' code
(manantomar/Mirror-Descent-Policy-Optimization, mdpo_on) is followed in t, which falls from 1 to 0 along training, in Adam's rate, which stays at 3e-4 (epsilon
1e-5, gradients clipped at 0.5), in 10 steps on the whole rollout, in advantages normalised over it, and in values that are fitted by themselves. Departures
from it: the value loss is not clipped, and takes the rate and the passes of `trpo`, 10 at 1e-3, there 5 at 3e-4 in minibatches of 128; observations and rewards
are normalised there, here where asked; 8 copies and rollouts of 128 steps, there 1 of 2,048; no Tsallis divergence, which is an option of `mdpo-off`. The
off-policy form, whose loop is another one, is `mdpo-off`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from operant.core.flat import Adam
from operant.core.registry import LearningRate, Passes, Positive, method
from operant.loops.credit import GAE
from operant.loops.on_policy import ApartSettings, WorkerSettings
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import Ratio, TermBatch


@dataclass(frozen=True)
class Proximity:
    """KL(policy now ‖ policy that acted) / t, over all actions.

    Attributes:
        step_size: t at first.
        anneal: t falls linearly to 0 at the end of training.
    """

    step_size: float = 1.0
    anneal: bool = True
    name: ClassVar[str] = "proximity"
    needs: ClassVar[frozenset[str]] = frozenset({"kl_to_acted"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return batch.kl_to_acted / (self.step_size * (1 - batch.progress if self.anneal else 1.0))


@dataclass(frozen=True)
class MDPO(WorkerSettings, ApartSettings):
    epochs: Passes = 10  # gradient steps of an iteration, each on the whole rollout
    step_size: Positive = 1.0  # t at first: the KL to the policy that acted is weighted by 1 / t
    learning_rate: LearningRate = 3e-4  # Adam's, of the policy
    anneal: bool = True  # t falls linearly to 0 at the last step
    max_grad_norm: Positive = 0.5  # L2, over the policy's parameters of a seed


@method("mdpo", family="online", paper="arXiv:2005.09814", worlds=("gym",))
def mdpo(h: MDPO) -> PolicyGradient:
    return PolicyGradient(
        policy=h.towers,
        sample=h.steps,
        credit=GAE(h.gamma, h.lam),
        terms=[Ratio(), Proximity(h.step_size, h.anneal)],
        normalize_advantage="rollout",
        reduce="token-mean",
        epochs=h.epochs,
        learning_rate=h.learning_rate,
        optimizer=partial(Adam, eps=1e-5),
        max_grad_norm=h.max_grad_norm,
        fit=h.fit,
        workers=h.workers,
    )
