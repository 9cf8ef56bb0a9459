"""POMDPs: what they unroll to is what can be worked out, hindsight is drawn as it is distributed, and what cannot be is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.pomdp import FinitePOMDP


def small(seed: int = 0, horizon: int = 3) -> FinitePOMDP:
    """Three hidden states, two actions and two observations, all of which can always be."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: torch.from_numpy(rng.dirichlet(np.ones(shape[-1]), shape[:-1]))  # noqa: E731
    return FinitePOMDP(draw(1, 1, 3, 2, 3), draw(1, 1, 3, 2), torch.from_numpy(rng.random((1, 1, 3, 2))), draw(1, 3), horizon)


def best(pomdp: FinitePOMDP, weight: np.ndarray, step: int) -> float:
    """The optimum by recursion, of a weight of hidden states before the observation of a step."""
    transition, emission, reward = (table[0, 0].numpy() for table in (pomdp.transition, pomdp.emission, pomdp.reward))
    total = 0.0
    for shown in range(pomdp.observations):
        here = weight * emission[:, shown]
        worth = [here @ reward[:, action] + (best(pomdp, here @ transition[:, action], step + 1) if step + 1 < pomdp.horizon else 0.0) for action in (0, 1)]
        total += max(worth)
    return total


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_optimum_is_that_of_every_memory(horizon: int):
    pomdp = small(horizon=horizon)
    mdp = pomdp.unrolled()
    assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(best(pomdp, pomdp.initial[0].numpy(), 0), rel=1e-12)
    assert mdp.states == sum(2 * 4**step for step in range(horizon))


def test_histories_are_states_of_a_finite_mdp_like_any_other():
    """Values of the table and of the tree agree, also where seeds differ and where a history cannot be."""
    first, second = small(1), small(2)
    second.emission[0, 0, :, 1], second.emission[0, 0, :, 0] = 0, 1  # the second seed sees nothing
    pomdp = FinitePOMDP(*(torch.cat([getattr(first, name), getattr(second, name)]) for name in ("transition", "emission", "reward", "initial")), 3)
    mdp = pomdp.unrolled()
    table = FiniteMDP(mdp.transition, mdp.reward, mdp.initial, 1.0, 3)
    policy = torch.rand(2, *mdp.shape, dtype=torch.float64).softmax(-1)
    torch.testing.assert_close(mdp.start_value(mdp.value(policy)), table.start_value(table.value(policy)))
    torch.testing.assert_close(mdp.start_value(mdp.optimum[0]), table.start_value(table.optimum[0]))
    torch.testing.assert_close(mdp.start_value(mdp.value(mdp.optimum[1])), mdp.start_value(mdp.optimum[0]))


def test_the_tiger_by_hand():
    """With one step left it is best to listen; with two, too."""
    mdp = make_world("tabular:tiger", horizon=2).mdp(Streams([0]))
    assert [mdp.histories.text(place) for place in range(mdp.states)] == ["o0", "o0 a0 o1", "o0 a0 o2", "o0 a1 o0", "o0 a2 o0"]
    value, policy = mdp.optimum
    assert mdp.start_value(value).item() == pytest.approx(2 * 99 / 110)
    assert policy[0, 0, 0].argmax() == 0 and policy[0, 1, 1:3].argmax(-1).tolist() == [0, 0]  # 0.85 · 10 - 0.15 · 100 < -1
    torch.testing.assert_close(mdp.histories.belief[0, 1], torch.tensor([0, 0, 0.85, 0.15]).double())
    longer = make_world("tabular:tiger", horizon=3).mdp(Streams([0]))
    twice = 0.85**2 / (0.85**2 + 0.15**2)  # heard on the same side: open the other door
    agree = 0.85**2 + 0.15**2
    by_hand = 2 * 99 / 110 + agree * (twice * 1.0) + (1 - agree) * 99 / 110
    assert longer.start_value(longer.optimum[0]).item() == pytest.approx(by_hand)


def test_what_makes_no_difference_is_not_remembered():
    """An idle step in between: two actions lead alike there, and pay differently."""
    idle = torch.zeros(1, 3, 3, 2, 3, dtype=torch.float64)
    idle[0, 0, :, :, 2], idle[0, 1, 2, 0, 0], idle[0, 1, 2, 1, 1] = 1, 1, 1
    idle[0, 1, :2, :, 2] = idle[0, 2, :, :, 2] = 1
    reward = torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    reward[..., 0, 1], reward[..., 1, 0] = 0.5, 1.0
    mdp = FinitePOMDP(idle, torch.eye(3).double()[None, None], reward, torch.eye(3).double()[:1], 3).unrolled()
    assert [mdp.histories.text(place) for place in range(mdp.states)] == ["o0", "o0 a0 o2", "o0 a0 o2 a0 o0", "o0 a0 o2 a1 o1"]
    assert mdp.start_value(mdp.optimum[0]).item() == 1.5
    table = FiniteMDP(mdp.transition, mdp.reward, mdp.initial, 1.0, 3)
    assert table.start_value(table.optimum[0]).item() == 1.5


def test_hindsight_is_distributed_as_what_was_hidden():
    """Two steps, all pairs of hidden states, within four deviations; and given the last observation."""
    pomdp, count = small(3, horizon=2), 40_000
    mdp, streams = pomdp.unrolled(), Streams([0, 1])
    policy = torch.full((2, *mdp.shape), 0.5, dtype=torch.float64)
    played = mdp.play(policy, count, streams)
    hidden, paid = played.hidden, played.reward
    joint = torch.einsum("l,lam,mo->lmo", pomdp.initial[0], pomdp.transition[0, 0] / 2, pomdp.emission[0, 0])
    shown = mdp.histories.observation[played.state[..., 1]]
    for seed in (0, 1):
        cell = (hidden[seed, :, 0] * 3 + hidden[seed, :, 1]) * 2 + shown[seed]
        found = torch.bincount(cell, minlength=18).view(3, 3, 2) / count
        assert ((found - joint).abs() < 4 * (joint / count).sqrt() + 1e-9).all()
    assert torch.equal(paid, pomdp.reward[0, 0][hidden, played.action])  # and not what a history lets one expect, which would tell its belief


def test_a_latent_mdp_is_known_as_one():
    pomdp = make_world("tabular:latent").mdp(Streams([0, 1])).pomdp
    assert pomdp.contexts == 2 and pomdp.largest_return <= 1
    assert small().contexts is None and make_world("tabular:revealing").mdp(Streams([0])).pomdp.contexts is None


@pytest.mark.parametrize(("alpha", "observations"), [(0.5, 4), (0.125, 16), (1.0, 2)])
def test_the_revealing_constant_is_the_one_that_was_asked_for(alpha: float, observations: int):
    pomdp = make_world("tabular:revealing", revealing=alpha, observations=observations).mdp(Streams([0, 1])).pomdp
    assert pomdp.revealing().tolist() == pytest.approx([alpha, alpha], rel=1e-6)


def test_revealing_constants_by_hand():
    """A coin that tells two states apart as (p, 1 - p) and (1 - p, p): 2 p - 1; what shows nothing reveals nothing, but may over two steps."""
    coin = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=torch.float64)
    stay, half = torch.eye(2).double().view(1, 1, 2, 1, 2), torch.full((1, 2), 0.5).double()
    reward = torch.zeros(1, 1, 2, 1).double()
    assert FinitePOMDP(stay, coin[None, None], reward, half, 2).revealing().item() == pytest.approx(0.6)
    dark = torch.stack([torch.tensor([[1.0, 0.0], [1.0, 0.0]]).double(), coin])[None]
    later = FinitePOMDP(stay, dark, reward, half, 2)
    assert later.revealing().item() == 0 and later.revealing(2).item() == pytest.approx(0.6)


def test_a_file_may_hide_its_states(tmp_path):
    tables = {"transition": np.eye(2)[:, None].repeat(2, 1), "reward": np.eye(2), "emission": [[0.8, 0.2], [0.2, 0.8]]}
    np.savez(tmp_path / "hidden.npz", **tables, horizon=2)
    mdp = make_world(f"tabular:{tmp_path / 'hidden.npz'}").mdp(Streams([0]))
    assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(1.6) and mdp.states == 6
    np.savez(tmp_path / "endless.npz", **tables, discount=0.9)
    with pytest.raises(BadInput, match="where something is hidden, episodes have an end: give --horizon"):
        make_world(f"tabular:{tmp_path / 'endless.npz'}")
    np.savez(tmp_path / "off.npz", **tables | {"emission": [[0.8, 0.3], [0.2, 0.8]]}, horizon=2)
    with pytest.raises(BadInput, match=r"off.npz: finite POMDP: emission\[0, 0, 0\] must be probabilities"):
        make_world(f"tabular:{tmp_path / 'off.npz'}")


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("latent", {"horizon": 8}, "its histories are too many, .* after 6 of 8 steps, there can be 4,096: take a shorter horizon"),
        ("tiger", {"discount": 0.9}, "where something is hidden, episodes have an end: give a --horizon"),
        ("tiger", {"revealing": 0.5}, "tabular:tiger has no option revealing$"),
        ("revealing", {"observations": 3}, "symbols are in pairs: it must be even"),
        ("revealing", {"revealing": 1.5}, r"revealing = 1.5: it must be in \(0, 1\]"),
        ("chain", {"observations": 3}, "tabular:chain has no option observations$"),
    ],
)
def test_what_cannot_be_is_one_line(task: str, options: dict, says: str):
    with pytest.raises(BadInput, match=says):
        make_world(f"tabular:{task}", **options)
