"""The plain lines of a run."""

from __future__ import annotations

from operant.loops import progress
from operant.loops.runner import Update


def test_the_last_step_is_told_once_with_its_own_score(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    lines = progress.Lines()
    lines(Update("train", 50, 100, {}, ("return", 1.0)))
    lines(Update("train", 100, 100, {}, ("return", 1.0)))
    lines(Update("evaluate", 100, 100, {}, ("return", 1.0)))
    lines(Update("train", 100, 100, {}, ("return", 2.0)))
    lines(Update("train", 100, 100, {}, ("return", 2.0), "3 of 10 evaluation episodes were still going on"))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert len(told) == 2 and "step 100 of 100" in told[1] and "return 2" in told[1]
