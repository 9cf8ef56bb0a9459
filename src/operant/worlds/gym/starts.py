"""Episodes that begin in the middle: at states of the simulator that were kept while somebody played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import gymnasium
import numpy as np
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.seeds import derive_seed
from operant.core.spec import Spec
from operant.worlds.gym.adapter import GymnasiumEnvironments, make_objects
from operant.worlds.gym.environments import Environments, Step
from operant.worlds.gym.episodes import Act
from operant.worlds.gym.views import View


@dataclass(frozen=True)
class Starts:
    """Where episodes may begin.

    Attributes:
        states: of a row, as `GymnasiumEnvironments.taken` gives them; N of them.
        observation: `[N, D]`, what is seen there.
        cluster: `[N]` int64, which of the clusters each is in. A cluster is drawn uniformly, and then a state in it.
        until: steps of a row in which its episodes begin there; those that begin later begin as the task has it.
        length: steps after which such an episode is cut; None for the task's own limit.
    """

    states: Sequence[list[dict]] = field(repr=False)
    observation: np.ndarray = field(repr=False)
    cluster: np.ndarray = field(repr=False)
    until: int
    length: int | None = None

    @cached_property
    def _members(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.cluster == cluster) for cluster in np.unique(self.cluster)]

    def draw(self, draws: np.random.Generator) -> int:
        members = self._members[draws.integers(len(self._members))]
        return int(members[draws.integers(len(members))])


def recorded(make: Callable[[list[int]], GymnasiumEnvironments], act: Act, episodes: int, seed: int, most_steps: int) -> tuple[list[list[dict]], np.ndarray]:
    """The states that so many episodes went through, but those in which they ended, and what was seen in each, `[N, D]`.

    Raises:
        BadInput: an environment that cannot give its state.
    """
    environments = make([derive_seed(seed, "starts", episode) for episode in range(episodes)])
    try:
        if environments.resume != "bitwise":
            raise BadInput(f"{environments.name}: this environment cannot give its state, so no episode can begin in the middle of another")
        observation, carry = environments.reset(), None
        running, states, seen = np.ones(episodes, bool), [], []
        for _ in range(most_steps):
            for row in running.nonzero()[0]:
                states.append(environments.taken(int(row)))
                seen.append(observation[row].copy())
            action, carry = act(torch.from_numpy(observation).unsqueeze(0), carry)
            step = environments.step(action[0])
            running &= ~(step.terminated | step.truncated)
            observation = step.observation
            if not running.any():
                break
        return states, np.stack(seen)
    finally:
        environments.close()


def clusters(observation: np.ndarray, count: int) -> np.ndarray:
    """Which of at most `count` clusters each of `[N, D]` is in, `[N]`: k-means on numbers of deviation 1, from rows each the farthest from those before it."""
    spread = observation.std(0)
    scaled = torch.from_numpy(((observation - observation.mean(0)) / np.where(spread > 1e-6, spread, 1.0)).astype(np.float64))
    first, distance = [0], torch.full((len(scaled),), torch.inf, dtype=torch.float64)
    while len(first) < min(count, len(scaled)):
        distance = torch.minimum(distance, (scaled - scaled[first[-1]]).square().sum(1))
        first.append(int(distance.argmax()))
    return ops.nearest_cell(scaled, ops.voronoi_centroids(torch.cat([scaled[first], scaled]), len(first))).numpy()


def make_started(environment: str | Callable[[], gymnasium.Env], starts: Starts, row_seeds: Sequence[int], *, view: View) -> Environments:
    """Rows of an environment whose episodes begin at these starts, seen and acted on as a view has them."""
    inner = make_objects(environment, row_seeds, view)
    try:
        return view.rows(StartedEnvironments(inner, starts, row_seeds))
    except BaseException:
        inner.close()
        raise


class StartedEnvironments:
    """Rows of which episodes begin at `Starts`, for as long as these say; a row that is cut there is truncated, and its outcome is the true one.

    Each row draws from a generator of its own. The environments' own generators go on from reset to reset.
    """

    def __init__(self, inner: GymnasiumEnvironments, starts: Starts, row_seeds: Sequence[int]):
        self.inner, self.starts, self.rows, self.limit = inner, starts, inner.rows, inner.limit
        self.observation_space, self.action_space, self.action_spec = inner.observation_space, inner.action_space, inner.action_spec
        self.observation = inner.observation
        self._draws = [np.random.default_rng(derive_seed(int(seed), "starts")) for seed in row_seeds]
        self._steps = 0
        self._clock = np.zeros(self.rows, np.int64)  # steps of each row's episode since it began here
        self._placed = np.zeros(self.rows, bool)

    @property
    def resume(self) -> str:
        return self.inner.resume

    @property
    def observation_spec(self) -> Spec:
        return self.inner.observation_spec

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        self.observation = self._begun(self.inner.reset().copy(), range(self.rows))
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row."""
        step = self.inner.step(action)
        self._steps += 1
        self._clock += 1
        over = step.terminated | step.truncated
        cut = self._placed & ~over & (self._clock >= (self.starts.length or np.inf))
        observation, truncated = step.observation, step.truncated | cut
        if (over | cut).any():
            observation = step.observation.copy()
            if self._steps >= self.starts.until:
                for row in cut.nonzero()[0]:
                    observation[row] = self.inner.restarted(int(row))
            observation = self._begun(observation, (over | cut).nonzero()[0].tolist())
        self.observation = observation
        return Step(observation, step.next_observation, step.reward, step.terminated, truncated, step.valid, step.success)

    def _begun(self, observation: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """Observations in which those of new episodes stand where these begin."""
        for row in rows:
            self._clock[row], self._placed[row] = 0, self._steps < self.starts.until
            if self._placed[row]:
                place = self.starts.draw(self._draws[row])
                self.inner.place(row, self.starts.states[place], self.starts.observation[place])
                observation[row] = self.starts.observation[place]
        return observation

    def state_dict(self) -> dict:
        return {
            "inner": self.inner.state_dict(),
            "draws": [draws.bit_generator.state for draws in self._draws],
            "steps": self._steps,
            "clock": self._clock.copy(),
            "placed": self._placed.copy(),
            "observation": self.observation.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.inner.load_state_dict(state["inner"])
        for draws, saved in zip(self._draws, state["draws"], strict=True):
            draws.bit_generator.state = saved
        self._steps, self._clock, self._placed = state["steps"], np.array(state["clock"]), np.array(state["placed"])
        self.observation = np.array(state["observation"], np.float32)

    def close(self) -> None:
        self.inner.close()
