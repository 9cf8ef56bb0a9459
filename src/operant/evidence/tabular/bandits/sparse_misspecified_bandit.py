"""Sparse misspecified bandits: enumeration's error and queries, what least squares pay for dimensions, and how queries without structure grow."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import played, world
from operant.worlds.tabular.mdp import FiniteMDP

INSTANCES, FEW = 200, 50
BEDS = ((6, 1, 0.2), (14, 2, 0.2), (10, 2, 0.05), (8, 3, 0.2))  # d, s, ε
DIMENSIONS = (4, 6, 9, 14, 20, 30, 42)
PACKED = range(40, 161, 20)  # dimensions


@check(
    "sparse-misspecified-bandit",
    "enumeration",
    "small",
    "500 actions with uniformly random directions as features, |ν| = ε with random signs, or for one instance in two with those that are worst for what "
    "looks best; (d, s, ε) = (6, 1, 0.2), (14, 2, 0.2), (10, 2, 0.05) and (8, 3, 0.2): suboptimality at most 5 ε in 200 of 200 instances each, "
    "with at most C(d, s) (1 + 2/ε)^s queries",
    theorem="suboptimality O(ε), queries (d/ε)^s",
)
def enumeration(folder: Path) -> Finding:
    figures, holds = {}, True
    for dimension, sparsity, epsilon in BEDS:
        short, queries = enumerated(random_instances(dimension, sparsity, epsilon), sparsity, epsilon)
        most, within = math.comb(dimension, sparsity) * (1 + 2 / epsilon) ** sparsity, int((short <= 5 * epsilon).sum())
        holds &= within == INSTANCES and queries.max() <= most
        figures[f"d {dimension} s {sparsity} eps {epsilon}"] = {
            "within 5 eps": within,
            "largest error / eps": float(short.max() / epsilon),
            "mean error / eps": float(short.mean() / epsilon),
            "queries": [int(queries.min()), int(queries.max())],
            "at most": round(most),
        }
    return Finding(bool(holds), figures, INSTANCES)


@check(
    "sparse-misspecified-bandit",
    "least-squares",
    "exact",
    "where the axes' rewards are all ε too high, G-optimal least squares (optimal-design) choose an action whose error grows as √d: log-log slope in d "
    "between 0.4 and 0.6 over d = 4 to 42, and error above 5 ε at the largest",
    theorem="least squares loses ε √d",
)
def least_squares(folder: Path) -> Finding:
    epsilon, errors = 0.1, []
    for dimension in DIMENSIONS:
        learner = played("optimal-design", world(skewed(dimension, epsilon)), dimension + 2, 1)
        errors.append(float(learner.world.evaluate(learner.policy, 1).measures["suboptimality"][0]))
    slope = ops.log_log_slope(torch.tensor(DIMENSIONS, dtype=torch.float64), torch.tensor(errors, dtype=torch.float64)).item()
    figures = {"slope": slope, "between": [0.4, 0.6], "error / eps": dict(zip(map(str, DIMENSIONS), [error / epsilon for error in errors], strict=True))}
    return Finding(0.4 <= slope <= 0.6 and errors[-1] > 5 * epsilon, figures)


@check(
    "sparse-misspecified-bandit",
    "needle",
    "exact",
    "the hard instance is there: of s = 40, 60, …, 160 dimensions exp(s / 20) random sign vectors any two of which have a product of at most 1/2 in absolute "
    "value are found within 20 draws, so that rewards of 1 for one of them and 0 for the others are linear up to 1/2; the queries until that one is met in "
    "random order, half of their number and a half by arithmetic, are fitted better by an exponential of s than by a power of it",
    theorem="queries exponential in s are needed",
)
def needle(folder: Path) -> Finding:
    sizes = np.array(PACKED, dtype=float)
    counts = [int(math.exp(size / 20)) for size in PACKED]
    draws = [packing(size, count) for size, count in zip(PACKED, counts, strict=True)]
    logs = np.log([(count + 1) / 2 for count in counts])
    exponential, power = fit(sizes, logs), fit(np.log(sizes), logs)
    found = all(drawn is not None for drawn in draws)
    figures = {"actions": counts, "draws": draws, "r2 exponential": exponential, "r2 power": power}
    return Finding(bool(found and exponential > power), figures)


@check(
    "sparse-misspecified-bandit",
    "beside-least-squares",
    "small",
    "tabular:misspecified-bandit (500 actions, d = 10, s = 2, ε = 0.1), 50 instances: the mean suboptimality is below that of G-optimal least squares and "
    "that of an action that looks best to ridge regression on as many random queries",
)
def beside_least_squares(folder: Path) -> Finding:
    bed = world("misspecified-bandit")
    ours = played("sparse-misspecified-bandit", bed, 1, FEW)
    queries = int((ours.state["asked"] > 0).sum(-1).max())
    ours = played("sparse-misspecified-bandit", bed, queries, FEW)
    design = played("optimal-design", bed, 60, FEW)
    short, theirs = (each.world.evaluate(each.policy, FEW).measures["suboptimality"] for each in (ours, design))
    random = ridge(bed, queries)
    figures = {"mean": float(short.mean()), "optimal design": float(theirs.mean()), "ridge": float(random.mean()), "queries": queries}
    figures["queries of the design"] = int((design.state["asked"] > 0).sum(-1).max())
    return Finding(bool(short.mean() < min(theirs.mean(), random.mean())), figures, FEW)


def linear(features: Tensor, reward: Tensor) -> FiniteMDP:
    """A bandit without contexts, of features `[S, A, d]` and rewards `[S, A]` that are not drawn."""
    one = torch.ones(1, 1, 1, features.shape[1], 1, dtype=torch.float64)
    return FiniteMDP(one, reward[:, None, None], one[:, 0, :, 0, 0], 1.0, 1, features=features[:, None, None])


def random_instances(dimension: int, sparsity: int, epsilon: float, actions: int = 500) -> FiniteMDP:
    """Of every second one the actions that are best by <phi, theta> lose ε, and those that are worse by less than 2 ε win it."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(INSTANCES, actions, dimension, generator=generator, dtype=torch.float64)
    features = features / features.norm(dim=-1, keepdim=True)
    values = torch.randn(INSTANCES, sparsity, generator=generator, dtype=torch.float64)
    support = torch.rand(INSTANCES, dimension, generator=generator).argsort(-1)[:, :sparsity]
    theta = torch.zeros(INSTANCES, dimension, dtype=torch.float64).scatter(1, support, values / values.norm(dim=-1, keepdim=True))
    mean = (features @ theta.unsqueeze(-1)).squeeze(-1)
    sign = torch.where(torch.rand(INSTANCES, actions, generator=generator) < 0.5, -1.0, 1.0)
    behind = mean.amax(-1, keepdim=True) - mean
    sign[::2] = torch.where(behind < epsilon, -1.0, 1.0)[::2]
    return linear(features, mean + epsilon * sign)


def enumerated(mdp: FiniteMDP, sparsity: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Suboptimality and queries of each instance."""
    bed = world(mdp)
    queries = (played("sparse-misspecified-bandit", bed, 1, INSTANCES, sparsity=sparsity, epsilon=epsilon).state["asked"] > 0).sum(-1).numpy()
    learner = played("sparse-misspecified-bandit", bed, int(queries.max()), INSTANCES, sparsity=sparsity, epsilon=epsilon)
    return bed.evaluate(learner.policy, INSTANCES).measures["suboptimality"], queries


def skewed(dimension: int, epsilon: float) -> FiniteMDP:
    """The axes, and 0.9 times the direction between them both ways. theta is -ε/2 everywhere, and the axes' rewards are ε higher."""
    between = torch.full((1, dimension), 0.9 / dimension**0.5, dtype=torch.float64)
    features = torch.cat([torch.eye(dimension, dtype=torch.float64), between, -between])
    reward = (features * (-epsilon / 2)).sum(-1)
    reward[:dimension] += epsilon
    return linear(features[None], reward[None])


def packing(size: int, count: int) -> int | None:
    """How many draws of `count` sign vectors of `size` dimensions it takes until all products are at most 1/2; None where 20 do not do."""
    for draw in range(20):
        signs = np.random.default_rng([size, draw]).choice((-1.0, 1.0), size=(count, size)) / size**0.5
        if np.abs(signs @ signs.T - np.eye(count)).max() <= 0.5:
            return draw + 1
    return None


def fit(x: np.ndarray, y: np.ndarray) -> float:
    """R² of a line."""
    slope, start = np.polyfit(x, y, 1)
    return float(1 - ((y - slope * x - start) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def ridge(bed, queries: int) -> np.ndarray:
    """The suboptimality of what ridge regression on so many random actions calls the best."""
    mdp, streams = bed.mdp(Streams(range(FEW))), Streams(range(FEW))
    features, reward = mdp.features[:, 0, 0], mdp.reward[:, 0, 0]
    asked = torch.zeros_like(reward).scatter(1, streams.permutations("random", reward.shape[1])[:, :queries], 1.0)
    value = (features @ ops.ridge_regression(features, asked, asked * reward, ridge=1e-6)[0].unsqueeze(-1)).squeeze(-1)
    return (reward.amax(-1) - reward.gather(1, value.argmax(-1, keepdim=True)).squeeze(1)).numpy()
