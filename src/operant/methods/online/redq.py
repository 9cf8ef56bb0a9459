"""REDQ: an ensemble of critics that is updated many times a step, towards the smallest of a few of its targets that are drawn anew each time.

Paper: Chen et al. 2021, arXiv:2101.05982, on SAC (arXiv:1812.05905): every critic regresses onto r + γ (min over few Q_i(s', a') − α log π(a'|s')). As in the
authors' code (watchernyu/REDQ): the actor and the temperature are updated once for the critics' updates of a step, on the last of their batches and the mean
of all critics, which they see as they are then (theirs: before the last update); critics' losses are summed. Truncation bootstraps.
Departures: theirs are 5,000 random steps, and on MuJoCo's tasks the target entropies of MBPO's authors (-1 to -4), which are not minus the number of actions;
layers begin as PyTorch's, uniform in ±1/√in, theirs Xavier uniform with biases of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import method
from operant.loops.settings import LayerSettings
from operant.loops.soft import EnsembleSettings, ensemble_phases
from operant.loops.value_learning import Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class REDQ(LayerSettings, EnsembleSettings):
    def __post_init__(self):
        LayerSettings.__post_init__(self)
        EnsembleSettings.__post_init__(self)


@method("redq", name="REDQ", family="online", paper="arXiv:2101.05982", worlds=("gym",), actions=("continuous",))
def redq(h: REDQ) -> ValueLearning:
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, squash=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, ensemble=h.critics, residual=h.residual, layer_norm=h.layer_norm),
        },
        scalars=h.scalars,
        phases=ensemble_phases(h),
        track={"q": Polyak(h.tau)},
        **h.replay(h.batch_size, h.gamma, float(h.critic_updates)),
    )
