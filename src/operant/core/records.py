"""The records that pass between the steps of the loops.

Every tensor has the axes `[S, N, T, …]`: S seeds (1 where seeds are not stacked), N rows (environments, or completions), T steps (time steps, tokens, denoising
steps). Rows shorter than T are padded; `mask` says which steps the policy chose, and nothing else enters a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from operant.core.status import Status as Status


@dataclass
class Rollout:
    """What a policy did, and what came of it.

    Attributes:
        inputs: what `policy.replay` needs to see, by name, `[S, N, T, …]` (observations) or `[S, N, L]` (token rows, L = prompt + T), and of
            a policy that remembers its `carry [S, N, C]` before the first step and `begins [S, N, T]`, where episodes begin behind that.
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
        progress: share of training that is done, 0 to 1, for what changes along a run.
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
    progress: float = 0.0

    @classmethod
    def of(cls, tensors: dict[str, Tensor], version: int) -> Rollout:
        """A record of tensors that are named as `tensors()` names them."""
        nothing = dict.fromkeys(("action", "log_prob", "mask", "reward", "terminated", "truncated", "group", "status"))
        return cls({}, version=version, **nothing).with_tensors(tensors)

    @property
    def shape(self) -> torch.Size:
        """(S, N, T)."""
        return self.mask.shape

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the record by name, inputs under `inputs.NAME` and extras under their own."""
        own = {name: getattr(self, name) for name in _OWN if getattr(self, name) is not None}
        return own | {f"inputs.{name}": value for name, value in self.inputs.items()} | self.extras

    def with_tensors(self, tensors: dict[str, Tensor]) -> Rollout:
        """The same record with other tensors, named as `tensors()` names them."""
        own = {name: value for name, value in tensors.items() if name in _OWN}
        inputs = {name.removeprefix("inputs."): value for name, value in tensors.items() if name.startswith("inputs.")}
        extras = {name: value for name, value in tensors.items() if name not in _OWN and not name.startswith("inputs.")}
        return replace(self, **own, inputs=inputs, extras=extras)

    def take(self, rows: Tensor) -> Rollout:
        """The record of some rows, in the order of `rows [n]`. A parent that is not among them becomes -1."""
        taken = self.with_tensors({name: value[:, rows] for name, value in self.tensors().items()})
        if self.parent is not None:
            place = torch.full((self.shape[1] + 1,), -1, device=rows.device)
            place[rows] = torch.arange(len(rows), device=rows.device)
            taken.parent = place[taken.parent]  # index -1 is the last, which stays -1
        return taken


def join_rollouts(rollouts: Sequence[Rollout]) -> Rollout:
    """Rows of several rollouts in one, padded to the longest; the version is that of the first, the oldest. Parents go on pointing at their rows."""
    if len(rollouts) == 1:
        return rollouts[0]
    tables = [rollout.tensors() for rollout in rollouts]
    names = {name: None for table in tables for name in table}
    offset = 0
    for rollout, table in zip(rollouts, tables, strict=True):
        if "parent" in names:
            parent = table.get("parent", torch.full_like(rollout.group, -1))
            table["parent"] = torch.where(parent >= 0, parent + offset, -1)
            table.setdefault("branch_at", torch.zeros_like(rollout.group))
        for name in names:
            if name not in table:  # a plan's rounds may differ in which extras they have (given rows, behaviour log-probabilities)
                kind = next(other[name] for other in tables if name in other)
                fill = rollout.log_prob if name == "behaviour_log_prob" else kind.new_zeros(*rollout.shape[:2], *kind.shape[2:])
                table[name] = fill
        offset += rollout.shape[1]

    def joined(name: str) -> Tensor:
        parts = [table[name] for table in tables]
        if parts[0].ndim > 2:
            longest = max(part.shape[2] for part in parts)
            parts = [torch.nn.functional.pad(part, (*[0, 0] * (part.ndim - 3), 0, longest - part.shape[2])) for part in parts]
        return torch.cat(parts, 1)

    return rollouts[0].with_tensors({name: joined(name) for name in names})


_OWN = ("action", "log_prob", "mask", "reward", "terminated", "truncated", "group", "status", "parent", "branch_at")


@dataclass
class Evaluation:
    """What fresh episodes or held-out problems said of the policies.

    Attributes:
        score: name of the score: "return", "success", "pass@1" or "value".
        values: `[S, E]` float64, one a seed and an episode (or problem).
        details: further arrays and numbers by name; text adds "correct" `[S, P]` and "samples" (n), from which pass@k is computed, and
            where answers could not be scored "unscored" `[S, P]` and "fault" `[S]`, the first message.
        measures: what a person wants to see beside the score, `[S]` float64 by name.
    """

    score: str
    values: np.ndarray
    details: dict = field(default_factory=dict)
    measures: dict[str, np.ndarray] = field(default_factory=dict)
