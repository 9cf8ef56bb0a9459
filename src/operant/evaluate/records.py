"""Reading run directories, finished or still running (docs/architecture.md, "A run directory"). Nothing read here is executed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operant.core import schema
from operant.core.commands import going_on
from operant.core.errors import BadInput
from operant.core.files import read_bytes, read_rows
from operant.core.run import RunDirectory

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values of one seed, each `[points]`, steps rising."""


@dataclass(frozen=True)
class StateMap:
    """What one seed's policy does in each state of a finite MDP, at the first step where there is a horizon.

    Attributes:
        seed: whose policy it is.
        cells: rows of states by number, None where there is none.
        marks: rows of marks that stand in the place of what is done, empty where there is none.
        action: of each state, as it is shown.
        value: `[K]`, what the policy is worth from there on.
        visits: `[K]`, the share of its time that it spends there; it sums to 1.
        first: what it does and is worth hangs on the step, and is shown of the first.
    """

    seed: int
    cells: list[list[int | None]]
    marks: list[list[str]]
    action: list[str]
    value: NDArray[np.float64]
    visits: NDArray[np.float64]
    first: bool = False


@dataclass(frozen=True)
class Run:
    """One run directory, read.

    Attributes:
        path: the directory.
        method, task: what was trained on what.
        seeds: how many seeds; `seed` is the first of them.
        steps: the budget of steps a seed.
        hyperparameters: as resolved.
        manifest: all of run.json.
        metrics, evaluations, completions: the rows of the .jsonl files, in their order; empty where there is no such file.
        result: result.json, None while the run is not finished.
        videos: GIF files, by name.
        undrawn: why there is none, where somebody tried.
        states: of a finite MDP, where somebody computed it.
        strategy: of a game what the first seed's policy does in each information set (`FiniteGame.described`), where somebody computed it.
        regret: of what was played on one against the episodes, one curve a seed, where its newest checkpoint was read.
    """

    path: Path
    method: str
    task: str
    seeds: int
    seed: int
    steps: int
    hyperparameters: dict[str, Any]
    manifest: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    result: dict[str, Any] | None
    completions: list[dict[str, Any]]
    videos: list[Path]
    undrawn: str = ""
    states: StateMap | None = None
    strategy: Sequence[dict[str, Any]] = ()
    regret: Sequence[Curve] = ()

    @property
    def score(self) -> str:
        """Name of the run's score: "return", "success", "pass@1"; BadInput where nothing was evaluated yet."""
        if self.result is not None:
            return self.result["score"]["name"]
        if self.evaluations:
            return self.evaluations[-1]["score"]
        raise BadInput(f"run {self.path} has no evaluation yet: {going_on(self.path, self.manifest)}")

    @property
    def settings(self) -> dict[str, Any]:
        """What makes runs of one method on one task alike: hyper-parameters, steps, the run whose policies it began from, and what acted for it."""
        origin, options = self.manifest.get("from"), self.manifest.get("options", {})
        drawn = {name: self.manifest[name] for name in ("staleness", "truncate_importance") if name in self.manifest}
        drawn |= {"engine": options["engine"]} if "engine" in options else {}
        return self.hyperparameters | {"steps": self.steps} | drawn | ({} if origin is None else {"from": origin["run"]})

    def final_scores(self) -> NDArray[np.float64]:
        """Score of each seed after training, `[seeds]`: of result.json, or of each seed's newest evaluation while the run is not finished.

        Raises:
            BadInput: where nothing was evaluated yet, or a score is not finite.
        """
        if self.result is not None:
            values = self.result["score"]["per_seed"]
        else:
            values = [row["value"] for row in self.newest_evaluations(base=False) or self.newest_evaluations(base=True)]
        scores = np.asarray(values, dtype=np.float64)
        if not np.isfinite(scores).all():
            raise BadInput(f"run {self.path} has a {self.score} that is not finite in seed {int(np.flatnonzero(~np.isfinite(scores))[0])}: leave the run out")
        return scores

    def newest_evaluations(self, *, base: bool) -> list[dict[str, Any]]:
        """The newest evaluation row of each seed, of the policy before training (`base`) or since."""
        score = self.score
        rows = {row["seed"]: row for row in self.evaluations if bool(row.get("base", False)) == base and row["score"] == score}
        return [rows[seed] for seed in sorted(rows)]

    def score_curves(self) -> list[Curve]:
        """The score over training, one curve a seed."""
        score = self.score
        return _curves((row for row in self.evaluations if row["score"] == score), "value")

    def measure_names(self) -> list[str]:
        """Names of what stands beside the score in evaluations, in their order of appearance."""
        return list(dict.fromkeys(name for row in self.evaluations for name in row.get("measures", {})))

    def measured(self) -> list[str]:
        """What its evaluations measure: the score, what stands beside it, and "pass@1" where answers are counted."""
        return list(dict.fromkeys([self.score, *self.measure_names(), *(["pass@1"] if any("pass_at_k" in row for row in self.evaluations) else [])]))

    def measure_curves(self, name: str) -> list[Curve]:
        """What stands beside the score over training, one curve a seed."""
        return _curves(({**row, name: row.get("measures", {}).get(name)} for row in self.evaluations), name)

    @property
    def fixed(self) -> bool:
        """Whether the policy does not train: it was evaluated, and no training metric was logged."""
        return any(not row.get("base", False) for row in self.evaluations) and not self.metric_names()

    def metric_names(self) -> list[str]:
        """Names of the numbers that metrics.jsonl holds, in their order of appearance."""
        names: dict[str, None] = {}
        for row in self.metrics:
            names.update(dict.fromkeys(name for name, value in row.items() if name not in ("step", "seed", "seconds") and _number(value)))
        return list(names)

    def metric_curves(self, name: str) -> list[Curve]:
        """One metric over training, one curve a seed; rows without a finite value are no points."""
        return _curves(self.metrics, name)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(rows: Iterable[dict[str, Any]], name: str) -> list[Curve]:
    """One curve a seed. Of two rows at one step the later counts: a resumed run may log a step again."""
    seeds: dict[int, dict[float, float]] = {}
    for row in rows:
        value = row.get(name)
        if _number(value) and np.isfinite(value):
            seeds.setdefault(row["seed"], {})[row["step"]] = value
    curves = []
    for seed in sorted(seeds):
        steps = sorted(seeds[seed])
        curves.append((np.asarray(steps, dtype=np.float64), np.asarray([seeds[seed][step] for step in steps], dtype=np.float64)))
    return curves


def load_run(path: str | Path) -> Run:
    """Reads a run directory.

    Args:
        path: the directory that `operant train` named.

    Raises:
        BadInput: where the path is no run directory, a link in it leaves it, or a file in it is damaged; one line that names the file and the line.
    """
    directory = RunDirectory.open(path)
    path, manifest, result = directory.shown, directory.config, directory.result
    videos = sorted((path / "videos").glob("*.gif"))
    for video in videos:
        if not read_bytes(video).startswith(b"GIF8"):
            raise BadInput(f"{video} is no GIF")
    return Run(
        path=path,
        method=manifest["method"],
        task=manifest["task"],
        seeds=manifest["seeds"],
        seed=manifest["seed"],
        steps=manifest["steps"],
        hyperparameters=manifest["hyperparameters"],
        manifest=manifest,
        metrics=read_rows(path / "metrics.jsonl", schema.METRICS),
        evaluations=read_rows(path / "evaluations.jsonl", schema.EVALUATION),
        result=result,
        completions=read_rows(path / "completions.jsonl", schema.COMPLETION),
        videos=videos,
    )
