"""The bench of members, workers and weights: what it says where Ray is not installed."""

from __future__ import annotations

import json

from operant.bench import scale
from operant.bench.peers import operant_workers

SPEEDS = {"alone": 100.0, "workers_1": 99.0, "workers_2": 190.0, "workers_4": 380.0, "workers_1_stale": 140.0, "workers_4_stale": 500.0}
HANDED = {"collective_1": 0.002, "collective_100": 0.08}


def test_workers_are_measured_without_ray_and_members_are_told_to_be_left_out(monkeypatch):
    assert (set(operant_workers.BESIDE), set(operant_workers.CHEETAH)) == (set(scale.WORKERS), set(scale.CHEETAH))
    monkeypatch.setattr(scale, "find_spec", lambda name: None)
    monkeypatch.setattr(scale, "start", lambda words, name, threads: f"noise\n{json.dumps(HANDED if 'handover' in words[1] else SPEEDS)}\n")
    said = []
    result = scale.Scale().measure("scale", 3, said.append)
    assert result["figures"] == SPEEDS | HANDED and len(result["repeated"]) == 3
    assert said[0].startswith("members are left out") and said[1] == "380 steps/s with 4 workers, 100 with none (run 1 of 3)"
    lines = scale.Scale().lines(result)
    assert lines[-2].split() == ["--sample-workers", "4", "--staleness", "1,", "steps/s", "500", "(5.00", "×)"]
    assert lines[-1].split() == ["1", "/", "100", "MB", "of", "weights", "by", "a", "collective", "(gloo),", "ms", "2", "/", "80"]
