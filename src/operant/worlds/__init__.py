"""Where experience comes from: `make_world("scheme:name")` gives the world of a task.

A world has `kind` ("gym", "data", "text", "sequences"), `task` (its whole name), `stacked` (whether seeds share one
learner) and builds, for a loop, what that loop asks for:
`policy(net, streams)`, `source(plan, streams, workers)`, `replay(plan, actor, streams, total_steps)`, `transitions(device)`, `demonstrations(batch_size,
streams)`, and `evaluate(policy, seeds, …)`. A world that cannot give one of these says so in one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from operant.core.errors import BadInput, unknown


@dataclass(frozen=True)
class Scheme:
    """One kind of task name.

    Attributes:
        module: where its world class is, imported when it is asked for.
        world: the class; `world.from_name(rest)` makes a world, `world.names()` lists known names with a line each.
        example: a name that a person can type.
    """

    module: str
    world: str
    example: str

    def load(self) -> Any:
        return getattr(import_module(self.module), self.world)


SCHEMES = {
    "gym": Scheme("operant.worlds.gym.world", "GymWorld", "gym:CartPole-v1"),
    "ogbench": Scheme("operant.worlds.data.world", "OGBenchWorld", "ogbench:pointmaze-medium-navigate-singletask-v0"),
    "data": Scheme("operant.worlds.data.world", "FileWorld", "data:PATH.npz"),
    "minari": Scheme("operant.worlds.data.world", "MinariWorld", "minari:D4RL/pointmaze/umaze-v2"),
    "text": Scheme("operant.worlds.text.world", "TextWorld", "text:arithmetic"),
    "sequences": Scheme("operant.worlds.sequences.world", "SequenceWorld", "sequences:target"),
}


def make_world(task: Any) -> Any:
    """The world of a task: `scheme:name`, a bare known name, a callable that makes a Gymnasium environment, or a world that is ready.

    Raises:
        BadInput: unknown scheme or name (with the nearest), or data that cannot be read.
    """
    if hasattr(task, "kind") and hasattr(task, "evaluate"):
        return task
    if callable(task):
        return SCHEMES["gym"].load()(task)
    scheme, colon, name = task.partition(":")
    if colon:
        if scheme not in SCHEMES:
            raise unknown("kind of task", scheme, SCHEMES)
        if not name:
            raise BadInput(f"task {task!r} has no name; for example {SCHEMES[scheme].example}")
        return SCHEMES[scheme].load().from_name(name)
    known = task_names()
    matches = [full for full in known if full.partition(":")[2] == task]
    if len(matches) == 1:
        return make_world(matches[0])
    raise unknown("task", task, {*known, *(full.partition(":")[2] for full in known)})


def task_names() -> dict[str, str]:
    """Every task that can be named without a file, with a line about it."""
    found = {}
    for scheme, entry in SCHEMES.items():
        for name, line in entry.load().names().items():
            found[f"{scheme}:{name}"] = line
    return found
