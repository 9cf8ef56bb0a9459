"""Cooperative navigation: three agents spread over three landmarks without running into each other, all games in one NumPy computation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput
from operant.worlds.agents.games import Games, JointStep

AGENTS = 3
SIZE = 18  # numbers that an agent sees
STEPS = 25
DAMPING, STEP, FORCE = 0.25, 0.1, 5.0
RADIUS = 0.15
CONTACT_FORCE, CONTACT_MARGIN = 100.0, 1e-3
_PUSH = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], np.float64) * FORCE
_OTHERS = np.array([[other for other in range(AGENTS) if other != agent] for agent in range(AGENTS)])


class Spread(Games):
    """`simple_spread` of the multi-agent particle environments (Lowe et al. 2017, arXiv:1706.02275; mpe2 1.1), its state the observations of all agents.

    An agent sees its velocity and position, and where landmarks and the other agents are from it; the last four numbers (what others say) are 0. It pushes
    itself left, right, down or up, or not. Its reward is half the team's (minus the distance of each landmark to the agent that is nearest) and half its own
    (minus one for each other agent that it touches).

    Args:
        seeds: one a game.
    """

    name = "agents:spread"
    names = tuple(f"agent_{number}" for number in range(AGENTS))
    observation_space = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
    action_space = spaces.Discrete(len(_PUSH))
    state_size = AGENTS * SIZE
    resume = "bitwise"

    def __init__(self, seeds: Sequence[int]):
        self.count = len(seeds)
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self.position, self.velocity, self.landmark = (np.zeros((self.count, AGENTS, 2)) for _ in range(3))
        self.clock = np.zeros(self.count, np.int64)

    def reset(self) -> tuple[np.ndarray, np.ndarray]:
        self._begin(np.arange(self.count))
        return self._seen()

    def _begin(self, games: np.ndarray) -> None:
        for game in games:
            placed = self._generators[game].uniform(-1, 1, (2 * AGENTS, 2))
            self.position[game], self.landmark[game] = placed[:AGENTS], placed[AGENTS:]
        self.velocity[games], self.clock[games] = 0.0, 0

    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        landmarks = self.landmark[:, None] - self.position[:, :, None]
        others = self.position[:, _OTHERS] - self.position[:, :, None]
        said = np.zeros((self.count, AGENTS, 2 * (AGENTS - 1)))
        parts = [self.velocity, self.position, landmarks.reshape(self.count, AGENTS, -1), others.reshape(self.count, AGENTS, -1), said]
        seen = np.concatenate(parts, -1).astype(np.float32)
        return seen, seen.reshape(self.count, -1)

    def step(self, action: np.ndarray) -> JointStep:
        if action.shape != (self.count, AGENTS) or action.min() < 0 or action.max() >= len(_PUSH):
            raise BadInput(f"{self.name}: actions {action.tolist()} are not one integer from 0 to {len(_PUSH) - 1} for each of {AGENTS} agents")
        force = _PUSH[action] + self._contacts()
        self.position = self.position + self.velocity * STEP
        self.velocity = self.velocity * (1 - DAMPING) + force * STEP
        self.clock += 1
        reward = self._reward()
        following = seen = self._seen()
        ended = self.clock >= STEPS
        if ended.any():
            self._begin(ended.nonzero()[0])
            seen = self._seen()
        over = np.repeat(ended[:, None], AGENTS, 1)
        return JointStep(*seen, *following, reward, np.zeros_like(over), over, np.ones_like(over))

    def _contacts(self) -> np.ndarray:
        """What pushes agents apart, `[E, M, 2]`: a force that grows with how far two are within each other."""
        apart = self.position[:, :, None] - self.position[:, None]
        distance = np.sqrt(np.square(apart).sum(-1))
        within = np.logaddexp(0, (2 * RADIUS - distance) / CONTACT_MARGIN) * CONTACT_MARGIN
        with np.errstate(invalid="ignore", divide="ignore"):
            force = CONTACT_FORCE * apart / distance[..., None] * within[..., None]
        return np.where(np.eye(AGENTS, dtype=bool)[..., None], 0.0, force).sum(2)

    def _reward(self) -> np.ndarray:
        to_landmarks = np.sqrt(np.square(self.position[:, :, None] - self.landmark[:, None]).sum(-1))
        apart = np.sqrt(np.square(self.position[:, :, None] - self.position[:, None]).sum(-1))
        team, touching = -to_landmarks.min(1).sum(-1), (apart < 2 * RADIUS).sum(-1) - 1  # an agent is within itself
        return (0.5 * team[:, None] - 0.5 * touching).astype(np.float32)

    def state_dict(self) -> dict:
        arrays = {name: getattr(self, name).copy() for name in ("position", "velocity", "landmark", "clock")}
        return arrays | {"generators": [generator.bit_generator.state for generator in self._generators]}

    def load_state_dict(self, state: dict) -> None:
        if len(state["clock"]) != self.count:
            raise BadInput(f"state of {len(state['clock'])} games does not fit these {self.count}")
        for name in ("position", "velocity", "landmark", "clock"):
            setattr(self, name, np.array(state[name]))
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
