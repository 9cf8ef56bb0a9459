"""Reading the command line: argparse whose every complaint is a `BadInput` of one line that names the nearest valid value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from operant.cli.output import write
from operant.core.elsewhere import named_elsewhere
from operant.core.errors import BadInput, nearest


class Parser(argparse.ArgumentParser):
    """The parser of one command.

    Args:
        prog: the command as it is typed.
        description: what it does.
        examples: whole command lines, shown by --help.
    """

    def __init__(self, prog: str, description: str, examples: tuple[str, ...]):
        epilog = "examples:\n" + "\n".join(f"  {example}" for example in examples)
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        self.examples = examples

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        if message.startswith("the following arguments are required: "):
            missing = message.partition(": ")[2].replace(", ", " and ")
            message = f"{self.prog} needs {missing}; for example: {self.examples[0]}"
        raise BadInput(message)

    def print_help(self, file=None) -> None:
        write(self.format_help().rstrip())

    def hide(self, options: Iterable[str]) -> None:
        """Leave options out of the help. They are read all the same, so that what refuses them says why."""
        for action in self._actions:
            if set(action.option_strings) & set(options):
                action.help = argparse.SUPPRESS

    def read(self, argv: list[str]) -> argparse.Namespace:
        """Parse the arguments after the command. Raises `BadInput` for what this command does not take."""
        words = normalize(argv)
        args, extra = self.parse_known_args(words)
        if extra:
            self.reject(extra)
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        for name in given:
            if given.count(name) > 1 and not isinstance(self._option_string_actions.get(name), argparse._AppendAction):
                raise BadInput(f"{name} is given more than once: which one counts? give it once")
        return args

    def reject(self, extra: list[str]) -> NoReturn:
        """Complain of arguments that nothing took."""
        option = next((item.partition("=")[0] for item in extra if item.startswith("-")), None)
        if option is None:
            raise BadInput(f"unexpected argument {extra[0]!r}; for example: {self.examples[0]}")
        self.reject_option(option, [name for action in self._actions for name in action.option_strings])

    def reject_option(self, option: str, known: Collection[str], others: Callable[[str], str | None] = lambda option: None) -> NoReturn:
        """Complain of an option that is none of `known`.

        Args:
            others: whose it is, in words, where it is another command's.
        """
        meant = named_elsewhere(option, known) or others(option) or nearest(option, known, f"{self.prog} --help lists them")
        raise BadInput(f"unknown option {option!r} of {self.prog}: {meant}")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed after `operant` ("train", "data make").
        summary: one line about it.
        examples: command lines that --help shows.
        arguments: adds its arguments to its parser.
        run: does it, and returns the exit code.
        parse: reads its arguments where argparse alone cannot (`train` has the options of its method).
        options: of a command that trains a method, adds those that are no method's to a parser.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    parse: Callable[[Command, list[str]], argparse.Namespace] | None = None
    options: Callable[[Parser], None] = lambda parser: None

    def parser(self) -> Parser:
        """A fresh parser of its arguments."""
        parser = Parser(f"operant {self.name}", self.summary, self.examples)
        self.arguments(parser)
        return parser

    def read(self, argv: list[str]) -> argparse.Namespace:
        """Its arguments from the words after its name. Raises `BadInput`."""
        return self.parse(self, argv) if self.parse is not None else self.parser().read(argv)


def normalize(argv: list[str]) -> list[str]:
    """Options with hyphens for underscores, and `--name -1e-3` as `--name=-1e-3`, which argparse would take for another option."""
    words: list[str] = []
    for word in argv:
        if word.startswith("--") and word.endswith("=--"):  # argparse would drop the value
            raise BadInput(f"{word[:-3]} '--': give a value")
        if words and re.fullmatch(r"--[^=]+", words[-1]) and _negative(word):
            words[-1] += f"={word}"
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            words.append(name.replace("_", "-") + equals + value)
        else:
            words.append(word)
    return words


def asks_help(words: Iterable[str]) -> bool:
    """Whether a help is asked for, whatever else is."""
    return bool({"-h", "--help"} & set(words))


def _negative(word: str) -> bool:
    try:
        return word.startswith("-") and float(word.partition(",")[0]) is not None
    except ValueError:
        return False


def whole(low: int) -> Callable[[str], int]:
    """A reader of whole numbers of at least `low`; `100_000` and `1e5` are ways to write one."""

    def read(text: str) -> int:
        try:
            value = Decimal(text)
            if value != value.to_integral_value():
                raise ValueError
        except (ValueError, ArithmeticError):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; it must be {low} or more") from None
        if not low <= value < 2**63:
            raise argparse.ArgumentTypeError(f"{text} is too {f'small; it must be {low} or more' if value < low else 'large; it must be below 2^63'}")
        return int(value)

    return read


def one_of(*values: str) -> Callable[[str], str]:
    """A reader of one of a few words."""

    def read(text: str) -> str:
        if text not in values:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(values)}: {nearest(text, values)}")
        return text

    return read


def add_json(parser: Parser) -> None:
    """The options that every command has."""
    parser.add_argument("--import", dest="imports", action="append", metavar="FILE.py", help="a file that registers methods, imported first")
    parser.add_argument("--json", action="store_true", help="the last line of standard output is the result as JSON")
