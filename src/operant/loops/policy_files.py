"""Trained policies as files: one folder a seed, safetensors alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from operant.core import ranks
from operant.core.commands import going_on
from operant.core.errors import BadInput, one_line
from operant.core.files import check_size, remove
from operant.core.random import Streams
from operant.core.registry import registered
from operant.core.spec import Spec
from operant.loops.configuration import members_of, spine_of
from operant.loops.fixed import FixedPolicy
from operant.nets.lifted import PlainModule
from operant.worlds.gym.spaces import WIDEST

WEIGHTS = "policy.safetensors"  # in a seed's folder


@dataclass(frozen=True)
class Bare:
    """As much of a run's world as its policies hang on, which its run.json says: they are read without its environment and the code of that.

    Attributes:
        observation, action: what they consist of; of an observation the outermost bounds alone.
    """

    observation: Spec
    action: Spec
    acts: ClassVar[bool] = True
    stacked: ClassVar[bool] = True

    @classmethod
    def of(cls, config: dict[str, Any]) -> Bare | None:
        """Of a run; None where its policy is no network over observations, or its method stands in a file that is not imported."""
        if "fields" not in config or not registered(config["method"]):
            return None
        found = cls(*(Spec.from_json(config["fields"][name]) for name in ("observation", "action")))
        if max(found.observation.size, sum(max(field.size, field.numbers) for field in found.action.fields)) > WIDEST:
            raise BadInput(f"run.json: fields of more than {WIDEST:,} numbers are no environment's")
        for field in (*found.observation.fields, *found.action.fields):
            if re.fullmatch(r"bool|u?int\d+|float\d+", field.dtype) is None:
                raise BadInput(f"run.json: a field of type {one_line(field.dtype, 40)} is no environment's")
        return found

    def policy(self, net: Any, streams: Streams) -> Any:
        try:
            return net.build(self.observation, self.action, streams)
        except (AttributeError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise BadInput(f"run.json: its policy is none of such fields: {one_line(error)}") from error


def save_policy(world, policy, place: int, folder: Path) -> None:
    """One seed's policy, written beside and renamed. Of several processes the first writes what all of them gather."""
    if not isinstance(policy, torch.nn.Module):
        return
    if ranks.rank() > 0:
        world.save_policy(policy, folder)
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
        why = "it is gone" if (folder.parents[2] / "result.json").exists() else "the run has not been evaluated yet"
        raise BadInput(f"no policy in {folder}: {why}; {_anew(folder, config, world.stacked)}")
    if not world.stacked:
        return world.load_policy(folder)
    weights = read_weights(folder / WEIGHTS, config)
    policy = world.policy(spine.policy, Streams([seed]))
    if (difference := form_difference(weights, policy.state_dict(), "in it")) is not None:
        raise BadInput(f"{folder / WEIGHTS} does not fit {config['method']} on {config['task']}: {difference}")
    policy.load_state_dict(weights)
    return policy.eval()


def read_weights(file: Path, config: dict) -> dict[str, Tensor]:
    """The weights of one seed's policy by name, `[1, …]`. Raises `BadInput` where they cannot be read."""
    try:
        check_size(file, file.stat().st_size)
        return load_file(file)
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror or error}") from error
    except (RuntimeError, SafetensorError) as error:
        raise BadInput(f"{file} is damaged or was cut short ({one_line(error)}); {_anew(file.parent, config, True)}") from error


def _anew(folder: Path, config: dict, stacked: bool) -> str:
    """How a policy that is lost comes back, in words that end a message."""
    run = folder.parents[2]
    if not (run / "result.json").exists():
        return going_on(run, config)
    if folder.parent.name == "best":
        return "of the seed's policies there is still the last one"
    if config.get("budget", {}).get("unit", "steps") != "steps" or len(members_of(config, stacked)) > 1:
        return "the run has to be trained anew"
    return f"more steps of training write it again: {going_on(run, config, config['steps'] + config.get('iteration', 1))}"


def form_difference(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str) -> str | None:
    """Where the weights of two policies first differ in form, `[S, …]` each, in words.

    Args:
        where: the others are.
    """
    for name in dict.fromkeys([*own, *theirs]):
        shapes = [None if name not in weights else list(weights[name].shape) for weights in (theirs, own)]
        if shapes[0] != shapes[1]:
            there, here = ("not there" if shape is None else shape for shape in shapes)
            return f"{name} is {there} {where}, {here} here"
    return None
