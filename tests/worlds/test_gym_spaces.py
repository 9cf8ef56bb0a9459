"""Every space that trains: what the environment is given, and what `Run.policy` gives, is an action of its own space, for one observation and for several."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.distributions import Gaussian, SquashedGaussian, drawn_range
from operant.worlds.gym.spaces import Actions, Observations, supported

OBSERVATIONS = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "picture": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "integers": spaces.Box(-5, 5, (2,), np.int64),
    "discrete": spaces.Discrete(5),
    "discrete from 2": spaces.Discrete(4, start=2),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "discrete from -1": spaces.Discrete(2, start=-1),
    "vector": spaces.Box(-1, 1, (2,), np.float32),
    "narrow": spaces.Box(np.float32([0.25, -3]), np.float32([0.5, -2.5])),
    "matrix": spaces.Box(-0.1, 0.1, (2, 2), np.float32),
    "scalar": spaces.Box(-0.1, 0.1, (), np.float32),
    "float64": spaces.Box(-0.1, 0.1, (2,), np.float64),
    "float16": spaces.Box(-0.1, 0.1, (2,), np.float16),
}
UNBOUNDED = {
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "above": spaces.Box(2, np.inf, (1,), np.float32),
    "below": spaces.Box(-np.inf, -5, (1, 1), np.float32),
}


class Strict(gymnasium.Env):
    """Takes no action that is not in its space, and gives observations that are in its own."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action
        self.observation_space.seed(0)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        assert not isinstance(self.action_space, spaces.Discrete) or hash(action) is not None
        self.count += 1
        return self.observation_space.sample(), float(np.sum(action)), self.count == 5, False, {}


def trained(method, observation, action, path, **settings):
    return operant.train(method, lambda: Strict(observation, action), out=path, episodes=1, **settings)


def follows(run, observation, action):
    """One observation and several, as the environment gives them, give actions that it takes."""
    env = Strict(observation, action)
    seen, _ = env.reset()
    for _ in range(3):
        chosen = run.policy(seen)
        assert action.contains(chosen)
        seen, *_ = env.step(chosen)
    several = np.stack([observation.sample() for _ in range(4)])
    chosen = run.policy(several)
    assert chosen.shape == (4, *action.shape)
    assert all(action.contains(one if action.shape or isinstance(action, spaces.Discrete) else np.asarray(one)) for one in chosen)
    np.testing.assert_allclose(chosen[2], run.policy(several[2]), rtol=1e-5, atol=1e-6)


PPO = {"steps": 8, "environments": 1, "rollout_length": 8, "minibatches": 1, "epochs": 1, "hidden": (4,)}
SAC = {"steps": 6, "learning_starts": 2, "batch_size": 4, "hidden": (4,)}


@pytest.mark.parametrize("action", [*ACTIONS, *UNBOUNDED])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_ppo_on_every_space(observation, action, tmp_path):
    observation, action = OBSERVATIONS[observation], (ACTIONS | UNBOUNDED)[action]
    run = trained("ppo", observation, action, tmp_path / "run", **PPO)
    follows(run, observation, action)
    again = operant.resume(tmp_path / "run", task=lambda: Strict(observation, action))
    seen = observation.sample()
    np.testing.assert_array_equal(again.policy(seen), run.policy(seen))


@pytest.mark.parametrize("action", [name for name, space in ACTIONS.items() if isinstance(space, spaces.Box)])
@pytest.mark.parametrize("observation", ["matrix", "discrete from 2", "scalar"])
def test_sac_on_every_space(observation, action, tmp_path):
    run = trained("sac-v2", OBSERVATIONS[observation], ACTIONS[action], tmp_path / "run", **SAC)
    follows(run, OBSERVATIONS[observation], ACTIONS[action])


@pytest.mark.parametrize("action", [*ACTIONS, *UNBOUNDED])
def test_random_actions_on_every_space(action, tmp_path):
    space = (ACTIONS | UNBOUNDED)[action]
    follows_random = trained("random", OBSERVATIONS["vector"], space, tmp_path / "run", steps=1)
    assert space.contains(follows_random.policy(np.zeros(3, np.float32)))


@pytest.mark.parametrize("action", UNBOUNDED)
def test_sac_refuses_infinite_bounds_before_a_run_exists(action, tmp_path):
    with pytest.raises(BadInput, match="kept within the bounds of the action space by tanh, and Box.*has infinite ones"):
        trained("sac-v2", OBSERVATIONS["vector"], UNBOUNDED[action], tmp_path / "run", **SAC)
    assert not (tmp_path / "run").exists()


def test_what_actions_become():
    box = Actions("x", spaces.Box(np.float32([[-1.0], [0.0]]), np.float32([[1.0], [3.0]])))
    got = box.to_environment(np.array([[-7.0, 9.0], [0.5, 1.0]], np.float32), 2)
    np.testing.assert_array_equal(got, [[[-1.0], [3.0]], [[0.5], [1.0]]])
    np.testing.assert_array_equal(box.of_row(got, 0), [[-1.0], [3.0]])
    discrete = Actions("x", spaces.Discrete(3, start=-1))
    assert discrete.of_row(discrete.to_environment(np.array([0, 2]), 2), 1) == 1
    scalar = Actions("x", spaces.Box(-1, 1, (), np.float32))
    one = scalar.of_row(scalar.to_environment(np.array([[3.0]], np.float32), 1), 0)
    assert isinstance(one, np.ndarray) and one.shape == () and one == 1.0


def test_observations_that_are_none():
    matrix = Observations("gym:x", OBSERVATIONS["matrix"])
    rows, one = matrix.rows([[1, 2, 3], [4, 5, 6]])
    assert one and rows.tolist() == [[1, 2, 3, 4, 5, 6]]
    rows, one = matrix.rows(np.zeros((0, 2, 3)))
    assert not one and rows.shape == (0, 6)
    for bad in (np.zeros(6), np.zeros((3, 2)), np.zeros((4, 6)), [[1, 2], [3]]):
        with pytest.raises(BadInput, match=r"gym:x has one of shape \(2, 3\), or several of shape \(N, 2, 3\)"):
            matrix.rows(bad)
    with pytest.raises(BadInput, match="observation 1 has a NaN"):
        matrix.rows(np.array([np.zeros((2, 3)), np.full((2, 3), np.nan)]))
    discrete = Observations("gym:x", OBSERVATIONS["discrete from 2"])
    rows, one = discrete.rows([5, 2])
    assert not one and rows.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    with pytest.raises(BadInput, match="observation 1 is not an integer from 2 to 5"):
        discrete.rows(1)


@pytest.mark.parametrize(
    ("what", "space", "message"),
    [
        ("observation", spaces.Box(0, 1, (0,)), "has no elements"),
        ("action", spaces.Box(0, 1, (2, 0)), "has no elements"),
        ("observation", spaces.Discrete(10**9), "is 1,000,000,000 numbers wide once it is flat; at most 1,000,000"),
        ("action", spaces.Discrete(10**12), "numbers wide"),
        ("observation", spaces.MultiDiscrete([3, 2]), r"gymnasium.wrappers.FlattenObservation makes a Box of it"),
        (
            "observation",
            spaces.Dict(mission=spaces.Sequence(spaces.Discrete(3)), image=spaces.Box(0, 255, (7, 7, 3), np.uint8), direction=spaces.Discrete(4)),
            r"FlattenObservation\(FilterObservation\(env, \['direction', 'image'\]\)\) makes a Box",
        ),
        ("observation", spaces.Sequence(spaces.Discrete(3)), "TransformObservation can make a Box of it"),
    ],
)
def test_spaces_that_do_not_train(what, space, message):
    with pytest.raises(BadInput, match=message):
        supported("x", what, space)


def test_hints_work():
    """What the message about a Dict says makes an environment that trains."""

    class Odd(gymnasium.spaces.Space):
        def sample(self, mask=None, probability=None):
            return "go"

        def contains(self, x):
            return True

    class Grid(gymnasium.Env):
        observation_space = spaces.Dict(mission=Odd(), image=spaces.Box(0, 255, (2, 2), np.uint8), direction=spaces.Discrete(4))
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, True, False, {}

    with pytest.raises(BadInput) as caught:
        operant.worlds.make_world(Grid)
    assert "FilterObservation(env, ['direction', 'image'])" in str(caught.value)
    wrappers = gymnasium.wrappers
    world = operant.worlds.make_world(lambda: wrappers.FlattenObservation(wrappers.FilterObservation(Grid(), ["direction", "image"])))
    assert world.observation_size == 8


WRAPPED = {
    "choices": spaces.MultiDiscrete([3, 2]),
    "choices from 1": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "a table of choices": spaces.MultiDiscrete([[3, 2], [2, 2]]),
    "too many choices": spaces.MultiDiscrete([100, 50, 3], start=[0, 2, 0]),
    "bits": spaces.MultiBinary(3),
    "a table of bits": spaces.MultiBinary((2, 2)),
    "many bits": spaces.MultiBinary(20),
    "a choice and a choice": spaces.Dict(left=spaces.Discrete(3), right=spaces.Discrete(2)),
    "a pair of choices": spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2)]),
    "numbers by name": spaces.Dict(arm=spaces.Box(-1, 1, (2,)), grip=spaces.Box(0, 1, (1,))),
    "a pair of numbers": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Box(0, 1, (1,))]),
    "whole numbers": spaces.Box(-2, 5, (2,), np.int64),
}


@pytest.mark.parametrize("action", WRAPPED)
def test_the_wrapper_that_a_refused_action_space_is_told_trains(action):
    space = WRAPPED[action]

    class Taken(Strict):
        def step(self, action):
            assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
            taken.append(action)
            return self.observation_space.sample(), 0.0, True, False, {}

    taken = []
    with pytest.raises(BadInput) as caught:
        operant.worlds.make_world(lambda: Taken(OBSERVATIONS["vector"], space))
    code = str(caught.value).rpartition("Discrete; ")[2].rpartition(" makes a ")[0]
    names = {"gymnasium": gymnasium, "np": np, "env": Taken(OBSERVATIONS["vector"], space)}
    exec(f"env = {code}", names)  # noqa: S102 - as a person writes it, whose name then stands for the wrapper
    names["env"].reset()
    names["env"].step(names["env"].action_space.sample())
    made = lambda: eval(code, {"gymnasium": gymnasium, "np": np, "env": Taken(OBSERVATIONS["vector"], space)})  # noqa: E731, S307
    world = operant.worlds.make_world(made)
    random, environments = world.random_policy(), world.make([0])
    environments.reset()
    for _ in range(60):
        environments.step(random.act(np.zeros((1, 1)))[0])
    if isinstance(world.action_space, spaces.Discrete):
        assert len({str(taken[-1 - place]) for place in range(60)}) == world.action_space.n or world.action_space.n > 8
    assert len({str(one) for one in taken}) > 1


@pytest.mark.parametrize(
    "space",
    [spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3), spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (2,))), spaces.Tuple([spaces.Discrete(2)] * 2)],
)
def test_the_wrapper_that_a_refused_observation_space_is_told_trains(space):
    make = lambda: Strict(space, spaces.Discrete(2))  # noqa: E731
    with pytest.raises(BadInput, match=r"; gymnasium\.wrappers\.FlattenObservation makes a Box of it$"):
        operant.worlds.make_world(make)
    operant.worlds.make_world(lambda: gymnasium.wrappers.FlattenObservation(make()))


def test_exploration_covers_the_action_space():
    """An actor that is not squashed explores in the environment's units; a squashed one in its own, from -1 to 1."""
    space = spaces.Box(np.float32([10.0, -3.0]), np.float32([20.0, -2.5]))
    drawn = Gaussian(space).uniform(Streams([0, 1]), "explore", 4000)
    assert drawn.shape == (2, 4000, 2)
    low, high = drawn.flatten(0, 1).min(0).values, drawn.flatten(0, 1).max(0).values
    np.testing.assert_allclose(low, [10.0, -3.0], atol=0.02)
    np.testing.assert_allclose(high, [20.0, -2.5], atol=0.02)
    np.testing.assert_allclose(drawn.mean((0, 1)), [15.0, -2.75], atol=0.1)
    squashed = SquashedGaussian(space).uniform(Streams([0]), "explore", 4000)
    assert -1 <= squashed.min() < -0.99 and 0.99 < squashed.max() <= 1
    low, high = drawn_range(np.float32([-np.inf, 2, -np.inf, 0]), np.float32([np.inf, np.inf, -5, 1]))
    assert low.tolist() == [-1, 2, -7, 0] and high.tolist() == [1, 4, -5, 1]
