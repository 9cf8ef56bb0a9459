"""Generation: each prompt is run once and its cache serves all of its completions; finished rows are dropped; log-probabilities are recorded as drawn.

The cache is allocated once for the longest completion and written in place. Prompts are padded at the left, so that all rows write the same column of it; a
model is told where by the mask `[R, L]` that Hugging Face's own generation gives, from which it makes windows, biases by distance and the like itself.
Small models of the Llama and Qwen2 families, where the cost is the number of calls and not the arithmetic, are decoded by a written-out step over joined
weights (`_JoinedStep`); every other Hugging Face causal language model by its own forward pass (`_ModelStep`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM
from transformers.cache_utils import Cache, CacheLayerMixin

from operant.core import ranks
from operant.core.errors import BadInput, RunFailed
from operant.core.graphs import GRAPHS
from operant.nets import packed
from operant.nets.bfloat16 import BFloat16Linear, cast_once
from operant.nets.kernels import FastLinear, linear, round_rows
from operant.worlds.plans import Generation, Logits, Request
from operant.worlds.text.models import longest_row, other_layers, why_no_longer

LOOK_EVERY = 4  # tokens between two looks at which rows have finished (the only reads by the host, but for the check of an adaptive temperature)
WIDE = 256  # hidden size from which a token's products are faster in bfloat16; below, a model that computes in it is decoded in float32
ROOM = 256  # places of the cache for which a step is captured at a time
DROP_AT = 0.75  # rows are compacted when at most this share of them is still going


Temperature = float | Callable[[Tensor, Tensor], Tensor]
"""A temperature, or a function of each row's entropy `[R]` (nats) and log-probabilities `[R, V]` at temperature 1 that gives one a row `[R]`."""


@dataclass(frozen=True)
class _Drawing:
    """How a token is drawn from the policy's distribution. Without `uniforms` it is the likeliest."""

    temperature: Temperature
    top_k: int | None
    top_p: float
    uniforms: Tensor | None  # [T, R] of all rows, or None
    guide: Logits | None = None

    @property
    def apart(self) -> bool:
        """Whether tokens are drawn from another distribution than the policy's."""
        return self.guide is not None or callable(self.temperature) or self.top_k is not None or self.top_p < 1

    def policy(self, logits: Tensor) -> Tensor:
        """Log-probabilities `[R, V]` of the policy."""
        return self._scaled(logits).log_softmax(-1)

    def _scaled(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        return logits if callable(self.temperature) or self.temperature == 1 else logits / self.temperature

    def guided(self, own: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Log-probabilities `[R, V]` and entropy `[R]` of what the plan's logits make of the policy's and those of others."""
        made = self.guide(self._scaled(own), *map(self._scaled, others))
        if made.shape != own.shape:
            raise BadInput(f"generate: the plan's logits have the shape {list(made.shape)}; the policy's have {list(own.shape)}")
        log_p = made.log_softmax(-1)
        return log_p, _entropy(log_p, log_p.exp())

    def behaviour(self, log_p: Tensor, entropy: Tensor) -> Tensor:
        """Log-probabilities `[R, V]` of what tokens are drawn from: at the temperature of each row, and cut to the likeliest tokens."""
        if callable(self.temperature):
            temperature = self.temperature(entropy, log_p)
            if temperature.shape != entropy.shape or not bool((temperature > 0).all()):
                lowest = f"; the lowest is {temperature.min().item():.3g}" if temperature.shape == entropy.shape else ""
                raise BadInput(f"generate: the adaptive temperature gave {list(temperature.shape)} values for {len(entropy)} rows{lowest}; one above 0 a row")
            log_p = (log_p / temperature.unsqueeze(1)).log_softmax(-1)
        if self.top_k is None and self.top_p == 1:
            return log_p
        ordered, order = log_p.sort(stable=True, dim=-1, descending=True)
        if self.top_k is not None:
            ordered[:, self.top_k :] = -torch.inf
        if self.top_p < 1:
            p = ordered.softmax(-1)
            ordered = ordered.masked_fill(p.cumsum(-1) - p >= self.top_p, -torch.inf)
        return torch.empty_like(ordered).scatter_(1, order, ordered.log_softmax(-1))

    def token(self, q: Tensor, uniform: Tensor | None) -> Tensor:
        """The next token `[R, 1]` of each row, drawn with probabilities `q [R, V]` at `uniform [R]`."""
        if uniform is None:
            return q.argmax(-1, keepdim=True)
        cumulative = q.cumsum(-1, dtype=torch.float64)
        found = torch.searchsorted(cumulative, uniform.unsqueeze(1) * cumulative[:, -1:], right=True)
        return found.clamp_(max=q.shape[-1] - 1)  # where probabilities are not numbers there is none, which is told at the end


def _entropy(log_p: Tensor, p: Tensor) -> Tensor:
    """Entropy `[R]`, nats, of distributions `[R, V]` that may leave tokens out: 0 times the lowest number is 0."""
    return -torch.linalg.vecdot(p, log_p.clamp(min=torch.finfo(log_p.dtype).min))


class _Record:
    """What was drawn: lists of one tensor a token while the same rows are going, spread over all rows when that changes.

    Attributes:
        columns: tokens `[T, R]`, log-probabilities, entropies and, where tokens are drawn from another distribution, its log-probabilities.
        since: the first token of the rows that are going now.
    """

    def __init__(self, steps: int, rows: int, pad_token_id: int, apart: bool, device: torch.device):
        self.columns = [torch.full((steps, rows), pad_token_id, device=device), *torch.zeros(2 + apart, steps, rows, device=device)]
        self.since = 0
        self.newest: list[list[Tensor]] = [[] for _ in self.columns]

    def add(self, *figures: Tensor) -> None:
        for kept, figure in zip(self.newest, figures, strict=True):
            kept.append(figure)

    def spread(self, going: Tensor) -> None:
        """Write down what `going` drew since the last time."""
        until = self.since + len(self.newest[0])
        for column, kept in zip(self.columns, self.newest, strict=True):
            column[self.since : until].index_copy_(1, going, torch.stack(kept))
            kept.clear()
        self.since = until


@dataclass(frozen=True)
class Batch:
    """Completions that are drawn at a time.

    Attributes:
        requests: what is completed: prefixes, and how many completions of each.
        limits, stops: most tokens, and the tokens that end, of each request's completions.
        drawing: how tokens are drawn, with the draws of these rows.
        cuda_graphs: a token's step is captured, and replayed.
    """

    requests: list[Request]
    limits: list[int]
    stops: list[set[int]]
    drawing: _Drawing
    pad_token_id: int
    cuda_graphs: bool = False


def complete(model: PreTrainedModel, batch: Batch, beat: Callable[[], None] | None = None) -> Generation:
    """Draw a batch.

    Args:
        beat: called before each token.
    """
    training = model.training
    model.eval()
    try:
        with cast_once(model):
            return _complete(model, batch.requests, batch.limits, batch.stops, batch.drawing, batch.pad_token_id, batch.cuda_graphs, beat)
    finally:
        model.train(training)


@torch.inference_mode()
def _complete(
    model: PreTrainedModel,
    requests: Sequence[Request],
    limits: Sequence[int],
    stops: Sequence[set[int]],
    drawing: _Drawing,
    pad_token_id: int,
    cuda_graphs: bool,
    beat: Callable[[], None] | None,
) -> Generation:
    device = model.device
    prompts = [tuple(request.prefix) for request in requests]
    distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    request = _request_of_rows(requests)
    rows = len(request)

    width = max(map(len, distinct))
    padding = torch.tensor([width - len(prompt) for prompt in distinct], device=device)
    ids = torch.tensor([[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in distinct], device=device)
    of_row = torch.tensor([distinct[prompt] for prompt in prompts])[request].to(device)
    most = max(limits)
    start = ids, padding, of_row, width + most, cuda_graphs
    step, logits = _begin(model, *start)
    beside = [] if drawing.guide is None else [_Beside(policy.model, *start) for policy in drawing.guide.others]

    sets = {stop: place for place, stop in enumerate(dict.fromkeys(map(frozenset, stops)))}
    ends = torch.zeros(len(sets), logits.shape[-1], dtype=torch.bool)
    for stop, place in sets.items():
        ends[place, list(stop)] = True
    ends, ends_of = ends.to(device), torch.tensor([sets[frozenset(stop)] for stop in stops])[request].to(device)
    limit = torch.tensor(limits)[request].to(device)

    record = _Record(most, rows, pad_token_id, drawing.apart, device)
    going = torch.arange(rows, device=device)  # the rows that are still computed; of those:
    done, stop_of, stop_at, uniforms = torch.zeros(rows, dtype=torch.bool, device=device), ends_of, limit, drawing.uniforms
    looked = 0
    for t in range(most):
        if beat is not None:
            beat()
        log_p = drawing.policy(logits)
        p = log_p.exp()
        spread = _entropy(log_p, p)
        uniform = None if uniforms is None else uniforms[t]
        if not drawing.apart:
            token = drawing.token(p, uniform)
            record.add(token.squeeze(1), log_p.gather(1, token).squeeze(1), spread)
        else:
            log_q = drawing.behaviour(*((log_p, spread) if drawing.guide is None else drawing.guided(logits, [other.logits for other in beside])))
            token = drawing.token(log_q.exp(), uniform)
            record.add(token.squeeze(1), *(x.squeeze(1) for x in (log_p.gather(1, token), spread.unsqueeze(1), log_q.gather(1, token))))
        token = token.squeeze(1)
        if t + 1 == most:
            break
        if t + 1 - looked == LOOK_EVERY:
            done = done | ends[stop_of, torch.stack(record.newest[0][looked - record.since :])].any(0) | (stop_at <= t + 1)
            looked, open_rows = t + 1, round_rows(int(len(going) - done.sum()))
            if open_rows == 0:
                break
            if open_rows <= DROP_AT * len(going):
                record.spread(going)
                keep = done.sort(stable=True).indices[:open_rows]
                going, token, done, stop_of, stop_at = (x[keep] for x in (going, token, done, stop_of, stop_at))
                uniforms = None if uniforms is None else uniforms[:, keep]
                for kept in (step, *(other.step for other in beside)):
                    kept.keep(keep)
        logits = step(token)
        for other in beside:
            other.logits = other.step(token)
    record.spread(going)
    tokens, log_prob, entropy, *behaviour = (x[: record.since].t() for x in record.columns)
    return _finish(prompts, request.to(device), tokens, log_prob, entropy, *(behaviour or [None]), ends[ends_of.unsqueeze(1), tokens], limit, pad_token_id)


class _Beside:
    """Another policy that is run along: its step, and its newest logits."""

    def __init__(self, model: PreTrainedModel, *start: Any):
        self.step, self.logits = _begin(model, *start)


def _begin(model: PreTrainedModel, ids: Tensor, padding: Tensor, of_row: Tensor, capacity: int, cuda_graphs: bool) -> tuple[_JoinedStep | _ModelStep, Tensor]:
    """Run the prompts `ids [P, L]`; the step behind them of rows `of_row [R]`, with room for `capacity` tokens each, and the logits `[R, V]` of the first."""
    if cuda_graphs and not can_join(model):
        raise BadInput(f"--cuda-graphs: the step of Llama and Qwen2 models of at most 50M parameters is captured; {type(model).__name__} is none: leave it out")
    cache, logits = _prefill(model, ids, padding)
    kind = (_CapturedStep if cuda_graphs else _JoinedStep) if can_join(model) else _ModelStep
    return kind(model, cache, padding[of_row], of_row, capacity), logits[of_row]


def generate(
    model: PreTrainedModel,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    temperature: Temperature = 1.0,
    generator: torch.Generator | None = None,
    eos_token_id: int | Sequence[int] | None,
    pad_token_id: int,
    greedy: bool = False,
    top_k: int | None = None,
    top_p: float = 1.0,
    guide: Logits | None = None,
    batch_size: int | None = None,
    by: Callable[[list[Batch]], list[Generation]] | None = None,
    cuda_graphs: bool = False,
) -> Generation:
    """Draw completions.

    Args:
        model: a Hugging Face causal language model whose layers keep keys and values, windowed or not. It is run in evaluation mode.
        requests: what to complete; equal prefixes are run once. A request's own `max_new_tokens` is at most the call's.
        max_new_tokens: limit of a completion, with its end token.
        temperature: of the softmax, above 0. A number is the policy's own; a function adapts what is drawn, step by step, and the policy's stays 1.
        generator: where draws come from (a CPU generator); exactly `max_new_tokens` uniform draws a row are taken, however short the rows turn out.
        eos_token_id: the model's end token or tokens, None for a model without one.
        pad_token_id: fills what is not a token.
        greedy: take the likeliest token instead of drawing; log-probability and entropy are still those of the softmax at `temperature`.
        guide: makes the logits that tokens are drawn from of the policy's own and of other policies'; these read the same tokens.
        batch_size: rows that are drawn at a time; None for all. The last bits of log-probabilities hang on it.
        by: draws batches in the place of this process, in their order; None for this one, one after the other.
        cuda_graphs: on a GPU, of a model whose step is written out: the step of a token is captured for each number of rows, and replayed.
        top_k, top_p: for evaluation: draw from the `top_k` likeliest tokens, and of those from the fewest whose probability reaches `top_p`, in (0, 1].

    Where several processes train one run, each has whole weights here (`nets.sharded.whole`), completes its share of the rows, and is given the others'.

    Returns:
        Log-probability and entropy are the policy's. Where tokens are drawn from another distribution (an adaptive temperature, `top_k`, `top_p`, `guide`), the
        log-probabilities of that one stand in `behaviour_log_prob`.

    Raises:
        BadInput: an argument out of its range, a sequence longer than the model's positions, or a model that the cache does not fit.
        RunFailed: the policy gives no probabilities, for its weights have diverged.
    """
    limits = check_requests(model, requests, max_new_tokens, temperature, generator, greedy, top_k, top_p)
    rows = sum(request.n for request in requests)
    # All draws are made before the first: a row's draws do not depend on which others were dropped, nor on the device.
    uniforms = None if greedy else torch.rand(max_new_tokens, rows, dtype=torch.float64, generator=generator).to(model.device)
    share = ranks.own(rows)
    drawing = _Drawing(temperature, top_k, top_p, None, guide)
    stops = ending_tokens(requests, eos_token_id)
    batches = []
    for first in range(share.start, share.stop, batch_size or rows):
        some = slice(first, min(first + (batch_size or rows), share.stop))
        own = [(part, *rest) for part, *rest in zip(_parts(requests, some), limits, stops, strict=True) if part is not None]
        batches.append(Batch(*map(list, zip(*own, strict=True)), replace(drawing, uniforms=None if greedy else uniforms[:, some]), pad_token_id, cuda_graphs))
    found = [complete(model, batch) for batch in batches] if by is None else by(batches)
    result = _stacked(requests, found, share, pad_token_id) if found else _nothing(drawing.apart, model.device)
    if ranks.count() > 1:
        result = _joined(requests, result, pad_token_id)
    if result.log_prob.isnan().any():
        raise RunFailed("the policy's log-probabilities are not numbers: its weights have diverged; try a lower --learning-rate")
    # Tensors made in inference mode cannot be saved for a gradient; copies can.
    return Generation(**{item.name: x.clone() if isinstance(x := getattr(result, item.name), Tensor) else x for item in fields(Generation)})


def _parts(requests: Sequence[Request], share: slice) -> Iterator[Request | None]:
    """What of each request falls into a share of all rows; None where nothing does."""
    end = 0
    for request in requests:
        begin, end = end, end + request.n
        count = min(end, share.stop) - max(begin, share.start)
        yield replace(request, n=count) if count > 0 else None


def _stacked(requests: Sequence[Request], found: Sequence[Generation], share: slice, pad_token_id: int) -> Generation:
    """The rows of a share of all, which were drawn in batches."""
    if len(found) == 1:
        return found[0]
    longest = max(part.tokens.shape[1] for part in found)

    def column(name: str, fill: int = 0) -> Tensor:
        return torch.cat([F.pad(getattr(part, name), (0, longest - part.tokens.shape[1]), value=fill) for part in found])

    behaviour = None if found[0].behaviour_log_prob is None else column("behaviour_log_prob")
    finished = torch.cat([part.finished for part in found])
    request = _request_of_rows(requests)[share].to(finished.device)
    figures = column("tokens", pad_token_id), column("log_prob"), column("entropy"), column("mask")
    return Generation([tuple(request.prefix) for request in requests], request, *figures, finished, behaviour)


def _request_of_rows(requests: Sequence[Request]) -> Tensor:
    """The request of each row, `[R]`."""
    return torch.arange(len(requests)).repeat_interleave(torch.tensor([request.n for request in requests]))


def _nothing(apart: bool, device: torch.device) -> Generation:
    """A generation without rows."""
    none, numbers = torch.zeros(0, 1, device=device), torch.zeros(0, 1, dtype=torch.int64, device=device)
    return Generation([], numbers[:, 0], numbers, none, none, numbers.bool(), numbers[:, 0].bool(), none if apart else None)


def _joined(requests: Sequence[Request], own: Generation, pad_token_id: int) -> Generation:
    """The rows of all processes, each of which has those of its share."""
    request = _request_of_rows(requests).to(own.tokens.device)
    tokens, *figures = (ranks.side_by_side(x, 0, fill) for x, fill in ((own.tokens, pad_token_id), (own.log_prob, 0), (own.entropy, 0), (own.mask, 0)))
    behaviour = None if own.behaviour_log_prob is None else ranks.side_by_side(own.behaviour_log_prob, 0)
    return Generation([tuple(request.prefix) for request in requests], request, tokens, *figures, ranks.side_by_side(own.finished, 0), behaviour)


def ending_tokens(requests: Sequence[Request], eos_token_id: int | Sequence[int] | None) -> list[set[int]]:
    """The tokens that end the completions of each request."""
    end = set() if eos_token_id is None else {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id)
    return [end | set(request.stop) for request in requests]


def check_requests(
    model: PreTrainedModel,
    requests: Sequence[Request],
    max_new_tokens: int,
    temperature: Temperature,
    generator: torch.Generator | None,
    greedy: bool = False,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> list[int]:
    """Raise `BadInput` for what cannot be run; the limit of each request's completions."""
    if not requests:
        raise BadInput("generate: there are no requests; give at least one")
    if max_new_tokens < 1:
        raise BadInput(f"generate: max_new_tokens={max_new_tokens}; nearest: 1")
    limits = [max_new_tokens if request.max_new_tokens is None else request.max_new_tokens for request in requests]
    for index, (request, limit) in enumerate(zip(requests, limits, strict=True)):
        if not request.prefix or request.n < 1:
            raise BadInput(f"generate: request {index} has {len(request.prefix)} prefix tokens and n={request.n}; both are at least 1")
        if not 1 <= limit <= max_new_tokens:
            raise BadInput(f"generate: request {index} has max_new_tokens={limit}; nearest: {min(max(limit, 1), max_new_tokens)}")
    if not callable(temperature) and not temperature > 0:
        raise BadInput(f"generate: temperature={temperature} must be above 0; for the likeliest tokens use greedy=True")
    if generator is None and not greedy:
        raise BadInput("generate: drawing needs a generator; give one or use greedy=True")
    if top_k is not None and top_k < 1:
        raise BadInput(f"generate: top_k={top_k}; nearest: 1, or None for all tokens")
    if not 0 < top_p <= 1:
        raise BadInput(f"generate: top_p={top_p} lies outside (0, 1]; nearest: {1.0 if top_p > 1 else 0.01}")
    if greedy and (callable(temperature) or top_k is not None or top_p < 1):
        raise BadInput("generate: greedy=True draws nothing; an adaptive temperature, top_k and top_p are for drawing")
    positions = longest_row(model.config)
    longest, new = max((len(request.prefix) + limit, limit) for request, limit in zip(requests, limits, strict=True))
    if positions is not None and longest > positions:
        why = why_no_longer(model.config)
        raise BadInput(f"generate: {longest} tokens (prompt and {new} new) do not fit the model's {positions} positions{why}; lower max_new_tokens")
    if kinds := other_layers(model.config):
        raise BadInput(f"generate: {type(model).__name__} has layers of {kinds}, and the engine's cache holds keys and values of attention alone")
    return limits


def _finish(
    prompts: list[tuple[int, ...]],
    request: Tensor,
    tokens: Tensor,
    log_prob: Tensor,
    entropy: Tensor,
    behaviour: Tensor | None,
    ending: Tensor,
    limit: Tensor,
    pad_token_id: int,
) -> Generation:
    """Cut each row behind its first ending token or at its limit, and all rows at the longest."""
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    mask = ((ending.cumsum(1) - ending.long()) == 0) & (columns < limit.unsqueeze(1))
    finished = (ending & mask).any(1)
    longest = int(mask.sum(1).max())
    mask = mask[:, :longest]
    log_prob, entropy, behaviour = (None if x is None else x[:, :longest] * mask for x in (log_prob, entropy, behaviour))
    return Generation(prompts, request, tokens[:, :longest].masked_fill(~mask, pad_token_id), log_prob, entropy, mask, finished, behaviour)


class _RowLayer(CacheLayerMixin):
    """Keys and values of one layer, written in place."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values, self.is_initialized = key_states.contiguous(), value_states.contiguous(), True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        start, self.length = self.length, self.length + key_states.shape[2]
        if not self.is_initialized:  # the prompts: kept as they come
            self.lazy_initialization(key_states, value_states)
            return self.keys, self.values
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0


class _RowCache(Cache):
    """The cache of all layers; rows are prompts first, then completions."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_RowLayer)

    def expand(self, index: Tensor, capacity: int) -> None:
        """Rows become `index` of the present rows, with room for `capacity` tokens."""
        for layer in self.layers:
            for name in ("keys", "values"):
                prompt = getattr(layer, name)
                room = prompt.new_empty(len(index), prompt.shape[1], capacity, prompt.shape[3])
                room[:, :, : layer.length] = prompt[index]
                setattr(layer, name, room)

    def keep(self, index: Tensor) -> None:
        """Rows become `index` of the present rows, moved to the front of the same memory."""
        for layer in self.layers:
            for name in ("keys", "values"):
                room = getattr(layer, name)
                front = room[: len(index)]
                front[:, :, : layer.length] = room[:, :, : layer.length].index_select(0, index)
                setattr(layer, name, front)


def _prefill(model: PreTrainedModel, ids: Tensor, padding: Tensor) -> tuple[_RowCache, Tensor]:
    """Run the prompts `[P, L]` (padded at the left); the cache and the logits `[P, V]` of the first new token."""
    cache = _RowCache()
    columns = torch.arange(ids.shape[1], device=ids.device)
    places = _places(model, columns >= padding.unsqueeze(1), (columns - padding.unsqueeze(1)).clamp(min=0)) if padding.any() else {}
    try:
        output = model(input_ids=ids, **_keeping(model, cache), **places, **({"logits_to_keep": 1} if "logits_to_keep" in _takes(model) else {}))
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadInput(f"generate: {type(model).__name__} does not take the engine's cache: {reason}") from error
    if not cache.layers or any(layer.length != ids.shape[1] for layer in cache.layers):
        raise BadInput(f"generate: {type(model).__name__} does not keep keys and values of every layer in the cache it is given; the engine cannot run it")
    return cache, output.logits[:, -1]


def _takes(model: PreTrainedModel) -> Collection[str]:
    return signature(type(model).forward).parameters


def _keeping(model: PreTrainedModel, cache: _RowCache) -> dict[str, Any]:
    """The cache under the name that a model takes it by; transformers before 5.24 had another."""
    return {"cache" if "cache" in _takes(model) else "past_key_values": cache, "use_cache": True}


def _places(model: PreTrainedModel, seen: Tensor, position: Tensor) -> dict[str, Tensor]:
    """What tells a model where tokens stand: which of all so far are a row's own `[R, L]`, and the place of each that is run in its row `[R, l]`."""
    return {"attention_mask": seen.long(), **({"position_ids": position} if "position_ids" in _takes(model) else {})}


class _ModelStep:
    """One token a row through the model's own forward pass."""

    def __init__(self, model: PreTrainedModel, cache: _RowCache, padding: Tensor, of_row: Tensor, capacity: int):
        cache.expand(of_row, capacity)
        self.model, self.cache, self.keeping = model, cache, _keeping(model, cache)
        self.padded = bool(padding.any())
        self.position = cache.get_seq_length() - padding.unsqueeze(1)
        # Rows that have reached their limit run on until they are dropped; what comes of them is cut.
        self.last = (longest_row(model.config) or torch.iinfo(torch.int64).max) - 1
        self.seen = torch.arange(cache.layers[0].keys.shape[2], device=padding.device) >= padding.unsqueeze(1)

    def __call__(self, token: Tensor) -> Tensor:
        places = _places(self.model, self.seen[:, : self.cache.get_seq_length() + 1], self.position) if self.padded else {}
        output = self.model(input_ids=token.unsqueeze(1), **self.keeping, **places)
        self.position = (self.position + 1).clamp(max=self.last)
        return output.logits[:, -1]

    def keep(self, index: Tensor) -> None:
        self.cache.keep(index)
        self.position, self.seen = self.position[index], self.seen[index]


def can_join(model: PreTrainedModel) -> bool:
    """Whether its step is written out (`_JoinedStep`)."""
    head = model.get_output_embeddings()
    return type(model) in (LlamaForCausalLM, Qwen2ForCausalLM) and type(head) in (nn.Linear, FastLinear, BFloat16Linear) and packed.can_join(model.base_model)


class _JoinedStep:
    """One token a row through a Llama or Qwen2 model, written out.

    Weights are joined as in `nets.packed`; the attention's scale is folded into the queries' rows, and what a mean has beside a sum into the matrix behind each
    normalisation: the same function as the model's own forward pass, with a third of its calls.
    """

    def __init__(self, model: PreTrainedModel, cache: _RowCache, padding: Tensor, of_row: Tensor, capacity: int):
        config = model.config
        self.dtype = packed.product_dtype(model.model.layers[0].self_attn.q_proj) if config.hidden_size >= WIDE else torch.float32
        for cached in cache.layers:
            cached.keys, cached.values = cached.keys.to(self.dtype), cached.values.to(self.dtype)
        cache.expand(of_row, capacity)
        self.cache, self.length = cache, cache.get_seq_length()
        self.embedding = model.model.embed_tokens.weight
        self.head_size = cache.layers[0].keys.shape[3]
        self.heads, self.key_heads = config.num_attention_heads, cache.layers[0].keys.shape[1]
        self.order = packed.side_by_side(self.heads, self.key_heads, self.head_size).to(padding.device)
        self.root, self.eps = config.hidden_size**0.5, config.rms_norm_eps * config.hidden_size
        self.weights = [self._join(layer) for layer in model.model.layers]
        self.head = self._flat(model.lm_head.weight * model.model.norm.weight * self.root, model.lm_head.bias)
        for cached in cache.layers:  # the prompts' keys into the same order
            cached.keys[:, :, : self.length] = cached.keys[:, :, : self.length, self.order[: self.head_size]]
        places = torch.arange(capacity, device=padding.device)
        self.turn = packed.rotary_turn(model.model, self.embedding, places)
        self.padding, self.masked = padding, bool(padding.any())
        self.mask = None
        if self.masked:
            seen = places >= padding.unsqueeze(1)
            self.mask = torch.zeros_like(seen, dtype=torch.float32).masked_fill_(~seen, -torch.inf).to(self.dtype)[:, None, None]

    def _join(self, layer: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
        attention, mlp = layer.self_attn, layer.mlp
        scale = torch.ones(len(self.order), device=self.order.device)
        scale[: self.heads * self.head_size] = self.head_size**-0.5
        joined, joined_bias = packed.join(attention.q_proj, attention.k_proj, attention.v_proj)
        joined = joined[self.order] * (layer.input_layernorm.weight * self.root) * scale.unsqueeze(1)
        joined_bias = None if joined_bias is None else joined_bias[self.order] * scale
        gate_up, gate_up_bias = packed.join(mlp.gate_proj, mlp.up_proj)
        gate_up = gate_up * (layer.post_attention_layernorm.weight * self.root)
        out, down = attention.o_proj, mlp.down_proj
        return [self._flat(*pair) for pair in ((joined, joined_bias), (out.weight, out.bias), (gate_up, gate_up_bias), (down.weight, down.bias))]

    def _flat(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The same layer in the dtype of products, its weights laid out as the product with few rows reads them."""
        return weight.to(self.dtype).t().contiguous().t(), None if bias is None else bias.to(self.dtype)

    def _normalize(self, x: Tensor) -> Tensor:
        """Over the root of the sum of squares: the mean's divisor is in the weights."""
        return (x * torch.linalg.vecdot(x, x).add_(self.eps).rsqrt_().unsqueeze(1)).to(self.dtype)

    def __call__(self, token: Tensor) -> Tensor:
        end = self.length + 1
        turn = self.turn[self.length - self.padding if self.masked else self.length]
        logits = self._run(token, turn, self.mask[..., :end] if self.masked else None, end)
        self._moved_on()
        return logits

    def _run(self, token: Tensor, turn: Tensor, mask: Tensor | None, end: int) -> Tensor:
        """The logits behind a token of each row.

        Args:
            turn: of its place, `[1, d/2]`, or of each row's `[R, 1, d/2]`.
            mask: what is added to the scores of the first `end` places of the cache, `[R or 1, 1, 1, end]`.
        """
        rows, size, heads, key_heads = len(token), self.head_size, self.heads, self.key_heads
        x = F.embedding(token, self.embedding)
        for cached, (joined, out, gate_up, down) in zip(self.cache.layers, self.weights, strict=True):
            projected = linear(self._normalize(x), *joined).float().view(rows, heads + 2 * key_heads, size)
            torch.view_as_complex(projected.view(rows, -1, size // 2, 2)[:, : heads + key_heads]).mul_(turn)
            queries, keys, values = projected.split([heads, key_heads, key_heads], 1)
            self._write(cached, keys, values)
            queries = queries.reshape(rows, key_heads, heads // key_heads, size).to(self.dtype)
            mixed = self._attend(queries, cached.keys[:, :, :end], cached.values[:, :, :end], mask)
            x += linear(mixed.reshape(rows, heads * size), *out)
            gate, up = linear(self._normalize(x), *gate_up).chunk(2, 1)
            x += linear(F.silu(gate).mul_(up), *down)
        return linear(self._normalize(x), *self.head)

    def _write(self, cached: _RowLayer, keys: Tensor, values: Tensor) -> None:
        """Into the cache at the newest place, keys and values `[R, K, d]`."""
        cached.keys[:, :, self.length], cached.values[:, :, self.length] = keys, values

    def _moved_on(self) -> None:
        self.length += 1
        for cached in self.cache.layers:
            cached.length = self.length

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Queries `[R, K, H / K, d]` on keys and values `[R, K, L, d]`; mask `[R, 1, 1, L]`."""
        if self.dtype == torch.bfloat16:  # of short products in bfloat16 the single ones are slow
            return F.scaled_dot_product_attention(queries, keys, values, mask, scale=1.0)
        scores = torch.matmul(queries, keys.transpose(2, 3))
        return torch.matmul((scores if mask is None else scores.add_(mask)).softmax(-1), values)

    def keep(self, index: Tensor) -> None:
        self.cache.keep(index)
        self.padding = self.padding[index]
        if self.masked:
            self.mask = self.mask[index]


class _CapturedStep(_JoinedStep):
    """The same step from a graph, which knows no length: the place that is written is a tensor, and rows look at `ROOM` places more than are written at the
    most, of which a mask hides those ahead. It is captured at the second token of as many rows in the same room, since the first finds all that it allocates.
    """

    def __init__(self, model: PreTrainedModel, cache: _RowCache, padding: Tensor, of_row: Tensor, capacity: int):
        super().__init__(model, cache, padding, of_row, capacity)
        for cached in cache.layers:
            for room in (cached.keys, cached.values):
                room[:, :, self.length :] = 0  # hidden places count nothing, which of what is no number is none either
        self.capacity = capacity
        self.columns = torch.arange(capacity, device=padding.device)
        self.place = torch.full((1,), self.length, device=padding.device)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.end = min(-(-(self.length + 1) // ROOM) * ROOM, self.capacity)
        self._graph = self._token = self._logits = None

    def __call__(self, token: Tensor) -> Tensor:
        if self.length == self.end:
            self._begin_anew()
        if self._token is None:
            self._token = token.clone()
            self._graph = GRAPHS[token.device.type]()
            logits = self._graph.warm(self._step)
        else:
            self._token.copy_(token)
            if self._logits is None:
                self._logits = self._graph.capture(self._step)
            self._graph.replay()
            logits = self._logits
        self._moved_on()
        return logits

    def _step(self) -> Tensor:
        turn = self.turn[self.place - self.padding if self.masked else self.place]
        mask = torch.zeros(self.end, device=self.place.device).masked_fill_(self.columns[: self.end] > self.place, -torch.inf).to(self.dtype)
        logits = self._run(self._token, turn, mask + self.mask[..., : self.end] if self.masked else mask[None, None, None], self.end)
        self.place += 1
        return logits

    def _write(self, cached: _RowLayer, keys: Tensor, values: Tensor) -> None:
        for room, written in ((cached.keys, keys), (cached.values, values)):
            room.index_copy_(2, self.place, written.unsqueeze(2).to(self.dtype))

    def keep(self, index: Tensor) -> None:
        super().keep(index)
        self._begin_anew()
