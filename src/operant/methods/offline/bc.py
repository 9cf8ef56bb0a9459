"""BC: behaviour cloning, the maximum likelihood of the data's actions. A baseline: it claims nothing beyond imitation.

Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation". The actor
is the one of IQL, so that a comparison differs in the loss alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import BatchSize, LearningRate, Widths, method
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood
from operant.nets.actors import ActorNet


@dataclass(frozen=True)
class BC:
    learning_rate: LearningRate = 3e-4  # Adam's
    batch_size: BatchSize = 256  # transitions an update
    hidden: Widths = (256, 256)  # widths of the actor


@method("bc", name="Behaviour cloning", family="offline", paper="Pomerleau 1991", worlds=("data",), baseline=True)
def bc(h: BC) -> Pairs:
    return Pairs(
        policy=ActorNet(hidden=h.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True),
        terms=[NegativeLogLikelihood()],
        batch_size=h.batch_size,
        learning_rate=h.learning_rate,
    )
