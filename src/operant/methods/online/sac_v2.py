"""SAC (2018): off-policy actor-critic that maximises return and entropy, with the temperature tuned to a target entropy.

Paper: Haarnoja et al. 2018, arXiv:1812.05905: soft target eq. 2 and 3 with twin critics (section 6), policy loss eq. 7, temperature eq. 18.
Departures: log alpha is optimised rather than alpha, as in the authors' code; actor, critics and temperature take one joint step on the weights before the
update
(the authors' code too computes every gradient first). The critic's loss is the mean squared error of each head, summed over the heads. Truncation bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operant.core.registry import method
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.soft import SoftSettings, soft_losses
from operant.loops.value_learning import Optim, Phase, Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class SACv2(LayerSettings, OnlineSettings, SoftSettings):
    pass


@method("sac-v2", name="SAC (auto-temperature)", family="online", paper="arXiv:1812.05905", worlds=("gym",), actions=("continuous",))
def sac_v2(h: SACv2) -> ValueLearning:
    losses = partial(soft_losses, gamma=h.gamma, target_entropy=h.target_entropy)
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, squash=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, residual=h.residual, layer_norm=h.layer_norm),
        },
        scalars=h.scalars,
        phases=h.tempered(Phase(losses, trains=("actor", "q", "scalars"), optim=Optim(h.learning_rate))),
        track={"q": Polyak(h.tau)},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
