"""AWM: a flow model learns from rewards by the loss that it was pre-trained with, weighted by advantage; no denoising trajectory is a policy.

Paper: Xue et al. 2025, "Advantage Weighted Matching: Aligning RL with Pretraining in Diffusion Models", arXiv:2509.25050. Samples may come from any sampler.
The likelihood of a clean sample x_0 is stood for by ell = −w(t) · mean (v(x_t, t) − (ε − x_0))² at random (t, ε), the same for old and new parameters; the
ratio exp(ell − ell_old) is clipped as PPO's and the clip is 1, which bounds nothing but ratios above 2. On policy the gradient is that of advantage-weighted
flow matching. DDPO's, by contrast, matches a target that is noised (`ops.noised_target`), with the same mean and a larger variance.
Settled on: w(t) = 1 (the authors' code weighs by time and by a power of the residual); advantages are cut at 5 deviations and divided by them, as there, the
deviation being the group's, there the batch's; 14 sampling steps of the ODE, 24 samples a group, 6 times a sample, one in each sixth of (0, 1), there of the
steps of the sampler without the last tenth. The anchor is an average of the policies with decay 0.3, to which it rises there, its coefficient 1, as there; the
KL to the frozen base model (0.001 there) is left out, for there is one reference. Four optimiser steps a batch, there one: with one, neither ratio nor anchor
holds the velocity where advantages are negative, and it grows until it is no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Share, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.reference import Reference
from operant.loops.settings import DenoisingSettings
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds.generative.plans import Matching

CUT = 5.0  # standard deviations


@dataclass(frozen=True)
class AWM(DenoisingSettings):
    times: Count = 6  # times at which a sample is matched
    clip: Positive = 1.0  # the ratio's distance from 1 beyond which it is cut
    anchor: NonNegative = 1.0  # weight of the squared distance of the velocity to the average policy's
    anchor_decay: Share = 0.3  # of that average, an iteration


@method("awm", family="generative", paper="arXiv:2509.25050", worlds=("generative",))
def awm(h: AWM) -> PolicyGradient:
    return PolicyGradient(
        sample=Matching(h.prompts, h.group_size, h.sampling_steps, h.times),
        credit=Grouped(cut_advantage),
        terms=[ClippedRatio(h.clip, h.clip), *([VelocityAnchor(h.anchor)] if h.anchor else [])],
        reference=Reference("average", decay=h.anchor_decay),
        **h.updates,
    )


def cut_advantage(score: Tensor, mask: Tensor) -> Tensor:
    """`ops.group_normalized_advantage`, cut at `CUT` deviations and divided by them: −1 to 1."""
    return (ops.group_normalized_advantage(score, mask) / CUT).clamp(-1, 1)


@dataclass(frozen=True)
class VelocityAnchor:
    """`coefficient · mean (v − v_ref)²` over the coordinates, at each step: the KL of the two flows there, up to its weight."""

    coefficient: float
    name: ClassVar[str] = "anchor"
    needs: ClassVar[frozenset[str]] = frozenset({"velocity", "reference_velocity"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return self.coefficient * (batch.velocity - batch.reference_velocity).square().mean(-1)
