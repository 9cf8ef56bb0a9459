"""The plain lines of a run."""

from __future__ import annotations

import pytest

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


def test_the_time_left_is_that_of_this_process_and_does_not_jump(monkeypatch):
    """A run of 100 steps of 2 s, with an evaluation of 20 s, a checkpoint among it, after each tenth."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    pace = progress.Pace()

    def left(at: float, phase: str, step: int) -> str:
        now[0] = at
        pace.see(update := Update(phase, step, 100, {}, None, every=10))
        return pace.left(update)

    assert left(1000, "prepare", 0) == "–"  # of a run that stopped at step 46
    assert left(1030, "train", 47) == "–"  # its checkpoint was read meanwhile
    assert left(1032, "train", 48) == "1:44"  # 52 steps; how long evaluations take is not known yet
    assert left(1036, "train", 50) == "1:40"
    assert left(1037, "evaluate", 50) == "1:40"
    assert left(1056, "train", 50) == "3:20"  # 50 steps and 5 evaluations; not 26 s / 3 steps * 50
    assert left(1076, "train", 60) == "2:40"  # 40 steps and 4 evaluations
    left(1077, "evaluate", 60)
    assert left(1096, "train", 60) == "2:40"
    left(1176, "train", 100), left(1177, "evaluate", 100)
    assert left(1196, "train", 100) == "0:00"


@pytest.mark.parametrize(("every", "told"), [(None, "2:00:00"), (30, "2:00:30")])
def test_hours_and_a_last_evaluation_behind_fewer_steps(monkeypatch, every: int | None, told: str):
    """Evaluations at 30, 60, 90 and 100 of 100 steps of 360 s, each of 10 s and the first, before training, of 5 s."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    pace = progress.Pace()
    for at, phase, step in ((0, "evaluate", 0), (5, "train", 0), (28805, "train", 80), (28805, "evaluate", 80), (28830, "train", 80)):
        now[0] = at
        pace.see(update := Update(phase, step, 100, {}, None, every=every))
    assert pace.left(update) == told  # 20 steps, and two evaluations of (5 + 25) / 2 s
