"""Code that a run names. A run directory may come from anywhere, and what it names is imported only after a person says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operant.core.errors import BadInput
from operant.core.files import file_digest
from operant.core.registry import get_method, import_file, imported_files, is_loaded, own_file, registered
from operant.worlds.names import FROM_GYMNASIUM, GAMES
from operant.worlds.text.builtin_verifiers import VERIFIERS

_NAMING = ("environment", "verifier", "evaluate_with")  # options that take `module:name`


def modules_named(config: Mapping[str, Any]) -> dict[str, str]:
    """The modules that are not Operant's and that the use of a run would import, and what for, of its task and its options."""
    task = config["task"]
    scheme, _, name = task.partition(":")
    named = [(name.removeprefix(FROM_GYMNASIUM), f"for the task {task}")] if scheme == "gym" or (scheme == "tabular" and not name.endswith(".npz")) else []
    named += [(name if ":" in name else f"{name}:", f"for the task {task}")] if scheme == "agents" and name not in GAMES else []
    given = ((option, value) for option, value in config.get("options", {}).items() if option in _NAMING and isinstance(value, str))
    named += [(value, f"as its {option}") for option, value in given if value.partition(":")[0] not in VERIFIERS]  # one of ours with its settings
    modules = [(value.rpartition(":")[0], why) for value, why in named]
    return {module: why for module, why in modules if module and module.partition(".")[0] != "operant"}


def code_named(config: dict[str, Any]) -> list[str]:
    """What of Python that is not Operant's the use of a run would import, each in words: of its task, of its options, of its method."""
    files, found = list(config.get("imports", ())), []
    for module, why in modules_named(config).items():
        its = [file for file in files if Path(file).stem == module]
        files = [file for file in files if file not in its]
        found.append(f"the module {module} {why}" + "".join(f" ({file})" for file in its))
    return found + [f"the file {file}" for file in files]


def changed_files(config: dict[str, Any]) -> list[str]:
    """Of the files that a run was made with, those that are others now, a line each. Where the person brought one of the same name, that one counts."""
    brought = {Path(file).name: file for file in imported_files()}
    if registered(key := config["method"]) and (own := own_file(get_method(key).build.__module__)) is not None:
        brought = {Path(own).name: own} | brought
    now = {file: brought.get(Path(file).name, file) for file in config.get("digests", {})}
    return [
        f"{now[file]} has changed since the run began: it goes on with the file as it is now"
        for file, digest in config.get("digests", {}).items()
        if file_digest(now[file]) not in ("", digest)
    ]


def require_trust(path: Path, config: dict[str, Any], trust: bool) -> None:
    """Raise `BadInput` where a run names code and nobody said that it may be imported; import the file of its method where somebody did."""
    if not isinstance(trust, bool):
        raise BadInput(f"trust={trust!r}: True or False")
    if registered(key := config["method"]) and own_file(get_method(key).build.__module__) is not None:  # the person brought it, perhaps from another place
        config = config | {"imports": []}
    brought = {Path(file).name for file in imported_files()}  # these too
    config = config | {"imports": [file for file in config.get("imports", ()) if Path(file).name not in brought and not is_loaded(file)]}
    if not trust and (names := code_named(config)):
        leave = "say --trust (in Python trust=True) if you trust who made this run"
        raise BadInput(f"{path} imports code that is not Operant's and may do anything; {leave}: {'; '.join(names)}")
    for file in config.get("imports", ()):
        if not Path(file).is_file():
            raise BadInput(f"{path} was made with {file}, which is not there: give the file where it is now, --import FILE.py")
        import_file(file)
