"""Values of actions as a policy that acts and learns on policy: epsilon-greedy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.spec import Spec
from operant.nets.actors import ActionValueNet, ActionValues, Policy
from operant.nets.distributions import EpsilonGreedyChoice


@dataclass(frozen=True)
class Exploration:
    """How the probability of a random action falls: linearly from `start`, to `end` once `share` of training is done."""

    start: float = 1.0
    end: float = 0.05
    share: float = 0.1

    def at(self, progress: float) -> float:
        return self.end + (self.start - self.end) * max(0.0, 1 - progress / self.share) if self.share else self.end


class ExploringValues(Policy):
    """Q of every choice, `[S, …, D] → [S, …, A]`, which draws the best one or explores, and whose mode is the best one.

    Replay gives as "value" Q of the action that was taken, `values` the highest Q: what GAE makes of these, with the value added, is the return of Q(λ).
    """

    consists = "values of actions"
    likelihoods = False
    stochastic = False  # but while it trains

    def __init__(self, net: ActionValues, action: Spec, exploration: Exploration):
        super().__init__(net.observation, EpsilonGreedyChoice(action))
        self.net, self.exploration = net, exploration

    def explore(self, progress: float) -> None:
        self.distribution.epsilon = self.exploration.at(progress)

    def forward(self, observation: Tensor) -> Tensor:
        return self.net(observation)

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        return {"value": self(inputs["observation"]).gather(-1, action.unsqueeze(-1)).squeeze(-1)}

    @torch.no_grad()
    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        return self(rollout.inputs["observation"]).amax(-1), self(rollout.extras["next_observation"]).amax(-1)


@dataclass(frozen=True)
class ExploringValueNet:
    """How to build `ExploringValues` (see `ActionValueNet`)."""

    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = True
    exploration: Exploration = Exploration()

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "q") -> ExploringValues:
        net = ActionValueNet(hidden=self.hidden, layer_norm=self.layer_norm).build(observation, action, streams, name)
        return ExploringValues(net, action, self.exploration)
