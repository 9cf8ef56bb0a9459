"""SAC on discrete actions: every expectation over actions is a sum, so that nothing is sampled in the losses.

Paper: Christodoulou 2019, arXiv:1910.07207, after SAC (arXiv:1812.05905). Two critics have a value for each action; V(s) = Σ_a π(a|s) (min Q(s, a) − α log
π(a|s)) in targets and as what the actor climbs (`ops.expected_soft_value`), and the temperature's loss has the policy's whole entropy. The target entropy is
a share of the largest that there is, the logarithm of the number of actions (0.98 in the author's code, 0.89 in CleanRL). An action mask is obeyed in acting,
in targets and in the losses, and the largest entropy is then that of the actions that are allowed there.
Departures: log alpha is optimised as in `sac-v2`, and actor, critics and temperature take one joint step; Adam's epsilon is 1e-8, theirs 1e-4,
and gradients are not clipped (theirs at 5, each network's). Truncation
bootstraps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from operant import ops
from operant.core.registry import Share, TargetShare, method
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.soft import TemperatureSettings, alpha
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActionValueNet, ActorNet


@dataclass(frozen=True)
class SACDiscrete(LayerSettings, OnlineSettings, TemperatureSettings):
    tau: TargetShare = 0.005  # share of the critics that enters the target networks at each update
    entropy_share: Share = 0.98  # target entropy, as a share of the largest that the allowed actions have


@method("sac-discrete", name="SAC (discrete)", family="online", paper="arXiv:1910.07207", worlds=("gym",), actions=("discrete",))
def sac_discrete(h: SACDiscrete) -> ValueLearning:
    critics = "q1", "q2"

    def least(net: Callable[[str], nn.Module], observation: Tensor) -> Tensor:
        """Of both critics, `[S, B, A]`."""
        return torch.minimum(*(net(name)(observation) for name in critics))

    def losses(u: Update):
        batch, actor, temperature = u.batch, u.net("actor"), alpha(u).unsqueeze(-1)
        with torch.no_grad():
            log_p = actor(batch.next_observation).log_softmax(-1)
            y = u.bellman(ops.expected_soft_value(least(u.target, batch.next_observation), log_p, temperature), gamma=h.gamma)
            q = least(u.frozen, batch.observation)
        chosen = torch.stack([u.net(name)(batch.observation).gather(-1, batch.action.unsqueeze(-1)).squeeze(-1) for name in critics], 1)
        log_p = actor(batch.observation).log_softmax(-1)
        allowed = actor.observation.allowed(batch.observation)
        largest = math.log(actor.distribution.size) if allowed is None else allowed.sum(-1).log()
        return {
            "critic": (chosen - y.unsqueeze(1)).square().sum(1),
            "actor": -ops.expected_soft_value(q, log_p, temperature),
            "temperature": ops.temperature_loss(u.scalar("log_alpha"), (log_p.exp() * log_p).sum(-1), h.entropy_share * largest),
        }

    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, normalize=h.normalize_observation)}
        | {name: ActionValueNet(hidden=h.hidden, activation=h.activation, residual=h.residual, layer_norm=h.layer_norm) for name in critics},
        scalars=h.scalars,
        phases=h.tempered(Phase(losses, trains=("actor", *critics, "scalars"), optim=Optim(h.learning_rate))),
        track={name: Polyak(h.tau) for name in critics},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
