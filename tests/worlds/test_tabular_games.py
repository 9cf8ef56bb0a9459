"""Finite games: values by hand and by brute force over pure strategies, equilibria by their definition, and what is no game."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.names import NAMES
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import Chance, End, FiniteGame, Turn
from operant.worlds.tabular.named_games import NAMED_GAMES, kuhn
from operant.worlds.tabular.problems import TABLES

F64 = torch.float64
SEEDS = [100, 101]


def game(name: str, **options) -> FiniteGame:
    return make_world(f"tabular:{name}", **options).game(Streams(SEEDS))


def drawn(shape: tuple[int, ...], available: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """A policy whose probabilities are drawn, `[2, I, A]`."""
    weight = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=F64) * available
    return weight / weight.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", NAMED_GAMES)
def test_named_games(name: str):
    """Games are shared or each seed's own; uniform play is a policy; what is zero-sum says so, and its worst case is what exploitability says."""
    world = make_world(f"tabular:{name}")
    found, policy = world.game(Streams(SEEDS)), world.policy(None, Streams(SEEDS))
    assert found.seeds == (2 if NAMED_GAMES[name].own else 1)
    torch.testing.assert_close(policy.probabilities.sum(-1), torch.ones(2, found.shape[0], dtype=F64))
    assert (policy.probabilities[:, ~found.available] == 0).all()
    evaluation = world.evaluate(policy, 2)
    if found.total is not None:
        assert evaluation.values[:, 0] == pytest.approx(found.total / 2 - evaluation.measures["exploitability"])
    alone = world.evaluate(world.policy(None, Streams(SEEDS[1:])), 1)
    assert alone.values[0] == pytest.approx(evaluation.values[1], rel=1e-12)


def test_the_names_are_those_that_are_answered_without_pytorch():
    assert set(NAMES["tabular"]) == {*TABLES, *NAMED_GAMES}


def test_kuhn_poker_has_its_value():
    """-1/18 for the first player (Kuhn 1950); its equilibria bet a J with probability α in [0, 1/3], a K with 3α, and call with a Q with α + 1/3."""
    found = game("kuhn-poker")
    policy, value = found.equilibrium
    assert found.shape == (12, 2) and found.total == 0
    assert value[0].tolist() == pytest.approx([-1 / 18, 1 / 18]) and found.exploitability(policy).item() == pytest.approx(0, abs=1e-12)
    for alpha in (0.0, 0.2, 1 / 3):
        bets = {"J": alpha, "Q": 0.0, "K": 3 * alpha, "J, after pass, bet": 0, "Q, after pass, bet": alpha + 1 / 3, "K, after pass, bet": 1}
        answers = {"J, after pass": 1 / 3, "J, after bet": 0, "Q, after pass": 0, "Q, after bet": 1 / 3, "K, after pass": 1, "K, after bet": 1}
        chance = torch.tensor([(bets | answers)[seen] for seen in found.sets], dtype=F64)
        policy = torch.stack([1 - chance, chance], -1).unsqueeze(0)
        assert found.exploitability(policy).item() == pytest.approx(0, abs=1e-12)
        assert found.value(policy)[0].tolist() == pytest.approx([-1 / 18, 1 / 18])


def test_leduc_poker_has_its_size_and_value():
    """337 sequences a player where suits do not count, and -0.0856 for the first player."""
    found = game("leduc-poker")
    assert found.shape == (288, 3) and [int(found.available[found.player == player].sum()) for player in (0, 1)] == [336, 336]
    policy, value = found.equilibrium
    assert value[0, 0].item() == pytest.approx(-0.0856, abs=5e-5) and found.exploitability(policy).item() < 1e-9


def walked(history, follow, chance: float, play) -> np.ndarray:
    """What both players are paid on average, history by history; `play(player, seen)` are probabilities."""
    node = follow(history)
    if isinstance(node, End):
        return chance * np.array(node.payoff)
    if isinstance(node, Chance):
        return sum(walked(after, follow, chance * probability, play) for probability, after in node.outcomes)
    return sum(walked(after, follow, chance * share, play) for (_, after), share in zip(node.moves, play(node.player, node.seen), strict=True))


def test_values_and_best_responses_by_brute_force():
    """Kuhn poker, walked history by history: the value of a policy, and the best of all 64 pure strategies of a player against it."""
    found = game("kuhn-poker")
    policy = drawn(found.shape, found.available)[:1]
    tables = [{seen: policy[0, place].tolist() for place, seen in enumerate(found.sets) if found.player[place] == player} for player in (0, 1)]
    assert walked(None, kuhn, 1.0, lambda player, seen: tables[player][seen]) == pytest.approx(found.value(policy)[0].numpy())
    best, worst = [-np.inf, -np.inf], [np.inf, np.inf]
    for player in (0, 1):
        for pure in product([(1, 0), (0, 1)], repeat=6):
            mine = dict(zip(tables[player], pure, strict=True))
            paid = walked(None, kuhn, 1.0, lambda who, seen, mine=mine, player=player: mine[seen] if who == player else tables[who][seen])
            best[player], worst[1 - player] = max(best[player], paid[player]), min(worst[1 - player], paid[1 - player])
    response, value = found.best_response(found.plan(policy))
    assert value[0].tolist() == pytest.approx(best) and found.worst_case(policy)[0].tolist() == pytest.approx(worst)
    assert found.exploitability(policy).item() == pytest.approx((sum(best) - found.value(policy).sum().item()) / 2)
    both = torch.where((found.player == 0).view(-1, 1), response, policy)
    assert found.value(both)[0, 0].item() == pytest.approx(best[0])


def test_general_sum_games_have_best_responses_of_each_players_own_payoff():
    """Chicken, the first dares with probability 1/4: yielding is worth 0.75 · 6 + 0.25 · 2 = 5 to the other, and daring 0.75 · 7 = 5.25."""
    found = game("chicken")
    policy = torch.tensor([[[0.75, 0.25], [1.0, 0.0]]], dtype=F64)
    assert found.total is None and found.best_response(found.plan(policy))[1][0].tolist() == [7.0, 5.25]
    assert found.value(policy)[0].tolist() == pytest.approx([6.25, 5.0])
    assert found.exploitability(policy).item() == pytest.approx((0.75 + 0.25) / 2)
    assert found.worst_case(policy)[0].tolist() == pytest.approx([1.5, 2.0])


def test_counterfactual_regrets_weigh_how_others_come_there():
    """Of the second player's K after a bet: the chance of the cards and of the first player's bet, 1/6 each of J and Q, times what calling is worth more."""
    found = game("kuhn-poker")
    policy = found.uniform.clone()
    advantage = found.advantage(policy)
    place = found.sets.index("K, after bet")
    weight = 2 * (1 / 6) * 0.5
    assert advantage[0, place].tolist() == pytest.approx([weight * (-1 - 0.5), weight * (2 - 0.5)])  # a fold pays -1, a call 2, both at random 0.5


@pytest.mark.parametrize("name", ["rock-paper-scissors", "matching-pennies", "random-zero-sum", "random-preference"])
def test_the_program_finds_an_equilibrium_of_matrix_games(name: str):
    found = game(name)
    policy, value = found.equilibrium
    assert found.exploitability(policy).max().item() < 1e-12
    assert value.sum(-1).tolist() == pytest.approx([found.total] * found.seeds)
    if found.preference:
        assert value.flatten().tolist() == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("rock", [0.5, 1.0, 3.0])
def test_paper_is_played_as_much_as_rock_pays(rock: float):
    policy, value = game("rock-paper-scissors", rock=rock).equilibrium
    assert policy[0, 0].tolist() == pytest.approx([1 / (2 + rock), rock / (2 + rock), 1 / (2 + rock)]) and value[0].tolist() == pytest.approx([0, 0])


@pytest.mark.parametrize("coarse", [False, True])
def test_correlated_equilibria_keep_what_they_must_and_no_pure_one_is_better(coarse: bool):
    """Of random general-sum games, by the definition; the best pure equilibrium is one of them. In chicken the payoffs are 21/4 each (Aumann 1974)."""
    generator = torch.Generator().manual_seed(1)
    games = FiniteGame.matrix(torch.rand(6, 2, 3, 4, generator=generator, dtype=F64))
    joint = games.correlated(coarse=coarse)
    torch.testing.assert_close(joint.sum((-2, -1)), torch.ones(6, dtype=F64))
    assert joint.min() >= 0
    for one, payoff in zip(joint, games.matrices, strict=True):
        for player, (mine, told) in enumerate(((payoff[0], one), (payoff[1].T, one.T))):
            better = torch.einsum("ab,db->ad", told, mine) - (told * mine).sum(-1, keepdim=True)  # of each deviation, by what was told
            assert (better.sum(0) if coarse else better).max() <= 1e-9, player
        pure = (payoff[0] == payoff[0].amax(0)) & (payoff[1] == payoff[1].amax(1, keepdim=True))
        assert (one * payoff.sum(0)).sum() >= payoff.sum(0).masked_fill(~pure, -torch.inf).max() - 1e-9
    if not coarse:
        chicken = game("chicken").correlated()
        assert chicken[0].tolist() == [pytest.approx([0.5, 0.25]), pytest.approx([0.25, 0])]
        assert game("prisoners-dilemma").correlated()[0, 1, 1].item() == pytest.approx(1)


@pytest.mark.parametrize("kl_weight", [0.001, 0.02, 0.1, 1.0])
def test_a_regularised_equilibrium_is_its_own_best_answer(kl_weight: float):
    found = game("random-preference", kl_weight=kl_weight)
    best = found.regularized_equilibrium
    gain = (found.matrices[:, 0] @ best.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(best, ops.kl_regularized_policy(gain, found.reference, temperature=kl_weight), rtol=0, atol=max(1e-12, 1e-14 / kl_weight))
    assert found.exploitability(found.equilibrium[0]).max() < 1e-12
    policy = drawn((1, 10), torch.ones(1, 10)).expand(-1, 2, -1)
    answers = drawn((2_000, 10), torch.ones(2_000, 10), seed=2)  # none of these is better than exploitability says
    chance, half = found.matrices[:, 0], policy[:, :1]
    beats = (answers @ chance @ half.mT).squeeze(-1)
    beats = beats - kl_weight * (ops.policy_divergence(answers, found.reference[:, None]) - ops.policy_divergence(half, found.reference[:, None]))
    most, said = beats.amax(1) - 0.5, found.exploitability(policy)
    assert (most <= said + 1e-12).all()
    torch.testing.assert_close(found.worst_case(policy)[:, 0], 0.5 - said)


def test_preferences_are_non_transitive():
    """Of ten answers, drawn: each sums to one with its reverse, and in most tables three answers beat each other in a circle."""
    chance = make_world("tabular:random-preference").game(Streams(range(100, 120))).matrices[:, 0]
    torch.testing.assert_close(chance + chance.mT, torch.ones_like(chance), rtol=0, atol=1e-15)
    beats = (chance > 0.5).to(F64)
    assert ((beats @ beats * beats.mT).sum((-2, -1)) > 0).sum() >= 19


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e15, 1e149])
@pytest.mark.parametrize("name", ["rock-paper-scissors", "kuhn-poker", "chicken", "prisoners-dilemma"])
def test_an_equilibrium_is_one_in_whatever_payoffs_are_counted(name: str, scale: float):
    """The solver knows absolute numbers, and a game in cents is the game in euros."""
    plain = game(name)
    found = replace(plain, payoff=scale * plain.payoff)
    assert (found.total is None) == (plain.total is None)
    if found.total is not None:
        policy, value = found.equilibrium
        assert found.exploitability(policy).item() < 1e-12 * scale
        assert (value / scale)[0].tolist() == pytest.approx(plain.equilibrium[1][0].tolist(), abs=1e-12)
    else:
        for coarse in (False, True):
            torch.testing.assert_close(found.correlated(coarse=coarse), plain.correlated(coarse=coarse))
    torch.testing.assert_close(found.best_response(found.plan(plain.uniform))[0], plain.best_response(plain.plan(plain.uniform))[0])


def far(payoff: float) -> FiniteGame:
    """Rock-paper-scissors in which rock loses that much to paper."""
    wins = torch.tensor([[0, -payoff, 1], [1, 0, -1], [-1, 1, 0]], dtype=F64)
    return FiniteGame.matrix(torch.stack([wins, -wins])[None])


def test_one_payoff_may_lie_far_from_the_others_and_where_none_is_found_that_is_said():
    policy, value = far(1e10).equilibrium
    assert value[0, 0].item() == pytest.approx(-1 / 3) and far(1e10).exploitability(policy).item() < 1e-6
    normal = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=F64)
    normal[0, 2, 2] = -1e12
    for lost in (FiniteGame.matrix(torch.stack([normal, -normal], 1)), far(1e14), far(1e149)):
        with pytest.raises(BadInput, match="payoffs lie too far apart for a linear program, one .* times as far from the median as is ordinary"):
            _ = lost.equilibrium
    general = game("chicken").payoff.clone()
    general[0, :, 2, 2] = -1e16
    with pytest.raises(BadInput, match="too far apart"):
        replace(game("chicken"), payoff=general).correlated()


def test_best_responses_and_sums_are_of_ordinary_payoffs_where_one_is_far():
    """Against paper scissors are best, by 2 and not by a share of what rock loses; and what sums to nothing is told from what does not, far from 0 too."""
    found = far(1e10)
    paper = torch.tensor([[[0, 1, 0], [0, 1, 0]]], dtype=F64)
    assert found.best_response(paper)[0][0, 0].tolist() == [0, 0, 1]
    assert replace(game("rock-paper-scissors"), payoff=game("rock-paper-scissors").payoff + 1e9 * game("rock-paper-scissors").ends).total == pytest.approx(2e9)
    for shift in (0, 1e9):
        assert replace(game("chicken"), payoff=game("chicken").payoff + shift * game("chicken").ends).total is None


def test_a_tree_may_have_another_sum_than_zero():
    """Kuhn poker in which the house pays the second player 3 for coming: its equilibria are the same."""
    plain = game("kuhn-poker")
    found = replace(plain, payoff=plain.payoff + torch.tensor([0.0, 3.0], dtype=F64).view(2, 1, 1) * plain.ends)
    assert plain.ends.sum() == pytest.approx(5) and found.total == pytest.approx(3)  # five ends of each deal
    assert found.equilibrium[1][0].tolist() == pytest.approx([-1 / 18, 3 + 1 / 18])


def two_steps(seen: str = "second", again: str = "go") -> FiniteGame:
    """Player 1 moves twice; what it sees the second time is `seen`, and its moves there are called `again`; player 2 moves in the end."""

    def follow(history):
        if history is None:
            return Turn(0, "first", [("left", ("l",)), ("right", ("r",))])
        if len(history) == 1:
            return Turn(0, seen if history[0] == "r" else "left", [(again if history[0] == "r" else "go", (*history, "x")), ("stop", (*history, "y"))])
        return Turn(1, "other", [("a", None), ("b", None)]) if len(history) == 2 else End((0, 0))

    def ended(history):
        node = follow(history)
        return Turn(node.player, node.seen, [(name, (*history, name)) for name, _ in node.moves]) if isinstance(node, Turn) and node.player == 1 else node

    return FiniteGame.extensive(None, ended)


def test_a_player_may_move_twice():
    found = two_steps()
    assert found.sets == ("first", "left", "second", "other") and found.parent.tolist() == [-1, 0, 1, -1] and found.first == 3
    assert [level.tolist() for level in found.levels] == [[0, 3], [1, 2]] and not found.is_matrix


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: two_steps(seen="left"), "the information set 'left' of player 1 is none: its player has forgotten what it did"),
        (lambda: FiniteGame.extensive(0, lambda at: Turn(0, "x", [("a", 1)]) if at == 0 else End((1, -1))), "player 2 never moves"),
        (lambda: FiniteGame.extensive(0, lambda at: Chance([(0.5, 1)]) if at == 0 else End((1, -1))), "must be at least 0 and sum to 1"),
        (lambda: FiniteGame.matrix(torch.zeros(1, 3, 2, 2)), r"must be \[S, 2, m, n\]"),
        (lambda: FiniteGame.matrix(torch.full((1, 2, 1, 2), torch.nan).double()), r"payoff\[0, 1, 1\] is nan, must be"),
        (lambda: FiniteGame.preferences(torch.tensor([[[0.5, 0.7], [0.4, 0.5]]], dtype=F64)), r"P\[0, 1\] and the same the other way round sum to 1.1"),
        (lambda: FiniteGame.preferences(torch.tensor([[[0.5, 1.7], [-0.7, 0.5]]]).double()), r"P\[0, 1\] is 1.7, must be a probability"),
        (lambda: FiniteGame.preferences(torch.full((1, 2, 2), 0.5).double(), kl_weight=0.1), "needs a reference policy"),
        (lambda: FiniteGame.preferences(torch.full((1, 2, 2), 0.5).double(), torch.tensor([[1.0, 0.0]]).double(), 0.1), "a probability above 0"),
        (lambda: FiniteGame.preferences(torch.full((1, 2, 2), 0.5).double(), torch.full((1, 2), 0.5).double()), "needs kl_weight above 0: give --kl-weight"),
        (lambda: FiniteGame.preferences(torch.full((1, 2, 2), 0.5).double(), torch.tensor([[0.5, 0.6]]).double()), "a probability above 0"),
        (lambda: game("random-preference", kl_weight=1e-4), "a KL weight of 0.0001 is too small to find the equilibrium: take 0.001 or more"),
        (lambda: game("regularized-preference", kl_weight=1e-9), "take 0.001 or more"),
        (lambda: game("chicken").equilibrium, "an equilibrium is computed of zero-sum games; this one is general-sum"),
        (lambda: game("kuhn-poker").correlated(), "correlated equilibria are computed of matrix games"),
        (lambda: replace(game("kuhn-poker"), payoff=torch.zeros(1, 2, 3, 3)), r"must be \[S, 2, 13, 13\]"),
    ],
)
def test_what_is_no_game(make, says: str):
    with pytest.raises(BadInput, match=says) as told:
        _ = make()
    assert "\n" not in str(told.value)


def tree(*, at_first=None, at_second=None, end=(1, -1)) -> FiniteGame:
    """Both players move once, but for what is put in the place of a node."""
    first = Turn(0, "mine", [("left", "l"), ("right", "r")]) if at_first is None else at_first
    second = Turn(1, "yours", [("up", "end"), ("down", "end")]) if at_second is None else at_second
    nodes = {"root": first, "l": second, "r": Turn(1, "yours", [("up", "end"), ("down", "end")]), "end": End(end)}
    return FiniteGame.extensive("root", lambda history: nodes.get(history))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FiniteGame.extensive(0, lambda at: Chance([(1.0, at + 1)])), "10,000 moves lead to the history 10001, and it goes on"),
        (lambda: FiniteGame.extensive(0, lambda at: Chance([(1.0, 1 - at)])), "every history must come to an End"),
        (lambda: FiniteGame.extensive((), lambda at: Turn(0, str(len(at)), [("a", (*at, 0)), ("b", (*at, 1))])), "there can be 4,096: take a"),
        (lambda: tree(at_first=Turn(2, "mine", [("left", "l")])), "the Turn at the history 'root' is of player 2, must be 0 or 1"),
        (lambda: tree(at_first=Turn(-1, "mine", [("left", "l")])), "of player -1, must be 0 or 1"),
        (lambda: tree(at_second=Turn(1.0, "yours", [("up", "end")])), "the Turn at the history 'l' is of player 1.0, must be 0 or 1"),
        (lambda: tree(at_second=Turn(1, "yours", [])), r"the Turn at the history 'l' has moves \[\], must be one or more"),
        (lambda: tree(at_second=Turn(1, "yours", None)), "has moves None, must be one or more"),
        (lambda: tree(at_second=Turn(1, "yours", [("up", "end"), ("up", "end")])), "the information set 'yours' of player 2 has two moves 'up'"),
        (lambda: tree(at_second=Turn(1, ["yours"], [("up", "end")])), r"has seen \['yours'\], must be hashable"),
        (lambda: tree(at_second=Turn(1, float("nan"), [("up", "end")])), "has seen nan, which is not the same as itself"),
        (lambda: tree(at_first=Turn(0, "mine", [("left", "nowhere")])), "at the history 'nowhere' follow gives None, must be a Chance, a Turn or an End"),
        (lambda: tree(at_second="up"), "at the history 'l' follow gives 'up', must be"),
        *(
            (lambda end=end: tree(end=end), "the End at the history 'end' pays .* must be two finite numbers")
            for end in ((), (1.0,), (1, 2, 3), 1.0, None, "12", ("1", "2"), (None, 1), (np.nan, 1), (np.inf, 1), (1e200, 1))
        ),
        (lambda: tree(at_second=Chance([(np.nan, "end"), (0.5, "end")])), "chance's probabilities at the history 'l' are nan, 0.5, must be at"),
        (lambda: tree(at_second=Chance([(1.5, "end"), (-0.5, "end")])), "chance's probabilities at the history 'l' are 1.5, -0.5"),
        (lambda: tree(at_second=Chance([])), r"the Chance at the history 'l' has outcomes \[\]"),
        (lambda: tree(at_second=Chance([0.5, 0.5])), "must be one or more .probability, what follows."),
    ],
)
def test_what_is_no_tree(make, says: str):
    """One line each that names the history, the information set or the move."""
    with pytest.raises(BadInput, match=says) as told:
        make()
    assert "\n" not in str(told.value) and len(str(told.value)) < 300


def test_trees_are_counted_while_they_are_walked(monkeypatch):
    monkeypatch.setattr("operant.worlds.tabular.games.MOST_HISTORIES", 1_000)
    walked = []
    with pytest.raises(BadInput, match="more than 1,000 histories: take a smaller game"):
        FiniteGame.extensive((), lambda at: walked.append(at) or (Chance([(0.5, (*at, 0)), (0.5, (*at, 1))]) if len(at) < 30 else End((0, 0))))
    assert len(walked) == 1_000


def test_a_long_game_is_walked_to_its_end():
    """Players take turns, and who stops gets 1: of 600 moves, all of which must be made."""
    names = ("stop", "go")
    found = FiniteGame.extensive(0, lambda at: End((0, 0)) if at in (-1, 600) else Turn(at % 2, at, list(zip(names, (-1, at + 1), strict=True))))
    assert found.shape == (600, 2) and len(found.levels) == 300


def test_a_set_that_both_players_have_is_asked_for_with_its_player():
    both = FiniteGame.extensive((), lambda at: End((0, 0)) if len(at) == 2 else Turn(len(at), "move", [(name, (*at, name)) for name in ("left", "right")]))
    world = GameWorld(both)
    policy = world.policy(None, Streams([0]))
    policy.probabilities[0, 1] = torch.tensor([0.25, 0.75])
    assert [world.act(policy, (player, "move"))[0] for player in (1, 2)] == ["left", "right"]
    assert both.described(policy.probabilities[0])[1] == {"player": 2, "seen": "move", "policy": {"left": 0.25, "right": 0.75}, "reached": True}
    with pytest.raises(BadInput, match=r"several information sets are called 'move': take \(1, 'move'\) or \(2, 'move'\)"):
        world.act(policy, "move")


def saved(folder: Path, **arrays) -> str:
    np.savez(folder / "game.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    return f"tabular:{folder / 'game.npz'}"


HALVES = [[0.5, 0.9], [0.1, 0.5]]


def test_files_of_games(tmp_path: Path):
    zero = make_world(saved(tmp_path, payoff=[[1, -1, 0], [-1, 1, 0]])).game(Streams([0]))
    assert zero.total == 0 and zero.matrices[0, 1].tolist() == [[-1, 1, 0], [1, -1, 0]] and zero.available.tolist() == [[True, True, False], [True] * 3]
    both = make_world(saved(tmp_path, payoff=np.arange(8).reshape(2, 2, 2))).game(Streams([0]))
    assert both.matrices[0, 1].tolist() == [[4, 5], [6, 7]] and both.total is None
    plain = make_world(saved(tmp_path, preference=HALVES)).game(Streams([0]))
    assert plain.preference and plain.reference is None
    world = make_world(saved(tmp_path, preference=HALVES, kl_weight=0.5, reference=[0.25, 0.75]))
    regular = world.game(Streams([0]))
    assert regular.kl_weight == 0.5 and regular.reference.tolist() == [[0.25, 0.75]] and world.shape == (2, 2)
    chosen = make_world(saved(tmp_path, preference=HALVES, kl_weight=0.5), kl_weight=2).game(Streams([0]))
    assert chosen.kl_weight == 2 and chosen.reference.tolist() == [[0.5, 0.5]]
    assert make_world(saved(tmp_path, preference=HALVES, kl_weight=0.5), kl_weight=0).game(Streams([0])).reference is None


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"payoff": [1.0, 2.0]}, r"payoff has shape \[2\], must be \[m, n\] or \[2, m, n\]"),
        ({"payoff": np.zeros((3, 2, 2))}, r"payoff has shape \[3, 2, 2\], must be \[m, n\] or \[2, m, n\]"),
        ({"payoff": [[1.0, np.inf]]}, r"payoff\[0, 1\] is inf, must be a finite number"),
        ({"payoff": [["a", "b"]]}, "must be an array of numbers"),
        ({"payoff": [[1.0]], "preference": [[0.5]]}, "both payoff and preference"),
        ({"payof": [[1.0]]}, "unknown array 'payof': did you mean payoff"),
        ({"preference": HALVES, "reference": [0.5, 0.5]}, "a reference policy needs kl_weight above 0: give --kl-weight, or leave the reference out"),
        ({"preference": HALVES, "reference": [0.5, 0.6], "kl_weight": 0.0}, "they sum to 1"),
        ({"preference": HALVES, "kl_weight": 1e-9}, "too small to find the equilibrium: take 0.001 or more"),
        ({"payoff": [[1.0]], "kl_weight": 0.5}, "a KL weight and a reference are of preference games"),
        ({"payoff": [[1.0]], "payofs": [[1.0]]}, "unknown array 'payofs': did you mean payoff"),
        ({"preference": [[0.5, 0.9], [0.9, 0.5]]}, "sum to 1.8, must be 1"),
        ({"preference": HALVES, "kl_weight": [0.5, 1.0]}, r"kl_weight has shape \[2\], must be one number"),
        ({"preference": HALVES, "kl_weight": -0.5}, "a KL weight is above 0"),
        ({"preference": HALVES, "kl_weight": 0.5, "reference": [0.5, 0.25, 0.25]}, "the reference has 3 answers, and the preferences 2"),
        ({"preference": HALVES, "kl_weight": 0.5, "reference": [0.5, 0.6]}, "they sum to 1"),
    ],
)
def test_files_that_hold_no_game(tmp_path: Path, arrays: dict, says: str):
    task = saved(tmp_path, **arrays)
    with pytest.raises(BadInput, match=says) as told:
        make_world(task)
    assert "\n" not in str(told.value) and "game.npz" in str(told.value)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("kuhn-poker", {"actions": 3}, "has no option actions: it is a game, of which nothing can be chosen"),
        ("rock-paper-scissors", {"horizon": 3}, "has no option horizon: it is a game, of which rock can be chosen"),
        ("random-preference", {"actions": 1}, "actions"),
        ("chain", {"rock": 2}, "tabular:chain has no option rock"),
        ("random-zero-sum", {"actions": 10**9}, "take fewer actions"),
    ],
)
def test_options_that_a_task_does_not_have(name: str, options: dict, says: str):
    with pytest.raises(BadInput, match=says) as told:
        make_world(f"tabular:{name}", **options)
    assert "\n" not in str(told.value)


def test_planners_refuse_what_they_are_not_for():
    with pytest.raises(BadInput, match="tabular:kuhn-poker is a game, and this planner needs a finite MDP: take tabular:river-swim, or cfr for the game"):
        make_world("tabular:kuhn-poker").mdp(Streams([0]))
    with pytest.raises(BadInput, match="tabular:chain is no finite game"):
        make_world("tabular:chain").game(Streams([0]))
    with pytest.raises(BadInput, match="is no finite game"):
        make_world("gym:CartPole-v1").game(Streams([0]))
    assert GameWorld(game("chicken")).fingerprint() != GameWorld(game("prisoners-dilemma")).fingerprint()
