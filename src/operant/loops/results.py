"""What evaluations say, as a run's result says it: the score object and pass@k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from operant.core.records import Evaluation
from operant.evaluate.statistics import iqm, pass_at_k, score_bounds, stratified_bootstrap

PASS_AT = (1, 2, 4, 8, 16, 32, 64)


def score_object(name: str, values: np.ndarray) -> dict[str, Any]:
    """The score object of a result: IQM over seeds, its interval and what that is ("level")."""
    interval = stratified_bootstrap(values, iqm, bounds=score_bounds(name))
    return {"name": name, "iqm": interval.point, "low": interval.low, "high": interval.high, "level": interval.level, "per_seed": values[:, 0].tolist()}


def measures(found: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """A score object of each figure that stands beside the score, `[S]` by name."""
    return {name: score_object(name, np.reshape(values, (-1, 1))) for name, values in found.items()}


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as in a run's result: the score object, what is measured beside it, and pass@k for text."""
    found = {"score": score_object(evaluation.score, evaluation.values.mean(1, keepdims=True))}
    if evaluation.measures:
        found["measures"] = measures(evaluation.measures)
    rows = [pass_at(evaluation, place) for place in range(len(evaluation.values))]
    if rows[0] is not None:
        found["pass_at_k"] = {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}
    return found


def pass_at(evaluation: Evaluation, place: int) -> dict[str, float] | None:
    """pass@k of one seed: the unbiased estimate from counts, or the exact values of a world that knows them; None where neither applies."""
    details = evaluation.details
    if "correct" in details:
        samples, correct = int(details["samples"]), np.asarray(details["correct"][place])
        return {str(k): float(np.mean(pass_at_k(np.full_like(correct, samples), correct, k))) for k in PASS_AT if k <= samples}
    exact = {name.removeprefix("pass@"): float(np.mean(values[place])) for name, values in details.items() if name.startswith("pass@")}
    return {"1": float(np.mean(evaluation.values[place]))} | exact if exact else None


def stack_evaluations(found: list[Evaluation]) -> Evaluation:
    details = {name: np.concatenate([np.atleast_2d(item.details[name]) for item in found]) for name in found[0].details if name != "samples"}
    if "samples" in found[0].details:
        details["samples"] = found[0].details["samples"]
    names = dict.fromkeys(name for item in found for name in item.measures)  # a seed of whose episodes none ended was told of no success
    measures = {name: np.concatenate([item.measures.get(name, np.zeros(len(item.values))) for item in found]) for name in names}
    return Evaluation(found[0].score, np.concatenate([item.values for item in found]), details, measures)


def episodes_argument(episodes: int | None) -> dict[str, int]:
    return {} if episodes is None else {"episodes": episodes}
