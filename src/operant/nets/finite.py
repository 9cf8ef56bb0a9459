"""Policies of finite MDPs: a table of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FinitePolicy(nn.Module):
    """Probabilities of actions in every state, for S seeds at once. Starts uniform.

    Args:
        seeds: root seeds on its seed axis: they say which instances it is for.
        shape: (K, A), or with a horizon of H steps (H, K, A).

    Attributes:
        probabilities: `[S, *shape]` float64.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...]):
        super().__init__()
        self.seeds = tuple(seeds)
        self.register_buffer("probabilities", torch.full((len(self.seeds), *shape), 1 / shape[-1], dtype=torch.float64))

    def initial(self, rows: int) -> Tensor | None:
        """The carry of N rows whose episodes begin, `[S, N, 1]` int64: the step that comes. None where there is one table for all steps."""
        if self.probabilities.ndim == 3 or self.probabilities.shape[1] == 1:
            return None
        return torch.zeros(len(self.seeds), rows, 1, dtype=torch.int64, device=self.probabilities.device)

    def act(self, state: Tensor, carry: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The likeliest actions `[S, N]` int64 at states of that shape, and the carry after them.

        Args:
            carry: as `initial` and this give it; None where episodes begin.
        """
        states, actions = self.probabilities.shape[-2:]
        carry = self.initial(state.shape[1]) if carry is None else carry
        place = state if carry is None else carry.squeeze(-1) * states + state
        rows = self.probabilities.flatten(1, -2).gather(1, place.unsqueeze(-1).expand(-1, -1, actions))
        return rows.argmax(-1), None if carry is None else carry + 1
