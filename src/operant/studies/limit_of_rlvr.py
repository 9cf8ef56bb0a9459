"""The limit of RLVR: whether training reaches problems that its base policy does not, by pass@k up to large k.

Paper: Yue et al. 2025, arXiv:2504.13837. Base, trained and distilled policy (the base, fitted to right answers of a teacher) answer the same held-out problems:
unbiased pass@k with bootstrap intervals over problems; k*, where the base catches up; which policy solves which problems at all; how likely the base finds
the trained policy's answers; and pass@n of the base less pass@1 of the trained policy, the sampling-efficiency gap.

Small answers are guessed in many tries: take a task with many answers, or --sound, which asks for right steps too. One temperature for all favours the base,
whose entropy is higher: with several --temperatures, each policy's best at the largest k is told beside the figures at the first.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import Count, Positive, Range
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.evaluate.plots import pass_at_k_curves
from operant.evaluate.statistics import Interval, mean, pass_at_k, score_bounds, stratified_bootstrap
from operant.loops.base_policy import ensure_teacher
from operant.loops.learner import check_weights
from operant.loops.pairs import Data, Pairs
from operant.loops.runs import load
from operant.loops.terms import NegativeLogLikelihood
from operant.loops.update import Fields, Updater
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import Answered, TrainedAndBase, answers, compared
from operant.worlds.plans import Request
from operant.worlds.text.world import TextWorld


@dataclass(frozen=True)
class LimitOptions(TrainedAndBase):
    samples: Count = 256  # answers a problem and policy: pass@k up to this k
    temperatures: Annotated[tuple[float, ...], Range(0, open_low=True)] = (1.0,)  # of sampling; the first is what policies are compared at
    top_p: Annotated[float, Range(0, 1, open_low=True)] = 1.0  # share of the probability that is sampled from
    sound: bool = False  # an answer is right only where the task's check of its steps holds too
    distill: bool = True  # compare a distilled policy as well
    teacher: str | None = None  # folder or hub id of the teacher; none for one made from scratch
    demonstrations: Count = 2048  # answers that the teacher gives to training problems
    updates: Count = 400  # of distillation
    learning_rate: Positive = 5e-4  # of distillation, Adam's


@study(
    "limit-of-rlvr", paper="arXiv:2504.13837", summary="pass@k of base, trained and distilled policy up to large k: where the base catches up, and what is new"
)
def limit_of_rlvr(options: LimitOptions, folder: Path, say: Say) -> StudyResult:
    model = options.model if options.run is None else load(options.run).config.get("options", {}).get("model")
    if options.distill and options.teacher is None and model is not None:
        raise BadInput(f"nothing teaches the policy that is distilled from {model}: give --teacher, a folder or hub id, or leave it out with --distill false")
    world, base, trained, run = compared(options, folder, say)
    policies = {"base": base, "trained": trained}
    if options.distill:
        policies["distilled"] = distil(world, run.config["seed"], options, say)
    problems = world.problems.held_out(world.problems.splits[0], options.problems)
    ks = sorted({2**power for power in range(options.samples.bit_length()) if 2**power <= options.samples} | {options.samples})
    found: dict[str, dict[float, Answered]] = {name: {} for name in policies}
    for name, policy in policies.items():
        for temperature in options.temperatures:
            say(f"{name}: {options.samples} answers to each of {len(problems)} problems at temperature {temperature:g}")
            found[name][temperature] = answers(
                world,
                policy,
                problems,
                options.samples,
                temperature=temperature,
                top_p=options.top_p,
                sound=options.sound,
                seed=options.seed,
                under=base,
            )
    first = {name: by[options.temperatures[0]] for name, by in found.items()}
    curves = {name: {k: passes(answered.right, k) for k in ks} for name, answered in first.items()}
    counts = {name: answered.right.sum(1) for name, answered in first.items()}
    last = ks[-1]
    figures: dict[str, Any] = {
        "task": world.task,
        "run": str(run.path),
        "problems": len(problems),
        "pass_at_k": {name: {k: {"point": x.point, "low": x.low, "high": x.high} for k, x in by.items()} for name, by in curves.items()},
        "crossover": crossover(counts["base"], counts["trained"], options.samples),
        "solved": {name: solved(counts["base"], count) for name, count in counts.items() if name != "base"},
        "base_perplexity": {name: perplexity(answered) for name, answered in first.items()},
        "efficiency_gap": curves["base"][last].point - curves["trained"][1].point,
        "best_temperature": {
            name: max(((passes(answered.right, last).point, temperature) for temperature, answered in by.items()), key=lambda pair: pair[0])[::-1]
            for name, by in found.items()
        },
    }
    plot = pass_at_k_curves({name: (curves[name], curves["base"] if name == "trained" else None) for name in curves if name != "base"})
    return StudyResult(figures, _tables(figures, curves, last), {"pass-at-k": plot})


def _tables(figures: dict[str, Any], curves: dict[str, dict[int, Interval]], last: int) -> tuple[Table, ...]:
    names = list(curves)
    rows = []
    for k in curves["base"]:
        cells = (f"{x.point:.3f}" + ("" if x.low is None else f" [{x.low:.3f}, {x.high:.3f}]") for x in (curves[name][k] for name in names))
        rows.append((str(k), *cells))
    first = Table(f"pass@k on {figures['problems']} held-out problems of {figures['task']}, 95 % intervals over problems", ("k", *names), tuple(rows))
    crossing = figures["crossover"]
    facts = [
        ("base catches up at", "not within these samples" if crossing is None else f"k = {crossing}"),
        (f"pass@{last} of the base less pass@1 of the trained", f"{figures['efficiency_gap']:.3f}"),
    ]
    for name, by in figures["solved"].items():
        facts.append((f"problems solved by base / {name}", ", ".join(f"{case.replace('_', ' ')} {count}" for case, count in by.items())))
    facts += [(f"perplexity under the base: {name}'s answers", f"{value['all']:.3f}") for name, value in figures["base_perplexity"].items()]
    facts += [(f"best pass@{last} of {name}", f"{value:.3f} at temperature {at:g}") for name, (at, value) in figures["best_temperature"].items()]
    return (first, Table("what is new", ("figure", "value"), tuple(facts)))


def passes(right: np.ndarray, k: int) -> Interval:
    """pass@k over problems with its interval, from `right [P, n]`."""
    return stratified_bootstrap(pass_at_k(right.shape[1], right.sum(1), k), mean, bounds=score_bounds("pass@1"))


def crossover(base: np.ndarray, trained: np.ndarray, samples: int) -> int | None:
    """The smallest k from which on pass@k of the base is at least the trained policy's; None where it never is, or always was.

    Args:
        base, trained: right answers of each problem, `[P]`, out of `samples`.
    """
    curve = [pass_at_k(samples, base, k).mean() >= pass_at_k(samples, trained, k).mean() - 1e-12 for k in range(1, samples + 1)]
    behind = [k for k, holds in enumerate(curve, 1) if not holds]
    return behind[-1] + 1 if behind and behind[-1] < samples else None


def solved(base: np.ndarray, other: np.ndarray) -> dict[str, int]:
    """How many problems got a right answer from both policies, from one alone, from neither; right answers a problem `[P]`."""
    a, b = base > 0, other > 0
    return {"both": int((a & b).sum()), "base_only": int((a & ~b).sum()), "other_only": int((~a & b).sum()), "neither": int((~a & ~b).sum())}


def perplexity(answered: Answered) -> dict[str, float | None]:
    """exp of the mean over answers of their mean negative log-probability a token: of all answers, and of the right ones (None where there is none)."""
    values = answered.likelihood
    right = values[answered.right]
    return {"all": float(np.exp(-values.mean())), "right": float(np.exp(-right.mean())) if len(right) else None}


def distil(world: TextWorld, seed: int, options: LimitOptions, say: Say) -> TokenPolicy:
    """What training started from, fitted to right answers of a teacher to training problems.

    Raises:
        RunFailed: the teacher gave no right answer.
    """
    student = copy.copy(world)
    student.options = replace(world.options, teacher=options.teacher or world.options.teacher)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ensure_teacher(student, say)
    teacher = student.teacher().to(device)
    say(f"distilling: {options.demonstrations} answers of the teacher, {options.updates} updates")
    kept = RightAnswers(student, teacher, options.demonstrations, seed)
    pairs = Distillation(
        terms=[NegativeLogLikelihood()],
        batch_size=64,
        learning_rate=options.learning_rate,
        max_grad_norm=1.0,
        updates_per_iteration=options.updates,
        answers=kept,
    )
    learner = pairs.learner(student, [seed], options.updates, device)
    learner.iterate()
    check_weights(learner, stacked=False)
    return learner.policy


class RightAnswers:
    """A teacher's right answers to training problems, as supervised rows.

    Args:
        count: problems that it answers, once each.
        seed: of the problems and of the draws.
    """

    def __init__(self, world: TextWorld, teacher: TokenPolicy, count: int, seed: int):
        from operant.worlds.text.engine import generate
        from operant.worlds.text.models import end_tokens
        from operant.worlds.text.source import completion_texts, prompt_tokens
        from operant.worlds.text.verifiers import scorer

        problems = [world.problems.numbered(seed, place) for place in range(count)]
        ends = end_tokens(teacher.model, world.tokenizer)
        generation = generate(
            teacher.model,
            [Request(prompt_tokens(world.tokenizer, problem, chat=world.chat)) for problem in problems],
            max_new_tokens=world.longest,
            generator=torch.Generator().manual_seed(derive_seed(seed, "study/teacher")),
            eos_token_id=ends,
            pad_token_id=world.tokenizer.pad_token_id,
        )
        judge = scorer(world.problems.verifier)
        try:
            verdicts = judge.score(list(zip(problems, completion_texts(world.tokenizer, generation.tokens, generation.mask, ends), strict=True)))
        finally:
            judge.close()
        self.rows = [place for place, found in enumerate(verdicts) if found.status == Status.OK and found.value > 0.5]
        if not self.rows:
            raise RunFailed(f"the teacher gave no right answer to {count} training problems of {world.task}: there is nothing to distil")
        self.inputs = generation_to_inputs(generation, world.tokenizer.pad_token_id)
        self.action, self.mask = generation.tokens[None], generation.mask[None]


@dataclass(frozen=True)
class Distillation(Pairs):
    """Supervised learning on a teacher's right answers, drawn with replacement, in the place of what the world demonstrates."""

    answers: RightAnswers = field(kw_only=True)

    def data(self, world: TextWorld, updater: Updater, streams: Streams) -> Data:
        return _Drawn(self.answers, self.batch_size, streams.numpy_generators("study/distil")[0])


@dataclass(frozen=True)
class _Drawn:
    answers: RightAnswers
    size: int
    rng: np.random.Generator  # of the streams, whose state has it

    def begin(self) -> None:
        """Nothing is measured."""

    def draw(self) -> Fields:
        kept = self.answers
        chosen = torch.from_numpy(self.rng.choice(kept.rows, self.size)).to(kept.action.device)
        return {f"inputs.{name}": value[:, chosen] for name, value in kept.inputs.items()} | {"action": kept.action[:, chosen], "mask": kept.mask[:, chosen]}

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """It has none of its own."""
