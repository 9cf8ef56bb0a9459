"""One of several processes that train cases of the battery together: `python spread.py FOLDER`, with RANK and WORLD_SIZE as torchrun sets them.

FOLDER/trials.json lists `Trial`s. The first trains every one by itself, all then train it together, and the first writes what differs to FOLDER/found.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from battery import Case

from operant.core import ranks
from operant.core.flat import Adam
from operant.loops.base_policy import ensure_models
from operant.loops.reference import Reference
from operant.nets import packed, sharded
from operant.worlds import make_world
from operant.worlds.text import preferences


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        key, task: of a case.
        updates: iterations.
        options: of the task.
        layers: the model is spread layer by layer, as large ones are.
        eps: Adam's, where gradients are at first nothing but rounding, which Adam would scale up.
        values: hyper-parameters other than the battery's.
        average: the reference follows the policy.
    """

    key: str
    task: str
    updates: int = 2
    options: dict[str, Any] = field(default_factory=dict)
    layers: bool = False
    eps: float | None = None
    values: dict[str, Any] = field(default_factory=dict)
    average: bool = False

    @property
    def name(self) -> str:
        options = "".join(f" {name}={value}" for name, value in {**self.options, **self.values}.items())
        return f"{self.key} {self.task}{options}{' by layers' * self.layers}{' average' * self.average} {self.updates}"

    def trained(self) -> tuple[list[dict[str, float]], dict[str, Any]]:
        """The metrics of each iteration, and the state behind the last."""
        world = make_world(self.task, **self.options)
        case = Case(self.key, self.task)
        ensure_models(world, case.spine(), lambda line: None)
        spine = case.spine(**self.values)
        spine = spine if self.eps is None else replace(spine, optimizer=partial(Adam, eps=self.eps))
        spine = spine if not self.average else replace(spine, reference=Reference("average", decay=0.5))
        learner = case.learner(world=world, spine=spine)
        metrics = [{name: float(value) for name, value in learner.iterate().items()} for _ in range(self.updates)]
        state = sharded.gathered(learner.state_dict())
        learner.close()
        return metrics, state


def tensors(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    """The floating-point tensors of a nested state, by path."""
    if isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {name: value for key, item in items for name, value in tensors(item, f"{path}/{key}").items()}
    return {path: state} if isinstance(state, torch.Tensor) and state.is_floating_point() else {}


def compared(alone: tuple, together: tuple) -> dict[str, Any]:
    """What of two trainings there is to hold against each other: [alone, together] of each metric, and the largest difference of each kind of tensor."""
    metrics = {
        f"{name} {place}": [one.get(name), many.get(name)]
        for place, (one, many) in enumerate(zip(alone[0], together[0], strict=True))
        for name in one.keys() | many.keys()
    }
    a, b = tensors(alone[1]), tensors(together[1])
    differences: dict[str, float] = {}
    for name in a.keys() & b.keys():
        kind = name.split("/")[1]
        differences[kind] = max(differences.get(kind, 0.0), float((a[name] - b[name]).abs().max()) if a[name].numel() else 0.0)
    return {"metrics": metrics, "differences": differences, "names": sorted(a.keys() ^ b.keys())}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    preferences.MADE = 64
    small = packed.SMALL
    ranks.join()
    found = {}
    for trial in (Trial(**item) for item in json.loads((folder / "trials.json").read_text())):
        packed.SMALL = sharded.SMALL = 0 if trial.layers else small
        alone = trial.trained() if ranks.started_as() == 0 else None
        with ranks.together():
            together = trial.trained()
        if ranks.started_as() == 0:
            found[trial.name] = compared(alone, together)
    if ranks.started_as() == 0:
        (folder / "found.json").write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
