"""Train, resume and evaluate for real, on CartPole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from operant.cli.training import result_text
from operant.loops.progress import stages

CARTPOLE = ("--task", "gym:CartPole-v1", "--threads", 1)


def test_train_leaves_a_whole_run_and_one_object(operant, tmp_path: Path):
    run = tmp_path / "run"
    words = ("--seeds", 2, "--seed", 5, "--steps", 2048, "--episodes", 3, "--learning_rate", "1e-3", "--hidden", "16,16", "--anneal")
    answer = operant("train", "ppo", *CARTPOLE, *words, "--out", run, "--json")
    assert answer.code == 0
    found = answer.json
    assert list(found) == ["run", "method", "task", "seeds", "steps", "score", "seconds", "steps_per_second", "evaluation_seconds", "parts"]
    assert found["parts"]["collect"] > 0 and found["parts"]["update"] > 0 and sum(found["parts"].values()) <= found["seconds"]
    assert (found["run"], found["method"], found["task"], found["seeds"], found["steps"]) == (str(run), "ppo", "gym:CartPole-v1", 2, 2048)
    score = found["score"]
    assert score["name"] == "return" and len(score["per_seed"]) == 2
    assert score["low"] <= score["iqm"] <= score["high"] and min(score["per_seed"]) >= 8  # the shortest CartPole episodes
    assert json.loads((run / "result.json").read_text()) == found
    config = json.loads((run / "run.json").read_text())
    assert config["seed"] == 5 and config["threads"] == 1
    assert (config["hyperparameters"]["learning_rate"], config["hyperparameters"]["hidden"], config["hyperparameters"]["anneal"]) == (1e-3, [16, 16], True)
    assert {row["seed"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())} == {5, 6}
    assert (run / "checkpoints" / "last").resolve().name == "step-000000002048"
    assert sorted(path.name for path in (run / "policies" / "last").iterdir()) == ["seed-5", "seed-6"]
    lines = answer.err.splitlines()
    assert lines[-1].startswith("step 2,048 of 2,048 (100 %)") and ", return " in lines[-1]


def test_train_tells_a_person_what_came_out_and_what_to_do_next(operant, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = operant("train", "random", *CARTPOLE, "--steps", 10, "--episodes", 2)
    assert answer.code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("random-CartPole-v1-")
    assert "random on gym:CartPole-v1: 1 seed of 10 steps" in answer.out
    assert "return (IQM)" in answer.out and "(1 seed)" in answer.out
    assert f"operant report {run} --out report.html" in answer.out and f"operant evaluate {run}" in answer.out


def test_steps_that_are_no_whole_iterations_are_told_at_the_start(operant, tmp_path: Path):
    words = ("train", "ppo", *CARTPOLE, "--episodes", 1, "--environments", 2, "--rollout-length", 8)
    for steps, done in ((40, 32), (10, 16)):
        answer = operant(*words, "--steps", steps, "--out", tmp_path / str(steps))
        (line,) = [line for line in answer.err.splitlines() if "16 steps each" in line]
        assert answer.code == 0 and line.endswith(f"of ppo, 16 steps each: {done} are done") and answer.err.index(line) < answer.err.index("step ")
    assert "steps each" not in operant(*words, "--steps", 32, "--out", tmp_path / "whole").err


def test_a_text_result_shows_the_base_and_pass_at_k():
    score = {"name": "pass@1", "iqm": 0.5, "low": None, "high": None, "per_seed": [0.5]}
    result = {"run": "r", "method": "grpo", "task": "text:arithmetic", "seeds": 1, "steps": 100, "score": score, "seconds": 3.0, "steps_per_second": 4.25}
    result |= {"base": score | {"iqm": 0.25, "per_seed": [0.25]}, "pass_at_k": {"policy": {"1": 0.5, "4": 0.875}, "base": {"1": 0.25, "4": 0.75}}}
    text = result_text(result, {"seed": 0})
    assert "before training   0.250 (1 seed)" in text
    assert "0.875, before training 0.750" in text and "4.2 steps/s" in text


TEXT = ("train", "grpo", "--task", "text:arithmetic", "--steps", 1, "--episodes", 2, "--prompts", 2, "--group-size", 2)


def test_a_run_on_text_says_what_it_does_before_its_first_step(operant, use_small_cache, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("operant.loops.progress.SILENCE", 0.0)
    lines = operant(*TEXT, "--out", tmp_path / "run").err.splitlines()
    assert lines[:3] == ["loading PyTorch", "loading text:arithmetic", "checking the problems and their own answers"]
    assert "evaluating the policy before training" in lines[3:-1] and lines[-1].startswith("step 1 of 1 (100 %)")
    quiet = operant(*TEXT, "--out", tmp_path / "quiet", "--json")
    assert quiet.code == 0 and "loading" not in quiet.err and "checking" not in quiet.err


def test_a_stage_that_is_short_is_not_announced():
    said = []
    with stages(said.append) as begin:
        begin("at work")
    assert not said


def test_resume_of_a_finished_run_gives_its_result_again(operant, runs):
    answer = operant("resume", runs[0], "--json")
    assert answer.code == 0 and answer.json == json.loads((runs[0] / "result.json").read_text())
    assert answer.err == f"{runs[0]} is finished: nothing is left to train\n"


def test_a_run_that_was_moved_is_named_where_it_is(operant, runs, tmp_path: Path, monkeypatch):
    """Its result.json names the place where it was trained."""
    shutil.copytree(runs[0], tmp_path / "moved", symlinks=True)
    monkeypatch.chdir(tmp_path)
    told = operant("resume", "moved")
    assert "operant report moved --out report.html" in told.out and "operant evaluate moved" in told.out and str(runs[0]) not in told.out + told.err
    assert operant("resume", "moved", "--json").json["run"] == operant("evaluate", "moved", "--episodes", 1, "--json").json["run"] == "moved"


AWAY = """
import os, pathlib, gymnasium
import numpy as np

class Away(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Discrete(2)
    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        os.chdir(pathlib.Path(__file__).parent / "elsewhere")
    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}
    def step(self, action):
        os.chdir(pathlib.Path(__file__).parent / "elsewhere")
        return np.zeros(2, np.float32), 1.0, True, False, {}
    def render(self):
        return np.zeros((8, 8, 3), np.uint8)

gymnasium.register("Away-v0", Away)
"""


def test_an_environment_that_changes_the_working_directory_moves_no_file(operant, tmp_path: Path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "goes_away.py").write_text(AWAY)
    small = ("--task", "gym:goes_away:Away-v0", "--threads", 1, "--episodes", 1, "--environments", 1, "--rollout-length", 8, "--steps", 8, "--hidden", 2)
    for words, file in (
        (("train", "ppo", *small), "runs/*/result.json"),
        (("train", "ppo", *small, "--out", "own"), "own/result.json"),
        (("resume", "own", "--steps", 16, "--trust"), "own/checkpoints/step-*16"),
        (("evaluate", "own", "--trust"), "own"),
        (("watch", "own", "--out", "seen.gif", "--trust"), "seen.gif"),
        (("compare", "--methods", "ppo,random", *small[:6], *small[10:12], "--out", "both"), "both/report.html"),
        (("tune", "ppo", *small, "--search", "clip", "--trials", 1, "--seeds", 1, "--out", "tuned"), "tuned/trial-0001/result.json"),
    ):
        monkeypatch.chdir(tmp_path)
        answer = operant(*words)
        assert answer.code == 0, answer.err
        assert list(tmp_path.glob(file)) and not list((tmp_path / "elsewhere").iterdir()), words
        if words[-1] == "own":
            assert "operant report own --out report.html" in answer.out  # as it was typed


def test_evaluate_scores_the_kept_policies(operant, runs):
    result = json.loads((runs[0] / "result.json").read_text())
    answer = operant("evaluate", runs[0], "--episodes", 3, "--json")
    assert answer.code == 0
    found = answer.json
    assert found["score"]["name"] == result["score"]["name"] and len(found["score"]["per_seed"]) == 2  # on episodes that training did not see
    assert (found["episodes"], found["policy"], found["method"], found["seed"]) == (3, "last", "ppo", 1)
    own = operant("evaluate", runs[0], "--episodes", 3, "--seed", 0, "--json").json
    assert own["score"] == result["score"] and own["seed"] == 0 and found["score"]["per_seed"] != own["score"]["per_seed"]
    best = operant("evaluate", runs[0], "--episodes", 3, "--policy", "best", "--json").json
    assert best["policy"] == "best" and operant("evaluate", runs[0], "--episodes", 3, "--json").json == found
    person = operant("evaluate", runs[0], "--episodes", 1)
    assert person.code == 0 and "the last policies, 1 episode a seed, drawn with seed 1" in person.out and "seed 1" in person.out
