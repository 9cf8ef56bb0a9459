"""The videos of `operant report`, drawn in a process of their own: a drawing library that finds no display may abort its process, or wait for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from operant.cli.children import with_its_parent
from operant.core.errors import BadInput, OperantError

if TYPE_CHECKING:
    from operant.evaluate.records import Run

SECONDS = 300  # that drawing one episode may take
NO_VIDEO = 3  # exit code of the process that draws where it says why there is none


def draw(run: Run, trust: bool, imports: Sequence[str]) -> str:
    """Draw the video of a run that has none yet; why there is still none, empty where it has one now or nothing is to be drawn.

    Args:
        trust: import the code that the run names.
        imports: files to import first.
    """
    from operant.loops.trust import require_trust
    from operant.worlds import SCHEMES

    if run.result is None or run.videos:
        return ""
    scheme = SCHEMES.get(run.task.partition(":")[0])
    if scheme is None or not scheme.load().draws:
        return ""
    try:
        require_trust(run.path, run.manifest, trust)
    except BadInput as error:
        return str(error)
    words = [sys.executable, "-m", "operant.cli.drawing", str(run.path), "trust" if trust else "", *imports]
    try:
        drawn = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS, preexec_fn=with_its_parent()
        )
    except subprocess.TimeoutExpired:
        return f"drawing took more than {SECONDS} s"
    if drawn.returncode in (0, NO_VIDEO):
        return drawn.stdout.strip()
    last = " ".join((drawn.stderr.strip().splitlines() or ["it said nothing"])[-1].split())
    return f"the process that drew ended with {_ending(drawn.returncode)}: {last}"


def _ending(code: int) -> str:
    return f"code {code}" if code >= 0 else signal.Signals(-code).name


def _main(path: str, trust: str, *imports: str) -> int:
    """What the process does."""
    from operant.core.registry import import_file
    from operant.loops.runs import load

    try:
        for file in imports:
            import_file(file)
        if load(path, trust=bool(trust)).draw_video() is None:
            print("its environment draws nothing on this machine")
            return NO_VIDEO
    except OperantError as error:
        print(" ".join(str(error).split()))
        return NO_VIDEO
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
