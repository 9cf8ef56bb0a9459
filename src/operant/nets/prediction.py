"""What predicts the return of a policy that it does not choose: the one that acts uniformly at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Spec
from operant.nets.actors import Critic, CriticNet, Policy
from operant.nets.distributions import Distribution, distribution_for
from operant.nets.layers import Initialize, uniform_fan_in
from operant.nets.normalize import CLIP, RunningNormalizer, observation_normalizer
from operant.nets.traced import Traced


class Predictor(Policy):
    """A state-value function, `[S, …, D] → [S, …]`, of the policy that acts uniformly at random, which it is too: the one policy whose `act` draws, from the
    streams that it was built with.

    Attributes:
        deviation: `[S, 1]`, what values are in units of.
    """

    consists = "values of observations"

    deviation: Tensor

    def __init__(self, observation: Spec, distribution: Distribution, critic: Critic, streams: Streams, normalizer: RunningNormalizer | None):
        super().__init__(observation, distribution, normalizer)
        self.critic, self._streams = critic, streams
        self.register_buffer("deviation", torch.ones(len(streams.seeds), 1))

    @property
    def acting(self) -> Policy:
        raise BadInput("this run learned the values of a policy that acts at random: there is no mode to act by")

    def forward(self, observation: Tensor) -> Tensor:
        return self.critic(observation)

    def traced(self) -> Traced:
        return self.critic.traced()

    def predicted(self, observation: Tensor) -> Tensor:
        """The discounted return from raw observations `[S, N, D]`, in the environment's units, `[S, N]`."""
        with torch.no_grad():
            return self(self.normalized(observation.to(self.device))) * self.deviation

    def drawn(self, observation: Tensor, carry: None, streams: Streams) -> tuple[Tensor, None]:
        return self.distribution.uniform(streams, "random actions", observation.shape[1], allowed=self.observation.allowed(observation.to(self.device))), None

    @torch.inference_mode()
    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, None]:
        return self.distribution.to_environment(self.drawn(observation, None, self._streams)[0].cpu()), None


@dataclass(frozen=True)
class PredictorNet:
    """How to build a `Predictor`. Its fields are those of `CriticNet`, and `normalize` and `clip` of `ActorNet`."""

    hidden: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    initialize: Initialize = uniform_fan_in
    layer_norm: bool = False
    normalize: bool = False
    clip: float = CLIP

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "v") -> Predictor:
        net = CriticNet(("observation",), self.hidden, self.activation, self.initialize, ensemble=None, layer_norm=self.layer_norm)
        normalizer = observation_normalizer(observation, len(streams.seeds), self.clip) if self.normalize else None
        return Predictor(observation, distribution_for(action), net.build(observation, action, streams, name), streams, normalizer)
