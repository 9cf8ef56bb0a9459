"""Transitions as one packed float matrix, for replay buffers and data sets alike: a batch is one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Batch:
    """Transitions `[S, B, …]`.

    Attributes:
        observation, next_observation: `[S, B, D]`.
        action: `[S, B, A]` float or `[S, B]` int64.
        reward: `[S, B]`; terminated, truncated: `[S, B]` bool.
        index: which transition of the store each one is, `[S, B]`.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor
    truncated: Tensor
    index: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))


class Transitions:
    """A store of transitions of up to `capacity` a seed, ring-shaped once it is full.

    Args:
        stores: S where each seed has its own (replay), 1 where all share one (a data set).
        observation_size: D.
        action_size: A, or 0 for discrete actions (one integer, exact in float32 up to 2**24).
    """

    def __init__(self, stores: int, capacity: int, observation_size: int, action_size: int, device: torch.device | str = "cpu"):
        self.stores = stores
        self.capacity = capacity
        self.discrete = action_size == 0
        self._sizes = self._columns(observation_size, action_size)
        self.rows = torch.zeros(stores, capacity, sum(self._sizes), device=device)
        self.size = 0
        self._next = 0

    @staticmethod
    def _columns(observation_size: int, action_size: int) -> list[int]:
        return [observation_size, action_size or 1, 1, observation_size, 1, 1]

    @classmethod
    def row_bytes(cls, observation_size: int, action_size: int) -> int:
        """Memory of one transition."""
        return 4 * sum(cls._columns(observation_size, action_size))

    def add(self, observation: Tensor, action: Tensor, reward: Tensor, next_observation: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Append n transitions a store: tensors `[S, n, …]`."""
        action = action.unsqueeze(-1) if self.discrete else action
        columns = [observation, action, reward.unsqueeze(-1), next_observation, terminated.unsqueeze(-1), truncated.unsqueeze(-1)]
        rows = torch.cat([column.float() for column in columns], -1).to(self.rows.device)
        count = rows.shape[1]
        first = min(count, self.capacity - self._next)
        self.rows[:, self._next : self._next + first] = rows[:, :first]
        if count > first:
            self.rows[:, : count - first] = rows[:, first:]
        self._next = (self._next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def gather(self, index: Tensor) -> Batch:
        """The transitions at `index [S, B]`."""
        seeds, count = index.shape
        flat = index if self.stores == 1 else index + torch.arange(seeds, device=index.device).unsqueeze(1) * self.capacity
        rows = self.rows.view(-1, self.rows.shape[-1]).index_select(0, flat.reshape(-1)).view(seeds, count, -1)
        observation, action, reward, next_observation, terminated, truncated = rows.split(self._sizes, -1)
        return Batch(
            observation,
            action.squeeze(-1).long() if self.discrete else action,
            reward.squeeze(-1),
            next_observation,
            terminated.squeeze(-1) > 0.5,
            truncated.squeeze(-1) > 0.5,
            index,
        )

    def state_dict(self) -> dict:
        return {"rows": self.rows[:, : self.size], "size": self.size, "next": self._next}

    def load_state_dict(self, state: dict) -> None:
        self.size, self._next = state["size"], state["next"]
        self.rows[:, : self.size] = state["rows"].to(self.rows.device)
