"""What methods of group advantages bring beyond their op: the KL in the reward, returns to go, CANON's weights, COPO's two losses."""

import math

import pytest
import torch

from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.core.status import Status
from operant.loops.shape import KLInReward
from operant.loops.terms import TermBatch
from operant.methods.rlvr.credit.canon import InterWeight, restarted_cosine

F64 = torch.float64


def rollout_of(reward, *, lengths, status=None, progress=0.0, **extras) -> Rollout:
    """Rows with a reward on their last step; all in one group unless `group` is given."""
    length = torch.tensor([lengths])
    steps = torch.arange(max(lengths))
    mask = steps < length.unsqueeze(-1)
    last = steps == length.unsqueeze(-1) - 1
    group = extras.pop("group", torch.zeros_like(length))
    zero = torch.zeros(mask.shape, dtype=F64)
    return Rollout(
        inputs={}, action=torch.zeros(mask.shape, dtype=torch.int64), log_prob=extras.pop("log_prob", zero), mask=mask,
        reward=torch.tensor([reward], dtype=F64).unsqueeze(-1) * last, terminated=last, truncated=torch.zeros_like(mask), group=group,
        status=torch.tensor([status or [int(Status.OK)] * len(reward)]), version=0, extras=extras, progress=progress,
    )  # fmt: skip


def spine(key: str, **hyper):
    return get_method(key).build(configure(key, hyper))


@pytest.mark.parametrize(("estimator", "penalty"), [("k1", [1.0, -2.0]), ("k2", [0.5, 2.0]), ("k3", [math.exp(-1), math.exp(2) - 3])])
def test_the_kl_is_paid_at_every_chosen_step(estimator, penalty):
    log_prob = torch.tensor([[[-1.0, -3.0, -9.0]]], dtype=F64)
    reference = torch.tensor([[[-2.0, -1.0, math.nan]]], dtype=F64)
    rollout = rollout_of([1.0], lengths=[3], old_log_prob=log_prob, reference_log_prob=reference)
    rollout.mask[..., 2] = False  # a step that was not chosen pays nothing, whatever stands there
    want = torch.tensor([[[-0.1 * penalty[0], -0.1 * penalty[1], 1.0]]], dtype=F64)
    torch.testing.assert_close(KLInReward(0.1, estimator)(rollout), want)


def test_reinforce_plus_plus_gives_returns_to_go():
    log_prob = torch.tensor([[[-1.0, -1.0, -1.0], [-1.0, -1.0, 0.0]]], dtype=F64)
    reference = log_prob - torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]]], dtype=F64)
    method = spine("reinforce++", beta=0.1)
    rollout = rollout_of([1.0, 0.0], lengths=[3, 2], old_log_prob=log_prob, reference_log_prob=reference)
    rollout.reward = method.shape[0](rollout)
    want = torch.tensor([[[1 - 0.6, 1 - 0.5, 1 - 0.3], [-0.9, -0.5, 0.0]]], dtype=F64)
    torch.testing.assert_close(method.credit(rollout), want)
    assert method.normalize_advantage


def test_reinforce_plus_plus_with_a_group_baseline_pays_the_kl_in_the_loss():
    method = spine("reinforce++", beta=0.1, group_baseline=True)
    rollout = rollout_of([1.0, 0.0, 0.0], lengths=[1, 1, 1], group=torch.tensor([[0, 0, 1]]))
    assert method.credit(rollout).flatten().tolist() == [0.5, -0.5, 0.0] and not method.shape
    assert [term.name for term in method.terms] == ["policy", "kl"] and method.terms[1].estimator == "k2"


def test_restarted_cosine():
    assert restarted_cosine(0.0, 1.0, 0.4) == 0
    assert restarted_cosine(0.1, 1.0, 0.4) == pytest.approx(0.5)
    cycle = 0.8 / 3
    for turn in range(3):
        assert restarted_cosine(0.2 + turn * cycle + 1e-12, 1.0, 0.4) == pytest.approx(1.0)
        assert restarted_cosine(0.2 + (turn + 0.5) * cycle, 1.0, 0.4) == pytest.approx(0.7)
    assert restarted_cosine(1.0, 1.0, 0.4) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("schedule", "want"),
    [("constant", 0.3), ("inter-first", 1 - 2 / 3), ("intra-first", 2 / 3), ("cosine-inter-first", 0.5), ("cosine-intra-first", 0.7)],
)
def test_weight_of_the_inter_group_advantage(schedule, want):
    # Two of the three rows that were scored are right; a tenth of training is done, half of a cosine's warm-up.
    rollout = rollout_of([1.0, 1.0, 0.0, 1e6], lengths=[1, 1, 1, 1], status=[0, 0, 0, int(Status.CRASHED)], progress=0.1)
    torch.testing.assert_close(InterWeight(schedule, 0.3)(rollout), torch.full((1, 4), want, dtype=F64))


@pytest.mark.parametrize(("metric", "want"), [("entropy", [1.0, 1.0, -1.0, -1.0]), ("length", [0.5, 0.5, -0.5, -0.5])])
def test_canon_splits_by_its_metric(metric, want):
    entropy = torch.tensor([[[4.0, 4.0, 9.0, 9.0], [5.0, 5.0, 5.0, 9.0], [2.0, 9.0, 9.0, 9.0], [3.0, 3.0, 3.0, 3.0]]], dtype=F64)
    rollout = rollout_of([1.0, 1.0, 0.0, 0.0], lengths=[2, 3, 1, 4], entropy=entropy)
    # By mean entropy (4, 5, 2, 3) the halves are {1, 1} above {0, 0}; by length {0, 2} below {1, 3}, each with one right row.
    advantage = spine("canon", metric=metric).credit(rollout)
    assert advantage[0, :, 0].tolist() == want
    assert not advantage[~rollout.mask].any()


def test_copo_weighs_by_the_entropy_of_answers_and_mixes_losses():
    # Group 0 agrees (0 bits), group 1 has two answers in equal parts (1 bit); gamma 2 and rho 1 make w = σ(−2) and σ(0) = 1/2.
    rollout = rollout_of([0.0, 0.0, 1.0, 0.0], lengths=[1] * 4, group=torch.tensor([[0, 0, 1, 1]]), answer=torch.tensor([[5, 5, 5, 6]]))
    method = spine("copo", gamma=2.0, rho=1.0)
    local = method.credit(rollout)[0, :, 0]
    std, half = math.sqrt(0.5) + 1e-6, 0.5
    torch.testing.assert_close(local, torch.tensor([0.0, 0.0, half * 0.5 / std, -half * 0.5 / std], dtype=F64))
    deviation = math.sqrt(2 * 0.25**2) + 1e-6  # of the groups' means, 0 and 1/2
    agreed = 1 - 1 / (1 + math.exp(2))
    want = torch.tensor([-agreed * 0.25 / deviation] * 2 + [half * 0.25 / deviation] * 2, dtype=F64)
    torch.testing.assert_close(method.mark[0](rollout)["global_advantage"][0, :, 0], want)

    # Opposite signs and a ratio beyond the clip: the losses of two advantages are not the loss of their sum.
    batch = {"old_log_prob": torch.zeros(1, 1, 1, dtype=F64), "log_prob": torch.full((1, 1, 1), math.log(1.5), dtype=F64)}
    batch |= {"advantage": torch.full((1, 1, 1), 0.5, dtype=F64), "global_advantage": torch.full((1, 1, 1), -0.5, dtype=F64)}
    assert sum(term(TermBatch(batch)) for term in method.terms).item() == pytest.approx(0.15)
