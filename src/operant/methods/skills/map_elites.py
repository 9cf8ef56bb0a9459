"""MAP-Elites: an archive of many different policies, each the fittest of its cell of behaviours, varied along the lines between them.

Paper: Mouret and Clune 2015, arXiv:1504.04909 (algorithm 1: draw elites uniformly, vary them, play, keep what is fittest in its cell), with the cells of
CVT-MAP-Elites (Vassiliades et al. 2018, arXiv:1610.05729) and its variation x' = x + σ₁ N(0, I) + σ₂ N(0, 1) (y − x), x and y being elites (arXiv:1804.03906,
eq. 1). A behaviour's descriptor is made of numbers of an episode's last observation. The policy is evaluated by its fittest elite; the whole archive is in its
file.

Departures: solutions are networks that act by their mode; all members of an iteration are drawn before any of them enters. The first ones are networks as they
are initialised, moved by normal draws of deviation `spread`.
"""

from __future__ import annotations

from operant.core.registry import method
from operant.loops.archive import Archive, ArchiveSettings
from operant.loops.outer import Outer
from operant.loops.playing import Playing
from operant.nets.actors import ActorNet
from operant.nets.elites import ElitesNet


@method("map-elites", name="MAP-Elites", family="skills", paper="arXiv:1504.04909", worlds=("gym",), example="gym:point-maze")
def map_elites(h: ArchiveSettings) -> Outer:
    actor = ActorNet(hidden=h.hidden, log_std="free", tanh_mean=True)
    net = ElitesNet(actor, h.low, h.high, h.cells)
    return Outer(Playing(actor, h.plays, h.episode_steps), lambda world, streams: Archive(h, net, world, streams), members=h.members, evaluated=net)
