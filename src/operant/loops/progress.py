"""Progress of long work on standard error: a live display on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from operant.core.terminal import Screen, note, printable

if TYPE_CHECKING:
    from operant.loops.runner import Listener, Update

LINE_EVERY = 15.0  # seconds between two plain lines where nothing else happens
DRAW_EVERY = 0.1  # seconds between two changes of the live display
SILENCE = 2.0  # seconds that a stage before training may take without a word
KEY_METRICS = 5


def on_terminal() -> bool:
    """Whether standard error is a terminal that can redraw a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


class Pace:
    """How long the rest will take: at the speed at which this process trains, with evaluations (and their checkpoints) as long as its own were.

    The two are told apart: behind a resume the first evaluation comes after a part of the steps that lie between two.
    """

    def __init__(self):
        self.seen: Update | None = None
        self.at = 0.0
        self.steps = self.training = self.evaluating = 0.0
        self.evaluations = 0

    def see(self, update: Update) -> None:
        """Take note of what is reached now."""
        now = time.perf_counter()
        before, passed = self.seen, now - self.at
        self.seen, self.at = update, now
        if before is None or not {before.phase, update.phase} <= {"train", "evaluate"}:  # loading, and reading what a run goes on from
            return
        if before.phase == update.phase == "train":
            self.steps += update.step - before.step
            self.training += passed
        else:
            self.evaluating += passed
            self.evaluations += update.phase == "train"

    def left(self, update: Update) -> str:
        """Time to the last step as `0:45` or `1:02:03`, a dash while it is not known."""
        if not self.steps:
            return "–"
        seconds = (update.total - update.step) * self.training / self.steps
        if self.evaluations and update.every and update.step < update.total:
            seconds += (math.ceil(update.total / update.every) - update.step // update.every) * self.evaluating / self.evaluations
        hours, minutes = divmod(round(seconds) // 60, 60)
        return f"{hours}:{minutes:02}:{round(seconds) % 60:02}" if hours else f"{minutes}:{round(seconds) % 60:02}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def speed_text(speed: float | None) -> str:
    """`12,345 steps/s`, of all seeds and training alone, as everywhere; a dash while it is not known."""
    return "– steps/s" if not speed else f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.2g} steps/s"


class Lines:
    """Plain lines: one after each evaluation, and one every `LINE_EVERY` seconds.

    Args:
        loads: say also what is loaded and checked before the run exists.
    """

    def __init__(self, loads: bool = True):
        self.loads, self.pace = loads, Pace()
        self.last = time.perf_counter()
        self.phase = ""

    def __call__(self, update: Update) -> None:
        if update.phase == "load" and not self.loads:
            return
        if update.message:
            note(update.message)
        self.pace.see(update)
        evaluated = self.phase == "evaluate" and update.phase == "train"
        self.phase = update.phase
        if update.phase != "train":
            return
        timed = time.perf_counter() - self.last >= LINE_EVERY and update.step < update.total  # behind the last step comes an evaluation
        if evaluated or timed:
            self.last = time.perf_counter()
            score = f", {update.score[0]} {update.score[1]:.4g}" if update.score else ""
            share = 100 * update.step / max(update.total, 1)
            unit = "step" if update.unit == "steps" else update.unit
            note(f"{unit} {update.step:,} of {update.total:,} ({share:.0f} %), {speed_text(update.speed)}{score}, {self.pace.left(update)} left")


class Live:
    """The live display: a bar with phase, steps, speed and time left, and under it the newest score and a few metrics (means over the seeds)."""

    def __init__(self, title: str):
        from rich.console import Console, Group
        from rich.live import Live as RichLive
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.text import Text

        self.console = Console(file=Screen())
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[words]}"))
        self.progress = Progress(*columns, console=self.console)
        self.bar = self.progress.add_task(title, total=None, words="")
        self.metrics = Text("", style="dim", no_wrap=True, overflow="ellipsis")
        self.live = RichLive(Group(self.progress, self.metrics), console=self.console, refresh_per_second=5, transient=True)
        self.title, self.pace, self.drawn, self.phase, self.names = title, Pace(), 0.0, "", ""

    def __call__(self, update: Update) -> None:
        if update.message:
            self.console.print(printable(update.message), markup=False, highlight=False)
        self.pace.see(update)
        if update.metrics:
            shown = list(update.metrics.items())[:KEY_METRICS]
            self.names = "   ".join(f"{name} {_mean(values):.4g}" for name, values in shown)
        now = time.perf_counter()
        if update.phase == self.phase and now - self.drawn < DRAW_EVERY and update.step < update.total:
            return
        self.drawn, self.phase = now, update.phase
        words = f"{update.step:,} of {update.total:,}   {speed_text(update.speed)}   {self.pace.left(update)} left"
        self.progress.update(self.bar, description=f"{self.title}: {update.phase}", completed=update.step, total=update.total, words=words)
        score = f"{update.score[0]} {update.score[1]:.4g}   " if update.score else ""
        self.metrics.plain = score + self.names


@contextmanager
def showing(title: str, progress: bool, listener: Listener | None) -> Iterator[Listener | None]:
    """The listener of a training: the one that was given, else a display where progress is wanted."""
    if listener is not None or not progress:
        yield listener
        return
    with training(title) as display:
        yield display


@contextmanager
def training(title: str, loads: bool = True) -> Iterator[Listener]:
    """A listener for `operant.train` and `operant.resume`.

    Args:
        loads: where lines are written, say also what is loaded and checked before the run exists.
    """
    if not on_terminal():
        yield Lines(loads)
        return
    display = Live(title)
    with display.live:
        yield display


@contextmanager
def stages(say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A callable that is told what is begun, and tells it on once that has taken `SILENCE`: what is done at once, or refused, is not announced."""
    timer: list[threading.Timer] = []

    def end() -> None:
        while timer:
            timer.pop().cancel()

    def begin(line: str) -> None:
        end()
        if SILENCE <= 0:
            say(line)
            return
        timer.append(threading.Timer(SILENCE, say, (line,)))
        timer[0].daemon = True
        timer[0].start()

    try:
        yield begin
    finally:
        end()


@contextmanager
def counting(title: str, unit: str):
    """A callable (done, total) for work that is counted: a bar on a terminal, a line each tenth elsewhere."""
    if on_terminal():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=Screen()), transient=True) as progress:
            bar = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
        return
    said = 0

    def line(done: int, total: int) -> None:
        nonlocal said
        if 10 * done // total > said:
            said = 10 * done // total
            note(f"{title}: {done:,} of {total:,} {unit}")

    yield line


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """A spinner on a terminal, elsewhere a line once it has taken `SILENCE`, for work that does not say how far it is."""
    if on_terminal():
        from rich.console import Console

        with Console(file=Screen()).status(title):
            yield
    else:
        with stages(note) as begin:
            begin(title)
            yield
