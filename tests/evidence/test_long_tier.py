"""Which methods' long tests run: all in turn, and those that changed at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import long_tier
import pytest

from operant.core.index import declared

KEYS = sorted(declared("methods", "method"))


def test_every_method_has_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_tier, "changed", frozenset)
    monkeypatch.setattr(long_tier, "changed_files", frozenset)
    turns = []
    for share in range(long_tier.SHARES):
        monkeypatch.setattr(long_tier, "share", lambda share=share: share)
        turns.append({key for key in KEYS if long_tier.due(key)})
    assert sorted(key for turn in turns for key in turn) == KEYS
    assert max(map(len, turns)) < len(KEYS) / 3


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What the tests here find out of changes is forgotten behind them."""
    for found in (long_tier.changed, long_tier.changed_files):
        found.cache_clear()
    yield
    for found in (long_tier.changed, long_tier.changed_files):
        found.cache_clear()


def test_what_changed_is_due_at_once(forgetful, monkeypatch: pytest.MonkeyPatch):
    file = Path("src", *declared("methods", "method")["ppo"].split(".")).with_suffix(".py")
    said = {"rev-parse": "0123456789abcdef", "merge-base": "fedcba", "diff": f"{file}\ndocs/methods.md", "ls-files": "src/operant/evidence/online/sac_v2.py"}
    monkeypatch.setattr(long_tier, "_git", lambda word, *words: said[word])
    monkeypatch.setattr(long_tier, "share", lambda: -1)
    assert long_tier.changed() == {"ppo", "sac-v2"} and long_tier.due("ppo") and not long_tier.due("a page")
    assert long_tier.due("a page", "src/operant/core/files.py", "docs/") and not long_tier.due("a page", "README.md")
    named = long_tier.turns(["a", "b"], "README.md", always=("b",))
    assert [(item.id, bool(item.marks)) for item in named] == [("a", True), ("b", False)]


def test_outside_a_checkout_nothing_has_changed(forgetful, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_tier, "_git", lambda *words: None)
    assert long_tier.changed() == long_tier.changed_files() == frozenset()
