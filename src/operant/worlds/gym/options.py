"""What a person may choose of an environment besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from operant.core.registry import Count


@dataclass(frozen=True)
class GymOptions:
    max_evaluation_steps: Count = 10_000  # most steps of an evaluation episode; one that goes on is cut, counts as it stands, and is told

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as a run's config keeps them."""
        return {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) != item.default}
