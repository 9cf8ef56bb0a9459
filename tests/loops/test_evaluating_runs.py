"""A run that is opened again scores its policies as the training did, whatever it was asked before."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import operant
from operant.core.errors import BadInput
from operant.worlds.text import preferences

SMALL = {"threads": 1, "progress": False, "seeds": 2, "episodes": 4}
RUNS = {
    "ppo": ("gym:CartPole-v1", 64, {"environments": 2, "rollout_length": 16, "hidden": (8,)}),
    "recurrent-ppo": ("gym:CartPole-v1", 64, {"environments": 2, "rollout_length": 16, "hidden": (8,), "minibatches": 2}),
    "random": ("gym:Pendulum-v1", 1, {}),
    "mappo": ("agents:spread", 64, {"environments": 2, "rollout_length": 16, "hidden": (8,)}),
    "map-elites": ("gym:point-maze", 64, {"cells": 8, "members": 4, "episode_steps": 8}),
    "awm": ("generative:mixture", 1, {"prompts": 1, "group_size": 2}),
    "vi-lcb": ("tabular:bandit", 1, {}),
    "grpo": ("text:arithmetic", 1, {"prompts": 2, "group_size": 2}),
    "dpo": ("preferences:arithmetic", 2, {"batch_size": 4}),
    "reward-model": ("preferences:arithmetic", 2, {"batch_size": 4}),
}


@pytest.mark.parametrize("method", RUNS)
def test_a_run_that_is_opened_again_scores_as_the_training_did(method: str, use_small_cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(preferences, "MADE", 64)
    task, steps, settings = RUNS[method]
    trained = operant.train(method, task, steps=steps, out=tmp_path / "run", **SMALL, **settings)
    opened = operant.load(trained.path)
    for _ in range(2):
        assert opened.evaluate(seed=0, episodes=4)["score"]["per_seed"] == trained.result["score"]["per_seed"]
        try:
            opened.evaluate(decoder="greedy", episodes=4)  # the next one has no decoder again
        except BadInput as error:
            assert "leave --decoder out" in str(error) and method != "grpo"
        try:
            opened.policy(np.zeros(4))  # and may have acted
        except BadInput:
            pass


@pytest.mark.parametrize("task", ["gym:CartPole-v1", "agents:spread"])
def test_a_random_policy_is_its_seed_s(task: str, tmp_path: Path):
    both, alone = (operant.train("random", task, seed=seed, out=tmp_path / str(seed), **SMALL | {"seeds": seeds}) for seed, seeds in ((3, 2), (4, 1)))
    first, second = both.result["score"]["per_seed"]
    assert second == alone.result["score"]["per_seed"][0] != first


def test_nothing_and_too_much_to_act_on(tmp_path: Path):
    """No observation, or several of one agent: neither is acted on, by a policy that remembers as little as by one that does not."""
    for method in ("ppo", "recurrent-ppo", "mappo"):
        task, steps, settings = RUNS[method]
        run = operant.train(method, task, steps=steps, out=tmp_path / method, **SMALL, **settings)
        size = 4 if task.startswith("gym:") else run.world.observation_space.shape[0]
        for nothing in (np.zeros((0, size)), np.zeros((2, size))):
            if task.startswith("agents:"):
                with pytest.raises(BadInput, match=f"agent_0 has {len(nothing)} observations"):
                    run.player()({"agent_0": nothing})
            elif not len(nothing):
                with pytest.raises(BadInput, match="no observation is given"):
                    run.player()(nothing)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task, steps, settings = RUNS["ppo"]
    return operant.train("ppo", task, steps=steps, out=tmp_path_factory.mktemp("finished") / "run", **SMALL, **settings).path


def renamed(file: Path) -> None:
    save_file({f"x{name}": value for name, value in load_file(file).items()}, file)


def widened(file: Path) -> None:
    save_file({name: torch.cat([value, value], -1) for name, value in load_file(file).items()}, file)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "other names": (renamed, r"policy.safetensors does not fit ppo on gym:CartPole-v1: [\w.]+ is not there in it, \[1[\d, ]*\] here"),
    "other shapes": (widened, r"policy.safetensors does not fit ppo on gym:CartPole-v1: [\w.]+ is \[[\d, ]+\] in it, \[[\d, ]+\] here"),
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-10]), "is damaged or was cut short .*; more steps of training write it again"),
    "gone": (lambda file: shutil.rmtree(file.parent), "no policy in .*: it is gone; more steps of training write it again"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_policy_that_is_lost_says_what_of_it_and_how_it_comes_back(fault: str, finished: Path, tmp_path: Path):
    run = Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))
    change, said = FAULTS[fault]
    change(run / "policies" / "last" / "seed-0" / "policy.safetensors")
    with pytest.raises(BadInput) as refused:
        operant.load(run).evaluate(episodes=1)
    assert re.search(said, str(refused.value)) and "\n" not in str(refused.value)
    if told := re.search(r"go on with: operant resume \S+ --steps (\d+)$", str(refused.value)):
        assert operant.resume(run, steps=int(told[1]), progress=False).evaluate(episodes=1)["score"]
    assert bool(told) == ("again" in said)
    (run / "result.json").unlink()
    shutil.rmtree(run / "policies")
    with pytest.raises(BadInput, match="the run has not been evaluated yet; go on with: operant resume [^ ]+$"):
        operant.load(run).evaluate(episodes=1)
