"""Compare, report and diff."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from long_tier import in_turn
from safetensors.torch import load_file, save_file

from operant.cli.drawing import regret_curves, state_map
from operant.evaluate.records import load_run
from operant.worlds.tabular.problems import FOUR_ROOMS


def test_compare_writes_the_table_in_each_format(operant, runs, tmp_path: Path):
    for name in ("c.html", "c.json", "c.svg", "c.txt"):
        answer = operant("compare", runs[0], "--out", tmp_path / "new" / name)
        assert answer.code == 0 and "ppo" in answer.out and str(tmp_path / "new" / name) in answer.out
    assert (tmp_path / "new" / "c.html").read_text().startswith("<!doctype html>")
    written = json.loads((tmp_path / "new" / "c.json").read_text())
    assert (tmp_path / "new" / "c.txt").read_text().strip() in answer.out
    found = operant("compare", runs[0], "--json").json
    assert found == written | {"out": None}
    result = json.loads((runs[0] / "result.json").read_text())
    assert found["rows"][0]["score"]["per_seed"] == result["score"]["per_seed"]


def test_compare_can_train_what_it_compares(operant, tmp_path: Path):
    words = ("--methods", "random,ppo", "--task", "gym:CartPole-v1", "--steps", 1024, "--out", tmp_path / "both")
    answer = operant("compare", *words, "--json")
    assert answer.code == 0
    assert [row["method"] for row in answer.json["rows"]] == ["random", "ppo"]
    assert answer.json["rows"][1]["improvement"] is not None  # measured against the first
    assert answer.json["out"] == str(tmp_path / "both" / "report.html") and Path(answer.json["out"]).exists()
    again = operant("compare", *words)  # nothing is trained twice
    assert again.code == 0 and again.err.count("finished before") == 2
    other = operant("compare", *words, "--seeds", 2)
    assert other.code == 2 and "another value of seeds" in other.err


@in_turn("side by side", "src/operant/cli/", "src/operant/evaluate/compare")
def test_compare_trains_side_by_side_at_equal_samples(operant, tmp_path: Path):
    out = tmp_path / "both"
    answer = operant("compare", "--methods", "grpo,rloo", "--task", "sequences:target", "--samples", 600, "--jobs", 2, "--out", out, "--json")
    assert answer.code == 0, answer.err
    for row in answer.json["rows"]:
        assert 600 <= row["spent"]["samples"] < 1200
    assert not answer.json["warnings"]
    assert (out / "grpo.log").exists() and (out / "rloo" / "result.json").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--steps", 10, "--samples", 100), "--steps and --samples: give one budget"),
        (("--samples", 100), "takes --steps or --seconds"),
    ],
)
def test_budgets_that_cannot_be_are_one_line(operant, tmp_path: Path, words, line: str):
    answer = operant("train", "ppo", "--task", "gym:CartPole-v1", *words, "--out", tmp_path / "run")
    assert answer.code == 2 and line in answer.err and not (tmp_path / "run").exists()


def test_report_is_one_file(operant, runs, tmp_path: Path):
    answer = operant("report", runs[0], "--out", tmp_path / "r.html", "--json")
    assert answer.code == 0 and answer.json == {"report": str(tmp_path / "r.html"), "runs": [str(runs[0])]}
    assert "ppo on gym:CartPole-v1" in (tmp_path / "r.html").read_text()
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


DRAWS_BADLY = """
import os, signal, gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
class Badly(CartPoleEnv):
    def render(self):
        way = os.environ["WAY"]
        if way == "waits":
            signal.pause()
        os.abort()
gymnasium.register("Badly-v0", Badly, max_episode_steps=5)
"""


@pytest.mark.parametrize(("way", "why"), [("aborts", "the process that drew ended with SIGABRT"), ("waits", "drawing took more than 1 s")])
def test_a_report_is_written_however_drawing_ends(operant, tmp_path: Path, monkeypatch, way: str, why: str):
    (tmp_path / "draws_badly.py").write_text(DRAWS_BADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("WAY", way)
    if way == "waits":  # for ever: the limit may as well end the process before it comes to that
        monkeypatch.setattr("operant.cli.drawing.SECONDS", 1)
    run = tmp_path / "run"
    assert operant("train", "random", "--task", "gym:draws_badly:Badly-v0", "--steps", 4, "--episodes", 1, "--out", run).code == 0
    answer = operant("report", run, "--trust", "--out", tmp_path / "r.html")
    assert answer.code == 0 and f"no video of {run}: {why}" in answer.err
    assert f"No video of random: {why}" in (tmp_path / "r.html").read_text()


def test_diff_of_equal_runs(operant, runs):
    answer = operant("diff", *runs)
    assert (answer.code, answer.out, answer.err) == (0, "the final states are the same bits\n", "")
    assert operant("diff", *runs, "--json").json == {"runs": [str(run) for run in runs], "same": True, "difference": None}


def test_diff_finds_one_bit_in_one_policy(operant, runs, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(runs[0], other, symlinks=True)
    path = other / "policies" / "last" / "seed-1" / "policy.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    flat = weights[name].view(-1)
    flat[-1] = torch.nextafter(flat[-1], torch.tensor(float("inf")))
    save_file(weights, path)
    answer = operant("diff", runs[0], other)
    assert answer.code == 1 and answer.out.count("\n") == 1
    assert f"policies/seed-1/policy.safetensors/{name}[" in answer.out


def test_diff_says_when_it_falls_back_to_an_older_checkpoint(operant, runs, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(runs[0], other, symlinks=True)
    newest = sorted((other / "checkpoints").glob("step-*"))[-1]
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    answer = operant("diff", runs[0], other, "--json")
    assert answer.code == 1 and answer.json["same"] is False and answer.json["difference"].startswith("learner/")
    assert "is damaged" in answer.err and "comparing step-000000001024" in answer.err


def test_a_finite_mdps_report_has_its_map_its_visits_and_its_regret(operant, tmp_path: Path):
    for words in (("value-iteration", "tabular:four-rooms", 40), ("ucbvi", "tabular:river-swim", 60)):
        assert operant("train", words[0], "--task", words[1], "--seeds", 2, "--steps", words[2], "--out", tmp_path / words[0]).code == 0
    answer = operant("report", tmp_path / "value-iteration", tmp_path / "ucbvi", "--out", tmp_path / "r.html")
    assert answer.code == 0, answer.err
    page = (tmp_path / "r.html").read_text()
    assert page.count("value of each state and what the policy does there") == page.count("visits of each state and what the policy does there") == 2
    assert page.count('aria-label="regret against episodes') == 1
    assert all(f'aria-label="{name} against' not in page for name in ("optimal value", "episodes played"))  # which say nothing over steps
    assert "what the policy does in each state, and its" in page  # ways, on the map
    assert "the number of the action that the policy takes in each state at the first step, and its" in page
    assert operant("report", tmp_path / "ucbvi", "--out", tmp_path / "one.html").code == 0
    alone = (tmp_path / "one.html").read_text().split("<section class=task>")[0]
    assert all(f">{name}<" in alone for name in ("regret", "episodes played", "suboptimality"))  # of one run too, in figures
    regret = regret_curves(load_run(tmp_path / "ucbvi"))
    assert len(regret) == 2 and regret[0][0][-1] >= 50 and (np.diff(regret[0][1]) >= 0).all()
    run = load_run(tmp_path / "value-iteration")
    found = state_map(run, False)
    assert sum(state is not None for row in found.cells for state in row) == len(found.value) == 104
    assert {"G", "#", ""} == {mark for row in found.marks for mark in row} and found.visits.sum() == pytest.approx(1)
    start = next(found.cells[y][x] for y, row in enumerate(FOUR_ROOMS.strip().splitlines()) for x, mark in enumerate(row) if mark == "S")
    assert found.value[start] == pytest.approx(json.loads((run.path / "result.json").read_text())["score"]["per_seed"][0])
    assert state_map(replace(run, task="gym:CartPole-v1"), False) is None


def test_a_map_of_histories_has_each_at_its_own_step(operant, tmp_path: Path):
    assert operant("train", "value-iteration", "--task", "tabular:tiger", "--horizon", 2, "--steps", 2, "--out", tmp_path / "tiger").code == 0
    found = state_map(load_run(tmp_path / "tiger"), False)
    assert found.value.tolist() == pytest.approx([1.8] + [0.9] * 4) and found.action == ["0"] * 5
    assert found.visits.tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 4, 0, 0])
