"""The runner: a method, a task and seeds become a run directory, with logs, evaluations, checkpoints and a result, and a stopped run goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from operant import ops
from operant.core.checkpoint import disk_fault, write_atomic
from operant.core.errors import BadInput, OperantError, RunFailed
from operant.core.processor import keep_freed_memory
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.core.registry import Method, configure, get_method, methods
from operant.core.run import RunDirectory, machine
from operant.evaluate.collapse import run_collapse
from operant.evaluate.records import load_run
from operant.evaluate.statistics import iqm, pass_at_k, stratified_bootstrap
from operant.loops.base_policy import ensure_base_policy, ensure_models
from operant.loops.fixed import FixedLearner, FixedPolicy
from operant.loops.learner import Learner
from operant.loops.track import check_trackers, make_trackers
from operant.worlds import make_world, world_options

DEFAULT_STEPS = {"gym": 100_000, "data": 50_000, "text": 100, "sequences": 200}
MOST_STEPS = 10**9  # of a run that is limited by time
PASS_AT = (1, 2, 4, 8, 16, 32, 64)
LOGITS = 2**24  # most of one policy that stand in memory at once where completions are described


class Interrupted(OperantError):
    """The person stopped the run; its state is saved."""

    exit_code = 130


@dataclass(frozen=True)
class Update:
    """What a listener hears as a run goes on.

    Attributes:
        phase: "prepare", "train" or "evaluate".
        step, total: what is done of the budget, and all of it: steps a seed, or what the budget counts, over the seeds that train one after the other.
        metrics: `[S]` values by name.
        score: the newest mean score over seeds, and its name.
    """

    phase: str
    step: int
    total: int
    metrics: dict[str, list[float]]
    score: tuple[str, float] | None
    message: str = ""
    unit: str = "steps"


Listener = Callable[[Update], None]


class Run:
    """A run on disk: what `operant.train` returns and `operant.load` opens."""

    def __init__(self, directory: RunDirectory, world: Any = None):
        self.directory = directory
        self._policies: dict[tuple[str, int], Any] = {}
        self._world = world

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def config(self) -> dict[str, Any]:
        return self.directory.config

    @property
    def result(self) -> dict[str, Any] | None:
        """The object that `operant train --json` prints, None while the run is not finished."""
        return self.directory.result

    @property
    def world(self):
        if self._world is None:
            if self.config.get("task_callable"):
                raise BadInput(f"{self.path} trained on a Python callable ({self.config['task']}): open it with operant.resume(path, task=…)")
            self._world = make_world(self.config["task"], **self.config.get("options", {}))
            if (sample := getattr(_spine(self.config), "sample", None)) is not None and hasattr(self._world, "allow"):
                self._world.allow(sample)
        return self._world

    def load_policy(self, seed: int | None = None, which: str = "last") -> Any:
        """The trained policy of one seed (the first by default), `which` being "last" or "best"."""
        config = self.config
        seeds = [config["seed"] + index for index in range(config["seeds"])]
        seed = seeds[0] if seed is None else seed
        if seed not in seeds:
            raise BadInput(f"{self.path} has seeds {seeds[0]} to {seeds[-1]}, not {seed}")
        if (which, seed) not in self._policies:
            self._policies[which, seed] = _load_policy(self.world, config, self.path / "policies" / which / f"seed-{seed}", seed)
        return self._policies[which, seed]

    def policy(self, observation, *, seed: int | None = None) -> np.ndarray:
        """The action of the trained policy's mode at one observation `[D]` or several `[N, D]`.

        Raises:
            BadInput: on a text or sequence task, where the policy is a model over tokens (`load_policy` gives it).
        """
        if self.world.kind not in ("gym", "data"):
            raise BadInput(f"{self.config['task']} has no observations to act on: its policy is a model over tokens, {self.path}/policies/last")
        array = np.asarray(observation, dtype=np.float32)
        batch = torch.from_numpy(np.atleast_2d(array)).unsqueeze(0)
        action = self.load_policy(seed).act(batch)[0]
        return action[0] if array.ndim == 1 else action

    def evaluate(self, *, episodes: int | None = None, seed: int = 0, which: str = "last") -> dict[str, Any]:
        """Score every seed's policy on fresh episodes or problems: `{"score": …, "episodes"}` as in a run's result."""
        config = self.config
        found = []
        for index in range(config["seeds"]):
            policy = self.load_policy(config["seed"] + index, which)
            found.append(self.world.evaluate(policy, 1, **_amount(episodes), seed=seed))
        evaluation = _stack(found)
        return {"run": str(self.path), "method": config["method"], "task": config["task"], "episodes": evaluation.values.shape[1]} | summary(evaluation)

    def draw_video(self) -> Path | None:
        """One episode of the first seed's policy as an animation in `videos/`; None where the environment cannot draw."""
        config = self.config
        target = self.path / "videos" / f"seed-{config['seed']}.gif"
        if target.exists():
            return target
        if not hasattr(self.world, "render"):
            return None
        policy = self.load_policy()

        def act(observation: np.ndarray) -> np.ndarray:
            return policy.act(torch.as_tensor(observation, dtype=torch.float32).view(1, 1, -1))[0]

        frames = self.world.render(act, seed=0, max_steps=400)
        if not frames:
            return None
        from PIL import Image

        pictures = [Image.fromarray(frame).resize((300, round(300 * frame.shape[0] / frame.shape[1]))) for frame in frames]
        target.parent.mkdir(exist_ok=True)
        temporary = target.with_name(f".{target.name}")
        pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=80, loop=0)
        os.replace(temporary, target)
        return target


def train(
    method: str,
    task: Any,
    *,
    seeds: int = 1,
    seed: int = 0,
    steps: int | None = None,
    samples: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    every: int | None = None,
    keep: int = 2,
    episodes: int | None = None,
    track: tuple[str, ...] = (),
    listener: Listener | None = None,
    **hyperparameters: Any,
) -> Run:
    """Train `method` on `task` for several seeds and return the run.

    Args:
        method: a key of `operant methods`.
        task: `scheme:name`, a callable that makes a Gymnasium environment, or a world (such as `TextWorld("arithmetic", verifier=my_reward)`).
        seeds: how many; they are `seed, seed + 1, …`.
        steps: a seed, in the task's unit (environment steps, updates, iterations); rounded down to whole iterations of the method, one at least.
        samples, tokens, seconds: another budget in the place of steps, a seed: answers or tokens that are drawn in training (text and sequences), or seconds of
            training. The iteration that reaches it is the last.
        out: the run directory; a new one under `runs/` by default.
        device: "auto", "cpu" or "cuda".
        threads: of PyTorch, 1 by default: more help with many stacked seeds where nothing else runs, and slow down many times over where something does.
        every: steps (or what the budget counts) between two evaluations and checkpoints; a tenth of the budget by default.
        keep: how many checkpoints stay (at least 2).
        episodes: evaluation episodes (or problems) a seed.
        track: extra trackers, "tensorboard" or "wandb".
        listener: hears of progress.
        hyperparameters: fields of the method's dataclass, and options of the task's kind (a text task's `model`, `lora_rank`, `dtype`, `verifier`, …: fields
            of `worlds.text.options.TextOptions`); values or text.

    Raises:
        BadInput: anything that cannot be used, before anything is written.
        RunFailed: the run stopped itself.
        Interrupted: SIGINT or SIGTERM; the state is saved.
    """
    config, world, spine = plan(
        method,
        task,
        seeds=seeds,
        seed=seed,
        steps=steps,
        samples=samples,
        tokens=tokens,
        seconds=seconds,
        device=device,
        threads=threads,
        every=every,
        episodes=episodes,
        hyperparameters=hyperparameters,
    )
    config |= {"keep": max(2, keep), "track": list(track)}
    check_trackers(track)
    if out is None:
        name = f"{method}-{world.task.partition(':')[2]}".replace("/", "-")
        out = Path("runs") / f"{name}-{datetime.now():%m%d-%H%M%S-%f}"
    directory = RunDirectory.create(out, config | machine(), keep)
    return _Runner(directory, config, world, spine, listener).run(resume=False)


def plan(
    method,
    task,
    *,
    seeds=1,
    seed=0,
    steps=None,
    samples=None,
    tokens=None,
    seconds=None,
    device="auto",
    threads=None,
    every=None,
    episodes=None,
    hyperparameters=None,
):
    """Check everything that can be checked before a run exists; (config, world, spine)."""
    entry = get_method(method)
    _positive("seeds", seeds)
    if seed < 0:
        raise BadInput(f"--seed {seed}: a seed is 0 or more")
    limits = {"steps": steps, "samples": samples, "tokens": tokens, "seconds": seconds}
    for name, value in (*limits.items(), ("every", every), ("episodes", episodes), ("threads", threads)):
        if value is not None:
            _positive(name, value)
    if len(given := [name for name, value in limits.items() if value is not None]) > 1:
        raise BadInput(f"--{given[0]} and --{given[1]}: give one budget")
    hyperparameters, options = _split(entry, task, hyperparameters or {})
    h = configure(method, hyperparameters)
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device {device!r}: auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    world = make_world(task, **options)
    if world.kind not in entry.worlds:
        fitting = [key for key, other in methods().items() if world.kind in other.worlds]
        raise BadInput(f"{method} trains on tasks of kind {', '.join(entry.worlds)}; {world.task} is of kind {world.kind}: take {_fitting(method, fitting)}")
    spine = entry.build(h)
    space = getattr(world, "action_space", None)
    if space is not None and (kind := "discrete" if hasattr(space, "n") else "continuous") not in entry.actions:
        fitting = [key for key, other in methods().items() if world.kind in other.worlds and kind in other.actions]
        raise BadInput(f"{method} takes {' and '.join(entry.actions)} actions; {world.task} has {kind} ones ({space}): take {_fitting(method, fitting)}")
    total = steps if steps is not None else DEFAULT_STEPS[world.kind] if not (world.kind == "text" and entry.spine == "pairs") else 1_500
    unit = given[0] if given else "steps"
    if unit in ("samples", "tokens"):
        if entry.spine not in ("policy gradient", "fixed policy") or world.kind not in ("text", "sequences"):
            raise BadInput(f"--{unit} counts what policy gradients draw on text and sequences; {method} on {world.task} takes --steps or --seconds")
        prompts = getattr(getattr(spine, "sample", None), "prompts", 1)
        total = -(-limits[unit] // prompts)  # no iteration draws less than a token for each prompt
    elif unit == "seconds":
        total = MOST_STEPS
    amount = limits[unit] if unit != "steps" else total
    config = {
        "method": method,
        "task": world.task,
        "seeds": seeds,
        "seed": seed,
        "steps": total,
        "step_unit": world.step_unit,
        "hyperparameters": asdict(h),
        "device": _device(device, world).type,
        "threads": threads or 1,
        "budget": {"unit": unit, "amount": amount},
        "every": every or max(1, amount // 10),
        "episodes": episodes,
        "fingerprint": world.fingerprint(),
    }
    if world.kind == "text":
        sample = getattr(spine, "sample", None)
        world.check(sample, [seed + index for index in range(seeds)], episodes)
        if "teacher_log_prob" in getattr(spine, "needs", ()) and world.options.model is not None and world.options.teacher is None:
            raise BadInput(f"{method} follows a teacher, which can be made only where the policy is made from scratch: give one as --teacher")
    if not isinstance(task, str):
        config["task_callable"] = True
    elif options:
        config["options"] = {name: value for name, value in world.options.given().items() if _plain(value)}
        if dropped := set(world.options.given()) - set(config["options"]):
            config["not_resumable"] = f"{min(dropped)} is a Python object: give it as module:function"
    try:
        json.dumps(config)
    except TypeError as error:
        config["hyperparameters"] = {name: value if _plain(value) else repr(value) for name, value in config["hyperparameters"].items()}
        config["not_resumable"] = f"a hyper-parameter is a Python object ({error})"
    return config, world, spine


def _fitting(method: str, fitting: list[str]) -> str:
    """Methods that would do, in a line: the one of the same name for this kind of task, else the first few."""
    same = [key for key in fitting if key.startswith(f"{method}-")]
    return ", ".join(same) if same else ", ".join(fitting) if len(fitting) <= 8 else f"{', '.join(fitting[:8])}, … (operant methods lists them all)"


def _split(entry: Method, task: Any, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(hyper-parameters, options of the world) of what was given by name."""
    own = {item.name for item in fields(entry.hyperparameters)}
    optional = {item.name for kind in world_options().values() for item in fields(kind)}
    if both := sorted(own & optional & set(given)):
        raise BadInput(f"{both[0]} is a hyper-parameter of {entry.key} and an option of tasks: the method must call it otherwise")
    options = {name: value for name, value in given.items() if name in optional}
    return {name: value for name, value in given.items() if name not in options}, options


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def prepare(task: Any, say: Callable[[str], None], **options: Any) -> None:
    """Make what runs on a task share and would else make themselves: the base policy of a text task.

    Args:
        options: of the task's kind.
    """
    world = make_world(task, **options)
    if world.kind == "text":
        ensure_base_policy(world, say)


def resume(path: str | Path, *, task: Any = None, listener: Listener | None = None) -> Run:
    """Go on with a run that was stopped, from its newest whole checkpoint; a finished run is returned as it is.

    Args:
        task: the environment's callable again, for a run whose task was one.
    """
    directory = RunDirectory.open(path)
    config = directory.config
    if directory.result is not None:
        return Run(directory, None if task is None else make_world(task))
    if config.get("not_resumable"):
        raise BadInput(f"{path} cannot be resumed: {config['not_resumable']}")
    if config.get("task_callable") and task is None:
        raise BadInput(f"{path} trained on a Python callable ({config['task']}): give it again, operant.resume(path, task=…)")
    world = make_world(config["task"], **config.get("options", {})) if task is None else make_world(task)
    if world.fingerprint() != config["fingerprint"]:
        raise BadInput(f"{path} was started on other data: its task was {config['fingerprint'][-80:]}, now it is {world.fingerprint()[-80:]}")
    spine = _spine(config)
    return _Runner(directory, config, world, spine, listener).run(resume=True)


def _spine(config: dict[str, Any]) -> Any:
    """The configured loop of a run."""
    return get_method(config["method"]).build(configure(config["method"], config["hyperparameters"]))


def load(path: str | Path) -> Run:
    """Open a run directory. Raises `BadInput` where it is none."""
    return Run(RunDirectory.open(path))


class _Runner:
    """One process's work on one run."""

    def __init__(self, directory: RunDirectory, config: dict, world, spine, listener: Listener | None):
        self.directory, self.config, self.world, self.spine = directory, config, world, spine
        self.listener = listener or (lambda update: None)
        seeds = [config["seed"] + index for index in range(config["seeds"])]
        self.members = [seeds] if world.stacked else [[seed] for seed in seeds]
        self.member = 0
        self.finished: list[dict[str, Any]] = []  # of each finished member: its last evaluation, steps
        self.base: list[dict[str, Any]] = []
        self.best: dict[str, float] = {}
        self.seconds = {"total": 0.0, "training": 0.0, "member": 0.0}
        self.unit, self.amount = config["budget"]["unit"], config["budget"]["amount"]
        self.messages: dict[str, str] = {}  # of each kind of a verifier's failure, the first one
        self.score: tuple[str, float] | None = None
        self._stop: int | None = None
        self._told_of_restarts = False

    def run(self, *, resume: bool) -> Run:
        with self.directory.locked(), self._signals():
            try:
                self._work(resume)
            except (OSError, SafetensorError) as error:
                if (fault := disk_fault(error)) is None:
                    raise
                self.directory.sweep()
                path = self.directory.path
                raise RunFailed(f"{path} could not be written: {fault}; its checkpoints are untouched, go on with: operant resume {path}") from error
        return Run(self.directory, self.world)

    def _work(self, resume: bool) -> None:
        self.trackers = make_trackers(self.config["track"], self.directory.path)
        keep_freed_memory()
        torch.set_num_threads(self.config["threads"])
        self._say("prepare", 0)
        for line in getattr(getattr(self.world, "problems", None), "notes", ()):
            self._say("prepare", 0, message=f"{self.world.task}: {line}")
        if self.world.kind == "text" and get_method(self.config["method"]).spine != "pairs":
            ensure_models(self.world, self.spine, self._say_of_base_policy)
        state = self._restore() if resume else None
        self._began = time.perf_counter()
        while self.member < len(self.members):
            self._train_member(state)
            state = None
            self.member += 1
        self.directory.write_result(self._result())
        for tracker in self.trackers:
            tracker.close()

    def _say_of_base_policy(self, message: str) -> None:
        self._say("prepare", 0, message=message)
        if self._stop is not None:  # it may take minutes, and nothing of the run itself has begun
            raise Interrupted(f"stopped while the base policy was made, which begins again with: operant resume {self.directory.path}")

    def _restore(self) -> dict | None:
        self.directory.sweep()
        try:
            state, where, damaged = self.directory.checkpoints.load()
        except BadInput:
            if self.directory.checkpoints.all():
                raise
            self.directory.truncate(dict.fromkeys(self.directory.offsets(), 0))
            self._say("prepare", 0, message="stopped before its first checkpoint: starting again")
            return None
        for line in damaged:
            self._say("prepare", 0, message=f"{line}; going on from {where.name}")
        run = state["run"]
        self.member, self.finished, self.base, self.best, self.seconds = run["member"], run["finished"], run["base"], run["best"], run["seconds"]
        self.messages = run.get("messages", {})
        self.directory.truncate(run["offsets"])
        return state["learner"]

    def _train_member(self, state: dict | None) -> None:
        seeds, config = self.members[self.member], self.config
        learner: Learner = self.spine.learner(self.world, seeds, config["steps"], torch.device(config["device"]))
        learner.failures = self.directory.path / "failures"
        if self.member == 0 and hasattr(learner, "source") and hasattr(learner.source, "notes"):
            for line in learner.source.notes():
                self._say("prepare", 0, message=line)
        try:
            if state is not None:
                learner.load_state_dict(state)
            else:
                self._manifest(learner)
                if self.world.kind in ("text", "sequences"):
                    self._evaluate(learner, base=True)
            every = config["every"]
            if state is None:
                self.seconds["member"] = 0.0
            if self.unit != "steps" and hasattr(learner, "limit"):
                learner.limit = (self.unit, self.amount)
            while not self._done(learner):
                before, started = self._spent(learner), time.perf_counter()
                metrics = learner.iterate()
                elapsed = time.perf_counter() - started
                self.seconds["training"] += elapsed
                self.seconds["member"] += elapsed
                self._log(learner, seeds, metrics)
                self._say_of_restarts(learner)
                done = self._done(learner)
                if done or self._spent(learner) // every > before // every:
                    evaluation = self._evaluate(learner)
                    self._keep_policies(learner, seeds, evaluation)
                    if done:
                        self._finish_member(learner, evaluation)
                    self._checkpoint(learner)
                elif self._stop is not None:
                    self._checkpoint(learner)
                if self._stop is not None and not done:
                    raise Interrupted(f"stopped at {self._standing(learner)}, state saved; go on with: operant resume {self.directory.path}")
        finally:
            learner.close()

    def _say_of_restarts(self, learner: Learner) -> None:
        """Tell once a run that verifier processes died and were replaced."""
        report = getattr(getattr(learner, "source", None), "report", None)
        if report is None or self._told_of_restarts or not (found := report()).get("restarts"):
            return
        self._told_of_restarts = True
        status, message = next(iter(found["messages"].items()), ("ended", "its process ended"))
        self._say("train", self._spent(learner), message=f"a verifier's process was started anew ({status}: {message}); counts stand in the run's report")

    def _standing(self, learner: Learner) -> str:
        """How far a learner is, in words."""
        return f"step {learner.step} of {self.amount}" if self.unit == "steps" else f"{self._spent(learner):,.0f} of {self.amount:,} {self.unit}"

    def _spent(self, learner: Learner) -> float:
        """What a learner has used of its budget, in the budget's unit."""
        if self.unit == "steps":
            return learner.step
        if isinstance(learner, FixedLearner):
            return self.amount if learner.step else 0  # there is nothing to spend it on
        if hasattr(learner, "spent"):
            learner.spent["seconds"] = self.seconds["member"]
        return self.seconds["member"] if self.unit == "seconds" else learner.spent[self.unit]

    def _done(self, learner: Learner) -> bool:
        """Whether the budget is used up; with a budget of steps, whether another whole iteration would pass the last one."""
        if learner.step == 0:
            return False
        if self.unit != "steps":
            return self._spent(learner) >= self.amount
        ahead = getattr(getattr(learner, "source", None), "steps_per_sample", 1)
        return learner.step + ahead > self.amount

    def _manifest(self, learner: Learner) -> None:
        write_atomic(self.directory.path / "run.json", json.dumps(self.directory.config | {"resume": learner.resume}, indent=1))

    def _log(self, learner: Learner, seeds: list[int], metrics: dict[str, torch.Tensor]) -> None:
        columns = {name: value.double().tolist() for name, value in metrics.items()}
        elapsed = round(self.seconds["training"], 3)
        rows = [
            {"step": learner.step, "seed": seed, "seconds": elapsed}
            | {name: values[place] for name, values in columns.items() if values[place] == values[place]}
            for place, seed in enumerate(seeds)
        ]
        self.directory.append("metrics.jsonl", rows)
        for tracker in self.trackers:
            tracker.log(rows)
        self._say("train", self._spent(learner), columns)

    def _evaluate(self, learner: Learner, *, base: bool = False) -> Evaluation:
        self._say("evaluate", self._spent(learner))
        seeds = self.members[self.member]
        evaluation = self.world.evaluate(learner.policy, len(seeds), **_amount(self.config["episodes"]))
        rows = []
        for place, seed in enumerate(seeds):
            values = evaluation.values[place]
            row = {"step": learner.step, "seed": seed, "score": evaluation.score, "value": float(values.mean()), "values": values.tolist(), "base": base}
            if (passed := _pass_at(evaluation, place)) is not None:
                row["pass_at_k"] = passed
            details = evaluation.details
            row |= {name: float(details[name][place].mean()) for name in ("longer", "distinct", "entropy") if name in details}
            if "samples" in details:
                row["samples"] = int(details["samples"])
            rows.append(row)
        self.directory.append("evaluations.jsonl", rows)
        for tracker in self.trackers:
            tracker.log([{"step": row["step"], "seed": row["seed"], f"evaluation/{row['score']}": row["value"]} for row in rows])
        if base:
            self.base += [{"value": row["value"], "pass_at_k": row.get("pass_at_k")} for row in rows]
        self.score = (evaluation.score, float(evaluation.values.mean()))
        self._say("train", self._spent(learner))
        return evaluation

    def _keep_policies(self, learner: Learner, seeds: list[int], evaluation: Evaluation) -> None:
        folder = self.directory.path / "policies"
        for place, seed in enumerate(seeds):
            value = float(evaluation.values[place].mean())
            kinds = ["last"]
            if value > self.best.get(str(seed), -float("inf")):
                self.best[str(seed)] = value
                kinds.append("best")
            for kind in kinds:
                _save_policy(self.world, learner.policy, place, folder / kind / f"seed-{seed}")

    def _finish_member(self, learner: Learner, evaluation: Evaluation) -> None:
        seeds = self.members[self.member]
        for place, seed in enumerate(seeds):
            found = {"seed": seed, "step": learner.step, "score": evaluation.score, "value": float(evaluation.values[place].mean())}
            if hasattr(learner, "spent"):
                found["spent"] = {name: learner.spent[name] for name in ("samples", "tokens")} | {"seconds": round(self.seconds["member"], 3)}
            if (passed := _pass_at(evaluation, place)) is not None:
                found["pass_at_k"] = passed
            self.finished.append(found)
        describe = getattr(getattr(learner, "source", None), "describe", None)
        if describe is not None and learner.rollout is not None:
            told = learner.rollout.take(_telling_rows(learner.rollout))
            try:
                told.extras |= self._drift(learner.policy, told, seeds)
            except torch.OutOfMemoryError:
                self._say("evaluate", self._spent(learner), message="no memory for a second policy: completions are written without ratio and KL")
            self.directory.append("completions.jsonl", [{"step": learner.step, "seed": seeds[0]} | row for row in describe(told, range(told.shape[1]))])
        report = getattr(getattr(learner, "source", None), "report", None)
        if report is not None:
            self.messages = report().get("messages", {}) | self.messages

    @torch.no_grad()
    def _drift(self, policy: Any, rollout: Rollout, seeds: list[int]) -> dict[str, torch.Tensor]:
        """What training made of each token of a rollout, `[1, N, T]`.

        "ratio": the trained policy's probability over that of the policy that acted; "kl": KL(trained || before training) of the next token, nats.
        """
        before = self.world.policy(None, Streams(seeds)).to(rollout.mask.device)
        before.temperature = policy.temperature
        ratio, kl = [], []
        rows = torch.arange(rollout.shape[1], device=rollout.mask.device)
        for part in map(rollout.take, rows.split(max(1, LOGITS // (rollout.shape[2] * len(self.world.tokenizer))))):
            found = policy.replay(part.inputs, part.action, {"logits"})
            ratio.append(ops.policy_ratio(found["log_prob"], part.log_prob))
            kl.append(ops.categorical_kl(found["logits"], before.replay(part.inputs, part.action, {"logits"})["logits"]))
        return {"ratio": torch.cat(ratio, 1), "kl": torch.cat(kl, 1)}

    def _checkpoint(self, learner: Learner) -> None:
        self.seconds["total"] += time.perf_counter() - self._began
        self._began = time.perf_counter()
        run = {
            "member": self.member,
            "finished": self.finished,
            "base": self.base,
            "messages": self.messages,
            "best": self.best,
            "seconds": dict(self.seconds),
            "offsets": self.directory.offsets(),
        }
        self.directory.checkpoints.save(self.member * self.config["steps"] + learner.step, {"learner": learner.state_dict(), "run": run})

    def _result(self) -> dict[str, Any]:
        config = self.config
        self.seconds["total"] += time.perf_counter() - self._began
        values = np.array([[found["value"]] for found in self.finished])
        steps = max(found["step"] for found in self.finished)
        result = {"run": str(self.directory.path), "method": config["method"], "task": config["task"], "seeds": config["seeds"], "steps": steps}
        result["score"] = _score(self.finished[0]["score"], values)
        result["seconds"] = round(self.seconds["total"], 3)
        trained = self.seconds["training"] > 1e-3  # a fixed policy does not train: it has no speed
        result["steps_per_second"] = round(steps * config["seeds"] / self.seconds["training"], 3) if trained else 0.0
        if self.world.kind in ("text", "sequences") and "spent" in self.finished[0]:
            names = ("samples", "tokens", "seconds")
            result["spent"] = {name: round(float(np.mean([found["spent"][name] for found in self.finished])), 3) for name in names}  # a seed
        if self.base:
            result["base"] = _score(self.finished[0]["score"], np.array([[found["value"]] for found in self.base]))
        if "pass_at_k" in self.finished[0]:
            result["pass_at_k"] = {
                name: {k: float(np.mean([found["pass_at_k"][k] for found in group])) for k in group[0]["pass_at_k"]}
                for name, group in (("policy", self.finished), ("base", self.base))
            }
        if (collapse := run_collapse(load_run(self.directory.path), self.messages)) is not None:
            result["collapse"] = collapse
        return result

    def _say(self, phase: str, spent: float, metrics: dict[str, list[float]] | None = None, message: str = "") -> None:
        done, total = round(self.member * self.amount + spent), round(self.amount * len(self.members))
        self.listener(Update(phase, min(done, total), total, metrics or {}, self.score, message, self.unit))

    @contextmanager
    def _signals(self):
        """SIGINT and SIGTERM end the run at the next iteration, with its state saved; a second one ends it at once."""

        def stop(number, frame):
            if self._stop is not None:
                raise Interrupted(f"stopped at once; go on from the last checkpoint with: operant resume {self.directory.path}")
            self._stop = number

        previous = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, stop)
        except ValueError:  # not in the main thread: whoever runs us handles signals
            previous = {}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise BadInput(f"--{name} {value}: it must be 1 or more")


def _amount(episodes: int | None) -> dict[str, int]:
    return {} if episodes is None else {"episodes": episodes}


def _device(device: str, world) -> torch.device:
    """Small networks on the CPU, language models on the accelerator where there is one."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if world.kind == "text" and torch.cuda.is_available() else "cpu")


def _score(name: str, values: np.ndarray) -> dict[str, Any]:
    """The score object of a result: IQM over seeds and its bootstrap interval."""
    interval = stratified_bootstrap(values, iqm)
    return {"name": name, "iqm": interval.point, "low": interval.low, "high": interval.high, "per_seed": values[:, 0].tolist()}


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as in a run's result: the score object, and pass@k for text."""
    found = {"score": _score(evaluation.score, evaluation.values.mean(1, keepdims=True))}
    rows = [_pass_at(evaluation, place) for place in range(len(evaluation.values))]
    if rows[0] is not None:
        found["pass_at_k"] = {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}
    return found


def _pass_at(evaluation: Evaluation, place: int) -> dict[str, float] | None:
    """pass@k of one seed: the unbiased estimate from counts, or the exact values of a world that knows them; None where neither applies."""
    details = evaluation.details
    if "correct" in details:
        samples, correct = int(details["samples"]), np.asarray(details["correct"][place])
        return {str(k): float(np.mean(pass_at_k(np.full_like(correct, samples), correct, k))) for k in PASS_AT if k <= samples}
    exact = {name.removeprefix("pass@"): float(np.mean(values[place])) for name, values in details.items() if name.startswith("pass@")}
    return {"1": float(np.mean(evaluation.values[place]))} | exact if exact else None


def _telling_rows(rollout: Rollout, groups: int = 4) -> torch.Tensor:
    """Rows of the worst and the best groups of a rollout, by mean reward: what a person wants to read."""
    reward, group = rollout.reward[0].sum(-1), rollout.group[0]
    names = group.unique()
    means = torch.stack([reward[group == name].mean() for name in names])
    order = names[means.argsort(stable=True)]
    chosen = torch.cat([order[:groups], order[groups:][-groups:]])
    return torch.isin(group, chosen).nonzero().squeeze(1)


def _stack(found: list[Evaluation]) -> Evaluation:
    details = {name: np.concatenate([np.atleast_2d(item.details[name]) for item in found]) for name in found[0].details if name != "samples"}
    if "samples" in found[0].details:
        details["samples"] = found[0].details["samples"]
    return Evaluation(found[0].score, np.concatenate([item.values for item in found]), details)


def _save_policy(world, policy, place: int, folder: Path) -> None:
    """One seed's policy, written beside and renamed."""
    if not isinstance(policy, torch.nn.Module):
        return
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if world.stacked:
        save_file({name: value[place : place + 1].contiguous().clone() for name, value in policy.state_dict().items()}, temporary / "policy.safetensors")
    else:
        world.save_policy(policy, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(temporary, folder)


def _load_policy(world, config: dict, folder: Path, seed: int) -> Any:
    spine = _spine(config)
    if isinstance(spine, FixedPolicy):
        return spine.policy(world, [seed]) if spine.load is None else spine.load(world, folder)
    if not world.stacked:
        return world.load_policy(folder)
    policy = world.policy(spine.policy, Streams([seed]))
    try:
        policy.load_state_dict(load_file(folder / "policy.safetensors"))
    except FileNotFoundError:
        raise BadInput(f"no policy in {folder}: the run has not been evaluated yet; go on with `operant resume {folder.parent.parent.parent}`") from None
    except (RuntimeError, SafetensorError) as error:
        raise BadInput(f"{folder}/policy.safetensors does not fit {config['method']} on {config['task']}: {error}".splitlines()[0]) from error
    return policy
