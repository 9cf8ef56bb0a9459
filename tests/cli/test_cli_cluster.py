"""Members on a Ray cluster: several raylets on this machine, one of which is killed under a training; and what is refused in one line."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operant.cli import agent, cluster
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.tasks import Arithmetic

pytest.importorskip("ray", reason="Ray is not installed: make test-cluster")
pytestmark = pytest.mark.slow
STORE = 80 * 2**20  # bytes of each node's object store, the least that Ray takes
TARGET = ("--task", "sequences:target")
METHOD = """
import time
from dataclasses import dataclass

import operant
from beside import WORDS
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.ops import group_normalized_advantage
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class Slow:
    prompts: int = 2


class Waits:
    def __init__(self, advantage):
        self.advantage = advantage

    def __call__(self, score, mask):
        time.sleep(0.02)
        return self.advantage(score, mask)


@operant.method("slow", family="mine", paper="none", worlds=("sequences",), name=WORDS)
def slow(h: Slow) -> PolicyGradient:
    return PolicyGradient(sample=Groups(h.prompts, 4), credit=Grouped(Waits(group_normalized_advantage)), terms=[ClippedRatio()], learning_rate=0.05)
"""


CARTPOLE = (
    *("ppo", "--task", "gym:CartPole-v1", "--threads", 1, "--episodes", 2, "--every", 256),
    *("--environments", 4, "--rollout-length", 16, "--hidden", 16, "--staleness", 1),
)
BESIDE = ("--sample-workers", 2)


def add_node(raylets: Any) -> None:
    raylets.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE)


@pytest.fixture(scope="session")
def raylets(process_environment: dict[str, str]) -> Iterator[Any]:
    """A head without processors and two nodes of one each, which find the package that is tested; a test that kills one adds another."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "OMP_NUM_THREADS", "OPERANT_CACHE"):
            patch.setenv(name, process_environment[name])
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE})
        for _ in range(2):
            add_node(found)
        yield found
        found.shutdown()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes do not see this machine's files."""
    asks = cluster._Held.ask

    def ask(held, what: str, *arguments) -> None:
        if what == "arrive":
            order = arguments[0]
            order["token"] = ("/nowhere", "")
            order["reads"] = {root: [(name, size, "another") for name, size, _ in files] for root, files in order["reads"].items()}
        asks(held, what, *arguments)

    monkeypatch.setattr(cluster._Held, "ask", ask)


def parent(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


def member_process(out: Path) -> int | None:
    """The process of `operant` that trains a run on some node."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"operant.cli.children" in words and any(word.endswith(os.fsencode(str(out))) for word in words):
            return int(path.parent.name)
    return None


def test_a_comparison_has_the_bits_that_it_has_here(raylets, operant, tmp_path: Path):
    words = ("compare", "--methods", "grpo,rloo", *TARGET, "--steps", 4, "--episodes", 1, "--json")
    here = operant(*words, "--out", tmp_path / "here")
    there = operant(*words, "--out", tmp_path / "there", "--cluster", raylets.address, "--cpus", 1)
    assert (here.code, there.code) == (0, 0), there.err
    assert [row["score"] for row in here.json["rows"]] == [row["score"] for row in there.json["rows"]]
    for key in ("grpo", "rloo"):
        assert operant("diff", tmp_path / "here" / key, tmp_path / "there" / key).code == 0
        assert (tmp_path / "there" / f"{key}.log").read_text()
    assert not (tmp_path / "there" / ".operant-storage").exists()


def test_checks_of_claims_are_measured_on_nodes_that_see_nothing_of_ours(raylets, apart, operant, tmp_path: Path):
    words = ("evidence", "cispo", "--check", "fresh", "--check", "bounded", "--out", tmp_path / "records")
    answer = operant(*words, "--cluster", raylets.address, "--json")
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "records" / "cispo.json").read_text())
    assert [each["name"] for each in record["checks"] if each["holds"]] == ["fresh", "bounded"] and answer.json["measured"] == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--cluster", "127.0.0.1:1"), "--cluster 127.0.0.1:1: nobody answers there: Connection refused"),
        (("--cluster", "ray://127.0.0.1:1"), "--cluster ray://127.0.0.1:1: nobody answers there: Connection refused"),
        (("--cluster", "somewhere"), "--cluster somewhere: give auto, local, ray://HOST:PORT or HOST:PORT, as in 10.0.0.1:6379"),
    ],
)
def test_what_cannot_be_a_cluster_is_one_line(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, line: str):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    answer = operant("train", "ppo", "--task", "gym:CartPole-v1", "--steps", 64, *words, "--out", "run")
    assert answer.code == 2 and line in answer.err and len(answer.err.splitlines()) == 1, answer.err
    assert time.monotonic() - began < 2 * cluster.ANSWERS
    assert not list(tmp_path.iterdir())


def test_what_no_node_has_and_other_versions_are_refused_before_anything_starts(raylets, operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ("train", "grpo", *TARGET, "--steps", 4, "--cluster", raylets.address, "--out", tmp_path / "run")
    answer = operant(*words, "--gpus", 64)
    found = "none of its 3 nodes has 1 processors and 64 GPUs for a member; the largest has 1 processors and 0 GPUs"
    assert answer.code == 2 and answer.err.splitlines() == [f"operant: error: --cluster {raylets.address}: {found}"]
    here = agent.versions()
    monkeypatch.setattr(agent, "versions", lambda: here | {"PyTorch": "1.0.0"})
    answer = operant(*words)
    assert answer.code == 2 and len(answer.err.splitlines()) == 1
    assert f"has PyTorch {here['PyTorch']}, and this machine 1.0.0: a run's bits hang on it; install the same version on both" in answer.err
    assert not (tmp_path / "run").exists()


def test_a_signal_saves_every_member_and_says_how_to_go_on(raylets, start, tmp_path: Path):
    out = tmp_path / "out"
    words = ("train", "grpo", *TARGET, "--steps", 2_000_000, "--seeds", 2, "--cluster", raylets.address, "--out", out)
    process, deadline = start(*words, RAY_AUTH_MODE="disabled"), time.monotonic() + 120
    while not all((out / f"seed-{seed}" / "metrics.jsonl").exists() for seed in (0, 1)):
        assert not process.ended and time.monotonic() < deadline, process.said
        time.sleep(0.05)
    process.send(signal.SIGINT)
    assert process.wait(60) == 130
    told = "operant: error: interrupted, each run's state saved; go on with: operant " + " ".join(map(str, words))
    assert process.said.splitlines()[-1] == told
    for seed in (0, 1):
        assert (out / f"seed-{seed}" / "checkpoints" / "last" / "manifest.json").exists()
        assert "state saved; go on with" in (out / f"seed-{seed}.log").read_text()


def test_a_cluster_of_this_command_alone_ends_with_it(start, tmp_path: Path):
    """And leaves nothing in the home: no token that other clusters would ask for."""
    child = start("train", "grpo", *TARGET, "--steps", 2, "--episodes", 1, "--cluster", "local", "--out", tmp_path / "out", HOME=tmp_path)
    assert child.wait(100) == 0, child.said
    assert (tmp_path / "out" / "seed-0" / "result.json").exists() and not (tmp_path / ".ray").exists()
    below = [path for path in Path("/proc").glob("[0-9]*/environ") if os.fsencode(f"HOME={tmp_path}\0") in readable(path)]
    assert not below, [readable(path.with_name("cmdline")) for path in below]


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_nodes_are_shown(raylets, operant):
    answer = operant("cluster", "status", raylets.address, "--json")
    assert answer.code == 0, answer.err
    assert sorted(node["processors"]["all"] for node in answer.json["nodes"]) == [0, 1, 1]
    assert all(node["ready"] and node["versions"] == agent.versions() for node in answer.json["nodes"])


def test_a_member_whose_node_dies_goes_on_elsewhere(raylets, apart, operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the person wrote reaches nodes that see none of this machine's files, and what was trained there comes back; the bits are those of a run here."""
    (tmp_path / "own.py").write_text(METHOD)
    (tmp_path / "beside.py").write_text('WORDS = "Slow"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ("train", "slow", "--import", "own.py", *TARGET, "--steps", 120, "--every", 40, "--episodes", 1)
    killed = []

    def kill() -> None:
        run = Path("there", "seed-5")
        while not list(run.glob("checkpoints/step-*")):
            time.sleep(0.05)
        raylet = parent(parent(member_process(run.absolute())))
        node = next(node for node in raylets.worker_nodes if node.all_processes["raylet"][0].process.pid == raylet)
        raylets.remove_node(node, allow_graceful=False)
        killed.append(node)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    answer = operant(*words, "--seed", 5, "--cluster", raylets.address, "--out", "there")
    if killed:
        add_node(raylets)
    assert answer.code == 0 and killed, answer.err
    assert "seed-5: lost on " in answer.err and "it goes on elsewhere, from step-" in answer.err, answer.err
    assert operant(*words, "--seed", 5, "--out", "here").code == 0
    assert operant("diff", "here", "there/seed-5").code == 0
    config = json.loads(Path("there", "seed-5", "run.json").read_text())
    assert config["imports"] == [str(tmp_path / "own.py")] and "operant-member" not in json.dumps(config)
    assert not [path for path in Path("/tmp").glob("operant-member-*") if (path / "root" / str(tmp_path).lstrip("/")).exists()]
    assert operant("evaluate", "there/seed-5", "--trust", "--episodes", 1).code == 0


def under(pid: int) -> Iterator[int]:
    """The processes that one has started, and that these have."""
    for child in Path("/proc", str(pid), "task", str(pid), "children").read_text().split():
        yield int(child)
        yield from under(int(child))


def runs(pid: int, what: str) -> bool:
    """Whether a process is of this program, or of this module of Python."""
    words = Path("/proc", str(pid), "cmdline").read_text().split("\0")
    return what in (*words, Path(words[0]).name)


def of_workers() -> list[int]:
    """The processes of a cluster's workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::Host"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_workers_on_nodes_have_the_bits_of_this_machine_and_one_that_is_killed_is_told(raylets, start, operant, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert operant("train", *CARTPOLE, *BESIDE, "--steps", 1024, "--out", here).code == 0
    process = start("train", *CARTPOLE, *BESIDE, "--steps", 1_000_000, "--out", there, "--sample-on", raylets.address, RAY_AUTH_MODE="disabled")
    deadline = time.monotonic() + 120
    while not (there / "checkpoints" / "last").exists():
        assert not process.ended and time.monotonic() < deadline, process.said
        time.sleep(0.05)
    os.kill(of_workers()[0], signal.SIGKILL)
    assert process.wait(120) == 1, process.said
    line = process.said.splitlines()[-1]
    assert line.startswith("operant: error: sample worker ") and f"of 2, on cluster {raylets.address}, is gone (" in line
    assert line.endswith(f"go on with: operant resume {there} --sample-on {raylets.address}")
    assert not of_workers()

    refused = operant("resume", there)
    assert refused.code == 2 and f"had its workers on the Ray cluster {raylets.address}: say --sample-on" in refused.err
    again = tmp_path / "again"
    assert operant("train", *CARTPOLE, *BESIDE, "--steps", 512, "--out", again, "--sample-on", raylets.address).code == 0
    assert operant("resume", again, "--steps", 768, "--sample-on", raylets.address).code == 0
    assert operant("resume", again, "--steps", 1024, "--sample-on", "here").code == 0
    assert "sample_on" not in json.loads((again / "run.json").read_text())
    assert operant("diff", here, again).code == 0


def test_answers_that_are_drawn_on_nodes_have_the_bits_of_this_machine(raylets, operant, tmp_path: Path):
    tokenizer = make_tokenizer(Arithmetic.alphabet)
    for part in (tokenizer, make_model("llama", len(tokenizer), 0, width=16, layers=1, heads=2)):
        part.save_pretrained(tmp_path / "model")
    words = ("train", "grpo", "--task", "text:arithmetic", "--model", tmp_path / "model", "--steps", 3, "--prompts", 4, "--group-size", 4, "--threads", 1)
    words = (*words, "--episodes", 4, "--generation-batch-size", 4)
    for name, beside in (("alone", ()), ("there", ("--sample-workers", 2, "--sample-on", raylets.address))):
        assert operant(*words, *beside, "--out", tmp_path / name).code == 0
    assert operant("diff", tmp_path / "alone", tmp_path / "there").code == 0


def test_what_no_cluster_can_do_for_workers_leaves_nothing(raylets, operant, tmp_path: Path):
    for count, address, line in (
        (4, raylets.address, "the cluster has 2 processors, of which each worker takes one"),
        (2, "127.0.0.1:1", "--sample-on 127.0.0.1:1: nobody answers there: Connection refused"),
    ):
        answer = operant("train", *CARTPOLE, "--steps", 512, "--sample-workers", count, "--sample-on", address, "--out", tmp_path / "run")
        assert answer.code == 2 and line in answer.err and not (tmp_path / "run").exists(), answer.err


@pytest.mark.parametrize("killed", ["raylet", "gcs_server", "operant.core.ray_driver"])
def test_a_ray_that_dies_under_the_trainer_is_one_line_of_a_new_run_and_of_one_that_goes_on(start, tmp_path: Path, killed: str):
    """Ray ends whoever speaks with it, in silence."""
    run = tmp_path / "run"
    for words in (("train", *CARTPOLE, *BESIDE, "--steps", 1_000_000, "--out", run), ("resume", run)):
        process, before = start(*words, "--sample-on", "local"), (run / "metrics.jsonl").stat().st_size if run.exists() else 0
        deadline = time.monotonic() + 120
        while not ((run / "checkpoints" / "last").exists() and (run / "metrics.jsonl").stat().st_size > before):
            assert not process.ended and time.monotonic() < deadline, process.said
            time.sleep(0.05)
        os.kill(next(pid for pid in under(process.pid) if runs(pid, killed)), signal.SIGKILL)
        assert process.wait(120) == 1, process.said
        line = process.said.splitlines()[-1]
        assert line.startswith("operant: error: sample workers on cluster local are gone (the "), process.said
        assert line.endswith(f"go on with: operant resume {run} --sample-on local")
