"""Running normalisers, one a seed, as modules: they travel with the policy and live in its checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from operant.core.spec import Spec

CLIP = 10.0  # deviations


class RunningNormalizer(nn.Module):
    """Running mean and variance of vectors a seed, merged batch by batch (Chan et al., parallel variance).

    Args:
        seeds: S.
        size: D, or how many columns are given.
        clip: normalised values are clipped to ±clip; infinite for as they are.
        columns: which of a vector's numbers are normalised, the others staying as they are; None for all.
    """

    def __init__(self, seeds: int, size: int, clip: float = CLIP, columns: list[int] | None = None):
        super().__init__()
        self.clip = clip
        self.columns = columns
        self.register_buffer("mean", torch.zeros(seeds, size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(seeds, size, dtype=torch.float64))
        self.register_buffer("count", torch.full((seeds, 1), 1e-4, dtype=torch.float64))
        self._shift: Tensor | None = None
        self._scale: Tensor | None = None
        self.refresh()

    def update(self, values: Tensor, mask: Tensor) -> None:
        """Take in `values [S, …, D]` where `mask [S, …]` is True."""
        values = values if self.columns is None else values[..., self.columns]
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

    def take_over(self, samples: SampleStatistics) -> None:
        """Stand where these statistics do."""
        for buffer, found in ((self.mean, samples.mean), (self.variance, samples.variance), (self.count, samples.count)):
            buffer.copy_(torch.from_numpy(found))
        self.refresh()

    def refresh(self) -> None:
        """Take up the buffers after they were changed from outside; into the memory that a captured update may read, where it is on their device."""
        shift, scale = self.mean.float(), (self.variance + 1e-8).rsqrt().float()
        if self._shift is None or self._shift.device != shift.device:
            self._shift, self._scale = shift, scale
        else:
            self._shift.copy_(shift), self._scale.copy_(scale)

    def forward(self, x: Tensor) -> Tensor:
        """`x [S, …, D]`, normalised and clipped."""
        lead = (slice(None), *[None] * (x.ndim - 2))
        taken = x if self.columns is None else x[..., self.columns]
        found = ((taken - self._shift[lead]) * self._scale[lead]).clamp(-self.clip, self.clip)
        if self.columns is None:
            return found
        whole = x.clone()
        whole[..., self.columns] = found
        return whole

    def scale(self, x: Tensor) -> Tensor:
        """`x [S, …, D]` over the running standard deviation, not centred (rewards)."""
        lead = (slice(None), *[None] * (x.ndim - 2))
        return (x * self._scale[lead]).clamp(-self.clip, self.clip)

    def _apply(self, *args, **kwargs):
        super()._apply(*args, **kwargs)
        self.refresh()
        return self

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh()


class SampleStatistics:
    """Running mean and variance of vectors a seed, one sample at a time (Welford), on the host: an update of tensors would cost more than what it computes.

    Args:
        seeds: S.
        size: D.

    Attributes:
        mean: `[S, D]`.
        variance: `[S, D]`, that of the samples so far, over one less than their number; 1 where there is but one.
        count: `[S, 1]`, samples.
    """

    EPS = 1e-8

    def __init__(self, seeds: int, size: int):
        self.mean, self._squares, self.count = np.zeros((seeds, size)), np.zeros((seeds, size)), np.zeros((seeds, 1))

    def take(self, x: np.ndarray, seeds: np.ndarray | slice = slice(None)) -> None:
        """One sample `[…, D]` of each of these seeds."""
        self.count[seeds] += 1
        before = x - self.mean[seeds]
        self.mean[seeds] += before / self.count[seeds]
        self._squares[seeds] += before * (x - self.mean[seeds])

    @property
    def variance(self) -> np.ndarray:
        return np.where(self.count > 1, self._squares / np.maximum(self.count - 1, 1), 1.0)

    @property
    def deviation(self) -> np.ndarray:
        """`[S, D]`, the standard deviation, never 0."""
        return np.sqrt(self.variance + self.EPS)

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "squares": self._squares, "count": self.count}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        for mine, saved in ((self.mean, state["mean"]), (self._squares, state["squares"]), (self.count, state["count"])):
            mine[...] = saved


def observation_normalizer(observation: Spec, seeds: int, clip: float = CLIP) -> RunningNormalizer | None:
    """A normaliser of the numbers of an observation that are no pixels, bits, choices or masks; None where there are none."""
    columns = [column for field in observation.fields if field.normalizable for column in range(*observation.slices[field.name].indices(observation.size))]
    if not columns:
        return None
    return RunningNormalizer(seeds, len(columns), clip, columns=None if len(columns) == observation.size else columns)
