"""Uncertain transitions: the worst case of a policy, and what is best there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.robust import UncertainMDP
from operant.worlds.tabular.world import TabularWorld

CPU = torch.device("cpu")


def by_hand(horizon: int | None = None) -> UncertainMDP:
    """State 0: action 0 stays and pays 1/2; action 1 pays nothing and leads to state 1, which pays 1 for ever, with probability 0.9 or 0.2, else it stays."""
    models = torch.zeros(1, 2, 2, 2, 2, dtype=torch.float64)
    models[..., 0, 0, 0] = models[..., 1, :, 1] = 1
    for place, chance in enumerate((0.9, 0.2)):
        models[:, place, 0, 1] = torch.tensor([1 - chance, chance], dtype=torch.float64)
    reward, initial = torch.tensor([[[0.5, 0.0], [1.0, 1.0]]]).double(), torch.tensor([[1.0, 0.0]]).double()
    nominal = models[:, 0]
    if horizon is not None:
        nominal, reward = nominal.unsqueeze(1), reward.unsqueeze(1)
    return UncertainMDP(nominal, reward, initial, 0.5 if horizon is None else 1.0, horizon, models=models)


def learner(key: str, world: TabularWorld, steps: int):
    found = get_method(key).build(configure(key, {})).learner(world, [0, 1], steps, CPU)
    while found.step < steps:
        found.iterate()
    return found


def test_the_worst_case_by_hand():
    """Discount 1/2: staying is worth 1; going is worth 0.9 + 0.05 V when all is well, and V = 0.2 + 0.4 V, 1/3, when it is not."""
    mdp = by_hand()
    go = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).double()
    value, nature = mdp.worst(go)
    assert mdp.start_value(mdp.value(go)).item() == pytest.approx(0.9 / 0.95) and value[0].tolist() == pytest.approx([1 / 3, 2])
    assert nature[0, 0, 1].tolist() == pytest.approx([0.8, 0.2])
    assert mdp.robust_optimum[0][0].tolist() == pytest.approx([1, 2]) and mdp.robust_optimum[1][0, 0].tolist() == [1, 0]
    assert mdp.measures(go)["worst-case value"].item() == pytest.approx(1 / 3)


def test_the_worst_case_over_steps_by_hand():
    """Three steps: 0.9 · 2 + 0.1 · (0.9 · 1) is more than 3/2, 0.2 · 2 + … is less."""
    mdp = by_hand(3)
    go = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).double().expand(1, 3, 2, 2)
    assert mdp.start_value(mdp.value(go)).item() == pytest.approx(0.9 * 2 + 0.1 * 0.9)
    assert mdp.start_value(mdp.worst(go)[0]).item() == pytest.approx(0.2 * 2 + 0.8 * 0.2)
    assert mdp.start_value(mdp.robust_optimum[0]).item() == pytest.approx(1.5)


def test_iwocs_takes_the_model_that_is_worst_for_q_where_the_policy_s_changes_nothing():
    """By hand: the worst model of the first policy leads a pair that it does not take to where more is to be had, and nothing in the minimum falls."""
    leads = torch.tensor([[[[1, 2], [0, 1], [0, 1]], [[2, 1], [1, 1], [2, 2]]]])  # [S, U, K, A]
    models = torch.nn.functional.one_hot(leads, 3).double()
    reward = torch.tensor([[[0.1, 0.8], [0.9, 1.0], [1.0, 0.4]]], dtype=torch.float64)
    mdp = UncertainMDP(models[:, 0], reward, torch.tensor([[1.0, 0, 0]], dtype=torch.float64), 0.9, models=models)
    found = learner("iwocs", TabularWorld(mdp), 6).policy.probabilities[:1]
    assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(9.26)
    assert mdp.start_value(mdp.worst(found)[0]).item() == pytest.approx(170 / 19) == mdp.start_value(mdp.robust_optimum[0]).item()


@pytest.mark.parametrize("options", [{"discount": 0.9}, {"horizon": 4}])
def test_the_model_that_is_worst_for_values_gives_the_robust_backup(options: dict):
    mdp = make_world("tabular:random-uncertain", **options).mdp(Streams([0, 1]))
    value = torch.rand(2, *mdp.shape[:-1], dtype=torch.float64)
    following = value if mdp.horizon is None else ops.next_step_value(value)
    q = ops.bellman_q(mdp.reward, mdp.worst_for(value), following, discount=mdp.discount)
    torch.testing.assert_close(q, mdp.robust_backup(value))


@pytest.mark.parametrize("options", [{}, {"horizon": 12}])
def test_iwocs_and_robust_value_iteration_agree(options: dict):
    """Worth more in the worst case than what is optimal as a rule, and never more than that as a rule."""
    world = make_world("tabular:gusty", **options)
    mdp = world.mdp(Streams([0]))
    robust = mdp.start_value(mdp.robust_optimum[0]).item()
    found = world.evaluate(learner("iwocs", world, 12).policy, 2).measures
    assert found["worst-case value"].tolist() == pytest.approx([robust] * 2, abs=1e-8) and found["suboptimality"].min() >= -1e-12
    steps = 12 if options else 400
    assert world.evaluate(learner("robust-value-iteration", world, steps).policy, 2).measures["worst-case value"].tolist() == pytest.approx([robust] * 2)
    nominal = mdp.optimum[1]
    assert mdp.measures(nominal)["worst-case value"].item() < robust - 1e-3


def test_a_set_of_one_is_no_uncertainty():
    mdp = by_hand()
    certain = replace(mdp, models=mdp.transition.unsqueeze(1))
    torch.testing.assert_close(certain.robust_optimum[0], FiniteMDP(mdp.transition, mdp.reward, mdp.initial, 0.5).optimum[0])
    policy = torch.full((2, 2, 2), 0.5).double()
    torch.testing.assert_close(certain.worst(policy)[0], certain.value(policy))


def test_what_cannot_be_is_one_line():
    mdp = by_hand()
    with pytest.raises(BadInput, match=r"models have shape \[1, 2, 2, 1, 2\], must be \[S, U, 2, 2, 2\]"):
        replace(mdp, models=mdp.models[..., :1, :])
    with pytest.raises(BadInput, match="must be probabilities of next states"):
        replace(mdp, models=mdp.models * 2)
    with pytest.raises(BadInput, match="iwocs is for problems whose transitions are uncertain, and here they are certain: take one, such as tabular:gusty"):
        learner("iwocs", make_world("tabular:chain"), 1)
