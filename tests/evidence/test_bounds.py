"""The table of theorems: what is exact is measured now, what is not is read, and nothing that has no theorem is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operant import evidence, studies
from operant.core.errors import BadInput
from operant.evidence import Check, Claim, Finding, bounds


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One claim of four checks; what is measured is told in the list."""
    told: list[str] = []

    def measured(name: str, holds: bool):
        def measure(folder: Path) -> Finding:
            told.append(name)
            return Finding(holds, {"slope": -0.5, "low": -0.6, "high": -0.4, "at most": 0.1, "tolerance": 1e-9})

        return measure

    claim = Claim("own")
    for name, tier, theorem in (("a", "exact", "rates"), ("b", "exact", ""), ("c", "small", "bounds"), ("d", "small", "other bounds")):
        claim.checks[name] = Check(name, f"{name} says", tier, measured(name, name == "a"), theorem)
    body = {"name": "c", "says": "c says", "tier": "small", "holds": False, "figures": {"violations": 3}, "seeds": 5, "seconds": 1.0, "run": 0}
    record = {"key": "own", "verdict": "not reproduced", "checks": [body], "runs": [{"commit": "0123456789abcdef", "sources": "old"}]}
    monkeypatch.setattr(evidence, "claims", lambda: {"own": claim})
    monkeypatch.setattr(evidence, "recorded", lambda key: record)
    monkeypatch.setattr(evidence, "freshness", lambda key: {"c": "changed"})
    return told


def test_the_table_of_theorems(own, tmp_path):
    found, _ = studies.run("bounds", out=tmp_path / "study")
    (table,) = found.tables
    assert own == ["a"] and table.title == "1 holds, 1 fails, 1 not measured"
    assert table.rows[0] == ("rates", "", "own a", "slope -0.5 [-0.6, -0.4]", "at most 0.1, tolerance 1e-09", "holds", "now")
    assert table.rows[1][2:] == ("own c", "violations 3", "", "fails", "at 0123456789, since changed")
    assert table.rows[2][3:] == ("", "", "not measured", "operant evidence own --check d")
    assert [each["says"] for each in found.figures["theorems"]] == ["a says", "c says", "d says"]


def test_a_claim_without_theorems_is_none_of_it(own, tmp_path):
    with pytest.raises(BadInput, match="own"):
        studies.run("bounds", keys=("owns",), out=tmp_path / "study")


def test_intervals_stand_beside_what_they_are_of():
    pairs = [("cloning slope", "2"), ("cloning low", "1"), ("cloning high", "3"), ("low", "0"), ("high", "1")]
    assert bounds.with_intervals(pairs) == [("cloning slope", "2 [1, 3]"), ("low", "0"), ("high", "1")]
