"""Terms that follow a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from operant import ops
from operant.loops.terms import TermBatch


@dataclass(frozen=True)
class KLToTeacher:
    """A coefficient times an estimate of KL(policy ‖ teacher) at each step of the policy's own answers (KDRL, arXiv:2506.02208).

    Args:
        start, end: the coefficient at the beginning and at the end of training; linear between them.
        estimator: "k1", "k2" or "k3", as of `KLToReference`.
        wrong_only: only answers whose score is at most 0.5.
    """

    start: float
    end: float
    estimator: Literal["k1", "k2", "k3"] = "k2"
    wrong_only: bool = False
    name: ClassVar[str] = "teacher_kl"
    needs: ClassVar[frozenset[str]] = frozenset({"teacher_log_prob", "score"})

    def __call__(self, batch: TermBatch) -> Tensor:
        coefficient = self.start + (self.end - self.start) * batch.progress
        estimate = {"k1": ops.kl_k1, "k2": ops.kl_k2, "k3": ops.kl_k3}[self.estimator](batch.log_prob, batch.teacher_log_prob)
        return coefficient * (estimate * (batch.score <= 0.5).unsqueeze(-1) if self.wrong_only else estimate)
