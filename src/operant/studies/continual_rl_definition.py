"""When a problem is one of continual learning: of a finite set of agents and a basis of behaviours, whether every optimal agent keeps changing for ever.

Paper: Abel et al. 2023, arXiv:2307.11046. A basis is a set of behaviours; an agent is a rule that takes, at every history, one of them. An agent *reaches* the
basis in an environment where, behind some history that can happen, it never takes another one, and *never reaches* it where there is no such history
(definitions 3.4 and 3.5); a problem is one of continual learning where every optimal agent never reaches the basis (definition 4.1).

Two measurements. Exact: on a two-armed bandit whose arms change places with a known probability a step, the agents are all rules that take the next behaviour
by the one before, the arm pulled and what it paid (2 first behaviours × 2^8 rules). Environment and agent are one finite chain, so that an agent's average
reward is computed and what it reaches is decided on a graph. Sampled: learners with memories of any size (Q-learning with constant steps and with 1/n, explore
and commit, fixed arms), of which a finite run can refute "reaches" and prove nothing: it tells the step of the last change, and changes a step in the second
half.

Settled: a behaviour pulls its arm, and with probability epsilon either one; the value is the reward of a step in the long run; rewards are 0 or 1. What is
found hangs on the basis: if it holds all the agents, each is one of its behaviours for ever, and no problem is one of continual learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.registry import Count, Range, Share
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.evaluate.statistics import mean, stratified_bootstrap
from operant.studies import Say, StudyResult, Table, study

RULES = 2**8  # next behaviour by (behaviour, arm, reward)
BEST = 1e-9  # averages that are nearer to the largest are optimal


@dataclass(frozen=True)
class ContinualOptions:
    means: Annotated[tuple[float, ...], Range(0, 1)] = (0.8, 0.2)  # what the two arms pay on average
    change: Share = 0.01  # probability that the arms change places in a step, of the problem that changes; the other one never does
    epsilon: Share = 0.1  # probability that a behaviour pulls an arm at random
    step_sizes: Annotated[tuple[float, ...], Range(0, 1)] = (0.03, 0.1, 0.3)  # constant ones, of Q-learning
    commits: Annotated[tuple[int, ...], Range(2)] = (100, 1000)  # steps behind which explore-and-commit keeps to an arm
    steps: Annotated[int, Range(10)] = 10_000  # of a run
    runs: Count = 50  # of each learner
    seed: Annotated[int, Range(0)] = 0  # of the runs


@dataclass(frozen=True)
class Enumerated:
    """All finite rules on one bandit.

    Attributes:
        average: `[2 · RULES]`, the reward of a step in the long run, exact.
        reaches: `[2 · RULES]` bool, the basis is reached.
    """

    average: np.ndarray
    reaches: np.ndarray

    @property
    def optimal(self) -> np.ndarray:
        """Which are optimal, bool."""
        return self.average >= self.average.max() - BEST

    @property
    def continual(self) -> bool:
        """Every optimal agent never reaches the basis."""
        return not (self.reaches & self.optimal).any()

    def figures(self) -> dict[str, Any]:
        return {
            "continual": self.continual,
            "optimal": int(self.optimal.sum()),
            "optimal_that_reach": int((self.optimal & self.reaches).sum()),
            "best": float(self.average.max()),
            "best_that_reaches": float(self.average[self.reaches].max()),
        }


def enumerated(means: tuple[float, float], change: float, epsilon: float) -> Enumerated:
    """Every rule on the bandit. Its chain has four states: (which arm is the first one's, behaviour)."""
    average, reaches = [], []
    for rule in range(RULES):
        following = np.array([rule >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)  # of (behaviour, arm, reward)
        chain, pays = np.zeros((2, 2, 2, 2)), np.zeros((2, 2))
        switches = np.zeros((2, 2), dtype=bool)
        for swapped, behaviour, arm, reward in np.ndindex(2, 2, 2, 2):
            pulls = (1 - epsilon) * (arm == behaviour) + epsilon / 2
            paid = means[arm ^ swapped]
            chance = pulls * (paid if reward else 1 - paid)
            then = following[behaviour, arm, reward]
            pays[swapped, behaviour] += chance * reward
            switches[swapped, behaviour] |= bool(chance > 0 and then != behaviour)
            chain[swapped, behaviour, swapped, then] += chance * (1 - change)
            chain[swapped, behaviour, 1 - swapped, then] += chance * change
        flat = chain.reshape(4, 4)
        shares = ops.limit_matrix(torch.from_numpy(flat)).numpy()
        leads = np.linalg.matrix_power(np.eye(4) + (flat > 0), 4) > 0
        settled = ~(leads & switches.reshape(4)).any(1)  # no change can come any more
        for first in (0, 1):
            average.append(shares[first] @ pays.reshape(4))  # the arms begin in their own places
            reaches.append((leads[first] & settled).any())
    return Enumerated(np.array(average), np.array(reaches))


@dataclass(frozen=True)
class Played:
    """Runs of the learners on one bandit.

    Attributes:
        names: of the learners.
        reward: `[L, runs]`, a step's mean over the run.
        last: `[L, runs]`, the step of the last change of behaviour, 0 where there was none.
        rate: `[L, runs]`, changes a step in the second half.
        curve: `[L, runs, points]` mean reward up to `at [points]`.
    """

    names: list[str]
    reward: np.ndarray
    last: np.ndarray
    rate: np.ndarray
    at: np.ndarray
    curve: np.ndarray

    def quiet(self, steps: int) -> np.ndarray:
        """Of each learner, the share of runs without a change in the second half: 1 of those that reach, as far as a run can tell."""
        return (self.last <= steps / 2).mean(1)


def played(options: ContinualOptions, change: float) -> Played:
    """Runs of Q-learning with constant steps and with 1/n, of explore-and-commit, and of both fixed behaviours, all on the same bandits and draws."""
    constant, commits = options.step_sizes, options.commits
    names = ["arm 0", "arm 1", "Q-learning, 1/n", *(f"Q-learning, {size:g}" for size in constant), *(f"commit after {n:,}" for n in commits)]
    learners, runs, steps = len(names), options.runs, options.steps
    rng = np.random.default_rng(derive_seed(options.seed, "continual", change))
    means, rows, columns = np.array(options.means), np.arange(learners)[:, None], np.arange(runs)
    until = np.full(learners, steps)
    until[-len(commits) :] = commits
    size = np.full(learners, 0.0)
    size[3 : 3 + len(constant)] = constant
    q, count = np.full((learners, runs, 2), 0.5), np.zeros((learners, runs, 2))
    behaviour = np.zeros((learners, runs), dtype=np.int64)
    behaviour[1] = 1
    swapped, total = np.zeros(runs, dtype=np.int64), np.zeros((learners, runs))
    last, late = np.zeros((learners, runs), dtype=np.int64), np.zeros((learners, runs))
    at, curve = np.unique(np.geomspace(10, steps, 40).astype(int)), []
    for step in range(1, steps + 1):
        explores, random_arm, pays = rng.random(runs) < options.epsilon, rng.integers(2, size=runs), rng.random(runs)
        arm = np.where(explores, random_arm, behaviour)
        alternates = (step < until) & (until < steps)  # explore-and-commit pulls both in turn, until it commits
        arm[alternates] = behaviour[alternates] = step % 2
        reward = (pays < means[arm ^ swapped]).astype(np.float64)
        total += reward
        count[rows, columns, arm] += 1
        rate = np.where(size[:, None] > 0, size[:, None], 1 / count[rows, columns, arm])
        learns = (step <= until)[:, None]
        q[rows, columns, arm] += learns * rate * (reward - q[rows, columns, arm])
        better = np.where(q[..., 0] == q[..., 1], behaviour, q.argmax(-1))
        then = np.where(learns & (rows >= 2), better, behaviour)
        changed = then != behaviour
        last[changed], behaviour = step, then
        late += changed * (step > steps / 2)
        swapped ^= rng.random(runs) < change
        if step in at:
            curve.append(total / step)
    return Played(names, total / steps, last, late / (steps / 2), at, np.stack(curve, -1))


@study("continual-rl-definition", paper="arXiv:2307.11046", summary="Whether every optimal agent changes for ever: all finite rules, exactly, and learners")
def continual_rl_definition(options: ContinualOptions, folder: Path, say: Say) -> StudyResult:
    if len(options.means) != 2:
        raise BadInput("study continual-rl-definition: means takes two numbers, what the two arms pay, as in 0.8,0.2")
    learners = 3 + len(options.step_sizes) + len(options.commits)
    check_memory(f"study continual-rl-definition: {options.runs:,} runs of {learners} learners", 8 * 50 * learners * options.runs, "take fewer --runs")
    figures: dict[str, Any] = {}
    tables, plots = [], {}
    for name, change in (("fixed arms", 0.0), (f"arms that change places, {options.change:g} a step", options.change)):
        exact = enumerated(options.means, change, options.epsilon).figures()
        say(f"{name}: {'every' if exact['continual'] else 'not every'} optimal rule of {2 * RULES} changes for ever")
        found = played(options, change)
        quiet = found.quiet(options.steps)
        learners = {}
        for place, learner in enumerate(found.names):
            reward = stratified_bootstrap(found.reward[place], mean)
            learners[learner] = {
                "reward": reward.point,
                "low": reward.low,
                "high": reward.high,
                "quiet": float(quiet[place]),
                "last_change": float(np.median(found.last[place])),
                "changes_a_step": float(found.rate[place].mean()),
            }
        kind = "changing" if change else "fixed"
        figures[kind] = {"change": change, "exact": exact, "learners": learners}
        said = (
            ("continual", "yes" if exact["continual"] else "no"),
            ("optimal rules", str(exact["optimal"])),
            ("of these reach the basis", str(exact["optimal_that_reach"])),
            ("average of an optimal rule", f"{exact['best']:.4f}"),
            ("of the best that reaches", f"{exact['best_that_reaches']:.4f}"),
        )
        tables.append(Table(f"{name}: all {2 * RULES} finite rules, exact", ("figure", "value"), said))
        rows = tuple(
            (learner, f"{x['reward']:.4f}", f"{x['quiet']:.2f}", f"{x['last_change']:,.0f}", f"{x['changes_a_step']:.4f}") for learner, x in learners.items()
        )
        head = ("learner", "reward a step", "runs quiet in the second half", "last change, median", "changes a step")
        tables.append(Table(f"{name}: {options.runs} runs of {options.steps:,} steps", head, rows))
        curves = {
            learner: [(found.at.astype(float), found.curve[place, run]) for run in range(min(8, options.runs))] for place, learner in enumerate(found.names)
        }
        plots[kind] = learning_curves(curves, ylabel="mean reward so far")
    return StudyResult(figures, tuple(tables), plots)
