"""Command lines that messages tell a person to type: quoted for a shell, and with all that they need to work where they are told."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operant.core.registry import imported_files


def command_line(*words: object) -> str:
    """`operant WORD …`."""
    return shlex.join(["operant", *map(str, words)])


def importing(files: list[str]) -> list[str]:
    """The options that import files, those of the working directory and below by their names from there."""
    here = Path.cwd()
    return [word for file in files for word in ("--import", os.path.relpath(file) if Path(file).is_relative_to(here) else file)]


def run_command(verb: str, path: Path | str, config: Mapping[str, Any], *words: object) -> str:
    """`operant VERB PATH WORD …`, with leave to import the code that the run names, and with the files that this command had to be given besides.

    Args:
        config: what the run's run.json says.
    """
    files = [file for file in imported_files() if file not in config.get("imports", ())]
    return command_line(verb, path, *words, *(["--trust"] if config.get("code") else []), *importing(files))


def evaluating(path: Path | str, config: Mapping[str, Any]) -> str:
    """How a run's policies are evaluated: a command, or of Python objects that it was made of, in Python."""
    again = _given_again(config)
    return f"in Python: operant.load({str(path)!r}, {', '.join(again)}).evaluate()" if again else run_command("evaluate", path, config)


def _given_again(config: Mapping[str, Any]) -> list[str]:
    """The arguments by which Python objects that a run was made of are given again."""
    return [f"{name}=…" for name, given in (("task", config.get("task_callable")), ("policy", config.get("policy_module"))) if given]


def going_on(path: Path | str, config: Mapping[str, Any], steps: int | None = None) -> str:
    """How a run is gone on with, in words that end a message; of Python objects that it was made of, in Python.

    Args:
        steps: to which a finished one goes on.
    """
    if (why := config.get("not_resumable")) is not None:
        return f"it cannot be resumed: {why}"
    if again := _given_again(config):
        return f"go on in Python with: operant.resume({str(path)!r}, {', '.join([*again, *([] if steps is None else [f'steps={steps}'])])})"
    more = [] if steps is None else ["--steps", steps]
    together = [word for name in ("processes", "sample_on") if name in config for word in (f"--{name.replace('_', '-')}", config[name])]
    return f"go on with: {run_command('resume', path, config, *more, *together)}"
