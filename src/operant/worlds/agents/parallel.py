"""Environments with PettingZoo's parallel API as games, one object each, stepped one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import gymnasium
import numpy as np

from operant.core.errors import BadInput, RunFailed
from operant.core.registry import import_named, near_module
from operant.worlds.agents.games import Games, JointStep
from operant.worlds.gym.check import Reader, one_line
from operant.worlds.gym.spaces import Actions

FACTORY = "parallel_env"  # the function of a PettingZoo module
API = "PettingZoo's parallel API"
PARTS = ("possible_agents", "observation_space", "action_space", "reset", "step")


def factory_of(name: str) -> Callable[[], Any]:
    """What makes an environment, from `module` or `module:function`.

    Raises:
        BadInput: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(import_named(module), function or FACTORY)
    except Exception as error:  # noqa: BLE001 - whatever a module raises as it is imported
        what = one_line(f"{type(error).__name__}: {error}", 160) + near_module(error)
        raise BadInput(f"agents:{name}: {what}; give a module that has {function or FACTORY}(), or module:function") from error
    if not callable(found):
        raise BadInput(f"agents:{name} is {type(found).__name__}, no function that makes an environment")
    return found


class ParallelGames(Games):
    """Games of one environment.

    Args:
        make: makes one environment with PettingZoo's parallel API.
        name: for messages.
        seeds: one a game.

    Raises:
        BadInput: agents whose spaces differ, spaces that are not supported, or no such API.
        RunFailed: the environment raised, or broke that API; at any later call too.
    """

    resume = "episode-boundary"  # PettingZoo has no call for an environment's state

    def __init__(self, make: Callable[[], Any], name: str, seeds: Sequence[int]):
        self.name = name
        self.games = [self._call("be made", make) for _ in seeds]
        first = self.games[0]
        for part in PARTS:
            if not hasattr(first, part):
                raise BadInput(f"{name} has no {part}: it must have {API} (parallel_env, or aec_to_parallel around it)")
        self.names = tuple(first.possible_agents)
        if not self.names or not all(isinstance(agent, str) for agent in self.names) or len(set(self.names)) < len(self.names):
            raise BadInput(f"{name}: its possible_agents are {one_line(list(self.names), 80)}; each has a name of its own, which is text")
        self.observation_space, self.action_space = (self._same(first, kind) for kind in ("observation_space", "action_space"))
        self._actions = Actions(name, self.action_space)
        self._readers = [Reader(f"{name}, {agent}", self.observation_space, self._actions.spec, API) for agent in self.names]
        self._seeds: list[int | None] = list(seeds)
        self._steps = 0
        self._live = np.zeros((len(seeds), len(self.names)), bool)
        self._state_shape = self._shape_of_state(first)
        self.state_size = len(self.names) * self._readers[0].size if self._state_shape is None else math.prod(self._state_shape)

    def _shape_of_state(self, game: Any) -> tuple[int, ...] | None:
        """Of the state that a game has of its own; None where it has none."""
        if not hasattr(game, "state_space"):
            return None
        if not isinstance(game.state_space, gymnasium.spaces.Box) or not hasattr(game, "state"):
            raise BadInput(f"{self.name}: its state_space is {one_line(game.state_space, 60)}; a state is a Box, which state() gives")
        return game.state_space.shape

    def _same(self, game: Any, kind: str) -> Any:
        if not callable(getattr(game, kind)):
            raise BadInput(f"{self.name}: its {kind} is {type(getattr(game, kind)).__name__}; in {API} it is a function of an agent's name")
        spaces = [self._call(f"give its {kind}", getattr(game, kind), agent) for agent in self.names]
        if different := [agent for agent, space in zip(self.names, spaces, strict=True) if space != spaces[0]]:
            found = f"{self.names[0]}'s is {spaces[0]}, {different[0]}'s is {spaces[self.names.index(different[0])]}"
            raise BadInput(f"{self.name}: the agents of a game share one policy here, and their {kind}s differ: {found}; supersuit's pad_*_v0 make them alike")
        return spaces[0]

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Exception as error:
            raise RunFailed(f"{self.name} could not {what}: {one_line(f'{type(error).__name__}: {error}', 200)}") from error

    def reset(self) -> tuple[np.ndarray, np.ndarray]:
        observation = np.zeros((len(self.games), len(self.names), self._readers[0].size), np.float32)
        state = np.zeros((len(self.games), self.state_size), np.float32)
        for game in range(len(self.games)):
            self._begin(game, observation, state)
        return observation, state

    def _begin(self, game: int, observation: np.ndarray, state: np.ndarray) -> None:
        seed, self._seeds[game] = self._seeds[game], None
        found = self._call("reset", self.games[game].reset, seed=None if seed is None else seed % 2**31)
        seen, _ = self._readers[0].reset_result(found, game, self._steps)
        self._write(game, seen, observation, state)
        self._live[game] = [name in seen for name in self.names]
        if not self._live[game].any():
            raise self._readers[0].broken(game, self._steps, f"reset gave no observation of any agent: {one_line(seen, 60)}")
        self._playable(game, observation)

    def _write(self, game: int, found: dict, observation: np.ndarray, state: np.ndarray) -> None:
        """What the agents that are there see, and the state, into arrays."""
        if not isinstance(found, dict):
            raise self._readers[0].broken(game, self._steps, f"observations are {one_line(found, 60)}; they are a dict by agents' names")
        observation[game] = 0.0
        for place, (name, reader) in enumerate(zip(self.names, self._readers, strict=True)):
            if name in found:
                reader.observation(found[name], observation[:, place], game, self._steps)
                reader.finite(observation[game : game + 1, place], self._steps)
        if self._state_shape is None:
            state[game] = observation[game].ravel()
            return
        whole = np.asarray(self._call("give its state", self.games[game].state))
        if whole.shape != self._state_shape or whole.dtype.kind not in "fiub" or not np.isfinite(whole).all():
            raise self._readers[0].broken(game, self._steps, f"its state is {one_line(whole, 60)}; it is finite numbers of shape {self._state_shape}")
        state[game] = whole.ravel()

    def _playable(self, game: int, observation: np.ndarray) -> None:
        """Raise `RunFailed` where an agent that is there cannot act."""
        for place in self._live[game].nonzero()[0]:
            self._readers[place].playable(observation[game : game + 1, place], self._steps)

    def step(self, action: np.ndarray) -> JointStep:
        shape = self._live.shape
        acts = self._actions.to_environment(action.reshape(shape[0] * shape[1], *action.shape[2:]), shape[0] * shape[1])
        reward, valid = np.zeros(shape, np.float32), self._live.copy()
        terminated, truncated = np.zeros(shape, bool), np.zeros(shape, bool)
        following = np.zeros((*shape, self._readers[0].size), np.float32), np.zeros((shape[0], self.state_size), np.float32)
        for game, environment in enumerate(self.games):
            chosen = {name: self._actions.of_row(acts, game * shape[1] + place) for place, name in enumerate(self.names) if self._live[game, place]}
            result = self._call("step", environment.step, chosen)
            observation, *parts = self._readers[0].step_result(result, game, self._steps)
            self._write(game, observation, *following)
            for place in self._live[game].nonzero()[0]:
                name, reader = self.names[place], self._readers[place]
                gain, dead, late = (self._part(part, what, place, game) for part, what in zip(parts, ("reward", "termination", "truncation"), strict=False))
                reward[game, place] = reader.reward(gain, game, self._steps)
                terminated[game, place] = reader.flag(dead, "terminated", game, self._steps)
                truncated[game, place] = reader.flag(late, "truncated", game, self._steps)
                if name not in observation and not terminated[game, place]:
                    raise reader.broken(game, self._steps, "a step gave no observation of it, and its episode goes on, or was cut, and then still has a value")
            if joined := [name for name in self._call("say which agents are there", attrgetter("agents"), environment) if name not in chosen]:
                raise RunFailed(f"{self.name}, {joined[0]}: it joins a game that goes on; agents are there from the beginning, and may leave")
        self._steps += 1
        self._live &= ~(terminated | truncated)
        for game in range(len(self.games)):
            self._playable(game, following[0])
        ended = ~self._live.any(1)
        seen = following
        if ended.any():
            seen = following[0].copy(), following[1].copy()
            for game in ended.nonzero()[0]:
                self._begin(int(game), *seen)
        return JointStep(*seen, *following, reward, terminated, truncated, valid)

    def _part(self, found: Any, what: str, place: int, game: int) -> Any:
        """What a step gave of one agent."""
        if not isinstance(found, dict) or self.names[place] not in found:
            raise self._readers[place].broken(game, self._steps, f"a step gave no {what} of it: {one_line(found, 60)}")
        return found[self.names[place]]

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """New episodes begin."""

    def close(self) -> None:
        for game in self.games:
            game.close()
