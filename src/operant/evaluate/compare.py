"""Runs side by side: one row a task and method, with intervals over the seeds."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operant.core.errors import BadInput
from operant.evaluate.glossary import Glossary, explain
from operant.evaluate.records import Run
from operant.evaluate.statistics import Interval, iqm, probability_of_improvement, score_bounds, stratified_bootstrap

Column = tuple[str, bool, Callable[[Any], str]]
"""A column of a table: its title, whether it holds numbers, and the cell of an entry."""


@dataclass(frozen=True)
class Row:
    """One method on one task.

    Attributes:
        task: where it was trained.
        method: the method's key; where runs of one method differ in hyper-parameters or budget, those follow in brackets.
        runs: the runs behind the row; their seeds are pooled.
        score: name of the score.
        per_seed: final score of each seed, `[seeds]`.
        interval: interquartile mean over the seeds and its interval (`stratified_bootstrap`).
        improvement: how likely a seed of this method beats one of the task's first method; None for the first method.
        steps: steps a seed.
        seconds: wall time of all the runs together; None where none is known.
        steps_per_second: steps of all seeds a second of training alone, as in a run's result; None for what does not train.
        base: the same score of the policy before training, None where it was not evaluated; tables show it for text.
        spent: samples and tokens that a seed drew in training, by name; empty where that was not counted.
        pass_at_k: text: for each k (trained, base), IQM over the seeds of the mean over the problems.
        measures: what stands beside the score in the newest evaluations, by name: the regret of what played, for example.
    """

    task: str
    method: str
    runs: tuple[Run, ...]
    score: str
    per_seed: np.ndarray
    interval: Interval
    improvement: Interval | None
    steps: int
    seconds: float | None
    steps_per_second: float | None
    base: Interval | None
    spent: dict[str, float]
    pass_at_k: dict[int, tuple[Interval, Interval | None]]
    measures: dict[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """The table of a comparison.

    Attributes:
        rows: tasks in the order of the runs, and within a task the methods.
        warnings: what makes rows of one task not comparable, one sentence each.
    """

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order of the rows."""
        return list(dict.fromkeys(row.task for row in self.rows))

    def of_task(self, task: str) -> list[Row]:
        """The rows of one task."""
        return [row for row in self.rows if row.task == task]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values.

        An interval is {"point" (for scores "iqm"), "low", "high", "level"}; its ends are null where there is one seed, and "level" says what they are.
        """
        return {"rows": [_row_dict(row) for row in self.rows], "warnings": list(self.warnings)}

    def to_text(self, width: int = 120) -> str:
        """The comparison as plain text: a table a task with its pass@k, of at most `width` columns, then what their names mean, and the warnings."""
        out = io.StringIO()
        console = Console(file=out, width=width, color_system=None, force_terminal=False, highlight=False)
        for task in self.tasks:
            rows = self.of_task(task)
            console.print(Text(f"{task}: {rows[0].score}"), soft_wrap=True)
            columns = [column for column in _columns(rows) if column[0] not in ("task", "score")]
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
            for name, right, _ in columns:
                table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
            for row in rows:
                table.add_row(*(Text(cell(row)) for _, _, cell in columns))
            console.print(table)
            if any(row.pass_at_k for row in rows):
                console.print()
                console.print(_pass_at_k_table(rows))
            if _differing(rows):
                console.print()
                console.print(_measures_table(rows))
            console.print()
        for name in self._names():
            console.print(Text(f"{name}: {explain(name)}"))
        if self.warnings:
            console.print()
        for warning in self.warnings:
            console.print(Text(f"warning: {warning}"), soft_wrap=True)
        return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines())

    def _names(self) -> list[str]:
        """The names in the tables that do not explain themselves: statistics, levels of intervals, and what stands beside the scores."""
        intervals = [row.interval for row in self.rows] + [row.improvement for row in self.rows if row.improvement]
        names = ["IQM", *dict.fromkeys(interval.level for interval in intervals)]
        names += ["P(beats first)"] * any(row.improvement for row in self.rows)
        names += ["before training", "pass@k"] * any(row.pass_at_k for row in self.rows)
        names += dict.fromkeys(name for task in self.tasks for name in _differing(self.of_task(task)))
        return names + ["samples", "tokens"] * any(row.spent for row in self.rows) + ["seconds", "steps/s"]

    def to_html(self, glossary: Glossary | None = None) -> str:
        """The comparison as an HTML fragment: warnings, the table of scores, and the table of pass@k where there is one. The report gives it its style.

        Args:
            glossary: takes the names that the tables show, which lead to its entries.
        """
        glossary = glossary or Glossary()
        columns = _columns(self.rows)
        html = "".join(f'<p class="warning">{escape(warning)}</p>' for warning in self.warnings)
        html += _html_table("scores", columns, self.rows, [row.task for row in self.rows], glossary) + self._pass_at_k_html(glossary)
        return html + self._measures_html(glossary)

    def _measures_html(self, glossary: Glossary) -> str:
        entries = [(row, name) for task in self.tasks for name in _differing(self.of_task(task)) for row in self.of_task(task) if name in row.measures]
        if not entries:
            return ""
        columns: list[Column] = [
            ("task", False, lambda entry: entry[0].task),
            ("measure", False, lambda entry: entry[1]),
            ("method", False, lambda entry: entry[0].method),
            (f"IQM [{levels(row.measures[name] for row, name in entries)}]", True, lambda entry: format_interval(entry[0].measures[entry[1]])),
        ]
        return _html_table("measures", columns, entries, [f"{row.task} {name}" for row, name in entries], glossary)

    def _pass_at_k_html(self, glossary: Glossary) -> str:
        entries = [(row, k) for row in self.rows for k in sorted(row.pass_at_k)]
        if not entries:
            return ""
        columns: list[Column] = [
            ("task", False, lambda entry: entry[0].task),
            ("method", False, lambda entry: entry[0].method),
            ("k", True, lambda entry: str(entry[1])),
            ("pass@k", True, lambda entry: format_interval(entry[0].pass_at_k[entry[1]][0])),
            ("before training", True, lambda entry: format_interval(entry[0].pass_at_k[entry[1]][1])),
        ]
        return _html_table("pass-at-k", columns, entries, [row.task for row, _ in entries], glossary)


def _pass_at_k_table(rows: Sequence[Row]) -> Table:
    """One line a method and k a column, and above them the policy before training, where it is the same for all."""
    ks = sorted({k for row in rows for k in row.pass_at_k})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(Text("method"), overflow="fold")
    for k in ks:
        table.add_column(Text(f"pass@{k}"), justify="right", overflow="fold")
    bases = {row.method: [row.pass_at_k[k][1] if k in row.pass_at_k else None for k in ks] for row in rows}
    lines = {method: [format_interval(interval, 2) for interval in base] for method, base in bases.items() if any(base)}
    if len(set(map(tuple, lines.values()))) == 1:
        lines = {"before training": next(iter(lines.values()))}
    else:
        lines = {f"{method}, before training": cells for method, cells in lines.items()}
    lines |= {row.method: [format_interval(row.pass_at_k[k][0] if k in row.pass_at_k else None, 2) for k in ks] for row in rows}
    for method, cells in lines.items():
        table.add_row(Text(method), *map(Text, cells))
    return table


def _differing(rows: Sequence[Row]) -> list[str]:
    """The measures of a task's rows that are not the same in all of them; of one row all."""
    names = dict.fromkeys(name for row in rows for name in row.measures)
    return [name for name in names if len(rows) == 1 or len({row.measures.get(name) for row in rows}) > 1]


def _measures_table(rows: Sequence[Row]) -> Table:
    """One line a method and a measure a column."""
    names = _differing(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(Text("method"), overflow="fold")
    for name in names:
        table.add_column(Text(f"{name} [{levels(row.measures.get(name) for row in rows)}]"), justify="right", overflow="fold")
    for row in rows:
        table.add_row(Text(row.method), *(Text(format_interval(row.measures.get(name))) for name in names))
    return table


def _title_html(title: str, glossary: Glossary) -> str:
    """A column's title, its names and levels linked: `IQM [95 %; range of 2 seeds]`."""
    name, _, levels = title.removesuffix("]").partition(" [")
    if name in ("task", "method", "score", "k", "measure"):
        return escape(title)
    return glossary.link(name) + (f" [{'; '.join(map(glossary.link, levels.split('; ')))}]" if levels else "")


def _html_table(name: str, columns: Sequence[Column], entries: Sequence[Any], tasks: Sequence[str], glossary: Glossary) -> str:
    """A table whose cells carry their column's title, so that a narrow page can show each row as a card; a rule stands where the task changes."""
    head = "".join(f'<th scope="col"{" class=number" if right else ""}>{_title_html(title, glossary)}</th>' for title, right, _ in columns)
    body = ""
    for position, entry in enumerate(entries):
        first = position > 0 and tasks[position - 1] != tasks[position]
        cells = "".join(
            f'<td data-label="{escape(title)}"{" class=number" if right else ""}><span>{escape(cell(entry)).replace(":", ":<wbr>")}</span></td>'
            for title, right, cell in columns
        )
        body += f"<tr{' class=first' if first else ''}>{cells}</tr>"
    return f'<div class=wide><table class="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def format_interval(interval: Interval | None, digits: int | None = None) -> str:
    """`487.3 [475.1, 500.0]`, digits by the size of the point unless given; `0.620 (1 seed)` where there is no interval.

    The range of two seeds is `0.62 [0.50, 0.74] (range)`; None is a dash. What would be 0.000 with both ends, and is no rounding error, is `8.7e-05 [7.9e-05,
    9.6e-05]`.
    """
    if interval is None:
        return "–"
    size, tiny = abs(interval.point), False
    if digits is None:
        digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
        largest = max(abs(value) for value in (interval.point, interval.low, interval.high) if value is not None)
        tiny = 1e-12 < largest < 0.5e-3
    kind = ".1e" if tiny else f".{digits}f"
    if interval.low is None or interval.high is None:
        return f"{interval.point:{kind}} (1 seed)"
    ends = f"{interval.point:{kind}} [{interval.low:{kind}}, {interval.high:{kind}}]"
    return ends if interval.confidence is not None else f"{ends} (range)"


def levels(intervals: Iterable[Interval | None]) -> str:
    """What the ends of intervals are, for the title above them: "95 %", or "95 %; range of 2 seeds" where they differ; "1 seed" where none has ends."""
    found = [interval for interval in intervals if interval is not None]
    return "; ".join(dict.fromkeys(interval.level for interval in found if interval.low is not None)) or "1 seed"


def _format_count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _columns(rows: Sequence[Row]) -> list[Column]:
    """The columns of the table of scores; those that say nothing of these rows are left out."""
    columns: list[Column] = [
        ("task", False, lambda row: row.task),
        ("method", False, lambda row: row.method),
        ("seeds", True, lambda row: str(len(row.per_seed))),
        ("score", False, lambda row: row.score),
        (f"IQM [{levels(row.interval for row in rows)}]", True, lambda row: format_interval(row.interval)),
    ]
    if any(row.pass_at_k for row in rows):
        columns.append(("before training", True, lambda row: format_interval(row.base)))
    if any(row.improvement for row in rows):
        columns.append((f"P(beats first) [{levels(row.improvement for row in rows)}]", True, lambda row: format_interval(row.improvement, digits=2)))
    if any(row.spent for row in rows):
        for name in ("samples", "tokens"):
            columns.append((name, True, lambda row, name=name: _format_count(row.spent.get(name))))
    return columns + [
        ("steps", True, lambda row: _format_count(row.steps)),
        ("seconds", True, lambda row: _format_count(row.seconds)),
        ("steps/s", True, lambda row: _format_count(row.steps_per_second)),
    ]


def _row_dict(row: Row) -> dict[str, Any]:
    def score(interval: Interval) -> dict[str, Any]:
        return {"iqm": interval.point, "low": interval.low, "high": interval.high, "level": interval.level}

    def plain(interval: Interval | None) -> dict[str, Any] | None:
        return None if interval is None else {"point": interval.point, "low": interval.low, "high": interval.high, "level": interval.level}

    return {
        "task": row.task,
        "method": row.method,
        "runs": [str(run.path) for run in row.runs],
        "seeds": len(row.per_seed),
        "score": {"name": row.score, **score(row.interval), "per_seed": row.per_seed.tolist()},
        "improvement": plain(row.improvement),
        "steps": row.steps,
        "spent": row.spent,
        "seconds": row.seconds,
        "steps_per_second": row.steps_per_second,
        "base": None if row.base is None else {"name": row.score, **score(row.base)},
        "pass_at_k": {str(k): {"trained": plain(trained), "base": plain(base)} for k, (trained, base) in sorted(row.pass_at_k.items())},
        "measures": {name: score(interval) for name, interval in row.measures.items()},
    }


def _labels(runs: Sequence[Run]) -> dict[int, str]:
    """The label of each run by its position: the method, and in brackets what differs between runs of that method on that task."""
    labels = {}
    for position, run in enumerate(runs):
        alike = [other for other in runs if (other.method, other.task) == (run.method, run.task)]
        settings, own = [other.settings for other in alike], run.settings
        names = sorted({name for each in settings for name in each})
        differing = [name for name in names if len({json.dumps(each.get(name), sort_keys=True) for each in settings}) > 1]
        suffix = ", ".join(f"{name}={_value(own[name])}" for name in differing if name in own)
        labels[position] = f"{run.method} ({suffix})" if suffix else run.method
    return labels


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _pass_at_k(runs: Sequence[Run]) -> dict[int, tuple[Interval, Interval | None]]:
    """pass@k of the trained policies and of the policies before training, over the seeds of all runs; only k that every seed has."""

    def intervals(base: bool) -> dict[int, Interval]:
        seeds = [{int(k): value for k, value in row.get("pass_at_k", {}).items()} for run in runs for row in run.newest_evaluations(base=base)]
        shared = set.intersection(*map(set, seeds)) if seeds else set()
        return {k: stratified_bootstrap([each[k] for each in seeds], bounds=score_bounds("pass@1")) for k in sorted(shared)}

    trained, base = intervals(base=False), intervals(base=True)
    return {k: (interval, base.get(k)) for k, interval in trained.items()}


def _measures(runs: Sequence[Run]) -> dict[str, Interval]:
    """What stands beside the score in the newest evaluation of each seed, of all runs; only what every seed has."""
    seeds = [row.get("measures", {}) for run in runs for row in run.newest_evaluations(base=False)]
    names = [name for name in (seeds[0] if seeds else ()) if all(name in each for each in seeds)]
    return {name: stratified_bootstrap([each[name] for each in seeds], bounds=score_bounds(name)) for name in names}


def _spent(runs: Sequence[Run]) -> dict[str, float]:
    """What a seed drew, the mean over the runs' seeds."""
    found = [(run.seeds, run.result["spent"]) for run in runs if run.result is not None and "spent" in run.result]
    if len(found) < len(runs):
        return {}
    seeds = sum(count for count, _ in found)
    return {name: sum(count * spent[name] for count, spent in found) / seeds for name in ("samples", "tokens")}


def _base(runs: Sequence[Run]) -> Interval | None:
    values = [row["value"] for run in runs for row in run.newest_evaluations(base=True)]
    return stratified_bootstrap(values, iqm, bounds=score_bounds(runs[0].score)) if values else None


def _seconds(run: Run) -> float | None:
    if run.result is not None:
        return run.result.get("seconds")
    return max((row["seconds"] for row in run.metrics if "seconds" in row), default=None)


def _reached(run: Run) -> int:
    """Steps a seed that the run has behind it."""
    if run.result is not None:
        return int(run.result.get("steps", run.steps))
    return int(max((row["step"] for row in run.evaluations), default=0))


def _row(task: str, method: str, runs: Sequence[Run], first: np.ndarray | None) -> Row:
    per_seed = np.concatenate([run.final_scores() for run in runs])
    seconds = [_seconds(run) for run in runs]
    total = float(sum(each for each in seconds if each is not None)) if all(each is not None for each in seconds) else None
    training = sum(max((row["seconds"] for row in run.metrics if "seconds" in row), default=0.0) for run in runs)
    trained = training > 0 and all(run.result is None or run.result.get("steps_per_second") != 0 for run in runs)
    return Row(
        task=task,
        method=method,
        runs=tuple(runs),
        score=runs[0].score,
        per_seed=per_seed,
        interval=stratified_bootstrap(per_seed, iqm, bounds=score_bounds(runs[0].score)),
        improvement=None if first is None else probability_of_improvement(per_seed, first),
        steps=max(_reached(run) for run in runs),
        seconds=total,
        steps_per_second=sum(_reached(run) * run.seeds for run in runs) / training if trained else None,
        base=_base(runs),
        spent=_spent(runs),
        pass_at_k=_pass_at_k(runs),
        measures=_measures(runs),
    )


def _warnings(task: str, rows: Sequence[Row]) -> list[str]:
    warnings = []
    for row in rows:
        warnings += [
            f"{run.path.name} ({row.method} on {task}) is not finished: it stands at {_reached(run):,} of {run.steps:,} steps"
            for run in row.runs
            if run.result is None
        ]
        seeds = Counter(seed for run in row.runs for seed in range(run.seed, run.seed + run.seeds))
        again = sorted(seed for seed, count in seeds.items() if count > 1)
        if again:
            warnings.append(f"runs of {row.method} on {task} share seed {', '.join(map(str, again))}: they are not independent, and the interval is too narrow")
    given = {json.dumps(run.manifest.get("budget")) for row in rows for run in row.runs}
    if len(given) == 1 and json.loads(given.pop() or "null") is not None and rows[0].runs[0].manifest["budget"]["unit"] != "steps":
        return warnings  # one budget of samples, tokens or seconds: steps may differ
    budgets = {row.method: row.steps for row in rows}
    if unequal(budgets.values()):
        iterations = [run.manifest.get("iteration") for row in rows for run in row.runs]
        asked = {run.manifest.get("budget", {}).get("amount", run.steps) for row in rows for run in row.runs}
        told = ", ".join(f"{method} {steps:,} steps" for method, steps in budgets.items())
        warnings.append(f"budgets differ on {task}: {told}{common_budget(iterations, asked)}")
    return warnings


def unequal(steps: Collection[int]) -> bool:
    """Whether numbers of steps differ by more than ends of iterations need to."""
    return max(steps) > 1.05 * min(steps)


def common_budget(iterations: Sequence[int | None], asked: Collection[int]) -> str:
    """The number of steps nearest to what was asked of every run that is whole iterations of each, in words; empty where that is not known or far."""
    if None in iterations or len(asked) > 1:
        return ""
    whole, (steps,) = math.lcm(*iterations), asked
    return f"; --steps {max(1, round(steps / whole)) * whole} suits them all" if whole <= steps else ""


def compare(runs: Sequence[Run]) -> Comparison:
    """Groups runs by task and method and sets them side by side.

    Runs of one method on one task are pooled where their hyper-parameters, budgets and beginnings are equal, and stand apart, labelled by what differs, where
    they are not.

    Args:
        runs: of `load_run`, at least one; the first method of each task is what the others are measured against.

    Raises:
        BadInput: for no runs, one directory given twice, a run without any evaluation, or two scores of one task.
    """
    if not runs:
        raise BadInput("no runs to compare: give at least one run directory")
    paths = [run.path.resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise BadInput(f"run {run.path} is given twice: its seeds would count as independent ones")
    rows: list[Row] = []
    warnings: list[str] = []
    labels = _labels(runs)
    for task in dict.fromkeys(run.task for run in runs):
        groups: dict[str, list[Run]] = {}
        for position, run in enumerate(runs):
            if run.task == task:
                groups.setdefault(labels[position], []).append(run)
        scores = {run.score: run for members in groups.values() for run in members}
        if len(scores) > 1:
            found = ", ".join(f"{name} ({run.path.name})" for name, run in scores.items())
            raise BadInput(f"runs on {task} report different scores: {found}: compare runs with one score")
        of_task: list[Row] = []
        for method, members in groups.items():
            of_task.append(_row(task, method, members, of_task[0].per_seed if of_task else None))
        rows += of_task
        warnings += _warnings(task, of_task)
    return Comparison(tuple(rows), tuple(warnings))
