"""DPO: a policy learns from pairs of answers which it should prefer, without a reward model and without sampling.

Paper: Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", arXiv:2305.18290: the loss is eq. 7, −log σ of
β times the difference of the answers' log-ratios to the reference. With enough pairs of a Bradley-Terry reward r its minimiser is the policy that is optimal
for r with a KL penalty β, π ∝ π_ref exp(r / β) (section 4; appendix A.2).
Settled on: the reference is the policy that training starts from, measured once for all pairs. Adam in the place of RMSprop (section 6; TRL and later work use
AdamW), after a linear warm-up of `warmup_steps` updates; log-probabilities are sums over an answer's tokens, the end token among them. `label_smoothing` is
conservative DPO (Mitchell 2023). Pairs come in passes over the data, each in an order of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.pairs import Preferences
from operant.loops.preference import PreferredLogRatio
from operant.loops.settings import PreferenceSettings


@dataclass(frozen=True)
class DPO(PreferenceSettings):
    beta: Positive = 0.1  # strength of the KL penalty to the reference: the smaller, the further the policy goes for a preference
    label_smoothing: Annotated[float, Range(0, 0.5, open_high=True)] = 0.0  # share of preferences that are taken to be wrong


@method("dpo", family="preference", paper="arXiv:2305.18290", worlds=("preferences", "sequences"))
def dpo(h: DPO) -> Preferences:
    loss = partial(ops.dpo_loss, beta=h.beta, label_smoothing=h.label_smoothing)
    return Preferences(terms=[PreferredLogRatio(loss, h.beta)], **h.updates)
