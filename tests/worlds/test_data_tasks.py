"""Offline tasks by name: their data, the environment that they are from, and runs on files as a person has them."""

import json
import pickle

import gymnasium
import h5py
import numpy as np
import ogbench.relabel_utils
import pytest
import torch
from gymnasium import spaces

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.nets.actors import ActorNet
from operant.worlds import make_world
from operant.worlds.data.collect import collect, make_dataset
from operant.worlds.data.formats import load, save_npz
from operant.worlds.data.tasks import Registered, load_task
from operant.worlds.gym.world import GymWorld
from operant.worlds.names import OGBENCH

MEDIUM = "pointmaze-medium-navigate-v0"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPERANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def navigated():
    return collect(MEDIUM, steps=6500, seed=0)


# OGBench


def test_single_task_rewards_equal_ogbench(cache, navigated):
    save_npz(navigated, cache / "data" / f"{MEDIUM}-seed0-6500.npz")
    reached = 0
    for task in range(1, 6):
        found = load_task(f"ogbench:pointmaze-medium-navigate-singletask-task{task}-v0")
        data = found.dataset
        env = gymnasium.make(f"pointmaze-medium-singletask-task{task}-v0")
        theirs = {"qpos": navigated.observation}
        ogbench.relabel_utils.relabel_dataset("pointmaze-medium-v0", env, theirs)
        np.testing.assert_array_equal(data.reward, theirs["rewards"])
        np.testing.assert_array_equal(data.terminated, theirs["masks"] == 0)
        np.testing.assert_array_equal(data.truncated, navigated.truncated)
        assert data.metadata["reward"] == found.reward == "singletask" and found.score == "success"
        assert found.environment == f"pointmaze-medium-singletask-task{task}-v0"
        data.validate()
        reached += data.terminated.sum()
    assert reached > 50
    default = load_task("pointmaze-medium-navigate-singletask-v0")
    assert default.dataset.metadata["goal"] == [20.0, 20.0] and default.environment == "pointmaze-medium-singletask-v0"


@pytest.mark.parametrize("task", range(1, 6))
def test_the_oracle_reaches_each_goal_in_the_evaluation_environment(cache, task):
    make_dataset(MEDIUM, steps=10, seed=0)
    found = load_task(f"ogbench:pointmaze-medium-navigate-singletask-task{task}-v0")
    env = pickle.loads(pickle.dumps(found.world.environment))()
    maze = env.unwrapped
    env.reset(seed=0)
    total, ended = 0.0, False
    while not ended:
        direction = maze.get_oracle_subgoal(maze.get_xy(), maze.cur_goal_xy)[0] - maze.get_xy()
        _, reward, terminated, truncated, info = env.step(direction / (np.linalg.norm(direction) + 1e-6))
        total, ended = total + reward, terminated or truncated
    assert terminated and info["success"] == 1.0 and reward == 0.0 and -200 < total < -60


def test_messages_name_the_environment_and_not_what_makes_it(cache):
    make_dataset(MEDIUM, steps=10, seed=0)
    world = load_task(f"ogbench:{MEDIUM}").world
    assert world.task == "gym:pointmaze-medium-v0"
    with pytest.raises(BadInput, match="^gym:pointmaze-medium-v0: observation 'desired_goal' is missing"):
        world.act(None, np.zeros(4))


def test_goal_conditioned_task_has_no_reward(cache):
    make_dataset(MEDIUM, steps=10, seed=0)
    found = load_task(f"ogbench:{MEDIUM}")
    assert not found.dataset.reward.any() and found.reward == "none"
    observation, reset_info = found.world.environment().reset(seed=0)
    assert observation["observation"].shape == (2,) and np.array_equal(observation["desired_goal"], reset_info["goal"])  # a policy sees what is to be reached


def test_the_longest_data_are_taken_unless_others_are_named(cache):
    for steps, seed in ((20, 0), (30, 2), (30, 1)):
        make_dataset(MEDIUM, steps=steps, seed=seed)
    chosen = [load_task(MEDIUM, **which).dataset.metadata for which in ({}, {"seed": 2}, {"steps": 20})]
    assert [(said["steps"], said["seed"]) for said in chosen] == [(30, 1), (30, 2), (20, 0)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ogbench:pointmaze-large-navigate-singletask-task2-v0", "operant data make ogbench:pointmaze-large-navigate-v0 --steps 100000 --seed 0"),
        ("ogbench:pointmaze-medium-navigate-singletask-task6-v0", "did you mean pointmaze-medium-navigate-singletask-task"),
        ("ogbench:cube-single-play-v0", "--task data:~/.ogbench/data/cube-single-play-v0.npz --environment cube-single-v0"),
        ("ogbench:antmaze-medium-stitch-v0", "https://rail.eecs.berkeley.edu/datasets/ogbench/antmaze-medium-stitch-v0.npz"),
        (
            "ogbench:cube-double-noisy-singletask-task2-v0",
            "ogbench.make_env_and_datasets('cube-double-noisy-singletask-task2-v0')[1])\", then --task data:cube-double-noisy-singletask-task2-v0.npz "
            "--environment cube-double-singletask-task2-v0",
        ),
        ("dta:x.npz", "unknown scheme of an offline task 'dta': did you mean data"),
    ],
)
def test_names_without_data_say_what_leads_to_them(cache, name, said):
    with pytest.raises(BadInput) as caught:
        load_task(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_environment_that_a_hint_names_is_one_of_ogbench(cache):
    published = ("antmaze-giant-navigate", "humanoidmaze-large-stitch", "antsoccer-arena-navigate", "cube-triple-play", "scene-noisy", "puzzle-4x5-play")
    for name in published + ("visual-antmaze-medium-explore", "powderworld-easy-play"):
        with pytest.raises(BadInput) as caught:
            load_task(f"ogbench:{name}-v0")
        assert str(caught.value).rpartition("--environment ")[2] in gymnasium.registry and f"{name}-v0" not in OGBENCH


def test_an_ogbench_task_brings_its_own_environment(cache):
    with pytest.raises(BadInput, match="brings its environment"):
        load_task(f"ogbench:{MEDIUM}", environment="CartPole-v1")


# the environment of a file


def cartpole(rows=40, **changes):
    """Rows of CartPole in D4RL's names, whose recordings are cut every ten steps."""
    generator = np.random.default_rng(0)
    cut = np.zeros(rows, dtype=bool)
    cut[9::10] = True
    arrays = {
        "observations": generator.uniform(-0.1, 0.1, (rows, 4)).astype(np.float32),
        "actions": generator.integers(0, 2, rows),
        "rewards": np.ones(rows, dtype=np.float32),
        "terminals": np.zeros(rows, dtype=bool),
        "timeouts": cut,
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write(path, arrays):
    """An npz or HDF5 file."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize(
    ("said", "given", "environment", "max_steps"),
    [
        ({}, "CartPole-v1", "CartPole-v1", 500),
        ({"environment": "CartPole-v0"}, None, "CartPole-v0", 200),
        ({"environment": "Acrobot-v1"}, "CartPole-v1", "CartPole-v1", 500),
        ({"metadata": json.dumps({"environment": "CartPole-v1", "environment_kwargs": {"max_episode_steps": 20}})}, None, "CartPole-v1", 20),
        ({"metadata": json.dumps({"environment": "CartPole-v0", "environment_kwargs": {"max_episode_steps": 20}})}, "CartPole-v1", "CartPole-v1", 500),
        ({"environment": "CartPole-v1", "environment_kwargs": '{"max_episode_steps": 20}'}, None, "CartPole-v1", 20),
    ],
)
def test_a_file_names_its_environment_or_is_told_it(tmp_path, suffix, said, given, environment, max_steps):
    world = make_world(f"data:{write(tmp_path / f'x{suffix}', cartpole() | said)}", **({"environment": given} if given else {}))
    assert world.environment_id == environment and world.score == "return"
    evaluation = world.evaluate(Balancing(), 1, episodes=1)
    assert evaluation.details["length"].item() == max_steps  # balanced to the end


class Balancing:
    """A linear controller that holds CartPole upright for ever."""

    def act(self, observation, carry):
        return (observation @ observation.new_tensor([0.1, 0.5, 3.0, 1.0]) > 0).long().numpy(), carry


def test_hdf5_attributes_name_the_environment(tmp_path):
    path = write(tmp_path / "x.hdf5", cartpole())
    with h5py.File(path, "a") as file:
        file.attrs["environment"] = "CartPole-v1"
    assert make_world(f"data:{path}").environment_id == "CartPole-v1"


@pytest.mark.parametrize(
    ("said", "options", "message"),
    [
        ({}, {}, "names no environment to evaluate in: give its Gymnasium id, --environment ID"),
        ({"environment": "os:system-v0"}, {}, "would import a module that the file chose: if you trust it, give --environment os:system-v0"),
        ({"environment": "CartPol-v1"}, {}, "names its environment 'CartPol-v1': unknown Gymnasium environment 'CartPol-v1': did you mean CartPole-v"),
        ({}, {"environment": "CartPol-v1"}, "unknown Gymnasium environment 'CartPol-v1'"),
        ({}, {"environmnt": "CartPole-v1"}, "has no option 'environmnt': did you mean environment?"),
        ({"environment": np.zeros(2)}, {}, "environment must be one Gymnasium id, text"),
        ({"environment": "CartPole-v1", "environment_kwargs": '{"wheels": 3}'}, {}, "or give one that is here, --environment ID"),
        ({"metadata": "[1]"}, {}, "metadata is not a JSON object"),
        ({"metadata": "[" * 100_000}, {}, "metadata is not JSON"),
    ],
)
def test_an_environment_that_cannot_be_had(tmp_path, said, options, message):
    path = write(tmp_path / "x.npz", cartpole() | said)
    with pytest.raises(BadInput) as caught:
        make_world(f"data:{path}", **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_data_by_path_of_the_collector(tmp_path):
    path = make_dataset(MEDIUM, steps=10, seed=0, out=tmp_path / "x.npz")
    found = load_task(f"data:{path}")
    assert (found.environment, found.score, found.dataset.size) == ("pointmaze-medium-v0", "success", 10)
    assert load(path).content_hash() == found.dataset.content_hash()


class Keyed(gymnasium.Env):
    """Observations of a Dict space whose keys are not in the order of the alphabet."""

    from collections import OrderedDict as _Ordered

    observation_space = spaces.Dict(_Ordered(position=spaces.Box(-9, 9, (2,), np.float32), goal=spaces.Box(-9, 9, (1,), np.float32)))
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return {"position": np.array([1, 2], np.float32), "goal": np.array([3], np.float32)}, {}

    def step(self, action):
        return *self.reset()[:1], 0.0, True, False, {}


def test_dict_observations_of_the_environment_lie_as_data_sets_keep_them(monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Keyed-v0", gymnasium.envs.registration.EnvSpec("Keyed-v0", entry_point=Keyed))
    env = pickle.loads(pickle.dumps(Registered("Keyed-v0")))()
    assert list(env.observation_space) == ["goal", "position"]
    world = GymWorld(Registered("Keyed-v0"))
    assert world.make([0]).reset().tolist() == [[3, 1, 2]]


def test_data_of_an_environment_whose_mask_stands_beside_its_observations(tmp_path):
    """A policy that is trained on them, where all is allowed, obeys the mask when it acts."""
    states = np.arange(12) % 500
    arrays = {"observations": states, "actions": states % 6, "rewards": np.zeros(12), "terminals": np.zeros(12, bool), "next_observations": states + 1}
    np.savez(tmp_path / "taxi.npz", **arrays)
    world = make_world(f"data:{tmp_path / 'taxi.npz'}", environment="Taxi-v4")
    assert world.observation.size == 506
    learner = get_method("bc").build(configure("bc", {"hidden": (4,), "batch_size": 4})).learner(world, [0], 3, torch.device("cpu"))
    learner.iterate()
    env = gymnasium.make("Taxi-v4")
    seen, info = env.reset(seed=0)
    assert info["action_mask"][world.act(learner.policy, seen, info["action_mask"])[0]]


def test_a_minari_file_by_id_by_folder_and_by_file(tmp_path, monkeypatch):
    """What minari 0.5.4 wrote of two episodes of CliffWalking, whose observations are states that are counted."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "toy" / "cliff-v0" / "data"
    folder.mkdir(parents=True)
    spec = {"id": "CliffWalking-v1", "entry_point": "gymnasium.envs.toy_text.cliffwalking:CliffWalkingEnv", "max_episode_steps": 30, "kwargs": {}}
    said = {
        "data_format": "hdf5",
        "observation_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": 48}),
        "action_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": 4}),
        "env_spec": json.dumps(spec),
    }
    (folder / "metadata.json").write_text(json.dumps(said))
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for index in range(2):
            episode = {"observations": np.array([36, 24, 25]), "actions": np.array([0, 1]), "rewards": np.array([-1.0, -1.0])}
            episode |= {"terminations": np.zeros(2, bool), "truncations": np.array([False, True])}
            for key, array in episode.items():
                file[f"episode_{index}/{key}"] = array
    monkeypatch.chdir(tmp_path)
    for name, task in (
        ("minari:toy/cliff-v0", "minari:toy/cliff-v0"),
        ("minari:cache/toy/cliff-v0", f"minari:{folder.parent}"),
        (f"minari:{folder}/main_data.hdf5", f"minari:{folder}/main_data.hdf5"),
        ("data:cache/toy/cliff-v0", f"data:{folder.parent}"),
    ):
        world = make_world(name)
        assert (world.task, world.environment_id, world.observation.size, world.dataset.size) == (task, "CliffWalking-v1", 48, 4)
        assert world.environment.environment.kwargs == {"max_episode_steps": 30}
    said["eval_env_spec"] = json.dumps({"id": "Acrobot-v1"})  # Minari's recommendation for evaluation
    (folder / "metadata.json").write_text(json.dumps(said))
    with pytest.raises(BadInput, match="observation has one number a row; Acrobot-v1 has 6 numbers"):
        make_world("minari:toy/cliff-v0")
    for name, message in (("minari:toy/clif-v0", "did you mean toy/cliff-v0"), ("minari:./absent", "cannot read")):
        with pytest.raises(BadInput, match=message):
            make_world(name)


# runs


def test_methods_that_learn_values_need_rewards_before_a_run_begins(tmp_path):
    path = write(tmp_path / "x.npz", cartpole(rewards=None, observations=np.zeros((40, 3), np.float32), actions=np.zeros((40, 1), np.float32)))
    with pytest.raises(BadInput, match="has no rewards .no key 'rewards'; or clone its actions with bc"):
        operant.train("iql", f"data:{path}", environment="Pendulum-v1", steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_on_a_d4rl_file_goes_on_from_another_directory(tmp_path, monkeypatch):
    """A file as D4RL writes it, without an environment: it trains once that is given, says what was left out, and is found from elsewhere."""
    generator = np.random.default_rng(0)
    path = write(tmp_path / "d4rl.hdf5", cartpole(observations=generator.normal(size=(40, 3)), actions=generator.uniform(-2, 2, (40, 1)).astype(np.float32)))
    with h5py.File(path, "a") as file:
        file["infos/qpos"], file["metadata/algorithm"] = np.zeros((40, 9)), b"SAC"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    updates = []
    run = operant.train("bc", "data:d4rl.hdf5", environment="Pendulum-v1", steps=2, episodes=1, listener=updates.append)
    assert run.path.name.startswith("bc-d4rl.hdf5-")
    assert any("4 rows at the end of a recording are left out" in update.message and "36 transitions" in update.message for update in updates)
    assert (run.config["task"], run.config["options"]) == (f"data:{path}", {"environment": "Pendulum-v1"})
    (run.path / "result.json").unlink()
    last, path = run.policy(np.zeros(3)), run.path.absolute()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = operant.resume(path)
    assert again.result["steps"] == 2 and again.policy(np.zeros(3)) == last and operant.load(path).evaluate(episodes=1)["score"]["name"] == "return"


@pytest.mark.parametrize("start", [0, 5])
def test_discrete_actions_are_in_the_units_of_the_environment_in_a_file_and_from_0_in_a_store(tmp_path, monkeypatch, start):
    class Counted(gymnasium.Env):
        observation_space, action_space = spaces.Discrete(3, start=2), spaces.Discrete(3, start=start)

        def reset(self, *, seed=None, options=None):
            return 2, {}

        def step(self, action):
            return 3, float(action == start + 1), True, False, {}

    monkeypatch.setitem(gymnasium.registry, "Counted-v0", gymnasium.envs.registration.EnvSpec("Counted-v0", entry_point=Counted))
    path = write(tmp_path / "x.npz", cartpole(observations=np.full(40, 2), actions=np.full((40, 1), start + 1), environment="Counted-v0"))
    run = operant.train("bc", f"data:{path}", steps=200, episodes=2, learning_rate=1e-2, out=tmp_path / "run")
    batch, action, _ = run.world.demonstrations(run.load_policy(), 4, Streams([0])).draw()
    assert action.unique().tolist() == [1] and batch["observation"].unique(dim=2).tolist() == [[[[1, 0, 0]]] * 4]
    assert run.result["score"]["iqm"] == 1  # it does what the data do, in the environment


def test_a_store_holds_actions_in_the_units_of_the_policy(tmp_path):
    """Through tanh a policy acts in (-1, 1); the file, and what is given to the environment, are in Pendulum's ±2."""
    torques = np.float32([[-2], [-1], [0], [2]])
    arrays = cartpole(4, observations=np.zeros((4, 3)), actions=torques, timeouts=None, next_observations=np.zeros((4, 3)), environment="Pendulum-v1")
    world = make_world(f"data:{write(tmp_path / 'x.npz', arrays)}")
    for squash, expected in ((False, torques), (True, torques / 2)):
        actor = world.policy(ActorNet(hidden=(2,), squash=squash), Streams([0]))
        action = world.data(actor, torch.device("cpu")).gather(torch.arange(4).unsqueeze(0)).action[0]
        assert action.tolist() == expected.tolist()
        assert actor.distribution.to_environment(action).tolist() == torques.tolist()


def test_evaluation_of_data_is_cut_where_a_person_says(tmp_path):
    world = make_world(f"data:{write(tmp_path / 'x.npz', cartpole())}", environment="CartPole-v1", max_evaluation_steps="30")
    evaluation = world.evaluate(Balancing(), 1, episodes=2)
    assert evaluation.details["length"].tolist() == [[30, 30]] and evaluation.details["truncated"].all()
    assert world.options.given() == {"environment": "CartPole-v1", "max_evaluation_steps": 30}
