"""Data sets on disk: OGBench and Operant npz, D4RL-style and Minari HDF5, and a dict of arrays.

The layout is told by the content, not by the file's name. Nothing is unpickled, no other file is followed, nothing is allocated before its declared size was
held against the file's and the machine's, and nothing is loaded from a file that has a fault: the message names the file, the key and the row.

Sources of the layouts: OGBench (arXiv:2410.20092; `ogbench.load_dataset` drops the last row of each trajectory, which has no next observation), D4RL
(arXiv:2004.07219), Minari (minari.farama.org, data sets of `data_format` hdf5).
"""

from __future__ import annotations

import json
import lzma
import math
import os
import re
import uuid
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from operant.core.errors import BadInput, nearest
from operant.core.files import check_source
from operant.core.memory import amount, physical_memory
from operant.worlds.data.dataset import ARRAYS, Dataset, require_finite

_MINARI_FILE = "main_data.hdf5"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_NAMES = {  # what each array of a flat file may be called; "terminals" is read by the layout, see `_from_arrays`
    "observation": ("observation", "observations"),
    "action": ("action", "actions"),
    "next_observation": ("next_observation", "next_observations"),
    "reward": ("reward", "rewards"),
    "terminated": ("terminated", "terminals", "terminations"),
    "truncated": ("truncated", "timeouts", "truncations"),
    "masks": ("masks",),
}
_ARRAY_OF = {name: array for array, names in _NAMES.items() for name in names}
_WANTED = "Wanted, a row a step: observations, actions, rewards, terminals, and timeouts or next_observations"
_TEXTS = ("metadata", "environment", "environment_kwargs")  # what a flat file may say besides: JSON, an id, JSON


def load(source: str | Path | Mapping[str, object]) -> Dataset:
    """Read a data set.

    Args:
        source: a file (OGBench or Operant npz, D4RL-style or Minari HDF5), the directory of a Minari data set, or a dict of arrays. The keys of flat files and
            dicts are those of the table in docs/extending.md: Operant's, OGBench's or D4RL's names.

    Returns:
        A validated `Dataset` in the file's own units. Where the source has no rewards they are 0 and metadata["reward"] is "none"; where rows had to be left
        out because the source does not hold their outcome, metadata["dropped"] counts them.

    Raises:
        BadInput: one line: the source, the key, the row.
    """
    if isinstance(source, Mapping):
        arrays = {name: value for name, value in source.items() if name in _ARRAY_OF}
        return _from_arrays("dict of arrays", arrays, _read_texts("dict of arrays", {name: source[name] for name in _TEXTS if name in source}), source)
    path = Path(os.path.expanduser(source))
    try:
        return _load_path(path)
    except MemoryError as error:
        raise BadInput(f"{path}: it does not fit into the memory of this machine; give a part of it") from error


def _load_path(path: Path) -> Dataset:
    if os.path.isdir(path):
        return _read_minari_directory(path)
    check_source(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if start[:4] == b"PK\x03\x04":
        return _read_npz(path)
    if start == _HDF5_MAGIC:
        return _read_minari_directory(path.parent) if path.name == _MINARI_FILE else _read_hdf5(path, {})
    what = "it is empty" if not start else "its first bytes are those of neither"
    raise BadInput(f"{path}: not an npz or HDF5 file ({what}; pickled files are never read)")


def save_npz(dataset: Dataset, path: str | Path) -> Path:
    """Write a data set as npz: the arrays of `Dataset`, and `metadata`, a JSON string to which "sha256" (`content_hash`) is added.

    The file appears whole or not at all: it is written under a temporary name beside `path`, synced and renamed. Equal data sets give equal bytes.

    Raises:
        BadInput: the data are not valid, the metadata are not JSON, or the file cannot be written.
    """
    path = Path(os.path.expanduser(path)).absolute()
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
    return Path(os.path.expanduser(chosen)) if chosen else Path.home() / ".minari" / "datasets"


def minari_names() -> list[str]:
    """The ids of the data sets in the local Minari cache."""
    root = minari_directory()
    if not os.access(root, os.R_OK | os.X_OK):
        return []
    return sorted(found.parent.parent.relative_to(root).as_posix() for found in root.glob(f"**/data/{_MINARI_FILE}"))


def load_minari(name: str) -> Dataset:
    """Read a data set of the local Minari cache, without the minari package.

    Args:
        name: the data set's id, such as `mujoco/hopper/medium-v0`.

    Raises:
        BadInput: it is not there (with the nearest that is), or it cannot be read.
    """
    root = minari_directory()
    known = minari_names()
    if name in known:
        return _read_minari_directory(root / name)
    raise BadInput(
        f"no Minari data set {name!r} in {root}, which holds {f'others: {nearest(name, known)}' if known else 'none'}; "
        f"fetch it with `minari download {name}` (pip install 'minari[hdf5]'), or give its folder: minari:PATH"
    )


# ---------------------------------------------------------------------------------------------------------------- files


def read_arrays(path: Path, names: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an npz file that have one of these names, and the names of all that it holds.

    Nothing is unpickled, and nothing is read that is larger than the file or the machine's memory.

    Raises:
        BadInput: it cannot be read, with the array that is wrong.
    """
    check_source(path)
    arrays: dict[str, np.ndarray] = {}
    key = "the archive"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if len(members) < len(archive.infolist()):
                twice = next(name for name in members if sum(member.filename.removesuffix(".npy") == name for member in archive.infolist()) > 1)
                raise BadInput(f"{path}: {twice} stands in it twice; make the file again with one of them")
            wanted = [name for name in members if name in names]
            room = _Room(path)
            for key in wanted:
                _look_at_member(path, key, archive, members[key], room)
        key = "the archive"
        with np.load(path, allow_pickle=False) as file:
            for key in wanted:
                arrays[key] = file[key]
    except FileNotFoundError:
        raise BadInput(f"cannot read {path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, KeyError, RuntimeError) as error:
        raise BadInput(f"{path}: {key} is cut or damaged ({_line(error)})") from error
    return arrays, list(members)


def _read_npz(path: Path) -> Dataset:
    arrays, members = read_arrays(path, {*_ARRAY_OF, *_TEXTS})
    metadata = _read_texts(path, {name: arrays.pop(name) for name in _TEXTS if name in arrays})
    dataset = _from_arrays(str(path), arrays, {name: value for name, value in metadata.items() if name != "sha256"}, members)
    if "sha256" in metadata:
        if metadata["sha256"] != dataset.content_hash():
            raise BadInput(f"{path}: the arrays are not those of the hash in metadata; make the file again")
        dataset.metadata["sha256"] = metadata["sha256"]
    return dataset


def _look_at_member(path: Path, key: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, room: _Room) -> None:
    """Hold what an array's header declares against the member's size, before anything is allocated for it."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        header = file.tell()
    if dtype.hasobject:
        raise BadInput(f"{path}: {key} is a pickled object array; it is not read, save plain numbers (rows of different lengths are none)")
    if header + math.prod(shape) * dtype.itemsize != member.file_size:
        held = member.file_size - header
        raise BadInput(f"{path}: {key} declares {list(shape)} {dtype}, {amount(math.prod(shape) * dtype.itemsize)}, and holds {amount(held)}: it is damaged")
    room.take(key, shape, dtype)


class _Room:
    """Keeps what the arrays of a source will take against the memory of this machine.

    Args:
        where: the source, for the message.
    """

    def __init__(self, where: object):
        self._where, self._taken = where, 0
        self._memory = physical_memory()

    def take(self, name: str, shape: Sequence[int], dtype: np.dtype) -> None:
        """Count one array as it is read and as float32. Raises `BadInput` where all of them take more than there is."""
        self._taken += math.prod(shape) * (dtype.itemsize + 4)
        if self._taken > self._memory:
            raise BadInput(
                f"{self._where}: {name} is {list(shape)} {dtype}: {amount(self._taken)} to read, and this machine has {amount(self._memory)} of memory; "
                "give a part of it"
            )


def _read_texts(where: object, texts: Mapping[str, object]) -> dict:
    """The metadata that a source states in words: `metadata` and `environment_kwargs` as JSON objects, `environment` as an id."""
    found: dict = {}
    for name, value in texts.items():
        value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        if name == "environment":
            if not isinstance(value, str):
                raise BadInput(f"{where}: environment must be one Gymnasium id, text")
            found[name] = value
            continue
        if not isinstance(value, dict):
            try:
                value = json.loads(str(value))
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{where}: {name} is not JSON ({_line(error)})") from error
        if not isinstance(value, dict):
            raise BadInput(f"{where}: {name} is not a JSON object")
        found = value | found if name == "metadata" else found | {name: value}
    return found


def _read_hdf5(path: Path, metadata: dict) -> Dataset:
    try:
        import h5py
    except ImportError as error:
        raise BadInput(f"{path}: reading HDF5 needs h5py: pip install 'operant[offline]'") from error
    room = _Room(path)

    def node(group: h5py.Group, key: str, name: str):
        """What a key stands for, if it stands in this file."""
        outside = isinstance(group.get(key, getlink=True), h5py.ExternalLink)
        found = None if outside else group[key]
        if outside or (isinstance(found, h5py.Dataset) and (found.is_virtual or found.external)):
            raise BadInput(f"{path}: {name} lies in another file, which is not read; put it into this one")
        return found

    def array(found: h5py.Dataset, name: str) -> np.ndarray:
        if found.shape is None:
            raise BadInput(f"{path}: {name} is empty")
        room.take(name, found.shape, found.dtype)
        return found[()]

    try:
        with h5py.File(path, "r") as file:
            episodes = sorted((key for key in file if re.fullmatch(r"episode_\d+", key)), key=lambda key: int(key[8:]))
            if episodes:
                # Minari before 0.5 kept its metadata as attributes of the file.
                attributes = {key: value for key, value in file.attrs.items() if isinstance(value, str)}
                read = {key: _read_episode(str(path), key, node(file, key, key), node, array) for key in episodes}
                return _from_episodes(str(path), read, attributes | metadata)
            found = {key: node(file, key, key) for key in file if key in _ARRAY_OF or key in _TEXTS}
            arrays = {key: array(value, key) for key, value in found.items() if isinstance(value, h5py.Dataset)}
            texts = {key: value for key, value in file.attrs.items() if key in _TEXTS} | {key: arrays.pop(key) for key in _TEXTS if key in arrays}
            groups = [key for key in file if file.get(key, getclass=True) is h5py.Group]
            keys = list(file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: cut or damaged ({_line(error)})") from error
    return _from_arrays(str(path), arrays, _read_texts(path, texts) | metadata, keys, groups)


def _read_episode(where: str, episode: str, group, node: Callable, array: Callable) -> dict[str, np.ndarray]:
    """The arrays of one Minari episode; observations of a Dict or Tuple space are put side by side in the order of their keys, as Gymnasium flattens them.

    Args:
        node, array: of `_read_hdf5`: what a key of a group stands for, and the array of a data set.
    """
    if not hasattr(group, "keys"):
        raise BadInput(f"{where}: {episode} is not a group")

    def leaves(name: str, found) -> list[np.ndarray]:
        if hasattr(found, "keys"):
            keys = sorted(found, key=lambda key: (int(key[7:]), "") if re.fullmatch(r"_index_\d+", key) else (0, key))
            return [leaf for key in keys for leaf in leaves(f"{name}/{key}", node(found, key, f"{name}/{key}"))]
        part = _numbers(where, name, array(found, name))
        if part.ndim == 0:
            raise BadInput(f"{where}: {name} is a single number; it must have a row a step")
        return [part]

    arrays = {}
    for key in ("observations", "actions", "rewards", "terminations", "truncations"):
        if key not in group:
            raise BadInput(f"{where}: no key {episode}/{key}; it has {', '.join(sorted(group))}")
        name = f"{episode}/{key}"
        found = node(group, key, name)
        if not hasattr(found, "keys"):
            arrays[key] = array(found, name)
        elif key == "observations":
            parts = leaves(name, found)
            if len({len(part) for part in parts}) != 1:
                raise BadInput(f"{where}: the parts of {name} have different lengths")
            arrays[key] = np.concatenate([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts], axis=1)
        else:
            raise BadInput(f"{where}: {name} is a group; only one array of numbers can be read")
    return arrays


def _read_minari_directory(path: Path) -> Dataset:
    folder = path / "data" if (path / "data").is_dir() else path
    main = folder / _MINARI_FILE
    metadata: dict = {}
    if (folder / "metadata.json").is_file():
        try:
            metadata = json.loads((folder / "metadata.json").read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"{folder / 'metadata.json'}: cut or damaged ({_line(error)})") from error
        if not isinstance(metadata, dict):
            raise BadInput(f"{folder / 'metadata.json'}: not a JSON object")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise BadInput(f"{path}: Minari data of format {metadata['data_format']!r}; only 'hdf5' is read")
    if not main.is_file():
        raise BadInput(f"{path}: a directory without data/main_data.hdf5, so not a Minari data set")
    return _read_hdf5(main, metadata)


# ------------------------------------------------------------------------------------------------------------- layouts


def _from_arrays(where: str, arrays: dict, metadata: dict, keys: Iterable[str], groups: Sequence[str] = ()) -> Dataset:
    """A data set from flat arrays in Operant's, OGBench's or D4RL's names.

    `terminals` means two things. OGBench ends a recording with it and says in `masks` where the task ended; D4RL ends the task with it and a recording with
    `timeouts`. OGBench's it is where there are `masks`, or neither rewards nor timeouts.

    Args:
        keys: everything that the source has, for messages.
        groups: those of `keys` that hold further keys.
    """
    found: dict[str, str] = {}
    for name in arrays:
        if (other := found.setdefault(_ARRAY_OF[name], name)) != name:
            raise BadInput(f"{where}: both {other!r} and {name!r}; they are two names of one array, keep one")
    has = ", ".join(sorted(map(str, keys))[:12]) or "no arrays"
    if "observation" not in found:
        nested = f": {', '.join(sorted(groups)[:6])} {'is a group' if len(groups) == 1 else 'are groups'}, and arrays are read at the top level" * bool(groups)
        raise BadInput(f"{where}: no key 'observations' (or 'observation'); it has {has}{nested}. {_WANTED}")
    if "action" not in found:
        raise BadInput(f"{where}: no key 'actions' (or 'action'); it has {has}. {_WANTED}")
    if found.get("terminated") == "terminals" and "truncated" not in found and ("masks" in found or "reward" not in found):
        dataset = _from_ogbench(where, arrays, found)
    elif set(arrays) == set(ARRAYS):
        dataset = Dataset(**{name: _field(where, arrays, name) for name in ARRAYS}, metadata={"format": "operant"})
    elif "terminated" in found:
        dataset = _from_steps(where, arrays, found)
    elif "truncated" in found:
        raise BadInput(f"{where}: no key 'terminals' (or 'terminated'); where no episode ends by itself it is all 0. It has {has}")
    else:
        ends = [name for name in ("done", "dones") if name in keys]
        blurred = f"; {ends[0]!r} does not say which of the two it was" if ends else ""
        missing = "neither 'terminals' (or 'terminated') nor 'timeouts' (or 'truncated')"
        raise BadInput(f"{where}: {missing}: where episodes end cannot be told{blurred}. It has {has}")
    dataset.metadata |= metadata
    dataset.validate(where)
    return dataset


def _fields(where: str, arrays: dict, found: dict[str, str]) -> dict[str, np.ndarray]:
    """Every array that a flat source has, checked and of one length, by Operant's name."""
    fields = {array: _field(where, arrays, name) for array, name in found.items()}
    _same_length(where, found["observation"], {found[array]: len(value) for array, value in fields.items()})
    observation, following = fields["observation"], fields.get("next_observation")
    if following is not None and following.shape != observation.shape:
        raise BadInput(f"{where}: {found['next_observation']} has shape {list(following.shape)}, it must be {list(observation.shape)}")
    return fields


def _from_ogbench(where: str, arrays: dict, found: dict[str, str]) -> Dataset:
    """OGBench: `terminals` marks the end of a recording, never of the task; `masks` is 0 where the task ended (single-task data)."""
    fields = _fields(where, arrays, found)
    observation, last = fields["observation"], fields["terminated"]
    rows = len(observation)
    if not last[-1]:
        raise BadInput(f"{where}: terminals row {rows - 1} is 0: the last trajectory has no end, so the data are cut; it must be 1")
    if "next_observation" in fields:
        keep, following, cut = np.ones(rows, dtype=bool), fields["next_observation"], last
    else:
        keep, following, cut = _shift(where, observation, last)
    return Dataset(
        observation=observation[keep],
        action=fields["action"][keep],
        next_observation=following,
        reward=fields["reward"][keep] if "reward" in fields else np.zeros(keep.sum(), dtype=np.float32),
        terminated=~fields["masks"][keep] if "masks" in fields else np.zeros(keep.sum(), dtype=bool),
        truncated=cut,
        metadata={"format": "ogbench", "reward": "environment" if "reward" in fields else "none"} | _dropped(keep),
    )


def _from_steps(where: str, arrays: dict, found: dict[str, str]) -> Dataset:
    """D4RL: `terminals` is the end of the task, `timeouts` a cut; the outcome of a row that was cut is only known where next_observations are given.

    Without next_observations, the outcome of a terminal row is not in the file: its own observation stands in for it, and no value is bootstrapped there.
    """
    fields = _fields(where, arrays, found)
    observation, terminal = fields["observation"], fields["terminated"]
    rows = len(observation)
    if "truncated" not in fields and "next_observation" not in fields:
        raise BadInput(f"{where}: neither timeouts nor next_observations: where an episode was cut cannot be told; give one of them")
    metadata = {"format": "d4rl", "reward": "environment" if "reward" in fields else "none"}
    if "next_observation" in fields:
        keep, following = np.ones(rows, dtype=bool), fields["next_observation"]
        if "truncated" in fields:
            cut = fields["truncated"].copy()
        else:
            cut = np.append((following[:-1] != observation[1:]).any(axis=tuple(range(1, observation.ndim))), True) & ~terminal
        cut[-1] |= not terminal[-1]
    else:
        gone = fields["truncated"] & ~terminal
        gone[-1] |= not terminal[-1]
        keep, following, cut = _shift(where, observation, gone)
        ended = terminal[keep]
        following[ended] = observation[keep][ended]
        cut &= ~ended
        if ended.any():
            metadata["terminal_next_observation"] = "unknown: the row's own observation stands in"
    reward = fields["reward"][keep] if "reward" in fields else np.zeros(keep.sum(), dtype=np.float32)
    return Dataset(observation[keep], fields["action"][keep], following, reward, terminal[keep], cut, metadata | _dropped(keep))


def _dropped(keep: np.ndarray) -> dict:
    """The count, for metadata, of rows whose outcome the source does not hold."""
    gone = int((~keep).sum())
    return {"dropped": gone} if gone else {}


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
            raise BadInput(f"{where}: {episode} has observations or actions of another shape than the episodes before it")
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
    for key in ("action_space", "env_spec", "eval_env_spec"):
        try:
            described[key] = dict(json.loads(metadata.get(key) or "{}"))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput(f"{where}: the metadata's {key} is not a JSON object ({_line(error)})") from error
    space = described["action_space"]
    try:
        if space.get("type") == "Discrete" and dataset.discrete:
            dataset.metadata |= {"action_count": int(space["n"]), "action_start": int(space.get("start", 0))}
        elif space.get("type") == "Box" and not dataset.discrete:
            low, high = np.ravel(space["low"]).astype(np.float64), np.ravel(space["high"]).astype(np.float64)
            if np.isfinite(low).all() and np.isfinite(high).all():
                dataset.metadata |= {"action_low": low.tolist(), "action_high": high.tolist()}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{where}: the metadata's action_space is not that of a {space['type']} ({_line(error)})") from error
    spec = described["eval_env_spec"] or described["env_spec"]  # Minari's recommendation for evaluation, where it has one
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
    """One checked array of the source by its name there: observations `[M, …]` float32, actions, scalars `[M]` float32, or flags `[M]` bool."""
    array = _numbers(where, name, arrays[name])
    if array.ndim == 0 or (array.shape[0] == 0 and "/" not in name):
        raise BadInput(f"{where}: {name} is empty or a single number (shape {list(array.shape)})")
    return _READERS[_ARRAY_OF[name.rsplit("/", 1)[-1]]](where, name, array)


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


def _actions(where: str, name: str, array: np.ndarray) -> np.ndarray:
    """Whole numbers as int64, `[M]` where there is one a row; others as float32."""
    if array.dtype.kind == "f":
        return _float32(where, name, array)
    return array.reshape(len(array), *() if array.shape[1:] == (1,) else array.shape[1:]).astype(np.int64)


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


_READERS: dict[str, Callable[[str, str, np.ndarray], np.ndarray]] = {
    "observation": _float32,
    "next_observation": _float32,
    "action": _actions,
    "reward": _scalars,
    "terminated": _flags,
    "truncated": _flags,
    "masks": _flags,
}


def _same_length(where: str, observations: str, lengths: dict[str, int]) -> None:
    rows = lengths[observations]
    for name, length in lengths.items():
        if length != rows:
            raise BadInput(f"{where}: {name} has {length} rows, it must have {rows}, as {observations} has")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
