"""Single Gymnasium environments as rows: true outcomes, resume, spaces, making and drawing."""

import importlib.util
import json
import sys
from itertools import islice

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.testing import assert_array_equal

import operant
from operant.core.checkpoint import join_state, split_state
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.actors import ActorCriticNet, ActorNet
from operant.worlds.base import NothingToDraw
from operant.worlds.gym.adapter import GymnasiumEnvironments, make_environments
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.experience import Online
from operant.worlds.gym.native import NATIVE
from operant.worlds.gym.world import GymWorld

FIELDS = ("observation", "next_observation", "reward", "terminated", "truncated", "valid")


def adapted(env_id, seeds, **kwargs):
    return GymnasiumEnvironments(lambda: gymnasium.make(env_id, disable_env_checker=True, **kwargs), seeds, env_id)


def stored(state):
    """The state as it comes back from a checkpoint."""
    skeleton, arrays = split_state(state)
    return join_state(json.loads(json.dumps(skeleton)), arrays)


def act(environments, rng):
    space = environments.action_space
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.n, size=environments.rows)
    return rng.uniform(-1, 1, (environments.rows, int(np.prod(space.shape)))).astype(np.float32)


def assert_same(expected, got):
    for name in FIELDS:
        assert_array_equal(getattr(got, name), getattr(expected, name))


class Counter(gymnasium.Env):
    """Counts its steps and ends after `length`; the observation is (count, noise of the episode)."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Discrete(3, start=-1)

    def __init__(self, length=5):
        self.length = length
        self.count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.noise = self.np_random.normal()
        return np.array([0.0, self.noise]), {}

    def step(self, action):
        self.count += 1
        return np.array([self.count, self.noise]), float(action), False, self.count == self.length, {}


class Told(Counter):
    """A counter that gives its state."""

    def get_state(self):
        return {"count": self.count, "noise": self.noise, "history": (1, [2.5])}

    def set_state(self, state):
        assert state["history"] == (1, [2.5])
        self.count, self.noise = state["count"], state["noise"]


# Ant and Humanoid take speeds from positions that lag behind the state: they fail when only MuJoCo's integration state is put back.
@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Pendulum-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0"])
def test_bitwise_resume(env_id):
    environments = adapted(env_id, [7, 8])
    assert isinstance(environments, Environments)
    assert environments.resume == "bitwise"
    environments.reset()
    rng = np.random.default_rng(0)
    for _ in range(61):
        environments.step(act(environments, rng))
    state = stored(environments.state_dict())
    actions = [act(environments, rng) for _ in range(300)]
    expected = [environments.step(action) for action in actions]
    fresh = adapted(env_id, [7, 8])
    fresh.load_state_dict(state)
    for action, step in zip(actions, expected, strict=True):
        assert_same(step, fresh.step(action))
    if env_id in ("Hopper-v5", "CartPole-v1"):
        assert sum(step.terminated.sum() for step in expected) > 5


def test_resume_of_an_environment_that_gives_its_state():
    environments = GymnasiumEnvironments(Told, [1, 2], "told")
    assert environments.resume == "bitwise"
    environments.reset()
    for _ in range(8):
        environments.step(np.array([0, 1]))
    state = stored(environments.state_dict())
    expected = [environments.step(np.array([0, 1])) for _ in range(12)]
    fresh = GymnasiumEnvironments(Told, [1, 2], "told")
    fresh.load_state_dict(state)
    for step in expected:
        assert_same(step, fresh.step(np.array([0, 1])))


def test_resume_at_an_episode_boundary():
    environments = GymnasiumEnvironments(Counter, [1, 2], "counter")
    assert environments.resume == "episode-boundary"
    environments.reset()
    for _ in range(3):
        environments.step(np.array([0, 1]))
    state = stored(environments.state_dict())
    again = [GymnasiumEnvironments(Counter, [1, 2], "counter") for _ in range(2)]
    for fresh in again:
        fresh.load_state_dict(state)
        assert_array_equal(fresh.observation[:, 0], [0.0, 0.0])  # new episodes
    assert_array_equal(again[0].observation, again[1].observation)  # which are the same each time
    assert not np.array_equal(again[0].observation[:, 1], GymnasiumEnvironments(Counter, [1, 2], "counter").reset()[:, 1])  # and not the first ones again


class Later(gymnasium.Env):
    """Gives its state, which cannot be written any more from the fourth step of an episode on."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.name = 0, self.np_random.random()
        return self.seen(), {}

    def seen(self):
        return np.array([self.name, self.count], np.float32)

    def step(self, action):
        self.count += 1
        return self.seen(), 0.0, False, False, {}

    def get_state(self):
        return {"count": self.count, "name": self.name, "memo": {1, 2} if self.count > 3 else None}

    def set_state(self, state):
        self.count, self.name = state["count"], state["name"]


def test_a_state_that_turns_out_not_to_be_one_begins_new_episodes_everywhere():
    """Nothing that was seen before is what a new episode's first step began from."""
    world, streams = GymWorld(Later), Streams([0])
    actor = world.policy(ActorNet(hidden=(4,), squash=True), streams)

    def experience():
        return world.experience(Online(capacity=100), actor, streams, 50)

    first, again = experience(), experience()
    for _ in range(6):
        first.step(None)
        first.keep()
    assert first.resume == "bitwise"
    again.load_state_dict(stored(first.state_dict()))
    assert first.resume == again.resume == "episode-boundary"
    again.step(None)
    again.keep()
    kept = again.store.gather(torch.tensor([[5, 6]]))
    assert kept.observation[0, :, 1].tolist() == [5, 0] and kept.observation[0, 1, 0] == kept.next_observation[0, 1, 0]
    assert again.store.window(torch.tensor([[5]]), 2)[1].tolist() == [[[True, False]]]  # nothing follows what was seen before

    policy = world.policy(ActorCriticNet(hidden=(4,)), streams)
    sources = [world.source(Steps(1, 6), streams) for _ in range(2)]
    sources[0].sample(policy, 0)
    sources[1].load_state_dict(stored(sources[0].state_dict()))
    assert sources[1].resume == "episode-boundary"
    rollout = sources[1].sample(policy, 0)
    assert rollout.inputs["observation"][0, 0, :, 1].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_run_says_how_it_resumes_where_that_turns_out_late(tmp_path):
    told = []
    options = {"steps": 40, "every": 20, "episodes": 1, "max_evaluation_steps": 5, "hidden": (4,), "learning_starts": 10, "batch_size": 4}
    run = operant.train("td3", Later, out=tmp_path / "run", listener=lambda update: told.append(update.message), **options)
    assert json.loads((run.path / "run.json").read_text())["resume"] == "episode-boundary"
    assert sum("can no longer give its state" in message for message in told) == 1


def test_foreign_wrapper_is_not_promised_bitwise():
    class Hidden(gymnasium.Wrapper):
        pass

    assert GymnasiumEnvironments(lambda: Hidden(gymnasium.make("CartPole-v1")), [1], "hidden").resume == "episode-boundary"


def test_state_of_other_environments_is_refused():
    state = adapted("CartPole-v1", [1, 2]).state_dict()
    with pytest.raises(BadInput, match="2 rows of 'CartPole-v1' does not fit these environments: 1 rows"):
        adapted("CartPole-v1", [1]).load_state_dict(state)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
def test_same_stream_as_native(env_id):
    environments, native = adapted(env_id, [4, 5, 6]), NATIVE[env_id]([4, 5, 6])
    assert_array_equal(environments.reset(), native.reset())
    rng = np.random.default_rng(3)
    for _ in range(250):
        action = act(native, rng) * (5 if env_id == "Pendulum-v1" else 1)  # past the bounds
        assert_same(native.step(action), environments.step(action))


def test_true_outcome_and_new_start():
    environments = GymnasiumEnvironments(lambda: Counter(3), [1, 2], "counter")
    first = environments.reset()
    for count in (1, 2, 3):
        step = environments.step(np.array([0, 2]))
        assert_array_equal(step.next_observation[:, 0], [count, count])
        assert_array_equal(step.reward, [-1.0, 1.0])  # the actions start at -1
    assert_array_equal(step.truncated, [True, True])
    assert not step.terminated.any()
    assert_array_equal(step.next_observation[:, 1], first[:, 1])
    assert_array_equal(step.observation[:, 0], [0.0, 0.0])
    assert (step.observation[:, 1] != first[:, 1]).all()
    assert environments.observation is step.observation
    step = environments.step(np.array([0, 2]))
    assert step.next_observation is step.observation


def test_no_time_limit():
    environments = GymnasiumEnvironments(gymnasium.envs.classic_control.PendulumEnv, [1], "endless")
    environments.reset()
    assert not any(environments.step(np.zeros((1, 1), np.float32)).truncated[0] for _ in range(500))


def test_discrete_observations_are_one_hot():
    environments, env = adapted("FrozenLake-v1", [1]), gymnasium.make("FrozenLake-v1")
    start, _ = env.reset(seed=1)
    assert_array_equal(environments.reset()[0], np.eye(16)[start])
    for action in (1, 2, 1, 2, 1):
        seen, reward, terminated, truncated, _ = env.step(action)
        step = environments.step(np.array([action]))
        assert_array_equal(step.next_observation[0], np.eye(16, dtype=np.float32)[seen])
        assert (step.reward[0], step.terminated[0], step.truncated[0]) == (reward, terminated, truncated)
        if terminated or truncated:
            env.reset()


def test_boxes_of_any_shape():
    class Picture(gymnasium.Env):
        observation_space = spaces.Box(0, 255, (2, 3), np.uint8)
        action_space = spaces.Box(np.array([[-1.0], [0.0]]), np.array([[1.0], [3.0]]), dtype=np.float64)

        def reset(self, *, seed=None, options=None):
            return np.arange(6, dtype=np.uint8).reshape(2, 3), {}

        def step(self, action):
            assert action.shape == (2, 1)
            assert action.dtype == np.float64
            return np.full((2, 3), 255, np.uint8), float(action.sum()), False, False, {}

    environments = GymnasiumEnvironments(Picture, [1], "picture")
    first = environments.reset()
    assert_array_equal(first, [[0, 1, 2, 3, 4, 5]])
    assert first.dtype == np.float32
    assert environments.step(np.array([[-7.0, 9.0]], np.float32)).reward[0] == 2.0  # clipped to -1 and 3


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (spaces.Dict(a=spaces.Text(3), b=spaces.Discrete(2)), spaces.Discrete(2), r"observation space Dict\(.*'a' is Text.*FilterObservation\(env, \['b'\]\)"),
        (spaces.Tuple([spaces.Graph(spaces.Discrete(2), None)]), spaces.Discrete(2), r"observation space Tuple\(.*'0' is Graph.*supported are Box, Discrete"),
        (spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2)), r"action space Sequence\(.*supported are Box, Discrete, MultiDiscrete"),
        (spaces.Discrete(2), spaces.Box(0, 5, (1,), np.int64), r"action space Box\("),
    ],
)
def test_unsupported_spaces(observation, action, message):
    class Odd(gymnasium.Env):
        observation_space = observation
        action_space = action

    with pytest.raises(BadInput, match=message):
        GymnasiumEnvironments(Odd, [1], "odd")


def test_bad_actions():
    environments = adapted("Pendulum-v1", [1, 2])
    environments.reset()
    with pytest.raises(BadInput, match=r"shape \(2,\); expected \(2, 1\)"):
        environments.step(np.zeros(2, np.float32))
    with pytest.raises(BadInput, match="row 1: the action has a NaN"):
        environments.step(np.array([[0.0], [np.nan]], np.float32))
    environments = adapted("CartPole-v1", [1, 2])
    environments.reset()
    for action in ([0, -1], [0, 2]):
        with pytest.raises(BadInput, match="not all from 0 to 1"):
            environments.step(np.array(action))
    with pytest.raises(BadInput, match="expected .2,. integers"):
        environments.step(np.array([0.0, 1.0]))


def test_gymnasiums_checker_is_taken_off():
    environments = GymnasiumEnvironments(lambda: gymnasium.make("CartPole-v1"), [1], "checked")
    assert "PassiveEnvChecker" in str(gymnasium.make("CartPole-v1"))
    assert "PassiveEnvChecker" not in str(environments.envs[0])


def test_make_chooses():
    assert type(make_environments("CartPole-v1", [1])) is NATIVE["CartPole-v1"]
    changed = make_environments("CartPole-v1", [1], env_kwargs={"sutton_barto_reward": True})
    changed.reset()
    assert changed.step(np.array([0])).reward[0] == 0.0
    own = make_environments(Counter, [1], env_kwargs={"length": 1})
    own.reset()
    assert own.step(np.array([0])).truncated[0]
    assert make_environments("Hopper-v5", [1]).observation_space.shape == (11,)
    assert make_environments("ogbench:pointmaze-medium-v0", [1]).name == "pointmaze-medium-v0"


@pytest.mark.parametrize(
    ("env", "kwargs", "message"),
    [
        ("CartPol-v1", None, "unknown Gymnasium environment 'CartPol-v1': did you mean CartPole-v1"),
        ("HalfCheetah", None, "did you mean HalfCheetah-v5"),
        ("no_such_package:Thing-v0", None, "'no_such_package:Thing-v0' cannot be made here: No module named 'no_such_package'"),
        ("CartPole-v1", {"colour": 1}, "unexpected keyword argument 'colour'"),
        (Counter, {"width": 1}, "environment 'Counter': .*unexpected keyword argument 'width'"),
        (dict, None, "row 0: making it gave a builtins.dict; expected a gymnasium.Env"),
    ],
)
def test_make_refuses(env, kwargs, message):
    with pytest.raises(BadInput, match=message) as caught:
        make_environments(env, [1], env_kwargs=kwargs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "module", "extra"),
    [
        ("Walker2d-v5", "mujoco", "mujoco"),
        ("LunarLander-v3", "Box2D", "box2d"),
        ("ale_py:PongNoFrameskip-v4", "ale_py", "atari"),
        ("ale_py:ALE/Pong-v5", "ale_py", "atari"),
        ("minatar.gym:MinAtar/Breakout-v1", "minatar", "minatar"),
        ("minigrid:MiniGrid-Empty-5x5-v0", "minigrid", "minigrid"),
    ],
)
def test_a_missing_package_is_named_with_one_command(env, module, extra, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("gymnasium.envs.mujoco", "gymnasium.envs.box2d", module))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput) as caught:
        make_environments(env, [1])
    assert str(caught.value) == f"environment {env!r} is of a package that is not installed: pip install 'operant[{extra}]'"


class Drawn(Counter):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        super().__init__(length=4)
        self.render_mode = render_mode

    def render(self):
        if self.render_mode is None:
            raise RuntimeError("not made for drawing")
        return np.full((2, 3, 3), self.count, np.uint8)


@pytest.fixture
def registered():
    for name, entry in (("OperantDrawn-v0", Drawn), ("OperantPlain-v0", Counter)):
        gymnasium.register(name, entry, disable_env_checker=True)
    yield
    for name in ("OperantDrawn-v0", "OperantPlain-v0"):
        del gymnasium.registry[name]


class Counts:
    """Acts 1 always, and keeps what it saw."""

    def __init__(self):
        self.seen = []

    def act(self, observation, carry):
        assert carry == (len(self.seen) % 4 or None)  # an episode of four steps begins with nothing that is remembered
        self.seen.append(float(observation[0, 0, 0]))
        return np.array([[1]]), len(self.seen) % 4 or 4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_episodes_are_drawn_step_by_step(registered):
    policy = Counts()
    drawn = list(islice(GymWorld("OperantDrawn-v0").draw(policy, 1), 7))
    assert [step.picture[0, 0, 0] for step in drawn] == [0, 1, 2, 3, 0, 1, 2] and drawn[0].picture.shape == (2, 3, 3)
    assert [step.steps for step in drawn] == [0, 1, 2, 3, 4, 1, 2] and [step.over for step in drawn] == [False] * 4 + [True] + [False] * 2
    assert policy.seen == [0, 1, 2, 3, 0, 1]
    cut = list(islice(GymWorld("OperantDrawn-v0", max_evaluation_steps=2).draw(Counts(), 1), 3))
    assert [(step.over, step.cut) for step in cut] == [(False, False)] * 2 + [(False, True)]
    with pytest.raises(NothingToDraw, match="OperantPlain-v0 takes no argument render_mode: let what makes it take one, and pass it on"):
        next(GymWorld("OperantPlain-v0").draw(policy, 1))


def test_a_window_is_the_environment_s_own(monkeypatch):
    made = []

    def windowed(render_mode=None):
        env = Drawn(render_mode)
        env.metadata = {"render_modes": ["human", "rgb_array"]}
        made.append(env)
        return env

    seen = list(islice(GymWorld(windowed).draw(Counts(), 1, window=True), 6))
    assert [step.picture for step in seen] == [None] * 6 and made[-1].render_mode == "human" and seen[0].fps == 30
    with pytest.raises(NothingToDraw, match="render_modes have no human"):
        next(GymWorld(Drawn).draw(Counts(), 1, window=True))


@pytest.mark.skipif(importlib.util.find_spec("pygame") is None, reason="pygame is not installed")
def test_a_native_id_is_drawn_by_gymnasium_s_original():
    world = GymWorld("CartPole-v1")
    drawn = next(world.draw(world.random_policy(), 1))
    assert drawn.picture.shape == (400, 600, 3) and drawn.fps == 50


class OldDraws(gymnasium.Env):
    """Draws from a generator whose seeds have 32 bits."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (1,), np.float32), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.draws = np.random.RandomState(seed)
        return self.draws.random_sample(1).astype(np.float32), {}

    def step(self, action):
        return self.draws.random_sample(1).astype(np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("together", [False, True])
def test_seeds_that_are_too_large_for_an_environment(together):
    make = (lambda num_envs=1: gymnasium.vector.SyncVectorEnv([OldDraws] * num_envs)) if together else OldDraws
    seeds = [2**40 + 5, 7]
    first, again = (make_environments(make, seeds).reset() for _ in range(2))
    assert np.array_equal(first, again)
    assert first[:, 0].tolist() == [np.float32(np.random.RandomState(seed % 2**31).random_sample()) for seed in seeds]
