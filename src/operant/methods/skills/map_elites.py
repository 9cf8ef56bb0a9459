"""MAP-Elites: an archive of many different policies, each the fittest of its cell of behaviours, varied along the lines between them.

Paper: Mouret and Clune 2015, arXiv:1504.04909 (algorithm 1: draw elites uniformly, vary them, play, keep what is fittest in its cell), with the cells of
CVT-MAP-Elites (Vassiliades et al. 2018, arXiv:1610.05729) and its variation x' = x + σ₁ N(0, I) + σ₂ N(0, 1) (y − x), x and y being elites (arXiv:1804.03906,
eq. 1). A behaviour's descriptor is made of numbers of an episode's last observation. The policy is evaluated by its fittest elite; the whole archive is in its
file.

Departures: solutions are networks that act by their mode; all members of an iteration are drawn before any of them enters. The first ones are networks as they
are initialised, moved by normal draws of deviation `spread`.
"""

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
from operant.core.registry import Count, NonNegative, Range, Widths, method
from operant.loops.outer import Outer, Outside
from operant.loops.playing import Playing, PlayingLearner
from operant.nets.actors import ActorNet
from operant.nets.elites import Elites, ElitesNet
from operant.worlds.base import World


@dataclass(frozen=True)
class MAPElites:
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


class Archive(Outside):
    """Draws, varies and keeps, for every seed."""

    def __init__(self, h: MAPElites, net: ElitesNet, world: World, streams: Streams):
        if max(h.descriptor) >= world.observation.size:
            raise BadInput(f"--descriptor {max(h.descriptor)}: observations of {world.task} have {world.observation.size} numbers, counted from 0")
        parameters = rows_of(world.policy(net.actor, Streams(streams.seeds[:1]))).shape[1]
        check_memory("the archives", 4 * len(streams.seeds) * h.cells * parameters, "take fewer --cells or seeds, or narrower layers")
        self.h, self.streams = h, streams
        self.elites: Elites = world.policy(net, streams).to(streams.device)

    def policy(self, inner: Any) -> Elites:
        return self.elites

    def before(self, inner: PlayingLearner) -> None:
        h, seeds = self.h, len(self.streams.seeds)
        if inner.step == 0:
            first = rows_of(inner.policy).view(seeds, h.members, -1)
            members = first + h.spread * self.streams.normal("spread", *first.shape[1:])
        else:
            parent, other = (self.elites.draw(self.streams, name, h.members) for name in ("parent", "other"))
            draws = self.streams.normal("iso", *parent.shape[1:]), self.streams.normal("line", h.members, 1)
            members = ops.iso_line_variation(parent, other, *draws, iso_sigma=h.iso_sigma, line_sigma=h.line_sigma)
        set_rows(inner.policy, members.flatten(0, 1))

    def after(self, inner: PlayingLearner) -> dict[str, Tensor]:
        seeds, device = len(self.streams.seeds), self.streams.device
        fitness = torch.from_numpy(inner.played.total).mean(1).float().view(seeds, -1).to(device)
        descriptor = torch.from_numpy(inner.played.last[..., list(self.h.descriptor)]).mean(1).view(seeds, self.h.members, -1).to(device)
        entered = self.elites.insert(rows_of(inner.policy).view(seeds, self.h.members, -1), fitness, descriptor)
        return {"entered": entered.double().cpu()} | {name.replace(" ", "_"): torch.from_numpy(value) for name, value in self.measures().items()}

    def measures(self) -> dict[str, np.ndarray]:
        kept = self.elites.fitness.double().cpu()
        return {"QD score": ops.qd_score(kept, lowest=self.h.lowest).numpy(), "coverage": (kept > -torch.inf).double().mean(1).numpy()}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.elites.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.elites.load_state_dict(state)


@method("map-elites", name="MAP-Elites", family="skills", paper="arXiv:1504.04909", worlds=("gym",), example="gym:point-maze")
def map_elites(h: MAPElites) -> Outer:
    actor = ActorNet(hidden=h.hidden, log_std="free", tanh_mean=True)
    net = ElitesNet(actor, h.low, h.high, h.cells)
    return Outer(Playing(actor, h.plays, h.episode_steps), lambda world, streams: Archive(h, net, world, streams), members=h.members, evaluated=net)
