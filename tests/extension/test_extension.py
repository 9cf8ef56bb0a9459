"""Operant from outside: a package that is installed registers a method, and plain callables serve as reward, advantage, term and environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from long_tier import in_turn
from short_answers import prefers_short

import operant
from operant import BadInput, RunFailed
from operant.loops.credit import GAE, Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import TermBatch
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.world import GymWorld
from operant.worlds.sequences.problems import SequenceProblem
from operant.worlds.sequences.source import SequenceGroups
from operant.worlds.sequences.world import SequenceWorld
from operant.worlds.text.world import TextWorld

CPU = torch.device("cpu")


# ---------------------------------------------------------------------------------------------------------------------------------- the package


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, process_environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process in which the package is installed."""
    folder = tmp_path_factory.mktemp("outside")
    source = shutil.copytree(Path(__file__).with_name("package"), folder / "source")  # a build writes beside its sources
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    words = ["install", *offline, "--target", str(folder / "site"), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, text=True, env=process_environment)
    return process_environment | {"PYTHONPATH": os.pathsep.join([process_environment["PYTHONPATH"], str(folder / "site")])}


def run(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "operant", *map(str, words)], capture_output=True, text=True, env=environment)


@in_turn("installed package", "src/operant/core/registry", "src/operant/core/index", "src/operant/cli/main")
def test_an_installed_package_registers_a_method(outside, tmp_path: Path):
    """It is listed, shown, trained, resumed and compared like one of the library's own."""
    listed = json.loads(run(outside, "methods", "--json").stdout.splitlines()[-1])
    wanted = {"key": "rank", "name": "Rank policy gradient", "family": "outside", "paper": "none", "spine": "policy gradient", "status": "baseline"}
    assert wanted | {"fails": []} in listed
    done = run(outside, "train", "rank", "--task", "sequences:target", "--steps", 40, "--group-size", 16, "--threads", 1, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["method"] == "rank" and result["score"]["iqm"] > 0.5 > result["base"]["iqm"]


def test_without_the_package_the_method_is_unknown(process_environment):
    done = run(process_environment, "train", "rank", "--task", "sequences:target")
    assert done.returncode == 2 and "unknown method 'rank'" in done.stderr and done.stderr.count("\n") == 1


def test_an_entry_point_that_cannot_be_loaded_is_named(process_environment, tmp_path: Path):
    information = tmp_path / "broken-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[operant.methods]\nmine = a_module_that_is_not_there\n")
    done = run(process_environment | {"PYTHONPATH": os.pathsep.join([process_environment["PYTHONPATH"], str(tmp_path)])}, "methods")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "entry point 'mine' of operant.methods (a_module_that_is_not_there) cannot be loaded: ModuleNotFoundError" in done.stderr


# ------------------------------------------------------------------------------------------------------------------------------- plain callables


def corridor() -> gymnasium.Env:
    """CartPole, rewarded for standing in the middle."""
    return gymnasium.wrappers.TransformReward(gymnasium.make("CartPole-v1"), lambda reward: reward / 2)


def test_an_environment_is_a_callable(tmp_path: Path):
    settings = {"environments": 2, "rollout_length": 32, "hidden": (8,), "threads": 1, "episodes": 2, "every": 64}
    run = operant.train("ppo", task=corridor, steps=128, seeds=2, out=tmp_path / "run", **settings)
    assert run.result["task"] == "gym:test_extension:corridor"
    assert run.policy(np.zeros(4)) in (0, 1)
    with pytest.raises(BadInput, match="say --trust .*: the module test_extension for the task gym:test_extension:corridor"):
        shutil.copytree(tmp_path / "run", tmp_path / "again")
        (tmp_path / "again" / "result.json").unlink()
        operant.resume(tmp_path / "again")
    again = operant.resume(tmp_path / "again", task=corridor)
    assert again.result["score"] == run.result["score"] and again.policy(np.ones(4)) == run.policy(np.ones(4))
    with pytest.raises(BadInput, match="say --trust"):
        operant.load(tmp_path / "run").policy(np.zeros(4))
    for found in (operant.load(tmp_path / "run", task=corridor), operant.load(tmp_path / "run", trust=True)):
        assert found.evaluate(episodes=2, seed=0)["score"] == run.result["score"]


def three_bits(reward) -> SequenceWorld:
    return SequenceWorld(SequenceProblem(2, 3, 1, reward), "mine")


def groups(**parts) -> PolicyGradient:
    """REINFORCE with the group's mean as the baseline, of plain functions."""

    def centred(score: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return score - score.mean(-1, keepdim=True)

    def reinforce(batch: TermBatch) -> torch.Tensor:
        return -batch.advantage * batch.log_prob

    parts = {"credit": Grouped(centred), "terms": [reinforce]} | parts
    return PolicyGradient(sample=SequenceGroups(1, 16), learning_rate=0.1, **parts)


def test_reward_advantage_and_term_are_callables():
    def reward(prompt: int, tokens: tuple[int, ...]) -> float:
        return float(tokens == (1, 0, 1))

    learner = groups().learner(three_bits(reward), [0, 1], 40, CPU)
    before = learner.world.evaluate(learner.policy, 2).values
    metrics = [learner.iterate() for _ in range(40)][-1]
    after = learner.world.evaluate(learner.policy, 2).values
    assert before == pytest.approx(1 / 8) and after.min() > 0.9
    assert metrics["loss/reinforce"].shape == (2,)  # called by the function's name


def squeezed(score: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return score.mean(-1)


def no_number(score: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return score * float("nan")


def a_list(score: torch.Tensor, mask: torch.Tensor) -> list:
    return score.tolist()


def bare(rollout) -> torch.Tensor:
    return rollout.reward.sum(-1)


@pytest.mark.parametrize(
    ("credit", "says"),
    [
        (Grouped(squeezed), r"advantage squeezed gave \[1\] for scores of shape \[1, 16\]"),
        (Grouped(a_list), r"advantage a_list gave list for scores of shape \[1, 16\]"),
        (Grouped(no_number), "credit Grouped gave an advantage that is not finite at step 1"),
        (bare, r"credit bare gave advantages of shape \[1, 16\]; the rollout has \[1, 16, 3\]"),
        (lambda rollout: None, "credit <lambda> gave NoneType"),
    ],
    ids=["shape", "list", "nan", "credit's shape", "none"],
)
def test_a_wrong_advantage_is_named(credit, says: str):
    learner = groups(credit=credit).learner(three_bits(lambda prompt, tokens: sum(tokens)), [0], 10, CPU)
    with pytest.raises(RunFailed, match=says) as told:
        learner.iterate()
    assert "\n" not in str(told.value)


def summed(batch: TermBatch) -> torch.Tensor:
    return -(batch.advantage * batch.log_prob).sum(-1)


def test_a_term_of_the_wrong_shape_is_named():
    learner = groups(terms=[summed]).learner(three_bits(lambda prompt, tokens: sum(tokens)), [0], 10, CPU)
    with pytest.raises(RunFailed, match=r"term summed gave a loss of shape \[1, 16\]; the batch has \[1, 16, 3\].*test_extension.py, line \d+\)$"):
        learner.iterate()


def test_a_reward_that_is_no_number_is_named():
    with pytest.raises(BadInput, match=r"the reward of prompt 0, tokens \[0, 0, 0\] is nan"):
        three_bits(lambda prompt, tokens: float("nan"))


def test_an_advantage_for_control_is_a_callable():
    """A user's own credit in place of GAE: the return to go of each row, without discount."""

    def to_go(rollout) -> torch.Tensor:
        ended = rollout.terminated | rollout.truncated
        credit, total = torch.zeros_like(rollout.reward), torch.zeros_like(rollout.reward[..., 0])
        for step in reversed(range(rollout.reward.shape[-1])):
            total = rollout.reward[..., step] + total * ~ended[..., step]
            credit[..., step] = total
        return credit

    def learner(credit):
        terms = [lambda batch: -batch.advantage * batch.log_prob]
        method = PolicyGradient(policy=ActorCriticNet(hidden=(8,)), sample=Steps(2, 32), credit=credit, terms=terms, learning_rate=0.01)
        return method.learner(GymWorld(corridor), [0], 1_000, CPU)

    ours, gae = learner(to_go), learner(GAE())
    for one in (ours, gae):
        one.iterate()
    assert ours.rollout.extras["advantage"].max() > 2 and torch.equal(ours.rollout.action, gae.rollout.action)
    assert not torch.equal(ours.updater.flat.data, gae.updater.flat.data)


def test_a_reward_of_the_users_own_on_text(use_small_cache, tmp_path):
    world = TextWorld("arithmetic", verifier=prefers_short)
    run = operant.train("grpo", world, steps=2, threads=1, episodes=2, prompts=2, group_size=4, out=tmp_path / "run")
    rows = [json.loads(row) for row in (run.path / "completions.jsonl").read_text().splitlines()]
    assert rows
    for row in rows:
        text = "".join(token["text"] for token in row["tokens"] if token["text"] != "<eos>")
        assert row["reward"] == prefers_short(None, text)


def test_options_that_can_be_set_are_refused():
    """A method's and a study's: messages and pages say that they are frozen."""
    from operant.studies import study

    @dataclass
    class Loose:
        steps: int = 1

    def method_of(h: Loose) -> object: ...

    def study_of(options: Loose, folder: Path, say: Callable[[str], None]) -> object: ...

    for build, register in (
        (method_of, operant.method("loose", family="mine", paper="none", worlds=("gym",))),
        (study_of, study("loose", paper="none", summary="none")),
    ):
        build.__annotations__ |= {name: Loose for name in ("h", "options") if name in build.__annotations__}
        with pytest.raises(TypeError, match="being a frozen dataclass"):
            register(build)
