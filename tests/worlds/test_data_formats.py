"""Readers and the writer of data sets: every layout by hand, real libraries where there is one, and files with faults."""

import io
import json
import pickle
import resource
import warnings
import zipfile

import h5py
import numpy as np
import ogbench
import pytest

from operant.core.errors import BadInput
from operant.worlds.data.dataset import ARRAYS, Dataset
from operant.worlds.data.formats import load, load_minari, save_npz


def column(*values) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def small(**metadata) -> Dataset:
    return Dataset(
        observation=column(0, 1, 5),
        action=np.array([[0.5, -0.5], [1, 0], [0, 1]], dtype=np.float32),
        next_observation=column(1, 2, 6),
        reward=np.array([0, 1, 2], dtype=np.float32),
        terminated=np.array([0, 1, 0], dtype=bool),
        truncated=np.array([0, 0, 1], dtype=bool),
        metadata=metadata,
    )


def refused(source) -> str:
    with pytest.raises(BadInput) as caught:
        load(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


# OGBench


def ogbench_arrays() -> dict:
    """Trajectories s0…s3 and s10…s12; the action of each last row has no outcome."""
    return {
        "observations": column(0, 1, 2, 3, 10, 11, 12),
        "actions": column(0, 0.1, 0.2, 0.9, 0.3, 0.4, 0.9),
        "terminals": np.array([0, 0, 0, 1, 0, 0, 1], dtype=bool),
        "qpos": column(0, 1, 2, 3, 10, 11, 12),
    }


def test_ogbench_drops_the_last_row_of_each_trajectory():
    data = load(ogbench_arrays())
    assert data.observation[:, 0].tolist() == [0, 1, 2, 10, 11]
    assert data.next_observation[:, 0].tolist() == [1, 2, 3, 11, 12]
    np.testing.assert_allclose(data.action[:, 0], [0, 0.1, 0.2, 0.3, 0.4])
    assert data.truncated.tolist() == [False, False, True, False, True]
    assert not data.terminated.any() and not data.reward.any()
    assert data.metadata["reward"] == "none" and data.episode_starts.tolist() == [0, 3]


def test_ogbench_file_equals_the_library_that_defines_it(tmp_path):
    generator = np.random.default_rng(0)
    rows = 60
    terminals = np.zeros(rows, dtype=bool)
    terminals[[4, 5, 20, 37, rows - 1]] = True  # one trajectory of a single row
    arrays = {"observations": generator.normal(size=(rows, 3)), "actions": generator.uniform(-1, 1, (rows, 2)), "terminals": terminals}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    data, theirs = load(tmp_path / "x.npz"), ogbench.load_dataset(tmp_path / "x.npz")
    np.testing.assert_array_equal(data.observation, theirs["observations"])
    np.testing.assert_array_equal(data.action, theirs["actions"])
    np.testing.assert_array_equal(data.next_observation, theirs["next_observations"])
    np.testing.assert_array_equal(data.truncated, theirs["terminals"].astype(bool))


def test_ogbench_single_task_masks_end_the_task_but_not_the_recording():
    arrays = ogbench_arrays() | {"rewards": np.array([-1, -1, 0, 0, -1, -1, -1.0]), "masks": np.array([1, 1, 0, 0, 1, 1, 1.0])}
    data = load(arrays)
    assert data.terminated.tolist() == [False, False, True, False, False]
    assert data.reward.tolist() == [-1, -1, 0, -1, -1] and data.metadata.get("reward", "environment") == "environment"
    assert data.episode_starts.tolist() == [0, 3]


def test_ogbench_with_next_observations_keeps_every_row():
    regular = {
        "observations": column(0, 1, 10),
        "actions": column(0, 0, 0),
        "terminals": np.array([0, 1, 1.0]),
        "next_observations": column(1, 2, 11),
    }
    data = load(regular)
    assert data.size == 3 and data.next_observation[:, 0].tolist() == [1, 2, 11] and data.truncated.tolist() == [False, True, True]


def test_ogbench_that_stops_inside_a_trajectory_is_refused():
    arrays = {key: value[:-1] for key, value in ogbench_arrays().items()}
    assert "terminals row 5 is 0: the last trajectory has no end" in refused(arrays)


# D4RL


def d4rl_arrays() -> dict:
    """0→1→2 ends by itself at row 2, 10→11→12 is cut at row 5, 20→21 just stops."""
    return {
        "observations": column(0, 1, 2, 10, 11, 12, 20, 21),
        "actions": column(*[0.0] * 8),
        "rewards": np.arange(8, dtype=np.float64),
        "terminals": np.array([0, 0, 1, 0, 0, 0, 0, 0], dtype=bool),
        "timeouts": np.array([0, 0, 0, 0, 0, 1, 0, 0], dtype=bool),
    }


@pytest.fixture(params=["dict", "hdf5"])
def d4rl_source(request, tmp_path):
    def make(arrays):
        if request.param == "dict":
            return arrays
        with h5py.File(tmp_path / "d4rl.hdf5", "w") as file:
            for key, array in arrays.items():
                file[key] = array
            file.create_group("infos")["qpos"] = np.zeros(3)
        return tmp_path / "d4rl.hdf5"

    return make


def test_d4rl_without_next_observations_never_jumps_between_episodes(d4rl_source):
    data = load(d4rl_source(d4rl_arrays()))
    assert data.observation[:, 0].tolist() == [0, 1, 2, 10, 11, 20]
    assert data.next_observation[:, 0].tolist() == [1, 2, 2, 11, 12, 21]  # the outcome of the terminal row is not in the file
    assert data.reward.tolist() == [0, 1, 2, 3, 4, 6]
    assert data.terminated.tolist() == [False, False, True, False, False, False]
    assert data.truncated.tolist() == [False, False, False, False, True, True]
    assert data.episode_starts.tolist() == [0, 3, 5]
    assert "terminal_next_observation" in data.metadata


def test_d4rl_with_next_observations_keeps_every_row(d4rl_source):
    arrays = d4rl_arrays() | {"next_observations": column(1, 2, 3, 11, 12, 13, 21, 22)}
    data = load(d4rl_source(arrays))
    assert data.size == 8 and data.next_observation[:, 0].tolist() == [1, 2, 3, 11, 12, 13, 21, 22]
    assert data.truncated.tolist() == [False] * 5 + [True, False, True]
    del arrays["timeouts"]  # the cuts show as jumps
    again = load(d4rl_source(arrays))
    np.testing.assert_array_equal(again.truncated, data.truncated)


def test_d4rl_that_does_not_say_where_it_was_cut_is_refused():
    arrays = d4rl_arrays()
    del arrays["timeouts"]
    assert "neither timeouts nor next_observations" in refused(arrays)


# Minari


def write_minari(root, name, episodes, **metadata):
    folder = root / name / "data"
    folder.mkdir(parents=True)
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        for index, episode in enumerate(episodes):
            group = file.create_group(f"episode_{index}")
            for key, value in episode.items():
                if isinstance(value, dict):
                    for part, array in value.items():
                        group.create_group(key) if key not in group else None
                        group[key][part] = array
                else:
                    group[key] = value
    (folder / "metadata.json").write_text(json.dumps({"data_format": "hdf5"} | metadata))
    return folder


def episode(start, steps, *, terminated=False, truncated=False, discrete=False):
    ends = np.zeros((2, steps), dtype=bool)
    ends[:, -1] = terminated, truncated
    return {
        "observations": column(*range(start, start + steps + 1)),
        "actions": np.arange(steps) % 2 + 1 if discrete else np.full((steps, 1), 0.5),
        "rewards": np.ones(steps),
        "terminations": ends[0],
        "truncations": ends[1],
    }


def test_minari_episodes_in_order_with_space_and_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episodes = [episode(10 * index, 2, terminated=index % 2 == 0, truncated=index % 2 == 1, discrete=True) for index in range(11)]
    write_minari(
        tmp_path,
        "toy/walk-v0",
        [*episodes, episode(500, 2, discrete=True)],  # the last recording just stops
        action_space=json.dumps({"type": "Discrete", "n": 2, "start": 1}),
        env_spec=json.dumps({"id": "CartPole-v1", "entry_point": "os:system", "kwargs": {}, "max_episode_steps": 30}),
    )
    data = load_minari("toy/walk-v0")
    assert data.observation[:, 0].tolist() == [v for index in range(11) for v in (10 * index, 10 * index + 1)] + [500, 501]
    assert data.action[:4].tolist() == [1, 2, 1, 2] and data.action.dtype == np.int64  # in the environment's own units
    assert data.terminated[1::2].tolist() == [index % 2 == 0 for index in range(11)] + [False]
    assert data.truncated[1::2].tolist() == [index % 2 == 1 for index in range(11)] + [True]
    assert data.metadata["environment"] == "CartPole-v1" and (data.metadata["action_start"], data.metadata["action_count"]) == (1, 2)
    with pytest.raises(BadInput, match="did you mean toy/walk-v0"):
        load_minari("toy/wlak-v0")


def test_minari_dict_observations_lie_side_by_side_in_key_order(tmp_path):
    steps = episode(0, 3, truncated=True)
    steps["observations"] = {"position": np.arange(8.0).reshape(4, 2), "goal": np.full((4, 1), 9.0)}
    folder = write_minari(tmp_path, "goal", [steps], action_space=json.dumps({"type": "Box", "low": [-1.0], "high": [1.0]}))
    for source in (tmp_path / "goal", folder / "main_data.hdf5"):
        data = load(source)
        assert data.observation.tolist() == [[9, 0, 1], [9, 2, 3], [9, 4, 5]] and data.next_observation[-1].tolist() == [9, 6, 7]
    assert load(tmp_path / "goal").metadata["action_high"] == [1.0]


def test_minari_faults(tmp_path):
    short = episode(0, 3, truncated=True)
    short["observations"] = short["observations"][:-1]
    write_minari(tmp_path, "short", [episode(0, 2), short])
    assert "episode_1/observations has 3 rows, it must have 4, as rewards has 3" in refused(tmp_path / "short")
    broken = episode(0, 3, truncated=True)
    broken["rewards"][1] = np.nan
    write_minari(tmp_path, "broken", [broken])
    assert "episode_0/rewards row 1 is NaN" in refused(tmp_path / "broken")
    missing = episode(0, 3)
    del missing["truncations"]
    write_minari(tmp_path, "missing", [missing])
    assert "no key episode_0/truncations" in refused(tmp_path / "missing")
    write_minari(tmp_path, "texts", [episode(0, 2) | {"observations": np.array([b"go", b"left", b"stop"])}])
    assert "episode_0/observations holds |S4, not numbers" in refused(tmp_path / "texts")
    write_minari(tmp_path, "arrow", [episode(0, 2)], data_format="arrow")
    assert "'arrow'; only 'hdf5'" in refused(tmp_path / "arrow")
    write_minari(tmp_path, "space", [episode(0, 2)], action_space="{")
    assert "action_space is not a JSON object" in refused(tmp_path / "space")
    (tmp_path / "nothing").mkdir()
    assert "not a Minari data set" in refused(tmp_path / "nothing")


# our own npz


@pytest.mark.parametrize("discrete", [False, True])
def test_saved_data_come_back_bit_for_bit(tmp_path, discrete):
    data = small(name="x", seed=3, action_count=2) if discrete else small(name="x", action_low=[-1, -1], action_high=[1, 1])
    if discrete:
        data.action = np.array([0, 1, 1])
    path = save_npz(data, tmp_path / "deep" / "er" / "x.npz")
    again = load(path)
    for name in ARRAYS:
        assert getattr(again, name).dtype == getattr(data, name).dtype
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
    assert again.metadata == data.metadata | {"format": "operant", "sha256": data.content_hash()}
    assert save_npz(data, tmp_path / "y.npz").read_bytes() == path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["x.npz"]


def test_a_write_that_runs_out_of_room_leaves_the_old_file_and_no_litter(tmp_path):
    path = save_npz(small(), tmp_path / "x.npz")
    before = path.read_bytes()
    large = small()
    for name in ARRAYS:
        setattr(large, name, np.concatenate([getattr(large, name)] * 2000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(BadInput, match="cannot write .*x.npz: File too large"):
            save_npz(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["x.npz"]


def test_a_place_that_cannot_be_written_and_data_that_must_not_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot write .*: Not a directory|cannot write .*: File exists"):
        save_npz(small(), tmp_path / "file" / "x.npz")
    bad = small()
    bad.reward[1] = np.nan
    with pytest.raises(BadInput, match="reward row 1 is NaN"):
        save_npz(bad, tmp_path / "x.npz")
    with pytest.raises(BadInput, match="metadata are not JSON"):
        save_npz(small(low=float("inf")), tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


# files with faults


def test_every_cut_of_a_file_is_refused(tmp_path):
    whole = save_npz(small(), tmp_path / "x.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    for length in range(0, len(whole), 97):
        cut.write_bytes(whole[:length])
        assert str(cut) in refused(cut)


def test_every_flipped_byte_is_refused_or_harmless(tmp_path):
    data = small()
    whole = save_npz(data, tmp_path / "x.npz").read_bytes()
    flipped, refusals = tmp_path / "flipped.npz", 0
    for position in range(0, len(whole), 13):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        flipped.write_bytes(changed)
        try:
            assert load(flipped).content_hash() == data.content_hash()
        except BadInput as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > 50


def test_a_cut_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        for key, array in d4rl_arrays().items():
            file[key] = np.repeat(array, 500, axis=0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cut or damaged" in refused(path) and str(path) in refused(path)


def test_arrays_that_do_not_match_their_hash_are_refused(tmp_path):
    path = save_npz(small(), tmp_path / "x.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["reward"] = arrays["reward"] + 1
    np.savez(path, **arrays)
    assert "not those of the hash" in refused(path)


class Explodes:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_never_read(tmp_path):
    arrays = ogbench_arrays()
    arrays["actions"] = np.array([Explodes()] * 7, dtype=object)
    np.savez(tmp_path / "objects.npz", **arrays)
    assert "actions is a pickled object array" in refused(tmp_path / "objects.npz")
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Explodes()))
    assert "not an npz or HDF5 file" in refused(tmp_path / "raw.npz")


@pytest.mark.parametrize(
    ("key", "array", "said"),
    [
        ("observations", column(0, 1, 2, np.nan, 10, 11, 12), "observations row 3 is NaN"),
        ("observations", np.full((7, 1), 1e300), "observations row 0 is infinite"),
        ("actions", column(0, 1, 2), "actions has 3 rows, it must have 7, as observations has"),
        ("actions", np.array(["a"] * 7), "actions holds <U1, not numbers"),
        ("terminals", np.array([0, 0, 0, 2, 0, 0, 1.0]), "terminals row 3 is 2, it must be 0 or 1"),
        ("terminals", np.ones(7), "no trajectory is longer than one row"),
        ("terminals", np.zeros((7, 2)), "terminals has shape [7, 2], it must be [M]"),
        ("observations", np.zeros((0, 1)), "observations is empty"),
        ("actions", [[1.0], [1.0, 2.0]], "actions is not one array of numbers"),
    ],
)
def test_faults_name_key_and_row(key, array, said):
    assert said in refused(ogbench_arrays() | {key: array})


def test_missing_keys_and_files(tmp_path):
    arrays = ogbench_arrays()
    del arrays["terminals"]
    assert "where episodes end cannot be told. It has actions, observations, qpos" in refused(arrays)
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    assert "no key 'observations' (or 'observation'); it has weights" in refused(tmp_path / "other.npz")
    assert "cannot read" in refused(tmp_path / "absent.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert "it is empty" in refused(tmp_path / "empty.npz")


# names


STEPS = {
    "observations": column(0, 1, 10, 11),
    "actions": column(0, 0, 0, 0),
    "rewards": np.arange(4.0),
    "next_observations": column(1, 2, 11, 12),
    "terminals": np.array([0, 1, 0, 0]),
    "timeouts": np.array([0, 0, 0, 1]),
}


@pytest.mark.parametrize("kind", ["dict", "npz", "hdf5"])
@pytest.mark.parametrize(
    "names",
    [
        {},
        {name: name.removesuffix("s") for name in ("observations", "actions", "rewards", "next_observations")}
        | {"terminals": "terminated", "timeouts": "truncated"},
        {"terminals": "terminated", "timeouts": "truncated"},
        {"terminals": "terminations", "timeouts": "truncations"},
        {"rewards": "reward"},
    ],
)
def test_every_name_of_an_array_is_read_as_the_same_array(tmp_path, names, kind):
    source = {names.get(name, name): array for name, array in STEPS.items()}
    if kind == "npz":
        np.savez(tmp_path / "x.npz", **source)
    elif kind == "hdf5":
        with h5py.File(tmp_path / "x.hdf5", "w") as file:
            for name, array in source.items():
                file[name] = array
    data = load(source if kind == "dict" else tmp_path / f"x.{kind}")
    assert data.observation[:, 0].tolist() == [0, 1, 10, 11] and data.next_observation[:, 0].tolist() == [1, 2, 11, 12]
    assert data.terminated.tolist() == [False, True, False, False] and data.truncated.tolist() == [False, False, False, True]
    assert data.reward.tolist() == [0, 1, 2, 3] and data.metadata.get("reward", "environment") == "environment"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"terminals": None, "timeouts": None}, "where episodes end cannot be told. It has actions, next_observations, observations, rewards"),
        ({"terminals": None, "timeouts": None, "dones": np.zeros(4)}, "'dones' does not say which of the two it was"),
        ({"terminals": None}, "no key 'terminals' (or 'terminated'); where no episode ends by itself it is all 0"),
        ({"actions": None}, "no key 'actions' (or 'action'); it has next_observations"),
        ({"observation": column(0, 1, 2, 3)}, "both 'observations' and 'observation'; they are two names of one array"),
        ({"rewards": np.array([0, np.nan, 0, 0])}, "rewards row 1 is NaN"),
        ({"rewards": np.array([0, 1, np.inf, 0])}, "rewards row 2 is infinite"),
        ({"rewards": np.zeros((4, 2))}, "rewards has shape [4, 2], it must be [M]"),
        ({"rewards": np.zeros(3)}, "rewards has 3 rows, it must have 4, as observations has"),
        ({"rewards": np.zeros(4, dtype=complex)}, "rewards holds complex128, not numbers"),
        ({"next_observations": np.zeros((4, 2))}, "next_observations has shape [4, 2], it must be [4, 1]"),
    ],
)
def test_faults_of_flat_data(changes, said):
    assert said in refused({name: array for name, array in (STEPS | changes).items() if array is not None})


def test_rewards_may_be_absent_and_numbers_short():
    data = load({name: array.astype(np.float16) for name, array in STEPS.items() if name != "rewards"})
    assert data.metadata["reward"] == "none" and not data.reward.any() and data.observation.dtype == np.float32 and data.size == 4


def test_rows_whose_outcome_is_not_there_are_counted():
    assert load(d4rl_arrays()).metadata["dropped"] == 2 and load(ogbench_arrays()).metadata["dropped"] == 2
    assert "dropped" not in load(STEPS).metadata


def test_hierarchical_files_say_which_keys_are_wanted(tmp_path):
    with h5py.File(tmp_path / "robomimic.hdf5", "w") as file:
        file["data/demo_0/obs/object"] = np.zeros((3, 2))
        file["data/demo_0/actions"] = np.zeros((3, 2))
        file["mask/train"] = np.zeros(1)
    message = refused(tmp_path / "robomimic.hdf5")
    assert "it has data, mask: data, mask are groups, and arrays are read at the top level" in message
    assert "Wanted, a row a step: observations, actions, rewards, terminals, and timeouts or next_observations" in message


# files that declare more than they hold, or lead elsewhere


def header(shape, dtype="<f4"):
    """The beginning of an .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_2_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"observations": header((2**40, 3))}, "observations declares [1099511627776, 3] float32, 13.2 TB, and holds 0 bytes: it is damaged"),
        ({"observations": header((2**62, 2**62))}, "TB, and holds 0 bytes: it is damaged"),
        ({"observations": header((2, 1)) + bytes(12)}, "observations declares [2, 1] float32, 8 bytes, and holds 12 bytes"),
        ({"observations": header((4, 1), "|O") + b"pickle"}, "observations is a pickled object array"),
        ({"observations": header((4, 1))[:20]}, "observations is cut or damaged"),
        ({"observations": b""}, "observations is cut or damaged"),
        ({"observations": b"\x93NUMPY\x09\x00" + bytes(40)}, "observations is cut or damaged"),
    ],
)
def test_members_that_are_not_what_they_declare(tmp_path, members, said):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    assert said in refused(tmp_path / "x.npz")


def test_an_array_that_stands_there_twice_is_refused(tmp_path):
    """Which of the two a reader takes is chance."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, warnings.catch_warnings(action="ignore"):
        for _ in range(2):
            archive.writestr("observations.npy", header((0, 1)))
    assert "observations stands in it twice" in refused(tmp_path / "x.npz")


def test_more_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", **(STEPS | {"observations": np.zeros((1000, 1000), dtype=np.float32)}))
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("observations", shape=(2**40, 3), chunks=(1024, 3), dtype="f4")  # sparse: a few kB of file
    assert "observations is [1099511627776, 3] float32: 26.4 TB to read, and this machine has" in refused(tmp_path / "x.hdf5")
    sizes = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    monkeypatch.setattr("numpy.load", lambda *_, **__: pytest.fail("read"))
    assert "8 MB to read, and this machine has 4.1 MB of memory; give a part of it" in refused(tmp_path / "x.npz")


def test_other_files_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    for name in ("link", "external", "virtual"):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            if name == "link":
                file["observations"] = h5py.ExternalLink("secret", "/observations")
            elif name == "external":
                file.create_dataset("observations", shape=(8, 1), dtype="f8", external=[(str(tmp_path / "secret"), 0, 64)])
            else:
                layout = h5py.VirtualLayout(shape=(8, 1), dtype="f8")
                layout[:] = h5py.VirtualSource(str(tmp_path / "link.hdf5"), "observations", shape=(8, 1))
                file.create_virtual_dataset("observations", layout)
        assert "observations lies in another file, which is not read" in refused(tmp_path / f"{name}.hdf5")
