"""Networks for observations that say what is to be reached: values of a state and a goal, and a policy of two levels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.nets.actors import Actor, ActorNet, Policy
from operant.nets.layers import MLP


class Parts:
    """Where state and goal lie in an observation's row.

    Raises:
        BadInput: observations have no goal, or one that is no state.
    """

    def __init__(self, observation: Spec):
        goal = observation.role("goal")
        fields = [field for field in observation.fields if field.role != "goal"]
        if goal is None or len(fields) != 1 or fields[0].size != goal.size:
            said = ", ".join(field.name for field in observation.fields)
            needs = "this method needs a state and a desired_goal of its shape, as ogbench:pointmaze-medium-navigate-v0 has"
            raise BadInput(f"observations consist of {said}: {needs}")
        self.state, self.goal = observation.slices[fields[0].name], observation.slices[goal.name]
        self._goal_first = self.goal.start < self.state.start
        self.field = fields[0]

    def row(self, state: Tensor, goal: Tensor) -> Tensor:
        """Rows `[…, D]` of states and goals."""
        return torch.cat([goal, state] if self._goal_first else [state, goal], -1)


class GoalValue(nn.Module):
    """V(s, φ(s, g)), an ensemble that sees a goal through a representation alone: rows `[S, B, D] → [S, E, B]`.

    Args:
        represents: `[S, …, D] → [S, …, K]`, before it is brought to length √K.
        values: `[S, B, state + K] → [S, E, B, 1]`.
    """

    def __init__(self, observation: Spec, represents: MLP, values: MLP):
        super().__init__()
        self.parts, self.represents, self.values = Parts(observation), represents, values

    def represent(self, rows: Tensor) -> Tensor:
        """φ(s, g) `[S, …, K]`, of length √K."""
        return of_length(self.represents(rows))

    def forward(self, rows: Tensor) -> Tensor:
        return self.values(torch.cat([rows[..., self.parts.state], self.represent(rows)], -1)).squeeze(-1)


class Hierarchy(Policy):
    """A policy of two levels: from state and goal to the representation of a subgoal, and from state and that to an action.

    Args:
        high: `[S, …, D] → [S, …, K]`, the mean of the representation.
        low: takes state and representation side by side.
    """

    consists = "a hierarchy of two actors"

    def __init__(self, observation: Spec, high: MLP, low: Actor):
        super().__init__(observation, low.distribution)
        self.parts, self.high, self.low = Parts(observation), high, low

    def towards(self, rows: Tensor, subgoal: Tensor) -> Tensor:
        """Parameters of the action that leads to a represented subgoal `[S, …, K]`."""
        return self.low(torch.cat([rows[..., self.parts.state], subgoal], -1))

    def forward(self, rows: Tensor) -> Tensor:
        return self.towards(rows, of_length(self.high(rows)))


def of_length(x: Tensor) -> Tensor:
    """`[…, K]` brought to length √K."""
    return nn.functional.normalize(x, dim=-1) * x.shape[-1] ** 0.5


@dataclass(frozen=True)
class GoalValueNet:
    """How to build a `GoalValue`.

    Attributes:
        representation: K.
    """

    hidden: tuple[int, ...] = (256, 256)
    representation: int = 10
    ensemble: int = 2

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str) -> GoalValue:
        state = Parts(observation).field.size
        represents = MLP([observation.size, *self.hidden, self.representation], streams.torch_generators(f"initialize/{name}/represents"), layer_norm=True)
        sizes = [state + self.representation, *self.hidden, 1]
        values = MLP(sizes, streams.torch_generators(f"initialize/{name}"), ensemble=self.ensemble, layer_norm=True)
        return GoalValue(observation, represents, values)


@dataclass(frozen=True)
class HierarchyNet:
    """How to build a `Hierarchy`.

    Attributes:
        representation: K.
    """

    hidden: tuple[int, ...] = (256, 256)
    representation: int = 10

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str = "actor") -> Hierarchy:
        state = replace(Parts(observation).field, name="state")
        high = MLP([observation.size, *self.hidden, self.representation], streams.torch_generators(f"initialize/{name}/high"))
        seen = Spec((state, Field("subgoal", (self.representation,))))
        low = ActorNet(hidden=self.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True).build(seen, action, streams, f"{name}/low")
        return Hierarchy(observation, high, low)
