"""Horizon-free learning of latent MDPs: how its regret grows, that idle steps do not raise it, and that little chance lowers it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner, Problem
from operant.worlds.tabular.pomdp import FinitePOMDP
from operant.worlds.tabular.world import TabularWorld

CONTEXTS, STATES, ACTIONS, STEPS = 2, 3, 2, 4
EPISODES, FEWER = 10_000, 2_000
BED = "latent MDPs of 2 contexts, 3 states, 2 actions and 4 steps, transitions uniform over all distributions, an instance a seed"


@check(
    "lmdp-horizon-free",
    "planning",
    "exact",
    f"with counts as they would be of 10^12 visits and no bonus the value of the plan is the optimum within 1e-9 (ten instances; {BED})",
)
def planning(folder: Path) -> Finding:
    seeds = range(10)
    transition, reward = instances(seeds)
    world = TabularWorld(stretched(transition, reward, 1).unrolled())
    spine = get_method("lmdp-horizon-free").build(configure("lmdp-horizon-free", {"scale": 0.0}))
    problem = Problem("episodes", world, Streams(list(seeds)))
    state = spine.start(problem)
    state |= {"following": 1e12 * transition, "visits": torch.full_like(reward, 1e12), "gained": 1e12 * reward / STEPS}
    state["first"][..., 0] = 5e11
    mdp = world.mdp(problem.streams)
    off = (mdp.start_value(mdp.optimum[0]) - mdp.start_value(mdp.value(spine.improve(problem, state)["policy"]))).abs().max().item()
    return Finding(off <= 1e-9, {"largest_difference": off, "at_most": 1e-9})


@check(
    "lmdp-horizon-free",
    "rate",
    "small",
    f"the exponent with which regret grows from 100 to 10,000 episodes is at most 0.6 on average over 20 seeds ({BED})",
    theorem="regret in latent MDPs grows as √K",
)
def rate(folder: Path) -> Finding:
    transition, reward = instances(range(20))
    found = played(stretched(transition, reward, 1), 20, EPISODES).measures()
    exponents, regret = found["regret exponent"], found["regret"]
    figures = {"exponent": float(exponents.mean()), "at_most": 0.6, "exponents": exponents.tolist(), "regret": regret.tolist()}
    return Finding(figures["exponent"] <= 0.6, figures, 20)


@check(
    "lmdp-horizon-free",
    "horizon",
    "small",
    "with three idle steps before each of the four, 16 in all, the regret of 2,000 episodes is at most 1.5 times what it is without (means of ten seeds; "
    f"{BED})",
    theorem="regret in latent MDPs hangs on the horizon by a logarithm",
)
def horizon(folder: Path) -> Finding:
    transition, reward = instances(range(10))
    short, long = (float(played(stretched(transition, reward, times), 10, FEWER).measures()["regret"].mean()) for times in (1, 4))
    return Finding(long <= 1.5 * short, {"regret_4_steps": short, "regret_16_steps": long, "ratio": long / short, "ratio_at_most": 1.5}, 10)


@check(
    "lmdp-horizon-free",
    "variance",
    "small",
    "where the likeliest next state has 0.95 and the rest of the probability is as it was, the regret of 2,000 episodes is at most 0.3 times what it is "
    f"otherwise (means of ten seeds; {BED})",
    theorem="regret in latent MDPs grows with their variance",
)
def variance(folder: Path) -> Finding:
    transition, reward = instances(range(10))
    sharp = 0.95 * torch.nn.functional.one_hot(transition.argmax(-1), STATES).to(transition.dtype) + 0.05 * transition
    by_chance, nearly = (float(played(stretched(each, reward, 1), 10, FEWER).measures()["regret"].mean()) for each in (transition, sharp))
    return Finding(nearly <= 0.3 * by_chance, {"regret": by_chance, "regret_of_the_sharp": nearly, "ratio": nearly / by_chance, "ratio_at_most": 0.3}, 10)


def instances(seeds: range) -> tuple[Tensor, Tensor]:
    """Transitions `[S, M, K, A, K]` and rewards in [0, 1) `[S, M, K, A]`."""
    drawn = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weight = -torch.log1p(-torch.rand(CONTEXTS, STATES, ACTIONS, STATES, generator=generator, dtype=torch.float64))
        drawn.append((weight / weight.sum(-1, keepdim=True), torch.rand(CONTEXTS, STATES, ACTIONS, generator=generator, dtype=torch.float64)))
    return torch.stack([each[0] for each in drawn]), torch.stack([each[1] for each in drawn])


def stretched(transition: Tensor, reward: Tensor, times: int) -> FinitePOMDP:
    """The latent MDP of four steps, before each of which come `times` - 1 idle ones; an episode pays 1 at most."""
    seeds, states = len(transition), times * STATES  # the state with so many idle steps to go, by these
    moves = transition.new_zeros(seeds, CONTEXTS, states, ACTIONS, states)
    moves[:, :, :STATES, :, states - STATES :] = transition
    for state in range(STATES, states):
        moves[:, :, state, :, state - STATES] = 1
    pays = reward.new_zeros(seeds, CONTEXTS, states, ACTIONS)
    pays[:, :, :STATES] = reward / STEPS
    initial = reward.new_zeros(seeds, CONTEXTS, states)
    initial[..., states - STATES] = 1
    return FinitePOMDP.latent(torch.full((seeds, CONTEXTS), 1 / CONTEXTS, dtype=torch.float64), moves, pays, initial, STEPS * times)


def played(pomdp: FinitePOMDP, seeds: int, episodes: int) -> Planner:
    spine = get_method("lmdp-horizon-free").build(configure("lmdp-horizon-free", {}))
    learner = spine.learner(TabularWorld(pomdp.unrolled()), list(range(seeds)), episodes, torch.device("cpu"))
    while learner.step < episodes:
        learner.iterate()
    return learner
