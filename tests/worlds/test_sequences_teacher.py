"""The teacher of a sequence problem against a slow reference."""

import itertools

import pytest
import torch

from operant.core.random import Streams
from operant.worlds.sequences.exact import expected_reward
from operant.worlds.sequences.problems import PROBLEMS
from operant.worlds.sequences.world import LEAST, SHARPNESS, SequenceWorld


@pytest.mark.parametrize("name", ["target", "graded", "length", "random"])
def test_choices_are_weighted_by_what_uniform_choices_would_earn_behind_them(name):
    world = SequenceWorld.from_name(name)
    problem, teacher = world.problem, world.teacher(2)
    chosen = [tuple(tokens[mask].tolist()) for tokens, mask in zip(problem.sequences, problem.mask, strict=True)]
    rewards = [dict(zip(chosen, row, strict=True)) for row in problem.rewards.tolist()]

    def worth(prompt: int, prefix: tuple[int, ...]) -> float:
        """The mean reward, mapped to [0, 1], when every later choice is uniform."""
        if prefix in rewards[prompt]:
            low, high = min(rewards[prompt].values()), max(rewards[prompt].values())
            return (rewards[prompt][prefix] - low) / (high - low)
        return sum(worth(prompt, (*prefix, token)) for token in range(problem.vocabulary)) / problem.vocabulary

    for prompt, place in itertools.product(range(problem.prompts), range(0, len(chosen), 7)):
        tokens = chosen[place]
        action = problem.sequences[place].view(1, 1, -1).expand(2, 1, -1)
        found = teacher.replay({"prompt": torch.full((2, 1), prompt)}, action)["log_prob"][:, 0]
        for step in range(len(tokens)):
            weights = [max(worth(prompt, (*tokens[:step], token)), LEAST) ** SHARPNESS for token in range(problem.vocabulary)]
            wanted = torch.tensor(weights[tokens[step]] / sum(weights), dtype=torch.float64).log()
            torch.testing.assert_close(found[:, step], wanted.expand(2), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_teacher_is_better_than_chance(name):
    world = SequenceWorld.from_name(name)
    found, chance = (expected_reward(policy, world.problem).mean() for policy in (world.teacher(), world.policy(None, Streams([0]))))
    assert found > chance + 0.4
    if world.problem.binary:
        assert found > 0.99
