"""What a person may choose of an offline task besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataOptions:
    environment: str | None = None  # Gymnasium id of the environment that the data are from, to evaluate in; none for the one that the data name

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as a run's config keeps them."""
        return {} if self.environment is None else {"environment": self.environment}
