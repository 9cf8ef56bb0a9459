"""Workers: the same experience as without them, resumable bit for bit, and a death that is told."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from operant.core.checkpoint import first_difference, join_state, split_state
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.nets.actors import ActorCriticNet
from operant.nets.memory import LSTM
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.world import GymWorld

PLAN = Steps(environments=4, length=20)


def pieces(seeds: list[int], workers: int, normalize: bool = False, memory: LSTM | None = None):
    world = GymWorld("CartPole-v1")
    streams = Streams(seeds)
    policy = world.policy(ActorCriticNet(hidden=(16,), normalize=normalize, memory=memory), streams)
    return policy, world.source(PLAN, streams, workers=workers), streams


@pytest.mark.parametrize(("seeds", "memory"), [([0], LSTM(8)), ([0, 1, 2], None)])
def test_workers_give_the_same_experience(seeds, memory):
    """One seed is split by rows, three by seeds."""
    policy, alone, _ = pieces(seeds, 1, normalize=True, memory=memory)
    twin, together, _ = pieces(seeds, 2, normalize=True, memory=memory)
    try:
        for version in range(3):  # from the second chunk on, the workers must have heard of the normaliser
            a, b = alone.sample(policy, version), together.sample(twin, version)
            assert torch.equal(a.action, b.action)
            for name, seen in a.inputs.items():
                torch.testing.assert_close(seen, b.inputs[name], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(a.log_prob, b.log_prob, rtol=1e-5, atol=1e-6)
            assert torch.equal(a.terminated, b.terminated) and torch.equal(a.reward, b.reward)
    finally:
        together.close()


def test_workers_resume_bit_for_bit_and_a_death_is_told():
    policy, source, streams = pieces([0, 1], 2)
    try:
        source.sample(policy, 0)
        state = join_state(*split_state({"source": source.state_dict(), "streams": streams.state_dict()}))
        expected = source.sample(policy, 1)
        expected = {name: tensor.clone() for name, tensor in expected.tensors().items()}
        _, fresh, other = pieces([0, 1], 2)
        other.load_state_dict(state["streams"])
        fresh.load_state_dict(state["source"])
        found = fresh.sample(policy, 1).tensors()
        assert first_difference(expected, found) is None
        fresh.close()
        os.kill(source._environments._workers[1].pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match="worker 2 of 2 ended by itself"):
            source.sample(policy, 2)
    finally:
        source.close()


def test_more_workers_than_rows_are_refused():
    with pytest.raises(BadInput, match="at most 4"):
        pieces([0], 5)
