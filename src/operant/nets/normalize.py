"""Running normalisers, one a seed, as modules: they travel with the policy and live in its checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from operant.core.spec import Spec


class RunningNormalizer(nn.Module):
    """Running mean and variance of vectors a seed, merged batch by batch (Chan et al., parallel variance).

    Args:
        seeds: S.
        size: D, or how many columns are given.
        clip: normalised values are clipped to ±clip.
        columns: which of a vector's numbers are normalised, the others staying as they are; None for all.
    """

    def __init__(self, seeds: int, size: int, clip: float = 10.0, columns: list[int] | None = None):
        super().__init__()
        self.clip = clip
        self._columns = columns
        self.register_buffer("mean", torch.zeros(seeds, size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(seeds, size, dtype=torch.float64))
        self.register_buffer("count", torch.full((seeds, 1), 1e-4, dtype=torch.float64))
        self.refresh()

    def update(self, values: Tensor, mask: Tensor) -> None:
        """Take in `values [S, …, D]` where `mask [S, …]` is True."""
        values = values if self._columns is None else values[..., self._columns]
        x, weight = values.flatten(1, -2).double(), mask.flatten(1).double().unsqueeze(-1)
        count = weight.sum(1)
        mean = (x * weight).sum(1) / count.clamp(min=1)
        variance = ((x - mean.unsqueeze(1)).square() * weight).sum(1) / count.clamp(min=1)
        total = self.count + count
        delta = mean - self.mean
        spread = self.variance * self.count + variance * count + delta.square() * self.count * count / total
        self.mean += delta * count / total
        self.variance.copy_(spread / total)
        self.count.copy_(total)
        self.refresh()

    def refresh(self) -> None:
        """Take up the buffers after they were changed from outside."""
        self._shift, self._scale = self.mean.float(), (self.variance + 1e-8).rsqrt().float()

    def forward(self, x: Tensor) -> Tensor:
        """`x [S, …, D]`, normalised and clipped."""
        lead = (slice(None), *[None] * (x.ndim - 2))
        taken = x if self._columns is None else x[..., self._columns]
        found = ((taken - self._shift[lead]) * self._scale[lead]).clamp(-self.clip, self.clip)
        if self._columns is None:
            return found
        whole = x.clone()
        whole[..., self._columns] = found
        return whole

    def scale(self, x: Tensor) -> Tensor:
        """`x [S, …, D]` over the running standard deviation, not centred (rewards)."""
        lead = (slice(None), *[None] * (x.ndim - 2))
        return (x * self._scale[lead]).clamp(-self.clip, self.clip)

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh()


def observation_normalizer(observation: Spec, seeds: int) -> RunningNormalizer | None:
    """A normaliser of the numbers of an observation that are no pixels, bits, choices or masks; None where there are none."""
    columns = [column for field in observation.fields if field.normalizable for column in range(*observation.slices[field.name].indices(observation.size))]
    if not columns:
        return None
    return RunningNormalizer(seeds, len(columns), columns=None if len(columns) == observation.size else columns)
