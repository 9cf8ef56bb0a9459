"""NSR: wrong answers alone raise pass@1 and keep the policy broad; right answers alone narrow it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language

TASK = "text:countdown"


@claim(
    "nsr",
    "A wrong token's logit gradient is -(1 - pi) and every other's pi_v, to 1e-6. text:countdown, 100 iterations of 16 x 8: pass@16 (the most that 16 "
    "evaluation samples give; the paper's k goes to 256) of NSR at least 0.05 above that of PSR, pass@1 at least 0.05 above the base policy's, final "
    "entropy at least 0.8 times the base's for NSR and at most 0.5 times for PSR; means over 5 seeds",
)
def check(folder: Path) -> Finding:
    error = logit_gradient_error()
    nsr, psr = language("nsr", TASK), language("nsr", TASK, positive_weight=1.0, negative_weight=0.0)
    wider = float((nsr.pass_at[16] - psr.pass_at[16]).mean())
    gain = float((nsr.score - nsr.base_score).mean())
    kept, lost = (float((outcome.entropy / outcome.base_entropy).mean()) for outcome in (nsr, psr))
    figures = {
        "logit_gradient": {"largest_error": error, "tolerance": 1e-6},
        "pass@16": {"nsr": nsr.pass_at[16].tolist(), "psr": psr.pass_at[16].tolist(), "difference": wider, "threshold": 0.05},
        "pass@1": {"nsr": nsr.score.tolist(), "psr": psr.score.tolist(), "base": nsr.base_score.tolist(), "gain": gain, "threshold": 0.05},
        "entropy_ratio": {"nsr": kept, "at_least": 0.8, "psr": lost, "at_most": 0.5},
    }
    return Finding(verdict([error <= 1e-6, wider >= 0.05, gain >= 0.05, kept >= 0.8, lost <= 0.5]), figures, seeds=5)


def logit_gradient_error(vocabulary: int = 12) -> float:
    """Largest error of the negative gradient of a wrong token's loss by the logits, over every token of 20 random distributions."""
    worst, generator = 0.0, torch.Generator().manual_seed(0)
    advantage = ops.sign_weighted_score(torch.zeros(1, dtype=torch.float64), positive=0.0, negative=1.0)
    for _ in range(20):
        logits = torch.randn(vocabulary, generator=generator, dtype=torch.float64, requires_grad=True)
        for token in range(vocabulary):
            log_prob = logits.log_softmax(-1)[token : token + 1]
            loss = ops.clipped_ratio_loss(log_prob, log_prob.detach(), advantage, clip_low=0.2, clip_high=0.2).sum()
            expected = logits.detach().softmax(-1) - torch.eye(vocabulary, dtype=torch.float64)[token]
            worst = max(worst, float((-torch.autograd.grad(loss, logits)[0] - expected).abs().max()))
    return worst
