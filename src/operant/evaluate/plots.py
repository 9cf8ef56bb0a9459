"""Figures as SVG text that stands alone and follows the page it is put in.

Series take colours of the palette of Okabe and Ito, which stays apart for every common kind of colour vision, and differ in marker or line style too. In the
text a series' colour is `var(--series-N, #hex)` and the ink is `currentColor`: a page with a dark theme sets them, everything else shows the fallback.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence, Sized
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

from operant.core.errors import BadInput
from operant.evaluate.records import Curve, StateMap
from operant.evaluate.statistics import UNBOUNDED, Band, Bounds, Interval, performance_profile, sample_efficiency_curve

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#0f1e2d"  # stands in for currentColor while matplotlib draws
WIDTH = 4.4  # inches of every figure: a phone shows them at 340 pixels or more, where a label is then at least 12 pixels high
LEGEND_HALF, LEGEND_WIDTH, TICK_WIDTH = 17, 42, 18  # characters that fit a legend of two columns, of one, and the labels of bars
MAX_POINTS = 120  # points of a drawn curve: more cannot be told apart at the width of a column

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "operant",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


def _draw(draw: Callable[[Axes], None], *, label: str, height: float, legend: Sequence[str] = ()) -> str:
    """One figure as SVG text: `draw(axes)` fills it; `label` is what a screen reader says of it; several names of `legend` stand above it, wrapped as drawn."""
    columns = 2 if max(map(len, legend), default=0) <= LEGEND_HALF else 1
    lines = 0 if len(legend) < 2 else -(-len(legend) // columns) if columns == 2 else sum(name.count("\n") + 1 for name in legend)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, height + 0.22 * lines), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0.0)
        draw(axes)
        if lines:
            figure.legend(loc="outside upper left", ncols=columns, handlelength=1.8, columnspacing=1.4, borderaxespad=0.2)
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    width, tall = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    head = f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {tall}" class="figure" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    svg = head + re.sub(r"\s*<metadata>.*?</metadata>", "", svg[svg.index(">") + 1 :], flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    for number, colour in enumerate(PALETTE):
        svg = svg.replace(colour, f"var(--series-{number}, {colour})")
    return svg


def _style(number: int) -> tuple[str, str]:
    """Colour and marker of series `number`; beyond the palette the pairs still differ."""
    return PALETTE[number % len(PALETTE)], MARKERS[(number + number // len(PALETTE)) % len(MARKERS)]


def _wrap(label: str, width: int) -> str:
    """A long label on several lines: a legend is as wide as the figure, and matplotlib does not wrap it."""
    return "\n".join(textwrap.wrap(label, width)) or label


def _needs(groups: Sized, what: str) -> None:
    if not len(groups):
        raise BadInput(f"{what}: there is nothing to draw")


def _band(axes: Axes, x: np.ndarray, band: Band, label: str, number: int, seeds: Sequence[Curve] = ()) -> None:
    """A curve with its band, and behind both a thin line a seed."""
    colour, marker = _style(number)
    for steps, values in seeds:
        kept = np.linspace(0, len(steps) - 1, min(len(steps), MAX_POINTS)).round().astype(int)
        axes.plot(steps[kept], values[kept], color=colour, linewidth=0.8, alpha=0.45)
    axes.plot(x, band.point, color=colour, marker=marker, markevery=max(1, len(x) // 8), label=_wrap(label, LEGEND_WIDTH))
    if band.low is not None and band.high is not None:
        axes.fill_between(x, band.low, band.high, color=colour, alpha=0.2, linewidth=0)


def shared_grid(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Curves of several seeds on one grid of steps.

    The grid holds the steps of all seeds between the latest start and the earliest end, thinned evenly to at most 120. Between its own points a curve is
    linear, and seeds that were logged at the same steps are left as they are.

    Returns:
        steps `[points]`, and values `[seeds, points]`. Without a range that all seeds share: the one step where the shortest curve ends.
    """
    start, end = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    grid = np.unique(np.concatenate([steps for steps, _ in curves]))
    grid = grid[(grid >= start) & (grid <= end)]
    if not grid.size:
        grid = np.array([end])
    if grid.size > MAX_POINTS:
        grid = grid[np.linspace(0, grid.size - 1, MAX_POINTS).round().astype(int)]
    return grid, np.stack([np.interp(grid, steps, values) for steps, values in curves])


def learning_curves(
    groups: Mapping[str, Sequence[Curve]],
    *,
    ylabel: str,
    xlabel: str = "steps",
    confidence: float = 0.95,
    repetitions: int = 2000,
    seed: int = 0,
    bounds: Bounds = UNBOUNDED,
) -> str:
    """Interquartile mean over the seeds against steps, with pointwise bands (of two seeds their range) and a thin line a seed; one seed is one line, no band.

    Bands are cut where they go far beyond all seeds.

    Args:
        groups: for each label one (steps `[points]`, values `[points]`) a seed. A label without curves is not drawn, and keeps its colour for other figures.
        ylabel: the score or metric, with its unit.
        confidence, repetitions, seed, bounds: of the bands (`sample_efficiency_curve`).

    Returns:
        SVG text. BadInput where no label has a curve.
    """
    drawn = {label: (number, curves) for number, (label, curves) in enumerate(groups.items()) if curves}
    _needs(drawn, f"learning curves of {ylabel}")

    def draw(axes: Axes) -> None:
        points = np.concatenate([values for _, curves in drawn.values() for _, values in curves])
        margin = 0.3 * np.ptp(points)
        for label, (number, curves) in drawn.items():
            steps, values = shared_grid(curves)
            band = sample_efficiency_curve(values[:, None, :], confidence=confidence, repetitions=repetitions, seed=seed, bounds=bounds)
            _band(axes, steps, band, label, number, curves if len(curves) > 1 else ())
        low, high = axes.get_ylim()
        if margin:  # the wide bands of few seeds would press their curves flat
            axes.set_ylim(max(low, points.min() - margin), min(high, points.max() + margin))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.locator_params(axis="x", nbins=5)

    return _draw(draw, label=f"{ylabel} against {xlabel}: {', '.join(drawn)}", height=2.7, legend=[_wrap(name, LEGEND_WIDTH) for name in drawn])


def performance_profiles(groups: Mapping[str, np.ndarray], *, xlabel: str, confidence: float = 0.95) -> str:
    """Share of runs above each score, a curve a label, with pointwise bands: a curve that lies higher everywhere is better everywhere.

    Args:
        groups: for each label scores `[runs, tasks]` or `[runs]`, all in the same units.
        xlabel: the score, with its unit.

    Returns:
        SVG text. BadInput for no groups, or scores that are empty or not finite.
    """
    _needs(groups, "performance profiles")
    tables = {label: np.asarray(scores, dtype=np.float64) for label, scores in groups.items()}
    low, high = min(table.min() for table in tables.values()), max(table.max() for table in tables.values())
    margin = 0.05 * (high - low) or max(abs(high) * 0.05, 0.05)
    thresholds = np.linspace(low - margin, high + margin, 201)

    def draw(axes: Axes) -> None:
        for number, (label, table) in enumerate(tables.items()):
            _band(axes, thresholds, performance_profile(table, thresholds, confidence=confidence), label, number)
        axes.set(xlabel=f"{xlabel} threshold", ylabel="share of runs above", ylim=(-0.03, 1.03))

    return _draw(draw, label=f"share of runs above each {xlabel}: {', '.join(groups)}", height=2.7, legend=[_wrap(name, LEGEND_WIDTH) for name in groups])


def final_scores(groups: Mapping[str, tuple[Interval, np.ndarray]], *, xlabel: str) -> str:
    """A row a label: the point on a bar from the low to the high end of its interval (without an interval the point alone), and below it a dot a seed.

    Args:
        groups: for each label the interval, and the scores of the seeds `[seeds]`.

    Returns:
        SVG text. BadInput for no groups.
    """
    _needs(groups, f"final scores of {xlabel}")

    def draw(axes: Axes) -> None:
        for number, (interval, scores) in enumerate(groups.values()):
            colour, marker = _style(number)
            if interval.low is not None and interval.high is not None:
                axes.barh(number, interval.high - interval.low, left=interval.low, height=0.36, color=colour, alpha=0.3, linewidth=0)
            axes.plot([interval.point], [number], color=colour, marker=marker, markersize=7, linestyle="none")
            if len(scores) > 1:
                axes.plot(scores, np.full(len(scores), number + 0.32), color=colour, marker="o", markersize=4, alpha=0.7, linestyle="none")
        axes.set_yticks(range(len(groups)), [_wrap(label, TICK_WIDTH) for label in groups])
        axes.use_sticky_edges = False  # bars otherwise stop the margin at their ends, and a point there would be cut
        axes.margins(x=0.08)
        axes.set(xlabel=xlabel, ylim=(len(groups) - 0.4, -0.6))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)

    return _draw(
        draw,
        label=f"final {xlabel} of each seed, with intervals: {', '.join(groups)}",
        height=0.9 + sum(max(0.6, 0.19 * len(textwrap.wrap(label, TICK_WIDTH))) for label in groups),
    )


def pass_at_k_curves(groups: Mapping[str, tuple[Mapping[int, Interval], Mapping[int, Interval] | None]]) -> str:
    """pass@k against k on a log scale: for each label the trained policy (solid) and, in the same colour, the policy before training (dashed).

    Args:
        groups: for each label (trained, base), each from k to its Interval; base None where it was not measured. A label with neither keeps its colour
            for other figures.

    Returns:
        SVG text. BadInput where there is nothing to draw.
    """
    lines = [
        (number, _wrap(name, LEGEND_WIDTH), line, intervals)
        for number, (label, (trained, base)) in enumerate(groups.items())
        for name, line, intervals in ((label, "-", trained), (f"{label}, before training", "--", base))
        if intervals
    ]
    _needs(lines, "pass@k curves")

    def draw(axes: Axes) -> None:
        for number, name, line, intervals in lines:
            colour, marker = _style(number)
            ks = sorted(intervals)
            fill = colour if line == "-" else "none"
            axes.plot(ks, [intervals[k].point for k in ks], color=colour, marker=marker, linestyle=line, label=name, markerfacecolor=fill)
            if all(intervals[k].low is not None for k in ks):
                axes.fill_between(ks, [intervals[k].low for k in ks], [intervals[k].high for k in ks], color=colour, alpha=0.2, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="k", ylabel="pass@k", ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(FixedLocator(sorted({k for *_, intervals in lines for k in intervals})))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
        axes.xaxis.set_minor_locator(NullLocator())

    return _draw(draw, label=f"pass@k against k: {', '.join(groups)}", height=2.7, legend=[name for _, name, _, _ in lines])


def state_map(states: StateMap, *, visits: bool = False) -> str:
    """A map of a finite MDP's states, the darker the more a state is worth, or is visited, with what the policy does in each.

    Args:
        visits: shade by visits; by value otherwise.
    """
    shade = states.visits if visits else states.value
    low, high = (0.0 if visits else float(shade.min())), float(shade.max())
    rows, columns = len(states.cells), max(map(len, states.cells))

    def draw(axes: Axes) -> None:
        size = min(11.0, 150 / columns)
        for y, row in enumerate(states.cells):
            for x, state in enumerate(row):
                mark = states.marks[y][x] or ("" if state is None else states.action[state])
                if state is not None:
                    share = (float(shade[state]) - low) / (high - low) if high > low else 0.0
                    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=PALETTE[0], alpha=0.06 + 0.6 * share, linewidth=0))
                else:
                    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=INK, alpha=0.75, linewidth=0))
                    continue
                axes.text(x + 0.5, y + 0.5, mark, ha="center", va="center", fontsize=size)
        axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
        axes.set_axis_off()

    what = "visits" if visits else "value"
    return _draw(draw, label=f"{what} of each state and what the policy does there", height=min(5.0, max(0.5, WIDTH * rows / columns)))
