"""What methods of maximum entropy share: the losses of SAC (2018), arXiv:1812.05905."""

from __future__ import annotations

import torch
from torch import Tensor

from operant import ops
from operant.loops.value_learning import Update


def soft_sample(u: Update, observation: Tensor, noise: str) -> tuple[Tensor, Tensor]:
    """(an action of the net "actor" `[S, B, A]`, its log-probability `[S, B]`), differentiable. `noise` names the draws."""
    actor = u.net("actor")
    return actor.distribution.sample_with_log_prob(actor(observation), u.noise(noise))


def soft_losses(u: Update, *, gamma: float, target_entropy: float | None) -> dict[str, Tensor]:
    """Losses of the critics "q" (eq. 5 there, summed over them), of the net "actor" (eq. 7) and of the scalar "log_alpha" (eq. 18), all on the same weights.

    Args:
        target_entropy: nats; None for minus the number of action dimensions.
    """
    batch, alpha = u.batch, u.scalar("log_alpha").detach().exp()
    with torch.no_grad():
        action, log_prob = soft_sample(u, batch.next_observation, "next_action")
        y = u.bellman(ops.soft_value(u.target("q")(batch.next_observation, action), log_prob, alpha, dim=1), gamma=gamma)
    q = u.net("q")(batch.observation, batch.action)
    action, log_prob = soft_sample(u, batch.observation, "policy_action")
    wanted = -float(action.shape[-1]) if target_entropy is None else target_entropy
    return {
        "critic": (q - y.unsqueeze(1)).square().sum(1),
        "actor": -ops.soft_value(u.frozen("q")(batch.observation, action), log_prob, alpha, dim=1),
        "temperature": ops.temperature_loss(u.scalar("log_alpha"), log_prob.detach(), wanted),
    }
