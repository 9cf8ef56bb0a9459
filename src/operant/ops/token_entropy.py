"""What is made of how uncertain a policy is at each token: restricted entropies, plausible tokens, a signal of rank, and which tokens or rows to keep."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operant.ops.divergence import entropy_from_logits

_LOWEST_ENTROPY = 1e-6  # nats; a token that is nearly certain must not stretch the scale of all others


def nucleus_entropy(logits: Tensor, *, top_p: float) -> Tensor:
    """Entropy of the likeliest tokens, renormalised: those whose cumulative probability is at most `top_p`, and always the first (SIREN, arXiv:2509.25133).

    The token that crosses `top_p` is left out, as in the authors' code and unlike in nucleus sampling. Tokens outside have exactly no gradient.

    Args:
        logits: `[..., V]`, unnormalised; -inf is a probability of 0.
        top_p: 0 to 1; 1 is the entropy of the whole distribution, up to tokens lost to rounding.

    Returns:
        `[...]`, nats, at most `entropy_from_logits` of a uniform nucleus.
    """
    with torch.no_grad():
        probability, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        first = torch.arange(logits.shape[-1], device=logits.device) == 0
        inside = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, (probability.cumsum(-1) <= top_p) | first)
    return entropy_from_logits(logits.masked_fill(~inside, -torch.inf))


def min_p_log_prob(logits: Tensor, token: Tensor, *, kappa: float) -> Tensor:
    """Log-probability of a token among those that are at least `kappa` times as likely as the likeliest, renormalised (Lp-Reg, arXiv:2510.03222).

    Args:
        logits: `[..., V]`.
        token: `[...]` int64 in [0, V).
        kappa: 0 to 1; 0 keeps every token.

    Returns:
        `[...]`, nats, at least the token's own log-probability; the dtype's lowest number for a token that is filtered out.
    """
    log_p = logits.log_softmax(-1)
    kept = log_p >= log_p.amax(-1, keepdim=True) + (math.log(kappa) if kappa else -math.inf)
    mass = log_p.masked_fill(~kept, -torch.inf).logsumexp(-1)
    index = token.unsqueeze(-1)
    own = log_p.gather(-1, index).squeeze(-1) - mass
    return torch.where(kept.gather(-1, index).squeeze(-1), own, torch.finfo(log_p.dtype).min)


def log_entropy_range(entropy: Tensor, mask: Tensor, *, quantile: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where the log-entropies of a batch lie: their quantile, and how far the lowest and the highest lie from it (HAPO, arXiv:2509.16591).

    Args:
        entropy: `[..., N, T]`, nats; below 1e-6 it counts as 1e-6.
        mask: `[..., N, T]` bool.
        quantile: 0 to 1.

    Returns:
        (quantile, lowest - quantile, highest - quantile), `[..., 1, 1]` each; NaN where nothing is chosen.
    """
    h = entropy.clamp(min=_LOWEST_ENTROPY).log().masked_fill(~mask.bool(), torch.nan).flatten(-2)
    centre = h.nanquantile(quantile, -1, keepdim=True)
    low = (h - centre).nan_to_num(torch.inf).amin(-1, keepdim=True)
    high = (h - centre).nan_to_num(-torch.inf).amax(-1, keepdim=True)
    return centre.unsqueeze(-1), low.unsqueeze(-1), high.unsqueeze(-1)


def normalized_log_entropy(entropy: Tensor, centre: Tensor | float, low: Tensor | float, high: Tensor | float) -> Tensor:
    """How uncertain a token is for its batch, from -1 to 1: h = log entropy - centre, over the highest h where positive, over |lowest| where negative (HAPO).

    Dividing h by its root mean square first, as the paper does, changes nothing, since it cancels.

    Args:
        entropy: `[...]`, nats, as in `log_entropy_range`; another batch's range may be given, then what lies outside is cut.
        centre, low, high: of `log_entropy_range`; low <= 0 <= high.

    Returns:
        `[...]`; 0 where the range has no width on that side.
    """
    h = entropy.clamp(min=_LOWEST_ENTROPY).log() - centre
    scale = torch.where(h > 0, torch.as_tensor(high, dtype=h.dtype, device=h.device), -torch.as_tensor(low, dtype=h.dtype, device=h.device))
    return torch.where(scale > 0, h / scale, 0.0).clamp(-1, 1)


def top_share(x: Tensor, mask: Tensor, share: float) -> Tensor:
    """The largest elements of each batch, `[..., N, T]` bool: `share` of those that are chosen, to the nearest number, and at least one where there is one.

    Of equal elements the first are taken.

    Args:
        x: `[..., N, T]`; what stands where the mask is False does not matter.
        mask: `[..., N, T]` bool.
        share: above 0, at most 1.
    """
    chosen = mask.bool().flatten(-2)
    rank = x.flatten(-2).masked_fill(~chosen, -torch.inf).argsort(dim=-1, descending=True, stable=True).argsort(-1)
    count = (share * chosen.sum(-1, keepdim=True).double()).round().clamp(min=1)
    return ((rank < count) & chosen).view(mask.shape)


def max_variance_subset(x: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """The subset of a given size whose elements vary most, `[..., M]` bool (D3S; within a group PODS, arXiv:2504.13818).

    Exact: such a subset is made of the k largest elements and the smallest others; every k is tried, by sums over the sorted elements.

    Args:
        x: `[..., M]`.
        mask: `[..., M]` bool, what may be chosen.
        count: `[...]` int64, size of the subset; where fewer may be chosen, all of them are.
    """
    mask = mask.bool()
    among, size = mask.sum(-1, keepdim=True), x.shape[-1]
    count = torch.minimum(count.unsqueeze(-1), among)
    mean = x.masked_fill(~mask, 0.0).sum(-1, keepdim=True) / among.clamp(min=1)
    value, order = (x - mean).double().masked_fill(~mask, torch.inf).sort(dim=-1, stable=True)
    value = value.masked_fill(value.isinf(), 0.0)
    start = value.new_zeros(*value.shape[:-1], 1)
    sums = [torch.cat([start, power.cumsum(-1)], -1) for power in (value, value.square())]  # of the first i, i = 0 … M
    k = torch.arange(size + 1, device=x.device).expand(*x.shape[:-1], size + 1)
    smallest, upto = (count - k).clamp(min=0), (among - k).clamp(min=0)
    first, second = (total.gather(-1, smallest) + total.gather(-1, among) - total.gather(-1, upto) for total in sums)
    variance = second - first.square() / count.clamp(min=1)
    best = variance.masked_fill(k > count, -torch.inf).argmax(-1, keepdim=True)
    place = torch.arange(size, device=x.device)
    kept = (place < count - best) | ((place >= among - best) & (place < among))
    return torch.zeros_like(mask).scatter(-1, order, kept)
