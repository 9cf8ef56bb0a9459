"""The collapse report: what became of a policy's variety, of its samples and of its updates, with a diagnosis in words for each figure out of bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from operant.evaluate.records import Run
from operant.evaluate.statistics import mean, pass_at_k, stratified_bootstrap

# What counts as out of bounds. Shares are 0 to 1, "of its start" is the mean of the last fifth of training over that of the first.
PASS_LOST = 0.02  # below the base policy's, where chance does not explain it
LEAST_ITERATIONS = 10  # before that a fifth of them is one batch or two
REWARD_ALONE, PASS_STILL = 0.1, 0.02  # a rise of the training reward beside which pass@1 does not rise
ENTROPY_LOST, ENTROPY_GONE, ENTROPY_RISEN = 0.3, 0.1, 2.0  # of its start; risen by NOISE nats at least
NOISE = 0.2
ALIKE = 0.5  # groups of equal rewards
STALE = ("staleness", "staleness/most", "importance/kl", "importance/ess", "importance/cut")  # where what acted may be another policy
ESS_LOW = 0.5  # of the steps of an update
RATIO_HIGH = 3.0  # the ratio, or its reciprocal, of one step in a hundred
KL_HIGH = 0.1  # nats a token, from the policy that sampled
LENGTHENED, SHORTENED = 1.5, 0.5  # of its start
CUT = 0.2  # answers that did not end by themselves
UNSCORED = 0.01  # answers that a verifier could not score

STATUSES = ("timeout", "crashed", "malformed")


def run_collapse(run: Run, messages: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """`collapse_report` of a run directory; the verifier's messages, which no log holds, are those of its result unless given."""
    failures = (run.result or {}).get("collapse", {}).get("verifier", {})
    known = {status: failure["message"] for status, failure in failures.items() if "message" in failure}
    return collapse_report(run.metrics, run.evaluations, entropy_of="sequence" if run.task.startswith("sequences:") else "token", messages=messages or known)


def collapse_report(
    metrics: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    *,
    entropy_of: str = "token",
    messages: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """What the logs of a run on text or sequences say of collapse.

    Args:
        metrics: rows of metrics.jsonl, of one seed or several; "start" and "end" are means over the first and the last fifth of a seed's rows, then over seeds.
        evaluations: rows of evaluations.jsonl; "start" and "end" are the policy before training and the newest one.
        entropy_of: "token" or "sequence": what the evaluations' entropy is of.
        messages: the first message of each kind of a verifier's failure, by status.

    Returns:
        JSON values, without what the rows do not tell; None where the task has no answers, or no policy was evaluated before training or since.

        - "pass_at_k": for each k {"base", "policy", "change", "low", "high"}, the means over seeds, and the 95 % interval of the change, over
          what "interval_over" says: the seeds (of two, the range), or of one seed its problems (the same for both policies). Null where neither can be.
        - {"start", "end"} of "entropy" (nats a token or sequence), "distinct" (different answers among a problem's samples), "reward", "groups_alike" (share
          of groups whose rewards are equal), "length", "length/right" and "length/wrong" (tokens), "ended" (share of answers that ended by themselves).
        - "ratio/q01", "ratio/q50", "ratio/q99" (quantiles of the ratio at an iteration's last update), "ess" (its effective sample size, share of the steps),
          "kl_behaviour" (nats a token, from the policy that sampled, or where that is weighted from the one before the update), "clip_fraction", "staleness",
          "staleness/most", "importance/kl", "importance/ess", "importance/cut": of the last fifth.
        - "verifier": for each status {"count", "share", "message"} of the answers of training that could not be scored, by the verifier or for a reply that
          failed; "unscored_in_evaluation", {"count", "share"} of those of the newest evaluation, where there are some.
        - "iterations": rows of the shortest seed.
        - "entropy_of", "samples" (a problem at evaluation), "diagnoses": a line for each figure out of bounds; empty where there is no sign of collapse.
    """
    base, policy = _newest(evaluations, base=True), _newest(evaluations, base=False)
    seeds = [seed for seed, row in policy.items() if seed in base and ("pass_at_k" in row or "entropy" in row)]
    if not seeds:
        return None
    courses = _by_seed(metrics)
    pairs = [(base[seed], policy[seed]) for seed in seeds]
    report: dict[str, Any] = {"entropy_of": entropy_of, "pass_at_k": _pass_at_k(pairs), "interval_over": "seeds" if len(seeds) > 1 else "problems"}
    if "samples" in policy[seeds[0]]:
        report["samples"] = policy[seeds[0]]["samples"]
    for name in ("entropy", "distinct"):
        ends = [[_number(row[seed].get(name)) for seed in seeds] for row in (base, policy)]
        if all(value is not None for end in ends for value in end):
            report[name] = {"start": float(np.mean(ends[0])), "end": float(np.mean(ends[1]))}
    for name in ("reward", "groups_alike", "length", "length/right", "length/wrong", "ended"):
        start, end = _window(courses, name, first=True), _window(courses, name, first=False)
        if start is not None and end is not None:
            report[name] = {"start": start, "end": end}
    for name in ("ratio/q01", "ratio/q50", "ratio/q99", "ess", "kl_behaviour", "clip_fraction", *STALE):
        if (value := _window(courses, name, first=False)) is not None:
            report[name] = value
    report["iterations"] = min(map(len, courses), default=0)
    report["verifier"] = _failures(courses, messages or {})
    if "samples" in report and (unscored := sum(policy[seed].get("unscored", 0) for seed in seeds)):
        total = sum(len(policy[seed]["values"]) * policy[seed]["samples"] for seed in seeds)
        report["unscored_in_evaluation"] = {"count": unscored, "share": unscored / total}
    report["diagnoses"] = _diagnoses(report)
    return report


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _newest(evaluations: Sequence[Mapping[str, Any]], *, base: bool) -> dict[int, Mapping[str, Any]]:
    return {row["seed"]: row for row in evaluations if bool(row.get("base", False)) == base}


def _by_seed(metrics: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Each seed's rows by step; of two rows at one step the later counts."""
    seeds: dict[int, dict[int, Mapping[str, Any]]] = {}
    for row in metrics:
        seeds.setdefault(row["seed"], {})[row["step"]] = row
    return [[rows[step] for step in sorted(rows)] for _, rows in sorted(seeds.items())]


def _window(courses: list[list[Mapping[str, Any]]], name: str, *, first: bool) -> float | None:
    """The mean over seeds of a metric's mean in the first or last fifth of training; None where no seed logged it there."""
    means = []
    for rows in courses:
        count = -(-len(rows) // 5)
        values = [value for row in (rows[:count] if first else rows[-count:]) if (value := _number(row.get(name))) is not None]
        if values:
            means.append(np.mean(values))
    return float(np.mean(means)) if means else None


def _pass_at_k(pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """From the evaluations (before training, newest) of each seed."""
    shared = set.intersection(*(set(row.get("pass_at_k", {})) for pair in pairs for row in pair))
    found = {}
    for k in sorted(shared, key=int):
        values = np.array([[row["pass_at_k"][k] for row in pair] for pair in pairs])
        change = values[:, 1] - values[:, 0]
        units = change if len(pairs) > 1 else _changes_of_problems(*pairs[0], int(k))
        interval = stratified_bootstrap(units, mean, bounds=(-1.0, 1.0))
        ends = {"low": interval.low, "high": interval.high}
        found[k] = {"base": float(values[:, 0].mean()), "policy": float(values[:, 1].mean()), "change": float(change.mean())} | ends
    return found


def _changes_of_problems(base: Mapping[str, Any], policy: Mapping[str, Any], k: int) -> np.ndarray:
    """The change of one seed's pass@k in each problem `[P]`; where samples were not counted, the change alone."""
    if not all("samples" in row for row in (base, policy)) or len(base["values"]) != len(policy["values"]):
        return np.array([policy["pass_at_k"][str(k)] - base["pass_at_k"][str(k)]])
    before, after = (pass_at_k(row["samples"], np.rint(np.array(row["values"]) * row["samples"]).astype(int), k) for row in (base, policy))
    return after - before


def _failures(courses: list[list[Mapping[str, Any]]], messages: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """How many answers of training have each status; an iteration logs the shares, and the answers drawn up to it."""
    total, counts = 0.0, dict.fromkeys(STATUSES, 0.0)
    for rows in courses:
        before = 0.0
        for row in rows:
            samples = _number(row.get("samples"))
            if samples is None:
                continue
            for status in STATUSES:
                counts[status] += (_number(row.get(f"score/{status}")) or 0.0) * (samples - before)
            total, before = total + samples - before, samples
    return {
        status: {"count": round(count), "share": count / total} | ({"message": messages[status]} if status in messages else {})
        for status, count in counts.items()
        if count > 0
    }


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.1 or share == 0 else 1}f} %"


def _share(course: Mapping[str, float] | None) -> float | None:
    """What is left of a course's start."""
    return course["end"] / course["start"] if course is not None and course["start"] > 0 else None


def _lost(change: Mapping[str, float | None] | None) -> bool:
    """Whether a pass@k fell below the base policy's by more than chance."""
    return change is not None and change["change"] <= -PASS_LOST and (change["high"] is None or change["high"] < 0)


def _diagnoses(report: Mapping[str, Any]) -> list[str]:
    return [*_of_variety(report), *_of_samples(report), *_of_updates(report)]


def _of_variety(report: Mapping[str, Any]) -> list[str]:
    """Entropy, distinct answers and pass@k beside the base policy's."""
    lines = []
    passes = report["pass_at_k"]
    first, most = passes.get("1"), max(passes, key=int, default="1")
    left = _share(report.get("entropy"))
    fell = "" if left is None else f"entropy fell to {_percent(left)} of its start"
    if left is not None and left < ENTROPY_LOST and "distinct" in report:
        fell += f" (distinct answers from {report['distinct']['start']:.1f} to {report['distinct']['end']:.1f})"
    if most != "1" and _lost(passes[most]):
        below = f"pass@{most} is {-passes[most]['change']:.2f} below the base policy's"
        if left is not None and left < ENTROPY_LOST:
            lines.append(f"{fell} and {below}: diversity was lost")
        else:
            lines.append(f"{below} ({passes[most]['base']:.2f} before, {passes[most]['policy']:.2f} now): problems that it could solve were lost")
    elif left is not None and left < ENTROPY_GONE and first is not None and first["policy"] < 0.9:
        lines.append(f"{fell} with pass@1 at {first['policy']:.2f}: wrong answers are as certain as right ones")
    if left is not None and left > ENTROPY_RISEN and report["entropy"]["end"] - report["entropy"]["start"] > NOISE:
        lines.append(f"entropy rose to {_percent(left)} of its start: the policy drifts towards noise")
    if _lost(first):
        lines.append(f"pass@1 is {-first['change']:.2f} below the base policy's: training made it worse")
        if (reward := report.get("reward")) is not None and reward["end"] > reward["start"]:
            lines[-1] += f", while the reward rose from {reward['start']:.2f} to {reward['end']:.2f}: it rewards something else"
    elif (
        first is not None
        and first["change"] < PASS_STILL
        and report["iterations"] >= LEAST_ITERATIONS
        and (reward := report.get("reward"))
        and reward["end"] - reward["start"] >= REWARD_ALONE
    ):
        lines.append(
            f"the training reward rose from {reward['start']:.2f} to {reward['end']:.2f}, pass@1 stayed at {first['policy']:.2f}: "
            "held-out answers are scored by another rule than training, or what was learned does not carry over to them"
        )
    return lines


def _of_samples(report: Mapping[str, Any]) -> list[str]:
    """What the samples of training teach: equal rewards, lengths, answers that were cut or not scored."""
    lines = []
    if "groups_alike" in report and (alike := report["groups_alike"]["end"]) >= ALIKE:
        reward = f" (mean reward {report['reward']['end']:.2f})" if "reward" in report else ""
        lines.append(f"{_percent(alike)} of groups had equal rewards in the last fifth{reward}: most samples teach nothing")
    right, wrong, length = (_share(report.get(name)) for name in ("length/right", "length/wrong", "length"))
    if wrong is not None and wrong >= LENGTHENED and (right is None or wrong > right):
        beside = "" if right is None else f", right ones {right:.1f} times"
        lines.append(f"wrong answers became {wrong:.1f} times as long{beside}: length grows without being right")
    if length is not None and length <= SHORTENED:
        lines.append(f"answers shrank to {_percent(length)} of their length ({report['length']['start']:.0f} tokens before, {report['length']['end']:.0f} now)")
    if "ended" in report and (cut := 1 - report["ended"]["end"]) >= CUT and report["ended"]["end"] < report["ended"]["start"]:
        lines.append(f"{_percent(cut)} of answers were cut at the limit in the last fifth, {_percent(1 - report['ended']['start'])} in the first")
    failures = report["verifier"]
    if sum(failure["share"] for failure in failures.values()) > 1 - 1e-6:
        lines.append(none_scored(failures))
    else:
        for status, failure in failures.items():
            if failure["share"] >= UNSCORED:
                said = f": {failure['message']}" if "message" in failure else ""
                lines.append(f"{_percent(failure['share'])} of answers ({failure['count']:,}) could not be scored, {status}{said}")
    if (evaluation := report.get("unscored_in_evaluation")) is not None and evaluation["share"] >= UNSCORED:
        share = "none" if evaluation["share"] == 1 else f"{_percent(evaluation['share'])}"
        said = "could be scored" if evaluation["share"] == 1 else "could not be scored"
        lines.append(f"{share} of the answers of the last evaluation ({evaluation['count']:,}) {said}: they count as wrong")
    return lines


def none_scored(failures: Mapping[str, Mapping[str, Any]]) -> str:
    """That no answer could be scored, and why: `none of the 512 answers could be scored: 512 CRASHED: ValueError: …`.

    Args:
        failures: for each status {"count"}, and "message" where there is one.
    """
    each = [f"{failure['count']:,} {status.upper()}" + (f": {failure['message']}" if failure.get("message") else "") for status, failure in failures.items()]
    return f"none of the {sum(failure['count'] for failure in failures.values()):,} answers could be scored: {'; '.join(each)}"


def _of_updates(report: Mapping[str, Any]) -> list[str]:
    """How far updates go from the policy that sampled."""
    lines = []
    if "ess" in report and report["ess"] < ESS_LOW:
        lines.append(f"the effective sample size was {_percent(report['ess'])} in the last fifth: few samples decide the updates")
    low, high = report.get("ratio/q01", 1.0), report.get("ratio/q99", 1.0)
    if high > RATIO_HIGH or low < 1 / RATIO_HIGH:
        lines.append(f"a step in a hundred has a ratio below {low:.2g} or above {high:.2g}: updates go far from the policy that sampled")
    if (apart := report.get("importance/kl", 0.0)) > KL_HIGH or report.get("importance/ess", 1.0) < ESS_LOW:
        share = _percent(report["importance/ess"])
        lines.append(f"what acted is {apart:.2g} nats a token from the policy that learns, and few samples decide ({share} in effect): lower --staleness")
    if "kl_behaviour" in report and report["kl_behaviour"] > KL_HIGH:
        lines.append(f"an iteration moves the policy by {report['kl_behaviour']:.2g} nats a token: its later updates learn from another policy's samples")
    return lines


def change_text(entry: Mapping[str, float | None]) -> str:
    """The change of a pass@k with its interval: `+0.125 [+0.051, +0.203]`."""
    ends = "" if entry["low"] is None else f" [{entry['low']:+.3f}, {entry['high']:+.3f}]"
    return f"{entry['change']:+.3f}{ends}"


def collapse_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The report's figures but pass@k as (name, text), for a terminal and the page."""
    rows: list[tuple[str, str]] = []

    def course(name: str, title: str, text: Callable[[float], str], unit: str = "") -> None:
        if name in report:
            rows.append((title, f"{text(report[name]['start'])} → {text(report[name]['end'])}{unit}"))

    course("reward", "reward in training", "{:.3g}".format)
    course("entropy", "entropy", "{:.3g}".format, f" nats a {report['entropy_of']}")
    course("distinct", "distinct answers", "{:.1f}".format, f" of {report['samples']}" if "samples" in report else "")
    course("groups_alike", "groups of equal rewards", _percent)
    for name, title in (("length/right", "length of right answers"), ("length/wrong", "length of wrong answers")):
        course(name, title, "{:.1f}".format, " tokens")
    course("ended", "answers that ended", _percent)
    if "ratio/q50" in report:
        quantiles = ", ".join(f"{report[f'ratio/q{q}']:.3g}" for q in ("01", "50", "99"))
        rows.append(("ratio at 1, 50, 99 %", quantiles))
    if "ess" in report:
        rows.append(("effective sample size", f"{_percent(report['ess'])} of the steps"))
    if "kl_behaviour" in report:
        behaviour = "before the update" if "importance/kl" in report else "behaviour"
        rows.append((f"KL({behaviour} ‖ trained)", f"{report['kl_behaviour']:.2g} nats a token"))
    if "staleness" in report:
        rows.append(("weights that acted", f"{report['staleness']:.2g} updates behind, at most {report['staleness/most']:.2g}"))
    if "importance/kl" in report:
        kl, ess, cut = (report[f"importance/{name}"] for name in ("kl", "ess", "cut"))
        rows.append(("KL(acted ‖ before the update)", f"{kl:.2g} nats a token, effective sample size {_percent(ess)}, {_percent(cut)} of weights cut"))
    for status, failure in report["verifier"].items():
        said = f": {failure['message']}" if "message" in failure else ""
        rows.append((f"not scored, {status}", f"{failure['count']:,} answers ({_percent(failure['share'])}){said}"))
    if "unscored_in_evaluation" in report:
        failure = report["unscored_in_evaluation"]
        rows.append(("not scored in evaluation", f"{failure['count']:,} answers ({_percent(failure['share'])})"))
    return rows
