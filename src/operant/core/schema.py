"""What the files of a run may hold. A run may come from anywhere: what is read from it is checked here before anything relies on it.

A check is a function from a value to what is wrong with it, an empty string where nothing is. Objects may hold more than is named: later versions add to them.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from operant.core.errors import BadInput
from operant.core.status import Status

Check = Callable[[Any], str]

MOST = 2**63 - 1  # of a count: what NumPy and PyTorch can hold
MOST_SEEDS = 10_000
MOST_PROCESSES = 1_024
MOST_THREADS = 4_096


def require(value: Any, check: Check, where: object) -> Any:
    """The value, where its check finds nothing. Raises `BadInput` that begins with `where`."""
    if problem := check(value):
        raise BadInput(f"{where}: {problem}")
    return value


def _found(value: Any) -> str:
    shown = repr(value)
    return f"found {shown if len(shown) <= 60 else shown[:57] + '…'}"


def anything(value: Any) -> str:
    return ""


def text(value: Any) -> str:
    return "" if isinstance(value, str) else f"must be text, {_found(value)}"


def flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"must be true or false, {_found(value)}"


def integer(low: int, high: int = MOST) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"must be an integer, {_found(value)}"
        return "" if low <= value <= high else f"must be at least {low}, {_found(value)}" if value < low else f"must be at most {high:,}, {_found(value)}"

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A number that a float can hold; NaN only where there are no bounds."""

    def check(value: Any) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool) or (isinstance(value, int) and abs(value) > 1e300):
            return f"must be a number, {_found(value)}"
        bounded = low > -math.inf or high < math.inf
        return f"must be in [{low:g}, {high:g}], {_found(value)}" if bounded and not low <= value <= high else ""

    return check


def one_of(*values: str) -> Check:
    return lambda value: "" if isinstance(value, str) and value in values else f"must be {' or '.join(values)}, {_found(value)}"


def maybe(check: Check) -> Check:
    """Null, or what `check` takes."""
    return lambda value: "" if value is None else check(value)


def sequence(check: Check, least: int = 0) -> Check:
    def of(value: Any) -> str:
        if not isinstance(value, list) or len(value) < least:
            return f"must be a list{' of at least one' * bool(least)}, {_found(value)}"
        return next((f"[{place}] {problem}" for place, item in enumerate(value) if (problem := check(item))), "")

    return of


def mapping(check: Check, key: str = ".*") -> Check:
    """An object of any names that match `key`, each of whose values `check` takes."""

    def of(value: Any) -> str:
        if not isinstance(value, dict):
            return f"must be an object, {_found(value)}"
        if wrong := [name for name in value if not re.fullmatch(key, name, re.DOTALL)]:
            return f"must be an object whose names are numbers, {_found(wrong[0])}"
        return next((f"{_name(name)} {problem}" for name, item in value.items() if (problem := check(item))), "")

    return of


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object of named values."""
    checks = {**required, **(optional or {})}

    def of(value: Any) -> str:
        if not isinstance(value, dict):
            return f"must be an object, {_found(value)}"
        if missing := [name for name in required if name not in value]:
            return f"has no {', '.join(missing)}"
        return next((f"{name} {problem}" for name, check in checks.items() if name in value and (problem := check(value[name]))), "")

    return of


def _name(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"


_COUNT, _AMOUNT = integer(0), integer(1)
_RANK = "[1-9][0-9]{0,8}"  # a k
_SPENT = record({"samples": number(0), "tokens": number(0)}, {"seconds": number(0)})
_PASS_AT_K = mapping(number(0, 1), _RANK)

_WIDTH = integer(1, 1_000_000)
_BOUNDS = sequence(lambda value: "" if value in ("-inf", "inf") else number(-sys.float_info.max, sys.float_info.max)(value), 1)
_FIELD = record(
    {"name": text, "shape": sequence(_WIDTH)},
    {
        "dtype": text,
        "kind": one_of("box", "discrete", "multi-discrete", "multi-binary"),
        "counts": sequence(_WIDTH),
        "starts": sequence(integer(-MOST)),
        "low": _BOUNDS,
        "high": _BOUNDS,
        "role": one_of("", "action_mask", "goal", "agent", "state"),
        "stack": _WIDTH,
        "scaled": flag,
    },
)
RUN_FIELDS = sequence(_FIELD, 1)
"""What an observation or an action consists of."""

_ASKED = {
    "step_unit": text,
    "device": one_of("cpu", "cuda"),
    "threads": integer(1, MOST_THREADS),
    "budget": record({"unit": one_of("steps", "samples", "tokens", "seconds"), "amount": number(0, float(MOST))}),
    "every": number(1),
    "episodes": maybe(_AMOUNT),
    "fingerprint": text,
    "track": sequence(text),
}
_TOLD = {
    "keep": integer(2),
    "notes": sequence(text),
    "imports": sequence(text),
    "digests": mapping(text),
    "failed": text,
    "code": sequence(text),
    "members": sequence(sequence(integer(0), 1), 1),
    "members_before": integer(0),
    "preset": record({"name": text, "source": text}),
    "spaces": record({"observation": sequence(text), "action": sequence(text)}),
    "fields": record({"observation": RUN_FIELDS, "action": RUN_FIELDS}),
    "from": record({"run": text, "method": text, "task": text, "takes": one_of("policy", "all"), "digests": mapping(text)}),
    "policy_module": text,
    "options": mapping(anything),
    "task_callable": flag,
    "not_resumable": text,
    "resume": text,
    "iteration": integer(1),
    "kernels": one_of("native", "onednn", "mixed"),
    "processes": integer(2, MOST_PROCESSES),
    "sample_workers": integer(1, 1_000),
    "staleness": integer(1, 100),
    "truncate_importance": number(0),
    "sample_on": text,
    "compile": flag,
    "cuda_graphs": flag,
    "versions": mapping(text),
    "hardware": mapping(anything),
}
_RUN = {
    "method": text,
    "task": text,
    "seeds": integer(1, MOST_SEEDS),
    "seed": _COUNT,
    "steps": _COUNT,
    "hyperparameters": mapping(anything),
}
RUN = record(_RUN, _ASKED | _TOLD)
RUN_TO_GO_ON = record(_RUN | _ASKED, _TOLD)

_SCORE = record({"name": text, "iqm": number(), "low": maybe(number()), "high": maybe(number()), "per_seed": sequence(number(), 1)})
_COURSE = record({"start": number(), "end": number()})
_COURSES = ("entropy", "distinct", "groups_alike", "length", "length/right", "length/wrong", "ended", "reward")
_FIGURES = ("samples", "ess", "ratio/q01", "ratio/q50", "ratio/q99", "kl_behaviour", "clip_fraction")
_STALE = ("staleness", "staleness/most", "importance/kl", "importance/ess", "importance/cut")
COLLAPSE = record(
    {
        "pass_at_k": mapping(record({"base": number(), "policy": number(), "change": number(), "low": maybe(number()), "high": maybe(number())}), _RANK),
        "verifier": mapping(record({"count": integer(0), "share": number()}, {"message": text})),
        "diagnoses": sequence(text),
    },
    {"entropy_of": text} | dict.fromkeys(_COURSES, _COURSE) | dict.fromkeys((*_FIGURES, *_STALE), number()),
)
RESULT = record(
    {"run": text, "method": text, "task": text, "seeds": _AMOUNT, "steps": _COUNT, "score": _SCORE, "seconds": number(0), "steps_per_second": number(0)},
    {
        "base": _SCORE,
        "measures": mapping(_SCORE),
        "evaluation_seconds": number(0),
        "parts": record({"collect": number(0), "update": number(0)}),
        "spent": _SPENT,
        "pass_at_k": record({"policy": _PASS_AT_K, "base": _PASS_AT_K}),
        "collapse": COLLAPSE,
    },
)

_PLACE = {"step": _COUNT, "seed": _COUNT}


def METRICS(row: Any) -> str:
    """A row of metrics.jsonl."""
    if problem := _METRICS(row):
        return problem
    return next((f"{_name(name)} must be a number, {_found(value)}" for name, value in row.items() if isinstance(value, int) and abs(value) > 1e300), "")


_METRICS = record(_PLACE, {"seconds": number(0)})
_EVALUATION = record(
    _PLACE | {"score": text, "value": number()},
    {"values": sequence(number()), "base": flag, "measures": mapping(number()), "pass_at_k": _PASS_AT_K, "samples": integer(1, 10**9)},
)


def EVALUATION(row: Any) -> str:
    """A row of evaluations.jsonl."""
    if problem := _EVALUATION(row):
        return problem
    if "samples" in row and (problem := sequence(number(0, 1))(row.get("values"))):
        return f"values, of {row['samples']} samples each, {problem}"
    if "samples" in row and (beyond := [k for k in row.get("pass_at_k", {}) if int(k) > row["samples"]]):
        return f"pass_at_k has k {beyond[0]}, of {row['samples']} samples"
    return ""


def _status(value: Any) -> str:
    names = ", ".join(status.name.lower() for status in Status)
    return "" if isinstance(value, str) or (integer(0)(value) == "" and value in set(Status)) else f"must be one of {names}, {_found(value)}"


_TOKEN = record({"text": text}, dict.fromkeys(("log_prob", "advantage", "entropy", "ratio", "kl"), maybe(number())) | {"turn": _COUNT, "reply": flag})
COMPLETION = record(
    _PLACE | {"group": _COUNT, "prompt": text, "tokens": sequence(_TOKEN)},
    {"reward": maybe(number()), "status": _status},
)

_FINISHED = record(
    {"seed": _COUNT, "step": _COUNT, "score": text, "value": number()}, {"spent": _SPENT, "pass_at_k": _PASS_AT_K, "measures": mapping(number())}
)
STATE = record(
    {
        "learner": record({}, {"step": _COUNT, "spent": _SPENT}),
        "run": record(
            {
                "member": _COUNT,
                "finished": sequence(_FINISHED),
                "base": sequence(record({"value": number(), "pass_at_k": maybe(_PASS_AT_K)})),
                "best": mapping(number()),
                "seconds": record({"total": number(0), "training": number(0), "member": number(0)}, {"collecting": number(0)}),
                "offsets": mapping(_COUNT),
            },
            {"messages": mapping(text), "due": flag, "of": mapping(anything)},
        ),
    }
)
"""A checkpoint's state as far as every run has it; what is the learner's own, the learner reads."""


_CHECKED = record({"name": text, "says": text, "tier": text, "holds": maybe(flag), "run": maybe(_COUNT)})
_SITTING = record({"command": text, "sources": maybe(text), "commit": maybe(text)})
_CLAIM = record({"key": text, "verdict": text, "checks": sequence(_CHECKED), "runs": sequence(_SITTING)})


def CLAIM(value: Any) -> str:
    """What was measured of a claim."""
    if problem := _CLAIM(value):
        return problem
    beyond = [each["run"] for each in value["checks"] if each["run"] is not None and each["run"] >= len(value["runs"])]
    return f"checks name run {beyond[0]}, of {len(value['runs'])}" if beyond else ""
