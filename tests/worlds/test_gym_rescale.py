"""Ranges of actions that are not around 0: what training does in them, and that everything a person sees of it speaks the environment's own units."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.distributions import Gaussian, Mixed, SquashedGaussian, distribution_for, far_from_unit
from operant.nets.graph import Graph
from operant.worlds.gym.examine import examine
from operant.worlds.gym.spaces import action_spec, scaled
from operant.worlds.gym.world import GymWorld

LOW, HIGH = np.float32([3, -0.001]), np.float32([17, 1e4])
GOOD = np.float32([0.5, -0.3])  # where in its range each number is best


class Far(gymnasium.Env):
    """One step: be near a point within a range far from 0. It keeps the actions that it was given."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(LOW, HIGH)
    given: list[np.ndarray] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in self.action_space
        self.given.append(action.copy())
        place = 2 * (action - LOW) / (HIGH - LOW) - 1
        return np.zeros(1, np.float32), -float(np.square(place - GOOD).sum()), True, False, {}


def make_far():
    return Far()


def box(low, high):
    return spaces.Box(np.float32(low), np.float32(high), dtype=np.float32)


def test_numbers_from_minus_one_to_one_are_the_range_as_gymnasiums_wrapper_has_it():
    theirs = RescaleAction(Far(), np.float32(-1), np.float32(1))
    ours = Gaussian(scaled("Far", action_spec("Far", Far.action_space)))
    for numbers in np.float32([[0, 0], [-1, 1], [0.25, -0.75]]):
        given = ours.to_environment(torch.from_numpy(numbers)[None])[0]
        np.testing.assert_allclose(given, theirs.action(numbers), rtol=1e-6)
        np.testing.assert_allclose(ours.from_environment(torch.from_numpy(given)), numbers, atol=1e-6)
    assert ours.uniform(Streams([0]), "u", 1_000).abs().max() <= 1


def test_policies_learn_in_a_far_range_and_speak_its_units(tmp_path):
    small = {"steps": 8_192, "rollout_length": 32, "entropy_coefficient": 0.0, "learning_rate": 3e-3, "episodes": 2, "progress": False}
    run = operant.train("ppo", make_far, rescale_action=True, out=tmp_path / "run", **small)
    assert np.mean(run.result["score"]["per_seed"]) > -0.1
    action = run.policy(np.zeros(1, np.float32))
    assert action in Far.action_space
    assert np.abs(2 * (action - LOW) / (HIGH - LOW) - 1 - GOOD).max() < 0.4
    written = Graph(run.load_policy().acting, run.world.action)(torch.zeros(1, 1))[0][0].numpy()
    np.testing.assert_allclose(written, action, rtol=1e-5)


@pytest.mark.parametrize(("method", "told"), [("ppo", True), ("a2c", True), ("sac-v2", False)])
def test_a_run_says_where_its_gaussian_begins_far_from_the_range(method, told, tmp_path):
    def notes(**options):
        found = []
        operant.train(method, make_far, steps=8, episodes=1, listener=lambda update: found.append(update.message or ""), **options)
        return [line for line in found if "Gaussian begins" in line]

    assert len(notes(out=tmp_path / "plain")) == told
    assert not notes(out=tmp_path / "scaled", rescale_action=True)


@pytest.mark.parametrize(
    ("low", "high", "far"),
    [([-2], [2], False), ([-0.4], [0.4], False), ([0], [1], False), ([-np.inf], [np.inf], False), ([0], [np.inf], False), ([1, 1], [1, 1], False)]
    + [([3], [17], True), ([-1, 0], [1, 1e4], True), ([-0.01], [0.01], True), ([-100], [100], True)],
)
def test_a_range_is_far_whose_middle_or_half_width_is_far_from_0_and_1(low, high, far):
    action = action_spec("task", box(low, high))
    assert bool(Gaussian(action).far) == far
    both = action_spec("task", spaces.Tuple((spaces.Discrete(2), box(low, high))))
    assert bool(Mixed(both, Gaussian).far) == far
    if np.isfinite([low, high]).all():
        assert not Gaussian(scaled("task", action)).far and not SquashedGaussian(action).far and not distribution_for(scaled("task", both)).far


def test_every_far_range_is_told():
    begins = ", and the Gaussian begins at 0 with deviation 1"
    assert far_from_unit(np.array([-1, 3]), np.array([1, 17])) == f"number 1 of an action is from 3 to 17{begins}"
    assert far_from_unit(np.array([-99, -1, 3]), np.array([99, 1, 17])) == f"number 0 of an action is from -99 to 99, number 2 from 3 to 17{begins}"
    assert far_from_unit(np.full(6, 3), np.full(6, 17)).endswith(f"number 1 from 3 to 17, number 2 from 3 to 17, 3 more as far{begins}")


def test_an_examination_names_the_option():
    assert any("--rescale-action" in note for note in examine(make_far, steps=20).notes)
    assert not any("--rescale-action" in note for note in examine("Pendulum-v1", steps=20).notes)


@pytest.mark.parametrize(("task", "says"), [("CartPole-v1", "are choices"), (lambda: Endless(), "is from 0 to inf")])
def test_where_there_is_no_range_the_option_is_refused(task, says):
    with pytest.raises(BadInput, match=f"rescale_action: .*{says}"):
        GymWorld(task, rescale_action=True)


class Endless(Far):
    action_space = box([0], [np.inf])
