"""Atari: the pictures are those of Gymnasium's preprocessing, replay keeps each once, and a game goes on bit for bit."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.core.checkpoint import first_difference, load_state
from operant.core.errors import BadInput
from operant.core.seeds import derive_seed
from operant.worlds import make_world
from operant.worlds.gym.atari import SIDE, _Shrink

SMALL = {"every": 1_000, "episodes": 1, "max_evaluation_steps": 5, "learning_starts": 30, "batch_size": 4, "updates_per_step": 0.1, "threads": 1}


@pytest.mark.parametrize(("height", "width"), [(210, 160), (250, 160)])
def test_a_shrunk_pixel_is_the_mean_of_its_area(height: int, width: int):
    screen = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    fine = screen.astype(np.int64).repeat(SIDE, 0).repeat(SIDE, 1).reshape(SIDE, height, SIDE, width)  # each pixel in 84 × 84 equal parts
    assert np.array_equal(_Shrink(height, width)(screen), np.rint(fine.mean((1, 3))))


@pytest.fixture
def games():
    return pytest.importorskip("ale_py", reason="pip install 'operant[atari]'")


def test_the_same_pictures_as_gymnasium(games):
    pytest.importorskip("cv2", reason="Gymnasium's preprocessing needs OpenCV")
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    world = make_world("gym:ALE/Breakout-v5")
    ours = world.make([7])
    theirs = FrameStackObservation(AtariPreprocessing(gymnasium.make("ALE/Breakout-v5", frameskip=1)), 4)
    assert np.array_equal(ours.reset().reshape(4, SIDE, SIDE), theirs.reset(seed=7)[0])
    draws, ends = np.random.default_rng(0), 0
    while ends < 3:
        action = draws.integers(4)
        step, (seen, reward, terminated, truncated, _) = ours.step(np.array([action])), theirs.step(action)
        assert (step.reward[0], step.terminated[0], step.truncated[0]) == (reward, terminated, truncated)
        if terminated:  # where a game ends in the midst of an action, Gymnasium shows the picture of before
            ends += 1
            seen, _ = theirs.reset()
        assert np.array_equal(step.observation.reshape(4, SIDE, SIDE), seen)


def test_lives_and_rewards_in_training_alone(games):
    world = make_world("gym:ALE/Breakout-v5", episodic_life=True, clip_rewards=True, noops=0)
    trained, evaluated = (make([3]) for make in (world.make_training, world.make))
    for environments in (trained, evaluated):
        environments.reset()
    inner, lives, draws = trained.inner.envs[0], 5, np.random.default_rng(1)
    while lives > 1:
        step = trained.step(draws.integers(4, size=1))
        assert abs(step.reward[0]) <= 1 and not step.truncated[0]
        assert step.terminated[0] == (inner.unwrapped.ale.lives() < lives)
        lives = inner.unwrapped.ale.lives()
    while not evaluated.step(draws.integers(4, size=1)).terminated[0]:
        pass
    assert evaluated.inner.envs[0].unwrapped.ale.lives() == 5  # the next game


def test_a_run_goes_on_to_the_same_bits(games, tmp_path):
    train = partial(operant.train, "dqn", "gym:ALE/Pong-v5", environments=2, progress=False, **SMALL)
    whole = train(steps=60, out=tmp_path / "whole")
    train(steps=40, out=tmp_path / "part")
    resumed = operant.resume(tmp_path / "part", steps=60, progress=False)
    ends = [load_state(run.path / "checkpoints" / "last")[0]["learner"] for run in (whole, resumed)]
    assert first_difference(ends[0]["nets"], ends[1]["nets"]) is None and first_difference(ends[0]["experience"], ends[1]["experience"]) is None
    assert whole.policy(np.zeros((4, SIDE, SIDE), np.uint8)) in range(6)


def test_a_person_plays_in_the_environment_as_the_policy_sees_it(games, tmp_path):
    """The pictures of an evaluation's episode, and the policy's actions there, by `run.policy` and by a player."""
    run = operant.train("dqn", "gym:ALE/Pong-v5", steps=40, out=tmp_path / "run", progress=False, **SMALL)
    env, begin = run.environment(), derive_seed(1, "evaluation", 0)
    assert env.observation_space == run.world.observation_space
    rows, player = run.world.make([begin]), run.player()
    seen, packed = env.reset(seed=begin)[0], rows.reset()
    for _ in range(4):
        np.testing.assert_array_equal(seen.reshape(-1), packed[0])
        action = run.policy(seen)
        assert player(seen) == action
        seen, packed = env.step(action)[0], rows.step(np.array([action])).observation
    with pytest.raises(BadInput, match=r"has one of shape \(4, 84, 84\).*policies take what run.environment\(\) gives$"):
        player(np.zeros((210, 160, 3)))
    with pytest.raises(BadInput, match="no player is raw"):
        run.player(raw=True)


def test_replay_that_does_not_fit_is_refused(games):
    with pytest.raises(BadInput, match=r"replay of 1,000,000,000 transitions .* at most --capacity \d+"):
        operant.train("dqn", "gym:ALE/Pong-v5", steps=1_000_000_000, capacity=1_000_000_000)


def test_one_copy_of_each_frame(games):
    from operant.core.random import Streams
    from operant.worlds.gym.experience import Experience, Online

    world, streams = make_world("gym:ALE/Pong-v5"), Streams([0])
    policy = operant.nets.actors.ActionValueNet().build(world.observation, world.action, streams, "q")
    experience = Experience(world.make_training, Online(environments=2, capacity=64), policy, streams, 1_000)
    for _ in range(10):
        experience.step(None)
        experience.keep()
    frames = experience.store.frames
    assert frames.data.shape == (1, 64 + 2 * 4, SIDE * SIDE) and experience.store.bytes.numel() == 0 and not len(frames.ends)
    batch = experience.store.gather(torch.arange(18).unsqueeze(0))
    assert torch.equal(batch.next_observation[0, :16], experience.store.gather(torch.arange(2, 18).unsqueeze(0)).observation[0, :16])


def test_options_of_atari_alone():
    with pytest.raises(BadInput, match="gym:CartPole-v1 has no option 'noops': it is one of Atari's pictures"):
        make_world("gym:CartPole-v1", noops=3)
