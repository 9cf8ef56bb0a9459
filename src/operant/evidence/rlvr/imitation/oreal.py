"""OREAL: rests on an identity of best-of-n sampling, and its shaped use of wrong answers pays."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language

RUNS = "text:arithmetic, equal samples, means over 5 seeds, in the authors' configuration without a token reward model"


@check(
    "oreal",
    "right-answers",
    "exact",
    "by enumeration on random distributions: best-of-n sampling (uniform among the successes) gives right answers the distribution π(y | success) for n from 1 "
    "to 5 (total variation < 1e-12)",
)
def right_answers(folder: Path) -> Finding:
    right, _ = best_of_n_errors()
    return Finding(right < 1e-12, {"total_variation": right, "tolerance": 1e-12})


@check("oreal", "wrong-answers", "exact", "there it gives wrong answers π(y)(1 − p)^(n − 1) (error < 1e-12)")
def wrong_answers(folder: Path) -> Finding:
    _, wrong = best_of_n_errors()
    return Finding(wrong < 1e-12, {"error": wrong, "tolerance": 1e-12})


@check("oreal", "over-right-alone", "small", f"{RUNS}: pass@1 above that of right answers alone")
def over_right_alone(folder: Path) -> Finding:
    own, positives = language("oreal", token_reward=False), language("oreal", token_reward=False, negative=0.0)
    gain = float(own.score.mean() - positives.score.mean())
    return Finding(gain > 0, {"oreal": float(own.score.mean()), "right_answers_alone": float(positives.score.mean()), "difference": gain}, SEEDS)


@check(
    "oreal",
    "over-grpo",
    "small",
    f"{RUNS}: pass@1 at least GRPO's − 0.01; with the token reward model reported beside it (made from scratch, it had learned nothing from 100 iterations of "
    "32 answers in a trial with one seed)",
)
def over_grpo(folder: Path) -> Finding:
    own, grpo, with_model = language("oreal", token_reward=False), language("grpo"), language("oreal")
    gain = float(own.score.mean() - grpo.score.mean())
    means = {"oreal": own, "grpo": grpo, "with_token_reward_model": with_model}
    figures = {name: float(outcome.score.mean()) for name, outcome in means.items()}
    return Finding(gain >= -0.01, figures | {"difference": gain, "threshold": -0.01}, SEEDS)


@cache
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
