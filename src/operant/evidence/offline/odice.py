"""O-DICE: its backward gradient never works against the forward one, and it learns more from the same data than either half measure."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.offline.beds import CLOSED, OPEN, four_rooms, halves, seen
from operant.loops.runs import train
from operant.worlds import make_world

VARIANTS = {"o-dice": {}, "semi-gradient": {"eta": 0.0}, "true gradient": {"backward": "true"}}
UPDATES = 4_000
COMMON = {"hidden": (32, 32), "batch_size": 64, "learning_rate": 1e-3}
SHARED = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 2e-3}
VALUES = {"gamma": 0.95, "tau": 0.1, "balance": 0.8}
HALVED = (
    "a point in a room that a wall halves (20,000 steps of walks, half of them for the goal; -3 a step, gamma 0.95), 1,000 updates of two layers of 64, "
    "balance 0.8 (on other seeds the best of 0.5, 0.6, 0.7 and 0.8 for each variant), 20 episodes of 5 seeds"
)
BED = "four rooms of which the data (20,000 steps of walks with 40 % of random moves) never enter one, 4,000 updates of two layers of 32, means over 5 seeds"


@check(
    "odice",
    "orthogonal",
    "exact",
    "in each of 100 updates of 2 seeds on four rooms the cosine of what is added to the forward gradient and that gradient is below 1e-6",
)
def orthogonal(folder: Path) -> Finding:
    cosines = torch.stack(cosines_of_training(folder)).abs()
    return Finding(cosines.max().item() < 1e-6, {"largest_cosine": cosines.max().item(), "tolerance": 1e-6, "updates": len(cosines)}, seeds=2)


@check(
    "odice",
    "first-order",
    "exact",
    "in float64 the change of the forward loss by a step along the backward part falls a hundredfold (to 5 %) with a tenth of the step; along all of the "
    "backward gradient tenfold",
)
def first_order(folder: Path) -> Finding:
    projected, whole = (ratio_of_changes(folder, backward) for backward in ("orthogonal", "true"))
    figures = {"ratio_projected": projected, "wanted": 100, "ratio_unprojected": whole, "wanted_of_unprojected": 10}
    return Finding(abs(projected / 100 - 1) < 0.05 and abs(whole / 10 - 1) < 0.05, figures)


@check(
    "odice",
    "over-cloning",
    "small",
    f"{HALVED}: the return lies above behaviour cloning's after as many updates, with 95 % intervals that do not overlap",
)
def over_cloning(folder: Path) -> Finding:
    odice, bc = learned(folder, "o-dice"), learned(folder, "bc")
    return Finding(odice["low"] > bc["high"], {"o-dice": odice, "bc": bc}, seeds=5)


@check("odice", "over-true-gradient", "small", f"{HALVED}: the mean return is above that of the true gradient (not projected)")
def over_true_gradient(folder: Path) -> Finding:
    return above(folder, "true gradient")


@check("odice", "over-semi-gradient", "small", f"{HALVED}: the mean return is above that of the semi-gradient (eta 0)")
def over_semi_gradient(folder: Path) -> Finding:
    return above(folder, "semi-gradient")


@check(
    "odice",
    "unseen-states",
    "small",
    f"{BED}: V is lower in cells of the room that the data never enter than in those of the others more often than the semi-gradient's V is (area under "
    "the ROC curve; means over 5 seeds)",
)
def unseen_states(folder: Path) -> Finding:
    areas = {name: areas_of(folder, name) for name in VARIANTS}
    better = float(np.mean(areas["o-dice"])) > float(np.mean(areas["semi-gradient"]))
    return Finding(better, {f"area {name}": found for name, found in areas.items()}, seeds=5)


@cache
def task(folder: Path) -> str:
    return four_rooms(folder / "four-rooms.npz")


@cache
def learned(folder: Path, name: str) -> dict[str, Any]:
    """The score of a variant, or of cloning, in the halved room."""
    settings, key = (SHARED, "bc") if name == "bc" else (SHARED | VALUES | VARIANTS[name], "odice")
    task = halves(folder / "halves.npz")
    return train(key, task, seeds=5, steps=1_000, every=1_000, episodes=20, out=folder / name.replace(" ", "-"), progress=False, **settings).result["score"]


def above(folder: Path, name: str) -> Finding:
    odice, other = learned(folder, "o-dice"), learned(folder, name)
    return Finding(float(np.mean(odice["per_seed"])) > float(np.mean(other["per_seed"])), {"o-dice": odice, name: other}, seeds=5)


def areas_of(folder: Path, name: str) -> list[float]:
    """Of each seed, how often V of a cell of the three rooms is above V of a cell of the fourth (V: the smaller of the two)."""
    spine = get_method("odice").build(configure("odice", COMMON | VARIANTS[name]))
    learner = spine.learner(make_world(task(folder)), range(5), UPDATES, torch.device("cpu"))
    while learner.step < UPDATES:
        learner.iterate()
    with torch.no_grad():
        known, unknown = (learner.nets["v"](torch.from_numpy(seen(cells)).expand(5, -1, -1)).amin(1) for cells in (OPEN, CLOSED))
    return (known.unsqueeze(-1) > unknown.unsqueeze(-2)).double().mean((-2, -1)).tolist()


def cosines_of_training(folder: Path, updates: int = 100) -> list[Tensor]:
    """Of each update, the cosine `[S]` between the forward gradient and what the backward one adds to the step."""
    spine = get_method("odice").build(configure("odice", {"hidden": (32, 32), "batch_size": 64}))
    actor, values = spine.phases
    found = []

    def watched(gradients: dict[str, Tensor]) -> Tensor:
        combined = values.combine(gradients)
        forward = gradients["forward"].double()
        added = combined.double() - gradients["values"].double() - forward
        found.append((forward * added).sum(-1) / (forward.norm(dim=-1) * added.norm(dim=-1)))
        return combined

    watching = replace(spine, phases=[actor, replace(values, combine=watched)])
    learner = watching.learner(make_world(task(folder)), [0, 1], updates, torch.device("cpu"))
    for _ in range(updates):
        learner.update()
    return found


def ratio_of_changes(folder: Path, backward: str) -> float:
    """How many times less the forward loss changes along what the backward gradient adds, with a tenth of the step; a V of 16 x 16, in float64."""
    spine = get_method("odice").build(configure("odice", {"hidden": (16, 16), "batch_size": 64, "backward": backward}))
    learner = spine.learner(make_world(task(folder)), [0], 1, torch.device("cpu"))
    learner.update()
    batch = learner.drawer.draw()
    v, target = (copy.deepcopy(net).double() for net in (learner.nets["v"], learner.targets["v"]))
    here, there, reward = (x.double() for x in (batch.observation, batch.next_observation, batch.reward))
    over, names = batch.terminated.unsqueeze(1), list(dict(v.named_parameters()))

    def residual(values: Tensor, following: Tensor) -> Tensor:
        return ops.chi_square_conjugate(ops.td_target(reward.unsqueeze(1), following, over, gamma=0.99) - values).mean()

    def forward_loss(parameters: dict[str, Tensor]) -> Tensor:
        return residual(torch.func.functional_call(v, parameters, (here,)), target(there))

    def flat(loss: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(parameters.values()))]).unsqueeze(0)

    at = {name: parameter.requires_grad_() for name, parameter in zip(names, v.parameters(), strict=True)}
    gradients = {"forward": flat(forward_loss(at), at), "backward": flat(residual(target(here), v(there)), at)}
    added = spine.phases[1].combine(gradients | {"values": torch.zeros_like(gradients["forward"])}) - gradients["forward"]
    sizes = [parameter.numel() for parameter in at.values()]

    def change(step: float) -> float:
        parts = (step * added[0] / added.norm()).split(sizes)
        moved = {name: parameter - part.view(parameter.shape) for (name, parameter), part in zip(at.items(), parts, strict=True)}
        return (forward_loss(moved) - forward_loss(at)).item()

    return change(1e-5) / change(1e-6)  # short enough that no relu's kink lies between
