"""DCG-MAP-Elites: what its equations say, and beside PGA-MAP-Elites in a maze whose gradient leads into a pocket."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

import operant
from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds import make_world

SEEDS, EVALUATIONS, LENGTH, UPDATES = 5, 10_240, 50, 4
UNBOUNDED = 1e30  # a length at which every descriptor is like every other one
COMMON = {"members": 128, "critic_updates": 150, "gradient_steps": 20, "critic_hidden": (64, 64)}
METHODS = {"dcg-me": {"actors": 32}, "pga-me": {"actors": 1, "conditioned": False}}
BED = (
    "gym:point-maze-dense (its gradient leads into a pocket), 256 cells, 10,240 evaluations, policies 32x32; an iteration is 128 members, 150 updates and 20"
    " steps of climbing with critics 64x64 (the paper: 256 members, 3,000, 150, 256x256), 5 seeds"
)


@check("dcg-me", "similarity", "exact", "S(d, d) is 1, S(d, d') is exp(-2) at twice the length, and 1 everywhere for an unbounded length, within 1e-6")
def similarity(folder: Path) -> Finding:
    generator = torch.Generator().manual_seed(0)
    reached, angle = (torch.rand(1_000, n, generator=generator, dtype=torch.float64) for n in (2, 1))
    wanted = reached + 0.2 * torch.cat([(2 * torch.pi * angle).cos(), (2 * torch.pi * angle).sin()], -1)
    errors = {
        "same": (ops.descriptor_similarity(reached, reached, lengthscale=0.1) - 1).abs().max().item(),
        "twice_the_length": (ops.descriptor_similarity(reached, wanted, lengthscale=0.1) / np.exp(-2) - 1).abs().max().item(),
        "unbounded": (ops.descriptor_similarity(reached, wanted, lengthscale=UNBOUNDED) - 1).abs().max().item(),
    }
    return Finding(errors["same"] == errors["unbounded"] == 0 and errors["twice_the_length"] < 1e-6, errors)


@check(
    "dcg-me",
    "pga-at-no-length",
    "exact",
    "with an unbounded length 4 updates towards d' = 0, which nets see nothing of, move all other weights of critics and actor as PGA-ME's do, within 1e-6",
)
def pga_at_no_length(folder: Path) -> Finding:
    largest = difference_from_pga(lengthscale=UNBOUNDED)
    short = difference_from_pga(lengthscale=0.1)
    return Finding(largest <= 1e-6 < short, {"largest_difference": largest, "tolerance": 1e-6, "largest_difference_at_0.1": short}, seeds=2)


@check("dcg-me", "qd-score", "small", f"{BED}: the QD score (fitness above 0) is at least 1.2 times that of PGA-MAP-Elites at as many evaluations, means")
def score(folder: Path) -> Finding:
    found = {name: trained(folder, name)["measures"]["QD score"]["per_seed"] for name in METHODS}
    coverage = {name: trained(folder, name)["measures"]["coverage"]["per_seed"] for name in METHODS}
    ratio = float(np.mean(found["dcg-me"]) / np.mean(found["pga-me"]))
    return Finding(ratio >= 1.2, {"qd_score": found, "coverage": coverage, "ratio": ratio, "at_least": 1.2}, SEEDS)


@check("dcg-me", "one-actor", "small", f"{BED}: told the elites' descriptors, the actor ends within 2 cell widths (0.25) of them, mean of all elites and seeds")
def one_actor(folder: Path) -> Finding:
    found = trained(folder, "dcg-me")["measures"]["distance to target"]["per_seed"]
    return Finding(float(np.mean(found)) <= 0.25, {"distance": found, "mean": float(np.mean(found)), "at_most": 0.25}, SEEDS)


@cache
def trained(folder: Path, name: str) -> dict:
    """The result of a run, which is trained once in a sitting."""
    steps = EVALUATIONS * LENGTH
    given = COMMON | METHODS[name] | {"episode_steps": LENGTH, "every": steps, "episodes": 1, "progress": False}
    return operant.train("dcg-me", "gym:point-maze-dense", seeds=SEEDS, steps=steps, out=folder / name, **given).result


def difference_from_pga(lengthscale: float) -> float:
    """The largest difference of a weight after updates of critics and actor from the same weights, on the same transitions."""
    generator = torch.Generator().manual_seed(0)
    numbers = {name: torch.rand(2, 200, 2, generator=generator) * 2 - 1 for name in ("observation", "action", "next_observation", "reached")}
    flags = {name: torch.rand(2, 200, generator=generator) < 0.1 for name in ("terminated", "truncated")}
    columns = numbers | flags | {"wanted": torch.zeros(2, 200, 2), "reward": torch.rand(2, 200, generator=generator)}
    found = []
    for others in ({"lengthscale": lengthscale}, {"conditioned": False}):
        h = configure("dcg-me", {"capacity": 64_000, "episode_steps": 50, "policy_delay": 1, "critic_hidden": (64, 64), **others})
        learner = get_method("dcg-me").build(h).learner(make_world("gym:point-maze-dense"), [0, 1], 10**6, torch.device("cpu")).outside.learner
        width = learner.stores["replay"].columns["wanted"].shape[0]
        learner.stores["replay"].append(columns | {name: columns[name][..., :width] for name in ("reached", "wanted")})
        found.append(learner)
    told, plain = found
    for nets, others in ((told.nets, plain.nets), (told.targets, plain.targets)):
        for name in ("actor", "q"):
            for mine, theirs in zip(nets[name].parameters(), others[name].parameters(), strict=True):
                for own, other in _columns(mine.detach(), theirs.detach()):
                    own.copy_(other)
    for _ in range(UPDATES):
        told.update(), plain.update()
    pairs = [pair for name in ("actor", "q") for pair in zip(told.nets[name].parameters(), plain.nets[name].parameters(), strict=True)]
    return max((own - other).abs().max().item() for mine, theirs in pairs for own, other in _columns(mine, theirs))


def _columns(told: torch.Tensor, plain: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The weights of a parameter that read the same; of the first layers the two of what is told stand behind the two of what is seen."""
    if told.shape == plain.shape:
        return [(told, plain)]
    return [(told[..., :2, :], plain[..., :2, :]), *([(told[..., 4:, :], plain[..., 2:, :])] if plain.shape[-2] > 2 else [])]
