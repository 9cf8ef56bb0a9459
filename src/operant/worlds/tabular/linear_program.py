"""Linear programs over the occupancies of finite MDPs, solved by HiGHS through SciPy."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, RunFailed, one_line
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.sparse import SparseMDP

MOST = 2**21  # numbers other than 0 in a program's equations; HiGHS takes minutes for as many


def check_solver() -> None:
    """Raise `BadInput` where SciPy is missing."""
    if find_spec("scipy") is None:
        raise BadInput("a linear program needs SciPy: pip install 'operant[tabular]'")


def check_program(mdp: FiniteMDP) -> None:
    """Raise `BadInput` where SciPy is missing or the program of an instance is too large."""
    check_solver()
    if isinstance(mdp, SparseMDP):
        raise BadInput("a linear program needs a table of all states by all, and here only what each pair leads to is stored: take value-iteration")
    entries = int((mdp.transition[0] > 0).sum())
    if mdp.horizon is not None and mdp.transition.shape[1] == 1:
        entries *= mdp.horizon
    if entries > MOST:
        raise BadInput(f"a linear program of {entries:,} transitions is too large, there can be {MOST:,}: take fewer states, or value-iteration")


def optimal_occupancy(mdp: FiniteMDP) -> Tensor:
    """The occupancy `[S, *shape]` that earns most; it sums to 1, with a horizon at each step. Raises `RunFailed` where the solver finds none."""
    host = mdp.to(torch.device("cpu"))
    tables = [table.expand(mdp.seeds, *table.shape[1:]).numpy() for table in (host.transition, host.reward, host.initial)]
    found = [_instance(*(table[seed] for table in tables), mdp.discount, mdp.horizon) for seed in range(mdp.seeds)]
    return torch.from_numpy(np.stack(found)).to(mdp.initial.device)


def _instance(transition: np.ndarray, reward: np.ndarray, initial: np.ndarray, discount: float, horizon: int | None) -> np.ndarray:
    """Of one MDP: `[*shape]`."""
    from scipy import sparse

    states, actions = reward.shape[-2:]
    reward = reward - np.median(reward)  # occupancies sum to 1, so that all earn as much less
    if horizon is None:
        flow = _leaves(states, actions) - discount * sparse.csr_array(transition.reshape(-1, states).T)
        return maximum(reward.ravel(), flow, (1 - discount) * initial).reshape(states, actions)
    begins = np.concatenate([initial, np.zeros((horizon - 1) * states)])
    earns = np.broadcast_to(reward, (horizon, states, actions))
    return maximum(earns.ravel(), horizon_flow(transition, horizon), begins).reshape(horizon, states, actions)


def horizon_flow(transition: np.ndarray, horizon: int) -> Any:
    """Of occupancies of all steps, `[H K A]`, what leaves each state of each step less what arrives there, `[H K, H K A]` sparse: the first state's
    distribution at the first step, and 0 at others.

    Args:
        transition: `[H or 1, K, A, K]`.
    """
    from scipy import sparse

    states, actions = transition.shape[1:3]
    arrives = [sparse.csr_array(each.reshape(-1, states).T) for each in transition]
    blocks: list[list[Any]] = [[None] * horizon for _ in range(horizon)]
    for step in range(horizon):
        blocks[step][step] = _leaves(states, actions)
        if step:
            blocks[step][step - 1] = -arrives[min(step - 1, len(arrives) - 1)]
    return sparse.block_array(blocks, format="csr")


def _leaves(states: int, actions: int) -> Any:
    """Σ_a d(s, a)."""
    from scipy import sparse

    return sparse.kron(sparse.identity(states), np.ones((1, actions)), format="csr")


def maximum(gain: np.ndarray, equations: Any, right: np.ndarray) -> np.ndarray:
    """The x ≥ 0 with equations · x = right that has the largest gain · x.

    Raises:
        RunFailed: there is none, or no largest, or the solver gave up.
    """
    from scipy.optimize import linprog

    size = np.median(np.abs(gain[gain != 0])) if gain.any() else 1.0  # the solver takes differences of 1e-7 for none, whatever the gain is counted in
    found = linprog(-gain / size, A_eq=equations, b_eq=right, method="highs")
    if found.status == 0:
        return np.maximum(found.x, 0.0)
    why = {2: "is infeasible: nothing keeps all of its equations", 3: "is unbounded: its gain has no largest value"}
    raise RunFailed(f"the linear program of {len(gain):,} variables {why.get(found.status, f'was not solved: {one_line(found.message)}')}")
