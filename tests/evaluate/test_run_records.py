"""Reading run directories: what a finished and a running one hold, and the one line for what is no run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.evaluate.records import load_run


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load_run(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_finished_run(make_run) -> None:
    run = load_run(make_run("a", final=(480.0, 500.0), video=True))
    assert (run.method, run.task, run.seeds, run.seed, run.steps, run.score) == ("ppo", "gym:CartPole-v1", 2, 0, 1000, "return")
    assert run.final_scores().tolist() == [480.0, 500.0]
    steps, values = run.score_curves()[1]
    assert steps.tolist() == [0, 200, 400, 600, 800, 1000]
    np.testing.assert_allclose(values, [0, 100, 200, 300, 400, 500])
    assert run.metric_names() == ["loss", "entropy"]
    assert [row["value"] for row in run.newest_evaluations(base=True)] == [0.0, 0.0]
    assert [video.name for video in run.videos] == ["seed-0.gif"]


def test_a_running_run_gives_the_newest_evaluation_and_skips_the_half_written_row(make_run) -> None:
    path = make_run("a", final=(480.0, 500.0), finished=False)
    with (path / "evaluations.jsonl").open("ab") as file:
        file.write('{"step": 1200, "seed": 0, "score": "é'.encode()[:-1])
    run = load_run(path)
    assert run.result is None
    assert run.final_scores().tolist() == [480.0, 500.0]
    assert len(run.evaluations) == 12


def test_a_last_row_without_its_newline_is_kept_when_it_is_whole(make_run) -> None:
    path = make_run("a", final=(480.0,), finished=False)
    with (path / "evaluations.jsonl").open("a") as file:
        file.write('{"step": 1200, "seed": 0, "score": "return", "value": 7.0}')
    assert load_run(path).final_scores().tolist() == [7.0]


def test_a_step_that_was_logged_again_counts_once_and_nan_is_no_point(make_run) -> None:
    path = make_run("a", final=(480.0,))
    rows = [{"step": 10, "seed": 0, "loss": 1.0}, {"step": 20, "seed": 0, "loss": float("nan")}, {"step": 10, "seed": 0, "loss": 2.0}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ((steps, values),) = load_run(path).metric_curves("loss")
    assert (steps.tolist(), values.tolist()) == ([10], [2.0])


def test_paths_that_are_no_run(make_run, tmp_path: Path) -> None:
    make_run("cartpole-ppo")
    assert "did you mean cartpole-ppo?" in refusal(tmp_path / "cartpole-pp")
    assert "it holds the runs" in refusal(tmp_path)
    assert "no run at" in refusal(tmp_path / "nowhere" / "deeper")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty).endswith("it has no run.json")


def test_damaged_files_are_named_with_their_place(make_run) -> None:
    path = make_run("a")
    manifest = (path / "run.json").read_text()
    (path / "run.json").write_text(manifest[:40])
    assert "run.json is half-written" in refusal(path)
    (path / "run.json").write_text("[1]")
    assert "run.json: must be an object" in refusal(path)
    (path / "run.json").write_text(manifest.replace('"seeds": 3', '"seeds": 0'))
    assert "run.json: seeds must be at least 1" in refusal(path)
    (path / "run.json").write_text(manifest.replace('"method": "ppo"', '"method": null'))
    assert "method must be text" in refusal(path)
    (path / "run.json").write_text(manifest)

    (path / "result.json").write_text('{"score": {"name": "return", "per_seed": []}}')
    assert "result.json: has no run" in refusal(path)
    (path / "result.json").unlink()

    rows = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([rows[0], rows[1][:12], rows[2]]) + "\n")
    assert "metrics.jsonl line 2 is half-written or damaged" in refusal(path)
    (path / "metrics.jsonl").write_text('{"seed": 0}\n')
    assert "line 1: has no step" in refusal(path)
    (path / "metrics.jsonl").write_text('{"step": "x", "seed": 0}\n')
    assert "step must be an integer" in refusal(path)
    (path / "metrics.jsonl").unlink()

    for row, said in [
        ({"value": "high"}, "value must be a number"),
        ({"pass_at_k": {"one": 1.0}}, "pass_at_k must be an object whose names are numbers"),
    ]:
        (path / "evaluations.jsonl").write_text(json.dumps({"step": 0, "seed": 0, "score": "return", "value": 1.0} | row) + "\n")
        assert said in refusal(path)
    (path / "evaluations.jsonl").unlink()

    for row, said in [({"tokens": [{"log_prob": 0.0}]}, "tokens [0] has no text"), ({"prompt": 3}, "prompt must be text"), ({"status": 9}, "timeout")]:
        (path / "completions.jsonl").write_text(json.dumps({"step": 0, "seed": 0, "group": 0, "prompt": "", "tokens": []} | row) + "\n")
        assert said in refusal(path)
    (path / "completions.jsonl").unlink()

    (path / "videos").mkdir()
    (path / "videos" / "seed-0.gif").write_bytes(b"<html>")
    assert "is no GIF" in refusal(path)


def test_a_score_that_is_not_finite_names_the_run(make_run) -> None:
    with pytest.raises(BadInput, match=r"run .*/a has a return that is not finite in seed 1"):
        load_run(make_run("a", final=(1.0, float("nan")))).final_scores()


def test_a_run_without_evaluations_says_how_to_go_on(make_run) -> None:
    path = make_run("a", finished=False)
    (path / "evaluations.jsonl").unlink()
    with pytest.raises(BadInput, match="operant resume"):
        load_run(path).final_scores()


def test_of_many_runs_the_newest_are_named_where_none_is_near(make_run, tmp_path: Path) -> None:
    for age in range(30):
        path = make_run(f"{'abcdefghij'[age % 10] * 3}{age:02}", final=(1.0,))
        os.utime(path / "run.json", (1e9 - age, 1e9 - age))
    assert refusal(tmp_path / "zzzzzz").endswith("the newest there: aaa00, bbb01, ccc02")
    assert refusal(tmp_path / "aaa0").endswith("did you mean aaa00?")
