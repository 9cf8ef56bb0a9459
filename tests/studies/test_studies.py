"""The frame of studies, and what the first three compute, on counts and problems small enough to check by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from operant import studies
from operant.cli.main import main
from operant.core.errors import BadInput
from operant.core.registry import Count, hyperparameters
from operant.nets.tabular import TabularPolicy
from operant.studies import StudyResult, Table
from operant.studies.answers import Answered
from operant.studies.brorl import BroRLOptions, simulate, within_radius
from operant.studies.invisible_leash import answer_entropy, share_of_right, tilted_optimum_distance
from operant.studies.limit_of_rlvr import crossover, perplexity, solved
from operant.worlds.sequences.problems import SequenceProblem


@dataclass(frozen=True)
class Options:
    size: Count = 2  # of it
    task: str | None = None  # of it


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies._studies, "entries", dict(studies.studies()))

    @studies.study("toy", paper="none", summary="a toy")
    def conduct(options: Options, folder: Path, say: studies.Say) -> StudyResult:
        say("at work")
        return StudyResult({"size": options.size, "none": float("nan")}, (Table("sizes", ("size",), ((str(options.size),),)),), {"plot": "<svg/>"})


def test_a_study_is_run_written_and_printed(toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert main(["study", "toy", "--size", "3", "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert "at work" in told.err
    written = json.loads((out / "study.json").read_text())
    assert json.loads(told.out.splitlines()[-1]) == written
    assert written["figures"] == {"size": 3, "none": None} and written["options"] == {"size": 3, "task": None}
    assert (out / "plot.svg").read_text() == "<svg/>"
    assert main(["study", "toy", "--out", str(out)]) == 2 and "not empty" in capsys.readouterr().err
    assert main(["study", "toy", "--sizes", "3"]) == 2 and "--size" in capsys.readouterr().err
    assert main(["study", "toy", "--size", "0", "--out", str(tmp_path / "other")]) == 2 and not (tmp_path / "other").exists()
    assert main(["study", "toys"]) == 2 and "did you mean toy" in capsys.readouterr().err


def test_every_study_is_listed_and_its_options_are_explained(capsys: pytest.CaptureFixture[str]):
    assert main(["study"]) == 0
    listed = capsys.readouterr().out
    for key, entry in studies.studies().items():
        assert key in listed
        assert [item.name for item in hyperparameters(entry.options) if not item.help] == []
        assert main(["study", key, "--help"]) == 0
        capsys.readouterr()


def test_crossover_by_hand():
    # Of 4 samples: base 1 right of each of two problems; trained all right of one and none of the other.
    # pass@k of the base is k / 4, of the trained policy 1 / 2 at every k.
    assert crossover(np.array([1, 1]), np.array([4, 0]), 4) == 2
    assert crossover(np.array([4, 4]), np.array([1, 1]), 4) is None  # never behind
    assert crossover(np.array([1, 0]), np.array([4, 4]), 4) is None  # never catches up


def test_solved_and_perplexity_by_hand():
    assert solved(np.array([1, 3, 0, 0]), np.array([2, 0, 1, 0])) == {"both": 1, "base_only": 1, "other_only": 1, "neither": 1}
    answered = Answered(np.array([[True, False]]), [["a", "b"]], 0.0, np.log(np.array([[0.5, 0.125]])))
    assert perplexity(answered) == {"all": pytest.approx(4.0), "right": pytest.approx(2.0)}


def test_shares_and_entropy_by_hand():
    base = Answered(np.array([[True, True, True, False]]), [["a", "a", "b", "x"]], 0.0, None)
    trained = Answered(np.array([[True, True]]), [["a", "c"]], 0.0, None)
    before, after = share_of_right(base, trained)
    assert before.tolist() == [0.5, 0.25, 0.0] and after.tolist() == [0.5, 0.0, 0.5]  # of a, b, c
    assert answer_entropy(base, 4) == pytest.approx(1.5 * np.log(2))
    assert answer_entropy(base, 2) == 0.0


def test_a_step_has_the_radius_that_was_asked_for():
    p = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).softmax(-1)
    direction = torch.arange(10, dtype=torch.float64)
    after = (p.log() + within_radius(direction, p, 1e-6)).log_softmax(-1)
    assert float((p * (p.log() - after)).sum()) == pytest.approx(1e-6, rel=1e-2)


def test_drawing_every_token_loses_no_right_one_and_drawing_few_does():
    options = BroRLOptions(vocabulary=64, right=0.25, seeds=2)
    assert simulate(4096, options)["lost"].tolist() == [0.0, 0.0]
    assert simulate(4, options)["lost"].mean() > 0.1
    with pytest.raises(BadInput, match="at least one"):
        simulate(4, BroRLOptions(vocabulary=4, right=0.0))


def test_the_optimum_keeps_the_support():
    problem = SequenceProblem(3, 2, 2, lambda prompt, tokens: float(sum(tokens) % 2 == prompt))
    policy = TabularPolicy(problem)
    with torch.no_grad():
        policy.logits[:, :, 0, 2] = -1000.0
    assert tilted_optimum_distance(problem, policy, kl_weight=0.5, steps=400, learning_rate=0.05) < 0.01


def test_a_study_that_needs_a_teacher_says_how_to_go_without_one(tmp_path):
    with pytest.raises(BadInput, match="--distill false"):
        studies.run("limit-of-rlvr", model="some-model", out=tmp_path / "study")
