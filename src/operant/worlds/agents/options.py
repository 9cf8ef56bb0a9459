"""What a person may choose of a game besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import Count
from operant.worlds.options import TaskOptions


@dataclass(frozen=True)
class AgentOptions(TaskOptions):
    max_evaluation_steps: Count = 10_000  # most steps of an evaluation episode; one that goes on is cut, counts as it stands, and is told
