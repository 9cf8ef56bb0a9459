"""The plan that comes back to problems with hints or noise, and the plan of next steps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.worlds import make_world
from operant.worlds.hints import Hinted, hint
from operant.worlds.next_steps import NextSteps
from operant.worlds.plans import Prompt


class Problems:
    """Problem i has the prompt (i, 90, 91, 92) and the solution (i, …) of six tokens."""

    limit, end, policy = 6, (5,), None

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.cursor = 0

    def prompt(self, index: int) -> Prompt:
        return Prompt(index, (index, 90, 91, 92), lambda: (index, 1, 2, 3, 4, 5))

    def draw(self, count: int) -> list[Prompt]:
        self.cursor += count
        return [self.prompt(index) for index in range(self.cursor - count, self.cursor)]


def scored(rewards: dict[int, list[float]]) -> Rollout:
    group = torch.tensor([[index for index, values in rewards.items() for _ in values]])
    reward = torch.tensor([[value for values in rewards.values() for value in values]], dtype=torch.float32).unsqueeze(-1)
    blank = torch.zeros(*group.shape, 1)
    some = torch.ones_like(blank, dtype=torch.bool)
    return Rollout({}, blank.long(), blank, some, reward, some, ~some, group, torch.zeros_like(group), 0)


def test_a_hint_is_a_beginning_of_the_right_answer_and_never_the_whole():
    solution = (1, 2, 3, 4, 5, 6)
    assert hint(solution, 0.5) == (1, 2, 3)
    assert hint(solution, 0.0) == (1,)
    assert hint(solution, 1.0) == (1, 2, 3, 4)
    assert hint((1, 2), 1.0) == ()


def test_problems_that_were_too_hard_or_too_easy_come_back_changed():
    plan, problems = Hinted(prompts=4, n=2, revisits=0.5, noise=0.5), Problems()
    first = next(plan.requests(problems))
    assert [request.group for request in first] == [0, 1, 2, 3] and all(request.prefix == problems.prompt(request.group).tokens for request in first)
    plan.observe(scored({0: [0, 0], 1: [1, 1], 2: [0, 1], 3: [0, 1]}))
    assert plan.reference == pytest.approx(0.5)
    second = next(plan.requests(problems))
    assert [request.group for request in second] == [0, 1, 4, 5] and plan.changed == {0, 1}
    assert second[0].prefix == (0, 90, 91, 92, 0, 1, 2) and second[0].max_new_tokens == 3  # half of the six tokens
    assert second[1].prefix != problems.prompt(1).tokens and len(second[1].prefix) == 4
    assert set(second[1].prefix) <= set(problems.prompt(1).tokens)
    assert second[2].prefix == problems.prompt(4).tokens

    plan.observe(scored({0: [0, 0], 1: [1, 1], 4: [0, 0], 5: [0, 0]}))  # changed problems neither come back again nor count
    assert plan.reference == pytest.approx(0.25)
    assert [request.group for request in next(plan.requests(problems))] == [4, 5, 6, 7]


def test_without_noise_easy_problems_do_not_come_back_and_hopeless_ones_get_one_token():
    plan, problems = Hinted(prompts=2, n=2, noise=0.0), Problems()
    next(plan.requests(problems))
    plan.observe(scored({0: [0, 0], 1: [0, 0]}))
    (back, fresh) = next(plan.requests(problems))
    assert back.prefix == (0, 90, 91, 92, 0) and fresh.group == 2
    plan.observe(scored({2: [1, 1]}))
    assert [request.group for request in next(plan.requests(problems))] == [3, 4]


def test_the_state_of_hints_survives_json():
    plan, other = Hinted(prompts=4, n=2), Hinted(prompts=4, n=2)
    next(plan.requests(Problems()))
    plan.observe(scored({0: [0, 0], 1: [1, 1], 2: [0, 1], 3: [0, 1]}))
    other.load_state_dict(json.loads(json.dumps(plan.state_dict())))
    assert other.reference == plan.reference
    a, b = Problems(), Problems()
    a.cursor = b.cursor = 4
    assert next(plan.requests(a)) == next(other.requests(b))


@pytest.mark.parametrize("values", [{"prompts": 0}, {"window": 0}, {"noise": -0.1}])
def test_bad_values_are_refused(values):
    with pytest.raises(BadInput, match=next(iter(values))):
        Hinted(**values)


def test_next_steps_make_a_tree_of_answer_candidates_and_completions():
    world = make_world("sequences:random")  # token 0 ends an answer
    plan = NextSteps(prompts=6, candidates=3, completions=2, step_tokens=2)
    streams = Streams([0])
    source = world.source(plan, streams)
    rollout = source.score(source.sample(world.policy(None, streams), 0))
    parent, cut, probe = rollout.parent[0], rollout.branch_at[0], rollout.extras["probe"][0]
    trunks, candidates, completions = parent < 0, ~probe, probe & (parent >= 0)
    assert trunks.sum() == 6 and candidates.sum() == 18
    assert torch.equal(rollout.mask[0].any(-1), candidates)  # probes are never learned from
    assert (parent[candidates] < 6).all() and (cut % 2 == 0)[candidates].all()
    length = rollout.extras["present"][0].sum(-1)
    assert (rollout.mask[0].sum(-1)[candidates] <= 2).all()
    for row in completions.nonzero().squeeze(1).tolist():
        above = int(parent[row])
        assert bool(candidates[above]) and cut[row] == length[above]
        assert torch.equal(rollout.action[0, row, : cut[row]], rollout.action[0, above, : cut[row]])
    ended = (rollout.action[0] == 0) & rollout.extras["present"][0]
    for row in candidates.nonzero().squeeze(1).tolist():
        complete = bool(ended[row].any()) or length[row] == world.problem.length
        assert int((parent[completions] == row).sum()) == (0 if complete else 2)
