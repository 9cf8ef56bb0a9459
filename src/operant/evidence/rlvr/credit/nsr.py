"""NSR: wrong answers alone raise pass@1 and keep the policy broad; right answers alone narrow it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, Outcome, language

TASK = "text:countdown"
RUNS = "text:countdown, 100 iterations of 16 x 8, means over 5 seeds"


@check("nsr", "logit-gradient", "exact", "a wrong token's logit gradient is -(1 - pi) and every other's pi_v, to 1e-6")
def logit_gradient(folder: Path) -> Finding:
    error = logit_gradient_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check(
    "nsr",
    "pass@16",
    "small",
    f"{RUNS}: pass@16 (the most that 16 evaluation samples give; the paper's k goes to 256) of NSR at least 0.05 above that of PSR",
)
def broad(folder: Path) -> Finding:
    nsr, psr = runs()
    wider = float((nsr.pass_at[16] - psr.pass_at[16]).mean())
    return Finding(wider >= 0.05, {"nsr": nsr.pass_at[16].tolist(), "psr": psr.pass_at[16].tolist(), "difference": wider, "threshold": 0.05}, SEEDS)


@check("nsr", "pass@1", "small", f"{RUNS}: pass@1 of NSR at least 0.05 above the base policy's")
def accuracy(folder: Path) -> Finding:
    nsr, psr = runs()
    gain = float((nsr.score - nsr.base_score).mean())
    figures = {"nsr": nsr.score.tolist(), "psr": psr.score.tolist(), "base": nsr.base_score.tolist()}
    return Finding(gain >= 0.05, figures | {"gain": gain, "threshold": 0.05}, SEEDS)


@check("nsr", "entropy-stays", "small", f"{RUNS}: final entropy at least 0.8 times the base's for NSR")
def entropy_stays(folder: Path) -> Finding:
    ratio = float((runs()[0].entropy / runs()[0].base_entropy).mean())
    return Finding(ratio >= 0.8, {"entropy_ratio": ratio, "at_least": 0.8}, SEEDS)


@check("nsr", "psr-narrows", "small", f"{RUNS}: final entropy at most 0.5 times the base's for PSR")
def psr_narrows(folder: Path) -> Finding:
    ratio = float((runs()[1].entropy / runs()[1].base_entropy).mean())
    return Finding(ratio <= 0.5, {"entropy_ratio": ratio, "at_most": 0.5}, SEEDS)


def runs() -> tuple[Outcome, Outcome]:
    """Wrong answers alone, and right answers alone."""
    return language("nsr", TASK), language("nsr", TASK, positive_weight=1.0, negative_weight=0.0)


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
