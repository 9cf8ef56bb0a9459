"""Which methods' long tests run: all in turn, and those that changed at once."""

from __future__ import annotations

from pathlib import Path

import long_tier
import pytest

from operant.core.index import declared

KEYS = sorted(declared("methods", "method"))


def test_every_method_has_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_tier, "changed", frozenset)
    turns = []
    for share in range(long_tier.SHARES):
        monkeypatch.setattr(long_tier, "share", lambda share=share: share)
        turns.append({key for key in KEYS if long_tier.due(key)})
    assert sorted(key for turn in turns for key in turn) == KEYS
    assert max(map(len, turns)) < len(KEYS) / 3


def test_a_method_whose_file_changed_is_due_at_once(monkeypatch: pytest.MonkeyPatch):
    file = Path("src", *declared("methods", "method")["ppo"].split(".")).with_suffix(".py")
    said = {"rev-parse": "0123456789abcdef", "merge-base": "fedcba", "diff": f"{file}\ndocs/methods.md", "ls-files": "src/operant/evidence/online/sac_v2.py"}
    monkeypatch.setattr(long_tier, "_git", lambda word, *words: said[word])
    long_tier.changed.cache_clear()
    assert long_tier.changed() == {"ppo", "sac-v2"} and long_tier.due("ppo")
    monkeypatch.setattr(long_tier, "_git", lambda *words: None)  # no checkout
    long_tier.changed.cache_clear()
    assert long_tier.changed() == frozenset()
    long_tier.changed.cache_clear()
