"""Trained policies as files: one folder a seed, safetensors alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from operant.core.commands import going_on
from operant.core.errors import BadInput
from operant.core.files import check_size, remove
from operant.core.random import Streams
from operant.loops.configuration import spine_of
from operant.loops.fixed import FixedPolicy
from operant.nets.lifted import PlainModule

WEIGHTS = "policy.safetensors"  # in a seed's folder


def save_policy(world, policy, place: int, folder: Path) -> None:
    """One seed's policy, written beside and renamed."""
    if not isinstance(policy, torch.nn.Module):
        return
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    remove(temporary)
    try:
        temporary.mkdir(parents=True)
        if world.stacked:
            save_file({name: value[place : place + 1].contiguous().clone() for name, value in policy.state_dict().items()}, temporary / WEIGHTS)
        else:
            world.save_policy(policy, temporary)
        remove(folder)
        os.rename(temporary, folder)
    except BaseException:
        remove(temporary)
        raise


def load_policy(world, config: dict, folder: Path, seed: int, module: PlainModule | None = None) -> Any:
    spine = spine_of(config, module)
    if isinstance(spine, FixedPolicy):
        return spine.policy(world, [seed]) if spine.load is None else spine.load(world, folder)
    if not folder.exists():
        raise BadInput(f"no policy in {folder}: the run has not been evaluated yet; {going_on(folder.parent.parent.parent, config)}")
    if not world.stacked:
        return world.load_policy(folder)
    weights = read_weights(folder / WEIGHTS, config)
    policy = world.policy(spine.policy, Streams([seed]))
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise _unfit(folder / WEIGHTS, config, error) from error
    return policy.eval()


def read_weights(file: Path, config: dict) -> dict[str, torch.Tensor]:
    """The weights of one seed's policy by name, `[1, …]`. Raises `BadInput` where they cannot be read."""
    try:
        check_size(file, file.stat().st_size)
        return load_file(file)
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror or error}") from error
    except (RuntimeError, SafetensorError) as error:
        raise _unfit(file, config, error) from error


def _unfit(file: Path, config: dict, error: Exception) -> BadInput:
    return BadInput(f"{file} does not fit {config['method']} on {config['task']}: {error}".splitlines()[0])
