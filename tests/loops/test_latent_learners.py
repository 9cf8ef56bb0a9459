"""Methods that learn where something is hidden: against what can be worked out."""

from __future__ import annotations

import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.planning import Problem
from operant.worlds import make_world
from operant.worlds.tabular.pomdp import FinitePOMDP
from operant.worlds.tabular.world import TabularWorld

CPU = torch.device("cpu")


def learner(world, episodes: int, seeds=(100, 101), **hyper):
    found = get_method("lmdp-horizon-free").build(configure("lmdp-horizon-free", hyper)).learner(world, list(seeds), episodes, CPU)
    while found.step < episodes:
        found.iterate()
    return found


def test_counts_are_kept_apart_by_context():
    """One state: context 0 pays for action 0, context 1 for action 1, half of what an episode of two steps can pay each time."""
    pays = torch.tensor([[[[0.5, 0.0]], [[0.0, 0.5]]]], dtype=torch.float64)
    pomdp = FinitePOMDP.latent(torch.tensor([[0.25, 0.75]]).double(), torch.ones(1, 2, 1, 2, 1).double(), pays, torch.ones(1, 2, 1).double(), 2)
    found = learner(TabularWorld(pomdp.unrolled()), 200)
    visits, gained, first = (found.state[name] for name in ("visits", "gained", "first"))
    assert visits.sum((1, 2, 3)).tolist() == [400, 400] and first.sum((1, 2)).tolist() == [200, 200]
    torch.testing.assert_close(gained, visits * pays)
    taken = found.policy.probabilities.argmax(-1)
    assert taken[:, 0, 0].tolist() == taken[:, 1, 1].tolist() == [1, 1]  # nothing is shown: the likelier context's action
    assert found.measures()["regret"].max() < 20


def test_with_what_is_to_be_known_the_plan_is_optimal():
    """Counts as they would be of very many episodes, without a bonus."""
    world = make_world("tabular:latent")
    spine = get_method("lmdp-horizon-free").build(configure("lmdp-horizon-free", {"scale": 0.0}))
    problem = Problem("episodes", world, Streams([100, 101]))
    state, pomdp = spine.start(problem), world.mdp(Streams([100, 101])).pomdp
    transition, reward = pomdp.transition[:, 0].unflatten(1, (2, 3)).unflatten(-1, (2, 3)), pomdp.reward[:, 0].unflatten(1, (2, 3))
    for context in (0, 1):
        state["following"][:, context] = 1e12 * transition[:, context, :, :, context]
    state["visits"], state["gained"] = torch.full_like(reward, 1e12), 1e12 * reward
    state["first"][:, :, 0] = 5e11
    policy = spine.improve(problem, state | {"planned": torch.zeros_like(reward)})["policy"]
    mdp = world.mdp(Streams([100, 101]))
    torch.testing.assert_close(mdp.start_value(mdp.value(policy)), mdp.start_value(mdp.optimum[0]), rtol=0, atol=1e-9)


def test_it_says_what_it_is_for():
    spine = get_method("lmdp-horizon-free").build(configure("lmdp-horizon-free", {}))
    for task, says in (("river-swim", "here nothing is: take one, such as tabular:latent"), ("tiger", "here more is hidden than a context: take one")):
        with pytest.raises(BadInput, match=says):
            spine.check(make_world(f"tabular:{task}"), [0], 10, None)
    ones = torch.ones(1, 2, 1, 2, 1, dtype=torch.float64)
    rich = FinitePOMDP.latent(ones[..., 0, 0, 0] / 2, ones, ones[..., 0], ones[..., 0, 0], 2)
    with pytest.raises(BadInput, match="episodes that pay 1 at most, here they pay up to 2"):
        spine.check(TabularWorld(rich.unrolled()), [0], 10, None)
