"""Archives of many different policies: their settings, and the loop of varying, playing and keeping, for the methods that search by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.flat import rows_of, set_rows
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.registry import Count, NonNegative, Range, Widths
from operant.loops.outer import Outside
from operant.loops.playing import PlayingLearner
from operant.nets.elites import Elites, ElitesNet
from operant.worlds.base import World


@dataclass(frozen=True)
class ArchiveSettings:
    cells: Count = 256  # of the archive
    members: Count = 64  # policies that are varied and played an iteration
    descriptor: Annotated[tuple[int, ...], Range(0)] = (0, 1)  # places of the last observation that say how an episode ended
    low: tuple[float, ...] = (-1.0, -1.0)  # lower bound of each of the descriptor's numbers
    high: tuple[float, ...] = (1.0, 1.0)  # upper bound
    iso_sigma: NonNegative = 0.01  # deviation of a change in every parameter
    line_sigma: NonNegative = 0.1  # deviation of the change towards another elite, in shares of the way
    spread: NonNegative = 0.5  # deviation of the first members' parameters around initialised ones
    lowest: float = 0.0  # fitness that counts nothing in the QD score
    plays: Count = 1  # episodes of each member; its fitness and descriptor are their means
    episode_steps: Count = 100  # after which an episode is cut; the run's steps count them all
    hidden: Widths = (32, 32)  # widths of the policies

    def __post_init__(self):
        if not len(self.descriptor) == len(self.low) == len(self.high):
            raise ValueError(f"descriptor, low and high have {len(self.descriptor)}, {len(self.low)} and {len(self.high)} numbers, must have as many")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low {self.low} must be below high {self.high}")

    @property
    def steps(self) -> int:
        """Of a seed in an iteration."""
        return self.members * self.plays * self.episode_steps


class Archive(Outside):
    """Draws, varies and keeps, for every seed. A method that varies otherwise, or learns besides, has its own `offspring` and `after`.

    Attributes:
        elites: the archive.
        entering: how many of an iteration's members enter it, if they are fit: the first ones.
    """

    def __init__(self, h: ArchiveSettings, net: ElitesNet, world: World, streams: Streams):
        if max(h.descriptor) >= world.observation.size:
            raise BadInput(f"--descriptor {max(h.descriptor)}: observations of {world.task} have {world.observation.size} numbers, counted from 0")
        parameters = rows_of(world.policy(net.actor, Streams(streams.seeds[:1]))).shape[1]
        check_memory("the archives", 4 * len(streams.seeds) * h.cells * parameters, "take fewer --cells or seeds, or narrower layers")
        self.h, self.world, self.streams, self.entering = h, world, streams, h.members
        self.elites: Elites = world.policy(net, streams).to(streams.device)

    def policy(self, inner: Any) -> Elites:
        return self.elites

    def before(self, inner: PlayingLearner) -> None:
        if inner.step == 0:
            first = rows_of(inner.policy).view(len(self.streams.seeds), self.h.members, -1)
            members = first + self.h.spread * self.streams.normal("spread", *first.shape[1:])
        else:
            members = self.offspring()
        set_rows(inner.policy, members.flatten(0, 1))

    def offspring(self) -> Tensor:
        """The members of the next iteration, `[S, M, P]`."""
        return self.along_lines(self.h.members)

    def along_lines(self, count: int) -> Tensor:
        """Elites that are changed along the lines between them, `[S, count, P]`."""
        parent, other = (self.elites.draw(self.streams, name, count)[0] for name in ("parent", "other"))
        draws = self.streams.normal("iso", *parent.shape[1:]), self.streams.normal("line", count, 1)
        return ops.iso_line_variation(parent, other, *draws, iso_sigma=self.h.iso_sigma, line_sigma=self.h.line_sigma)

    def reached(self, inner: PlayingLearner) -> Tensor:
        """The descriptor of each episode that a seed's members played, `[S, M, E, D]`."""
        found = torch.from_numpy(inner.played.last[..., list(self.h.descriptor)])
        return found.view(len(self.streams.seeds), self.h.members, *found.shape[1:]).to(self.streams.device)

    def after(self, inner: PlayingLearner) -> dict[str, Tensor]:
        seeds, count = len(self.streams.seeds), self.entering
        fitness = torch.from_numpy(inner.played.total).mean(1).float().view(seeds, -1).to(self.streams.device)
        solution = rows_of(inner.policy).view(seeds, self.h.members, -1)
        entered = self.elites.insert(solution[:, :count], fitness[:, :count], self.reached(inner).mean(2)[:, :count])
        return {"entered": entered.double().cpu()} | {name.replace(" ", "_"): torch.from_numpy(value) for name, value in self.worth().items()}

    def worth(self) -> dict[str, np.ndarray]:
        """What the archive is worth, `[S]` by name."""
        kept = self.elites.fitness.double().cpu()
        return {"QD score": ops.qd_score(kept, lowest=self.h.lowest).numpy(), "coverage": (kept > -torch.inf).double().mean(1).numpy()}

    def measures(self) -> dict[str, np.ndarray]:
        return self.worth()

    def state_dict(self) -> dict[str, Any]:
        return dict(self.elites.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.elites.load_state_dict(state)
