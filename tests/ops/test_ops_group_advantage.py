import math

import pytest
import torch

from operant import ops

NAN = math.nan


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def random_groups(seed, groups=5, size=6):
    """Binary scores `[G, K]` with NaN where the mask is False; every group keeps at least two members."""
    g = torch.Generator().manual_seed(seed)
    score = (torch.rand(groups, size, generator=g, dtype=torch.float64) < 0.4).double()
    mask = torch.rand(groups, size, generator=g) < 0.7
    mask[:, :2] = True
    return score.masked_fill(~mask, NAN), mask


def members(score, mask):
    return [[float(s) for s, m in zip(row, keep, strict=True) if m] for row, keep in zip(score, mask, strict=True)]


def sample_std(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def spread(score, mask, one):
    """`one(g, i, scores)` for member i of group g, laid out as `[G, K]`, 0 where the mask is False."""
    out = torch.zeros_like(score)
    for g, scores in enumerate(members(score, mask)):
        for i, k in enumerate(mask[g].nonzero().squeeze(1).tolist()):
            out[g, k] = one(g, i, scores)
    return out


def test_batch_scaled_advantage_by_hand():
    # Centred: ±1/2 and 0; the batch's scores are 1, 0, 1, 1: sample standard deviation 1/2.
    got = ops.batch_scaled_advantage(f64([[1, 0], [1, 1]]), eps=0.0)
    torch.testing.assert_close(got, f64([[1, -1], [0, 0]]))


@pytest.mark.parametrize("seed", range(3))
def test_batch_scaled_advantage_equals_the_double_loop(seed):
    score, mask = random_groups(seed)
    std = sample_std([value for row in members(score, mask) for value in row])
    want = spread(score, mask, lambda g, i, scores: (scores[i] - sum(scores) / len(scores)) / (std + 1e-6))
    torch.testing.assert_close(ops.batch_scaled_advantage(score, mask), want, rtol=1e-12, atol=1e-12)
    stacked = ops.batch_scaled_advantage(torch.stack([score, score]), torch.stack([mask, mask]))
    torch.testing.assert_close(stacked[1], want)


def test_batch_scaled_advantage_of_one_group_is_the_group_normalised_one():
    score, mask = random_groups(7, groups=1, size=9)
    torch.testing.assert_close(ops.batch_scaled_advantage(score, mask), ops.group_normalized_advantage(score, mask), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_virtual_max_advantage_of_uniform_groups(size):
    wrong = ops.virtual_max_advantage(torch.zeros(1, size, dtype=torch.float64))
    torch.testing.assert_close(wrong, torch.full((1, size), -1 / math.sqrt(size + 1), dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(ops.virtual_max_advantage(torch.ones(1, size)), torch.zeros(1, size))
    shifted = ops.virtual_max_advantage(torch.full((1, size), 2.0, dtype=torch.float64), max_reward=3.0)
    torch.testing.assert_close(shifted, wrong)


@pytest.mark.parametrize("seed", range(3))
def test_virtual_max_advantage_equals_the_double_loop(seed):
    score, mask = random_groups(seed)

    def one(g, i, scores):
        extended = [*scores, 1.0]
        return (scores[i] - sum(extended) / len(extended)) / (sample_std(extended) + 1e-6)

    want = spread(score, mask, lambda g, i, scores: 0.0 if min(scores) == 1 else one(g, i, scores))
    torch.testing.assert_close(ops.virtual_max_advantage(score, mask), want, rtol=1e-12, atol=1e-12)


def test_virtual_max_advantage_leaves_a_lone_member_its_score():
    got = ops.virtual_max_advantage(f64([[NAN, 0.5], [0.0, NAN], [NAN, NAN]]), torch.tensor([[False, True], [True, False], [False, False]]), eps=0.0)
    assert got.tolist() == [[0.0, 0.5], [0.0, 0.0], [0.0, 0.0]]


def test_beta_normalised_advantage_has_reinforce_and_grpo_as_special_cases():
    score = f64([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    rate = score.mean(-1, keepdim=True)
    plain = ops.beta_normalized_advantage(score, parameters=(1.0, 1.0))
    torch.testing.assert_close(plain, score - rate, rtol=0, atol=1e-12)
    half = ops.beta_normalized_advantage(score, parameters=(1.5, 1.5))
    want = (math.pi / 8 * (score - rate) / (rate * (1 - rate)).sqrt()).nan_to_num()
    torch.testing.assert_close(half, want, rtol=0, atol=1e-12)
    assert torch.equal(half[3:], torch.zeros(2, 4, dtype=torch.float64))


def test_beta_parameters_by_hand():
    # Rates 1/4, 1/2, 3/4: m = 1/2, v = 1/16; m(1 - m)/v - 1 = 3, so a = b = 3/2 and alpha = beta = 3/2.
    alpha, beta = ops.beta_parameters(f64([0.25, 0.5, NAN, 0.75]), torch.tensor([True, True, False, True]))
    torch.testing.assert_close(torch.cat([alpha, beta]), f64([1.5, 1.5]))
    for rate in (f64([0.3]), f64([0.1, 0.1, 0.1]), f64([0.0, 1.0])):  # one prompt; no spread; more spread than any Beta density has
        alpha, beta = ops.beta_parameters(rate)
        torch.testing.assert_close(torch.cat([alpha, beta]), f64([1.0, 1.0]))


@pytest.mark.parametrize("seed", range(3))
def test_beta_normalised_advantage_equals_the_double_loop(seed):
    score, mask = random_groups(seed)
    rates = [sum(scores) / len(scores) for scores in members(score, mask)]
    m = sum(rates) / len(rates)
    size = m * (1 - m) / sample_std(rates) ** 2 - 1
    alpha, beta = max(1.0, 1 + size * m / 3), max(1.0, 1 + size * (1 - m) / 3)

    def one(g, i, scores):
        p = rates[g]
        if p in (0.0, 1.0):
            return 0.0
        density = p ** (alpha - 1) * (1 - p) ** (beta - 1) * math.gamma(alpha + beta) / (math.gamma(alpha) * math.gamma(beta))
        return (scores[i] - p) * min(1 / density, 1e6)

    torch.testing.assert_close(ops.beta_normalized_advantage(score, mask), spread(score, mask, one), rtol=1e-9, atol=1e-12)


def test_beta_normalised_advantage_is_finite_and_takes_no_score_outside_0_to_1():
    # 31 right prompts and one nearly right: 1/f of rate 1 is unbounded, times a centred score of 0.
    score = torch.ones(32, 16)
    score[0, :2] = 0
    got = ops.beta_normalized_advantage(score)
    assert torch.isfinite(got).all() and torch.equal(got[1:], torch.zeros(31, 16)) and (got[0, :2] < 0).all()
    for wrong in (-0.25, 1.5):
        with pytest.raises(ValueError, match=f"one is {wrong}"):
            ops.beta_normalized_advantage(torch.tensor([[0.0, wrong, 1.0]]))
        assert torch.equal(ops.beta_normalized_advantage(torch.tensor([[wrong, 1.0, 1.0]]), torch.tensor([[False, True, True]])), torch.zeros(1, 3))


def test_median_split_by_hand():
    score, metric = f64([[1, 0, 1, 1]]), f64([[4, 3, 2, 1]])
    # low half: the last two (1, 1); high half: the first two (1, 0).
    torch.testing.assert_close(ops.median_split_advantage(score, None, metric, 1.0), f64([[0, -1, 0.5, 0.5]]))
    torch.testing.assert_close(ops.median_split_advantage(score, None, metric, 0.0), f64([[0.5, -0.5, 0, 0]]))
    torch.testing.assert_close(ops.median_split_advantage(score, None, metric, 1.0, high_factor=0.5), f64([[-0.5, -1, 0.75, 0.75]]))
    weight = f64([[1, 1, 0, 0]])
    torch.testing.assert_close(ops.median_split_advantage(score, None, metric, weight), f64([[0, -1, 0, 0]]))


@pytest.mark.parametrize("seed", range(3))
def test_median_split_equals_the_double_loop(seed):
    score, mask = random_groups(seed)
    metric = torch.rand(score.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).masked_fill(~mask, NAN)
    values = members(metric, mask)

    def one(g, i, scores):
        order = sorted(range(len(scores)), key=lambda j: values[g][j])
        low, high = order[: len(scores) // 2], order[len(scores) // 2 :]
        own, other = (low, high) if i in low else (high, low)
        mean = lambda half: sum(scores[j] for j in half) / len(half)  # noqa: E731
        return 0.3 * (scores[i] - mean(other)) + 0.7 * (scores[i] - mean(own))

    torch.testing.assert_close(ops.median_split_advantage(score, mask, metric, 0.3), spread(score, mask, one), rtol=1e-12, atol=1e-12)


def test_median_split_identities():
    g = torch.Generator().manual_seed(0)
    score, metric = (torch.randn(4, 8, generator=g, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(ops.median_split_advantage(score, None, metric, 0.5), score - score.mean(-1, keepdim=True), rtol=0, atol=1e-12)
    low = metric.argsort(-1).argsort(-1) < 4
    halves = lambda x: ((x * low).sum(-1) / 4, (x * ~low).sum(-1) / 4)  # noqa: E731
    low_score, high_score = halves(score)
    d = high_score - low_score
    inter_low, inter_high = halves(ops.median_split_advantage(score, None, metric, 1.0))
    torch.testing.assert_close(inter_high, d, rtol=0, atol=1e-12)
    torch.testing.assert_close(inter_low, -d, rtol=0, atol=1e-12)
    for mean in halves(ops.median_split_advantage(score, None, metric, 0.0)):
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-12)


def test_median_split_breaks_ties_by_place_and_compares_a_lone_member_with_nobody():
    tied = ops.median_split_advantage(f64([[1, 1, 0, 0]]), None, torch.zeros(1, 4), 1.0)
    torch.testing.assert_close(tied, f64([[1, 1, -1, -1]]))
    lone = ops.median_split_advantage(f64([[NAN, 1.0]]), torch.tensor([[False, True]]), f64([[0, 0]]), 1.0)
    assert lone.tolist() == [[0.0, 0.0]]


def test_group_mean_advantage():
    # Means 0, 1/2, 1, standardised by mean 1/2 and deviation 1/2; the fourth group is empty.
    score = f64([[0, 0], [1, 0], [1, NAN], [NAN, NAN]])
    mask = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    got = ops.group_mean_advantage(score, mask, eps=0.0)
    torch.testing.assert_close(got, f64([[-1, -1], [0, 0], [1, 0], [0, 0]]))
    assert torch.equal(ops.group_mean_advantage(f64([[1, 0]])), f64([[0, 0]]))


def test_answer_entropy():
    answer = torch.tensor([[5, 5, 5, 5], [1, 2, 3, 4], [7, 7, 8, 9], [0, 1, 2, 3]])
    mask = torch.tensor([[True] * 4, [True] * 4, [True, True, True, False], [False] * 4])
    want = f64([[0.0], [math.log(4)], [-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)], [0.0]])
    torch.testing.assert_close(ops.answer_entropy(answer, mask).double(), want, rtol=0, atol=1e-6)


def test_sign_weighted_score():
    score, mask = f64([[1, 0, NAN]]), torch.tensor([[True, True, False]])
    for (positive, negative), want in {(0, 1): [0, -1, 0], (1, 0): [1, 0, 0], (0.1, 1): [0.1, -1, 0], (1, 1): [1, -1, 0]}.items():
        torch.testing.assert_close(ops.sign_weighted_score(score, mask, positive=positive, negative=negative), f64([want]))


def test_wrong_answers_move_mass_in_proportion_to_the_prior():
    logits = torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    log_prob = logits.log_softmax(-1)
    advantage = ops.sign_weighted_score(f64([0.0]), positive=0.0, negative=1.0)
    ops.clipped_ratio_loss(log_prob[2:3], log_prob[2:3].detach(), advantage, clip_low=0.2, clip_high=0.2).sum().backward()
    want = logits.detach().softmax(-1)
    want[2] = -(1 - want[2])
    torch.testing.assert_close(-logits.grad, want, rtol=0, atol=1e-12)
