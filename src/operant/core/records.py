"""The records that pass between the steps of the loops.

Every tensor has the axes `[S, N, T, …]`: S seeds (1 where seeds are not stacked), N rows (environments, or completions), T steps (time steps, tokens, denoising
steps). Rows shorter than T are padded; `mask` says which steps the policy chose, and nothing else enters a loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor


class Status(IntEnum):
    """How the scoring of one row ended. Only `OK` carries a reward; the others are left out of groups and losses, and counted."""

    OK = 0
    TIMEOUT = 1
    CRASHED = 2
    MALFORMED = 3  # the verifier's own answer could not be read


@dataclass
class Rollout:
    """What a policy did, and what came of it.

    Attributes:
        inputs: what `policy.replay` needs to see, by name, `[S, N, T, …]` (observations) or `[S, N, L]` (token rows, L = prompt + T).
        action: `[S, N, T]` int64 or `[S, N, T, A]` float.
        log_prob: behaviour policy's log-probability of each action, `[S, N, T]`.
        mask: True where the policy chose the step, `[S, N, T]`.
        reward: `[S, N, T]`.
        terminated, truncated: the episode ended at this step by itself, or was cut, `[S, N, T]`. Truncation bootstraps, termination does not.
        group: which rows share a prompt or start, `[S, N]` int64.
        status: a `Status` a row, `[S, N]`.
        version: the weights' version that acted; the loop checks it.
        parent, branch_at: for trees of rows: the row this one branched from (-1: none) and the step where it did, `[S, N]`.
        extras: further tensors with leading axes `[S, N]` or `[S, N, T]`, by name (value, next_value, entropy, advantage, reference_log_prob, …).
    """

    inputs: dict[str, Tensor]
    action: Tensor
    log_prob: Tensor
    mask: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    group: Tensor
    status: Tensor
    version: int
    parent: Tensor | None = None
    branch_at: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> torch.Size:
        """(S, N, T)."""
        return self.mask.shape

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the record by name, inputs under `inputs.NAME` and extras under their own."""
        own = {
            name: getattr(self, name)
            for name in ("action", "log_prob", "mask", "reward", "terminated", "truncated", "group", "status", "parent", "branch_at")
            if getattr(self, name) is not None
        }
        return own | {f"inputs.{name}": value for name, value in self.inputs.items()} | self.extras


@dataclass
class Score:
    """What a verifier said of N rows.

    Attributes:
        value: `[N]` float; meaningless where the status is not `OK`.
        status: `[N]` a `Status` a row.
        per_step: optional `[N, T]` rewards a step.
        message: for each row, what went wrong, or an empty string.
    """

    value: Tensor
    status: Tensor
    per_step: Tensor | None = None
    message: list[str] = field(default_factory=list)


@dataclass
class Evaluation:
    """What fresh episodes or held-out problems said of the policies.

    Attributes:
        score: name of the score: "return", "success" or "pass@1".
        values: `[S, E]` float64, one a seed and an episode (or problem).
        details: further arrays and numbers by name; text adds "correct" `[S, P]` and "samples" (n), from which pass@k is computed.
    """

    score: str
    values: np.ndarray
    details: dict = field(default_factory=dict)
