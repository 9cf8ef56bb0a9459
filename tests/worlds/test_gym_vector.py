"""A user's vector environment gives the stream of transitions of its single environments, whatever its automatic reset."""

from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.testing import assert_array_equal

import operant
from operant.core.checkpoint import load_state
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.loops.draw import NStep, Prioritized
from operant.nets.actors import ActionValueNet
from operant.worlds import make_world
from operant.worlds.gym.adapter import GymnasiumEnvironments, VectorEnvironments
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.experience import Experience, Online

SEEDS = [11, 12, 13]


def make(env_id):
    return gymnasium.make(env_id, disable_env_checker=True, **({"max_episode_steps": 17} if env_id != "FrozenLake-v1" else {}))


def act(environments, count, row):
    """An action that depends on the row and its own count of steps, so that ignored steps do not shift it."""
    rng = np.random.default_rng([row, count])
    space = environments.action_space
    return rng.integers(space.n) if isinstance(space, spaces.Discrete) else rng.uniform(-2, 2, space.shape).astype(np.float32)


def transitions(environments, steps):
    """The valid transitions of each row: (observation, action, reward, next observation, terminated, truncated)."""
    observation = environments.reset()
    streams = [[] for _ in range(environments.rows)]
    for _ in range(steps):
        action = np.stack([act(environments, len(stream), row) for row, stream in enumerate(streams)])
        step = environments.step(action)
        assert step.observation.dtype == step.reward.dtype == np.float32
        for row, stream in enumerate(streams):
            if step.valid[row]:
                ends = bool(step.terminated[row]), bool(step.truncated[row])
                stream.append((observation[row].tolist(), action[row].tolist(), float(step.reward[row]), step.next_observation[row].tolist(), ends))
        assert environments.observation is step.observation
        observation = step.observation
    return streams


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Hopper-v5", "FrozenLake-v1"])
def test_same_transitions_under_every_mode(env_id, mode):
    expected = transitions(GymnasiumEnvironments(lambda: make(env_id), SEEDS, env_id), 120)
    vector = VectorEnvironments(SyncVectorEnv([lambda: make(env_id)] * 3, autoreset_mode=mode), SEEDS, env_id)
    assert isinstance(vector, Environments)
    got = transitions(vector, 120)
    ended = 0
    for row in range(3):
        ended += sum(any(transition[-1]) for transition in got[row])
        assert got[row] == expected[row][: len(got[row])]
        assert len(got[row]) == 120 or mode is AutoresetMode.NEXT_STEP
    assert ended >= 9
    if mode is AutoresetMode.NEXT_STEP:
        assert 60 < min(map(len, got)) < 120


def test_shared_buffer_is_copied():
    vector = VectorEnvironments(SyncVectorEnv([lambda: make("CartPole-v1")] * 3, copy=False), SEEDS, "shared")
    first = vector.reset()
    kept = first.copy()
    vector.step(np.zeros(3, np.int64))
    assert_array_equal(first, kept)


def cart():
    """Made in the child processes, so it stands at the top of the module."""
    return make("CartPole-v1")


def test_processes():
    vector = VectorEnvironments(AsyncVectorEnv([cart] * 2, autoreset_mode=AutoresetMode.SAME_STEP), SEEDS[:2], "async")
    try:
        assert transitions(vector, 40) == transitions(GymnasiumEnvironments(cart, SEEDS[:2], "async"), 40)
    finally:
        vector.close()


def test_environment_that_takes_one_seed():
    """Gymnasium's own CartPole vector environment refuses a list of seeds."""
    streams = []
    for _ in range(2):
        vector = VectorEnvironments(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"), SEEDS, "batched")
        streams.append(transitions(vector, 60))
    assert streams[0] == streams[1]
    assert min(map(len, streams[0])) < 60  # it resets in the next step
    for stream in streams[0]:
        for before, after in zip(stream, stream[1:], strict=False):
            assert any(before[-1]) or before[3] == after[0]


def test_resume_starts_new_episodes():
    def fresh():
        return VectorEnvironments(SyncVectorEnv([lambda: make("CartPole-v1")] * 3), SEEDS, "cart")

    vector = fresh()
    first = vector.reset()
    for _ in range(5):
        vector.step(np.ones(3, np.int64))
    state = vector.state_dict()
    resumed, again = fresh(), fresh()
    resumed.load_state_dict(state)
    again.load_state_dict(state)
    assert_array_equal(resumed.observation, again.observation)
    assert (resumed.observation != first).all()
    assert (np.abs(resumed.observation) <= 0.05).all()
    with pytest.raises(BadInput, match="does not fit"):
        VectorEnvironments(SyncVectorEnv([lambda: make("CartPole-v1")]), [1], "cart").load_state_dict(state)


def test_mode_has_to_be_said():
    envs = SyncVectorEnv([lambda: make("CartPole-v1")])
    envs.metadata = {}
    with pytest.raises(BadInput, match="autoreset_mode.*is missing or unknown; set it to one of AutoresetMode.NEXT_STEP"):
        VectorEnvironments(envs, [1], "silent")


def test_number_of_seeds():
    with pytest.raises(BadInput, match="2 seeds for 1 rows"):
        VectorEnvironments(SyncVectorEnv([lambda: make("CartPole-v1")]), [1, 2], "cart")


def test_final_observation_has_to_be_there():
    class Forgetful(SyncVectorEnv):
        def step(self, actions):
            *rest, info = super().step(actions)
            info.pop("final_obs", None)
            return (*rest, info)

    vector = VectorEnvironments(Forgetful([lambda: make("CartPole-v1")], autoreset_mode=AutoresetMode.SAME_STEP), [1], "forgetful")
    vector.reset()
    with pytest.raises(RunFailed, match="'forgetful'.*info\\['final_obs'\\]"):
        for _ in range(17):
            vector.step(np.zeros(1, np.int64))


def test_environment_that_raises_is_named():
    class Broken(gymnasium.Env):
        observation_space = action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            raise RuntimeError("motor lost")

    vector = VectorEnvironments(SyncVectorEnv([Broken]), [1], "broken")
    vector.reset()
    with pytest.raises(RunFailed, match="'broken', after 0 steps: step raised RuntimeError: motor lost"):
        vector.step(np.zeros(1, np.int64))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_replay_holds_the_same_transitions_under_every_mode(mode):
    """A reset that takes a step of its own is no transition: neither kept to be drawn, nor counted as a step of its episode."""

    def filled(make):
        world, streams = make_world("gym:CartPole-v1"), Streams([0, 1])
        policy = ActionValueNet().build(world.observation, world.action, streams, "q")
        experience = Experience(make, Online(environments=3, capacity=600), policy, streams, 1_000)
        for _ in range(60):
            experience.step(lambda seen: (seen[..., 2] > 0).long())
            experience.keep()
        return experience

    def kept(store):
        """The transitions of each lane of each seed, in order."""
        most = int(torch.as_tensor(store.count).max())
        found = store.gather(store.pick(((torch.arange(most) + 0.5) / store.count).clamp(max=1).expand(2, -1)))
        lanes = [[[], [], []], [[], [], []]]
        for seed, count in enumerate([store.count] * 2 if isinstance(store.count, int) else store.count.flatten().tolist()):
            for number in range(count):
                values = [x[seed, number].tolist() for name, x in sorted(found.tensors().items()) if name != "index"]
                lanes[seed][int(found.index[seed, number]) % 3].append(values)
        return lanes

    vector = filled(lambda seeds: VectorEnvironments(SyncVectorEnv([lambda: make("CartPole-v1")] * 6, autoreset_mode=mode), seeds, "cart"))
    single = filled(lambda seeds: GymnasiumEnvironments(lambda: make("CartPole-v1"), seeds, "cart"))
    for ours, wanted in zip(sum(kept(vector.store), []), sum(kept(single.store), []), strict=True):
        assert ours == wanted[: len(ours)] and (len(ours) == 60 or mode is AutoresetMode.NEXT_STEP) and len(ours) > 40
    if mode is AutoresetMode.NEXT_STEP:
        assert vector.store.size == 180 and int(vector.store.count.sum()) < 360
        drawer = Prioritized(512).bind({"replay": vector.store}, Streams([0, 1]), "draw", [NStep(3, 0.9)])
        assert vector.store.there(drawer.draw().index).all()
    for seed in range(2):
        lengths = [length for _, length, _ in single.episodes[seed]]
        assert len(vector.episodes[seed]) >= 3 and {length for _, length, _ in vector.episodes[seed]} <= set(lengths)


@pytest.mark.parametrize("key", ["stream-q", "stream-sarsa", "stream-ac"])
def test_who_learns_from_each_step_refuses_a_reset_that_takes_one(key: str, tmp_path):
    """Before anything is written, and not when the first episode ends."""
    task = partial(gymnasium.make_vec, "CartPole-v1", vectorization_mode="vector_entry_point")
    with pytest.raises(BadInput, match="resets by a step of its own .NEXT_STEP autoreset.*give it SAME_STEP"):
        operant.train(key, task, steps=20, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_value_learning_on_a_reset_that_takes_a_step(tmp_path):
    """Also from a checkpoint, which knows which places hold none."""
    options = {"episodes": 1, "learning_starts": 40, "batch_size": 8, "hidden": (8,), "environments": 3, "progress": False, "threads": 1}
    task = partial(gymnasium.make_vec, "CartPole-v1", vectorization_mode="vector_entry_point")
    run = operant.train("dqn", task, steps=300, every=150, out=tmp_path / "run", **options)
    assert run.result["score"]["per_seed"][0] >= 8
    resumed = operant.resume(tmp_path / "run", steps=450, task=task, progress=False)
    state = load_state(resumed.path / "checkpoints" / "last")[0]["learner"]["experience"]["store"]
    assert int(state["holes"]["count"][0, 0]) == int(state["holes"]["there"].sum()) < state["size"] == 450
