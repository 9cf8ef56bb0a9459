"""Environments without an end: evaluation is cut and told, and training is kept before it."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import operant
from operant.cli.training import result_text
from operant.core.errors import RunFailed
from operant.loops import runner
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.world import GymWorld

PPO = {"steps": 32, "every": 16, "environments": 2, "rollout_length": 8, "minibatches": 1, "epochs": 1, "hidden": (4,), "episodes": 3}


class Endless(gymnasium.Env):
    """Gives 1 a step; ends at step `end` of an episode where there is one, and fails at step `fails` of its life."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)
    fails = None

    def __init__(self, end=None):
        self.end, self.life = end, 0

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        self.life += 1
        if self.life == Endless.fails:
            raise RuntimeError("motor lost")
        return np.zeros(1, np.float32), 1.0, self.count == self.end, False, {}


def test_episodes_are_cut_and_count_as_they_stand():
    world = GymWorld(Endless)
    played = run_episodes(world.make, world.random_policy().act, 1, 2, 0, 20)
    assert played.total.tolist() == [[20.0, 20.0]] and played.length.tolist() == [[20, 20]]
    assert played.truncated.tolist() == [[True, True]] and not played.terminated.any()
    played = run_episodes(GymWorld(lambda: Endless(20)).make, world.random_policy().act, 1, 2, 0, 20)
    assert not played.truncated.any() and played.terminated.all()  # the last step that it is given is its end


def test_an_endless_evaluation_is_told_in_log_result_and_progress(tmp_path):
    heard = []
    run = operant.train("ppo", Endless, out=tmp_path / "run", max_evaluation_steps=25, seeds=2, listener=lambda update: heard.append(update.message), **PPO)
    assert run.result["score"]["iqm"] == 25.0
    assert run.result["truncated_episodes"] == 6
    rows = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["base"], row["truncated"]) for row in rows] == [(True, 3)] * 2 + [(False, 3)] * 4
    (told,) = [line for line in heard if "truncated" in line]
    assert "6 of 6 evaluation episodes at step 0 of 32 were still going on after 25 steps and were truncated there" in told
    assert run.evaluate(episodes=2)["score"]["iqm"] == 25.0


def test_a_run_says_before_it_trains_that_it_will_evaluate_for_longer(tmp_path, monkeypatch):
    """3 evaluations of 3 episodes of 200 steps are 1,800, beside 32 of training."""
    heard = []
    given = PPO | {"listener": lambda update: heard.append(update.message), "max_evaluation_steps": 200}
    operant.train("ppo", Endless, out=tmp_path / "fast", **given)
    assert not any("beside" in line for line in heard)  # and takes no time
    monkeypatch.setattr(runner, "SLOW", 0.0)
    run = operant.train("ppo", Endless, out=tmp_path / "slow", seeds=2, **given)
    (told,) = [line for line in heard if "beside" in line]
    assert "3 evaluations of 3 episodes, each of up to 200 steps, are some 1,800 steps beside 32 of training" in told and "--max-evaluation-steps caps" in told
    operant.train("ppo", Endless, out=tmp_path / "short", **given | {"max_evaluation_steps": 25})  # 225 steps
    assert len([line for line in heard if "beside" in line]) == 1
    told = result_text(run.result | {"evaluation_seconds": 90.0, "seconds": 100.0}, run.config)
    assert "--every and --episodes set how many, --max-evaluation-steps how long" in told


def test_ended_episodes_are_not_told(tmp_path):
    run = operant.train("ppo", lambda: Endless(9), out=tmp_path / "run", **PPO)
    assert "truncated_episodes" not in run.result


def test_training_is_kept_before_an_evaluation_that_fails(tmp_path, monkeypatch):
    """The environment fails within the first evaluation after training began; what was trained is in a checkpoint, and the resumed run ends as one that never
    stopped."""
    expected = operant.train("ppo", Endless, out=tmp_path / "whole", max_evaluation_steps=25, **PPO)

    def listen(update):
        if update.step == 16:
            monkeypatch.setattr(Endless, "fails", 20)  # a training row makes 8 steps before this evaluation

    with pytest.raises(RunFailed, match="motor lost"):
        operant.train("ppo", Endless, out=tmp_path / "run", max_evaluation_steps=25, listener=listen, **PPO)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if not path.is_symlink()] == ["step-000000000016"]
    monkeypatch.setattr(Endless, "fails", None)
    run = operant.resume(tmp_path / "run", task=Endless)
    assert run.result["score"] == expected.result["score"]
    logs = [(path / "evaluations.jsonl").read_text() for path in (run.path, expected.path)]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 3


def test_what_learns_is_evaluated_before_training_and_a_fixed_policy_once(tmp_path):
    run = operant.train("ppo", lambda: Endless(9), out=tmp_path / "run", **PPO)
    rows = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["step"], row["base"]) for row in rows] == [(0, True), (16, False), (32, False)]
    assert "base" not in run.result
    run = operant.train("random", lambda: Endless(9), out=tmp_path / "random", steps=32, episodes=3)
    rows = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["step"], row["base"]) for row in rows] == [(32, False)]
