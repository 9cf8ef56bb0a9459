"""What code a module rests on, read from its text: the closure of its imports in the library, and a digest of it."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any

from operant.core.index import path_of, tree_of

_MODULE = re.compile(r"operant(\.\w+)+")


def closure(modules: Iterable[str], without: Collection[str] = ()) -> list[str]:
    """The modules of the library that these import, directly or not, and these themselves, sorted.

    Imports inside functions count, and so does a text that is a module's name, which is how a module is named that is imported when it is asked for. What a
    package's `__init__` does is followed where the package itself is asked for something, not where only a module of it is.

    Args:
        without: modules that are left out, with what they alone import.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module in without or path_of(module) is None:
            continue
        found.add(module)
        waiting += imports(module)
    return sorted(found)


def digest(modules: Iterable[str]) -> str:
    """A hash of what these modules do: their names and their code, comments and docstrings aside; the same on every version of Python."""
    total = hashlib.sha256()
    for module in sorted(modules):
        total.update(f"{module} {_code(module)}\n".encode())
    return total.hexdigest()[:16]


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the library that a module's text names."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if path_of(name) is not None}
            found |= modules if modules == inner else modules | {node.module}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE.fullmatch(node.value):
            found.add(node.value)
    return frozenset(name for name in found if path_of(name) is not None)


def texts(module: str) -> frozenset[str]:
    """The constants of a module's text that are text."""
    return frozenset(node.value for node in ast.walk(tree_of(module)) if isinstance(node, ast.Constant) and isinstance(node.value, str))


@cache
def _code(module: str) -> str:
    return hashlib.sha256("\0".join(_said(tree_of(module))).encode()).hexdigest()


def _said(node: Any) -> Iterator[str]:
    """A tree in order, without what is empty, and so without the fields that versions of Python add to it."""
    if isinstance(node, list):
        yield "["
        for item in node:
            yield from _said(item)
        yield "]"
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and name == "body" and ast.get_docstring(node) is not None:
                value = value[1:]
            if value is not None and value != [] and name not in ("kind", "type_comment", "type_ignores"):
                yield name
                yield from _said(value)
    else:
        yield repr(node)
