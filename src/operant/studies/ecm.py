"""ECM: how well a small model answers by its demonstrations and by the steps of a problem, and whether a circuit's formula predicts it better than a line.

Paper: Chen et al. 2025, arXiv:2502.03325, "Electronic Circuit Model": no learner, a regression. A prompt is a circuit. Its voltage is the model's own and what
demonstrations induce, E + lambda · Σ_i S_q·S_i / ‖S_q‖ over the embeddings of the query and of each demonstration; each step of the problem is a resistance in
series; and accuracy is the power, (E + lambda · V)² R0 / (R0 + Σ R)². Fitted on some prompts, it is to predict others.

The bed is trained from scratch: a prompt shows examples of several functions (shifts modulo five, drawn anew in every prompt, some examples wrong), each under
its letter, and asks for one function, applied once or several times. What the grid varies: how many demonstrations, how many of them are of the function that
is asked for, and how many steps. Embeddings are the trained model's own, of the letters.

Settled: the formula is from secondary summaries (confidence low). R0 is 1, for only ratios to it are seen; each step has the same resistance. Three numbers are
fitted (E, lambda, R), as many as the additive line in demonstrations and steps has that it is held against; beside these a logistic one, and a line in
*similar* demonstrations and steps, which tells what of a difference is similarity's and what the circuit's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.registry import Count, Range, Share
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.loops.learner import check_weights
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import answers, world_of
from operant.worlds.text.tasks import Problem, TextTask
from operant.worlds.text.verifiers import ExactAnswer

LETTERS, SIZE = "abcd", 5  # of a prompt, and the digits
MOST_DEMONSTRATIONS, MOST_STEPS = 8, 3


@dataclass(frozen=True)
class Condition:
    """What prompts of one kind have: demonstrations, how many of them are of the letter that is asked for, and steps, 1 for none behind it."""

    demonstrations: int
    similar: int
    steps: int


@dataclass(frozen=True)
class Shown(TextTask):
    """Digits by example: `a3,b0,a3,a1,a++=` asks for two behind what a stands for, modulo five.

    Args:
        wrong: share of the examples whose digit is drawn at random.
    """

    wrong: float = 0.3

    alphabet = LETTERS + "01234,+="
    longest_prompt = 3 * MOST_DEMONSTRATIONS + MOST_STEPS + 1
    longest_completion = longest_prompt
    splits = ("fresh",)
    verifier = ExactAnswer()

    def problem(self, rng: np.random.Generator) -> Problem:
        """What is trained on: the first letter of a text, which goes on to its answer, so that every example is learned from as well as the question."""
        demonstrations = int(rng.integers(MOST_DEMONSTRATIONS + 1))
        found = self.of(Condition(demonstrations, int(rng.integers(demonstrations + 1)), int(rng.integers(1, MOST_STEPS + 1))), rng)
        return Problem(found.prompt[0], found.prompt[1:] + found.answer, found.metadata)

    def of(self, condition: Condition, rng: np.random.Generator) -> Problem:
        """A problem of one kind."""
        digits, asked = rng.integers(SIZE, size=len(LETTERS)), int(rng.integers(len(LETTERS)))
        others = [place for place in range(len(LETTERS)) if place != asked]
        shown = [asked] * condition.similar + [others[int(rng.integers(len(others)))] for _ in range(condition.demonstrations - condition.similar)]
        shown = rng.permutation(np.array(shown, dtype=np.int64)).tolist()
        said = [f"{LETTERS[place]}{rng.integers(SIZE) if rng.random() < self.wrong else digits[place]}," for place in shown]
        answer = (int(digits[asked]) + condition.steps - 1) % SIZE
        prompt = "".join(said) + LETTERS[asked] + "+" * (condition.steps - 1) + "="
        return Problem(prompt, str(answer), {"letter": LETTERS[asked], "shown": [LETTERS[place] for place in shown]})

    def held_out(self, split: str, count: int) -> list[Problem]:
        rng = np.random.default_rng(derive_seed(0, "shown", self.wrong))
        return [self.problem(rng) for _ in range(count)]


@dataclass(frozen=True)
class EcmOptions:
    updates: Count = 800  # of training, 64 texts each
    wrong: Share = 0.3  # share of the examples that are wrong
    problems: Count = 128  # prompts of each kind
    held_out: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.34  # share of the kinds that are predicted, not fitted
    seeds: Count = 1  # of training, and of which kinds are held out
    seed: Annotated[int, Range(0)] = 0  # the first of them


def conditions() -> list[Condition]:
    """The grid."""
    return [
        Condition(k, similar, steps) for k in (0, 1, 2, 4, 8) for similar in sorted({0, round(k / 4), round(k / 2), k}) for steps in range(1, MOST_STEPS + 1)
    ]


def trained(options: EcmOptions, seed: int) -> tuple[Any, Any]:
    """(world, policy) after training."""
    world = world_of(Shown(wrong=options.wrong), "shown")
    pairs = Pairs(terms=[NegativeLogLikelihood()], batch_size=64, learning_rate=2e-3, warmup_steps=50, max_grad_norm=1.0, updates_per_iteration=100)
    learner = pairs.learner(world, [seed], options.updates, torch.device("cpu"))
    while learner.step < options.updates:
        learner.iterate()
    check_weights(learner, stacked=False)
    return world, learner.policy


def measured(options: EcmOptions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each kind of prompt the mean induced voltage (lambda aside) and the accuracy, `[C]` each."""
    world, policy = trained(options, seed)
    table = policy.model.get_input_embeddings().weight.detach().double()
    embedding = {letter: table[world.tokenizer(letter, add_special_tokens=False)["input_ids"][0]] for letter in LETTERS}
    voltage, accuracy = [], []
    for place, condition in enumerate(conditions()):
        rng = np.random.default_rng(derive_seed(seed, "ecm", place))
        problems = [world.problems.of(condition, rng) for _ in range(options.problems)]
        right = answers(world, policy, problems, 1, seed=derive_seed(seed, "ecm/answers", place)).right
        voltage.append(np.mean([induced(embedding, problem) for problem in problems]))
        accuracy.append(right.mean())
    return np.array(voltage), np.array(accuracy)


def induced(embedding: dict[str, Tensor], problem: Problem) -> float:
    """Σ_i S_q·S_i / ‖S_q‖ of a prompt."""
    query = embedding[problem.metadata["letter"]]
    return float(sum(query @ embedding[letter] for letter in problem.metadata["shown"]) / query.norm())


def power(parameters: Tensor, voltage: Tensor, steps: Tensor) -> Tensor:
    """(E + lambda V)² / (1 + R n)²: the power of the circuit, R0 being 1, `[C]` of three numbers above 0 and of kinds `[C]`."""
    own, each, resistance = parameters
    return ((own + each * voltage) / (1 + resistance * steps)).square()


def least_squares(predict: Callable[[Tensor], Tensor], target: Tensor, starts: Tensor) -> Tensor:
    """The parameters, of those that some starts `[N, P]` lead to, whose predictions are nearest to a target `[C]`."""
    best, found = None, float("inf")
    for start in starts:
        free = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

        def error(free: Tensor = free, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (predict(free) - target).square().mean()
            loss.backward()
            return loss

        optimizer.step(error)
        loss = float((predict(free.detach()) - target).square().mean())
        if loss < found:
            best, found = free.detach(), loss
    return best


def fitted(kinds: list[Condition], voltage: np.ndarray, accuracy: np.ndarray, held: np.ndarray) -> dict[str, dict[str, Any]]:
    """Predictions of the held-out kinds (`held [C]` bool) by each model, fitted on the others: `prediction`, `mse`, Spearman's `rho`."""
    k, similar, steps = (torch.tensor([getattr(kind, name) for kind in kinds], dtype=torch.float64) for name in ("demonstrations", "similar", "steps"))
    v, a, keep = torch.from_numpy(voltage), torch.from_numpy(accuracy), torch.from_numpy(~held)
    one = torch.ones_like(k)
    starts = torch.tensor([[-1.0, -3.0, -1.0], [-0.5, -4.0, 0.0], [-1.0, -2.0, 1.0], [0.0, -5.0, -2.0]], dtype=torch.float64)
    ecm = least_squares(lambda free: power(free.exp(), v[keep], steps[keep]), a[keep], starts)
    logistic = least_squares(lambda free: (torch.stack([one, k, steps], -1)[keep] @ free).sigmoid(), a[keep], torch.zeros(1, 3, dtype=torch.float64))
    found = {
        "ecm": power(ecm.exp(), v, steps),
        "line in demonstrations and steps": _line(torch.stack([one, k, steps], -1), a, keep),
        "logistic in demonstrations and steps": (torch.stack([one, k, steps], -1) @ logistic).sigmoid(),
        "line in similar ones and steps": _line(torch.stack([one, similar, steps], -1), a, keep),
    }
    out = torch.from_numpy(held)
    result = {}
    for name, predicted in found.items():
        here = predicted[out].numpy()
        result[name] = {"mse": float(((here - accuracy[held]) ** 2).mean()), "rho": spearman(here, accuracy[held]), "prediction": here.tolist()}
    result["ecm"]["parameters"] = dict(zip(("own", "each", "resistance"), ecm.exp().tolist(), strict=True))
    return result


def _line(features: Tensor, target: Tensor, keep: Tensor) -> Tensor:
    return features @ torch.linalg.lstsq(features[keep], target[keep].unsqueeze(-1)).solution.squeeze(-1)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, equal values sharing their ranks' mean; 0 where one of them does not vary."""
    ranks = []
    for values in (x, y):
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(count) - (count - 1) / 2)[place])
    return float(np.corrcoef(*ranks)[0, 1]) if all(np.ptp(each) > 0 for each in ranks) else 0.0


def held_out(count: int, share: float, seed: int) -> np.ndarray:
    """Which kinds are predicted, `[count]` bool."""
    chosen = np.random.default_rng(derive_seed(seed, "ecm/held-out")).permutation(count)[: round(share * count)]
    return np.isin(np.arange(count), chosen)


@study("ecm", paper="arXiv:2502.03325", summary="Whether a circuit's formula predicts a small model's accuracy by demonstrations, their similarity and steps")
def ecm(options: EcmOptions, folder: Path, say: Say) -> StudyResult:
    kinds = conditions()
    if not 4 <= round(options.held_out * len(kinds)) <= len(kinds) - 6:
        raise BadInput(f"study ecm: held_out={options.held_out:g} of {len(kinds)} kinds leaves too few to predict or to fit, as 0.34 does not")
    runs, grids = [], []
    for seed in range(options.seed, options.seed + options.seeds):
        voltage, accuracy = measured(options, seed)
        held = held_out(len(kinds), options.held_out, seed)
        runs.append(
            {"seed": seed, "accuracy": accuracy.tolist(), "voltage": voltage.tolist(), "held_out": held.tolist()} | fitted(kinds, voltage, accuracy, held)
        )
        grids.append(accuracy)
        say(f"seed {seed}: " + ", ".join(f"{name} MSE {runs[-1][name]['mse']:.4f}" for name in MODELS))
    mean = np.mean(grids, 0)
    rows = tuple((str(kind.demonstrations), str(kind.similar), str(kind.steps), f"{a:.3f}") for kind, a in zip(kinds, mean, strict=True))
    tables = [Table(f"accuracy by kind of prompt, {options.seeds} seed{'s' * (options.seeds > 1)}", ("demonstrations", "similar", "steps", "accuracy"), rows)]
    of = [(name, *(np.mean([run[name][figure] for run in runs]) for figure in ("mse", "rho"))) for name in MODELS]
    rows = tuple((name, f"{mse:.4f}", f"{rho:.3f}") for name, mse, rho in of)
    tables.append(Table("kinds that were held out, predicted", ("model", "MSE", "Spearman's rho"), rows))
    best = [best_prompt(run) for run in runs]
    said = tuple((str(run["seed"]), f"{x['chosen']:.3f}", f"{x['best']:.3f}") for run, x in zip(runs, best, strict=True))
    tables.append(Table("accuracy of the held-out kind that the circuit would choose, and of the best", ("seed", "chosen", "best"), said))
    figures = {"kinds": [vars(kind) for kind in kinds], "seeds": runs, "chosen": best}
    curves = {
        f"{steps} step{'s' * (steps > 1)}": [
            (
                np.array([kind.similar for kind in kinds if (kind.demonstrations, kind.steps) == (MOST_DEMONSTRATIONS, steps)], dtype=float),
                np.array([a for kind, a in zip(kinds, grid, strict=True) if (kind.demonstrations, kind.steps) == (MOST_DEMONSTRATIONS, steps)]),
            )
            for grid in grids
        ]
        for steps in range(1, MOST_STEPS + 1)
    }
    return StudyResult(figures, tuple(tables), {"similar": learning_curves(curves, ylabel="accuracy", xlabel=f"similar ones of {MOST_DEMONSTRATIONS}")})


MODELS = ("ecm", "line in demonstrations and steps", "logistic in demonstrations and steps", "line in similar ones and steps")


def best_prompt(run: dict[str, Any]) -> dict[str, float]:
    """The accuracy of the held-out kind whose predicted power is the largest, and the largest there is."""
    accuracy = np.array(run["accuracy"])[np.array(run["held_out"])]
    return {"chosen": float(accuracy[int(np.argmax(run["ecm"]["prediction"]))]), "best": float(accuracy.max())}
