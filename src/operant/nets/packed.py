"""Small Llama and Qwen2 models on packed rows, on a processor: tokens of all rows end to end without padding, and a prompt that rows share run once.

The same function as the model's own forward pass, written out with joined weights: queries, keys and values are one matrix product, gate and up another, and
the scale of each normalisation is folded into the matrix behind it. Attention alone sees rows, `BUCKET` of similar length at a time. In models that compute in
bfloat16 these products and the gated unit do; weights, what passes from layer to layer, normalisation, rotary positions and attention are float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operant.nets.bfloat16 import BFloat16Linear, own_forward
from operant.nets.kernels import FastLinear, linear, round_rows

SMALL = 50_000_000  # parameters up to which joining the weights anew for each use costs less than it saves
BUCKET = 8  # rows whose attention is computed together, padded to their longest

_FAMILIES = {"transformers.models.llama.modeling_llama.LlamaModel", "transformers.models.qwen2.modeling_qwen2.Qwen2Model"}
_JOINED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_KINDS = ({nn.Linear}, {FastLinear}, {BFloat16Linear})
_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attend_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def can_join(trunk: nn.Module) -> bool:
    """Whether a trunk (a language model without its output layer) can be written out: a Llama or Qwen2 model of at most `SMALL` parameters in float32."""
    if f"{type(trunk).__module__}.{type(trunk).__qualname__}" not in _FAMILIES:
        return False
    config, parameters = trunk.config, list(trunk.parameters())
    return (
        all(p.dtype == torch.float32 for p in parameters)
        and sum(p.numel() for p in parameters) <= SMALL
        and config.hidden_act == "silu"
        and config.rope_parameters["rope_type"] in ("default", "linear", "llama3")
        and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
        # Adapters and quantised layers do not join.
        and {type(layer.get_submodule(name)) for layer in trunk.layers for name in _JOINED} in _KINDS
        # Nor does a forward pass that was replaced (by one that keeps less for the gradient, say).
        and all(own_forward(module) for module in trunk.modules())
    )


def product_dtype(layer: nn.Module) -> torch.dtype:
    """What a linear layer of a model that `can_join` computes in."""
    return torch.bfloat16 if type(layer) is BFloat16Linear else torch.float32


class PackedRows:
    """Where the tokens of rows stand when they are packed.

    Args:
        tokens: `[N, L]` int64, prompt and completion side by side, padded at the right.
        prompt_length: `[N]`, at least 1.
        length: `[N]`, tokens of a row that are run, at least the prompt's; of rows whose prompts are equal, the first runs it for all.

    Attributes:
        ids, position: `[M]`, the packed tokens and the place of each in its row; a few that stand for nothing follow, to round M (`round_rows`).
        place: `[N, L]`, index among them of every token that is run.
    """

    def __init__(self, tokens: Tensor, prompt_length: Tensor, length: Tensor):
        device = tokens.device
        first: dict[tuple[int, ...], int] = {}
        prompts = tokens[:, : int(prompt_length.max())].tolist()
        owner = [first.setdefault(tuple(prompt[:end]), row) for row, (prompt, end) in enumerate(zip(prompts, prompt_length.tolist(), strict=True))]
        owner = torch.tensor(owner, device=device)
        column = torch.arange(tokens.shape[1], device=device)
        there = column < length.unsqueeze(1)
        run = there & ((column >= prompt_length.unsqueeze(1)) | (owner == torch.arange(len(tokens), device=device)).unsqueeze(1))
        own = (run.flatten().cumsum(0) - 1).view_as(tokens)
        count = len(ids := tokens[run])
        filling = (0, round_rows(count) - count)
        self.ids, self.position = F.pad(ids, filling, value=int(tokens[0, 0])), F.pad(column.expand_as(tokens)[run], filling)
        self.place = torch.where(column < prompt_length.unsqueeze(1), own[owner], own)
        # Attention: `gather` takes packed tokens to padded rows, bucket by bucket; `back` finds each packed token there, and `source` the other way around,
        # with M for padding and for the copies of shared prompts.
        gather, spread = [], torch.empty_like(own)
        self.buckets, begin = [], 0
        for rows in length.argsort().split(BUCKET):
            longest = int(length[rows[-1]])
            gather.append((self.place[rows, :longest] * there[rows, :longest]).flatten())
            spread[rows, :longest] = torch.arange(begin, begin + len(gather[-1]), device=device).view(-1, longest)
            begin += len(gather[-1])
            self.buckets.append((len(rows), longest))
        self.gather, back = torch.cat(gather), spread[run]
        self.back = F.pad(back, filling)
        self.source = torch.full_like(self.gather, len(self.ids)).index_copy_(0, back, torch.arange(count, device=device))


def packed_states(trunk: nn.Module, rows: PackedRows, wanted: Tensor) -> Tensor:
    """The last hidden states of a trunk that `can_join`, at packed tokens `wanted [W]` → `[W, D]`. Gradients are once differentiable."""
    heads, key_heads, eps = trunk.config.num_attention_heads, trunk.config.num_key_value_heads, trunk.config.rms_norm_eps
    x = trunk.embed_tokens(rows.ids)
    turn = rotary_turn(trunk, x, rows.position)
    dtype = product_dtype(trunk.layers[0].self_attn.q_proj)

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    order = side_by_side(heads, key_heads, 2 * turn.shape[-1]).to(x.device)
    for layer in trunk.layers:
        attention, mlp = layer.self_attn, layer.mlp
        weight, bias = join(attention.q_proj, attention.k_proj, attention.v_proj)
        bias = None if bias is None else bias.index_select(0, order)
        projected = product(_Normalize.apply(x, eps), weight.index_select(0, order) * layer.input_layernorm.weight, bias)
        x = x + attention.o_proj(_Attention.apply(projected.float(), turn, rows, heads, key_heads))
        weight, bias = join(mlp.gate_proj, mlp.up_proj)
        x = x + mlp.down_proj(_GatedUnit.apply(product(_Normalize.apply(x, eps), weight * layer.post_attention_layernorm.weight, bias)))
    return _Normalize.apply(x.index_select(0, wanted), eps) * trunk.norm.weight


def join(*parts: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of linear layers as one layer that gives their outputs side by side."""
    return torch.cat([part.weight for part in parts]), None if parts[0].bias is None else torch.cat([part.bias for part in parts])


def side_by_side(heads: int, key_heads: int, size: int) -> Tensor:
    """The order of joined outputs in which the two halves of a pair that rotary positions turn stand side by side, as a complex number does."""
    pairs = torch.arange(size).view(2, -1).t().flatten()
    turned = (torch.arange(heads + key_heads).unsqueeze(1) * size + pairs).flatten()
    return torch.cat([turned, torch.arange(len(turned), len(turned) + key_heads * size)])


def rotary_turn(trunk: nn.Module, like: Tensor, position: Tensor) -> Tensor:
    """The complex numbers `[M, 1, d/2]` that a head's pairs are multiplied by at `position [M]`."""
    cosine, sine = trunk.rotary_emb(like, position.unsqueeze(0))
    half = cosine.shape[-1] // 2
    return torch.complex(cosine[0, :, :half], sine[0, :, :half]).unsqueeze(1)


class _Normalize(torch.autograd.Function):
    """x `[M, D]` over its root mean square."""

    @staticmethod
    def forward(ctx, x: Tensor, eps: float) -> Tensor:
        scale = torch.linalg.vecdot(x, x).div_(x.shape[1]).add_(eps).rsqrt_().unsqueeze(1)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor):
        y, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, y).div_(y.shape[1]).unsqueeze(1)
        return torch.addcmul(gradient, y, along, value=-1).mul_(scale), None


class _GatedUnit(torch.autograd.Function):
    """Gate and up side by side `[M, 2F]` → silu(gate) · up `[M, F]`."""

    @staticmethod
    def forward(ctx, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, 1)
        ctx.save_for_backward(both)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, 1)
        result = torch.empty_like(both)
        for_gate, for_up = result.chunk(2, 1)
        torch.mul(gradient, F.silu(gate), out=for_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=for_gate)
        return result


class _Attention(torch.autograd.Function):
    """Queries, keys and values side by side `[M, (H + 2K) d]`, in the order of `side_by_side` → causal attention within each row `[M, H d]`."""

    @staticmethod
    def forward(ctx, projected: Tensor, turn: Tensor, rows: PackedRows, heads: int, key_heads: int) -> Tensor:
        turned = torch.empty_like(projected)
        values = key_heads * turn.shape[-1] * 2
        turned[:, -values:] = projected[:, -values:]
        torch.mul(_pairs(projected, heads + key_heads, turn), turn, out=_pairs(turned, heads + key_heads, turn))
        padded = turned.index_select(0, rows.gather)
        results = [_attend(*_heads(part, count, heads, key_heads), 0.0, True) for part, count in _by_bucket(padded, rows)]
        mixed = torch.cat([_as_rows(out) for out, _ in results])
        ctx.save_for_backward(padded, mixed, turn, *(log_sum for _, log_sum in results))
        ctx.rows, ctx.heads, ctx.key_heads = rows, heads, key_heads
        return mixed.index_select(0, rows.back)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        padded, mixed, turn, *log_sums = ctx.saved_tensors
        rows, heads, key_heads = ctx.rows, ctx.heads, ctx.key_heads
        spread = F.pad(gradient, (0, 0, 0, 1)).index_select(0, rows.source)
        result = torch.empty_like(padded)
        parts = (_by_bucket(x, rows) for x in (padded, mixed, spread, result))
        for (part, count), (out, _), (for_out, _), (into, _), log_sum in zip(*parts, log_sums, strict=True):
            for_out, out = (x.view(count, -1, heads, turn.shape[-1] * 2).transpose(1, 2) for x in (for_out, out))
            queries, *others = _attend_backward(for_out, *_heads(part, count, heads, key_heads), out, log_sum, 0.0, True)
            if key_heads < heads:
                others = [x.unflatten(1, (key_heads, -1)).sum(2) for x in others]
            torch.cat([_as_rows(x) for x in (queries, *others)], 1, out=into)
        # The gradient of a gather is that of an embedding: a sum over the places that a token was taken to.
        packed = torch.ops.aten.embedding_dense_backward(result, rows.gather, len(rows.ids), -1, False)
        _pairs(packed, heads + key_heads, turn).mul_(turn.conj())
        return packed, None, None, None, None


def _pairs(x: Tensor, heads: int, turn: Tensor) -> Tensor:
    """The first `heads` heads of `[M, heads · d]` as complex numbers `[M, heads, d/2]`."""
    return torch.view_as_complex(x.view(len(x), -1, turn.shape[-1], 2)[:, :heads])


def _by_bucket(x: Tensor, rows: PackedRows) -> list[tuple[Tensor, int]]:
    return [(part, count) for part, (count, _) in zip(x.split([count * longest for count, longest in rows.buckets]), rows.buckets, strict=True)]


def _heads(x: Tensor, count: int, heads: int, key_heads: int) -> tuple[Tensor, ...]:
    """Queries, keys and values `[count, H, L, d]` of a bucket's rows `[count · L, (H + 2K) d]`."""
    queries, *others = x.view(count, len(x) // count, heads + 2 * key_heads, -1).transpose(1, 2).split([heads, key_heads, key_heads], 1)
    return queries, *(other.repeat_interleave(heads // key_heads, 1) if key_heads < heads else other for other in others)


def _as_rows(x: Tensor) -> Tensor:
    """`[count, H, L, d]` → `[count · L, H d]`."""
    return x.transpose(1, 2).flatten(2).flatten(0, 1)
