"""PQN: its returns are those of Q(λ) by a loop, and what it draws is epsilon-greedy."""

from __future__ import annotations

import gymnasium
import torch

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.core.spec import Field, Spec
from operant.nets.distributions import EpsilonGreedyChoice
from operant.worlds.gym.world import GymWorld


def short() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", max_episode_steps=15)


def learner(**values):
    settings = {"environments": 3, "rollout_length": 40, "minibatches": 2, "hidden": (16,)} | values
    return get_method("pqn").build(configure("pqn", settings)).learner(GymWorld(short), [0, 1], 10_000, torch.device("cpu"))


def test_returns_are_those_of_q_lambda():
    gamma, lam, scale = 0.9, 0.7, 0.5
    at_work = learner(gamma=gamma, lam=lam, reward_scale=scale)
    rollout = at_work.prepare(at_work._collect()[0])
    assert rollout.terminated.any() and (rollout.truncated & ~rollout.terminated).any()
    with torch.no_grad():
        following = at_work.policy(rollout.extras["next_observation"]).max(-1).values
    expected = torch.zeros_like(rollout.reward)
    for seed in range(2):
        for row in range(3):
            after = None  # the return of the step behind, in the same episode
            for step in reversed(range(40)):
                reward = 1.0 * scale
                if rollout.terminated[seed, row, step]:
                    value = reward
                elif rollout.truncated[seed, row, step] or after is None:
                    value = reward + gamma * float(following[seed, row, step])
                else:
                    value = reward + gamma * ((1 - lam) * float(following[seed, row, step]) + lam * after)
                expected[seed, row, step] = after = value
    torch.testing.assert_close(rollout.extras["returns"], expected, rtol=1e-5, atol=1e-5)


def test_the_loss_is_that_of_the_action_that_was_taken():
    at_work = learner()
    rollout = at_work.prepare(at_work._collect()[0])
    with torch.no_grad():
        values = at_work.policy(rollout.inputs["observation"])
    taken = torch.stack([values[..., 0], values[..., 1]])[rollout.action, *torch.meshgrid(*map(torch.arange, rollout.shape), indexing="ij")]
    found = at_work.policy.replay(rollout.inputs, rollout.action, frozenset({"value"}))["value"]
    torch.testing.assert_close(found, taken)


def test_epsilon_falls_along_training():
    at_work = learner(epsilon_start=0.8, epsilon_end=0.2, epsilon_share=0.5)
    for progress, epsilon in ((0.0, 0.8), (0.25, 0.5), (0.5, 0.2), (0.9, 0.2)):
        at_work.policy.explore(progress)
        assert abs(at_work.policy.distribution.epsilon - epsilon) < 1e-6


def test_draws_are_epsilon_greedy_among_what_is_allowed():
    found = EpsilonGreedyChoice(Spec((Field("action", (), "int64", "discrete", (4,), (0,)),)))
    found.epsilon = 0.3
    values = torch.tensor([0.5, 2.0, 1.0, 3.0])
    values = ops.forbid(values, torch.tensor([True, True, True, False])).expand(1, 20_000, 4)
    drawn = found.sample(values, found.noise(Streams([0]), "action", 20_000))
    shares = torch.bincount(drawn.flatten(), minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.8, 0.1, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(found.log_prob(values[0, :3], torch.tensor([0, 1, 2])).exp(), torch.tensor([0.1, 0.8, 0.1]))
    assert found.mode(values).unique().tolist() == [1]
    torch.testing.assert_close(found.entropy(values[0, 0]), -(0.2 * torch.tensor(0.1).log() + 0.8 * torch.tensor(0.8).log()))
