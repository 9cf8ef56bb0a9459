"""A policy as a graph of tensors alone, for programs without Operant: from observations as the environment gives them to actions as it takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from operant.core.errors import BadInput
from operant.core.spec import ACTION_MASK, Field, Spec
from operant.nets.actors import Policy


@dataclass(frozen=True)
class Port:
    """An input or an output, `[N, *shape]`.

    Attributes:
        name: "observation" or "action", with the field's name behind a dot where there are several; "action_mask"; "carry" and "next_carry", what a policy
            that remembers knows of its episode, 0 where one begins.
        dtype: NumPy's name of its type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def example(self, rows: int) -> Tensor:
        """Zeros `[rows, *shape]`."""
        try:
            return torch.from_numpy(np.zeros((rows, *self.shape), self.dtype))
        except TypeError as error:
            raise BadInput(f"{self.name} is of type {self.dtype}, which PyTorch does not have") from error


class Graph(nn.Module):
    """The mode of one seed's policy at N observations: inputs in the order of `inputs` to a tuple in the order of `outputs`, each `[N, *shape]`.

    The policy's normaliser, the action mask, the scaling of actions, clipping to the bounds and the starts of choices are within.

    Args:
        policy: of one seed.
        action: what an action consists of.
    """

    def __init__(self, policy: Policy, action: Spec):
        super().__init__()
        self.policy, self.action = policy.make_reference().cpu(), action
        self._seen = [field for field in policy.observation.fields if field.role != "state"]
        start = policy.initial(1)
        carried = [] if start is None else [tuple(start.shape[2:])]
        self.inputs = _ports("observation", self._seen) + [Port("carry", shape, "float32") for shape in carried]
        self.outputs = _ports("action", action.fields) + [Port("next_carry", shape, "float32") for shape in carried]
        self.remembers = start is not None
        for place, field in enumerate(action.fields):
            low, high = field.bounds() if field.kind == "box" else (np.array(field.starts), np.array(field.counts))
            for name, value in (("low", low), ("high", high)):
                self.register_buffer(f"{name}_{place}", torch.from_numpy(value), persistent=False)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        carry = given[-1].unsqueeze(0) if self.remembers else None
        taken = dict(zip([field.name for field in self._seen], given, strict=False))
        rows = given[0].shape[0]  # of any number: len() would be the example's
        parts = [_row(field, taken[field.name]) if field.name in taken else given[0].new_zeros(rows, field.size) for field in self.policy.observation.fields]
        seen = torch.cat([part.float() for part in parts], -1).unsqueeze(0)
        parameters, carry = self.policy.decide(self.policy.normalized(seen), carry)
        distribution = self.policy.distribution
        action = distribution.stretch(distribution.mode(parameters))[0].view(rows, -1)
        found, at = [], 0
        for place, field in enumerate(self.action.fields):
            numbers, low, high = action[:, at : at + field.numbers], getattr(self, f"low_{place}"), getattr(self, f"high_{place}")
            at += field.numbers
            numbers = torch.minimum(torch.maximum(numbers, low), high) if field.kind == "box" else numbers.long() + low
            found.append(numbers.to(_type(field)).view(rows, *field.shape))
        return (*found, carry[0]) if self.remembers else tuple(found)


def _ports(what: str, fields: Sequence[Field]) -> list[Port]:
    alone = [field.name for field in fields if field.role != "action_mask"] == [what]
    names = [ACTION_MASK if field.role == "action_mask" else what if alone else f"{what}.{field.name}" for field in fields]
    return [Port(name, field.shape, field.dtype) for name, field in zip(names, fields, strict=True)]


def _type(field: Field) -> torch.dtype:
    return Port(field.name, field.shape, field.dtype).example(0).dtype


def _row(field: Field, value: Tensor) -> Tensor:
    """A field `[N, *shape]` as rows have it, `[N, size]`."""
    flat = value.flatten(1) if value.ndim > 1 else value.unsqueeze(1)
    if field.kind not in ("discrete", "multi-discrete"):
        return flat
    counted = flat.long() - torch.tensor(field.starts)
    return torch.cat([counted[:, place : place + 1] == torch.arange(count) for place, count in enumerate(field.counts)], -1)
