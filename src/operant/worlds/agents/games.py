"""What every group of games offers, and its rows: each agent of each game is a row of its own, as if it were an environment."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import numpy as np

from operant.core.errors import BadInput
from operant.core.spec import Field, Spec
from operant.worlds.gym.environments import Step
from operant.worlds.gym.spaces import action_spec, observation_spec


@dataclass(slots=True)
class JointStep:
    """What one step of E games of M agents gave.

    Attributes:
        observation, state: `[E, M, D]` of each agent and `[E, K]` of the game, float32, as they are acted on next (after an automatic reset).
        next_observation, next_state: the true outcome of this step.
        reward: `[E, M]` float32.
        terminated, truncated: `[E, M]` bool, the agent's episode ended by itself, or was cut.
        valid: `[E, M]` bool, False where the agent had left the game before the step.
    """

    observation: np.ndarray
    state: np.ndarray
    next_observation: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray


class Games:
    """E games of the same M agents, whose observations and actions are of one kind; a game restarts when all of its agents are done.

    Attributes:
        name: for messages.
        names: of the agents, M.
        observation_space, action_space: of one agent.
        state_size: K, numbers in a game's state, which a critic may see and no actor does.
        resume: as `Environments.resume`.
    """

    name: str
    names: tuple[str, ...]
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    state_size: int
    resume: str

    def reset(self) -> tuple[np.ndarray, np.ndarray]:
        """Start a new episode in every game: observations `[E, M, D]` and states `[E, K]`."""
        raise NotImplementedError

    def step(self, action: np.ndarray) -> JointStep:
        """All agents act at once: `[E, M]` int64 counted from 0, or `[E, M, A]`."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        raise NotImplementedError

    def load_state_dict(self, state: dict) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Release what is held open."""


class AgentRows:
    """Games as `Environments`: E · M rows, the agents of a game side by side. A row has what its agent sees, which agent it is, and the game's state."""

    limit = None

    def __init__(self, games: Games, count: int):
        self.games, self.agents = games, len(games.names)
        self.rows = count * self.agents
        self.observation_space, self.action_space, self.resume = games.observation_space, games.action_space, games.resume
        self.action_spec = action_spec(games.name, games.action_space)
        self.observation_spec = agent_spec(games, self.action_spec)
        self._number = np.broadcast_to(np.eye(self.agents, dtype=np.float32), (count, self.agents, self.agents))
        self.observation = np.zeros((self.rows, self.observation_spec.size), np.float32)

    def _packed(self, observation: np.ndarray, state: np.ndarray) -> np.ndarray:
        shared = np.broadcast_to(state[:, None], (*observation.shape[:2], state.shape[1]))
        return np.concatenate([observation, self._number, shared], -1).reshape(self.rows, -1)

    def reset(self) -> np.ndarray:
        self.observation = self._packed(*self.games.reset())
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        step = self.games.step(action.reshape(-1, self.agents, *action.shape[1:]))
        self.observation = self._packed(step.observation, step.state)
        same = step.next_observation is step.observation and step.next_state is step.state
        following = self.observation if same else self._packed(step.next_observation, step.next_state)
        flat = (getattr(step, name).reshape(self.rows) for name in ("reward", "terminated", "truncated", "valid"))
        return Step(self.observation, following, *flat)

    def state_dict(self) -> dict:
        return {"games": self.games.state_dict(), "observation": self.observation.copy()}

    def load_state_dict(self, state: dict) -> None:
        self.games.load_state_dict(state["games"])
        self.observation = np.array(state["observation"], np.float32)

    def close(self) -> None:
        self.games.close()


def agent_spec(games: Games, action: Spec) -> Spec:
    """What a row consists of: the agent's own fields, "agent" (one-hot) and "state"."""
    own = observation_spec(games.name, games.observation_space, action)
    for name in ("agent", "state"):
        if name in own.slices:
            raise BadInput(f"{games.name}: observations have a field {name!r}, which is the name of what is added here: rename it in a wrapper")
    count = len(games.names)
    return Spec((*own.fields, Field("agent", (), "int64", "discrete", (count,), (0,), role="agent"), Field("state", (games.state_size,), role="state")))
