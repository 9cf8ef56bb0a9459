"""Reading run directories, finished or still running (docs/architecture.md, "A run directory"). Nothing read here is executed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operant.core.errors import BadInput, nearest
from operant.core.status import Status

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values of one seed, each `[points]`, steps rising."""


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

    @property
    def score(self) -> str:
        """Name of the run's score: "return", "success", "pass@1"; BadInput where nothing was evaluated yet."""
        if self.result is not None:
            return self.result["score"]["name"]
        if self.evaluations:
            return self.evaluations[-1]["score"]
        raise BadInput(f"run {self.path} has no evaluation yet: finish it with `operant resume {self.path}`")

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


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is half-written or damaged: {error.msg} at line {error.lineno}, column {error.colno}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} must hold one JSON object, found a {type(value).__name__}")
    return value


def _bad_metric(row: dict[str, Any]) -> str:
    return "" if _number(row.get("seconds", 0.0)) else f"seconds must be a number, found {row['seconds']!r}"


def _bad_evaluation(row: dict[str, Any]) -> str:
    if not isinstance(row["score"], str) or not _number(row["value"]):
        return f"score must be a name and value a number, found {row['score']!r} and {row['value']!r}"
    pass_at_k = row.get("pass_at_k", {})
    if not isinstance(pass_at_k, dict) or not all(k.isdecimal() and _number(value) for k, value in pass_at_k.items()):
        return f"pass_at_k must give a number for each k, found {pass_at_k!r}"
    samples, values = row.get("samples", 1), row.get("values", [])
    if not _integer(samples) or samples < 1 or not isinstance(values, list) or not all(map(_number, values)):
        return f"samples must count a problem's completions and values hold numbers, found {samples!r} and {str(values)[:80]}"
    return ""


def _bad_completion(row: dict[str, Any]) -> str:
    if not isinstance(row["tokens"], list) or not all(isinstance(token, dict) and isinstance(token.get("text"), str) for token in row["tokens"]):
        return "tokens must be a list of objects with a text"
    if not isinstance(row["prompt"], str):
        return f"prompt must be text, found {row['prompt']!r}"
    status = row.get("status", Status.OK)
    if not isinstance(status, str) and status not in set(Status):
        return f"status must be one of {', '.join(s.name.lower() for s in Status)}, found {status!r}"
    return ""


def _read_rows(path: Path, required: Sequence[str], check: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
    """The rows of a .jsonl file; a last line without its end, which a running run is still writing, is left out.

    `required` names what every row has; `check(row)` says what else is wrong with it, or an empty string.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            if number == len(lines):
                break
            raise BadInput(f"{path} line {number} is damaged: {error}") from error
        missing = [name for name in required if not isinstance(row, dict) or name not in row]
        if missing:
            raise BadInput(f"{path} line {number} is no row of this file: it has no {', '.join(missing)}")
        for name in ("step", "seed"):
            if not _integer(row[name]):
                raise BadInput(f"{path} line {number}: {name} must be an integer, found {row[name]!r}")
        problem = check(row)
        if problem:
            raise BadInput(f"{path} line {number}: {problem}")
        rows.append(row)
    return rows


def _field(manifest: dict[str, Any], path: Path, name: str, kind: type) -> Any:
    value = manifest.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInput(f"{path}: {name} must be {'text' if kind is str else 'an object' if kind is dict else 'an integer'}, found {value!r}")
    return value


def load_run(path: str | Path) -> Run:
    """Reads a run directory.

    Args:
        path: the directory that `operant train` named.

    Raises:
        BadInput: where the path is no run directory, or a file in it is damaged; one line that names the file and the line.
    """
    path = Path(path)
    if not path.is_dir():
        siblings = [entry.name for entry in path.parent.iterdir() if (entry / "run.json").is_file()] if path.parent.is_dir() else []
        raise BadInput(f"no run at {path}: " + (nearest(path.name, siblings) if siblings else "give the directory that `operant train` named"))
    if not (path / "run.json").is_file():
        inside = sorted(str(entry) for entry in path.iterdir() if (entry / "run.json").is_file())
        raise BadInput(f"{path} is no run: it has no run.json" + (f"; it holds the runs {', '.join(inside[:5])}" if inside else ""))
    manifest = _read_object(path / "run.json")
    where = path / "run.json"
    seeds, steps = _field(manifest, where, "seeds", int), _field(manifest, where, "steps", int)
    if seeds < 1 or steps < 0:
        raise BadInput(f"{where}: seeds must be at least 1 and steps at least 0, found {seeds} and {steps}")
    result = _read_object(path / "result.json") if (path / "result.json").exists() else None
    if result is not None:
        score = result.get("score")
        per_seed = score.get("per_seed") if isinstance(score, dict) else None
        if not isinstance(per_seed, list) or not per_seed or not all(map(_number, per_seed)) or not isinstance(score.get("name"), str):
            raise BadInput(f"{path / 'result.json'}: score must hold name and per_seed, found {score!r}")
        collapse = result.get("collapse", {})
        failures = collapse.get("verifier", {}) if isinstance(collapse, dict) else None
        if not isinstance(failures, dict) or not all(isinstance(each, dict) and isinstance(each.get("message", ""), str) for each in failures.values()):
            raise BadInput(f"{path / 'result.json'}: collapse must say under verifier what failed, with a message as text, found {str(collapse)[:80]}")
    videos = sorted((path / "videos").glob("*.gif"))
    for video in videos:
        with video.open("rb") as file:
            if file.read(4) != b"GIF8":
                raise BadInput(f"{video} is no GIF")
    return Run(
        path=path,
        method=_field(manifest, where, "method", str),
        task=_field(manifest, where, "task", str),
        seeds=seeds,
        seed=_field(manifest, where, "seed", int),
        steps=steps,
        hyperparameters=_field(manifest, where, "hyperparameters", dict),
        manifest=manifest,
        metrics=_read_rows(path / "metrics.jsonl", ("step", "seed"), _bad_metric),
        evaluations=_read_rows(path / "evaluations.jsonl", ("step", "seed", "score", "value"), _bad_evaluation),
        result=result,
        completions=_read_rows(path / "completions.jsonl", ("step", "seed", "group", "prompt", "tokens"), _bad_completion),
        videos=videos,
    )
