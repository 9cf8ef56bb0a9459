"""The gradient half of a loop: minibatches and micro-batches, the reducer's weights, one backward, a clip and a step a seed, and what an update tells.

Policy gradients, supervised and preference learning hand their batches to the same `Updater`; what they do to come by a batch is their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from operant import ops
from operant.core import ranks
from operant.core.flat import Adam, FlatParameters, Optimizer
from operant.core.graphs import PLAIN, Execution
from operant.core.random import Streams
from operant.loops.learner import Learner, check_finite
from operant.loops.parts import REPLAYED, needs_of, over_of, part_name, statistics_of, told_by
from operant.loops.terms import Term, TermBatch, step_losses
from operant.nets.policy import TrainedPolicy
from operant.nets.sharded import parameters_of

Fields = dict[str, Tensor]
"""A batch by names: "inputs.NAME" and "action" (what the policy replays), "mask", and what terms read, `[S, n, …]` each: n rows, or n single steps."""

Reduce = Literal["token-mean", "sequence-mean", "sequence-sum"]

PATIENCE = 1.5  # times the target, the KL above which a seed stands still, as in Stable-Baselines3
STANDS = "stands"  # which seeds do, in a batch


class Lot(NamedTuple):
    """Rows that go through the policy together.

    Attributes:
        rows: which of a batch.
        counts: they are learned from. Of several processes one may have none left while the others go on: it joins their pass with rows that count for nothing.
    """

    rows: Tensor | slice
    counts: bool = True


class Updated(NamedTuple):
    """What one optimiser step gave, still on its device.

    Attributes:
        losses: each term's, `[terms, S]`.
        gradient_norm: before the clip, `[S]`.
        log_ratio: the largest |log ratio| to the policy that acted; None where it was not asked for.
        diagnostics: `[S]` by name, and "log_ratio" `[S, U]`; empty where they were not asked for.
        log_prob: of the policy before the step, `[S, n, T]`; None where the ratios were not taken to it.
        stands: `[S]`, the seeds that this step did not move; None where it moved all.
    """

    losses: Tensor
    gradient_norm: Tensor
    log_ratio: Tensor | None
    diagnostics: dict[str, Tensor]
    log_prob: Tensor | None = None
    stands: Tensor | None = None


class Updater:
    """A policy, its objective and its optimiser.

    Where several processes train one run, each has the whole batch and takes its share of the rows through the policy; the weights of steps are those of the
    whole batch, so that losses and gradients add up to those of one process.

    Args:
        policy: on its final device.
        terms: the objective, a list of per-step terms; each seed's losses are added up.
        seeds: how many; `stacked` says that every parameter has them as its first axis.
        learning_rate: the optimiser's. `optimizer.learning_rate` may be set before any step.
        optimizer: what makes it, given the flat parameters, `learning_rate` and `apart`: `Adam`, `RMSProp`, or a partial of one.
        reduce, reduce_length: how steps are weighted (`ops.step_weights`).
        unit: "group" keeps the rows of a group together in micro-batches, in their order.
        micro_batch: rows that go through the policy at once where its span is a row; 0 for all. Never changes the loss.
        max_grad_norm: largest norm of a seed's gradient; None for no clip.
        normalize_advantage: to mean 0 and deviation 1 over each minibatch's chosen steps.
        apart: the optimiser can forget one seed's moments alone.
        target_kl: a seed stands still from the step on before which its mean KL from the policy that acted, over the minibatch, is above `PATIENCE` times
            this; None to move always. Seeds are then apart.
        flat: the policy's parameters, where another updater of the same policy has put them into a buffer.
        execution: how steps are computed.
        streams: what is drawn in a step comes from; needed where that is repeated or compiled.

    Attributes:
        flat: the parameters that are trained.
        needs, overs, old_statistics: what the terms ask for besides the policy's numbers: names of fields, masks of their own, and statistics of the policy
            that acted.
    """

    def __init__(
        self,
        policy: TrainedPolicy,
        terms: Sequence[Term],
        *,
        seeds: int,
        stacked: bool,
        learning_rate: float,
        reduce: Reduce = "sequence-mean",
        reduce_length: int | None = None,
        unit: Literal["row", "group"] = "row",
        micro_batch: int = 0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
        optimizer: Callable[..., Optimizer] = Adam,
        apart: bool = False,
        target_kl: float | None = None,
        flat: FlatParameters | None = None,
        execution: Execution = PLAIN,
        streams: Streams | None = None,
    ):
        self.policy, self.terms = policy, terms
        self.reduce, self.reduce_length, self.unit, self.micro_batch = reduce, reduce_length, unit, micro_batch
        self.max_grad_norm, self.normalize_advantage, self.target_kl = max_grad_norm, normalize_advantage, target_kl
        self.flat = parameters_of(policy, seeds=seeds, stacked=stacked) if flat is None else flat
        self.optimizer = optimizer([self.flat], learning_rate=learning_rate, apart=apart or target_kl is not None)
        self.needs = needs_of(terms)
        self.overs = tuple(dict.fromkeys(over for term in terms if (over := over_of(term)) is not None))
        self.statistics = statistics_of(terms)
        self.old_statistics = statistics_of(terms, "old_statistics")
        self._replayed = self.needs & set(REPLAYED)
        self._clips, self._tells = told_by(terms, "clipped"), told_by(terms, "tells")
        self._equal: dict[torch.Size, Tensor] = {}
        self._repeated = execution.repeated(self._step, streams, "the update")
        self._replayed_at = execution.compiled(self._replay, streams)
        self._losses_at = execution.compiled(self._losses, streams)
        if execution.cuda_graphs:
            self.optimizer.keep_rate_on(streams.device)

    def step(
        self,
        batch: Fields,
        *,
        progress: float,
        iteration: int,
        first: bool = False,
        last: bool = False,
        whole: bool = False,
        fresh: bool = False,
        stands: Tensor | None = None,
    ) -> Updated:
        """One optimiser step on one minibatch, in micro-batches of rows. No host read happens here.

        Args:
            progress, iteration: of training, as terms see it (`TermBatch`).
            first: give the largest |log ratio|; last: give the diagnostics.
            whole: every step was chosen, so that all weigh alike.
            fresh: ratios are taken to what the policy gives in this step, in the place of the batch's `old_log_prob`.
            stands: the seeds that do not move any more, `[S]`, where there is a `target_kl`.
        """
        if stands is not None:
            batch = batch | {STANDS: stands}
        return self._repeated(batch, {"progress": progress, "iteration": iteration}, first, last, whole, fresh)

    def _step(self, batch: Fields, numbers: Mapping[str, float | Tensor], first: bool, last: bool, whole: bool, fresh: bool) -> Updated:
        stands, batch = batch.get(STANDS), {name: x for name, x in batch.items() if name != STANDS}
        batch, weights = self._weighed(batch, whole)
        self.flat.zero_grad()
        values, log_ratios, parts, kls = [], [], [], []
        now = torch.zeros_like(batch["old_log_prob"]) if fresh else None
        for (rows, counts), micro in self.micro_batches(batch):
            if now is not None:
                micro = micro | {"old_log_prob": micro["log_prob"].detach()}
                if counts:
                    now[:, rows] = micro["old_log_prob"]
            weight = {over: (x if isinstance(rows, slice) else x[:, rows] * counts).flatten(1) for over, x in weights.items()}
            seen = TermBatch(micro, **numbers)
            losses = self._losses_at(seen, weight)
            losses.sum().backward()  # a gradient handed in would make PyTorch import sympy at the first update, a second of every run
            values.append(losses.detach())
            if stands is not None:
                kls.append(self._mean_kl(seen, weight[None]))
            if first:
                log_ratios.append(self._largest_log_ratio(seen))
            if last:
                parts.append(self._diagnose(seen, weight[None]))
        norm = self.flat.grad_norm() if self.max_grad_norm is None else self.flat.clip_grad_norm(self.max_grad_norm)
        if stands is not None:
            stands = stands | (ranks.add(sum(kls)) > PATIENCE * self.target_kl)
        self.optimizer.step(norm if stands is None else norm.masked_fill(stands, torch.inf))  # which moves nothing
        told = {}
        for name in parts[0] if parts else ():
            found = [part[name] for part in parts]
            told[name] = ranks.side_by_side(torch.cat(found, 1), 1, torch.nan) if name == "log_ratio" else ranks.add(sum(found))
        losses = ranks.add(values[0] if len(values) == 1 else torch.stack(values).sum(0))
        largest = ranks.largest(torch.stack(log_ratios).max()) if first else None
        return Updated(losses, norm, largest, told, None if now is None else ranks.add(now), stands)

    @torch.no_grad()
    def _mean_kl(self, batch: TermBatch, weight: Tensor) -> Tensor:
        """Of a micro-batch, its share of KL(policy that acted ‖ policy now), `[S]`."""
        return torch.linalg.vecdot(weight, ops.kl_k3(batch.old_log_prob, batch.log_prob).to(weight.dtype).flatten(1))

    def _weighed(self, batch: Fields, whole: bool) -> tuple[Fields, dict[str | None, Tensor]]:
        """A minibatch with its advantages normalised, and the weights of its steps by the mask that a term is weighted over."""
        mask = batch["mask"]
        if self.normalize_advantage:
            flat = ops.normalize(batch["advantage"].flatten(1), None if whole else mask.flatten(1), dim=-1)
            batch = batch | {"advantage": flat.view_as(mask)}
        return batch, {None: self._equal_weights(mask) if whole else self._weights(mask)} | {over: self._weights(batch[over]) for over in self.overs}

    def _losses(self, seen: TermBatch, weight: dict[str | None, Tensor]) -> Tensor:
        """Each term's loss, `[terms, S]`; the weights are `[S, U]`."""
        by_term = weight[None] if not self.overs else torch.stack([weight[over_of(term)] for term in self.terms])
        return (torch.stack(step_losses(self.terms, seen)).flatten(2) * by_term).sum(-1)

    def _largest_log_ratio(self, seen: TermBatch) -> Tensor:
        if not self.policy.likelihoods:
            return seen.mask.new_zeros((), dtype=self.flat.dtype)
        return ((seen.log_prob.detach() - seen.old_log_prob) * seen.mask).abs().max()

    def finish(self, learner: Learner, updates: Sequence[Updated], batch_of: Callable[[int], Fields]) -> dict[str, Tensor]:
        """The means of an iteration's updates, `[S]` each on the CPU: "loss/TERM" and "gradient_norm", and where seeds may stand still, of the updates that
        moved a seed, "updates", how many these are. Here the host reads them, and looks.

        Args:
            batch_of: from an update's place to its batch, which is saved where the update failed.

        Raises:
            RunFailed: a loss or a gradient was not finite (`check_finite`).
        """
        losses, norms = torch.stack([update.losses for update in updates]).cpu(), torch.stack([update.gradient_norm for update in updates]).cpu()
        names = [part_name(term) for term in self.terms]
        check_finite(learner, names, losses, norms, batch_of)
        told = {f"loss/{name}": losses[:, place] for place, name in enumerate(names)} | {"gradient_norm": norms}
        if updates[0].stands is None:
            return {name: x.mean(0) for name, x in told.items()}
        moved = ~torch.stack([update.stands for update in updates]).cpu()
        count = moved.sum(0)
        # one after the other, so that what a seed's mean is made of does not hang on how long others went on
        return {name: sum(x.masked_fill(~moved, 0.0)) / count.clamp(min=1) for name, x in told.items()} | {"updates": count}

    def micro_batches(self, batch: Fields) -> Iterator[tuple[Lot, Fields]]:
        """The micro-batches of a minibatch: (which of its rows, their fields and what the policy gives them now)."""
        present = batch["mask"]
        for over in self.overs:
            present = present | batch[over]
        for lot in self.rows_together(present, batch.get("group") if self.unit == "group" else None):
            micro = batch if isinstance(lot.rows, slice) else {name: x[:, lot.rows] for name, x in batch.items()}
            idle = {} if lot.counts else {name: torch.zeros_like(micro[name]) for name in ("mask", *self.overs)}
            yield lot, micro | idle | self._replayed_at(micro)

    def _replay(self, batch: Fields) -> Fields:
        """What the policy gives at a batch now."""
        inputs = {name.removeprefix("inputs."): x for name, x in batch.items() if name.startswith("inputs.")}
        statistics = (self.statistics,) if self.statistics else ()
        return self.policy.replay(inputs, batch["action"], self._replayed, *statistics)

    def rows_together(self, mask: Tensor, group: Tensor | None = None) -> Iterator[Lot]:
        """Rows that go through the policy together: all, or at most `micro_batch` at a time, whole groups where these are the unit.

        They are of similar length, so that there is little padding. Where the policy packs its rows, each lot has its share of all lengths, so that none is
        large. Of several processes each has its share of the lots, and all have as many.

        Args:
            mask: `[S, n, T]`, whose sums are the rows' lengths.
            group: `[S, n]`, where groups must stay together.
        """
        size = self.micro_batch
        if ranks.count() > 1:
            yield from self._own_lots(mask, group)
            return
        if self.policy.span == "step" or not 0 < size < mask.shape[1] or (group is not None and len(mask) > 1):
            yield Lot(slice(None))
            return
        lengths = mask.sum(-1)[0]
        if group is None:
            order = torch.argsort(lengths, stable=True)
            lots = -(-len(order) // size)
            yield from map(Lot, (order[lot::lots] for lot in range(lots)) if self.policy.packs else order.split(size))
            return
        batch: list[Tensor] = []
        for rows in self._by_length(lengths, group[0]):
            if batch and sum(map(len, batch)) + len(rows) > size:
                yield Lot(torch.cat(batch))
                batch = []
            batch.append(rows)
        yield Lot(torch.cat(batch))

    @staticmethod
    def _by_length(lengths: Tensor, group: Tensor) -> list[Tensor]:
        """The rows of each group, those of shorter groups first."""
        members = [(group == number).nonzero().squeeze(1) for number in group.unique()]
        return sorted(members, key=lambda rows: int(lengths[rows].max()))

    def _own_lots(self, mask: Tensor, group: Tensor | None) -> Iterator[Lot]:
        """This process's lots: of rows or whole groups, in the order of their length."""
        lengths, count = mask.sum(-1)[0], ranks.count()
        units = torch.argsort(lengths, stable=True).split(1) if group is None else self._by_length(lengths, group[0])
        most = max(1, (self.micro_batch or len(lengths)) // max(map(len, units)))
        lots = count * -(-len(units) // (count * most))
        for lot in range(ranks.rank(), lots, count):
            mine = units[lot::lots] if self.policy.packs else units[lot * len(units) // lots : (lot + 1) * len(units) // lots]
            yield Lot(torch.cat(mine)) if mine else Lot(units[0], counts=False)

    @torch.no_grad()
    def log_prob_as_trained(self, cut: RowCutter, firsts: Sequence[Tensor]) -> Tensor:
        """The policy's log-probabilities `[S, N, T]` before the first update: of each row in the minibatch and micro-batch in which it is trained first.

        In bfloat16 the numbers of a row depend on the shape of what is computed with it, so that only the same cut gives the same bits.

        Args:
            firsts: the minibatches of the first pass, which hold every row once.
        """
        found = torch.zeros_like(cut.fields["old_log_prob"])
        seeds = torch.arange(len(found), device=found.device).unsqueeze(1)
        for index in firsts:
            for (rows, counts), micro in self.micro_batches(cut(index)):
                if counts:
                    found[seeds, index[:, rows]] = micro["log_prob"]
        return ranks.add(found)

    def _weights(self, mask: Tensor) -> Tensor:
        """The reducer's weights of a minibatch, `[S, U]` (steps) or `[S, n, T]` (rows)."""
        grid = mask if mask.ndim == 3 else mask.unsqueeze(-1)
        return ops.step_weights(grid, self.reduce, length=self.reduce_length, dtype=self.flat.dtype).view(mask.shape)

    def _equal_weights(self, mask: Tensor) -> Tensor:
        """The same of a minibatch in which every step was chosen: one tensor for all of its shape."""
        if mask.shape not in self._equal:
            self._equal[mask.shape] = self._weights(torch.ones_like(mask))
        return self._equal[mask.shape]

    @torch.no_grad()
    def _diagnose(self, batch: TermBatch, weight: Tensor) -> dict[str, Tensor]:
        """Weighted means over a micro-batch: what tells whether updates are too large."""
        per_step: dict[str, Tensor] = {}
        acted = "old_log_prob" in batch.tensors  # there is a policy that acted, and may be left behind
        if acted:
            new, old = batch.log_prob, batch.old_log_prob
            per_step |= {"kl_behaviour": ops.kl_k3(old, new), "ratio": ops.policy_ratio(new, old)}
        if self._clips:
            per_step["clip_fraction"] = torch.stack([clipped(batch) for clipped in self._clips]).amax(0)
        if "entropy" in self._replayed:
            per_step["loss_entropy"] = batch.entropy
        for tells in self._tells:
            per_step |= tells(batch)
        found = {name: torch.linalg.vecdot(weight, value.to(weight.dtype).flatten(1)) for name, value in per_step.items()}
        if acted and self.policy.span == "row":
            found["log_ratio"] = (new - old).masked_fill(~batch.mask, torch.nan).flatten(1)
        return found


def ratio_metrics(log_ratio: Tensor) -> dict[str, Tensor]:
    """Quantiles of the ratio, and the effective sample size as a share of the steps, `[S]` each, from log ratios `[S, U]` (NaN where nothing is chosen)."""
    ratio = log_ratio.double().exp()
    low, middle, high = ratio.nanquantile(torch.tensor([0.01, 0.5, 0.99], dtype=ratio.dtype), dim=1)
    count = (~ratio.isnan()).sum(1)
    ess = ratio.nansum(1).square() / (count * ratio.square().nansum(1)).clamp(min=1e-300)
    return {"ratio/q01": low, "ratio/q50": middle, "ratio/q99": high, "ess": ess}


class StepCutter:
    """Minibatches of single steps: everything in one matrix, so that a minibatch is one gather."""

    def __init__(self, fields: Fields):
        seeds, rows, length = fields["mask"].shape
        self.units = rows * length
        self._kinds = [(name, x.dtype, x.shape[3:]) for name, x in fields.items()]
        columns = [x.reshape(seeds, self.units, -1).float() for x in fields.values()]
        self._widths = [column.shape[-1] for column in columns]
        self._packed = torch.cat(columns, -1)

    def __call__(self, index: Tensor) -> Fields:
        seeds, count = index.shape
        flat = index + torch.arange(seeds, device=index.device).unsqueeze(1) * self.units
        rows = self._packed.flatten(0, 1).index_select(0, flat.reshape(-1)).view(seeds, count, -1)
        batch = {}
        for (name, dtype, shape), column in zip(self._kinds, rows.split(self._widths, -1), strict=True):
            column = column if shape else column.squeeze(-1)
            batch[name] = column if dtype == torch.float32 else column.to(dtype)
        return batch


class RowCutter:
    """Minibatches of whole rows (sequences)."""

    def __init__(self, fields: Fields):
        self.fields = fields
        self.units = fields["mask"].shape[1]

    def __call__(self, index: Tensor) -> Fields:
        seeds = torch.arange(len(index), device=index.device).unsqueeze(1)
        return {name: x[seeds, index] for name, x in self.fields.items()}


def deal_rows(busy: Tensor, count: int, generator: torch.Generator) -> list[Tensor]:
    """Rows `[N]` dealt at random to `count` minibatches, as equal in size as can be: first those that are learned from, then the others in their order.

    What a seed learns from, and the draws for it, are then the same however many idle rows stand beside them (stacked seeds all have the rows of the largest).
    """
    own, idle = busy.nonzero().squeeze(1), (~busy).nonzero().squeeze(1)
    own = own[torch.randperm(len(own), generator=generator)]
    sizes = [len(part) for part in torch.arange(len(busy)).tensor_split(count)]
    chosen = own.tensor_split(count)
    beside = idle.split([size - len(part) for size, part in zip(sizes, chosen, strict=True)])
    return [torch.cat(pair) for pair in zip(chosen, beside, strict=True)]
