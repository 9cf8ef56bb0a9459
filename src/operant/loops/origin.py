"""Going on from another run's policy. That run may be anybody's: its words and its weights are read, and nothing that it names is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from operant.loops.policy_files import WEIGHTS, form_difference, read_weights
from operant.worlds import make_world
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
                read, notes = [where / "manifest.json"], tuple(f"{line}; beginning from {where.name}" for line in damaged)
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
            raise BadInput(f"--from {self.path}: its {what}s are of another form, {_apart(theirs[what], own[what], world.task)}{self._task_hint(world)}")
        own = world.policy(spine.policy, Streams([0]))
        if (difference := form_difference(self.policies[0], own.state_dict(), "in that run")) is not None:
            here, there = f"{entry.key} on {world.task} as it is set here", self._consists(world)
            if there not in (None, own.consists):
                difference = f"{self.config['method']} trains {there}, {entry.key} {own.consists}; take a run of a method that trains {own.consists} too"
                if world.kind in get_method("snapshotrl").worlds:
                    difference += f", or begin episodes where its policy went: operant train snapshotrl --teacher-run {self.path}"
            raise BadInput(f"--from {self.path}: its policy is no network of {here}: {difference}{self._hint(entry, world, hyperparameters)}")
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

    def _hint(self, entry: Method, world: World, hyperparameters: Mapping[str, Any]) -> str:
        """Of a run of the same method, the settings that make another network, as they would be given."""

        def form(settings: Mapping[str, Any]) -> Any:
            net = world.policy(entry.build(configure(entry.key, {**hyperparameters, **settings})).policy, Streams([0]))
            return {name: value.shape for name, value in net.state_dict().items()}

        theirs = self.config["hyperparameters"] if self.config["method"] == entry.key else {}
        return _trained_with({item.name: theirs[item.name] for item in fields(entry.hyperparameters) if item.name in theirs}, hyperparameters, form)

    def _task_hint(self, world: World) -> str:
        """The options of its task that make other spaces, as they would be given. Numbers alone are looked at: a text may name code."""
        theirs = {item.name: self.config.get("options", {}).get(item.name, item.default) for item in fields(world.options)}
        numbers = {name: value for name, value in theirs.items() if value is None or isinstance(value, int)}
        own = {name: getattr(world.options, name) for name in theirs}
        return _trained_with(numbers, own, lambda options: spaces(make_world(world.task, **own | options))) if world.named else ""

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


def _trained_with(theirs: Mapping[str, Any], own: Mapping[str, Any], form: Callable[[dict[str, Any]], Any]) -> str:
    """The end of a refusal: settings of another run, where what it trained has another form for them.

    Args:
        form: of what the own settings make with some of the others in their place.
    """
    words, here = [], form({})
    for name, value in theirs.items():
        if value_text(value) == value_text(own[name]):
            continue
        try:
            alike = form({name: value}) == here
        except BadInput:  # it goes with others of them
            alike = False
        words += [] if alike else [f"--{name.replace('_', '-')} {value_text(value)}"]
    return f"; it was trained with {' '.join(words)}" if words else ""


def _apart(theirs: Sequence[str], own: Sequence[str], task: str) -> str:
    """How the fields of two spaces differ, in words."""
    there, here = (" and ".join(field for field in some if field not in others) for some, others in ((theirs, own), (own, theirs)))
    if there and not here:
        return f"with {there}, which {task} has not as it is set here"
    if here and not there:
        return f"without {here}, which {task} has as it is set here"
    return f"{there or ' and '.join(theirs)}; those of {task} are {here or ' and '.join(own)}"


def _rows(value: Any, places: Tensor) -> Any:
    """Nested tensors and arrays `[S, …]` at some of the seeds."""
    if isinstance(value, Mapping):
        return {name: _rows(part, places) for name, part in value.items()}
    return value[places.numpy()] if isinstance(value, np.ndarray) else value[places]
