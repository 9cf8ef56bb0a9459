"""TD3: a deterministic actor-critic that trusts the smaller of two critics, smooths what they say of the target's action, and updates the actor less often.

Paper: Fujimoto et al. 2018, arXiv:1802.09477, algorithm 1 (clipped double Q-learning eq. 10, target policy smoothing eq. 14).
As in the authors' code: actions, and the noise on them, are in units of half the range of the action space; the actor's phase follows the critics' in the same
update and sees them as they are then; target networks follow at the actor's updates; truncation bootstraps. Batches, widths and the learning rate are those of
the code (the paper's: 100, (400, 300), 1e-3); the random steps at first are fewer (the paper 10,000 or 1,000, the code 25,000).
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import NonNegative, method
from operant.loops.behaviour import Noisy
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.twin_delayed import TwinDelayedSettings, twin_delayed_phases
from operant.loops.value_learning import Polyak, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class TD3(LayerSettings, OnlineSettings, TwinDelayedSettings):
    exploration_noise: NonNegative = 0.1  # deviation of the noise on actions in the environment


@method("td3", name="TD3", family="online", paper="arXiv:1802.09477", worlds=("gym",), actions=("continuous",))
def td3(h: TD3) -> ValueLearning:
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, deterministic=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, residual=h.residual, layer_norm=h.layer_norm),
        },
        phases=twin_delayed_phases(h),
        acts=Noisy("actor", h.exploration_noise),
        track={name: Polyak(h.tau, every=h.policy_delay) for name in ("actor", "q")},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
