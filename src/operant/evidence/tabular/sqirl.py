"""SQIRL: it solves what is shallow, and what costs it many samples costs PPO many."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import gymnasium
import numpy as np
import torch

from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.gym.world import GymWorld
from operant.worlds.tabular.horizon import shallow
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.problems import TABLES
from operant.worlds.tabular.world import TabularWorld

SHARE, SEEDS, MOST = 0.95, 5, 4_096  # of the optimal return; of SQIRL; episodes a step
PPO_STEPS, EVERY = 40_960, 1_024


def lock(actions: int, length: int, horizon: int = 6, slip: float = 0.1) -> FiniteMDP:
    """The right action of each of `length` places opens the next one, any other goes back to the first, and the last one opened pays 1; with probability `slip`
    a uniformly random action is taken."""
    right = np.random.default_rng([actions, length]).integers(actions, size=length)
    places, reward = np.zeros((length + 1, actions, length + 1)), np.zeros((length + 1, actions))
    for place in range(length):
        for action in range(actions):
            chance = (1 - slip) * (action == right[place]) + slip / actions
            places[place, action, place + 1] += chance
            places[place, action, 0] += 1 - chance
            reward[place, action] = chance * (place == length - 1)
    places[length, :, length] = 1
    return _finite(places, reward, np.eye(length + 1)[0], horizon)


def garnet(actions: int, seed: int, states: int = 8, horizon: int = 5) -> FiniteMDP:
    """Each pair leads to three states; a quarter of the pairs pay, up to 1."""
    transition, reward, initial = TABLES["random-sparse"].build(states, actions, (seed,))
    pays = torch.rand(reward.shape, generator=torch.Generator().manual_seed(seed + actions), dtype=torch.float64) < 0.25
    return _finite(transition[0].numpy(), (reward * pays)[0].numpy(), initial[0].numpy(), horizon)


def _finite(transition: np.ndarray, reward: np.ndarray, initial: np.ndarray, horizon: int) -> FiniteMDP:
    tables = (torch.from_numpy(table)[None] for table in (transition[None], reward[None], initial))
    return FiniteMDP(*tables, 1.0, horizon)


def family() -> dict[str, FiniteMDP]:
    """24 MDPs."""
    locks = {f"lock {actions} actions {length} long": lock(actions, length) for actions in (2, 3, 4) for length in (1, 2, 3, 4)}
    return locks | {f"garnet {actions} actions seed {seed}": garnet(actions, seed) for actions in (2, 3, 4) for seed in (0, 1, 2, 3)}


def share(mdp: FiniteMDP, k: int, episodes: int) -> np.ndarray:
    """The values of SQIRL's policies over the optimum, of five seeds."""
    world = TabularWorld(mdp)
    learner = get_method("sqirl").build(configure("sqirl", {"k": k, "episodes": episodes})).learner(world, list(range(SEEDS)), mdp.horizon, torch.device("cpu"))
    while learner.step < mdp.horizon:
        learner.iterate()
    found = world.evaluate(learner.policy, SEEDS)
    return found.values[:, 0] / found.measures["optimal value"]


def samples_of_sqirl(mdp: FiniteMDP) -> float:
    """The fewest steps of the environment with which the mean over seeds reaches 0.95 of the optimum, for the best k up to 3; infinite where none does."""
    episodes = 4
    while episodes <= MOST:
        if any(share(mdp, k, episodes).mean() >= SHARE for k in (1, 2, 3)):
            return float(episodes * mdp.horizon**2)
        episodes *= 2
    return float("inf")


class Table(gymnasium.Env):
    """A finite MDP, whose state and step are seen one-hot."""

    def __init__(self, mdp: FiniteMDP):
        self.mdp, (self.horizon, self.states, actions) = mdp, mdp.shape
        self.transition, self.reward, self.initial = mdp.transition[0, 0].numpy(), mdp.reward[0, 0].numpy(), mdp.initial[0].numpy()
        self.observation_space = gymnasium.spaces.Box(0, 1, (self.states + self.horizon + 1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock, self.state = 0, int(self.np_random.choice(self.states, p=self.initial))
        return self._seen(), {}

    def step(self, action):
        gain = float(self.reward[self.state, action])
        self.state = int(self.np_random.choice(self.states, p=self.transition[self.state, action]))
        self.clock += 1
        return self._seen(), gain, self.clock == self.horizon, False, {}

    def _seen(self) -> np.ndarray:
        return np.concatenate([np.eye(self.states, dtype=np.float32)[self.state], np.eye(self.horizon + 1, dtype=np.float32)[self.clock]])


def samples_of_ppo(mdp: FiniteMDP) -> float:
    """Steps until the median of three seeds' policies, played greedily for 200 episodes, reaches 0.95 of the optimum; infinite where it does not in 40,960."""
    world, wanted = GymWorld(partial(Table, mdp)), SHARE * float(mdp.start_value(mdp.optimum[0]))
    learner = get_method("ppo").build(configure("ppo", {"hidden": (32, 32), "learning_rate": 1e-3})).learner(world, [0, 1, 2], PPO_STEPS, torch.device("cpu"))
    try:
        while learner.step < PPO_STEPS:
            learner.iterate()
            scores = world.evaluate(learner.policy, 3, episodes=200, seed=learner.step).values.mean(1)
            if np.median(scores) >= wanted:
                return float(learner.step)
    finally:
        learner.close()
    return float("inf")


def ranks(values: list[float]) -> np.ndarray:
    """From 0, those of equal values their mean."""
    found = np.array(values)
    return np.array([(found < value).sum() + ((found == value).sum() - 1) / 2 for value in found])


@cache
def complexities() -> dict[str, tuple[int, float, float]]:
    """Of each MDP k, and the samples of SQIRL and of PPO."""
    return {name: (int(shallow(mdp).k), samples_of_sqirl(mdp), samples_of_ppo(mdp)) for name, mdp in family().items()}


@check(
    "sqirl",
    "shallow",
    "small",
    "of 24 finite MDPs (12 locks of 1 to 4 places, 12 random ones; 2 to 4 actions, horizons 6 and 5) those that exact analysis calls k-QVI-solvable with k at "
    "most 3 are solved by SQIRL with that k to at least 0.95 of the optimal return in 5 of 5 seeds, with at most 4,096 episodes a step",
    theorem="k-QVI-solvable MDPs are solved at depth k",
)
def solves(folder: Path) -> Finding:
    found: dict[str, float | None] = {}
    for name, mdp in family().items():
        if (k := int(shallow(mdp).k)) > 3:
            continue
        episodes = next((2**power for power in range(2, 13) if share(mdp, k, 2**power).min() >= SHARE), None)
        found[f"episodes {name} (k = {k})"] = episodes
    return Finding(len(found) > 0 and None not in found.values(), found | {"mdps": len(found), "at most": MOST}, seeds=SEEDS)


@check(
    "sqirl",
    "complexity",
    "small",
    "on the same 24 MDPs the Spearman correlation between the samples that SQIRL (the best k up to 3, five seeds) and PPO (two layers of 32, three seeds, at "
    "most 40,960 steps) need for 0.95 of the optimal return is at least 0.6; what does not get there counts as most",
)
def complexity(folder: Path) -> Finding:
    found = complexities()
    k, ours, theirs = (ranks([each[place] for each in found.values()]) for place in range(3))
    correlation = float(np.corrcoef(ours, theirs)[0, 1])
    deeper = float(np.corrcoef(k, theirs)[0, 1])
    figures = {name: [depth, *(steps if np.isfinite(steps) else None for steps in each)] for name, (depth, *each) in found.items()}
    return Finding(correlation >= 0.6, {"spearman": correlation, "at_least": 0.6, "spearman of k and PPO": deeper} | figures, seeds=SEEDS)
