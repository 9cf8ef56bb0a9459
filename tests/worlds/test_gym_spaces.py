"""Every space that trains: what the environment is given, and what `Run.policy` gives, is an action of its own space, for one observation and for several."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from long_tier import in_turn

import operant
from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence.online.beds import Catch
from operant.nets.distributions import Gaussian, SquashedGaussian, drawn_range
from operant.worlds import make_world
from operant.worlds.gym.spaces import Actions, Observations, action_spec, observation_spec, space_text

OBSERVATIONS = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "picture": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "channels first": spaces.Box(0, 255, (2, 5, 6), np.uint8),
    "grey picture": spaces.Box(0, 255, (5, 7), np.uint8),
    "planes": spaces.Box(0, 1, (10, 10, 4), np.bool_),
    "stack": spaces.Box(0, 255, (2, 6, 6, 3), np.uint8),
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "integers": spaces.Box(-5, 5, (2,), np.int64),
    "discrete": spaces.Discrete(5),
    "discrete from 2": spaces.Discrete(4, start=2),
    "choices": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "bits": spaces.MultiBinary((2, 2)),
    "named": spaces.Dict(
        camera=spaces.Box(0, 255, (6, 6, 3), np.uint8),
        inner=spaces.Dict(speed=spaces.Box(-1, 1, (2,)), gear=spaces.Discrete(3, start=1)),
        on=spaces.MultiBinary(2),
    ),
    "pair": spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2, 2), np.float32)]),
    "goals": spaces.Dict({name: spaces.Box(-1, 1, (2,)) for name in ("observation", "achieved_goal", "desired_goal")}),
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
    "choices": spaces.MultiDiscrete([3, 2]),
    "choices from 1": spaces.MultiDiscrete([3, 2], start=[1, -1]),
    "a table of choices": spaces.MultiDiscrete([[3, 2], [2, 2]]),
    "bits": spaces.MultiBinary(3),
    "a table of bits": spaces.MultiBinary((2, 2)),
    "choices by name": spaces.Dict(left=spaces.Discrete(3, start=2), right=spaces.MultiDiscrete([2, 4])),
    "numbers by name": spaces.Dict(arm=spaces.Box(-1, 1, (2,)), grip=spaces.Box(0, 1, (1,))),
    "a pair": spaces.Tuple([spaces.Box(0.5, 1, (2, 1), np.float32), spaces.Discrete(2, start=-1)]),
    "nested": spaces.Dict(body=spaces.Tuple([spaces.Discrete(3), spaces.Box(-2, -1, (1,))]), keys=spaces.MultiBinary(2)),
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
        return self.observation_space.sample(), total(action), self.count == 5, False, {}


def total(action):
    if isinstance(action, dict):
        return sum(map(total, action.values()))
    return sum(map(total, action)) if isinstance(action, tuple) else float(np.sum(action))


def parts(space, value):
    """Arrays and choices that an element consists of."""
    if isinstance(space, spaces.Dict):
        return [one for key, part in space.items() for one in parts(part, value[key])]
    return [one for part, own in zip(space, value, strict=True) for one in parts(part, own)] if isinstance(space, spaces.Tuple) else [value]


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
    several = gymnasium.vector.utils.create_empty_array(observation, 4, fn=np.zeros)
    several = gymnasium.vector.utils.concatenate(observation, [observation.sample() for _ in range(4)], several)
    chosen = run.policy(several)
    batch = gymnasium.vector.utils.batch_space(action, 4)
    for one in (gymnasium.vector.utils.iterate(batch, chosen) if isinstance(action, spaces.Dict | spaces.Tuple) else chosen):
        assert action.contains(one if action.shape != () or isinstance(action, spaces.Discrete) else np.asarray(one))
    third = list(gymnasium.vector.utils.iterate(gymnasium.vector.utils.batch_space(observation, 4), several))[2]
    for whole, alone in zip(parts(action, chosen), parts(action, run.policy(third)), strict=True):
        np.testing.assert_allclose(whole[2], alone, rtol=1e-5, atol=1e-6)


class Resumable(Strict):
    """Draws its observations from a generator whose state it gives."""

    def __init__(self, observation, action):
        super().__init__(observation, action)
        self.draws = 0

    def seen(self):
        self.draws += 1
        self.observation_space.seed(self.draws)
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        _, info = super().reset()
        self.draws = seed if seed is not None else self.draws
        return self.seen(), info

    def step(self, action):
        _, *rest = super().step(action)
        return self.seen(), *rest

    def state_dict(self):
        return {"draws": self.draws, "count": self.count}

    def load_state_dict(self, state):
        self.draws, self.count = state["draws"], state["count"]


PPO_SETTINGS = {"environments": 1, "rollout_length": 8, "minibatches": 1, "epochs": 1, "hidden": (4,)}
PPO = {"steps": 8} | PPO_SETTINGS
SAC = {"steps": 6, "learning_starts": 2, "batch_size": 4, "hidden": (4,)}


EACH = [*((name, "discrete") for name in OBSERVATIONS), *(("vector", name) for name in [*ACTIONS, *UNBOUNDED]), ("named", "nested"), ("pair", "a pair")]


@pytest.mark.parametrize(("observation", "action"), EACH)
def test_ppo_on_every_space(observation, action, tmp_path):
    """It trains, goes on in the bits of a run that was not stopped, and acts."""
    observation, action = OBSERVATIONS[observation], (ACTIONS | UNBOUNDED)[action]
    run = trained("ppo", observation, action, tmp_path / "run", normalize_observation=True, **PPO)
    follows(run, observation, action)
    again = operant.resume(tmp_path / "run", task=lambda: Strict(observation, action))
    seen = observation.sample()
    for one, other in zip(parts(action, again.policy(seen)), parts(action, run.policy(seen)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("observation", ["picture", "named", "goals", "choices"])
def test_runs_on_every_kind_of_observation_go_on_bit_for_bit(observation):
    spine = get_method("ppo").build(configure("ppo", PPO_SETTINGS | {"normalize_observation": True}))

    def learner():
        world = operant.worlds.make_world(lambda: Resumable(OBSERVATIONS[observation], ACTIONS["nested"]))
        return spine.learner(world, [0, 1], 100, torch.device("cpu"))

    whole, stopped, fresh = learner(), learner(), learner()
    assert whole.resume == "bitwise"
    for _ in range(4):
        whole.iterate()
    for _ in range(2):
        stopped.iterate()
    fresh.load_state_dict(stopped.state_dict())
    for _ in range(2):
        fresh.iterate()
    assert first_difference(fresh.state_dict(), whole.state_dict()) is None


@pytest.mark.parametrize("action", [name for name, space in ACTIONS.items() if isinstance(space, spaces.Box)] + ["numbers by name"])
@pytest.mark.parametrize("observation", ["matrix", "discrete from 2"])
def test_sac_on_every_space(observation, action, tmp_path):
    run = trained("sac-v2", OBSERVATIONS[observation], ACTIONS[action], tmp_path / "run", **SAC)
    follows(run, OBSERVATIONS[observation], ACTIONS[action])


def test_sac_sees_pictures_and_parts(tmp_path):
    run = trained("sac-v2", OBSERVATIONS["named"], ACTIONS["vector"], tmp_path / "run", **SAC)
    follows(run, OBSERVATIONS["named"], ACTIONS["vector"])


@pytest.mark.parametrize("action", [*ACTIONS, *UNBOUNDED])
def test_random_actions_on_every_space(action, tmp_path):
    space = (ACTIONS | UNBOUNDED)[action]
    follows_random = trained("random", OBSERVATIONS["vector"], space, tmp_path / "run", steps=1)
    assert space.contains(follows_random.policy(np.zeros(3, np.float32)))


@pytest.mark.parametrize("action", UNBOUNDED)
@pytest.mark.parametrize("method", ["sac-v2", "td3"])
def test_what_acts_through_tanh_refuses_infinite_bounds_before_a_run_exists(method, action, tmp_path):
    with pytest.raises(BadInput, match=f"{method} on gym:.*by tanh, and this one has infinite ones: number 0 of .*; take a policy gradient, such as ppo"):
        trained(method, OBSERVATIONS["vector"], UNBOUNDED[action], tmp_path / "run", **SAC)
    assert not (tmp_path / "run").exists()


class Told(spaces.Text):
    """As MiniGrid's spaces of missions: it tells where in memory the function of its texts is."""

    def __repr__(self):
        return f"Told({test_what_actions_become}, {[lambda: 0]}, None)"


def test_spaces_are_told_without_addresses():
    assert space_text(spaces.Dict({"mission": Told(5), "place": spaces.Discrete(3)})).count("test_what_actions_become") == 1
    assert "0x" not in space_text(Told(5)) and space_text(spaces.Discrete(3)) == "Discrete(3)"
    with pytest.raises(BadInput) as caught:
        observation_spec("x", spaces.Dict({"mission": Told(5), "place": spaces.Discrete(3)}), Actions("x", spaces.Discrete(2)).spec)
    assert "0x" not in str(caught.value)


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


def test_actions_are_told_by_what_they_are():
    one, several, numbers = spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.Box(-1, 1, (2,), np.float32)
    told = {"discrete ones": one, "multi-discrete ones": several, "continuous ones": numbers}
    told |= {"continuous and discrete ones side by side": spaces.Dict(a=one, b=numbers)}
    told |= {"continuous and multi-discrete ones side by side": spaces.Tuple((numbers, several))}
    assert {action_spec("task", space).kinds_in_words for space in told.values()} == set(told)


def test_observations_that_are_none():
    def reader(observation):
        action = action_spec("x", spaces.Discrete(2))
        return Observations("gym:x", observation, observation_spec("x", observation, action), action)

    matrix = reader(OBSERVATIONS["matrix"])
    rows, one = matrix.rows([[1, 2, 3], [4, 5, 6]])
    assert one and rows.tolist() == [[1, 2, 3, 4, 5, 6]]
    rows, one = matrix.rows(np.zeros((0, 2, 3)))
    assert not one and rows.shape == (0, 6)
    for bad in (np.zeros(6), np.zeros((3, 2)), np.zeros((4, 6)), [[1, 2], [3]]):
        with pytest.raises(BadInput, match=r"gym:x has one of shape \(2, 3\), or several of shape \(N, 2, 3\)"):
            matrix.rows(bad)
    with pytest.raises(BadInput, match="observation 1 has a NaN"):
        matrix.rows(np.array([np.zeros((2, 3)), np.full((2, 3), np.nan)]))
    discrete = reader(OBSERVATIONS["discrete from 2"])
    rows, one = discrete.rows([5, 2])
    assert not one and rows.tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    with pytest.raises(BadInput, match="observation 1 is not an integer from 2 to 5"):
        discrete.rows(1)
    goals = reader(OBSERVATIONS["goals"])
    one = {name: np.full(2, place) for place, name in enumerate(("observation", "achieved_goal", "desired_goal"))}
    assert goals.rows(one)[0].tolist() == [[1, 1, 2, 2, 0, 0]] and goals.rows(one)[1]  # in the order of the space, whose keys are sorted
    assert goals.rows([one, one])[0].shape == (2, 6) and not goals.rows([one])[1]
    assert goals.rows({name: np.zeros((3, 2)) for name in one})[0].shape == (3, 6)
    with pytest.raises(BadInput, match="observation 'desired_goal' is missing: .* has no 'desired_goal'"):
        goals.rows({"observation": np.zeros(2), "achieved_goal": np.zeros(2)})
    with pytest.raises(BadInput, match=r"whose 'observation' has shape \(3,\); gym:x has one of shape \(2,\), or several of shape \(N, 2\)"):
        goals.rows(one | {"observation": np.zeros(3)})


@pytest.mark.parametrize(
    ("what", "space", "message"),
    [
        ("observation", spaces.Box(0, 1, (0,)), "has no elements"),
        ("action", spaces.Box(0, 1, (2, 0)), "has no elements"),
        ("observation", spaces.Discrete(10**9), "is 1,000,000,000 numbers wide once it is flat; at most 1,000,000"),
        ("action", spaces.Discrete(10**12), "numbers wide"),
        (
            "observation",
            spaces.Dict(mission=spaces.Sequence(spaces.Discrete(3)), image=spaces.Box(0, 255, (7, 7, 3), np.uint8), direction=spaces.Discrete(4)),
            r"'mission' is Sequence.*FilterObservation\(env, \['direction', 'image'\]\) keeps the rest",
        ),
        ("observation", spaces.Sequence(spaces.Discrete(3)), "supported are Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of .*Transform"),
        ("observation", spaces.Text(5), "Text.* is not supported"),
        ("observation", spaces.Graph(spaces.Discrete(2), None), "Graph.* is not supported"),
        ("action", spaces.Dict(a=spaces.Text(5)), "'a' is Text.*Boxes of floats"),
        ("action", spaces.Tuple([]), "has no elements"),
        ("action", spaces.Box(-1e300, 1e300, (2,), np.float64), r"'x': actions have a bound of -1e\+300, and are given as float32; nearest: -3.4e\+38, or an"),
        ("action", spaces.Dict(a=spaces.Box(-np.inf, 1e39, (1,), np.float64), b=spaces.Discrete(2)), r"a bound of 1e\+39"),
        ("observation", spaces.Dict({"a.b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2))}), "two parts of one name"),
        ("observation", spaces.Dict(action_mask=spaces.MultiBinary(2)), "nothing but an action mask"),
        ("observation", spaces.Dict(x=spaces.Discrete(2), action_mask=spaces.MultiBinary(3)), "1 or 0 for each of 2 choices"),
    ],
)
def test_spaces_that_do_not_train(what, space, message):
    with pytest.raises(BadInput, match=message):
        action_spec("x", space) if what == "action" else observation_spec("x", space, action_spec("x", spaces.Discrete(2)))


def test_hints_work():
    """What the message about a Dict says makes an environment that trains."""

    class Grid(gymnasium.Env):
        observation_space = spaces.Dict(mission=spaces.Text(3), image=spaces.Box(0, 255, (2, 2), np.uint8), direction=spaces.Discrete(4))
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, True, False, {}

    with pytest.raises(BadInput) as caught:
        operant.worlds.make_world(Grid)
    assert "FilterObservation(env, ['direction', 'image'])" in str(caught.value)
    world = operant.worlds.make_world(lambda: gymnasium.wrappers.FilterObservation(Grid(), ["direction", "image"]))
    assert world.observation.size == 8


def test_the_wrapper_that_whole_numbers_are_told_trains():
    space = spaces.Box(-2, 5, (2,), np.int64)
    with pytest.raises(BadInput) as caught:
        operant.worlds.make_world(lambda: Strict(OBSERVATIONS["vector"], space))
    code = str(caught.value).rpartition("; ")[2].rpartition(" makes a ")[0]
    made = lambda: eval(code, {"gymnasium": gymnasium, "np": np, "env": Strict(OBSERVATIONS["vector"], space)})  # noqa: E731, S307
    world = operant.worlds.make_world(made)
    environments = world.make([0])
    environments.reset()
    environments.step(world.random_policy().act(torch.zeros(1, 1, 3))[0][0])


@in_turn("ppo", "src/operant/nets/encoders", "src/operant/worlds/gym/")
def test_ppo_learns_from_pixels():
    """Each of three seeds catches 17 of 20 balls on a small picture (a return of 0.7); one that does not move catches a quarter."""
    hyper = {"environments": 32, "rollout_length": 32, "epochs": 3, "hidden": (32,), "learning_rate": 1.5e-3, "entropy_coefficient": 0.05}
    one = get_method("ppo").build(configure("ppo", hyper)).learner(operant.worlds.make_world(lambda: Catch(4)), [0, 1, 2], 100_000, torch.device("cpu"))
    for _ in range(15):
        for _ in range(3):
            one.iterate()
        score = one.world.evaluate(one.policy, 3, episodes=100).values.mean(1)
        if score.min() > 0.7:
            return
    raise AssertionError(f"returns {score}")


def test_exploration_covers_the_action_space():
    """An actor that is not squashed explores in the environment's units; a squashed one in its own, from -1 to 1."""
    space = spaces.Box(np.float32([10.0, -3.0]), np.float32([20.0, -2.5]))
    action = action_spec("x", space)
    drawn = Gaussian(action).uniform(Streams([0, 1]), "explore", 4000)
    assert drawn.shape == (2, 4000, 2)
    low, high = drawn.flatten(0, 1).min(0).values, drawn.flatten(0, 1).max(0).values
    np.testing.assert_allclose(low, [10.0, -3.0], atol=0.02)
    np.testing.assert_allclose(high, [20.0, -2.5], atol=0.02)
    np.testing.assert_allclose(drawn.mean((0, 1)), [15.0, -2.75], atol=0.1)
    squashed = SquashedGaussian(action).uniform(Streams([0]), "explore", 4000)
    assert -1 <= squashed.min() < -0.99 and 0.99 < squashed.max() <= 1
    low, high = drawn_range(np.float32([-np.inf, 2, -np.inf, 0]), np.float32([np.inf, np.inf, -5, 1]))
    assert low.tolist() == [-1, 2, -7, 0] and high.tolist() == [1, 4, -5, 1]


def test_missions_of_minigrid_are_words():
    """One-hot words in the order of the sentence; a text of other words is refused, and so is a space that does not know its texts."""
    minigrid = pytest.importorskip("minigrid", reason="pip install 'operant[minigrid]'")
    assert minigrid
    world = make_world("gym:MiniGrid-Fetch-5x5-N2-v0")
    field = next(field for field in world.observation.fields if field.name == "mission")
    seen = {"image": np.zeros((7, 7, 3), np.uint8), "direction": 1, "mission": "get a green key"}
    rows, one = world._observations.rows(seen)
    said = rows[0, world.observation.slices["mission"]].reshape(field.shape[0], field.counts[0])
    assert one and (said.sum(1) == 1).all()
    assert (said[4:, 0] == 1).all() and len(set(said[:4].argmax(1).tolist())) == 4
    other = world._observations.rows(seen | {"mission": "get a key green"})[0]
    assert not np.array_equal(other, rows)
    with pytest.raises(BadInput, match=r"the word 'mauve' is none of them"):
        world._observations.rows(seen | {"mission": "get a mauve key"})
    assert world._observations.rows([seen, seen])[0].shape == (2, world.observation.size)
    with pytest.raises(BadInput, match=r"'mission' is MissionSpace.*FilterObservation\(env, \['direction', 'image'\]\) keeps the rest"):
        make_world("gym:BabyAI-GoToObj-v0")


def test_pictures_of_bits_are_kept_as_bytes():
    pytest.importorskip("minatar", reason="pip install 'operant[minatar]'")
    world = make_world("gym:MinAtar/Breakout-v1")
    (field,) = world.observation.fields
    assert (field.shape, field.dtype, field.bytes, field.top) == ((10, 10, 4), "bool", True, 1)
    assert set(np.unique(world.make([0]).reset())) == {0.0, 1.0}
