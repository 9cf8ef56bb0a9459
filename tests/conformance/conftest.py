"""The battery runs on the small cache, with few pairs of answers, and on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from operant.core.flat import Adam
from operant.worlds.text import preferences


@pytest.fixture(autouse=True)
def _small(use_small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test here."""
    monkeypatch.setattr(preferences, "MADE", 64)


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first steps are of full size also where a gradient is all rounding, as of groups that are all wrong: here it takes none there."""
    step = Adam.step

    def taken(self, *given):
        self.eps = 1e-3
        return step(self, *given)

    monkeypatch.setattr(Adam, "step", taken)
