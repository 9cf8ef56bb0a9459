"""Test beds of our own, all rows in one NumPy computation: a cart-pole whose physics are levels, an arm and a maze whose endings differ in kind, and
two whose episodes have goals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import pi

import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput
from operant.core.spec import ACHIEVED, GOAL
from operant.worlds.gym.blocks import BLOCKS
from operant.worlds.gym.environments import Step
from operant.worlds.gym.native import NATIVE, NativeEnvironments
from operant.worlds.levels import Levels, Outcomes

WALLS = (  # of the maze, (x from, y from, x to, y to): the straight way from the start at (0, -0.75) to the goal at (0, 0.75) ends in a pocket
    (-0.5, 0.1, 0.5, 0.2),
    (-0.5, -0.4, -0.4, 0.2),
    (0.4, -0.4, 0.5, 0.2),
)


class LevelledEnvironments(NativeEnvironments):
    """Native environments of which each episode has a level: numbers that its physics are made of.

    A row takes the next level of its queue when an episode starts, and draws one uniformly from its own generator where the queue is empty.
    """

    levels: Levels

    def _allocate(self) -> None:
        self._level = np.zeros((self.rows, len(self.levels.names)))
        self._return = np.zeros(self.rows)
        self._queue: list[list[np.ndarray]] = [[] for _ in range(self.rows)]
        self._ended: list[tuple[int, np.ndarray, float]] = []

    def assign(self, levels: np.ndarray) -> None:
        """The levels `[R, Q, d]` of each row's next episodes, in the place of those that were still to come."""
        if levels.ndim != 3 or levels.shape[::2] != self._level.shape or not self.levels.holds(levels):
            raise BadInput(f"{self.env_id}: levels of shape {list(levels.shape)} are not [{self.rows}, Q, {len(self.levels.names)}] within their bounds")
        self._queue = [list(row) for row in levels]

    def outcomes(self) -> Outcomes:
        """The episodes that ended since this was asked last, in the order in which they ended."""
        found, self._ended = self._ended, []
        rows, levels, returns = zip(*found, strict=True) if found else ((), (), ())
        return Outcomes(np.array(rows, np.int64), np.array(levels).reshape(-1, self._level.shape[1]), np.array(returns))

    def reset(self) -> np.ndarray:
        observation = super().reset()
        self._ended = []  # what a reset cuts is no outcome
        return observation

    def _place(self, row, generator):
        self._level[row] = self._queue[row].pop(0) if self._queue[row] else generator.uniform(self.levels.low, self.levels.high)
        self._return[row] = 0.0
        return self._begin(row, generator)

    def _restart(self, observation, rows):
        self._ended += [(int(row), self._level[row].copy(), float(self._return[row])) for row in rows]
        return super()._restart(observation, rows)

    def _begin(self, row: int, generator: np.random.Generator) -> np.ndarray:
        """The start of an episode at the row's level, as `_place`."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        ended = [{"row": row, "level": level, "return": total} for row, level, total in self._ended]
        return super().state_dict() | {"queue": [np.array(row).reshape(len(row), len(self.levels.names)) for row in self._queue], "ended": ended}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._queue = [list(row) for row in state["queue"]]
        self._ended = [(item["row"], np.asarray(item["level"]), item["return"]) for item in state["ended"]]


class CartPoleLevels(LevelledEnvironments):
    """CartPole whose pole and motor are the level: half the pole's length (0.1 to 1 m), and the motor's push (-10 to 10 N).

    A push near 0 moves nothing, so that about a quarter of the levels cannot be learned, and a negative one goes the other way than the action says; the policy
    sees the level beside the state. 200 steps at most. The equations are those of `NativeCartPole`.
    """

    env_id = "cartpole-levels"
    limit = 200
    levels = Levels(("half_length", "push"), (0.1, -10.0), (1.0, 10.0))
    _saved = ("_motion", "_level", "_return")

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        high = np.array([4.8, np.inf, 0.42, np.inf, 1.0, 1.0], np.float32)
        self.observation_space, self.action_space = spaces.Box(-high, high, dtype=np.float32), spaces.Discrete(2)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        super()._allocate()
        self._motion = np.zeros((4, self.rows))  # x, x', angle, angle'
        self._way = np.array([-1.0, 1.0])

    def _begin(self, row, generator):
        self._motion[:, row] = generator.uniform(-0.05, 0.05, 4)
        return self._observe()[row]

    def _advance(self, action):
        x, speed, angle, turning = self._motion
        length, force = self._level[:, 0], self._level[:, 1] * self._chosen(self._way, action)
        cosine, sine = np.cos(angle), np.sin(angle)
        push = (force + 0.1 * length * turning**2 * sine) / 1.1
        turned = (9.8 * sine - cosine * push) / (length * (4 / 3 - 0.1 * cosine**2 / 1.1))
        moved = push - 0.1 * length * turned * cosine / 1.1
        self._motion += 0.02 * np.stack([speed, moved, turning, turned])
        self._return += 1.0
        return np.ones(self.rows, np.float32), (np.abs(self._motion[0]) > 2.4) | (np.abs(self._motion[2]) > 12 * 2 * pi / 360)

    def _observe(self):
        return np.column_stack([self._motion.T, self._level[:, 0], self._level[:, 1] / 10]).astype(np.float32)


class PlanarArm(NativeEnvironments):
    """An arm of eight joints in a plane, one step an episode: the action are the joints' angles over pi, the reward is minus their variance.

    The observation is the hand's place, at the start (0, 0); the arm is 1 long. The standard test bed of quality diversity (Mouret and Clune 2015, section 4).
    """

    env_id = "planar-arm"
    limit = 1
    joints = 8
    _saved = ("_motion",)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (self.joints,), np.float32)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        self._motion = np.zeros((2, self.rows))

    def _place(self, row, generator):
        self._motion[:, row] = 0.0
        return self._motion[:, row]

    def _advance(self, action):
        angles = np.clip(action, -1, 1).astype(np.float64) * pi
        heading = angles.cumsum(1)
        self._motion[:] = np.cos(heading).mean(1), np.sin(heading).mean(1)
        return (-angles.var(1)).astype(np.float32), np.ones(self.rows, bool)

    def _observe(self):
        return self._motion.T.astype(np.float32)


class PointMaze(NativeEnvironments):
    """A point in a square room with a pocket between it and its goal: the action is a move of at most 0.1 either way, the observation the place, [-1, 1]².

    The reward of an episode, given at its last step, is the way that is gone towards the goal, 1 there and 0 at the start: who follows it ends in the pocket.
    50 steps.
    """

    env_id = "point-maze"
    limit = 50
    start, goal = np.array([0.0, -0.75]), np.array([0.0, 0.75])
    _saved = ("_motion",)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space, self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        self._motion = np.zeros((2, self.rows))

    def _place(self, row, generator):
        self._motion[:, row] = self.start
        return self.start

    def _advance(self, action):
        for axis in (0, 1):  # a wall stops the move along one axis, and the other one goes on
            moved = self._motion.copy()
            moved[axis] = np.clip(moved[axis] + 0.1 * np.clip(action[:, axis], -1, 1), -1, 1)
            self._motion = np.where(_in_a_wall(moved), self._motion, moved)
        last = self._tick + 1 - self._start >= self.limit
        way = 1 - np.linalg.norm(self._motion - self.goal[:, None], axis=0) / 1.5
        return (way * last).astype(np.float32), np.zeros(self.rows, bool)

    def _observe(self):
        return self._motion.T.astype(np.float32)


class DensePointMaze(PointMaze):
    """The same maze with a reward at every step, a fiftieth of how near the goal is, 1 there and 0 in the farthest corner: episodes that end alike differ."""

    env_id = "point-maze-dense"
    farthest = np.hypot(1.0, 1.75)

    def _advance(self, action):
        _, over = super()._advance(action)
        near = 1 - np.linalg.norm(self._motion - self.goal[:, None], axis=0) / self.farthest
        return (near / self.limit).astype(np.float32), over


class CoverageGrid(NativeEnvironments):
    """A walk of 40 steps over a square of 20 × 20 places from its middle: a step's reward is the weight of what it senses and no step before it sensed, that of
    the first the start's too.

    A place is sensed from at most two steps away; weights are exp of a draw of a Gaussian process, the same in each episode and run, and sum to 100. What was
    sensed is not seen: the observation is row, column and step, one-hot. Five actions, to stay and four moves; a wall stops one. The bed of submodular
    reinforcement learning (arXiv:2307.13372): the return is a submodular function of the places that are visited.
    """

    env_id = "coverage-grid"
    limit = steps = 40
    side, radius = 20, 2
    moves = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])
    _saved = ("_place_of", "_sensed")

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space = spaces.Box(0.0, 1.0, (2 * self.side + self.steps,), np.float32)
        self.action_space = spaces.Discrete(len(self.moves))
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        self._near, self._weight = _sensing(self.side, self.radius)
        self._place_of = np.zeros((self.rows, 2), np.int64)
        self._sensed = np.zeros((self.rows, self.side**2), bool)
        self._codes = [np.eye(self.side, dtype=np.float32), np.eye(self.steps + 1, self.steps, dtype=np.float32)]

    def _place(self, row, generator):
        self._place_of[row] = self.side // 2
        self._sensed[row] = False
        column = self._codes[0][self.side // 2]
        return np.concatenate([column, column, self._codes[1][0]])

    def _advance(self, action):
        reward = self._sense(self._near[self._index()] & (self._tick == self._start)[:, None])
        self._place_of = np.clip(self._place_of + self._chosen(self.moves, action), 0, self.side - 1)
        reward += self._sense(self._near[self._index()])
        return reward.astype(np.float32), self._tick + 1 - self._start >= self.limit

    def _sense(self, near: np.ndarray) -> np.ndarray:
        """Sense places `[R, K]`; what that is worth in each row."""
        gain = self._gain(near)
        self._sensed |= near
        return gain

    def _gain(self, near: np.ndarray) -> np.ndarray:
        return (near & ~self._sensed) @ self._weight

    def _index(self) -> np.ndarray:
        return self._place_of @ [self.side, 1]

    def _observe(self):
        place, step = self._codes
        return np.concatenate([place[self._place_of[:, 0]], place[self._place_of[:, 1]], step[np.minimum(self._tick - self._start, self.steps)]], 1)


class ModularCoverageGrid(CoverageGrid):
    """The same walk, on which a step's reward is the weight of all that it senses, however often."""

    env_id = "coverage-grid-modular"

    def _gain(self, near):
        return near @ self._weight


@cache
def _sensing(side: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """(which places are sensed from each, `[K, K]` bool; their weights `[K]`)."""
    place = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    away = place[:, None] - place
    covariance = np.exp(-(away**2).sum(-1) / (2 * 2.0**2)) + 1e-6 * np.eye(side**2)
    weight = np.exp(np.linalg.cholesky(covariance) @ np.random.default_rng(0).normal(size=side**2))
    return np.abs(away).sum(-1) <= radius, 100 * weight / weight.sum()


class GoalEnvironments(NativeEnvironments):
    """Native environments with a goal, another one each episode: a step costs 1 until the goal is reached, which ends it and is its success.

    Goals are asked as those of Gymnasium-Robotics are.
    """

    def step(self, action: np.ndarray) -> Step:
        step = super().step(action)
        step.success = np.where(step.terminated | step.truncated, step.terminated, np.nan).astype(np.float32)
        return step

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: object) -> np.ndarray:
        """Of goals `[…, G]`, `[…]`."""
        return self.compute_terminated(achieved_goal, desired_goal, info) - 1.0

    def compute_terminated(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: object) -> np.ndarray:
        """Whether the goal is reached, `[…]` bool."""
        raise NotImplementedError

    def _paid(self, place: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(reward, terminated) of a step to `place`, `[R, G]`."""
        return self.compute_reward(place, goal, {}).astype(np.float32), self.compute_terminated(place, goal, {})


class BitFlip(GoalEnvironments):
    """Sixteen bits, of which an action flips one, to be made those of the goal within 16 steps: start and goal are uniform (arXiv:1707.01495, section 3.1).

    At random no goal is ever reached, so that all rewards are -1.
    """

    env_id = "bit-flip"
    limit = bits = 16
    _saved = ("_bits", "_goal")

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space = spaces.Dict({name: spaces.MultiBinary(self.bits) for name in (ACHIEVED, GOAL, "observation")})
        self.action_space = spaces.Discrete(self.bits)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        self._bits, self._goal = np.zeros((2, self.rows, self.bits), np.int8)
        self._flips = np.eye(self.bits, dtype=np.int8)

    def _place(self, row, generator):
        self._bits[row], self._goal[row] = generator.integers(2, size=(2, self.bits), dtype=np.int8)
        return np.concatenate([self._bits[row], self._goal[row], self._bits[row]])

    def _advance(self, action):
        self._bits ^= self._chosen(self._flips, action)
        return self._paid(self._bits, self._goal)

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return (achieved_goal == desired_goal).all(-1)

    def _observe(self):
        return np.concatenate([self._bits, self._goal, self._bits], 1).astype(np.float32)


class PointReach(GoalEnvironments):
    """A point in a square, [-1, 1]², that begins in the middle and moves by at most 0.05 either way, to come within 0.05 of a uniform goal in 50 steps."""

    env_id = "point-reach"
    limit = 50
    near = 0.05
    _saved = ("_point", "_goal")

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space = spaces.Dict({name: spaces.Box(-1.0, 1.0, (2,), np.float32) for name in (ACHIEVED, GOAL, "observation")})
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self):
        self._point, self._goal = np.zeros((2, self.rows, 2), np.float32)

    def _place(self, row, generator):
        self._point[row], self._goal[row] = 0.0, generator.uniform(-1, 1, 2)
        return np.concatenate([self._point[row], self._goal[row], self._point[row]])

    def _advance(self, action):
        self._point[:] = np.clip(self._point + 0.05 * np.clip(action, -1, 1), -1, 1)
        return self._paid(self._point, self._goal)

    def compute_terminated(self, achieved_goal, desired_goal, info):
        return np.linalg.norm(achieved_goal - desired_goal, axis=-1) <= self.near

    def _observe(self):
        return np.concatenate([self._point, self._goal, self._point], 1)


def _in_a_wall(place: np.ndarray) -> np.ndarray:
    """Of places `[2, R]`."""
    return np.any([(place[0] > a) & (place[1] > b) & (place[0] < c) & (place[1] < d) for a, b, c, d in WALLS], axis=0)


BEDS: dict[str, type[NativeEnvironments]] = {
    bed.env_id: bed for bed in (CartPoleLevels, PlanarArm, PointMaze, DensePointMaze, CoverageGrid, ModularCoverageGrid, BitFlip, PointReach, *BLOCKS)
}
BATCHED = NATIVE | BEDS
"""Every environment whose rows are one computation: those that repeat Gymnasium's, and our own."""
