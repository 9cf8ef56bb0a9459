"""Studies of partly observed problems: what they compute, against what can be worked out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant import studies
from operant.core.errors import BadInput
from operant.studies.revealing_pomdp_lb import delayed, episodes_needed, exponent, found, symbols, worst_regret
from operant.studies.umt_psr import Class, UMTPSROptions, best_policy, best_value, one, play, value


def test_symbols_of_branches_by_hand():
    """The good branch has the good state 3 times in 4: its symbols are as those of alpha / 2."""
    shown = symbols(delayed(4, 3, 0.4, gap=0.5))
    assert shown[0].tolist() == pytest.approx([0.3, 0.2, 0.3, 0.2]) and shown[1].tolist() == pytest.approx([0.25] * 4)
    mdp = delayed(2, 2, 1.0).unrolled()
    assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(1)  # the first branch, and no look


def test_a_branch_is_found_where_it_can_be():
    rng = np.random.default_rng(100)
    assert found(delayed(2, 2, 1.0), 2, 40, 500, rng) > 0.99 and abs(found(delayed(2, 2, 1.0), 2, 1, 500, rng) - 0.5) < 1e-9
    assert episodes_needed(delayed(8, 2, 0.6), 300, rng) < episodes_needed(delayed(8, 2, 0.3), 300, rng)
    assert worst_regret(4, 2, 0.5, 1_000, 200, rng) >= 100 / 2  # the hundred looks alone
    assert exponent({1: 2.0, 4: 4.0, 16: 8.0}) == pytest.approx(0.5)
    with pytest.raises(BadInput, match="symbols are in pairs"):
        studies.run("revealing-pomdp-lb", observations="8,9")


def test_chances_of_histories_are_those_of_the_model():
    """They sum to one whatever is done; what is drawn is distributed as they say."""
    generator = torch.Generator().manual_seed(100)
    chance = Class.drawn(2, 2, generator).chance
    assert chance.shape == (2, 2, 3, 2, 3, 2, 3)
    torch.testing.assert_close(chance.sum((2, 4, 6)), torch.ones(2, 2, 2, 2).double())
    policy = best_policy(chance[0, 0] * torch.tensor([0.0, 0.5, 1.0]).double())
    drawn = torch.zeros_like(chance[0, 0])
    for _ in range(4_000):
        drawn[play(chance[0, 0], policy, 0, generator)] += 1
    expected = chance[0, 0] / 4
    assert ((drawn / 4_000 - expected).abs() < 4.5 * (expected / 4_000).sqrt()).all()


def test_the_best_policy_gets_the_best_value():
    gain = torch.rand(3, 2, 3, 2, 3, generator=torch.Generator().manual_seed(100), dtype=torch.float64)
    assert value(gain, best_policy(gain)).item() == pytest.approx(best_value(gain).item())
    worse = (1 - best_policy(gain)[0], best_policy(gain)[1])
    assert value(gain, worse) < best_value(gain)


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_played_tells_the_models_apart(shared: bool):
    options = UMTPSROptions(emissions=4, transitions=2)
    runs = [one(options, 2, shared, seed) for seed in range(100, 105)]
    assert runs[0] == one(options, 2, shared, 100) and all(run["kept"] for run in runs)
    regret = np.mean([run["regret"] for run in runs], 0)
    assert len(regret) == 61 and regret[-1] < min(0.02, regret[0])
