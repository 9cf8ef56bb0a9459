"""RLPD: off-policy learning that begins with data, half of every batch drawn from them and half from replay, with many critics updates a step.

Paper: Ball et al. 2023, arXiv:2302.02948, algorithm 1: symmetric sampling (section 4.1), layer-normed critics (4.2), an ensemble of critics of which the
target's minimum takes a few (4.3, after REDQ, arXiv:2101.05982), on SAC (arXiv:1812.05905).
As in the authors' code: the actor and the temperature are updated once for the critics' updates of a step, on the last of their batches and the mean of all
critics; the target entropy is minus half the number of action dimensions; the first steps act at random, into replay; truncation bootstraps.
Departures: the layer norm has no learned scale and shift; critics' losses are summed, theirs averaged; the temperature's loss is in log alpha, as SAC's authors
have it, theirs in alpha; layers begin as PyTorch's, uniform in ±1/√in, theirs Xavier uniform with biases of 0. Theirs are 20 updates of the critics a step and
5,000 random steps; on sparse rewards they have no entropy in the target, and in mazes one critic.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import BatchSize, Count, Widths, method
from operant.loops.draw import symmetric
from operant.loops.soft import EnsembleSettings, ensemble_phases
from operant.loops.value_learning import Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class RLPD(EnsembleSettings):
    batch_size: BatchSize = 256  # transitions an update, half of them from the data (rounded up)
    critic_updates: Count = 10  # of the critics, for each environment step and each update of the actor
    target_entropy: float | None = None  # nats; None for minus half the number of action dimensions
    entropy_backup: bool = True  # the target counts the entropy of what follows, as SAC's does
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("rlpd", name="RLPD", family="online", paper="arXiv:2302.02948", worlds=("data",), actions=("continuous",))
def rlpd(h: RLPD) -> ValueLearning:
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, squash=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, ensemble=h.critics, layer_norm=True),
        },
        scalars=h.scalars,
        phases=ensemble_phases(h, per_dimension=-0.5, entropy_backup=h.entropy_backup),
        track={"q": Polyak(h.tau)},
        data=True,
        **h.replay(h.batch_size, h.gamma, float(h.critic_updates)) | {"draw": symmetric(h.batch_size)},
    )
