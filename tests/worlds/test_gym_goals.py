"""Rewards under other goals: what each kind of environment says of them, and environments that cannot say; the beds with goals by hand."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import operant
from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput, RunFailed
from operant.worlds import make_world
from operant.worlds.gym.beds import BitFlip, PointReach
from operant.worlds.gym.examine import examine
from operant.worlds.gym.goals import Goals
from operant.worlds.gym.tensors import TensorEnvironment

LINE = spaces.Box(-9, 9, (1,), np.float64)


class Line(gymnasium.Env):
    """A walk of 5 steps along a line to a goal, which pays 0 and everything else -1; it ends there, and beyond 3."""

    observation_space = spaces.Dict(observation=LINE, achieved_goal=LINE, desired_goal=LINE)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.count, self.goal = 0, 0, int(self.np_random.integers(-3, 4))
        return self._seen(), {}

    def step(self, action):
        self.at, self.count = self.at + (1 if action else -1), self.count + 1
        return self._seen(), self._reward(), self.at == self.goal or abs(self.at) > 3, self.count == 5, {}

    def _reward(self):
        return float(self.compute_reward(np.array([[self.at]]), np.array([[self.goal]]), [{}])[0])

    def _seen(self):
        here, goal = (np.array([value], np.float64) for value in (self.at, self.goal))
        return {"observation": here, "achieved_goal": here, "desired_goal": goal}

    def compute_reward(self, achieved_goal, desired_goal, info):
        assert achieved_goal.shape == desired_goal.shape == (len(info), 1) and info == [{}] * len(info)
        return -(achieved_goal != desired_goal).any(-1).astype(np.float64)

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return (achieved_goal == desired_goal).all(-1)


class OneByOne(Line):
    """Methods that take one outcome at a time, as some of Gymnasium-Robotics do."""

    def compute_reward(self, achieved_goal, desired_goal, info):
        return -float(np.linalg.norm(achieved_goal - desired_goal) > 0)

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return bool(np.linalg.norm(achieved_goal - desired_goal) == 0)

    def _reward(self):
        return self.compute_reward(np.array([self.at]), np.array([self.goal]), {})


class Raises(OneByOne):
    """Methods that raise when they are asked of several."""

    def compute_reward(self, achieved_goal, desired_goal, info):
        if np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0:
            return -info.get("scale", 1.0)
        return 0.0

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return float(np.linalg.norm(achieved_goal - desired_goal, axis=-1)) == 0


class Tensors(TensorEnvironment):
    """The same along a line, on tensors, all copies to 2; its goals are asked with arrays."""

    observation_space, action_space, limit = Line.observation_space, Line.action_space, 5

    def reset(self, which, seed=None):
        if seed is not None:
            self.at = self.count = torch.zeros(self.num_envs)
        self.at, self.count = (torch.where(which, 0, x) for x in (self.at, self.count))
        return self._seen()

    def step(self, action):
        self.at, self.count = self.at + 2 * action - 1, self.count + 1
        return self._seen(), (self.at == 2).float() - 1, (self.at == 2) | (self.at.abs() > 3), self.count == 5

    def _seen(self):
        here = self.at.double().unsqueeze(1)
        return {"observation": here, "achieved_goal": here, "desired_goal": torch.full_like(here, 2.0)}

    compute_reward = staticmethod(lambda achieved, desired, info: (achieved == desired)[:, 0] - 1.0)
    compute_terminated = staticmethod(lambda achieved, desired, info: (achieved == desired)[:, 0])


def vectors(kind, mode, num_envs):
    return kind([Line] * num_envs, autoreset_mode=mode)


def goals_of(task, **options) -> Goals:
    return make_world(task, **options).goals()


def rows(goals: Goals, size: int, achieved: list[float], own: list[float]) -> torch.Tensor:
    """Observations whose goals are these, and all else 7."""
    found = torch.full((len(achieved), size), 7.0)
    found[:, goals.achieved], found[:, goals.desired] = (torch.tensor(values).unsqueeze(1) for values in (achieved, own))
    return found


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (Line, {}),
        (OneByOne, {}),
        (Raises, {}),
        (Line, {"frame_stack": 3, "time_feature": False}),
        (partial(gymnasium.wrappers.TimeLimit, Line(), 4), {"time_feature": True}),
        (partial(vectors, SyncVectorEnv, AutoresetMode.NEXT_STEP), {}),
        (partial(vectors, AsyncVectorEnv, AutoresetMode.SAME_STEP), {}),
        (SyncVectorEnv([Line, Line]), {}),
        (Tensors, {}),
    ],
    ids=["object", "one by one", "raises of several", "stacked", "wrapped", "vector", "processes", "rows", "tensors"],
)
def test_each_kind_of_environment_says_what_other_goals_pay(task, options):
    """Outcomes 1, 2, 3, 4, 4 whose own goals are 1, 0, 0, 0, 0, under the goals 2, 2, 3, 0, 4; the first ended at its goal, the last two beyond 3."""
    goals = goals_of(task, **options)
    try:
        size = goals._environments.observation_spec.size
        outcome = rows(goals, size, [1, 2, 3, 4, 4], [1, 0, 0, 0, 0])
        reward, terminated = goals.of(outcome, torch.tensor([[2.0], [2], [3], [0], [4]]), torch.tensor([True, False, False, True, True]))
        assert reward.tolist() == [-1, 0, 0, -1, 0] and reward.dtype == torch.float32
        assert terminated.tolist() == [False, True, True, True, True]
        reward, terminated = goals.of(outcome.view(1, 5, -1), torch.zeros(1, 5, 1), torch.zeros(1, 5, dtype=torch.bool))
        assert reward.tolist() == [[-1.0] * 5] and not terminated.any()
    finally:
        goals.close()


def test_of_stacked_observations_the_newest_is_what_was_achieved():
    world = make_world(Line, frame_stack=3)
    goals = world.goals()
    assert (goals.achieved, goals.desired) == (slice(2, 3), slice(3, 4)) and world.observation.size == 7
    goals.close()


def test_rewards_are_clipped_where_those_of_training_are():
    class Far(Line):
        def compute_reward(self, achieved_goal, desired_goal, info):
            return -5 * np.abs(achieved_goal - desired_goal)[:, 0]

    for clip, paid in ((False, -15.0), (True, -1.0)):
        goals = goals_of(Far, clip_rewards=clip)
        assert goals.of(rows(goals, 3, [4], [4]), torch.tensor([[1.0]]), torch.tensor([False]))[0].item() == paid
        goals.close()


def test_without_compute_terminated_endings_stay_as_they_were():
    class Silent(Line):
        compute_terminated = property()

    goals = goals_of(Silent)
    assert goals.of(rows(goals, 3, [1, 1], [1, 1]), torch.tensor([[1.0], [2.0]]), torch.tensor([False, True]))[1].tolist() == [False, True]
    goals.close()


def test_goals_that_are_counted_are_asked_as_the_environment_counts_them():
    class Counted(Line):
        observation_space = spaces.Dict(achieved_goal=spaces.Discrete(9, start=-4), desired_goal=spaces.Discrete(9, start=-4), observation=LINE)

        def _seen(self):
            return super()._seen() | {"achieved_goal": np.int64(max(-4, min(4, self.at))), "desired_goal": np.int64(self.goal)}

        def _reward(self):
            return float(self.at == self.goal) - 1

        def compute_reward(self, achieved_goal, desired_goal, info):
            assert achieved_goal.dtype == np.int64 and achieved_goal.shape == (len(info),)
            return (achieved_goal == desired_goal) - 1.0

        def compute_terminated(self, achieved_goal, desired_goal, info):
            return achieved_goal == desired_goal

    goals = goals_of(Counted)
    outcome, goal = torch.zeros(2, 19), torch.eye(9)[[8, 0]]
    outcome[:, goals.achieved], outcome[:, goals.desired] = torch.eye(9)[[8, 8]], torch.eye(9)[[3, 3]]
    assert goals.of(outcome, goal, torch.tensor([False, False]))[0].tolist() == [0, -1]
    goals.close()


def broken(**changed):
    """A function that makes a walk with other attributes."""
    return lambda: type("Broken", (Line,), changed)()


def hangs(self, achieved_goal, desired_goal, info):
    while True:
        pass


def costly(self, action):
    seen, reward, *rest = Line.step(self, action)
    return seen, reward - 0.5, *rest


def gives(name, value):
    """A walk one of whose methods gives a value, of one outcome or of many."""
    return broken(**{name: lambda self, achieved, desired, info: [value] * len(achieved) if isinstance(info, list) else value}, _reward=lambda self: -1.0)


class OnTensors(Tensors):
    compute_reward = staticmethod(lambda achieved, desired, info: (achieved.double() == desired).all(-1) - 1.0)


class Far(Line):
    """A walk so far away that float32 does not tell two steps apart."""

    FAR = spaces.Box(0, 2**60, (1,), np.int64)
    observation_space = spaces.Dict(observation=LINE, achieved_goal=FAR, desired_goal=FAR)

    def _seen(self):
        return super()._seen() | {name: np.array([2**39 + value]) for name, value in (("achieved_goal", self.at), ("desired_goal", self.goal))}


WIDER = spaces.Dict(observation=LINE, achieved_goal=spaces.Box(-9, 9, (2,)), desired_goal=LINE)


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("gym:CartPole-v1", {}, "observations of gym:CartPole-v1 consist of observation; goals in hindsight need a Dict of observation, achieved_goal and"),
        (broken(compute_reward=property(), _reward=lambda self: 0.0), {}, "has no compute_reward\\(achieved_goal, desired_goal, info\\)"),
        (broken(step=costly), {}, "a step of .* paid -1.5, and its compute_reward\\(achieved_goal, desired_goal, info\\) says -1"),
        (broken(compute_reward=lambda self, a, d, info: info["paid"], _reward=lambda self: -1.0), {}, "and an empty info, raised KeyError: 'paid'; what goals"),
        (broken(compute_reward=property(lambda self: 1 // 0), _reward=lambda self: -1.0), {}, "compute_reward of \\S+ raised ZeroDivisionError: "),
        (broken(compute_reward=lambda self, a, d: -1.0, _reward=lambda self: -1.0), {}, "is not called as compute_reward\\(.* info\\): too many positional"),
        (broken(compute_reward=lambda self, a, d, info, extra: -1.0, _reward=lambda self: -1.0), {}, "missing a required argument: 'extra'"),
        (broken(compute_reward=-1.0, _reward=lambda self: -1.0), {}, "-1.0 is not a callable object"),
        (OnTensors, {}, "compute_reward of .*, asked with NumPy's arrays and an empty info, raised AttributeError: .*ndarray.* no attribute 'double'"),
        (gives("compute_reward", "-1"), {}, "compute_reward of .* gave a str; it gives finite numbers"),
        (gives("compute_reward", 1j), {}, "gave a complex; it gives"),
        (gives("compute_reward", None), {}, "gave a NoneType; it gives"),
        (gives("compute_reward", [-1, [0]]), {}, r"gave \[-1, \[0\]\] for one outcome; it gives finite numbers, one each"),
        (gives("compute_reward", 10**400), {}, "gave an integer that no float holds; it gives"),
        (gives("compute_reward", -1e300), {}, r"gave -1e\+300; it gives finite numbers, at most 3.4e\+38 in size"),
        (gives("compute_terminated", "False"), {}, "compute_terminated of .* gave a str; it gives True or False"),
        (gives("compute_terminated", None), {}, "gave a NoneType; it gives True or False"),
        (gives("compute_terminated", np.nan), {}, "gave nan; it gives True or False"),
        (gives("compute_terminated", 0.5), {}, "gave 0.5; it gives True or False"),
        (Far, {}, "says 0: achieved_goal has numbers of up to 549,755,813,888 in size, of which float32, as it is kept, has one in 65,536: shift"),
        (broken(compute_reward=lambda self, a, d, info: np.full(len(a), np.nan if a[1:].size else -1.0)), {}, "compute_reward of .* gave nan; it gives finite"),
        (broken(compute_terminated=lambda self, a, d, info: np.ones(len(a), bool)), {}, "says that a step ended its episode, and it went on"),
        (Line, {"action_repeat": 2}, "an action is paid for 2 steps of .*: leave --action-repeat out"),
        ("text:arithmetic", {}, "text:arithmetic has no goals: .* such as gym:bit-flip"),
    ],
)
def test_what_has_no_goals_or_cannot_pay_them_is_refused(task, options, says):
    world = make_world(task, **options)
    with pytest.raises(BadInput, match=f"^hindsight: .*{says}"):
        world.check_goals()


def test_a_method_that_hangs_is_stopped(monkeypatch):
    """In a batch it is, too: that it took too long is not for want of one outcome alone."""
    monkeypatch.setattr("operant.worlds.gym.goals.PATIENCE", 0.1)
    for name in ("compute_reward", "compute_terminated"):
        with pytest.raises(RunFailed, match=f"^environment .*: {name} took longer than 0.1 s$"):
            make_world(broken(**{name: hangs}, _reward=lambda self: -1.0)).check_goals()


def test_what_checks_an_environment_says_whether_goals_can_be_given():
    assert examine(Line, steps=20).facts["goals in hindsight"] == "yes"
    assert examine(broken(step=costly), steps=20).facts["goals in hindsight"].startswith("no: a step of gym:")
    assert examine(Line, steps=20, action_repeat=2).facts["goals in hindsight"].startswith("no: an action is paid for 2 steps")
    assert "goals in hindsight" not in examine("Pendulum-v1", steps=20).facts


def test_what_is_achieved_must_be_a_goal():
    class Wider(Line):
        observation_space = WIDER

        def _seen(self):
            return super()._seen() | {"achieved_goal": np.zeros(2, np.float32)}

    with pytest.raises(BadInput, match=r"achieved_goal \(box of shape \(2,\)\) is of another form than desired_goal \(box of shape \(1,\)\)"):
        make_world(Wider).check_goals()


def test_bits_are_flipped_until_they_are_those_of_the_goal():
    bed = BitFlip([0, 1])
    seen = bed.reset()
    bits, goal = seen[:, 32:].copy(), seen[:, 16:32].copy()
    assert np.array_equal(seen[:, :16], bits) and set(np.unique(seen)) == {0, 1} and not np.array_equal(bits[0], bits[1])
    wrong = (bits[0] != goal[0]).nonzero()[0]
    twin = BitFlip([0, 1])
    for count, flipped in enumerate(wrong, 1):
        step = bed.step(np.array([flipped, 0]))
        bits[0, flipped] = goal[0, flipped]
        assert np.array_equal(step.next_observation[0], np.concatenate([bits[0], goal[0], bits[0]]))
        reached = count == len(wrong)
        assert step.success[0] == 1 if reached else np.isnan(step.success).all()
        assert step.reward.tolist() == [reached - 1, -1] and step.terminated.tolist() == [reached, False]
        assert (step.observation[0] != step.next_observation[0]).any() == reached
        twin.load_state_dict(bed.state_dict())
        assert first_difference(twin.state_dict(), bed.state_dict()) is None
    for _ in range(16 - len(wrong)):
        step = bed.step(np.array([0, 0]))
    assert step.truncated.tolist() == [False, True] and step.success[1] == 0 and np.isnan(step.success[0])


def test_a_point_is_brought_near_its_goal():
    bed = PointReach([0])
    seen = bed.reset()[0]
    assert np.array_equal(seen[[0, 1, 4, 5]], np.zeros(4))
    away, steps = seen[2:4].astype(np.float64), 0
    while True:
        step = bed.step(np.clip(20 * away, -1, 1)[None])
        away, steps = away - np.clip(away, -0.05, 0.05), steps + 1
        np.testing.assert_allclose(step.next_observation[0, 2:4] - step.next_observation[0, 4:], away, atol=1e-6)
        if np.hypot(*away) <= 0.05:
            break
        assert step.reward == -1 and not step.terminated
    assert step.reward == 0 and step.terminated and 1 < steps < 25


class Bonus(Line):
    """Pays 10 more at the goal than it computes, which random steps before a run hardly meet: it lies ten steps away."""

    def reset(self, *, seed=None, options=None):
        seen, info = super().reset(seed=seed)
        self.goal = 3
        return self._seen(), info

    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, reward + 10.0 * (self.at == self.goal), *rest


def test_what_steps_pay_is_held_against_what_is_computed_of_them():
    goals = goals_of(Line)
    with closing(goals):
        paid = torch.tensor([-1.0, 0.0])
        goals.hold(paid, torch.tensor([-1.0, 0.0]))
        goals.hold(paid[:0], paid[:0])
        with pytest.raises(RunFailed, match=r"a step of .* paid 0, and its compute_reward\(.*\) says -1: .*; mend compute_reward, or take --hindsight 0"):
            goals.hold(paid, torch.tensor([-1.0, -1.0]))


def test_a_bonus_at_the_goal_ends_the_run_that_meets_it(tmp_path):
    given = {"hindsight": 4, "learning_starts": 30, "batch_size": 16, "hidden": (8,), "steps": 2_000, "episodes": 1, "progress": False}
    with pytest.raises(RunFailed, match=r"paid 10, and its compute_reward\(.*\) says 0"):
        operant.train("dqn", Bonus, out=tmp_path / "run", **given)


class Endless(Line):
    compute_terminated = None


class Misnamed(Line):
    observation_space = spaces.Dict(observation=LINE, achieved_goal=LINE, goal=LINE)

    def _seen(self):
        seen = super()._seen()
        return seen | {"goal": seen.pop("desired_goal")}


def test_check_says_of_everything_that_computes_rewards_whether_goals_can_be_given():
    assert examine(Line, steps=20).facts["goals in hindsight"] == "yes"
    assert examine(Endless, steps=20).facts["goals in hindsight"].startswith("yes; there is no compute_terminated")
    assert examine(Misnamed, steps=20).facts["goals in hindsight"].startswith("no: ")
    assert "goals in hindsight" not in examine("CartPole-v1", steps=20).facts
