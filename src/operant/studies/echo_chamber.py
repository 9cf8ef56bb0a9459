"""Echo chamber: reinforcement learning takes up one of the formats that pre-training left, and the others fade.

Paper: Zhao et al. 2025, arXiv:2504.07912. A small model is trained from scratch on a mixture of three ways to write the same sums, whose shares and
reliabilities (how often a trace of the format is right) are yours to set; then PPO, GRPO or rejection-sampling fine-tuning (expert iteration) goes on from
it. Along the way: the share of each format among the answers, accuracy within it, pass@1, majority@k and pass@k. The format of the largest share × accuracy
before training is the one that is predicted to win.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.registry import Count, Positive, Range, configure, get_method
from operant.evaluate.plots import learning_curves
from operant.evaluate.statistics import pass_at_k
from operant.loops.learner import check_weights
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import Answered, answers, world_of
from operant.worlds.text.tasks import Problem
from operant.worlds.text.tasks.arithmetic import Arithmetic
from operant.worlds.text.verifiers import ExactAnswer
from operant.worlds.text.world import TextWorld

FORMATS = ("steps", "brackets", "direct")


@dataclass(frozen=True)
class FormattedSums(Arithmetic):
    """Chained sums in three formats: `8,7;7` (steps), `<8><7>;7` (brackets) and `;7` (direct).

    Args:
        shares: of the formats among the traces.
        reliabilities: how often a trace of each is right.
    """

    operands: int = 4
    shares: tuple[float, ...] = (0.4, 0.4, 0.2)
    reliabilities: tuple[float, ...] = (0.9, 0.6, 0.5)

    alphabet = "0123456789+=,;<>"
    splits = ("operands",)
    verifier = ExactAnswer(marker=";")

    @property
    def longest_completion(self) -> int:
        return 3 * (self.operands - 1) + 2

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A worked sum in a format drawn by the shares, wrong as often as that format errs; `corrupt` 0 gives a right one."""
        place = int(rng.choice(len(FORMATS), p=np.array(self.shares) / sum(self.shares)))
        plain = super().trace(problem, rng, corrupt=0.0 if corrupt == 0 else 1 - self.reliabilities[place])
        steps, _, answer = plain.rpartition(";")
        if FORMATS[place] == "steps":
            return plain
        return f";{answer}" if FORMATS[place] == "direct" else f"{''.join(f'<{step}>' for step in steps.split(','))};{answer}"


def format_of(completion: str) -> str:
    """The format of an answer: "steps", "brackets", "direct", or "none" where it ends without an answer."""
    before, found, _ = completion.rpartition(";")
    return "none" if not found else "direct" if not before else "brackets" if before.startswith("<") else "steps"


@dataclass(frozen=True)
class EchoOptions:
    shares: Annotated[tuple[float, ...], Range(0)] = (0.4, 0.4, 0.2)  # of the formats steps, brackets and direct in pre-training
    reliabilities: Annotated[tuple[float, ...], Range(0, 1)] = (0.9, 0.6, 0.5)  # how often a trace of each format is right
    method: str = "grpo"  # what goes on from the mixture: grpo, ppo-text, rft or another method for text
    pretraining: Count = 600  # updates on the mixture
    steps: Count = 60  # iterations of the method
    looks: Count = 4  # times that answers are drawn along the way
    seeds: Count = 1  # of pre-training and training
    problems: Count = 64  # held-out problems
    samples: Annotated[int, Range(2)] = 16  # answers a problem
    learning_rate: Positive = 3e-4  # Adam's, of the method


@study("echo-chamber", paper="arXiv:2504.07912", summary="Which of the formats of pre-training reinforcement learning takes up, and what fades")
def echo_chamber(options: EchoOptions, folder: Path, say: Say) -> StudyResult:
    for name in ("shares", "reliabilities"):
        if len(getattr(options, name)) != len(FORMATS) or not sum(options.shares) > 0:
            raise BadInput(f"study echo-chamber: {name} takes three numbers, one each for {', '.join(FORMATS)}, and some share is above 0")
    runs = [one(options, seed, folder, say) for seed in range(options.seeds)]
    figures: dict[str, Any] = {"seeds": runs, "predicted_right": float(np.mean([run["predicted"] == run["winner"] for run in runs]))}
    fall = [1 - run["looks"][-1]["share_entropy"] / max(run["looks"][0]["share_entropy"], 1e-9) for run in runs]
    figures["fall_of_share_entropy"] = fall
    most = max(runs[0]["looks"][0]["pass_at_k"], key=int)
    rows = []
    for look in range(len(runs[0]["looks"])):
        found = [run["looks"][look] for run in runs]
        shares = [float(np.mean([each["formats"][name]["share"] for each in found])) for name in FORMATS]
        figure = [float(np.mean([each[name] for each in found])) for name in ("pass@1", "majority")]
        passed = float(np.mean([each["pass_at_k"][most] for each in found]))
        rows.append((str(found[0]["step"]), *(f"{share:.2f}" for share in shares), *(f"{value:.3f}" for value in (*figure, passed))))
    head = ("iteration", *(f"share of {name}" for name in FORMATS), "pass@1", f"majority@{options.samples}", f"pass@{most}")
    title = f"{options.method} after a mixture: the predicted format won in {figures['predicted_right']:.0%} of {options.seeds} seeds"
    curves = {
        name: [(np.array([look["step"] for look in run["looks"]]), np.array([look["formats"][name]["share"] for look in run["looks"]])) for run in runs]
        for name in FORMATS
    }
    return StudyResult(figures, (Table(title, head, tuple(rows)),), {"formats": learning_curves(curves, ylabel="share of answers", xlabel="iterations")})


def one(options: EchoOptions, seed: int, folder: Path, say: Say) -> dict[str, Any]:
    """One seed's pre-training and training, and what was seen along the way."""
    task = FormattedSums(shares=options.shares, reliabilities=options.reliabilities)
    world = world_of(task, "formatted-sums")
    pairs = Pairs(terms=[NegativeLogLikelihood()], batch_size=64, learning_rate=2e-3, warmup_steps=50, max_grad_norm=1.0, updates_per_iteration=100)
    learner = pairs.learner(world, [seed], options.pretraining, torch.device("cpu"))
    while learner.step < options.pretraining:
        learner.iterate()
    world.base = folder / f"base-{seed}"
    world.base.mkdir(parents=True)
    world.save_policy(learner.policy, world.base)
    say(f"seed {seed}: pre-trained for {options.pretraining} updates")
    method = get_method(options.method)
    if "text" not in method.worlds or method.spine != "policy gradient":
        raise BadInput(f"study echo-chamber: {options.method} does not train on text by policy gradients; take grpo, ppo-text or rft")
    spine = method.build(configure(options.method, {"learning_rate": options.learning_rate}))
    trained = spine.learner(world, [seed], options.steps, torch.device("cpu"))
    at = sorted({round(options.steps * place / options.looks) for place in range(options.looks + 1)})
    problems = task.held_out("operands", options.problems)
    looks = []
    try:
        for step in range(options.steps + 1):
            if step in at:
                check_weights(trained, stacked=False)
                looks.append({"step": step} | seen(world, trained.policy, problems, options.samples, seed))
                shares = ", ".join(f"{name} {looks[-1]['formats'][name]['share']:.2f}" for name in FORMATS)
                say(f"seed {seed}, iteration {step}: pass@1 {looks[-1]['pass@1']:.3f}; {shares}")
            if step < options.steps:
                trained.iterate()
    finally:
        trained.close()
    first, last = looks[0]["formats"], looks[-1]["formats"]
    return {
        "predicted": max(FORMATS, key=lambda name: first[name]["share"] * first[name]["accuracy"]),
        "winner": max(FORMATS, key=lambda name: last[name]["share"]),
        "looks": looks,
    }


def seen(world: TextWorld, policy: Any, problems: list[Problem], samples: int, seed: int) -> dict[str, Any]:
    """Shares and accuracies of the formats, and the usual figures, of answers to held-out problems."""
    found: Answered = answers(world, policy, problems, samples, seed=seed)
    kinds = np.array([[format_of(text) for text in texts] for texts in found.completions])
    formats = {}
    for name in FORMATS:
        of = kinds == name
        formats[name] = {"share": float(of.mean()), "accuracy": float(found.right[of].mean()) if of.any() else 0.0}
    shares = np.array([formats[name]["share"] for name in FORMATS])
    shares = shares[shares > 0] / max(shares.sum(), 1e-12)
    correct = found.right.sum(1)
    majority = []
    for texts, right in zip(found.text, found.right, strict=True):
        given = [text for text in texts if text]
        best = max(dict.fromkeys(given), key=given.count) if given else None
        majority.append(best is not None and bool(right[texts.index(best)]))
    ks = [2**power for power in range(samples.bit_length()) if 2**power <= samples]
    return {
        "formats": formats,
        "share_entropy": float(-(shares * np.log(shares)).sum()),
        "pass@1": float(found.right.mean()),
        "majority": float(np.mean(majority)),
        "pass_at_k": {str(k): float(np.mean(pass_at_k(np.full_like(correct, samples), correct, k))) for k in ks},
    }
