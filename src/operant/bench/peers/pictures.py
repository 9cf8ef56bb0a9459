"""MinAtar's games for Stable-Baselines3, behind the network of their paper (arXiv:1903.03176): one convolution and a layer of 128, as ours has it."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from minatar.gym import register_envs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


class MinAtarNetwork(BaseFeaturesExtractor):
    """Pictures of 10 × 10 in C planes to 128 features."""

    def __init__(self, observation_space: gymnasium.spaces.Box):
        super().__init__(observation_space, features_dim=128)
        self.layers = nn.Sequential(nn.Conv2d(observation_space.shape[-1], 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 8, 128), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layers(observations.movedim(-1, 1))


def behind_pictures(environment: str, settings: dict[str, Any]) -> dict[str, Any]:
    """An algorithm's settings for a game of MinAtar, which is registered."""
    if environment not in gymnasium.registry:
        register_envs()
    return settings | {"policy_kwargs": settings.get("policy_kwargs", {}) | {"features_extractor_class": MinAtarNetwork}}
