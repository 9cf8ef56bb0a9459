"""What methods of clipping, entropy and token selection put beside their ops: marks, anchors, schedules, the penalty of length, the following temperature."""

import math

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.core.status import Status
from operant.loops.focus import MostVaryingRows, TopTokens
from operant.loops.shape import OverlongPenalty
from operant.loops.terms import ClippedImportance, ClippedRatio, ClippedSequenceRatio, TermBatch
from operant.methods.rlvr.imitation.rft import AcceptedAnswers
from operant.methods.rlvr.objective.dapo import mixed_outcomes
from operant.methods.rlvr.objective.hapo import EntropySignal, HeterogeneousRatio
from operant.methods.rlvr.objective.lp_reg import ProtectedRatio, RarePushedDown
from operant.methods.rlvr.objective.siren import AnchoredEntropy, PeakEntropy
from operant.worlds import make_world
from operant.worlds.temperature import EntropyTemperature

F64 = torch.float64


def rollout_of(lengths, *, reward=None, progress=0.0, log_prob=None, action=None, group=None, **extras) -> Rollout:
    """Rows of one seed; extras `[N][T]` as nested lists or tensors."""
    length = torch.tensor([lengths])
    steps = torch.arange(max(lengths))
    mask = steps < length.unsqueeze(-1)
    last = steps == length.unsqueeze(-1) - 1
    zero = torch.zeros(mask.shape, dtype=F64)
    reward = torch.tensor([reward or [0.0] * len(lengths)], dtype=F64).unsqueeze(-1) * last
    return Rollout(
        inputs={}, action=torch.zeros(mask.shape, dtype=torch.int64) if action is None else torch.tensor([action]),
        log_prob=zero if log_prob is None else torch.tensor([log_prob], dtype=F64), mask=mask, reward=reward, terminated=last,
        truncated=torch.zeros_like(mask), group=torch.zeros_like(length) if group is None else torch.tensor([group]),
        status=torch.full_like(length, int(Status.OK)), version=0, progress=progress,
        extras={name: torch.as_tensor(value, dtype=F64).view(1, *mask.shape[1:]) for name, value in extras.items()},
    )  # fmt: skip


def spine(key: str, **hyper):
    return get_method(key).build(configure(key, hyper))


def test_the_penalty_of_length_and_which_groups_are_mixed():
    rollout = rollout_of([5, 6, 8, 10], reward=[1.0, 1.0, 0.0, 0.0], group=[0, 0, 1, 1])
    rollout.extras["limit"] = torch.full((1, 4), 10.0, dtype=F64)
    shaped = OverlongPenalty(buffer=4)(rollout)
    assert shaped.sum(-1).flatten().tolist() == [1.0, 1.0, -0.5, -1.0] and shaped[0, 2, 7] == -0.5
    rollout.extras["unshaped_reward"], rollout.reward = rollout.reward, shaped  # as the loop does
    assert not mixed_outcomes(rollout).any()  # lengths alone do not make a group worth learning from
    with pytest.raises(BadInput, match="buffer=0 must be at least 1 token; nearest: 1"):
        OverlongPenalty(0)
    assert spine("dapo", overlong_buffer=3).shape == [OverlongPenalty(3)] and not spine("dapo").shape


def test_rows_that_vary_most_and_tokens_that_count():
    rollout = rollout_of([2, 2, 2, 2], advantage=[[0.1, 0.1], [3.0, 3.0], [-1.0, -1.0], [0.0, 0.0]], entropy=[[9, 9], [1, 0.5], [4, 0.1], [9, 9]], progress=0.5)
    rows = MostVaryingRows(0.25, 0.75)(rollout)
    assert rows.any(-1).tolist() == [[False, True, True, False]]
    rollout.mask = rows
    assert TopTokens(0.0, 0.5)(rollout)[0, 1:3].tolist() == [[False, False], [True, False]]  # 4 · 1 above 1 · 3; a quarter of four
    rollout.progress = 1.0
    assert TopTokens(0.0, 0.5)(rollout)[0, 1:3].tolist() == [[True, False], [True, False]]


def test_right_answers_are_kept_and_of_equal_ones_the_first():
    actions = [[1, 2, 9], [1, 2, 7], [1, 2, 3], [1, 2, 0], [4, 4, 0]]
    rollout = rollout_of([2, 2, 3, 2, 2], action=actions, group=[0, 0, 0, 1, 1], reward=[1.0, 1.0, 1.0, 1.0, 0.0])
    weight = AcceptedAnswers(False)(rollout)
    assert weight[0, :, 0].tolist() == pytest.approx([11 / 9] * 4 + [0.0]) and not weight[~rollout.mask].any()
    distinct = AcceptedAnswers(True)(rollout)  # what stands behind the end does not tell answers apart; prompts do
    assert distinct[0, :, 0].tolist() == pytest.approx([11 / 7, 0.0, 11 / 7, 11 / 7, 0.0])
    rollout.reward[:] = 0.0
    assert AcceptedAnswers(False)(rollout).eq(0).all()


def test_the_anchor_is_the_first_iterations_entropy():
    mark = PeakEntropy(0.8, 0.5)
    first = rollout_of([3, 2], nucleus_entropy=[[1.0, 2.0, 3.0], [0.0, 6.0, 99.0]])
    marks = mark(first)
    assert marks["peak"].tolist() == [[[False, True, True], [False, True, False]]]  # the median is 2
    assert marks["entropy_gap"].eq(0).all()
    again = PeakEntropy(0.8, 0.5)
    again.load_state_dict(mark.state_dict())
    second = rollout_of([3, 2], nucleus_entropy=[[1.0, 1.0, 1.0], [1.0, 1.0, 99.0]])
    for one in (mark, again):
        marks = one(second)
        assert marks["peak"].sum() == 5  # all are alike
        torch.testing.assert_close(marks["entropy_gap"], torch.full((1, 2, 3), 1.0 - 11 / 3, dtype=F64))
    empty = PeakEntropy(0.8, 0.5)
    none = rollout_of([2], nucleus_entropy=[[1.0, 2.0]])
    none.mask[:] = False
    marks = empty(none)  # nothing seen: no anchor yet
    assert marks["entropy_gap"].eq(0).all() and not marks["peak"].any()
    assert empty(first)["entropy_gap"].eq(0).all() and empty.state_dict()["anchor"].tolist() == pytest.approx([11 / 3])


def test_the_anchor_term_has_value_and_gradient_of_the_square():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=g, dtype=F64).requires_grad_()
    entropy = ops.nucleus_entropy(logits, top_p=0.8)
    peak = torch.tensor([1, 0, 1, 1, 0, 0, 1]).bool()
    anchor = 0.1
    square = 0.3 * (entropy[peak].mean() - anchor).square()
    (want,) = torch.autograd.grad(square, logits, retain_graph=True)
    batch = TermBatch({"nucleus_entropy": entropy, "peak_entropy": entropy.detach(), "entropy_gap": (entropy[peak].mean() - anchor).detach()})
    loss = AnchoredEntropy(0.3, 0.8)(batch)[peak].mean()
    torch.testing.assert_close(loss, square)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], want)


def test_rare_steps_of_wrong_answers_are_protected():
    log_prob = [[-1.0, -5.0, -2.0], [-9.0, -3.0, -0.1]]
    rollout = rollout_of([3, 2], log_prob=log_prob, advantage=[[-1.0] * 3, [1.0] * 3])
    assert RarePushedDown(0.34)(rollout)["rare"].tolist() == [[[False, True, False], [False, False, False]]]
    rollout.extras["advantage"] = -rollout.extras["advantage"]
    assert RarePushedDown(0.01)(rollout)["rare"].tolist() == [[[False, False, False], [True, False, False]]]  # at least one


def test_the_protected_loss_by_hand():
    lowest = torch.finfo(F64).min
    new = torch.tensor([-5.0, -5.0, -5.0, -1.0], dtype=F64, requires_grad=True)
    old = torch.tensor([-4.0, -4.0, -4.0, -4.0], dtype=F64)
    batch = TermBatch({
        "log_prob": new, "old_log_prob": old, "advantage": torch.full((4,), -2.0, dtype=F64), "mask": torch.ones(4, dtype=torch.bool),
        "rare": torch.tensor([True, True, False, True]), "proxy_log_prob": torch.tensor([-3.9, lowest, -3.9, -3.9], dtype=F64),
    })  # fmt: skip
    loss = ProtectedRatio(1.0, 9.0, 0.5, 0.02)(batch)
    ratio = math.exp(-1)
    d = 1.1
    assert loss.tolist() == pytest.approx([2 * ratio + 0.5 * (math.exp(d) - d - 1), 2 * ratio, 2 * ratio, 2 * math.exp(3)])  # clip acts on A > 0 alone there
    loss.sum().backward()
    # A filtered token, one that is not rare and one above its proxy have the surrogate's gradient alone, exactly.
    plain = new.detach().requires_grad_()
    ClippedRatio(1.0, 9.0)(batch | {"log_prob": plain}).sum().backward()
    assert torch.equal(new.grad[1:], plain.grad[1:])
    assert new.grad[0].item() == pytest.approx(2 * ratio + 0.5 * (1 - math.exp(d)))


def test_without_a_signal_hapo_is_the_dapo_clip():
    g = torch.Generator().manual_seed(0)
    log_prob, old, advantage = (torch.randn(1, 4, 6, generator=g, dtype=F64) for _ in range(3))
    batch = TermBatch({"log_prob": log_prob, "old_log_prob": old, "advantage": advantage, "entropy_signal": torch.zeros_like(old)})
    got = HeterogeneousRatio(0.2, 0.28, 1e9)(batch)
    torch.testing.assert_close(got, ClippedRatio(0.2, 0.28)(batch), rtol=0, atol=1e-12)


def test_the_signal_is_negative_for_certain_tokens():
    rollout = rollout_of([5], entropy=[[0.1, 0.2, 0.4, 0.8, 1.6]])
    torch.testing.assert_close(EntropySignal(0.5, True)(rollout)["entropy_signal"], torch.tensor([[[-1.0, -0.5, 0.0, 0.5, 1.0]]], dtype=F64))
    assert (EntropySignal(0.5, False)(rollout)["entropy_signal"] >= 0).all()


def test_the_temperature_follows_the_batch_before():
    plan = EntropyTemperature(scale=0.05, quantile=0.5)
    entropy = torch.tensor([0.1, 0.4, 1.6, 99.0], dtype=F64)
    assert plan.temperature(entropy, entropy).tolist() == [1.0] * 4
    plan.observe(rollout_of([5], entropy=[[0.1, 0.2, 0.4, 0.8, 1.6]]))
    again = EntropyTemperature(scale=0.05, quantile=0.5)
    again.load_state_dict(plan.state_dict())
    for one in (plan, again):
        torch.testing.assert_close(one.temperature(entropy, entropy), torch.tensor([0.95, 1.0, 1.05, 1.05], dtype=F64))


def test_ratio_of_answers_and_of_importance():
    g = torch.Generator().manual_seed(0)
    old, advantage = torch.randn(1, 3, 4, generator=g, dtype=F64), torch.randn(1, 3, 1, generator=g, dtype=F64).expand(1, 3, 4)
    mask = torch.arange(4) < torch.tensor([[[4], [2], [1]]])
    batch = TermBatch({
        "log_prob": (old + 0.3 * torch.randn(old.shape, generator=g, dtype=F64)).requires_grad_(),
        "old_log_prob": old,
        "advantage": advantage,
        "mask": mask,
    })  # fmt: skip
    loss = ClippedSequenceRatio(0.1, 0.2)(batch)
    for row, count in enumerate((4, 2, 1)):
        ratio, a = (batch.log_prob - old)[0, row, :count].mean().exp().item(), advantage[0, row, 0].item()
        want = -min(ratio * a, min(max(ratio, 0.9), 1.2) * a)
        assert loss[0, row, :count].tolist() == pytest.approx([want] * count)
    on_policy = batch | {"log_prob": old.clone().requires_grad_()}
    (found,) = torch.autograd.grad(ClippedImportance()(on_policy).sum(), on_policy.log_prob)
    torch.testing.assert_close(found, -advantage)


def test_d3s_keeps_its_shares_in_the_loop():
    world = make_world("sequences:graded")
    learner = spine("d3s", prompts=4, group_size=8, answers_start=0.5, answers_end=0.5, tokens_start=0.25, tokens_end=0.25).learner(
        world, [0, 1], 10, torch.device("cpu")
    )
    learner.iterate()
    mask = learner.rollout.mask
    assert mask.sum((1, 2)).tolist() == [16, 16]  # 32 rows of 4 tokens: 16 rows, a quarter of 64 tokens
    assert (mask.any(-1).sum(-1) <= 16).all()
