"""Same seed, same bits; a run that was stopped and goes on ends in the bits of one that was not. Once for each kind of world: what
`test_contract.py` asks of every method in fewer iterations."""

from __future__ import annotations

from pathlib import Path

from battery import Case, learning, worlds

from operant.core.checkpoint import Checkpoints, first_difference


def iterate(learner, count: int):
    for _ in range(count):
        learner.iterate()
    return learner


@worlds(lambda case: case.kind != "preferences")  # whose pairs take longest to make; the loop trains on sequences too, and the contract resumes it on pairs
def test_the_same_seed_gives_the_same_bits_and_so_does_a_run_that_was_stopped(case: Case, tmp_path: Path):
    whole, stopped = (iterate(case.learner(), 2) for _ in range(2))
    assert first_difference(stopped.state_dict(), whole.state_dict()) is None
    if learning(case):
        other = iterate(case.learner((7, 8) if case.world().stacked else (7,)), 2)
        assert first_difference(dict(whole.policy.state_dict()), dict(other.policy.state_dict())) is not None
    iterate(whole, 2)
    assert whole.resume == "bitwise"
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(stopped.step, stopped.state_dict())
    iterate(stopped, 1)  # what is done after the checkpoint is lost
    fresh = case.learner()
    fresh.load_state_dict(checkpoints.load()[0])
    assert first_difference(iterate(fresh, 2).state_dict(), whole.state_dict()) is None
