"""Members in processes of this machine: seeds of a training apart, one that fails among others, and what of this machine a member would need elsewhere."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from operant.cli.children import Ending
from operant.cli.cluster import brought
from operant.cli.members import Member
from operant.core.errors import BadInput, Interrupted

CARTPOLE = ("train", "ppo", "--task", "gym:CartPole-v1", "--steps", "64")
FAILS = """
import time
from dataclasses import dataclass

import operant
from operant.core.errors import RunFailed
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.ops import group_normalized_advantage
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class Sometimes:
    breaks: bool = False


def broken(score, mask):
    raise RunFailed("it broke")


@operant.method("sometimes", family="mine", paper="none", worlds=("sequences",))
def sometimes(h: Sometimes) -> PolicyGradient:
    return PolicyGradient(sample=Groups(2, 4), credit=Grouped(broken if h.breaks else group_normalized_advantage), terms=[ClippedRatio()])
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--cpus", "2"), "--cpus goes with --cluster: what runs on this machine takes what is there"),
        (("--jobs", "2", "--gpus", "1"), "--gpus goes with --cluster: what runs on this machine takes what is there"),
        (("--cluster", "local", "--gpus", "1.5"), "'1.5' is no number of them; it must be whole, or a part of one as in 0.5"),
        (("--jobs", "2", "--from", "runs/x"), "--from hands the policies of one run to the seeds of another: it goes without --jobs and --cluster"),
        (("--cluster", "local", "--device", "cuda"), "--device cuda: a task of a cluster sees the GPUs that it asks for; give --gpus 1"),
        (("--cluster", "local"), "--cluster needs ray: pip install 'operant[cluster]'"),
    ],
)
def test_places_that_cannot_be_are_one_line(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, line: str):
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = operant(*CARTPOLE, *words, "--out", tmp_path / "run")
    assert answer.code == 2 and line in answer.err and len(answer.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_one_that_fails_leaves_the_others_to_go_on(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And the bits are those of a run by itself."""
    (tmp_path / "own.py").write_text(FAILS)
    monkeypatch.chdir(tmp_path)
    words = ("--task", "sequences:target", "--steps", 2, "--episodes", 1, "--import", "own.py")
    answer = operant("compare", "--methods", "sometimes,grpo", *words, "--sometimes.breaks", "true", "--seed", 3, "--jobs", 2, "--out", "both")
    assert answer.code == 1
    told = f"sometimes ended with code 1: it broke; the log is {tmp_path}/both/sometimes.log; the others (1) are done, and the same command goes on"
    assert answer.err.splitlines()[-1].startswith(f"operant: error: {told}")
    apart = operant("train", "grpo", *words, "--seed", 3, "--jobs", 2, "--out", "apart")
    assert apart.code == 0 and Path("apart/report.html").exists(), apart.err
    assert operant("diff", "both/grpo", "apart/seed-3").code == 0
    assert "seed-3: finished before" in operant("train", "grpo", *words, "--seed", 3, "--jobs", 2, "--out", "apart").err


def test_checks_are_measured_apart_and_recorded_in_a_folder(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ("evidence", "cispo", "--check", "fresh", "--check", "bounded")
    answer = operant(*words, "--jobs", 2, "--out", "records")
    assert answer.code == 0 and "cispo bounded: begun, log in records/cispo/bounded.log" in answer.err, answer.err
    record = json.loads(Path("records/cispo.json").read_text())
    asked = [each for each in record["checks"] if each["holds"]]
    assert [each["name"] for each in asked] == ["fresh", "bounded"] and len(record["runs"]) == 2 and answer.out.count("holds") == 2
    assert record["runs"][asked[0]["run"]]["command"] == "operant evidence cispo --check fresh"
    again = operant(*words, "--jobs", 2, "--out", "records")
    assert again.code == 0 and again.err == "every check that was asked for is recorded of the code as it is, in records\n"
    assert again.out == answer.out and "verdict" not in answer.out and f"2 of {len(record['checks'])} checks" in answer.out
    assert "records/cispo.json" in answer.out and answer.out.count("  seeds ") == sum(each["seeds"] > 0 for each in asked) < 2
    left = {row["check"]: row["code"] for row in operant("evidence", "cispo", "--stale", "--out", "records", "--json").json}
    assert left and "fresh" not in left and set(left.values()) == {"untested"}


def test_what_a_check_lost_does_not_cost_the_others(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("records/cispo").mkdir(parents=True)
    Path("records/cispo/fresh").write_text("a file where its folder would be")
    answer = operant("evidence", "cispo", "--check", "fresh", "--check", "bounded", "--jobs", 2, "--out", "records")
    assert answer.code == 1 and "cispo fresh ended with code 2" in answer.err.splitlines()[-1]
    assert [each["name"] for each in json.loads(Path("records/cispo.json").read_text())["checks"] if each["holds"]] == ["bounded"]


NO_RUN = {"name": "fresh", "says": "x", "tier": "exact", "holds": True, "run": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{broken", "cispo.json"),
        ("[]", "must be an object"),
        (json.dumps({"key": "cispo", "verdict": "partly", "checks": [NO_RUN], "runs": []}), "run 3, of 0"),
    ],
)
def test_a_folder_of_records_that_are_none_is_one_line(operant, tmp_path: Path, text: str, said: str):
    (tmp_path / "cispo.json").write_text(text)
    for words in (("--check", "fresh"), ("--list",), ("--stale",)):
        answer = operant("evidence", "cispo", *words, "--out", tmp_path)
        assert answer.code == 2 and said in answer.err and len(answer.err.splitlines()) == 1 and answer.out == "", answer.err
    assert (tmp_path / "cispo.json").read_text() == text


def test_a_folder_that_is_not_there_or_cannot_be_written_to_is_one_line(operant, tmp_path: Path):
    answer = operant("evidence", "--list", "--out", tmp_path / "nowhere")
    assert answer.code == 2 and f"--out {tmp_path / 'nowhere'}: there is no such folder" in answer.err
    (tmp_path / "file").touch()
    answer = operant("evidence", "cispo", "--check", "fresh", "--out", tmp_path / "file" / "records")
    assert answer.code == 2 and answer.out == "" and "is no directory" in answer.err
    for jobs in ((), ("--jobs", 2)):  # root may do everything there, but no file can be
        answer = operant("evidence", "cispo", "--check", "fresh", *jobs, "--out", "/proc/records")
        assert answer.code == 2 and answer.out == "" and "/proc takes no file" in answer.err and len(answer.err.splitlines()) == 1


def member(imports: tuple[str, ...] = (), **config) -> Member:
    return Member("it", Path("run"), (), imports, {"task": "sequences:target", "options": {}} | config)


def test_what_a_member_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"own.py": "import beside, torch\n", "beside.py": "from inner import x\n", "judge.py": "", "problems.jsonl": "", "other.py": ""}.items():
        Path(name).write_text(text)
    for name in ("inner", "model"):
        Path(name).mkdir()
        (tmp_path / name / "__init__.py").write_text("x = 1\n")
    found, paths = brought(member((str(tmp_path / "own.py"),)))
    assert set(found) == {tmp_path / "own.py", tmp_path / "beside.py", tmp_path / "inner"} and paths == [str(tmp_path)]
    options = {"verifier": "judge:score", "model": str(tmp_path / "model"), "evaluate_with": "numeric"}
    found, paths = brought(member(task=f"file:{tmp_path / 'problems.jsonl'}", options=options))
    assert set(found) == {tmp_path / "judge.py", tmp_path / "model", tmp_path / "problems.jsonl"} and paths == [str(tmp_path)]
    assert brought(member(task="gym:numpy:Id")) == ([], [])  # what is installed here must be installed there
    with pytest.raises(BadInput, match="the module nowhere is not found on this machine: it cannot be brought to a node"):
        brought(member(task="gym:nowhere:Id"))


def test_a_signal_that_a_library_makes_its_own_of_is_told_as_ours():
    """Ray's calls end with a bare KeyboardInterrupt whatever the handler of the signal raised."""

    class Work(Ending):
        def end(self) -> None:
            pass

        def wait(self) -> None:
            pass

    with pytest.raises(Interrupted, match="go on with: it"), Work("go on with: it"):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
