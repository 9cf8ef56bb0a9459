"""What the library's own modules register, found in their text: a name is known, or is not, without importing PyTorch and every module."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def declared(room: str, decorator: str) -> dict[str, str]:
    """The names that the modules of a room register by `@decorator("name", …)`, each with its module.

    Args:
        room: a package of the library, such as "methods".
    """
    call = re.compile(rf'^@{decorator}\(\s*"([^"]+)"', re.MULTILINE)
    found = {}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        module = ".".join(("operant", *path.relative_to(PACKAGE).with_suffix("").parts))
        found |= dict.fromkeys(call.findall(path.read_text(encoding="utf-8")), module)
    return dict(sorted(found.items()))


def declared_fields(module: str, decorator: str, key: str) -> list[str]:
    """The fields of the dataclass that a registered function takes, those that it inherits too, in no certain order.

    Args:
        module: where the function is, as `declared` says.
    """
    function, _ = _registered(module, decorator, key)
    annotation = function.args.args[0].annotation
    return _fields(module, annotation.id) if isinstance(annotation, ast.Name) else []


def declared_worlds(module: str, key: str) -> tuple[str, ...]:
    """The kinds of worlds that a method says it trains in."""
    _, call = _registered(module, "method", key)
    return next(ast.literal_eval(item.value) for item in call.keywords if item.arg == "worlds")


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
            return own + [field for base in node.bases if isinstance(base, ast.Name) for field in _fields(module, base.id)]
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("operant."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _fields(node.module, alias.name)
    return []
