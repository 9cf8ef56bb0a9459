"""The bench of kernels measures every set and leaves the process with its own."""

from __future__ import annotations

import torch

from operant.bench import kernels as benched
from operant.nets import kernels


def test_sets_are_measured_and_put_back(monkeypatch):
    monkeypatch.setattr(benched, "SHAPES", ((2, 4, 8, 8),))
    monkeypatch.setattr(benched, "ROUNDS", 1)
    before, threads, bench = kernels.taken(), torch.get_num_threads(), benched.kernels_bench()
    said: list[str] = []
    found = bench.measure("kernels", 1, said.append)
    assert (kernels.taken(), torch.get_num_threads()) == (before, threads)
    assert found["taken"] == kernels.fitting() and found["rows"][0]["shape"] == "2 × 4 × 8 × 8" and found["rows"][0]["native"] > 0
    assert len(said) == 1 and bench.lines(found)[-1].endswith(kernels.fitting())
