"""Claims: the exact tier is what was recorded, records say what the files say, and a sitting changes what it measured alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from long_tier import due

from operant import evidence
from operant.core.registry import methods
from operant.evidence import Check, Claim, Finding, claims, merged, recorded, verdict
from operant.studies import studies

LONG = 1.0  # seconds that a check was recorded to take, above which it has its turn
UNTIMED = {"rft log-pass-rate", "spo squared-error", "direct-apo never-falls", "limit-of-rlvr estimator"}  # take longer; their records are from before times


def exact() -> list:
    """The checks of the exact tier by claim and name: those that took long where they are due."""
    found = []
    for key, entry in claims().items():
        seconds = {each["name"]: each.get("seconds") or 0.0 for each in (recorded(key) or {"checks": []})["checks"]}
        for each in entry.checks.values():
            if each.tier == "exact":
                long = seconds.get(each.name, 0.0) > LONG or f"{key} {each.name}" in UNTIMED
                runs = due(key) or not long
                found.append(pytest.param(key, each.name, id=f"{key} {each.name}", marks=() if runs else pytest.mark.long))
    return found


@pytest.mark.parametrize(("key", "name"), exact())
def test_the_exact_tier_is_as_recorded(key: str, name: str, tmp_path: Path):
    held = {each["name"]: each["holds"] for each in (recorded(key) or {"checks": []})["checks"]}
    assert held.get(name) is not None, f"measure it: operant evidence {key} --tier exact"
    assert evidence.get_claim(key).checks[name].measure(tmp_path).holds == held[name]


@pytest.mark.parametrize("key", sorted(path.stem for path in evidence.RESULTS.glob("*.json")))
def test_a_record_says_what_the_claim_says(key: str):
    record, entry = recorded(key), claims()[key]
    for each in record["checks"]:
        known = entry.checks[each["name"]]
        assert (each["says"], each["tier"]) == (known.says, known.tier), f"{each['name']}: measure it again, its sentence is another one"
        assert (each["holds"] is None) == (each["run"] is None)
    names = [each["name"] for each in record["checks"]]
    assert names == [name for name in entry.checks if name in names]  # `--stale` tells of checks that came later
    assert record["verdict"] == verdict(record["checks"])
    assert {each["run"] for each in record["checks"]} - {None} == set(range(len(record["runs"])))


def test_every_claim_is_of_a_method_or_a_study():
    of_the_library = {"parity", "scores", "presets", "bfloat16", "srl-distributed"}
    assert claims().keys() - methods().keys() - studies().keys() == of_the_library
    assert all(each.says for entry in claims().values() for each in entry.checks.values())


def entry(**says: str) -> Claim:
    return Claim("own", {name: Check(name, text, "small", lambda folder: Finding(True, {})) for name, text in says.items()})


def found(holds: bool) -> dict:
    return {"holds": holds, "figures": {"x": 1}, "seeds": 2, "seconds": 0.0}


def test_a_sitting_leaves_what_it_did_not_measure():
    first = merged(entry(a="A", b="B"), None, {"a": found(True)}, {"commit": "1"})
    assert [each["holds"] for each in first["checks"]] == [True, None] and first["verdict"] == "partly"
    both = merged(entry(a="A", b="B"), first, {"b": found(False)}, {"commit": "2"})
    assert [(each["holds"], both["runs"][each["run"]]["commit"]) for each in both["checks"]] == [(True, "1"), (False, "2")]
    again = merged(entry(a="A", b="B"), both, {"a": found(False)}, {"commit": "3"})
    assert again["verdict"] == "not reproduced" and {run["commit"] for run in again["runs"]} == {"2", "3"}
    moved = merged(entry(a="A", b="B, another threshold"), both, {}, {"commit": "4"})
    assert [each["holds"] for each in moved["checks"]] == [True, None] and len(moved["runs"]) == 1


def test_what_was_measured_is_kept_where_a_later_check_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def raises(folder: Path) -> Finding:
        raise KeyError("mean")

    own = entry(a="A", b="B")
    own.checks["b"] = Check("b", "B", "small", raises)
    monkeypatch.setattr(evidence, "get_claim", lambda key: own)
    monkeypatch.setattr(evidence, "sources", lambda key: "as they are")
    with pytest.raises(KeyError, match="mean"):
        evidence.run("own", results=tmp_path)
    kept = json.loads((tmp_path / "own.json").read_text())
    assert [each["holds"] for each in kept["checks"]] == [True, None] and kept["runs"][0]["sources"] == "as they are"


@pytest.mark.parametrize(
    ("held", "whole"),
    [([True, True], "reproduced"), ([True, None], "partly"), ([True, False], "partly"), ([False, False], "not reproduced"), ([False, None], "untested")],
)
def test_the_whole_verdict_follows_from_the_checks(held: list, whole: str):
    assert verdict([{"holds": each} for each in held]) == whole


def test_a_record_is_stale_once_its_code_does_something_else(monkeypatch: pytest.MonkeyPatch):
    now = evidence.sources("cispo")
    record = recorded("cispo")
    monkeypatch.setattr(evidence, "recorded", lambda key, results: {**record, "runs": [{**record["runs"][0], "sources": now}]})
    assert set(evidence.freshness("cispo").values()) == {"fresh"}
    monkeypatch.setattr(evidence, "recorded", lambda key, results: {**record, "runs": [{**record["runs"][0], "sources": None}]})
    assert set(evidence.freshness("cispo").values()) == {"unknown"}
    monkeypatch.setattr(evidence, "digest", lambda modules: "another")
    monkeypatch.setattr(evidence, "recorded", lambda key, results: {**record, "runs": [{**record["runs"][0], "sources": now}]})
    assert set(evidence.freshness("cispo").values()) == {"changed"}


def test_a_claim_rests_on_the_methods_that_it_names_and_on_what_they_import():
    found = set()

    def kept(modules):
        found.update(modules)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "digest", kept)
        evidence.sources("bnpo")
    assert {"operant.methods.rlvr.credit.bnpo", "operant.methods.rlvr.credit.grpo", "operant.loops.policy_gradient", "operant.worlds.text.engine"} <= found
    assert not any(module.startswith(("operant.cli", "operant.evidence.online")) for module in found)
