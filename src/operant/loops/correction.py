"""Sampling that corrects its own error: what acts is led away from what was done too often already."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from operant.core.flat import Adam, rows_of, set_rows
from operant.core.random import Streams
from operant.loops.terms import ClippedRatio, TermBatch
from operant.loops.update import RowCutter, Updater
from operant.nets.actors import ActorCritic


@dataclass(frozen=True)
class Tether:
    """`coefficient · KL(policy ‖ what acts)`, over all actions."""

    coefficient: float
    name: ClassVar[str] = "tether"
    needs: ClassVar[frozenset[str]] = frozenset({"kl_from_acted"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return self.coefficient * batch.kl_from_acted


@dataclass(frozen=True)
class Correction:
    """PROPS' behaviour (arXiv:2311.08290): a copy of the policy that lowers the likelihood of what was collected, until the ratio to the policy leaves the
    clip.

    The objective is the mean of max(ρ, clip(ρ, 1 − clip, 1 + clip)), ρ = behaviour(a|s) / policy(a|s), which is the clipped surrogate with an advantage of −1
    everywhere. Each adaptation begins at the policy.

    Attributes:
        every: steps of each row between two adaptations.
        epochs, minibatches: passes over what was collected, and optimiser steps in each.
        coefficient: weight of KL(policy ‖ behaviour).
        max_kl: a seed's behaviour stands still for the rest of an adaptation once its estimated mean KL from the policy (k3) is above this.
    """

    every: int = 16
    epochs: int = 16
    minibatches: int = 4
    clip: float = 0.3
    coefficient: float = 0.0
    max_kl: float = 0.01
    learning_rate: float = 1e-3
    max_grad_norm: float = 0.5

    def begin(self, policy: ActorCritic, streams: Streams) -> Corrector:
        return Corrector(self, policy, streams)


class Corrector:
    """It at work (see `worlds.gym.collect.Adapting`)."""

    def __init__(self, plan: Correction, policy: ActorCritic, streams: Streams):
        self.plan, self._streams = plan, streams
        self.policy = copy.deepcopy(policy).requires_grad_(True)
        self._updater = Updater(
            self.policy,
            [ClippedRatio(plan.clip, plan.clip), *([Tether(plan.coefficient)] if plan.coefficient else [])],
            seeds=len(streams.seeds),
            stacked=True,
            learning_rate=plan.learning_rate,
            reduce="token-mean",
            max_grad_norm=plan.max_grad_norm,
            optimizer=partial(Adam, eps=1e-5),
        )

    def adapt(self, policy: ActorCritic, observation: Tensor, action: Tensor, mask: Tensor) -> None:
        plan, updater = self.plan, self._updater
        with torch.no_grad():
            for mine, theirs in zip((*self.policy.parameters(), *self.policy.buffers()), (*policy.parameters(), *policy.buffers()), strict=True):
                mine.copy_(theirs)
            acted = policy(observation)
            likelihood = policy.distribution.log_prob(acted, action)
        updater.optimizer.reset()
        fields = {"inputs.observation": observation, "inputs.acted": acted, "action": action, "old_log_prob": likelihood, "mask": mask}
        cut = RowCutter(fields | {"advantage": -torch.ones_like(likelihood)})
        standing = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
        for _ in range(plan.epochs if cut.units else 0):
            for index in self._streams.permutations("correction", cut.units).tensor_split(min(plan.minibatches, cut.units), dim=1):
                before = rows_of(self.policy)
                told = updater.step(cut(index), progress=0.0, iteration=0, last=True)
                set_rows(self.policy, torch.where(standing.unsqueeze(-1), before, rows_of(self.policy)))
                standing = standing | (told.diagnostics["kl_behaviour"] > plan.max_kl)
                if standing.all():
                    return
