"""The collapse report: its figures against hand-worked ones, and each diagnosis at both sides of what triggers it."""

from __future__ import annotations

import json
import math

import pytest

from operant.core.errors import BadInput
from operant.evaluate.collapse import change_text, collapse_report, collapse_rows, run_collapse
from operant.evaluate.records import load_run
from operant.evaluate.report import report_html


def evaluation(seed: int = 0, step: int = 0, **figures) -> dict:
    row = {"step": step, "seed": seed, "score": "pass@1", "value": 0.5, "values": [0.5, 0.5], "samples": 4, "base": step == 0}
    return row | {"pass_at_k": {"1": 0.5, "4": 0.8}, "entropy": 0.5, "distinct": 3.0} | figures


def training(steps: int = 10, seed: int = 0, **courses) -> list[dict]:
    """One row an iteration; a course is a number, or a pair that the first and the second half of training hold."""
    rows = []
    for step in range(1, steps + 1):
        figures = {name: course if not isinstance(course, tuple) else course[step > steps // 2] for name, course in courses.items()}
        rows.append({"step": step, "seed": seed, "seconds": 0.1 * step, "samples": 100.0 * step} | {name: x for name, x in figures.items() if x is not None})
    return rows


def report(metrics: list[dict] | None = None, base: dict | None = None, **after) -> dict:
    return collapse_report(metrics or training(reward=0.5), [evaluation(**base or {}), evaluation(step=10, **after)])


def test_pass_at_k_of_one_seed_has_its_interval_over_the_problems():
    # 4 samples of 4 problems: right ones before 0 2 4 2, after 4 4 4 1. pass@2 = 1 - C(4-c, 2) / 6: before 0 5/6 1 5/6, after 1 1 1 1/2.
    before = evaluation(values=[0.0, 0.5, 1.0, 0.5], pass_at_k={"1": 0.5, "2": 2.0 / 3})
    after = evaluation(step=10, values=[1.0, 1.0, 1.0, 0.25], pass_at_k={"1": 0.8125, "2": 3.5 / 4})
    found = collapse_report([], [before, after])
    assert found["interval_over"] == "problems"
    assert found["pass_at_k"]["1"]["change"] == pytest.approx((1 + 0.5 + 0 - 0.25) / 4)
    two = found["pass_at_k"]["2"]
    assert (two["base"], two["policy"]) == pytest.approx((2 / 3, 0.875))
    assert two["change"] == pytest.approx((1 + 1 / 6 + 0 - 1 / 3) / 4)
    assert -1 <= two["low"] < two["change"] < two["high"] <= 1


def test_pass_at_k_of_several_seeds_has_its_interval_over_them():
    rows = [evaluation(seed, step, pass_at_k={"1": 0.5 + 0.1 * (seed + 1) * (step > 0)}) for seed in range(3) for step in (0, 10)]
    found = collapse_report([], rows)
    assert found["interval_over"] == "seeds"
    one = found["pass_at_k"]["1"]
    assert one["change"] == pytest.approx(0.2)
    assert one["low"] == pytest.approx(0.2 - 4.303 * 0.1 / 3**0.5, abs=0.01)  # Student's, of 0.1, 0.2 and 0.3
    assert one["high"] == pytest.approx(0.2 + 4.303 * 0.1 / 3**0.5, abs=0.01)
    assert change_text(one).startswith("+0.200 [-0.0")


def test_exact_pass_at_k_of_one_seed_has_no_interval():
    rows = [evaluation(), evaluation(step=10)]
    for row in rows:
        del row["samples"]
    assert collapse_report([], rows)["pass_at_k"]["4"] == {"base": 0.8, "policy": 0.8, "change": 0.0, "low": None, "high": None}
    assert change_text(collapse_report([], rows)["pass_at_k"]["4"]) == "+0.000"


def test_fifths_are_those_of_training_and_of_each_seed():
    rows = [*training(10, reward=0.0), *training(10, seed=1, reward=1.0)]
    for row in rows[:10]:
        row["reward"] = row["step"] / 10  # first fifth 0.15, last 0.95
    rows[1]["reward"] = math.inf  # not finite: left out, so the first fifth is 0.1
    found = collapse_report(rows, [evaluation(seed, step) for seed in (0, 1) for step in (0, 10)])
    assert found["reward"] == {"start": pytest.approx((0.1 + 1) / 2), "end": pytest.approx((0.95 + 1) / 2)}


def test_a_step_that_was_logged_again_counts_once():
    rows = training(5, ess=0.9) + [{"step": 5, "seed": 0, "ess": 0.7, "samples": 500.0}]
    assert report(rows)["ess"] == pytest.approx(0.7)


def test_a_metric_that_begins_late_has_no_course():
    found = report(training(reward=0.5, **{"length/wrong": (None, 12.0)}))
    assert "length/wrong" not in found and found["reward"] == {"start": 0.5, "end": 0.5}


def test_failures_are_counted_from_shares_and_samples():
    rows = training(10, reward=0.5)
    rows[3]["score/timeout"], rows[7]["score/timeout"] = 0.2, 0.05  # of 100 answers each
    found = collapse_report(rows, [evaluation(), evaluation(step=10)], messages={"timeout": "no answer after 5 s", "crashed": "never"})
    assert found["verifier"] == {"timeout": {"count": 25, "share": pytest.approx(0.025), "message": "no answer after 5 s"}}
    assert found["diagnoses"] == ["2.5 % of answers (25) could not be scored, timeout: no answer after 5 s"]


def test_that_no_answer_could_be_scored_is_said_in_words():
    rows = training(4, **{"score/crashed": 0.75, "score/timeout": 0.25})
    found = collapse_report(rows, [evaluation(), evaluation(step=4, unscored=8)], messages={"crashed": "ValueError: no"})
    assert found["unscored_in_evaluation"] == {"count": 8, "share": 1.0}
    assert found["diagnoses"][-2:] == [
        "none of the 400 answers could be scored: 100 TIMEOUT; 300 CRASHED: ValueError: no",
        "none of the answers of the last evaluation (8) could be scored: they count as wrong",
    ]
    assert ("not scored in evaluation", "8 answers (100 %)") in collapse_rows(found)
    found = report(unscored=2)
    assert found["diagnoses"] == ["25 % of the answers of the last evaluation (2) could not be scored: they count as wrong"]
    assert "unscored_in_evaluation" not in report()


HEALTHY = {"groups_alike": 0.2, "ess": 0.9, "ratio/q01": 0.8, "ratio/q50": 1.0, "ratio/q99": 1.3, "kl_behaviour": 0.01, "ended": 1.0}


def test_a_healthy_run_shows_no_sign():
    found = report(training(reward=(0.3, 0.8), **HEALTHY), values=[1.0, 0.75], pass_at_k={"1": 0.875, "4": 1.0}, entropy=0.1, distinct=1.5)
    assert found["diagnoses"] == []
    assert ("effective sample size", "90 % of the steps") in collapse_rows(found)
    assert ("ratio at 1, 50, 99 %", "0.8, 1, 1.3") in collapse_rows(found)
    assert ("distinct answers", "3.0 → 1.5 of 4") in collapse_rows(found)


def test_a_reward_that_rises_alone_is_told():
    said = report(training(reward=(0.01, 0.95), **HEALTHY))["diagnoses"]
    assert len(said) == 1 and said[0].startswith("the training reward rose from 0.01 to 0.95, pass@1 stayed at")
    assert ("reward in training", "0.01 → 0.95") in collapse_rows(report(training(reward=(0.01, 0.95))))
    assert report(training(reward=(0.5, 0.55), **HEALTHY))["diagnoses"] == []


@pytest.mark.parametrize(
    ("metrics", "after", "said"),
    [
        (
            {},
            {"values": [0.0, 0.0], "pass_at_k": {"1": 0.5, "4": 0.7}, "entropy": 0.06, "distinct": 1.25},
            "entropy fell to 12 % of its start (distinct answers from 3.0 to 1.2) and pass@4 is 0.10 below the base policy's: diversity was lost",
        ),
        (
            {},
            {"values": [0.0, 0.0], "pass_at_k": {"1": 0.5, "4": 0.7}},
            "pass@4 is 0.10 below the base policy's (0.80 before, 0.70 now): problems that it could solve were lost",
        ),
        (
            {},
            {"entropy": 0.02, "distinct": 1.0},
            "entropy fell to 4.0 % of its start (distinct answers from 3.0 to 1.0) with pass@1 at 0.50: wrong answers are as certain as right ones",
        ),
        ({}, {"entropy": 1.5}, "entropy rose to 300 % of its start: the policy drifts towards noise"),
        (
            {"reward": (0.4, 0.9)},
            {"values": [0.0, 0.0], "pass_at_k": {"1": 0.25, "4": 0.8}},
            "pass@1 is 0.25 below the base policy's: training made it worse, while the reward rose from 0.40 to 0.90: it rewards something else",
        ),
        ({"groups_alike": (0.1, 0.62)}, {}, "62 % of groups had equal rewards in the last fifth (mean reward 0.50): most samples teach nothing"),
        (
            {"length/right": (10.0, 11.0), "length/wrong": (10.0, 18.0)},
            {},
            "wrong answers became 1.8 times as long, right ones 1.1 times: length grows without being right",
        ),
        ({"length": (20.0, 8.0)}, {}, "answers shrank to 40 % of their length (20 tokens before, 8 now)"),
        ({"ended": (1.0, 0.7)}, {}, "30 % of answers were cut at the limit in the last fifth, 0 % in the first"),
        ({"ess": 0.31}, {}, "the effective sample size was 31 % in the last fifth: few samples decide the updates"),
        ({"ratio/q01": 0.8, "ratio/q99": 4.0}, {}, "a step in a hundred has a ratio below 0.8 or above 4: updates go far from the policy that sampled"),
        ({"kl_behaviour": 0.25}, {}, "an iteration moves the policy by 0.25 nats a token: its later updates learn from another policy's samples"),
    ],
)
def test_each_diagnosis_names_the_figure_that_triggers_it(metrics: dict, after: dict, said: str):
    assert report(training(**{"reward": 0.5} | metrics), **after)["diagnoses"] == [said]


@pytest.mark.parametrize(
    ("metrics", "after"),
    [
        ({}, {"values": [0.49, 0.49], "pass_at_k": {"1": 0.49, "4": 0.79}}),  # a loss below what counts
        ({}, {"values": [0.0, 1.0], "pass_at_k": {"1": 0.5, "4": 0.7}}),  # a loss within chance: one problem of two was won
        ({}, {"entropy": 0.02, "pass_at_k": {"1": 0.95, "4": 0.95}}),  # certain and right
        ({}, {"entropy": 0.12}),  # entropy that is lower, as after any training
        ({"groups_alike": 0.45}, {}),
        ({"length/right": (10.0, 18.0), "length/wrong": (10.0, 17.0)}, {}),  # right answers grew alike
        ({"ended": (0.5, 0.6)}, {}),  # cut from the beginning, and less now
        ({"ess": 0.55, "ratio/q01": 0.4, "ratio/q99": 2.9, "kl_behaviour": 0.05}, {}),
    ],
)
def test_what_stays_within_bounds_is_no_sign(metrics: dict, after: dict):
    assert report(training(**{"reward": 0.5} | metrics), **after)["diagnoses"] == []


def test_entropy_that_rises_from_almost_nothing_is_no_drift():
    assert report(base={"entropy": 0.01}, entropy=0.1)["diagnoses"] == []


def test_tasks_without_answers_and_runs_without_training_have_no_report(make_run):
    assert run_collapse(load_run(make_run("p"))) is None
    assert collapse_report([], [evaluation()]) is None
    assert collapse_report([], []) is None


def test_a_run_directory_gives_its_report_and_the_page_shows_it(make_text_run):
    path = make_text_run("g", final=(0.2, 0.25, 0.22))
    found = run_collapse(load_run(path))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["diagnoses"][-1].startswith("pass@1 is 0.08 below the base policy's")
    html = report_html([load_run(path)])
    assert f"<li>{found['diagnoses'][0].replace(chr(39), '&#x27;')}</li>" in html
    assert ">pass@16</a></th><td>0.900 → " in html


def test_messages_of_a_result_are_escaped_and_damaged_ones_refused(make_text_run):
    path = make_text_run("g")
    rows = [json.loads(line) | {"samples": 100 * json.loads(line)["step"], "score/crashed": 0.5} for line in (path / "metrics.jsonl").read_text().splitlines()]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result, told = json.loads((path / "result.json").read_text()), {"pass_at_k": {}, "diagnoses": []}
    (path / "result.json").write_text(json.dumps(result | {"collapse": told | {"verifier": {"crashed": {"count": 1, "share": 0.5, "message": "<b>no</b>"}}}}))
    html = report_html([load_run(path)])
    assert "crashed: &lt;b&gt;no&lt;/b&gt;" in html and "<b>no</b>" not in html
    for failures in ({"crashed": {"message": 3}}, {"crashed": 7}, []):
        (path / "result.json").write_text(json.dumps(result | {"collapse": told | {"verifier": failures}}))
        with pytest.raises(BadInput, match=r"result\.json: collapse"):
            load_run(path)
