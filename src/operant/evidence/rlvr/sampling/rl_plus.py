"""RL-PLUS: outside answers reach what sampling never finds, and the mixed ratio is a better estimator than plain ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import spine
from operant.evidence.rlvr.tier import SEEDS, language
from operant.worlds import make_world
from operant.worlds.sequences import exact

HIDDEN = 2  # prompts whose right sequence the start hardly ever draws
ENUMERATED = "two of four enumerable prompts whose right answer starts below 1e-6 (in the place of a class of sums)"


@check(
    "rl-plus",
    "variance",
    "exact",
    "10,000 draws of a categorical writer: the mixed ratio's estimate has at most half the variance of plain importance sampling",
)
def variance(folder: Path) -> Finding:
    found, _ = estimator_figures()
    return Finding(found["mixed"] <= 0.5 * found["plain"], {"variance": found, "largest_share": 0.5})


@check("rl-plus", "bias", "exact", "there it has less bias than the ratio to the sampling policy on the writer's answers")
def bias(folder: Path) -> Finding:
    _, found = estimator_figures()
    return Finding(abs(found["mixed"]) < abs(found["ratio_to_old"]), {"bias": found})


@check("rl-plus", "hidden", "small", f"{ENUMERATED}: after 200 iterations exact pass@64 on them is at least 0.5 with RL-PLUS, in each of 5 seeds")
def hidden(folder: Path) -> Finding:
    found = hidden_prompts("rl-plus")["hidden"]
    return Finding(min(found) >= 0.5, {"pass@64": found, "threshold": 0.5}, SEEDS)


@check("rl-plus", "grpo-never-finds-them", "small", f"{ENUMERATED}: after 200 iterations exact pass@64 on them is at most 0.05 with GRPO, in each of 5 seeds")
def grpo_never_finds_them(folder: Path) -> Finding:
    found = hidden_prompts("grpo")
    return Finding(max(found["hidden"]) <= 0.05, {"pass@64": found["hidden"], "at_most": 0.05, "others": found["others"]}, SEEDS)


@check(
    "rl-plus", "others-stay", "small", f"{ENUMERATED}: after 200 iterations exact pass@64 on the others is at least the start's less 0.02, in each of 5 seeds"
)
def others_stay(folder: Path) -> Finding:
    found = hidden_prompts("rl-plus")
    return Finding(min(found["others"]) >= found["others_at_start"] - 0.02, {"pass@64": found["others"], "at_start": found["others_at_start"]}, SEEDS)


@check("rl-plus", "pass@1", "small", "text:arithmetic, 100 iterations: pass@1 is at least GRPO's (means over 5 seeds)")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("rl-plus"), language("grpo")
    figures = {"rl-plus": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()}
    return Finding(bool(own.score.mean() >= grpo.score.mean()), figures, SEEDS)


@check("rl-plus", "pass@16", "small", "text:arithmetic, 100 iterations: pass@16 is at least GRPO's (means over 5 seeds)")
def broad(folder: Path) -> Finding:
    own, grpo = language("rl-plus"), language("grpo")
    figures = {"rl-plus": own.pass_at[16].tolist(), "grpo": grpo.pass_at[16].tolist(), "base": own.base_pass_at[16].tolist()}
    return Finding(bool(own.pass_at[16].mean() >= grpo.pass_at[16].mean()), figures, SEEDS)


@cache
def estimator_figures() -> tuple[dict[str, float], dict[str, float]]:
    """Variance and bias of estimates of E_pi[f] for f the indicator of four of twenty answers.

    The writer is another categorical; the mixed estimate takes half of its draws from the sampling policy and half from the writer, as the balance heuristic is
    meant; plain importance sampling and the ratio to the sampling policy use the writer's answers alone.
    """
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(3, 20, generator=generator, dtype=torch.float64)
    target, old, writer = logits.log_softmax(-1)
    value = (torch.arange(20) < 4).double()
    truth = float((target.exp() * value).sum())

    def draws(log_p: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(log_p.exp(), 10_000, replacement=True, generator=generator)

    from_writer, from_old = draws(writer), draws(old)
    plain = (target - writer).exp()[from_writer] * value[from_writer]
    to_old = ops.policy_ratio(target, old)[from_writer] * value[from_writer]
    ratio = ops.mixed_importance_ratio(target, old, writer)
    mixed = (ratio[from_writer] * value[from_writer] + ratio[from_old] * value[from_old]) / 2
    variance = {"plain": float(plain.var()), "mixed": float(mixed.var())}
    return variance, {"mixed": float(mixed.mean()) - truth, "ratio_to_old": float(to_old.mean()) - truth, "truth": truth}


@cache
def hidden_prompts(key: str) -> dict:
    """Exact pass@64 after training, where the start gives the right sequences of two prompts almost no probability."""
    world = make_world("sequences:target")
    learner = spine(key, prompts=4, group_size=16, learning_rate=0.05).learner(world, list(range(5)), 200, torch.device("cpu"))
    right = world.problem.sequences[world.problem.rewards.argmax(-1)]
    with torch.no_grad():  # the first token of the right sequence is out of reach under the hidden prompts
        for prompt in range(HIDDEN):
            learner.policy.logits[:, prompt, 0, right[prompt, 0]] = -16.0
    start = float(exact.pass_at_k(learner.policy, world.problem, 64)[:, HIDDEN:].mean())
    for _ in range(200):
        learner.iterate()
    found = exact.pass_at_k(learner.policy, world.problem, 64).detach().numpy()
    return {"hidden": np.min(found[:, :HIDDEN], 1).tolist(), "others": np.min(found[:, HIDDEN:], 1).tolist(), "others_at_start": start}
