"""RiverSwim in episodes, as a bed of exploration with tables: MEX by direct maximisation, and Q-learning that explores by chance. Seeds step side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operant.core.seeds import derive_seed
from operant.worlds.tabular.problems import river_swim

STATES, ACTIONS, HORIZON = 6, 2, 20
LARGEST = 12.0  # of a logit


@dataclass
class Model:
    """What is true: transitions `[K, A, K]`, rewards `[K, A]`, and the value of the first state under the best policy."""

    transition: np.ndarray
    reward: np.ndarray

    @property
    def best(self) -> float:
        return float(plan(self.transition[None], self.reward)[1][0, 0, 0])


def river() -> Model:
    transition, reward, _ = river_swim(STATES, ACTIONS, (0,))
    return Model(transition[0].numpy(), reward[0].numpy())


def plan(transition: np.ndarray, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(greedy actions `[S, H, K]`, values `[S, H + 1, K]`) of models `[S, K, A, K]`."""
    seeds = len(transition)
    value, action = np.zeros((seeds, HORIZON + 1, STATES)), np.zeros((seeds, HORIZON, STATES), np.int64)
    for step in reversed(range(HORIZON)):
        q = reward + np.einsum("skat,st->ska", transition, value[:, step + 1])
        action[:, step], value[:, step] = q.argmax(-1), q.max(-1)
    return action, value


def worth(model: Model, action: np.ndarray) -> np.ndarray:
    """The true value of the first state under policies `[S, H, K]`, `[S]`."""
    value = np.zeros((len(action), STATES))
    for step in reversed(range(HORIZON)):
        chosen = model.transition[np.arange(STATES), action[:, step]]  # [S, K, K]
        value = model.reward[np.arange(STATES), action[:, step]] + np.einsum("skt,st->sk", chosen, value)
    return value[:, 0]


class Swimmers:
    """Episodes of every seed at a time, from the first state."""

    def __init__(self, model: Model, seeds: list[int]):
        self.model, self.count = model, len(seeds)
        self._draws = [np.random.default_rng(derive_seed(seed, "river-swim")) for seed in seeds]
        self._steps = model.transition.cumsum(-1)

    def play(self, action: np.ndarray, epsilon: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(states `[S, H + 1]`, actions `[S, H]`) under policies `[S, H, K]`, at each step with probability epsilon a random action."""
        draws = np.stack([generator.random((HORIZON, 3)) for generator in self._draws])
        states, taken = np.zeros((self.count, HORIZON + 1), np.int64), np.zeros((self.count, HORIZON), np.int64)
        everyone = np.arange(self.count)
        for step in range(HORIZON):
            here, (move, explore, which) = states[:, step], draws[:, step].T
            taken[:, step] = np.where(explore < epsilon, (which * ACTIONS).astype(np.int64), action[everyone, step, here])
            states[:, step + 1] = (move[:, None] >= self._steps[here, taken[:, step]][:, :-1]).sum(-1)
        return states, taken


def maximise_to_explore(model: Model, seeds: list[int], episodes: int, *, eta: float, ascents: int = 2) -> np.ndarray:
    """Regret of each episode `[episodes, S]` of MEX with tables (arXiv:2305.18258): before each episode the model P with rewards as they are climbs
    V_P(s₁) + η Σ n(s, a, s') log P(s'|s, a), by gradient steps on logits from where it stood, each row's divided by η (N + 1); then its greedy policy acts.

    Args:
        eta: infinite for the likelihood alone.
        ascents: gradient steps before an episode.
    """
    swimmers, logits = Swimmers(model, seeds), np.zeros((len(seeds), STATES, ACTIONS, STATES))
    seen, everyone = np.zeros_like(logits), np.arange(len(seeds))
    best, regret = model.best, np.zeros((episodes, len(seeds)))
    for episode in range(episodes):
        total = seen.sum(-1, keepdims=True)
        for _ in range(ascents):
            belief = softmax(logits)
            optimism = belief * centred(slopes(belief, model.reward), belief) / eta
            logits = np.clip(logits + (optimism + seen - total * belief) / (total + 1), -LARGEST, LARGEST)
        action, _ = plan(softmax(logits), model.reward)
        regret[episode] = best - worth(model, action)
        states, taken = swimmers.play(action)
        for step in range(HORIZON):
            np.add.at(seen, (everyone, states[:, step], taken[:, step], states[:, step + 1]), 1)
    return regret


def slopes(transition: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """The gradient of the first state's best value with respect to P(s'|s, a), `[S, K, A, K]`: how often (s, a) is met, times what s' is worth then."""
    action, value = plan(transition, reward)
    met, found = np.zeros((len(transition), STATES)), np.zeros_like(transition)
    met[:, 0] = 1
    rows = np.arange(len(transition))[:, None], np.arange(STATES)[None]
    for step in range(HORIZON):
        found[(*rows, action[:, step])] += met[..., None] * value[:, step + 1, None]
        met = np.einsum("sk,skt->st", met, transition[(*rows, action[:, step])])
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def centred(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    return x - (p * x).sum(-1, keepdims=True)


def q_learning(model: Model, seeds: list[int], episodes: int, *, epsilon: float, rate: float) -> np.ndarray:
    """Regret of each episode `[episodes, S]` of Q-learning with a table for each step, from Q = 0, that explores by chance: of what it does, chance and all.
    Of actions that are worth the same it takes any: always the first one would be to know where not to swim, or to never swim.

    Args:
        epsilon: probability of a random action.
        rate: of learning, (rate + 1) / (rate + n) at the nth visit.
    """
    swimmers, everyone = Swimmers(model, seeds), np.arange(len(seeds))
    draws = [np.random.default_rng(derive_seed(seed, "ties")) for seed in seeds]
    q, visits = np.zeros((len(seeds), HORIZON + 1, STATES, ACTIONS)), np.zeros((len(seeds), HORIZON, STATES, ACTIONS))
    best, regret = model.best, np.zeros((episodes, len(seeds)))
    for episode in range(episodes):
        ties = np.stack([generator.random(q[0, :-1].shape) for generator in draws])
        action = np.where(q[:, :-1] == q[:, :-1].max(-1, keepdims=True), ties, -1.0).argmax(-1)
        regret[episode] = best - by_chance(model, action, epsilon)
        states, taken = swimmers.play(action, epsilon)
        for step in range(HORIZON):
            place = everyone, step, states[:, step], taken[:, step]
            visits[place] += 1
            target = model.reward[states[:, step], taken[:, step]] + q[everyone, step + 1, states[:, step + 1]].max(-1)
            q[place] += (rate + 1) / (rate + visits[place]) * (target - q[place])
    return regret


def by_chance(model: Model, action: np.ndarray, epsilon: float) -> np.ndarray:
    """The true value of the first state under policies `[S, H, K]` that take a random action with probability epsilon, `[S]`."""
    value = np.zeros((len(action), STATES))
    for step in reversed(range(HORIZON)):
        q = model.reward + np.einsum("kat,st->ska", model.transition, value)
        value = (1 - epsilon) * np.take_along_axis(q, action[:, step, :, None], -1)[..., 0] + epsilon * q.mean(-1)
    return value[:, 0]


def slope(regret: np.ndarray) -> float:
    """Of the logarithm of the mean cumulative regret over that of episodes, over the last decade."""
    total = regret.mean(1).cumsum()
    last = np.arange(len(total) // 10, len(total) + 1)
    return float(np.polyfit(np.log(last), np.log(total[last - 1]), 1)[0])
