"""What a person may choose of an environment besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operant.core.registry import Count
from operant.worlds.options import TaskOptions


@dataclass(frozen=True)
class GymOptions(TaskOptions):
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the wide products in updates, by value learning; what is trained and what acts stays in float32
    max_evaluation_steps: Count = 10_000  # most steps of an evaluation episode; one that goes on is cut, counts as it stands, and is told
