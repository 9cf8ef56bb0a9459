"""Reg-GRPO: the group's standardised log-ratios are fitted to its standardised advantages, without clipping; problems come back with hints or with noise.

Paper: Park et al. 2025 (DeepVideo-R1), arXiv:2506.07464. At the optimum of the KL-regularised objective the reward is beta · log-ratio + beta · log Z;
standardising both sides within a group takes out beta and Z, and leaves L = mean_i (A_i − (ρ_i − mean ρ) / std ρ)², ρ_i = log π(y_i|x) − log π_old(y_i|x).
Settled on: std ρ is 0 before the first update, so the divisor is at least `std_floor` nats; below it the loss is the plain regression of ρ on A · std_floor,
whose first gradient is GRPO's times a constant, which clipping the gradient's norm takes out. Above it the loss does not change with the scale of ρ: the
learning rate sets the size of the steps, not the loss. That first gradient is 2 / std_floor times GRPO's (norms of 1,000 and more), and later ones go with
1 / std ρ: nearly every one is cut to `max_grad_norm`, which Adam's own scaling forgives; without clipping the first batch outweighs Adam's moments for
thousands of updates. It did not collapse by chance where that was looked for: paid for one character, at a learning rate of 1e-2 and from a policy of one
layer, 4 of 4 seeds ended at rewards of 0.92 to 1.00 after 25 iterations (Intel Xeon with AMX); from the same policy with weights drawn too small (0.02) one
seed ended at 0.04 there. Both sides use the sample's standard deviation. Several updates a batch, for with one alone nothing
is fitted.
Difficulty-aware augmentation (`worlds.hints`): the paper changes the sample at hand, video frames for noise; here the problem comes back in the next
iteration, and noise exchanges tokens of its prompt. Rewards are known only once a batch is scored, and each problem's answers must share one prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from operant import ops
from operant.core.registry import Count, Positive, Range, Share, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.row_terms import GroupedLogRatio
from operant.loops.settings import GroupSettings
from operant.worlds.hints import Hinted


@dataclass(frozen=True)
class RegGRPO(GroupSettings):
    learning_rate: Positive = 2e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    minibatches: Count = 4  # optimiser steps in each pass, of whole groups
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, in whole groups, 0 for all; never changes the loss
    std_floor: Positive = 1e-3  # least divisor of log-ratios, nats
    revisits: Share = 0.5  # largest share of prompts that come back with a hint or noise; 0 for none
    noise: Share = 0.1  # share of a prompt's tokens that noise exchanges at most
    window: Count = 10  # iterations whose mean reward says what is hard and what is easy


@method("reg-grpo", name="Reg-GRPO", family="rlvr", paper="arXiv:2506.07464", worlds=("text", "sequences"))
def reg_grpo(h: RegGRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Hinted(h.prompts, h.group_size, revisits=h.revisits, noise=h.noise, window=h.window),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[GroupedLogRatio(partial(ops.standardized_log_ratio_loss, std_floor=h.std_floor), target="advantage")],
        unit="group",
        reduce="sequence-mean",
        **h.updates,
    )
