"""The tables that Gymnasium's toy-text environments keep of themselves, as finite MDPs."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch

from operant.core.errors import CODE, BadInput, one_line
from operant.core.memory import check_memory
from operant.worlds.gym.ids import missing_package, registered
from operant.worlds.tabular.problems import Table

LAKE = "←↓→↑"  # the actions of the environments that are drawn from a map
TABLED = ("FrozenLake", "Taxi", "CliffWalking")  # of Gymnasium's, those that keep a table
FORM = "P[state][action] = [(probability, next state, reward, terminated), …]"


def toy_text(env_id: str) -> Table:
    """The table of an environment's `P` and `initial_state_distrib`.

    What terminates leads to one more state, the last, which pays nothing and is not left. Rewards are the means of what is paid. The horizon is the
    environment's own limit of steps, where it has one.

    Raises:
        BadInput: an unknown id, an environment without these tables, or with others than `FORM`.
    """
    task = f"tabular:gym/{env_id}"
    if ":" in env_id or not env_id:
        raise BadInput(f"{task}: an id of Gymnasium's stands there, as in tabular:gym/FrozenLake-v1")
    name = registered(env_id)
    try:
        env = gymnasium.make(name).unwrapped
    except CODE as error:
        raise missing_package(env_id, error) from error
    table, first = getattr(env, "P", None), getattr(env, "initial_state_distrib", None)
    if table is None or first is None:
        missing = "P" if table is None else "initial_state_distrib"
        newest = {spec.name: spec.id for spec in sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0) if spec.name in TABLED}
        raise BadInput(f"{task}: {env_id} has no {missing}: take an environment that keeps its own table, such as {', '.join(sorted(newest.values()))}")
    try:
        found = _read(table, np.asarray(first, dtype=np.float64), task)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise BadInput(f"{task}: its table is not {FORM}: {type(error).__name__}: {one_line(error)}") from error
    transition, reward, initial = (torch.from_numpy(array)[None] for array in found)
    desc = getattr(env, "desc", None)
    drawn = desc is not None and np.asarray(desc).size == len(table) and reward.shape[-1] == len(LAKE)
    picture = "\n".join("".join(mark.decode() for mark in row) for row in np.asarray(desc)) if drawn else None
    return Table(
        lambda states, actions, seeds: (transition, reward, initial),
        *reward.shape[1:],
        discount=0.99,
        horizon=gymnasium.spec(name).max_episode_steps,
        picture=picture,
        arrows=LAKE,
    )


def _read(table: dict, first: np.ndarray, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition, reward and initial, with the state that ends everything behind the others."""
    states, actions = len(table), len(table[0])
    if first.shape != (states,):
        raise ValueError(f"initial_state_distrib has shape {list(first.shape)}, and there are {states} states")
    check_memory(f"{task} with {states:,} states and {actions:,} actions", 4 * 8 * states * states * actions, "take a smaller one")
    end = states
    transition, reward = np.zeros((states + 1, actions, states + 1)), np.zeros((states + 1, actions))
    transition[end, :, end] = 1
    for state in range(states):
        if len(table[state]) != actions:
            raise ValueError(f"state {state} has {len(table[state])} actions, and state 0 {actions}")
        for action in range(actions):
            for chance, following, paid, terminated in table[state][action]:
                if not 0 <= following < states:
                    raise ValueError(f"state {state} leads to {following}")
                transition[state, action, end if terminated else following] += chance
                reward[state, action] += chance * paid
    return transition, reward, np.append(first, 0.0)
