"""BroRL: what many answers to a prompt do that many steps do not, on a softmax over tokens whose right ones are known; and a sweep on a text task.

Paper: Hu et al. 2025, arXiv:2510.01180. The simulator draws N tokens a step, moves the logits by the policy gradient over the distinct tokens drawn
(`ops.sampled_logit_step`), cut to a trust region, and counts the right tokens whose probability ends below where it began. In one step, only tokens that were
not drawn can cost right tokens mass (`ops.mass_balance`). That mass grows does not keep every right token: from an uneven start, likely ones crowd out the
others however many are drawn (`--spread`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.memory import check_memory
from operant.core.registry import Count, NonNegative, Positive, Range, Share
from operant.core.seeds import derive_seed
from operant.evaluate.statistics import mean, stratified_bootstrap
from operant.loops.runs import train
from operant.studies import Say, StudyResult, Table, study


@dataclass(frozen=True)
class BroRLOptions:
    vocabulary: Annotated[int, Range(2, 2**24)] = 1024  # tokens of the softmax, as many as PyTorch draws from
    right: Share = 0.1  # share of them that are right
    spread: NonNegative = 0.0  # standard deviation of the logits at the start; 0 for a uniform start
    draws: Annotated[tuple[int, ...], Range(1)] = (8, 32, 128, 512, 2048, 8192)  # tokens a step, each by itself
    until: Share = 0.9  # mass of the right tokens at which a simulation ends, so that all are compared at the same success
    updates: Count = 1000  # most steps of a simulation
    radius: Positive = 1e-3  # trust region of a step: most KL, to second order, nats
    seeds: Count = 5  # of the simulation and of training
    task: str | None = None  # text task to train on with each group size, at equal answers; none for the simulation alone
    model: str | None = None  # folder or hub id of the language model that training starts from; none for a small one made from scratch
    groups: Annotated[tuple[int, ...], Range(2)] = (8, 32, 128)  # answers a prompt
    batch: Count = 256  # answers an iteration, a multiple of every group size
    steps: Count = 60  # iterations of training


@study("brorl", paper="arXiv:2510.01180", summary="Many answers a prompt: which right tokens lose probability, by the number drawn; training at equal answers")
def brorl(options: BroRLOptions, folder: Path, say: Say) -> StudyResult:
    if options.task is not None and (odd := [group for group in options.groups if options.batch % group]):
        raise BadInput(f"study brorl: batch={options.batch} is no multiple of a group of {odd[0]}; nearest: {-(-options.batch // odd[0]) * odd[0]}")
    what = f"study brorl: {max(options.draws):,} draws a step from {options.vocabulary:,} tokens"
    check_memory(what, 8 * (max(options.draws) + 10 * options.vocabulary), "take fewer --draws")
    figures: dict = {"simulation": {}}
    rows = []
    for draws in options.draws:
        found = simulate(draws, options)
        lost, mass = (stratified_bootstrap(found[name].numpy(), mean) for name in ("lost", "mass"))
        figures["simulation"][draws] = {name: value.tolist() for name, value in found.items()}
        rows.append((str(draws), f"{lost.point:.3f}", f"{mass.point:.3f}", f"{found['negative'].mean():.3f}", f"{found['updates'].mean():.0f}"))
        say(f"{draws} tokens a step: {100 * lost.point:.1f} % of the right tokens below their start")
    head = ("tokens a step", "right tokens below their start", "mass of right tokens", "steps that lower it", "steps")
    tables = [Table(f"softmax over {options.vocabulary} tokens, up to a mass of {options.until:g}", head, tuple(rows))]
    if options.task is not None:
        rows, figures["training"] = [], {}
        for group in options.groups:
            say(f"training on {options.task} with {group} answers a prompt")
            chosen = {} if options.model is None else {"model": options.model}
            chosen |= {"prompts": options.batch // group, "group_size": group, "steps": options.steps, "every": options.steps}
            run = train("brorl", options.task, seeds=options.seeds, out=folder / f"group-{group}", progress=False, **chosen)
            passed = run.result["pass_at_k"]["policy"]
            figures["training"][group] = {"score": run.result["score"], "pass_at_k": passed, "base": run.result["base"]}
            rows.append((str(group), f"{run.result['base']['iqm']:.3f}", f"{passed['1']:.3f}", f"{passed[max(passed, key=int)]:.3f}"))
        most = max(passed, key=int)
        title = f"{options.task}: {options.steps} iterations of {options.batch} answers"
        tables.append(Table(title, ("answers a prompt", "pass@1 before", "pass@1", f"pass@{most}"), tuple(rows)))
    return StudyResult(figures, tuple(tables))


def simulate(draws: int, options: BroRLOptions) -> dict[str, Tensor]:
    """Policy-gradient steps on a softmax with known right tokens, each of `draws` draws and of the largest size within the trust region.

    Returns:
        `[seeds]` float64 each: "lost", share of right tokens whose probability ended below its start; "mass" of right tokens in the end; "negative", share of
        steps whose first-order change of that mass was below 0; "updates" that were made.

    Raises:
        BadInput: no token, or every token, would be right.
        RunFailed: logits are not finite any more.
    """
    count = round(options.right * options.vocabulary)
    if not 0 < count < options.vocabulary:
        raise BadInput(f"study brorl: right={options.right} of {options.vocabulary} tokens are {count}; at least one is right and one is not")

    def check(logits: Tensor, seed: int, updates: int) -> int:
        """The updates that are done, where logits are finite after them."""
        if not logits.isfinite().all():
            what = f"study brorl: {draws} draws a step, seed {seed}: the logits are not finite after {updates} updates"
            raise RunFailed(f"{what}: try a smaller --{'radius' if updates else 'spread'}")
        return updates

    found = []
    for seed in range(options.seeds):
        generator = torch.Generator().manual_seed(derive_seed(seed, "brorl", draws))
        start = torch.Generator().manual_seed(derive_seed(seed, "brorl"))
        logits = options.spread * torch.randn(options.vocabulary, generator=start, dtype=torch.float64)
        right = torch.zeros(options.vocabulary, dtype=torch.bool)
        right[torch.randperm(options.vocabulary, generator=start)[:count]] = True
        first, negative, updates = logits.softmax(-1), 0, 0
        while check(logits, seed, updates) < options.updates and (p := logits.softmax(-1))[right].sum() < options.until:
            updates += 1
            sampled = torch.zeros_like(right)
            sampled[torch.multinomial(p, draws, replacement=True, generator=generator)] = True
            negative += bool(sum(ops.mass_balance(p, right, sampled)) < 0)
            logits = logits + within_radius(ops.sampled_logit_step(p, right, sampled), p, options.radius)
        p = logits.softmax(-1)
        found.append((float((p < first * (1 - 1e-9))[right].double().mean()), float(p[right].sum()), negative / max(1, updates), updates))
    return dict(zip(("lost", "mass", "negative", "updates"), torch.tensor(found, dtype=torch.float64).T, strict=True))


def within_radius(direction: Tensor, probability: Tensor, radius: float) -> Tensor:
    """`direction [V]` at the length where KL(before || after) is `radius` nats to second order, that is half the variance of the logits' change."""
    variance = (probability * direction.square()).sum() - (probability * direction).sum().square()
    return direction * (2 * radius / variance.clamp(min=torch.finfo(direction.dtype).tiny)).sqrt()
