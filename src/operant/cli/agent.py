"""What runs on a node of a cluster: one member, as the process of `operant` that it would be anywhere, and a view of its run for whoever started it.

Where the node sees the driver's storage, the member writes its run where the driver has it. Elsewhere it works in a folder of its own, in which files of the
driver's machine stand under their whole names, and the driver fetches what the run has become. Nothing here imports PyTorch: that is the member's affair.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from operant.cli.members import Member
from operant.core.cluster import NUMERICS, difference, versions

CHUNK = 32 * 2**20  # bytes that travel at a time
LOCKED = 150.0  # seconds that whoever wrote the run before may take to let go of it: a file server notices a dead host after a minute or two
LOOK = 1.0  # seconds that a look at a member waits for news
AGAIN = 5  # tries at a picture of a run that is being written
PLACED = re.compile(r"[^\s\"':=]*/operant-member-[0-9a-z_]+/root(?=/)")  # before the name of a file in a member's own folder


def digest(path: Path) -> str | None:
    """The SHA-256 of a file; None where it cannot be read."""
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                total.update(block)
    except OSError:
        return None
    return total.hexdigest()


def from_home(text: str) -> str:
    """A text of a run with the names of files as they are on the driver's machine."""
    return PLACED.sub("", text)


def newest(run: Path) -> str:
    """The name of a run's newest checkpoint; empty where it has none."""
    return max((path.name for path in (run / "checkpoints").glob("step-*")), default="")


class Agent:
    """One member on a node: an actor of Ray, several of whose methods run at a time."""

    def __init__(self):
        self._home: Path | None = None  # a folder of its own
        self._process: subprocess.Popen | None = None
        self._pinned: Path | None = None
        self._stopped: int | None = None
        self._moved: set[str] = set()
        self._guard = threading.Lock()

    def arrive(self, order: dict[str, Any]) -> dict[str, Any]:
        """See what is here.

        Args:
            order: "member"; "versions" of the driver; "token", a file of the driver's in the folder above the member's, and what it says; "reads", {file or
                folder that the member reads: [(name of a file, size, digest)]}; "cache" and "here", the driver's folders; "paths" where modules are found;
                "numerics", variables that decide on bits.

        Returns:
            {"host", "shared" (the driver sees what the member writes), "missing" (of what it reads)}, or {"refused": a line}.
        """
        self._order, self._member = order, order["member"]
        host = socket.gethostname()
        if (line := difference(order["versions"], versions(), host)) is not None:
            return {"refused": line}
        path, said = order["token"]
        try:
            self._shared = Path(path).read_text() == said
        except (OSError, UnicodeDecodeError):
            self._shared = False
        return {"host": host, "shared": self._shared, "missing": self._missing(order)}

    def begin(self, reads: dict[str, list[tuple]], run: list[tuple]) -> dict[str, Any]:
        """Start the member, or go on with it.

        Args:
            reads: what was missing, {file or folder: [(name, parts)]}.
            run: what was brought back of it before, such files; empty where storage is shared.

        Returns:
            {}, or {"refused": a line}.
        """
        member = self._member
        try:
            self._settle()
            for root, files in reads.items():
                for name, parts in files:
                    self._place(name, parts)
                self._moved.add(root)
            self._run = member.out if self._shared else Path(self._at(str(member.out)))
            self._run.parent.mkdir(parents=True, exist_ok=True)
            if not self._shared:
                for name, parts in run:
                    self._place(name, parts)
                self._moved.add(str(member.out))
            if not self._free():
                return {"refused": f"{self._run} is still being written by another process, {LOCKED:.0f} s after its node was lost"}
            self._rewrite(lambda text: self._named(from_home(text)))
            here = Path(self._order["here"])
            if not here.is_dir() or any(Path(name).is_relative_to(here) for name in self._moved):  # what is here under those names is something else
                here = Path(self._at(str(here)))
                here.mkdir(parents=True, exist_ok=True)
            moved = Member(member.key, self._run, tuple(map(self._named, member.begin)), tuple(map(self._named, member.imports)))
            with self._guard, self._log.open("w") as file:
                if self._stopped is None:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "operant.cli.children", *moved.words()],
                        stdin=subprocess.DEVNULL,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        cwd=here,
                        env=self._environment(),
                    )
        except OSError as error:
            return {"refused": f"node {socket.gethostname()} cannot hold the member {member.key}: {error.strerror} ({error.filename})"}
        return {}

    def _settle(self) -> None:
        """Take a folder of its own, and remove those of agents that were killed here."""
        for left in Path(tempfile.gettempdir()).glob("operant-member-*"):
            try:
                with (left / "held").open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
            except OSError:  # it is held, or another person's, or just being made
                continue
        made = Path(tempfile.mkdtemp(prefix="operant-making-"))
        self._holds = (made / "held").open("wb")
        fcntl.flock(self._holds, fcntl.LOCK_EX)
        self._home = made.rename(made.with_name(made.name.replace("making", "member", 1)))  # held by the time that others see it

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _missing(self, order: dict[str, Any]) -> list[str]:
        """What of all that the member reads is not here under its name; of the cache all where one is missing."""

        def here(name: str, size: int, wanted: str) -> bool:
            return os.path.isfile(name) and os.path.getsize(name) == size and digest(Path(name)) == wanted

        missing = {root for root, files in order["reads"].items() if not all(here(*file) for file in files)}
        cached = self._cached()
        return sorted(missing | cached if cached & missing else missing)

    def _cached(self) -> set[str]:
        return {root for root in self._order["reads"] if Path(root).is_relative_to(self._order["cache"])}

    def _at(self, name: str) -> str:
        """The place in the own folder of a file of the driver's."""
        return f"{self._home}/root{name}"

    def _place(self, name: str, parts: list) -> None:
        import ray

        path = Path(self._at(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for part in parts:
                file.write(ray.get(part))

    def _named(self, text: str) -> str:
        """A word, or a text of run.json, with files under the names that they have here."""
        for name in sorted(self._moved, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/.~-]){re.escape(name)}(?![\w.~-])", lambda found: self._at(found[0]), text)
        return text

    def _rewrite(self, named: Callable[[str], str]) -> None:
        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                return {named(key): walk(item) for key, item in value.items()}
            return [walk(item) for item in value] if isinstance(value, list) else named(value) if isinstance(value, str) else value

        for file in ("run.json", "result.json"):
            path = self._run / file
            if path.is_file() and (changed := walk(json.loads(path.read_text()))) != json.loads(path.read_text()):
                fresh = path.with_name(f".{file}.{os.getpid()}")
                fresh.write_text(json.dumps(changed, indent=1))
                os.replace(fresh, path)

    def _free(self) -> bool:
        """Wait until nobody writes the run: what a node that was lost left running ends, and saves, by itself."""
        until = time.monotonic() + LOCKED
        while time.monotonic() < until and self._stopped is None:
            try:
                with (self._run / "lock").open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
            except FileNotFoundError:
                return True
            except OSError:
                time.sleep(0.2)
        return self._stopped is not None

    def _environment(self) -> dict[str, str]:
        order = self._order
        kept = {name: value for name, value in os.environ.items() if name not in NUMERICS}
        moved = [self._at(path) for path in order["paths"] if any(name.startswith(f"{path}/") for name in self._moved)]
        kept["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), *moved, *order["paths"]])
        if cached := self._cached():
            kept["OPERANT_CACHE"] = self._at(order["cache"]) if cached & self._moved else order["cache"]
        return kept | order["numerics"]

    def look(self, said: int) -> dict[str, Any]:
        """How the member stands, after a moment.

        Args:
            said: how much of its log is known, in bytes.

        Returns:
            {"at": `said`, "said": what it said since, "bytes" of that, "code": its exit code (None while it works), "stands": a text that changes where there
            is something to fetch}.
        """
        until = time.monotonic() + LOOK
        while True:
            code = self._code()
            with self._log.open("rb") as file:
                file.seek(said)
                fresh = file.read(CHUNK)
            if fresh or code is not None or time.monotonic() >= until:
                break
            time.sleep(0.05)
        if code is not None:
            self._rewrite(from_home)
        seen = self._run / "evaluations.jsonl"
        stands = f"{newest(self._run)} {seen.stat().st_size if seen.is_file() else 0} {(self._run / 'result.json').is_file()} {code}"
        return {"at": said, "said": from_home(fresh.decode(errors="replace")), "bytes": len(fresh), "code": code, "stands": stands}

    def _code(self) -> int | None:
        if self._process is None:
            return self._stopped
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def stop(self) -> None:
        """End the member at its next iteration, its state saved; at once where it is told twice."""
        with self._guard:
            self._stopped = 130
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def picture(self) -> list[tuple[str, str, int]]:
        """Keep what the run is now, whatever is written meanwhile: (name in the run, what tells its content, size) of each file.

        What it holds can be gone on with: the newest checkpoint is taken first, and logs are no shorter than it remembers.
        """
        for _ in range(AGAIN):
            pinned = Path(tempfile.mkdtemp(prefix="picture-", dir=self._home))
            try:
                last = newest(self._run)
                files = [f"checkpoints/{last}/{path.name}" for path in (self._run / "checkpoints" / last).iterdir()] if last else []
                for name in files:
                    self._pin(name, pinned)
                others = list(self._others())
                for name in others:
                    self._pin(name, pinned)
                break
            except FileNotFoundError:
                shutil.rmtree(pinned, ignore_errors=True)
                time.sleep(0.05)
        else:
            return []
        if self._pinned is not None:
            shutil.rmtree(self._pinned, ignore_errors=True)
        self._pinned = pinned
        return [(name, self._mark(pinned / name), (pinned / name).stat().st_size) for name in (*files, *others)]

    def _others(self) -> Iterator[str]:
        for folder, inner, names in os.walk(self._run):
            at = os.path.relpath(folder, self._run)
            inner[:] = [name for name in inner if not name.startswith(".") and not (at == "." and name == "checkpoints")]
            yield from (os.path.normpath(os.path.join(at, name)) for name in names if not name.startswith(".") and not (at == "." and name == "lock"))

    def _pin(self, name: str, pinned: Path) -> None:
        target = pinned / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith((".jsonl", ".json")):  # written in place, or named anew
            content = (self._run / name).read_bytes()
            content = content[: content.rfind(b"\n") + 1] if name.endswith(".jsonl") else content
            if name in ("run.json", "result.json"):
                content = from_home(content.decode()).encode()
            target.write_bytes(content)
        else:
            os.link(self._run / name, target)

    @staticmethod
    def _mark(path: Path) -> str:
        """What tells a file's content: of text itself, of what is written once where it lies (so that a block of several checkpoints is one)."""
        found = path.stat()
        return digest(path) if path.suffix in (".jsonl", ".json") else f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"

    def read(self, name: str, at: int) -> bytes:
        """A part of a file of the last picture."""
        with (self._pinned / name).open("rb") as file:
            file.seek(at)
            return file.read(CHUNK)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
