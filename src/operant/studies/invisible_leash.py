"""The invisible leash: which right answers come into reach by training, and which fall out of it.

Paper: Wu et al. 2025, arXiv:2507.14843. A right answer is in reach of a policy (its empirical support) where its probability is above a threshold: of answers
that are sampled, where it was drawn at all, which misses what has a probability above 1 − 0.05^(1/n) with a chance below 5 %. The answers of all problems are
counted together: retention P / (P + S), discovery E / (P + E), their harmonic mean, net change (E − S) / (P + E + S). The base draws more answers than the
trained policy (--base-samples), so that what it reaches rarely is not taken for new. On sequences:NAME probabilities are exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import Count, Positive, Share
from operant.loops.runs import load, train
from operant.nets.tabular import TabularPolicy
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import Answered, TrainedAndBase, answers, compared
from operant.worlds import make_world
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem


@dataclass(frozen=True)
class LeashOptions(TrainedAndBase):
    task: str | None = None  # text or sequences task; none for that of the run, or text:countdown
    base_samples: Count = 1024  # answers of the base a problem
    samples: Count = 512  # answers of the trained policy a problem
    temperature: Positive = 1.0  # of sampling
    threshold: Share = 0.0  # share above which an answer is in reach; 0 counts every answer that was drawn


@study(
    "invisible-leash", paper="arXiv:2507.14843", summary="Which right answers training brings into reach and which it loses; entropy of tokens and of answers"
)
def invisible_leash(options: LeashOptions, folder: Path, say: Say) -> StudyResult:
    if (load(options.run).config["task"] if options.run else options.task or "text:").startswith("sequences:"):
        figures = exact_figures(options, folder, say)
    else:
        figures = sampled_figures(options, folder, say)
    counts, dynamics = figures["counts"], figures["dynamics"]
    rows = [(name, str(value)) for name, value in counts.items()]
    rows += [(f"{title} ({short})", f"{dynamics[name]:.3f}") for name, title, short in _NAMES]
    first = Table(f"right answers in reach before and after training on {figures['task']}", ("figure", "value"), tuple(rows))
    spread = tuple((name.replace("_", " "), f"{value['base']:.3f}", f"{value['trained']:.3f}") for name, value in figures["policies"].items())
    return StudyResult(figures, (first, Table("the policies", ("figure", "base", "trained"), spread)))


_NAMES = (("retention", "retention", "SRR"), ("discovery", "discovery", "NDR"), ("harmonic", "harmonic mean", "SDS"), ("net_change", "net change", "NSCR"))


def _support(before: Tensor, after: Tensor, right: Tensor, threshold: float) -> dict[str, Any]:
    """Counts and figures of answers `[M]` of all problems together."""
    counts = ops.support_counts(before, after, right, threshold=threshold)
    dynamics = ops.support_dynamics(counts.preserved, counts.expanded, counts.shrunk)
    return {"counts": {name: int(value) for name, value in counts._asdict().items()}, "dynamics": {k: float(v) for k, v in dynamics._asdict().items()}}


def sampled_figures(options: LeashOptions, folder: Path, say: Say) -> dict[str, Any]:
    """The figures from answers that are drawn."""
    world, base, trained, run = compared(options, folder, say)
    problems = world.problems.held_out(world.problems.splits[0], options.problems)
    found = {}
    for name, policy, samples in (("base", base, options.base_samples), ("trained", trained, options.samples)):
        say(f"{name}: {samples} answers to each of {len(problems)} problems")
        found[name] = answers(world, policy, problems, samples, temperature=options.temperature, seed=options.seed)
    before, after = share_of_right(found["base"], found["trained"])
    alike = min(options.base_samples, options.samples)  # an entropy from counts grows with their number
    policies = {
        "pass@1": {name: float(answered.right.mean()) for name, answered in found.items()},
        "token_entropy": {name: answered.entropy for name, answered in found.items()},
        "answer_entropy": {name: answer_entropy(answered, alike) for name, answered in found.items()},
        "missed_below": {"base": 1 - 0.05 ** (1 / options.base_samples), "trained": 1 - 0.05 ** (1 / options.samples)},
    }
    support = _support(before, after, torch.ones(len(before), dtype=torch.bool), options.threshold)
    return {"task": world.task, "run": str(run.path), "problems": len(problems), "policies": policies} | support


def share_of_right(base: Answered, trained: Answered) -> tuple[Tensor, Tensor]:
    """The share of each policy's draws that gave each right answer which either of them gave, all problems one behind the other: `[M]` float64 each."""
    shares: list[tuple[float, float]] = []
    for problem in range(len(base.right)):
        drawn = []
        for answered in (base, trained):
            drawn.append(Counter(text for text, right in zip(answered.text[problem], answered.right[problem], strict=True) if right))
        for text in sorted(drawn[0].keys() | drawn[1].keys()):
            shares.append((drawn[0][text] / base.right.shape[1], drawn[1][text] / trained.right.shape[1]))
    table = torch.tensor(shares, dtype=torch.float64).view(-1, 2)
    return table[:, 0], table[:, 1]


def answer_entropy(answered: Answered, samples: int) -> float:
    """Entropy of the canonical answer of the first `samples` draws, mean over problems, nats; having no answer counts as one."""
    found = []
    for texts in answered.text:
        share = np.array(list(Counter(texts[:samples]).values())) / len(texts[:samples])
        found.append(-(share * np.log(share)).sum())
    return float(np.mean(found))


def exact_figures(options: LeashOptions, folder: Path, say: Say) -> dict[str, Any]:
    """The same from the probabilities of an enumerable problem."""
    if options.run is None:
        say(f"training {options.method} on {options.task}: {options.steps} iterations")
        run = train(options.method, options.task, seed=options.seed, steps=options.steps, every=options.steps, progress=False, out=folder / "trained")
    else:
        run = load(options.run, trust=options.trust)
    world = make_world(run.config["task"])
    base = world.policy(None, Streams([run.config["seed"]])) if options.base is None else load(options.base, trust=options.trust).load_policy()
    with torch.no_grad():
        log_prob = {name: exact.sequence_log_probs(policy, world.problem)[0] for name, policy in (("base", base), ("trained", run.load_policy()))}
    before, after = (log_prob[name].exp().flatten() for name in ("base", "trained"))
    right = world.problem.rewards > 0.5
    policies = {
        "pass@1": {name: float((value.exp() * right).sum(-1).mean()) for name, value in log_prob.items()},
        "answer_entropy": {name: float(-(value.exp() * value).sum(-1).mean()) for name, value in log_prob.items()},
    }
    return {"task": world.task, "run": str(run.path), "policies": policies} | _support(before, after, right.flatten(), options.threshold)


def tilted_optimum_distance(problem: SequenceProblem, reference: TabularPolicy, *, kl_weight: float, steps: int, learning_rate: float) -> float:
    """Largest total variation, over seeds and prompts, between the policy after exact ascent of E[r] − kl_weight · KL(π || q) and q exp(r / kl_weight) / Z.

    The optimum has no mass where the reference q has none: the theorem that the study measures.

    Args:
        reference: q, where ascent starts.
        steps: of ascent; `learning_rate` is that of Adam, falling linearly to 0.
    """
    policy = TabularPolicy(problem, seeds=reference.seeds)
    policy.load_state_dict(reference.state_dict())
    optimizer = torch.optim.Adam(policy.parameters(), learning_rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        value = exact.exact_gradient(policy, problem, reference=reference, kl_weight=kl_weight)
        for name, parameter in policy.named_parameters():
            parameter.grad = -value[name]
        optimizer.step()
    with torch.no_grad():
        q = exact.sequence_log_probs(reference, problem)
        optimum = (q + problem.rewards / kl_weight).softmax(-1)
        return float(0.5 * (exact.sequence_log_probs(policy, problem).exp() - optimum).abs().sum(-1).max())
