"""Denoising steps as rows: the flow's ops by hand, log-probabilities, rewards, seeds, and what the base model and training come to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence.generative.awm import gradient_error
from operant.worlds import make_world
from operant.worlds.generative.plans import Denoising, Matching
from operant.worlds.generative.world import GenerativeWorld, coverage, histogram_kl
from operant.worlds.plans import Groups

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world() -> GenerativeWorld:
    return make_world("generative:mixture")


def test_a_step_of_the_sde_by_hand():
    assert ops.flow_sde_step(0.5, 0.1, noise_level=0.0, latest=0.9) == (1.0, -0.1, 0.0)  # Euler's step
    keep, gain, deviation = ops.flow_sde_step(0.5, 0.1, noise_level=2.0, latest=0.9)  # σ² = 4, pull = 4
    assert (keep, gain, deviation) == pytest.approx((1 - 0.4, -0.1 * (1 + 4 * 0.5), math.sqrt(0.4)))
    assert ops.flow_sde_step(1.0, 0.1, noise_level=1.0, latest=0.9)[2] == pytest.approx(1.0)  # σ² = 1 / 0.1


def test_the_sde_has_the_flows_marginals():
    """Of one Gaussian N(m, c²) everything is known: v = (t ε̂ …) is linear, and both samplers end at the mean and deviation of the data."""
    m, c, steps = 1.5, 0.5, 400
    g = torch.Generator().manual_seed(0)
    for level in (0.0, 0.7):
        x = torch.randn(20_000, generator=g, dtype=torch.float64)
        for place in range(steps, 0, -1):
            t = place / steps
            variance = ((1 - t) * c) ** 2 + t**2
            v = -m + (t - (1 - t) * c**2) * (x - (1 - t) * m) / variance
            keep, gain, deviation = ops.flow_sde_step(t, 1 / steps, noise_level=level, latest=1 - 1 / steps)
            x = keep * x + gain * v + deviation * torch.randn(x.shape, generator=g, dtype=torch.float64)
        assert float(x.mean()) == pytest.approx(m, abs=0.03) and float(x.std()) == pytest.approx(c, abs=0.03)


def test_noised_targets_have_the_clean_ones_mean():
    """With data at two points, given x_t: by draws of x_0 and x_s that are weighted by how likely they made x_t."""
    g = torch.Generator().manual_seed(0)
    point, t, s, n = torch.tensor([0.3], dtype=torch.float64), 0.6, 0.4, 400_000
    clean = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0).double()
    earlier = (1 - s) * clean + s * torch.randn(n, generator=g, dtype=torch.float64)
    a = (1 - t) / (1 - s)
    likely = (-((point - a * earlier) ** 2) / (2 * (t**2 - (a * s) ** 2))).softmax(0)
    times = torch.full((n,), t, dtype=torch.float64), torch.full((n,), s, dtype=torch.float64)
    noised = ops.noised_target(point.expand(n, 1), earlier.unsqueeze(-1), *times).squeeze(-1)
    plain = ops.noised_target(point.expand(n, 1), clean.unsqueeze(-1), times[0], torch.zeros(n, dtype=torch.float64)).squeeze(-1)
    torch.testing.assert_close(plain, (point - (1 - t) * clean) / t - clean)  # s = 0: ε − x_0
    exact = (-((point - (1 - t) * clean) ** 2) / (2 * t**2)).softmax(0)
    assert float((likely * noised).sum()) == pytest.approx(float((exact * plain).sum()), abs=0.02)


@pytest.mark.parametrize("plan", [Denoising(2, 3, 5), Matching(2, 3, 5, 4)], ids=["denoising", "matching"])
def test_rows_are_groups_with_their_reward_on_the_last_step(world, plan):
    source = world.source(plan, Streams([3, 4]))
    policy = world.policy(None, Streams([3, 4]))
    rollout = source.score(source.sample(policy, 7))
    assert rollout.shape == (2, 6, plan.row_steps) and rollout.version == 7 and rollout.group.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    torch.testing.assert_close(policy.replay(rollout.inputs, rollout.action)["log_prob"], rollout.log_prob)
    torch.testing.assert_close(rollout.reward.sum(-1), world.problem.reward(rollout.extras["clean"], world.problem))
    assert not rollout.reward[..., :-1].any()
    alone = world.source(plan, Streams([4])).sample(world.policy(None, Streams([4])), 7)
    torch.testing.assert_close(alone.action[0], rollout.action[1], rtol=1e-4, atol=1e-5)


def test_a_matched_step_is_worth_its_error(world):
    rollout = world.source(Matching(1, 4, 5, 3, weight=2.0), Streams([0])).sample(world.policy(None, Streams([0])), 0)
    velocity = world.policy(None, Streams([0])).velocity(rollout.inputs["latent"], rollout.inputs["time"])
    want = -2.0 * (velocity - rollout.action).square().mean(-1)
    constant = rollout.log_prob - want
    torch.testing.assert_close(constant, constant[0, 0, 0].expand_as(constant), rtol=1e-4, atol=1e-4)


def test_the_base_model_makes_the_mixture(world):
    found = world.evaluate(world.policy(None, Streams([0])), 1)
    assert found.values.mean() == pytest.approx(0.25, abs=0.05) and found.details["coverage"] == 1 and found.details["kl_to_base"] < 0.2
    drawn = world.samples_of(world.policy(None, Streams([0])), 1_000, 0)[0]
    off = (drawn - world.problem.means[world.problem.mode(drawn)]).norm(dim=-1)
    assert (off < 4 * world.problem.deviation).float().mean() > 0.9


def test_figures_of_samples(world):
    means = world.problem.means
    assert coverage(torch.stack([means, means[:1].expand(8, 2)]), world.problem).tolist() == [1.0, 0.125]
    spread = means.repeat(100, 1)[None]
    assert histogram_kl(spread, spread)[0] == pytest.approx(0, abs=0.01)
    assert histogram_kl(means[:1].expand(1, 50, 2), spread)[0] == pytest.approx(math.log(8), abs=0.01)


def test_on_policy_awm_is_advantage_weighted_matching():
    assert gradient_error() < 1e-5


@pytest.mark.parametrize("key", ["awm", "flow-grpo"])
def test_rewards_rise(world, key):
    learner = get_method(key).build(configure(key, {})).learner(world, [0, 1], 20, CPU)
    for _ in range(12):
        learner.iterate()
    assert world.evaluate(learner.policy, 2).values.mean(1).min() > 0.4  # from 0.25


def test_what_has_no_denoising_is_refused(world):
    with pytest.raises(BadInput, match="is sampled by denoising; this method's plan is Groups"):
        world.source(Groups(), Streams([0]))
    with pytest.raises(BadInput, match="unknown generative task 'mixtur'"):
        make_world("generative:mixtur")
    with pytest.raises(BadInput, match="n=0 must be 1 or more"):
        Matching(n=0)
    assert np.isfinite(world.evaluate(world.policy(None, Streams([0, 1])), 2, episodes=3).values).all()
