"""IWOCS: it comes to the robust optimum by solving ordinary MDPs, a handful of them."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner
from operant.worlds import make_world
from operant.worlds.tabular.robust import UncertainMDP
from operant.worlds.tabular.world import TabularWorld

MOST = 60  # iterations
BED = "the windy maze tabular:gusty with discounts of 0.9, 0.95 and 0.98, and ten random sets of 5 transitions for each pair of 8 states and 3 actions"


@check(
    "iwocs",
    "optimum",
    "exact",
    f"after at most {MOST} models the worst-case value of the policy is the robust optimum within 1e-6, as robust value iteration has it ({BED})",
    theorem="in rectangular sets the minimum of optimal Q is the robust Q",
)
def optimum(folder: Path) -> Finding:
    found = {name: solved(world) for name, world in beds().items()}
    off = max(each["short"] for each in found.values())
    return Finding(off <= 1e-6, {"largest_difference": off, "at_most": 1e-6, "models": {name: each["models"] for name, each in found.items()}})


@check(
    "iwocs",
    "near-deterministic",
    "small",
    "and of 1,000 sets of 2 deterministic transitions (3 states, 2 actions, discount 0.9), 500 of 3 with probabilities to the third power (4 states, 3 "
    f"actions, 0.95) and 500 of 4 to the fourth (6 states, 2 actions, 0.9) none is off by more than 1e-6 after {MOST} models",
    theorem="in rectangular sets the minimum of optimal Q is the robust Q",
)
def near_deterministic(folder: Path) -> Finding:
    off = {}
    for sets, states, actions, models, discount, power in ((1_000, 3, 2, 2, 0.9, None), (500, 4, 3, 3, 0.95, 3), (500, 6, 2, 4, 0.9, 4)):
        mdp = near(sets, states, actions, models, discount, power)
        learner = get_method("iwocs").build(configure("iwocs", {})).learner(TabularWorld(mdp), list(range(sets)), MOST, torch.device("cpu"))
        while learner.step < MOST:
            learner.iterate()
        short = mdp.start_value(mdp.robust_optimum[0]) - mdp.start_value(mdp.worst(learner.policy.probabilities)[0])
        off[f"{states} states"] = {"largest": short.max().item(), "off": int((short > 1e-6).sum())}
    return Finding(all(each["off"] == 0 for each in off.values()), off | {"at_most": 1e-6}, 2_000)


@check("iwocs", "falling", "exact", f"the minimum over the models' optimal Q never rises and never falls below the robust Q, within 1e-9 ({BED})")
def falling(folder: Path) -> Finding:
    rise, below = 0.0, 0.0
    for world in beds().values():
        learner, mdp = begun(world), world.mdp(Streams([0]))
        robust = mdp.robust_backup(mdp.robust_optimum[0])
        for _ in range(6):
            before = learner.state["q"]
            learner.iterate()
            rise = max(rise, (learner.state["q"] - before).max().item())
            below = max(below, (robust - learner.state["q"]).max().item())
    return Finding(max(rise, below) <= 1e-9, {"largest_rise": rise, "largest_fall_below": below, "at_most": 1e-9})


@check(
    "iwocs",
    "nominal",
    "exact",
    f"its worst-case value is never below that of the policy that is optimal for the nominal model, and above it by 0.01 in half of the beds ({BED})",
)
def nominal(folder: Path) -> Finding:
    gains = {name: each["gain"] for name, each in ((name, solved(world)) for name, world in beds().items())}
    above = sum(gain > 0.01 for gain in gains.values()) / len(gains)
    return Finding(min(gains.values()) >= -1e-6 and above >= 0.5, {"gains": gains, "never_below": -1e-6, "above_0.01": above, "at_least": 0.5})


def beds() -> dict[str, TabularWorld]:
    found = {f"gusty {discount:g}": make_world("tabular:gusty", discount=discount) for discount in (0.9, 0.95, 0.98)}
    return found | {f"random {seed}": TabularWorld(instance(seed)) for seed in range(40, 50)}


def instance(seed: int, states: int = 8, actions: int = 3, models: int = 5) -> UncertainMDP:
    """Each model's transitions of a pair are uniform over all distributions, the first one is nominal; rewards are uniform in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    weight = -torch.log1p(-torch.rand(1, models, states, actions, states, generator=generator, dtype=torch.float64))
    drawn, reward = weight / weight.sum(-1, keepdim=True), torch.rand(1, states, actions, generator=generator, dtype=torch.float64)
    return UncertainMDP(drawn[:, 0], reward, torch.full((1, states), 1 / states, dtype=torch.float64), 0.9, models=drawn)


def near(sets: int, states: int, actions: int, models: int, discount: float, power: int | None) -> UncertainMDP:
    """Sets whose transitions are deterministic (no power), or powers of uniform distributions, which one state has most of; the first state is state 0."""
    generator = torch.Generator().manual_seed(states)
    if power is None:
        weight = torch.nn.functional.one_hot(torch.randint(states, (sets, models, states, actions), generator=generator), states).double()
    else:
        weight = (-torch.log1p(-torch.rand(sets, models, states, actions, states, generator=generator, dtype=torch.float64))) ** power
    drawn, reward = weight / weight.sum(-1, keepdim=True), torch.rand(sets, states, actions, generator=generator, dtype=torch.float64)
    initial = torch.nn.functional.one_hot(torch.zeros(1, dtype=torch.int64), states).double()
    return UncertainMDP(drawn[:, 0], reward, initial, discount, models=drawn)


def begun(world: TabularWorld) -> Planner:
    return get_method("iwocs").build(configure("iwocs", {})).learner(world, [0], MOST, torch.device("cpu"))


def solved(world: TabularWorld) -> dict[str, float]:
    """How far the policy's worst case is from the robust optimum, in so many models as it took, and how much more it is than the nominal policy's."""
    learner, mdp = begun(world), world.mdp(Streams([0]))
    robust = mdp.start_value(mdp.robust_optimum[0]).item()
    while learner.step < MOST:
        before = learner.state["q"]
        learner.iterate()
        if torch.equal(learner.state["q"], before):
            break
    worst, usual = (mdp.start_value(mdp.worst(policy)[0]).item() for policy in (learner.policy.probabilities, mdp.optimum[1]))
    return {"short": abs(robust - worst), "models": learner.step, "gain": worst - usual}
