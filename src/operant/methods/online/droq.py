"""DroQ: REDQ with two critics in the place of ten, whose layers leave out numbers at random and are normalised.

Paper: Hiraoka et al. 2022, arXiv:2110.02034. Each hidden layer of a critic: affine map, dropout, layer norm, relu. Numbers are left out
wherever a critic is asked: in what is learned, in the target, whose minimum is of both critics, and in what the actor climbs, the mean of both.
As in the authors' code on REDQ's (TakuyaHiraoka/Dropout-Q-Functions-for-Doubly-Efficient-Reinforcement-Learning, OriginalREDQCodebase) the actor and the
temperature are updated once for the critics' updates of a step, on the last of their batches. Truncation bootstraps.
Departures: the layer norm has no learned scale and shift; theirs are 5,000 random steps, shares that are left out from 0.0001 to 0.1 by the task, and target
entropies by the task; layers begin as PyTorch's, uniform in ±1/√in, theirs Xavier uniform with biases of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant.core.registry import Count, Range, Widths, method
from operant.loops.soft import EnsembleSettings, ensemble_phases
from operant.loops.value_learning import Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class DroQ(EnsembleSettings):
    critics: Count = 2  # of the ensemble
    dropout: Annotated[float, Range(0, 0.9)] = 0.01  # share of the numbers of each hidden layer of a critic that is left out
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("droq", name="DroQ", family="online", paper="arXiv:2110.02034", worlds=("gym",), actions=("continuous",))
def droq(h: DroQ) -> ValueLearning:
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, squash=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, ensemble=h.critics, layer_norm=True, dropout=h.dropout),
        },
        scalars=h.scalars,
        phases=ensemble_phases(h),
        track={"q": Polyak(h.tau)},
        **h.replay(h.batch_size, h.gamma, float(h.critic_updates)),
    )
