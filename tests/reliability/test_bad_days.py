"""Full disks, read-only directories, damaged checkpoints, two writers, NaN, failing environments and verifiers: one line each, and nothing is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from long_tier import turns
from safetensors.torch import load_file

import operant
from operant import ops
from operant.cli.main import main
from operant.core import checkpoint
from operant.core.errors import BadInput, RunFailed
from operant.core.run import RunDirectory
from operant.evaluate.records import load_run
from operant.loops.learner import check_finite
from operant.worlds.text.verifiers import VerifierPool
from operant.worlds.text.world import TextWorld

NEWEST, BEFORE = "step-000000000384", "step-000000000256"


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str]]:
    """Exit code and lines of standard error of one command line."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, capsys.readouterr().err.splitlines()


# -------------------------------------------------------------------------------------------------------------------------- damaged checkpoints


def flip(name: str, place: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)

    return damage


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


DAMAGES = {
    "a weight's bit": flip("state.safetensors", -1),
    "a bit of the array index": flip("state.safetensors", 20),
    "a bit of the state": flip("state.json", 30),
    "half of the arrays": cut("state.safetensors"),
    "half of the manifest": cut("manifest.json"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a manifest that is no object": lambda folder: (folder / "manifest.json").write_text("[]"),
    "no arrays": lambda folder: (folder / "state.safetensors").unlink(),
    "an empty folder": empty,
}


@pytest.mark.parametrize("damage", turns(DAMAGES, "src/operant/core/", always=("a weight's bit", "half of the manifest", "an empty folder")))
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage: str, stopped: Path, ppo_runs, capsys):
    DAMAGES[damage](stopped / "checkpoints" / NEWEST)
    code, lines = answer(capsys, "resume", stopped)
    assert code == 0, lines
    told = [line for line in lines if "damaged" in line or "cannot be read" in line]
    assert len(told) == 1 and NEWEST in told[0] and f"going on from {BEFORE}" in told[0]
    assert main(["diff", str(ppo_runs[0]), str(stopped)]) == 0
    rows = (stopped / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(32, 513, 32))  # no row twice


def test_two_damaged_checkpoints_fall_back_to_the_third(stopped: Path, ppo_runs, capsys):
    for name in (NEWEST, BEFORE):
        DAMAGES["half of the arrays"](stopped / "checkpoints" / name)
    code, lines = answer(capsys, "resume", stopped)
    assert code == 0 and sum("going on from step-000000000128" in line for line in lines) == 2
    assert main(["diff", str(ppo_runs[0]), str(stopped)]) == 0


def test_without_a_whole_checkpoint_nothing_is_done(stopped: Path, capsys):
    for folder in (stopped / "checkpoints").glob("step-*"):
        DAMAGES["a weight's bit"](folder)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"}
    code, lines = answer(capsys, "resume", stopped)
    assert code == 2
    assert lines[-1].startswith("operant: error: no checkpoint in ") and NEWEST in lines[-1] and "damaged" in lines[-1]
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"} == before


LOSSES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "half a row": (lambda whole: whole[:-10], r"10 of [\d,]+ bytes are missing and line \d+ cannot be read; its other rows stay, \d+ up to step \d+"),
    "an end of line": (lambda whole: whole[:-1], r"1 of [\d,]+ bytes are missing; its other rows stay, \d+ up to step \d+"),
    "zeros for a row": (lambda whole: whole[:-40] + bytes(40), r"line \d+ cannot be read; its other rows stay"),
    "rows of another kind": (lambda whole: b"[1]\n{}\n" + whole[8:], "line 1 and 2 more cannot be read; its other rows stay"),
    "all rows": (lambda whole: b"", "bytes are missing; no row of it is left"),
    "the file": (lambda whole: None, "bytes are missing; no row of it is left"),
}


@pytest.mark.parametrize("log", ["metrics.jsonl", "evaluations.jsonl"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_log_that_lost_rows_costs_those_alone(loss: str, log: str, stopped: Path, capsys):
    """It is told before anything is trained and kept in the run; the log is one of whole rows, and the run ends."""
    offset = json.loads((stopped / "checkpoints" / NEWEST / "state.json").read_text())["run"]["offsets"][log]
    before = (stopped / log).read_bytes()[:offset]
    left, said = LOSSES[loss][0](before), LOSSES[loss][1]
    (stopped / log).unlink() if left is None else (stopped / log).write_bytes(left)
    code, lines = answer(capsys, "resume", stopped)
    told = next(place for place, line in enumerate(lines) if f"{log} has lost what the checkpoint counts on" in line)
    assert code == 0 and re.search(said, lines[told]) and not any("step 512" in line for line in lines[:told]), lines
    assert lines[told].endswith(RunDirectory.open(stopped).config["notes"][-1])
    old, new = before.splitlines(), (stopped / log).read_bytes().splitlines()
    kept = [row for row in new if row in old]
    assert kept == [row for row in (left or b"").splitlines() if row in old] and {json.loads(row)["step"] for row in new[len(kept) :]} >= {512}
    assert load_run(stopped).result["steps"] == 512


def test_what_a_killed_writer_left_is_no_checkpoint(stopped: Path, ppo_runs, capsys):
    half = stopped / "checkpoints" / ".writing-step-000000000512-12345"
    shutil.copytree(stopped / "checkpoints" / NEWEST, half)
    (half / "manifest.json").unlink()
    (stopped / "checkpoints" / ".last-12345").symlink_to(half.name)
    shutil.copytree(stopped / "policies" / "last" / "seed-0", stopped / "policies" / "last" / ".seed-0-12345")
    (stopped / ".result.json.12345").write_text("{")
    code, lines = answer(capsys, "resume", stopped)
    assert code == 0 and not any("damaged" in line or "cannot be read" in line for line in lines)
    assert [path for path in stopped.rglob(".*")] == []
    assert main(["diff", str(ppo_runs[0]), str(stopped)]) == 0


def test_a_run_of_a_stranger_runs_nothing(stopped: Path, capsys, tmp_path: Path):
    """A pickle in place of the arrays is refused, and not opened."""

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    for folder in (stopped / "checkpoints").glob("step-*"):
        data = pickle.dumps(Trap())
        (folder / "state.safetensors").write_bytes(data)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["state.safetensors"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    code, lines = answer(capsys, "resume", stopped)
    assert code == 2 and "cannot be read" in lines[-1]
    assert not (tmp_path / "sprung").exists()


def test_an_interruption_while_the_base_policy_is_made(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    """It may take minutes: nobody waits for its end, and the run begins again when it is resumed."""

    def make(world, recipe, folder, content, say):
        os.kill(os.getpid(), signal.SIGINT)
        say("looked at once more")
        raise AssertionError("went on")

    monkeypatch.setenv("OPERANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("operant.loops.base_policy._make", make)
    run = tmp_path / "run"
    code, lines = answer(capsys, "train", "grpo", "--task", "text:arithmetic", "--threads", 1, "--out", run)
    assert code == 130 and lines[-1].endswith(f"operant resume {run}") and "base policy" in lines[-1]
    assert (run / "run.json").exists() and not (run / "checkpoints").exists()


# ------------------------------------------------------------------------------------------------------------------------------------- two writers


def test_a_second_writer_is_told_who_holds_the_run(stopped: Path, start):
    with RunDirectory.open(stopped).locked():
        done = start("resume", stopped)
        assert done.wait() == 2
    assert re.search(rf"error: \S+ is being written by another process \(process {os.getpid()} on \S+\); wait for it or stop it\n$", done.said)


# ------------------------------------------------------------------------------------------------------------------------------------------- disks


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory, where this machine lets us mount one."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


WIDE = ("--threads", 1, "--steps", 512, "--every", 128, "--episodes", 1, "--environments", 2, "--rollout-length", 16, "--hidden", "64,64")


def test_a_full_disk_costs_nothing_that_was_saved(tmp_path: Path, capsys):
    """Room for one checkpoint: the second one fails, and when there is room again the run goes on from the first."""
    disk, whole = tmp_path / "disk", tmp_path / "whole"
    with file_system(disk, "size=320k"):
        run = disk / "run"
        code, lines = answer(capsys, "train", "ppo", "--task", "gym:CartPole-v1", *WIDE, "--out", run)
        assert code == 1, lines
        assert lines[-1].startswith(f"operant: error: {run}") or lines[-1].startswith(f"operant: error: checkpoint {run}")
        assert "no space is left on the disk" in lines[-1].lower() or "No space left on device" in lines[-1]
        assert "fault" not in lines[-1]
        checkpoint.load_state(run / "checkpoints" / "last")  # whole
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        code, lines = answer(capsys, "resume", run)
        assert code == 0, lines
        assert answer(capsys, "train", "ppo", "--task", "gym:CartPole-v1", *WIDE, "--out", whole)[0] == 0
        assert main(["diff", str(whole), str(run)]) == 0


@pytest.mark.parametrize("writer", ["checkpoint", "policy", "log", "result"])
def test_a_full_disk_in_every_writer(writer: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = tmp_path / "run"
    if writer == "checkpoint":
        monkeypatch.setattr("operant.core.checkpoint.save_file", full)
    elif writer == "policy":
        monkeypatch.setattr("operant.loops.policy_files.save_file", full)
    elif writer == "result":
        monkeypatch.setattr("operant.core.run.RunDirectory.write_result", full)
    else:
        place = RunDirectory.append.__globals__["open_in_place"]
        monkeypatch.setattr("operant.core.run.open_in_place", lambda path, flags: open("/dev/full", "r+b") if path.suffix == ".jsonl" else place(path, flags))
    code, lines = answer(capsys, "train", "ppo", "--task", "gym:CartPole-v1", *WIDE, "--out", run)
    assert code == 1
    assert "space" in lines[-1].lower() and str(run) in lines[-1] and "fault" not in lines[-1] and f"operant resume {run}" in lines[-1]
    assert [path for path in run.rglob(".*")] == []


def test_nothing_can_be_written_there(tmp_path: Path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "run"):
        code, lines = answer(capsys, "train", "ppo", "--task", "gym:CartPole-v1", *WIDE, "--out", out)
        assert code == 2 and len(lines) == 1 and str(out) in lines[0] and "--out" in lines[0]


def test_a_read_only_directory(tmp_path: Path, capsys):
    disk = tmp_path / "disk"
    with file_system(disk, "size=1m,ro"):
        code, lines = answer(capsys, "train", "ppo", "--task", "gym:CartPole-v1", *WIDE, "--out", disk / "run")
        assert code == 2 and len(lines) == 1
        assert f"cannot write a run to {disk / 'run'}: Read-only file system; choose another --out" in lines[0]


def test_a_directory_that_became_read_only(stopped: Path, tmp_path: Path, capsys):
    disk = tmp_path / "disk"
    with file_system(disk, "size=10m"):
        run = disk / "run"
        shutil.copytree(stopped, run, symlinks=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, lines = answer(capsys, "resume", run)
        assert code in (1, 2) and "Read-only file system" in lines[-1] and str(run) in lines[-1] and "fault" not in lines[-1]


@pytest.mark.parametrize("words", [("report",), ("evaluate", "--episodes", 1), ("diff",)], ids=lambda words: words[0])
def test_a_read_only_run_is_read(stopped: Path, tmp_path: Path, capsys, words: tuple):
    disk, page = tmp_path / "disk", tmp_path / "page.html"
    with file_system(disk, "size=10m"):
        shutil.copytree(stopped, disk / "run", symlinks=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        more = {"report": ("--out", page), "diff": (stopped,)}.get(words[0], ())
        code, lines = answer(capsys, words[0], disk / "run", *words[1:], *more)
    assert code == 0, lines
    assert page.exists() == (words[0] == "report")


# --------------------------------------------------------------------------------------------------------------------------------------------- NaN


class Counting(gymnasium.Env):
    """A task of 20 steps an episode whose reward, and whether it raises, depends on how many steps were made."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, *, fault: str, at: int):
        self.fault, self.at, self.steps = fault, at, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        reward = 1.0
        if self.steps >= self.at:
            if self.fault == "raise":
                raise ZeroDivisionError("the wheel came off\nand rolled away")
            reward = {"nan": float("nan"), "huge": 1e25}[self.fault]
        return np.full(2, 0.5, np.float32), reward, self.steps % 20 == 0, False, {}


def wheels(fault: str, at: int) -> Callable[[], gymnasium.Env]:
    return partial(Counting, fault=fault, at=at)


SMALL_PPO = {"environments": 1, "rollout_length": 50, "hidden": (8,), "threads": 1, "episodes": 1, "every": 200, "steps": 2_000}


def test_an_environment_that_raises_in_step_1000(tmp_path: Path):
    with pytest.raises(RunFailed) as told:
        operant.train("ppo", wheels("raise", 1_000), out=tmp_path / "run", **SMALL_PPO)
    line = str(told.value)
    assert "\n" not in line and "Counting" in line and "ZeroDivisionError" in line and "the wheel came off" in line and "999" in line
    assert (tmp_path / "run" / "checkpoints" / "last").resolve().name == "step-000000000800"


def test_a_reward_that_is_nan_names_the_environment(tmp_path: Path):
    with pytest.raises(RunFailed, match="Counting.*reward.*nan") as told:
        operant.train("ppo", wheels("nan", 30), out=tmp_path / "run", **SMALL_PPO)
    assert "\n" not in str(told.value)


def test_a_loss_that_overflows_stops_the_run_with_its_batch(tmp_path: Path):
    with pytest.raises(RunFailed) as told:
        operant.train("ppo", wheels("huge", 230), out=tmp_path / "run", **SMALL_PPO)
    found = re.fullmatch(
        r"the loss is not finite: term 'value' was inf at step 250, update 1 of the iteration, seed 0; its batch is in (\S+); "
        r"the last checkpoint is from before it; try a lower --learning-rate, or smaller rewards",
        str(told.value),
    )
    assert found, told.value
    batch = load_file(found[1])
    assert batch["returns"].max() > 1e24 and {"inputs.observation", "action", "advantage", "old_log_prob", "mask"} <= batch.keys()
    assert (tmp_path / "run" / "checkpoints" / "last").resolve().name == "step-000000000200"
    assert not (tmp_path / "run" / "result.json").exists()


def test_value_learning_stops_too(tmp_path: Path):
    def pendulum() -> gymnasium.Env:
        return gymnasium.wrappers.TransformReward(gymnasium.make("Pendulum-v1"), lambda reward: reward * 1e25)

    small = {"hidden": (8,), "learning_starts": 20, "batch_size": 8, "steps": 400, "threads": 1, "episodes": 1}
    with pytest.raises(RunFailed, match="term 'critic' was inf at step 100, update 1 of the iteration in phase actor.*, seed 0; its batch is in") as told:
        operant.train("sac-v2", pendulum, out=tmp_path / "run", **small)
    batch = load_file(re.search(r"is in (\S+);", str(told.value))[1])
    assert batch["reward"].abs().max() > 1e24 and batch["observation"].shape == (1, 8, 3)


@pytest.mark.parametrize(("method", "task", "phase"), [("sac-v2", "gym:Pendulum-v1", "actor+q+scalars"), ("dqn", "gym:CartPole-v1", "q")])
def test_values_that_explode_stop_the_run(method: str, task: str, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before they overflow, with what there could be at most; the checkpoint from before is whole, and a run on it goes on where the cause is gone."""
    small = {"hidden": (8,), "learning_starts": 20, "batch_size": 8, "threads": 1, "episodes": 1, "every": 100}
    calls, target = count(), ops.td_target
    with monkeypatch.context() as context:
        context.setattr(ops, "td_target", lambda *arguments, **options: target(*arguments, **options) * 4.0 ** (max(next(calls) - 100, 0) / 4))
        with pytest.raises(RunFailed) as told:
            operant.train(method, task, out=tmp_path / "run", steps=400, **small)
    said = rf"values explode: a target of phase {re.escape(phase)} was \S+ at step (\d+), seed 0, where rewards of at most \S+ and the discount allow \S+; "
    found = re.match(said + r"its batch is in (\S+); the last checkpoint is from before it; try a lower --learning-rate", str(told.value))
    assert found and load_file(found[2])["reward"].shape == (1, 8)
    assert (tmp_path / "run" / "checkpoints" / "last").resolve().name == f"step-{int(found[1]) - 100:012d}"
    assert operant.resume(tmp_path / "run").result["steps"] == 400


@dataclass(frozen=True)
class TurnsNaN:
    """A term that is NaN for the second seed's chosen steps from the third rollout on."""

    name = "turned"
    needs = frozenset()

    def __call__(self, batch):
        wrong = batch.old_log_prob.new_zeros(batch.mask.shape)
        wrong[1] = float("nan")
        TurnsNaN.calls += 1
        return batch.log_prob * 0 + (wrong if TurnsNaN.calls > 8 else 0)

    calls = 0


def test_a_term_that_turns_nan_is_named_with_its_step_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("operant.loops.on_policy.EntropyBonus", lambda coefficient: TurnsNaN())
    monkeypatch.setattr(TurnsNaN, "calls", 0)
    settings = {"environments": 2, "rollout_length": 16, "epochs": 2, "minibatches": 2, "entropy_coefficient": 0.1, "hidden": (8,)}
    with pytest.raises(RunFailed, match="term 'turned' was nan at step 96, update 1 of the iteration, seed 6; its batch is in") as told:
        operant.train("ppo", "gym:CartPole-v1", seeds=2, seed=5, steps=320, threads=1, episodes=1, out=tmp_path / "run", **settings)
    batch = load_file(re.search(r"is in (\S+);", str(told.value))[1])
    assert batch["mask"].shape == (2, 16) and torch.isfinite(batch["advantage"]).all()


def test_finite_losses_pass():
    check_finite(None, ["a"], torch.zeros(2, 1, 3), torch.zeros(2, 3), None)


# --------------------------------------------------------------------------------------------------------------------------------------- verifiers


@pytest.mark.parametrize(("verdict", "status"), [("hang", "timeout"), ("eat_memory", "crashed"), ("fork_and_print", "crashed")])
def test_a_run_goes_on_whatever_its_verifier_does(verdict: str, status: str, use_small_cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every answer's scoring fails: the log says how, no answer is rewarded or punished, and the policy stands still."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr("operant.worlds.text.references.check_verifier", lambda *given, **named: None)  # it fails once the run goes
    world = TextWorld("arithmetic", verifier=VerifierPool(f"misbehaving:{verdict}", workers=2, time_limit=0.05 if verdict == "hang" else 60.0))
    run = operant.train("grpo", world, steps=2, threads=1, episodes=1, prompts=1, group_size=2, out=tmp_path / "run")
    rows = [json.loads(row) for row in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row[f"score/{status}"] for row in rows] == [1.0, 1.0]
    assert [row["gradient_norm"] for row in rows] == [0.0, 0.0]
    assert run.result["score"] == run.result["base"]
    described = [json.loads(row) for row in (run.path / "completions.jsonl").read_text().splitlines()]
    assert {row["status"] for row in described} == {status}


def test_bad_input_is_told_before_anything_is_made(tmp_path: Path):
    with pytest.raises(BadInput):
        operant.train("ppo", wheels("raise", 1), out=tmp_path / "run", steps=0)
    assert not (tmp_path / "run").exists()
