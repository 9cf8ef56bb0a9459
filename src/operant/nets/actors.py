"""Policies for observations, and critics, all with a seed axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.spec import Spec
from operant.nets.distributions import Categorical, Distribution, Gaussian, SquashedGaussian, SquashedMixture, TanhPoint, distribution_for
from operant.nets.encoders import Encoded, Encoder, build_encoder
from operant.nets.heads import VALUE, Head, Quantiles
from operant.nets.kernels import standing
from operant.nets.layers import MLP, Draws, Initialize, Linear, Residual, Routed, Towers, in_training, linear, network, orthogonal, still, uniform_fan_in
from operant.nets.lifted import Lifted, LiftedTowers, PlainModule, lift
from operant.nets.memory import Memory, MemoryNet
from operant.nets.normalize import CLIP, RunningNormalizer, observation_normalizer
from operant.nets.policy import TrainedPolicy
from operant.nets.traced import Pull, Traced, TracedModule, by_layers

LogStd = Literal["free", "state", "smooth", "softplus"]  # where log standard deviations come from, see `Actor`
Decide = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]  # `Policy.decide`


class Policy(TrainedPolicy, TracedModule):
    """What acts at observations: a network whose output its distribution turns into actions.

    Args:
        observation: what a row of it consists of. Where it has an action mask, no choice that the mask forbids is drawn, preferred or given a probability.
        distribution: of actions.
        normalizer: of observations.

    Attributes:
        plans: what it carries is what it still does of what it decided, and nothing that it saw, so that single transitions teach it.
    """

    plans: ClassVar[bool] = False
    consists = "an actor"

    def __init__(self, observation: Spec, distribution: Distribution, normalizer: RunningNormalizer | None = None):
        super().__init__()
        self.observation, self.distribution, self.normalizer = observation, distribution, normalizer

    @property
    def acting(self) -> Policy:
        """What acts by its mode: of an archive its fittest elite. Raises `BadInput` where nothing does."""
        return self

    @property
    def far(self) -> str:
        return self.distribution.far

    @property
    def stochastic(self) -> bool:
        """Whether it draws what it does; otherwise its mode is all that it has."""
        return self.distribution.stochastic

    def normalized(self, observation: Tensor) -> Tensor:
        """Observations as the network sees them."""
        return observation if self.normalizer is None else self.normalizer(observation)

    def allowed(self, parameters: Tensor, observation: Tensor) -> Tensor:
        """Parameters under which nothing is drawn or preferred that an observation's action mask forbids."""
        allowed = self.observation.allowed(observation)
        return parameters if allowed is None else self.distribution.forbid(parameters, allowed)

    def allowed_gradient(self, gradient: Tensor, observation: Tensor) -> Tensor:
        """A gradient of what `allowed` gave, of what it was given: nothing hangs on what is forbidden."""
        allowed = self.observation.allowed(observation)
        if allowed is None:
            return gradient
        choices, rest = gradient.tensor_split([self.distribution.choices], -1)
        return torch.cat([choices.masked_fill(~allowed, 0.0), rest], -1)

    def drawn(self, observation: Tensor, carry: Tensor | None, streams: Streams) -> tuple[Tensor, Tensor | None]:
        """Actions `[S, N, …]` in its own units at raw observations `[S, N, D]`, drawn from the stream "action", and the carry after them."""
        parameters, carry = self.decide(self.normalized(observation), carry)
        return self.distribution.sample(parameters, self.distribution.noise(streams, "action", observation.shape[1])), carry

    def initial(self, rows: int) -> Tensor | None:
        """The carry of N rows whose episodes begin, `[S, N, C]`: what the policy knows of the steps before. None where it remembers nothing."""
        return None

    def decide(self, observation: Tensor, carry: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The distribution's parameters `[S, N, size]` at normalised observations `[S, N, D]`, and the carry after them."""
        return self(observation), None

    def standing(self) -> Decide:
        """`decide` for many calls between which no weight changes, without gradients."""
        return self.decide

    @torch.inference_mode()
    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, Tensor | None]:
        """The mode of the policy at raw observations `[S, N, D]`, as `Environments.step` takes actions: `[S, N]` or `[S, N, A]`, and the carry after it.

        It draws nothing, whatever the mode.

        Args:
            observation: on any device.
            carry: as this gave it at the step before; None where all episodes begin.
        """
        observation, carry = observation.to(self.device), self.initial(observation.shape[1]) if carry is None else carry
        with still():
            parameters, carry = self.decide(self.normalized(observation), carry)
        return self.distribution.to_environment(self.distribution.mode(parameters).cpu()), carry


class Stochastic:
    """A policy as it draws its actions, in the place of its mode, for whoever asks it to `act`.

    Args:
        policy: one that is `stochastic`.
        streams: of as many seeds.
    """

    def __init__(self, policy: Policy, streams: Streams):
        self.policy, self.streams = policy, streams

    def initial(self, rows: int) -> Tensor | None:
        return self.policy.initial(rows)

    @torch.inference_mode()
    def act(self, observation: Tensor, carry: Tensor | None = None) -> tuple[np.ndarray, Tensor | None]:
        """As `Policy.act`, but what is drawn."""
        observation, carry = observation.to(self.policy.device), self.initial(observation.shape[1]) if carry is None else carry
        with still():
            action, carry = self.policy.drawn(observation, carry, self.streams)
        return self.policy.distribution.to_environment(action.cpu()), carry


class Actor(Policy):
    """From observations to an action distribution.

    Args:
        observation, distribution, normalizer: see `Policy`.
        net: from observations to the distribution's parameters, or to its locations alone where the standard deviation is free.
        seeds: S.
        log_std: "state" (the network puts it out), "smooth" (the same, through tanh onto the bounds, in whose middle it begins), "softplus" (the network puts
            out what softplus makes the standard deviation of), or "free": one learned number an action, not a function of the state. Without meaning where
            actions are choices.
        log_std_bounds: the log standard deviation is kept within this range, clamped unless it is smooth.
        tanh_mean: bound the mean of an unsquashed Gaussian to the action space by tanh.
    """

    def __init__(
        self,
        observation: Spec,
        distribution: Distribution,
        net: nn.Module,
        seeds: int,
        *,
        log_std: LogStd = "state",
        log_std_bounds: tuple[float, float] = (-20.0, 2.0),
        normalizer: RunningNormalizer | None = None,
        tanh_mean: bool = False,
    ):
        super().__init__(observation, distribution)
        self.net, self.seeds = net, seeds
        self.log_std_bounds = log_std_bounds
        self.free_log_std = distribution.deviations > 0 and log_std == "free"
        self.smooth_log_std = distribution.deviations > 0 and log_std == "smooth"
        self.softplus = distribution.deviations > 0 and log_std == "softplus"
        self.tanh_mean = tanh_mean and distribution.deviations > 0
        if self.free_log_std:
            self.log_std = nn.Parameter(torch.zeros(seeds, 1, distribution.deviations))
        elif distribution.deviations and not self.smooth_log_std:
            for name, bound in zip(("lowest", "highest"), log_std_bounds, strict=True):
                unbounded = torch.full((distribution.locations,), torch.inf if name == "highest" else -torch.inf)
                self.register_buffer(name, torch.cat([unbounded, torch.full((distribution.deviations,), bound)]), persistent=False)
        if self.tanh_mean:
            for name, value in zip(("mean_center", "mean_scale"), distribution.middle_and_half(), strict=True):
                self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        self.normalizer = normalizer

    @property
    def far(self) -> str:
        return "" if self.tanh_mean else super().far

    def forward(self, observation: Tensor) -> Tensor:
        """Distribution parameters `[S, …, size]` from normalised observations `[S, …, D]`."""
        return self._distribution_parameters(self.net(observation), observation)

    def _distribution_parameters(self, out: Tensor, observation: Tensor) -> Tensor:
        distribution = self.distribution
        if distribution.deviations:
            if self.free_log_std:
                log_std = self.log_std if out.ndim == 3 else self.log_std.view(out.shape[0], *[1] * (out.ndim - 2), -1)
                locations, log_std = out, log_std.clamp(*self.log_std_bounds).expand(*out.shape[:-1], -1)
            elif self.smooth_log_std:
                low, high = self.log_std_bounds
                locations, log_std = distribution.split(out)
                log_std = low + (high - low) / 2 * (1 + torch.tanh(log_std))
            elif self.softplus:
                locations, raw = distribution.split(out)
                log_std = nn.functional.softplus(raw).log().clamp(*self.log_std_bounds)
            else:
                out = out.clamp(self.lowest, self.highest)
                if not self.tanh_mean:
                    return self.allowed(out, observation)
                locations, log_std = distribution.split(out)
            if self.tanh_mean:
                logits, mean = locations.split([distribution.choices, distribution.deviations], -1)
                mean = torch.tanh(mean) * self.mean_scale + self.mean_center
                locations = torch.cat([logits, mean], -1) if distribution.choices else mean
            out = torch.cat([locations, log_std], -1)
        return self.allowed(out, observation)

    def traced(self) -> Traced:
        run = by_layers(self.net) if isinstance(self.net, MLP) else None
        if run is None or self.free_log_std or self.smooth_log_std or self.tanh_mean:
            return super().traced()

        def traced(observation: Tensor) -> tuple[Tensor, Pull]:
            raw, pull = run(observation)
            return self._distribution_parameters(raw, observation), lambda gradient: pull(self._raw_gradient(gradient, raw, observation))

        return traced

    def _raw_gradient(self, gradient: Tensor, raw: Tensor, observation: Tensor) -> Tensor:
        """A gradient of the distribution's parameters, of what the network gave."""
        gradient = self.allowed_gradient(gradient, observation)
        if self.softplus:
            of_locations, of_log_std = self.distribution.split(gradient)
            found = self.distribution.split(raw)[1]
            deviation = nn.functional.softplus(found)
            low, high = self.log_std_bounds
            within = (deviation.log() >= low) & (deviation.log() <= high)
            return torch.cat([of_locations, of_log_std * torch.sigmoid(found) / deviation * within], -1)
        return gradient * ((raw >= self.lowest) & (raw <= self.highest)) if self.distribution.deviations else gradient

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        """The replay contract: `inputs["observation"] [S, …, D]` (as the network sees them), and for divergences `inputs["acted"] [S, …, size]`, the parameters
        that were acted from."""
        return self._found(self(inputs["observation"]), inputs, action, needs)

    def _found(self, parameters: Tensor, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        if "entropy" in needs:
            found = dict(zip(("log_prob", "entropy"), self.distribution.log_prob_and_entropy(parameters, action), strict=True))
        else:
            found = {"log_prob": self.distribution.log_prob(parameters, action)}
        if "logits" in needs:
            found["logits"] = parameters
        if "kl_to_acted" in needs:
            found["kl_to_acted"] = self.distribution.kl(parameters, inputs["acted"])
        if "kl_from_acted" in needs:
            found["kl_from_acted"] = self.distribution.kl(inputs["acted"], parameters)
        return found


class Critic(TracedModule):
    """An ensemble of value functions of any concatenated inputs: `[S, B, …] → [S, E, B]`, or a single one, `[S, B, …] → [S, B]`.

    Args:
        net: of all inputs side by side, `[S, B, …] → [S, E, B, head.size]`, or `[S, B, head.size]`.
        head: what its last layer says of a value.
        encoder: of those inputs that `observes` says are rows of observations; one for the whole ensemble.
    """

    def __init__(self, net: MLP | Residual, head: Head = VALUE, *, encoder: Encoder | None = None, observes: Sequence[bool] = ()):
        super().__init__()
        self.net, self.head = net, head
        self.encoder, self._observes = encoder, tuple(observes)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.head.mean(self.outputs(*inputs))

    def outputs(self, *inputs: Tensor) -> Tensor:
        """What its head is a function of, `[S, E, B, head.size]`: the logits of a histogram, or quantiles."""
        if self.encoder is not None:
            inputs = tuple(self.encoder(x) if observed else x for x, observed in zip(inputs, self._observes, strict=True))
        return self.net(torch.cat(inputs, -1) if len(inputs) > 1 else inputs[0])

    def traced(self) -> Traced:
        run = by_layers(self.net) if self.encoder is None and isinstance(self.net, MLP) and self.head.size == 1 else None
        if run is None:
            return super().traced()

        def traced(observation: Tensor) -> tuple[Tensor, Pull]:
            raw, pull = run(observation)
            return raw.squeeze(-1), lambda gradient: pull(gradient.unsqueeze(-1))

        return traced

    def member(self, index: int, *inputs: Tensor) -> Tensor:
        """One of the value functions, `[S, B]`; the others are not computed where layers are plain ones."""
        if self.encoder is not None or not isinstance(self.net, MLP) or self.net.dropouts or self.net.batch_norms:
            return self(*inputs)[:, index]
        return self.head.mean(self.net.member(torch.cat(inputs, -1), index))


class RecurrentCritic(nn.Module):
    """An ensemble of value functions behind one memory, for windows of episodes.

    Args:
        critic: of what the memory gives and an action.
        encoder: of observations that are no vectors of numbers.
    """

    def __init__(self, memory: Memory, critic: Critic, encoder: Encoder | None):
        super().__init__()
        self.memory, self.critic, self.encoder = memory, critic, encoder

    def remember(self, observation: Tensor, begins: Tensor) -> Tensor:
        """What the memory gives at normalised observations, `[S, N, T, D]` to `[S, N, T, H]`; see `RecurrentActor.forward`."""
        seeds, rows = observation.shape[:2]
        features = observation.flatten(1, 2) if self.encoder is None else self.encoder(observation.flatten(1, 2))
        empty = observation.new_zeros(seeds, rows, self.memory.carried)
        return self.memory(features.unflatten(1, observation.shape[1:3]).unsqueeze(1), empty, begins)[0].squeeze(1)

    def forward(self, remembered: Tensor, action: Tensor) -> Tensor:
        """Values `[S, E, B]` of actions `[S, B, A]` at what was remembered, `[S, B, H]`."""
        return self.critic(remembered, action)


class ActionValues(Policy):
    """Q of every choice, `[S, …, D] → [S, …, A]`; its policy is greedy among those that are allowed.

    Args:
        trunk: hidden layers, `[S, …, D] → [S, …, H]`.
        advantage: `[S, …, H] → [S, …, A · K]`, the outputs themselves where `value` is None.
        value: `[S, …, H] → [S, …, K]`, for duelling heads: Q = V + A − mean of A (arXiv:1511.06581, eq. 9), in each of the K outputs.
        head: what K outputs say of a return.
    """

    consists = "values of actions"
    stochastic = False

    def __init__(
        self,
        observation: Spec,
        distribution: Distribution,
        trunk: nn.Module,
        advantage: nn.Module,
        value: nn.Module | None,
        head: Head = VALUE,
        normalizer: RunningNormalizer | None = None,
    ):
        super().__init__(observation, distribution, normalizer)
        self.trunk, self.advantage, self.value, self.head = trunk, advantage, value, head

    def outputs(self, observation: Tensor) -> Tensor:
        """What the head says of each action, `[S, …, A, K]`: its value, quantiles, or the logits of a histogram.

        All values and quantiles of a forbidden action are -1e8, so that whatever is taken of them prefers none. Logits say nothing of a mask: `values` does.
        """
        return self._obeying(self._joined(self.trunk(observation)), observation)

    def values(self, outputs: Tensor, observation: Tensor) -> Tensor:
        """Q `[S, …, A]` from what `outputs` gave; -1e8 of a forbidden action."""
        return self.allowed(self.head.mean(outputs), observation)

    def forward(self, observation: Tensor) -> Tensor:
        return self.values(self.outputs(observation), observation)

    @property
    def _plain(self) -> bool:
        """Whether it is a perceptron, whose last layer gives the values themselves."""
        return isinstance(self.trunk, MLP) and self.trunk.plain and self.value is None and self.head.size == 1

    def standing(self) -> Decide:
        if not self._plain or self.trunk.layer_norm or self.trunk.fused is None:
            return self.decide
        net = standing([*self.trunk.parameters_in_turn, self.advantage.weight, self.advantage.bias], self.trunk.fused, self.trunk.activated)
        return lambda observation, carry: (self.allowed(net(observation), observation), None)

    def traced(self) -> Traced:
        run = by_layers(self.trunk, self.advantage) if self._plain else None
        if run is None:
            return super().traced()

        def traced(observation: Tensor) -> tuple[Tensor, Pull]:
            raw, pull = run(observation)
            return self.allowed(raw, observation), lambda gradient: pull(self.allowed_gradient(gradient, observation))

        return traced

    def _obeying(self, outputs: Tensor, observation: Tensor) -> Tensor:
        allowed = self.observation.allowed(observation)
        return outputs if allowed is None else self.head.forbid(outputs, allowed)

    def _joined(self, hidden: Tensor) -> Tensor:
        """From hidden features to the outputs of all actions, forbidden or not."""
        advantage = self.advantage(hidden).unflatten(-1, (self.distribution.size, -1))
        return advantage if self.value is None else self.value(hidden).unsqueeze(-2) + advantage - advantage.mean(-2, keepdim=True)


class ImplicitActionValues(ActionValues):
    """Q as the mean of quantiles at K fractions (IQN, arXiv:1806.06923), which each pass draws in training, the same ones for all rows. Out of training they
    are the middles of K equal parts. In a loss, `quantiles` takes any fractions.

    Args:
        head: K quantiles.
        embedding: from cosines of a fraction to features that multiply the trunk's, `[S, …, C] → [S, …, H]`.
        behind: the last hidden layer, which sees the product; None where there is one hidden layer, the trunk's.
        cosines: C; of π times the fraction, two times, up to C times (a constant is the embedding's bias).
    """

    head: Quantiles

    def __init__(
        self,
        observation: Spec,
        distribution: Distribution,
        trunk: nn.Module,
        advantage: nn.Module,
        value: nn.Module | None,
        head: Quantiles,
        normalizer: RunningNormalizer | None = None,
        *,
        embedding: Linear,
        behind: nn.Module | None,
        cosines: int,
        draws: Draws,
    ):
        super().__init__(observation, distribution, trunk, advantage, value, head, normalizer)
        self.embedding, self.behind, self._draws = embedding, behind, draws
        self.register_buffer("_times", torch.arange(1, cosines + 1) * torch.pi, persistent=False)

    def outputs(self, observation: Tensor) -> Tensor:
        fractions = self._fractions(observation)
        return self.quantiles(observation, fractions.view(len(fractions), *[1] * (observation.ndim - 2), -1).expand(*observation.shape[:-1], -1))

    def _fractions(self, observation: Tensor) -> Tensor:
        """`[S, K]`."""
        if in_training(self):
            return self._draws.streams.uniform(self._draws.name, self.head.count)
        return self.head.fractions(observation).expand(len(observation), -1)

    def _embedded(self, fractions: Tensor) -> Tensor:
        """`[S, …, K]` → `[S, …, K, H]`."""
        return torch.relu(self.embedding(torch.cos(fractions.unsqueeze(-1) * self._times)))

    def traced(self) -> Traced:
        return TracedModule.traced(self)

    def quantiles(self, observation: Tensor, fractions: Tensor) -> Tensor:
        """Quantiles `[S, …, A, K]` of every action's return at `fractions [S, …, K]`, each in [0, 1]; -1e8 of a forbidden action."""
        hidden = self.trunk(observation).unsqueeze(-2) * self._embedded(fractions)  # [S, …, K, H]
        found = self._joined(hidden if self.behind is None else self.behind(hidden))  # [S, …, K, A, 1]
        return self._obeying(found.squeeze(-1).mT, observation)


class ActorCritic(Actor):
    """An actor and a state-value function, for policy gradients on observations. Its `net` is a `Towers`."""

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        if "value" not in needs:
            return super().replay(inputs, action, needs)
        out, value = self.net.both(inputs["observation"])
        return self._found(self._distribution_parameters(out, inputs["observation"]), inputs, action, needs) | {"value": value}

    def standing(self) -> Decide:
        net = self.net.standing()
        return lambda observation, carry: (self._distribution_parameters(net(observation), observation), None)

    def value(self, observation: Tensor) -> Tensor:
        """`[S, …]` from normalised observations `[S, …, D]`."""
        return self.net.value(observation)

    @torch.no_grad()
    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """V of each step's observation and of its true successor, `[S, N, T]` each."""
        return self.value(rollout.inputs["observation"]), self.value(rollout.extras["next_observation"])


class Remembering(Actor):
    """What remembers its episode: encoders, a memory, and layers that read it."""

    span = "row"
    memory: Memory

    def encode(self, observation: Tensor) -> Tensor:
        """Features `[S, U, F]` of normalised observations `[S, U, D]`, or `[S, E, U, F]`, of each member of the memory."""
        raise NotImplementedError

    def read(self, remembered: Tensor) -> Tensor:
        """What the layers give that decide on the action, at what the memory gave, `[S, …, H]`."""
        raise NotImplementedError

    def standing(self) -> Decide:
        return self.decide

    def initial(self, rows: int) -> Tensor:
        return torch.zeros(self.seeds, rows, self.memory.carried, device=self.device)

    def decide(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        remembered, carries = self.remember(observation.unsqueeze(2), carry)
        return self._distribution_parameters(self.read(remembered[:, 0, :, 0]), observation), carries[:, :, 0]

    def remember(self, observation: Tensor, carry: Tensor, begins: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the memory gives at normalised observations `[S, N, T, D]`: `[S, E, N, T, H]`, and the carry after each, `[S, N, T, C]`."""
        features = self.encode(observation.flatten(1, 2))
        if features.ndim == 3:
            features = features.unsqueeze(1).expand(-1, self.memory.members, -1, -1)
        return self.memory(features.unflatten(2, observation.shape[1:3]), carry, begins)


class RecurrentActor(Remembering):
    """An actor that remembers its episode, for value learning on windows of episodes.

    Args:
        net: from what the memory gives to what an `Actor`'s network gives.
        encoder: of observations that are no vectors of numbers.
    """

    def __init__(self, observation: Spec, distribution: Distribution, net: nn.Module, seeds: int, memory: Memory, encoder: Encoder | None, **how: Any):
        super().__init__(observation, distribution, net, seeds, **how)
        self.memory, self.encoder = memory, encoder

    def encode(self, observation: Tensor) -> Tensor:
        return observation if self.encoder is None else self.encoder(observation)

    def read(self, remembered: Tensor) -> Tensor:
        return self.net(remembered)

    def forward(self, observation: Tensor, begins: Tensor) -> Tensor:
        """Distribution parameters `[S, N, T, size]` at windows of normalised observations `[S, N, T, D]`, before which nothing is known.

        Args:
            begins: True where the memory is emptied before a step, `[S, N, T]`.
        """
        remembered, _ = self.remember(observation, self.initial(observation.shape[1]), begins)
        return self._distribution_parameters(self.read(remembered[:, 0].flatten(1, 2)).unflatten(1, observation.shape[1:3]), observation)


class RecurrentActorCritic(Remembering, ActorCritic):
    """An actor and a state-value function that remember their episode.

    The replay contract has two more inputs: `carry [S, N, C]`, as it was when the policy acted at the first of T steps, and `begins [S, N, T]`, True where an
    episode begins behind the first of them. Gradients stop at that carry (truncated backpropagation through time).
    """

    net: Towers

    def __init__(self, observation: Spec, distribution: Distribution, net: Towers, seeds: int, memory: Memory, *, normalizer: RunningNormalizer | None = None):
        super().__init__(observation, distribution, net, seeds, log_std="free", normalizer=normalizer)
        self.memory = memory

    def encode(self, observation: Tensor) -> Tensor:
        return self.net.encode(observation)

    def read(self, remembered: Tensor) -> Tensor:
        return self.net.actor(remembered)

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: frozenset[str]) -> dict[str, Tensor]:
        observation = inputs["observation"]
        remembered, _ = self.remember(observation, inputs["carry"], inputs["begins"])
        if "value" not in needs:
            return self._found(self._distribution_parameters(self.net.actor(remembered[:, 0]), observation), inputs, action, needs)
        flat = remembered.flatten(2, 3)
        out, value = (x.unflatten(1, observation.shape[1:3]) for x in self.net.heads(flat.squeeze(1) if self.memory.members == 1 else flat))
        return self._found(self._distribution_parameters(out, observation), inputs, action, needs) | {"value": value}

    @torch.no_grad()
    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """V of each step's observation and of its true successor, as the memory stands behind that step, `[S, N, T]` each."""
        inputs, following = rollout.inputs, rollout.extras["next_observation"]
        remembered, carries = self.remember(inputs["observation"], inputs["carry"], inputs["begins"])
        after, _ = self.remember(following.flatten(1, 2).unsqueeze(2), carries.flatten(1, 2))
        return self.net.critic(remembered[:, -1]), self.net.critic(after[:, -1, :, 0]).unflatten(1, following.shape[1:3])


class Net(Protocol):
    """How a method's network is built for a task."""

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str) -> nn.Module:
        """The network with its seed axis.

        Args:
            name: of the net in its method; its weights are drawn from a stream of that name.
        """


@dataclass(frozen=True)
class ActorCriticNet:
    """How to build an `ActorCritic` for a task (the usual PPO network: separate tanh towers, orthogonal initialisation).

    Attributes:
        hidden: widths of both towers.
        residual: both are residual blocks of these widths, all the same (`layers.Residual`), for policies without a memory.
        normalize: running normalisation of observations.
        encoders: plain modules in the place of what the house makes of a field, `[N, *shape] → [N, F]`, by its name.
        shared: actor and critic have one encoder and one memory, which learn from both; otherwise one each. Where there is a game's state, which no actor sees,
            they have one each.
        central: the critic sees a game's state; False for one that sees what its actor does.
        memory: what stands between encoder and towers and remembers the episode (`LSTM`, `GRU`, `History`); None for a policy that sees the observation alone.
        module: a plain module in the place of the actor's tower: from observations to logits, or to the mean of a Gaussian (see `plain_actor`).
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    residual: bool = False
    normalize: bool = False
    encoders: Mapping[str, PlainModule] = field(default_factory=dict)
    shared: bool = True
    central: bool = True
    memory: MemoryNet | None = None
    module: PlainModule | None = None

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "towers") -> ActorCritic:
        if self.module is not None and self.memory is not None:
            raise BadInput("a policy that remembers takes no module in the place of its actor, which would see the observation alone")
        if self.residual and (self.module is not None or self.memory is not None or observation.role("state") is not None):
            raise BadInput("policy: residual blocks are of a policy that sees the observation alone, without a memory or a module in the actor's place")
        distribution = distribution_for(action)
        outputs = distribution.locations
        generators, inner = streams.torch_generators(f"initialize/{name}"), orthogonal(2**0.5)
        acts, value = orthogonal(0.01), orthogonal(1.0)  # of the last layers: at first all actions are nearly alike

        def encoder(name: str) -> Encoder | None:
            return build_encoder(observation, streams, name, self.encoders, inner)

        memory = None
        if observation.role("state") is not None:
            if self.memory is not None:
                raise BadInput("policy: of several agents that share one policy, a memory is not taken")
            if self.module is not None:
                raise BadInput("policy: of several agents that share one policy, a plain module is not taken")
            actor = build_encoder(observation, streams, "actor", self.encoders, inner, unseen=("state",))
            critic = build_encoder(observation, streams, "critic", self.encoders, inner, unseen=() if self.central else ("state",))
            width = observation.size if critic is None else critic.size
            value_net: nn.Module = MLP([width, *self.hidden, 1], generators, activation=self.activation, hidden=inner, last=value)
            actor_net = MLP([actor.size, *self.hidden, outputs], generators, activation=self.activation, hidden=inner, last=acts)
            towers = LiftedTowers(Encoded(actor, actor_net), value_net if critic is None else Encoded(critic, value_net))
        elif self.residual:
            parts = [encoder("encoder")] * 2 if self.shared else [encoder("actor"), encoder("critic")]
            width = observation.size if parts[0] is None else parts[0].size
            each = (("actor", outputs, acts), ("critic", 1, value))
            nets = [network(width, self.hidden, size, streams, f"{name}/{part}", residual=True, last=last) for part, size, last in each]
            towers = LiftedTowers(*(net if part is None else Encoded(part, net) for net, part in zip(nets, parts, strict=True)))
        elif self.module is None:
            encoders = [encoder("encoder")] if self.shared else [encoder("actor"), encoder("critic")]
            width = observation.size if encoders[0] is None else encoders[0].size
            if self.memory is not None:
                memory = self.memory.build(width, 1 if self.shared else 2, streams, f"{name}/memory")
                width = memory.size
            towers = Towers(
                width,
                self.hidden,
                outputs,
                generators,
                activation=self.activation,
                initialize=inner,
                actor_last=acts,
                critic_last=value,
                encoders=[one for one in encoders if one is not None],
            )
        else:
            encoded = encoder("critic")
            width = observation.size if encoded is None else encoded.size
            critic: nn.Module = MLP([width, *self.hidden, 1], generators, activation=self.activation, hidden=inner, last=value)
            critic = critic if encoded is None else Encoded(encoded, critic)
            towers = LiftedTowers(plain_actor(self.module, observation, outputs, streams), critic)
        seeds = len(streams.seeds)
        normalizer = observation_normalizer(observation, seeds) if self.normalize else None
        if memory is not None:
            return RecurrentActorCritic(observation, distribution, towers, seeds, memory, normalizer=normalizer)
        return ActorCritic(observation, distribution, towers, seeds, log_std="free", normalizer=normalizer)


@dataclass(frozen=True)
class CriticNet:
    """How to build one critic: an ensemble over the concatenation of its inputs.

    Attributes:
        inputs: fields of the batch that it sees, in order.
        hidden: widths of hidden layers; with `residual` of residual blocks, all the same (`layers.Residual`).
        layer_norm, dropout, batch_norm: of plain hidden layers, see `layers.MLP`.
        initialize: how the weights of plain layers are drawn.
        ensemble: how many value functions; None for one without an axis.
        encoders: as in `ActorCriticNet`.
        head: what its last layer says of a value.
        memory: one for the whole ensemble, between encoder and layers (`RecurrentCritic`); None for values of the observation alone.
    """

    inputs: tuple[str, ...] = ("observation", "action")
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    initialize: Initialize = uniform_fan_in
    ensemble: int | None = 2
    layer_norm: bool = False
    dropout: float = 0.0
    batch_norm: bool = False
    residual: bool = False
    encoders: Mapping[str, PlainModule] = field(default_factory=dict)
    head: Head = VALUE
    memory: MemoryNet | None = None

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str) -> Critic | RecurrentCritic:
        """A critic called `name`. The action is a network's input as `Distribution.encode` gives it."""
        encoder = build_encoder(observation, streams, f"{name}/encoder", self.encoders)
        seen = observation.size if encoder is None else encoder.size
        memory = None if self.memory is None else self.memory.build(seen, 1, streams, f"{name}/memory")
        seen = seen if memory is None else memory.size
        sizes = {"observation": seen, "next_observation": seen, "action": distribution_for(action).features}
        net = network(
            sum(sizes[part] for part in self.inputs),
            self.hidden,
            self.head.size,
            streams,
            name,
            activation=self.activation,
            initialize=self.initialize,
            ensemble=self.ensemble,
            layer_norm=self.layer_norm,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            residual=self.residual,
        )
        if memory is not None:
            return RecurrentCritic(memory, Critic(net, self.head), encoder)
        return Critic(net, self.head, encoder=encoder, observes=[part != "action" for part in self.inputs])


@dataclass(frozen=True)
class ActionValueNet:
    """How to build `ActionValues` for discrete actions: a trunk, and one head, or with `duelling` one of the state's value and one of advantages.

    Attributes:
        initialize: how weights are drawn, of plain layers.
        residual: the trunk is residual blocks (`layers.Residual`), which are neither noisy nor have other norms.
        normalize: running normalisation of observations.
        clip: normalised numbers are within plus and minus this.
        head: what is said of each action's return: a value (`Head`), `Quantiles`, or a histogram (`C51`, `TwoHot`, `HLGauss`).
        noisy: all layers behind the encoder are `NoisyLinear`.
        encoders: as in `ActorCriticNet`.
        module: a plain module in the place of the network: from observations to what the head says of each action, one behind the other (see `plain_actor`).
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    initialize: Initialize = uniform_fan_in
    normalize: bool = False
    clip: float = CLIP
    duelling: bool = False
    layer_norm: bool = False
    residual: bool = False
    noisy: bool = False
    encoders: Mapping[str, PlainModule] = field(default_factory=dict)
    head: Head = VALUE
    module: PlainModule | None = None

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "q") -> ActionValues:
        parts = self._parts(observation, action, streams, name, self.head.size)
        return ActionValues(*parts, self.head, self._normalizer(observation, streams))

    def _parts(
        self, observation: Spec, action: Spec, streams: Streams, name: str, outputs: int, trunk_layers: int | None = None
    ) -> tuple[Spec, Distribution, nn.Module, nn.Module, nn.Module | None]:
        """What `ActionValues` are made of, for so many outputs an action, the trunk of the first hidden layers alone where a number is given."""
        if not action.one_choice:
            raise BadInput(f"net {name!r} has a value for each of the actions, and an action here is no single choice: its method takes actions=('discrete',)")
        distribution, generators, noise = Categorical(action), streams.torch_generators(f"initialize/{name}"), self._noise(streams, name)
        if self.module is not None:
            for option in ("duelling", "noisy", "layer_norm"):
                if getattr(self, option):
                    raise BadInput(f"net {name!r}: a module of your own stands in the place of all its layers, and these have {option}: take one without")
            return observation, distribution, plain_actor(self.module, observation, distribution.size * outputs, streams), nn.Identity(), None
        encoder = build_encoder(observation, streams, f"{name}/encoder", self.encoders)
        width = observation.size if encoder is None else encoder.size
        sizes, how, last = [width, *self.hidden], self.initialize, self.hidden[-1]
        if self.residual and (self.noisy or self.layer_norm):
            raise BadInput(f"net {name!r}: residual blocks have norms of their own and are not noisy: take one of the two")
        trunk: nn.Module = (
            Residual(width, self.hidden, None, generators)
            if self.residual
            else self._layers(sizes[: None if trunk_layers is None else trunk_layers + 1], generators, noise)
        )
        trunk = trunk if encoder is None else Encoded(encoder, trunk)
        advantage = linear(last, distribution.size * outputs, generators, how, noise=noise and noise.of("advantage"))
        value = linear(last, outputs, generators, how, noise=noise and noise.of("value")) if self.duelling else None
        return observation, distribution, trunk, advantage, value

    def _layers(self, sizes: Sequence[int], generators: list[torch.Generator], noise: Draws | None) -> MLP:
        how = {"activation": self.activation, "hidden": self.initialize, "layer_norm": self.layer_norm, "activate_last": True}
        return MLP(sizes, generators, **how, noise=noise)

    def _noise(self, streams: Streams, name: str) -> Draws | None:
        return Draws(streams, f"{name}/noise") if self.noisy else None

    def _normalizer(self, observation: Spec, streams: Streams) -> RunningNormalizer | None:
        return observation_normalizer(observation, len(streams.seeds), self.clip) if self.normalize else None


@dataclass(frozen=True)
class ImplicitQuantileNet(ActionValueNet):
    """How to build `ImplicitActionValues`. Of several hidden layers the last stands behind the product with the fractions, as the fully connected one of the
    paper's; one alone, or residual blocks, stand in front of it.

    Attributes:
        head: quantiles whose mean is Q, where it acts or prefers.
        cosines: of a fraction, which are embedded.
    """

    head: Quantiles = Quantiles(32)
    cosines: int = 64

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "q") -> ImplicitActionValues:
        if self.module is not None:
            raise BadInput(f"net {name!r} multiplies its features with those of a fraction: no module of your own stands in its place")
        split = len(self.hidden) > 1 and not self.residual
        first = len(self.hidden) - 1 if split else len(self.hidden)
        parts, noise = self._parts(observation, action, streams, name, 1, first), self._noise(streams, name)
        generators = streams.torch_generators(f"initialize/{name}")
        embedding = linear(self.cosines, self.hidden[first - 1], generators, self.initialize, noise=noise and noise.of("embedding"))
        return ImplicitActionValues(
            *parts,
            self.head,
            self._normalizer(observation, streams),
            embedding=embedding,
            behind=self._layers(self.hidden[-2:], generators, noise and noise.of("behind")) if split else None,
            cosines=self.cosines,
            draws=Draws(streams, f"{name}/fractions"),
        )


@dataclass(frozen=True)
class ActorNet:
    """How to build an actor (see `Actor`).

    Attributes:
        squash: a Gaussian through tanh onto the bounds of the action space; otherwise a Gaussian in the space's own units.
        deterministic: one action through tanh onto the bounds, without a distribution.
        experts: a squashed Gaussian is a mixture of as many, which a linear router weighs (`layers.Routed`); None for one.
        initialize, layer_norm, batch_norm, residual: as in `CriticNet`.
        normalize: running normalisation of observations.
        clip: normalised numbers are within plus and minus this.
        encoders: as in `ActorCriticNet`.
        module: a plain module in the place of the network: from observations to logits, to a Gaussian's mean, or to mean and log standard deviation side by
            side where `log_std` is not "free" (see `plain_actor`).
        members: as many networks a seed, each with weights of its own, `[S, B, D] → [S, M, B, size]`, for observations without an encoder; None for one.
        memory: what stands between encoder and layers and remembers the episode (`RecurrentActor`); None for an actor that sees the observation alone.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    initialize: Initialize = uniform_fan_in
    layer_norm: bool = False
    squash: bool = False
    deterministic: bool = False
    experts: int | None = None
    log_std: LogStd = "state"
    log_std_bounds: tuple[float, float] = (-20.0, 2.0)
    tanh_mean: bool = False
    batch_norm: bool = False
    residual: bool = False
    normalize: bool = False
    clip: float = CLIP
    encoders: Mapping[str, PlainModule] = field(default_factory=dict)
    module: PlainModule | None = None
    members: int | None = None
    memory: MemoryNet | None = None

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "actor") -> Actor:
        squashed = SquashedGaussian if self.experts is None else partial(SquashedMixture, experts=self.experts)
        distribution = distribution_for(action, TanhPoint if self.deterministic else squashed if self.squash else Gaussian)
        outputs = distribution.locations if self.log_std == "free" else distribution.size
        encoder = memory = None
        if self.module is not None:
            if self.memory is not None:
                raise BadInput("a policy that remembers takes no module in the place of its actor, which would see the observation alone")
            net: nn.Module = plain_actor(self.module, observation, outputs, streams)
        else:
            encoder = build_encoder(observation, streams, f"{name}/encoder", self.encoders)
            if self.members is not None and encoder is not None:
                raise BadInput(f"net {name!r} has members with weights of their own, and these read observations that are vectors of numbers alone")
            width = observation.size if encoder is None else encoder.size
            if self.memory is not None:
                memory = self.memory.build(width, 1, streams, f"{name}/memory")
                width = memory.size
            routes = self.experts or 0
            net = network(
                width,
                self.hidden,
                outputs - routes,
                streams,
                name,
                activation=self.activation,
                initialize=self.initialize,
                ensemble=self.members,
                layer_norm=self.layer_norm,
                batch_norm=self.batch_norm,
                residual=self.residual,
            )
            net = Routed(Linear(width, routes, streams.torch_generators(f"initialize/{name}/router")), net) if routes else net
        normalizer = observation_normalizer(observation, len(streams.seeds), self.clip) if self.normalize else None
        how = {"log_std": self.log_std, "log_std_bounds": self.log_std_bounds, "normalizer": normalizer, "tanh_mean": self.tanh_mean}
        if memory is not None:
            return RecurrentActor(observation, distribution, net, len(streams.seeds), memory, encoder, **how)
        return Actor(observation, distribution, net if encoder is None else Encoded(encoder, net), len(streams.seeds), **how)


def plain_actor(module: PlainModule, observation: Spec, outputs: int, streams: Streams) -> Lifted:
    """A plain module as an actor's network.

    It takes rows `[N, D]` of vectors; a picture that is all there is in its own shape, `[N, *shape]`; and what has several fields as a dict of them, each
    `[N, *row_shape]`. Numbers are the environment's own (pixels 0 to 255), choices one-hot; an action mask is obeyed behind it.
    """
    fields = [part for part in observation.fields if part.role != "action_mask"]
    if len(fields) == 1:
        shape = fields[0].row_shape if fields[0].picture else (fields[0].size,)
        wanted = ", ".join(["N", *map(str, shape)])
        return lift(module, observation.size, outputs, streams, said=("policy", f"[{wanted}]"), read=_Reads(observation, (fields[0].name,), shape))
    each = ", ".join(f"{part.name}: [{', '.join(['N', *map(str, part.row_shape)])}]" for part in fields)
    return lift(module, observation.size, outputs, streams, said=("policy", f"{{{each}}}"), read=_Reads(observation, tuple(part.name for part in fields)))


@dataclass(frozen=True)
class _Reads:
    """From rows to the fields that a plain module takes: the one in its shape, or several by name."""

    observation: Spec
    names: tuple[str, ...]
    shape: tuple[int, ...] = ()

    def __call__(self, rows: Tensor) -> Tensor | dict[str, Tensor]:
        if len(self.names) == 1:
            return rows[..., self.observation.slices[self.names[0]]].unflatten(-1, self.shape)
        fields = self.observation.unpack(rows)
        return {name: fields[name] for name in self.names}
