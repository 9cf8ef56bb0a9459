"""The report: one HTML file with the scores, curves, videos and completions of some runs. It needs no network, and its policy forbids it one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.files import given_path, write_file
from operant.core.status import Status
from operant.evaluate import plots
from operant.evaluate.collapse import change_text, collapse_rows, run_collapse
from operant.evaluate.compare import Comparison, Row, compare
from operant.evaluate.page import SCRIPT, STYLE
from operant.evaluate.records import Curve, Run
from operant.evaluate.statistics import score_bounds

MAX_TOKENS = 150_000  # tokens of one run's completions in the file, about 6 MB; beyond it, steps between the first and the last are left out
KINDS = (("advantage", "advantage"), ("entropy", "entropy"), ("ratio", "ratio"), ("kl", "KL"), ("log_prob", "log-probability"))


def write_report(runs: Sequence[Run], out: str | Path) -> Path:
    """Writes the report of some runs as one self-contained HTML file.

    The file is written beside its place under another name, synced and renamed, so that a report that was there stays whole until the new one is.

    Args:
        runs: of `load_run`, at least one; they are compared as `compare` does.
        out: the file to write; its directory is made where it is missing.

    Returns:
        `out` as a Path.

    Raises:
        BadInput: what `compare` raises; where `out` is a directory or cannot be written.
    """
    out = given_path(out, "--out")
    write_file(out, report_html(runs))
    return out


def report_html(runs: Sequence[Run]) -> str:
    """The report's text; the same runs give the same text. Errors as `write_report`."""
    comparison = compare(runs)
    title = _title(comparison)
    script = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; base-uri 'none'; form-action 'none'"
    sections = [
        f"<header><h1>{escape(title)}</h1><p class=quiet>{escape(_summary(comparison))}</p></header>",
        f"<section id=results><h2>Results</h2>{comparison.to_html()}{_note(comparison)}</section>",
        *(_task_section(comparison, task) for task in comparison.tasks),
        _collapse_section(comparison),
        _completions_section(comparison),
        _runs_section(comparison),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n" + "\n".join(section for section in sections if section) + "\n</body></html>\n"
    )


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _title(comparison: Comparison) -> str:
    methods = list(dict.fromkeys(row.runs[0].method for row in comparison.rows))
    return f"{_and(methods)} on {_and(comparison.tasks)}"


def _summary(comparison: Comparison) -> str:
    runs = sum(len(row.runs) for row in comparison.rows)
    seeds = sum(len(row.per_seed) for row in comparison.rows)
    return f"Operant report: {runs} run{'s' * (runs > 1)}, {seeds} seed{'s' * (seeds > 1)}."


def _note(comparison: Comparison) -> str:
    text = "IQM: interquartile mean over the seeds, with its t interval, whose standard error is that of 2000 bootstrap resamples."
    if any(row.improvement for row in comparison.rows):
        text += " P(beats first): how likely a seed of this method scores above a seed of the task's first method, ties one half; a score interval."
    if any(row.interval.runs == 2 for row in comparison.rows):
        text += " Two seeds have their range, which covers the truth about every second time."
    if any(row.interval.low is None for row in comparison.rows):
        text += " One seed has no interval."
    if any(row.pass_at_k for row in comparison.rows):
        text += " pass@k: the unbiased estimate, mean over the problems, IQM over the seeds."
    return f"<p class=quiet>{escape(text)}</p>"


def _curves(rows: Sequence[Row], read: Any) -> dict[str, list[Curve]]:
    """Curves of each method, `read(run)` giving one run's; none where a method has none, so that its colour stays its own."""
    return {row.method: [curve for run in row.runs for curve in read(run)] for row in rows}


def _band_of(curves: dict[str, list[Curve]]) -> str:
    """What the bands of curves are, for their caption; nothing where each method has one seed."""
    counts = {len(of_method) for of_method in curves.values()}
    kinds = ["its pointwise 95 % band"] * any(count > 2 for count in counts) + ["the range of two seeds"] * (2 in counts)
    return " and " + ", or ".join(kinds) if kinds else ""


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _task_section(comparison: Comparison, task: str) -> str:
    rows = comparison.of_task(task)
    score = rows[0].score
    figures = []
    curves = _curves(rows, lambda run: run.score_curves())
    if any(len(steps) > 1 for of_method in curves.values() for steps, _ in of_method):
        caption = f"Evaluation {score} over training: IQM of the seeds{_band_of(curves)}."
        figures.append(_figure(plots.learning_curves(curves, ylabel=score, bounds=score_bounds(score)), caption))
    if len(rows) > 1:
        profiles = plots.performance_profiles({row.method: row.per_seed for row in rows}, xlabel=score)
        figures.append(_figure(profiles, f"Performance profile: share of seeds whose final {score} is above the threshold."))
        figures.append(_figure(plots.interval_bars({row.method: row.interval for row in rows}, xlabel=score), f"Final {score}: IQM and its interval."))
    if any(row.pass_at_k for row in rows):
        figures.append(
            _figure(
                plots.pass_at_k_curves({row.method: _sides(row) for row in rows}),
                "pass@k of the trained policy beside the policy before training, on the same problems.",
            )
        )
    html = f'<section class=task><h2>{escape(task)}</h2><div class="plots">{"".join(figures)}</div>'
    return html + _metrics(rows) + _videos(rows) + "</section>"


def _sides(row: Row) -> tuple[dict[int, Any], dict[int, Any] | None]:
    base = {k: base for k, (_, base) in row.pass_at_k.items() if base is not None}
    return {k: trained for k, (trained, _) in row.pass_at_k.items()}, base or None


def _metrics(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for run in row.runs for name in run.metric_names()))
    figures, every = "", {}
    for name in names:
        curves = _curves(rows, lambda run, name=name: run.metric_curves(name))
        if any(len(steps) > 1 for of_method in curves.values() for steps, _ in of_method):
            every |= curves
            figures += f"<figure>{plots.learning_curves(curves, ylabel=name, repetitions=500)}</figure>"
    if not figures:
        return ""
    caption = f"<p class=quiet>IQM of the seeds{_band_of(every)}.</p>"
    return f'<details class=metrics><summary>Training metrics</summary>{caption}<div class="plots small">{figures}</div></details>'


def _videos(rows: Sequence[Row]) -> str:
    figures = ""
    for row in rows:
        for run in row.runs:
            for video in run.videos:
                name = f"{row.method}, {video.stem.replace('-', ' ')}"
                data = base64.b64encode(video.read_bytes()).decode()
                figures += f'<figure><img alt="{escape(name)} acting" src="data:image/gif;base64,{data}"><figcaption>{escape(name)}</figcaption></figure>'
    return f"<h3>Videos</h3><div class=videos>{figures}</div>" if figures else ""


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, inner in value.items():
        rows += _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) and inner else [(prefix + name, inner)]
    return rows


def _collapse_section(comparison: Comparison) -> str:
    """What the collapse report says of each run on text or sequences: its diagnoses, and the figures behind them."""
    parts = ""
    for row in comparison.rows:
        for run in row.runs:
            report = run_collapse(run)
            if report is None:
                continue
            figures = [
                (f"pass@{k}", f"{entry['base']:.3f} → {entry['policy']:.3f}, change {change_text(entry)}") for k, entry in report["pass_at_k"].items()
            ] + collapse_rows(report)
            table = "".join(f"<tr><th scope=row>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in figures)
            lines = "".join(f"<li>{escape(line)}</li>" for line in report["diagnoses"])
            said = f"<ul class=diagnoses>{lines}</ul>" if lines else "<p>No sign of collapse.</p>"
            parts += (
                f"<h3>{escape(row.method)} on {escape(row.task)}: {escape(run.path.name)}</h3>{said}"
                f"<details><summary>Figures</summary><div class=settings><table>{table}</table></div></details>"
            )
    if not parts:
        return ""
    note = "Arrows go from before training to after it, or from the first fifth of training to the last. Changes of pass@k have a 95 % interval"
    note += " over the seeds (of two, their range), or over the problems where there is one seed."
    return f"<section id=collapse><h2>Collapse report</h2><p class=quiet>{escape(note)}</p>{parts}</section>"


def _settings(title: str, values: dict[str, Any]) -> str:
    if not values:
        return ""
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}</td></tr>"
        for name, value in _flat(values)
    )
    return f"<div><h4>{escape(title)}</h4><table>{rows}</table></div>"


def _runs_section(comparison: Comparison) -> str:
    parts = ""
    for row in comparison.rows:
        for run in row.runs:
            apart = {name: run.manifest[name] for name in ("hyperparameters", "versions", "hardware") if isinstance(run.manifest.get(name), dict)}
            rest = {name: value for name, value in run.manifest.items() if name not in apart}
            titles = {"hyperparameters": "Hyper-parameters", "versions": "Versions", "hardware": "Hardware"}
            tables = "".join(_settings(titles[name], values) for name, values in apart.items()) + _settings("Run", rest)
            parts += (
                f"<details><summary>{escape(row.method)} on {escape(row.task)}: {escape(run.path.name)}</summary><div class=settings>{tables}</div></details>"
            )
    return f"<section id=runs><h2>Hyper-parameters, versions and hardware</h2>{parts}</section>"


def _status(value: int | str) -> str:
    return Status(value).name.lower() if isinstance(value, int) else value.lower()


def _finite(value: object) -> float | None:
    """Five significant digits, which is more than a tooltip shows; None for what is missing or not finite, which JSON cannot say."""
    return float(f"{value:.5g}") if isinstance(value, int | float) and np.isfinite(value) else None


def _completions(run: Run) -> tuple[list[dict[str, Any]], int]:
    """The completions that go into the file, as columns, and how many steps were logged; steps between are thinned evenly where they are too many."""
    sizes: dict[int, int] = {}
    for row in run.completions:
        sizes[row["step"]] = sizes.get(row["step"], 0) + len(row["tokens"])
    steps = sorted(sizes)
    keep = max(2, int(len(steps) * min(1.0, MAX_TOKENS / max(1, sum(sizes.values())))))
    kept = {steps[i] for i in np.linspace(0, len(steps) - 1, min(keep, len(steps))).round().astype(int)}
    rows = []
    for row in run.completions:
        if row["step"] in kept:
            tokens = row["tokens"]
            columns: dict[str, list[Any]] = {name: [_finite(token.get(name)) for token in tokens] for name, _ in KINDS}
            rows.append(
                {name: row.get(name) for name in ("step", "seed", "group", "prompt")}
                | {"reward": _finite(row.get("reward")), "status": _status(row.get("status", Status.OK))}
                | {"text": [token["text"] for token in tokens], "mask": [int(bool(token.get("mask", True))) for token in tokens]}
                | columns
            )
    return rows, len(steps)


def _completions_section(comparison: Comparison) -> str:
    data = []
    for row in comparison.rows:
        for run in row.runs:
            if run.completions:
                rows, logged = _completions(run)
                data.append({"name": f"{row.method} on {row.task}: {run.path.name}", "rows": rows, "logged": logged})
    if not data:
        return ""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    radios = "".join(f"<label><input type=radio name=colour value={name}{' checked' if name == 'advantage' else ''}>{label}</label>" for name, label in KINDS)
    return f"""<section id=completions><h2>Completions</h2>
<p class=quiet>Point at a token, or reach it with Tab and the arrow keys, for its figures. Greyed and dotted tokens are masked: nothing was
learnt from them. The ratio is the trained policy's probability of a token over that of the policy that wrote it, KL how far the trained policy's next token is
from that before training, in nats. <span id=logged></span></p>
<noscript><p class=warning>The completions need JavaScript; everything else is above.</p></noscript>
<div class=controls><label>run <select id=run></select></label><label>step <select id=step></select></label>
<label>order <select id=order><option value=worst>worst first</option><option value=best>best first</option><option value=drawn>as drawn</option>
</select></label>
<fieldset><legend>colour</legend>{radios}</fieldset><span class=quiet id=count></span></div>
<div class=scale id=scale></div><div id=groups></div><button id=more type=button hidden>More groups</button><div id=tip role=tooltip hidden></div>
<script type="application/json" id="completions-data">{text}</script>
<script>{SCRIPT}</script></section>"""
