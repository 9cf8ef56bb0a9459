"""What the library imports of itself is there, in functions too: a claim or a bench may first be run long after a name has moved."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import operant

PACKAGE = Path(operant.__file__).parent


def place(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.exists()), None)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def bound(path: Path) -> frozenset[str]:
    """The names that a module binds, those in its functions left out."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return frozenset(names)


def missing(path: Path) -> list[str]:
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "operant":
            of = place(node.module)
            lazy = of is not None and "__getattr__" in bound(of)
            gone = [a.name for a in node.names if of is None or not (lazy or a.name in bound(of) or place(f"{node.module}.{a.name}"))]
            found += [f"{path}:{node.lineno} imports {name} of {node.module}" for name in gone]
    return found


def test_what_is_imported_is_there() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 300
    assert [line for path in modules for line in missing(path)] == []


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text(
        "def late():\n    from operant.core.errors import BadInput, Never\n    from operant.core import errors, nowhere\n    from operant.gone import x\n"
    )
    assert [line.partition(" imports ")[2] for line in missing(file)] == ["Never of operant.core.errors", "nowhere of operant.core", "x of operant.gone"]
