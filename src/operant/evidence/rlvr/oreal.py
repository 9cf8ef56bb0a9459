"""OREAL: rests on an identity of best-of-n sampling, and its shaped use of wrong answers pays."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language


@claim(
    "oreal",
    "by enumeration on random distributions: best-of-n sampling (uniform among the successes) gives right answers the distribution π(y | success) for n "
    "from 1 to 5 (total variation < 1e-12), and wrong ones π(y)(1 − p)^(n − 1) (error < 1e-12); text:arithmetic, equal samples, means over 5 seeds, in the "
    "authors' configuration without a token reward model: pass@1 above that of right answers alone, and at least GRPO's − 0.01; with the model reported beside "
    "it (made from scratch, it had learned nothing from 100 iterations of 32 answers in a trial with one seed)",
)
def check(folder: Path) -> Finding:
    right, wrong = best_of_n_errors()
    ours, positives, theirs = language("oreal", token_reward=False), language("oreal", token_reward=False, negative=0.0), language("grpo")
    with_model = language("oreal")
    over_positives = float(ours.score.mean() - positives.score.mean())
    over_grpo = float(ours.score.mean() - theirs.score.mean())
    figures = {
        "best_of_n": {"total_variation": right, "wrong_answers_error": wrong, "tolerance": 1e-12},
        "pass@1": {
            "oreal": float(ours.score.mean()),
            "right_answers_alone": float(positives.score.mean()),
            "grpo": float(theirs.score.mean()),
            "with_token_reward_model": float(with_model.score.mean()),
            "over_right_answers_alone": over_positives,
            "over_grpo": over_grpo,
            "thresholds": [0.0, -0.01],
        },
    }
    return Finding(verdict([right < 1e-12, wrong < 1e-12, over_positives > 0, over_grpo >= -0.01]), figures, seeds=5)


def best_of_n_errors(answers: int = 5, most: int = 5) -> tuple[float, float]:
    """(largest total variation between right answers of best-of-n and π(y | success), largest error of a wrong answer's probability), over 5 distributions.

    A group is chosen from uniformly among its right answers, or among all where none is right; every ordered group is summed over.
    """
    worst = [0.0, 0.0]
    for seed in range(5):
        policy = torch.randn(answers, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(0)
        right = torch.arange(answers) < 1 + seed % (answers - 1)
        success = policy[right].sum()
        for n in range(1, most + 1):
            chosen = torch.zeros(answers, dtype=torch.float64)
            for group in itertools.product(range(answers), repeat=n):
                members = torch.tensor(group)
                among = members[right[members]] if bool(right[members].any()) else members
                chosen.index_add_(0, among, (policy[members].prod() / len(among)).expand(len(among)))
            given_right = chosen[right] / chosen[right].sum()
            worst[0] = max(worst[0], 0.5 * (given_right - policy[right] / success).abs().sum().item())
            worst[1] = max(worst[1], (chosen[~right] - policy[~right] * (1 - success) ** (n - 1)).abs().max().item())
    return worst[0], worst[1]
