"""Data sets on disk: OGBench and Operant npz, D4RL-style and Minari HDF5, and a dict of arrays.

The layout is told by the content, not by the file's name. Nothing is unpickled, and nothing is loaded from a file that has a fault: the message names the
file, the key and the row.

Sources of the layouts: OGBench (arXiv:2410.20092; `ogbench.load_dataset` drops the last row of each trajectory, which has no next observation), D4RL
(arXiv:2004.07219), Minari (minari.farama.org, data sets of `data_format` hdf5).
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from operant.core.errors import BadInput, unknown
from operant.worlds.data.dataset import ARRAYS, Dataset, require_finite

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LAYOUTS = (*ARRAYS, "observations", "actions", "rewards", "terminals", "timeouts", "masks", "next_observations")  # the keys that are read


def load(source: str | Path | Mapping[str, object]) -> Dataset:
    """Read a data set.

    Args:
        source: a file (OGBench or Operant npz, D4RL-style or Minari HDF5), the directory of a Minari data set, or a dict of arrays with Operant's names
            (observation, action, next_observation, reward, terminated, truncated), OGBench's (observations, actions, terminals) or D4RL's (with rewards and
            timeouts).

    Returns:
        A validated `Dataset`. Where the source has no rewards they are 0 and metadata["reward"] is "none".

    Raises:
        BadInput: one line: the source, the key, the row.
    """
    if isinstance(source, Mapping):
        return _from_arrays("dict of arrays", dict(source), {})
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_minari_directory(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if start[:4] == b"PK\x03\x04":
        return _read_npz(path)
    if start == _HDF5_MAGIC:
        return _read_hdf5(path, {})
    what = "it is empty" if not start else "its first bytes are those of neither"
    raise BadInput(f"{path}: not an npz or HDF5 file ({what}; pickled files are never read)")


def save_npz(dataset: Dataset, path: str | Path) -> Path:
    """Write a data set as npz: the arrays of `Dataset`, and `metadata`, a JSON string to which "sha256" (`content_hash`) is added.

    The file appears whole or not at all: it is written under a temporary name beside `path`, synced and renamed. Equal data sets give equal bytes.

    Raises:
        BadInput: the data are not valid, the metadata are not JSON, or the file cannot be written.
    """
    path = Path(path).expanduser().absolute()
    dataset.validate()
    try:
        metadata = json.dumps(dataset.metadata | {"sha256": dataset.content_hash()}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"data set: metadata are not JSON: {error}") from error
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                np.savez(file, **{name: getattr(dataset, name) for name in ARRAYS}, metadata=np.array(metadata))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; free space or name another place") from error
    return path


def minari_directory() -> Path:
    """Where Minari keeps its data sets: the environment variable MINARI_DATASETS_PATH, or `~/.minari/datasets`."""
    chosen = os.environ.get("MINARI_DATASETS_PATH")
    return Path(chosen).expanduser() if chosen else Path.home() / ".minari" / "datasets"


def load_minari(name: str) -> Dataset:
    """Read a data set of the local Minari cache, without the minari package.

    Args:
        name: the data set's id, such as `mujoco/hopper/medium-v0`.

    Raises:
        BadInput: it is not there (with the nearest that is), or it cannot be read.
    """
    root = minari_directory()
    known = sorted(found.parent.parent.relative_to(root).as_posix() for found in root.glob("**/data/main_data.hdf5"))
    if name in known:
        return _read_minari_directory(root / name)
    if not known:
        raise BadInput(f"unknown Minari data set {name!r}: {root} holds none; fetch it with `minari download {name}`")
    raise unknown("Minari data set", name, known)


# ---------------------------------------------------------------------------------------------------------------- files


def _read_npz(path: Path) -> Dataset:
    arrays: dict[str, np.ndarray] = {}
    key = "the archive"
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key in _LAYOUTS or key == "metadata":
                    arrays[key] = file[key]
            if not arrays:
                raise BadInput(_no_observations(path, file.files))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, KeyError, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            raise BadInput(f"{path}: {key} is a pickled object array; it is not read, save plain numbers") from error
        raise BadInput(f"{path}: {key} is cut or damaged ({_line(error)})") from error
    metadata: dict = {}
    if "metadata" in arrays:
        try:
            metadata = json.loads(str(arrays.pop("metadata")))
        except ValueError as error:
            raise BadInput(f"{path}: metadata is not JSON ({_line(error)})") from error
        if not isinstance(metadata, dict):
            raise BadInput(f"{path}: metadata is not a JSON object")
    dataset = _from_arrays(str(path), arrays, {name: value for name, value in metadata.items() if name != "sha256"})
    if "sha256" in metadata:
        if metadata["sha256"] != dataset.content_hash():
            raise BadInput(f"{path}: the arrays are not those of the hash in metadata; make the file again")
        dataset.metadata["sha256"] = metadata["sha256"]
    return dataset


def _read_hdf5(path: Path, metadata: dict) -> Dataset:
    try:
        import h5py
    except ImportError as error:
        raise BadInput(f"{path}: reading HDF5 needs h5py: pip install 'operant[offline]'") from error
    try:
        with h5py.File(path, "r") as file:
            episodes = sorted((key for key in file if re.fullmatch(r"episode_\d+", key)), key=lambda key: int(key[8:]))
            if episodes:
                # Minari before 0.5 kept its metadata as attributes of the file.
                attributes = {key: value for key, value in file.attrs.items() if isinstance(value, str)}
                read = {key: _read_episode(str(path), key, file[key], h5py.Group) for key in episodes}
                metadata = attributes | metadata
            else:
                arrays = {key: file[key][()] for key in file if key in _LAYOUTS and isinstance(file[key], h5py.Dataset)}
                if not arrays:
                    raise BadInput(_no_observations(path, file))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: cut or damaged ({_line(error)})") from error
    return _from_episodes(str(path), read, metadata) if episodes else _from_arrays(str(path), arrays, metadata)


def _read_episode(where: str, episode: str, group, group_type: type) -> dict[str, np.ndarray]:
    """The arrays of one Minari episode; observations of a Dict space are put side by side in the order of their keys, as Gymnasium flattens them."""
    if not isinstance(group, group_type):
        raise BadInput(f"{where}: {episode} is not a group")

    def leaves(name: str, node) -> list[np.ndarray]:
        if isinstance(node, group_type):
            return [leaf for key in sorted(node) for leaf in leaves(f"{name}/{key}", node[key])]
        array = _numbers(where, name, node[()])
        if array.ndim != 2:
            raise BadInput(f"{where}: {name} has shape {list(array.shape)}; only vectors a step, [T, D], can be read")
        return [array]

    arrays = {}
    for key in ("observations", "actions", "rewards", "terminations", "truncations"):
        if key not in group:
            raise BadInput(f"{where}: no key {episode}/{key}; it has {', '.join(sorted(group))}")
        if key == "observations":
            parts = leaves(f"{episode}/{key}", group[key])
            if len({len(part) for part in parts}) != 1:
                raise BadInput(f"{where}: the parts of {episode}/observations have different lengths")
            arrays[key] = np.concatenate(parts, axis=1)
        elif isinstance(group[key], group_type):
            raise BadInput(f"{where}: {episode}/{key} is a group; only one array of numbers can be read")
        else:
            arrays[key] = group[key][()]
    return arrays


def _read_minari_directory(path: Path) -> Dataset:
    folder = path / "data" if (path / "data").is_dir() else path
    main = folder / "main_data.hdf5"
    metadata: dict = {}
    if (folder / "metadata.json").is_file():
        try:
            metadata = json.loads((folder / "metadata.json").read_text())
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder / 'metadata.json'}: cut or damaged ({_line(error)})") from error
        if not isinstance(metadata, dict):
            raise BadInput(f"{folder / 'metadata.json'}: not a JSON object")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise BadInput(f"{path}: Minari data of format {metadata['data_format']!r}; only 'hdf5' is read")
    if not main.is_file():
        raise BadInput(f"{path}: a directory without data/main_data.hdf5, so not a Minari data set")
    return _read_hdf5(main, metadata)


# ------------------------------------------------------------------------------------------------------------- layouts


def _from_arrays(where: str, arrays: dict, metadata: dict) -> Dataset:
    """A data set from flat arrays in Operant's, OGBench's or D4RL's names."""
    if "observation" in arrays:
        fields = {name: _field(where, arrays, name) for name in ARRAYS}
        dataset = Dataset(**fields, metadata={"format": "operant"} | metadata)
        dataset.validate(where)
        return dataset
    if "observations" not in arrays:
        raise BadInput(_no_observations(where, arrays))
    d4rl = "timeouts" in arrays or ("rewards" in arrays and "masks" not in arrays)
    dataset = (_from_d4rl if d4rl else _from_ogbench)(where, arrays)
    dataset.metadata |= metadata
    dataset.validate(where)
    return dataset


def _from_ogbench(where: str, arrays: dict) -> Dataset:
    """OGBench: `terminals` marks the end of a recording, never of the task; `masks` is 0 where the task ended (single-task data)."""
    observation, action, last = (_field(where, arrays, name) for name in ("observations", "actions", "terminals"))
    rows = len(observation)
    given = {name: _field(where, arrays, name) for name in ("rewards", "masks", "next_observations") if name in arrays}
    _same_length(where, {"observations": rows, "actions": len(action), "terminals": len(last)} | {name: len(array) for name, array in given.items()})
    if not last[-1]:
        raise BadInput(f"{where}: terminals row {rows - 1} is 0: the last trajectory has no end, so the data are cut; it must be 1")
    if "next_observations" in given:
        keep, following, cut = np.ones(rows, dtype=bool), given["next_observations"], last
    else:
        keep, following, cut = _shift(where, observation, last)
    return Dataset(
        observation=observation[keep],
        action=action[keep],
        next_observation=following,
        reward=given["rewards"][keep] if "rewards" in given else np.zeros(keep.sum(), dtype=np.float32),
        terminated=~given["masks"][keep] if "masks" in given else np.zeros(keep.sum(), dtype=bool),
        truncated=cut,
        metadata={"format": "ogbench", "reward": "environment" if "rewards" in given else "none"},
    )


def _from_d4rl(where: str, arrays: dict) -> Dataset:
    """D4RL: `terminals` is the end of the task, `timeouts` a cut; the outcome of a row that was cut is only known where next_observations are given.

    Without next_observations, the outcome of a terminal row is not in the file: its own observation stands in for it, and no value is bootstrapped there.
    """
    observation, action, reward, terminal = (_field(where, arrays, name) for name in ("observations", "actions", "rewards", "terminals"))
    rows = len(observation)
    given = {name: _field(where, arrays, name) for name in ("timeouts", "next_observations") if name in arrays}
    lengths = {"observations": rows, "actions": len(action), "rewards": len(reward), "terminals": len(terminal)}
    _same_length(where, lengths | {name: len(array) for name, array in given.items()})
    if not given:
        raise BadInput(f"{where}: neither timeouts nor next_observations: where an episode was cut cannot be told; give one of them")
    metadata = {"format": "d4rl", "reward": "environment"}
    if "next_observations" in given:
        keep, following = np.ones(rows, dtype=bool), given["next_observations"]
        if following.shape != observation.shape:
            raise BadInput(f"{where}: next_observations has shape {list(following.shape)}, it must be {list(observation.shape)}")
        cut = given["timeouts"].copy() if "timeouts" in given else np.append((following[:-1] != observation[1:]).any(axis=1), True) & ~terminal
        cut[-1] |= not terminal[-1]
    else:
        gone = given["timeouts"] & ~terminal
        gone[-1] |= not terminal[-1]
        keep, following, cut = _shift(where, observation, gone)
        ended = terminal[keep]
        following[ended] = observation[keep][ended]
        cut &= ~ended
        if ended.any():
            metadata["terminal_next_observation"] = "unknown: the row's own observation stands in"
    return Dataset(observation[keep], action[keep], following, reward[keep], terminal[keep], cut, metadata)


def _from_episodes(where: str, episodes: dict[str, dict[str, np.ndarray]], metadata: dict) -> Dataset:
    """Minari: T + 1 observations and T of everything else in each episode."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    for episode, arrays in episodes.items():
        named = {f"{episode}/{key}": array for key, array in arrays.items()}
        observation, action, reward, terminated, truncated = (_field(where, named, f"{episode}/{key}") for key in arrays)
        steps = len(reward)
        if steps == 0:
            continue
        expected = {"observations": steps + 1, "actions": steps, "terminations": steps, "truncations": steps}
        for key, length in expected.items():
            if len(arrays[key]) != length:
                raise BadInput(f"{where}: {episode}/{key} has {len(arrays[key])} rows, it must have {length}, as rewards has {steps}")
        if parts["observation"] and (observation.shape[1:], action.shape[1:]) != (parts["observation"][0].shape[1:], parts["action"][0].shape[1:]):
            raise BadInput(f"{where}: {episode} has observations or actions of another width than the episodes before it")
        truncated = truncated.copy()
        truncated[-1] |= not terminated[-1]  # a recording that just stops was cut
        for name, array in zip(ARRAYS, (observation[:-1], action, observation[1:], reward, terminated, truncated), strict=True):
            parts[name].append(array)
    if not parts["observation"]:
        raise BadInput(f"{where}: no transitions in its {len(episodes)} episodes")
    dataset = Dataset(**{name: np.concatenate(arrays) for name, arrays in parts.items()}, metadata={"format": "minari", "reward": "environment"})
    dataset.metadata |= {key: metadata[key] for key in ("dataset_id", "algorithm_name", "minari_version") if key in metadata}
    _read_spaces(where, dataset, metadata)
    dataset.validate(where)
    return dataset


def _read_spaces(where: str, dataset: Dataset, metadata: dict) -> None:
    """Take the bounds of actions and the environment from Minari's metadata."""
    described = {}
    for key in ("action_space", "env_spec"):
        try:
            described[key] = dict(json.loads(metadata.get(key) or "{}"))
        except (ValueError, TypeError) as error:
            raise BadInput(f"{where}: the metadata's {key} is not a JSON object ({_line(error)})") from error
    space = described["action_space"]
    try:
        if space.get("type") == "Discrete" and dataset.discrete:
            dataset.action = dataset.action - int(space.get("start", 0))
            dataset.metadata |= {"action_count": int(space["n"])}
        elif space.get("type") == "Box" and not dataset.discrete:
            low, high = np.ravel(space["low"]).astype(np.float64), np.ravel(space["high"]).astype(np.float64)
            if np.isfinite(low).all() and np.isfinite(high).all():
                dataset.metadata |= {"action_low": low.tolist(), "action_high": high.tolist()}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: the metadata's action_space is not that of a {space['type']} ({_line(error)})") from error
    spec = described["env_spec"]
    if "id" in spec:
        kwargs = dict(spec.get("kwargs") or {})
        if spec.get("max_episode_steps") is not None:
            kwargs["max_episode_steps"] = spec["max_episode_steps"]
        dataset.metadata |= {"environment": str(spec["id"]), "environment_kwargs": kwargs}


def _shift(where: str, observation: np.ndarray, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Next observations from the rows that follow. `gone [M]` marks rows without a next one. Returns (keep `[M]`, next `[K, D]`, cut `[K]`)."""
    keep = ~gone
    if not keep.any():
        raise BadInput(f"{where}: no transitions: no trajectory is longer than one row")
    return keep, np.roll(observation, -1, axis=0)[keep], np.roll(gone, -1)[keep]


# -------------------------------------------------------------------------------------------------------------- arrays


def _field(where: str, arrays: Mapping[str, object], name: str) -> np.ndarray:
    """One checked array of the source by its name there: vectors `[M, D]` float32, actions, scalars `[M]` float32, or flags `[M]` bool."""
    if name not in arrays:
        raise BadInput(f"{where}: no key {name!r}; it has {', '.join(sorted(map(str, arrays)))}")
    array = _numbers(where, name, arrays[name])
    read = _READERS[name.rsplit("/", 1)[-1]]
    if array.ndim == 0 or (array.shape[0] == 0 and "/" not in name):
        raise BadInput(f"{where}: {name} is empty or a single number (shape {list(array.shape)})")
    return read(where, name, array)


def _numbers(where: str, name: str, value: object) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadInput(f"{where}: {name} is not one array of numbers ({_line(error)})") from error
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{where}: {name} holds {array.dtype}, not numbers")
    return array


def _float32(where: str, name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is named by the next line
        array = array.astype(np.float32)
    require_finite(where, name, array)
    return array


def _vectors(where: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2:
        raise BadInput(f"{where}: {name} has shape {list(array.shape)}; only vectors a step, [M, D], can be read")
    return _float32(where, name, array)


def _actions(where: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "iu" and array.shape[1:] in ((), (1,)):
        return array.reshape(len(array)).astype(np.int64)
    if array.dtype.kind != "f" or array.ndim != 2:
        raise BadInput(f"{where}: {name} is {array.dtype} of shape {list(array.shape)}; it must be float [M, A] or integer [M]")
    return _float32(where, name, array)


def _scalars(where: str, name: str, array: np.ndarray) -> np.ndarray:
    if array.shape[1:] not in ((), (1,)):
        raise BadInput(f"{where}: {name} has shape {list(array.shape)}, it must be [M]")
    return _float32(where, name, array.reshape(len(array)))


def _flags(where: str, name: str, array: np.ndarray) -> np.ndarray:
    flags = _scalars(where, name, array)
    odd = (flags != 0) & (flags != 1)
    if odd.any():
        row = int(odd.argmax())
        raise BadInput(f"{where}: {name} row {row} is {flags[row]:g}, it must be 0 or 1")
    return flags.astype(bool)


_READERS: dict[str, Callable[[str, str, np.ndarray], np.ndarray]] = (
    dict.fromkeys(("observation", "next_observation", "observations", "next_observations"), _vectors)
    | dict.fromkeys(("action", "actions"), _actions)
    | dict.fromkeys(("reward", "rewards"), _scalars)
    | dict.fromkeys(("terminated", "truncated", "terminals", "timeouts", "masks", "terminations", "truncations"), _flags)
)


def _same_length(where: str, lengths: dict[str, int]) -> None:
    rows = lengths["observations"]
    for name, length in lengths.items():
        if length != rows:
            raise BadInput(f"{where}: {name} has {length} rows, it must have {rows}, as observations has")


def _no_observations(where: object, keys) -> str:
    names = ", ".join(sorted(map(str, keys))[:12])
    return f"{where}: no key 'observations' (or 'observation'); it has {names or 'no arrays'}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
