"""Targets and losses of value functions, a number an element. None of them averages."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.shapes import same_axes


def td_target(reward: Tensor, next_value: Tensor, terminated: Tensor, *, gamma: float | Tensor) -> Tensor:
    """Bellman target r + gamma (1 - terminated) V(s'). Truncation is not an argument: it bootstraps.

    Args:
        reward: `[...]`; for n steps, their discounted sum.
        next_value: `[...]`, value of the true next observation; ignored where terminated, NaN included.
        terminated: `[...]` bool.
        gamma: discount, 0 to 1; a tensor `[...]` of gamma^n for n-step targets.
    """
    same_axes("td_target", reward=reward, next_value=next_value, terminated=terminated)
    return reward + gamma * next_value.masked_fill(terminated, 0.0)


def expectile_loss(error: Tensor, *, expectile: float, side: Tensor | None = None) -> Tensor:
    """Asymmetric squared loss |tau - 1(u < 0)| u^2 (IQL, arXiv:2110.06169, eq. 4).

    Args:
        error: `[...]`, u = target - prediction.
        expectile: tau, 0 to 1; 0.5 is half the squared error, near 1 it regresses onto the upper end of the targets.
        side: broadcasts with the error, axis by axis; its sign says on which side an error lies, in the place of the error's own (in the code of HIQL's
            authors, arXiv:2307.11949).
    """
    if side is not None:
        same_axes("expectile_loss", error=error, side=side)
    return (expectile - ((error if side is None else side) < 0).to(error.dtype)).abs() * error.square()


def huber_loss(error: Tensor, *, delta: float) -> Tensor:
    """Huber's loss (Ann. Math. Statist. 35, 1964): u^2 / 2 where |u| <= delta, delta (|u| - delta / 2) beyond.

    Args:
        error: `[...]`.
        delta: where the quadratic becomes linear, > 0, in units of the error.
    """
    size = error.abs()
    inner = size.clamp(max=delta)
    return inner * (size - 0.5 * inner)


def clipped_value_loss(value: Tensor, old_value: Tensor, target: Tensor, *, clip: float) -> Tensor:
    """PPO's clipped value loss: max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) / 2.

    Not in the paper: it is from the authors' code (openai/baselines, ppo2), which also has the half.

    Args:
        value: `[...]`, with gradient. old_value: `[...]`, when the data was collected. target: `[...]`, the return R.
        clip: how far the value may move in one iteration, > 0, in units of the return.
    """
    same_axes("clipped_value_loss", value=value, old_value=old_value, target=target)
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - target).square(), (clipped - target).square())


def soft_value(q_values: Tensor, log_prob: Tensor, alpha: Tensor | float, dim: int) -> Tensor:
    """Soft state value of one sampled action, min_i Q_i(s, a) - alpha log pi(a|s) (SAC, arXiv:1812.05905, eq. 3, with the minimum of section 6).

    Its negative is the policy's loss (eq. 7); in the Bellman target it stands for V(s').

    Args:
        q_values: an ensemble along axis `dim`, the other axes those of `log_prob`.
        log_prob: `[...]`.
        alpha: temperature, >= 0; a number or a tensor that broadcasts.
        dim: the ensemble's axis in `q_values`.
    """
    least = q_values.amin(dim)
    same_axes("soft_value", least_q=least, log_prob=log_prob)
    return least - alpha * log_prob


def expected_soft_value(q_values: Tensor, log_prob: Tensor, alpha: Tensor | float) -> Tensor:
    """Soft state value over all of finitely many actions, sum_a pi(a|s) (Q(s, a) - alpha log pi(a|s)) (SAC on discrete actions, arXiv:1910.07207).

    Its negative is the policy's loss; in the Bellman target it stands for V(s'). What is forbidden (`forbid`) adds exactly 0.

    Args:
        q_values, log_prob: `[..., A]`.
        alpha: temperature, >= 0; a number or a tensor that broadcasts with them.
    """
    same_axes("expected_soft_value", q_values=q_values, log_prob=log_prob)
    return (log_prob.exp() * (q_values - alpha * log_prob)).sum(-1)


def soft_advantage(scores: Tensor, *, alpha: float) -> Tensor:
    """Advantages that are a policy by construction, sum_k exp(A_k / alpha) = 1: A = x - alpha logsumexp(x / alpha), the log-probabilities of softmax(x / alpha)
    times alpha (soft Q-learning, arXiv:1702.08165; of one number of an action at a time ARSQ, arXiv:2502.00288).

    Args:
        scores: x, `[..., K]`, of choices.
        alpha: temperature, > 0, in their units.
    """
    return alpha * (scores / alpha).log_softmax(-1)


def demonstration_margin_loss(advantage: Tensor, action: Tensor, *, margin: float) -> Tensor:
    """How far other choices come up to the one that was shown, sum_k max(A_k - A_shown, margin), `[...]` (ARSQ, arXiv:2502.00288). The shown one's own term, a
    constant, is in the sum.

    Args:
        advantage: `[..., K]`.
        action: `[...]` int64, what was shown.
        margin: where another's lag stops counting; negative, so that it must lag by as much.
    """
    return (advantage - advantage.gather(-1, action.unsqueeze(-1))).clamp(min=margin).sum(-1)


def temperature_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor | float) -> Tensor:
    """Dual objective of the temperature (SAC, arXiv:1812.05905, eq. 18), in log alpha as in the authors' code: -log alpha (log pi + target entropy).

    Minimised, it raises alpha while the policy's entropy is below the target. The paper multiplies by alpha itself; by its logarithm the step does not
    shrink with alpha.

    Args:
        log_alpha: broadcasts with `log_prob`; alone has a gradient.
        log_prob: `[...]`, of actions of the current policy.
        target_entropy: nats, of all or of each `[...]`; the paper takes minus the number of action dimensions.
    """
    same_axes("temperature_loss", log_alpha=log_alpha, log_prob=log_prob)
    return -log_alpha * (log_prob.detach() + target_entropy)
