"""Members play episodes and nothing is learned inside: what an outer loop that varies parameters judges, and may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.core.seeds import derive_seed
from operant.loops.learner import Learner, Spine
from operant.nets.actors import ActorNet
from operant.worlds.base import World
from operant.worlds.gym.episodes import Episodes

EPISODES = derive_seed(0, "playing")  # the seed of all episodes: the same for every member, so that what they differ in is theirs; no evaluation's


@dataclass(frozen=True)
class Playing(Spine):
    """A configured loop of playing.

    Attributes:
        policy: how a member's network is built; it acts by its mode.
        episodes: of each member, an iteration.
        length: steps after which an episode is cut; the run's steps count them all.
        record: keep their steps.
    """

    policy: ActorNet
    episodes: int = 1
    length: int = 100
    record: bool = False

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_play(len(seeds), self.episodes)
        super().check(world, seeds, steps, episodes)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> PlayingLearner:
        return PlayingLearner(self, world, list(seeds), device)


class PlayingLearner(Learner):
    """The loop at work. A step is a step that an episode may take.

    Attributes:
        played: the episodes of the last iteration.
    """

    played: Episodes

    def __init__(self, method: Playing, world: World, seeds: list[int], device: torch.device):
        self.method, self.world, self.seeds, self.step = method, world, seeds, 0
        self.stride = method.episodes * method.length
        self.policy = world.policy(method.policy, Streams(seeds, device)).to(device)

    def iterate(self) -> dict[str, Tensor]:
        method = self.method
        self.played = self.world.play(self.policy, len(self.seeds), method.episodes, EPISODES, method.length, record=method.record)
        self.step += self.stride
        found = {"return": self.played.total.mean(1), "length": self.played.length.mean(1)} | self.played.measures
        return {f"episode/{name}": torch.from_numpy(of) for name, of in found.items()}

    def transitions(self, seeds: int, count: int) -> dict[str, Tensor]:
        """See `Episodes.transitions`, of the last iteration; actions in the policy's units."""
        found = {name: torch.from_numpy(value) for name, value in self.played.transitions(seeds, count).items()}
        return found | {"action": self.policy.distribution.from_environment(found["action"])}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "policy": dict(self.policy.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.policy.load_state_dict(state["policy"])
