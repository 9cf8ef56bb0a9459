"""A batch whose rewards are all equal teaches nothing: what is left of it is rounding, and no method takes a step on that."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from battery import Case, is_policy_gradient, learning, parametrize

PULLS = ("beta", "coefficient", "anchor_coefficient", "entropy_coefficient")  # weights of terms that act without a reward
LABELS = {"pacs", "noisy-verifier", "nsr", "rlcr", "ngrpo"}  # of 0 and 1 alone; there all are right
SIGNAL = {
    "nsr": "has no baseline",
    "rlcr": "rewards the stated confidence too",
    "rlpr": "makes its own reward",
    "pacs": "its groups of one label teach; that their members cancel is in its ops",
    "ppo-text": "is surprised by a reward that its critic did not foresee",
    "t-ppo": "is surprised by a reward that its critic did not foresee",
    "direct-apo": "is surprised by a reward that its critic did not foresee",
    "archer": "is surprised by a reward that its critic did not foresee",
    "igpo": "rewards what a turn told of the answer",
}


@parametrize(is_policy_gradient, learning, lambda case: case.kind == "text", lambda case: case.key not in SIGNAL)
def test_equal_rewards_move_nothing(case: Case):
    """Equal to a few units in the last place, as sums of equal parts in another order are."""
    names = {item.name for item in fields(case.entry.hyperparameters)}
    learner = case.learner(spine=case.spine(**dict.fromkeys(names & {"beta"}, 0.0), **{name: 1e-30 for name in PULLS[1:] if name in names}))
    score, generator = learner.source.score, torch.Generator().manual_seed(0)

    def equal(rollout):
        rollout = score(rollout)
        if case.key in LABELS:
            value = torch.ones_like(rollout.reward)
        else:
            value = 0.3 + 3e-8 * torch.randint(-2, 3, rollout.reward.shape, generator=generator)
            assert value.unique().numel() > 1
        rollout.reward = value * (rollout.terminated | rollout.truncated)
        return rollout

    learner.source.score = equal
    before = learner.updater.flat.data.detach().clone()
    metrics = learner.iterate()
    if learner.rollout is not None and "advantage" in learner.rollout.extras:
        assert learner.rollout.extras["advantage"].abs().max() == 0
    assert float(metrics.get("gradient_norm", torch.zeros(1)).max()) < 1e-12
    assert float((learner.updater.flat.data.detach() - before).abs().max()) < 1e-3 * learner.method.learning_rate


def test_the_exceptions_are_methods():
    from operant.core.registry import methods

    assert set(SIGNAL) | LABELS <= set(methods())


@pytest.mark.parametrize("key", ["reinforce++", "ppo-text"])
def test_a_kl_that_is_rounding_is_no_signal(key):
    """Without a reward the returns of a token KL are the difference of two passes of one policy, some 1e-9."""
    case = Case(key, "text:arithmetic")
    learner = case.learner(spine=case.spine(beta=0.001))
    score = learner.source.score

    def nothing(rollout):
        rollout = score(rollout)
        rollout.reward = torch.zeros_like(rollout.reward)
        return rollout

    learner.source.score = nothing
    assert float(learner.iterate()["gradient_norm"].max()) < 1e-6
