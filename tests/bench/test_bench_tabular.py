"""The peers of the benches of finite MDPs do the same work as the library."""

from __future__ import annotations

import numpy as np
import torch

from operant import ops
from operant.bench.peers import numpy_tabular
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.tabular.sparse import SparseMDP


def test_values_are_those_of_the_library():
    transition, reward = numpy_tabular.random_mdp(6, 4, 100)
    tables = torch.from_numpy(np.stack(reward, -1)), torch.from_numpy(np.stack(transition, 1))
    found = numpy_tabular.value_iteration(transition, reward, 0.9, 400)
    torch.testing.assert_close(torch.from_numpy(found), ops.stationary_optimum(*tables, discount=0.9)[0])


def test_values_of_what_pairs_lead_to_are_those_of_the_library():
    successor, transition, reward = numpy_tabular.garnet(30, 4, 5, 100)
    found = numpy_tabular.sparse_value_iteration(successor, transition, reward, 0.9, 400)
    tables = {"transition": transition, "reward": reward, "initial": np.full(30, 1 / 30), "successor": successor}
    mdp = SparseMDP(discount=0.9, **{name: torch.from_numpy(table)[None] for name, table in tables.items()})
    torch.testing.assert_close(torch.from_numpy(found), mdp.optimum[0][0])


def test_river_swim_is_the_library_s_and_ucbvi_learns_it():
    transition, reward = numpy_tabular.river_swim()
    mdp = make_world("tabular:river-swim").mdp(Streams([0]))
    assert mdp.horizon == numpy_tabular.HORIZON
    torch.testing.assert_close(torch.from_numpy(transition), mdp.transition[0, 0])
    torch.testing.assert_close(torch.from_numpy(reward), mdp.reward[0, 0])
    q = torch.from_numpy(numpy_tabular.ucbvi(transition, reward, 400, 100))
    value = mdp.start_value(mdp.value(ops.greedy_policy(q)[None]))
    assert value.item() > 0.95 * mdp.start_value(mdp.optimum[0]).item()
