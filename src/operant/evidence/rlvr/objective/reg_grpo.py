"""Reg-GRPO: its loss vanishes at the KL-regularised optimum, hints bring back reward variance, and it learns as well as GRPO without clipping."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.loops.base_policy import ensure_base_policy
from operant.worlds import make_world
from operant.worlds.hints import Hinted
from operant.worlds.plans import Problems, Prompt, Request

SIZE = 8  # answers a prompt, as in the catalogue


@check(
    "reg-grpo",
    "optimum",
    "exact",
    "at π = π_old exp(r / beta) / Z the loss is 0 on every sampled group (< 1e-6) for beta from 0.01 to 100, where the standard deviation of the "
    "log-ratios is above its floor",
)
def optimum(folder: Path) -> Finding:
    loss = largest_loss_at_the_optimum()
    return Finding(loss < 1e-6, {"largest_loss": loss, "tolerance": 1e-6})


@check(
    "reg-grpo",
    "hints-bring-variance",
    "small",
    "text:arithmetic, base policy, groups of 8: of problems whose answers all scored alike, the share that scores alike when they come back falls by at least "
    "40 % with hints and noise against coming back unchanged",
)
def hints_bring_variance(folder: Path) -> Finding:
    unchanged, changed = alike_again(Unchanged), alike_again(Hinted)
    fall = 1 - changed / unchanged
    return Finding(fall >= 0.4, {"unchanged": unchanged, "with_hints_and_noise": changed, "fall": fall, "threshold": 0.4}, seeds=1)


@check("reg-grpo", "pass@1", "small", "text:arithmetic: pass@1 at least clipped GRPO's at equal samples (means over 5 seeds)")
def accuracy(folder: Path) -> Finding:
    ours, theirs = float(language("reg-grpo").score.mean()), float(language("grpo").score.mean())
    return Finding(ours >= theirs, {"reg-grpo": ours, "grpo": theirs, "difference": ours - theirs, "threshold": 0.0}, SEEDS)


@check("reg-grpo", "calm-ratios", "small", "text:arithmetic: the 99 % quantile of token ratios is at most 10 in at least 95 % of iterations")
def calm_ratios(folder: Path) -> Finding:
    calm = float((language("reg-grpo").metrics("ratio/q99") <= 10).mean())
    return Finding(calm >= 0.95, {"share_of_iterations": calm, "threshold": 0.95}, SEEDS)


def largest_loss_at_the_optimum(answers: int = 50, groups: int = 2_000) -> float:
    """Largest loss of a member over groups drawn from a random softmax bandit with 0/1 rewards, at the optimum of the KL-regularised objective."""
    worst = 0.0
    for seed, beta in enumerate((0.01, 0.1, 1.0, 10.0, 100.0)):
        generator = torch.Generator().manual_seed(seed)
        old = torch.randn(answers, generator=generator, dtype=torch.float64).log_softmax(0)
        reward = (torch.rand(answers, generator=generator) < 0.3).double()
        new = (old + reward / beta).log_softmax(0)
        drawn = torch.multinomial(old.exp().expand(groups, -1), SIZE, replacement=True, generator=generator)
        advantage = ops.group_normalized_advantage(reward[drawn])
        worst = max(worst, ops.standardized_log_ratio_loss((new - old)[drawn], advantage).max().item())
    return worst


class Unchanged(Hinted):
    """The control: the same problems come back as they were."""

    def _change(self, problems: Problems, prompt: Prompt, gap: float) -> Request:
        return Request(prompt.tokens, self.n, group=prompt.index)


def alike_again(plan: type[Hinted], iterations: int = 30) -> float:
    """The share of problems, of those that came back because their answers had scored alike, whose answers score alike again."""
    world = make_world("text:arithmetic")
    ensure_base_policy(world, lambda message: None)
    streams = Streams([0])
    sampling = plan(prompts=32, n=SIZE)
    source = world.source(sampling, streams)
    policy = world.policy(None, streams)
    alike = []
    for _ in range(iterations):
        rollout = source.score(source.sample(policy, 0))
        scores = rollout.reward[0].sum(-1)
        for problem in sampling.changed:
            group = scores[rollout.group[0] == problem]
            alike.append(bool((group == group[0]).all()))
    source.close()
    return sum(alike) / len(alike)
