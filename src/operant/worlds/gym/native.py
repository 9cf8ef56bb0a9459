"""Classic control, all rows in one NumPy computation.

Each class repeats the arithmetic of Gymnasium's environment of the same id, operation by operation, so that states, rewards and resets are the same
numbers (Gymnasium 1.x, `gymnasium.envs.classic_control`; the tests step both side by side). The state is float64, observations are float32, and each row
draws its resets from a generator of its own, as `env.reset(seed=row_seed)` followed by `env.reset()` does.

At 8 rows a step is made of fixed costs, about a quarter of a microsecond a NumPy call. So: results go into buffers that live as long as the object, constants
are zero-dimensional arrays (a Python float is converted again at each call), and the time limit costs nothing until the first row reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import pi
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from operant.core.errors import BadInput, RunFailed
from operant.core.spec import Spec
from operant.worlds.gym.check import place
from operant.worlds.gym.environments import Step
from operant.worlds.gym.spaces import Observations, action_spec, as_given, observation_spec


class NativeEnvironments:
    """What the native environments share: seeding, automatic resets, time limits, state. A subclass says how its rows move.

    Args:
        row_seeds: one seed a row, 0 or larger.
        max_episode_steps: steps after which an episode is truncated; by default those of the registered id.

    Raises:
        BadInput: no rows, a negative seed, or a limit under 1.
    """

    env_id: str
    limit: int
    observation_space: spaces.Space
    action_space: spaces.Space
    resume = "bitwise"
    _saved: tuple[str, ...]  # the arrays that the rows' motion consists of

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        if not row_seeds:
            raise BadInput(f"{self.env_id}: no row seeds; give one seed a row")
        if min(row_seeds) < 0:
            raise BadInput(f"{self.env_id}: row seed {min(row_seeds)} is negative; the nearest valid seed is 0")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise BadInput(f"{self.env_id}: max_episode_steps is {max_episode_steps}; the nearest valid value is 1")
        self.rows = len(row_seeds)
        self.limit = self.limit if max_episode_steps is None else max_episode_steps
        self._generators = [np.random.default_rng(seed) for seed in row_seeds]
        self._tick = 0  # steps of the whole group
        self._start = np.zeros(self.rows, np.int64)  # the tick at which each row's episode began
        self._first_limit = self.limit  # the tick at which the oldest episode is cut
        self._false = np.zeros(self.rows, bool)
        self._true = np.ones(self.rows, bool)
        self._allocate()
        self._observations = Observations(self.env_id, self.observation_space, self.observation_spec, self.action_spec)
        self.observation = np.zeros((self.rows, self.observation_spec.size), np.float32)

    @cached_property
    def action_spec(self) -> Spec:
        return action_spec(self.env_id, self.action_space)

    @cached_property
    def observation_spec(self) -> Spec:
        return observation_spec(self.env_id, self.observation_space, self.action_spec)

    @property
    def state(self) -> np.ndarray:
        """`[R, K]` float64 in the order of Gymnasium's `env.unwrapped.state`."""
        return self._motion.T.copy()

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        self.observation = self._playable(self._restart(np.empty_like(self.observation), range(self.rows)))
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row; rows whose episode ended restart at once. `action`: `[R]` int64, or `[R, 1]` float32 clipped to the space's bounds."""
        reward, terminated = self._advance(action)
        self._tick = tick = self._tick + 1
        observation = next_observation = self._observe()
        if tick >= self._first_limit:
            truncated = tick - self._start >= self.limit
            ended = terminated | truncated
        else:
            truncated = self._false.copy()
            ended = terminated
        if np.count_nonzero(ended):
            observation = self._restart(next_observation.copy(), ended.nonzero()[0])
        self.observation = self._playable(observation)
        return Step(observation, next_observation, reward, terminated, truncated, self._true.copy())

    def state_dict(self) -> dict:
        """The rows' motion, episode clocks and generators."""
        return {
            "env_id": self.env_id,
            "tick": self._tick,
            "start": self._start.copy(),
            "generators": [generator.bit_generator.state for generator in self._generators],
            "motion": {name: getattr(self, name).copy() for name in self._saved},
            "observation": self.observation.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Continue bit for bit. Raises `BadInput` where the state is of another environment or number of rows."""
        if state["env_id"] != self.env_id or len(state["start"]) != self.rows:
            raise BadInput(f"state of {len(state['start'])} rows of {state['env_id']} does not fit these environments: {self.rows} rows of {self.env_id}")
        self._tick = state["tick"]
        self._start[...] = state["start"]
        self._first_limit = int(self._start.min()) + self.limit
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        for name in self._saved:
            getattr(self, name)[...] = state["motion"][name]
        self.observation = np.array(state["observation"], np.float32)

    def close(self) -> None:
        """Nothing is held open."""

    def _restart(self, observation: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """New episodes in `rows`, whose first observations are written into `observation`."""
        for row in rows:
            observation[row] = self._place(row, self._generators[row])
        self._start[rows] = self._tick
        self._first_limit = int(self._start.min()) + self.limit
        return observation

    def _playable(self, observation: np.ndarray) -> np.ndarray:
        """Observations that are acted on, `[R, D]`. Raises `RunFailed` where an action mask is no mask, or forbids everything."""
        if self.observation_spec.mask is not None and (found := self._observations.forbidden(observation)) is not None:
            raise RunFailed(f"{place(self.env_id, found[0], self._tick)}: the action mask {found[1]}")
        return observation

    def _allocate(self) -> None:
        """Make the state and the buffers of a step."""
        raise NotImplementedError

    def _place(self, row: int, generator: np.random.Generator) -> np.ndarray:
        """Draw the start of an episode for one row. Returns its first observation."""
        raise NotImplementedError

    def _advance(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move every row by one step. Returns `(reward [R] float32, terminated [R] bool)`, both fresh arrays."""
        raise NotImplementedError

    def _observe(self) -> np.ndarray:
        """Fresh `[R, D]` float32 from the state, packed as `observation_spec` says."""
        raise NotImplementedError

    def _chosen(self, table: np.ndarray, action: np.ndarray) -> np.ndarray:
        """The entry of `table` for each row's discrete action."""
        try:
            return table[action]
        except IndexError:
            raise BadInput(f"{self.env_id}: action {np.asarray(action).tolist()} is not one integer from 0 to {len(table) - 1} a row") from None


class OneRow(gymnasium.Env):
    """One row of native environments as an environment by itself: with the same seed the same episodes, to the last bit.

    Args:
        rows: makes them, from one seed each.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, rows: type[NativeEnvironments], render_mode: str | None = None):
        self._rows, self.render_mode = rows([0]), render_mode
        self.observation_space, self.action_space = self._rows.observation_space, self._rows.action_space
        self.spec = EnvSpec(rows.env_id, max_episode_steps=self._rows.limit)
        self._next: np.ndarray | None = None  # the first observation of the next episode, which began where the last one ended

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._rows._generators[0] = self.np_random
        seen = self._rows.reset()[0] if seed is not None or self._next is None else self._next
        self._next = None
        return self._seen(seen), {}

    def step(self, action: Any) -> tuple:
        self._rows._generators[0] = self.np_random
        step = self._rows.step(np.asarray(action)[None])
        over, cut = bool(step.terminated[0]), bool(step.truncated[0])
        if over or cut:
            self._next = step.observation[0]
        info = {} if step.success is None else {"is_success": bool(step.success[0] == 1)}
        return self._seen(step.next_observation[0]), float(step.reward[0]), over, cut, info

    def _seen(self, row: np.ndarray) -> Any:
        spec = self._rows.observation_spec
        parts = {field.name: as_given(field, row[None, spec.slices[field.name]])[0] for field in spec.fields}
        return parts if isinstance(self.observation_space, spaces.Dict) else parts["observation"]

    def state_dict(self) -> dict:
        """All but what `np_random` is at."""
        return {name: value for name, value in self._rows.state_dict().items() if name != "generators"} | {"next": self._next}

    def load_state_dict(self, state: dict) -> None:
        self._next = state["next"]
        self._rows.load_state_dict(state | {"generators": [self.np_random.bit_generator.state]})


# CartPole: Barto, Sutton and Anderson (1983); the equations are those of R. V. Florian, "Correct equations for the dynamics of the cart-pole system" (2007).
_FORCE = np.array([-10.0, 10.0])  # N
_GRAVITY = np.array(9.8)  # m/s²
_POLE_MASS = np.array(0.1)  # kg
_TOTAL_MASS = np.array(0.1 + 1.0)
_HALF_LENGTH = np.array(0.5)  # m
_POLE_MASS_LENGTH = np.array(0.1 * 0.5)
_FOUR_THIRDS = np.array(4.0 / 3.0)
_CART_TIME_STEP = np.array(0.02)  # s
_MAX_ANGLE = 12 * 2 * pi / 360  # rad
_MAX_POSITION = 2.4  # m


class NativeCartPole(NativeEnvironments):
    """CartPole-v1: state (position, velocity, angle, angular velocity), reward 1 a step, 500 steps at most."""

    env_id = "CartPole-v1"
    limit = 500
    _saved = ("_coordinates",)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        high = np.array([_MAX_POSITION * 2, np.inf, _MAX_ANGLE * 2, np.inf], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.action_space = spaces.Discrete(2)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self) -> None:
        # Rows of the buffer: positions, their rates, and the rates' rates, so that one shifted product integrates all four coordinates.
        buffer = np.zeros((6, self.rows))  # x, angle, x', angle', x'', angle''
        self._coordinates, self._rates, self._positions = buffer[:4], buffer[2:], buffer[:2]
        self._angle, self._angle_rate, self._x_acceleration, self._angle_acceleration = buffer[1], buffer[3], buffer[4], buffer[5]
        self._ordered = self._coordinates.reshape(2, 2, self.rows).transpose(2, 1, 0)  # [R, (x, angle), (value, rate)]
        self._increment = np.empty((4, self.rows))
        self._cosine, self._sine, self._push, self._scratch = np.empty((4, self.rows))
        self._distance, self._outside = np.empty((2, self.rows)), np.empty((2, self.rows), bool)
        self._bounds = np.array([[_MAX_POSITION], [_MAX_ANGLE]])
        self._one = np.ones(self.rows, np.float32)

    @property
    def state(self) -> np.ndarray:
        """`[R, 4]` float64: position, velocity, angle, angular velocity."""
        return self._ordered.copy(order="C").reshape(self.rows, 4)

    def _place(self, row, generator):
        self._ordered[row].flat = start = generator.uniform(-0.05, 0.05, 4)
        return start

    def _advance(self, action):
        cosine, sine, push, scratch = self._cosine, self._sine, self._push, self._scratch
        np.cos(self._angle, cosine)
        np.sin(self._angle, sine)
        np.square(self._angle_rate, push)
        np.multiply(_POLE_MASS_LENGTH, push, push)
        np.multiply(push, sine, push)
        np.add(self._chosen(_FORCE, action), push, push)
        np.divide(push, _TOTAL_MASS, push)
        # angle'' = (g sin - cos push) / (l (4/3 - m cos² / M))
        np.multiply(_GRAVITY, sine, sine)
        np.multiply(cosine, push, scratch)
        np.subtract(sine, scratch, sine)
        np.square(cosine, scratch)
        np.multiply(_POLE_MASS, scratch, scratch)
        np.divide(scratch, _TOTAL_MASS, scratch)
        np.subtract(_FOUR_THIRDS, scratch, scratch)
        np.multiply(_HALF_LENGTH, scratch, scratch)
        np.divide(sine, scratch, self._angle_acceleration)
        # x'' = push - m l angle'' cos / M
        np.multiply(_POLE_MASS_LENGTH, self._angle_acceleration, scratch)
        np.multiply(scratch, cosine, scratch)
        np.divide(scratch, _TOTAL_MASS, scratch)
        np.subtract(push, scratch, self._x_acceleration)
        np.multiply(_CART_TIME_STEP, self._rates, self._increment)
        np.add(self._coordinates, self._increment, self._coordinates)
        np.absolute(self._positions, self._distance)
        np.greater(self._distance, self._bounds, self._outside)
        return self._one.copy(), np.logical_or(self._outside[0], self._outside[1])

    def _observe(self):
        return self._ordered.astype(np.float32, order="C").reshape(self.rows, 4)


class NativeCartPoleV0(NativeCartPole):
    """CartPole-v0: as CartPole-v1, 200 steps at most."""

    env_id = "CartPole-v0"
    limit = 200


# MountainCar: A. W. Moore, "Efficient Memory-Based Learning for Robot Control" (1990).
_HILL_GRAVITY = np.array(0.0025)
_THREE = np.array(3.0)
_THREE_32 = np.array(3.0, np.float32)
_LEFT, _RIGHT = np.array(-1.2), np.array(0.6)
_SPEED = np.array(0.07)
_ZERO = np.array(0.0)


def _hill_space() -> spaces.Box:
    return spaces.Box(np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32), dtype=np.float32)


class NativeMountainCar(NativeEnvironments):
    """MountainCar-v0: state (position, velocity), three pushes, reward -1 a step until position 0.5, 200 steps at most."""

    env_id = "MountainCar-v0"
    limit = 200
    _saved = ("_motion",)
    _push = np.array([-0.001, 0.0, 0.001])
    _goal = np.array(0.5)
    action_space = spaces.Discrete(3)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        self.observation_space = _hill_space()
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self) -> None:
        self._motion = np.zeros((2, self.rows))
        self._position, self._velocity = self._motion
        self._by_row = self._motion.T
        self._slope = np.empty(self.rows)
        self._wall, self._back = np.empty((2, self.rows), bool)
        self._minus_one = -np.ones(self.rows, np.float32)

    def _place(self, row, generator):
        start = (generator.uniform(-0.6, -0.4), 0.0)
        self._by_row[row] = start
        return start

    def _advance(self, action):
        position, velocity, slope = self._position, self._velocity, self._slope
        np.multiply(_THREE, position, slope)
        np.cos(slope, slope)
        np.multiply(slope, _HILL_GRAVITY, slope)
        np.subtract(self._chosen(self._push, action), slope, slope)
        np.add(velocity, slope, velocity)
        _hold(velocity, -_SPEED, _SPEED)
        np.add(position, velocity, position)
        _hold(position, _LEFT, _RIGHT)
        self._stop_at_wall(_LEFT)
        np.greater_equal(velocity, _ZERO, self._back)
        return self._minus_one.copy(), np.greater_equal(position, self._goal) & self._back

    def _stop_at_wall(self, wall: np.ndarray) -> None:
        """A car that is pushed into the left wall stands still."""
        np.equal(self._position, wall, self._wall)
        if np.count_nonzero(self._wall):
            np.less(self._velocity, _ZERO, self._back)
            np.logical_and(self._wall, self._back, self._wall)
            np.copyto(self._velocity, 0.0, where=self._wall)

    def _observe(self):
        return self._by_row.astype(np.float32, order="C")


# Gymnasium's continuous car keeps a float32 state after the first step, so its constants act as float32 numbers too.
_SPEED_32, _LEFT_32, _RIGHT_32, _GOAL_32 = (np.array(np.float32(value), np.float64) for value in (0.07, -1.2, 0.6, 0.45))
_POWER_32 = np.array(0.0015, np.float32)
_ACTION_COST = np.array(0.1)
_HUNDRED = np.array(100.0)


class NativeMountainCarContinuous(NativeMountainCar):
    """MountainCarContinuous-v0: state (position, velocity), one push in [-1, 1], reward 100 at position 0.45 less 0.1 push² a step, 999 steps at most."""

    env_id = "MountainCarContinuous-v0"
    limit = 999
    _saved = ("_motion", "_three_positions")
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def _allocate(self) -> None:
        super()._allocate()
        # Three times the position: of a float64 number at the start of an episode, of a float32 number afterwards.
        self._three_positions = np.zeros(self.rows)

    def _place(self, row, generator):
        start = super()._place(row, generator)
        self._three_positions[row] = 3 * start[0]
        return start

    def _advance(self, action):
        position, velocity, slope = self._position, self._velocity, self._slope
        push = np.minimum(np.maximum(np.asarray(action, np.float32).reshape(self.rows), np.float32(-1)), np.float32(1))
        np.cos(self._three_positions, slope)
        np.multiply(slope, _HILL_GRAVITY, slope)
        # The sums are taken in float64 and rounded once, which is what a float32 sum of float32 numbers is.
        np.add(velocity, push * _POWER_32 - slope.astype(np.float32), velocity)
        velocity[...] = velocity.astype(np.float32)
        _hold(velocity, -_SPEED_32, _SPEED_32)
        np.add(position, velocity, position)
        rounded = position.astype(np.float32)
        position[...] = rounded
        _hold(position, _LEFT_32, _RIGHT_32)
        np.multiply(_THREE_32, position.astype(np.float32), self._three_positions)
        self._stop_at_wall(_LEFT_32)
        np.greater_equal(velocity, _ZERO, self._back)
        terminated = np.greater_equal(position, _GOAL_32) & self._back
        exact = push.astype(np.float64)
        return (terminated * _HUNDRED - exact * exact * _ACTION_COST).astype(np.float32), terminated


# Pendulum
_MAX_TORQUE = np.array(2.0, np.float32)  # N m
_PENDULUM_TIME_STEP = np.array(0.05)  # s
_MAX_PENDULUM_SPEED = np.array(8.0)  # rad/s
_PI, _TWO_PI = np.array(pi), np.array(2 * pi)
_FIFTEEN = np.array(15.0)  # 3 g / (2 l)
_THREE_TORQUE = np.array(3.0, np.float32)  # 3 / (m l²)
_SPEED_COST, _TORQUE_COST = np.array(0.1), np.array(0.001, np.float32)


class NativePendulum(NativeEnvironments):
    """Pendulum-v1: state (angle, angular velocity), torque in [-2, 2], reward -(angle² + 0.1 speed² + 0.001 torque²), 200 steps, never terminates."""

    env_id = "Pendulum-v1"
    limit = 200
    _saved = ("_motion",)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        high = np.array([1.0, 1.0, 8.0], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self) -> None:
        self._motion = np.zeros((2, self.rows))
        self._angle, self._speed = self._motion
        self._scratch, self._cost = np.empty((2, self.rows))

    def _place(self, row, generator):
        self._motion[:, row] = angle, speed = generator.uniform(low=(-pi, -1.0), high=(pi, 1.0))
        return np.cos(angle), np.sin(angle), speed

    def _advance(self, action):
        angle, speed, scratch, cost = self._angle, self._speed, self._scratch, self._cost
        torque = np.minimum(np.maximum(np.asarray(action, np.float32).reshape(self.rows), -_MAX_TORQUE), _MAX_TORQUE)
        np.add(angle, _PI, cost)
        np.remainder(cost, _TWO_PI, cost)
        np.subtract(cost, _PI, cost)
        np.square(cost, cost)
        np.square(speed, scratch)
        np.multiply(_SPEED_COST, scratch, scratch)
        np.add(cost, scratch, cost)
        np.add(cost, _TORQUE_COST * np.square(torque), cost)
        np.sin(angle, scratch)
        np.multiply(_FIFTEEN, scratch, scratch)
        np.add(scratch, _THREE_TORQUE * torque, scratch)
        np.multiply(scratch, _PENDULUM_TIME_STEP, scratch)
        np.add(speed, scratch, speed)
        _hold(speed, -_MAX_PENDULUM_SPEED, _MAX_PENDULUM_SPEED)
        np.multiply(speed, _PENDULUM_TIME_STEP, scratch)
        np.add(angle, scratch, angle)
        return np.negative(cost).astype(np.float32), self._false.copy()

    def _observe(self):
        observation = np.empty((self.rows, 3), np.float32)
        observation[:, 0] = np.cos(self._angle)
        observation[:, 1] = np.sin(self._angle)
        observation[:, 2] = self._speed
        return observation


# Acrobot: R. S. Sutton, "Generalization in Reinforcement Learning: Successful Examples Using Sparse Coarse Coding" (NeurIPS 1995), in the book's form.
_TORQUE = np.array([-1.0, 0.0, 1.0])  # N m
_ACROBOT_TIME_STEP = np.array(0.2)  # s
_HALF_STEP, _SIXTH_STEP = np.array(0.2 / 2.0), np.array(0.2 / 6.0)
_MAX_SPEEDS = np.array([[4 * pi], [9 * pi]])  # rad/s
_HALF_PI = np.array(pi / 2.0)
_LOWER_WEIGHT, _UPPER_WEIGHT = np.array(0.5 * 9.8), np.array(1.5 * 9.8)
_QUARTER, _HALF, _ONE, _FIVE_QUARTERS, _TWO = (np.array(value) for value in (0.25, 0.5, 1.0, 1.25, 2.0))


class NativeAcrobot(NativeEnvironments):
    """Acrobot-v1: state (two angles, two angular velocities), torque -1, 0 or 1 on the lower joint, reward -1 a step until the tip is up, 500 steps at most."""

    env_id = "Acrobot-v1"
    limit = 500
    _saved = ("_motion",)

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        high = np.array([1.0, 1.0, 1.0, 1.0, 4 * pi, 9 * pi], np.float32)
        self.observation_space = spaces.Box(-high, high, dtype=np.float32)
        self.action_space = spaces.Discrete(3)
        super().__init__(row_seeds, max_episode_steps)

    def _allocate(self) -> None:
        self._motion = np.zeros((4, self.rows))
        self._angles, self._speeds = self._motion[:2], self._motion[2:]
        self._slopes = np.empty((4, 4, self.rows))  # of the four stages
        self._stage, self._sum = np.empty((2, 4, self.rows))
        self._turned = np.empty((3, self.rows))

    def _place(self, row, generator):
        # Gymnasium rounds the start to float32, and takes its cosines in float32 too.
        start = generator.uniform(-0.1, 0.1, 4).astype(np.float32)
        self._motion[:, row] = start
        return np.cos(start[0]), np.sin(start[0]), np.cos(start[1]), np.sin(start[1]), start[2], start[3]

    def _advance(self, action):
        torque = self._chosen(_TORQUE, action)
        motion, stage, total = self._motion, self._stage, self._sum
        first, second, third, fourth = self._slopes
        self._derivative(motion, torque, first)
        np.multiply(_HALF_STEP, first, stage)
        np.add(motion, stage, stage)
        self._derivative(stage, torque, second)
        np.multiply(_HALF_STEP, second, stage)
        np.add(motion, stage, stage)
        self._derivative(stage, torque, third)
        np.multiply(_ACROBOT_TIME_STEP, third, stage)
        np.add(motion, stage, stage)
        self._derivative(stage, torque, fourth)
        np.multiply(_TWO, second, second)
        np.multiply(_TWO, third, third)
        np.add(first, second, total)
        np.add(total, third, total)
        np.add(total, fourth, total)
        np.multiply(_SIXTH_STEP, total, total)
        np.add(motion, total, motion)
        angles = self._angles
        while np.count_nonzero(above := angles > _PI):
            np.subtract(angles, _TWO_PI, angles, where=above)
        while np.count_nonzero(below := angles < -_PI):
            np.add(angles, _TWO_PI, angles, where=below)
        _hold(self._speeds, -_MAX_SPEEDS, _MAX_SPEEDS)
        terminated = -np.cos(angles[0]) - np.cos(angles[1] + angles[0]) > _ONE
        return terminated.astype(np.float32) - np.float32(1), terminated

    def _derivative(self, motion: np.ndarray, torque: np.ndarray, out: np.ndarray) -> None:
        """Time derivative `[4, R]` of (angle 1, angle 2, speed 1, speed 2): two links of 1 m and 1 kg, centres of mass half-way, moments of inertia 1 kg m²."""
        # float_power is the C library's pow, as in Gymnasium's scalars; a product differs from it in the last bit now and then, and the acrobot is chaotic.
        angle_1, angle_2, speed_1, speed_2 = motion
        turned = self._turned
        np.subtract(angle_1, _HALF_PI, turned[0])
        np.add(angle_1, angle_2, turned[1])
        np.subtract(turned[1], _HALF_PI, turned[1])
        turned[2] = angle_2
        sine = np.sin(angle_2)
        cosine_1, cosine_12, cosine_2 = np.cos(turned, turned)
        d1 = _QUARTER + (_FIVE_QUARTERS + cosine_2) + _ONE + _ONE
        d2 = _QUARTER + _HALF * cosine_2 + _ONE
        phi2 = _LOWER_WEIGHT * cosine_12
        phi1 = -_HALF * np.float_power(speed_2, _TWO) * sine - speed_2 * speed_1 * sine + _UPPER_WEIGHT * cosine_1 + phi2
        out[:2] = motion[2:]
        acceleration_2 = (torque + d2 / d1 * phi1 - _HALF * np.float_power(speed_1, _TWO) * sine - phi2) / (_FIVE_QUARTERS - np.float_power(d2, _TWO) / d1)
        out[3] = acceleration_2
        np.divide(-(d2 * acceleration_2 + phi1), d1, out[2])

    def _observe(self):
        observation = np.empty((self.rows, 6), np.float32)
        observation[:, 0:4:2] = np.cos(self._angles).T
        observation[:, 1:4:2] = np.sin(self._angles).T
        observation[:, 4:] = self._speeds.T
        return observation


def _hold(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Clip in place; two plain calls are several times cheaper than `np.clip`."""
    np.maximum(values, low, out=values)
    np.minimum(values, high, out=values)


NATIVE: dict[str, type[NativeEnvironments]] = {
    environment.env_id: environment
    for environment in (NativeCartPole, NativeCartPoleV0, NativeMountainCar, NativeMountainCarContinuous, NativePendulum, NativeAcrobot)
}
