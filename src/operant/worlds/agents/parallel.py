"""Environments with PettingZoo's parallel API as games, one object each, stepped one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from operant.core.errors import BadInput, RunFailed
from operant.worlds.agents.games import Games, JointStep
from operant.worlds.gym.check import one_line
from operant.worlds.gym.spaces import Actions, Observations, action_spec, observation_spec

FACTORY = "parallel_env"  # the function of a PettingZoo module


def factory_of(name: str) -> Callable[[], Any]:
    """What makes an environment, from `module` or `module:function`.

    Raises:
        BadInput: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function or FACTORY)
    except Exception as error:  # noqa: BLE001 - whatever a module raises as it is imported
        what = one_line(f"{type(error).__name__}: {error}", 160)
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
        RunFailed: the environment raised.
    """

    resume = "episode-boundary"  # PettingZoo has no call for an environment's state

    def __init__(self, make: Callable[[], Any], name: str, seeds: Sequence[int]):
        self.name = name
        self.games = [self._call("be made", make) for _ in seeds]
        first = self.games[0]
        for part in ("possible_agents", "observation_space", "action_space", "reset", "step"):
            if not hasattr(first, part):
                raise BadInput(f"{name} has no {part}: it must have PettingZoo's parallel API (parallel_env, or aec_to_parallel around it)")
        self.names = tuple(map(str, first.possible_agents))
        self.observation_space, self.action_space = (self._same(first, kind) for kind in ("observation_space", "action_space"))
        action = action_spec(name, self.action_space)
        self._observations = Observations(name, self.observation_space, observation_spec(name, self.observation_space, action), action)
        self._actions = Actions(name, self.action_space)
        self._seeds: list[int | None] = list(seeds)
        self._live = np.zeros((len(seeds), len(self.names)), bool)
        self._own_state = hasattr(first, "state_space")
        self.state_size = int(np.prod(first.state_space.shape)) if self._own_state else len(self.names) * self._observations.size

    def _same(self, game: Any, kind: str) -> Any:
        spaces = [getattr(game, kind)(agent) for agent in game.possible_agents]
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
        observation = np.zeros((len(self.games), len(self.names), self._observations.size), np.float32)
        state = np.zeros((len(self.games), self.state_size), np.float32)
        for game in range(len(self.games)):
            self._begin(game, observation, state)
        return observation, state

    def _begin(self, game: int, observation: np.ndarray, state: np.ndarray) -> None:
        seed, self._seeds[game] = self._seeds[game], None
        found = self._call("reset", self.games[game].reset, seed=None if seed is None else seed % 2**31)
        self._write(game, found[0], observation, state)
        self._live[game] = [name in found[0] for name in self.names]

    def _write(self, game: int, found: dict, observation: np.ndarray, state: np.ndarray) -> None:
        """What the agents that are there see, and the state, into arrays."""
        observation[game] = 0.0
        for place, name in enumerate(self.names):
            if name in found:
                try:
                    self._observations.write(found[name], observation[game, place])
                except ValueError as error:
                    raise RunFailed(f"{self.name}, {name}: observation {error}") from None
        if not np.isfinite(observation[game]).all():
            raise RunFailed(f"{self.name}: an observation has a NaN or an infinite number")
        state[game] = np.ravel(self._call("give its state", self.games[game].state)) if self._own_state else observation[game].ravel()

    def step(self, action: np.ndarray) -> JointStep:
        shape = self._live.shape
        acts = self._actions.to_environment(action.reshape(shape[0] * shape[1], *action.shape[2:]), shape[0] * shape[1])
        reward, valid = np.zeros(shape, np.float32), self._live.copy()
        terminated, truncated = np.zeros(shape, bool), np.zeros(shape, bool)
        following = np.zeros((*shape, self._observations.size), np.float32), np.zeros((shape[0], self.state_size), np.float32)
        for game, environment in enumerate(self.games):
            chosen = {name: self._actions.of_row(acts, game * shape[1] + place) for place, name in enumerate(self.names) if self._live[game, place]}
            observation, rewards, over, cut, _ = self._call("step", environment.step, chosen)
            self._write(game, observation, *following)
            for place, name in enumerate(self.names):
                if name in chosen:
                    reward[game, place] = rewards[name]
                    terminated[game, place], truncated[game, place] = over[name], cut[name]
        if not np.isfinite(reward).all():
            raise RunFailed(f"{self.name}: a reward is NaN or infinite")
        self._live &= ~(terminated | truncated)
        ended = ~self._live.any(1)
        seen = following
        if ended.any():
            seen = following[0].copy(), following[1].copy()
            for game in ended.nonzero()[0]:
                self._begin(int(game), *seen)
        return JointStep(*seen, *following, reward, terminated, truncated, valid)

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """New episodes begin."""

    def close(self) -> None:
        for game in self.games:
            game.close()
