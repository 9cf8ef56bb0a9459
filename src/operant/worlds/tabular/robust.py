"""Finite MDPs whose transitions are uncertain: one of several for each pair, whichever is worst."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.worlds.tabular.mdp import ROUNDING, FiniteMDP

ROUNDS = 15  # of the adversary's policy iteration, which takes a handful


@dataclass(frozen=True)
class UncertainMDP(FiniteMDP):
    """A finite MDP, the nominal one, and an uncertainty set that is finite and (s, a)-rectangular: nature takes for every pair one of U transitions, with a
    horizon for every step and pair.

    Attributes:
        models: `[S or 1, U, K, A, K]`, the transitions of each pair that can be.
    """

    models: Tensor | None = None

    def __post_init__(self):
        super().__post_init__()
        models = self.models
        if models is None or models.ndim != 5 or models.shape[2:] != (self.states, self.actions, self.states) or 0 in models.shape:
            found = "none" if models is None else list(models.shape)
            raise BadInput(f"uncertain MDP: models have shape {found}, must be [S, U, {self.states}, {self.actions}, {self.states}]")
        if (models < 0).any() or ((models.sum(-1) - 1).abs() > ROUNDING).any():
            raise BadInput("uncertain MDP: each of the models' rows must be probabilities of next states, which sum to 1")

    def worst(self, policy: Tensor) -> tuple[Tensor, Tensor]:
        """The values of a policy `[S, *shape]` under the transitions that are worst for it, as `value` gives them, and these, `[S, *shape, K]`.

        Without a horizon by the adversary's policy iteration, which is exact once it changes nothing (`ROUNDS` at most).
        """
        if self.horizon is None:
            transition = self.transition.expand(len(policy), -1, -1, -1)
            for _ in range(ROUNDS):
                value = ops.stationary_value(self.reward, transition, policy, discount=self.discount)
                transition = self._least(transition, value)
            return ops.stationary_value(self.reward, transition, policy, discount=self.discount), transition
        steps, values, value = [], [], policy.new_zeros(len(policy), self.states)
        for step in reversed(range(self.horizon)):
            steps.append(self._least(self.models[:, 0], value))
            q = ops.bellman_q(self._reward(step), steps[-1], value, discount=self.discount)
            value = (q * policy[:, step]).sum(-1)
            values.append(value)
        return torch.stack(values[::-1], 1), torch.stack([each.expand(len(policy), -1, -1, -1) for each in steps[::-1]], 1)

    def worst_for(self, value: Tensor) -> Tensor:
        """Of each pair the transitions under which next values, as `backup` takes them, are worth least: `[S, *shape, K]`."""
        if self.horizon is None:
            return self._least(self.transition.expand(len(value), -1, -1, -1), value)
        steps = [self._least(self.models[:, 0].expand(len(value), -1, -1, -1), following) for following in ops.next_step_value(value).unbind(1)]
        return torch.stack(steps, 1)

    def robust_backup(self, value: Tensor) -> Tensor:
        """Q of next values under the worst transitions of each pair (Iyengar 2005; Nilim and El Ghaoui 2005), as `backup` gives it."""
        following = value if self.horizon is None else ops.next_step_value(value)
        models = self.models if self.horizon is None else self.models.unsqueeze(2)
        return self.reward + self.discount * torch.einsum("su...kaj,s...j->su...ka", models, following).amin(1)

    @cached_property
    def robust_optimum(self) -> tuple[Tensor, Tensor]:
        """The largest worst-case values, and a policy that has them: robust value iteration until it changes nothing."""
        value = self.initial.new_zeros(self.seeds, *self.shape[:-1])
        while True:
            q = self.robust_backup(value)
            if (q.amax(-1) - value).abs().max() <= 1e-13 * q.abs().max():
                return q.amax(-1), ops.greedy_policy(q)
            value = q.amax(-1)

    def measures(self, policy: Tensor) -> dict[str, Tensor]:
        return {"worst-case value": self.start_value(self.worst(policy)[0]), "robust optimum": self.start_value(self.robust_optimum[0])}

    def _reward(self, step: int) -> Tensor:
        return self.reward[:, min(step, self.reward.shape[1] - 1)]

    def _least(self, held: Tensor, value: Tensor) -> Tensor:
        """Of each pair the transitions under which what comes next is worth least, `[S, K, A, K]`; those that are `held`, where no other is worse by more than
        rounding."""
        worth = torch.einsum("sukaj,sj->suka", self.models, value)
        least, which = worth.min(1)
        now = torch.einsum("skaj,sj->ska", held, value)
        models = self.models.expand(len(value), -1, -1, -1, -1)
        found = models.gather(1, which[:, None, :, :, None].expand(-1, 1, -1, -1, self.states)).squeeze(1)
        return torch.where((least < now - 1e-12 * value.abs().amax()).unsqueeze(-1), found, held)
