"""The command `operant`: from words to an exit code.

0: done. 2: bad input, one line on standard error. 1: a run that failed, or a fault of ours whose traceback is in a file. 130: interrupted.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from operant.cli import catalogue, checking, cluster, making, measuring, results, solving, studying, training, tuning, using
from operant.cli.output import ReaderGone, write, write_json
from operant.cli.parser import Command
from operant.core import ranks
from operant.core.commands import command_line, going_on
from operant.core.errors import BadInput, Interrupted, OperantError, RunFailed, unknown
from operant.core.terminal import note, own_warnings

ROOMS = (training, tuning, using, results, catalogue, measuring, checking, solving, cluster, studying, making)
COMMANDS: dict[str, Command] = {command.name: command for room in ROOMS for command in room.COMMANDS}


def main(argv: list[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default) and return its exit code. Nothing is raised."""
    return ranks.end(_code_of(sys.argv[1:] if argv is None else list(argv)))


def _code_of(words: list[str]) -> int:
    try:
        return _run(words)
    except ReaderGone:
        return 0
    except SystemExit as end:  # --help
        return int(end.code or 0)
    except ranks.Lost as error:
        return ranks.LOST if ranks.FOLDER in os.environ else _fail(words, str(error), error.exit_code)
    except OperantError as error:
        return _fail(words, str(error), error.exit_code)
    except KeyboardInterrupt as interruption:
        return _fail(words, str(interruption) if isinstance(interruption, Interrupted) else _interrupted(words), 130)
    except BaseException as error:  # also what is no Exception, of code that a person brought
        whose = next(iter(getattr(error, "__notes__", ())), "a fault of Operant's own")
        return _fail(words, f"{whose}, {type(error).__name__}: {error}; {_write_fault(words)}", 1)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        write(overview())
        return 0
    if words[0] == "--version":
        import operant

        write(f"operant {operant.__version__}")
        return 0
    with _imported(files_to_import(words)):
        command, args = parse(words)
        args.words = words
        try:
            with own_warnings():
                return command.run(args)
        except SystemExit as end:  # of code that a person brought: it ends the run, not as if all were well
            raise RunFailed(f"something that the command ran asked Python to exit (SystemExit: {end.code})") from end


@contextmanager
def _imported(files: list[str]) -> Iterator[None]:
    """Files that a person named, as long as a command lasts: a run that it makes remembers them."""
    from operant.core.registry import forget_imported_files, import_file, imported_files

    try:
        for file in files:
            import_file(file)
        yield
    except Exception as error:
        theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in imported_files()]
        if theirs and not isinstance(error, OperantError):
            error.add_note(f"{theirs[-1].filename}, line {theirs[-1].lineno}")
        raise
    finally:
        forget_imported_files()


def files_to_import(words: list[str]) -> list[str]:
    """What `--import` names, which must be there before the words can be read: its methods have options."""
    found = [after for word, after in zip(words, words[1:], strict=False) if word == "--import"]
    return found + [word.partition("=")[2] for word in words if word.startswith("--import=")]


def parse(words: list[str]) -> tuple[Command, Namespace]:
    """The command that the words name, and its arguments. Raises `BadInput`; `SystemExit` after --help."""
    if words[0].startswith("-"):
        raise unknown("option", words[0], ("--help", "--version")) if len(words) == 1 else BadInput(f"{words[0]} stands before the command; write it after")
    groups = {name.split()[0]: name for name in COMMANDS if " " in name}
    length = 1
    if words[0] in groups:
        if len(words) == 1 or words[1].startswith("-"):
            if {"-h", "--help"} & set(words):
                return COMMANDS[groups[words[0]]], COMMANDS[groups[words[0]]].read(["--help"])
            raise BadInput(f"operant {words[0]} needs a second word; for example: {COMMANDS[groups[words[0]]].examples[0]}")
        length = 2
    name = " ".join(words[:length])
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    return COMMANDS[name], COMMANDS[name].read(words[length:])


def overview() -> str:
    """What `operant --help` says."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    return (
        "usage: operant COMMAND …\n\nReinforcement learning: name a method and a task; get a trained policy, statistics over seeds, and a report.\n\n"
        f"commands:\n{lines}\n\nexamples:\n  operant train ppo --task gym:CartPole-v1 --seeds 8\n  operant methods\n"
        "  operant train ppo --help      the options of a method\n\n"
        "exit codes: 0 done, 2 bad input, 1 failed, 130 interrupted (`operant resume DIR` goes on)"
    )


def _fail(words: list[str], message: str, code: int) -> int:
    line = " ".join(message.split())
    note(f"operant: error: {line}")
    if "--json" in words:
        try:
            write_json({"error": line})
        except ReaderGone:
            pass
    return code


def _interrupted(words: list[str]) -> str:
    """What an interruption that no run answered leaves to say: outside training nothing is kept, inside it the last checkpoint is."""
    name, rest = words[0], words[1:]
    again = command_line(*words)
    out = next((after for word, after in zip(rest, rest[1:], strict=False) if word == "--out"), None)
    out = next((word.partition("=")[2] for word in rest if word.startswith("--out=")), out)
    if name == "train" and out and os.path.exists(os.path.join(out, "run.json")):
        from operant.core.run import RunDirectory

        try:
            return f"interrupted; {going_on(out, RunDirectory(out).config)}"
        except BadInput as error:
            return f"interrupted; {error}"
    if name == "resume" or (name in ("compare", "tune") and out):
        return f"interrupted; what was trained is kept, go on with: {again}"
    if name == "train":
        return f"interrupted before anything was kept; start again with: {again}"
    return f"interrupted; nothing was kept, start again with: {again}"


def _write_fault(words: list[str]) -> str:
    """Write the exception that is being handled to a file; where that is, in words."""
    from operant.core.run import machine

    text = f"{command_line(*words)}\n\n{traceback.format_exc()}\n"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="operant-fault-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(text + "\n".join(f"{name}: {value}" for name, value in {"process": os.getpid(), **machine()}.items()) + "\n")
    except OSError as error:
        return f"no report could be written: {error.strerror}"
    return f"the report is in {file.name}"
