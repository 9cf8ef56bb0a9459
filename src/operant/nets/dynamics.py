"""Models of an environment, with a seed axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operant.core.random import Streams
from operant.core.spec import Spec
from operant.nets.distributions import distribution_for
from operant.nets.layers import MLP


class Dynamics(nn.Module):
    """An ensemble of models of one step: a diagonal Gaussian over how the observation changes and the reward, and the logit of a termination.

    The log standard deviations stay between soft bounds (PETS, arXiv:1805.12114, appendix A.1).

    Args:
        observation: numbers of an observation, D.
        net: an ensemble of E, `[S, B or E × B, D + features] → [S, E, B, 2 (D + 1) + 1]`.
        log_std_bounds: of a log standard deviation.
    """

    def __init__(self, observation: int, net: MLP, log_std_bounds: tuple[float, float]):
        super().__init__()
        self.net, self.numbers, self.bounds = net, observation + 1, log_std_bounds

    def forward(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(mean `[S, E, B, D + 1]`, log standard deviation, logit of a termination `[S, E, B]`) at `[S, B, …]`, or at `[S, E, B, …]`, each member's own."""
        mean, log_std, logit = self.net(torch.cat([observation, action], -1)).split([self.numbers, self.numbers, 1], -1)
        low, high = self.bounds
        log_std = high - F.softplus(high - log_std)
        return mean, low + F.softplus(log_std - low), logit.squeeze(-1)

    def imagine(self, observation: Tensor, action: Tensor, member: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """What one member each thinks comes next: `next_observation [S, B, D]`, `reward [S, B]`, `terminated [S, B]`.

        Args:
            member: which one, `[S, B]` int64.
            noise: `[S, B, D + 1]` standard normal.
        """
        mean, log_std, logit = self(observation, action)
        place = member.unsqueeze(1)
        wide = place.unsqueeze(-1).expand(-1, -1, -1, self.numbers)
        drawn = mean.gather(1, wide).squeeze(1) + log_std.gather(1, wide).squeeze(1).exp() * noise
        return {"next_observation": observation + drawn[..., :-1], "reward": drawn[..., -1], "terminated": logit.gather(1, place).squeeze(1) > 0}


@dataclass(frozen=True)
class DynamicsNet:
    """How to build `Dynamics` for a task: smooth hidden layers, each normalised, for observations come as the environment gives them.

    Attributes:
        ensemble: members, E.
    """

    hidden: tuple[int, ...] = (200, 200)
    ensemble: int = 5
    log_std_bounds: tuple[float, float] = (-5.0, 0.5)

    def build(self, observation: Spec, action: Spec, streams: Streams, name: str) -> Dynamics:
        sizes = [observation.size + distribution_for(action).features, *self.hidden, 2 * (observation.size + 1) + 1]
        net = MLP(sizes, streams.torch_generators(f"initialize/{name}"), activation="silu", ensemble=self.ensemble, layer_norm=True)
        return Dynamics(observation.size, net, self.log_std_bounds)
