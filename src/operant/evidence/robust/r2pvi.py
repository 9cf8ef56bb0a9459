"""R2PVI: its closed forms are minima, and under transitions that have changed its policies are worth more than those of plain pessimism.

The authors' own code (Simulated_Linear_MDP, as it stands, 20 data sets, its policies evaluated exactly): PEVI 1.557 where nothing has changed and 0.737 where
all has, R2PVI 1.403 and 0.994 with total variation, 1.482 and 0.862 with KL, 1.335 and 1.106 with chi-square. So it too loses more than `unchanged` allows,
with each divergence, and `unchanged` is no claim of the paper. With the paper's penalty in the place of the code's, 1.324 and 1.125 with total variation: what
is lost and gained beyond theirs here is the penalty's.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

STEPS, EPISODES, REPEATS, RANDOM = 3, 100, range(40, 60), 100
RARE, DELTA, XI = 0.001, 0.3, 0.05  # of the authors' simulation: a fall by nature, the chance to get on, and what each of four signs adds to it
DIVERGENCES = ("total-variation", "kl", "chi-square")
BED = "the authors' linear MDP of 5 states, 3 steps, 16 actions and 4 factors, 300 transitions of uniform actions, means of 20 data sets"
THEIRS, MILD = {"price": 0.1, "beta": 1.0}, {"price": 0.25, "beta": 0.1}  # the authors' hyper-parameters; others, chosen on seeds that no check uses


@check(
    "r2pvi",
    "closed-forms",
    "exact",
    f"the closed forms are the minima that SciPy finds, within 1e-4, for {RANDOM} random distributions over 5 states, values and prices, each divergence",
    theorem="duals of transitions that change for a price",
)
def closed_forms(folder: Path) -> Finding:
    rng, off = np.random.default_rng(0), dict.fromkeys(DIVERGENCES, 0.0)
    for _ in range(RANDOM):
        weight, value, price = rng.dirichlet(np.ones(5)), rng.uniform(0, 3, 5), float(rng.uniform(0.1, 2))
        mu, v = torch.from_numpy(weight)[None], torch.from_numpy(value)
        found = {
            "total-variation": ops.total_variation_robust(mu, v, price=price, least=v.amin()),
            "kl": ops.kl_robust(mu, v, price=price, most=3.0),
            "chi-square": ops.chi_square_robust(mu, v, price=price),
        }
        for name, each in found.items():
            off[name] = max(off[name], abs(each.item() - minimum(name, weight, value, price)))
    return Finding(max(off.values()) <= 1e-4, {"largest_difference": off, "at_most": 1e-4})


@check(
    "r2pvi",
    "changed",
    "small",
    "with price 0.1 and beta 1 (theirs, total variation), where the first step's way on leads astray for certain, the value of R2PVI's policies is at least "
    f"0.05 above that of PEVI's ({BED})",
)
def changed(folder: Path) -> Finding:
    found = compared(**THEIRS)
    return Finding(found["gain"] >= 0.05, found | {"gain_at_least": 0.05}, len(REPEATS))


@check(
    "r2pvi",
    "divergences",
    "small",
    f"with KL and with chi-square too, price and beta the same, it is there at least 0.05 above ({BED})",
)
def divergences(folder: Path) -> Finding:
    found = {name: compared(**THEIRS, divergence=name) for name in DIVERGENCES[1:]}
    return Finding(min(each["gain"] for each in found.values()) >= 0.05, found | {"gain_at_least": 0.05}, len(REPEATS))


@check(
    "r2pvi",
    "unchanged",
    "small",
    f"with these (total variation), where nothing has changed, it is at most 0.05 below, which the authors' own code is not: 0.154 ({BED})",
)
def unchanged(folder: Path) -> Finding:
    found = compared(**THEIRS)
    return Finding(found["loss"] <= 0.05, found | {"loss_at_most": 0.05}, len(REPEATS))


@check(
    "r2pvi", "mild", "small", f"with price 0.25 and beta 0.1 it is at least 0.05 above where all has changed, and at most 0.05 below where nothing has ({BED})"
)
def mild(folder: Path) -> Finding:
    found = compared(**MILD)
    return Finding(found["gain"] >= 0.05 and found["loss"] <= 0.05, found | {"gain_at_least": 0.05, "loss_at_most": 0.05}, len(REPEATS))


def compared(price: float, beta: float, divergence: str = DIVERGENCES[0]) -> dict[str, Any]:
    """Mean values by how far transitions are changed, what R2PVI gains where all is and what it loses where nothing is."""
    ours, plain = values(price, beta, divergence), values(float(10 * STEPS), beta, DIVERGENCES[0])
    return {"r2pvi": ours, "pevi": plain, "gain": ours["1"] - plain["1"], "loss": plain["0"] - ours["0"]}


def values(price: float, beta: float, divergence: str) -> dict[str, float]:
    """Means of the policies that are planned from data of the nominal MDP."""
    nominal = simulation(0.0)
    uniform = torch.full((1, *nominal.shape), 1 / nominal.actions, dtype=torch.float64)
    world = TabularWorld(nominal, data=nominal.occupancy(uniform), transitions=STEPS * EPISODES)
    hyper = {"price": price, "beta": beta, "ridge": 0.1, "divergence": divergence}
    learner = get_method("r2pvi").build(configure("r2pvi", hyper)).learner(world, list(REPEATS), 1, torch.device("cpu"))
    learner.iterate()
    tested = {f"{q:g}": simulation(q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)}
    return {q: mdp.start_value(mdp.value(learner.policy.probabilities)).mean().item() for q, mdp in tested.items()}


def simulation(q: float) -> FiniteMDP:
    """The authors' simulation (their `Simulated_Linear_MDP`), whose way on from the first state leads astray with probability q.

    States: first, second, third, fallen, safe. An action is four signs; from the first three states it gets on to safety, which pays 1 a step, with probability
    delta + xi · (sum of the signs). Rewards begin with the second step.
    """
    actions = np.array(list(product([-1, 1], repeat=4)))
    on = DELTA + XI * actions.sum(-1)
    features = np.zeros((5, len(actions), 4))
    for state in range(3):
        features[state, :, state], features[state, :, 3] = 1 - on, on
    features[3, :, 2] = features[4, :, 3] = 1
    measures = np.zeros((STEPS, 4, 5))
    measures[0, 0, [1, 3]] = 1 - RARE, RARE
    measures[0, 3, [3, 4]] = q, 1 - q
    measures[1, 1, [2, 3]] = 1 - RARE, RARE
    measures[1:, 3, 4] = 1
    measures[:, 2, 3] = 1
    measures[1:, 0, 3] = measures[0, 1, 3] = measures[2, 1, 3] = 1  # factors of states that are not there at these steps
    if q > 0:
        measures[0, 0, [1, 3]] = 1, 0  # as theirs: nature changes one thing
    transition, phi = np.einsum("kai,hij->hkaj", features, measures), torch.from_numpy(features)[None, None]
    reward = np.stack([np.zeros((5, len(actions))), features[..., 3], features[..., 3]])
    return FiniteMDP(*(torch.from_numpy(table)[None] for table in (transition, reward, np.eye(5)[0])), 1.0, STEPS, features=phi)


def minimum(divergence: str, weight: np.ndarray, value: np.ndarray, price: float) -> float:
    """inf over distributions of the mean plus price · D, by SciPy: a linear program of total variation, else sequential quadratic programming."""
    from scipy.optimize import linprog, minimize

    size = len(weight)
    if divergence == "total-variation":  # moved up and moved down, half of their sum is paid
        gain = np.concatenate([value, np.full(2 * size, price / 2)])
        equations = np.vstack([np.hstack([np.eye(size), -np.eye(size), np.eye(size)]), np.concatenate([np.ones(size), np.zeros(2 * size)])])
        return float(linprog(gain, A_eq=equations, b_eq=np.append(weight, 1.0)).fun)

    def worth(mu: np.ndarray) -> float:
        ratio = np.maximum(mu, 1e-15) / weight
        paid = (mu * np.log(ratio)).sum() if divergence == "kl" else (weight * (mu / weight - 1) ** 2).sum()
        return float(mu @ value + price * paid)

    sums = {"type": "eq", "fun": lambda mu: mu.sum() - 1}
    starts = [weight, np.full(size, 1 / size), 0.9 * np.eye(size)[value.argmin()] + 0.1 / size]
    return min(minimize(worth, start, bounds=[(0, 1)] * size, constraints=[sums], options={"maxiter": 500, "ftol": 1e-12}).fun for start in starts)
