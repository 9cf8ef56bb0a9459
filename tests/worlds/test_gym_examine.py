"""Environments that are broken on purpose, one rule each: `operant check` names the fault, and so does training where it can be told there."""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import operant
from operant.cli.main import main
from operant.core.errors import BadInput, RunFailed
from operant.worlds import make_world
from operant.worlds.gym.adapter import GymnasiumEnvironments
from operant.worlds.gym.check import WATCH
from operant.worlds.gym.examine import SEEDS, examine

SHARED = {"draws": 0}


class Sound(gymnasium.Env):
    """A walk between two walls, of 20 steps; every broken one differs from it in one thing."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count = self.np_random.uniform(-0.5, 0.5), 0
        return self.seen(), {}

    def step(self, action):
        self.place = float(np.clip(self.place + 0.1 * action[0] + 0.01 * self.np_random.normal(), -1, 1))
        self.count += 1
        return self.seen(), -(self.place**2), False, self.count == 20, {}

    def seen(self):
        return np.array([self.place, self.count / 20], np.float32)


class Choosing(Sound):
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"action_mask": np.ones(3, np.int8)}

    def step(self, action):
        seen, reward, over, cut, info = super().step(np.array([action - 1.0]))
        return seen, reward, over, cut, info | {"action_mask": self.mask()}

    def mask(self):
        return np.ones(3, np.int8)


class IgnoresTheSeed(Sound):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=time.perf_counter_ns() % 2**31)


class TakesNoSeed(Sound):
    def reset(self):
        return super().reset()


class ResetGivesAnObservationAlone(Sound):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class ResetHangs(Sound):
    def reset(self, *, seed=None, options=None):
        while seed is not None and self.__dict__.setdefault("begun", 0) > 1:
            time.sleep(0.01)
        self.begun = self.__dict__.get("begun", 0) + 1
        return super().reset(seed=seed)


class DoesNotBeginAnew(Sound):
    total = 0.0

    def reset(self, *, seed=None, options=None):
        seen, info = super().reset(seed=seed)
        self.place = float(np.clip(self.place + self.total, -1, 1))
        return self.seen(), info

    def step(self, action):
        self.total += 0.01
        return super().step(action)


class LeavesItsSpace(Sound):
    def seen(self):
        return super().seen() * np.float32(1 if self.count < 15 else 2)


class WrongType(Sound):
    def seen(self):
        return super().seen().astype(np.float64)


class WrongShape(Sound):
    def seen(self):
        return super().seen()[: 2 if self.count < 7 else 1]


class NoNumber(Sound):
    def seen(self):
        return super().seen() / np.float32(1 if self.count < 9 else np.nan)


class NoReward(Sound):
    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, float("nan") if self.count == 12 else reward, *rest


class RewardOfAnArray(Sound):
    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, np.array([reward]), *rest


class FourValues(Sound):
    def step(self, action):
        seen, reward, over, cut, info = super().step(action)
        return seen, reward, over or cut, info


class NoInfo(Sound):
    def step(self, action):
        return *super().step(action)[:4], None


class FlagsOfNumbers(Sound):
    def step(self, action):
        seen, reward, over, cut, info = super().step(action)
        return seen, reward, int(over), cut, info


class Raises(Sound):
    def step(self, action):
        if self.count == 17:
            raise KeyError("the door is shut")
        return super().step(action)


class Hangs(Sound):
    def step(self, action):
        while self.count == 13:
            time.sleep(0.01)
        return super().step(action)


class OverAtOnce(Sound):
    def step(self, action):
        seen, reward, _, cut, info = super().step(action)
        return seen, reward, True, cut, info


class ForbidsEverything(Choosing):
    def mask(self):
        return np.full(3, self.count != 11, np.int8)


class MaskOfAnotherLength(Choosing):
    def mask(self):
        return np.ones(2, np.int8)


class MaskGoesMissing(Choosing):
    def step(self, action):
        *found, info = super().step(action)
        return *found, info if self.count < 6 else {}


class WritesIntoWhatItGave(Sound):
    def seen(self):
        self.buffer = self.__dict__.get("buffer", np.zeros(2, np.float32))
        self.buffer[:] = super().seen()
        return self.buffer


class ChangesTheAction(Sound):
    def step(self, action):
        action *= 0.5
        return super().step(action)


class DrawsGlobally(Sound):
    def step(self, action):
        found = super().step(action)
        self.place = float(np.clip(self.place + 0.01 * np.random.normal(), -1, 1))
        return self.seen(), *found[1:]


class CopiesShare(Sound):
    def reset(self, *, seed=None, options=None):
        SHARED["draws"] = 0
        return super().reset(seed=seed)

    def step(self, action):
        SHARED["draws"] += 1
        found = super().step(action)
        self.place = float(np.clip(self.place + 0.001 * SHARED["draws"], -1, 1))
        return self.seen(), *found[1:]


class CopiesDiffer(Sound):
    def __init__(self):
        SHARED["wide"] = SHARED.get("wide", 0) + 1
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32) if SHARED["wide"] % 2 else spaces.Box(-2, 2, (2,), np.float32)


class FailsAtABound(Sound):
    def step(self, action):
        if abs(action[0]) == 1:
            raise ZeroDivisionError("float division by zero")
        return super().step(action)


class SpeaksFreely(Sound):
    observation_space = spaces.Text(10)


class NoSpace(Sound):
    observation_space = None


class ClosesBadly(Sound):
    def close(self):
        raise RuntimeError("no window")


class CloseHangs(Sound):
    def close(self):
        while True:
            pass


BROKEN = {
    IgnoresTheSeed: r"its reset ignores the seed: reset\(seed=…\) begins differently each time",
    TakesNoSeed: "reset raised TypeError: .*unexpected keyword argument 'seed'",
    ResetGivesAnObservationAlone: r"reset returns \(observation, info\), with info a dict; got one ndarray",
    ResetHangs: "reset took longer than 0.3 s",
    DoesNotBeginAnew: r"reset does not begin anew: reset\(seed=…\) begins differently once steps were made",
    LeavesItsSpace: r"observation is outside its space, first after 15 steps: element \[1\] is 1.5, outside \[-1, 1\]",
    WrongType: "observation is outside its space, first after 0 steps: its type is float64, the space's float32",
    WrongShape: r"after 7 steps: breaks the Gymnasium API: observation has shape \(1,\); its observation space says \(2,\)",
    NoNumber: "observation element 0 is nan; every element is a finite number",
    NoReward: "after 11 steps: breaks the Gymnasium API: reward is nan; it is one finite number",
    RewardOfAnArray: r"reward \[.*\] \(ndarray\) is not one number",
    FourValues: r"step returns \(observation, reward, terminated, truncated, info\), with info a dict; got 4 values",
    NoInfo: "with info a dict; got 5 values .*, NoneType",
    FlagsOfNumbers: r"terminated is 0 \(int\); it is True or False",
    Raises: "after 17 steps: step raised KeyError: 'the door is shut'",
    Hangs: "after 13 steps: step took longer than 0.3 s",
    ForbidsEverything: r"after 11 steps: breaks the Gymnasium API: the action mask forbids every action: \[0.0, 0.0, 0.0\]",
    MaskOfAnotherLength: "the action mask has 2 entries of type int8; it is 1 or 0 for each of 3 choices",
    MaskGoesMissing: r"after 6 steps: .* info\['action_mask'\] was there at the first reset, and is missing now",
    WritesIntoWhatItGave: "the observation that was given before is written into, by step: return a new array each time",
    ChangesTheAction: r"step changes the action that it is given, from \[.*\] to \[.*\]",
    DrawsGlobally: r"something is drawn that the seed does not decide \(NumPy's global generator is drawn from; self.np_random",
    CopiesShare: "its copies share something: beside another one it goes elsewhere",
    CopiesDiffer: "its copies have different spaces",
    FailsAtABound: "step raised ZeroDivisionError",
    SpeaksFreely: r"observation space Text\(.*\) is not supported",
    NoSpace: "its observation_space is no gymnasium.Space",
    ClosesBadly: "close raised RuntimeError: no window",
    CloseHangs: "close took longer than 0.3 s",
}


def normalizing(wrapper, *, held=False):
    def made():
        env = wrapper(Sound())
        env.update_running_mean = not held
        return env

    return made


def test_running_statistics_are_refused_with_what_does_it():
    """By the examination, and before a run exists; those that are held are what the environment is."""
    for wrapper, why, option in (
        (gymnasium.wrappers.NormalizeObservation, "evaluated on other observations", "--normalize-observation"),
        (gymnasium.wrappers.NormalizeReward, "scores would be of scaled rewards", "--normalize-reward"),
    ):
        says = f"is wrapped in {wrapper.__name__}, whose running statistics each copy has of its own: .*{why}.*; leave out what normalises and give {option} "
        for task in (normalizing(wrapper), lambda: gymnasium.wrappers.TimeLimit(wrapper(Sound()), 9), wrapper(Sound())):  # noqa: B023 - called at once
            with pytest.raises(BadInput, match=says):
                make_world(task)
        for vector in (gymnasium.vector.SyncVectorEnv([normalizing(wrapper)]), partial(vectors, getattr(gymnasium.wrappers.vector, wrapper.__name__))):
            with pytest.raises(BadInput, match=says):
                make_world(vector)
        found = examine(normalizing(wrapper), steps=30)
        assert len(found.faults) == 1 and f"give {option}" in found.faults[0]
        assert examine(normalizing(wrapper, held=True), steps=30).faults == []
    with pytest.raises(BadInput, match="in NormalizeReward and NormalizeObservation, .* and give --normalize-reward --normalize-observation "):
        make_world(gymnasium.wrappers.NormalizeReward(gymnasium.wrappers.NormalizeObservation(Sound())))


def vectors(wrapper, num_envs):
    return wrapper(gymnasium.vector.SyncVectorEnv([Sound] * num_envs))


def test_wrappers_that_change_rewards_are_told():
    told = "its scores are of rewards as ClipReward makes them; --clip-rewards clips in training alone"
    clipped = lambda: gymnasium.wrappers.ClipReward(Sound(), -0.1, 0.1)  # noqa: E731 - a task without a name
    assert told in examine(clipped, steps=30).notes and f"gym:{clipped.__qualname__}: {told}" in make_world(clipped).notes
    assert not any("scores are" in note for note in (*examine(Sound, steps=30).notes, *make_world(Sound).notes))


def test_single_decisions_are_no_fault():
    found = examine(OverAtOnce, steps=100)
    assert found.faults == [] and found.notes[0].startswith("every episode ended with its first step: a task of single decisions (a bandit), or is it over")


class AsksForMasks(Choosing):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {}

    def action_masks(self):
        return np.ones(3, np.int8)


class MasksInSight(Choosing):
    observation_space = spaces.Dict(at=Sound.observation_space, action_mask=spaces.MultiBinary(3))

    def seen(self):
        return {"at": super().seen(), "action_mask": np.ones(3, np.int8)}


class Misspelt(Choosing):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"actions_mask": np.ones(3, np.int8)}


def test_where_a_mask_was_found_is_told():
    told = {Choosing: "info['action_mask']", AsksForMasks: "its method action_masks()", MasksInSight: "'action_mask' of its observation", Misspelt: "none"}
    for kind, where in told.items():
        assert examine(kind, steps=10).facts["action mask"] == where
    assert "it has no action mask, but info has 'actions_mask'" in examine(Misspelt, steps=10).notes[0]
    assert "action mask" not in examine(Sound, steps=10).facts


class Draws(Sound):
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


def test_what_cannot_be_watched_is_told():
    def notes(task):
        return [note for note in examine(task, steps=10).notes if note.startswith("operant watch will have no pictures: ")]

    assert notes(Draws) == notes("CartPole-v1") == []
    for task in (Sound, lambda: Draws()):
        assert notes(task)[0].endswith("takes no argument render_mode: let what makes it take one, and pass it on")
    assert notes(lambda render_mode=None: Sound())[0].endswith("does not draw: its render_modes have no rgb_array")


@pytest.mark.parametrize(("options", "space"), [({"frame_stack": 3}, "(3, 2)"), ({"time_feature": True}, "'time': Box")])
def test_what_is_examined_is_what_a_run_sees(options, space):
    def timed():
        return gymnasium.wrappers.TimeLimit(Draws(), 20)

    found = examine(timed, steps=30, **options)
    assert found.faults == [] and space in found.facts["observation space"]
    assert found.facts["observation space"] == str(make_world(timed, **options).observation_space)
    with pytest.raises(BadInput, match="no time limit"):
        examine(Sound, steps=30, time_feature=True)
    assert examine(Draws, steps=41, action_repeat=4).facts["episodes"] == 8  # of 20 steps


def test_atari_is_examined_as_it_is_seen():
    pytest.importorskip("ale_py", reason="pip install 'operant[atari]'")
    found = examine("ALE/Pong-v5", steps=20, frame_stack=2)
    assert found.faults == [] and found.facts["observation space"] == "Box(0, 255, (2, 84, 84), uint8)" and found.facts["resume"] == "bitwise"
    assert not any("time limit" in note or "operant watch" in note for note in found.notes)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_environment_is_named(kind):
    found = examine(kind, steps=100, seconds=0.3)
    assert len(found.faults) == 1
    with pytest.raises(AssertionError, match=BROKEN[kind]):
        raise AssertionError(found.faults[0])


@pytest.mark.parametrize("task", [Sound, Choosing, "CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "HalfCheetah-v5"])
def test_a_sound_environment_has_no_faults(task):
    found = examine(task, steps=150)
    assert found.faults == [] and found.facts["steps"] == 150


def test_what_is_worth_knowing():
    class Endless(Sound):
        action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

        def step(self, action):
            self.count = 1
            return super().step(action)[0], 0.0, False, False, {}

    notes = examine(Endless, steps=200).notes
    assert len(notes) == 4 and "no pictures" in notes[3] and "no time limit" in notes[0] and "every reward was 0" in notes[1] and "no bounds" in notes[2]


class DrawsWithOldGenerators(Sound):
    """Its seeds have 32 bits, and it says so in its own way."""

    def reset(self, *, seed=None, options=None):
        assert seed is None or seed < 2**32, "a seed has 32 bits"
        return super().reset(seed=seed)


class SeesLargeNumbers(Sound):
    observation_space = spaces.Dict({"far": spaces.Box(-np.inf, np.inf, (2,), np.float32), "pixels": spaces.Box(0, 255, (6, 6), np.uint8)})

    def seen(self):
        return {"far": super().seen() * np.float32(40_000), "pixels": np.full((6, 6), 255, np.uint8)}


class Ranged(Sound):
    action_space = spaces.Box(3, 17, (1,), np.float32)


class Counts(Sound):
    """Sees a clock of whole numbers, so late that float32 has one in 2^37 of them."""

    observation_space = spaces.Dict({"clock": spaces.Box(0, 2**62, (1,), np.int64), "far": spaces.Box(-(2**60), 2**60, (1,), np.float32)})
    late = 2**60

    def seen(self):
        return {"clock": np.array([self.late + self.count]), "far": np.full(1, 2**60, np.float32)}


def test_numbers_that_float32_loses_are_told_before_a_run():
    told = "clock has numbers of up to 1,152,921,504,606,846,976 in size, of which float32, as it is kept, has one in 137,438,953,472: shift them towards 0"
    assert told in examine(Counts, steps=30).notes and f"gym:{Counts.__module__}:Counts: {told}" in make_world(Counts).notes
    soon = type("Soon", (Counts,), {"late": 2**23})
    assert not any("float32" in note for note in (*examine(soon, steps=30).notes, *make_world(soon).notes))


def test_seeds_are_as_large_as_those_of_a_run(tmp_path):
    assert min(SEEDS) > 2**32
    assert examine(DrawsWithOldGenerators, steps=30).faults == []
    operant.train("ppo", DrawsWithOldGenerators, out=tmp_path / "run", **SMALL)


def test_large_observations_name_the_option_that_normalises_them():
    assert [note for note in examine(SeesLargeNumbers, steps=50).notes if "--normalize-observation" in note]
    assert not [note for note in examine(Sound, steps=50).notes if "--normalize-observation" in note]


def test_on_the_command_line(capsys, monkeypatch, tmp_path):
    assert main(["check", "gym:CartPole-v1", "--steps", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []
    module = "import gymnasium\nfrom test_gym_examine import NoReward\ngymnasium.register('NoReward-v0', NoReward)\n"
    (tmp_path / "rewardless.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_gym_examine", sys.modules[__name__])
    assert main(["check", "gym:rewardless:NoReward-v0"]) == 1
    out = capsys.readouterr().out
    assert "fault: environment 'NoReward-v0', after 11 steps: breaks the Gymnasium API: reward is nan" in out
    assert out.endswith("gym:rewardless:NoReward-v0: 1 fault\n")
    (tmp_path / "ranged.py").write_text("import gymnasium\nfrom test_gym_examine import Ranged\ngymnasium.register('Ranged-v0', Ranged)\n")
    assert main(["check", "gym:ranged:Ranged-v0"]) == 0
    assert capsys.readouterr().out.endswith("breaks no rule: see the 2 notes above\n")
    assert main(["check", "text:arithmetic"]) == 2 and "environments are checked" in capsys.readouterr().err
    assert main(["check", "gym:bit-flip", "--steps", "50"]) == 0 and "goals in hindsight: yes" in capsys.readouterr().out


# In training

SMALL = {"steps": 200, "environments": 2, "rollout_length": 20, "hidden": (4,), "episodes": 1, "progress": False, "threads": 1}


def test_training_names_a_reset_that_ignores_the_seed(tmp_path):
    heard = []
    operant.train("ppo", IgnoresTheSeed, out=tmp_path / "run", listener=lambda update: heard.append(update.message), **SMALL)
    assert any("begins differently each time with the same seed: its reset ignores the seed" in (line or "") for line in heard)
    assert not any("ignores the seed" in line for line in make_world(Sound).notes)


def test_training_names_an_observation_that_leaves_its_space(tmp_path, monkeypatch):
    monkeypatch.setattr("operant.worlds.gym.check._told", set())  # a process tells it once
    with pytest.warns(RuntimeWarning, match=r"observation element 1 is 1.5, outside \[-1, 1\], as its observation space says; told once"):
        operant.train("ppo", LeavesItsSpace, out=tmp_path / "run", **SMALL)


@pytest.mark.parametrize("method", ["ppo", "sac-v2"])
def test_training_names_a_reward_that_is_no_number(method, tmp_path):
    options = SMALL if method == "ppo" else {key: SMALL[key] for key in SMALL if key != "rollout_length"}
    with pytest.raises(RunFailed, match="'NoReward', row 0, after 11 steps: breaks the Gymnasium API: reward is nan"):
        operant.train(method, NoReward, out=tmp_path / "run", **options)


def test_training_names_a_step_that_hangs():
    environments = GymnasiumEnvironments(Hangs, [0, 1], "Hangs", start_seconds=0.2)
    environments.reset()
    for _ in range(13):
        environments.step(np.zeros((2, 1), np.float32))
    with pytest.raises(RunFailed, match="'Hangs', row 0, after 13 steps: step took longer than 0.2 s"):
        environments.step(np.zeros((2, 1), np.float32))
    environments.close()
    assert WATCH.step is None


def test_training_names_a_mask_that_forbids_everything(tmp_path):
    with pytest.raises(RunFailed, match="'ForbidsEverything', row 0, after 11 steps: .* the action mask forbids every action"):
        operant.train("ppo", ForbidsEverything, out=tmp_path / "run", **SMALL)
