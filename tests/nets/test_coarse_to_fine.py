"""Advantages of bins within bins: a policy by construction, in which a step hangs on those before it alone; its mode and its draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.nets.coarse_to_fine import CoarseToFine, CoarseToFineNet, Conditioning

SEEDS, LEVELS, SIZE, BINS = (0, 1), 2, 2, 3
STEPS = LEVELS * SIZE
OBSERVATION = Spec((Field("observation", (3,), "float32", low=(-1.0,), high=(1.0,)),))
ACTION = Spec((Field("first", (1,), "float32", low=(0.0,), high=(4.0,)), Field("second", (1,), "float32", low=(-1.0,), high=(1.0,))))


def built(conditioning: Conditioning = "all", alpha: float = 0.7) -> CoarseToFine:
    policy = CoarseToFineNet((8, 6), LEVELS, BINS, alpha, conditioning).build(OBSERVATION, ACTION, Streams(SEEDS))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in policy.parameters():
            p += 0.6 * torch.randn(p.shape, generator=generator)
    return policy


def every_path() -> Tensor:
    """`[S, bins^(L · A), L, A]`."""
    return torch.tensor(list(itertools.product(range(BINS), repeat=STEPS))).view(1, -1, LEVELS, SIZE).expand(2, -1, -1, -1)


def along(policy: CoarseToFine, observation: Tensor, path: Tensor) -> Tensor:
    """The advantages of the bins of paths `[S, K, L, A]`, all at one observation `[S, 1, D]`: `[S, 2, K, L, A]`."""
    advantage = policy.advantages(observation.expand(-1, path.shape[1], -1), path)
    return advantage.gather(-1, path.unsqueeze(1).unsqueeze(-1).expand(-1, 2, -1, -1, -1, 1)).squeeze(-1)


def seen() -> Tensor:
    return torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("conditioning", ["all", "level"])
@pytest.mark.parametrize("alpha", [0.05, 0.7])
def test_all_actions_together_have_probability_one(conditioning: Conditioning, alpha: float):
    policy = built(conditioning, alpha)
    total = along(policy, seen(), every_path()).sum((-1, -2))
    assert total.std(-1).min() > 0.1 * alpha
    torch.testing.assert_close((total / alpha).logsumexp(-1), torch.zeros(2, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", ["all", "level"])
def test_a_step_hangs_on_those_before_it(conditioning: Conditioning):
    """Of its own level on none where numbers are independent there."""
    policy, path, changed = built(conditioning), torch.tensor([[1, 2], [0, 1]]), {}
    before = policy.advantages(seen(), path.expand(2, 1, -1, -1)).flatten(3, 4)
    for step in range(STEPS):
        other = path.clone().view(-1)
        other[step] = (other[step] + 1) % BINS
        found = policy.advantages(seen(), other.view(LEVELS, SIZE).expand(2, 1, -1, -1)).flatten(3, 4)
        changed[step] = {place for place in range(STEPS) if not torch.equal(found[:, :, 0, place], before[:, :, 0, place])}
    assert changed == ({0: {1, 2, 3}, 1: {2, 3}, 2: {3}, 3: set()} if conditioning == "all" else {0: {2, 3}, 1: {2, 3}, 2: set(), 3: set()})


@pytest.mark.parametrize("conditioning", ["all", "level"])
def test_it_draws_by_the_least_of_both_networks(conditioning: Conditioning):
    policy, count = built(conditioning), 100_000
    path = every_path()
    least = policy.advantages(seen().expand(-1, path.shape[1], -1), path).amin(1)
    share = (least / policy.alpha).softmax(-1).gather(-1, path.unsqueeze(-1)).squeeze(-1).prod(-1).prod(-1)  # [S, 81]
    torch.testing.assert_close(share.sum(-1), torch.ones(2))
    drawn, carry = policy.drawn(seen().expand(-1, count, -1), None, Streams(SEEDS))
    assert carry is None and drawn.shape == (2, count, SIZE)
    place = (policy.distribution.path(drawn).flatten(2) * BINS ** torch.arange(STEPS - 1, -1, -1)).sum(-1)
    found = torch.stack([torch.bincount(row, minlength=BINS**STEPS) for row in place]) / count
    assert ((found - share).abs() <= 5 * (share * (1 - share) / count).sqrt() + 5 / count).all()  # the second for those that are hardly ever drawn
    middles = ops.coarse_to_fine_middles(policy.distribution.path(drawn).mT, bins=BINS)[..., -1]
    torch.testing.assert_close(drawn, middles)  # actions are middles of the last bins


@pytest.mark.parametrize("conditioning", ["all", "level"])
def test_its_mode_takes_the_best_bin_at_each_step(conditioning: Conditioning):
    policy = built(conditioning)
    path = torch.zeros(2, 1, LEVELS, SIZE, dtype=torch.int64)
    for level, number in itertools.product(range(LEVELS), range(SIZE)):
        path[:, :, level, number] = policy.advantages(seen(), path).amin(1)[:, :, level, number].argmax(-1)
    wanted = ops.coarse_to_fine_middles(path.mT, bins=BINS)[..., -1]
    torch.testing.assert_close(policy(seen()), wanted)
    action, _ = policy.act(seen())
    np.testing.assert_allclose(action, (wanted * torch.tensor([2.0, 1.0]) + torch.tensor([2.0, 0.0])).numpy(), rtol=1e-6)  # in the space's units


def test_both_networks_of_every_seed_are_their_own():
    policy = built()
    value = policy.value(seen().expand(-1, 4, -1))
    assert value.shape == (2, 2, 4) and len(value[..., 0].unique()) == 4
