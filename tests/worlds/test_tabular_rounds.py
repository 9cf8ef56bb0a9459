"""Adversarial problems: every round has rewards of its own, and regret is against the best policy in hindsight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.loops.planning import Problem
from operant.loops.regret import Regret
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

F64 = torch.float64
ROUNDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]], dtype=F64).view(1, 3, 1, 1, 2)  # action 0 pays in the first of three rounds alone


def bandit(**other) -> FiniteMDP:
    tables = {"reward": ROUNDS.mean(1), "rounds": ROUNDS, "horizon": 1} | other
    return FiniteMDP(torch.ones(1, 1, 1, 2, 1, dtype=F64), initial=torch.ones(1, 1, dtype=F64), discount=1.0, **tables)


def always(action: int) -> torch.Tensor:
    return torch.eye(2, dtype=F64)[action].view(1, 1, 1, 2)


def test_rounds_follow_each_other_and_begin_again():
    mdp, streams = bandit(), Streams([0])
    assert mdp.play(always(0), 5, streams).reward.flatten().tolist() == [1, 0, 0, 1, 0]
    assert mdp.play(always(1), 4, streams, first=2).reward.flatten().tolist() == [0.5, 0, 1, 0.5]
    assert mdp.rewards == (0, 1)
    for first, count, sums in ((0, 1, [1, 0]), (4, 1, [0, 1]), (0, 3, [1, 1.5]), (2, 5, [2, 2]), (5, 2, [1, 0.5])):
        assert mdp.over(first, count).flatten().tolist() == sums
    assert bandit(rounds=None).over(7, 3).flatten().tolist() == pytest.approx([1, 1.5])


def test_regret_in_hindsight_by_hand():
    """Action 0 is the best one after one round (1), both are after two, action 1 after three (1.5)."""
    regret = Regret(bandit(), 1)
    regret.add(always(0), 1)
    assert regret.total.tolist() == [0]
    regret.add(always(1), 1)
    assert regret.total.tolist() == [1 - 2]  # better than any one action
    regret.add(torch.full((1, 1, 1, 2), 0.5, dtype=F64), 1)
    assert regret.total.tolist() == [1.5 - 2.25]
    again = Regret(bandit(), 1)
    again.load_state_dict(regret.state_dict())
    for each in (regret, again):
        each.add(always(0), 4)  # of rounds 0, 1, 2 and 0: the sums of seven are 3 and 3
        assert each.episodes == 7 and each.total.tolist() == [3 - (2.25 + 2)]


def test_a_problem_reveals_what_was_played_last():
    problem = Problem("episodes", TabularWorld(bandit()), Streams([0]))
    problem.play(always(0), 2)
    assert problem.revealed.flatten().tolist() == [1, 1]
    assert problem.play(always(1), 1).reward.item() == 0.5 and problem.revealed.flatten().tolist() == [0, 0.5]


def test_the_adversarial_bandit_is_a_seed_s_own_and_its_best_action_changes():
    world = make_world("tabular:adversarial-bandit")
    mdp = world.mdp(Streams([100, 101]))
    size = mdp.rounds.shape[1]
    assert mdp.rounds.shape == (2, 20_000, 1, 1, 5) and set(mdp.rounds.unique().tolist()) == {0.0, 1.0}
    before, whole = mdp.over(0, size // 3).flatten(1).argmax(-1), mdp.over(0, size).flatten(1).argmax(-1)
    assert (before != whole).all() and torch.equal(mdp.over(size // 3, size - size // 3).flatten(1).argmax(-1), whole)
    assert torch.equal(mdp.rounds[1], world.mdp(Streams([101])).rounds[0]) and not torch.equal(mdp.rounds[0], mdp.rounds[1])
    assert make_world("tabular:adversarial-bandit", states=3, actions=2).mdp(Streams([0])).rounds.shape == (1, 20_000, 1, 3, 2)


def test_a_file_of_rounds(tmp_path: Path):
    def world(**arrays) -> TabularWorld:
        np.savez(tmp_path / "own.npz", **({"transition": np.ones((1, 2, 1)), "rounds": ROUNDS.numpy().reshape(3, 1, 2), "horizon": 1} | arrays))
        return make_world(f"tabular:{tmp_path / 'own.npz'}")

    mdp = world().mdp(Streams([0]))
    assert mdp.rounds.shape == (1, 3, 1, 1, 2) and mdp.reward.flatten().tolist() == pytest.approx([1 / 3, 0.5])
    assert world(rounds=np.zeros((4, 2, 1, 2)), horizon=2).mdp(Streams([0])).rounds.shape == (1, 4, 2, 1, 2)
    for arrays, says in (
        ({"reward": [[1.0, 0.5]]}, r"reward\[0, 0, 0\] is 1, must be the mean of rounds"),
        ({"rounds": np.zeros((3, 1, 3))}, r"must be \[S, R, H, K, A\]|do not agree"),
        ({"rounds": np.array([[[0.0, np.nan]]])}, "is nan, must be a finite number"),
        ({"rounds": np.zeros((0, 1, 2))}, r"rounds has shape \[0, 1, 2\]"),
    ):
        with pytest.raises(BadInput, match=says) as told:
            world(**arrays)
        assert "\n" not in str(told.value) and "own.npz" in str(told.value)
    np.savez(tmp_path / "own.npz", transition=np.ones((1, 2, 1)), rounds=ROUNDS.numpy().reshape(3, 1, 2), discount=0.5)
    with pytest.raises(BadInput, match="rounds are of MDPs with a horizon"):
        make_world(f"tabular:{tmp_path / 'own.npz'}")
