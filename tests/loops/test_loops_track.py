"""Extra trackers: TensorBoard reads back what a run logged."""

from __future__ import annotations

import json

import pytest

import operant
from operant import BadInput
from operant.loops.track import check_trackers


def test_tensorboard_holds_the_numbers_of_the_run(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = operant.train(
        "ppo", "gym:CartPole-v1", seeds=2, steps=128, environments=2, rollout_length=32, episodes=1, track=("tensorboard",), out=tmp_path / "run"
    )
    events = reader.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for seed in (0, 1):
        logged = {event.step: event.value for event in events.Scalars(f"loss/policy/seed-{seed}")}
        assert logged == pytest.approx({row["step"]: row["loss/policy"] for row in rows if row["seed"] == seed}, rel=1e-6)
    assert "evaluation/return/seed-1" in events.Tags()["scalars"]


def test_an_unknown_tracker_is_named():
    with pytest.raises(BadInput, match="tensorboard"):
        check_trackers(["tensorbord"])
