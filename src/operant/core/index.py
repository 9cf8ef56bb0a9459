"""What the library's own modules register, found in their text: a name is known, or is not, without importing PyTorch and every module."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
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
        outline: makes an entry of what its module's text says.
        also: further rooms whose modules register here.
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
        outline: Callable[[str, Declaration], Entry] | None = None,
        also: Sequence[str] = (),
    ):
        self.room, self.what, self.otherwise, self._outside, self._decorator, self._about = room, what, otherwise, outside, decorator or what, about
        self.once, self._outline, self._also = once, outline, tuple(also)
        self.entries: dict[str, Entry] = {}

    @property
    def own(self) -> dict[str, str]:
        """The library's own keys, each with its module; nothing is imported."""
        found: dict[str, str] = {}
        for room in (self.room, *self._also):
            found |= declared(room, self._decorator)
        return found

    def __contains__(self, key: str) -> bool:
        """Whether it is registered, or one of the library's own; nothing is imported."""
        return key in self.entries or key in self.own

    def keys(self) -> set[str]:
        """The keys of all that is registered and of the library's own; nothing is imported."""
        return self.entries.keys() | self.own.keys()

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
        if (own := self.own.get(key, module)) != module and self.once:
            raise BadInput(f"{self.what} {key!r} is registered twice: by {own} and by {module}")

    def get(self, key: str) -> Entry:
        """The entry of a key; of the library's own, its file alone is imported.

        Raises:
            BadInput: there is none.
        """
        own = self.own
        if key not in self.entries and key in own:
            import_module(own[key])
        if key not in self.entries:
            self._outside()
        if key not in self.entries:
            raise unknown(self.what, key, own.keys() | self.entries.keys(), self.otherwise, self._about)
        return self.entries[key]

    def outlined(self, key: str) -> Entry | None:
        """The entry of a key, of a module that is not imported yet as far as its text tells: for help, and for what is refused at once. None where there is
        none, or only an import would tell."""
        own = self.own
        if key in self.entries or key not in own or self._outline is None:
            return self.entries.get(key)
        try:
            return self._outline(key, declaration(own[key], self._decorator, key))
        except (LookupError, ValueError):
            return None

    def all(self) -> dict[str, Entry]:
        """All entries by key, the library's own and those from outside."""
        for module in self.own.values():
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


@dataclass(frozen=True)
class Declaration:
    """What the text of a module of the library says of a registered function.

    Attributes:
        module: where the function is.
        words: what its decorator is given by name.
        settings: the dataclass that it takes, an `outline`.
        returns: what it gives, by name.
        doc: the module's docstring.
    """

    module: str
    words: dict[str, Any]
    settings: type
    returns: str
    doc: str


def declaration(module: str, decorator: str, key: str) -> Declaration:
    """What a module says of what it registers under a key. Raises `LookupError` where only importing the module would tell."""
    function, call = _registered(module, decorator, key)
    names = [node.id for node in (function.args.args[0].annotation, function.returns) if isinstance(node, ast.Name)]
    if len(names) < 2:
        raise LookupError(f"{module}: {key} has annotations that are no names")
    return Declaration(module, _words(call), _meaning(module, names[0]), names[1], ast.get_docstring(tree_of(module)) or "")


def declared_words(module: str, decorator: str, key: str) -> dict[str, Any]:
    """What the decorator of a registered function is given by name.

    Args:
        module: where the function is, as `declared` says.
    """
    return _words(_registered(module, decorator, key)[1])


def _words(call: ast.Call) -> dict[str, Any]:
    return {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg is not None}


def _registered(module: str, decorator: str, key: str) -> tuple[ast.FunctionDef, ast.Call]:
    """The function that registers under a key, and the call of its decorator."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and getattr(call.func, "id", None) == decorator and call.args and getattr(call.args[0], "value", None) == key:
                    return node, call
    raise LookupError(key)


@cache
def path_of(module: str) -> Path | None:
    """The file of a module of the library; None where there is none."""
    if module != "operant" and not module.startswith("operant."):
        return None
    path = PACKAGE.parent.joinpath(*module.split("."))
    if path.is_dir():
        path = path / "__init__"
    path = path.with_name(path.name + ".py")
    return path if path.is_file() else None


@cache
def _text(module: str) -> str:
    path = path_of(module)
    assert path is not None, module
    return path.read_text(encoding="utf-8")


@cache
def tree_of(module: str) -> ast.Module:
    """The text of a module of the library, parsed."""
    return ast.parse(_text(module))


# Settings, without importing the module that has them: most need PyTorch, which takes seconds, and what a person may set is said in plain Python.

_outlined: dict[type, str] = {}


@cache
def outline(module: str, name: str) -> type:
    """A dataclass of the library, its fields and those of its bases alone, made of the text of its module.

    Raises:
        LookupError: it is none, or only importing what the module imports would tell.
    """
    node = next((node for node in tree_of(module).body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if node is None or not any(isinstance(part, ast.Name) and part.id == "dataclass" for of in node.decorator_list for part in ast.walk(of)):
        raise LookupError(f"{module}: {name} is no dataclass")
    bare = copy(node)
    bare.body = [item for item in node.body if isinstance(item, ast.AnnAssign)] or [ast.copy_location(ast.Pass(), node)]
    made = _run(module, bare)[name]
    _outlined[made] = "\n".join(_text(module).splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"  # with the comment behind its last field
    return made


def source(cls: type) -> str:
    """The text of a class, of an outline too. Raises `OSError` where there is none."""
    return _outlined[cls] if cls in _outlined else inspect.getsource(cls)


def _run(module: str, statement: ast.stmt) -> dict[str, Any]:
    """The names that there are once a statement of a module's text is run by itself, with what the names that it reads mean there."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    fields = {node.target.id for node in ast.walk(statement) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    there = {"__name__": module} | {name: _meaning(module, name) for name in sorted(names - fields)}
    try:
        exec(compile(ast.Module([statement], []), str(path_of(module)), "exec", dont_inherit=True), there)  # annotations as values, not as text
    except Exception as error:
        raise LookupError(f"{module}: {error}") from error
    return there


def _meaning(module: str, name: str) -> Any:
    """What a name means at the top of a module of the library. Raises `LookupError` where only importing it would tell."""
    if (loaded := sys.modules.get(module)) is not None and hasattr(loaded, name):
        return getattr(loaded, name)
    for node in tree_of(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return outline(module, name)
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            return _run(module, node)[name]
        if isinstance(node, ast.ImportFrom) and (found := next((item.name for item in node.names if (item.asname or item.name) == name), None)):
            return _imported(node.module or "", found)
    if hasattr(builtins, name):
        return getattr(builtins, name)
    raise LookupError(f"{module}: what {name} is, only importing it tells")


def _imported(module: str, name: str) -> Any:
    """What a module has under a name, of the library from its text; of others, those of Python alone are imported."""
    if module.partition(".")[0] == "operant":
        return _meaning(module, name)
    if module.partition(".")[0] in sys.stdlib_module_names:
        return getattr(import_module(module), name)
    raise LookupError(f"{module} is not imported for {name}")
