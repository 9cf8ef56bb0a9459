"""Off-policy evaluation: who is right on average, and who varies how much, by enumeration and by Monte Carlo against exact values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.seeds import derive_seed
from operant.evidence import Finding, check
from operant.studies.ope import OpeOptions, errors, estimators, logged, problem
from operant.worlds.tabular.mdp import FiniteMDP

INSTANCES, TOLERANCE, SEED = 200, 1e-10, 0
F64 = torch.float64
UNBIASED = ("ips", "per-decision", "dr", "mrdr")
TASKS = ("tabular:random-episodes", "tabular:bandit")


@dataclass(frozen=True)
class Every:
    """All episodes of two steps of a random MDP of two states and two actions, each as a data set of its own.

    Attributes:
        chance: `[16]`, with which the behaviour plays each.
        state, action: `[16, 1, 2]`.
        ratio, reward: of that shape.
        q, v: the target's own values there.
        target: `[2, 2, 2]`.
        value: of the target.
    """

    chance: Tensor
    state: Tensor
    action: Tensor
    ratio: Tensor
    reward: Tensor
    q: Tensor
    v: Tensor
    target: Tensor
    value: float

    def mean(self, found: Tensor) -> float:
        return float((self.chance * found).sum())

    def variance(self, found: Tensor) -> float:
        return float((self.chance * (found - self.mean(found)).square()).sum())


def every(instance: int) -> Every:
    generator = torch.Generator().manual_seed(derive_seed(SEED, "ope", instance))

    def simplex(*shape: int) -> Tensor:
        weight = -torch.log1p(-torch.rand(shape, generator=generator, dtype=F64))
        return weight / weight.sum(-1, keepdim=True)

    transition, reward, initial = simplex(1, 2, 2, 2, 2), torch.rand(1, 2, 2, 2, generator=generator, dtype=F64), simplex(1, 2)
    target, behaviour = simplex(1, 2, 2, 2), 0.8 * simplex(1, 2, 2, 2) + 0.1
    mdp = FiniteMDP(transition, reward, initial, 1.0, 2)
    value = mdp.value(target)
    q = mdp.backup(value)[0]
    s0, a0, s1, a1 = torch.tensor(list(product(range(2), repeat=4))).T
    chance = initial[0, s0] * behaviour[0, 0, s0, a0] * transition[0, 0, s0, a0, s1] * behaviour[0, 1, s1, a1]
    state, action = torch.stack([s0, s1], -1).unsqueeze(1), torch.stack([a0, a1], -1).unsqueeze(1)
    steps = torch.arange(2)
    ratio = (target / behaviour)[0][steps, state, action]
    paid, worth = reward[0][steps, state, action], value[0][steps, state]
    return Every(chance, state, action, ratio, paid, q[steps, state, action], worth, target[0], float(mdp.start_value(value)))


@check(
    "ope",
    "unbiased",
    "exact",
    f"all episodes of {INSTANCES} random MDPs (2 states, 2 actions, 2 steps): the means of IPS, of its per-decision form, of DR with the right ratios and"
    " random values, and of DR with the right values and random ratios are the target's value to 1e-10; with random ratios that of IPS is not, to 1e-3, in at"
    " least 95 %",
    theorem="IPS is unbiased; DR is where ratios or values are right",
)
def unbiased(folder: Path) -> Finding:
    worst: dict[str, float] = {}
    misses = 0
    for instance in range(INSTANCES):
        d = every(instance)
        generator = torch.Generator().manual_seed(derive_seed(SEED, "ope/wrong", instance))
        table, odd = (torch.rand(2, 2, 2, generator=generator, dtype=F64) for _ in range(2))
        steps = torch.arange(2)
        q, v, wrong = table[steps, d.state, d.action], (table * d.target).sum(-1)[steps, d.state], 2 * odd[steps, d.state, d.action]
        for name, found in {
            "ips": ops.importance_sampling_value(d.ratio, d.reward),
            "per-decision": ops.per_decision_value(d.ratio, d.reward),
            "dr, wrong values": ops.doubly_robust_value(d.ratio, d.reward, q, v),
        }.items():
            worst[name] = max(worst.get(name, 0.0), abs(d.mean(found) - d.value))
        off = abs(d.mean(ops.doubly_robust_value(wrong, d.reward, d.q, d.v)) - d.value)
        worst["dr, wrong ratios"] = max(worst.get("dr, wrong ratios", 0.0), off)
        misses += abs(d.mean(ops.importance_sampling_value(wrong, d.reward)) - d.value) > 1e-3
    holds = max(worst.values()) <= TOLERANCE and misses >= 0.95 * INSTANCES
    return Finding(holds, {"largest_bias": worst, "tolerance": TOLERANCE, "instances": INSTANCES, "instances_where_ips_with_wrong_ratios_misses": misses})


@check(
    "ope",
    "variance",
    "exact",
    f"on the same {INSTANCES} MDPs DR with the right values never varies more than per-decision IPS: 0 violations beyond 1e-12, and less than half in"
    " the median",
    theorem="DR with the right values varies no more than per-decision IPS (Jiang and Li 2016, theorem 1)",
)
def variance(folder: Path) -> Finding:
    shares = []
    for instance in range(INSTANCES):
        d = every(instance)
        robust, plain = (d.variance(found) for found in (ops.doubly_robust_value(d.ratio, d.reward, d.q, d.v), ops.per_decision_value(d.ratio, d.reward)))
        shares.append((robust - plain > 1e-12, robust / plain))
    violations, median = sum(over for over, _ in shares), float(torch.tensor([share for _, share in shares]).median())
    return Finding(violations == 0 and median < 0.5, {"violations": violations, "instances": INSTANCES, "median_share": median})


@check(
    "ope",
    "constant",
    "exact",
    "where every reward is 0.7, SNIPS and DICE say 0.7 a step of 100 data sets of 30 episodes (random-episodes), to 1e-10; IPS misses by more than 0.1 in most",
    theorem="self-normalised and marginalised weights keep constants",
)
def constant(folder: Path) -> Finding:
    mdp, target, behaviour = problem(OpeOptions())
    data = logged(mdp, target, behaviour, 30, Streams(range(SEED, SEED + 100)))
    reward = torch.full_like(data.reward, 0.7)
    value = 0.7 * mdp.horizon
    weight = ops.marginal_weights(data.state, data.ratio, states=mdp.states)
    off = {
        "snips": float((ops.self_normalized_value(data.ratio, reward) - value).abs().max()),
        "dice": float((ops.marginal_value(weight, reward) - value).abs().max()),
    }
    missed = float(((ops.importance_sampling_value(data.ratio, reward) - value).abs() > 0.1).double().mean())
    return Finding(max(off.values()) <= TOLERANCE and missed > 0.5, {"largest_difference": off, "tolerance": TOLERANCE, "share_where_ips_misses": missed})


@check(
    "ope",
    "occupancy",
    "small",
    "DICE's weights against the exact ratio of occupancies (random-episodes, largest error over steps and pairs met, mean of 20 data sets of 1,000 to 100,000"
    " episodes): log-log slope in [-0.6, -0.4]",
    theorem="DICE's weights are the ratio of the occupancies, at the rate 1/√M",
)
def occupancy(folder: Path) -> Finding:
    mdp, target, behaviour = problem(OpeOptions())
    seen, played = mdp.occupancy(target)[0], mdp.occupancy(behaviour)[0]
    exact = torch.where(played > 0, seen / played, 0.0)
    sizes, means = (1_000, 3_162, 10_000, 31_623, 100_000), []
    for size in sizes:
        off = []
        for seed in range(SEED, SEED + 20):
            data = logged(mdp, target, behaviour, size, Streams([seed]))
            weight = ops.marginal_weights(data.state, data.ratio, states=mdp.states)
            off.append(float((weight - exact[torch.arange(mdp.horizon), data.state, data.played.action]).abs().max()))
        means.append(sum(off) / len(off))
    slope = float(ops.log_log_slope(torch.tensor(sizes, dtype=F64), torch.tensor(means, dtype=F64)))
    return Finding(-0.6 <= slope <= -0.4, {"slope": slope, "between": [-0.6, -0.4], "largest_error": dict(zip(map(str, sizes), means, strict=True))}, 20)


@cache
def monte_carlo(task: str, horizon: int | None, episodes: int, repeats: int) -> dict[str, dict[str, float]]:
    mdp, target, behaviour = problem(OpeOptions(task=task, horizon=horizon))
    data = logged(mdp, target, behaviour, episodes, Streams(range(SEED, SEED + repeats)))
    value = mdp.start_value(mdp.value(target))[0].item()
    return {name: errors(estimate(data), value) | {"value": value} for name, estimate in estimators().items()}


@check(
    "ope",
    "bias",
    "small",
    "2,000 data sets of 50 episodes of random-episodes and of bandit: the bias of IPS, per-decision IPS, DR and MRDR is within 4 standard errors of 0; on"
    " random-episodes the RMSE of SNIPS, DM, DR, MRDR and DICE is at most a quarter of per-decision IPS's",
)
def bias(folder: Path) -> Finding:
    found = {task: monte_carlo(task, None, 50, 2_000) for task in TASKS}
    off = {task: {name: each[name]["bias"] / each[name]["standard_error"] for name in UNBIASED} for task, each in found.items()}
    plain = found[TASKS[0]]["per-decision"]["rmse"]
    share = {name: found[TASKS[0]][name]["rmse"] / plain for name in ("snips", "dm", "dr", "mrdr", "dice")}
    holds = max(abs(x) for each in off.values() for x in each.values()) <= 4 and max(share.values()) <= 0.25
    return Finding(holds, {"bias_in_standard_errors": off, "at_most": 4, "rmse_over_per-decision": share, "share_at_most": 0.25}, 2_000)


@check(
    "ope",
    "horizon",
    "small",
    "random-sparse in episodes of 5 and of 20 steps, 400 data sets of 200 episodes: over the target's value, the deviation of IPS grows at least fourfold, and"
    " that of DICE does not grow",
    theorem="products of ratios vary as a power of the horizon's length; marginalised weights do not",
)
def horizon(folder: Path) -> Finding:
    found = {steps: monte_carlo("tabular:random-sparse", steps, 200, 400) for steps in (5, 20)}
    relative = {name: {str(steps): each[name]["deviation"] / each[name]["value"] for steps, each in found.items()} for name in ("ips", "dice")}
    growth = {name: each["20"] / each["5"] for name, each in relative.items()}
    return Finding(growth["ips"] >= 4 and growth["dice"] <= 1, {"relative_deviation": relative, "growth": growth, "ips_at_least": 4, "dice_at_most": 1}, 400)
