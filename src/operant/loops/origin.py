"""Going on from another run's policy. That run may be anybody's: its words and its weights are read, and nothing that it names is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core import schema
from operant.core.commands import going_on
from operant.core.errors import BadInput, one_line
from operant.core.files import file_digest
from operant.core.index import declared
from operant.core.random import Streams
from operant.core.registry import Method, configure, get_method, value_text
from operant.core.run import RunDirectory
from operant.core.schema import require
from operant.loops.configuration import members_of, spaces
from operant.loops.learner import Learner, Spine
from operant.loops.policy_files import WEIGHTS, read_weights
from operant.worlds.base import World

UNSHAPED = ("activation", "layer_norm")
"""Settings of a network that no shape of its weights shows."""


@dataclass(frozen=True)
class Origin:
    """What a run begins from.

    Attributes:
        path: the other run's directory.
        config: what its run.json says.
        about: what the new run's run.json says of it: where and what it was, what is taken ("policy", or "all" that was learned), and the digests of what was
            read.
        policies: of its seeds in order, the weights of each policy by name, `[1, …]`.
        state: its learner's; None where the policy alone is taken.
        notes: what a person should know, a line each.
    """

    path: Path
    config: dict[str, Any]
    about: dict[str, Any]
    policies: list[dict[str, Tensor]]
    state: Mapping[str, Any] | None
    notes: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path, method: str) -> Origin:
        """The run at a path, for a run of `method`. Raises `BadInput` where it has no policy of networks over observations."""
        directory = RunDirectory.open(path)
        path, config = directory.path, directory.config
        seeds = [config["seed"] + index for index in range(config["seeds"])]
        files = [path / "policies" / "last" / f"seed-{seed}" / WEIGHTS for seed in seeds]
        if missing := [file for file in files if not file.is_file()]:
            if not missing[0].parent.exists():
                raise BadInput(f"--from {path}: it has no policy of seed {missing[0].parent.name[5:]} yet; {going_on(path, config)}")
            raise BadInput(f"--from {path}: {config['method']} on {config['task']} has no network over observations; of text, give --model {missing[0].parent}")
        policies = [read_weights(file, config) for file in files]
        state, read, notes = None, files, ()
        if config["method"] == method and len(members_of(config, True)) == 1:
            if directory.checkpoints.all():
                found, where, damaged = directory.checkpoints.load(with_blocks=False)
                state = require(found, schema.STATE, f"checkpoint {where}")["learner"]
                read, notes = [where / "manifest.json"], tuple(damaged)
            else:
                notes = (f"{path} has no checkpoint: its policy is taken, and no critic",)
        about = {"run": str(path.absolute()), "method": config["method"], "task": config["task"], "takes": "policy" if state is None else "all"}
        return cls(path, config, about | {"digests": {str(file.relative_to(path)): file_digest(file) for file in read}}, policies, state, notes)

    @classmethod
    def again(cls, about: Mapping[str, Any], method: str) -> Origin:
        """What a run of `method` said that it begins from. Raises `BadInput` where that is another by now."""
        found = cls.read(about["run"], method)
        if found.about["digests"] != about["digests"]:
            raise BadInput(f"{about['run']}, which this run begins from, is no longer as it was: start a new run from it")
        return found

    def check(self, entry: Method, spine: Spine, world: World, hyperparameters: Mapping[str, Any]) -> None:
        """Raise `BadInput` where a run cannot begin from it: another kind of task, other spaces, another network.

        Args:
            hyperparameters: of the new run.
        """
        if not world.acts or not world.stacked or not spine.goes_on:
            raise BadInput(f"--from {self.path}: {entry.key} on {world.task} does not train a network over observations, which alone can go on from another's")
        if (theirs := self.config.get("spaces")) is not None and theirs != (own := spaces(world)):
            what = next(name for name in own if theirs[name] != own[name])
            there, here = (" and ".join(found[what]) for found in (theirs, own))
            raise BadInput(f"--from {self.path}: its {what}s are of another form, {there}; those of {world.task} are {here}")
        own = world.policy(spine.policy, Streams([0]))
        if (difference := _difference(self.policies[0], own.state_dict())) is not None:
            here, there = f"{entry.key} on {world.task} as it is set here", self._consists(world)
            if there not in (None, own.consists):
                difference = f"{self.config['method']} trains {there}, {entry.key} {own.consists}; take a run of a method that trains {own.consists} too"
                if world.kind in get_method("snapshotrl").worlds:
                    difference += f", or begin episodes where its policy went: operant train snapshotrl --teacher-run {self.path}"
            raise BadInput(f"--from {self.path}: its policy is no network of {here}: {difference}{self._hint(entry, hyperparameters)}")

        for name in UNSHAPED:
            theirs, mine = self.config["hyperparameters"].get(name), hyperparameters.get(name)
            if None not in (theirs, mine) and theirs != mine:
                option = f"--{name.replace('_', '-')}"
                raise BadInput(f"--from {self.path}: its policy was trained with {option} {value_text(theirs)}, here it is {value_text(mine)}: give the same")

    def _consists(self, world: World) -> str | None:
        """What the network of its policy gives, in words; None where a method from outside says that, of which nothing is imported, or nothing is known."""
        if (key := self.config["method"]) not in declared("methods", "method"):
            return None
        try:
            return world.policy(get_method(key).build(configure(key, self.config["hyperparameters"])).policy, Streams([0])).consists
        except BadInput:
            return None

    def _hint(self, entry: Method, hyperparameters: Mapping[str, Any]) -> str:
        """Of a run of the same method, the settings that differ, as they would be given."""
        theirs = self.config["hyperparameters"] if self.config["method"] == entry.key else {}
        names = [item.name for item in fields(entry.hyperparameters) if item.name in theirs]
        texts = {name: (value_text(theirs[name]), value_text(hyperparameters[name])) for name in names}
        words = [f"--{name.replace('_', '-')} {there}" for name, (there, here) in texts.items() if there != here]
        return f"; it was trained with {' '.join(words)}" if words else ""

    def begin(self, learner: Learner, places: list[int]) -> None:
        """Hand what it learned to a learner before the first iteration.

        Args:
            places: of the learner's seeds among those of its run; where this one has fewer, they come again from the first on.

        Raises:
            BadInput: critics or scales that do not fit.
        """
        chosen = torch.tensor([place % len(self.policies) for place in places])
        try:
            if self.state is None:
                learned = {"policy": {name: torch.cat([weights[name] for weights in self.policies]) for name in self.policies[0]}}
            else:
                learned = learner.learned(self.state)
            learner.begin_from(_rows(learned, chosen))
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise BadInput(f"--from {self.path}: what it learned does not fit {learner.policy.__class__.__name__}'s run: {one_line(error)}") from error


def _rows(value: Any, places: Tensor) -> Any:
    """Nested tensors and arrays `[S, …]` at some of the seeds."""
    if isinstance(value, Mapping):
        return {name: _rows(part, places) for name, part in value.items()}
    return value[places.numpy()] if isinstance(value, np.ndarray) else value[places]


def _difference(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Where the weights of two policies first differ in form, `[S, …]` each, in words."""
    for name in dict.fromkeys([*own, *theirs]):
        shapes = [None if name not in weights else list(weights[name].shape[1:]) for weights in (theirs, own)]
        if shapes[0] != shapes[1]:
            there, here = ("not there" if shape is None else shape for shape in shapes)
            return f"{name} is {there} in that run, {here} here"
    return None
