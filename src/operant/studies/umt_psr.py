"""UMT-PSR: several partly observed tasks that share what they do not know are learned with fewer episodes each than one alone.

Paper: arXiv:2310.13550, the upstream half. N tasks have models from a joint class. What is kept is a set of joint models whose log-likelihood of all that was
played is within beta of the best one's. Each iteration takes the two models in it, and a policy of each task, whose distributions of observations are farthest
apart in total variation, summed over the tasks; it plays each task by that policy up to a step and with uniformly random actions behind it, for every step. Of
the likeliest joint model the optimal policies are returned.

Here the class is finite: a POMDP of 3 hidden states, 2 actions, 3 observations and 3 steps has one of several emissions and one of several transitions of its
task's own. With one emission shared by all tasks there are E · T^N joint models in place of (E T)^N. All 108 histories are enumerated, so that likelihoods,
distances, the policies that maximise them (the distance is linear in what a policy does) and values are exact.

Settled here: beta is `scale` · log(joint models / delta). Whether a task's model is in the set is decided by the likeliest joint model that it is a part of, so
the set is a product within an emission, at least as large as the paper's. The bound on the smallest probability is left out: no history of these has none.
Rewards are of the last observation and known. The downstream half is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant.core.memory import check_memory
from operant.core.registry import Count, Positive, Range
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.studies import Say, StudyResult, Table, study

STATES, ACTIONS, OBSERVATIONS = 3, 2, 3
CLOSE = 0.02  # regret that is to be reached, a mean over tasks and seeds
PAYS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # by the last observation


@dataclass(frozen=True)
class UMTPSROptions:
    tasks: Annotated[tuple[int, ...], Range(1)] = (1, 2, 4, 6)  # N, learned together
    emissions: Annotated[int, Range(2)] = 20  # that a task may have
    transitions: Annotated[int, Range(2)] = 5  # that a task may have
    scale: Positive = 1.0  # of beta
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.05  # chance that the truth is ruled out
    iterations: Count = 60  # of two episodes of each task: actions are random from the first step on, or from the second one
    seeds: Count = 10  # of the most tasks; fewer together have as many more, so that every figure is of as many tasks
    seed: Annotated[int, Range(0)] = 0  # the first one


@study("umt-psr", paper="arXiv:2310.13550", summary="Whether partly observed tasks that share an emission need fewer episodes each when learned together")
def umt_psr(options: UMTPSROptions, folder: Path, say: Say) -> StudyResult:
    models, chances = options.emissions * options.transitions, OBSERVATIONS**3 * ACTIONS**2
    what = f"study umt-psr: telling {models:,} models of each of {max(options.tasks):,} tasks apart"
    check_memory(what, 8 * max(options.tasks) * models * (2 * models + 3 * chances), "take fewer --tasks, --emissions or --transitions")
    figures: dict[str, Any] = {"runs": []}
    rows, curves = [], {}
    for shared in (True, False):
        for tasks in options.tasks:
            runs = [one(options, tasks, shared, options.seed + place) for place in range(options.seeds * max(options.tasks) // tasks)]
            regret = np.mean([run["regret"] for run in runs], 0)
            far, kept = np.flatnonzero(regret > CLOSE), float(np.mean([run["kept"] for run in runs]))
            episodes = None if len(far) and far[-1] == options.iterations else 2 * int(far[-1] + 1) if len(far) else 0
            name = f"{tasks} task{'s' * (tasks > 1)}, {'one emission' if shared else 'an emission each'}"
            figures["runs"].append({"tasks": tasks, "shared": shared, "episodes": episodes, "truth_kept": kept, "first_regret": float(regret[0])})
            rows.append((name, f"{regret[0]:.3f}", f"not in {2 * options.iterations}" if episodes is None else str(episodes), f"{kept:.0%}"))
            curves[name] = [(2.0 * np.arange(options.iterations + 1), regret)]
            say(f"{name}: {rows[-1][2]} episodes of each task")
    head = ("tasks", "regret before", f"episodes of each task, from which on it is at most {CLOSE:g}", "runs in which the truth was never ruled out")
    title = f"UMT-PSR: mean regret of the likeliest model's policies, over {options.seeds * max(options.tasks)} tasks each"
    return StudyResult(figures, (Table(title, head, tuple(rows)),), {"regret": learning_curves(curves, ylabel="regret", xlabel="episodes of each task")})


def one(options: UMTPSROptions, tasks: int, shared: bool, seed: int) -> dict[str, Any]:
    """One run: the regret of the likeliest joint model's policies, a mean over the tasks, after each iteration, and whether the truth was never ruled out."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "umt-psr"))
    models = [Class.drawn(options.emissions, options.transitions, generator) for _ in range(tasks)]
    if shared:  # the same candidates, and the same one is true
        models = [Class(models[0].emission, each.transition, models[0].initial) for each in models]
    chance = [each.chance for each in models]  # [E, T, …] of every task
    distance = [of.distance for of in models]
    true = [int(torch.randint(options.emissions, (1,), generator=generator)) for _ in range(tasks)]
    true = [true[0]] * tasks if shared else true
    moves = [int(torch.randint(options.transitions, (1,), generator=generator)) for _ in range(tasks)]
    joint = tasks * math.log(options.transitions) + (1 if shared else tasks) * math.log(options.emissions)
    beta = options.scale * (joint - math.log(options.delta))
    likelihood = torch.zeros(tasks, options.emissions, options.transitions, dtype=torch.float64)
    kept, regret = True, []
    for iteration in range(options.iterations + 1):
        best = likelihood.amax(-1)  # [N, E]
        together = best.sum(0) if shared else None  # of an emission that all share
        likeliest = [int(together.argmax())] * tasks if shared else best.argmax(-1).tolist()
        lost = 0.0
        for task in range(tasks):
            found = int(likelihood[task, likeliest[task]].argmax())
            truth = chance[task][true[task], moves[task]] * PAYS
            lost += (best_value(truth) - value(truth, best_policy(chance[task][likeliest[task], found] * PAYS))).item() / tasks
        total = together.max() if shared else best.amax(-1).sum()
        whole = (together if shared else best.amax(-1).sum() - best.amax(-1, keepdim=True) + best).unsqueeze(-1)  # [E, 1] or [N, E, 1]
        inside = whole - best.unsqueeze(-1) + likelihood >= total - beta  # [N, E, T], by the likeliest joint model that each is a part of
        kept = kept and all(bool(inside[task, true[task], moves[task]]) for task in range(tasks))
        regret.append(lost)
        if iteration == options.iterations:
            break
        for task, policy in enumerate(farthest(chance, distance, inside, shared)):
            for uniform_from in (0, 1):
                place = play(chance[task][true[task], moves[task]], policy, uniform_from, generator)
                likelihood[task] += chance[task][(..., *place)].log()
    return {"regret": regret, "kept": kept}


@dataclass(frozen=True)
class Class:
    """Candidates of a task: emissions `[E, L, O]`, transitions `[T, L, A, L]`, and the distribution of the first hidden state `[L]`."""

    emission: Tensor
    transition: Tensor
    initial: Tensor

    @staticmethod
    def drawn(emissions: int, transitions: int, generator: torch.Generator) -> Class:
        """Emissions that differ, blurred by 0.4 of the uniform one; transitions that differ by a fifth, so that mostly the emission is to be learned."""
        emission = 0.6 * simplex(generator, emissions, STATES, OBSERVATIONS) + 0.4 / OBSERVATIONS
        moves = simplex(generator, transitions + 1, STATES, ACTIONS, STATES)
        return Class(emission, 0.8 * moves[:1] + 0.2 * moves[1:], simplex(generator, STATES))

    @property
    def chance(self) -> Tensor:
        """Of the observations given the actions, `[E, T, o, a, o, a, o]`."""
        shown, moves = self.emission, self.transition
        first = torch.einsum("l,elo->elo", self.initial, shown)
        second = torch.einsum("elo,tlam,emp->etmoap", first, moves, shown)
        return torch.einsum("etmoap,tmbn,enq->etoapbq", second, moves, shown)

    @property
    def distance(self) -> Tensor:
        """The largest total variation between two of them that a policy makes, `[E T, E T]`."""
        flat = self.chance.flatten(0, 1)
        return torch.stack([best_value((flat - each).abs()) / 2 for each in flat])


def simplex(generator: torch.Generator, *shape: int) -> Tensor:
    """Distributions over the last axis that are mostly one thing: normalised cubes of exponential draws."""
    draw = (-torch.log1p(-torch.rand(shape, generator=generator, dtype=torch.float64))) ** 3
    return draw / draw.sum(-1, keepdim=True)


def best_value(gain: Tensor) -> Tensor:
    """The most that a policy gets of numbers of histories `[…, o, a, o, a, o]`, chances included."""
    return gain.sum(-1).amax(-1).sum(-1).amax(-1).sum(-1)


def best_policy(gain: Tensor) -> tuple[Tensor, Tensor]:
    """The policy that gets it: its first actions `[o]` and its second ones `[o, a, o]`."""
    late = gain.sum(-1)
    return late.amax(-1).sum(-1).argmax(-1), late.argmax(-1)


def value(gain: Tensor, policy: tuple[Tensor, Tensor]) -> Tensor:
    """What a policy gets of them."""
    early, late = policy
    kept = gain.sum(-1).gather(-1, late.unsqueeze(-1)).squeeze(-1).sum(-1)
    return kept.gather(-1, early.unsqueeze(-1)).sum()


def farthest(chance: list[Tensor], distance: list[Tensor], inside: Tensor, shared: bool) -> list[tuple[Tensor, Tensor]]:
    """Of each task the policy that tells the two models apart which, of all pairs of joint models in the set, are farthest apart."""
    tasks, emissions, transitions = inside.shape
    between, pairs = [], []  # of two emissions, the transitions that are farthest apart
    for task in range(tasks):
        both = inside[task].flatten().unsqueeze(-1) & inside[task].flatten()
        apart = torch.where(both, distance[task], -torch.inf).view(emissions, transitions, emissions, transitions).transpose(1, 2).flatten(2)
        between.append(apart.amax(-1))
        pairs.append(apart.argmax(-1))
    found = []
    together = sum(between).argmax() if shared else None
    for task in range(tasks):
        first, second = divmod(int(together if shared else between[task].argmax()), emissions)
        one_, other = divmod(int(pairs[task][first, second]), transitions)
        found.append(best_policy((chance[task][first, one_] - chance[task][second, other]).abs()))
    return found


def play(chance: Tensor, policy: tuple[Tensor, Tensor], uniform_from: int, generator: torch.Generator) -> tuple[int, ...]:
    """An episode: (o, a, o, a, o), whose actions are uniformly random from one step on."""

    def drawn(weight: Tensor) -> int:
        return int(torch.multinomial(weight, 1, generator=generator))

    random = torch.randint(ACTIONS, (2,), generator=generator).tolist()
    first = drawn(chance[:, 0, :, 0].sum((-2, -1)))
    action = random[0] if uniform_from == 0 else int(policy[0][first])
    second = drawn(chance[first, action, :, 0].sum(-1))
    return first, action, second, random[1], drawn(chance[first, action, second, random[1]])
