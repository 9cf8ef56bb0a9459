"""Policies for observations, and critics, all with a seed axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from operant.core.random import Streams
from operant.nets.distributions import Gaussian, SquashedGaussian, distribution_for
from operant.nets.layers import MLP, Initialize, orthogonal, uniform_fan_in
from operant.nets.normalize import RunningNormalizer


class Actor(nn.Module):
    """From observations to an action distribution.

    Args:
        observation_size: D.
        space: the action space (Discrete or Box).
        streams: where initial weights come from (stream "initialize/actor").
        hidden: widths of the hidden layers.
        squash: a Gaussian through tanh onto the bounds of the space; otherwise a Gaussian in the space's units.
        log_std: "free" (one learned number an action, not a function of the state), "state" (the network puts it out), or "none" where actions are discrete.
        log_std_bounds: the log standard deviation is clamped to this range.
        normalize: hold a running normaliser of observations, through which `forward` puts them.
        tanh_mean: bound the mean of an unsquashed Gaussian to the action space by tanh (IQL's actor).
    """

    def __init__(
        self,
        observation_size: int,
        space: gymnasium.Space,
        streams: Streams,
        *,
        hidden: Sequence[int],
        activation: str = "relu",
        squash: bool = False,
        log_std: Literal["free", "state"] = "free",
        log_std_initial: float = 0.0,
        log_std_bounds: tuple[float, float] = (-20.0, 2.0),
        hidden_init: Initialize = uniform_fan_in,
        last_init: Initialize | None = None,
        normalize: bool = False,
        tanh_mean: bool = False,
    ):
        super().__init__()
        self.distribution = distribution_for(space, SquashedGaussian if squash else Gaussian)
        seeds = len(streams.seeds)
        discrete = self.distribution.discrete
        self.log_std_bounds = log_std_bounds
        self.free_log_std = not discrete and log_std == "free"
        self.tanh_mean = tanh_mean and not discrete
        outputs = self.distribution.action_size if self.free_log_std else self.distribution.size
        self.net = MLP(
            [observation_size, *hidden, outputs], streams.torch_generators("initialize/actor"), activation=activation, hidden=hidden_init, last=last_init
        )
        if self.free_log_std:
            self.log_std = nn.Parameter(torch.full((seeds, 1, outputs), float(log_std_initial)))
        if self.tanh_mean:
            self.register_buffer("mean_center", torch.from_numpy((self.distribution.high + self.distribution.low) / 2).float(), persistent=False)
            self.register_buffer("mean_scale", torch.from_numpy((self.distribution.high - self.distribution.low) / 2).float(), persistent=False)
        self.normalizer = RunningNormalizer(seeds, observation_size) if normalize else None

    @property
    def discrete(self) -> bool:
        return self.distribution.discrete

    def normalized(self, observation: Tensor) -> Tensor:
        """Observations as the network sees them."""
        return observation if self.normalizer is None else self.normalizer(observation)

    def forward(self, observation: Tensor) -> Tensor:
        """Distribution parameters `[S, …, size]` from normalised observations `[S, …, D]`."""
        out = self.net(observation)
        if self.discrete:
            return out
        if self.free_log_std:
            log_std = self.log_std if out.ndim == 3 else self.log_std.view(out.shape[0], *[1] * (out.ndim - 2), -1)
            mean, log_std = out, log_std.clamp(*self.log_std_bounds).expand_as(out)
        else:
            mean, log_std = self.distribution.split(out)
            log_std = log_std.clamp(*self.log_std_bounds)
        if self.tanh_mean:
            mean = torch.tanh(mean) * self.mean_scale + self.mean_center
        return torch.cat([mean, log_std], -1)

    @torch.inference_mode()
    def act(self, observation: Tensor) -> np.ndarray:
        """The mode of the policy at raw observations `[S, N, D]`, in the environment's units: `[S, N]` or `[S, N, A]`."""
        return self.distribution.to_environment(self.distribution.mode(self(self.normalized(observation))).cpu())

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        """The replay contract: `inputs["observation"] [S, …, D]` (as the network sees them)."""
        parameters = self(inputs["observation"])
        found = {"log_prob": self.distribution.log_prob(parameters, action)}
        if "entropy" in needs:
            found["entropy"] = self.distribution.entropy(parameters)
        if "logits" in needs:
            found["logits"] = parameters
        return found


class Critic(nn.Module):
    """An ensemble of value functions of any concatenated inputs: `[S, B, …] → [S, E, B]`."""

    def __init__(self, inputs: int, streams: Streams, name: str, *, hidden: Sequence[int], ensemble: int = 2, activation: str = "relu", layer_norm: bool = False):
        super().__init__()
        self.net = MLP([inputs, *hidden, 1], streams.torch_generators(f"initialize/{name}"), activation=activation, ensemble=ensemble, layer_norm=layer_norm)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(torch.cat(inputs, -1) if len(inputs) > 1 else inputs[0]).squeeze(-1)


class ActorCritic(nn.Module):
    """An actor and a state-value function, for policy gradients on observations."""

    unit = "step"  # a minibatch is made of single steps

    def __init__(self, actor: Actor, critic: MLP | None):
        super().__init__()
        self.actor = actor
        self.critic = critic

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        found = self.actor.replay(inputs, action, needs)
        if "value" in needs:
            found["value"] = self.value(inputs["observation"])
        return found

    def value(self, observation: Tensor) -> Tensor:
        """`[S, …]` from normalised observations `[S, …, D]`."""
        return self.critic(observation).squeeze(-1)

    @torch.no_grad()
    def values(self, rollout) -> tuple[Tensor, Tensor]:
        """V of each step's observation and of its true successor, `[S, N, T]` each."""
        return self.value(rollout.inputs["observation"]), self.value(rollout.extras["next_observation"])

    def act(self, observation: Tensor) -> np.ndarray:
        return self.actor.act(observation)


@dataclass(frozen=True)
class ActorCriticNet:
    """How to build an `ActorCritic` for a task (the usual PPO network: separate tanh towers, orthogonal initialisation).

    Attributes:
        hidden: widths of both towers.
        normalize: running normalisation of observations.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    normalize: bool = False

    def build(self, observation_size: int, space: gymnasium.Space, streams: Streams) -> ActorCritic:
        gain = 2**0.5
        actor = Actor(
            observation_size,
            space,
            streams,
            hidden=self.hidden,
            activation=self.activation,
            hidden_init=orthogonal(gain),
            last_init=orthogonal(0.01),
            normalize=self.normalize,
        )
        critic = MLP(
            [observation_size, *self.hidden, 1],
            streams.torch_generators("initialize/critic"),
            activation=self.activation,
            hidden=orthogonal(gain),
            last=orthogonal(1.0),
        )
        return ActorCritic(actor, critic)


@dataclass(frozen=True)
class CriticNet:
    """How to build one critic: an ensemble over the concatenation of its inputs.

    Attributes:
        inputs: fields of the batch that it sees, in order.
    """

    inputs: tuple[str, ...] = ("observation", "action")
    hidden: tuple[int, ...] = (256, 256)
    ensemble: int = 2
    layer_norm: bool = False


@dataclass(frozen=True)
class ActorNet:
    """How to build an actor (see `Actor`)."""

    hidden: tuple[int, ...] = (256, 256)
    squash: bool = False
    log_std: str = "state"
    log_std_bounds: tuple[float, float] = (-20.0, 2.0)
    tanh_mean: bool = False

    def build(self, observation_size: int, space, streams: Streams) -> Actor:
        return Actor(
            observation_size,
            space,
            streams,
            hidden=self.hidden,
            squash=self.squash,
            log_std=self.log_std,
            log_std_bounds=self.log_std_bounds,
            tanh_mean=self.tanh_mean,
        )
