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


def doubly_robust_returns(ratio: Tensor, reward: Tensor, q: Tensor, v: Tensor, *, discount: float = 1.0) -> Tensor:
    """The return from each pair on as DR has it, R_t = r_t + discount (v_{t+1} + ρ_{t+1} (R_{t+1} - q_{t+1})), `[..., M, H]`: the target's on average, where
    ratios or model are right. With values of 0 it is the sum of rewards weighted by the ratios behind the pair.

    Args:
        q, v: `[..., M, H]`, a model's values of the target: of the pairs taken, and of the states.
    """
    found = [reward[..., -1]]
    for step in reversed(range(1, reward.shape[-1])):
        found.append(reward[..., step - 1] + discount * (v[..., step] + ratio[..., step] * (found[-1] - q[..., step])))
    return torch.stack(found[::-1], -1)


def doubly_robust_value(ratio: Tensor, reward: Tensor, q: Tensor, v: Tensor, *, discount: float = 1.0) -> Tensor:
    """DR: the mean of v_0 + ρ_0 (R_0 - q_0), R_0 as of `doubly_robust_returns` (Dudík et al. 2011; Jiang and Li 2016, eq. 10).

    Right on average where the ratios are right, whatever the model, or the model is, whatever the ratios. Arguments as of `doubly_robust_returns`.
    """
    to_go = doubly_robust_returns(ratio, reward, q, v, discount=discount)
    return (v[..., 0] + ratio[..., 0] * (to_go[..., 0] - q[..., 0])).mean(-1)


def switched_ratio(ratio: Tensor, *, threshold: float) -> Tensor:
    """SWITCH: a step's ratio where it is at most the threshold, and else 0, so that DR believes its model there (Wang et al. 2017, eq. 7, in its doubly robust
    form). 0 is the model alone, infinity DR."""
    return torch.where(ratio <= threshold, ratio, 0.0)


def robust_action_values(state: Tensor, action: Tensor, ratio: Tensor, to_go: Tensor, otherwise: Tensor) -> Tensor:
    """MRDR on a table: the action values that make DR vary least, `[..., H, K, A]` (Farajtabar et al. 2018, section 4).

    What DR averages at a step is v(s_t) + ρ_t (R_t - q_t(s_t, a_t)), weighted by discount^t ρ_{0:t-1}. Its mean in a state hangs on no q, so q is to minimise
    what is left behind a constant of each state, Σ_i ρ_{0:t-1}² (ρ_t (R_t - q_t(s_t, a_t)) - c_t(s_t))². A table reaches the minimum with c = 0: of each step
    and pair the mean of R_t with the weights ρ_{0:t-1}². In a bandit that is the mean reward, and MRDR is DR.

    Args:
        state, action: `[..., M, H]` int64.
        to_go: `[..., M, H]`, R: the paper's is weighted by ratios alone (`doubly_robust_returns` of values of 0); DR's own varies less.
        otherwise: `[..., H, K, A]`, of pairs that were not seen, or not with a weight above 0.
    """
    states, actions = otherwise.shape[-2:]
    weight = torch.cat([torch.ones_like(ratio[..., :1]), ratio[..., :-1].cumprod(-1)], -1).square()
    pair = (state * actions + action).transpose(-1, -2)
    total, gained = (_by_state(x.transpose(-1, -2).unsqueeze(-1), pair, states * actions).squeeze(-1) for x in (weight, weight * to_go))
    found = torch.where(total > 0, gained / torch.where(total > 0, total, 1.0), otherwise.flatten(-2))
    return found.unflatten(-1, (states, actions))


def marginal_weights(state: Tensor, ratio: Tensor, *, states: int) -> Tensor:
    """DICE on a table: the target's share of the pairs met at each step over the behaviour's, d^π_t(s, a) / d^b_t(s, a), `[..., M, H]`.

    The minimax equations of marginalised weights, E[w_t f(s_{t+1})] = E[w_{t+1} f(s_{t+1})] for every f of states (Liu et al. 2018, eq. 11; of steps Xie et al.
    2019, section 3), hold exactly in a table: what w_t brings along is the target's share of a state at the next step. Within a state weights are ratios over
    their mean there, so that shares sum to 1 whatever was drawn. (DualDICE's weights, with the target's own actions in the equations, give in a table what a
    model of the counts gives.)

    Args:
        state: `[..., M, H]` int64.
        states: K.
    """
    carried, found = torch.ones_like(ratio[..., 0]), []
    for step in range(ratio.shape[-1]):
        here, rho = state[..., step], ratio[..., step]
        share, mean = (_by_state(value.unsqueeze(-1), here, states).squeeze(-1) for value in (carried, rho))
        of_pair = torch.where(mean > 0, share / torch.where(mean > 0, mean, 1.0), 0.0)
        carried = of_pair.gather(-1, here) * rho
        found.append(carried)
    return torch.stack(found, -1)


def marginal_value(weight: Tensor, reward: Tensor, *, discount: float = 1.0) -> Tensor:
    """The mean of Σ_t discount^t w_t r_t, w the weights of pairs (Liu et al. 2018, eq. 4): no product over the steps of an episode is left.

    Args:
        weight: `[..., M, H]`, as of `marginal_weights`.
    """
    return (_discounts(reward, discount) * weight * reward).sum(-1).mean(-1)


def _discounts(reward: Tensor, discount: float) -> Tensor:
    return discount ** torch.arange(reward.shape[-1], dtype=reward.dtype, device=reward.device)


def _by_state(value: Tensor, state: Tensor, states: int) -> Tensor:
    """Sums of `value [..., M, n]` by `state [..., M]`: `[..., states, n]`."""
    found = value.new_zeros(*value.shape[:-2], states, value.shape[-1])
    return found.scatter_add(-2, state.unsqueeze(-1).expand_as(value), value)
