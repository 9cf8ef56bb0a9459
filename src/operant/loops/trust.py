"""Code that a run names. A run directory may come from anywhere, and what it names is imported only after a person says so."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from operant.core.errors import BadInput
from operant.core.registry import import_file, registered

_NAMING = ("environment", "verifier", "evaluate_with")  # options that take `module:name`


def code_named(config: dict[str, Any]) -> list[str]:
    """What of Python that is not Operant's the use of a run would import, each in words: of its task, of its options, of its method."""
    task = config["task"]
    scheme, _, name = task.partition(":")
    named = [(name, f"for the task {task}")] if scheme == "gym" else []
    named += [(value, f"as its {option}") for option, value in config.get("options", {}).items() if option in _NAMING and isinstance(value, str)]
    modules = [(value.rpartition(":")[0], why) for value, why in named]
    found = [f"the module {module} {why}" for module, why in modules if module and module.partition(".")[0] not in ("operant", "noisy")]
    return found + [f"the file {file} for the method {config['method']}" for file in config.get("imports", ())]


def require_trust(path: Path, config: dict[str, Any], trust: bool) -> None:
    """Raise `BadInput` where a run names code and nobody said that it may be imported; import the file of its method where somebody did."""
    if not isinstance(trust, bool):
        raise BadInput(f"trust={trust!r}: True or False")
    if registered(config["method"]):  # the person brought it here already
        config = config | {"imports": []}
    if not trust and (names := code_named(config)):
        raise BadInput(f"{path} imports {', '.join(names)}, which may do anything: say --trust (in Python trust=True) if you trust who made this run")
    for file in config.get("imports", ()):
        import_file(file)


def resume_command(path: Path, config: dict[str, Any]) -> str:
    """The command line that goes on with a run."""
    return f"operant resume {shlex.quote(str(path))}{' --trust' if code_named(config) else ''}"
