"""GSPO: on fresh answers its gradient is GRPO's; on old ones the ratio is the whole answer's."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import loss_gradient, random_policy, relative_error, spine
from operant.loops.terms import ClippedSequenceRatio, TermBatch
from operant.worlds.sequences.problems import make_problem


@check(
    "gspo",
    "fresh",
    "exact",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2 fresh answers, the gradient is GRPO's, relative error at most 1e-9",
)
def fresh(folder: Path) -> Finding:
    errors = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            errors.append(relative_error(loss_gradient(spine("gspo"), policy, problem), loss_gradient(spine("grpo"), policy, problem)))
    return Finding(max(errors) <= 1e-9, {"largest": max(errors), "tolerance": 1e-9})


@check(
    "gspo",
    "whole-answer",
    "exact",
    "on 1,000 answers of 1 to 20 tokens that another policy drew, the loss of each is -min(s A, clip(s) A) with s = (pi(y) / pi_old(y))^(1/|y|), and the "
    "gradient of their mean is that of this formula, error at most 1e-9",
)
def whole_answer(folder: Path) -> Finding:
    loss, gradient = literal_errors()
    return Finding(max(loss, gradient) <= 1e-9, {"loss": loss, "gradient": gradient, "tolerance": 1e-9})


def literal_errors() -> tuple[float, float]:
    """Largest distance of losses and gradients from the formula, an answer at a time."""
    generator = torch.Generator().manual_seed(0)
    rows, steps, low, high = 1_000, 20, 0.05, 0.1
    old = -torch.rand(1, rows, steps, generator=generator, dtype=torch.float64)
    log_prob = (old + 0.3 * torch.randn(old.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    length = torch.randint(1, steps + 1, (rows,), generator=generator)
    mask = (torch.arange(steps) < length.unsqueeze(1)).unsqueeze(0)
    advantage = torch.randn(rows, generator=generator, dtype=torch.float64)
    batch = {"log_prob": log_prob, "old_log_prob": old, "mask": mask, "advantage": advantage.view(1, -1, 1).expand(old.shape)}
    per_step = ClippedSequenceRatio(low, high)(TermBatch(batch))
    losses = []
    for row in range(rows):
        ratio = (log_prob[0, row, : length[row]].sum() - old[0, row, : length[row]].sum()).exp() ** (1 / int(length[row]))
        losses.append(-torch.minimum(ratio * advantage[row], ratio.clamp(1 - low, 1 + high) * advantage[row]))
    literal = torch.stack(losses)
    found = (per_step * mask / mask.sum(-1, keepdim=True)).sum(-1)[0]
    (want,) = torch.autograd.grad(literal.sum(), log_prob, retain_graph=True)
    (got,) = torch.autograd.grad(found.sum(), log_prob)
    return float((found - literal).detach().abs().max()), float((got - want).abs().max())
