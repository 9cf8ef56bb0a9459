"""PROPS: its loss by hand, an adaptation that stops seed by seed, and rollouts that are made of several iterations'."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.flat import rows_of
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.correction import Correction, Tether
from operant.loops.terms import ClippedRatio, TermBatch
from operant.nets.actors import ActorCritic, ActorCriticNet
from operant.nets.memory import GRU
from operant.worlds import make_world
from operant.worlds.gym.spaces import action_spec, observation_spec


def test_the_loss_by_hand():
    """max(ρ, clip(ρ, 0.7, 1.3)): 0.7 below the clip, where no gradient is left; ρ itself within and above it."""
    ratio = torch.tensor([[0.2, 0.7, 0.9, 1.0, 1.2, 2.0]], requires_grad=True)
    mask = torch.ones_like(ratio, dtype=torch.bool)
    batch = TermBatch({"log_prob": ratio.log(), "old_log_prob": torch.zeros(1, 6), "advantage": -torch.ones(1, 6), "mask": mask})
    loss = ClippedRatio(0.3, 0.3)(batch)
    torch.testing.assert_close(loss, torch.tensor([[0.7, 0.7, 0.9, 1.0, 1.2, 2.0]]))
    loss.sum().backward()
    assert ratio.grad[0, 0] == 0
    torch.testing.assert_close(ratio.grad[0, 2:], torch.ones(4))
    assert Tether(0.5)(TermBatch({"kl_from_acted": torch.tensor([2.0])})).item() == 1.0


def policy(seeds: int) -> ActorCritic:
    action = action_spec("test", spaces.Discrete(3))
    return ActorCriticNet(hidden=(8,)).build(observation_spec("test", spaces.Box(-1, 1, (2,), np.float32), action), action, Streams(range(seeds)))


def test_what_was_done_is_made_less_likely_until_a_seed_is_far_enough():
    """The first seed did action 0 alone; of the second's steps, which did action 2, all but two are masked, and those were ignored."""
    plan = Correction(epochs=30, minibatches=1, max_kl=0.02, learning_rate=0.01)
    net, streams = policy(2), Streams(range(2))
    seen = streams.normal("seen", 30, 2)
    action, mask = torch.tensor([[0], [2]]).expand(2, 30).clone(), torch.ones(2, 30, dtype=torch.bool)
    action[1, 2:], mask[1, 2:] = 0, False

    def adapted(plan: Correction) -> torch.Tensor:
        at_work = plan.begin(net, streams)
        at_work.adapt(net, seen, action, mask)
        return torch.stack([net(seen).softmax(-1), at_work.policy(seen).softmax(-1)]).detach().mean(2)  # [before and after, S, A]

    before, after = adapted(plan)
    assert after[0, 0] < before[0, 0] - 0.02 and (after[0, 1:] > before[0, 1:]).all()
    assert after[1, 2] < before[1, 2] - 0.02 and (after[1, :2] > before[1, :2]).all()
    further = adapted(replace(plan, max_kl=10.0))[1]
    assert further[0, 0] < after[0, 0] - 0.02  # where it stood still before
    slower = adapted(replace(plan, max_kl=1e-9))[1]
    assert after[0, 0] + 0.02 < slower[0, 0] < before[0, 0]  # the step that goes too far is still made


def test_each_adaptation_begins_at_the_policy():
    net = policy(2)
    at_work = Correction(epochs=2, learning_rate=0.1).begin(net, Streams(range(2)))
    mask = torch.ones(2, 4, dtype=torch.bool)
    at_work.adapt(net, torch.randn(2, 4, 2), torch.zeros(2, 4, dtype=torch.int64), mask)
    assert not torch.equal(rows_of(at_work.policy), rows_of(net))
    at_work.adapt(net, torch.zeros(2, 0, 2), torch.zeros(2, 0, dtype=torch.int64), mask[:, :0])  # nothing was collected
    assert torch.equal(rows_of(at_work.policy), rows_of(net))


@pytest.mark.parametrize("correct", [True, False])
def test_a_rollout_is_made_of_the_last_iterations(correct: bool):
    values = {"environments": 2, "rollout_length": 16, "minibatches": 2, "epochs": 1, "batches": 3, "correct": correct, "correct_epochs": 1, "hidden": (8,)}

    def make():
        return get_method("props").build(configure("props", values)).learner(make_world("gym:CartPole-v1"), [0, 1], 10_000, torch.device("cpu"))

    learner, seen = make(), []
    for iteration in range(5):
        rollout = learner._collect()[0]
        assert rollout.shape == (2, 2 * min(iteration + 1, 3), 16)
        seen.append(rollout.inputs["observation"][:, -2:].clone())
        assert torch.equal(rollout.inputs["observation"], torch.cat(seen[-3:], 1))
        log_prob = learner.policy.replay(rollout.inputs, rollout.action, frozenset())["log_prob"].detach()
        torch.testing.assert_close(rollout.log_prob, log_prob)  # of the policy, whatever acted
        learner._update(learner.prepare(rollout))
        learner.version += 1
    again = make()
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    learner.iterate()
    again.iterate()
    assert first_difference(learner.state_dict(), again.state_dict()) is None


@pytest.mark.parametrize("values", [{"batches": 2, "correct": False}, {"batches": 1}])
def test_a_policy_that_remembers_is_refused(values: dict):
    spine = get_method("props").build(configure("props", {"environments": 2, "rollout_length": 8, "minibatches": 2} | values))
    learner = replace(spine, policy=replace(spine.policy, memory=GRU(4))).learner(make_world("gym:CartPole-v1"), [0], 100, torch.device("cpu"))
    with pytest.raises(BadInput, match="a policy that remembers its episode learns from what it has just done itself"):
        learner.iterate()
