"""The battery runs on the small cache and on one thread."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _small(small_cache):
    return small_cache
