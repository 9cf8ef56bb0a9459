"""Hyper-parameters that many methods share, said once: a method's own dataclass inherits them and lists what is its own, or has another default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from operant.core.registry import BatchSize, Count, LearningRate, Passes, Positive, Range, Share, Widths
from operant.loops.draw import NStep, Uniform
from operant.worlds.gym.experience import Online

Activation = Literal["tanh", "relu", "leaky_relu", "elu", "gelu", "silu"]  # of `nets.layers.ACTIVATIONS`


@dataclass(frozen=True)
class UpdateSettings:
    """How a batch of answers becomes optimiser steps."""

    learning_rate: LearningRate = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    max_grad_norm: Positive = 1.0  # L2

    @property
    def updates(self) -> dict[str, Any]:
        """The fields of `PolicyGradient` of the same names."""
        return {name: getattr(self, name) for name in UpdateSettings.__dataclass_fields__}


@dataclass(frozen=True)
class GroupSettings(UpdateSettings):
    """How many answers a batch has besides: a group for each of its prompts."""

    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt


@dataclass(frozen=True)
class DenoisingSettings(GroupSettings):
    """The same of samples of a small generative model."""

    prompts: Count = 4  # groups an iteration
    group_size: Annotated[int, Range(2)] = 24  # samples a group
    learning_rate: LearningRate = 1e-3  # Adam's
    minibatches: Count = 4  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 0  # samples that go through the model at once, 0 for all; never changes the loss
    sampling_steps: Count = 14  # denoising steps of a sample


@dataclass(frozen=True)
class PreferenceSettings:
    """How pairs of answers become optimiser steps."""

    learning_rate: LearningRate = 1e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    warmup_steps: Annotated[int, Range(0)] = 10  # updates until the learning rate is reached
    batch_size: BatchSize = 32  # pairs an update
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    max_grad_norm: Positive = 1.0  # L2

    @property
    def updates(self) -> dict[str, Any]:
        """The fields of `Preferences` of the same names."""
        return {name: getattr(self, name) for name in PreferenceSettings.__dataclass_fields__} | {"updates_per_iteration": 25}


@dataclass(frozen=True)
class ExperienceSettings:
    """How experience enters replay, for methods that learn while they act. `normalize_observation` is of the net that acts."""

    learning_starts: Count = 1_000  # steps with random actions before the first update
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    update_every: Count = 1  # steps between two rounds of updates, each of which makes all that are due
    normalize_observation: bool = False  # running mean and deviation of observations

    def experience(self, updates_per_step: float) -> Online:
        """The field `online` of `ValueLearning`."""
        return Online(self.environments, self.learning_starts, updates_per_step, self.capacity, self.update_every)


@dataclass(frozen=True)
class ReplaySettings(ExperienceSettings):
    """The same, and how single transitions leave replay."""

    n_step: Count = 1  # steps of reward before the bootstrap
    hindsight: Annotated[int, Range(0)] = 0  # goals that the episode achieved later, for each one that was set; 0 for none (HER, of tasks with goals)

    def replay(self, batch_size: int, gamma: float, updates_per_step: float) -> dict[str, Any]:
        """The fields of `ValueLearning` that say so."""
        relabel, online = [NStep(self.n_step, gamma)], self.experience(updates_per_step)
        return {"draw": Uniform(batch_size), "hindsight": self.hindsight, "relabel": relabel, "online": online}


@dataclass(frozen=True)
class PaceSettings:
    """Updates that keep pace with steps."""

    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step


@dataclass(frozen=True)
class OnlineSettings(ReplaySettings, PaceSettings):
    """Replay of single transitions, with updates that keep pace with steps."""


@dataclass(frozen=True)
class LayerSettings:
    """What the layers of an actor and its critics are."""

    hidden: Widths = (256, 256)  # widths of the layers of actor and critics
    layers: Literal["plain", "layer-norm", "residual"] = "plain"  # plain; each of the critics' normalised; or residual blocks of these widths, all one (SimBa)
    activation: Activation = "relu"  # of the hidden layers of actor and critics

    def __post_init__(self):
        if self.residual and self.activation != "relu":
            raise ValueError(f"activation {self.activation} is of layers that are plain or layer-norm; residual blocks have relu")
        if self.residual and len(set(self.hidden)) > 1:
            raise ValueError(f"residual blocks add up, and are of one width: hidden is {', '.join(map(str, self.hidden))}")

    @property
    def residual(self) -> bool:
        return self.layers == "residual"

    @property
    def layer_norm(self) -> bool:
        return self.layers == "layer-norm"


@dataclass(frozen=True)
class FadingEpsilon:
    """How often learners of tables try any action, episode by episode."""

    epsilon: Share = 1.0  # probability of any action, in the first episode
    halved: Annotated[int | None, Range(1)] = 100  # episodes n after which it is half as large, as epsilon n / (n + k); none to keep it

    def at(self, episode: int) -> float:
        """Of an episode, counted from 0."""
        return self.epsilon if self.halved is None else self.epsilon * self.halved / (self.halved + episode)
