"""PPO's settings and the loop that they configure, for the methods that train policies of environments by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from operant.core.flat import Adam
from operant.core.registry import Count, Passes, Positive, Range, Tune
from operant.loops.credit import GAE
from operant.loops.on_policy import ActorCriticSettings
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.nets.actors import ActorCriticNet


@dataclass(frozen=True)
class ClippedSettings(ActorCriticSettings):
    epochs: Annotated[Passes, Tune(choices=(1, 4, 10, 20))] = 4  # passes over each rollout
    minibatches: Annotated[Count, Tune(choices=(1, 2, 4, 8, 16))] = 4  # optimiser steps in each pass
    clip: Annotated[Positive, Tune(choices=(0.1, 0.2, 0.3, 0.4))] = 0.2  # the ratio's distance from 1 beyond which it is cut
    anneal_clip: bool = False  # lower that distance linearly to 0 at the last step
    target_kl: Annotated[float | None, Range(0, open_low=True)] = None  # nats: above 1.5 times it (mean KL of a minibatch) a rollout is left; none: never
    normalize_advantage: Literal["minibatch", "rollout"] = "minibatch"  # which steps' advantages are shifted together to mean 0 and divided by their deviation

    def __post_init__(self):
        steps, each = self.environments * self.rollout_length, 2 if self.normalize_advantage == "minibatch" else 1  # of one alone the normalised advantage is 0
        if steps < self.minibatches * each:
            least = "two steps each" if each == 2 else "as many steps"
            nearest = f"nearest: {steps // each} of them" if steps >= each else "take longer rollouts"
            raise ValueError(f"{self.minibatches} minibatches need {least}; environments × rollout_length is {steps}; {nearest}")


def clipped_policy_gradient(h: ClippedSettings, *, policy: ActorCriticNet | None = None, workers: int = 1) -> PolicyGradient:
    """PPO (Schulman et al. 2017, arXiv:1707.06347), as `methods/online/ppo.py` describes it.

    Args:
        policy: how the network is built; None for two towers.
        workers: processes that step the environments.
    """
    return PolicyGradient(
        policy=h.towers if policy is None else policy,
        sample=h.steps,
        credit=GAE(h.gamma, h.lam),
        terms=[ClippedRatio(h.clip, h.clip, anneal=h.anneal_clip), *h.beside],
        normalize_advantage=h.normalize_advantage,
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        learning_rate=h.learning_rate,
        anneal=h.anneal,
        optimizer=partial(Adam, eps=1e-5),
        max_grad_norm=h.max_grad_norm,
        target_kl=h.target_kl,
        workers=workers,
    )
