import itertools
import math

import pytest
import torch

from operant import ops

F64 = torch.float64


def logits_of(*probabilities):
    return torch.tensor(probabilities, dtype=F64).log()


def test_nucleus_entropy_by_hand():
    logits = logits_of(0.5, 0.25, 0.15, 0.1)
    half = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    for top_p, want in ((0.4, 0.0), (0.5 + 1e-9, 0.0), (0.74, 0.0), (0.76, half), (0.89, half)):  # the token that crosses the bound is left out
        assert ops.nucleus_entropy(logits, top_p=top_p).item() == pytest.approx(want, abs=1e-12)
    assert ops.nucleus_entropy(logits_of(0.9, 0.1), top_p=0.8).item() == 0.0  # the first always counts


@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.8, 0.99])
def test_nucleus_entropy_equals_the_double_loop_and_has_no_gradient_outside(top_p):
    logits = (2 * torch.randn(50, 11, generator=torch.Generator().manual_seed(0), dtype=F64)).requires_grad_()
    got = ops.nucleus_entropy(logits, top_p=top_p)
    got.sum().backward()
    for row, (scores, entropy) in enumerate(zip(logits.tolist(), got.tolist(), strict=True)):
        weight = [math.exp(x) for x in scores]
        order = sorted(range(11), key=lambda i, weight=weight: -weight[i])
        inside, mass = [order[0]], weight[order[0]] / sum(weight)
        for i in order[1:]:
            mass += weight[i] / sum(weight)
            if mass > top_p:
                break
            inside.append(i)
        p = [weight[i] / sum(weight[j] for j in inside) for i in inside]
        assert entropy == pytest.approx(-sum(x * math.log(x) for x in p), abs=1e-9)
        outside = [i for i in range(11) if i not in inside]
        assert logits.grad[row, outside].eq(0).all() and logits.grad[row].isfinite().all()
        for i, x in zip(inside, p, strict=True):  # d H / d z_i = -p_i (log p_i + H)
            assert logits.grad[row, i].item() == pytest.approx(-x * (math.log(x) + entropy), abs=1e-9)


def test_min_p_log_prob_by_hand():
    logits, token = logits_of(0.6, 0.3, 0.08, 0.02).expand(4, 4), torch.arange(4)
    lowest = torch.finfo(F64).min
    got = ops.min_p_log_prob(logits, token, kappa=0.1)  # 0.06 and above
    want = [math.log(0.6 / 0.98), math.log(0.3 / 0.98), math.log(0.08 / 0.98), lowest]
    torch.testing.assert_close(got, torch.tensor(want, dtype=F64))
    torch.testing.assert_close(ops.min_p_log_prob(logits, token, kappa=0.0), logits[0])
    assert ops.min_p_log_prob(logits, token, kappa=1.0).tolist() == [0.0, lowest, lowest, lowest]


def test_normalised_log_entropy_by_hand():
    e = torch.tensor([[[0.0, -2.0, -1.0, 1.0, 9.0]]], dtype=F64).exp()
    mask = torch.tensor([[[True, True, True, True, False]]])
    centre, low, high = ops.log_entropy_range(e, mask, quantile=0.5)
    assert [float(x) for x in (centre, low, high)] == pytest.approx([-0.5, -1.5, 1.5])
    got = ops.normalized_log_entropy(e, centre, low, high)
    torch.testing.assert_close(got, torch.tensor([[[1 / 3, -1.0, -1 / 3, 1.0, 1.0]]], dtype=F64))  # what lies beyond the range is cut
    skewed = ops.normalized_log_entropy(e, *ops.log_entropy_range(e, mask, quantile=1.0))
    torch.testing.assert_close(skewed[mask], torch.tensor([-1 / 3, -1.0, -2 / 3, 0.0], dtype=F64))
    certain = ops.log_entropy_range(torch.zeros(1, 1, 2, dtype=F64), torch.ones(1, 1, 2, dtype=torch.bool), quantile=0.8)
    assert ops.normalized_log_entropy(torch.zeros(2, dtype=F64), *(x.squeeze() for x in certain)).tolist() == [0.0, 0.0]


def test_dividing_by_the_root_mean_square_cancels():
    e = torch.rand(1, 4, 25, generator=torch.Generator().manual_seed(1), dtype=F64)
    h = e.log() - e.log().flatten().quantile(0.8)
    h = h / h.square().mean().sqrt()
    want = torch.where(h > 0, h / h.max(), h / h.min().abs())
    got = ops.normalized_log_entropy(e, *ops.log_entropy_range(e, torch.ones_like(e, dtype=torch.bool), quantile=0.8))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_top_share():
    x = torch.tensor([[[3.0, 1.0, math.nan], [2.0, 2.0, 9.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    mask = torch.tensor([[[True, True, False], [True, True, False]], [[False, False, False], [False, True, True]]])
    got = ops.top_share(x, mask, 0.5)
    assert got.long().tolist() == [[[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]]  # of equal ones the first
    assert torch.equal(ops.top_share(x, mask, 1.0), mask)
    assert ops.top_share(x, mask, 0.01).sum((1, 2)).tolist() == [1, 1]
    assert not ops.top_share(x, torch.zeros_like(mask), 0.5).any()


def test_the_subset_of_largest_variance_equals_brute_force():
    g = torch.Generator().manual_seed(0)
    worst = 0.0
    for draw in range(1_000):
        size = int(torch.randint(2, 11, (), generator=g))
        x = torch.randn(size, generator=g, dtype=F64)
        if draw % 3 == 0:
            x = x.round()  # ties
        mask = torch.rand(size, generator=g) < 0.8
        count = int(torch.randint(1, size + 1, (), generator=g))
        kept = ops.max_variance_subset(x.masked_fill(~mask, math.nan), mask, torch.tensor(count))
        among = x[mask].tolist()
        assert kept.sum() == min(count, len(among)) and not (kept & ~mask).any()
        if among:
            best = max(torch.tensor(s, dtype=F64).var(correction=0) for s in itertools.combinations(among, min(count, len(among))))
            worst = max(worst, abs(float(best - x[kept].var(correction=0))))
    assert worst <= 1e-12


def test_the_subset_of_largest_variance_by_seed():
    x = torch.tensor([[0.0, 5.0, 1.0, -5.0], [1.0, 1.0, 1.0, 2.0]])
    mask = torch.tensor([[True, True, True, True], [True, True, True, False]])
    got = ops.max_variance_subset(x, mask, torch.tensor([2, 4]))
    assert got.tolist() == [[False, True, False, True], [True, True, True, False]]


def test_token_weighted_advantage_by_hand_and_by_double_loop():
    # Tokens 3, 1: mean 3/4, population deviation sqrt(3)/4.
    got = ops.token_weighted_advantage(torch.tensor([[1.0, 0.0]], dtype=F64), None, torch.tensor([[3, 1]]), eps=0.0)
    torch.testing.assert_close(got, torch.tensor([[1 / math.sqrt(3), -math.sqrt(3)]], dtype=F64))
    g = torch.Generator().manual_seed(0)
    score, length = torch.rand(20, 6, generator=g, dtype=F64), torch.randint(1, 9, (20, 6), generator=g)
    mask = torch.rand(20, 6, generator=g) < 0.7
    mask[:, :2] = True
    got = ops.token_weighted_advantage(score.masked_fill(~mask, math.nan), mask, length)
    for row in range(20):
        tokens = [s for s, m, n in zip(score[row].tolist(), mask[row].tolist(), length[row].tolist(), strict=True) if m for _ in range(n)]
        mean = sum(tokens) / len(tokens)
        std = math.sqrt(sum((x - mean) ** 2 for x in tokens) / len(tokens))
        want = [(s - mean) / (std + 1e-6) if m else 0.0 for s, m in zip(score[row].tolist(), mask[row].tolist(), strict=True)]
        if max(map(abs, want)) < 5:
            assert got[row].tolist() == pytest.approx(want, abs=1e-9)


def test_token_weighted_advantage_of_equal_lengths_is_grpos():
    score = torch.rand(50, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    want = (score - score.mean(-1, keepdim=True)) / score.std(-1, correction=0, keepdim=True)
    got = ops.token_weighted_advantage(score, None, torch.full((50, 8), 7))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)  # eps
    torch.testing.assert_close(ops.token_weighted_advantage(score, None, torch.full((50, 8), 7), eps=0.0), want, rtol=0, atol=1e-12)


def test_a_huge_token_weighted_advantage_falls_back():
    score = torch.tensor([[1.0, 0.0, 0.0]], dtype=F64)  # one short right answer among 200 wrong tokens would get sqrt(200)
    got = ops.token_weighted_advantage(score, None, torch.tensor([[1, 100, 100]]))
    assert torch.equal(got, ops.group_normalized_advantage(score))
    assert ops.token_weighted_advantage(torch.full((1, 3), 0.1), None, torch.tensor([[1, 2, 3]])).eq(0).all()


def test_heterogeneous_clip_and_redistribution_by_hand():
    signal = torch.tensor([-0.5, 0.0, 0.5], dtype=F64)
    low, high = ops.entropy_scaled_clip(signal, clip_low=0.2, clip_high=0.3)
    torch.testing.assert_close(low, torch.tensor([0.3, 0.2, 0.2], dtype=F64))
    torch.testing.assert_close(high, torch.tensor([0.3, 0.3, 0.45], dtype=F64))
    for ratio, want in ((1.0, [1.0, 2.0, 2.0]), (1.4, [2.0, 2.0, 3.0]), (0.5, [2.0, 2.0, 3.0])):
        got = ops.redistributed_advantage(torch.full((3,), 2.0, dtype=F64), signal, torch.full((3,), ratio, dtype=F64), clip_low=low, clip_high=high)
        torch.testing.assert_close(got, torch.tensor(want, dtype=F64))


def test_no_signal_leaves_the_plain_clip():
    g = torch.Generator().manual_seed(0)
    log_prob, old, advantage = (torch.randn(30, generator=g, dtype=F64) for _ in range(3))
    signal = torch.zeros(30, dtype=F64)
    low, high = ops.entropy_scaled_clip(signal, clip_low=0.2, clip_high=0.28)
    changed = ops.redistributed_advantage(advantage, signal, ops.policy_ratio(log_prob, old), clip_low=low, clip_high=high)
    got = ops.dual_clipped_ratio_loss(log_prob, old, changed, clip_low=low, clip_high=high, max_ratio=math.inf)
    torch.testing.assert_close(got, ops.clipped_ratio_loss(log_prob, old, advantage, clip_low=0.2, clip_high=0.28), rtol=0, atol=1e-12)
