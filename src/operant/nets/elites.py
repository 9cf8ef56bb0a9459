"""Archives: many different policies of one network, each the fittest of its cell of behaviours, and networks that are told which behaviour is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from operant import ops
from operant.core.flat import rows_of, set_rows
from operant.core.random import Streams
from operant.core.seeds import derive_seed
from operant.core.spec import Field, Spec
from operant.nets.actors import Actor, ActorNet, CriticNet

DRAWS = 25  # of the space of descriptors for each cell, from which the cells' centroids are made


class Elites(nn.Module):
    """An archive for each of S seeds. It acts as the fittest of its elites.

    Args:
        actor: of S seeds; what the elites are parameters of.
        centroid: `[C, D]`, of the cells, the same for every seed.
        low, high: `[D]`, bounds of descriptors.
        distilled: one actor that does what elites do, told their descriptors as `bounded` gives them behind observations; None where none is learned.

    Attributes:
        solution: `[S, C, P]`, the parameters of each cell's elite.
        fitness: `[S, C]`, -inf of an empty cell. descriptor: `[S, C, D]`. centroid: `[S, C, D]`.
    """

    def __init__(self, actor: Actor, centroid: Tensor, low: Tensor, high: Tensor, distilled: Actor | None = None):
        super().__init__()
        self.actor, self.distilled, (cells, size) = actor, distilled, centroid.shape
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        seeds, parameters = rows_of(actor).shape
        self.register_buffer("solution", torch.zeros(seeds, cells, parameters))
        self.register_buffer("fitness", torch.full((seeds, cells), -torch.inf))
        self.register_buffer("descriptor", torch.zeros(seeds, cells, size))
        self.register_buffer("centroid", centroid.repeat(seeds, 1, 1))

    def insert(self, solution: Tensor, fitness: Tensor, descriptor: Tensor) -> Tensor:
        """Take in the candidates that are fitter than their cell's elite; how many a seed were, `[S]`.

        Args:
            solution: `[S, B, P]`. fitness: `[S, B]`. descriptor: `[S, B, D]`.
        """
        place = ops.elites(fitness, ops.nearest_cell(descriptor, self.centroid[0]), self.fitness)
        enters = place < fitness.shape[1]
        place = place.clamp(max=fitness.shape[1] - 1)

        def taken(new: Tensor, old: Tensor) -> Tensor:
            axes = place.view(*place.shape, *[1] * (new.ndim - 2))
            return torch.where(enters.view(axes.shape), new.gather(1, axes.expand(*place.shape, *new.shape[2:])), old)

        self.solution.copy_(taken(solution, self.solution))
        self.fitness.copy_(taken(fitness, self.fitness))
        self.descriptor.copy_(taken(descriptor, self.descriptor))
        best = self.fitness.argmax(1).view(-1, 1, 1)
        set_rows(self.actor, self.solution.gather(1, best.expand(-1, 1, self.solution.shape[-1])).squeeze(1))
        return enters.sum(1)

    def draw(self, streams: Streams, name: str, count: int) -> tuple[Tensor, Tensor]:
        """Elites of cells that are drawn uniformly from those that are filled, `[S, count, P]`, and their descriptors `[S, count, D]`."""
        filled = (self.fitness > -torch.inf).float().cpu()
        generators = streams.torch_generators(name)
        cell = torch.stack([torch.multinomial(row, count, replacement=True, generator=one) for row, one in zip(filled, generators, strict=True)])
        cell = cell.to(self.solution.device).unsqueeze(-1)
        return self.solution.gather(1, cell.expand(-1, -1, self.solution.shape[-1])), self.descriptor.gather(1, cell.expand(-1, -1, self.descriptor.shape[-1]))

    def bounded(self, descriptor: Tensor) -> Tensor:
        """Descriptors `[…, D]` from -1 to 1 between their bounds."""
        return (descriptor - self.low) / (self.high - self.low) * 2 - 1

    def towards(self, descriptor: Tensor) -> Towards:
        """The distilled actor on its way to a descriptor in each of E episodes, `[S, E, D]`."""
        return Towards(self.distilled, self.bounded(descriptor))

    @property
    def acting(self) -> Actor:
        return self.actor

    def initial(self, rows: int) -> Tensor | None:
        return self.actor.initial(rows)

    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, Tensor | None]:
        return self.actor.act(observation, carry)


@dataclass(frozen=True)
class ElitesNet:
    """How to build `Elites`: cells of about equal size over a box of descriptors, their centroids the same for every seed and run.

    Attributes:
        actor: the network of which elites are parameters.
        low, high: bounds of each of a descriptor's numbers.
        cells: C.
        distilled: it has one actor for all of its behaviours.
    """

    actor: ActorNet
    low: tuple[float, ...]
    high: tuple[float, ...]
    cells: int = 256
    distilled: bool = False

    def build(self, observation: Spec, action: Spec, streams: Streams) -> Elites:
        generator = torch.Generator().manual_seed(derive_seed(0, "centroids"))
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        draws = low + (high - low) * torch.rand(DRAWS * self.cells, len(self.low), generator=generator)
        distilled = ConditionedNet(self.actor, len(self.low)).build(observation, action, streams, "distilled") if self.distilled else None
        return Elites(self.actor.build(observation, action, streams), ops.voronoi_centroids(draws, self.cells), low, high, distilled)


@dataclass(frozen=True)
class ConditionedNet:
    """How to build a net that reads the numbers of a wanted behaviour behind those of an observation.

    Attributes:
        net: what is built.
        size: how many numbers; 0 for a net that is told nothing.
    """

    net: ActorNet | CriticNet
    size: int

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.net.hidden

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "actor") -> nn.Module:
        told = (Field("descriptor", (self.size,)),) if self.size else ()
        return self.net.build(Spec((*observation.fields, *told)), action, streams, name)


class Towards:
    """A conditioned actor in E episodes a seed, told `behaviour [S, E, D]`."""

    def __init__(self, actor: Actor, behaviour: Tensor):
        self.actor, self.behaviour = actor, behaviour

    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, Tensor | None]:
        return self.actor.act(torch.cat([observation, self.behaviour.cpu()], -1), carry)


@torch.no_grad()
def told(actor: Actor, behaviour: Tensor) -> Tensor:
    """The parameters `[S, M, P]` of actors that do, told nothing, what a conditioned one without an encoder does at behaviours `[S, M, D]`.

    What is always the same is a part of the first layer's bias (the actor injection of arXiv:2312.06599).
    """
    weight, bias, *others = actor.parameters()
    seen = weight.shape[1] - behaviour.shape[-1]
    parts = [weight[:, :seen], *others]
    same, *behind = [part.flatten(1).unsqueeze(1).expand(-1, behaviour.shape[1], -1) for part in parts]
    return torch.cat([same, bias + behaviour @ weight[:, seen:], *behind], -1)
