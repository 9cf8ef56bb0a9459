"""The search for hyper-parameters: ranges that fit, a search that goes on as if it had not been stopped, trials that fail or are pruned."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import operant
from operant.cli.main import parse
from operant.core.errors import BadInput, Interrupted, RunFailed
from operant.core.registry import configure, get_method, hyperparameters, methods
from operant.loops.tuning import Search, tune

SMALL = {"seeds": 2, "steps": 64, "every": 32, "episodes": 1, "threads": 1, "environments": 2, "hidden": (8,)}
SEARCHED = {"search": ("learning_rate", "rollout_length"), "ranges": {"rollout-length": "8|16"}}


@pytest.mark.parametrize("key", methods())
def test_declared_ranges_hold_what_their_hyperparameter_may_be(key: str):
    for item in hyperparameters(get_method(key).hyperparameters):
        if (tune := item.tune) is not None:
            values = tune.choices or (tune.low, tune.high)
            assert tune.choices or tune.low < tune.high and (tune.low > 0 or not tune.log), item.name
            assert all(item.range is None or item.range.holds(value) for value in values) and all(type(value) is item.type for value in values), item.name


def test_what_is_searched_is_what_has_a_range_and_is_not_set():
    ppo = get_method("ppo")
    assert set(Search(ppo, None, {}, ["gamma"]).ranges) == {item.name for item in hyperparameters(ppo.hyperparameters) if item.tune} - {"gamma"}
    found = Search(ppo, ["clip"], {"learning-rate": " 1e-4 : 1e-2 : log", "hidden": "8,8 | 64"}, [])
    assert {name: str(tune) for name, tune in found.ranges.items()} == {"clip": "0.1|0.2|0.3|0.4", "learning_rate": "0.0001:0.01:log", "hidden": "8,8|64"}
    assert found.typed({"clip": "0.3", "learning_rate": 0.00123456, "hidden": "8,8"}) == {"clip": "0.3", "learning_rate": "0.00123", "hidden": "8,8"}
    assert found.typed({"learning_rate": 0.0099999}) == {"learning_rate": "0.01"} and found.read({"learning_rate": "0.01", "clip": "0.3"})["clip"] == "0.3"


@pytest.mark.parametrize(
    ("method", "names", "ranges", "said"),
    [
        ("ppo", ["gamm"], {}, "unknown hyper-parameter of ppo 'gamm': did you mean gamma?"),
        ("ppo", ["hidden"], {}, "hidden of ppo has no range to search in: give one, --range hidden=LOW:HIGH or A|B|C"),
        ("ppo", None, {"epochs": "1:2.5"}, "2.5 is not a whole number"),
        ("ppo", None, {"epochs": "0:5"}, "0 is outside what epochs may be, in [1, 10000]"),
        ("ppo", None, {"gamma": "1:0.5"}, "ends at or below where it begins"),
        ("ppo", None, {"gamma": "0:1:log"}, "a logarithmic range begins above 0"),
        ("ppo", None, {"gamma": "0.5-1"}, "write LOW:HIGH, LOW:HIGH:log or A|B|C"),
        ("ppo", None, {"gamma": "e:1"}, "write LOW:HIGH, LOW:HIGH:log or A|B|C"),
        ("ppo", None, {"anneal": "0:1"}, "anneal is no number"),
        ("ppo", ["clip"], {}, "clip is set and searched"),
        ("ppo", None, {"hidden": "|"}, "--range hidden=|: hidden = '' is not an integer"),
        ("ppo", None, {"gamma": "0.9|1.5"}, "--range gamma=0.9|1.5: gamma = 1.5: it must be in [0, 1]"),
        ("random", None, {}, "random has no hyper-parameter with a range"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(method: str, names, ranges: dict, said: str):
    with pytest.raises(BadInput) as refused:
        Search(get_method(method), names, ranges, ["clip"])
    assert said in str(refused.value)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"operant tune needs optuna: pip install 'operant\[tune\]'"):
        tune("ppo", "gym:CartPole-v1", out=tmp_path / "search")
    assert not (tmp_path / "search").exists()


def trials_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna", reason="the extra tune is not installed")


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(optuna, tmp_path: Path):
    whole = tune("ppo", "gym:CartPole-v1", trials=7, out=tmp_path / "whole", **SMALL, **SEARCHED)

    @contextmanager
    def stops(place: int):
        def heard(update):
            if place == 5 and update.step > 32 and update.metrics:
                raise Interrupted("stopped")

        yield heard

    with pytest.raises(Interrupted, match="stopped in trial 6, its state saved; the same command goes on, with --out"):
        tune("ppo", "gym:CartPole-v1", trials=7, out=tmp_path / "parts", watched=stops, **SMALL, **SEARCHED)
    assert len(trials_of(tmp_path / "parts")) == 5 and (tmp_path / "parts" / "trial-0006" / "run.json").exists()
    parts = tune("ppo", "gym:CartPole-v1", trials=7, out=tmp_path / "parts", **SMALL, **SEARCHED)
    assert parts.trials == whole.trials and {trial.state for trial in whole.trials} <= {"done", "pruned"}
    first = whole.trials[0]
    assert first.score == operant.load(whole.run(first)).result["score"]["iqm"] and [step for step, _ in first.course] == [32, 64]
    best = whole.finished[0]
    assert [path.parent.name for path in (tmp_path / "whole").glob("*/checkpoints")] == [whole.run(best).name]
    assert whole.settings["learning_rate"] == best.values["learning_rate"] and whole.settings["environments"] == "2"
    configure("ppo", {name: words for name, words in whole.settings.items() if name not in ("every", "episodes", "threads")})
    for other in ({"steps": 32}, {"hidden": (4,)}, {"seeds": 3}):
        with pytest.raises(BadInput, match="holds a search with other"):
            tune("ppo", "gym:CartPole-v1", trials=7, out=tmp_path / "whole", **SMALL | other, **SEARCHED)


def test_trials_that_cannot_run_are_told_and_passed_over(optuna, tmp_path: Path):
    ranges = {"search": ("minibatches",), "ranges": {"minibatches": "2|4096"}}
    found = tune("ppo", "gym:CartPole-v1", trials=6, out=tmp_path / "some", **SMALL, rollout_length=8, **ranges)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert failed and all("4096 minibatches need two steps each" in trial.why for trial in failed) and found.finished[0].values == {"minibatches": "2"}
    ranges["ranges"] = {"minibatches": "2|4096|8192"}
    with pytest.raises(RunFailed, match=r"none of 1 trials trained to its end; the last one: ppo: \d+ minibatches need"):
        tune("ppo", "gym:CartPole-v1", trials=1, out=tmp_path / "none", **SMALL, rollout_length=8, **ranges)


@pytest.mark.parametrize(
    ("method", "name", "words", "said"),
    [
        ("ppo", "minibatches", "4096|8192", r"of 32 settings drawn from the ranges with another minibatches than 4 none can be trained: ppo: \d+ minibatches"),
        ("dqn", "hindsight", "0:8", r"of \d+ settings drawn from the ranges with another hindsight than 0 none can be trained: .*goal"),
    ],
)
def test_a_range_of_which_nothing_can_be_trained_is_refused_before_the_first_trial(optuna, tmp_path: Path, method: str, name: str, words: str, said: str):
    with pytest.raises(BadInput, match=said):
        tune(method, "gym:CartPole-v1", trials=2, seeds=1, steps=64, out=tmp_path / "search", search=(name, "gamma"), ranges={name: words})
    assert not (tmp_path / "search").exists()


def test_a_search_that_lost_a_run_says_so_before_it_trains(optuna, tmp_path: Path):
    found = tune("ppo", "gym:CartPole-v1", trials=1, out=tmp_path / "search", **SMALL, **SEARCHED)
    path, whole = found.run(found.trials[0]), found.trials
    log = (tmp_path / "search" / "trials.jsonl").read_text()
    (tmp_path / "search" / "trials.jsonl").write_text(log[:-10])  # as a writer leaves it that was killed: the trial is there, and is asked for its score again
    assert tune("ppo", "gym:CartPole-v1", trials=1, out=tmp_path / "search", **SMALL, **SEARCHED).trials == whole
    (path / "result.json").rename(path / "away.json")
    with pytest.raises(BadInput, match="trial-0001 has no result any more, .*: go on with: operant resume .*trial-0001"):
        tune("ppo", "gym:CartPole-v1", trials=2, out=tmp_path / "search", **SMALL, **SEARCHED)
    shutil.rmtree(path)
    with pytest.raises(BadInput, match="trial-0001 is gone, .*: put it back, or begin another search with another --out"):
        tune("ppo", "gym:CartPole-v1", trials=2, out=tmp_path / "search", **SMALL, **SEARCHED)
    assert not (tmp_path / "search" / "trial-0002").exists()


def test_a_trial_that_is_worse_than_most_ends_early(optuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda self: self.params["learning_rate"] < 1e-3)
    found = tune("ppo", "gym:CartPole-v1", trials=6, out=tmp_path / "search", rollout_length=8, search=("learning_rate",), **SMALL)
    for trial in found.trials:
        pruned = float(trial.values["learning_rate"]) < 1e-3
        assert trial.state == ("pruned" if pruned else "done") and [step for step, _ in trial.course] == ([32] if pruned else [32, 64])
        assert (found.run(trial) / "result.json").exists() != pruned
    assert {trial.state for trial in found.trials} == {"pruned", "done"}


def test_a_damaged_search_is_refused(optuna, tmp_path: Path):
    tune("ppo", "gym:CartPole-v1", trials=1, out=tmp_path / "search", **SMALL, **SEARCHED)
    (row,) = trials_of(tmp_path / "search")
    outside, wrong = row["values"] | {"learning_rate": "7"}, row["values"] | {"rollout_length": "many"}
    changes = [{"values": values} for values in ({"gamma": "1"}, {"learning_rate": 1}, outside, wrong)]
    for change in (*changes, {"state": "best"}, {"score": None}, {"course": [[1]]}):
        (tmp_path / "search" / "trials.jsonl").write_text(json.dumps(row | change) + "\n")
        with pytest.raises(BadInput, match=r"trials\.jsonl"):
            tune("ppo", "gym:CartPole-v1", trials=2, out=tmp_path / "search", **SMALL, **SEARCHED)


def test_the_winner_is_a_command(optuna, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from operant.cli.main import main

    words = "tune ppo --task gym:CartPole-v1 --trials 2 --steps 64 --episodes 1 --environments 2 --hidden 8 --search learning-rate".split()
    assert main([*words, "--out", str(tmp_path / "search"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["trials"] == {"done": 2, "pruned": 0, "failed": 0} and Path(found["report"]).read_text().startswith("<!doctype html>")
    _, args = parse(shlex.split(found["command"])[1:])
    assert (args.steps, args.seeds, args.seed) == (64, 10, 3)
    assert args.hyperparameters == {"environments": "2", "hidden": "8", "learning_rate": found["best"]["hyperparameters"]["learning_rate"]}
    assert main([*words, "--out", str(tmp_path / "search")]) == 0
    out = capsys.readouterr().out
    assert found["command"] in out and "2 trials of 3 seeds, 2 done; the best ones" in out


def test_trials_that_are_proposed_together_are_the_same_in_whatever_order_they_train(optuna, tmp_path: Path):
    asked = {"method": "ppo", "task": "gym:CartPole-v1", "trials": 5, "jobs": 2, **SMALL, **SEARCHED}

    def trains(backwards: bool, most: int = 100):
        left = most

        def train(attempts):
            nonlocal left
            for attempt in reversed(attempts) if backwards else attempts:
                if left == 0:
                    raise Interrupted("stopped")
                left -= 1
                if not (attempt.path / "run.json").exists():
                    values = {f"ppo.{name}": words for name, words in attempt.values.items()}
                    operant.train("ppo", "gym:CartPole-v1", out=attempt.path, progress=False, **SMALL, **values)
            return [None] * len(attempts)

        return train

    whole = tune(out=tmp_path / "whole", trains=trains(False), **asked)
    with pytest.raises(Interrupted):
        tune(out=tmp_path / "parts", trains=trains(True, 3), **asked)
    assert len(trials_of(tmp_path / "parts")) == 2
    assert tune(out=tmp_path / "parts", trains=trains(True), **asked).trials == whole.trials
    with pytest.raises(BadInput, match="holds a search with other jobs"):
        tune(out=tmp_path / "parts", **asked | {"jobs": 1})


def test_trials_that_trained_fewer_steps_than_others_are_told_of(optuna, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from operant.cli.main import main

    words = "tune ppo --task gym:CartPole-v1 --trials 3 --steps 100 --episodes 1 --environments 2 --hidden 8 --seeds 1 --seed 100".split()
    assert main([*words, "--range", "rollout-length=8|16|32", "--search", "rollout-length", "--out", str(tmp_path / "search")]) == 0
    out = capsys.readouterr().out
    trained = {16 * 6 if row["values"]["rollout_length"] in ("8", "16") else 64 for row in trials_of(tmp_path / "search")}
    assert trained == {64, 96} and all(f"  {steps} " in out for steps in trained)
    assert "trials trained 64 to 96 steps a seed, of 100, for iterations are done whole" in out and "; --steps 128 suits them all" in out
