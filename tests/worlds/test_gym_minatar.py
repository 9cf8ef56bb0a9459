"""MinAtar's games go on bit for bit from their state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from operant.core.checkpoint import join_state, split_state
from operant.worlds import make_world


@pytest.mark.parametrize("game", ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"])
def test_a_game_goes_on_bit_for_bit(game):
    pytest.importorskip("minatar", reason="pip install 'operant[minatar]'")
    world, draws = make_world(f"gym:MinAtar/{game}-v1"), np.random.default_rng(0)
    played, twin = (world.make([2**40, 5]) for _ in range(2))
    played.reset()

    def step(environments, action):
        found = environments.step(action)
        return found.observation, found.reward, found.terminated

    for _ in range(100):
        step(played, draws.integers(world.action.counts[0], size=2))
    assert played.resume == "bitwise"
    skeleton, arrays = split_state(played.state_dict())
    twin.load_state_dict(join_state(json.loads(json.dumps(skeleton)), arrays))
    for _ in range(300):
        action = draws.integers(world.action.counts[0], size=2)
        for one, other in zip(step(played, action), step(twin, action), strict=True):
            assert np.array_equal(one, other)
