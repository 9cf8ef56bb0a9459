"""Where Operant keeps what it can make again: generated data sets, warmed-up base policies."""

from __future__ import annotations

import os
from pathlib import Path

from operant.core.errors import BadInput


def cache_directory() -> Path:
    """The cache directory: the environment variable OPERANT_CACHE, or `~/.cache/operant`. Made if it is not there.

    Raises:
        BadInput: the directory cannot be made.
    """
    chosen = os.environ.get("OPERANT_CACHE")
    path = Path(os.path.expanduser(chosen)) if chosen else Path.home() / ".cache" / "operant"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make the cache directory {path}: {error.strerror}; set OPERANT_CACHE to a directory that can be written") from error
    return path.absolute()
