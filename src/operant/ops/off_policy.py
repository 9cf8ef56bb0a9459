"""Off-policy evaluation: what a target policy is worth, from M episodes of H steps that another one, the behaviour, played. Bandits are H = 1.

Every estimator gives `[...]` of `ratio [..., M, H]`, what the target's probability of each action taken is over the behaviour's, and `reward` of that shape;
those with a model read its values at the pairs and states that were met, of the same shape.
"""

from __future__ import annotations

import torch
from torch import Tensor


def importance_sampling_value(ratio: Tensor, reward: Tensor, *, discount: float = 1.0) -> Tensor:
    """IPS: the mean of ρ_{0:H-1} Σ_t discount^t r_t, ρ the product of an episode's ratios (Horvitz and Thompson 1952; Precup et al. 2000)."""
    return (ratio.prod(-1) * (_discounts(reward, discount) * reward).sum(-1)).mean(-1)


def per_decision_value(ratio: Tensor, reward: Tensor, *, discount: float = 1.0) -> Tensor:
    """Per-decision IPS: the mean of Σ_t discount^t ρ_{0:t} r_t: what comes after a reward says nothing of it (Precup et al. 2000, eq. 4)."""
    return (_discounts(reward, discount) * ratio.cumprod(-1) * reward).sum(-1).mean(-1)


def self_normalized_value(ratio: Tensor, reward: Tensor, *, discount: float = 1.0) -> Tensor:
    """SNIPS: Σ_t discount^t Σ_i ρ_{0:t} r_t / Σ_i ρ_{0:t}, which is a constant where every reward is (Swaminathan and Joachims 2015, eq. 7; of several steps
    the weighted per-decision estimator of Precup et al. 2000). A step where every weight is 0 counts as 0."""
    weight = ratio.cumprod(-1)
    total = weight.sum(-2)
    mean = (weight * reward).sum(-2) / torch.where(total > 0, total, 1.0)
    return (_discounts(mean, discount) * mean).sum(-1)


def doubly_robust_value(ratio: Tensor, reward: Tensor, q: Tensor, v: Tensor, *, discount: float = 1.0) -> Tensor:
    """DR: the mean of V_0, V_t = v_t + ρ_t (r_t + discount V_{t+1} - q_t), V_H = 0 (Dudík et al. 2011; Jiang and Li 2016, eq. 10).

    Right on average where the ratios are right, whatever the model, or the model is, whatever the ratios.

    Args:
        q, v: `[..., M, H]`, a model's values of the target: of the pairs taken, and of the states.
    """
    value = torch.zeros_like(v[..., 0])
    for step in reversed(range(reward.shape[-1])):
        value = v[..., step] + ratio[..., step] * (reward[..., step] + discount * value - q[..., step])
    return value.mean(-1)


def switched_ratio(ratio: Tensor, *, threshold: float) -> Tensor:
    """SWITCH: a step's ratio where it is at most the threshold, and else 0, so that DR believes its model there (Wang et al. 2017, eq. 7, in its doubly robust
    form). 0 is the model alone, infinity DR."""
    return torch.where(ratio <= threshold, ratio, 0.0)


def robust_action_values(state: Tensor, action: Tensor, ratio: Tensor, reward: Tensor, target: Tensor, *, discount: float = 1.0, ridge: float = 1e-3) -> Tensor:
    """MRDR: the table of action values that makes DR vary least, `[..., H, K, A]` (Farajtabar et al. 2018, eq. 15).

    At each step it minimises Σ_i discount^2t ρ_{0:t-1}² (Σ_a π(a|s_t) q(s_t, a) + ρ_t (R_t - q(s_t, a_t)))², R_t = r_t + discount ρ_{t+1} R_{t+1} being the
    weighted return to go: the second moment of what DR averages, whose mean no q changes. Least squares of A unknowns in each state of each step.

    Args:
        state, action: `[..., M, H]` int64.
        target: `[..., H, K, A]`, π.
        ridge: of the squared values, in units of the mean weight of an action: what was not seen is 0.
    """
    horizon, states, actions = target.shape[-3:]
    before = torch.cat([torch.ones_like(ratio[..., :1]), ratio[..., :-1].cumprod(-1)], -1)
    to_go, found = torch.zeros_like(reward[..., 0]), []
    for step in reversed(range(horizon)):
        rho, here, taken = ratio[..., step], state[..., step], action[..., step].unsqueeze(-1)
        following = ratio[..., step + 1] if step + 1 < horizon else torch.zeros_like(rho)
        to_go = reward[..., step] + discount * following * to_go
        acts = target[..., step, :, :].expand(*here.shape[:-1], states, actions)
        slope = -acts.gather(-2, here.unsqueeze(-1).expand(*here.shape, actions))
        slope = slope.scatter_add(-1, taken, rho.unsqueeze(-1))  # of the term in q, with its sign turned
        weight = (discount**step * before[..., step]).square().unsqueeze(-1)
        square = (weight * slope).unsqueeze(-1) * slope.unsqueeze(-2)
        right = weight * slope * (rho * to_go).unsqueeze(-1)
        system = _by_state(square.flatten(-2), here, states).unflatten(-1, (actions, actions))
        gain = _by_state(right, here, states)
        size = system.diagonal(dim1=-2, dim2=-1).mean(-1)
        size = torch.where(size > 0, ridge * size, 1.0)
        system = system + size[..., None, None] * torch.eye(actions, dtype=system.dtype, device=system.device)
        found.append(torch.linalg.solve(system, gain.unsqueeze(-1)).squeeze(-1))
    return torch.stack(found[::-1], -3)


def marginal_weights(state: Tensor, ratio: Tensor, *, states: int) -> Tensor:
    """DICE on a table: w_t(s) = d^π_t(s) / d^b_t(s) of the states met, `[..., M, H]`, the target's share of a state at each step over the behaviour's.

    The minimax equations of marginalised weights (Liu et al. 2018, eq. 11; of steps Xie et al. 2019, eq. 3.2), E[w_t ρ_t f(s_{t+1})] = E[w_{t+1} f(s_{t+1})]
    for every f, hold exactly in a table: d^π_{t+1} is what w_t ρ_t brings along from step to step. (Weights of pairs, as DualDICE has them, solve the same
    equations with the target's own actions, and give in a table what a model of counts gives.)

    Args:
        state: `[..., M, H]` int64.
        states: K.
    """
    weight, found = torch.ones_like(ratio[..., 0]), []
    for step in range(ratio.shape[-1]):
        here = state[..., step]
        share = _by_state(weight.unsqueeze(-1), here, states).squeeze(-1)
        count = _by_state(torch.ones_like(weight).unsqueeze(-1), here, states).squeeze(-1)
        found.append((share / count.clamp(min=1)).gather(-1, here))
        weight = found[-1] * ratio[..., step]
    return torch.stack(found, -1)


def marginal_value(weight: Tensor, ratio: Tensor, reward: Tensor, *, discount: float = 1.0) -> Tensor:
    """The mean of Σ_t discount^t w_t ρ_t r_t, w the weights of states (Liu et al. 2018, eq. 4): no product over the steps of an episode is left.

    Args:
        weight: `[..., M, H]`, as of `marginal_weights`.
    """
    return (_discounts(reward, discount) * weight * ratio * reward).sum(-1).mean(-1)


def _discounts(reward: Tensor, discount: float) -> Tensor:
    return discount ** torch.arange(reward.shape[-1], dtype=reward.dtype, device=reward.device)


def _by_state(value: Tensor, state: Tensor, states: int) -> Tensor:
    """Sums of `value [..., M, n]` by `state [..., M]`: `[..., states, n]`."""
    found = value.new_zeros(*value.shape[:-2], states, value.shape[-1])
    return found.scatter_add(-2, state.unsqueeze(-1).expand_as(value), value)
