"""Objective specification: each witness's ordering is one that no Markov reward induces, and every ordering of a Markov reward is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from operant.core.seeds import derive_seed
from operant.evidence import Finding, check
from operant.studies.objective_expressivity import (
    TIE,
    Environment,
    MarkovReward,
    OccupancyFunction,
    OuterNonlinear,
    Regularised,
    RewardMachine,
    inner_nonlinear,
    random_orderings,
    witnesses,
)

DISCOUNTS = tuple(place / 20 for place in range(20)) + (0.99, 0.999)
F64 = torch.float64


@check(
    "objective-expressivity",
    "separations",
    "exact",
    "twelve objectives, of limit averages, temporal logic, reward machines, regularised, outer and inner nonlinear and multi-objective rewards, functions of"
    " trajectories, occupancies, lotteries and policies, order stationary policies of 1 to 3 states as they are meant to, and the best Markov reward's margin"
    " is at most 1e-9 at each of 22 discounts from 0 to 0.999",
    theorem="twelve formalisms order policies as no Markov reward does",
)
def separations(folder: Path) -> Finding:
    found = {witness.formalism: {"ordering": witness.told(), "margin": max(0.0, witness.margin(DISCOUNTS))} for witness in witnesses()}
    meant = all(each["ordering"] == MEANT[name] for name, each in found.items())
    return Finding(meant and max(each["margin"] for each in found.values()) <= TIE, {"witnesses": found, "margin_at_most": TIE})


XOR, FAIR = "01 ~ 10 > 00 ~ 11", "0.5 > 0 ~ 1"
MEANT = {
    "limit average": "0.5 ~ 1 > 0",
    "temporal logic": XOR,
    "reward machine": FAIR,
    "regularised": "0.5 > 0.75 > 0.25 > 1 > 0",  # of 0.2 p + H(p): 0.793, 0.712, 0.612, 0.2, 0
    "outer nonlinear": XOR,
    "outer multi-objective": FAIR,
    "inner nonlinear": XOR,
    "inner multi-objective": XOR,
    "trajectory function": "00 ~ 11 > 01 ~ 10",
    "occupancy function": FAIR,
    "trajectory lottery": "0 ~ 1 > 0.5",
    "policy function": "careful > careless",
}


@check(
    "objective-expressivity",
    "markov-is-found",
    "exact",
    "the orderings of all deterministic policies by 1,000 random Markov rewards (random environments of 2 and 3 states, discounts below 0.95): the program"
    " denies none, and its reward puts none otherwise",
    theorem="the orderings of Markov rewards are those that are linear in the occupancy",
)
def markov_is_found(folder: Path) -> Finding:
    found = random_orderings(1_000, 0)
    return Finding(found["denied"] == found["put otherwise"] == 0, found)


@check(
    "objective-expressivity",
    "inclusions",
    "exact",
    "reward machines of one state, regularised rewards of weight 0, outer functions that change nothing, linear functions of the occupancy, and on environments"
    " that end the mean of the return, give 100 random policies the value of the Markov reward that they are made of, to 1e-9",
    theorem="five formalisms express every Markov reward",
)
def inclusions(folder: Path) -> Finding:
    worst: dict[str, float] = {}
    for instance in range(100):
        generator = torch.Generator().manual_seed(derive_seed(0, "inclusions", instance))
        transition, policy = (_simplex(shape, generator) for shape in ((4, 2, 4), (4, 2)))
        ends = torch.zeros(4, 2, 4, dtype=F64)
        ends[0], ends[1], ends[2:, :, 3] = _simplex((2, 4), generator) * torch.tensor([0, 1, 1, 1]), _simplex((2, 4), generator) * torch.tensor([0, 0, 1, 1]), 1
        ends = ends / ends.sum(-1, keepdim=True)
        reward, discount = torch.rand(4, 2, generator=generator, dtype=F64), 0.9
        paying = reward * torch.tensor([[1.0], [1.0], [1.0], [0.0]], dtype=F64)  # nothing where an episode has ended
        initial = torch.full((4,), 0.25, dtype=F64)
        for name, (environment, plain, other) in {
            **{name: (Environment(transition, initial), reward, other) for name, other in embeddings(reward, discount).items()},
            "inner": (Environment(ends, initial), paying, inner_nonlinear((paying,), discount, lambda x: x)),
        }.items():
            off = abs(other.evaluate(environment, policy) - MarkovReward(plain, discount).evaluate(environment, policy))
            worst[name] = max(worst.get(name, 0.0), off)
    return Finding(max(worst.values()) <= 1e-9, {"largest_difference": worst, "tolerance": 1e-9})


def embeddings(reward: Tensor, discount: float) -> dict[str, Any]:
    """A Markov reward as an objective of other formalisms."""
    return {
        "reward machine": RewardMachine(torch.zeros(1, *reward.shape, dtype=torch.int64), reward[None], discount),
        "regularised": Regularised(reward, discount, 0.0, lambda policy: policy[:, 0]),
        "outer": OuterNonlinear((reward,), discount, lambda x: x),
        "occupancy": OccupancyFunction(discount, lambda d: float((d * reward).sum() / (1 - discount))),
    }


def _simplex(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    weight = -torch.log1p(-torch.rand(shape, generator=generator, dtype=F64))
    return weight / weight.sum(-1, keepdim=True)
