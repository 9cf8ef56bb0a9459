"""Cloning against inverse reinforcement learning with known dynamics, the difference that RLHF is said to live on: how regret grows with the horizon.

Paper: Sun 2023, arXiv:2310.06147, a perspective. To write is a decision problem whose dynamics are known: the next state is the text so far and one more token.
Learning from demonstrations is then imitation with known dynamics; supervised fine-tuning clones (behaviour cloning), RLHF learns a reward from data and
follows it through the dynamics. What cloning does where no demonstration was, it suffers for all the steps that are left: regret grows as the square of the
horizon (Ross and Bagnell 2010), where imitation that matches the demonstrations' distribution loses what a step loses, once (Swamy et al. 2021).

Three beds, one state of which lies off the way, where nothing is ever paid:

- `tightrope`: contexts come by chance, some of them rarely; of three actions one pays, one pays nothing, and one falls off for good;
- `recoverable`: the same, but whoever fell is back with the next step;
- `strings`: a text is written for one that is read, a token for each: one token is right, a few are grammatical and pay nothing, and all others are an error,
  behind which nothing counts. What is written alone decides what comes, as in any text; what is read is given, and its tokens come by chance.

The learners have the same demonstrations, and so at every horizon the same error a step: pairs (state, action) of the expert, as many at every horizon. Cloning
takes the frequencies of its states, and every action alike where it has seen none. The other one clones where it has seen something (MIMIC-MD, Rajaraman et al.
2020, arXiv:2009.05990) and elsewhere plays the game of adversarial imitation: a reward within [-1, 1] rises where the demonstrations' share of a pair is above
the policy's and falls where it is below, and the policy is soft-optimal for it in the known dynamics. Both are tables; values are exact (`FiniteMDP`). With one
step there are no consequences, and both do the same.

Departure: the game's reward moves by the relative difference (d - d') / (d + d'), so that rare pairs count as frequent ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed, unknown
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.registry import Count, Positive, Range
from operant.evaluate.plots import learning_curves
from operant.evaluate.statistics import mean, stratified_bootstrap
from operant.studies import Say, StudyResult, Table, study
from operant.worlds.tabular.mdp import FiniteMDP

F64 = torch.float64
CONTEXTS, LETTERS, RARE = 20, 16, 10  # of the tightrope, of the language, and how many of them come rarely
GRAMMATICAL = 4  # tokens that may be written for one that is read, the right one among them
LEARNERS = ("cloning", "matching")


@dataclass(frozen=True)
class ImitationOptions:
    beds: tuple[str, ...] = ("tightrope", "recoverable", "strings")  # among these
    horizons: Annotated[tuple[int, ...], Range(1)] = (1, 10, 20, 50, 100, 200)  # steps of an episode
    demonstrations: Count = 400  # pairs of the expert, as many at every horizon
    rarity: Positive = 5e-4  # share of the expert's steps in each rare state
    rounds: Count = 60  # of the game of reward and policy
    temperature: Positive = 0.05  # of the soft-optimal policy
    seeds: Annotated[int, Range(2)] = 10  # of the demonstrations
    seed: Annotated[int, Range(0)] = 0  # the first of them


@dataclass(frozen=True)
class Bed:
    """A problem of any horizon: `transition [K, A, K]`, `reward [K, A]`, the expert's policy `[K, A]`, and where episodes begin `[K]`, which the expert keeps
    at every step. The last state lies off the way."""

    transition: Tensor
    reward: Tensor
    expert: Tensor
    initial: Tensor

    def mdp(self, horizon: int) -> FiniteMDP:
        return FiniteMDP(self.transition[None, None], self.reward[None, None], self.initial[None], 1.0, horizon)

    @property
    def occupancy(self) -> Tensor:
        """The expert's, of every step alike: `[K, A]`."""
        return self.initial.unsqueeze(-1) * self.expert


def by_chance(pays: Tensor, falls: Tensor, rarity: float, back: bool = False) -> Bed:
    """Contexts that come by chance at every step, the last `RARE` of them rarely, and the state off the way.

    Args:
        pays, falls: `[K - 1, A]` bool, what actions do in each context; the first that pays is the expert's.
        back: who fell is in some context again with the next step.
    """
    off, actions = pays.shape
    chances = torch.full((off + 1,), rarity, dtype=F64)
    chances[: off - RARE] = (1 - RARE * rarity) / (off - RARE)
    chances[off] = 0
    gone = torch.eye(off + 1, dtype=F64)[off]
    transition = chances.expand(off + 1, actions, -1).clone()
    transition[:off][falls] = gone
    if not back:
        transition[off] = gone
    none = torch.zeros(1, actions, dtype=F64)
    reward = torch.cat([pays.to(F64), none])
    return Bed(transition, reward, ops.greedy_policy(reward), chances)


def tightrope(rarity: float, back: bool = False) -> Bed:
    return by_chance(*(torch.tensor([[place == which for place in range(3)]] * CONTEXTS) for which in (0, 2)), rarity, back)


def recoverable(rarity: float) -> Bed:
    return tightrope(rarity, back=True)


def strings(rarity: float) -> Bed:
    ahead = (torch.arange(LETTERS) - torch.arange(LETTERS).unsqueeze(1)) % LETTERS  # of the token that is written, from the one that is read
    return by_chance(ahead == 0, ahead >= GRAMMATICAL, rarity)


BEDS = {"tightrope": tightrope, "recoverable": recoverable, "strings": strings}


def demonstrated(bed: Bed, size: int, seeds: list[int]) -> Tensor:
    """How often each pair was demonstrated to each seed, `[S, K, A]`."""
    flat = bed.occupancy.flatten()
    counts = []
    for generator in Streams(seeds).torch_generators("demonstrations"):
        drawn = torch.multinomial(flat, size, replacement=True, generator=generator)
        counts.append(torch.bincount(drawn, minlength=len(flat)).to(F64).view(bed.expert.shape))
    return torch.stack(counts)


def cloned(count: Tensor) -> Tensor:
    """Frequencies of actions, every action alike where nothing was seen: `[S, K, A]` of counts."""
    seen = count.sum(-1, keepdim=True)
    return torch.where(seen > 0, count / seen.clamp(min=1), 1 / count.shape[-1])


def matched(bed: Bed, count: Tensor, horizon: int, *, rounds: int, temperature: float) -> Tensor:
    """Adversarial imitation in the known dynamics: the policy `[S, H, K, A]`, and of its game the last reward."""
    mdp, clone, seen = bed.mdp(horizon), cloned(count), (count.sum(-1) > 0).unsqueeze(-1)
    target = count / count.sum((-2, -1), keepdim=True)
    reward = torch.zeros_like(target)
    for _ in range(rounds):
        policy = soft_policy(reward, bed.transition, clone, seen, horizon, temperature)
        if not policy.isfinite().all():
            raise RunFailed(f"study rlhf-irl-view: {horizon} steps: the soft-optimal policy is not finite: try a higher --temperature")
        shares = mdp.occupancy(policy).mean(1)
        total = (target + shares).clamp(min=1e-12)
        reward = (reward + 0.1 * (target - shares) / total).clamp(-1, 1)
    return policy


def soft_policy(reward: Tensor, transition: Tensor, clone: Tensor, seen: Tensor, horizon: int, temperature: float) -> Tensor:
    """The policy `[S, H, K, A]` that is soft-optimal for a reward `[S, K, A]` where nothing was `seen` (`[S, K, 1]` bool), and `clone` elsewhere."""
    value, policies = torch.zeros_like(reward[..., 0]), []
    for _ in range(horizon):
        q = ops.bellman_q(reward, transition, value, discount=1.0)
        policy = torch.where(seen, clone, (q / temperature).softmax(-1))
        soft = torch.where(seen.squeeze(-1), (clone * q).sum(-1), temperature * (q / temperature).logsumexp(-1))
        value = soft
        policies.append(policy)
    return torch.stack(policies[::-1], 1)


def regrets(name: str, options: ImitationOptions, say: Say) -> dict[str, np.ndarray]:
    """Of each learner what it earns less than the expert, at each horizon: `[horizons, S]`, exact."""
    bed, seeds = BEDS[name](options.rarity), [options.seed + place for place in range(options.seeds)]
    count = demonstrated(bed, options.demonstrations, seeds)
    found: dict[str, list[np.ndarray]] = {learner: [] for learner in LEARNERS}
    for horizon in options.horizons:
        mdp = bed.mdp(horizon)
        best = mdp.start_value(mdp.value(bed.expert.expand(1, horizon, -1, -1)))
        policies = (
            cloned(count).unsqueeze(1).expand(-1, horizon, -1, -1),
            matched(bed, count, horizon, rounds=options.rounds, temperature=options.temperature),
        )
        for learner, policy in zip(LEARNERS, policies, strict=True):
            found[learner].append((best - mdp.start_value(mdp.value(policy))).numpy())
        say(f"{name}, {horizon} steps: " + ", ".join(f"{learner} {values[-1].mean():.4g}" for learner, values in found.items()))
    return {learner: np.stack(values) for learner, values in found.items()}


def growth(horizons: tuple[int, ...], regret: np.ndarray) -> dict[str, float]:
    """The log-log slope of the mean regret `[horizons, S]` over horizons above 1, with a 95 % bootstrap interval over the seeds."""
    kept = [place for place, horizon in enumerate(horizons) if horizon > 1]
    x, draws = torch.tensor([horizons[place] for place in kept], dtype=F64), np.random.default_rng(0)

    def slope(seeds: np.ndarray) -> float:
        return float(ops.log_log_slope(x, torch.from_numpy(regret[kept][:, seeds].mean(1))))

    count = regret.shape[1]
    again = [slope(draws.integers(count, size=count)) for _ in range(500)]
    return {"slope": slope(np.arange(count)), "low": float(np.quantile(again, 0.025)), "high": float(np.quantile(again, 0.975))}


@study(
    "rlhf-irl-view",
    paper="arXiv:2310.06147",
    summary="How regret grows with the horizon: cloning against inverse RL in known dynamics, on demonstrations alike",
)
def rlhf_irl_view(options: ImitationOptions, folder: Path, say: Say) -> StudyResult:
    for name in options.beds:
        if name not in BEDS:
            raise unknown("bed of rlhf-irl-view:", name, BEDS)
    if sum(horizon > 1 for horizon in options.horizons) < 2:
        raise BadInput("study rlhf-irl-view: horizons takes two or more above 1, between which regret grows, as in 10,100")
    if options.rarity > 0.05:
        raise BadInput(f"study rlhf-irl-view: rarity={options.rarity:g}: {RARE} rare states of it would not be rare, at most 0.05")
    pairs = max(BEDS[name](options.rarity).expert.numel() for name in options.beds)
    what = f"study rlhf-irl-view: policies of {options.seeds:,} seeds over {max(options.horizons):,} steps"
    check_memory(what, 4 * 8 * options.seeds * max(options.horizons) * pairs, "take shorter --horizons, or fewer --seeds")
    what = f"study rlhf-irl-view: {options.demonstrations:,} demonstrations"
    check_memory(what, 2 * 8 * options.demonstrations, "take fewer --demonstrations")
    figures: dict[str, Any] = {}
    tables, plots = [], {}
    for name in options.beds:
        found = regrets(name, options, say)
        fits = {learner: growth(options.horizons, regret) for learner, regret in found.items()}
        figures[name] = {"horizons": list(options.horizons), "growth": fits} | {learner: regret.tolist() for learner, regret in found.items()}
        rows = []
        for place, horizon in enumerate(options.horizons):
            cells = [stratified_bootstrap(found[learner][place], mean) for learner in LEARNERS]
            rows.append((str(horizon), *(f"{cell.point:.4g} [{cell.low:.4g}, {cell.high:.4g}]" for cell in cells)))
        rows.append(("slope", *(f"{fit['slope']:.3f} [{fit['low']:.3f}, {fit['high']:.3f}]" for fit in fits.values())))
        tables.append(Table(f"{name}: regret of {options.demonstrations} demonstrated pairs, {options.seeds} seeds", ("steps", *LEARNERS), tuple(rows)))
        x = np.array(options.horizons, dtype=float)
        curves = {learner: [(x, regret[:, seed]) for seed in range(options.seeds)] for learner, regret in found.items()}
        plots[name] = learning_curves(curves, ylabel="regret", xlabel="steps of an episode")
    return StudyResult(figures, tuple(tables), plots)
