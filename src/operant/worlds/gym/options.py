"""What a person may choose of an environment besides its name. Free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from operant.core.registry import Range
from operant.worlds.options import TaskOptions


@dataclass(frozen=True)
class EnvironmentOptions(TaskOptions):
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the wide products in updates, by value learning; what is trained and what acts stays in float32
    max_evaluation_steps: Annotated[int | None, Range(1)] = None  # most of an evaluation episode, which is then cut and told; none: 10,000, of Atari 27,000


@dataclass(frozen=True)
class GymOptions(EnvironmentOptions):
    frame_stack: Annotated[int | None, Range(1, 64)] = None  # observations that are seen at a time, the newest last; none for 1, of Atari 4
    action_repeat: Annotated[int | None, Range(1, 1_000)] = None  # steps of the environment that an action lasts; none for 1, of Atari 4 frames
    time_feature: bool = False  # see the share of the time limit that is left, too
    rescale_action: bool = False  # a policy's numbers from -1 to 1 are the whole range of the task's
    clip_rewards: bool = False  # to -1 to 1, in training; evaluations tell the task's own
    noops: Annotated[int | None, Range(0, 1_000)] = None  # of Atari: an episode begins with 1 to so many frames in which nothing is done; none for 30
    episodic_life: bool = False  # of Atari: in training, an episode ends where a life is lost
