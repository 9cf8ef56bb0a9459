"""Runs side by side: pooling, labels, refusals, warnings, and the three forms of the table."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from operant.core.errors import BadInput
from operant.evaluate.compare import Comparison, compare, format_interval
from operant.evaluate.records import load_run
from operant.evaluate.report import curves_figure
from operant.evaluate.statistics import Interval, probability_of_improvement, stratified_bootstrap


def compared(*paths) -> Comparison:
    return compare([load_run(path) for path in paths])


def test_rows_hold_the_statistics_of_the_seeds(make_run) -> None:
    first, second = (20.0, 22.0, 24.0, 19.0), (480.0, 21.0, 490.0)
    comparison = compared(make_run("random", method="random", final=first), make_run("ppo", final=second))
    random, ppo = comparison.rows
    assert (random.method, random.improvement, ppo.score, ppo.steps, ppo.seconds, ppo.steps_per_second) == ("random", None, "return", 1000, 10.0, 300.0)
    assert ppo.interval == stratified_bootstrap(second)
    assert ppo.improvement == probability_of_improvement(second, first)
    assert ppo.improvement.point == pytest.approx((4 + 2 + 4) / 12)  # 21 beats 20 and 19
    assert comparison.warnings == ()


def test_equal_runs_pool_and_different_ones_stand_apart(make_run) -> None:
    settings = {"learning_rate": 1e-3, "clip": 0.2}
    comparison = compared(
        make_run("a", final=(1.0, 2.0), hyperparameters=settings),
        make_run("b", final=(3.0,), seed=2, hyperparameters=settings),
        make_run("c", final=(4.0,), seed=3, hyperparameters=settings | {"clip": 0.3}),
        make_run("d", task="gym:Acrobot-v1", final=(5.0,), hyperparameters=settings | {"clip": 0.4}),
    )
    assert [(row.task, row.method, row.per_seed.tolist()) for row in comparison.rows] == [
        ("gym:CartPole-v1", "ppo (clip=0.2)", [1.0, 2.0, 3.0]),
        ("gym:CartPole-v1", "ppo (clip=0.3)", [4.0]),
        ("gym:Acrobot-v1", "ppo", [5.0]),
    ]
    assert comparison.rows[0].seconds == 20.0


def test_the_curves_alone_are_of_one_task(make_run) -> None:
    one = compared(make_run("a"), make_run("b", method="sac-v2"))
    assert curves_figure(one).startswith("<svg") and all(name in curves_figure(one) for name in ("ppo", "sac-v2", "return"))
    with pytest.raises(BadInput, match="of one task; these runs are on gym:CartPole-v1 and gym:Acrobot-v1"):
        curves_figure(compared(make_run("c"), make_run("d", task="gym:Acrobot-v1")))


def test_two_scores_of_one_task_are_refused(make_run) -> None:
    with pytest.raises(BadInput, match=r"gym:CartPole-v1 report different scores: return \(a\), success \(b\)"):
        compared(make_run("a"), make_run("b", method="sac-v2", score="success"))


def test_no_runs_and_one_run_twice_are_refused(make_run) -> None:
    with pytest.raises(BadInput, match="no runs"):
        compare([])
    path = make_run("a")
    with pytest.raises(BadInput, match="given twice"):
        compared(path, path / ".." / "a")


def test_warnings(make_run) -> None:
    comparison = compared(
        make_run("a", steps=1000), make_run("b", method="random", steps=500), make_run("c", method="bc", finished=False), make_run("d", method="bc")
    )
    assert comparison.warnings == (
        "c (bc on gym:CartPole-v1) is not finished: it stands at 1,000 of 1,000 steps",
        "runs of bc on gym:CartPole-v1 share seed 0, 1, 2: they are not independent, and the interval is too narrow",
        "budgets differ on gym:CartPole-v1: ppo 1,000 steps, random 500 steps, bc 1,000 steps",
    )


def test_a_warning_of_unequal_steps_names_a_number_that_suits_all(make_run) -> None:
    runs = [load_run(make_run(name, method=name, steps=steps)) for name, steps in (("ppo", 2816), ("dqn", 3000))]

    def warned(*iterations: int, asked: tuple[int, int] = (3000, 3000)) -> str:
        known = zip(runs, iterations, asked, strict=True)
        manifests = [run.manifest | {"iteration": each, "budget": {"unit": "steps", "amount": steps}} for run, each, steps in known]
        return compare([replace(run, manifest=manifest) for run, manifest in zip(runs, manifests, strict=True)]).warnings[-1]

    assert warned(256, 1).endswith("ppo 2,816 steps, dqn 3,000 steps; --steps 3072 suits them all")
    assert warned(256, 7).endswith("; --steps 3584 suits them all")
    assert warned(2048, 3).endswith("dqn 3,000 steps") and warned(256, 1, asked=(2816, 3000)).endswith("dqn 3,000 steps")


def test_pass_at_k_stands_beside_the_base(make_text_run) -> None:
    (row,) = compared(make_text_run("grpo", final=(0.7, 0.8, 0.75))).rows
    assert row.base == Interval(0.3, pytest.approx(0.3), pytest.approx(0.3), 3, None)
    assert {k: (trained.point, base.point) for k, (trained, base) in row.pass_at_k.items()} == {
        1: (pytest.approx(0.75), pytest.approx(0.3)),
        4: (pytest.approx(0.85), pytest.approx(0.6)),
        16: (pytest.approx(0.9), pytest.approx(0.9)),
    }


def test_dict_text_and_html_say_the_same(make_run, make_text_run) -> None:
    comparison = compared(make_run("r", method="random", final=(20.0, 24.0)), make_run("p", final=(480.0, 500.0)), make_text_run("g"))
    found = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert found["rows"][1]["score"] == {"name": "return", "iqm": 490.0, "low": 480.0, "high": 500.0, "level": "range of 2 seeds", "per_seed": [480.0, 500.0]}
    assert found["rows"][1]["improvement"] == {"point": 1.0, "low": pytest.approx(0.1206, abs=1e-4), "high": 1.0, "level": "95 %"}
    assert found["rows"][2]["pass_at_k"]["4"]["base"]["point"] == pytest.approx(0.6)
    text, html = comparison.to_text(), comparison.to_html()
    for cell in ("490.0 [480.0, 500.0] (range)", "1.00 [0.12, 1.00]", "0.750 [0.62", "P(beats first) [95 %]"):
        assert cell in text
        assert cell in html
    assert "0.85 [0.73, 0.97]" in text and "0.850 [0.72" in html
    assert "IQM [range of 2 seeds]  " in text and "IQM [95 %]" in text and "IQM [range of 2 seeds; 95 %]" in html
    assert "gym:CartPole-v1: return" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "0.90 [0.78, 1.00]" in text and "before training" in text


def test_what_stands_beside_the_score_is_compared(make_run) -> None:
    def told(name: str, *regrets: float) -> Path:
        path = make_run(name, method=name, final=(1.0, 2.0))
        rows = [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]
        for row in rows:
            row["measures"] = {"optimal value": 3.0, "regret": regrets[row["seed"]]}
        (path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    comparison = compared(told("psrl", 10.0, 20.0), told("ucbvi", 200.0, 400.0))
    assert [row["measures"]["regret"]["iqm"] for row in comparison.to_dict()["rows"]] == [15.0, 300.0]
    text, html = comparison.to_text(), comparison.to_html()
    for shown in (text, html):
        assert "15.00 [10.00, 20.00] (range)" in shown and "300.0 [200.0, 400.0] (range)" in shown
        assert "optimal value" not in shown  # the same for all
    assert "regret: " in text


def test_equal_scores_have_a_range_that_is_explained(make_run) -> None:
    text = compared(make_run("r", method="random", final=(20.0, 24.0, 22.0)), make_run("p", final=(500.0, 500.0, 500.0))).to_text()
    assert "500.0 [500.0, 500.0] (range)" in text and "range of 3 seeds: The scores of these seeds are all the same" in text


def test_narrow_text_wraps_and_loses_no_digit(make_run) -> None:
    text = compared(make_run("r", method="random", final=(20.0, 24.0)), make_run("p", final=(480.0, 500.0))).to_text(width=72)
    assert max(map(len, text.splitlines())) <= 72
    assert {"480.0,", "500.0]"} <= set(re.findall(r"[\d.]+[,\]]", text))


def test_one_seed_shows_no_interval(make_run) -> None:
    comparison = compared(make_run("a", final=(487.0,)))
    assert comparison.to_dict()["rows"][0]["score"]["low"] is None
    assert "487.0 (1 seed)" in comparison.to_text()


def test_html_is_escaped(make_run) -> None:
    html = compared(make_run("a", method="<img src=x onerror=alert(1)>")).to_html()
    assert "<img" not in html
    assert "&lt;img" in html


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(-3021.4, -3100.0, -2950.6, 5, 0.95), "-3021 [-3100, -2951]"),
        (Interval(0.62, None, None, 1, 0.95), "0.620 (1 seed)"),
        (Interval(12.345, 11.0, 13.0, 5, 0.95), "12.35 [11.00, 13.00]"),
        (Interval(12.345, 11.0, 13.0, 2, None), "12.35 [11.00, 13.00] (range)"),
        (Interval(8.74e-5, 7.9e-5, 9.6e-5, 5, 0.95), "8.7e-05 [7.9e-05, 9.6e-05]"),
        (Interval(8.74e-5, -0.004, 0.005, 5, 0.95), "0.000 [-0.004, 0.005]"),
        (Interval(1e-16, None, None, 1, 0.95), "0.000 (1 seed)"),
        (None, "–"),
    ],
)
def test_digits_follow_the_size(interval: Interval | None, text: str) -> None:
    assert format_interval(interval) in (text, text.replace("12.35", "12.34"))
