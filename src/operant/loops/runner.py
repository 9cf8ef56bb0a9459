"""The runner: one process's work on one run directory, with logs, evaluations, checkpoints and a result; a stopped run goes on where it was."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from operant import ops
from operant.core import ranks, schema
from operant.core.commands import going_on
from operant.core.errors import BadInput, Interrupted, NotWritten, OperantError, RunFailed, WorkerLost, one_line
from operant.core.files import disk_fault
from operant.core.processor import keep_freed_memory
from operant.core.random import Streams, drawn_from, global_generators
from operant.core.records import Evaluation, Rollout
from operant.core.run import RunDirectory
from operant.core.schema import require
from operant.evaluate.collapse import none_scored, run_collapse
from operant.evaluate.records import load_run
from operant.loops.base_policy import ensure_models
from operant.loops.configuration import members_of
from operant.loops.learner import Learner, Spine, check_weights
from operant.loops.origin import Origin
from operant.loops.policy_files import save_policy
from operant.loops.results import episodes_argument, measures, pass_at, score_object
from operant.loops.track import make_trackers
from operant.loops.trust import changed_files
from operant.nets import kernels
from operant.nets.sharded import gathered, shard, whole
from operant.worlds.base import OTHER_DRAWS, World

MISMATCH = 0.01  # nats a token, from what drew the answers to what is trained: rounding in float32 gives 1e-9, in bfloat16 1e-4 to 1e-3
LOGITS = 2**24  # most of one policy that stand in memory at once where completions are described
LONGER, SLOW = 10, 10.0  # times the steps of training, and seconds: a run is told beforehand of evaluations that will take more than both


@dataclass(frozen=True)
class Update:
    """What a listener hears as a run goes on.

    Attributes:
        phase: "load" (what the run is made of, before it exists), "prepare", "train" or "evaluate".
        step, total: what is done of the budget, and all of it: steps a seed, or what the budget counts, over the seeds that train one after the other. Of a run
            that was finished and grew by more seeds, over the new ones.
        metrics: `[S]` values by name.
        score: the newest mean score over seeds, and its name.
        speed: steps of all seeds a second of training alone, as in a run's result; None before the first.
        every: what of the budget lies between two evaluations; None before the run exists.
    """

    phase: str
    step: int
    total: int
    metrics: dict[str, list[float]]
    score: tuple[str, float] | None
    message: str = ""
    unit: str = "steps"
    speed: float | None = None
    every: float | None = None


Listener = Callable[[Update], None]


class Runner:
    """One process's work on one run, alone or together with others of its kind (`core.ranks`), of which the first writes."""

    def __init__(self, directory: RunDirectory, config: dict, world: World, spine: Spine, listener: Listener | None):
        self.directory, self.config, self.world, self.spine = directory, config, world, spine
        self.listener = listener or (lambda update: None)
        self.members = members_of(config, world.stacked)
        self.member = 0
        self.finished: list[dict[str, Any]] = []  # of each finished member: its last evaluation, steps
        self.base: list[dict[str, Any]] = []
        self.best: dict[str, float] = {}
        self.seconds = {"total": 0.0, "training": 0.0, "member": 0.0, "collecting": 0.0, "evaluating": 0.0}
        self.unit, self.amount = config["budget"]["unit"], config["budget"]["amount"]
        self.messages: dict[str, str] = {}  # of each kind of failure of a verifier or a reply, the first one
        self.score: tuple[str, float] | None = None
        self._steps = 0  # of all seeds
        self._asked: int | None = None  # the signal that asked this process for an end
        self._stop: int | None = None  # the same as all processes know it
        self._at_once = False  # a second one did
        self._due = False  # an evaluation of the learner as it stands
        self._told_of_restarts = self._told_of_truncation = self._told_of_unscored = self._told_of_mismatch = False
        self._drew = config.get("resume") == OTHER_DRAWS  # a part of the run draws from a global generator
        self._from: Path | None = None  # the checkpoint that the run went on from

    @property
    def _going_on(self) -> str:
        return going_on(self.directory.shown, self.config)

    def run(self, *, resume: bool) -> None:
        with self.directory.locked(), self._signals(), ranks.together():
            try:
                self._work(resume)
            except BadInput:  # told too late: nothing was trained that could be gone on with, and the corrected command needs the place
                if not resume and not self.directory.checkpoints.all():
                    self.directory.discard()
                raise
            except NotWritten as error:
                raise NotWritten(f"{error}; {self._going_on}") from error
            except (OSError, SafetensorError) as error:
                if (fault := disk_fault(error)) is None:
                    raise
                self.directory.sweep()
                raise RunFailed(f"{self.directory.shown} could not be written: {fault}; its checkpoints are untouched, {self._going_on}") from error
            except Exception as error:  # its logs and the batch that failed stay to be read, and the corrected command takes its place
                if not self.directory.checkpoints.all():
                    self.directory.note_failure(f"{type(error).__name__}: {one_line(error)}")
                if ranks.lost(error):
                    others = f"another of its processes ended, or did not answer for {ranks.PATIENCE.seconds // 60} minutes"
                    raise ranks.Lost(f"{others}; {self._going_on}") from error
                if isinstance(error, WorkerLost):
                    kept = "what came behind its last checkpoint is lost" if self.directory.checkpoints.all() else "it had no checkpoint yet"
                    raise WorkerLost(f"{error}, and the run with it: {kept}; {self._going_on}") from error
                raise
            finally:
                self.world.close()

    def _work(self, resume: bool) -> None:
        self.trackers = make_trackers(self.config["track"] if ranks.rank() == 0 else [], self.directory.path)
        keep_freed_memory()
        torch.set_num_threads(self.config["threads"])
        kernels.take(self.config.get("kernels", kernels.fitting()))
        self._say("prepare", 0)
        if (taken := kernels.taken()) != kernels.fitting():
            self._say("prepare", 0, message=f"going on with the kernels that the run began with, {taken}; this processor's own are {kernels.fitting()}")
        for line in changed_files(self.config) if resume else ():
            self._say("prepare", 0, message=line)
        if resume and self.config.get("resume") == "episode-boundary":
            self._say("prepare", 0, message="its environments cannot give their state: new episodes begin, and the bits are not those of an unbroken run")
        own = self.spine.notes(self.amount) if self.unit == "steps" else []
        for line in (*self.world.notes, *self.config.get("notes", ()), *own):
            self._say("prepare", 0, message=line)
        if ranks.count() > 1:  # the first makes what the others then find
            ranks.by_first(lambda: ensure_models(self.world, self.spine, self._say_of_base_policy))
        ensure_models(self.world, self.spine, self._say_of_base_policy)
        state = self._restore() if resume else None
        self._began = time.perf_counter()
        while self.member < len(self.members):
            self._train_member(state)
            state = None
            self.member += 1
        seeds = self.config["seeds"]
        if len(self.finished) != seeds or (self.base and len(self.base) != seeds) or any("pass_at_k" in found for found in self.finished) > bool(self.base):
            raise BadInput(f"checkpoint {self._from} does not fit this run: it is done, and has {len(self.finished)} scores of {seeds} seeds")
        if ranks.rank() == 0:
            self.directory.write_result(self._result())
        for tracker in self.trackers:
            tracker.close()

    def _say_of_base_policy(self, message: str) -> None:
        self._say("prepare", 0, message=message)
        if self._asked is not None:  # it may take minutes, and nothing of the run itself has begun
            raise Interrupted(f"stopped while the base policy was made, of which nothing is kept: it begins again; {self._going_on}")

    def _grow(self) -> None:
        """Take note in the run that more steps or seeds are wanted than it was begun with."""
        if any(self.config[name] != self.directory.config[name] for name in ("steps", "seeds")):
            self.directory.write_config(self.config)
            self.directory.forget_result()
        elif any(self.config.get(name) != self.directory.config.get(name) for name in ("processes", "sample_workers", "sample_on")):
            self.directory.write_config(self.config)

    def _of(self) -> dict[str, Any]:
        """What a checkpoint belongs to, by the names of a person's settings: the method, its seed and its hyper-parameters, as JSON has them."""
        return json.loads(json.dumps({"method": self.config["method"], "seed": self.config["seed"], **self.config["hyperparameters"]}))

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
        if not damaged and ranks.rank() == 0:
            self.directory.checkpoints.settle(where)
        run = require(state, schema.STATE, f"checkpoint {where}")["run"]
        if run["member"] >= len(self.members):
            raise BadInput(f"checkpoint {where}: member must be below {len(self.members)}, found {run['member']}")
        now = self._of()
        for name, made in run.get("of", now).items():
            if name not in now or now[name] != made:
                says, other = f"run.json says {name} {now.get(name)}, and its checkpoint is of {made}", "operant train --from begins a run of other settings"
                raise BadInput(f"{self.directory.shown}: {says}: put it back; {other} from this one's policies")
        self._from = where
        self.member, self.finished, self.base, self.best = run["member"], run["finished"], run["base"], run["best"]
        self.seconds |= run["seconds"]
        self.messages, self._due = run.get("messages", {}), run.get("due", False)
        if lost := self.directory.truncate(run["offsets"]):
            for line in lost:
                self._say("prepare", 0, message=line)
            self.config["notes"] = [*self.config.get("notes", ()), *lost]
            self.directory.write_config(self.directory.config | {"notes": self.config["notes"]})
        return state["learner"]

    @contextmanager
    def _fitting(self):
        """Say in one line where a checkpoint's state is not one of this run's learner: when it is read, or when the first iteration uses it."""
        try:
            yield
        except (OperantError, OSError):
            raise
        except Exception as error:
            if ranks.lost(error):
                raise
            raise BadInput(f"checkpoint {self._from} does not fit this run: {type(error).__name__}: {error}") from error

    def _train_member(self, state: dict | None) -> None:
        seeds, config = self.members[self.member], self.config
        learner = self.spine.learner(self.world, seeds, config["steps"], torch.device(config["device"]))
        learner.failures = self.directory.path / "failures" if ranks.rank() == 0 else None
        self._round(learner)
        if self.member == 0:
            for line in learner.notes():
                self._say("prepare", 0, message=line)
        try:
            if state is not None:
                with self._fitting():
                    learner.load_state_dict(state)
                self._grow()
            else:
                if (begins := config.get("from")) is not None:
                    Origin.again(begins, config["method"]).begin(learner, [seed - config["seed"] for seed in seeds])
                self._grow()
                self._manifest(learner)
                if self.world.answers or learner.trains:  # a fixed policy's curve is its one evaluation
                    self._evaluate(learner, base=True)
                self.seconds["member"] = 0.0
            if self.unit != "steps":
                learner.limit = (self.unit, self.amount)
            if self._due:
                with self._fitting():
                    self._look(learner, seeds)
            while not self._done(learner):
                before, started, generators = self._spent(learner), time.perf_counter(), None if self._drew else global_generators()
                collected = learner.collecting
                with self._fitting() if state is not None else nullcontext():
                    metrics = learner.iterate()
                if generators is not None:
                    self._say_of_draws(learner, generators)
                state = None
                self._obey()
                self._trained(started)
                if self._stop is not None or self._due_from(learner, before):  # who samples ahead goes on until the checkpoint: that is training, too
                    started = time.perf_counter()
                    learner.settle()
                    self._trained(started)
                self._steps = sum(found["step"] for found in self.finished) + learner.step * len(seeds)
                self.seconds["collecting"] += learner.collecting - collected
                self._log(learner, seeds, metrics)
                self._say_of_restarts(learner)
                self._say_of_unscored(learner)
                self._say_of_mismatch(learner, metrics)
                done = self._done(learner)
                if done:
                    self._describe(learner, seeds)
                if self._due_from(learner, before):
                    self._due = True
                    check_weights(learner, stacked=self.world.stacked)
                    self._checkpoint(learner)  # before the evaluation, which may be long, or fail in an environment
                    if self._stop is None or done:
                        self._look(learner, seeds)
                        self._agree()
                elif self._stop is not None:
                    check_weights(learner, stacked=self.world.stacked)
                    self._checkpoint(learner)
                if self._stop is not None and not (done and self.member + 1 == len(self.members)):
                    raise Interrupted(f"stopped at {self._standing(learner)}, state saved; {self._going_on}")
        finally:
            learner.close()

    def _due_from(self, learner: Learner, before: float) -> bool:
        """Whether an evaluation is due behind what was spent since `before`."""
        return self._done(learner) or self._spent(learner) // self.config["every"] > before // self.config["every"]

    def _trained(self, started: float) -> None:
        """Count what passed since as training."""
        elapsed = self._agree(time.perf_counter() - started)
        self.seconds["training"] += elapsed
        self.seconds["member"] += elapsed

    def _agree(self, elapsed: float = 0.0) -> float:
        """Seconds of work, and whether an end was asked for: of several processes the longest, and whether one was asked."""
        elapsed, stop = ranks.largest(torch.tensor([elapsed, self._asked or 0], dtype=torch.float64)).tolist()
        self._stop = int(stop) or None
        return elapsed

    def _look(self, learner: Learner, seeds: list[int]) -> None:
        """The evaluation that is due, and the policies that it is of."""
        evaluation = self._evaluate(learner)
        self._keep_policies(learner, seeds, evaluation)
        if self._done(learner):
            self._finish_member(learner, evaluation)
        self._due = False

    def _say_of_restarts(self, learner: Learner) -> None:
        """Tell once a run that processes of a verifier, or of a task's replies, died and were replaced."""
        if learner.source is None or self._told_of_restarts or not (found := learner.source.report()).get("restarts"):
            return
        self._told_of_restarts = True
        status, message = next(iter(found["messages"].items()), ("ended", "its process ended"))
        said = f"a process that scores or replies was started anew ({status}: {message}); counts stand in the run's report"
        self._say("train", self._spent(learner), message=said)

    def _say_of_draws(self, learner: Learner, before: dict[str, object]) -> None:
        """Tell once a run, and keep in it, that it draws what it will not draw again."""
        if not (names := drawn_from(before)):
            return
        self._drew = True
        self._manifest(learner)
        found = f"a part of this run (a loss, a term, a behaviour, an environment) draws from the global generator of {names}, whose state is not kept"
        message = f"{found}: a resumed run, and another run of this seed, will draw otherwise; draw from the streams that a part is given"
        self._say("train", self._spent(learner), message=message)

    def _say_of_unscored(self, learner: Learner, evaluation: Evaluation | None = None) -> None:
        """Tell once a run that no answer could be scored, in training or in an evaluation."""
        if evaluation is not None:
            details = evaluation.details
            count = details["correct"].size * int(details["samples"]) if "unscored" in details else 0
            if not count or details["unscored"].sum() < count:
                return
            found = f"none of the {count:,} answers of an evaluation could be scored: {details['fault'][0]}"
        else:
            report = {} if learner.source is None else learner.source.report()
            if not (statuses := report.get("statuses")) or statuses.get("ok"):
                return
            found = none_scored({status: {"count": count, "message": report["messages"].get(status)} for status, count in statuses.items()})
        if not self._told_of_unscored:
            self._told_of_unscored = True
            self._say("train", self._spent(learner), message=found)

    def _say_of_mismatch(self, learner: Learner, metrics: dict[str, torch.Tensor]) -> None:
        """Tell once a run that the engine which draws and the policy which is trained are not one distribution."""
        if self._told_of_mismatch or not (found := float(metrics.get("kl_engine", torch.zeros(1)).max())) > MISMATCH:
            return
        self._told_of_mismatch = True
        apart = f"a KL divergence of {found:.3g} nats a token, a log ratio of up to {float(metrics['log_ratio_engine'].max()):.3g}"
        instead = "; --dtype float32 brings them together" if self.config.get("options", {}).get("dtype") == "bfloat16" else ""
        instead += "" if self.config.get("truncate_importance") else "; --truncate-importance 2 corrects for it"
        message = f"what the engine draws with is not what the policy gives, {apart}: its weights are the policy's, and it computes otherwise{instead}"
        self._say("train", self._spent(learner), message=message)

    def _say_of_truncation(self, learner: Learner, evaluation: Evaluation) -> None:
        """Tell once a run that evaluation episodes had no end."""
        truncated = evaluation.details.get("truncated")
        if truncated is None or self._told_of_truncation or not truncated.any():
            return
        self._told_of_truncation = True
        steps = int(evaluation.details["length"].max())
        found = f"{truncated.sum()} of {truncated.size} evaluation episodes at {self._standing(learner)} were still going on after {steps:,} steps"
        found += " and were truncated there"
        self._say("train", self._spent(learner), message=f"{found}; they count as they stand (--max-evaluation-steps sets another limit)")

    def _say_of_long_episodes(self, learner: Learner, evaluation: Evaluation) -> None:
        """Tell, by the first evaluation, that a run will spend its time on them: they play far more steps than it trains."""
        length = evaluation.details.get("length")
        if length is None or self.unit != "steps" or self.member:
            return
        seeds, episodes = length.shape
        times = 1 + math.ceil(self.amount / self.config["every"])
        steps = times * int(length.sum()) // seeds
        if steps <= LONGER * self.amount or times * self.seconds["evaluating"] <= SLOW:
            return
        played = f"{times} evaluations of {episodes} episodes, each of up to {int(length.max()):,} steps"
        found = f"{played}, are some {steps:,} steps beside {self.amount:,} of training, about {times * self.seconds['evaluating']:,.0f} s"
        said = f"{found}: --max-evaluation-steps caps an episode, --episodes and --every set how many there are"
        self._say("train", self._spent(learner), message=said)

    def _standing(self, learner: Learner) -> str:
        """How far a learner is, in words."""
        return f"step {learner.step} of {self.amount}" if self.unit == "steps" else f"{self._spent(learner):,.0f} of {self.amount:,} {self.unit}"

    def _spent(self, learner: Learner) -> float:
        """What a learner has used of its budget, in the budget's unit."""
        if self.unit == "steps":
            return learner.step
        if not learner.trains:
            return self.amount if learner.step else 0  # there is nothing to spend it on
        learner.seconds = self.seconds["member"]
        return self.seconds["member"] if self.unit == "seconds" else learner.spent[self.unit]

    def _done(self, learner: Learner) -> bool:
        """Whether the budget is used up; with a budget of steps, whether another whole iteration would pass the last one."""
        if learner.step == 0:
            return False
        if self.unit != "steps":
            return self._spent(learner) >= self.amount
        return learner.step + learner.stride > self.amount

    def _round(self, learner: Learner) -> None:
        """Count a budget of steps in whole iterations, one at least, as it is spent."""
        if self.unit != "steps":
            return
        stride, asked = learner.stride, self.amount
        self.amount = max(1, asked // stride) * stride
        if self.amount != asked and self.member == 0:
            of = f"are {'less than one iteration' if asked < stride else 'no whole iterations'} of {self.config['method']}"
            self._say("prepare", 0, message=f"{asked:,} steps {of}, {stride:,} steps each: {self.amount:,} are done")

    def _manifest(self, learner: Learner) -> None:
        config = {name: value for name, value in self.directory.config.items() if name != "failed"}  # it goes on
        known = {"resume": self._resumes(learner), "iteration": learner.stride}
        self.directory.write_config(config | known)

    def _resumes(self, learner: Learner) -> str:
        return OTHER_DRAWS if self._drew else learner.resume

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
        slow = base and self.world.makes_base and self.member == 0
        self._say("evaluate", self._spent(learner), message="evaluating the policy before training" if slow else "")
        seeds, started = self.members[self.member], time.perf_counter()
        with whole(learner.policy):
            evaluation = self.world.evaluate(learner.policy, len(seeds), **episodes_argument(self.config["episodes"]))
        self.seconds["evaluating"] += time.perf_counter() - started
        evaluation.measures |= learner.measures()
        self._obey()
        rows = []
        for place, seed in enumerate(seeds):
            values = evaluation.values[place]
            row = {"step": learner.step, "seed": seed, "score": evaluation.score, "value": float(values.mean()), "values": values.tolist(), "base": base}
            if (passed := pass_at(evaluation, place)) is not None:
                row["pass_at_k"] = passed
            if evaluation.measures:
                row["measures"] = {name: float(values[place]) for name, values in evaluation.measures.items()}
            details = evaluation.details
            row |= {name: float(details[name][place].mean()) for name in ("longer", "distinct", "entropy") if name in details}
            if "samples" in details:
                row["samples"] = int(details["samples"])
            if "truncated" in details:
                row["truncated"] = int(details["truncated"][place].sum())
            if "unscored" in details:
                row["unscored"] = int(details["unscored"][place].sum())
            rows.append(row)
        self.directory.append("evaluations.jsonl", rows)
        for tracker in self.trackers:
            for row in rows:
                found = {row["score"]: row["value"], **row.get("measures", {})}
                tracker.log([{"step": row["step"], "seed": row["seed"]} | {f"evaluation/{name}": value for name, value in found.items()}])
        if base:
            self.base += [{"value": row["value"], "pass_at_k": row.get("pass_at_k")} for row in rows]
        self.score = (evaluation.score, float(evaluation.values.mean()))
        self._say("train", self._spent(learner))
        self._say_of_truncation(learner, evaluation)
        if base:
            self._say_of_long_episodes(learner, evaluation)
        self._say_of_unscored(learner, evaluation)
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
                save_policy(self.world, learner.policy, place, folder / kind / f"seed-{seed}")

    def _finish_member(self, learner: Learner, evaluation: Evaluation) -> None:
        seeds = self.members[self.member]
        for place, seed in enumerate(seeds):
            found = {"seed": seed, "step": learner.step, "score": evaluation.score, "value": float(evaluation.values[place].mean())}
            if learner.spent is not None:
                found["spent"] = {name: learner.spent[name] for name in ("samples", "tokens")} | {"seconds": round(self.seconds["member"], 3)}
            if (passed := pass_at(evaluation, place)) is not None:
                found["pass_at_k"] = passed
            if evaluation.measures:
                found["measures"] = {name: float(values[place]) for name, values in evaluation.measures.items()}
            if "truncated" in evaluation.details:
                found["truncated"] = int(evaluation.details["truncated"][place].sum())
            self.finished.append(found)

    def _describe(self, learner: Learner, seeds: list[int]) -> None:
        """Keep completions of the last rollout."""
        if (source := learner.source) is None:
            return
        if source.describes and learner.rollout is not None:
            told = learner.rollout.take(_telling_rows(learner.rollout))
            try:
                told.extras |= self._drift(learner.policy, told, seeds)
            except torch.OutOfMemoryError:
                self._say("evaluate", self._spent(learner), message="no memory for a second policy: completions are written without ratio and KL")
            self.directory.append("completions.jsonl", [{"step": learner.step, "seed": seeds[0]} | row for row in source.describe(told, range(told.shape[1]))])

    @torch.no_grad()
    def _drift(self, policy: Any, rollout: Rollout, seeds: list[int]) -> dict[str, torch.Tensor]:
        """What training made of each token of a rollout, `[1, N, T]`.

        "ratio": the trained policy's probability over that of the policy that acted; "kl": KL(trained || before training) of the next token, nats.
        """
        before = self.world.policy(None, Streams(seeds)).to(rollout.mask.device)
        before.temperature = policy.temperature
        shard(before)
        ratio, kl = [], []
        rows = torch.arange(rollout.shape[1], device=rollout.mask.device)
        for part in map(rollout.take, rows.split(max(1, LOGITS // (rollout.shape[2] * len(self.world.tokenizer))))):
            found = policy.replay(part.inputs, part.action, {"logits"})
            ratio.append(ops.policy_ratio(found["log_prob"], part.log_prob))
            kl.append(ops.categorical_kl(found["logits"], before.replay(part.inputs, part.action, {"logits"})["logits"]))
        return {"ratio": torch.cat(ratio, 1), "kl": torch.cat(kl, 1)}

    def _checkpoint(self, learner: Learner) -> None:
        if learner.source is not None:
            self.messages = learner.source.report().get("messages", {}) | self.messages
        self.seconds["total"] += time.perf_counter() - self._began
        self._began = time.perf_counter()
        run = {
            "member": self.member,
            "finished": self.finished,
            "base": self.base,
            "messages": self.messages,
            "due": self._due,
            "of": self._of(),
            "best": self.best,
            "seconds": dict(self.seconds),
            "offsets": self.directory.offsets(),
        }
        self._obey()
        state = {"learner": gathered(learner.state_dict()), "run": run}
        if self._resumes(learner) != self.directory.config.get("resume"):  # an environment's state was no longer one that can be written
            self._manifest(learner)
            self._say("train", self._spent(learner), message="an environment can no longer give its state: a resumed run will start new episodes")
        self.directory.save(self.member * self.config["steps"] + learner.step, state)

    def _result(self) -> dict[str, Any]:
        config = self.config
        self.seconds["total"] += time.perf_counter() - self._began
        values = np.array([[found["value"]] for found in self.finished])
        steps = max(found["step"] for found in self.finished)
        result = {"run": str(self.directory.shown), "method": config["method"], "task": config["task"], "seeds": config["seeds"], "steps": steps}
        result["score"] = score_object(self.finished[0]["score"], values)
        if names := dict.fromkeys(name for found in self.finished for name in found.get("measures", {})):  # as of `stack_evaluations`
            result["measures"] = measures({name: [found.get("measures", {}).get(name, 0.0) for found in self.finished] for name in names})
        result["seconds"] = round(self.seconds["total"], 3)
        trained = self.seconds["training"] > 1e-3  # a fixed policy does not train: it has no speed
        result["steps_per_second"] = round(sum(found["step"] for found in self.finished) / self.seconds["training"], 3) if trained else 0.0
        result["evaluation_seconds"] = round(self.seconds["evaluating"], 3)
        if collecting := self.seconds["collecting"]:
            result["parts"] = {"collect": round(collecting, 3), "update": round(max(0.0, self.seconds["training"] - collecting), 3)}
        if self.world.answers and "spent" in self.finished[0]:
            names = ("samples", "tokens", "seconds")
            result["spent"] = {name: round(float(np.mean([found["spent"][name] for found in self.finished])), 3) for name in names}  # a seed
        if truncated := sum(found.get("truncated", 0) for found in self.finished):
            result["truncated_episodes"] = truncated
        if "pass_at_k" in self.finished[0]:
            result["base"] = score_object(self.finished[0]["score"], np.array([[found["value"]] for found in self.base]))
            result["pass_at_k"] = {
                name: {k: float(np.mean([found["pass_at_k"][k] for found in group])) for k in group[0]["pass_at_k"]}
                for name, group in (("policy", self.finished), ("base", self.base))
            }
        if (collapse := run_collapse(load_run(self.directory.path), self.messages)) is not None:
            result["collapse"] = collapse
        return result

    def _say(self, phase: str, spent: float, metrics: dict[str, list[float]] | None = None, message: str = "") -> None:
        first = self.config.get("members_before", 0)
        done, total = round(max(0, self.member - first) * self.amount + spent), round(self.amount * (len(self.members) - first))
        if self.member < first:  # it is done, and looked at once more
            phase, done = "prepare", 0
        speed = self._steps / self.seconds["training"] if self._steps and self.seconds["training"] > 1e-3 else None
        self.listener(Update(phase, min(done, total), total, metrics or {}, self.score, message, self.unit, speed, self.config["every"]))

    def _obey(self) -> None:
        """End the run if a second signal came: whoever was at work then may have caught the exception, and what it did since is not to be kept."""
        if self._at_once:
            raise Interrupted(f"stopped at once, what came behind the last checkpoint is lost; {self._going_on}")

    @contextmanager
    def _signals(self):
        """SIGINT, SIGTERM and SIGHUP end the run at the next iteration, with its state saved; a second one ends it at once."""

        def stop(number, frame):
            self._at_once = self._asked is not None
            self._asked = number
            self._obey()

        previous = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                    previous[number] = signal.signal(number, stop)
        except ValueError:  # not in the main thread: whoever runs us handles signals
            previous = {}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _telling_rows(rollout: Rollout, groups: int = 4) -> torch.Tensor:
    """Rows of the worst and the best groups of a rollout, by mean reward: what a person wants to read."""
    reward, group = rollout.reward[0].sum(-1), rollout.group[0]
    names = group.unique()
    means = torch.stack([reward[group == name].mean() for name in names])
    order = names[means.argsort(stable=True)]
    chosen = torch.cat([order[:groups], order[groups:][-groups:]])
    return torch.isin(group, chosen).nonzero().squeeze(1)
