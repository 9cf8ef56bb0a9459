"""Generation: each prompt is run once and its cache serves all of its completions; finished rows are dropped; log-probabilities are recorded as drawn.

The cache is allocated once for the longest completion and written in place. Prompts are padded at the left, so that all rows write the same column of it.
Models of the Llama and Qwen2 families up to `SMALL` parameters, where the cost is the number of calls and not the arithmetic, are decoded by a written-out
step over joined weights (`_JoinedStep`); every other Hugging Face causal language model by its own forward pass (`_ModelStep`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM
from transformers.cache_utils import Cache, CacheLayerMixin

from operant.core.errors import BadInput
from operant.nets.kernels import linear
from operant.nets.language import FastLinear
from operant.worlds.plans import Generation, Request

SMALL = 50_000_000  # parameters up to which joining the weights anew for each generation costs less than it saves
LOOK_EVERY = 4  # tokens between two looks at which rows have finished (the only reads by the host)
DROP_AT = 0.75  # rows are compacted when at most this share of them is still going


@torch.inference_mode()
def _generate(
    model: PreTrainedModel,
    requests: Sequence[Request],
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator | None,
    stops: list[set[int]],
    pad_token_id: int,
) -> Generation:
    device = model.device
    prompts = [tuple(request.prefix) for request in requests]
    distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    counts = torch.tensor([request.n for request in requests])
    request = torch.arange(len(requests)).repeat_interleave(counts)
    rows = len(request)
    # All draws are made before the first: a row's draws do not depend on which others were dropped, nor on the device.
    uniforms = None if generator is None else torch.rand(max_new_tokens, rows, dtype=torch.float64, generator=generator).to(device)

    width = max(map(len, distinct))
    padding = torch.tensor([width - len(prompt) for prompt in distinct], device=device)
    ids = torch.tensor([[pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in distinct], device=device)
    cache, logits = _prefill(model, ids, padding)
    of_row = torch.tensor([distinct[prompt] for prompt in prompts])[request].to(device)
    cache.expand(of_row, width + max_new_tokens)
    logits, padding = logits[of_row], padding[of_row]
    step = (_JoinedStep if _can_join(model) else _ModelStep)(model, cache, padding)

    sets = {stop: place for place, stop in enumerate(dict.fromkeys(map(frozenset, stops)))}
    ends = torch.zeros(len(sets), logits.shape[-1], dtype=torch.bool)
    for stop, place in sets.items():
        ends[place, list(stop)] = True
    ends, ends_of = ends.to(device), torch.tensor([sets[frozenset(stop)] for stop in stops])[request].to(device)

    tokens = torch.full((max_new_tokens, rows), pad_token_id, device=device)
    log_prob, entropy = torch.zeros(2, max_new_tokens, rows, device=device)
    going = torch.arange(rows, device=device)  # the rows that are still computed
    done = torch.zeros(rows, dtype=torch.bool, device=device)  # of those
    everything, last, looked = True, max_new_tokens, 0
    for t in range(max_new_tokens):
        log_p = (logits.float() if temperature == 1 else logits.float() / temperature).log_softmax(-1)
        p = log_p.exp()
        if uniforms is None:
            token = log_p.argmax(-1)
        else:
            cumulative = p.cumsum(-1, dtype=torch.float64)
            draw = (uniforms[t] if everything else uniforms[t, going]).unsqueeze(1) * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, draw, right=True).squeeze(1)
        taken, spread = log_p.gather(1, token.unsqueeze(1)).squeeze(1), torch.special.entr(p).sum(1)
        if everything:
            tokens[t], log_prob[t], entropy[t] = token, taken, spread
        else:
            tokens[t, going], log_prob[t, going], entropy[t, going] = token, taken, spread
        if t + 1 == max_new_tokens:
            break
        if t + 1 - looked == LOOK_EVERY:
            seen = tokens[looked : t + 1] if everything else tokens[looked : t + 1, going]
            done = done | ends[ends_of[going], seen].any(0)
            looked, open_rows = t + 1, int(len(going) - done.sum())
            if open_rows == 0:
                last = t + 1
                break
            if open_rows <= DROP_AT * len(going):
                keep = (~done).nonzero().squeeze(1)
                going, token, done, everything = going[keep], token[keep], done[keep], False
                step.keep(keep)
        logits = step(token)
    return _finish(prompts, request.to(device), tokens[:last].t(), log_prob[:last].t(), entropy[:last].t(), ends, ends_of, pad_token_id)


def generate(
    model: PreTrainedModel,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    eos_token_id: int | Sequence[int] | None,
    pad_token_id: int,
    greedy: bool = False,
) -> Generation:
    """Draw completions.

    Args:
        model: a Hugging Face causal language model with full attention in every layer. It is run in evaluation mode.
        requests: what to complete; equal prefixes are run once.
        max_new_tokens: limit of a completion, with its end token.
        temperature: of the softmax, above 0. Nothing else changes the distribution.
        generator: where draws come from (a CPU generator); exactly `max_new_tokens` uniform draws a row are taken, however short the rows turn out.
        eos_token_id: the model's end token or tokens, None for a model without one.
        pad_token_id: fills what is not a token.
        greedy: take the likeliest token instead of drawing; log-probability and entropy are still those of the softmax at `temperature`.

    Raises:
        BadInput: an argument out of its range, a sequence longer than the model's positions, or a model that the cache does not fit.
    """
    _check(model, requests, max_new_tokens, temperature, generator, greedy)
    end = set() if eos_token_id is None else {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id)
    training = model.training
    model.eval()
    try:
        result = _generate(
            model, requests, max_new_tokens, temperature, None if greedy else generator, [end | set(request.stop) for request in requests], pad_token_id
        )
    finally:
        model.train(training)
    # Tensors made in inference mode cannot be saved for a gradient; copies can.
    return Generation(result.prompts, *(getattr(result, name).clone() for name in ("request", "tokens", "log_prob", "entropy", "mask", "finished")))


def _check(model: PreTrainedModel, requests: Sequence[Request], max_new_tokens: int, temperature: float, generator, greedy: bool) -> None:
    if not requests:
        raise BadInput("generate: there are no requests; give at least one")
    for index, request in enumerate(requests):
        if not request.prefix or request.n < 1:
            raise BadInput(f"generate: request {index} has {len(request.prefix)} prefix tokens and n={request.n}; both are at least 1")
    if max_new_tokens < 1:
        raise BadInput(f"generate: max_new_tokens={max_new_tokens}; nearest: 1")
    if not temperature > 0:
        raise BadInput(f"generate: temperature={temperature} must be above 0; for the likeliest tokens use greedy=True")
    if generator is None and not greedy:
        raise BadInput("generate: drawing needs a generator; give one or use greedy=True")
    positions = getattr(model.config, "max_position_embeddings", None)
    longest = max(len(request.prefix) for request in requests) + max_new_tokens
    if positions is not None and longest > positions:
        raise BadInput(f"generate: {longest} tokens (prompt and {max_new_tokens} new) do not fit the model's {positions} positions; lower max_new_tokens")
    kinds = set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}
    window = getattr(model.config, "sliding_window", None) if getattr(model.config, "use_sliding_window", True) else None
    if kinds or (window is not None and window < longest) or getattr(model.config, "is_encoder_decoder", False):
        what = ", ".join(sorted(kinds)) or ("an encoder" if getattr(model.config, "is_encoder_decoder", False) else f"a window of {window} tokens")
        raise BadInput(f"generate: {type(model).__name__} has {what}; the engine's cache holds full causal attention layers only")


def _finish(prompts, request: Tensor, tokens: Tensor, log_prob: Tensor, entropy: Tensor, ends: Tensor, ends_of: Tensor, pad_token_id: int) -> Generation:
    """Cut each row behind its first ending token, and all rows at the longest."""
    ending = ends[ends_of.unsqueeze(1), tokens]
    mask = (ending.cumsum(1) - ending.long()) == 0
    finished = (ending & mask).any(1)
    longest = int(mask.sum(1).max())
    mask = mask[:, :longest]
    return Generation(
        prompts, request, tokens[:, :longest].masked_fill(~mask, pad_token_id), log_prob[:, :longest] * mask, entropy[:, :longest] * mask, mask, finished
    )


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

    def __init__(self, layers: int):
        super().__init__(layers=[_RowLayer() for _ in range(layers)])

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
                front[:, :, : layer.length] = room[index, :, : layer.length]
                setattr(layer, name, front)


def _prefill(model: PreTrainedModel, ids: Tensor, padding: Tensor) -> tuple[_RowCache, Tensor]:
    """Run the prompts `[P, L]` (padded at the left); the cache and the logits `[P, V]` of the first new token."""
    cache = _RowCache(model.config.num_hidden_layers)
    columns = torch.arange(ids.shape[1], device=ids.device)
    mask = None
    if padding.any():
        seen = (columns <= columns.unsqueeze(1)) & (columns >= padding.view(-1, 1, 1))
        mask = _additive(seen.unsqueeze(1), model.dtype)
    positions = (columns - padding.unsqueeze(1)).clamp(min=0)
    try:
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadInput(f"generate: {type(model).__name__} does not take the engine's cache: {reason}") from error
    if any(layer.length != ids.shape[1] for layer in cache.layers):
        raise BadInput(f"generate: {type(model).__name__} does not keep keys and values of every layer in the cache it is given; the engine cannot run it")
    return cache, output.logits[:, -1]


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)


class _ModelStep:
    """One token a row through the model's own forward pass."""

    def __init__(self, model: PreTrainedModel, cache: _RowCache, padding: Tensor):
        self.model, self.cache = model, cache
        self.position = cache.get_seq_length() - padding.unsqueeze(1)
        self.mask = None
        if padding.any():
            columns = torch.arange(cache.layers[0].keys.shape[2], device=padding.device)
            self.mask = _additive((columns >= padding.unsqueeze(1))[:, None, None], model.dtype)

    def __call__(self, token: Tensor) -> Tensor:
        mask = None if self.mask is None else self.mask[..., : self.cache.get_seq_length() + 1]
        output = self.model(input_ids=token.unsqueeze(1), attention_mask=mask, position_ids=self.position, past_key_values=self.cache, use_cache=True)
        self.position = self.position + 1
        return output.logits[:, -1]

    def keep(self, index: Tensor) -> None:
        self.cache.keep(index)
        self.position = self.position[index]
        self.mask = None if self.mask is None else self.mask[index]


def _can_join(model: PreTrainedModel) -> bool:
    if type(model) not in (LlamaForCausalLM, Qwen2ForCausalLM):
        return False
    names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    return (
        model.dtype == torch.float32
        and model.num_parameters() <= SMALL
        and model.config.hidden_act == "silu"
        and model.config.rope_parameters["rope_type"] in ("default", "linear", "llama3")
        # Adapters and quantised layers do not join.
        and all(type(layer.get_submodule(name)) in (nn.Linear, FastLinear) for layer in model.model.layers for name in names)
    )


class _JoinedStep:
    """One token a row through a Llama or Qwen2 model, written out.

    Queries, keys and values are one matrix product, gate and up another; the scale of each normalisation is folded into the matrix behind it and the
    attention's scale into the queries' rows; rotary tables are made once. The same function as the model's own forward pass, with a third of its calls.
    """

    def __init__(self, model: PreTrainedModel, cache: _RowCache, padding: Tensor):
        config, layers = model.config, model.model.layers
        self.cache = cache
        self.length = cache.get_seq_length()
        self.eps = config.rms_norm_eps
        self.embedding = model.model.embed_tokens.weight
        self.head_size = cache.layers[0].keys.shape[3]
        self.heads, self.key_heads = config.num_attention_heads, cache.layers[0].keys.shape[1]
        self.weights = [self._join(layer) for layer in layers]
        self.head = model.lm_head.weight * model.model.norm.weight
        self.head_bias = model.lm_head.bias
        capacity = cache.layers[0].keys.shape[2]
        places = torch.arange(capacity, device=padding.device)
        cosine, sine = model.model.rotary_emb(self.embedding, places.unsqueeze(0))
        # Turning a pair is x·cos + roll(x)·sin with the first half of the sines negated.
        sine = torch.cat([-sine[0, :, : self.head_size // 2], sine[0, :, self.head_size // 2 :]], -1)
        self.cosine, self.sine = cosine[0], sine
        self.padding, self.masked = padding, bool(padding.any())
        self.mask = None
        if self.masked:
            self.mask = _additive(places >= padding.unsqueeze(1), torch.float32)[:, None].repeat_interleave(self.key_heads, 0)

    def _join(self, layer: nn.Module):
        attention, mlp = layer.self_attn, layer.mlp
        scale = self.head_size**-0.5
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        weight = torch.cat([attention.q_proj.weight * scale, attention.k_proj.weight, attention.v_proj.weight]) * layer.input_layernorm.weight
        bias = None
        if attention.q_proj.bias is not None:
            bias = torch.cat([parts[0].bias * scale, parts[1].bias, parts[2].bias])
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight
        gate_up_bias = None if mlp.gate_proj.bias is None else torch.cat([mlp.gate_proj.bias, mlp.up_proj.bias])
        return weight, bias, attention.o_proj.weight, attention.o_proj.bias, gate_up, gate_up_bias, mlp.down_proj.weight, mlp.down_proj.bias

    def _normalize(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + self.eps).rsqrt_()

    def __call__(self, token: Tensor) -> Tensor:
        rows, size, heads, key_heads, end = len(token), self.head_size, self.heads, self.key_heads, self.length + 1
        if self.masked:
            place = self.length - self.padding
            cosine, sine = self.cosine[place].unsqueeze(1), self.sine[place].unsqueeze(1)
            mask = self.mask[:, :, :end]
        else:
            cosine, sine = self.cosine[self.length], self.sine[self.length]
        x = F.embedding(token, self.embedding)
        for cached, (joined, joined_bias, out, out_bias, gate_up, gate_up_bias, down, down_bias) in zip(self.cache.layers, self.weights, strict=True):
            projected = linear(self._normalize(x), joined, joined_bias).view(rows, heads + 2 * key_heads, size)
            turned = projected[:, : heads + key_heads]
            turned = torch.addcmul(turned * cosine, turned.roll(size // 2, 2), sine)
            cached.keys[:, :, self.length] = turned[:, heads:]
            cached.values[:, :, self.length] = projected[:, heads + key_heads :]
            keys, values = (room.view(rows * key_heads, -1, size)[:, :end] for room in (cached.keys, cached.values))
            scores = torch.bmm(turned[:, :heads].reshape(rows * key_heads, heads // key_heads, size), keys.transpose(1, 2))
            if self.masked:
                scores += mask
            x = x + linear(torch.bmm(scores.softmax(-1), values).view(rows, heads * size), out, out_bias)
            gate, up = linear(self._normalize(x), gate_up, gate_up_bias).chunk(2, 1)
            x = x + linear(F.silu(gate) * up, down, down_bias)
            cached.length = end
        self.length = end
        return linear(self._normalize(x), self.head, self.head_bias)

    def keep(self, index: Tensor) -> None:
        self.cache.keep(index)
        self.padding = self.padding[index]
        if self.masked:
            self.mask = self.mask.view(-1, self.key_heads, 1, self.mask.shape[-1])[index].flatten(0, 1)
