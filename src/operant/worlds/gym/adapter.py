"""Any Gymnasium environment as rows that restart by themselves: single environments, the user's vector environments, and the choice between these and
the native ones.

Rows are stepped one after the other and reset at once where an episode ended, so that every transition carries its true outcome. Gymnasium's own
automatic resets are used only where a vector environment already has them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import PassiveEnvChecker, TimeLimit

from operant.core.errors import CODE, BadInput, one_line
from operant.core.seeds import derive_seed
from operant.core.spec import ACTION_MASK, Spec
from operant.worlds.gym import atari, snapshot
from operant.worlds.gym.beds import BATCHED, BEDS
from operant.worlds.gym.check import (
    PATIENCE,
    SUCCESS,
    WATCH,
    Late,
    Reader,
    closed,
    from_info,
    from_nowhere,
    masks_of,
    place,
    raised,
    seeded,
    time_limit,
    too_late,
)
from operant.worlds.gym.environments import Environments, Step, successes
from operant.worlds.gym.ids import missing_package, registered
from operant.worlds.gym.minatar import MinAtarGame
from operant.worlds.gym.native import OneRow
from operant.worlds.gym.objects import Rows
from operant.worlds.gym.spaces import Actions
from operant.worlds.gym.tensors import TensorEnvironment, TensorRows
from operant.worlds.gym.views import PLAIN, View, within
from operant.worlds.gym.wrappers import changed_rewards, refuse_statistics


def _making(make: Callable[[], Any], name: str, where: str, seconds: float = PATIENCE) -> Any:
    """What `make` makes. Raises `BadInput` for a missing package, `RunFailed` where it raised or took too long."""
    try:
        with time_limit(seconds, f"{where}: making the environment"):
            return make()
    except (ImportError, DependencyNotInstalled) as error:
        raise missing_package(name, error) from error
    except BaseException as error:
        raise raised(where, "making the environment", error) from error


class GymnasiumEnvironments:
    """Rows that each hold one Gymnasium environment.

    Args:
        make: makes one environment; called once a row.
        row_seeds: one seed a row: `env.reset(seed=row_seed)` at first, `env.reset()` afterwards. An environment that takes no seed so large gets the
            remainder by 2³¹.
        name: what messages call the environment.
        start_seconds: how long making or resetting one environment may take (enforced on the main thread, see `check.time_limit`).
        view: how each is seen and acted on.

    Raises:
        BadInput: a space that is not supported, a missing package, no rows.
        RunFailed: the environment raised, took too long, or broke the Gymnasium API; at any later call too.
    """

    def __init__(
        self, make: Callable[[], gymnasium.Env], row_seeds: Sequence[int], name: str, start_seconds: float = PATIENCE, view: View = PLAIN
    ):
        if not row_seeds:
            raise BadInput(f"environment {name!r}: no row seeds; give one seed a row")
        self.name = name
        self.rows = len(row_seeds)
        self._seeds = [int(seed) for seed in row_seeds]
        self._start_seconds, self._view = start_seconds, view
        self._steps = 0
        self._started = self._known = False
        self._watching: bool | None = None  # None before the first step
        self.envs: list[gymnasium.Env] = []
        try:
            for row in range(self.rows):
                self.envs.append(self._made(make.of_row(row) if isinstance(make, Rows) else make, row))
            self.observation_space, self.action_space = _spaces(name, self.envs[0])
            for row, env in enumerate(self.envs):
                if (env.observation_space, env.action_space) != (self.observation_space, self.action_space):
                    raise BadInput(f"{place(name, row)}: its spaces differ from those of the first row; all rows share one observation and one action space")
        except BaseException:
            self.close()
            raise
        self.resume = "bitwise" if all(map(snapshot.resumable, self.envs)) else "episode-boundary"
        self.limit = limit_of(self.envs[0], view)
        self._actions = Actions(name, self.action_space)
        self.action_spec = self._actions.spec
        self._reader = Reader(name, self.observation_space, self.action_spec)
        self._true = np.ones(self.rows, bool)
        self.observation = np.zeros((self.rows, self._reader.size), np.float32)

    @property
    def observation_spec(self) -> Spec:
        return self._reader.spec

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        begun = [self._begun(row, None if self._started else seed) for row, seed in enumerate(self._seeds)]
        observation = np.empty((self.rows, self._reader.size), np.float32)  # as wide as the first reset says
        for row, (seen, info) in enumerate(begun):
            self._read(row, observation, seen, info)
        self._check(observation)
        self._started = True
        self.observation = observation
        return observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row; rows whose episode ended restart at once. `action`: `[R]` integers, or `[R, A]` floats that are clipped to the bounds."""
        actions, reader, steps = self._actions.to_environment(action, self.rows), self._reader, self._steps
        next_observation = np.empty_like(self.observation)
        reward = np.empty(self.rows, np.float32)
        terminated = np.zeros(self.rows, bool)
        truncated = np.zeros(self.rows, bool)
        if self._watching is None:
            self._watching = WATCH.open(self._start_seconds)
        if self._watching:
            WATCH.step = actions
        try:
            ended, told = self._step_rows(actions, next_observation, reward, terminated, truncated)
        except Late:
            raise too_late(place(self.name, self._at, steps), self._start_seconds) from None
        finally:
            WATCH.step = None
        reader.finite(next_observation, steps)
        self._steps = steps + 1
        observation = next_observation
        if ended:
            observation = next_observation.copy()
            for row in ended:
                self._read(row, observation, *self._begun(row))
            reader.finite(observation, self._steps)
        reader.playable(observation, self._steps)
        self.observation = observation
        return Step(observation, next_observation, reward, terminated, truncated, self._true.copy(), successes(self.rows, ended, told=told))

    def _step_rows(
        self, actions: Any, next_observation: np.ndarray, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray
    ) -> tuple[dict[int, float | None], bool]:
        """Act in every row, one after the other, and write what came of it.

        Returns:
            the rows whose episode ended, and if it succeeded, where that is said; and whether success is spoken of in any row.
        """
        reader, steps = self._reader, self._steps
        ended, told = {}, False
        for row, env in enumerate(self.envs):
            self._at = row
            try:
                result = env.step(self._actions.of_row(actions, row))
            except BaseException as error:
                raise raised(place(self.name, row, steps), "step", error) from error
            seen, gain, over, cut, info = reader.step_result(result, row, steps)
            reader.observation(seen, next_observation, row, steps)
            reward[row] = reader.reward(gain, row, steps)
            over, cut = reader.flag(over, "terminated", row, steps), reader.flag(cut, "truncated", row, steps)
            reader.mask(env, info, next_observation, row, steps, ended=over or cut)
            told = told or info.get(SUCCESS) is not None
            if over or cut:
                terminated[row], truncated[row] = over, cut
                ended[row] = reader.success(info, row, steps)
        return ended, told

    def begins_alike(self) -> bool:
        """Whether the first row's seed begins the same episode each time; before any is begun in earnest."""
        first, second = (self._first(self._begun(0, self._seeds[0])) for _ in range(2))
        return np.array_equal(first, second)

    def _first(self, begun: tuple[object, dict]) -> np.ndarray:
        found = np.zeros((1, self._reader.size), np.float32)  # a mask that comes beside the observation is not written
        self._reader.observation(begun[0], found, 0, self._steps)
        return found

    def state_dict(self) -> dict:
        """The rows' state where the environments can give it; otherwise where to begin new episodes."""
        state = {"name": self.name, "rows": self.rows, "steps": self._steps, "started": self._started, "environments": None}
        if self.resume == "bitwise" and self._started:
            try:
                state["environments"] = [snapshot.take(env) for env in self.envs]
            except snapshot.NotPlain:  # an attribute that appeared after the start
                self.resume = "episode-boundary"
        return state | {"resume": self.resume, "observation": self.observation.copy()}

    def load_state_dict(self, state: dict) -> None:
        """Continue bit for bit, or, where `resume` is "episode-boundary", begin new episodes (seeded by the number of steps made); see `observation`.

        Raises:
            BadInput: the state is of another environment or number of rows.
            RunFailed: the environment raised.
        """
        if state["name"] != self.name or state["rows"] != self.rows:
            raise BadInput(f"state of {state['rows']} rows of {state['name']!r} does not fit these environments: {self.rows} rows of {self.name!r}")
        self._steps, self._started, self.resume = state["steps"], state["started"], state["resume"]
        self.observation = np.array(state["observation"], np.float32)
        if not self._started:
            return
        for row, seed in enumerate(self._seeds):
            # What an environment makes in its first reset has to be there before its state is put back.
            self._read(row, self.observation, *self._begun(row, derive_seed(seed, "resume", self._steps) % 2**31))
        if state["environments"] is None:
            self._check(self.observation)
            return
        self.observation = np.array(state["observation"], np.float32)
        for row, (env, saved) in enumerate(zip(self.envs, state["environments"], strict=True)):
            try:
                snapshot.restore(env, saved)
            except BaseException as error:
                raise raised(place(self.name, row, self._steps), "restoring its state", error) from error

    def taken(self, row: int) -> list[dict]:
        """The state of one row, which `place` takes. Of rows that are `resume`d "bitwise" alone."""
        return snapshot.take(self.envs[row])

    def place(self, row: int, state: list[dict], observation: np.ndarray) -> None:
        """Go on in a row from a state of `taken`, in which `observation [D]` is seen; its own generator goes on, so that later resets are others."""
        try:
            snapshot.restore(self.envs[row], state, generator=False)
        except BaseException as error:
            raise raised(place(self.name, row, self._steps), "putting a state into it", error) from error
        self.observation = self.observation.copy()  # what a step gave is the caller's
        self.observation[row] = observation

    def restarted(self, row: int) -> np.ndarray:
        """Start a new episode in one row. Returns `[D]`."""
        self.observation = self.observation.copy()
        self._read(row, self.observation, *self._begun(row))
        self._check(self.observation)
        return self.observation[row]

    def close(self) -> None:
        """Close every environment."""
        if self._watching:
            self._watching = None
            WATCH.close(self._start_seconds)
        for row, env in enumerate(self.envs):
            closed(env, place(self.name, row), self._start_seconds)

    def _made(self, make: Callable[[], gymnasium.Env], row: int) -> gymnasium.Env:
        where = place(self.name, row)
        env = _making(make, self.name, where, self._start_seconds)
        if isinstance(env, VectorEnv | TensorEnvironment):
            raise BadInput(f"environment {self.name!r} is a {type(env).__name__}, which steps all of its rows at once: it has no single environment")
        if not isinstance(env, gymnasium.Env):
            raise BadInput(f"{where}: making it gave a {type(env).__module__}.{type(env).__name__}; expected a gymnasium.Env")
        return _row(env, self.name, self._view)

    def _begun(self, row: int, seed: int | None = None) -> tuple[object, dict]:
        """Start an episode in one row: (observation, info). The first one ever tells where action masks come from."""
        where = place(self.name, row, self._steps)
        try:
            with time_limit(self._start_seconds, f"{where}: reset"):
                result = self.envs[row].reset() if seed is None else seeded(lambda small: self.envs[row].reset(seed=small(seed)), seed)
        except BaseException as error:
            raise raised(where, "reset", error) from error
        seen, info = self._reader.reset_result(result, row, self._steps)
        if not self._known:
            self._known = True
            self._reader.find_mask(masks_of(self.envs[row], info))
        return seen, info

    def _read(self, row: int, observation: np.ndarray, seen: object, info: dict) -> None:
        """Write what a row's reset gave into `observation[row]`."""
        self._reader.observation(seen, observation, row, self._steps)
        self._reader.mask(self.envs[row], info, observation, row, self._steps)

    def _check(self, observation: np.ndarray) -> None:
        self._reader.finite(observation, self._steps)
        self._reader.playable(observation, self._steps)


class VectorEnvironments:
    """Rows that are a user's `gymnasium.vector.VectorEnv`, whatever its automatic reset.

    Under NEXT_STEP the step after an episode's end ignores the action and is marked `valid=False`. Under SAME_STEP the true outcome is read from
    `final_obs`. Under DISABLED the ended rows are reset here, by `reset(options={"reset_mask": …})`. A vector environment cannot give its state, so it
    resumes at an episode boundary.

    Args:
        vector_env: the environment; its `metadata["autoreset_mode"]` says the mode.
        seeds: one seed a row. Gymnasium's Sync and Async environments get the list; others, whose `reset` takes one integer, get one made of all.
        name: what messages call the environment.
        start_seconds: how long a reset may take (enforced on the main thread).

    Raises:
        BadInput: no mode, a space that is not supported, a number of seeds that is not the number of rows.
        RunFailed: the environment raised, took too long, or broke the Gymnasium API; at any later call too.
    """

    resume = "episode-boundary"

    def __init__(self, vector_env: VectorEnv, seeds: Sequence[int], name: str, start_seconds: float = PATIENCE):
        self.name = name
        self.vector_env = vector_env
        self.rows = vector_env.num_envs
        if len(seeds) != self.rows:
            raise BadInput(f"environment {name!r}: {len(seeds)} seeds for {self.rows} rows; give one seed a row")
        self._seeds = [int(seed) for seed in seeds]
        try:
            self.mode = AutoresetMode((vector_env.metadata or {}).get("autoreset_mode"))
        except ValueError:
            modes = ", ".join(f"AutoresetMode.{mode.name}" for mode in AutoresetMode)
            raise BadInput(f"environment {name!r}: its metadata['autoreset_mode'] is missing or unknown; set it to one of {modes}") from None
        refuse_statistics(name, vector_env)
        self.observation_space, self.action_space = _spaces(name, vector_env, "single_")
        self._start_seconds = start_seconds
        self._actions = Actions(name, self.action_space)
        self.action_spec = self._actions.spec
        self._reader = Reader(name, self.observation_space, self.action_spec)
        self._steps = 0
        self._started = self._known = False
        self._watching: bool | None = None  # None before the first step
        self._ended, self._all = np.zeros(self.rows, bool), np.ones(self.rows, bool)
        self.limit = None if vector_env.spec is None else vector_env.spec.max_episode_steps
        self.observation = np.zeros((self.rows, self._reader.size), np.float32)

    @property
    def observation_spec(self) -> Spec:
        return self._reader.spec

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        return self._begin({} if self._started else {"seed": self._seed(self._seeds)})

    def step(self, action: np.ndarray) -> Step:
        """Act in every row. `action`: `[R]` integers, or `[R, A]` floats that are clipped to the bounds."""
        where, reader, steps = place(self.name, step=self._steps), self._reader, self._steps
        actions = self._actions.to_environment(action, self.rows)
        if self._watching is None:
            self._watching = WATCH.open(self._start_seconds)
        if self._watching:
            WATCH.step = where
        try:
            result = self.vector_env.step(actions)
        except Late:
            raise too_late(where, self._start_seconds) from None
        except BaseException as error:
            raise raised(where, "step", error) from error
        finally:
            WATCH.step = None
        seen, gains, over, cut, info = reader.step_result(result, None, steps)
        for what, value in (("rewards", gains), ("terminations", over), ("truncations", cut)):
            if np.shape(value) != (self.rows,):
                raise reader.broken(None, steps, f"{what} have shape {np.shape(value)}; expected ({self.rows},)")
        reward = np.array([reader.reward(value, row, steps) for row, value in enumerate(gains)], np.float32)
        terminated = np.array([reader.flag(value, "terminated", row, steps) for row, value in enumerate(over)])
        truncated = np.array([reader.flag(value, "truncated", row, steps) for row, value in enumerate(cut)])
        ended = terminated | truncated
        observation = next_observation = self._read(seen, info, ended if self.mode is not AutoresetMode.SAME_STEP else np.zeros(self.rows, bool))
        valid = ~self._ended if self.mode is AutoresetMode.NEXT_STEP else np.ones(self.rows, bool)
        last = info.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else info
        said = {row: reader.success(self._said(last, row), row, steps) for row in ended.nonzero()[0].tolist()} if SUCCESS in last else {}
        told = any(self._said(source, row).get(SUCCESS) is not None for source in (last, info) if SUCCESS in source for row in range(self.rows))
        self._steps += 1
        self._ended = ended
        self.observation = observation
        if ended.any():
            if self.mode is AutoresetMode.NEXT_STEP and reader.spec.mask is not None:
                observation[ended, reader.spec.mask] = 1.0  # the next action is ignored
            if self.mode is AutoresetMode.SAME_STEP:
                if "final_obs" not in info:
                    raise reader.broken(None, steps, "under SAME_STEP info['final_obs'] holds the last observation of each row that ended; it is missing")
                next_observation = observation.copy()
                for row in ended.nonzero()[0].tolist():
                    reader.observation(_final(info["final_obs"], row), next_observation, row, steps)
                    reader.mask(self.vector_env, self._row_info(last, row), next_observation, row, steps, ended=True)
                reader.finite(next_observation, steps)
            elif self.mode is AutoresetMode.DISABLED:
                fresh = self._begin({"options": {"reset_mask": ended.copy()}})
                observation = np.where(ended[:, None], fresh, next_observation)
                self.observation = observation
        reader.playable(observation, steps)
        return Step(observation, next_observation, reward, terminated, truncated, valid, successes(self.rows, said, told=told))

    def begins_alike(self) -> bool:
        """Whether the same seeds begin the same episodes each time; before any is begun in earnest."""
        first, second = (self._begin({"seed": self._seed(self._seeds)}) for _ in range(2))
        self._started = False
        return np.array_equal(first, second)

    def state_dict(self) -> dict:
        """Where to begin new episodes."""
        return {"name": self.name, "rows": self.rows, "steps": self._steps, "started": self._started}

    def load_state_dict(self, state: dict) -> None:
        """Begin new episodes, seeded by the number of steps made; see `observation`. Raises `BadInput` where the state is of other environments."""
        if state["name"] != self.name or state["rows"] != self.rows:
            raise BadInput(f"state of {state['rows']} rows of {state['name']!r} does not fit these environments: {self.rows} rows of {self.name!r}")
        self._steps, self._started = state["steps"], state["started"]
        if self._started:
            self._begin({"seed": self._seed([derive_seed(seed, "resume", self._steps) % 2**31 for seed in self._seeds])})

    def close(self) -> None:
        """Close the vector environment."""
        if self._watching:
            self._watching = None
            WATCH.close(self._start_seconds)
        closed(self.vector_env, place(self.name), self._start_seconds)

    def _seed(self, seeds: list[int]) -> list[int] | int:
        if isinstance(self.vector_env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
            return seeds
        return derive_seed(seeds[0], *seeds[1:]) % 2**31

    def _reset(self, seed: list[int] | int | None = None, **arguments: Any) -> Any:
        if seed is None:
            return self.vector_env.reset(**arguments)
        return seeded(lambda small: self.vector_env.reset(seed=[small(one) for one in seed] if isinstance(seed, list) else seed), seed)

    def _begin(self, arguments: dict) -> np.ndarray:
        where = place(self.name, step=self._steps)
        try:
            with time_limit(self._start_seconds, f"{where}: reset"):
                result = self._reset(**arguments)
        except BaseException as error:
            raise raised(where, "reset", error) from error
        self._started = True
        self._ended = np.zeros(self.rows, bool)
        seen, info = self._reader.reset_result(result, None, self._steps)
        if not self._known:
            self._known = True
            self._reader.find_mask(from_info if ACTION_MASK in info else from_nowhere)
        self.observation = self._read(seen, info, self._ended)
        self._reader.playable(self.observation, self._steps)
        return self.observation

    def _read(self, seen: Any, info: dict, ended: np.ndarray) -> np.ndarray:
        """A batch of observations as fresh `[R, D]` float32; of rows that `ended` the action mask may be missing."""
        into = np.empty((self.rows, self._reader.size), np.float32)
        for row, value in enumerate(self._rows_of(seen)):
            self._reader.observation(value, into, row, self._steps)
            self._reader.mask(self.vector_env, self._row_info(info, row), into, row, self._steps, ended=bool(ended[row]))
        self._reader.finite(into, self._steps)
        return into

    def _rows_of(self, seen: Any) -> Iterable[Any]:
        """A batch of observations one by one."""
        if isinstance(self.observation_space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
            try:
                return list(gymnasium.vector.utils.iterate(self.vector_env.observation_space, seen))
            except CODE as error:
                raise self._reader.broken(None, self._steps, f"observations are no batch of its space ({one_line(error, 80)})") from error
        if np.shape(seen)[:1] != (self.rows,):
            raise self._reader.broken(None, self._steps, f"observations have shape {np.shape(seen)}; expected {self.rows} rows")
        return np.asarray(seen)

    def _row_info(self, info: dict, row: int, key: str = ACTION_MASK) -> dict:
        """What the infos of all say of a row: where they say nothing of it, Gymnasium tells so in `_action_mask`, or `_` and the other key."""
        if key not in info or not info.get(f"_{key}", self._all)[row]:
            return {}
        return {key: _final(info[key], row)}

    def _said(self, info: dict, row: int) -> dict:
        """What the infos of all say of a row's success; nothing for a NaN, which is what Gymnasium makes of a None among numbers."""
        found = self._row_info(info, row, SUCCESS)
        return {} if isinstance(said := found.get(SUCCESS), np.floating) and np.isnan(said) else found


def _final(values: Any, row: int) -> Any:
    """A row's element of a batch: one array a part, or one object a row."""
    if isinstance(values, dict):
        return {key: _final(part, row) for key, part in values.items()}
    return tuple(_final(part, row) for part in values) if isinstance(values, tuple) else values[row]


def make_environments(
    env: str | Callable[[], gymnasium.Env], row_seeds: Sequence[int], *, env_kwargs: dict | None = None, view: View = PLAIN
) -> Environments:
    """Rows of an environment: the native version where there is one and nothing is changed in it, otherwise Gymnasium's.

    Args:
        env: a registered Gymnasium id (`module:id` imports the module first), a callable that makes one environment, or one that takes `num_envs` and makes a
            `gymnasium.vector.VectorEnv` (such as `functools.partial(gymnasium.make_vec, "CartPole-v1")`) or a `TensorEnvironment`.
        row_seeds: one seed a row.
        env_kwargs: arguments for the environment's constructor, or for the callable.
        view: how the rows are seen and acted on.

    Raises:
        BadInput: unknown id, module or argument, a missing package, an unsupported space, a view that does not fit.
        RunFailed: the environment raised, or took too long.
    """
    made = _environments(env, row_seeds, env_kwargs or {}, view)
    try:
        return view.rows(made)
    except BaseException:
        made.close()
        raise


def _environments(env: str | Callable[[], gymnasium.Env], row_seeds: Sequence[int], kwargs: dict, view: View) -> Environments:
    if isinstance(env, str) and env in BATCHED and not kwargs and view.action_repeat == 1:
        return BATCHED[env](row_seeds)
    if isinstance(env, Rows):
        return GymnasiumEnvironments(env, row_seeds, env.__qualname__, view=view)
    make, name = _maker(env, kwargs, view)
    if not isinstance(env, str):
        made = _making(make, name, place(name))
        if isinstance(made, gymnasium.vector.VectorEnv | TensorEnvironment):
            closed(made, place(name))
            if view.action_repeat > 1:
                raise BadInput(f"environment {name!r}: its rows step together, so no action lasts several steps: wrap its environments")
            together = _making(lambda: _called(env, name, kwargs | {"num_envs": len(row_seeds)}), name, place(name))
            return (TensorRows if isinstance(together, TensorEnvironment) else VectorEnvironments)(together, row_seeds, name)
    return GymnasiumEnvironments(make, row_seeds, name, view=view)


def make_objects(
    env: str | Callable[[], gymnasium.Env], row_seeds: Sequence[int], view: View = PLAIN, *, env_kwargs: dict | None = None
) -> GymnasiumEnvironments:
    """Rows that are objects of Gymnasium, also where there is a native version of them.

    Raises:
        BadInput: as `make_environments`, and for what is no such object.
    """
    if isinstance(env, Rows):
        if env_kwargs:
            raise BadInput(f"environment {env.__qualname__!r} is copied as it was given: leave {next(iter(env_kwargs))} out")
        return GymnasiumEnvironments(env, row_seeds, env.__qualname__, view=view)
    make, name = _maker(env, env_kwargs or {}, view)
    return GymnasiumEnvironments(make, row_seeds, name, view=view)


def limit_of(env: gymnasium.Env, view: View) -> int | None:
    """Actions after which an environment cuts an episode; None where nothing says so."""
    if view.atari:
        return atari.STEPS * atari.FRAMES // view.action_repeat
    limits = [layer.get_wrapper_attr("_max_episode_steps") for layer in snapshot.layers(env) if isinstance(layer, TimeLimit)]
    if not limits and env.spec is not None and env.spec.max_episode_steps is not None:
        limits = [env.spec.max_episode_steps]
    return -(-min(limits) // view.action_repeat) if limits else None


def _spaces(name: str, env: gymnasium.Env | VectorEnv, prefix: str = "") -> tuple[gymnasium.Space, gymnasium.Space]:
    """(observation space, action space) of a row. Raises `BadInput` where one is missing."""
    found = []
    for what in ("observation", "action"):
        space = getattr(env, f"{prefix}{what}_space", None)
        if not isinstance(space, gymnasium.Space):
            raise BadInput(f"environment {name!r}: its {prefix}{what}_space is {one_line(space, 60)}, no gymnasium.Space")
        found.append(space)
    return tuple(found)


def begins_alike(environments: Environments) -> bool:
    """Whether seeds decide how the episodes of fresh environments begin; of the library's own they do."""
    inner = within(environments)
    return not isinstance(inner, GymnasiumEnvironments | VectorEnvironments | TensorRows) or inner.begins_alike()


def rewards_told(environments: Environments) -> str:
    """What to say of wrappers that change the rewards of environments; empty where there is none."""
    inner = within(environments)
    if isinstance(inner, VectorEnvironments):
        return changed_rewards(inner.vector_env)
    return changed_rewards(inner.envs[0]) if isinstance(inner, GymnasiumEnvironments) else ""


def rows_stand_alone(environments: Environments) -> bool:
    """Whether a row is the same whatever rows stand beside it, so that some can be stepped elsewhere."""
    inner = within(environments)
    if isinstance(inner, VectorEnvironments):
        return isinstance(inner.vector_env.unwrapped, SyncVectorEnv)
    return not isinstance(inner, TensorRows)


def resets_by_steps(environments: Environments) -> bool:
    """Whether the step behind an episode's end resets the row and ignores the action (Gymnasium's NEXT_STEP autoreset)."""
    inner = within(environments)
    return isinstance(inner, VectorEnvironments) and inner.mode is AutoresetMode.NEXT_STEP


def environment_maker(environment: str | Callable[..., Any], view: View) -> tuple[str, Callable[[], Any]]:
    """How an environment is called, and what makes one as the rows of a run have it (or a vector environment). Raises `BadInput` for an unknown id."""
    make, name = _maker(environment, {}, view)
    return name, lambda: _row(made, name, view) if isinstance(made := make(), gymnasium.Env) else made


def _row(env: gymnasium.Env, name: str, view: View) -> gymnasium.Env:
    """One row's environment, as a view has it. Raises `BadInput` for a wrapper that is refused."""
    refuse_statistics(name, env)
    return view.row(_without_checker(env))


def _maker(env: str | Callable[[], gymnasium.Env], kwargs: dict, view: View) -> tuple[Callable[[], gymnasium.Env], str]:
    """What makes one environment, and how it is called."""
    if view.atari:
        atari.hush()
        kwargs = atari.MADE | kwargs
    if isinstance(env, str) and env in BEDS:
        if view.action_repeat > 1:
            raise BadInput(f"{env} is one of the library's own beds, in which an action lasts one step: leave --action-repeat out")
        return (lambda: _called(partial(OneRow, BEDS[env]), env, kwargs)), env
    if isinstance(env, str):
        name = registered(env)
        if "mujoco" in str(gymnasium.registry[name].entry_point):
            hear_mujoco_once()
        # Every step is checked here, so Gymnasium's checker would only do it a second time.
        arguments = {"id": name, "disable_env_checker": True} | kwargs
        if name.startswith("MinAtar/"):
            return (lambda: MinAtarGame(_called(gymnasium.make, name, arguments))), name
        return (lambda: _called(gymnasium.make, name, arguments)), name
    name = callable_name(env)
    one = {"num_envs": 1} | kwargs if _needs_rows(env) else kwargs
    return (lambda: _called(env, name, one)), name


def _needs_rows(make: Callable[..., Any]) -> bool:
    """Whether a callable must be told how many rows it makes."""
    try:
        rows = inspect.signature(make).parameters.get("num_envs")
    except (TypeError, ValueError):  # some that are written in C tell nothing
        return False
    return rows is not None and rows.default is rows.empty


@cache
def hear_mujoco_once() -> None:
    """Turn MuJoCo's warnings into Python's, each said once.

    By default they are printed for every model that is made and written to MUJOCO_LOG.TXT, which can end the process when it happens within another import.
    """
    try:
        import mujoco
    except ImportError:
        return  # making the environment will say what is missing
    mujoco.set_mju_user_warning(_hear)


@cache
def _hear(message: str) -> None:
    if "deprecated" not in message:  # of Gymnasium's own model files: nothing that a person who trains on them can change
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=1)


def callable_name(env: Callable) -> str:
    """How a callable is called in messages."""
    inner = getattr(env, "func", env)  # of a functools.partial
    return getattr(env, "__qualname__", None) or getattr(inner, "__qualname__", type(inner).__qualname__)


_NOT_TAKEN = ("unexpected keyword argument", "takes no arguments", "takes no keyword arguments")  # the last two of what has no constructor of its own, or is C


def _called(make: Callable[..., gymnasium.Env], name: str, kwargs: dict) -> gymnasium.Env:
    try:
        return make(**kwargs)
    except TypeError as error:
        if kwargs and any(words in str(error) for words in _NOT_TAKEN):
            raise BadInput(f"environment {name!r}: {one_line(error)}") from error
        raise


def _without_checker(env: gymnasium.Env) -> gymnasium.Env:
    """The environment without Gymnasium's own per-step checker, whose work is done here."""
    if isinstance(env, PassiveEnvChecker):
        return _without_checker(env.env)
    outer = env
    while isinstance(outer, gymnasium.Wrapper):
        if isinstance(outer.env, PassiveEnvChecker):
            outer.env = outer.env.env
        else:
            outer = outer.env
    return env
