"""OGBench's JAX agents. They are only in its source distribution: it is downloaded once, checked against its hash, and unpacked into the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from operant.core.cache import cache_directory
from operant.core.errors import RunFailed

VERSION = "1.2.2"
SHA256 = "5b02c0667889c4fe669a777bd44ddd3403565f4b980dc4a349ba3cdf2ea2d06b"


def agents_directory() -> Path:
    """The directory that holds OGBench's packages `agents` and `utils`; put it on `sys.path` to import them.

    Raises:
        RunFailed: the download failed, or the file is not the one that this module knows.
    """
    target = cache_directory() / "bench" / f"ogbench-{VERSION}"
    if (target / "impls").is_dir():
        return target / "impls"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", directory, f"ogbench=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(directory).glob("*.tar.gz"))
        if done.returncode or not archives:
            reason = (done.stderr.strip() or "no archive").splitlines()[-1]
            raise RunFailed(f"the source of ogbench {VERSION} could not be downloaded by pip: {reason}")
        unpack(archives[0], SHA256, target)
    return target / "impls"


def unpack(archive: Path, sha256: str, target: Path) -> None:
    """Unpack the `impls` directory of a source distribution to `target/impls`, whole or not at all.

    Raises:
        RunFailed: the archive's SHA-256 is another one.
    """
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise RunFailed(f"{archive.name} has the SHA-256 {found}, expected {sha256}: not unpacked")
    with tempfile.TemporaryDirectory(dir=target.parent) as directory, tarfile.open(archive) as opened:
        opened.extractall(directory, [member for member in opened.getmembers() if "/impls/" in member.name], filter="data")
        (unpacked,) = Path(directory).iterdir()
        try:
            os.replace(unpacked, target)
        except OSError:
            if not (target / "impls").is_dir():  # else another process was first, with the same bytes
                raise
