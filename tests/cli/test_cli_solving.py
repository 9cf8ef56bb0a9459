"""`operant solve`: the exact solution, for a person and for a machine."""

from __future__ import annotations

import numpy as np
import pytest

from operant.core.random import Streams
from operant.worlds import make_world


def test_a_discount(operant):
    found = operant("solve", "tabular:chain", "--discount", "0.9", "--json").json
    world = make_world("tabular:chain", discount=0.9)
    mdp = world.mdp(Streams([0]))
    assert (found["task"], found["states"], found["actions"], found["horizon"]) == ("tabular:chain", 5, 2, None)
    assert found["effective_horizon"] == pytest.approx(10) and found["optimal_value"] == pytest.approx(mdp.start_value(mdp.optimum[0]).item())
    assert found["value"] == pytest.approx(mdp.optimum[0][0].tolist()) and found["policy"] == mdp.optimum[1][0].argmax(-1).tolist()
    expected = 0.0
    for _ in range(4):  # a slip leads back to the start: n more steps in a row take (1 + what n took) / 0.8
        expected = (1 + expected) / 0.8
    assert found["diameter"]["steps"] == pytest.approx(expected) and (found["diameter"]["from"], found["diameter"]["to"]) == (0, 4)
    text = operant("solve", "tabular:chain", "--discount", "0.9").out
    assert "1 / (1 - 0.9) = 10 steps" in text and f"{expected:.4g} steps, from state 0 to state 4" in text and "optimal action" in text


def test_a_horizon(operant):
    """What the steps bring adds up to the optimum."""
    found = operant("solve", "tabular:river-swim", "--json").json
    assert np.shape(found["value"]) == np.shape(found["policy"]) == (20, 6) and "diameter" not in found
    steps = found["by_step"]
    assert sum(each["reward"] for each in steps) == pytest.approx(found["optimal_value"]) == steps[0]["value"]
    assert steps[19]["value"] == pytest.approx(steps[19]["reward"])
    text = operant("solve", "tabular:river-swim").out
    assert "episodes of 20 steps" in text and "optimum from here on" in text and len(text.splitlines()) < 40


def test_an_instance_is_that_of_its_seed(operant):
    values = [operant("solve", "tabular:random-sparse", "--states", 4, "--seed", seed, "--json").json["value"] for seed in (1, 2)]
    assert len(values[0]) == 4 and values[0] != values[1]


@pytest.mark.parametrize("task", ["four-rooms", "cliff", "windy", "gym/FrozenLake-v1"])
def test_a_map_is_drawn(operant, task: str):
    """Walls and ends are marks, and all other cells arrows that an optimal policy follows."""
    text = operant("solve", f"tabular:{task}", "--discount", "0.95").out
    world = make_world(f"tabular:{task}")
    assert len(text.splitlines()) < 24 and max(map(len, text.splitlines())) <= 80
    assert "infinite: no sure way" in text
    drawn = text.rstrip().splitlines()[-len(world.picture.splitlines()) :]
    for row, line in zip(world.picture.splitlines(), drawn, strict=True):
        assert all((shown == mark) if mark in "#xGH" else (shown in "↑→↓←") for mark, shown in zip(row, line, strict=False))


def test_many_states_are_cut(operant):
    text = operant("solve", "tabular:random-dense", "--states", 210).out
    assert "and 195 more states: --json has all" in text and "not computed above 200 states" in text


def test_few_of_many_states_are_as_of_a_whole_table(operant):
    found = operant("solve", "tabular:garnet", "--states", 20, "--json").json
    assert found["states"] == 20 and 1 < found["diameter"]["steps"] < 100
    refused = operant("train", "linear-program", "--task", "tabular:garnet", "--states", 20)
    assert refused.code == 2 and "a linear program needs a table of all states by all" in refused.err


def test_what_is_hidden(operant):
    """Histories are the states; what it costs that something is hidden, and how much is shown of it."""
    found = operant("solve", "tabular:revealing", "--revealing", "0.25", "--json").json
    assert (found["hidden_states"], found["observations"], found["states"]) == (3, 5, 13) and found["alpha"] == pytest.approx(0.25)
    assert found["histories"][0] == {"step": 0, "history": "o4"}
    text = operant("solve", "tabular:tiger", "--horizon", "3").out
    assert "21 histories" in text and "4 states, which show 3 observations" in text and "o0 a0 o1" in text and "with nothing hidden" in text


def test_what_was_gained_and_what_is_uncertain(operant):
    found = operant("solve", "tabular:risky", "--horizon", "2", "--json").json
    assert found["stocks"] == [{"state": 0, "gained": 0.0}, *({"state": state, "gained": pytest.approx(0.3)} for state in (0, 1, 2))]
    assert "1 with 0.3" in operant("solve", "tabular:risky", "--horizon", "2").out
    found = operant("solve", "tabular:gusty", "--json").json
    assert 0.5 < found["robust_optimum"] < found["optimal_value"] < 0.6
    assert "in the worst case" in operant("solve", "tabular:gusty").out


def test_games(operant):
    """A zero-sum game has a value and an equilibrium, another one correlated equilibria; a person sees at most a screen."""
    found = operant("solve", "tabular:kuhn-poker", "--json").json
    assert found["value"] == pytest.approx([-1 / 18, 1 / 18]) and (found["information_sets"], found["sequences"]) == (12, [13, 13])
    assert {"player": 2, "seen": "K, after bet", "policy": {"fold": 0, "call": 1}, "reached": True} in found["equilibrium"]
    text = operant("solve", "tabular:kuhn-poker").out
    assert "-0.0555556 for the first player" in text and "what it sees" in text and "12 information sets, 13 and 13 sequences" in text
    found = operant("solve", "tabular:chicken", "--json").json
    assert found["correlated"]["value"] == pytest.approx([5.25, 5.25]) and not found["zero_sum"] and "value" not in found
    text = operant("solve", "tabular:chicken").out
    assert "the coarse correlated equilibrium of the largest sum of payoffs: 5.25 and 5.25" in text and "general-sum game" in text
    assert "paper 0.5," in operant("solve", "tabular:rock-paper-scissors", "--rock", 2).out
    found = operant("solve", "tabular:regularized-preference", "--seed", 100, "--json").json
    assert found["kl_weight"] == 0.1 and found["exploitability"] < 1e-12 and found["equilibrium"][0]["policy"] == found["equilibrium"][1]["policy"]
    text = operant("solve", "tabular:leduc-poker").out
    assert "more information sets: --json has all" in text and len(text.splitlines()) < 40


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "operant solve needs tabular:NAME; for example: operant solve tabular:four-rooms"),
        (("gym:CartPole-v1",), "gym:CartPole-v1 is no finite MDP"),
        (("tabular:chian",), "unknown finite MDP or game 'chian': did you mean chain?"),
        (("tabular:cliff", "--states", 9), "has no option states: its size is fixed"),
        (("tabular:chain", "--discount", "1"), "discount = 1.0: it must be in [0, 1)"),
        (("tabular:chain", "--discount", "nan"), "--discount nan is not a number"),
        (("tabular:chain", "--horizon", 0), "horizon = 0: it must be at least 1"),
        (("tabular:chain", "--discount", "0.5", "--horizon", 3), "give a discount or a horizon, not both"),
        (("tabular:chain", "--transitions", 9), "unknown option '--transitions' of operant solve"),
        (("tabular:random-dense", "--states", 10**6), "take fewer states"),
        (("tabular:garnet", "--horizon", 3), "tabular:garnet --horizon: it has a discount: take tabular:random-sparse for episodes"),
        (("tabular:gone.npz",), "no such file"),
        (("tabular:own.json",), "unknown finite MDP or game 'own.json': a file of one's own is an archive of NumPy's whose name ends in .npz"),
        (("tabular:OWN.NPZ",), "whose name ends in .npz"),
        (("tabular:kuhn-pokr",), "did you mean kuhn-poker?"),
        (("tabular:kuhn-poker", "--discount", "0.9"), "tabular:kuhn-poker has no option discount: it is a game"),
        (("tabular:chain", "--kl-weight", "1"), "tabular:chain has no option kl_weight"),
        (("tabular:gym/CartPole-v1",), "CartPole-v1 has no P"),
        (("tabular:gym/Frozen-v1",), "unknown Gymnasium environment 'Frozen-v1'"),
    ],
)
def test_what_cannot_be_solved_is_one_line(operant, words, says: str):
    answer = operant("solve", *words)
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1 and says in answer.err
