"""What the options of every kind of task have in common. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class TaskOptions:
    """What a person may choose of a task besides its name: the fields of a subclass."""

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as a run's config keeps them."""
        return {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) != item.default}
