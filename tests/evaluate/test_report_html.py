"""The report's file: whole, self-contained, escaped, atomic."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from long_tier import turns

from operant.core.errors import BadInput
from operant.evaluate import report as report_module
from operant.evaluate.compare import compare
from operant.evaluate.records import load_run
from operant.evaluate.report import report_html, write_report


class Page(HTMLParser):
    """Every attribute, and the text of every script."""

    def __init__(self, text: str):
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)


def test_the_file_needs_and_allows_no_network(make_run, make_text_run) -> None:
    html = report_html([load_run(make_run("p", video=True)), load_run(make_text_run("g"))])
    page = Page(html)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    (policy,) = [value for tag, name, value in page.attributes if tag == "meta" and name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'")
    script = page.scripts[1][1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert "data:image/gif;base64,R0lG" in html


def test_it_holds_tables_figures_settings_and_every_completion(make_run, make_text_run) -> None:
    html = report_html(
        [load_run(make_run("r", method="random", final=(20.0, 24.0))), load_run(make_run("p", final=(480.0, 500.0))), load_run(make_text_run("g"))]
    )
    page = Page(html)
    assert "490.0 [480.0, 500.0]" in html
    assert html.count("Performance profile") == 1  # two methods on CartPole, one on arithmetic
    assert page.tags.count("svg") == 3 + 3 + 2 + 2  # curve, profile and final scores; curve, pass@k and final scores; loss and entropy of both tasks
    for setting in ("clip.low", "learning_rate", "test &lt;cpu&gt;", "2.13.0"):
        assert setting in html
    attributes, text = page.scripts[0]
    assert attributes["type"] == "application/json"
    (data,) = json.loads(text)
    assert len(data["rows"]) == 24
    assert data["rows"][3]["status"] == "timeout"
    assert data["rows"][3]["reward"] is None
    assert data["rows"][0]["log_prob"][:2] == [-0.125, -0.25]
    assert data["rows"][0]["mask"] == [1] * 8 + [0]


def test_what_a_model_wrote_cannot_leave_its_place(make_text_run) -> None:
    html = report_html([load_run(make_text_run("g"))])
    page = Page(html)
    assert len(page.scripts) == 2
    assert "alert(1)" in page.scripts[0][1]
    assert "<script>alert" not in html


def test_many_completions_are_thinned_and_first_and_last_kept(make_text_run, monkeypatch) -> None:
    path = make_text_run("g")
    rows = [json.loads(line) for line in (path / "completions.jsonl").read_text().splitlines()][:12]
    (path / "completions.jsonl").write_text("".join(json.dumps(row | {"step": step}) + "\n" for step in range(0, 100, 10) for row in rows))
    monkeypatch.setattr(report_module, "MAX_TOKENS", 4 * 12 * 9)
    (data,) = json.loads(Page(report_html([load_run(path)])).scripts[0][1])
    assert data["logged"] == 10
    assert sorted({row["step"] for row in data["rows"]}) == [0, 30, 60, 90]


def test_figures_that_json_cannot_say_are_missing_not_zero(make_text_run) -> None:
    path = make_text_run("g")
    row = json.loads((path / "completions.jsonl").read_text().splitlines()[0])
    row["tokens"] = [{"text": "\ud800", "log_prob": float("-inf"), "mask": True}]
    (path / "completions.jsonl").write_text(json.dumps(row) + "\n")
    out = write_report([load_run(path)], path / "report.html")
    (data,) = json.loads(Page(out.read_text()).scripts[0][1])
    assert (data["rows"][0]["log_prob"], data["rows"][0]["advantage"]) == ([None], [None])


def test_same_runs_same_file_and_no_other_file_is_left(make_run, tmp_path: Path) -> None:
    run = load_run(make_run("p"))
    out = tmp_path / "new" / "folder" / "report.html"
    assert write_report([run], out) == out
    first = out.read_bytes()
    write_report([run], out)
    assert out.read_bytes() == first
    assert [entry.name for entry in out.parent.iterdir()] == ["report.html"]
    assert out.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_report_and_one_line(make_run, tmp_path: Path, monkeypatch) -> None:
    run, out = load_run(make_run("p")), tmp_path / "report.html"
    out.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"cannot write .*report\.html: no space is left on the disk"):
        write_report([run], out)
    assert out.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["p", "report.html"]


def test_places_that_take_no_report_are_refused(make_run, tmp_path: Path) -> None:
    run = load_run(make_run("p"))
    with pytest.raises(BadInput, match="is a directory: name the file"):
        write_report([run], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write "):
        write_report([run], tmp_path / "file" / "report.html")


def entries(html: str) -> dict[str, str]:
    """The glossary by name."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html[html.index("<section id=glossary>") :]))


def test_every_name_leads_to_its_entry_and_the_glossary_has_no_other(make_run, make_text_run) -> None:
    html = report_html([load_run(make_run("r", method="random", final=(20.0, 24.0))), load_run(make_run("p")), load_run(make_text_run("g"))])
    links = set(re.findall(r'<a class=term href="#(term-\d+)" title="[^"]+">', html))
    targets = re.findall(r'<div id="(term-\d+)"', html)
    assert links == set(targets) and len(targets) == len(set(targets))
    found = entries(html)
    assert {"IQM", "95 %", "range of 2 seeds", "P(beats first)", "loss", "entropy", "pass@k", "advantage", "KL", "problem"} <= set(found)
    assert found["loss"] == "A figure of the method itself: `operant show METHOD` describes it."
    assert "1 seed" not in found and "ess" not in found
    one = entries(report_html([load_run(make_run("one", final=(20.0,)))]))
    assert {"1 seed", "IQM"} <= set(one) and not {"95 %", "range of 2 seeds", "P(beats first)", "pass@k"} & set(one)


@pytest.mark.parametrize("name", turns(["value", "length", "entropy", "change", "entered", "progress", "reward"], "src/operant/evaluate/", always=("value",)))
def test_a_method_s_own_figure_is_not_explained_as_another_s(make_run, make_text_run, name: str) -> None:
    run = load_run(make_run("own", method="dqn"))
    run = replace(run, metrics=[row | {name: row["step"] / 10} for row in run.metrics])
    of_a_table = load_run(make_run("planned", method="value-iteration", task="tabular:chain", score="value"))
    own = "A figure of the method itself: `operant show METHOD` describes it."
    html = report_html([run, of_a_table, load_run(make_text_run("g"))])
    assert re.search(rf'title="{re.escape(escape(own))}">{name}</a>', html)
    assert re.search(r'title="What a policy can expect from its first state on[^"]*">value</a>', html)
    assert f"<dt>{name}</dt><dd>{escape(own)}</dd>" in html


def test_captions_say_what_the_bands_are(make_run) -> None:
    def caption(*runs: Path) -> str:
        html = re.sub(r"<a [^>]*>|</a>", "", report_html([load_run(run) for run in runs]))
        return re.search(r"<figcaption>return in evaluations over training. (.*?)</figcaption>", html)[1]

    one, two, three = make_run("one", final=(20.0,)), make_run("two", final=(20.0, 24.0), method="a"), make_run("three", method="b")
    assert caption(one) == "The curve of the one seed."
    assert caption(two) == "Thick: IQM of the seeds; band: the range of 2 seeds; thin: each seed."
    said = "band: its 95 % interval at each point, cut at the figure's edge"
    assert caption(three) == f"Thick: IQM of the seeds; {said}; thin: each seed."
    assert caption(three, two, one).endswith(f"{said}, or the range of 2 seeds; thin: each seed. A method with 1 seed has one line.")


def test_a_fixed_policy_is_a_line_along_the_others_training(make_run) -> None:
    path = make_run("r", method="random", final=(20.0, 24.0))
    rows = [json.loads(line) for line in (path / "evaluations.jsonl").read_text().splitlines()]
    (path / "evaluations.jsonl").write_text("".join(json.dumps(row | {"base": False}) + "\n" for row in rows[-2:]))
    (path / "metrics.jsonl").write_text('{"step": 1000, "seed": 0, "seconds": 0.0}\n')
    fixed, trained = load_run(path), load_run(make_run("p"))
    assert fixed.fixed and not trained.fixed
    rows = compare([trained, fixed]).rows
    curves = report_module._score_curves(rows)["random"]
    assert [(steps.tolist(), values.tolist()) for steps, values in curves] == [([0.0, 1000.0], [20.0, 20.0]), ([0.0, 1000.0], [24.0, 24.0])]
    assert report_module._score_curves(compare([fixed]).rows) == {}
    html = report_html([trained, fixed])
    assert "fixed policy" in entries(html)
    assert "<svg" in report_html([fixed])  # its seeds' scores


def test_the_reward_of_training_stands_beside_the_score(make_text_run) -> None:
    path = make_text_run("g")
    rows = [json.loads(line) | {"reward": 0.5} for line in (path / "metrics.jsonl").read_text().splitlines()]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = report_html([load_run(path)])
    figures, folded = html.split("<summary>Training metrics</summary>")
    assert ">reward in training</text>" in figures and ">reward" not in folded.split("</details>")[0].replace(">reward in", "")
