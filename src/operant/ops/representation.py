"""Losses of encoders that are learned from frames, and where clusters of what they give begin."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.quality_diversity import nearest_cell
from operant.ops.shapes import same_axes


def info_nce_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """How well each point finds the one that it belongs to among all others, -log of the softmax of z·z' / temperature, in nats, `[..., B]` (van den Oord et
    al. 2018, arXiv:1807.03748). Both points of a pair look for each other, and the loss is their mean; to each the 2 (B - 1) points of the other pairs are
    wrong ones (Chen et al. 2020, arXiv:2002.05709, eq. 1; as in the code of arXiv:2403.13765).

    Args:
        first, second: `[..., B, D]`, the two of each pair, of length 1 or of any.
        temperature: > 0, in units of the products.
    """
    same_axes("info_nce_loss", first=first, second=second)
    z = torch.cat([first, second], -2)
    score = z @ z.mT / temperature
    itself = torch.eye(z.shape[-2], dtype=torch.bool, device=z.device)
    wrong = score.masked_fill(itself, -torch.inf).logsumexp(-1).unflatten(-1, (2, -1)).mean(-2)
    return wrong - (first * second).sum(-1) / temperature


def vector_quantized(points: Tensor, codes: Tensor, *, commitment: float) -> tuple[Tensor, Tensor]:
    """(each point's nearest code, through which gradients pass as if it were the point, `[..., B, D]`; what its distance costs codes and points, `[..., B]`).

    The loss is ‖sg(z) - e‖² + commitment ‖z - sg(e)‖² (van den Oord et al. 2017, arXiv:1711.00937, eq. 3, without the reconstruction).

    Args:
        points: `[..., B, D]`. codes: `[..., N, D]`.
        commitment: 0 or more.
    """
    chosen = nearest_cell(points, codes).unsqueeze(-1).expand(*points.shape[:-1], points.shape[-1])
    code = codes.gather(-2, chosen)
    loss = (points.detach() - code).square().sum(-1) + commitment * (points - code.detach()).square().sum(-1)
    return points + (code - points).detach(), loss


def spread_points(points: Tensor, draws: Tensor) -> Tensor:
    """Points to begin k-means at, each drawn with a probability that is proportional to its squared distance from those that are drawn (k-means++, Arthur and
    Vassilvitskii 2007): `[..., K, D]`.

    Args:
        points: `[..., B, D]`.
        draws: `[..., K]` in [0, 1).
    """
    distance, found = torch.ones_like(points[..., 0]), []
    for draw in draws.unbind(-1):
        cumulative = distance.cumsum(-1)
        place = (cumulative <= draw.unsqueeze(-1) * cumulative[..., -1:]).sum(-1).clamp(max=points.shape[-2] - 1)
        found.append(points.gather(-2, place[..., None, None].expand(*place.shape, 1, points.shape[-1])))
        away = (points - found[-1]).square().sum(-1)
        distance = torch.minimum(distance, away) if len(found) > 1 else away
    return torch.cat(found, -2)
