"""How a policy acts while it gathers experience: a net of the method, and what is added so that it explores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from operant.core.errors import BadInput
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


class Choosing(Behaviour, Protocol):
    """Exploration in two parts, for loops that draw for many steps at once, and learn from the very pass in which the policy acted."""

    def draws(self, policy: Policy, streams: Streams, count: int) -> tuple[Tensor, ...]:
        """What `choose` turns into actions, `[S, count, …]` each."""

    def choose(self, policy: Policy, parameters: Tensor, observation: Tensor, draws: tuple[Tensor, ...], progress: float) -> Tensor:
        """Actions `[S, N, …]` in the policy's units.

        Args:
            parameters: what the policy gave at the observations.
            observation: `[S, N, D]`, for its action mask.
            draws: of `draws`, `[S, N, …]` each.
            progress: share of training that is done, 0 to 1.
        """


class InTwoParts:
    """A `Choosing` whose `act` is both parts, one behind the other: a loop may do either for several steps, or with what the policy remembers."""

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        parameters = policy(policy.normalized(observation))
        return self.choose(policy, parameters, observation, self.draws(policy, streams, observation.shape[1]), progress)


@dataclass(frozen=True)
class Sampled(InTwoParts):
    """Actions as the policy draws them."""

    net: str = "actor"

    def draws(self, policy: Policy, streams: Streams, count: int) -> tuple[Tensor, ...]:
        return (policy.distribution.noise(streams, "action", count),)

    def choose(self, policy: Policy, parameters: Tensor, observation: Tensor, draws: tuple[Tensor, ...], progress: float) -> Tensor:
        return policy.distribution.sample(parameters, draws[0])


@dataclass(frozen=True)
class Drawn:
    """Actions as a policy draws them by itself (`Policy.drawn`), where its parameters are no distribution to sample from."""

    net: str

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        return policy.drawn(observation, None, streams)[0]


@dataclass(frozen=True)
class Greedy:
    """The policy's best action: exploration is what the net itself draws in training (noisy layers)."""

    net: str = "q"

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        return policy.distribution.mode(policy(policy.normalized(observation)))


@dataclass(frozen=True)
class EpsilonGreedy(InTwoParts):
    """The policy's best action, or with probability epsilon a uniformly random one.

    Attributes:
        start, end: epsilon at the beginning, and from `share` of training on; linear between them.
    """

    net: str = "q"
    start: float = 1.0
    end: float = 0.05
    share: float = 0.1

    def draws(self, policy: Policy, streams: Streams, count: int) -> tuple[Tensor, ...]:
        return _uniform_draws(policy, streams, count), streams.uniform("epsilon", count)

    def choose(self, policy: Policy, parameters: Tensor, observation: Tensor, draws: tuple[Tensor, ...], progress: float) -> Tensor:
        epsilon = self.end + (self.start - self.end) * max(0.0, 1 - progress / self.share) if self.share else self.end
        best, explore = policy.distribution.mode(parameters), draws[1] < epsilon
        return torch.where(explore.view(*explore.shape, *[1] * (best.ndim - 2)), _uniform(policy, observation, draws[0]), best)


@dataclass(frozen=True)
class UniformlyRandom:
    """Uniformly random actions, of those that an action mask allows, whatever the policy gives."""

    net: str

    def act(self, policy: Policy, observation: Tensor, streams: Streams, progress: float) -> Tensor:
        return _uniform(policy, observation, _uniform_draws(policy, streams, observation.shape[1]))

    def draws(self, policy: Policy, streams: Streams, count: int) -> tuple[Tensor, ...]:
        return (_uniform_draws(policy, streams, count),)

    def choose(self, policy: Policy, parameters: Tensor, observation: Tensor, draws: tuple[Tensor, ...], progress: float) -> Tensor:
        return _uniform(policy, observation, draws[0])


def _uniform_draws(policy: Policy, streams: Streams, count: int) -> Tensor:
    """What `_uniform` turns into actions: these themselves where no mask will forbid one."""
    if policy.observation.mask is None:
        return policy.distribution.uniform(streams, "explore", count)
    if policy.distribution.deviations:
        raise BadInput("random actions are drawn for many steps at once, and under a mask these are choices alone, without numbers beside them")
    return policy.distribution.noise(streams, "explore", count)


def _uniform(policy: Policy, observation: Tensor, draws: Tensor) -> Tensor:
    allowed = policy.observation.allowed(observation)
    return draws if allowed is None else policy.distribution.mode(policy.distribution.forbid(draws, allowed))


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
