"""Same seed, same bits; a run that was stopped and goes on ends in the bits of one that was not; a seed does not notice its neighbours."""

from __future__ import annotations

from pathlib import Path

import torch
from battery import Case, learning, parametrize

from operant.core.checkpoint import Checkpoints, first_difference


def iterate(learner, count: int):
    for _ in range(count):
        learner.iterate()
    return learner


@parametrize()
def test_the_same_seed_gives_the_same_bits(case: Case):
    first, second = (iterate(case.learner(), 3) for _ in range(2))
    assert first_difference(first.state_dict(), second.state_dict()) is None
    if learning(case):
        other = iterate(case.learner((7, 8) if case.world().stacked else (7,)), 3)
        assert first_difference(dict(first.policy.state_dict()), dict(other.policy.state_dict())) is not None


@parametrize()
def test_resumed_equals_uninterrupted(case: Case, tmp_path: Path):
    whole = iterate(case.learner(), 4)
    assert whole.resume == "bitwise"
    checkpoints = Checkpoints(tmp_path)
    stopped = iterate(case.learner(), 2)
    checkpoints.save(stopped.step, stopped.state_dict())
    iterate(stopped, 1)  # what is done after the checkpoint is lost
    fresh = case.learner()
    fresh.load_state_dict(checkpoints.load()[0])
    assert first_difference(iterate(fresh, 2).state_dict(), whole.state_dict()) is None


def fills(case: Case) -> bool:
    """Whether the loop samples until a batch is full: stacked seeds then sample as often as the one that needs it most."""
    return getattr(case.spine(), "fill", None) is not None


@parametrize(learning, lambda case: case.kind not in ("text", "preferences"), lambda case: not fills(case))
def test_a_seed_among_others_learns_what_it_learns_alone(case: Case):
    together, alone = iterate(case.learner((0, 1, 2)), 3), iterate(case.learner((2,)), 3)
    moved = False
    start = dict(case.learner((2,)).policy.state_dict())
    for name, value in alone.policy.state_dict().items():
        torch.testing.assert_close(together.policy.state_dict()[name][2:3], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        moved |= not torch.equal(value, start[name])
    assert moved
