"""The search for good hyper-parameters: trials, each a run of several seeds, of values that Optuna proposes from what earlier trials gave.

What is asked and each trial's values and outcome are kept beside the runs as JSON of our own, from which Optuna's study is made anew before each trial; so a
search goes on where it was stopped, and proposes what it would have proposed. Values are kept as they would be typed.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from operant.core import schema
from operant.core.commands import going_on
from operant.core.elsewhere import named_elsewhere
from operant.core.errors import BadInput, Interrupted, RunFailed, nearest, one_line
from operant.core.files import check_target, given_path, read_json, read_rows, remove, write_atomic
from operant.core.registry import Hyperparameter, Method, Tune, configure, get_method, hyperparameters, read_value, value_text
from operant.core.schema import Check, integer, mapping, maybe, number, one_of, record, require, sequence, text
from operant.core.seeds import derive_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from operant.loops.runner import Listener, Update

DRAWN = 32  # settings of the ranges that are looked at before the first trial
STARTUP = 5  # trials that draw at random before the search learns from any, and that none is pruned against
BEFORE = 0.2  # share of the budget before which none is pruned
MOST_TRIALS = 10_000
RUN = "trial-{:04d}"

_ASKED = record(
    {
        "method": text,
        "task": text,
        "ranges": mapping(text),
        "settings": mapping(text),
        "seeds": integer(1),
        "seed": integer(0),
        "budget": record({"unit": text, "amount": number(0)}),
    },
    {"jobs": integer(1)},
)
_TRIAL: Check = record(
    {"values": mapping(text), "state": one_of("done", "pruned", "failed"), "score": maybe(number()), "course": sequence(sequence(number(), 2))}, {"why": text}
)


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: from 0.
        values: of the hyper-parameters that are searched, as they would be typed.
        state: "done", "pruned" (it was no better than most had been by then) or "failed".
        score: the IQM over its seeds at the end; None where it has none.
        course: (steps, mean score) of its evaluations.
        why: it failed.
    """

    number: int
    values: dict[str, str]
    state: str
    score: float | None
    course: list[list[float]]
    why: str = ""


class _Pruned(Exception):
    """Raised in a run that is not worth its end."""


class Attempt:
    """A trial at work.

    Attributes:
        number: from 0.
        values: of the hyper-parameters that are searched, as they would be typed.
        path: its run.
        configured: of `configure_run`, of what all trials have in common.
        course: (steps, mean score) of its evaluations.
        pruned: it is no better than most had been by then, and ends there.
    """

    def __init__(self, number: int, values: dict[str, str], path: Path, configured: tuple[dict[str, Any], Any, Any], live: Any):
        self.number, self.values, self.path, self.configured = number, values, path, configured
        self.course: list[list[float]] = []
        self.pruned = False
        self._live = live
        self._bytes = -1  # of the log that were read

    def look(self) -> bool:
        """Hear of evaluations that the run has had since; whether it is pruned. Of seeds that train one after the other nothing is told before the end."""
        config, world, _ = self.configured
        log = self.path / "evaluations.jsonl"
        if self.pruned or not world.stacked or not log.is_file() or self._bytes == (size := log.stat().st_size):
            return self.pruned
        self._bytes, scores = size, {}
        for row in read_rows(log, schema.EVALUATION):
            if row["step"]:
                scores.setdefault(row["step"], []).append(row["value"])
        asked, stride = config["budget"], read_json(self.path / "run.json").get("iteration", 1)
        last = max(1, asked["amount"] // stride) * stride if asked["unit"] == "steps" else math.inf
        for step, found in sorted(scores.items())[len(self.course) :]:
            if len(found) < config["seeds"]:  # it is being written
                break
            self.course.append([step, sum(found) / len(found)])
            self._live.report(self.course[-1][1], int(step))
            if step < last and self._live.should_prune():
                self.pruned = True
                break
        return self.pruned


Trains = Callable[[list[Attempt]], list[str | None]]
"""What trains several trials side by side: from them to why each failed, None where it did not. Those that `look` prunes are ended."""


class Search:
    """The ranges of a method's hyper-parameters.

    Args:
        names: of those that are searched; None for all that have a range and are not given.
        ranges: by name, in the place of the declared ones: `LOW:HIGH`, `LOW:HIGH:log`, or `A|B|…`.
        given: names of those that are set.

    Raises:
        BadInput: an unknown name, one that is set as well, a range that the hyper-parameter cannot take, or nothing to search.
    """

    def __init__(self, entry: Method, names: Iterable[str] | None, ranges: Mapping[str, str], given: Iterable[str]):
        items = {item.name: item for item in hyperparameters(entry.hyperparameters)}
        ranges = {name.replace("-", "_"): words for name, words in ranges.items()}
        chosen = None if names is None else [name.replace("-", "_") for name in names]
        for name in (*ranges, *(chosen or ())):
            if name not in items:
                raise BadInput(f"unknown hyper-parameter of {entry.key} {name!r}: {named_elsewhere(name, items) or nearest(name, items)}")
            if name in given:
                raise BadInput(f"{name} is set and searched: do one of them")
        if chosen is None:
            chosen = [name for name, item in items.items() if (item.tune is not None or name in ranges) and name not in given]
        self.ranges = {name: _range(items[name], ranges[name]) if name in ranges else items[name].tune for name in dict.fromkeys([*chosen, *ranges])}
        if bare := [name for name, tune in self.ranges.items() if tune is None]:
            raise BadInput(f"{bare[0]} of {entry.key} has no range to search in: give one, --range {bare[0].replace('_', '-')}=LOW:HIGH or A|B|C")
        if not self.ranges:
            raise BadInput(f"{entry.key} has no hyper-parameter with a range that is not set: give one, --range NAME=LOW:HIGH or NAME=A|B|C")
        self._whole = {name: items[name].type is int for name in self.ranges}
        self._defaults = {name: value_text(items[name].default) for name in self.ranges}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's, by name: choices as they would be typed."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, BaseDistribution] = {}
        for name, tune in self.ranges.items():
            if tune.choices:
                found[name] = CategoricalDistribution([value_text(value) for value in tune.choices])
            elif self._whole[name]:
                found[name] = IntDistribution(int(tune.low), int(tune.high), log=tune.log)
            else:
                found[name] = FloatDistribution(float(tune.low), float(tune.high), log=tune.log)
        return found

    def typed(self, proposed: Mapping[str, Any]) -> dict[str, str]:
        """What Optuna proposed, as it would be typed: numbers of three digits within the bounds."""
        found = {}
        for name, value in proposed.items():
            tune = self.ranges[name]
            found[name] = value_text(min(max(float(f"{value:.3g}"), tune.low), tune.high)) if isinstance(value, float) else value_text(value)
        return found

    def check(self, check: Callable[[dict[str, str]], None], seed: int) -> None:
        """Look at settings that are drawn from the ranges, before the first trial.

        Args:
            check: raises `BadInput` for settings that cannot be trained.

        Raises:
            BadInput: no other value of a hyper-parameter than its default can be trained.
        """
        draws, told = np.random.default_rng(derive_seed(seed, "ranges")), []
        for _ in range(DRAWN):
            values = self.typed({name: self._drawn(name, draws) for name in self.ranges})
            try:
                check(values)
                told.append((values, None))
            except BadInput as error:
                told.append((values, error))
        for name, default in self._defaults.items():
            others = [error for values, error in told if values[name] != default]
            if others and all(others):
                raise BadInput(f"of {len(others)} settings drawn from the ranges with another {name} than {default} none can be trained: {others[0]}")

    def _drawn(self, name: str, draws: np.random.Generator) -> Any:
        tune = self.ranges[name]
        if tune.choices:
            return value_text(tune.choices[draws.integers(len(tune.choices))])
        if self._whole[name]:
            return int(draws.integers(int(tune.low), int(tune.high) + 1))
        low, high = (math.log(tune.low), math.log(tune.high)) if tune.log else (tune.low, tune.high)
        drawn = draws.uniform(low, high)
        return math.exp(drawn) if tune.log else drawn

    def read(self, values: Mapping[str, str]) -> dict[str, Any]:
        """The inverse of `typed`, for Optuna. Raises `ValueError` for what is in no range."""
        found = {}
        for name, words in values.items():
            tune = self.ranges[name]
            found[name] = words if tune.choices else int(words) if self._whole[name] else float(words)
            if words not in map(value_text, tune.choices) if tune.choices else not tune.low <= found[name] <= tune.high:
                raise ValueError(f"{name} {words} is not in {tune}")
        return found


def _range(item: Hyperparameter, words: str) -> Tune:
    """A range that a person gave."""
    if "|" in words:
        choices = tuple(choice.strip() for choice in words.split("|"))
        for choice in choices:
            read_value(item, choice, f"--range {item.name.replace('_', '-')}={words}: {item.name}")
        return Tune(choices=choices)
    number = r"\s*([-+.\deE_]+)\s*"
    found = re.fullmatch(rf"{number}:{number}(:\s*log\s*)?", words)
    form = f"--range {item.name.replace('_', '-')}={words}: write LOW:HIGH, LOW:HIGH:log or A|B|C"
    if found is None:
        raise BadInput(form)
    try:
        low, high = float(found[1]), float(found[2])
    except ValueError:
        raise BadInput(form) from None
    if item.type not in (int, float) or not (math.isfinite(low) and math.isfinite(high)):
        raise BadInput(f"{form}; {item.name} is no number" if item.type not in (int, float) else form)
    if not low < high:
        raise BadInput(f"--range {item.name}: {words} ends at or below where it begins")
    if found[3] and low <= 0:
        raise BadInput(f"--range {item.name}: a logarithmic range begins above 0, not at {found[1]}")
    for bound in (low, high):
        if item.range is not None and not item.range.holds(bound):
            raise BadInput(f"--range {item.name}: {value_text(bound)} is outside what {item.name} may be, {item.range}")
        if item.type is int and bound != int(bound):
            raise BadInput(f"--range {item.name}: {value_text(bound)} is not a whole number")
    return Tune(low, high, log=found[3] is not None)


@dataclass(frozen=True)
class Tuned:
    """A search that is done.

    Attributes:
        folder: where its runs are.
        asked: what was asked.
        trials: in their order.
    """

    folder: Path
    asked: dict[str, Any]
    trials: list[Trial]

    @property
    def finished(self) -> list[Trial]:
        """The trials that trained to their end, the best first."""
        return sorted((trial for trial in self.trials if trial.state == "done"), key=lambda trial: -trial.score)

    @property
    def settings(self) -> dict[str, str]:
        """The best trial's values and what was set, as they would be typed."""
        return self.asked["settings"] | self.finished[0].values

    def run(self, trial: Trial) -> Path:
        """A trial's run."""
        return self.folder / RUN.format(trial.number + 1)

    def steps(self, trial: Trial) -> int:
        """Steps that each seed of a trial trained, of one that trained to its end."""
        from operant.core.run import RunDirectory

        return RunDirectory.open(self.run(trial)).result["steps"]

    @property
    def unfair(self) -> str:
        """That the trials did not train as many steps, in words; empty where they did. Iterations are done whole, and may be long ones."""
        from operant.core.run import RunDirectory
        from operant.evaluate.compare import common_budget, unequal

        budget, trained = self.asked["budget"], [self.steps(trial) for trial in self.finished]
        if budget["unit"] != "steps" or not unequal(trained):
            return ""
        iterations = [RunDirectory.open(self.run(trial)).config.get("iteration") for trial in self.finished]
        told = f"trials trained {min(trained):,} to {max(trained):,} steps a seed, of {budget['amount']:,}, for iterations are done whole"
        return f"{told}: those of fewer had less to learn from{common_budget(iterations, [budget['amount']])}"


def tune(
    method: str,
    task: str,
    *,
    trials: int = 20,
    seeds: int = 3,
    seed: int = 0,
    search: Iterable[str] | None = None,
    ranges: Mapping[str, str] | None = None,
    out: str | Path = "runs/tune",
    say: Callable[[str], None] = lambda line: None,
    watched: Callable[[int], AbstractContextManager[Listener]] | None = None,
    jobs: int = 1,
    trains: Trains | None = None,
    **settings: Any,
) -> Tuned:
    """Search for hyper-parameters of `method` on `task`.

    Args:
        trials: how many. Called again with the same `out`, it goes on with a search of the same settings, to more trials where more are asked.
        seeds: of each trial, the same ones in all; they are `seed, seed + 1, …`.
        search: hyper-parameters to search; all that have a range and are not set by default.
        ranges: by name, in the place of those that are declared beside the hyper-parameters: "1e-4:1e-2:log", "8:64" or "0.9|0.99".
        out: the folder of the runs.
        say: hears of each trial in a line.
        watched: from a trial's number to a context with a listener for its run.
        jobs: trials that are proposed together, from what those before them gave. They are what `trains` is handed.
        trains: trains them side by side; in this process, one after the other, by default.
        settings: what `operant.train` takes besides, fixed in all trials: budget, `every`, hyper-parameters, options of the task.

    Returns:
        The search; its best trial is judged by the seeds that chose it, so train the winner with others before believing its score.

    Raises:
        BadInput: as `operant.train`, of a search that is there with other settings, or Optuna is not installed.
        RunFailed: no trial trained to its end.
        Interrupted: SIGINT or SIGTERM; called again it goes on.
    """
    try:
        import optuna
    except ImportError as error:
        raise BadInput(f"operant tune needs {error.name}: pip install 'operant[tune]'") from error
    from operant.loops.configuration import configure_run, split_names, whole_number
    from operant.worlds import kind_of

    if not isinstance(task, str):
        raise BadInput("operant tune searches on tasks that are named, as gym:CartPole-v1")
    folder = given_path(out, "--out").absolute()  # an environment may change the working directory
    trials = whole_number("trials", trials, 1, MOST_TRIALS)
    entry = get_method(method)
    budget = {name: settings.pop(name) for name in ("steps", "samples", "tokens", "seconds") if settings.get(name) is not None}
    runs = {name: settings.pop(name) for name in ("device", "threads", "every", "episodes", "keep", "preset") if settings.get(name) is not None}
    own, _ = split_names(entry, kind_of(task), settings)
    looked = Search(entry, search, ranges or {}, own)
    checked = {name: value for name, value in runs.items() if name != "keep"}
    config, world, spine = configure_run(method, task, seeds=seeds, seed=seed, **budget, **checked, hyperparameters=settings)
    asked = {
        "method": method,
        "task": world.task,
        "ranges": {name: str(tune) for name, tune in looked.ranges.items()},
        "settings": {name: value_text(value) for name, value in {**settings, **checked}.items()},
        "seeds": seeds,
        "seed": seed,
        "budget": config["budget"],
        "jobs": whole_number("jobs", jobs, 1, MOST_TRIALS),
    }
    check_target(folder / "tune.json")
    if not (folder / "trials.jsonl").exists() and "not_resumable" not in config:  # with Python objects among the settings

        def check(values: Mapping[str, str]) -> None:
            drawn = entry.build(configure(method, {**config["hyperparameters"], **values}))
            if not world.to_check:  # what takes seconds each time
                drawn.check(world, [seed + index for index in range(seeds)], config["steps"], config["episodes"])

        looked.check(check, seed)
    kept = _begin(folder, asked, looked)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    work = _Work(folder, asked, looked, (config, world, spine), watched, trains, budget | runs | settings)
    while len(kept) < trials:
        first = len(kept) // jobs * jobs
        fresh = work.trials(kept[:first], range(len(kept), min(first + jobs, trials)))
        kept += fresh
        write_atomic(folder / "trials.jsonl", "".join(json.dumps(vars(trial)) + "\n" for trial in kept))
        found = Tuned(folder, asked, kept)
        for trial in kept:  # replay and moments of those that are not the best are not gone on with
            if not found.finished or trial is not found.finished[0]:
                remove(found.run(trial) / "checkpoints")
        for last in fresh:
            told = f"score {last.score:.4g}" if last.state == "done" else last.state + (f": {last.why}" if last.why else "")
            say(f"trial {last.number + 1} of {trials}: {told}, {', '.join(f'{name} {value}' for name, value in last.values.items())}")
    found = Tuned(folder, asked, kept)
    if not found.finished:
        raise RunFailed(f"none of {len(kept)} trials trained to its end; the last one: {kept[-1].why or kept[-1].state}")
    return found


def _begin(folder: Path, asked: dict[str, Any], search: Search) -> list[Trial]:
    """The trials that are done in a folder, which is made where it is not there. Raises `BadInput` where it is of another search."""
    if (folder / "run.json").exists():
        raise BadInput(f"--out {folder} is a run: choose another folder")
    try:
        before = {"jobs": 1} | require(read_json(folder / "tune.json"), _ASKED, folder / "tune.json")
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "tune.json", json.dumps(asked, indent=1))
        return []
    if differs := [name for name in asked if before.get(name) != json.loads(json.dumps(asked[name]))]:
        name = differs[0]
        raise BadInput(f"{folder} holds a search with other {name} ({one_line(before.get(name), 100)}): choose another --out, or ask for the same")
    from operant.core.run import RunDirectory

    rows = read_rows(folder / "trials.jsonl", _TRIAL)
    for place, row in enumerate(rows):
        path = folder / RUN.format(place + 1)
        if row["state"] == "done" and not (path / "run.json").exists():
            raise BadInput(f"{path} is gone, the run of a trial of this search: put it back, or begin another search with another --out")
        if row["state"] == "done" and RunDirectory.open(path).result is None:
            raise BadInput(f"{path} has no result any more, the run of a trial of this search: {going_on(path, RunDirectory.open(path).config)}")
        try:
            if search.read(row["values"]).keys() != asked["ranges"].keys() or (row["state"] == "done") != (row["score"] is not None):
                raise ValueError("other hyper-parameters, or a score where there is none")
        except (ValueError, LookupError) as error:
            raise BadInput(f"{folder / 'trials.jsonl'}, line {place + 1} is no trial of this search: {one_line(error)}") from error
    return [Trial(place, row["values"], row["state"], row["score"], row["course"], row.get("why", "")) for place, row in enumerate(rows)]


class _Work:
    """What makes trials."""

    def __init__(
        self,
        folder: Path,
        asked: dict[str, Any],
        search: Search,
        configured: tuple[dict[str, Any], Any, Any],
        watched: Callable[[int], AbstractContextManager[Listener]] | None,
        trains: Trains | None,
        settings: dict[str, Any],
    ):
        self.folder, self.asked, self.search, self.configured, self.settings = folder, asked, search, configured, settings
        self.watched, self.trains = watched, trains

    def trials(self, before: list[Trial], numbers: Iterable[int]) -> list[Trial]:
        """Trials that are proposed from those before them, trained."""
        attempts = []
        for place in numbers:
            live = self._study(before, place).ask(self.search.distributions())
            path = self.folder / RUN.format(place + 1)
            attempts.append(Attempt(place, self.search.typed(live.params), path, self.configured, live))
        if self.trains is None:
            return [self._trial(attempt, self._train(attempt)) for attempt in attempts]
        return [self._trial(attempt, why) for attempt, why in zip(attempts, self.trains(attempts), strict=True)]

    def _trial(self, attempt: Attempt, why: str | None) -> Trial:
        """What came of a trial.

        Args:
            why: it failed.
        """
        from operant.core.run import RunDirectory

        if attempt.look():
            return Trial(attempt.number, attempt.values, "pruned", None, attempt.course)
        score = None if why is not None else RunDirectory.open(attempt.path).result["score"]["iqm"]
        if why is None and not math.isfinite(score):
            score, why = None, f"its score is {score}"
        return Trial(attempt.number, attempt.values, "done" if why is None else "failed", score, attempt.course, why or "")

    def _study(self, before: list[Trial], number: int) -> Any:
        import optuna

        seed = derive_seed(self.asked["seed"], "tune", number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the sampler of several at a time is new
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=int(self.asked["budget"]["amount"] * BEFORE))
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        states = {"done": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
        for trial in before:
            study.add_trial(
                optuna.trial.create_trial(
                    state=states[trial.state],
                    value=trial.score,
                    params=self.search.read(trial.values),
                    distributions=self.search.distributions(),
                    intermediate_values={int(step): score for step, score in trial.course},
                )
            )
        return study

    def _train(self, attempt: Attempt) -> str | None:
        """Train a trial's run here, or go on with it; why it failed."""
        from operant.loops.runs import resume, train

        newest = None

        def heard(update: Update) -> None:
            nonlocal newest
            if update.score is None or update.score is newest:
                return
            newest = update.score  # another object at each evaluation
            if attempt.look():
                raise _Pruned

        try:
            with self.watched(attempt.number) if self.watched is not None else _quiet() as listener:

                def both(update: Update) -> None:
                    listener(update)
                    heard(update)

                if (attempt.path / "run.json").exists():
                    resume(attempt.path, trust=True, listener=both)
                else:
                    asked, own = self.asked, {f"{self.asked['method']}.{name}": words for name, words in attempt.values.items()}
                    train(asked["method"], asked["task"], seeds=asked["seeds"], seed=asked["seed"], out=attempt.path, listener=both, **self.settings, **own)
        except _Pruned:
            return None
        except Interrupted as error:
            raise Interrupted(f"stopped in trial {attempt.number + 1}, its state saved; the same command goes on, with --out {self.folder}") from error
        except (BadInput, RunFailed) as error:
            return one_line(error)
        return None


@contextmanager
def _quiet() -> Iterator[Listener]:
    yield lambda update: None
