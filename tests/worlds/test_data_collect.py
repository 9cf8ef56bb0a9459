"""The point-maze collector, on OGBench's own environments."""

import json
import os

import gymnasium
import numpy as np
import pytest

from operant.core.cache import cache_directory
from operant.core.errors import BadInput
from operant.worlds.data import collect as module
from operant.worlds.data.collect import collect, make_dataset, make_environment
from operant.worlds.data.formats import load, save_npz
from operant.worlds.gym.snapshot import restore, resumable, take
from operant.worlds.names import OGBENCH

MEDIUM = "pointmaze-medium-navigate-v0"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPERANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def navigated():
    return collect(MEDIUM, steps=6500, seed=0)


def test_cache_directory(cache, monkeypatch):
    assert cache_directory() == cache and cache.is_dir()
    (cache / "file").write_text("")
    monkeypatch.setenv("OPERANT_CACHE", str(cache / "file" / "below"))
    with pytest.raises(BadInput, match="set OPERANT_CACHE"):
        cache_directory()


def test_navigate_episodes_follow_the_protocol(navigated):
    navigated.validate()
    assert np.diff(np.append(navigated.episode_starts, 6500)).tolist() == [1000] * 6 + [500]
    assert not navigated.terminated.any() and not navigated.reward.any() and navigated.metadata["reward"] == "none"
    # Within an episode a row's outcome is the next row's state.
    inside = ~navigated.truncated[:-1]
    np.testing.assert_array_equal(navigated.next_observation[:-1][inside], navigated.observation[1:][inside])
    # A step moves the point by 0.2 of the action unless a wall is in the way; walls only ever take from it.
    moved = navigated.next_observation - navigated.observation
    free = np.abs(moved - 0.2 * navigated.action).max(axis=1) < 1e-4
    assert 0.5 < free.mean() < 1.0
    # The oracle walks at full speed with noise 0.5 and actions are clipped to 1.
    assert np.abs(navigated.action).max() == 1.0 and 0.2 < (np.abs(navigated.action) == 1.0).mean() < 0.6
    # All 26 free cells of the medium maze are visited.
    cells = {(int(i), int(j)) for i, j in ((navigated.observation[:, ::-1] + 6) // 4)}
    free_cells, vertices = module._cells(make_environment("pointmaze-medium-v0").unwrapped.maze_map)
    assert cells == set(free_cells) and len(free_cells) == 26
    assert set(free_cells) - set(vertices) == {(3, 3), (4, 5), (5, 1), (5, 6), (6, 2)}  # the straight corridors of the medium map, by eye


def test_stitch_goals_are_four_cells_away_and_held():
    data = collect("pointmaze-medium-stitch-v0", steps=2000, seed=0)
    maze = make_environment("pointmaze-medium-v0").unwrapped
    assert np.diff(np.append(data.episode_starts, 2000)).tolist() == [200] * 10
    for start in data.episode_starts:
        first, last = (maze.xy_to_ij(state) for state in (data.observation[start], data.next_observation[start + 199]))
        # 80 noisy steps cover the way; the goal lies four steps off along the shortest path, by OGBench's own search.
        distance = maze.get_oracle_subgoal(maze.ij_to_xy(last), maze.ij_to_xy(first))[1][last]
        assert distance == 4
    assert sorted(module._cells_at(maze.maze_map, (1, 1), 4)) == [(3, 3), (4, 2)]  # by eye


@pytest.mark.parametrize("name", [name for name in OGBENCH if "singletask" not in name])
def test_every_name_collects_the_same_bits_for_the_same_seed(name):
    first = collect(name, steps=250, seed=3)
    np.random.random(17)  # what other code draws does not matter
    again, other = collect(name, steps=250, seed=3), collect(name, steps=250, seed=4)
    first.validate()
    assert first.content_hash() == again.content_hash() != other.content_hash()


def test_the_global_generator_is_left_alone():
    expected = np.random.RandomState(5).random(3)
    bits = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.RandomState(5)._bit_generator)
    try:
        collect("pointmaze-teleport-navigate-v0", steps=30, seed=0)
        np.testing.assert_array_equal(np.random.random(3), expected)
    finally:
        np.random.set_bit_generator(bits)


def test_made_files_carry_provenance_and_are_kept(cache):
    seen = []
    path = make_dataset(f"ogbench:{MEDIUM}", steps=1200, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "data" / f"{MEDIUM}-seed1-1200.npz" and seen == [(1000, 1200), (1200, 1200)]
    data = load(path)
    said = data.metadata
    assert (said["name"], said["seed"], said["steps"], said["environment"]) == (MEDIUM, 1, 1200, "pointmaze-medium-v0")
    assert set(said["versions"]) == {"ogbench", "mujoco", "gymnasium", "numpy"} and said["sha256"] == data.content_hash()
    stamp = path.stat().st_mtime_ns
    assert make_dataset(MEDIUM.replace("-v0", "-singletask-v0"), steps=1200, seed=1).stat().st_mtime_ns == stamp
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])  # damaged: made again, to the same bytes
    assert make_dataset(MEDIUM, steps=1200, seed=1).read_bytes() == whole
    data.metadata["collector"] = 0  # an older collector's: made again
    save_npz(data, path)
    assert make_dataset(MEDIUM, steps=1200, seed=1).read_bytes() == whole
    assert make_dataset(MEDIUM, steps=1200, seed=1, out=cache / "mine.npz").read_bytes() == whole


def test_two_processes_make_one_file(cache, start):
    both = [start("data", "make", f"ogbench:{MEDIUM}", "--steps", 400, "--seed", 0, "--json", OPERANT_CACHE=cache) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0], both[0].said + both[1].said
    paths = {json.loads(process.told)["data"] for process in both}
    assert len(paths) == 1
    assert load(paths.pop()).content_hash() == collect(MEDIUM, steps=400, seed=0).content_hash()  # and another process gives the same bits
    assert len(list((cache / "data").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "pointmaze-medum-navigate-v0"}, "did you mean pointmaze-medium-navigate-v0"),
        (
            {"name": "ogbench:antmaze-large-stitch-v0"},
            "OGBench publishes it. Download https://rail.eecs.berkeley.edu/datasets/ogbench/antmaze-large-stitch-v0.npz",
        ),
        ({"name": MEDIUM, "steps": 0}, "steps is 0, it must be a whole number of at least 1"),
        ({"name": MEDIUM, "steps": -5}, "steps is -5"),
        ({"name": MEDIUM, "steps": 1.5}, "steps is 1.5"),
        ({"name": MEDIUM, "seed": -1}, "seed is -1, it must be a whole number of at least 0"),
    ],
)
def test_bad_arguments_make_nothing(cache, arguments, said):
    with pytest.raises(BadInput) as caught:
        make_dataset(**{"steps": 10, "seed": 0} | arguments)
    assert said in str(caught.value) and not (cache / "data").exists()


# the environment


def test_environments_are_functions_of_their_seed():
    env, other = make_environment("pointmaze-teleport-v0"), make_environment("pointmaze-teleport-v0")

    def walk(env, disturb):
        states = [env.reset(seed=7)[0]]
        for _ in range(60):
            disturb()
            # Stand at an inbound teleport, so that every step draws an outbound one.
            env.unwrapped.set_xy(np.array(env.unwrapped._teleport_info["teleport_in_xys"][0]))
            env.step(np.zeros(2))
            states.append(env.unwrapped.get_xy())
        return np.array(states)

    other.reset(seed=1)
    first, second = walk(env, lambda: None), walk(env, lambda: (np.random.random(), other.step(np.zeros(2))))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first[1:].round(3), axis=0)) == 3


def test_actions_are_clipped_as_in_ogbench_evaluation():
    env = make_environment("pointmaze-medium-singletask-task1-v0")
    start, _ = env.reset(seed=0)
    after, *_ = env.step(np.array([5.0, 0.25], dtype=np.float32))
    np.testing.assert_allclose(after - start, [0.2, 0.05], atol=1e-6)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def test_environments_leave_no_descriptor_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_environment("pointmaze-medium-v0").close()
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        env = make_environment("pointmaze-medium-v0")
        env.reset(seed=0)
        env.close()
    assert len(os.listdir("/dev/fd")) == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pointmaze-medium-v0", "pointmaze-teleport-v0"])
def test_an_environment_goes_on_from_a_state_bit_for_bit(name):
    def walk(env, steps, seed):
        rng = np.random.default_rng(seed)
        return [env.step(rng.uniform(-1, 1, 2).astype(np.float32))[0] for _ in range(steps)]

    env, twin = make_environment(name), make_environment(name)
    assert resumable(env)
    env.reset(seed=3)
    walk(env, 40, 0)
    state = take(env)
    twin.reset(seed=9)
    restore(twin, state)
    assert np.array_equal(walk(env, 60, 1), walk(twin, 60, 1))
    (first, seen), (second, known) = env.reset(), twin.reset()  # the next task, start and goal too
    assert np.array_equal(first, second) and np.array_equal(seen["goal"], known["goal"])
    env.close(), twin.close()
