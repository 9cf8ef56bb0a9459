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

    def act(self, state: Tensor, step: int = 0) -> Tensor:
        """The likeliest action at states `[S, …]` int64, with a horizon at one step: `[S, …]` int64."""
        table = self.probabilities if self.probabilities.ndim == 3 else self.probabilities[:, step]
        return table.argmax(-1).gather(1, state.flatten(1)).view(state.shape)
