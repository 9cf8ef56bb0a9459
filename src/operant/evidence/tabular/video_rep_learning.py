"""Encoders of videos: with fresh noise contrastive learning and forward models find the state, with noise that has a life of its own what was done has to be
told."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from operant import studies
from operant.evidence import Finding, check
from operant.studies.video_rep_learning import bed
from operant.worlds.gym.blocks import BlockEnvironments

SEEDS = 5
BED = "gym:block-grid, 1,000 videos of 20 frames, means over 5 seeds of the accuracy of as many clusters as there are states"
VIDEO_ONLY = ("contrastive", "forward")
APART = 0.3  # accuracy from which on returns are to have the same order


@check(
    "video-rep-learning",
    "indistinguishable",
    "exact",
    "on gym:block-grid-mimic and gym:block-lock-mimic the law of the next two states given the two of now, who obeys following the habit, is the same within"
    " 1e-12 if the one that obeys and the one that does not change places; given what was done it is another one, at a total variation of at least 0.4, a mean"
    " over all states and actions",
    theorem="videos of a chain that mimics the state cannot tell which of the two obeys",
)
def indistinguishable(folder: Path) -> Finding:
    figures: dict[str, Any] = {"at_most": 1e-12, "at_least": 0.4}
    for name in ("grid", "lock"):
        rows = bed(name, "mimic")([0])
        same, told = changed_places(rows)
        figures[name] = {"videos_differ_by": same, "labelled_videos_differ_by": told}
    return Finding(all(figures[name]["videos_differ_by"] <= 1e-12 and figures[name]["labelled_videos_differ_by"] >= 0.4 for name in ("grid", "lock")), figures)


def changed_places(rows: BlockEnvironments) -> tuple[float, float]:
    """(the largest difference that changing places makes to the law of the next two states, by habit; the mean total variation that it makes given actions)."""
    habit = np.einsum("ka,kaj->kj", rows.habit, rows.transition)
    obeys = np.einsum("kaj,li->klaji", rows.transition, habit)  # from states k and l, k's being told action a, to j and i
    others = np.einsum("kj,lai->klaji", habit, rows.transition)  # l's being told it
    by_habit = np.einsum("ka,klaji->klji", rows.habit, obeys), np.einsum("la,klaji->klji", rows.habit, others)
    return float(np.abs(by_habit[0] - by_habit[1]).max()), float(np.abs(obeys - others).sum((-2, -1)).mean() / 2)


@check(
    "video-rep-learning",
    "iid",
    "small",
    f"with noise that is fresh in each frame, contrastive learning and the forward model have an accuracy above 0.95 ({BED})",
)
def iid(folder: Path) -> Finding:
    found = {name: accuracies("iid", name) for name in VIDEO_ONLY}
    return Finding(min(map(np.mean, found.values())) > 0.95, {"accuracy": found, "above": 0.95}, SEEDS)


@check("video-rep-learning", "exogenous", "small", f"with blobs that wander the accuracy of each of the two is more than 0.3 lower ({BED})")
def exogenous(folder: Path) -> Finding:
    return falls("exogenous")


@check("video-rep-learning", "mimic", "small", f"with walkers that nobody controls it is more than 0.3 lower too ({BED})")
def mimic(folder: Path) -> Finding:
    return falls("mimic")


@check(
    "video-rep-learning", "inverse", "small", f"inverse dynamics, which is told what was done, stays above 0.9 with each of the three kinds of noise ({BED})"
)
def inverse(folder: Path) -> Finding:
    found = {noise: accuracies(noise, "inverse") for noise in conducted()["noises"]}
    return Finding(min(map(np.mean, found.values())) > 0.9, {"accuracy": found, "above": 0.9}, SEEDS)


@check(
    "video-rep-learning",
    "order",
    "small",
    "returns of Q-learning have the same order: with each kind of noise, of two encoders whose accuracies are more than 0.3 apart the one of the higher"
    f" accuracy has the higher return ({BED}, and of the return)",
)
def order(folder: Path) -> Finding:
    wrong, pairs, means = 0, 0, {}
    for noise, of in conducted()["noises"].items():
        right, gained = ({name: float(np.mean(each[figure])) for name, each in of.items()} for figure in ("accuracy", "return"))
        means[noise] = {name: [right[name], gained[name]] for name in of}
        for one, other in combinations(of, 2):
            low, high = sorted((one, other), key=right.get)
            if right[high] - right[low] > APART:
                pairs, wrong = pairs + 1, wrong + (gained[low] >= gained[high])
    return Finding(wrong == 0 < pairs, {"accuracy_and_return": means, "pairs_that_are_apart": pairs, "in_another_order": wrong}, SEEDS)


def falls(noise: str) -> Finding:
    lower = {name: float(np.mean(accuracies("iid", name)) - np.mean(accuracies(noise, name))) for name in VIDEO_ONLY}
    found = {"accuracy": {name: accuracies(noise, name) for name in VIDEO_ONLY}, "lower_by": lower, "above": 0.3}
    return Finding(min(lower.values()) > 0.3, found, SEEDS)


def accuracies(noise: str, encoder: str) -> list[float]:
    return conducted()["noises"][noise][encoder]["accuracy"]


@cache
def conducted() -> dict[str, Any]:
    entry = studies.get_study("video-rep-learning")
    return entry.conduct(entry.options(seeds=SEEDS), Path(), lambda line: None).figures
