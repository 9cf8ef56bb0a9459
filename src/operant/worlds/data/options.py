"""What a person may choose of an offline task besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass

from operant.worlds.gym.options import EnvironmentOptions


@dataclass(frozen=True)
class DataOptions(EnvironmentOptions):
    environment: str | None = None  # Gymnasium id of the environment that the data are from, to evaluate in; none for the one that the data name
