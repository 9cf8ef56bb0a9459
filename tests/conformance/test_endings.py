"""Truncation bootstraps, termination does not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from battery import Case, OneStep, credited, is_policy_gradient, is_value_learning, parametrize

from operant.loops.value_learning import Update, ValueLearner
from operant.worlds.gym.world import GymWorld


def one_step(case: Case, ending: str) -> GymWorld:
    return GymWorld(partial(OneStep, discrete=case.task == "gym:CartPole-v1", ending=ending))


def bootstraps(case: Case) -> bool:
    return case.kind == "gym" and "value" in getattr(case.spine().credit, "needs", ())


@parametrize(is_policy_gradient, bootstraps)
def test_returns_of_policy_gradients(case: Case):
    """Episodes of one step: the return is the reward, and where the episode was cut also gamma times V of what came next."""
    spine = case.spine()
    cut, over = (case.learner(spine=spine, world=one_step(case, ending)) for ending in ("truncated", "terminated"))
    rollouts = [credited(learner) for learner in (cut, over)]
    for rollout, flags in zip(rollouts, ((False, True), (True, False)), strict=True):
        assert (rollout.terminated.all().item(), rollout.truncated.all().item()) == flags
    for name in ("action", "reward", "log_prob"):
        assert torch.equal(getattr(rollouts[0], name), getattr(rollouts[1], name))
    reward, following = rollouts[0].reward, rollouts[0].extras["next_value"]
    assert following.abs().min() > 1e-3
    torch.testing.assert_close(rollouts[1].extras["returns"], reward, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rollouts[0].extras["returns"], reward + spine.credit.gamma * following, rtol=1e-5, atol=1e-6)


def target(case: Case, gamma: float, **flags: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
    """(the targets of one update, their rewards, the power of gamma) with the flags of all transitions set, everything else being equal."""
    learner: ValueLearner = case.learner(spine=case.spine(gamma=gamma))
    learner.iterate()
    twin: ValueLearner = case.learner(spine=case.spine())
    twin.iterate()
    learner.load_state_dict(twin.state_dict())  # the same networks, data and draws whatever gamma has been
    batch = twin.drawer.draw()
    for name, value in flags.items():
        setattr(batch, name, torch.full_like(batch.terminated, value))
    update = Update(learner, batch, learner.drawer)
    for phase in learner.method.phases:
        learner.losses(phase, update)
    found = torch.cat([targets.reshape(-1, *batch.reward.shape) for targets in update.targets])
    return found, batch.reward.expand_as(found), 1.0 if batch.steps is None else batch.steps


@parametrize(is_value_learning)
def test_targets_of_value_learning(case: Case):
    over, reward, _ = target(case, 0.9, terminated=True, truncated=False)
    assert torch.equal(over, reward)
    cut, _, steps = target(case, 0.9, terminated=False, truncated=True)
    running, _, _ = target(case, 0.9, terminated=False, truncated=False)
    assert torch.equal(cut, running)
    assert torch.equal(target(case, 0.9, terminated=True, truncated=True)[0], reward)  # both at once: the episode ended by itself
    value = (cut - reward) / 0.9**steps
    assert value.abs().min() > 0
    half, _, _ = target(case, 0.45, terminated=False, truncated=True)
    torch.testing.assert_close(half - reward, 0.45**steps * value, rtol=1e-3, atol=1e-5)


@parametrize(is_value_learning, lambda case: case.kind == "gym")
@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_replay_keeps_how_episodes_ended(case: Case, ending: str):
    learner = case.learner(world=one_step(case, ending))
    learner.iterate()
    batch = learner.stores["replay"].gather(torch.arange(8).expand(len(learner.seeds), -1))
    assert batch.terminated.all().item() == (ending == "terminated") and batch.truncated.all().item() == (ending == "truncated")
    assert torch.equal(batch.next_observation, batch.observation)  # the step's true outcome, not the next episode's start
