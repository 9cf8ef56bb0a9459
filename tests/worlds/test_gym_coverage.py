"""The coverage grids: their rewards are gains of coverage along the walk, and their state goes on bit for bit."""

from __future__ import annotations

import numpy as np
import torch

from operant import ops
from operant.worlds.gym.beds import CoverageGrid, ModularCoverageGrid, _sensing


def walked(kind: type[CoverageGrid], actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(places `[R, T + 1]`, rewards `[R, T]`, ends `[R, T]`) of the first episode."""
    grid = kind([0, 1, 2])
    grid.reset()
    places, rewards, ends = [grid._index().copy()], [], []
    for step, action in enumerate(actions):
        found = grid.step(action)
        assert (found.next_observation.sum(1) == (3 if step + 1 < 40 else 2)).all()
        seen = found.next_observation[:, :40].reshape(3, 2, 20).argmax(-1)
        places.append(seen @ [20, 1])
        rewards.append(found.reward)
        ends.append(found.terminated)
    return np.stack(places, 1), np.stack(rewards, 1), np.stack(ends, 1)


def test_rewards_are_what_a_walk_adds():
    actions = np.random.default_rng(0).integers(5, size=(40, 3))
    near, weight = (torch.as_tensor(x).double() for x in _sensing(20, 2))
    assert abs(float(weight.sum()) - 100) < 1e-9 and near.sum(1).max() == 13
    places, rewards, ends = walked(CoverageGrid, actions)
    gains = ops.facility_gains(near, weight, torch.from_numpy(places))
    gains[:, 1] += gains[:, 0]  # the start's is paid with the first step's
    np.testing.assert_allclose(rewards, gains[:, 1:].numpy(), rtol=1e-5, atol=1e-6)
    assert ends[:, -1].all() and not ends[:, :-1].any()
    again, repeated, _ = walked(ModularCoverageGrid, actions)
    assert (again == places).all()
    each = (near @ weight)[torch.from_numpy(places)]
    each[:, 1] += each[:, 0]
    np.testing.assert_allclose(repeated, each[:, 1:].numpy(), rtol=1e-5)


def test_its_state_goes_on_bit_for_bit():
    actions = np.random.default_rng(1).integers(5, size=(60, 2))
    grid = CoverageGrid([0, 1])
    grid.reset()
    for action in actions[:25]:
        grid.step(action)
    other = CoverageGrid([0, 1])
    other.reset()
    other.load_state_dict(grid.state_dict())
    for action in actions[25:]:
        mine, theirs = grid.step(action), other.step(action)
        assert np.array_equal(mine.reward, theirs.reward) and np.array_equal(mine.observation, theirs.observation)
