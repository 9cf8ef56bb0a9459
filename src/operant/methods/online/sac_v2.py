"""SAC (2018): off-policy actor-critic that maximises return and entropy, with the temperature tuned to a target entropy.

Paper: Haarnoja et al. 2018, arXiv:1812.05905: soft target eq. 2 and 3 with twin critics (section 6), policy loss eq. 7, temperature eq. 18.
Departures: log alpha is optimised rather than alpha, as in the authors' code; actor, critics and temperature take one joint step on the weights before the
update
(the authors' code too computes every gradient first). The critic's loss is the mean squared error of each head, summed over the heads. Truncation bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch

from operant.core.registry import Count, Positive, Range, Share, Widths, method
from operant.loops.draw import Uniform
from operant.loops.soft import soft_losses
from operant.loops.value_learning import Optim, Phase, Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class SACv2:
    learning_rate: Positive = 3e-4  # Adam's, for actor, critics and temperature
    gamma: Share = 0.99  # discount a step
    tau: Share = 0.005  # share of the critics that enters the target networks at each update
    batch_size: Count = 256  # transitions an update
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    target_entropy: float | None = None  # nats; None for minus the number of action dimensions
    initial_alpha: Positive = 1.0  # temperature at the start
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("sac-v2", name="SAC (auto-temperature)", family="online", paper="arXiv:1812.05905", worlds=("gym",), actions=("continuous",))
def sac_v2(h: SACv2) -> ValueLearning:
    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, squash=True), "q": CriticNet(hidden=h.hidden)},
        scalars={"log_alpha": torch.tensor(h.initial_alpha).log().item()},
        phases=[Phase(partial(soft_losses, gamma=h.gamma, target_entropy=h.target_entropy), trains=("actor", "q", "scalars"), optim=Optim(h.learning_rate))],
        draw=Uniform(h.batch_size),
        track={"q": Polyak(h.tau)},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
