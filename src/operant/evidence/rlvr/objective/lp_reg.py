"""Lp-Reg: rare ways that are needed somewhere survive wrong answers that use them."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import spine
from operant.evidence.rlvr.tier import language
from operant.loops.terms import ClippedRatio, TermBatch
from operant.methods.rlvr.objective.lp_reg import ProtectedRatio
from operant.worlds.sequences.problems import SequenceProblem
from operant.worlds.sequences.world import SequenceWorld

SEEDS, UPDATES = 5, 500
USUAL, SPARK, NOISE = 0, 1, 2  # the first token: which way is taken
RARE = 0.02
WAYS = (
    "a table of 10 prompts (in the place of a language model with planted tokens), the first token is a way, the rare one starts at probability 0.02 and only "
    "2 of the 10 prompts need it, 500 updates of 10 x 16 at a share of 0.1"
)
RUNS = "text:arithmetic, 100 iterations of 16 x 8 at a share of 0.1 (a hundredth of so few tokens is a handful)"


@check("lp-reg", "filtered-gradient", "exact", "tokens that the filter removes have exactly the gradient of the clipped loss alone")
def filtered(folder: Path) -> Finding:
    error = filtered_gradient()
    return Finding(error == 0, {"largest_difference": error})


@check("lp-reg", "rare-way-stays", "small", f"{WAYS}: over the 8 others the rare way keeps at least half of its mass with Lp-Reg, in each of 5 seeds")
def rare_way_stays(folder: Path) -> Finding:
    kept = rare_mass("lp-reg", share=0.1)
    return Finding(min(kept) >= 0.5, {"share_kept": kept, "threshold": 0.5}, SEEDS)


@check("lp-reg", "grpo-loses-it", "small", f"{WAYS}: over the 8 others the rare way keeps at most a tenth of its mass with GRPO, in each of 5 seeds")
def grpo_loses_it(folder: Path) -> Finding:
    kept = rare_mass("grpo", reduce="token-mean")
    return Finding(max(kept) <= 0.1, {"share_kept": kept, "at_most": 0.1}, SEEDS)


@check("lp-reg", "pass@1", "small", f"{RUNS}: pass@1 at least GRPO's plus 0.02, means over 5 seeds")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("lp-reg", share=0.1), language("grpo")
    gain = float(own.score.mean() - grpo.score.mean())
    return Finding(gain >= 0.02, {"lp-reg": own.score.tolist(), "grpo": grpo.score.tolist(), "gain": gain, "threshold": 0.02}, SEEDS)


@check("lp-reg", "entropy", "small", f"{RUNS}: entropy at least twice GRPO's, means over 5 seeds")
def entropy(folder: Path) -> Finding:
    own, grpo = language("lp-reg", share=0.1), language("grpo")
    ratio = float(own.entropy.mean() / grpo.entropy.mean())
    return Finding(ratio >= 2, {"lp-reg": own.entropy.tolist(), "grpo": grpo.entropy.tolist(), "ratio": ratio, "threshold": 2.0}, SEEDS)


def filtered_gradient() -> float:
    """Largest difference between the gradients of rare filtered tokens and those of the clipped loss."""
    generator = torch.Generator().manual_seed(0)
    old, noise, advantage = torch.randn(3, 10_000, generator=generator, dtype=torch.float64)
    batch = TermBatch({
        "old_log_prob": old, "advantage": -advantage.abs(), "rare": torch.ones(10_000, dtype=torch.bool),
        "proxy_log_prob": torch.full_like(old, torch.finfo(old.dtype).min),
    })  # fmt: skip
    gradients = []
    for term in (ProtectedRatio(1.0, 9.0, 1.0, 0.02), ClippedRatio(1.0, 9.0)):
        log_prob = (old + noise).requires_grad_()
        term(batch | {"log_prob": log_prob}).sum().backward()
        gradients.append(log_prob.grad)
    return float((gradients[0] - gradients[1]).abs().max())


def ways() -> SequenceProblem:
    """Ten prompts; a way and two digits. Right is the prompt's own pair of digits, by any way but noise; in the last two prompts by the rare way alone."""

    def reward(prompt: int, tokens: tuple[int, ...]) -> float:
        ways = (SPARK,) if prompt >= 8 else (USUAL, SPARK)
        return float(tokens[0] in ways and tokens[1] == prompt % 3 and tokens[2] == prompt // 4)

    return SequenceProblem(3, 3, 10, reward)


def rare_mass(key: str, **hyper: object) -> list[float]:
    """Mean probability of the rare way over the prompts that do not need it, as a share of its start, a seed."""
    learner = spine(key, prompts=10, group_size=16, learning_rate=0.01, **hyper).learner(
        SequenceWorld(ways(), "ways"), list(range(SEEDS)), UPDATES, torch.device("cpu")
    )
    with torch.no_grad():
        learner.policy.logits[:, :, 0] = torch.tensor([1 - RARE - 1e-4, RARE, 1e-4], dtype=torch.float64).log()
    for _ in range(UPDATES):
        learner.iterate()
    mass = learner.policy.logits.detach()[:, :8, 0].softmax(-1)[..., SPARK].mean(-1)
    return (mass / RARE).tolist()
