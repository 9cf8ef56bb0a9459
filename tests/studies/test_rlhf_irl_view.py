"""Cloning against matching in known dynamics, on beds whose regret can be worked by hand."""

from __future__ import annotations

import pytest
import torch

from operant import studies
from operant.core.errors import BadInput
from operant.studies.rlhf_irl_view import BEDS, RARE, ImitationOptions, cloned, demonstrated, growth, matched, regrets

F64 = torch.float64


def test_the_experts_occupancy_is_that_of_every_step():
    for name in BEDS:
        bed = BEDS[name](0.001)
        mdp = bed.mdp(4)
        found = mdp.occupancy(bed.expert.expand(1, 4, -1, -1))[0]
        assert torch.allclose(found, bed.occupancy.expand(4, -1, -1)) and bed.initial[-RARE - 1 : -1].sum().item() == pytest.approx(0.01)
        assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(4)  # the expert's: a reward at every step


def test_cloning_by_hand():
    assert cloned(torch.tensor([[[2.0, 1.0, 1.0], [0.0, 0.0, 0.0]]], dtype=F64)).tolist() == [[[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]]


def unseen(bed):
    """Demonstrations of all contexts but the rare ones."""
    count = bed.expert.clone()[None]
    count[:, -RARE - 1 :] = 0
    return count


def test_what_was_not_demonstrated_costs_a_fall_or_a_step():
    # a share q of steps is unseen; cloning falls there one time in three, and pays nothing in another; matching never falls, and pays half of the time
    q, bed = RARE * 0.001, BEDS["tightrope"](0.001)
    mdp, count = bed.mdp(3), unseen(bed)
    policy = cloned(count).unsqueeze(1).expand(-1, 3, -1, -1)
    stays, earns = 1 - q / 3, 1 - 2 * q / 3
    assert mdp.start_value(mdp.value(policy)).item() == pytest.approx(earns * (1 + stays + stays**2))
    policy = matched(bed, count, 3, rounds=60, temperature=0.05)
    value = mdp.start_value(mdp.value(policy)).item()
    assert value == pytest.approx(2 * (1 - q / 2) + (1 - 2 * q / 3), abs=1e-6)  # at the last step nothing tells falling from what pays nothing


def test_demonstrations_are_alike_at_every_horizon_and_one_step_has_no_consequences():
    options = ImitationOptions(horizons=(1, 5, 20), seeds=3, seed=100, demonstrations=50, rarity=0.01)
    found = regrets("strings", options, lambda line: None)
    assert found["cloning"][0].tolist() == pytest.approx(found["matching"][0].tolist())
    assert (found["cloning"][2] > found["matching"][2]).all()
    counts = demonstrated(BEDS["strings"](0.01), 50, [100, 101])
    assert counts.sum((1, 2)).tolist() == [50, 50] and not torch.equal(counts[0], counts[1])


def test_growth_is_the_exponent():
    seeds = torch.ones(4, 5, dtype=F64).numpy()
    powers = (torch.tensor([1.0, 10.0, 20.0, 40.0], dtype=F64) ** 2).numpy()[:, None] * seeds
    assert growth((1, 10, 20, 40), powers)["slope"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("options", "says"), [({"beds": ("tightropes",)}, "tightrope"), ({"horizons": (1, 10)}, "two or more"), ({"rarity": 0.2}, "at most 0.05")]
)
def test_bad_options_are_one_line(options, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        studies.run("rlhf-irl-view", out=tmp_path / "study", **options)
