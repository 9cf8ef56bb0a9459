"""DCG-MAP-Elites: offspring climb a critic that knows which behaviour they are to keep, and one actor learns all behaviours of the archive.

Paper: Faldor et al. 2023, arXiv:2303.03832. Half of an iteration's members vary along lines. `actors` of them are the actor π(·|d') at descriptors d' of drawn
elites: they show what is missed, and do not enter the archive. The others are drawn elites after `gradient_steps` steps of Adam up Q(s, π(s)|d) at their
descriptors d. All steps go to replay with the descriptor d of their whole episode and the one that was wanted, d' (d again, but for the actors'). Then critics
and actor make `critic_updates` updates of TD3 at observations with d' behind them and rewards S(d, d') r (`ops.descriptor_similarity`). The archive's file has
the actor too: `run.load_policy(seed).towards(d)`.

As in the authors' code (adaptive-intelligent-robotics/DCG-MAP-Elites, dcg_me_gecco): L = 0.1 (a default there is 0.008); all climb on the same transitions; the
critics' targets follow at every update. Where nothing is told (`conditioned`) S is 1: PGA-MAP-Elites (Nilsson and Cully 2021), whose actor enters too.

Departures: nets see descriptors with bounds at -1 and 1. As S r with negative rewards would reward a miss, the least reward so far, where it is negative, is
subtracted. Truncation bootstraps. The first members are MAP-Elites'. An actor at d' plays as a member: d' is a part of its first layer's bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.flat import rows_of, set_rows
from operant.core.random import Streams
from operant.core.registry import Count, NonNegative, Positive, Widths, method
from operant.loops.archive import Archive, ArchiveSettings
from operant.loops.draw import Uniform
from operant.loops.outer import Outer
from operant.loops.playing import EPISODES, Playing, PlayingLearner
from operant.loops.twin_delayed import TwinDelayedSettings, twin_delayed_phases
from operant.loops.value_learning import Optim, Phase, Polyak, Replay, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.nets.elites import ConditionedNet, ElitesNet, told
from operant.worlds.base import World
from operant.worlds.store import Column, Store, Transitions


@dataclass(frozen=True)
class DCGME(TwinDelayedSettings, ArchiveSettings):
    iso_sigma: NonNegative = 0.005  # deviation of a change in every parameter
    line_sigma: NonNegative = 0.05  # deviation of the change towards another elite, in shares of the way
    batch_size: Count = 100  # transitions an update, and a step of the elites that climb
    members: Count = 256  # policies that are varied and played an iteration
    actors: Count = 64  # of the members, the actor at descriptors of elites
    critic_updates: Count = 3_000  # an iteration
    gradient_steps: Count = 150  # of each elite that climbs
    climbing_rate: Positive = 5e-3  # Adam's, of elites that climb
    lengthscale: Positive = 0.1  # L, the distance from its target at which an episode's rewards count 1/e
    conditioned: bool = True  # critics and actor are told descriptors
    capacity: Count = 1_000_000  # transitions kept in replay
    critic_hidden: Widths = (256, 256)  # widths of the critics

    def __post_init__(self):
        super().__post_init__()
        if self.climbing < 1:
            raise ValueError(f"of {self.members} members half vary along lines, and {self.actors} are actors: none is left to climb")
        if self.capacity < self.steps:
            raise ValueError(f"capacity {self.capacity:,} is less than an iteration's {self.steps:,} steps")

    @property
    def climbing(self) -> int:
        return self.members - self.members // 2 - self.actors


class Climbing(Archive):
    """An archive beside which critics and actor learn. Nets are told descriptors `[S, …, D]`, of no numbers where nothing is told."""

    def __init__(self, h: DCGME, net: ElitesNet, world: World, streams: Streams):
        super().__init__(h, net, world, streams)
        self.h, self.told = h, len(h.descriptor) if h.conditioned else 0
        self.least = torch.zeros(len(streams.seeds), 1, device=streams.device)  # reward so far, at most 0
        self.wanted: Tensor | None = None  # of the actors that play
        nets = {"actor": net.actor, "q": CriticNet(hidden=h.critic_hidden)}
        learning = ValueLearning(
            nets={name: ConditionedNet(one, self.told) for name, one in nets.items()} | {"climbing": replace(net.actor, members=h.climbing)},
            phases=[*twin_delayed_phases(h), Phase(self.climb, ("climbing",), h.critic_updates, 0, h.gradient_steps, Optim(h.climbing_rate), anew=True)],
            draw=Uniform(h.batch_size),
            relabel=[self.paid],
            track={"q": Polyak(h.tau), "actor": Polyak(h.tau, every=h.policy_delay)},
            replay=Replay(h.capacity, {name: Column((self.told,)) for name in ("reached", "wanted")}),
            updates_per_iteration=h.critic_updates,
        )
        learning.check(world, streams.seeds, 1, None)
        self.learner = learning.learner(world, streams.seeds, 10**12, streams.device)  # its end is that of the loop around it

    def paid(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        """A transition as TD3 sees it: told what was wanted, and paid by how near its episode came."""
        wanted = batch.extras["wanted"]
        share = ops.descriptor_similarity(batch.extras["reached"], wanted, lengthscale=self.h.lengthscale)
        seen, following = (torch.cat([row, wanted], -1) for row in (batch.observation, batch.next_observation))
        return replace(batch, observation=seen, next_observation=following, reward=share * (batch.reward - self.least))

    def climb(self, u: Update) -> dict[str, Tensor]:
        policies, seen = u.net("climbing"), u.batch.observation[..., : self.world.observation.size]
        action = policies.distribution.mode(policies(seen))  # [S, C, B, A]
        rows = [x.expand(*action.shape[:3], -1).flatten(1, 2) for x in (seen.unsqueeze(1), self.niche.unsqueeze(2))]
        value = u.frozen("q").member(0, *rows, action.flatten(1, 2))
        return {"climbing": -value.unflatten(1, action.shape[1:3]).sum(1)}

    def offspring(self) -> Tensor:
        h, nets = self.h, self.learner.nets
        self.wanted = self.elites.bounded(self.elites.draw(self.streams, "wanted", h.actors)[1])[..., : self.told]
        self.entering = h.members - h.actors * h.conditioned
        return torch.cat([self.along_lines(h.members // 2), rows_of(nets["climbing"], 2), told(nets["actor"], self.wanted)], 1)

    def after(self, inner: PlayingLearner) -> dict[str, Tensor]:
        metrics, h = super().after(inner), self.h
        found = inner.transitions(len(self.streams.seeds), h.steps)
        reached = self.elites.bounded(self.reached(inner)).flatten(1, 2)[..., : self.told]
        wanted = reached.clone()
        if self.wanted is not None:
            wanted[:, -h.actors * h.plays :] = self.wanted.repeat_interleave(h.plays, 1)
        of = found["episode"].to(reached.device).unsqueeze(-1).expand(-1, -1, self.told)
        self.learner.stores["replay"].append(found | {"reached": reached.gather(1, of), "wanted": wanted.gather(1, of)}, ends=found["ends"])
        self.least = torch.minimum(self.least, found["reward"].amin(1, keepdim=True).to(self.least))
        climbing, niche = self.elites.draw(self.streams, "climbing", h.climbing)
        set_rows(self.learner.nets["climbing"], climbing)
        self.niche, self.learner.failures = self.elites.bounded(niche)[..., : self.told], inner.failures
        metrics |= self.learner.iterate()
        if self.told:
            set_rows(self.elites.distilled, rows_of(self.learner.nets["actor"]))
        return metrics

    def measures(self) -> dict[str, np.ndarray]:
        """Beside what the archive is worth, how far from the elites' descriptors the actor ends that is told them."""
        if not self.told:
            return self.worth()
        h, filled = self.h, self.elites.fitness > -torch.inf
        target = self.elites.descriptor.where(filled.unsqueeze(-1), self.elites.centroid)  # before there are elites, of all cells
        played = self.world.play(self.elites.towards(target), len(target), h.cells, EPISODES, h.episode_steps)
        away = torch.linalg.vector_norm(torch.from_numpy(played.last[..., list(h.descriptor)]).to(target) - target, dim=-1)
        count = (filled | ~filled.any(1, keepdim=True)).float()
        return self.worth() | {"distance to target": ((away * count).sum(1) / count.sum(1)).double().cpu().numpy()}

    def state_dict(self) -> dict[str, Any]:
        return {"elites": super().state_dict(), "learner": self.learner.state_dict(), "least": self.least}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state["elites"])
        self.learner.load_state_dict(state["learner"])
        self.least.copy_(state["least"])


@method("dcg-me", name="DCG-MAP-Elites", family="skills", paper="arXiv:2303.03832", worlds=("gym",), actions=("continuous",), example="gym:point-maze")
def dcg_me(h: DCGME) -> Outer:
    net = ElitesNet(ActorNet(hidden=h.hidden, deterministic=True), h.low, h.high, h.cells, distilled=h.conditioned)
    return Outer(Playing(net.actor, h.plays, h.episode_steps, record=True), lambda world, streams: Climbing(h, net, world, streams), h.members, net)
