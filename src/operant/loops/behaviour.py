"""How a policy acts while it gathers experience: a net of the method, and what is added so that it explores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.nets.actors import Policy


class Behaviour(Protocol):
    """Exploration.

    Attributes:
        net: the name of the net that acts; it is the policy that is evaluated and kept.
    """

    @property
    def net(self) -> str: ...

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        """Actions `[S, N, …]` in the policy's units, at raw observations `[S, N, D]`.

        Args:
            progress: share of training that is done, 0 to 1.
        """


@dataclass(frozen=True)
class Sampled:
    """Actions as the policy draws them."""

    net: str = "actor"

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        noise = policy.distribution.noise(streams, "action", observation.shape[1])
        return policy.distribution.sample(policy(policy.normalized(observation)), noise)


@dataclass(frozen=True)
class Greedy:
    """The policy's best action: exploration is what the net itself draws in training (noisy layers)."""

    net: str = "q"

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        return policy.distribution.mode(policy(policy.normalized(observation)))


@dataclass(frozen=True)
class EpsilonGreedy:
    """The policy's best action, or with probability epsilon a uniformly random one.

    Attributes:
        start, end: epsilon at the beginning, and from `share` of training on; linear between them.
    """

    net: str = "q"
    start: float = 1.0
    end: float = 0.05
    share: float = 0.1

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        epsilon = self.end + (self.start - self.end) * max(0.0, 1 - progress / self.share) if self.share else self.end
        rows = observation.shape[1]
        explored = policy.distribution.uniform(streams, "explore", rows, allowed=policy.observation.allowed(observation))
        best = policy.distribution.mode(policy(policy.normalized(observation)))
        explore = streams.uniform("epsilon", rows) < epsilon
        return torch.where(explore.view(*explore.shape, *[1] * (best.ndim - 2)), explored, best)


@dataclass(frozen=True)
class Noisy:
    """The policy's mode with Gaussian noise on it, clipped to (−1, 1): for actors whose actions tanh bounds.

    Attributes:
        deviation: of the noise, in the policy's units.
    """

    net: str = "actor"
    deviation: float = 0.1

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        mode = policy.distribution.mode(policy(policy.normalized(observation)))
        return (mode + self.deviation * streams.normal("action", *mode.shape[1:])).clamp(-1, 1)
