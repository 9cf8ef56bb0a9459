"""Several processes that train one run: started here, ended with this one, and what came of them said in one line."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from operant.cli.children import Children
from operant.core import ranks
from operant.core.commands import command_line, going_on
from operant.core.errors import BadInput, Interrupted, RunFailed

GRACE = 15.0  # seconds in which the others end by themselves when one has
INTERRUPTED = 130  # exit code of one that was asked to end; the first may still write the state


def launches(processes: int | None) -> bool:
    """Whether this process is to start others, of which each does what it was told. Raises `BadInput` where they are started already, and as many others."""
    if ranks.started() > 1 and processes not in (None, ranks.started()):
        raise BadInput(f"--processes {processes}: {ranks.started()} were started with this one (WORLD_SIZE); leave it out")
    return ranks.started() == 1 and (processes or 1) > 1


def launch(words: list[str], processes: int) -> int:
    """Run `operant WORD …` as so many processes that train one run; the exit code of the first of them, which alone writes and prints.

    Raises:
        RunFailed: one of them ended, or did not answer: which, and how the run goes on.
    """
    stopped: dict[str, int] = {}
    with TemporaryDirectory(prefix="operant-ranks-") as folder, Children("") as children:
        common = {"WORLD_SIZE": str(processes), ranks.FOLDER: folder} | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})
        logs = {str(rank): Path(folder, f"{rank}.log") for rank in range(processes)}
        for rank, log in logs.items():
            children.start(rank, words, log if rank != "0" else None, RANK=rank, LOCAL_RANK=rank, **common)
        asked = False
        while True:
            try:
                _wait(children, stopped)
                break
            except Interrupted:  # the first of them says how the run goes on
                asked = True
                children.end()
        for rank, process in children.of.items():
            process.kill()
            stopped.setdefault(rank, ranks.LOST)
        code = stopped.get("0", INTERRUPTED)  # a signal may come before it is noted
        if code < 0 or code == ranks.LOST:
            if asked:  # before there was a run to save
                raise KeyboardInterrupt
            raise RunFailed(_what_happened(stopped, logs, words, Path(folder)))
        return code


def _wait(children: Children, stopped: dict[str, int]) -> None:
    """Wait until all have ended, or `GRACE` behind process 0 or one that did not end well; `stopped` takes their exit codes in that order."""
    until = None
    while children.of and (until is None or time.monotonic() < until):
        for rank, code in children.ended():
            stopped[rank] = code
            if until is None and (rank == "0" or code not in (0, INTERRUPTED)):
                until = time.monotonic() + GRACE
        time.sleep(0.02)


def _what_happened(stopped: dict[str, int], logs: dict[str, Path], words: list[str], folder: Path) -> str:
    """Which process ended the run, and how to go on."""
    rank, code = next(((rank, code) for rank, code in stopped.items() if code not in (0, ranks.LOST)), (list(stopped)[-1], ranks.LOST))
    said = logs[rank].read_text().split("\n") if logs[rank].exists() else []
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    elif code == ranks.LOST:
        how = f"did not answer for {ranks.PATIENCE.seconds // 60} minutes"
    else:
        how = f"failed: {next((line for line in reversed(said) if line.strip()), f'exit code {code}').removeprefix('operant: error: ')}"
    run = folder / ranks.RUN
    again = f"nothing was kept; start again with: {command_line(*words)}"
    if run.exists():
        told = json.loads(run.read_text())
        again = going_on(told["path"], told["config"])
    return f"process {rank} of {len(logs)} {how}, and the run with it; {again}"
