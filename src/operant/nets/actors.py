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
from operant.nets.distributions import Categorical, Gaussian, SquashedGaussian, distribution_for
from operant.nets.layers import MLP, Towers, orthogonal
from operant.nets.lifted import LiftedTowers, PlainModule, lift
from operant.nets.normalize import RunningNormalizer


class Actor(nn.Module):
    """From observations to an action distribution.

    Args:
        distribution: of actions.
        net: from observations to the distribution's parameters, or to its mean alone where the standard deviation is free.
        seeds: S.
        log_std: "state" (the network puts it out), or "free": one learned number an action, not a function of the state.
            Without meaning where actions are discrete.
        log_std_bounds: the log standard deviation is clamped to this range.
        normalizer: of observations.
        tanh_mean: bound the mean of an unsquashed Gaussian to the action space by tanh.
    """

    unit = "step"  # a minibatch is made of single steps

    def __init__(
        self,
        distribution: Categorical | Gaussian | SquashedGaussian,
        net: nn.Module,
        seeds: int,
        *,
        log_std: Literal["free", "state"] = "state",
        log_std_bounds: tuple[float, float] = (-20.0, 2.0),
        normalizer: RunningNormalizer | None = None,
        tanh_mean: bool = False,
    ):
        super().__init__()
        self.distribution, self.net, self.seeds = distribution, net, seeds
        self.log_std_bounds = log_std_bounds
        self.free_log_std = not distribution.discrete and log_std == "free"
        self.tanh_mean = tanh_mean and not distribution.discrete
        if self.free_log_std:
            self.log_std = nn.Parameter(torch.zeros(seeds, 1, distribution.action_size))
        if self.tanh_mean:
            for name, value in zip(("mean_center", "mean_scale"), distribution.middle_and_half(), strict=True):
                self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        self.normalizer = normalizer

    @property
    def discrete(self) -> bool:
        return self.distribution.discrete

    def normalized(self, observation: Tensor) -> Tensor:
        """Observations as the network sees them."""
        return observation if self.normalizer is None else self.normalizer(observation)

    def forward(self, observation: Tensor) -> Tensor:
        """Distribution parameters `[S, …, size]` from normalised observations `[S, …, D]`."""
        return self._distribution_parameters(self.net(observation))

    def _distribution_parameters(self, out: Tensor) -> Tensor:
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
        return self._found(self(inputs["observation"]), action, needs)

    def _found(self, parameters: Tensor, action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        found = {"log_prob": self.distribution.log_prob(parameters, action)}
        if "entropy" in needs:
            found["entropy"] = self.distribution.entropy(parameters)
        if "logits" in needs:
            found["logits"] = parameters
        return found


class Critic(nn.Module):
    """An ensemble of value functions of any concatenated inputs: `[S, B, …] → [S, E, B]`."""

    def __init__(
        self, inputs: int, streams: Streams, name: str, *, hidden: Sequence[int], ensemble: int = 2, activation: str = "relu", layer_norm: bool = False
    ):
        super().__init__()
        self.net = MLP([inputs, *hidden, 1], streams.torch_generators(f"initialize/{name}"), activation=activation, ensemble=ensemble, layer_norm=layer_norm)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(torch.cat(inputs, -1) if len(inputs) > 1 else inputs[0]).squeeze(-1)


class ActorCritic(Actor):
    """An actor and a state-value function, for policy gradients on observations. Its `net` is a `Towers`."""

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        if "value" not in needs:
            return super().replay(inputs, action, needs)
        out, value = self.net.both(inputs["observation"])
        return self._found(self._distribution_parameters(out), action, needs) | {"value": value}

    def value(self, observation: Tensor) -> Tensor:
        """`[S, …]` from normalised observations `[S, …, D]`."""
        return self.net.value(observation)

    @torch.no_grad()
    def values(self, rollout) -> tuple[Tensor, Tensor]:
        """V of each step's observation and of its true successor, `[S, N, T]` each."""
        return self.value(rollout.inputs["observation"]), self.value(rollout.extras["next_observation"])


@dataclass(frozen=True)
class ActorCriticNet:
    """How to build an `ActorCritic` for a task (the usual PPO network: separate tanh towers, orthogonal initialisation).

    Attributes:
        hidden: widths of both towers.
        normalize: running normalisation of observations.
        module: a plain module in the place of the actor's tower: from observations to logits, or to the mean of a Gaussian.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    normalize: bool = False
    module: PlainModule | None = None

    def build(self, observation_size: int, space: gymnasium.Space, streams: Streams) -> ActorCritic:
        distribution = distribution_for(space)
        outputs = distribution.size if distribution.discrete else distribution.action_size
        generators, inner, value = streams.torch_generators("initialize/towers"), orthogonal(2**0.5), orthogonal(1.0)
        if self.module is None:
            towers = Towers(
                observation_size,
                self.hidden,
                outputs,
                generators,
                activation=self.activation,
                initialize=inner,
                actor_last=orthogonal(0.01),
                critic_last=value,
            )
        else:
            critic = MLP([observation_size, *self.hidden, 1], generators, activation=self.activation, hidden=inner, last=value)
            towers = LiftedTowers(lift(self.module, observation_size, outputs, streams), critic)
        seeds = len(streams.seeds)
        return ActorCritic(distribution, towers, seeds, log_std="free", normalizer=RunningNormalizer(seeds, observation_size) if self.normalize else None)


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
    """How to build an actor (see `Actor`).

    Attributes:
        squash: a Gaussian through tanh onto the bounds of the action space; otherwise a Gaussian in the space's own units.
        module: a plain module in the place of the network: from observations to logits, to a Gaussian's mean, or to mean and log standard deviation side by
            side where `log_std` is "state".
    """

    hidden: tuple[int, ...] = (256, 256)
    squash: bool = False
    log_std: str = "state"
    log_std_bounds: tuple[float, float] = (-20.0, 2.0)
    tanh_mean: bool = False
    module: PlainModule | None = None

    def build(self, observation_size: int, space: gymnasium.Space, streams: Streams) -> Actor:
        distribution = distribution_for(space, SquashedGaussian if self.squash else Gaussian)
        outputs = distribution.size if distribution.discrete or self.log_std == "state" else distribution.action_size
        if self.module is None:
            net = MLP([observation_size, *self.hidden, outputs], streams.torch_generators("initialize/actor"))
        else:
            net = lift(self.module, observation_size, outputs, streams)
        return Actor(distribution, net, len(streams.seeds), log_std=self.log_std, log_std_bounds=self.log_std_bounds, tanh_mean=self.tanh_mean)
