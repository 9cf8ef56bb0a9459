"""The policy-gradient loop: sample → score → shape → fill → select → credit → mark → focus → terms → reduce → step. For control, language and sequences alike.

All up to focus stands here; from the terms on it is `loops.update.Updater`'s.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core import ranks
from operant.core.errors import BadInput, RunFailed, place_of
from operant.core.flat import Adam, Optimizer
from operant.core.graphs import PLAIN, Execution
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.status import Status
from operant.loops.credit import Grouping, LearnedCredit
from operant.loops.fill import Fill
from operant.loops.learner import Learner, Spine, suggest_micro_batch
from operant.loops.natural import NaturalUpdater, TrustRegion
from operant.loops.parts import FROM_ACTED, REPLAYED, Stateful, needs_of, part_name, statistics_of
from operant.loops.reference import Reference, ReferencePolicy
from operant.loops.terms import ANSWER_IMPORTANCE, IMPORTANCE, Term
from operant.loops.update import Fields, Reduce, RowCutter, StepCutter, Updated, Updater, deal_rows, ratio_metrics
from operant.nets.policy import RATIO_TOLERANCE, Statistics, TrainedPolicy
from operant.nets.sharded import shard, whole
from operant.worlds.base import SampleWorkers, SamplingPlan, World


@dataclass(frozen=True)
class Fit:
    """Terms that are fitted to each rollout by themselves, behind the policy's update and by an Adam of their own: those of a value function that shares
    nothing with the policy's network (`ActorCriticNet(shared=False)`).

    Attributes:
        epochs, minibatches: passes over a rollout, and optimiser steps in each.
        learning_rate, eps: Adam's.
    """

    terms: Sequence[Term]
    epochs: int = 10
    minibatches: int = 8
    learning_rate: float = 1e-3
    eps: float = 1e-8


@dataclass(frozen=True)
class PolicyGradient(Spine):
    """A configured policy-gradient loop: the named steps of one method. What its parts may ask of the loop stands in `loops.parts`.

    Attributes:
        sample: the sampling plan, one of the world's (`Steps`, or a plan of `worlds.plans`).
        credit: `(rollout) → advantage [S, N, T]`.
        terms: the objective, a list of per-step terms.
        shape: rewards made from rewards, in order: `(rollout) → reward [S, N, T]`.
        fill: which groups are kept, and how long the loop samples for them; None keeps what one round gives.
        select: filters of the scored rollout, in order: `(rollout) → rollout`.
        mark: what terms and focus read beside what the loop knows, once credit is given: `(rollout) → {name: tensor}`, each `[S, N]` or `[S, N, T, …]`, which
            stand in the rollout's extras under their names.
        focus: which steps are learned from once credit is given: `(rollout) → mask [S, N, T]`, all of them together.
        policy: how the policy network is built; None where the world brings the policy (a language model). `TokenCritic` gives it a value function.
        reference: how the policy behind "reference_log_prob" comes about, where something needs it.
        unit: "group" keeps the rows of a group together in minibatches and micro-batches, for terms that couple them.
        reduce: how steps are weighted, a kind of `ops.step_weights`. The default is GRPO's: the mean over a row's steps, then over rows; with "token-mean"
            every step counts alike, and long answers weigh more (DAPO). Where a row is one step, as in environments, the two are the same.
        reduce_length: the constant divisor of "sequence-sum".
        normalize_advantage: mean 0 and deviation 1 over the chosen steps of a rollout, or of each minibatch; None leaves them as credit gave them.
        epochs, minibatches: passes over a rollout, and optimiser steps in each.
        micro_batch: rows that go through the model at once where the policy's span is a row; 0 for all. Never changes the loss.
        learning_rate: the optimiser's; `anneal` lowers it linearly to 0 at the end of training.
        optimizer: `Adam`, `RMSProp` (`operant.core.flat`), or a partial of one with settings of its own.
        max_grad_norm: of a seed's gradient; None for no clip.
        target_kl: a seed makes no more updates on a rollout once its KL is above 1.5 times this (`Updater`); None for all updates.
        region: a trust region, in which natural-gradient steps take the place of the optimiser's; None for the optimiser.
        fit: terms that are fitted by themselves behind the update of `terms`; None for none.
        workers: of a method's own settings, processes that sample where none are asked for besides; 1 for the one that trains.
        sample_workers: processes that sample, and how old the weights may be that act.
        truncate_importance: what older weights did, or an engine that computes by itself drew, is learned from with the ratio to it, as it is when it is
            learned from, as a weight, of so much at the most (`ops.truncated_importance`); None leaves the ratio to the method.
        execution: how updates are computed.
    """

    draws_answers = True
    goes_on = True
    splits = True

    sample: SamplingPlan
    credit: Callable[[Rollout], Tensor]
    terms: Sequence[Term]
    policy: Any = None
    shape: Sequence[Callable[[Rollout], Tensor]] = ()
    fill: Fill | None = None
    select: Sequence[Callable[[Rollout], Rollout]] = ()
    mark: Sequence[Callable[[Rollout], Mapping[str, Tensor]]] = ()
    focus: Sequence[Callable[[Rollout], Tensor]] = ()
    reference: Reference = Reference()
    unit: Literal["row", "group"] = "row"
    reduce: Reduce = "sequence-mean"
    reduce_length: int | None = None
    normalize_advantage: Literal["rollout", "minibatch"] | None = None
    epochs: int = 1
    minibatches: int = 1
    micro_batch: int = 0
    learning_rate: float = 3e-4
    anneal: bool = False
    optimizer: Callable[..., Optimizer] = Adam
    max_grad_norm: float | None = 0.5
    target_kl: float | None = field(default=None, kw_only=True)
    region: TrustRegion | None = None
    fit: Fit | None = None
    workers: int = field(default=1, kw_only=True)
    sample_workers: SampleWorkers | None = field(default=None, kw_only=True)
    truncate_importance: float | None = field(default=None, kw_only=True)
    execution: Execution = field(default=PLAIN, kw_only=True)

    @property
    def needs(self) -> frozenset[str]:
        """What all parts together ask of the loop."""
        accept = self.fill.parts if self.fill is not None else ()
        fitted = self.fit.terms if self.fit is not None else ()
        return needs_of((*self.shape, *accept, *self.select, self.credit, *self.mark, *self.focus, *self.terms, *fitted))

    @property
    def prompts(self) -> int:
        return self.sample.prompts

    @property
    def rows(self) -> int:
        return self.sample.iteration_rows // self.minibatches

    @property
    def beside(self) -> SampleWorkers | None:
        """The processes that sample; None for the one that trains."""
        return SampleWorkers(self.workers, option="--workers") if self.sample_workers is None and self.workers > 1 else self.sample_workers

    def decided(self, world: World) -> dict[str, Any]:
        return {} if self.beside is None else world.decided(self.sample, self.beside)

    def sampled_by(self, workers: SampleWorkers) -> PolicyGradient:
        if self.workers > 1:
            raise BadInput(f"{workers.given} and --workers {self.workers} are the same processes: give the first of them")
        return replace(self, sample_workers=workers)

    def truncated_by(self, most: float) -> PolicyGradient:
        if term := next((term for term in self.terms if getattr(term, "weighed", "") == "never"), None):
            name = part_name(term)
            raise BadInput(f"--truncate-importance {most:g}: {name} of this method fits ratios to the policy that acted, and takes no weights: leave it out")
        return replace(self, truncate_importance=most)

    def executed_by(self, execution: Execution) -> PolicyGradient:
        if execution.compile and self.region is not None:
            raise BadInput("--compile: this method differentiates its KL twice, which compiled code does not allow; leave it out")
        return replace(self, execution=execution)

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        if self.execution.compile and world.answers:
            raise BadInput("--compile: each batch of answers has a shape of its own, for which all would be compiled anew; leave it out")
        if self.execution.cuda_graphs and world.answers and (world.kind != "text" or world.drawn_apart or self.beside is not None):
            raise BadInput("--cuda-graphs: of answers it is the drawing by this process, with its own engine, on a GPU, that is captured; leave it out")
        if self.beside is not None and self.beside.staleness and (term := next((term for term in self.terms if getattr(term, "fresh", False)), None)):
            raise BadInput(
                f"--staleness {self.beside.staleness}: {part_name(term)} of this method reads distributions of the policy that acted, which are measured when "
                "it learns: leave it out"
            )
        if "teacher_log_prob" in self.needs:
            world.check_teacher()
        if world.answers:
            each, stacked = self.sample.n, len(seeds) if world.stacked else 1
            what = f"a batch of {self.prompts:,} prompts with {each:,} answer{'s' * (each > 1)} each, {world.longest:,} tokens long"
            check_memory(what, stacked * self.prompts * each * world.row_bytes(), "take fewer prompts, a smaller group, or shorter answers")
        world.check(self.sample, seeds, episodes, workers=self.beside)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> PolicyGradientLearner:
        return PolicyGradientLearner(self, world, list(seeds), total_steps, device)


class PolicyGradientLearner(Learner):
    """The loop at work: the one place where updates of policy gradients happen.

    Attributes:
        rollout: the newest scored rollout, with its advantages and the steps that were learned from.
    """

    def __init__(self, method: PolicyGradient, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method = method = copy.deepcopy(method)  # parts that keep something keep it for this learner alone
        self.world, self.seeds, self.total_steps = world, seeds, total_steps
        self.step = 0
        self.version = 0
        self.spent: dict[str, float] = {"samples": 0, "tokens": 0}
        self.streams = Streams(seeds, device)
        self.policy = world.policy(method.policy, self.streams).to(device)
        if method.truncate_importance is not None and not self.policy.likelihoods:
            raise BadInput(f"--truncate-importance {method.truncate_importance:g}: this method's policy gives no probabilities of what it does; leave it out")
        if isinstance(method.sample.temperature, int | float):
            self.policy.temperature = method.sample.temperature  # what is learned from is what was sampled from
        everything = method.needs
        self.reference = ReferencePolicy(method.reference, self.policy, len(seeds)) if everything & {"reference_log_prob", "reference_velocity"} else None
        self.teacher = world.teacher(len(seeds)).to(device).requires_grad_(False) if "teacher_log_prob" in everything else None
        if isinstance(method.credit, LearnedCredit):
            method.credit.begin(self.policy, self.streams)
        for policy in (self.policy, self.reference and self.reference.policy, self.teacher):  # behind all that copies one
            if policy is not None:
                shard(policy)
        of = {"seeds": len(seeds), "stacked": world.stacked, "reduce": method.reduce, "reduce_length": method.reduce_length, "unit": method.unit}
        of |= {"execution": PLAIN if world.answers else method.execution, "streams": self.streams}
        self.updater = (Updater if method.region is None else partial(NaturalUpdater, region=method.region))(
            self.policy,
            method.terms,
            **of,
            learning_rate=method.learning_rate,
            micro_batch=method.micro_batch,
            max_grad_norm=method.max_grad_norm,
            normalize_advantage=method.normalize_advantage == "minibatch",
            optimizer=method.optimizer,
            apart=method.reference.kind == "reset" and len(seeds) > 1,
            target_kl=method.target_kl,
        )
        self.fitter = None
        if method.fit is not None:
            self.fitter = Updater(
                self.policy,
                method.fit.terms,
                **of,
                learning_rate=method.fit.learning_rate,
                micro_batch=method.micro_batch,
                optimizer=partial(Adam, eps=method.fit.eps),
                flat=self.updater.flat,
            )
        updaters = [updater for updater in (self.updater, self.fitter) if updater is not None]
        self._needs = frozenset().union(*(updater.needs for updater in updaters))
        self._overs = tuple(dict.fromkeys(over for updater in updaters for over in updater.overs))
        self._old_statistics = {name: statistic for updater in updaters for name, statistic in updater.old_statistics.items()}
        self.source = world.source(method.sample, self.streams, workers=method.beside)
        self.source.cuda_graphs = method.execution.cuda_graphs
        self._most_behind = 0 if method.beside is None else method.beside.staleness
        self.stride = self.source.steps_per_sample
        self._before = (*method.shape, *(method.fill.parts if method.fill is not None else ()))
        self._after = (*method.select, method.credit, *method.mark, *method.focus)
        lists = {"shape": method.shape, "select": method.select, "mark": method.mark, "focus": method.focus, "terms": method.terms}
        parts = {f"{name} {place}": part for name, items in lists.items() for place, part in enumerate(items)}
        self._stateful = Stateful(parts | {"credit": method.credit, "fill": method.fill and method.fill.accept})
        self._began = 0.0  # progress at the beginning of the iteration
        self.rollout: Rollout | None = None
        self._tolerance = self.policy.ratio_tolerance
        self._rounded = self._tolerance > RATIO_TOLERANCE  # what acts and what is trained are one policy that is rounded twice (bfloat16)

    def notes(self) -> list[str]:
        return [*super().notes(), *self.world.notes_on(self.policy)]

    def iterate(self) -> dict[str, Tensor]:
        """One rollout and the updates from it."""
        self._began, began = self.progress, time.perf_counter()
        rollout, metrics = self._collect()
        self.collecting += time.perf_counter() - began
        self.step += self.stride
        if rollout.shape[1]:  # a fill may keep nothing
            rows = rollout.shape[1]
            with suggest_micro_batch(min(self.method.micro_batch or rows, rows)) if self.world.answers else nullcontext():
                metrics |= self._update(self.prepare(rollout))
            if isinstance(self.method.credit, LearnedCredit):
                metrics |= self.method.credit.metrics
        self.version += 1
        if self.reference is not None:
            reset = self.reference.follow(self.policy, self.version, metrics.get("reward", torch.zeros(len(self.seeds))))
            if reset.any():
                self.updater.optimizer.reset(reset)
                metrics["reference_reset"] = reset.float()
        return metrics

    def settle(self) -> None:
        began = time.perf_counter()
        self.source.settle()
        self.collecting += time.perf_counter() - began

    # ------------------------------------------------------------------------------------------------------------------------ sample, score, shape, fill

    def _collect(self) -> tuple[Rollout, dict[str, Tensor]]:
        """The scored and shaped rollout of an iteration, and the means of all that was sampled for it."""
        method, fill = self.method, self.method.fill
        rounds: list[Rollout] = []
        accepted: list[Tensor] = []
        seen: list[dict[str, Tensor]] = []
        self.source.progress = self.progress
        self.policy.explore(self.progress)
        for _ in range(1 if fill is None else fill.rounds):
            with whole(self.policy):
                rollout = self.source.sample(self.policy, self.version)
            if not 0 <= self.version - rollout.version <= self._most_behind:
                raise RunFailed(f"a rollout of weights' version {rollout.version} reached the update of version {self.version}")
            rollout = self.source.score(rollout)
            rollout.progress = self._began
            if self._most_behind:
                rollout.extras["behind"] = torch.full_like(rollout.group, self.version - rollout.version)
            seen.append(self._scores(rollout))
            rollout.mask = rollout.mask & (rollout.status == int(Status.OK)).unsqueeze(-1)
            self._shape(rollout)
            rounds.append(rollout)
            if fill is None:
                break
            accepted.append(self._accepted(rollout))
            rollout, groups = fill.kept(list(rounds), accepted, method.sample.prompts)
            if int(groups.min()) >= method.sample.prompts:
                break
        metrics = {name: torch.stack([part[name] for part in seen if name in part]).nanmean(0) for name in {name: None for part in seen for name in part}}
        if self._most_behind:
            behind = rollout.extras["behind"].float().cpu()
            metrics |= {"staleness": behind.mean(-1), "staleness/most": behind.amax(-1)} if behind.shape[1] else {}
        if fill is not None:
            metrics |= {"fill/rounds": torch.full((len(self.seeds),), float(len(rounds))), "fill/groups": groups}
        if self.world.answers:
            for name in ("samples", "tokens"):
                metrics[name] = torch.full((len(self.seeds),), float(self.spent[name]))
        return rollout, metrics

    def _scores(self, rollout: Rollout) -> dict[str, Tensor]:
        found = {}
        if rollout.status.any():
            for status in (Status.TIMEOUT, Status.CRASHED, Status.MALFORMED):
                found[f"score/{status.name.lower()}"] = (rollout.status == int(status)).float().mean(-1).cpu()
        if self.world.answers:
            self.spent["samples"] += rollout.shape[1]
            self.spent["tokens"] += int(rollout.extras.get("drawn", rollout.mask).sum()) // len(self.seeds)
        return found | self.source.metrics(rollout)

    def _accepted(self, rollout: Rollout) -> Tensor:
        accepted = self.method.fill.accept(rollout)
        if not isinstance(accepted, Tensor) or accepted.shape != rollout.group.shape or accepted.dtype != torch.bool:
            part, wanted = self.method.fill.accept, list(rollout.group.shape)
            raise RunFailed(f"accept {part_name(part)} gave {_found(accepted, 'a mask')}; the rollout has {wanted} rows, of bool{place_of(part)}")
        return accepted

    def _shape(self, rollout: Rollout) -> None:
        self._provide(rollout, self._before)
        if self.method.shape:
            rollout.extras["unshaped_reward"] = rollout.reward
        for shape in self.method.shape:
            reward = shape(rollout)
            if not isinstance(reward, Tensor) or reward.shape != rollout.shape:
                raise RunFailed(f"shape {part_name(shape)} gave {_found(reward, 'rewards')}; the rollout has {list(rollout.shape)}{place_of(shape)}")
            if not torch.isfinite(reward[rollout.mask]).all():
                raise RunFailed(f"shape {part_name(shape)} gave a reward that is not finite at step {self.step}{place_of(shape)}")
            rollout.reward = reward

    # ------------------------------------------------------------------------------------------------------------------------ select, credit, mark, focus

    def prepare(self, rollout: Rollout) -> Rollout:
        """A scored and shaped rollout with everything that the update reads: advantages, the steps to learn from, and what terms need."""
        method = self.method
        self._provide(rollout, self._after)
        for select in method.select:
            rollout = select(rollout)
            if not isinstance(rollout, Rollout):
                raise RunFailed(f"select {part_name(select)} gave {type(rollout).__name__}, not a rollout{place_of(select)}")
        self._assign_credit(rollout)
        if method.truncate_importance is not None:
            self._weigh(rollout, method.truncate_importance)
        for focus in method.focus:
            mask = focus(rollout)
            if not isinstance(mask, Tensor) or mask.shape != rollout.shape or mask.dtype != torch.bool:
                raise RunFailed(f"focus {part_name(focus)} gave {_found(mask, 'a mask')}; the rollout has {list(rollout.shape)}, of bool{place_of(focus)}")
            rollout.mask = rollout.mask & mask
        self.rollout = rollout
        rollout = self._without_idle_rows(rollout)
        if rollout.shape[1]:
            self._provide_terms(rollout)
        return rollout

    def _weigh(self, rollout: Rollout, most: float) -> None:
        """Weights for what something else did than the policy as it is now. From here on ratios begin at the policy before the update."""
        extras = rollout.extras
        acted = extras.get("behaviour_log_prob", rollout.log_prob)
        if rollout.version < self.version:
            rollout.log_prob = self._replay(self.policy, rollout)["log_prob"]
        if acted is rollout.log_prob:
            return
        if "outside" in extras:  # no policy drew what was given
            acted = torch.where(extras["outside"].unsqueeze(-1), rollout.log_prob, acted)
        together = ops.row_sum(rollout.log_prob - acted, rollout.mask).squeeze(-1)
        extras[IMPORTANCE] = ops.truncated_importance(rollout.log_prob, acted, most=most)
        extras[ANSWER_IMPORTANCE] = ops.truncated_importance(together, torch.zeros_like(together), most=most)
        extras["log_importance"] = ((rollout.log_prob - acted) * rollout.mask).detach()

    def _assign_credit(self, rollout: Rollout) -> None:
        method, extras = self.method, rollout.extras
        name = part_name(method.credit)
        try:
            advantage = method.credit(rollout)
        except ValueError as error:
            raise RunFailed(f"credit {name}: {error}") from error
        if not isinstance(advantage, Tensor) or advantage.shape != rollout.shape:
            raise RunFailed(f"credit {name} gave {_found(advantage, 'advantages')}; the rollout has {list(rollout.shape)}{place_of(method.credit)}")
        if not torch.isfinite(advantage[rollout.mask]).all():
            raise RunFailed(f"credit {name} gave an advantage that is not finite at step {self.step}{place_of(method.credit)}")
        extras["advantage"] = ops.normalize(advantage, rollout.mask, dim=(-2, -1)) if method.normalize_advantage == "rollout" else advantage
        for mark in method.mark:
            extras |= self._marks(rollout, mark)
        if "value" in self._needs:
            self._provide(rollout, (), {"value"})
            extras.setdefault("returns", advantage + extras["value"])

    def _marks(self, rollout: Rollout, mark: Callable[[Rollout], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        marks, name = mark(rollout), part_name(mark)
        if not isinstance(marks, Mapping):
            raise RunFailed(f"mark {name} gave {type(marks).__name__}, not a dict of tensors by name{place_of(mark)}")
        for key, value in marks.items():
            if not isinstance(value, Tensor) or value.shape[:2] != rollout.shape[:2] or (value.ndim > 2 and value.shape[2] != rollout.shape[2]):
                raise RunFailed(f"mark {name} gave {_found(value, 'a tensor')} as {key!r}; the rollout has {list(rollout.shape)}{place_of(mark)}")
            if key in rollout.extras or key in Rollout.__dataclass_fields__:
                raise RunFailed(f"mark {name} gave {key!r}, which the rollout has already; give it another name{place_of(mark)}")
        return marks

    def _without_idle_rows(self, rollout: Rollout) -> Rollout:
        """The rollout without rows that no term learns from (probes, filtered groups), where rows of one seed can be left out."""
        if self.policy.span == "step" or self.world.stacked:
            return rollout
        busy = self._busy(rollout)[0]
        return rollout if bool(busy.all()) else rollout.take(busy.nonzero().squeeze(1))

    def _busy(self, rollout: Rollout) -> Tensor:
        """Which rows a term learns from, `[S, N]`."""
        busy = rollout.mask.any(-1)
        for over in self._overs:
            busy = busy | self._extra(rollout, over).any(-1)
        return busy

    def _provide(self, rollout: Rollout, parts: Sequence[Any], names: Collection[str] = ()) -> None:
        """Put what parts need, and what is named, into the rollout's extras."""
        extras = rollout.extras
        wanted = (needs_of(parts) | set(names)) - set(extras)
        statistics = {name: statistic for name, statistic in statistics_of(parts).items() if name not in extras}
        if "value" in wanted:
            extras |= self._by_rows(rollout, lambda part: dict(zip(("value", "next_value"), self.policy.values(part), strict=True)))
        if of_reference := [name for name in ("log_prob", "velocity") if f"reference_{name}" in wanted]:
            found = self._replay(self.reference.policy, rollout, set(of_reference) & set(REPLAYED))
            extras |= {f"reference_{name}": found[name] for name in of_reference}
        if "teacher_log_prob" in wanted:
            extras["teacher_log_prob"] = self._replay(self.teacher, rollout)["log_prob"]
        if "old_log_prob" in wanted:  # by the same passes as the reference's, so that one policy has one number
            extras["old_log_prob"] = self._replay(self.policy, rollout)["log_prob"] if self._measures_anew(rollout) else rollout.log_prob
        replayed = wanted & {"entropy"}
        if replayed or statistics:
            found = self._replay(self.policy, rollout, replayed, statistics)
            extras |= {name: found[name] for name in (*replayed, *statistics)}
        rest = wanted - set(extras) - {"advantage", "score", "returns", "old_value", "logits"}
        if rest:
            extras |= self.source.measure(rest, rollout, self.policy)
            if missing := sorted(rest - set(extras)):
                raise RunFailed(f"{missing[0]!r} is needed by this method, and {self.world.task} has no such measure")

    def _provide_terms(self, rollout: Rollout) -> None:
        self._provide(rollout, (), self._needs - set(REPLAYED))
        if self._needs & FROM_ACTED:
            rollout.extras["acted"] = self._replay(self.policy, rollout, {"logits"})["logits"]
        if statistics := self._old_statistics:
            rollout.extras |= {name: x for name, x in self._replay(self.policy, rollout, (), statistics).items() if name in statistics}

    def _extra(self, rollout: Rollout, name: str) -> Tensor:
        if name not in rollout.extras:
            raise RunFailed(f"a term of this method asks for {name!r}, which nothing puts into the rollout: {', '.join(sorted(rollout.extras))} are there")
        return rollout.extras[name]

    @torch.no_grad()
    def _replay(self, policy: TrainedPolicy, rollout: Rollout, needs: Collection[str] = (), statistics: Statistics | None = None) -> dict[str, Tensor]:
        """`policy.replay` of a whole rollout without gradients, in micro-batches."""
        return self._by_rows(rollout, lambda part: policy.replay(part.inputs, part.action, needs, *([statistics] if statistics else [])))

    def _by_rows(self, rollout: Rollout, measure: Callable[[Rollout], dict[str, Tensor]]) -> dict[str, Tensor]:
        """`[S, N, T]` tensors that are measured a few rows at a time."""
        found: dict[str, Tensor] = {}
        for rows, counts in self.updater.rows_together(rollout.extras.get("present", rollout.mask)):
            part = measure(rollout if isinstance(rows, slice) else rollout.take(rows))
            if isinstance(rows, slice):
                return part
            for name, value in part.items():
                into = found.setdefault(name, value.new_zeros(value.shape[0], rollout.shape[1], *value.shape[2:]))
                if counts:
                    into[:, rows] = value
        return {name: ranks.add(value) for name, value in found.items()}

    # ---------------------------------------------------------------------------------------------------------------------------------- terms, reduce, step

    def fields(self, rollout: Rollout) -> Fields:
        """What minibatches are cut from, by the names that terms use."""
        extras = rollout.extras
        fields = {f"inputs.{name}": x for name, x in rollout.inputs.items()}
        fields |= {"action": rollout.action, "mask": rollout.mask, "advantage": extras["advantage"]}
        if self.policy.likelihoods:
            fields["old_log_prob"] = rollout.log_prob
        if "value" in self._needs:
            fields |= {"old_value": extras["value"], "returns": extras["returns"]}
        if IMPORTANCE in extras:
            fields |= {IMPORTANCE: extras[IMPORTANCE]} | ({ANSWER_IMPORTANCE: extras[ANSWER_IMPORTANCE]} if self.policy.span == "row" else {})
        if self.policy.span == "row":
            fields["group"] = rollout.group
        if "score" in self._needs:
            fields["score"] = rollout.reward.sum(-1)
        if self._needs & FROM_ACTED:
            fields["inputs.acted"] = extras["acted"]
        names = [*self._needs, *self._overs, *self._old_statistics]
        return fields | {name: self._extra(rollout, name) for name in names if name not in REPLAYED and name not in fields}

    def _update(self, rollout: Rollout) -> dict[str, Tensor]:
        method, updater = self.method, self.updater
        if method.anneal:
            updater.optimizer.learning_rate = method.learning_rate * (1 - self._began)
        if not self.world.stacked and not (rollout.mask.any() or any(rollout.extras[over].any() for over in self._overs)):
            return {"gradient_norm": torch.zeros(len(self.seeds))}  # nothing to learn from; stacked seeds all take the step, so that none depends on others
        steps = self.policy.span == "step"
        fields = self.fields(rollout)
        cut = StepCutter(fields) if steps else RowCutter(fields)
        whole = steps and bool(rollout.mask.all())
        indices: list[Tensor] = []
        found: dict[str, Tensor] = {}
        first_log_ratio = None
        for _ in range(method.epochs):
            indices += self._minibatches(rollout, cut.units, method.minibatches)
        log_prob, anew = None, self._measures_anew(rollout)
        fresh = anew and len(indices) == 1  # the one update measures it by itself
        if anew and not fresh:
            log_prob = updater.log_prob_as_trained(cut, indices[: len(indices) // method.epochs])
            cut = RowCutter(fields | {"old_log_prob": log_prob})
        updates: list[Updated] = []
        stands = None if method.target_kl is None else torch.zeros(len(self.seeds), dtype=torch.bool, device=rollout.mask.device)
        pending, indices, over = indices, [], False
        for place, index in enumerate(pending):
            first, last = not updates and not anew, index is pending[-1]
            if stands is not None and place % method.minibatches == 0:  # the host looks once in a pass
                over = bool(stands.all())
            if over and not last:  # the last one tells
                continue
            at = {"progress": self._began, "iteration": self.version}
            updates.append(updater.step(cut(index), **at, first=first, last=last, whole=whole, fresh=fresh, stands=stands))
            indices.append(index)
            stands = updates[-1].stands
        if fresh:
            log_prob = torch.zeros_like(rollout.log_prob)
            log_prob[torch.arange(len(log_prob), device=log_prob.device).unsqueeze(1), indices[0]] = updates[0].log_prob
            cut = RowCutter(fields | {"old_log_prob": log_prob})
        if log_prob is not None:
            first_log_ratio = ((log_prob - rollout.log_prob) * rollout.mask).abs().max()
            count = rollout.mask.sum((1, 2))
            if rollout.version == self.version:
                found["kl_sampler"] = ((ops.kl_k3(rollout.log_prob, log_prob) * rollout.mask).sum((1, 2)) / count).cpu()
        metrics = updater.finish(self, updates, lambda update: cut(indices[update]))
        worst = (updates[0].log_ratio if first_log_ratio is None else first_log_ratio).abs().max().item()
        if (rollout.version == self.version or IMPORTANCE in rollout.extras) and not worst <= self._tolerance:
            raise RunFailed(
                f"the ratio before the first update is not 1: |log ratio| reaches {worst:.3g} at step {self.step}; "
                "the policy that is trained is not the one that acted"
            )
        if IMPORTANCE in rollout.extras:
            found |= self._of_importance(rollout)
        if self.fitter is not None:
            found |= self._fit(rollout, cut, whole)
        diagnostics = updates[-1].diagnostics
        if "log_ratio" in diagnostics:
            metrics |= ratio_metrics(diagnostics.pop("log_ratio").cpu())
        return metrics | found | {name: value.cpu() for name, value in diagnostics.items()}

    def _of_importance(self, rollout: Rollout) -> dict[str, Tensor]:
        """How far what acted is from the policy before the update."""
        mask, count = rollout.mask, rollout.mask.sum((1, 2))
        ratio = rollout.extras["log_importance"].double().exp() * mask
        of = {
            IMPORTANCE: rollout.extras[IMPORTANCE],
            "importance/cut": (ratio > self.method.truncate_importance).double(),
            "importance/kl": ratio - 1 - rollout.extras["log_importance"].double(),
        }
        found = {name: ((x * mask).sum((1, 2)) / count).cpu() for name, x in of.items()}
        total, squares = ratio.sum((1, 2)), ratio.square().sum((1, 2))
        return found | {"importance/ess": (total.square() / (count * squares).clamp(min=1e-300)).cpu(), "importance/most": ratio.amax((1, 2)).cpu()}

    def _measures_anew(self, rollout: Rollout) -> bool:
        """Whether ratios are to what the policy as it is gives: what acted is that policy, and is rounded otherwise than what is trained."""
        return self._rounded and (rollout.version == self.version or IMPORTANCE in rollout.extras)

    def _fit(self, rollout: Rollout, cut: StepCutter | RowCutter, whole: bool) -> dict[str, Tensor]:
        """The updates of what is fitted by itself; its losses."""
        fit, indices = self.method.fit, []
        for _ in range(fit.epochs):
            indices += self._minibatches(rollout, cut.units, fit.minibatches)
        updates = [self.fitter.step(cut(index), progress=self._began, iteration=self.version, whole=whole) for index in indices]
        metrics = self.fitter.finish(self, updates, lambda update: cut(indices[update]))
        return {name: value for name, value in metrics.items() if name != "gradient_norm"}

    def _minibatches(self, rollout: Rollout, units: int, count: int) -> list[Tensor]:
        """Random minibatches of one pass, as many as `count`: units `[S, n]` each."""
        if self.policy.span == "step":
            return list(self.streams.permutations("minibatch", units).tensor_split(min(count, units), dim=1))
        if self.method.unit == "row":
            generators = self.streams.torch_generators("minibatch")
            dealt = [deal_rows(busy, min(count, units), generator) for busy, generator in zip(self._busy(rollout).cpu(), generators, strict=True)]
            return [torch.stack(parts).to(rollout.mask.device) for parts in zip(*dealt, strict=True)]
        groups = [Grouping(group) for group in rollout.group]
        rows = torch.arange(units, device=rollout.mask.device)
        members = [grouping.pack(rows + 1) for grouping in groups]  # [G, K], 0 where a group has fewer
        if len(members) > 1 and (len({x.shape for x in members}) > 1 or any(bool((x == 0).any()) for x in members)):
            raise RunFailed("a term couples the rows of a group: seeds that are stacked must all have groups of the same size")
        order = self.streams.permutations("minibatch", members[0].shape[0])
        batches = []
        for part in order.tensor_split(min(count, order.shape[1]), dim=1):
            chosen = [x[index].flatten() for x, index in zip(members, part, strict=True)]
            batches.append(torch.stack([x[x > 0] - 1 for x in chosen]))
        return batches

    def probes(self) -> Mapping[str, Callable[[], object]]:
        rollout = self.prepare(self._collect()[0])
        while not rollout.mask.any():  # a method that keeps little may keep nothing of a small batch
            rollout = self.prepare(self._collect()[0])
        fields = self.fields(rollout)
        cut = StepCutter(fields) if self.policy.span == "step" else RowCutter(fields)
        batch = cut(torch.arange(cut.units, device=self.streams.device).expand(len(self.seeds), -1))
        return {
            "update": lambda: [self.updater.step(batch, progress=0.0, iteration=0, first=first, last=not first) for first in (True, False)],
            "replay": lambda: [list(self.updater.micro_batches(batch)) for _ in range(2)],
        }

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return super().learned(state) | {"source": self.source.learned(state["source"])}

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        super().begin_from(learned)
        if self.reference is not None:
            self.reference = ReferencePolicy(self.method.reference, self.policy, len(self.seeds))
        self.source.begin_from(learned.get("source", {}))

    def state_dict(self) -> dict[str, Any]:
        self.settle()  # what is gathered beside may draw from the streams
        return {
            "step": self.step,
            "version": self.version,
            "spent": {name: self.spent[name] for name in ("samples", "tokens")},
            "streams": self.streams.state_dict(),
            "policy": dict(self.policy.state_dict()),
            "optimizer": self.updater.optimizer.state_dict(),
            "fit": None if self.fitter is None else self.fitter.optimizer.state_dict(),
            "reference": None if self.reference is None else self.reference.state_dict(),
            "parts": self._stateful.state_dict(),
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.version = state["step"], state["version"]
        self.spent |= state["spent"]
        self.streams.load_state_dict(state["streams"])
        self.policy.load_state_dict(state["policy"])
        self.updater.optimizer.load_state_dict(state["optimizer"])
        if self.fitter is not None:
            self.fitter.optimizer.load_state_dict(state["fit"])
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])
        self._stateful.load_state_dict(state["parts"])
        self.source.load_state_dict(state["source"])


def _found(x: Any, what: str) -> str:
    """What a part gave, in words."""
    return f"{what} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
