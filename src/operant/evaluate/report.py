"""The report: one HTML file with the scores, curves, videos and completions of some runs. It needs no network, and its policy forbids it one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.errors import BadInput
from operant.core.files import check_target, given_path, write_file
from operant.core.status import Status
from operant.evaluate import plots
from operant.evaluate.collapse import change_text, collapse_rows, run_collapse
from operant.evaluate.compare import Comparison, Row, compare, levels
from operant.evaluate.glossary import TERMS, Glossary, explain
from operant.evaluate.page import SCRIPT, STYLE
from operant.evaluate.records import Curve, Run
from operant.evaluate.statistics import score_bounds

MAX_TOKENS = 150_000  # tokens of one run's completions in the file, about 6 MB; beyond it, steps between the first and the last are left out
SEEN_IN_TRAINING = ("episode/return", "episode/success", "reward")  # drawn beside what evaluations say; other metrics are folded away
COUNTS = ("episodes played",)  # measures that grow with the steps, and say nothing over them

COLLAPSE = {
    "reward in training": "reward",
    "groups of equal rewards": "groups_alike",
    "length of right answers": "length/right",
    "length of wrong answers": "length/wrong",
    "answers that ended": "ended",
    "ratio at 1, 50, 99 %": "ratio",
    "effective sample size": "ess",
    "KL(behaviour ‖ trained)": "kl_behaviour",
    "KL(before the update ‖ trained)": "kl_behaviour",
    "weights that acted": "staleness",
    "KL(acted ‖ before the update)": "importance/kl",
    "not scored in evaluation": "no score",
} | {f"not scored, {status.name.lower()}": f"score/{status.name.lower()}" for status in Status if status != Status.OK}
"""The term that each figure of the collapse report is."""

ANSWERS = ("pass@1",)  # what runs are evaluated by that have answers, and a collapse report

KINDS = (("advantage", "advantage"), ("entropy", "entropy"), ("ratio", "ratio"), ("kl", "KL"), ("log_prob", "log-probability"))


def write_report(runs: Sequence[Run], out: str | Path, claims: Mapping[str, str] | None = None) -> Path:
    """Writes the report of some runs as one self-contained HTML file.

    The file is written beside its place under another name, synced and renamed, so that a report that was there stays whole until the new one is.

    Args:
        runs: of `load_run`, at least one; they are compared as `compare` does.
        out: the file to write; its directory is made where it is missing.
        claims: what was measured of the claim of each method, in words; a method without is not spoken of.

    Returns:
        `out` as a Path.

    Raises:
        BadInput: what `compare` raises; where `out` is a directory or cannot be written.
    """
    out = given_path(out, "--out")
    check_target(out)
    write_file(out, report_html(runs, claims))
    return out


def report_html(runs: Sequence[Run], claims: Mapping[str, str] | None = None) -> str:
    """The report's text; the same runs give the same text. Errors as `write_report`."""
    comparison = compare(runs)
    title = _title(comparison)
    script = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; base-uri 'none'; form-action 'none'"
    glossary = Glossary()
    sections = [
        f"<header><h1>{escape(title)}</h1><p class=quiet>{escape(_summary(comparison))}</p></header>",
        f"<section id=results><h2>Results</h2>{comparison.to_html(glossary)}{_note(comparison, glossary)}{_claims(comparison, claims or {})}</section>",
        *(_task_section(comparison, task, glossary) for task in comparison.tasks),
        _collapse_section(comparison, glossary),
        _completions_section(comparison, glossary),
        _runs_section(comparison, glossary),
        glossary.section(),
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


def _note(comparison: Comparison, glossary: Glossary) -> str:
    """How to learn what names mean, and what scores and brackets without a column of their own are."""
    names = [*dict.fromkeys(row.score for row in comparison.rows), *dict.fromkeys(row.interval.level for row in comparison.rows)]
    return f"<p class=quiet>Underlined names are explained when pointed at, and at the page's end. Here: {_and([glossary.link(name) for name in names])}.</p>"


def _claims(comparison: Comparison, claims: Mapping[str, str]) -> str:
    """What the library's own evidence says of the methods, on test beds of its own."""
    methods = dict.fromkeys(row.runs[0].method for row in comparison.rows)
    said = [f"<code>{escape(method)}</code> {escape(claims[method])}" for method in methods if method in claims]
    return f"<p class=quiet>What Operant's own evidence says of each method's claim: {'; '.join(said)}.</p>" if said else ""


def _curves(rows: Sequence[Row], read: Any) -> dict[str, list[Curve]]:
    """Curves of each method, `read(run)` giving one run's; none where a method has none, so that its colour stays its own."""
    return {row.method: [curve for run in row.runs for curve in read(run)] for row in rows}


def _score_curves(rows: Sequence[Row]) -> dict[str, list[Curve]]:
    """The evaluations of each method; the one evaluation of a policy that does not train stands for the whole of the others' training."""
    trained = [curve for row in rows for run in row.runs if not run.fixed for curve in run.score_curves()]
    if not any(len(steps) > 1 for steps, _ in trained):
        return {}
    ends = np.array([min(steps[0] for steps, _ in trained), max(steps[-1] for steps, _ in trained)])
    return _curves(rows, lambda run: [(ends, values[[-1, -1]]) for _, values in run.score_curves()] if run.fixed else run.score_curves())


def curves_figure(comparison: Comparison) -> str:
    """The learning curves of a comparison on one task, as SVG text. Raises `BadInput` where there are several tasks, or no curve."""
    tasks = list(dict.fromkeys(row.task for row in comparison.rows))
    if len(tasks) > 1:
        raise BadInput(f"a figure of learning curves is of one task; these runs are on {_and(tasks)}")
    curves, score = _score_curves(comparison.rows), comparison.rows[0].score
    if not curves:
        raise BadInput("no run of these has an evaluation before its last: there is no curve to draw")
    return plots.learning_curves(curves, ylabel=score, xlabel=_unit(comparison.rows), bounds=score_bounds(score))


def _kinds(curves: dict[str, list[Curve]], glossary: Glossary) -> str:
    """What the lines and bands of a figure are, as HTML."""
    counts = {len(of_method) for of_method in curves.values() if of_method}
    if counts == {1}:
        return "The curve of the one seed" + (" of each method." if len(curves) > 1 else ".")
    bands = []
    if any(count > 2 for count in counts):
        bands.append(f"its {glossary.link('95 %')} interval at each point, cut at the figure's edge")
    if 2 in counts:
        bands.append(f"the {glossary.link('range of 2 seeds')}")
    alone = f" A method with {glossary.link('1 seed')} has one line." if 1 in counts else ""
    return f"Thick: {glossary.link('IQM')} of the seeds; band: {', or '.join(bands)}; thin: each seed.{alone}"


def _figure(svg: str, caption: str) -> str:
    """A figure above its caption, which is HTML."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _unit(rows: Sequence[Row]) -> str:
    """What steps are on the axis of a task's figures."""
    units = {run.manifest.get("step_unit") for row in rows for run in row.runs}
    unit = units.pop() if len(units) == 1 else None
    return unit if isinstance(unit, str) else "steps"


def _task_section(comparison: Comparison, task: str, glossary: Glossary) -> str:
    rows = comparison.of_task(task)
    score, unit, link = rows[0].score, _unit(rows), glossary.link
    figures = []
    if curves := _score_curves(rows):
        caption = f"{link(score)} in evaluations over training. {_kinds(curves, glossary)}"
        if fixed := [row.method for row in rows if all(run.fixed for run in row.runs)]:
            caption += f" {escape(_and(fixed))}: {link('fixed policy')}."
        figures.append(_figure(plots.learning_curves(curves, ylabel=score, xlabel=unit, bounds=score_bounds(score)), caption))
    regret = _curves(rows, lambda run: run.regret)
    if _moves(regret):
        caption = f"{link('regret')} of the episodes that were played: {escape(explain('regret'))} {_kinds(regret, glossary)}"
        figures.append(_figure(plots.learning_curves(regret, ylabel="regret", xlabel="episodes"), caption))
    for name in dict.fromkeys(name for row in rows for run in row.runs for name in run.measure_names() if name != "regret" or not run.regret):
        beside = _curves(rows, lambda run, name=name: run.measure_curves(name))
        if name not in COUNTS and _changes(beside):
            caption = f"{link(name)}: {escape(explain(name))} {_kinds(beside, glossary)}"
            figures.append(_figure(plots.learning_curves(beside, ylabel=name, xlabel=unit), caption))
    for name in SEEN_IN_TRAINING:
        seen = _curves(rows, lambda run, name=name: run.metric_curves(name))
        if _moves(seen):
            caption = f"{_metric(name, rows, glossary)} {_kinds(seen, glossary)}"
            figures.append(_figure(plots.learning_curves(seen, ylabel=f"{name} in training" if name == "reward" else name, xlabel=unit), caption))
    if any(row.pass_at_k for row in rows):
        caption = f"{link('pass@k')} of the trained policy (solid) and of the policy {link('before training')} (dashed), on the same problems."
        figures.append(_figure(plots.pass_at_k_curves({row.method: _sides(row) for row in rows}), caption))
    if len(rows) > 1:
        profiles = plots.performance_profiles({row.method: row.per_seed for row in rows}, xlabel=score)
        caption = f"{link('performance profile', 'Performance profile')}: share of seeds whose final {escape(score)} is above the threshold"
        caption += f", with its {link('95 %')} interval." if any(len(row.per_seed) > 1 for row in rows) else "."
        figures.append(_figure(profiles, caption))
    if len(rows) > 1 or len(rows[0].per_seed) > 1 or not figures:
        level = levels(row.interval for row in rows)
        bars = "" if level == "1 seed" else f" on its interval ({'; '.join(map(link, level.split('; ')))}), and below it a dot for each seed"
        bars = f"Final {link(score)}: {link('IQM')}{bars}." if bars else f"Final {link(score)} of {link('1 seed')}."
        figures.append(_figure(plots.final_scores({row.method: (row.interval, row.per_seed) for row in rows}, xlabel=score), bars))
    figures += _states(rows, glossary)
    figures += _videos(rows)
    many = "one" if len(figures) == 1 else "three" if len(figures) == 3 else "two"
    shown = f'<div class="plots {many}">{"".join(figures)}</div>{_undrawn(rows)}'
    shown += _strategies(rows)
    return f"<section class=task><h2>{escape(task)}</h2>{shown}{_metrics(rows, unit, glossary)}</section>"


def _moves(curves: dict[str, list[Curve]]) -> bool:
    """Whether some curve has more than a point."""
    return any(len(steps) > 1 for of_method in curves.values() for steps, _ in of_method)


def _changes(curves: dict[str, list[Curve]]) -> bool:
    """Whether some curve has another value at its end, or on the way, than at its beginning."""
    return any(np.ptp(values) > 0 for of_method in curves.values() for _, values in of_method)


def _sides(row: Row) -> tuple[dict[int, Any], dict[int, Any] | None]:
    base = {k: base for k, (_, base) in row.pass_at_k.items() if base is not None}
    return {k: trained for k, (trained, _) in row.pass_at_k.items()}, base or None


def _metric(name: str, rows: Sequence[Row], glossary: Glossary) -> str:
    """A training metric and what it means, once for each meaning that it has in the runs that log it."""
    meanings: dict[str, str] = {}
    for row in rows:
        for run in row.runs:
            if name in run.metric_names():
                meanings.setdefault(explain(name, run.measured()), glossary.link(name, measured=run.measured()))
    return " ".join(f"{link}: {escape(meaning)}" for meaning, link in meanings.items())


def _metrics(rows: Sequence[Row], unit: str, glossary: Glossary) -> str:
    drawn = {name for row in rows for run in row.runs for name in run.measure_names()}  # of evaluations
    names = dict.fromkeys(name for row in rows for run in row.runs for name in run.metric_names() if name not in drawn)
    figures, every = "", {}
    for name in names:
        curves = _curves(rows, lambda run, name=name: run.metric_curves(name))
        if name not in SEEN_IN_TRAINING and _moves(curves):
            every |= curves
            caption = _metric(name, rows, glossary)
            figures += _figure(plots.learning_curves(curves, ylabel=name, xlabel=unit, repetitions=500), caption)
    if not figures:
        return ""
    caption = f"<p class=quiet>{_kinds(every, glossary)}</p>"
    return f'<details class=metrics><summary>Training metrics</summary>{caption}<div class="plots three">{figures}</div></details>'


def _states(rows: Sequence[Row], glossary: Glossary) -> list[str]:
    """Of runs on finite MDPs, what their first seed's policy is worth and does in each state, and where it is."""
    figures = []
    for row in rows:
        for run in row.runs:
            if (states := run.states) is None:
                continue
            of = f"{escape(row.method)}, seed {states.seed}: "
            low, high = states.value.min(), states.value.max()
            does = "the number of the action that the policy takes" if all(map(str.isdecimal, states.action)) else "what the policy does"
            does += f" in each state{' at the first step' * states.first}"
            worth = f"{of}{does}, and its {glossary.link('value')} there: {low:.3g} (light) to {high:.3g} (dark)."
            figures.append(_figure(plots.state_map(states), worth))
            seen = f"{of}{glossary.link('visits')} of each state: 0 (light) to {states.visits.max():.2g} (dark) of its time."
            figures.append(_figure(plots.state_map(states, visits=True), seen))
    return figures


def _strategies(rows: Sequence[Row]) -> str:
    """Of runs on games, what their first seed's policy does in each information set where its own moves lead."""
    found = ""
    for row in rows:
        for run in row.runs:
            sets = [each for each in run.strategy if each["reached"]]
            lines = [(str(each["player"]), each["seen"], ", ".join(f"{move} {chance:.3f}" for move, chance in each["policy"].items())) for each in sets]
            if lines:
                cells = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
                head = "<tr><th>player</th><th>what it sees</th><th>what it does</th></tr>"
                title = f"What {escape(row.method)}, seed {run.seed}, does in each information set where its own moves lead"
                found += f"<details open><summary>{title}</summary><div class=wide><table>{head}{cells}</table></div></details>"
    return found


def _videos(rows: Sequence[Row]) -> list[str]:
    figures = []
    for row in rows:
        for run in row.runs:
            for video in run.videos:
                name = f"{row.method}, {video.stem.replace('-', ' ')}"
                data = base64.b64encode(video.read_bytes()).decode()
                caption = f"Video of an episode: {escape(name)}."
                figures.append(
                    f'<figure class=video><img alt="{escape(name)} acting" src="data:image/gif;base64,{data}"><figcaption>{caption}</figcaption></figure>'
                )
    return figures


def _undrawn(rows: Sequence[Row]) -> str:
    """Why runs have no video, where somebody tried to draw one."""
    return "".join(f"<p class=quiet>No video of {escape(row.method)}: {escape(run.undrawn)}.</p>" for row in rows for run in row.runs if run.undrawn)


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, inner in value.items():
        rows += _flat(inner, f"{prefix}{name}.") if isinstance(inner, dict) and inner else [(prefix + name, inner)]
    return rows


def _collapse_section(comparison: Comparison, glossary: Glossary) -> str:
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
            table = "".join(f"<tr><th scope=row>{_figure_name(name, glossary)}</th><td>{escape(text)}</td></tr>" for name, text in figures)
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


def _figure_name(name: str, glossary: Glossary) -> str:
    """The name of a collapse report's figure, linked to what it means."""
    if name in COLLAPSE:
        return glossary.link(COLLAPSE[name], name, None if COLLAPSE[name] in TERMS else ANSWERS)
    return glossary.link(name) if name in TERMS or name.startswith("pass@") else escape(name)


def _settings(title: str, values: dict[str, Any], glossary: Glossary | None = None) -> str:
    """A table of names and values; with a glossary its names are linked where they are terms."""
    if not values:
        return ""

    def shown(name: str) -> str:
        term = name.partition(".")[0]
        return glossary.link(term, name) if glossary is not None and term in TERMS else escape(name)

    rows = "".join(
        f"<tr><th scope=row>{shown(name)}</th><td>{escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}</td></tr>"
        for name, value in _flat(values)
    )
    return f"<div><h4>{escape(title)}</h4><table>{rows}</table></div>"


def _runs_section(comparison: Comparison, glossary: Glossary) -> str:
    parts = ""
    for row in comparison.rows:
        for run in row.runs:
            apart = {name: run.manifest[name] for name in ("hyperparameters", "versions", "hardware") if isinstance(run.manifest.get(name), dict)}
            rest = {name: value for name, value in run.manifest.items() if name not in apart}
            titles = {"hyperparameters": "Hyper-parameters", "versions": "Versions", "hardware": "Hardware"}
            tables = "".join(_settings(titles[name], values) for name, values in apart.items()) + _settings("Run", rest, glossary)
            parts += (
                f"<details><summary>{escape(row.method)} on {escape(row.task)}: {escape(run.path.name)}</summary><div class=settings>{tables}</div></details>"
            )
    note = "<p class=quiet><code>operant show METHOD</code> says what each hyper-parameter of a method is.</p>"
    return f"<section id=runs><h2>Hyper-parameters, versions and hardware</h2>{note}{parts}</section>"


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
                | {name: [int(token[name]) for token in tokens] for name in ("turn", "reply") if all(name in token for token in tokens)}
            )
    return rows, len(steps)


def _completions_section(comparison: Comparison, glossary: Glossary) -> str:
    data = []
    for row in comparison.rows:
        for run in row.runs:
            if run.completions:
                rows, logged = _completions(run)
                data.append({"name": f"{row.method} on {row.task}: {run.path.name}", "rows": rows, "logged": logged})
    if not data:
        return ""
    unscored = ""
    if any(row["status"] != "ok" for run in data for row in run["rows"]):
        unscored = f"Answers with {glossary.link('no score')} say why. "
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    link = glossary.link
    radios = "".join(
        f'<label title="{escape(explain(label))}"><input type=radio name=colour value={name}{" checked" if name == "advantage" else ""}>{label}</label>'
        for name, label in KINDS
    )
    kinds, reward = _and([link(label) for _, label in KINDS]), link("reward", measured=ANSWERS)
    return f"""<section id=completions><h2>Completions</h2>
<p class=quiet>Answers of training, of the {link("problem", "problems")} with the worst and the best mean {reward}: with what was learned from, not
with held-out problems. Point at a token, or reach it with Tab and the arrow keys, for its {kinds}. Greyed and dotted tokens are outside the {link("mask")}.
Where an answer takes turns, each turn and each reply begins a line that says whose it is.
{unscored}<span id=logged></span></p>
<noscript><p class=warning>The completions need JavaScript; everything else is above.</p></noscript>
<div class=controls><label>run <select id=run></select></label><label>step <select id=step></select></label>
<label>order <select id=order><option value=worst>worst first</option><option value=best>best first</option><option value=drawn>as drawn</option>
</select></label>
<fieldset><legend>colour</legend>{radios}</fieldset><span class=quiet id=count></span></div>
<div class=scale id=scale></div><div id=groups></div><button id=more type=button hidden>More problems</button><div id=tip role=tooltip hidden></div>
<script type="application/json" id="completions-data">{text}</script>
<script>{SCRIPT}</script></section>"""
