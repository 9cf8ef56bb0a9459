"""Finite Markov decision processes: Bellman's operator, values, optima, occupancies, and what data say of one.

K states, A actions. Without a horizon a reward is `[..., K, A]`, a transition `[..., K, A, K]`, a policy `[..., K, A]` (probabilities). With a horizon of H
steps each has the step in front, `[..., H, K, A]` and so on; where reward or transition are the same at every step, that axis may have length 1. Leading axes
broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor

CHAINS = 1_000_000  # probabilities of chains that are made at a time


def bellman_q(reward: Tensor, transition: Tensor, next_value: Tensor, *, discount: float) -> Tensor:
    """Q(s, a) = r(s, a) + discount · Σ_s' P(s'|s, a) V(s') (Bellman 1957; Puterman 1994, eq. 6.2.1).

    Args:
        reward: `[..., K, A]`.
        transition: `[..., K, A, K]`, rows that sum to 1; a row of zeros leaves the reward alone.
        next_value: `[..., K]`, the value of what comes next (with a horizon: `next_step_value`).
        discount: 0 to 1.
    """
    return reward + discount * torch.einsum("...kaj,...j->...ka", transition, next_value)


def next_value_moments(transition: Tensor, next_value: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the value of what comes next, `[..., K, A]` each.

    Args:
        transition: `[..., K, A, K]`.
        next_value: `[..., K]`.
    """
    powers = torch.stack([next_value, next_value.square()], -1)
    mean, square = torch.matmul(transition.flatten(-3, -2), powers).unflatten(-2, transition.shape[-3:-1]).unbind(-1)
    return mean, (square - mean.square()).clamp(min=0)


def greedy_policy(q: Tensor) -> Tensor:
    """The policy that takes the first best action: 1 there, 0 elsewhere, `[..., K, A]` from Q of that shape."""
    best = q.max(-1, keepdim=True).indices  # the first of equals; `argmax` takes three times as long
    return (torch.arange(q.shape[-1], device=q.device) == best).to(q.dtype)


def improved_policy(q: Tensor, policy: Tensor) -> tuple[Tensor, Tensor]:
    """Howard's step (Puterman 1994, section 6.4): the greedy policy in the states where it is better by more than rounding, and the same one in the others.

    Args:
        q: `[..., K, A]`, Q of the policy.
        policy: of that shape.

    Returns:
        the new policy, and where it is another one, `[..., K]` bool: nowhere, where the policy is optimal.
    """
    better = q.amax(-1) > (q * policy).sum(-1) + 1e-12 * q.abs().amax()
    return torch.where(better.unsqueeze(-1), greedy_policy(q), policy), better


def next_step_value(value: Tensor) -> Tensor:
    """Values one step later, 0 after the last: `[..., H, K]` from values of that shape."""
    return torch.cat([value[..., 1:, :], torch.zeros_like(value[..., :1, :])], -2)


def stationary_value(reward: Tensor, transition: Tensor, policy: Tensor, *, discount: float) -> Tensor:
    """V of a policy without a horizon, `[..., K]`: the solution of (I - discount P_pi) V = r_pi (Puterman 1994, theorem 6.1.1).

    Args:
        reward, transition, policy: as the module says.
        discount: in [0, 1).
    """
    gain = (reward * policy).sum(-1)
    system = torch.eye(policy.shape[-2], dtype=policy.dtype, device=policy.device) - discount * _chain(transition, policy)
    return torch.linalg.solve(system, gain.expand(system.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def horizon_value(reward: Tensor, transition: Tensor, policy: Tensor, *, discount: float = 1.0) -> Tensor:
    """V of a policy over H steps, `[..., H, K]`, by backward induction: V_h = Σ_a pi_h(a|s) (r_h + discount P_h V_{h+1}), V_H = 0.

    Args:
        reward, transition, policy: with a step axis, as the module says; the policy's has length H.
        discount: 0 to 1.
    """
    pays = (reward * policy).sum(-1)
    values, following = [], torch.zeros_like(pays[..., 0, :])
    block = max(1, CHAINS // (following.numel() * policy.shape[-2]))  # the chains of several steps at a time, which saves calls where they are small
    for end in range(policy.shape[-3], 0, -block):
        here = slice(max(end - block, 0), end)
        chain = discount * _chain(transition[..., here, :, :, :] if transition.shape[-4] > 1 else transition, policy[..., here, :, :])
        for moves, reward_of in zip(reversed(chain.unbind(-3)), reversed(pays[..., here, :].unbind(-2)), strict=True):
            following = reward_of + (moves @ following.unsqueeze(-1)).squeeze(-1)
            values.append(following)
    return torch.stack(values[::-1], -2)


def stationary_occupancy(initial: Tensor, transition: Tensor, policy: Tensor, *, discount: float) -> Tensor:
    """How often a policy is in a state and takes an action, d(s, a) = (1 - discount) Σ_t discount^t Pr(s_t = s, a_t = a), `[..., K, A]`; it sums to 1.

    The solution of d (I - discount P_pi) = (1 - discount) initial (Puterman 1994, section 6.9).

    Args:
        initial: `[..., K]`, the distribution of the first state.
        transition, policy: as the module says.
        discount: in [0, 1).
    """
    system = torch.eye(policy.shape[-2], dtype=policy.dtype, device=policy.device) - discount * _chain(transition, policy)
    state = torch.linalg.solve(system.mT, (1 - discount) * initial.expand(system.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    return state.unsqueeze(-1) * policy


def horizon_occupancy(initial: Tensor, transition: Tensor, policy: Tensor) -> Tensor:
    """Pr(s_h = s, a_h = a) of a policy at each of H steps, `[..., H, K, A]`; each step sums to 1.

    Args:
        initial: `[..., K]`, the distribution of the first state.
        transition, policy: with a step axis, as the module says; the policy's has length H.
    """
    found, state = [], initial
    for step in range(policy.shape[-3]):
        found.append(state.unsqueeze(-1) * policy[..., step, :, :])
        state = torch.einsum("...kaj,...ka->...j", _at(transition, step, 4), found[-1])
    return torch.stack(found, -3)


def stationary_optimum(reward: Tensor, transition: Tensor, *, discount: float, rounds: int | None = None) -> tuple[Tensor, Tensor]:
    """The largest values `[..., K]` and a policy `[..., K, A]` that has them, by Howard's policy iteration (Puterman 1994, section 6.4).

    Each round has a better policy (`improved_policy`), and the last one none.

    Args:
        reward, transition: as the module says.
        discount: in [0, 1).
        rounds: so many, of whoever must not ask whether one was the last; None for as many as it takes.
    """
    q = reward.expand(torch.broadcast_shapes(reward.shape, transition.shape[:-1]))
    policy = greedy_policy(q)
    for done in count(1):
        value = stationary_value(reward, transition, policy, discount=discount)
        improved, better = improved_policy(bellman_q(reward, transition, value, discount=discount), policy)
        if done == rounds or (rounds is None and not better.any()):
            return value, policy
        policy = improved


def horizon_optimum(reward: Tensor, transition: Tensor, *, horizon: int, discount: float = 1.0) -> tuple[Tensor, Tensor]:
    """The largest values `[..., H, K]` over H steps and a policy `[..., H, K, A]` that has them, by backward induction (Puterman 1994, section 4.5).

    Args:
        reward, transition: with a step axis, as the module says.
        horizon: H, at least 1.
        discount: 0 to 1.
    """
    values, policies = [], []
    following = torch.zeros(torch.broadcast_shapes(reward.shape[:-3], transition.shape[:-4]) + reward.shape[-2:-1], dtype=reward.dtype, device=reward.device)
    for step in reversed(range(horizon)):
        q = bellman_q(_at(reward, step, 3), _at(transition, step, 4), following, discount=discount)
        following = q.amax(-1)
        values.append(following)
        policies.append(greedy_policy(q))
    return torch.stack(values[::-1], -2), torch.stack(policies[::-1], -3)


def hitting_times(transition: Tensor, target: int) -> Tensor:
    """The smallest expected number of steps to a state that a policy can have, from each one: `[K]`; infinite where none gets there for sure.

    The largest of all targets is the diameter (Auer, Jaksch and Ortner 2008, definition 1). By policy iteration, from a policy that gets there.

    Args:
        transition: `[K, A, K]`.
        target: 0 to K - 1.
    """
    states = len(transition)
    goal = torch.arange(states, device=transition.device) == target
    leads, inside = transition > 0, torch.ones_like(goal)  # inside: those that may get there for sure, while it is found which do not
    while True:
        allowed = ~(leads & ~inside).any(-1)
        policy, there = torch.zeros(states, dtype=torch.int64, device=transition.device), goal
        while (new := (nearer := allowed & (leads & there).any(-1)).any(-1) & inside & ~there).any():
            policy, there = torch.where(new, nearer.to(torch.int8).argmax(-1), policy), there | new
        if torch.equal(there, inside):
            break
        inside = there
    going, place = inside & ~goal, torch.arange(states, device=transition.device)
    one = torch.eye(states, dtype=transition.dtype, device=transition.device)
    while True:
        chain = transition[place, policy] * going.unsqueeze(-1) * going
        steps = torch.linalg.solve(one - chain, going.to(transition.dtype))
        q = (1 + transition @ steps).masked_fill(~allowed, torch.inf)
        better = going & (q.amin(-1) < steps * (1 - 1e-12))
        if not better.any():
            return steps.masked_fill(~inside, torch.inf)
        policy = torch.where(better, q.argmin(-1), policy)


def limit_matrix(chain: Tensor) -> Tensor:
    """The long-run shares of time of a chain, lim 1/n Σ_{t<n} P^t, `[K, K]`: from each state those in every other (Puterman 1994, appendix A.4).

    The projection on the kernel of I - P along its range: R (L R)^-1 L, R and L being bases of what P keeps at the right and at the left.

    Args:
        chain: `[K, K]`, rows that sum to 1; it may have several recurrent classes, and be periodic.
    """
    left, size, right = torch.linalg.svd(torch.eye(len(chain), dtype=chain.dtype, device=chain.device) - chain)
    kept = size <= 1e-10
    kernel, rows = right[kept].mT, left[:, kept].mT
    return kernel @ torch.linalg.solve(rows @ kernel, rows)


def concentrability(occupancy: Tensor, data: Tensor) -> Tensor:
    """C* = max_{s, a} d(s, a) / mu(s, a), over pairs that the policy visits, `[...]`, with a horizon of each step: at least 1, infinite where data miss a pair
    (arXiv:2103.12021, def. 1).

    Args:
        occupancy: `[..., K, A]`, d of the policy that the data are held against (with a horizon `[..., H, K, A]`).
        data: mu, of the same shape, the distribution that the data's pairs are drawn from, normalised as `occupancy` is.
    """
    ratio = torch.where(occupancy > 0, occupancy / data, torch.zeros_like(occupancy))
    return ratio.flatten(-2).amax(-1)


def empirical_model(pair: Tensor, next_state: Tensor, reward: Tensor, *, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, mean rewards and frequencies of what came next, of M transitions.

    Args:
        pair: `[S, M]` int64, the place of state and action (with a horizon of step, state and action) in row-major order.
        next_state: `[S, M]` int64.
        reward: `[S, M]` float.
        shape: of the pairs, (K, A) or (H, K, A).

    Returns:
        count `[S, *shape]`, mean reward `[S, *shape]` and transition `[S, *shape, K]`; the last two are 0 where nothing was seen.
    """
    states, pairs = shape[-2], 1
    for size in shape:
        pairs *= size
    rows = len(pair)
    following = torch.zeros(rows, pairs * states, dtype=reward.dtype, device=reward.device)
    following = following.scatter_add_(-1, pair * states + next_state, torch.ones_like(reward)).view(rows, pairs, states)
    count = following.sum(-1)
    seen = count.clamp(min=1)
    mean = torch.zeros_like(count).scatter_add_(-1, pair, reward) / seen
    return count.view(rows, *shape), mean.view(rows, *shape), (following / seen.unsqueeze(-1)).view(rows, *shape, states)


def mean_by_pair(pair: Tensor, target: Tensor, *, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Least squares of targets on a table: how often each pair was seen, and the mean of its targets, `[S, *shape]` each; 0 where it was not.

    Args:
        pair: `[S, M]` int64, places among `shape`.
        target: `[S, M]`.
        shape: of a seed's table.
    """
    flat = target.new_zeros(len(pair), math.prod(shape))
    count = flat.scatter_add(1, pair, torch.ones_like(target))
    mean = flat.scatter_add(1, pair, target) / count.clamp(min=1)
    return count.unflatten(1, tuple(shape)), mean.unflatten(1, tuple(shape))


def greedy_mistake(q: Tensor, best: Tensor, transition: Tensor, initial: Tensor, *, tolerance: float = 1e-9) -> Tensor:
    """By how much at most an action that is greedy in Q falls short of the best one, wherever greedy actions lead: `[...]`, 0 where every policy that is greedy
    in Q is optimal.

    Args:
        q: `[..., H, K, A]`, whose largest values say what is greedy; several where they are equal.
        best: `[..., H, K, A]`, the optimal Q.
        transition: `[..., H or 1, K, A, K]`.
        initial: `[..., K]`, the distribution of the first state.
        tolerance: of what is equal, in units of the values.
    """
    there = initial > 0
    worst = torch.zeros_like(q[..., 0, 0, 0])
    for step in range(q.shape[-3]):
        mine, optimal = q[..., step, :, :], best[..., step, :, :]
        taken = (mine >= mine.amax(-1, keepdim=True) - tolerance) & there.unsqueeze(-1)
        short = (optimal.amax(-1, keepdim=True) - optimal).masked_fill(~taken, 0.0)
        worst = torch.maximum(worst, short.flatten(-2).amax(-1))
        there = ((_at(transition, step, 4) > 0) & taken.unsqueeze(-1)).any(-2).any(-2)
    return torch.where(worst > tolerance, worst, 0.0)


def count_penalty(count: Tensor, *, scale: float, most: float) -> Tensor:
    """b = most · sqrt(scale / N) of a pair that was seen N times; of one that was not, most · max(sqrt(scale), 1) (VI-LCB, arXiv:2103.12021, algorithm 3).

    With the paper's scale, 2000 log(2 (T + 1) S A / delta), the maximum changes nothing; with a smaller one it keeps a pair without data from looking better
    than the worst that can be.

    Args:
        count: `[...]`, N.
        scale: L, at least 0.
        most: the largest value that a policy can have, in units of the return.
    """
    seen = (scale / count.clamp(min=1)).sqrt()
    return most * torch.where(count > 0, seen, seen.clamp(min=1))


def empirical_bernstein(count: Tensor, variance: Tensor, *, log: float, most: float) -> Tensor:
    """√(2 L v / N) + 7 · most · L / 3N: how far a mean of N draws from [0, most] may be from what is expected (Maurer and Pontil 2009, theorem 4, N in the
    place of N - 1); `most` at most, and of what was not drawn.

    Args:
        count: `[...]`, N.
        variance: `[...]`, v, of the draws.
        log: L, the logarithm of two over the chance that it is farther below; of four over the chance that it is farther either way.
        most: the largest that a draw can be.
    """
    seen = count.clamp(min=1)
    width = (2 * log * variance / seen).sqrt() + 7 * most * log / (3 * seen)
    return torch.where(count > 0, width.clamp(max=most), most)


def _chain(transition: Tensor, policy: Tensor) -> Tensor:
    """The chain of states that a policy makes, `[..., K, K]`."""
    return torch.einsum("...kaj,...ka->...kj", transition, policy)


def _at(table: Tensor, step: int, axes: int) -> Tensor:
    """A table at one step, whose axis is the `axes`-th from the right; of length 1 where all steps are the same."""
    return table.select(-axes, step if table.shape[-axes] > 1 else 0)
