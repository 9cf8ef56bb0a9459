"""`operant export` and `watch`: files that other programs open, and one line where there can be none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import operant as api
from operant.cli import using
from operant.core.errors import BadInput
from operant.loops import videos
from operant.loops.runs import Run
from operant.worlds.base import NothingToDraw

SMALL = {"steps": 1, "episodes": 1, "progress": False, "threads": 1}


def test_an_export_is_named_after_its_run_and_acts_as_its_policy(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    answer = operant("export", runs[0], "--format", "torch", "--seed", 1)
    assert answer.code == 0 and answer.out.startswith("a-seed-1.pt2: ppo on gym:CartPole-v1, the last policy of seed 1\n")
    assert "observation [N, 4] float32" in answer.out and "action [N] int64" in answer.out
    program, run = torch.export.load("a-seed-1.pt2").module(), api.load(runs[0])
    seen = torch.randn(20, 4)
    assert program(seen)[0].tolist() == run.policy(seen.numpy(), seed=1).tolist()
    answer = operant("export", runs[0], "--out", tmp_path / "deep" / "best.pt2", "--policy", "best", "--json")
    assert answer.json["format"] == "torch" and answer.json["which"] == "best" and answer.json["seed"] == 0
    assert answer.json["inputs"] == [{"name": "observation", "shape": ["N", 4], "dtype": "float32"}]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a-seed-1.pt2", "best.pt2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "RUN"), "needs --format onnx or torch, or --out FILE.onnx or .pt2"),
        (("export", "RUN", "--format", "tensorflow"), "'tensorflow' is none of onnx, torch"),
        (("export", "RUN", "--out", "policy.txt"), "name a file that ends in .onnx or .pt2"),
        (("export", "RUN", "--format", "torch", "--seed", "7"), "has seeds 0 to 1, not 7"),
        (("export", "RUN", "--out", "RUN/run.json/policy.pt2"), "is no directory"),
        (("export", "nowhere", "--format", "torch"), "no run at nowhere"),
        (("watch", "RUN", "--out", "film.avi"), "name a file that ends in .gif or .mp4"),
        (("watch", "RUN", "--out", "film.gif", "--seed", "7"), "has seeds 0 to 1, not 7"),
        (("watch", "RUN", "--episodes", "0"), "--episodes: 0 is too small"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, said: str):
    monkeypatch.chdir(tmp_path)
    answer = operant(*[word.replace("RUN", str(runs[0])) for word in words])
    assert answer.code == 2 and said in answer.err and answer.out == ""
    assert [line for line in answer.err.splitlines() if line.startswith("operant: error: ")] == answer.err.splitlines()[-1:]
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named_with_how_to_install_it(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    answer = operant("export", runs[0], "--out", tmp_path / "policy.onnx")
    assert answer.code == 2 and "pip install 'operant[export]'" in answer.err
    monkeypatch.setattr(videos, "_ffmpeg", lambda: None)
    answer = operant("watch", runs[0], "--out", tmp_path / "film.mp4")
    assert answer.code == 2 and "pip install imageio-ffmpeg, or write a .gif" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "task"), [("random", "gym:CartPole-v1"), ("vi-lcb", "tabular:bandit"), ("random", "agents:spread")])
def test_what_is_no_network_over_observations_is_not_exported(tmp_path: Path, method: str, task: str):
    run = api.train(method, task, out=tmp_path / "run", **SMALL)
    with pytest.raises(BadInput, match="has no network over observations that could be exported"):
        run.export(tmp_path / "policy.pt2")
    assert not (tmp_path / "policy.pt2").exists()


def test_watching_without_a_display_makes_a_gif_of_the_episodes_that_an_evaluation_has(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(using, "_has_display", lambda: False)
    answer = operant("watch", runs[0], "--episodes", 2, "--draw", 3, "--json")
    assert answer.code == 0 and answer.json["file"] == "a-seed-0.gif" and len(answer.json["episodes"]) == 2
    first = answer.json["episodes"][0]
    policy = api.load(runs[0]).load_policy()
    assert first["return"] == first["steps"] == api.load(runs[0]).world.evaluate(policy, 1, episodes=1, seed=3).values[0, 0] and not first["cut"]
    with Image.open("a-seed-0.gif") as film:
        assert film.size == (480, 320)
        lasts = 0  # milliseconds; pictures that are alike are one that lasts longer
        for place in range(film.n_frames):
            film.seek(place)
            lasts += film.info["duration"]
    assert abs(lasts - 20 * sum(episode["steps"] for episode in answer.json["episodes"])) <= 80  # 50 steps a second


def test_watching_with_a_display_opens_a_window(operant, runs, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(using, "_has_display", lambda: True)
    monkeypatch.setattr(Run, "watch", lambda self, path, **settings: asked.append((path, settings)) or [{"return": 9.0, "steps": 9, "cut": True}])
    answer = operant("watch", runs[0], "--seed", 1, "--policy", "best")
    assert answer.code == 0 and asked == [(None, {"episodes": 1, "draw": 1, "seed": 1, "which": "best", "stochastic": False})]
    assert "9        9, cut there" in answer.out


def test_an_mp4_is_encoded_where_there_is_ffmpeg(operant, runs, tmp_path: Path):
    if videos._ffmpeg() is None:
        pytest.skip("no ffmpeg")
    assert operant("watch", runs[0], "--out", tmp_path / "film.mp4").code == 0
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp" and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_drawn_is_said(tmp_path: Path):
    for task, said in (("gym:point-maze", "is a test bed that draws nothing"), ("agents:spread", "has nothing to draw")):
        run = api.train("random", task, out=tmp_path / task.partition(":")[2], **SMALL)
        with pytest.raises(NothingToDraw, match=said):
            run.watch(tmp_path / "film.gif")
        with pytest.raises(NothingToDraw, match=said):
            run.draw_video()
        assert not (tmp_path / "film.gif").exists()
