"""The battery runs on the small cache and on one thread."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _small(use_small_cache: Path) -> None:
    """For every test here."""
