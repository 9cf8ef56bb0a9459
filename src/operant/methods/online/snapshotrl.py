"""SnapshotRL (S3RL): training episodes begin, for a part of training, where a teacher's trajectories went; the method that learns knows nothing of it.

Paper: arXiv:2403.00673. A teacher plays a few episodes, of which every state of the simulator is kept, with the steps that its time limit counted. While less
than `share` of training is done, an episode of the student begins at one of these states. They are clustered by what is seen there (status classification:
k-means, `ops.voronoi_centroids`), and each of the n states of one of C clusters is drawn with probability 1 / (C n), however long the teacher stood there. The
episode is cut after `cut` steps (trajectory truncation), so that more states are visited; what is cut has a future, whose value counts, as at a time limit.
Later, and in evaluations, episodes begin as the task has it. Where episodes begin is a property of the task in which the student trains (`world.begun_at`) and
not of its loop, so any method may be the student, unchanged.
The number of clusters, the share and the cut are ours; the paper's were not to be had. A simulator's own generator goes on, so that later resets are not the
teacher's; running statistics that a wrapper of the environment keeps are put back with its state, those of a policy are not part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import Count, Range, Share, configure, get_method, method
from operant.core.seeds import derive_seed
from operant.loops.outer import Outer, Outside
from operant.loops.runs import load
from operant.worlds.base import World
from operant.worlds.gym.starts import Starts, clusters

SEED = derive_seed(0, "snapshots")  # of the teacher's episodes; no evaluation's
LONGEST = 10_000  # steps of one


@dataclass(frozen=True)
class SnapshotRL:
    student: Literal["td3", "sac-v2", "ppo"] = "td3"  # the method that learns; its hyper-parameters are its own, but those that are given here
    teacher_run: str | None = None  # the folder of a run on this task, whose policy shows where episodes may begin; none for uniformly random actions
    trajectories: Count = 5  # episodes of the teacher
    clusters: Count = 20  # of states, drawn alike; 1 for all states alike
    share: Share = 0.5  # of training in which episodes begin there
    cut: Annotated[int | None, Range(1)] = 100  # steps after which such an episode is cut; none for the task's own limit
    environments: Count = 1  # copies of the environment a seed
    learning_rate: Annotated[float | None, Range(0, open_low=True)] = None  # the student's
    gamma: Annotated[float | None, Range(0, 1)] = None  # the student's discount a step
    batch_size: Annotated[int | None, Range(1)] = None  # the student's, of td3 and sac-v2
    learning_starts: Annotated[int | None, Range(1)] = None  # the student's, of td3 and sac-v2
    updates_per_step: Annotated[float | None, Range(0, 10_000, open_low=True)] = None  # the student's, of td3 and sac-v2
    capacity: Annotated[int | None, Range(1)] = None  # the student's, of td3 and sac-v2
    rollout_length: Annotated[int | None, Range(1)] = None  # the student's, of ppo
    minibatches: Annotated[int | None, Range(1)] = None  # the student's, of ppo
    epochs: Annotated[int | None, Range(1)] = None  # the student's, of ppo
    hidden: Annotated[tuple[int, ...] | None, Range(1)] = None  # the student's

    def __post_init__(self):
        if self.teacher_run is not None:  # so that a run goes on from anywhere
            object.__setattr__(self, "teacher_run", str(Path(self.teacher_run).expanduser().absolute()))


class Snapshots:
    """The states of a teacher's episodes, which are made once for all who ask."""

    def __init__(self, h: SnapshotRL):
        self.h = h
        self._found: tuple[str, list, np.ndarray] | None = None

    def within(self, world: World, seeds: Sequence[int], steps: int) -> World:
        states, seen = self._of(world)
        until = int(self.h.share * steps) // self.h.environments
        return world.begun_at(Starts(states, seen, clusters(seen, self.h.clusters), until, self.h.cut))

    def outside(self, world: World, streams: Streams) -> Kept:
        return Kept(hashlib.sha256(self._of(world)[1].tobytes()).hexdigest())

    def _of(self, world: World) -> tuple[list, np.ndarray]:
        if self._found is None or self._found[0] != world.task:
            self._found = (world.task, *world.starts(self._teacher(world), self.h.trajectories, SEED, LONGEST))
        return self._found[1:]

    def _teacher(self, world: World) -> Any:
        if self.h.teacher_run is None:
            return world.random_policy()
        run = load(self.h.teacher_run)
        if run.config["task"] != world.task:
            raise BadInput(f"teacher {self.h.teacher_run} was trained on {run.config['task']}, and its states are not those of {world.task}")
        return run.load_policy()


class Kept(Outside):
    """Nothing but what the states were, so that a run that goes on has the same."""

    def __init__(self, digest: str):
        self.digest = digest

    def state_dict(self) -> dict[str, Any]:
        return {"digest": self.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["digest"] != self.digest:
            raise BadInput("the teacher's episodes are no longer those that this run began with: its run was changed, or this processor rounds otherwise")


@method("snapshotrl", name="SnapshotRL (S3RL)", family="online", paper="arXiv:2403.00673", worlds=("gym",), actions=("continuous",))
def snapshotrl(h: SnapshotRL) -> Outer:
    student, own = get_method(h.student), {item.name for item in fields(SnapshotRL)} & {item.name for item in fields(get_method(h.student).hyperparameters)}
    given = {name: value for name, value in asdict(h).items() if name in own and value is not None}
    snapshots = Snapshots(h)
    return Outer(student.build(configure(h.student, given)), snapshots.outside, within=snapshots.within)
