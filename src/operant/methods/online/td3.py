"""TD3: a deterministic actor-critic that trusts the smaller of two critics, smooths what they say of the target's action, and updates the actor less often.

Paper: Fujimoto et al. 2018, arXiv:1802.09477, algorithm 1 (clipped double Q-learning eq. 10, target policy smoothing eq. 14).
As in the authors' code: actions, and the noise on them, are in units of half the range of the action space; the actor's phase follows the critics' in the same
update and sees them as they are then; target networks follow at the actor's updates; truncation bootstraps. Batches, widths and the learning rate are those of
the code (the paper's: 100, (400, 300), 1e-3); the random steps at first are fewer (the paper 10,000 or 1,000, the code 25,000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant.core.registry import Count, NonNegative, Range, Widths, method
from operant.loops.behaviour import Noisy
from operant.loops.draw import Uniform
from operant.loops.twin_delayed import TwinDelayedSettings, twin_delayed_phases
from operant.loops.value_learning import Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class TD3(TwinDelayedSettings):
    exploration_noise: NonNegative = 0.1  # deviation of the noise on actions in the environment
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("td3", name="TD3", family="online", paper="arXiv:1802.09477", worlds=("gym",), actions=("continuous",))
def td3(h: TD3) -> ValueLearning:
    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, deterministic=True), "q": CriticNet(hidden=h.hidden)},
        phases=twin_delayed_phases(h),
        acts=Noisy("actor", h.exploration_noise),
        draw=Uniform(h.batch_size),
        track={name: Polyak(h.tau, every=h.policy_delay) for name in ("actor", "q")},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
