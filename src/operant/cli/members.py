"""Members: many processes of `operant` at a time, of a comparison, the seeds of a training, a search, claims; and the two places where they may run.

A place is this machine (`Here`) or a cluster (`cluster.Cluster`). It runs whole command lines, so that a member is in both what a person would
have started, and has the same bits.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from abc import abstractmethod
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from operant.cli.children import Children, Ending
from operant.cli.output import table
from operant.cli.parser import Parser, whole
from operant.core.commands import command_line
from operant.core.errors import BadInput, RunFailed
from operant.core.files import disk_fault, given_path
from operant.core.terminal import note

OWN_CODES = (0, 1, 2)  # exit codes that a member gives itself: done, failed, refused; any other was given to it
TABLE_EVERY = 60.0  # seconds between two tables where nothing can be redrawn
SHOWN = 20  # members of a table
CLUSTERS = "auto (RAY_ADDRESS, or the one of this machine), local (one for this command alone), ray://HOST:PORT or HOST:PORT"
PLACE_OPTIONS = ("jobs", "cluster", "cpus", "gpus")


def out_folder(given: str | None, name: str) -> Path:
    """The folder of `--out`, or a new one of that name beneath "runs"; absolute, for an environment may change the working directory."""
    made = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    return (made if given is None else given_path(given, "--out")).absolute()


@dataclass(frozen=True)
class Member:
    """One process of `operant` of several.

    Attributes:
        key: what it is called.
        out: the folder that it writes, a run's where it trains one.
        begin: the words that begin it, to which `--out OUT` is added.
        imports: files that they import.
        config: of the run, as `configure_run` makes it; empty where it trains none.
        files: what of this machine it reads besides what its command names: data sets and models of the cache.
    """

    key: str
    out: Path
    begin: tuple[str, ...]
    imports: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        """What it says, beside what it writes."""
        return self.out.with_name(f"{self.out.name}.log")

    def words(self, out: Path | None = None) -> list[str]:
        """The command that begins it, or that goes on with what is there of it; to another folder where one is given."""
        out = self.out if out is None else out
        brought = [word for file in self.imports for word in ("--import", file)]
        if (out / "run.json").exists():
            return ["resume", str(out), "--trust", *brought]
        return [*self.begin, *brought, "--out", str(out)]


class Place(Ending):
    """Where members run. Leaving the block ends those that are left, as `Ending` says.

    Attributes:
        going: the members that were started and have not ended.
    """

    def __init__(self, interrupted: str):
        super().__init__(interrupted)
        self.going: dict[str, Member] = {}
        self._at_once = False

    def check(self, member: Member) -> None:
        """Look, before anything is written, at what a member needs. Raises `BadInput` where it is not to be had."""
        return

    @abstractmethod
    def start(self, member: Member) -> None:
        """Start a member."""

    @abstractmethod
    def ended(self) -> Iterator[tuple[Member, int]]:
        """(member, exit code) of each that ended since."""

    @abstractmethod
    def stop(self, member: Member) -> None:
        """End a member as SIGTERM would: at its next iteration, its state saved; at once where it is told twice. `ended` tells of it."""

    def where(self, member: Member) -> str:
        """In a word or two, where a member is."""
        return "here"

    def end(self) -> None:
        for member in self.going.values():
            self.stop(member)

    def again(self) -> None:
        self._at_once = True  # a place may be in the midst of something

    def wait(self) -> None:
        told = False
        while self.going:
            if self._at_once and not told:
                told = True
                self.end()
            for _ in self.ended():
                pass
            time.sleep(0.05)


class Here(Place):
    """This machine."""

    def __init__(self, interrupted: str):
        super().__init__(interrupted)
        self._children = Children(interrupted)

    def start(self, member: Member) -> None:
        self._children.start(member.key, member.words(), member.log)
        self.going[member.key] = member

    def ended(self) -> Iterator[tuple[Member, int]]:
        for key, member in list(self.going.items()):
            if (code := self._children.of[key].poll()) is not None:
                del self.going[key]
                yield member, code

    def stop(self, member: Member) -> None:
        self._children.of[member.key].send_signal(signal.SIGTERM)


def last_line(log: Path, most: int = 4096) -> str:
    """The last line that a log has; empty where it has none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def run_members(place: Place, members: Sequence[Member], at_once: int | None) -> None:
    """Run members to their end, some at a time.

    Raises:
        RunFailed: some failed; the first of them, and how many.
        Interrupted: a signal; their states are saved.
    """
    failed = list(finish(place, members, at_once).values())
    if failed:
        more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
        rest = f"; the others ({len(members) - len(failed)}) are done, and the same command goes on with what failed" if len(members) > len(failed) else ""
        raise RunFailed(failed[0] + more + rest)


def finish(
    place: Place,
    members: Sequence[Member],
    at_once: int | None,
    unworthy: Callable[[Member], bool] = lambda member: False,
    done: Callable[[Member], None] = lambda member: None,
) -> dict[str, str]:
    """Run members, some at a time, all of them to their end whatever comes of the others; why those failed that did, by key.

    Args:
        at_once: how many; None for all that the place takes.
        unworthy: a member that is not worth its end, which is ended. It is asked now and then.
        done: called with each that ended well, as it does.

    Raises:
        BadInput: of a member before any is begun.
        Interrupted: a signal; their states are saved.
    """
    for member in members:
        place.check(member)
    left, failed, ended, ending = list(members), {}, 0, set()
    with place, _shown(members) as show:
        while left or place.going:
            while left and (at_once is None or len(place.going) < at_once):
                member = left.pop(0)
                try:
                    member.out.parent.mkdir(parents=True, exist_ok=True)
                    member.log.touch()
                except OSError as error:
                    raise RunFailed(f"{member.log} could not be written: {disk_fault(error) or error.strerror}") from error
                place.start(member)
                note(f"{member.key}: begun, log in {member.log}")
            for member, code in place.ended():
                ended += 1
                if code and member.key not in ending:
                    said = last_line(member.log).removeprefix("operant: error: ") or "it said nothing"
                    failed[member.key] = f"{member.key} ended with code {code}: {said}; the log is {member.log}"
                    note(failed[member.key])
                else:
                    note(f"{member.key}: done")
                    if not code:
                        done(member)
            for member in list(place.going.values()):
                if member.key not in ending and unworthy(member):
                    ending.add(member.key)
                    place.stop(member)
            show(place, ended, len(left))
            time.sleep(0.2)
    return failed


@contextmanager
def _shown(members: Sequence[Member]) -> Iterator[Callable[[Place, int, int], None]]:
    """A callable that shows how members stand: a table that is redrawn on a terminal, a table now and then elsewhere."""
    from operant.loops.progress import on_terminal

    last = time.monotonic()

    def rows(place: Place) -> list[tuple[str, str, str]]:
        return [(member.key, place.where(member), last_line(member.log)) for member in list(place.going.values())[:SHOWN]]

    def summary(place: Place, done: int, left: int) -> str:
        return f"{done} of {len(members)} done, {len(place.going)} at work" + (f", {left} to come" if left else "")

    if not on_terminal():

        def told(place: Place, done: int, left: int) -> None:
            nonlocal last
            if place.going and time.monotonic() - last >= TABLE_EVERY:
                last = time.monotonic()
                note(f"{summary(place, done, left)}\n{table(rows(place), ('member', 'where', 'said last'))}")

        yield told
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from operant.core.terminal import Screen, printable

    console = Console(file=Screen())
    with Live(Text(""), console=console, refresh_per_second=4, transient=True) as live:

        def drawn(place: Place, done: int, left: int) -> None:
            grid = Table("member", "where", "said last", box=None, padding=(0, 2, 0, 0))
            for row in rows(place):
                grid.add_row(*(Text(printable(cell), no_wrap=True, overflow="ellipsis") for cell in row))
            live.update(Group(grid, Text(summary(place, done, left), style="dim")))

        yield drawn


def add_place_options(parser: Parser, when: str, what: str, default: str = "1; on a cluster as many as it takes", besides: str = "") -> None:
    """The options that say where members run: `PLACE_OPTIONS`.

    Args:
        when: begins each help.
        what: runs side by side ("runs").
        default: how many, where nothing is said.
        besides: what else of a member takes processors.
    """
    parser.add_argument("--jobs", type=whole(1), metavar="N", help=f"{when}{what} at a time, a process each (default {default})")
    parser.add_argument("--cluster", metavar="ADDRESS", help=f"{when}on a Ray cluster, a task each: {CLUSTERS}")
    parser.add_argument("--cpus", type=_share, metavar="N", help=f"{when}with --cluster: processors of a task (default: --threads{besides})")
    parser.add_argument("--gpus", type=_share, metavar="N", help=f"{when}with --cluster: GPUs of a task, or a part of one (default 0)")


def _share(text: str) -> float:
    """A number of processors or GPUs: whole, or a part of one."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0 and (value == int(value) or value < 1)):
        raise ArgumentTypeError(f"{text!r} is no number of them; it must be whole, or a part of one as in 0.5")
    return value


def wanted(args: Namespace) -> bool:
    """Whether members are to run in processes of their own. Raises `BadInput` for options that need a cluster."""
    if args.cluster is None and (given := next((name for name in ("cpus", "gpus") if getattr(args, name) is not None), None)) is not None:
        raise BadInput(f"--{given} goes with --cluster: what runs on this machine takes what is there")
    if args.cluster is not None and getattr(args, "sample_on", None) is not None:
        raise BadInput("--sample-on: the workers of a member are on its node: leave it out")
    return args.cluster is not None or args.jobs not in (None, 1)


@contextmanager
def opened(args: Namespace, folder: Path | None, kept: str = "each run's state saved") -> Iterator[Place]:
    """The place that the options name, looked at before anything is written.

    Args:
        folder: of all members, which the command that goes on names; None where it is the same command.
        kept: what an interruption leaves.

    Raises:
        BadInput: no such cluster, none that a member fits on, or one whose versions are others.
    """
    words = [*args.words, *([] if folder is None or any(word.partition("=")[0] == "--out" for word in args.words) else ["--out", str(folder)])]
    interrupted = f"interrupted, {kept}; go on with: {command_line(*words)}"
    if args.cluster is None:
        yield Here(interrupted)
        return
    from operant.cli.cluster import Cluster, connected

    beside = getattr(args, "sample_workers", None) or 0
    cpus = args.cpus if args.cpus is not None else (getattr(args, "threads", None) or 1) + beside
    gpus = args.gpus or 0
    if getattr(args, "device", None) == "cuda" and not gpus:
        raise BadInput("--device cuda: a task of a cluster sees the GPUs that it asks for; give --gpus 1")
    with connected(args.cluster, cpus, gpus):
        yield Cluster(interrupted, cpus, gpus)


def checked_here(args: Namespace, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's options, those that are looked at before its process begins: a device is that of the node where it trains."""
    return {name: value for name, value in given.items() if name not in ("keep", "track", *(("device",) if args.cluster is not None else ()))}


def training_member(key: str, out: Path, method: str, configured: tuple[dict[str, Any], Any, Any], given: Mapping[str, Any], own: Mapping[str, str]) -> Member:
    """The member that trains a run.

    Args:
        configured: of `configure_run`.
        given: options of the run, by name.
        own: hyper-parameters and options of the task as they were typed, by their names, with their owners where these are needed.
    """
    from operant.cli.training import option
    from operant.core.registry import imported_files
    from operant.loops.base_policy import ensure_models
    from operant.worlds import TASK

    config, world, spine = configured
    ensure_models(world, spine, note)  # what they share is made once, and here
    placed, given = config.get("options", {}), {"threads": 1} | dict(given)  # they share the cores
    words = ["train", method, f"--task={config['task']}"]
    for name, value in given.items():
        words += [f"--track={each}" for each in value] if name == "track" else [f"{option(name)}={value}"]
    for name, value in own.items():
        found = placed.get(name.removeprefix(f"{TASK}."))
        words.append(f"{option(name)}={found if isinstance(found, str) else value}")  # folders by their absolute names
    return Member(key, out, tuple(words), tuple(imported_files()), config, tuple(world.files))


def unfinished(folder: Path, configs: Mapping[str, dict[str, Any]]) -> list[str]:
    """Of the runs that are wanted in a folder, those that are not finished there.

    Args:
        configs: by the name of their directories.

    Raises:
        BadInput: the folder is a run, or one of its runs is another than what is wanted.
    """
    from operant.loops.runs import load

    if (folder / "run.json").exists():
        raise BadInput(f"--out {folder} is a run: choose another folder")
    waiting = []
    for key, config in configs.items():
        if (folder / key / "run.json").exists():
            found = load(folder / key)
            wants = json.loads(json.dumps(config))
            names = ("method", "task", "seeds", "seed", "budget", "hyperparameters", "options", "staleness", "truncate_importance")
            if differs := [name for name in names if found.config.get(name) != wants.get(name)]:
                instead = "choose another --out, or compare what is there by naming the directories"
                raise BadInput(f"{folder / key} holds a run with another value of {differs[0]}: {instead}")
            if found.result is not None:
                note(f"{key}: finished before, in {folder / key}")
                continue
        waiting.append(key)
    return waiting
