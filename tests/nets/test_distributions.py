"""Distributions of every action: numbers by hand, the same by a double loop, and masks that are obeyed everywhere."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.nets.distributions import Categorical, Categoricals, Gaussian, Mixed, SquashedGaussian, SquashedMixture, TanhPoint, distribution_for

CHOICE = Field("action", (), "int64", "discrete", (3,), (0,))
CHOICES = Field("a", (2,), "int64", "multi-discrete", (3, 2), (0, 0))
BITS = Field("b", (2,), "int8", "multi-binary", (2, 2), (0, 0))
BOX = Field("c", (2,), "float32", low=(-1.0,), high=(3.0,))


def spec(*fields: Field) -> Spec:
    return Spec(fields)


def test_the_distribution_of_a_space():
    assert type(distribution_for(spec(CHOICE))) is Categorical
    assert type(distribution_for(spec(CHOICES, BITS))) is Categoricals
    assert type(distribution_for(spec(BOX))) is Gaussian
    assert type(distribution_for(spec(BOX), SquashedGaussian)) is SquashedGaussian
    assert type(distribution_for(spec(CHOICE, BOX))) is Mixed
    assert [distribution_for(spec(*fields)).action_shape for fields in ((CHOICE,), (CHOICES, BITS), (BOX,), (CHOICE, BOX))] == [(), (4,), (2,), (3,)]


def test_several_choices_by_hand():
    """Logits (0, log 2, log 5) and (log 3, 0): probabilities 1/8, 2/8, 5/8 and 3/4, 1/4."""
    found = distribution_for(spec(CHOICES))
    logits = torch.tensor([0.0, math.log(2), math.log(5), math.log(3), 0.0])
    assert found.log_prob(logits, torch.tensor([1, 1])).item() == pytest.approx(math.log(2 / 8 / 4))
    first, second = [1 / 8, 2 / 8, 5 / 8], [3 / 4, 1 / 4]
    entropy = -sum(p * math.log(p) for p in first + second)
    assert found.entropy(logits).item() == pytest.approx(entropy, rel=1e-6)
    assert found.mode(logits).tolist() == [2, 0]
    assert sum(found.log_prob(logits, torch.tensor(pair)).exp() for pair in product(range(3), range(2))).item() == pytest.approx(1, rel=1e-6)
    assert found.encode(torch.tensor([1, 1])).tolist() == [0, 1, 0, 0, 1]


def test_what_is_forbidden_by_hand():
    """Of (1/8, 2/8, 5/8) without the last, 1/3 and 2/3 are left; the second choice has one action left, which is certain."""
    found = distribution_for(spec(CHOICES))
    logits = torch.tensor([0.0, math.log(2), math.log(5), math.log(3), 0.0], requires_grad=True)
    masked = found.forbid(logits, torch.tensor([True, True, False, False, True]))
    assert found.log_prob(masked, torch.tensor([0, 1])).item() == pytest.approx(math.log(1 / 3), rel=1e-6)
    entropy = found.entropy(masked)
    assert entropy.item() == pytest.approx(-math.log(1 / 3) / 3 - math.log(2 / 3) * 2 / 3, rel=1e-6)
    assert found.mode(masked).tolist() == [1, 1]
    assert found.log_prob(masked, torch.tensor([2, 1])).item() < -1e7
    (entropy + found.log_prob(masked, torch.tensor([0, 1]))).backward()
    assert logits.grad[[2, 3]].tolist() == [0, 0] and torch.isfinite(logits.grad).all() and logits.grad[0] != 0


def test_a_mask_that_forbids_all_leaves_finite_numbers():
    """As of the outcome of an episode's end, from which nobody acts and nothing is bootstrapped."""
    logits = torch.randn(4, 3, requires_grad=True)
    masked = ops.forbid(logits, torch.zeros(4, 3, dtype=torch.bool))
    assert torch.isfinite(ops.entropy_from_logits(masked)).all() and (masked.amax(-1) * 0 == 0).all()


@pytest.mark.parametrize("fields", [(CHOICE,), (CHOICES,), (BOX,), (CHOICE, BOX)], ids=str)
def test_the_divergence_is_the_mean_log_ratio(fields):
    """Over 100,000 draws, within five standard errors; and 0 from itself."""
    found = distribution_for(spec(*fields))
    generator = torch.Generator().manual_seed(0)
    mine, others = (0.7 * torch.randn(found.size, generator=generator) for _ in range(2))
    parameters = mine.expand(1, 100_000, -1)
    action = found.sample(parameters, found.noise(Streams([0]), "action", 100_000))
    ratio = found.log_prob(parameters, action) - found.log_prob(others.expand(1, 100_000, -1), action)
    assert abs(found.kl(mine, others) - ratio.mean()) < 5 * ratio.std() / 100_000**0.5
    assert found.kl(mine, mine).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("fields", [(CHOICE,), (CHOICES,), (BITS, CHOICES), (CHOICES, BOX)], ids=str)
def test_forbidden_choices_are_never_drawn(fields):
    found, streams = distribution_for(spec(*fields)), Streams([0, 1])
    generator = torch.Generator().manual_seed(0)
    counts = spec(*fields).counts
    allowed = torch.rand(2, 500, found.choices, generator=generator) > 0.5
    start = 0
    for count in counts:  # one at least of each
        allowed[..., start + torch.randint(count, (1,), generator=generator).item()] = True
        start += count
    parameters = found.forbid(torch.randn(2, 500, found.size, generator=generator) * 5, allowed)
    drawn = (
        found.sample(parameters, found.noise(streams, "action", 500)),
        found.uniform(streams, "explore", 500, allowed=allowed),
        found.mode(parameters),
    )
    for action in drawn:
        assert action.shape == (2, 500, *found.action_shape) and action.dtype == found.action_type
        chosen = action[..., None] if not found.action_shape else action[..., : len(counts)]
        hot = torch.cat([torch.nn.functional.one_hot(chosen[..., place].long(), count) for place, count in enumerate(counts)], -1).bool()
        assert not (hot & ~allowed).any()
    explored = drawn[1] if not found.action_shape else drawn[1][..., 0]
    assert len(explored.unique()) == counts[0]


def test_draws_follow_the_probabilities():
    found, streams = distribution_for(spec(CHOICES)), Streams([0])
    logits = torch.tensor([0.0, math.log(2), math.log(5), math.log(3), 0.0]).expand(1, 20_000, 5)
    action = found.sample(logits, found.noise(streams, "action", 20_000))[0]
    np.testing.assert_allclose(action[:, 0].bincount() / 20_000, [1 / 8, 2 / 8, 5 / 8], atol=0.02)
    np.testing.assert_allclose(action[:, 1].bincount() / 20_000, [3 / 4, 1 / 4], atol=0.02)
    assert abs(np.corrcoef(action.T)[0, 1]) < 0.03


def test_choices_and_numbers_at_a_time():
    """The log-probability and the entropy of both are the sums of theirs; parameters are logits, means, log deviations."""
    found = distribution_for(spec(CHOICES, BOX))
    logits, mean, log_std = torch.randn(3, 5), torch.randn(3, 2), torch.randn(3, 2)
    parameters = torch.cat([logits, mean, log_std], -1)
    action = torch.tensor([[2.0, 1.0, 0.5, -1.0]]).expand(3, 4)
    choices, numbers = distribution_for(spec(CHOICES)), distribution_for(spec(BOX))
    rest = torch.cat([mean, log_std], -1)
    wanted = choices.log_prob(logits, torch.tensor([[2, 1]]).expand(3, 2)) + numbers.log_prob(rest, action[:, 2:])
    torch.testing.assert_close(found.log_prob(parameters, action), wanted)
    torch.testing.assert_close(found.entropy(parameters), choices.entropy(logits) + numbers.entropy(rest))
    torch.testing.assert_close(found.mode(parameters), torch.cat([choices.mode(logits).float(), mean], -1))
    assert found.locations == 7 and found.deviations == 2 and [x.shape[-1] for x in found.split(parameters)] == [7, 2]
    squashed = distribution_for(spec(CHOICES, BOX), SquashedGaussian)
    units = squashed.to_environment(torch.tensor([[2.0, 1.0, 0.5, -1.0]]))
    assert units.tolist() == [[2, 1, 2, -1]]
    assert squashed.from_environment(torch.from_numpy(units)).tolist() == [[2, 1, 0.5, -1]]
    assert found.encode(action)[0].tolist() == [0, 0, 1, 0, 1, 0.5, -1]


def test_a_mixture_is_the_sum_of_its_experts():
    """Its log-probability is the logarithm of a weighted sum of densities; what it draws is what one expert drew; its mode is the likeliest expert's."""
    found, K, A = SquashedMixture(spec(BOX), experts=3), 3, 2
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(4, 5, found.size, generator=generator, dtype=torch.float64)
    action = torch.rand(4, 5, A, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    logits, mean, log_std = parameters.split([K, K * A, K * A], -1)
    total = torch.zeros(4, 5, dtype=torch.float64)
    for place in range(K):
        normal = torch.distributions.Normal(mean[..., place * A : place * A + A], log_std[..., place * A : place * A + A].exp())
        density = (normal.log_prob(torch.atanh(action)) - torch.log(1 - action**2)).sum(-1).exp()
        total += logits.softmax(-1)[..., place] * density
    torch.testing.assert_close(found.log_prob(parameters, action), total.log(), rtol=1e-6, atol=1e-6)
    noise = found.noise(Streams([0, 1, 2, 3]), "x", 5).double()
    each, own, acts = found.every(parameters, noise)
    drawn, log_prob = found.sample_with_log_prob(parameters, noise)
    torch.testing.assert_close(log_prob, found.log_prob(parameters, drawn))
    for row, column in product(range(4), range(5)):
        chosen = acts[row, column].item()
        assert torch.equal(drawn[row, column], each[row, column, chosen])
        mine = slice(chosen * A, chosen * A + A)
        alone = mean[row, column, mine] + noise[row, column, K:][mine] * log_std[row, column, mine].exp()
        torch.testing.assert_close(drawn[row, column], torch.tanh(alone))
    likeliest = logits.argmax(-1)
    torch.testing.assert_close(found.mode(parameters)[0, 0], torch.tanh(mean[0, 0, likeliest[0, 0] * A : likeliest[0, 0] * A + A]))
    certain = torch.zeros(1, 2_000, found.size)
    certain[..., :K] = torch.tensor([0.2, 0.3, 0.5]).log()
    _, _, acts = found.every(certain, found.noise(Streams([0]), "y", 2_000))
    torch.testing.assert_close(torch.bincount(acts[0], minlength=K) / 2_000, torch.tensor([0.2, 0.3, 0.5]), atol=0.04, rtol=0)
    assert own.shape == (4, 5, K) and found.uniform(Streams([0]), "z", 7).shape == (1, 7, A)


@pytest.mark.parametrize(
    ("found", "lacks", "said"),
    [
        (Gaussian(spec(BOX)), ("sample_with_log_prob",), "give ActorNet squash=True"),
        (Categorical(spec(CHOICE)), ("sample_with_log_prob",), "expectation"),
        (distribution_for(spec(CHOICES, BOX), SquashedGaussian), ("sample_with_log_prob",), "expectation"),
        (TanhPoint(spec(BOX)), ("sample_with_log_prob", "log_prob", "entropy", "kl", "score"), "in the place of deterministic=True"),
        (SquashedGaussian(spec(BOX)), ("entropy", "log_prob_and_entropy", "score"), "-log_prob of what it draws"),
        (SquashedMixture(spec(BOX), 2), ("entropy", "score", "kl"), "log_prob of what it draws"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple | str) else None,
)
def test_what_a_distribution_lacks_is_said_with_what_to_take(found, lacks, said):
    parameters, action = torch.zeros(1, 2, found.size), torch.zeros(1, 2, *found.action_shape)
    for name in lacks:
        given = (parameters,) if name == "entropy" else (parameters, action)
        with pytest.raises(BadInput, match=said):
            getattr(found, name)(*given)
