"""Action distributions over the parameters that an actor puts out, in closed form and without validation.

Each is a stateless object: `size` says how many numbers the actor must give an action, `noise` which draws `sample` turns into an action, so that draws are
made once a rollout and the same action comes out wherever it is computed.
"""

from __future__ import annotations

from typing import Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams


class Distribution(Protocol):
    """A family of action distributions.

    Parameters have the shape `[…, size]`; actions `[…]` int64 (discrete) or `[…, A]` float.
    """

    size: int
    discrete: bool

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor: ...
    def uniform(self, streams: Streams, name: str, *shape: int) -> Tensor: ...
    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor: ...
    def mode(self, parameters: Tensor) -> Tensor: ...
    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor: ...
    def entropy(self, parameters: Tensor) -> Tensor: ...
    def to_environment(self, action: Tensor) -> np.ndarray: ...
    def from_environment(self, action: Tensor) -> Tensor: ...


class Categorical:
    """Softmax over `size` actions; the parameters are logits. Samples by Gumbel-max."""

    discrete = True

    def __init__(self, space: gymnasium.spaces.Discrete):
        self.size = int(space.n)

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.uniform(name, *shape, self.size).clamp_(1e-20).log_().neg_().log_().neg_()

    def uniform(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.integers(name, self.size, *shape)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return (parameters + noise).argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(-1)

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        return ops.categorical_log_prob(parameters, action)

    def entropy(self, parameters: Tensor) -> Tensor:
        return ops.entropy_from_logits(parameters)

    def to_environment(self, action: Tensor) -> np.ndarray:
        return action.numpy()

    def from_environment(self, action: Tensor) -> Tensor:
        return action


class _Continuous:
    discrete = False

    def __init__(self, space: gymnasium.spaces.Box):
        self.space, self.shape = space, space.shape
        self.action_size = int(np.prod(space.shape))
        self.size = 2 * self.action_size
        self.low, self.high = space.low.reshape(-1), space.high.reshape(-1)

    def noise(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.normal(name, *shape, self.action_size)

    def middle_and_half(self) -> tuple[np.ndarray, np.ndarray]:
        """Middle and half the width of the action space, `[A]` each, for actions that tanh keeps within it. Raises `BadInput` where it has no bounds."""
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all()):
            raise BadInput(f"actions of this method are kept within the bounds of the action space by tanh, and {self.space} has infinite ones")
        return self.high / 2 + self.low / 2, self.high / 2 - self.low / 2

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log_std), each `[…, A]`."""
        return parameters.split(self.action_size, -1)


class Gaussian(_Continuous):
    """Independent normals in the space's own units; the parameters are mean and log standard deviation. The environment clips."""

    def uniform(self, streams: Streams, name: str, *shape: int) -> Tensor:
        """Over the range of the action space (see `drawn_range`)."""
        low, high = (torch.as_tensor(bound, dtype=torch.float32, device=streams.device) for bound in drawn_range(self.low, self.high))
        share = streams.uniform(name, *shape, self.action_size)
        return low * (1 - share) + high * share

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return torch.addcmul(mean, log_std.exp(), noise)

    def mode(self, parameters: Tensor) -> Tensor:
        return self.split(parameters)[0]

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return ops.gaussian_log_prob(action, mean, log_std)

    def entropy(self, parameters: Tensor) -> Tensor:
        return ops.gaussian_entropy(self.split(parameters)[1])

    def to_environment(self, action: Tensor) -> np.ndarray:
        return action.numpy()

    def from_environment(self, action: Tensor) -> Tensor:
        return action


class SquashedGaussian(_Continuous):
    """Normals through tanh onto (−1, 1), stretched onto the space's bounds by `to_environment`. Log-probabilities are of the action in (−1, 1)."""

    def __init__(self, space: gymnasium.spaces.Box):
        super().__init__(space)
        self.center, self.scale = self.middle_and_half()

    def uniform(self, streams: Streams, name: str, *shape: int) -> Tensor:
        return streams.uniform(name, *shape, self.action_size) * 2 - 1

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return torch.tanh(torch.addcmul(mean, log_std.exp(), noise))

    def sample_with_log_prob(self, parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A reparameterised action `[…, A]` in (−1, 1) and its log-probability `[…]` (SAC, arXiv:1812.05905, appendix C)."""
        mean, log_std = self.split(parameters)
        unsquashed = torch.addcmul(mean, log_std.exp(), noise)
        return torch.tanh(unsquashed), ops.tanh_gaussian_log_prob(unsquashed, mean, log_std)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.tanh(self.split(parameters)[0])

    def log_prob(self, parameters: Tensor, action: Tensor) -> Tensor:
        mean, log_std = self.split(parameters)
        return ops.tanh_gaussian_log_prob(torch.atanh(action.clamp(-1 + 1e-6, 1 - 1e-6)), mean, log_std)

    def to_environment(self, action: Tensor) -> np.ndarray:
        return action.numpy() * self.scale + self.center

    def from_environment(self, action: Tensor) -> Tensor:
        """Actions in (−1, 1) that `to_environment` stretches to these; 0 where the space is a single point."""
        scale, center = (torch.as_tensor(value, dtype=action.dtype, device=action.device) for value in (self.scale, self.center))
        return torch.where(scale > 0, (action - center) / scale, 0.0)


def drawn_range(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range that uniformly random actions are drawn from: the bounds; 2 units from the one that there is, [-1, 1] where there is none."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    above, below = np.isfinite(low), np.isfinite(high)
    return np.where(above, low, np.where(below, high - 2, -1)), np.where(below, high, np.where(above, low + 2, 1))


def distribution_for(space: gymnasium.Space, continuous: type[Gaussian] | type[SquashedGaussian] = Gaussian) -> Categorical | Gaussian | SquashedGaussian:
    """The distribution of an action space: `Categorical` for Discrete, `continuous` for Box."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return Categorical(space)
    if isinstance(space, gymnasium.spaces.Box):
        return continuous(space)
    raise BadInput(f"actions of {space} are not supported: Discrete and Box are")
