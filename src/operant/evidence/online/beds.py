"""Small environments whose best scores are known: one seen as a picture, one that says which actions are allowed, one that hides how fast things move."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Catch(gymnasium.Env):
    """A ball falls through a picture of `size` × `size` × 2 bytes, straight or drifting, to be caught at the bottom (after bsuite's catch, arXiv:1908.03568).

    The first plane shows where the ball is and was a step ago (half as bright), the second the paddle; actions move it left, not at all, right. The return of
    an episode is 1 or -1. Every ball can be caught.
    """

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.observation_space = spaces.Box(0, 255, (self.size, self.size, 2), np.uint8)
        self.action_space = spaces.Discrete(3)

    def _picture(self) -> np.ndarray:
        picture = np.zeros((self.size, self.size, 2), np.uint8)
        picture[self.row, self.column, 0] = 255
        if self.row:
            picture[self.row - 1, self.before, 0] = 128
        picture[-1, self.paddle, 1] = 255
        return picture

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.row, self.paddle = 0, self.size // 2
        self.column = self.before = int(self.np_random.integers(self.size))
        self.drift = int(self.np_random.integers(-1, 2))
        return self._picture(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        last = self.size - 1
        self.paddle = min(max(self.paddle + int(action) - 1, 0), last)
        self.before, self.row = self.column, self.row + 1
        self.column += self.drift
        if not 0 <= self.column <= last:  # off the wall
            self.column, self.drift = min(max(self.column, 0), last), -self.drift
        over = self.row == last
        reward = (1.0 if self.column == self.paddle else -1.0) if over else 0.0
        return self._picture(), reward, over, False, {}


class Picks(gymnasium.Env):
    """Three of six numbers, uniform in [0, 1], are taken one after the other, none twice: its observation says which ones are left, and taking another raises.

    The return is their sum: 1.5 at random, 15 / 7 at best (the expected sum of the three largest of six).
    """

    count, rounds = 6, 3
    random, best = 1.5, 15 / 7

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            values=spaces.Box(0, 1, (self.count,), np.float32), round=spaces.Discrete(self.rounds + 1), action_mask=spaces.MultiBinary(self.count)
        )
        self.action_space = spaces.Discrete(self.count)

    def _seen(self) -> dict[str, Any]:
        return {"values": self.values.copy(), "round": self.round, "action_mask": self.left.copy()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict]:
        super().reset(seed=seed)
        self.values = self.np_random.random(self.count, dtype=np.float32)
        self.left, self.round = np.ones(self.count, np.int8), 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict]:
        if not self.left[action]:
            raise ValueError(f"number {action} is taken")
        self.left[action] = 0
        self.round += 1
        return self._seen(), float(self.values[action]), self.round == self.rounds, False, {}


class StillCartPole(gymnasium.ObservationWrapper):
    """CartPole-v1 without its velocities: a policy sees where the cart and the pole are, and how fast they move only from what it remembers. At best 500."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("CartPole-v1"))
        space = self.env.observation_space
        self.observation_space = spaces.Box(space.low[[0, 2]], space.high[[0, 2]], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[[0, 2]]


class StillPendulum(gymnasium.ObservationWrapper):
    """Pendulum-v1 without its velocity: the cosine and the sine of its angle."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        space = self.env.observation_space
        self.observation_space = spaces.Box(space.low[:2], space.high[:2], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[:2]


class Grid(gymnasium.Env):
    """A square of 5 × 5 places, seen one-hot, from whose corner an episode of 20 steps begins; four moves, and a wall stops one. The reward is 1 at the far
    corner."""

    side, steps = 5, 20
    moves = ((0, 1), (1, 0), (0, -1), (-1, 0))

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1, (self.side**2,), np.float32)
        self.action_space = spaces.Discrete(4)

    def _seen(self) -> np.ndarray:
        return np.eye(self.side**2, dtype=np.float32)[self.row * self.side + self.column]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.row = self.column = self.step_count = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        down, right = self.moves[action]
        self.row, self.column = (min(max(place + move, 0), self.side - 1) for place, move in ((self.row, down), (self.column, right)))
        self.step_count += 1
        return self._seen(), float(self.row == self.column == self.side - 1), False, self.step_count == self.steps, {}


class TwoPeaks(gymnasium.Env):
    """Episodes of one step and one number in [-1, 1], whose reward has two equal, narrow peaks of 1 at -0.6 and 0.6 and is next to none between them."""

    peaks, width = 0.6, 0.15

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        away = (abs(float(np.asarray(action).reshape(-1)[0])) - self.peaks) / self.width
        return np.zeros(1, np.float32), float(np.exp(-(away**2))), True, False, {}


class Corners(gymnasium.Env):
    """Episodes of one step and two numbers in [-1, 1], whose reward is 1 around two opposite corners of a square, (0.5, 0.5) and (-0.5, -0.5), within 0.4 in
    each number, and 0 elsewhere: what one number should be hangs on the other alone."""

    good, half = np.array([[0.5, 0.5], [-0.5, -0.5]]), 0.4

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    @classmethod
    def rewards(cls, action: np.ndarray) -> np.ndarray:
        """Of actions `[…, 2]`, `[…]`."""
        return (np.abs(action[..., None, :] - cls.good).max(-1) <= cls.half).any(-1).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), float(self.rewards(np.asarray(action))), True, False, {}


class TwoGoals(gymnasium.Env):
    """A point in the plane moves by up to 0.5 a step, from the middle, for 8 steps; both goals, left and right of it at a distance of 1, are worth the same.

    A step's reward is 1 within 0.3 of a goal, and falls with the distance beyond; in the strip between them, up to 0.4 to each side, it is 1 less, so that who
    hesitates loses. `steps` ends an episode as a time limit does.
    """

    goals, steps = np.array([[-1.0, 0.0], [1.0, 0.0]]), 8

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-4, 4, (2,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.count = np.zeros(2), 0
        return self.place.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place = np.clip(self.place + 0.5 * np.asarray(action, np.float64), -4, 4)
        self.count += 1
        away = float(np.linalg.norm(self.goals - self.place, axis=1).min())
        reward = 1.0 - max(0.0, away - 0.3) - float(abs(self.place[0]) < 0.4)
        return self.place.astype(np.float32), reward, False, self.count == self.steps, {}
