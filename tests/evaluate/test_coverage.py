"""The simulation behind the tables of coverage: a case whose answer is known, and where its tables go."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from operant.evaluate import coverage


def test_the_range_of_two_seeds_covers_every_second_time() -> None:
    own, quantiles = coverage.interval_coverage(coverage.SCORES["normal"], 2, trials=400, repetitions=200)
    assert own == pytest.approx(0.5, abs=0.08) and quantiles <= own


def test_a_probability_of_one_half_is_in_every_interval_of_two_seeds() -> None:
    share, width = coverage.improvement_coverage(0.5, 1.0, 2, trials=50)  # [0.12, 1] where all pairs are won
    assert share == 1.0 and 0.85 < width < 1.0


def test_tables_go_between_the_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "SEEDS", (2, 3))
    monkeypatch.setattr(coverage, "SCORES", {"normal": coverage.SCORES["normal"]})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{coverage.MARKERS[0]}old\n{coverage.MARKERS[1]}after\n")
    monkeypatch.setattr(sys, "argv", ["coverage", "--trials", "2", "--write", str(page)])
    coverage.main()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| Scores | 2 seeds | 3 seeds |" in text and "2 simulated experiments" in text and "| 0.99 | 4 |" in text
