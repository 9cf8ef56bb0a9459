"""Methods, tasks, show, evidence, bench and data make."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from operant.cli.catalogue import TRY, fold_names, methods_page, standings
from operant.core.registry import get_method, methods
from operant.evidence import Check, Claim, Finding, _claims
from operant.worlds import SCHEMES

STATUS = {"reproduced", "partly", "not reproduced", "baseline", "untested"}
RECORDED = {
    "key": "ppo",
    "verdict": "partly",
    "checks": [
        {
            "name": "pole",
            "says": "PPO holds the pole",
            "tier": "small",
            "holds": False,
            "figures": {
                "CartPole-v1": {"name": "return", "iqm": 470.123456, "low": 450.0, "high": 490.5, "per_seed": [450.0, 490.5], "threshold": 475},
                "alone": {"iqm": 1, "low": None, "high": None},
                "largest_errors": [0.5, 1e-7],
            },
            "seeds": 5,
            "seconds": 61.0,
            "run": 0,
        },
        {"name": "ratio", "says": "PPO starts at 1", "tier": "exact", "holds": True, "figures": {}, "seeds": 0, "seconds": 0.1, "run": 0},
        {"name": "far", "says": "PPO goes far", "tier": "real", "holds": None, "run": None},
    ],
    "runs": [{"command": "operant evidence ppo", "seconds": 61.1, "commit": "0123456789abcdef", "sources": "of then", "base_policy": {}}],
}
FIGURES = "CartPole-v1 return 470.1 [450, 490.5], CartPole-v1 threshold 475, alone IQM 1, largest errors 0.5 / 1e-07"


CLAIMS = {
    "iql": Claim("iql", {"improves": Check("improves", "iql works", "real", lambda folder: Finding(True, {}))}),
    "ppo": Claim("ppo", {each["name"]: Check(each["name"], each["says"], each["tier"], lambda folder: Finding(True, {})) for each in RECORDED["checks"]}),
}


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch):
    """Recorded evidence of PPO alone, and claims that can be run."""
    monkeypatch.setattr("operant.evidence.recorded", lambda key, *where: RECORDED if key == "ppo" else None)
    monkeypatch.setattr("operant.evidence.claims", lambda: CLAIMS)
    monkeypatch.setattr("operant.evidence.sources", lambda key: "of now")
    for key in ("ppo", "iql"):
        monkeypatch.setitem(_claims.entries, key, CLAIMS[key])
    monkeypatch.setattr("operant.evidence.run", lambda key, *asked, **where: RECORDED | {"key": key})


def test_methods_are_listed_for_machines(operant):
    answer = operant("methods", "--json")
    assert answer.code == 0
    assert [row["key"] for row in answer.json] == sorted(methods())
    for row in answer.json:
        assert list(row) == ["key", "name", "family", "paper", "spine", "status", "fails"] and row["status"] in STATUS
    assert {row["key"]: row["spine"] for row in answer.json}["ppo"] == "policy gradient"


def test_status_is_the_recorded_verdict(operant, evidence):
    status = {row["key"]: row["status"] for row in operant("methods", "--json").json}
    assert (status["ppo"], status["bc"], status["random"], status["iql"]) == ("partly", "baseline", "baseline", "untested")
    assert {row["key"]: row["fails"] for row in operant("methods", "--json").json}["ppo"] == ["pole"]
    table = operant("methods").out
    assert "arXiv:1707.06347" in table and "partly: pole fails" in table


def test_the_page_has_the_figures_and_no_foreign_method(operant, evidence, tmp_path: Path):
    answer = operant("methods", "--write", tmp_path / "docs" / "methods.md")
    assert answer.code == 0
    page = (tmp_path / "docs" / "methods.md").read_text()
    assert page == methods_page(list(methods().values()))
    (line,) = [line for line in page.splitlines() if line.startswith("| `ppo`")]
    assert "[arXiv:1707.06347](https://arxiv.org/abs/1707.06347)" in line
    checks = f"pole fails: PPO holds the pole: {FIGURES}<br>ratio holds: PPO starts at 1<br>far untested: PPO goes far"
    assert line.endswith(f"| partly: pole fails; 2 of 3 checks measured | {checks} |")
    assert page.index("## offline") < page.index("| `iql`") < page.index("## online") < page.index("| `ppo`")


def test_the_committed_page_is_not_stale():
    page = Path(__file__).parents[2] / "docs" / "methods.md"
    assert page.read_text() == methods_page(list(methods().values())), "make it again: operant methods --write docs/methods.md"


def test_tasks_are_listed(operant):
    tasks = {row["task"]: row["about"] for row in operant("tasks", "--json").json}
    assert {"gym:CartPole-v1", "gym:HalfCheetah-v5", "ogbench:pointmaze-medium-navigate-v0", "text:arithmetic", "sequences:target"} <= set(tasks)
    assert all(tasks.values())
    shown = operant("tasks").out
    words = set(itertools.chain.from_iterable(expanded(word) for word in shown.split()))
    transformer = {f"{word}-transformer" for word in words}
    assert "each of the above with -transformer" in shown and set(tasks) <= words | transformer
    assert len(shown.splitlines()) <= 58 and max(map(len, shown.splitlines())) <= 120


def expanded(pattern: str) -> list[str]:
    """What a shell makes of braces."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in itertools.product(*parts)]


def test_names_fold_only_where_every_combination_is_there():
    grid = [f"maze-{size}-{kind}-v0" for size in ("small", "large") for kind in "abcde"]
    assert fold_names(grid) == ["maze-{small,large}-{a,b,c,d,e}-v0"]
    assert fold_names(grid[:-1]) == grid[:-1]
    assert fold_names(grid[:8]) == grid[:8]
    assert fold_names([f"tabular:{name}" for name in "abcdefghi"]) == ["tabular:{a,b,c,d,e,f,g,h,i}"]


def test_each_kind_of_task_has_a_method_that_trains_on_it():
    for scheme in SCHEMES:
        world = {"ogbench": "data", "minari": "data", "file": "text", "reasoning-gym": "text"}.get(scheme, scheme)
        assert world in get_method(TRY[scheme].split()[0]).worlds


def test_show_describes_a_method(operant, evidence):
    answer = operant("show", "ppo")
    assert answer.code == 0
    assert "PPO: many epochs" in answer.out and "PPO holds the pole" in answer.out and FIGURES in " ".join(answer.out.split())
    assert "--rollout-length" in answer.out and "steps of each copy between updates" in answer.out
    assert ("its ends may lie beyond what the task can give" in answer.out) == ("[" in FIGURES)
    found = operant("show", "ppo", "--json").json
    assert Path(found["source"]).read_text().startswith('"""PPO')
    assert found["evidence"] == RECORDED and found["worlds"] == ["gym"] and found["status"] == "partly"
    assert {"name": "hidden", "type": "int,…", "default": [64, 64], "help": "widths of the two towers"} in found["hyperparameters"]


def test_presets_say_what_was_measured_of_each(operant, monkeypatch: pytest.MonkeyPatch):
    score = {"name": "return", "iqm": 498.5, "low": 490.0, "high": 500.0, "level": "95 %", "per_seed": [498.5]}
    held = {"ppo-CartPole-v1": True, "dqn-CartPole-v1": False, "a2c-CartPole-v1": None}
    checks = [{"name": name, "holds": holds, "figures": score} for name, holds in held.items()]
    monkeypatch.setattr("operant.evidence.recorded", lambda key: {"checks": checks} if key == "presets" else None)
    rows = {tuple(line.split()[1:3]): line for line in operant("presets").out.splitlines() if line.startswith("zoo")}
    shown = {method: "498.5 [490, 500]" in rows[method, "CartPole-v1"] for method in ("ppo", "dqn", "a2c")}
    assert shown == {"ppo": True, "dqn": True, "a2c": False} and "not measured" in rows["a2c", "CartPole-v1"]
    assert [each["measured"] for each in operant("presets", "dqn", "--json").json][:2] == [score, None]


def test_presets_of_a_task(operant):
    of_task = operant("presets", "--task", "gym:Pendulum-v1").out
    assert [line.split()[1:3] for line in of_task.splitlines() if line.startswith("zoo")] == [[name, "Pendulum-v1"] for name in ("sac-v2", "ddpg", "td3")]
    assert "operant train td3 --task gym:Pendulum-v1 --steps 20000" in of_task
    assert len(operant("presets", "ppo", "--task", "CartPole-v1", "--json").json) == 1
    none = operant("presets", "td3", "--task", "gym:Pendulum-v0")
    assert none.code == 2 and "there are no presets of td3 for gym:Pendulum-v0: did you mean gym:Pendulum-v1?" in none.err


def test_a_report_says_what_of_a_claim_does_not_hold(evidence):
    assert standings()["ppo"].startswith("partly: does not hold: PPO holds")


def test_evidence_is_run_and_listed(operant, evidence):
    answer = operant("evidence", "ppo", "--json")
    assert answer.code == 0 and answer.json == RECORDED | {"verdict": None, "measured": 2}
    both = operant("evidence", "iql", "ppo", "--json")
    assert len(both.out.splitlines()) == 2 and both.json["key"] == "ppo"
    person = operant("evidence", "ppo", "--check", "pole")
    assert "verdict" not in person.out and "2 of 3 checks" in person.out and "results/ppo.json" in person.out
    assert "fails: PPO holds" in person.out and "470.1" in person.out and "61.0" in person.out and "starts at 1" not in person.out
    listed = operant("evidence", "--list", "--json").json
    assert listed[0] == {"key": "iql", "check": "improves", "tier": "real", "recorded": "untested", "says": "iql works"}
    assert [row["recorded"] for row in listed] == ["untested", "fails", "holds", "untested"]
    assert [row["check"] for row in operant("evidence", "ppo", "--list", "--tier", "exact", "--json").json] == ["ratio"]
    assert "PPO holds the pole" in operant("evidence", "--list").out
    whole = operant("evidence", "--family", "test_cli_catalogue", "--json").out.splitlines()  # the module of the claims above
    assert [json.loads(line)["key"] for line in whole] == ["iql", "ppo", "ppo", "ppo"]
    assert len(operant("evidence", "--family", "test_cli_catalogue", "--tier", "exact", "--json").out.splitlines()) == 1
    stale = operant("evidence", "ppo", "--stale", "--json").json
    assert [row["code"] for row in stale] == ["changed", "changed", "untested"] and stale[0]["commit"] == "0123456789"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ppo iqll", "did you mean iql"),
        ("", "takes keys, --family FAMILY, --list"),
        ("--family onlin", "family of claims"),
        ("ppo --family online", "takes no keys"),
        ("--list --stale", "not both"),
        ("ppo --check pol", "did you mean pole"),
        ("ppo iql --check pole", "of one claim"),
        ("ppo --tier exat", "did you mean exact"),
        ("ppo --check pole --tier exact", "no such check of tier exact"),
        ("ppo --cpus 2", "--cpus goes with --cluster"),
        ("--list --jobs 2", "they go without --jobs and --cluster"),
        ("ppo --out pyproject.toml", "pyproject.toml is a file: name a folder for records"),
        ("--write page.md --out records", "--write FILE stands alone"),
    ],
)
def test_evidence_says_what_is_wrong_before_anything_is_measured(operant, evidence, words: str, said: str):
    wrong = operant("evidence", *words.split())
    assert wrong.code == 2 and wrong.out == "" and said in wrong.err


def test_benches_are_listed(operant):
    listed = operant("bench", "--list", "--json").json
    assert "ppo-cartpole" in {row["bench"] for row in listed} and all(row["about"] for row in listed)
    assert "ppo-cartpole" in operant("bench", "--list").out


def test_bench_passes_on_what_was_measured(operant, monkeypatch: pytest.MonkeyPatch):
    from operant.bench import harness

    side = harness.Contestant("this Python", ("-c", 'print(\'{"steps": 6, "seconds": 0.5}\')'))
    same = harness.Contestant("the same", side.arguments, target=0.5)
    tiny = harness.Comparison("Tiny", "two of a kind", "steps", "training", package="torch", peers=(side,), ours=(same,))
    monkeypatch.setitem(harness._benches.entries, "tiny", lambda: tiny)
    answer = operant("bench", "tiny", "--repeats", 2, "--json")
    assert answer.code == 0 and answer.json["bench"] == "tiny" and answer.json["repeats"] == 2
    assert answer.json["ratio"] == {"the same": 1.0} and answer.json["reached"] == {"the same": True}
    assert answer.err.count("this Python: 12.0 steps/s") == 2
    assert "two of a kind" in operant("bench", "tiny", "--repeats", 1).out
    for words in (("bench",), ("bench", "tiny", "--list"), ("bench", "tiny", "--write", "README.md")):
        answer = operant(*words)
        assert answer.code == 2 and "takes one of a name, --list and --write FILE" in answer.err
    assert "compares with no peer" in operant("bench", "kernels", "--record").err


def test_data_are_made_with_progress(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ogbench")
    out = tmp_path / "maze.npz"
    answer = operant("data", "make", "ogbench:pointmaze-medium-stitch-v0", "--steps", 600, "--seed", 3, "--out", out, "--json")
    assert answer.code == 0
    assert answer.json == {"data": str(out), "name": "ogbench:pointmaze-medium-stitch-v0", "steps": 600, "seed": 3}
    with np.load(out) as arrays:
        assert arrays["observation"].shape == (600, 2)
    assert answer.err.splitlines()[-1] == "making ogbench:pointmaze-medium-stitch-v0: 600 of 600 steps"
    person = operant("data", "make", "pointmaze-medium-stitch-v0", "--steps", 20, "--out", out)
    assert f"operant train bc --task data:{out}" in person.out
    monkeypatch.setenv("OPERANT_CACHE", str(tmp_path / "cache"))
    person = operant("data", "make", "ogbench:pointmaze-medium-stitch-v0", "--steps", 20)
    assert person.out.endswith("next: operant train iql --task ogbench:pointmaze-medium-stitch-singletask-v0\n")
