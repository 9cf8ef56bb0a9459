"""The world of several agents that act at the same time and share one policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from operant.core.errors import BadInput, unknown
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.core.registry import read_settings
from operant.worlds.agents.games import AgentRows, Games
from operant.worlds.agents.options import AgentOptions
from operant.worlds.agents.parallel import ParallelGames, factory_of
from operant.worlds.agents.spread import Spread
from operant.worlds.base import SampleWorkers, World
from operant.worlds.gym.check import BrokenRule, one_line
from operant.worlds.gym.collect import Collector, Steps
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.spaces import Actions, Observations, observation_spec
from operant.worlds.gym.world import RandomPolicy
from operant.worlds.names import GAMES

MOST_GAMES = 100_000  # at a time
OWN = {"spread": Spread}


class AgentsWorld(World):
    """One game.

    A row of a rollout is one agent of one game, and the rows of a game are a group. What a row holds: what its agent sees, which agent it is, and the state of
    the game, which critics see and actors do not (centralised training, decentralised execution).

    Args:
        game: one of the library's own; `module` or `module:function`, with PettingZoo's parallel API; or a callable that makes such an environment.
        options: fields of `AgentOptions`, values or text.

    Attributes:
        agents: M, how many there are in a game.
        names_of_agents: theirs.

    Raises:
        BadInput: an unknown game or module, agents whose spaces differ, or spaces that are not supported.
        RunFailed: the environment raised.
    """

    kind = "agents"
    option_type = AgentOptions
    stacked = True
    score = "return"
    step_unit = "environment steps"
    acts = True
    default_steps = 300_000

    def __init__(self, game: str | Callable[[], Any], **options: Any):
        self.game = game
        name = game if isinstance(game, str) else getattr(game, "__qualname__", type(game).__name__)
        self.task = f"agents:{name}"
        self.options: AgentOptions = read_settings(AgentOptions, options, self.task, "option")
        self._games: Callable[[Sequence[int]], Games]
        if isinstance(game, str) and game in OWN:
            self._games = OWN[game]
        else:
            if isinstance(game, str) and not set(game) & set(".:"):
                raise unknown("game", game, GAMES, "an environment with PettingZoo's parallel API is named by its module: agents:mpe2.simple_spread_v3")
            self._games = partial(ParallelGames, factory_of(game) if isinstance(game, str) else game, self.task)
        probe = self._games([0])
        try:
            self.names_of_agents, self.agents = probe.names, len(probe.names)
            rows = AgentRows(probe, 1)
            self.observation_space, self.action_space = probe.observation_space, probe.action_space
            self.observation, self.action, self.resume = rows.observation_spec, rows.action_spec, rows.resume
            rows.reset()
            rows.step(np.asarray(self.random_policy().act(torch.from_numpy(rows.observation).unsqueeze(0))[0][0]))
        except BrokenRule as error:
            raise BadInput(str(error)) from error
        finally:
            probe.close()
        own = observation_spec(self.task, self.observation_space, self.action)
        self._observations = Observations(self.task, self.observation_space, own, self.action)
        self._actions = Actions(self.task, self.action_space)

    def make(self, row_seeds: Sequence[int]) -> AgentRows:
        """Rows of games: as many seeds as rows, of which each game takes the first of its own."""
        return AgentRows(self._games(row_seeds[:: self.agents]), len(row_seeds) // self.agents)

    @classmethod
    def from_name(cls, name: str, **options: Any) -> AgentsWorld:
        return cls(name, **options)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(GAMES, "three agents, three landmarks, batched")

    def fingerprint(self) -> str:
        return f"{self.task} {len(self.names_of_agents)} {self.observation_space} {self.action_space}"

    def row_bytes(self, widths: Sequence[int] = ()) -> int:
        return 4 * (2 * self.observation.size + sum(widths))

    def check_episodes(self, seeds: int, episodes: int | None) -> None:
        if episodes is not None:
            self._check_games(seeds, episodes, "--episodes")

    def _check_games(self, seeds: int, each: int, option: str) -> None:
        if seeds * each > MOST_GAMES:
            raise BadInput(f"{option} {each}: {seeds * each:,} games at a time, of which there can be {MOST_GAMES:,}; nearest: {max(1, MOST_GAMES // seeds)}")

    def check_source(self, plan: Any, seeds: int, workers: SampleWorkers | None) -> None:
        if not isinstance(plan, Steps):
            raise BadInput(f"{self.task} is sampled step by step; this method's plan is {type(plan).__name__}")
        self._check_games(seeds, plan.environments, "--environments")
        rows = seeds * plan.environments * self.agents
        what = f"a rollout of {plan.length:,} steps of {rows:,} agents ({self.observation.size:,} numbers each)"
        check_memory(what, plan.length * rows * self.row_bytes(), "take fewer --environments, or a shorter --rollout-length")

    def policy(self, net: Any, streams: Streams) -> Any:
        if net is None:
            raise BadInput(f"this method brings no policy network, and {self.task} has none of its own")
        return net.build(self.observation, self.action, streams)

    def source(self, plan: Any, streams: Streams, *, workers: SampleWorkers | None = None) -> AgentCollector:
        self.check_source(plan, len(streams.seeds), workers)
        return AgentCollector(self, plan, streams)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Undiscounted returns of fresh episodes, all agents acting by their policy's mode: the mean of a game's agents."""
        played = run_episodes(self.make, policy.act, seeds, episodes * self.agents, seed, self.options.max_evaluation_steps)

        def by_game(x: np.ndarray) -> np.ndarray:
            return x.reshape(seeds, episodes, self.agents)

        details = {"length": by_game(played.length).max(-1), "truncated": by_game(played.truncated).any(-1)}
        return Evaluation(self.score, by_game(played.total).mean(-1), details)

    def act(self, policy: Any, observation: Any, action_mask: Any = None, carry: torch.Tensor | None = None) -> tuple[Any, torch.Tensor | None]:
        """The policy's mode for the agents of one game, and the carry of all agents after it.

        Args:
            observation: what each agent sees, by its name, as the environment gives it.

        Returns:
            an action for each of them, by name, and the carry.

        Raises:
            BadInput: no dict of observations of this game's agents.
        """
        if not isinstance(observation, dict) or not observation or not set(observation) <= set(self.names_of_agents):
            known = ", ".join(self.names_of_agents)
            raise BadInput(f"{self.task}: {one_line(observation, 80)} is no dict of what agents see by their names ({known})")
        if action_mask is not None:
            raise BadInput(f"{self.task}: an action mask stands in an agent's observation, as a field 'action_mask'")
        names = [name for name in self.names_of_agents if name in observation]
        rows = np.zeros((len(names), self.observation.size), np.float32)
        place = self.observation.slices["agent"].start
        for row, name in zip(rows, names, strict=True):
            seen, one = self._observations.rows(observation[name])
            if not one:
                raise BadInput(f"{self.task}: {name} has {len(seen)} observations: the agents of one game act at a time, each by one")
            row[: seen.shape[1]] = seen[0]
            row[place + self.names_of_agents.index(name)] = 1.0
        carry = policy.initial(self.agents) if carry is None else carry
        places = [self.names_of_agents.index(name) for name in names]
        found, after = policy.act(torch.from_numpy(rows).unsqueeze(0), None if carry is None else carry[:, places])
        if carry is not None:
            carry = carry.clone()
            carry[:, places] = after
        actions = self._actions.to_environment(found[0], len(names))
        return {name: self._actions.of_row(actions, place) for place, name in enumerate(names)}, carry

    def random_policy(self, seeds: Sequence[int] = (0,)) -> RandomPolicy:
        return RandomPolicy(self.observation, self.action, seeds)


class AgentCollector(Collector):
    """The source of games: the agents of a game are rows side by side, and one group."""

    def __init__(self, world: AgentsWorld, plan: Steps, streams: Streams):
        super().__init__(world.make, world.observation.size, replace(plan, environments=plan.environments * world.agents), streams)
        self.agents = world.agents

    @property
    def steps_per_sample(self) -> int:
        return super().steps_per_sample // self.agents

    def sample(self, policy: Any, version: int) -> Rollout:
        rollout = super().sample(policy, version)
        rollout.group = rollout.group // self.agents
        return rollout
