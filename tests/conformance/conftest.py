"""The battery runs on the small cache, with few pairs of answers, and on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from operant.worlds.text import preferences


@pytest.fixture(autouse=True)
def _small(use_small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every test here."""
    monkeypatch.setattr(preferences, "MADE", 64)
