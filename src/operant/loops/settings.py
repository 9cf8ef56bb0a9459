"""Hyper-parameters that many methods share, said once: a method's own dataclass inherits them and lists what is its own, or has another default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from operant.core.registry import Count, Passes, Positive, Range


@dataclass(frozen=True)
class UpdateSettings:
    """How a batch of answers becomes optimiser steps."""

    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
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
    learning_rate: Positive = 1e-3  # Adam's
    minibatches: Count = 4  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 0  # samples that go through the model at once, 0 for all; never changes the loss
    sampling_steps: Count = 14  # denoising steps of a sample


@dataclass(frozen=True)
class PreferenceSettings:
    """How pairs of answers become optimiser steps."""

    learning_rate: Positive = 1e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    warmup_steps: Annotated[int, Range(0)] = 10  # updates until the learning rate is reached
    batch_size: Count = 32  # pairs an update
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    max_grad_norm: Positive = 1.0  # L2

    @property
    def updates(self) -> dict[str, Any]:
        """The fields of `Preferences` of the same names."""
        return {name: getattr(self, name) for name in PreferenceSettings.__dataclass_fields__} | {"updates_per_iteration": 25}
