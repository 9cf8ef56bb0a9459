"""What the library's own modules register, found in their text: a name is known, or is not, without importing PyTorch and every module."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar

from operant.core.errors import PACKAGE, BadInput, unknown

KEY = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
Entry = TypeVar("Entry")


class Register(Generic[Entry]):
    """What the modules of a room register by a decorator, by key; a module is imported when its entry is asked for.

    Args:
        room: a package of the library, such as "methods".
        what: one entry in words: "method".
        otherwise: what an error says of a key that nothing is near.
        outside: registers what comes from outside the library; asked for before a key is called unknown.
        decorator: its name, where it is not `what`.
        once: a key has one decorated function.
        about: what an entry is, for errors that name several; it imports nothing.
    """

    def __init__(
        self,
        room: str,
        what: str,
        otherwise: str,
        outside: Callable[[], None] = lambda: None,
        *,
        decorator: str | None = None,
        once: bool = True,
        about: Callable[[str], str] | None = None,
    ):
        self.room, self.what, self.otherwise, self._outside, self._decorator, self._about = room, what, otherwise, outside, decorator or what, about
        self.once = once
        self.entries: dict[str, Entry] = {}

    def __contains__(self, key: str) -> bool:
        """Whether it is registered, or one of the library's own; nothing is imported."""
        return key in self.entries or key in declared(self.room, self._decorator)

    def keys(self) -> set[str]:
        """The keys of all that is registered and of the library's own; nothing is imported."""
        return self.entries.keys() | declared(self.room, self._decorator).keys()

    def add(self, key: str, entry: Entry, module: str) -> None:
        """Register an entry.

        Args:
            module: of the function that the decorator stands on.

        Raises:
            BadInput: a key that nobody could type, or that of one of the library's own.
        """
        self.check_key(key, module)
        self.entries[key] = entry

    def check_key(self, key: str, module: str) -> None:
        """Raise `BadInput` as `add`."""
        if not isinstance(key, str) or re.fullmatch(KEY, key) is None:
            raise BadInput(f"{self._decorator} {key!r} of {module}: its name is letters, digits, '-', '_', '.' and '+', a letter or digit in front")
        if (own := declared(self.room, self._decorator).get(key, module)) != module and self.once:
            raise BadInput(f"{self.what} {key!r} is registered twice: by {own} and by {module}")

    def get(self, key: str) -> Entry:
        """The entry of a key; of the library's own, its file alone is imported.

        Raises:
            BadInput: there is none.
        """
        own = declared(self.room, self._decorator)
        if key not in self.entries and key in own:
            import_module(own[key])
        if key not in self.entries:
            self._outside()
        if key not in self.entries:
            raise unknown(self.what, key, own.keys() | self.entries.keys(), self.otherwise, self._about)
        return self.entries[key]

    def all(self) -> dict[str, Entry]:
        """All entries by key, the library's own and those from outside."""
        for module in declared(self.room, self._decorator).values():
            import_module(module)
        self._outside()
        return dict(sorted(self.entries.items()))


@cache
def declared(room: str, decorator: str) -> dict[str, str]:
    """The names that the modules of a room register by `@decorator("name", …)`, each with its module.

    Args:
        room: a package of the library, such as "methods".
    """
    call = re.compile(rf'^\s*@{decorator}\(\s*"([^"]+)"', re.MULTILINE)
    found = {}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        module = ".".join(("operant", *path.relative_to(PACKAGE).with_suffix("").parts))
        found |= dict.fromkeys(call.findall(path.read_text(encoding="utf-8")), module)
    return dict(sorted(found.items()))


def check_texts(where: str, **texts: object) -> None:
    """Raise `BadInput` where one of what a decorator was given in words is no text, or empty."""
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"{where}: {name} = {text!r} is no text")


def check_kinds(where: str, name: str, kinds: object, known: Sequence[str]) -> None:
    """Raise `BadInput` where a decorator was not given a tuple of known kinds."""
    if not isinstance(kinds, tuple | list) or not kinds:
        raise BadInput(f"{where}: {name} = {kinds!r} is no tuple of kinds; write {name}=({kinds if kinds in known else known[0]!r},)")
    for kind in kinds:
        if kind not in known:
            raise unknown(f"kind of {name} of {where}:", str(kind), known)


def declared_fields(module: str, decorator: str, key: str) -> list[str]:
    """The fields of the dataclass that a registered function takes, those that it inherits too, in no certain order.

    Args:
        module: where the function is, as `declared` says.
    """
    function, _ = _registered(module, decorator, key)
    annotation = function.args.args[0].annotation
    return _fields(module, annotation.id) if isinstance(annotation, ast.Name) else []


def declared_words(module: str, decorator: str, key: str) -> dict[str, Any]:
    """What the decorator of a registered function is given by name."""
    _, call = _registered(module, decorator, key)
    return {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg is not None}


def declared_worlds(module: str, key: str) -> tuple[str, ...]:
    """The kinds of worlds that a method says it trains in."""
    return declared_words(module, "method", key)["worlds"]


def _registered(module: str, decorator: str, key: str) -> tuple[ast.FunctionDef, ast.Call]:
    """The function that registers under a key, and the call of its decorator."""
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and getattr(call.func, "id", None) == decorator and call.args and getattr(call.args[0], "value", None) == key:
                    return node, call
    raise KeyError(key)


@cache
def _tree(module: str) -> ast.Module:
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _fields(module: str, name: str) -> list[str]:
    """The annotated fields of a class of the library, its bases' among them."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            own = [item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
            inherited = [field for base in node.bases if isinstance(base, ast.Name) for field in _fields(module, base.id)]
            return list(dict.fromkeys(own + inherited))  # a class may give an inherited one another default
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("operant."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _fields(node.module, alias.name)
    return []
