"""Flow-GRPO: GRPO over the denoising steps of a flow, whose sampler is made an SDE so that each step is a Gaussian choice. A baseline.

Paper: Liu et al. 2025, "Flow-GRPO: Training Flow Matching Models via Online RL", arXiv:2505.05470: the SDE is eqs. 8 and 9, the objective eq. 5; DDPO
(arXiv:2305.13301) is the same with its own sampler.
As in the authors' code: σ at the first step takes the time of the second, for it has no value at 1; the model is evaluated by the ODE. Settled on:
log-probabilities are sums over the coordinates, as the density is (there means, with a clip of 1e-4); advantages are divided by the group's deviation, there
by the batch's; no KL to the base model (0.04 there).
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import DenoisingSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.generative.plans import Denoising


@dataclass(frozen=True)
class FlowGRPO(DenoisingSettings):
    noise_level: Positive = 0.7  # of the sampling SDE
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("flow-grpo", name="Flow-GRPO", family="generative", paper="arXiv:2505.05470", worlds=("generative",), baseline=True)
def flow_grpo(h: FlowGRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Denoising(h.prompts, h.group_size, h.sampling_steps, h.noise_level),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip, h.clip)],
        **h.updates,
    )
