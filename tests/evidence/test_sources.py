"""The closure of imports and the digest of code, on modules written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operant.core import index, sources

FILES = {
    "operant/__init__.py": "from operant.far import away\n",
    "operant/a.py": '"""A."""\nfrom operant import b\nfrom operant.pack.inner import x\n\n\ndef late():\n    from operant.c import y\n    return y\n',
    "operant/b.py": 'HOMES = {"z": "operant.d"}\n',
    "operant/c.py": "import math\n",
    "operant/d.py": "from operant.pack import made\n",
    "operant/e.py": "import operant.a\n",
    "operant/far.py": "away = 1\n",
    "operant/pack/__init__.py": "from operant.far import away as made\n",
    "operant/pack/inner.py": "x = 1\n",
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(**changed: str) -> None:
        for name, text in (FILES | {f"operant/{key}.py": value for key, value in changed.items()}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()

    monkeypatch.setattr(index, "PACKAGE", tmp_path / "operant")
    yield write
    forget()


def forget() -> None:
    for cached in (sources.imports, index.path_of, index._text, index.tree_of, sources._code):
        cached.cache_clear()


def test_the_closure_follows_imports_and_names_of_modules(written):
    written()
    assert sources.closure(["operant.e"]) == ["operant." + name for name in ("a", "b", "c", "d", "e", "far", "pack", "pack.inner")]
    assert sources.closure(["operant.e"], without={"operant.b"}) == ["operant." + name for name in ("a", "c", "e", "pack.inner")]
    assert sources.closure(["operant.c", "torch", "operant.nowhere"]) == ["operant.c"]


def test_the_digest_is_of_what_code_does(written):
    written()
    before = sources.digest(["operant.a", "operant.c"])
    written(
        a='"""Another A."""\n# more\nfrom operant import b\nfrom operant.pack.inner import x\ndef late():\n  "says"\n  from operant.c import y\n  return y\n'
    )
    assert sources.digest(["operant.c", "operant.a"]) == before
    for change in ({"c": "import cmath\n"}, {"a": FILES["operant/a.py"].replace("return y", "return -y")}):
        written(**change)
        assert sources.digest(["operant.a", "operant.c"]) != before
    written()
    assert sources.digest(["operant.a", "operant.b"]) != before
