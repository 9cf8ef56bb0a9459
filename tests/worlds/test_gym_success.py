"""Whether an episode succeeded (`info["is_success"]` at its end) is counted in training and in evaluations, however its rows are stepped."""

import json
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import operant
from operant.cli.training import result_text
from operant.core.errors import RunFailed
from operant.evaluate.compare import compare
from operant.evaluate.records import load_run
from operant.loops.results import stack_evaluations
from operant.loops.track import TRACKERS
from operant.worlds.gym.adapter import GymnasiumEnvironments, VectorEnvironments
from operant.worlds.gym.collect import episode_means
from operant.worlds.gym.examine import examine
from operant.worlds.gym.experience import Stream
from operant.worlds.gym.tensors import TensorEnvironment
from operant.worlds.gym.world import GymWorld


class Guess(gymnasium.Env):
    """Four steps; the last action says whether it succeeds. `says` makes of that what stands in the last info; None for nothing."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    says = staticmethod(bool)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {}

    def step(self, action):
        self.count += 1
        over = self.count == 4
        info = {"is_success": self.says(action)} if over and self.says is not None else {}
        return self._seen(), float(action), over, False, info

    def _seen(self):
        return np.array([self.count / 4, 0.5], np.float32)


class Robot(Guess):
    """As Gymnasium-Robotics: a float32 in every step's info."""

    def step(self, action):
        seen, reward, over, _, _ = super().step(action)
        return seen, reward, False, over, {"is_success": np.float32(action)}


class Silent(Guess):
    says = None


class Endless(Guess):
    def step(self, action):
        seen, reward, _, _, _ = super().step(action)
        return seen * 0, reward, False, False, {}


class Says(TensorEnvironment):
    """On tensors, four steps of which none succeeds."""

    observation_space, action_space = Guess.observation_space, Guess.action_space

    def reset(self, which, seed=None):
        self.count = torch.where(which, 0, getattr(self, "count", torch.zeros(self.num_envs)))
        return torch.full((self.num_envs, 2), 0.5)

    def step(self, action):
        self.count = self.count + 1
        return torch.full((self.num_envs, 2), 0.5), action.float(), self.count == 4, self.count < 0

    def success(self):
        return self.count < 0


def vectors(env, num_envs):
    return SyncVectorEnv([env] * num_envs)


TINY = {
    "ppo": {"steps": 64, "every": 32, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (4,)},
    "recurrent-ppo": {"steps": 64, "every": 32, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (4,)},
    "dqn": {"steps": 64, "every": 32, "learning_starts": 40, "hidden": (4,), "batch_size": 4},
    "stream-q": {"steps": 64, "every": 32, "hidden": (4,)},
}


def trained(method, task, folder, **given):
    return operant.train(method, task, out=folder, episodes=3, progress=False, **TINY[method] | given)


def rows_of(run, file):
    return [json.loads(line) for line in (run.path / file).read_text().splitlines()]


class Sparing(Guess):
    """Speaks of successes alone."""

    def step(self, action):
        *step, info = super().step(action)
        return *step, info if info.get("is_success") else {}


def played(environments, actions):
    """Of each step, what is said of success in the rows: None where nothing is spoken of it, -1 where nothing is said of a row."""
    environments.reset()
    found = [environments.step(np.array([action, 1 - action])).success for action in actions]
    environments.close()
    return [None if said is None else np.nan_to_num(said, nan=-1.0).tolist() for said in found]


class Acts:
    def __init__(self, action):
        self.action = action

    def act(self, observation, carry):
        return np.full(observation.shape[:2], self.action), None


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
@pytest.mark.parametrize("env", [Guess, Robot])
def test_success_is_read_at_the_end_of_episodes(env, mode):
    """Two rows with opposite actions; under NEXT_STEP the fifth step is the reset's."""
    rows = GymnasiumEnvironments(env, [1, 2], "x") if mode is None else VectorEnvironments(SyncVectorEnv([env] * 2, autoreset_mode=mode), [1, 2], "x")
    found = played(rows, [0, 0, 0, 1, 0, 0, 0, 0, 0])
    second = 8 if mode is AutoresetMode.NEXT_STEP else 7
    assert [place for place, said in enumerate(found) if said not in (None, [-1.0, -1.0])] == [3, second]
    assert all((said is None) == (env is Guess) for place, said in enumerate(found) if place not in (3, 4, second))  # a reset's info has nothing of it
    assert found[3] == [1.0, 0.0] and found[second] == [0.0, 1.0]


def test_only_rows_that_end_are_told_of():
    class Long(Guess):
        def step(self, action):
            seen, reward, _, _, _ = super().step(action)
            return seen * 0, reward, self.count == 5, False, {"is_success": True}

    makes = iter([Guess, Long])
    rows = VectorEnvironments(SyncVectorEnv([Guess, Long], autoreset_mode=AutoresetMode.DISABLED), [1, 2], "x")
    assert played(rows, [0, 0, 0, 1, 0]) == [[-1.0, -1.0]] * 3 + [[1.0, -1.0], [-1.0, 1.0]]
    assert played(GymnasiumEnvironments(lambda: next(makes)(), [1, 2], "x"), [0, 0, 0, 1, 0]) == [[-1.0, -1.0]] * 3 + [[1.0, -1.0], [-1.0, 1.0]]
    assert played(GymnasiumEnvironments(Silent, [1, 2], "x"), [0] * 5) == [None] * 5


@pytest.mark.parametrize("said", ["yes", 2, np.zeros(2), float("nan"), [0, [1]], 10**400])
def test_what_is_no_success_is_a_broken_rule(said):
    class Odd(Guess):
        says = staticmethod(lambda action: said)

    with pytest.raises(RunFailed, match="info.'is_success'. is .*; it is True or False, or a number from 0 to 1"):
        played(GymnasiumEnvironments(Odd, [1, 2], "x"), [0] * 4)


@pytest.mark.parametrize("method", TINY)
def test_runs_count_it_beside_the_return(method, tmp_path):
    given = {} if method == "stream-q" else {"frame_stack": 2, "time_feature": False}
    run = trained(method, Guess, tmp_path / "run", seeds=2, **given)
    rows = [row for row in rows_of(run, "metrics.jsonl") if "episode/return" in row]
    assert rows and all(0 <= row["episode/success"] <= 1 for row in rows)
    for row in rows_of(run, "evaluations.jsonl"):  # the policies' modes: all episodes of a seed are alike
        assert row["measures"]["success"] in (0.0, 1.0)
    assert run.result["measures"]["success"]["per_seed"] == [row["measures"]["success"] for row in rows_of(run, "evaluations.jsonl")[-2:]]
    assert "success (IQM)" in result_text(run.result, run.config)
    assert run.evaluate(episodes=2)["measures"]["success"]["per_seed"] == run.result["measures"]["success"]["per_seed"]
    assert "success" in compare([load_run(run.path)]).to_text()
    silent = trained(method, Silent, tmp_path / "silent", **given)
    assert "measures" not in silent.result and not any("episode/success" in row for row in rows_of(silent, "metrics.jsonl"))


@pytest.mark.parametrize("method", ["ppo", "dqn"])
def test_workers_tell_the_same(method, tmp_path):
    given = {"environments": 2, "seeds": 1}
    run, beside = (trained(method, Guess, tmp_path / str(count), sample_workers=count, **given) for count in (0, 2))
    of = [[row.get("episode/success") for row in rows_of(one, "metrics.jsonl")] for one in (run, beside)]
    assert of[0] == of[1] and any(of[0])


def test_trackers_are_told(tmp_path, monkeypatch):
    told = []

    class Hears:
        package = "json"

        def __init__(self, run):
            self.log, self.close = told.extend, lambda: None

    monkeypatch.setitem(TRACKERS, "tensorboard", Hears)
    trained("ppo", Guess, tmp_path / "run", seeds=2, track=("tensorboard",))
    assert {"evaluation/return", "evaluation/success", "episode/success"} <= {name for row in told for name in row}
    assert [row["seed"] for row in told if "evaluation/success" in row] == [0, 1] * 3


@pytest.mark.parametrize("says", [bool, float])
def test_none_counts_the_same_however_rows_are_stepped(says):
    """A None is no word of the episode: it has not succeeded, for another one did. Gymnasium stacks it into False, or NaN."""

    class Shy(Guess):
        says = staticmethod(lambda action: says(action) or None)

    one, beside = (played(rows, [1, 1, 1, 1]) for rows in (GymnasiumEnvironments(Shy, [1, 2], "x"), VectorEnvironments(SyncVectorEnv([Shy] * 2), [1, 2], "x")))
    assert [np.maximum(found[3], 0).tolist() for found in (one, beside)] == [[1.0, 0.0]] * 2 and one[:3] == beside[:3] == [None] * 3


def test_an_episode_without_a_word_of_it_has_not_succeeded():
    """In the means of training and in evaluations; in training from the first word on, also in what a run goes on from."""
    nothing = float("nan")
    found = episode_means([[(1.0, 2, 1.0), (3.0, 4, 0.0), (5.0, 6, nothing)], [(1.0, 1, nothing)], []])
    assert found["episode/success"].tolist()[:2] == [1 / 3, 0.0] and found["episode/success"][2:].isnan().all() and found["episode/return"].tolist()[0] == 3.0
    stream = Stream(partial(GymnasiumEnvironments, Sparing, name="x"), [0])
    stream.seen  # noqa: B018 - begins
    for action in [0] * 4 + [1] * 4 + [0] * 4:
        stream.act(np.array([action]))
    assert np.array_equal([success for *_, success in stream.episodes[0]], [np.nan, 1.0, 0.0], equal_nan=True)
    again = Stream(partial(GymnasiumEnvironments, Sparing, name="x"), [0])
    again.load_state_dict(stream.state_dict())
    again.seen  # noqa: B018
    for _ in range(4):
        again.act(np.array([0]))
    assert [success for *_, success in again.episodes[0]] == [0.0]
    assert GymWorld(Sparing).evaluate(Acts([1, 0]), 1, episodes=2).measures["success"].tolist() == [0.5]
    assert list(episode_means([[(1.0, 1, nothing)]])) == ["episode/return", "episode/length"] and episode_means([[]]) == {}


def test_what_is_cut_has_not_succeeded():
    """One seed's episodes end, the other's are cut: it has no word of success, and none in the share of both. Where all are cut, any step's word counts."""

    found = [GymWorld(env, max_evaluation_steps=6).evaluate(Acts(1), 1, episodes=2) for env in (Guess, Endless)]
    assert found[0].measures["success"].tolist() == [1.0] and found[1].measures == {}
    assert stack_evaluations(found).measures["success"].tolist() == [1.0, 0.0]
    spoken = [GymWorld(env, max_evaluation_steps=3).evaluate(Acts(1), 1, episodes=2) for env in (Robot, partial(vectors, Robot), Says)]
    assert [one.measures["success"].tolist() for one in spoken] == [[0.0]] * 3
    half = GymWorld(Guess, max_evaluation_steps=3).evaluate(Acts(1), 1, episodes=2)
    assert half.measures == {} and half.details["truncated"].all()
    assert torch.equal(torch.from_numpy(half.values), torch.full((1, 2), 3.0, dtype=torch.float64))


def test_check_names_what_is_no_success():
    class Odd(Guess):
        says = staticmethod(str)

    assert ["is_success" in fault for fault in examine(Odd, steps=20).faults] == [True] and examine(Guess, steps=20).faults == []
