"""States that say what was gained: exact, and what cannot be is one line."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.tabular.world import TabularWorld

CPU = torch.device("cpu")


def planned(world: TabularWorld, **hyper):
    found = get_method("dist-dp-stock").build(configure("dist-dp-stock", hyper)).learner(world, [100, 101], world.horizon, CPU)
    while found.step < world.horizon:
        found.iterate()
    return found


def test_two_bets_by_hand():
    """The first reward is 0.3 for sure. Of two steps then one may bet or hold: the law of the return."""
    world = make_world("tabular:risky", horizon=3)
    mdp = world.mdp(Streams([0]))
    bet = torch.zeros(1, *mdp.shape, dtype=torch.float64)
    bet[..., 1] = 1
    value, chance = mdp.returns(bet)
    assert value.tolist() == list(range(3, 24)) and chance[0, [0, 10, 20]].tolist() == pytest.approx([0.55**2, 2 * 0.55 * 0.45, 0.45**2])
    assert chance.sum().item() == pytest.approx(1)
    assert ops.conditional_value_at_risk(value * 0.1, chance, level=0.5).item() == pytest.approx((0.3 * 0.55**2 + 1.3 * (0.5 - 0.55**2)) / 0.5)
    assert mdp.start_value(mdp.value(bet)).item() == pytest.approx(0.3 + 2 * 0.45)


@pytest.mark.parametrize("level", [0.1, 0.4, 0.7, 1.0])
def test_the_best_cvar_is_that_of_every_policy(level: float):
    """All 128 deterministic policies of three steps that remember what was drawn; the fourth step's reward is the last that they decide about."""
    world = make_world("tabular:risky", horizon=4)
    best = -torch.inf
    for first, *second in product((0, 1), repeat=7):
        law = {}
        for one, two, three in product((0, 1), repeat=3):  # whether each draw is won, had it been bet
            taken, chance, total = first, 1.0, 0.3
            past = []
            for draw in (one, two, three):
                chance *= 0.45 if draw else 0.55
                total += draw if taken else 0.3
                past.append(draw if taken else 0)
                taken = second[past[0]] if len(past) == 1 else second[2 + 2 * past[0] + past[1]] if len(past) == 2 else 0
            law[round(total, 6)] = law.get(round(total, 6), 0.0) + chance
        values = torch.tensor(sorted(law), dtype=torch.float64)
        best = max(best, ops.conditional_value_at_risk(values, torch.tensor([law[each] for each in sorted(law)], dtype=torch.float64), level=level).item())
    found = planned(world, level=level)
    assert found.measures()["CVaR"].tolist() == pytest.approx([best, best], abs=1e-9)


def test_the_mean_is_that_of_value_iteration():
    world = make_world("tabular:risky")
    found = planned(world, objective="mean")
    assert world.evaluate(found.policy, 2).measures["suboptimality"] == pytest.approx(0, abs=1e-9)


def test_a_target_is_met():
    """0.3 in each of five steps is 1.5 for sure."""
    found = planned(make_world("tabular:risky"), objective="target", target=1.5)
    assert found.measures()["distance from the target"].tolist() == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("risky", {"discount": 0.9}, "what is gained counts to the end of an episode: give a --horizon"),
        ("risky", {"stock": 0.2}, "--stock 0.2: a reward is 0.3, which is no multiple of it"),
        ("chain", {"stock": 0.1}, "what is gained counts to the end of an episode: give a --horizon"),
        ("random-sparse", {"stock": 0.1, "horizon": 3}, "a reward is .*, which is no multiple of it"),
        ("bandit", {"stock": 1.0}, "--stock is of tasks whose rewards are the same for all seeds and steps"),
        ("tiger", {"stock": 0.1}, "tabular:tiger has no option stock"),
        ("river-swim", {"stock": 0.005, "horizon": 900}, "states and stocks are more than 4,096: take a larger one, or a shorter horizon"),
    ],
)
def test_what_cannot_be_is_one_line(task: str, options: dict, says: str):
    with pytest.raises(BadInput, match=says):
        make_world(f"tabular:{task}", **options)


def test_a_stock_is_needed():
    with pytest.raises(BadInput, match="needs states that say what was gained: give --stock"):
        planned(make_world("tabular:river-swim"))
    assert planned(make_world("tabular:river-swim", stock=0.005, horizon=4)).measures()["CVaR"].min() > 0.01
