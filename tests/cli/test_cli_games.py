"""Games on the command line: trained, evaluated, compared, reported and resumed like any task, and refused in one line where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def test_a_game_is_played(operant, tmp_path: Path):
    """What is printed has exploitability and its exponent; an evaluation computes the same; the report draws it."""
    run = tmp_path / "run"
    answer = operant("train", "cfr", "--task", "tabular:random-zero-sum", "--actions", 3, "--seeds", 3, "--seed", 100, "--steps", 40, "--out", run)
    assert answer.code == 0 and "exploitability (IQM)" in answer.out and "exploitability exponent (IQM)" in answer.out
    result = operant("evaluate", run, "--json").json
    score, measured = result["score"]["per_seed"], result["measures"]["exploitability"]["per_seed"]
    assert score == pytest.approx([-value for value in measured]) and 0 < min(measured) <= max(measured) < 0.5
    other = tmp_path / "other"
    assert operant("train", "fictitious-play", "--task", "tabular:random-zero-sum", "--actions", 3, "--seed", 100, "--steps", 40, "--out", other).code == 0
    assert "exploitability" in operant("compare", run, other).out
    page = tmp_path / "report.html"
    assert operant("report", run, "--out", page).code == 0
    text = page.read_text()
    assert "NashConv / 2" in text and "worst for it" in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_seeds_of_one_game_are_told_to_be_alike(operant, tmp_path: Path, seeds: int):
    answer = operant("train", "hedge", "--task", "tabular:matching-pennies", "--steps", 5, "--seeds", seeds, "--out", tmp_path / "run")
    assert answer.code == 0 and ("every seed plays the same game, and its methods draw nothing" in answer.err) == (seeds > 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("value-iteration", "--task", "tabular:kuhn-poker"), "tabular:kuhn-poker is a game, and this planner needs a finite MDP: take"),
        (("cfr", "--task", "tabular:river-swim"), "tabular:river-swim is no finite game: a method that plays against itself needs one"),
        (("cfr", "--task", "tabular:regularized-preference"), "cfr knows no reference policy"),
        (("nash-mp", "--task", "tabular:rock-paper-scissors"), "take tabular:regularized-preference"),
        (("cfr", "--task", "tabular:rock-paper-scissors", "--rock", "0"), "rock"),
        (("hedge", "--task", "tabular:random-preference", "--kl-weight", "0.1"), "leave --kl-weight out, or nash-mp for this one"),
        (("cfr", "--task", "tabular:regularized-preference", "--kl-weight", "0.2"), "take tabular:random-preference, or nash-mp for this one"),
        (("nash-mp", "--task", "tabular:regularized-preference", "--kl-weight", "0"), "leave --kl-weight out, or give --kl-weight 0.1"),
    ],
)
def test_what_cannot_be_played_is_one_line(operant, tmp_path: Path, words, says: str):
    answer = operant("train", *words, "--out", tmp_path / "run")
    assert answer.code == 2 and answer.out == "" and says in answer.err and not (tmp_path / "run").exists()
    assert sum(line.startswith("operant: error:") for line in answer.err.splitlines()) == 1


def test_what_was_learned_is_shown_by_information_set_and_move(operant, tmp_path: Path):
    """Evaluations, the report and Python name sets and moves as `solve` does."""
    from operant.core.errors import BadInput
    from operant.loops.runs import load

    run = tmp_path / "run"
    assert operant("train", "cfr", "--task", "tabular:kuhn-poker", "--seeds", 2, "--steps", 50, "--out", run).code == 0
    told = operant("evaluate", run).out
    assert "what the policy of seed 0 does, where its own moves lead" in told and "K, after bet" in told
    strategies, solved = operant("evaluate", run, "--json").json["strategies"], operant("solve", "tabular:kuhn-poker", "--json").json["equilibrium"]
    assert len(strategies) == 2
    for mine, best in zip(strategies[1], solved, strict=True):
        assert (mine["player"], mine["seen"], list(mine["policy"])) == (best["player"], best["seen"], list(best["policy"]))
    page = tmp_path / "report.html"
    assert operant("report", run, "--out", page).code == 0
    assert "<td>K, after bet</td>" in page.read_text()
    policy = load(run).policy
    assert policy("K, after bet") == policy((2, "K, after bet")) == "call" and policy(["J, after bet", "K, after bet"]) == ["fold", "call"]
    for asked, says in (("K, after bt", "did you mean K, after bet"), ((1, "K, after bet"), "unknown information set"), (0, "unknown information set '0'")):
        with pytest.raises(BadInput, match=says):
            policy(asked)


def test_a_game_of_a_file(operant, tmp_path: Path):
    """Three answers in a circle, solved and played; what is wrong with a file is said before a run begins."""
    file = tmp_path / "own.npz"
    np.savez(file, preference=[[0.5, 0.9, 0.2], [0.1, 0.5, 0.9], [0.8, 0.1, 0.5]], kl_weight=0.2)
    found = operant("solve", f"tabular:{file}", "--json").json
    assert found["preference"] and found["kl_weight"] == 0.2 and found["value"] == pytest.approx([0.5, 0.5])
    answer = operant("train", "nash-mp", "--task", f"tabular:{file}", "--steps", 50, "--out", tmp_path / "run", "--json")
    assert answer.json["measures"]["divergence from equilibrium"]["iqm"] < 1e-9
    np.savez(file, preference=[[0.5, 0.9], [0.2, 0.5]])
    answer = operant("solve", f"tabular:{file}")
    assert answer.code == 2 and answer.err.count("\n") == 1 and "P[0, 1] and the same the other way round sum to 1.1, must be 1" in answer.err
