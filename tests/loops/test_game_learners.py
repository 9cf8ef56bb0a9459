"""Methods that play games against themselves: their first iterations by hand, what they come to, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from planners import learner

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.planning import Planning, Problem
from operant.loops.regret import Exploitability
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame

F64 = torch.float64
ZERO_SUM = ("cfr", "fictitious-play", "hedge")


def zero_sum(*rows: list[float]) -> GameWorld:
    """By what the first player is paid."""
    wins = torch.tensor(rows, dtype=F64)
    return GameWorld(FiniteGame.matrix(torch.stack([wins, -wins])[None]))


@pytest.mark.parametrize("rows, columns", [([[0, 2], [1, 0]], [[1, 2], [2, 0]]), ([[0, 1], [2, 0]], [[0, 2], [2, 1]]), ([[2, 2], [2, 2]], [[1, 1], [0, 0]])])
def test_fictitious_play_counts_and_takes_the_first_of_equals(rows: list, columns: list):
    """Against counts in whole numbers, whose ties are ties."""
    count, wins = [[0, 0], [0, 0]], (rows, list(zip(*columns, strict=True)))  # what each is paid for its own action against the other's
    against = [[1, 1], [1, 1]]
    for _ in range(2_000):
        paid = [[sum(pays * times for pays, times in zip(wins[who][a], against[1 - who], strict=True)) for a in (0, 1)] for who in (0, 1)]
        for who in (0, 1):
            count[who][paid[who].index(max(paid[who]))] += 1
        against = count
    world = GameWorld(FiniteGame.matrix(torch.tensor([rows, columns], dtype=F64)[None]))
    found = learner("fictitious-play", world, 2_000, seeds=(0,)).policy.probabilities[0]
    torch.testing.assert_close(found, torch.tensor(count, dtype=F64) / 2_000)


@pytest.mark.parametrize("key", ["cfr", "fictitious-play", "hedge"])
def test_a_seed_plays_as_it_plays_alone(key: str):
    world = make_world("tabular:random-zero-sum")
    both, alone = (learner(key, world, 50, seeds=seeds).policy.probabilities for seeds in ((3, 4), (4,)))
    torch.testing.assert_close(both[1:], alone)


def test_regret_matching_by_hand():
    """Payoffs 2, 0 and 0, 1. Uniform play pays 1 or 1/2 to the first, so action 0 has regret 1/4; to the second -1 or -1/2, regret 1/4 of action 1. Then they
    play (1, 0) and (0, 1), which pays 0: the first regrets that it did not take action 1, by 1; the second has 0 or -2, and regrets nothing."""
    found = learner("cfr", zero_sum([2, 0], [0, 1]), 1, seeds=(0,))
    assert found.state["regret"][0].tolist() == [[0.25, -0.25], [-0.25, 0.25]] and found.state["policy"][0].tolist() == [[0.5, 0.5]] * 2
    found = learner("cfr", zero_sum([2, 0], [0, 1]), 2, seeds=(0,))
    assert found.state["regret"][0].tolist() == [[0.25, 0.75], [-2.25, 0.25]] and found.state["policy"][0].tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_cfr_plus_by_hand():
    """The same game: after the first player's update it plays (1, 0), so that the second's regrets are those against that: -2 and 0 beside the mean -1."""
    found = learner("cfr", zero_sum([2, 0], [0, 1]), 1, seeds=(0,), plus=True)
    assert found.state["regret"][0].tolist() == [[0.25, 0.0], [0.0, 1.0]]
    assert found.state["policy"][0].tolist() == [[0.5, 0.5]] * 2
    found = learner("cfr", zero_sum([2, 0], [0, 1]), 2, seeds=(0,), plus=True)
    assert found.state["policy"][0].tolist() == [pytest.approx([1 / 6 + 2 / 3, 1 / 6]), pytest.approx([1 / 6, 1 / 6 + 2 / 3])]  # weights 1/3 and 2/3


def test_fictitious_play_by_hand():
    """Against uniform play the first takes action 0 and the second action 1; against these actions 1 and 1; the averages are halves."""
    world = zero_sum([2, 0], [0, 1])
    assert [learner("fictitious-play", world, count, seeds=(0,)).state["policy"][0].tolist() for count in (1, 2)] == [[[1, 0], [0, 1]], [[0.5, 0.5], [0, 1]]]


def test_hedge_by_hand():
    """Payoffs in [-1, 2] as shares: uniform play pays 1 and 1/2, shares 2/3 and 1/2, to the first; to the second -1 and -1/2, of a range from -2 to 2."""
    found = learner("hedge", zero_sum([2, 0], [0, 1]), 1, seeds=(0,), rate=2.0)
    assert found.state["gain"][0].flatten().tolist() == pytest.approx([3 / 4, 5 / 8, 1 / 4, 3 / 8])
    assert found.state["playing"][0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-0.25)))
    assert found.state["policy"][0].tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize("key", ["nash-mp", "nash-md"])
def test_nash_learners_by_hand(key: str):
    """Two answers, the first preferred with probability 0.9; uniform reference; KL weight 1/2. From the reference P(· ≻ reference) is 0.7 and 0.3."""
    game = FiniteGame.preferences(torch.tensor([[[0.5, 0.9], [0.1, 0.5]]], dtype=F64), torch.full((1, 2), 0.5, dtype=F64), 0.5)
    found = learner(key, GameWorld(game), 1, seeds=(0,)).state["policy"][0]
    if key == "nash-mp":  # log-odds: rate 2 · 0.4 over 1 + 2 / 2, both times, for P(0 ≻ ·) - P(1 ≻ ·) is 0.4 against anything
        odds = 0.8 / 2
    else:  # rate 2 / (0.5 · 2) = 2, from the reference
        odds = 0.8
    assert found.tolist() == [pytest.approx([1 / (1 + math.exp(-odds)), 1 / (1 + math.exp(odds))])] * 2
    far = learner(key, GameWorld(game), 400, seeds=(0,))  # what it comes to: log-odds 0.4 / 0.5
    assert far.state["policy"][0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-0.8)), abs=1e-9 if key == "nash-mp" else 1e-4)


@pytest.mark.parametrize(("key", "hyper"), [("cfr", {}), ("cfr", {"plus": True}), ("fictitious-play", {}), ("hedge", {})])
def test_averages_come_to_the_value_that_the_program_has(key: str, hyper: dict):
    """Of matrix games, random and of sizes that differ: what the average is paid at the least and at the most, by either player, holds the value."""
    world = zero_sum([0.3, -0.7, 0.1], [-0.2, 0.6, -0.5])
    value = world.game(Streams([0])).equilibrium[1][0]
    found = learner(key, world, 1_000, seeds=(0,))
    worst = world.game(Streams([0])).worst_case(found.policy.probabilities)[0]
    assert (worst <= value + 1e-12).all() and (value - worst).max() < 0.03
    assert found.policy.probabilities[0, 0, 2] == 0  # the first player has two actions


@pytest.mark.parametrize(("key", "hyper", "most"), [("cfr", {}, 0.05), ("cfr", {"plus": True}, 0.003), ("fictitious-play", {}, 0.05)])
def test_kuhn_poker_is_learned(key: str, hyper: dict, most: float):
    world = make_world("tabular:kuhn-poker")
    found = learner(key, world, 200, **hyper)
    measures = world.evaluate(found.policy, 2).measures
    assert measures["exploitability"].max() < most and measures["value of player 1"] == pytest.approx([-1 / 18] * 2, abs=most)
    assert set(found.iterate()) == {"exploitability"} and found.measures()["exploitability exponent"].max() < -0.4


def test_the_averages_of_cfr_are_of_realization_plans():
    """Two iterations of Kuhn poker by the definition: the policy of each set, weighted by how likely its player's own moves lead there."""
    world = make_world("tabular:kuhn-poker")
    game, found = world.game(Streams([0])), learner("cfr", world, 2, seeds=(0,))
    first = game.uniform
    second = ops.regret_matching(game.advantage(first), game.available)
    for place, parent in enumerate(game.parent.tolist()):
        reach = [1.0 if parent < 0 else policy[0, parent // 2, parent % 2].item() for policy in (first, second)]
        mean = sum(weight * policy[0, place] for weight, policy in zip(reach, (first, second), strict=True)) / sum(reach)
        torch.testing.assert_close(found.state["policy"][0, place], mean)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_exponent_is_that_of_the_curve(power: float):
    """In matching pennies who plays heads with probability 1/2 + x, both of them, is exploitable by 2x."""
    curve = Exploitability(make_world("tabular:matching-pennies").game(Streams([0])), 1)
    for number in range(1, 1_000):
        more = 0.4 * number**-power
        curve.add(torch.tensor([[[0.5 + more, 0.5 - more]] * 2], dtype=F64))
        if number == 3:
            assert curve.exponent().isnan().all()
    assert curve.exponent().item() == pytest.approx(-power, abs=1e-9)
    again = Exploitability(make_world("tabular:matching-pennies").game(Streams([0])), 1)
    again.load_state_dict(curve.state_dict())
    assert torch.equal(again.exponent(), curve.exponent())


def test_one_learner_that_plays_itself_does_what_two_do():
    """On preferences both players are the same table: their rows never part."""
    policy = learner("hedge", make_world("tabular:random-preference"), 500).policy.probabilities
    torch.testing.assert_close(policy[:, 0], policy[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "task", "hyper", "says"),
    [
        ("cfr", "chain", {}, "tabular:chain is no finite game: a method that plays against itself needs one, such as tabular:rock-paper-scissors"),
        ("nash-mp", "chain", {}, "tabular:chain is no finite game"),
        ("value-iteration", "kuhn-poker", {}, "tabular:kuhn-poker is a game, and this planner needs a finite MDP: take tabular:river-swim, or cfr"),
        ("vi-lcb", "chicken", {}, "tabular:chicken is a game"),
        ("exp3", "rock-paper-scissors", {}, "tabular:rock-paper-scissors is a game"),
        ("hedge", "kuhn-poker", {}, "hedge is for matrix games, and tabular:kuhn-poker has 12 information sets: take tabular:rock-paper-scissors, or cfr"),
        ("hedge", "regularized-preference", {}, "hedge knows no reference policy, and tabular:regularized-preference has one: take tabular:random-preference"),
        ("cfr", "regularized-preference", {}, "cfr knows no reference policy"),
        ("nash-mp", "chicken", {}, "nash-mp is for preference games with a reference policy, and tabular:chicken is none: take tabular:regularized-preference"),
        ("nash-md", "random-preference", {}, "no reference policy: take tabular:regularized-preference, or give --kl-weight 0.1"),
        ("nash-md", "regularized-preference", {"rate": 11.0}, "nash-md: rate 11 is above one over the task's KL weight, 0.1: it is at most 10"),
    ],
)
def test_what_a_method_cannot_play(key: str, task: str, hyper: dict, says: str):
    with pytest.raises(BadInput, match=says) as told:
        get_method(key).build(configure(key, hyper)).check(make_world(f"tabular:{task}"), [0], 10, None)
    assert "\n" not in str(told.value)


def test_a_planner_that_reads_something_else_has_no_game():
    with pytest.raises(RunFailed, match="asked for the game, and reads something else"):
        _ = Problem("mdp", make_world("tabular:chain"), Streams([0])).game
    with pytest.raises(RunFailed, match="asked for samples"):
        _ = Problem("game", make_world("tabular:chicken"), Streams([0])).samples
    with pytest.raises(RunFailed, match="asked for the MDP"):
        _ = Problem("game", make_world("tabular:chicken"), Streams([0])).mdp
    with pytest.raises(RunFailed, match="asked for episodes"):
        Problem("game", make_world("tabular:chicken"), Streams([0])).play(torch.zeros(1), 1)
    assert Planning(lambda problem: {}, lambda problem, state: state, reads="game").steps_of(make_world("tabular:chicken"), "planning") == 1_000
