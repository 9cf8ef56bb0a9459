"""What the commands print: results and tables on standard output, notes on standard error, JSON for machines.

A reader that goes away (`operant methods | head -1`) is no error: `ReaderGone` ends the command in silence.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from operant.core.terminal import discard, printable


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


def write(text: str) -> None:
    """Print text on standard output, `printable`. Raises `ReaderGone` where its reader, a pipe or a terminal, closed it."""
    try:
        print(printable(text), flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        discard(1)
        raise ReaderGone from None


def write_json(value: Any) -> None:
    """Print one line of strict JSON; numbers that are not finite become null."""
    write(json.dumps(_strict(value), ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


SETS = 20  # rows of a game's table


def strategy_table(strategy: Sequence[dict]) -> str:
    """What one policy of a game does where its own moves lead, for a person: at most a screen of it (`FiniteGame.described`)."""
    rows = [(str(each["player"]), each["seen"], chances(each["policy"])) for each in strategy if each["reached"]]
    more = f"\n\nand {len(rows) - SETS:,} more information sets: --json has all" if len(rows) > SETS else ""
    return table(rows[:SETS], ("player", "what it sees", "what it does")) + more


def chances(policy: dict[str, float]) -> str:
    """Of each move its probability; those that are never made are left out."""
    return ", ".join(f"{name} {chance:.4g}" if chance < 1 - 1e-9 else name for name, chance in policy.items() if chance > 1e-9)


def table(rows: Sequence[Sequence[str]], head: Sequence[str] | None = None, right: Sequence[int] = ()) -> str:
    """Rows of text cells as an aligned table, as wide as the terminal; long cells are folded.

    Args:
        rows: the cells, every row of one length.
        head: titles of the columns.
        right: columns that stand at the right (numbers).
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=head is not None, padding=(0, 2, 0, 0))
    for index, title in enumerate(head or [""] * len(rows[0])):
        grid.add_column(Text(title), justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    # Only a terminal is narrow: what goes into a pipe or a file must not break a name or a command in two.
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 200
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def score_text(score: dict[str, Any]) -> str:
    """The IQM of a result's score object and its interval: `487.3 [475.1, 500.0]`; `487.3 [475.1, 500.0] (range)` of two seeds."""
    from operant.evaluate.compare import format_interval
    from operant.evaluate.statistics import Interval

    seeds = len(score["per_seed"])
    interval = Interval(score["iqm"], score["low"], score["high"], seeds, None if seeds == 2 else 0.95)
    return format_interval(interval)
