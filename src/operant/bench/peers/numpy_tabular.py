"""Finite MDPs in plain NumPy, one instance after the other, as a script of one's own would have them. Prints {"steps", "seeds", "seconds"}.

Value iteration multiplies each action's matrix by the values, or where a pair leads to a few states alone gathers theirs; a step is a sweep. UCBVI plays river
swim with our hyper-parameters; a step is an episode.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

HORIZON, SCALE, DELTA = 20, 0.05, 0.1


def random_mdp(states: int, actions: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each action the transitions `[K, K]` and the rewards `[K]`, as `tabular:random-dense` draws them."""
    generator = np.random.default_rng(seed)
    weight = generator.exponential(size=(actions, states, states))
    return list(weight / weight.sum(-1, keepdims=True)), list(generator.random((actions, states)))


def value_iteration(transition: list[np.ndarray], reward: list[np.ndarray], discount: float, sweeps: int) -> np.ndarray:
    """V after so many sweeps from 0, `[K]`."""
    value = np.zeros(len(reward[0]))
    for _ in range(sweeps):
        value = np.max([pays + discount * (moves @ value) for moves, pays in zip(transition, reward, strict=True)], axis=0)
    return value


def garnet(states: int, actions: int, branches: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each pair leads and with which probabilities, `[K, A, B]` both, and rewards `[K, A]`, as `tabular:garnet` draws them but for repetitions."""
    generator = np.random.default_rng(seed)
    weight = generator.exponential(size=(states, actions, branches))
    return generator.integers(states, size=(states, actions, branches)), weight / weight.sum(-1, keepdims=True), generator.random((states, actions))


def sparse_value_iteration(successor: np.ndarray, transition: np.ndarray, reward: np.ndarray, discount: float, sweeps: int) -> np.ndarray:
    """V after so many sweeps from 0, `[K]`."""
    value = np.zeros(len(reward))
    for _ in range(sweeps):
        value = (reward + discount * np.einsum("kab,kab->ka", transition, value[successor])).max(-1)
    return value


def river_swim(states: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Transitions `[K, A, K]` and rewards `[K, A]` of river swim."""
    transition, reward = np.zeros((states, 2, states)), np.zeros((states, 2))
    for state in range(states):
        transition[state, 0, max(state - 1, 0)] = 1
        if 0 < state < states - 1:
            transition[state, 1, state - 1 : state + 2] = 0.05, 0.6, 0.35
    transition[0, 1, :2] = 0.4, 0.6
    transition[-1, 1, -2:] = 0.4, 0.6
    reward[0, 0], reward[-1, 1] = 0.005, 1
    return transition, reward


def ucbvi(transition: np.ndarray, reward: np.ndarray, episodes: int, seed: int) -> np.ndarray:
    """Q `[H, K, A]` after so many episodes, with Bernstein's bonus (Azar, Osband and Munos 2017)."""
    generator = np.random.default_rng(seed)
    states, actions = reward.shape
    following, gained = np.zeros((states, actions, states)), np.zeros((states, actions))
    q = np.tile(np.arange(HORIZON, 0, -1.0)[:, None, None], (1, states, actions))
    policy = np.zeros((HORIZON, states), dtype=int)
    for episode in range(episodes):
        state = 0
        for step in range(HORIZON):
            action = policy[step, state]
            after = generator.choice(states, p=transition[state, action])
            following[state, action, after] += 1
            gained[state, action] += reward[state, action]
            state = after
        count = following.sum(-1)
        seen = np.maximum(count, 1)
        frequency, mean = following / seen[:, :, None], gained / seen
        log = SCALE * math.log(5 * states * actions * HORIZON * (episode + 1) / DELTA)
        value = np.zeros(states)
        for step in reversed(range(HORIZON)):
            expected = frequency @ value
            variance = np.maximum(frequency @ value**2 - expected**2, 0)
            bonus = np.minimum(np.sqrt(2 * log * variance / seen) + 7 * HORIZON * log / (3 * seen), HORIZON)
            q[step] = np.where(count > 0, np.minimum(q[step], mean + expected + bonus), q[step])
            value = q[step].max(-1)
        policy = q.argmax(-1)
    return q


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("value-iteration", "ucbvi"))
    parser.add_argument("--states", type=int, default=6)
    parser.add_argument("--branches", type=int, default=0, help="states that each pair leads to; 0: all")
    parser.add_argument("--instances", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    given = parser.parse_args()
    seeds = range(given.instances)
    if given.work == "ucbvi":
        tables = river_swim(given.states)
        begin = time.perf_counter()
        for seed in seeds:
            ucbvi(*tables, given.steps, seed)
    elif given.branches:
        problems = [garnet(given.states, 4, given.branches, seed) for seed in seeds]
        begin = time.perf_counter()
        for problem in problems:
            sparse_value_iteration(*problem, 0.9, given.steps)
    else:
        problems = [random_mdp(given.states, 4, seed) for seed in seeds]
        begin = time.perf_counter()
        for problem in problems:
            value_iteration(*problem, 0.9, given.steps)
    print(json.dumps({"steps": given.steps, "seeds": given.instances, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main()
