"""FTPedel: episodes beside logged transitions, against either alone and against uniform play, and how many the coefficient says that it takes.

The bed: an instance of `tabular:layered` for each seed, layers of 1, 2 and 2 states, an episode of three steps from one to the next, 3 actions, rewards that
are drawn. The best action of the first state is better than the next by 0.2 at least (instances are drawn until it is). All 243 deterministic policies that
hang on the state are all that there are. epsilon is 0.1 throughout, the bonus's scale 0.05.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.core.seeds import derive_seed
from operant.evidence import Finding, check
from operant.loops.planning import Planner
from operant.studies.ecm import spearman
from operant.worlds.tabular.linear_program import horizon_flow, maximum
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.problems import layered
from operant.worlds.tabular.world import TabularWorld

LAYERS, ACTIONS, GAP = (1, 2, 2), 3, 0.2
STATES, HORIZON, PAIRS = sum(LAYERS), len(LAYERS), sum(LAYERS) * ACTIONS
SEEDS, EPSILON, SCALE, DELTA = 10, 0.1, 0.05, 0.1
EACH = 2_000  # logged transitions for each pair that data cover
COVERED = (0, 3, 6, 9, 12, 14, 15)  # pairs of the 15
MOST = 3_000  # iterations of ten episodes
PLENTY = 1e9
LEARNERS = {"with data": {}, "without data": {"offline": False}, "uniform with data": {"explore": "uniform"}}


@check(
    "ftpedel",
    "design",
    "exact",
    "the design that Frank-Wolfe finds in 300 steps, for 1,000 episodes without and beside logged transitions of half of the pairs, has a largest norm within "
    "2 % of the optimum over all mixtures of policies, as a linear program bounds it from below (5 seeds each)",
)
def design(folder: Path) -> Finding:
    mdp, episodes = instances(5), torch.full((5,), 1_000.0, dtype=torch.float64)
    mean, gap = policies(mdp)
    weight, ratios = gap.clamp(min=EPSILON) ** -2, {}
    for name, covered in (("without data", 0), ("with data", 7)):
        prior = covariance(500.0 * covering(5, covered))
        found = ops.frank_wolfe_design(one_hot(), mdp.transition, mdp.initial, mean, weight, prior, episodes)[0]
        ratios[name] = [found[seed].item() / program(mdp, mean, weight, prior, 1_000.0, seed) for seed in range(5)]
    worst = max(map(max, ratios.values()))
    return Finding(worst <= 1.02, {"largest ratio": worst, "at_most": 1.02, "ratios": ratios})


@check(
    "ftpedel",
    "fewer",
    "small",
    "with 2,000 logged transitions for each pair but the best action of the first state, the episodes until it stops are at most 0.5 times those without data, "
    "in the mean of 10 seeds",
    theorem="data and play need fewer episodes than play",
)
def fewer(folder: Path) -> Finding:
    found = {name: played(name)[0] for name in ("with data", "without data")}
    ratio = float(found["with data"].mean() / found["without data"].mean())
    return Finding(ratio <= 0.5, {"ratio": ratio, "at_most": 0.5} | {f"episodes {name}": each.tolist() for name, each in found.items()}, seeds=SEEDS)


@check(
    "ftpedel",
    "offline-fails",
    "small",
    "VI-LCB on these data has a suboptimality above epsilon = 0.1 on each of 10 seeds, as whoever plays nothing but what they cover must: the best first "
    "action is at least 0.2 better than the others",
    theorem="data alone are not enough where they miss what is best",
)
def offline_fails(folder: Path) -> Finding:
    short = pessimistic(world(all_but_one()))
    return Finding(bool((short > EPSILON).all()), {"suboptimality": short.round(3).tolist(), "above": EPSILON}, seeds=SEEDS)


@check(
    "ftpedel",
    "promise",
    "small",
    "all of these have stopped on each of 10 seeds (with data, without, and of uniform actions with data), and their policies' suboptimality is at most "
    "epsilon = 0.1",
    theorem="the policy that it stops with is epsilon-optimal",
)
def promise(folder: Path) -> Finding:
    worst = {name: float(played(name)[1].max()) for name in LEARNERS}
    going = {name: int(played(name)[2].sum()) for name in LEARNERS}
    return Finding(max(worst.values()) <= EPSILON and not any(going.values()), {"largest suboptimality": worst, "still going": going}, seeds=SEEDS)


@check("ftpedel", "uniform", "small", "with these data, episodes of uniform actions are at least twice as many until it stops as those of the design, in mean")
def uniform(folder: Path) -> Finding:
    ratio = float(played("uniform with data")[0].mean() / played("with data")[0].mean())
    return Finding(ratio >= 2, {"ratio": ratio, "at_least": 2, "episodes": played("uniform with data")[0].tolist()}, seeds=SEEDS)


@check(
    "ftpedel",
    "predicts",
    "small",
    "with 2,000 logged transitions for each of 0, 3, 6, 9, 12, 14 and 15 pairs, in an order that each seed draws, the Spearman correlation between the "
    "episodes that the coefficient says and those until it stops is at least 0.8, in the mean of 10 seeds",
    theorem="episodes are those of the offline-to-online coefficient",
)
def predicts(folder: Path) -> Finding:
    beds = [world(None if not covered else by_step(covering(SEEDS, covered)), EACH * max(covered, 1)) for covered in COVERED]
    counts = torch.stack([logged(bed) if covered else torch.zeros(SEEDS, STATES, ACTIONS).double() for bed, covered in zip(beds, COVERED, strict=True)])
    said = coefficient(counts)
    measured = np.stack([learned(bed, offline=covered > 0)[0] for bed, covered in zip(beds, COVERED, strict=True)])
    each = [spearman(said[:, seed], measured[:, seed]) for seed in range(SEEDS)]
    means = {"pairs": list(COVERED), "said": said.mean(1).round(1).tolist(), "measured": measured.mean(1).tolist()}
    return Finding(float(np.mean(each)) >= 0.8, {"spearman": float(np.mean(each)), "at_least": 0.8, "seeds": np.round(each, 3).tolist()} | means, seeds=SEEDS)


@check(
    "ftpedel",
    "unverifiable",
    "small",
    "with 200,000 logged transitions of an optimal policy alone VI-LCB's suboptimality is at most epsilon = 0.1 on each of 10 seeds without an episode, and "
    "FTPedel takes more than 50 on each to stop, in mean at least half of what it takes with 2,000",
    theorem="what is known to be good takes episodes where what is good does not",
)
def unverifiable(folder: Path) -> Finding:
    mdp = instances(SEEDS)
    data = mdp.occupancy(mdp.optimum[1])
    few, many = (learned(world(data, size))[0] for size in (2_000, 200_000))
    short = pessimistic(world(data, 200_000))
    figures = {"suboptimality of VI-LCB": float(short.max()), "episodes with 200,000": many.tolist(), "episodes with 2,000": few.tolist()}
    ratio = float(many.mean() / few.mean())
    holds = short.max() <= EPSILON and many.min() > 50 and ratio >= 0.5
    return Finding(bool(holds), figures | {"ratio": ratio, "at_least": 0.5}, seeds=SEEDS)


@check(
    "ftpedel",
    "limit",
    "small",
    "by the coefficient, 10^9 logged transitions of each pair leave nothing to be played on each of 10 seeds, and 10^9 episodes of an optimal policy more than "
    "50 on each, in mean at least a fifth of what it takes without data",
    theorem="data of what is best alone do not spare its verification",
)
def limit(folder: Path) -> Finding:
    mdp = instances(SEEDS)
    best = mdp.occupancy(mdp.optimum[1]).sum(1)
    none, optimal, all_of_them = coefficient(torch.stack([torch.zeros_like(best), PLENTY * best, PLENTY * torch.ones_like(best)]))
    figures = {"episodes without data": none, "of an optimal policy": optimal, "of all pairs": all_of_them}
    holds = (all_of_them == 0).all() and optimal.min() > 50 and optimal.mean() >= 0.2 * none.mean()
    return Finding(bool(holds), {name: each.round(1).tolist() for name, each in figures.items()} | {"ratio": float(optimal.mean() / none.mean())}, seeds=SEEDS)


@cache
def instances(seeds: int) -> FiniteMDP:
    """The bed of seeds from 0."""
    found = [instance(seed) for seed in range(seeds)]
    transition, reward, initial = (torch.cat([getattr(each, name) for each in found]) for name in ("transition", "reward", "initial"))
    return FiniteMDP(transition, reward, initial, 1.0, HORIZON, bernoulli=True)


def instance(seed: int) -> FiniteMDP:
    """The first of a seed that has the gap."""
    for trial in count():
        transition, reward, initial = layered(STATES, ACTIONS, [derive_seed(seed, "ftpedel", trial)])
        mdp = FiniteMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, HORIZON)
        best = mdp.backup(mdp.optimum[0])[0, 0, 0].sort(descending=True).values
        if best[0] - best[1] >= GAP:
            return mdp


def one_hot() -> Tensor:
    """Features of pairs, all steps alike."""
    return torch.eye(PAIRS, dtype=torch.float64).view(1, 1, STATES, ACTIONS, PAIRS)


def policies(mdp: FiniteMDP) -> tuple[Tensor, Tensor]:
    """Mean features `[S, H, N, d]` and gaps `[S, N]` of all deterministic policies that hang on the state."""
    choice = torch.cartesian_prod(*[torch.arange(ACTIONS)] * STATES)
    plays = torch.nn.functional.one_hot(choice, ACTIONS).double().unsqueeze(1).expand(-1, HORIZON, -1, -1)
    occupancy = ops.horizon_occupancy(mdp.initial.unsqueeze(1), mdp.transition.unsqueeze(1), plays)
    value = (occupancy * mdp.reward.unsqueeze(1)).sum((-3, -2, -1))
    return ops.policy_features(one_hot().unsqueeze(1), occupancy).transpose(1, 2), mdp.start_value(mdp.optimum[0]).unsqueeze(1) - value


def covariance(seen: Tensor) -> Tensor:
    """Of logged transitions `[..., K, A]`, with the ridge: `[..., 1, d, d]`."""
    return torch.eye(PAIRS, dtype=torch.float64) / PAIRS + ops.feature_covariance(one_hot(), seen.unsqueeze(-3))


def coefficient(seen: Tensor) -> np.ndarray:
    """The episodes that the coefficient says, with logged transitions `[L, S, K, A]`: `[L, S]`. beta is that of the last epoch with all policies left."""
    mdp = instances(SEEDS)
    mean, gap = policies(mdp)
    epochs = math.ceil(math.log2(HORIZON / EPSILON))
    beta = SCALE * HORIZON**2 * math.log(4 * HORIZON**2 * gap.shape[1] * epochs**2 / DELTA)
    known = one_hot(), mdp.transition, mdp.initial, mean, gap, covariance(seen)
    return ops.offline_to_online_episodes(*known, epsilon=EPSILON, beta=beta, most=1e5).numpy()


def covering(seeds: int, pairs: int) -> Tensor:
    """So many of the pairs, 1 there, in an order that each seed draws: `[S, K, A]`."""
    order = [np.random.default_rng(seed).permutation(PAIRS) for seed in range(seeds)]
    return torch.from_numpy(np.stack([np.isin(np.arange(PAIRS), each[:pairs]) for each in order])).double().view(seeds, STATES, ACTIONS)


def by_step(pairs: Tensor) -> Tensor:
    """Pairs `[S, K, A]` at the step that their state is of, `[S, H, K, A]`."""
    step = torch.arange(HORIZON).repeat_interleave(torch.tensor(LAYERS))
    return pairs.unsqueeze(1) * (step == torch.arange(HORIZON).unsqueeze(1)).unsqueeze(-1)


def all_but_one() -> Tensor:
    """Every pair alike but the best action of the first state."""
    best = instances(SEEDS).optimum[1][:, 0, 0]
    pairs = torch.ones(SEEDS, STATES, ACTIONS, dtype=torch.float64)
    pairs[:, 0] = 1 - best
    return by_step(pairs)


def world(data: Tensor | None, transitions: int = EACH * (PAIRS - 1)) -> TabularWorld:
    return TabularWorld(instances(SEEDS), data=data, transitions=transitions)


def logged(bed: TabularWorld) -> Tensor:
    """How often each pair was logged, `[S, K, A]`."""
    return bed.samples(Streams(list(range(SEEDS)))).model[0].sum(1)


def trained(key: str, bed: TabularWorld, most: int, **hyper) -> Planner:
    """Until all seeds have stopped, or after so many iterations."""
    found = get_method(key).build(configure(key, hyper)).learner(bed, list(range(SEEDS)), most, torch.device("cpu"))
    while found.step < most and ("accuracy" not in found.state or (found.state["accuracy"] > EPSILON).any()):
        found.iterate()
    return found


def learned(bed: TabularWorld, **hyper) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes until each seed stopped, the suboptimality of its policy, and who has not stopped."""
    found = trained("ftpedel", bed, MOST, epsilon=EPSILON, scale=SCALE, delta=DELTA, **hyper)
    state = {name: found.state[name].numpy() for name in ("explored", "accuracy")}
    return state["explored"], bed.evaluate(found.policy, SEEDS).measures["suboptimality"], state["accuracy"] > EPSILON


@cache
def played(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return learned(world(all_but_one()), **LEARNERS[name])


def pessimistic(bed: TabularWorld) -> np.ndarray:
    """Suboptimality of VI-LCB."""
    return bed.evaluate(trained("vi-lcb", bed, HORIZON).policy, SEEDS).measures["suboptimality"]


def program(mdp: FiniteMDP, mean: Tensor, weight: Tensor, prior: Tensor, episodes: float, seed: int) -> float:
    """A lower bound of the design's optimum, within 0.3 %: the least largest w_pi Σ_j phi_pi,j² z_j over occupancies x, with z_j above tangents of
    1 / (Λ_off,jj + T x_j), which stand a tenth apart."""
    from scipy import sparse

    own = prior[seed, 0].diagonal().numpy()
    squares = (weight[seed, :, None] * mean[seed].square()).flatten(0, 1).unique(dim=0).numpy()
    points = [np.geomspace(low, low + HORIZON * episodes, 2 + int(math.log1p(HORIZON * episodes / low) / math.log(1.1))) for low in own]
    pair, at = np.repeat(np.arange(PAIRS), [len(each) for each in points]), np.concatenate(points)
    rows, cuts, norms = np.arange(len(at)), len(at), len(squares)
    visits = sparse.csr_array((episodes / at, (rows, pair)), shape=(cuts, PAIRS))  # a z + (Λ_off + T x) / a ≥ 2 of a tangent at a
    blocks = [
        [horizon_flow(mdp.transition[seed].numpy(), HORIZON), None, None, None, None],
        [sparse.hstack([visits] * HORIZON), sparse.csr_array((at, (rows, pair)), shape=(cuts, PAIRS)), None, -sparse.identity(cuts), None],
        [None, -sparse.csr_array(squares), sparse.csr_array(np.ones((norms, 1))), None, -sparse.identity(norms)],
    ]
    equations = sparse.block_array(blocks, format="csr")
    gain = np.zeros(equations.shape[1])
    gain[largest := (HORIZON + 1) * PAIRS] = -1
    begins = np.concatenate([mdp.initial[seed].numpy(), np.zeros((HORIZON - 1) * STATES)])
    return float(maximum(gain, equations, np.concatenate([begins, 2 - own[pair] / at, np.zeros(norms)]))[largest])
