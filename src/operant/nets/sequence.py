"""An actor that says several actions at a time: a recurrent unit begins at what is seen, and reads nothing but its own actions from there on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from operant.core.random import Streams
from operant.core.spec import Spec
from operant.nets.actors import Policy
from operant.nets.distributions import SquashedGaussian, distribution_for
from operant.nets.encoders import Encoder, build_encoder
from operant.nets.layers import MLP, Linear
from operant.nets.memory import GRUCell
from operant.nets.normalize import RunningNormalizer, observation_normalizer


class SequenceActor(Policy):
    """A squashed Gaussian a step, `interval` of them from one observation: a GRU's first state is a function of what is seen, its inputs are the actions.

    Played, it sees every `interval`th observation and nothing between: its carry is the GRU's state, the last action, and the steps of it that are done.

    Attributes:
        interval: steps between two observations that it sees.
    """

    consists = "an actor of several steps at a time"
    plans = True

    def __init__(
        self,
        observation: Spec,
        distribution: SquashedGaussian,
        encoder: Encoder | None,
        first: MLP,
        cell: GRUCell,
        head: Linear,
        seeds: int,
        interval: int,
        log_std_bounds: tuple[float, float],
        normalizer: RunningNormalizer | None = None,
    ):
        super().__init__(observation, distribution, normalizer)
        self.encoder, self.first, self.cell, self.head = encoder, first, cell, head
        self.seeds, self.interval, self.bounds = seeds, interval, log_std_bounds

    def initial(self, rows: int) -> Tensor:
        return torch.zeros(self.seeds, rows, self.cell.size + self.distribution.features + 1, device=self.device)

    def begin(self, observation: Tensor) -> Tensor:
        """The GRU's state at an observation, `[S, B, H]`."""
        return self.first(observation if self.encoder is None else self.encoder(observation))

    def after(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters of the next action `[S, B, 2 A]`, and the state that gives them, behind the action before `[S, B, A]`."""
        state, _ = self.cell.step(self.cell.project(action.unsqueeze(1)).flatten(0, 1), state)
        mean, log_std = self.distribution.split(self.head(state))
        return torch.cat([mean, log_std.clamp(*self.bounds)], -1), state

    def unroll(self, observation: Tensor, previous: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions `[S, B, J, A]` from one observation and the action before it, and their log-probabilities `[S, B, J]`, differentiable.

        Args:
            noise: `[S, B, J, A]`.
        """
        state, found = self.begin(observation), []
        for draws in noise.unbind(2):
            parameters, state = self.after(state, previous)
            previous, log_prob = self.distribution.sample_with_log_prob(parameters, draws)
            found.append((previous, log_prob))
        actions, log_probs = zip(*found, strict=True)
        return torch.stack(actions, 2), torch.stack(log_probs, 2)

    def decide(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        state, action, clock = carry.split([self.cell.size, self.distribution.features, 1], -1)
        parameters, state = self.after(torch.where(clock == 0, self.begin(observation), state), action)
        return parameters, torch.cat([state, action, (clock + 1) % self.interval], -1)

    def _done(self, carry: Tensor, action: Tensor) -> Tensor:
        """The carry behind an action."""
        state, _, clock = carry.split([self.cell.size, self.distribution.features, 1], -1)
        return torch.cat([state, action, clock], -1)

    @torch.no_grad()
    def drawn(self, observation: Tensor, carry: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        parameters, carry = self.decide(self.normalized(observation), carry)
        action = self.distribution.sample(parameters, self.distribution.noise(streams, "action", observation.shape[1]))
        return action, self._done(carry, action)

    @torch.inference_mode()
    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, Tensor]:
        observation, carry = observation.to(self.device), self.initial(observation.shape[1]) if carry is None else carry
        parameters, carry = self.decide(self.normalized(observation), carry)
        action = self.distribution.mode(parameters)
        return self.distribution.to_environment(action.cpu()), self._done(carry, action)


@dataclass(frozen=True)
class SequenceActorNet:
    """How to build a `SequenceActor`.

    Attributes:
        hidden: widths of the layers between what is seen and the GRU, the last one that of its state.
        interval: actions that it says at a time in training.
        normalize: running normalisation of observations.
    """

    hidden: tuple[int, ...] = (256, 256)
    interval: int = 8
    log_std_bounds: tuple[float, float] = (-20.0, 2.0)
    normalize: bool = False

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "actor") -> SequenceActor:
        distribution, generators = distribution_for(action, SquashedGaussian), streams.torch_generators(f"initialize/{name}")
        encoder = build_encoder(observation, streams, f"{name}/encoder")
        first = MLP([observation.size if encoder is None else encoder.size, *self.hidden], generators)
        cell = GRUCell(distribution.features, self.hidden[-1], 1, generators)
        head = Linear(self.hidden[-1], distribution.size, generators)
        seeds, normalizer = len(generators), observation_normalizer(observation, len(generators)) if self.normalize else None
        return SequenceActor(observation, distribution, encoder, first, cell, head, seeds, self.interval, self.log_std_bounds, normalizer)


class NextObservation(nn.Module):
    """A model that says the next observation itself: `[S, B, D]` and an encoded action `[S, B, A]` to `[S, B, D]`."""

    def __init__(self, net: MLP):
        super().__init__()
        self.net = net

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.net(torch.cat([observation, action], -1))


@dataclass(frozen=True)
class NextObservationNet:
    """How to build a `NextObservation`."""

    hidden: tuple[int, ...] = (400, 300)

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str) -> NextObservation:
        sizes = [observation.size + distribution_for(action).features, *self.hidden, observation.size]
        return NextObservation(MLP(sizes, streams.torch_generators(f"initialize/{name}")))
