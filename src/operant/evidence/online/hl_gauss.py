"""HL-Gauss: its histogram is the value that it encodes; its loss bears noise and drift better than squared errors; its DQN is not behind Huber's loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.core.flat import Adam, FlatParameters
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.online.deep_q import BESIDE, SEEDS, beside_dqn
from operant.nets.heads import VALUE, Head, HLGauss
from operant.nets.layers import MLP

UPDATES, BATCH, EVERY = 3_000, 64, 50
STATES, WIDTH = 512, 8  # half of the states are held out
NOISE = 1.0  # deviation of the targets' noise, that of the values being 1
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
PROBE = (
    "a random network's values of 512 random states (8 numbers each), turning into another one's within 3,000 updates of 64 states, with noise as large as the "
    "values; two layers of 64, 51 bins from -6 to 6, the learning rate for each loss the best of four on 5 other seeds"
)


@check(
    "hl-gauss",
    "identity",
    "exact",
    "float64, deviation 0.75 widths: |decode(encode(y)) - y| < 1e-4 widths for y at least 5 deviations inside, every histogram sums to 1 (1e-6), and the "
    "gradient of the loss to the logits is prediction - target (1e-12)",
)
def identity(folder: Path) -> Finding:
    head = HLGauss(-10.0, 10.0, 51)
    width = 20 / 51
    inside = 10 - 5 * 0.75 * width
    values = torch.linspace(-inside, inside, 100_001, dtype=torch.float64)
    encoded = head.encode(values)
    error = ((head.decode(encoded) - values).abs().max() / width).item()
    everywhere = head.encode(torch.linspace(-12, 12, 10_001, dtype=torch.float64))
    mass = (everywhere.sum(-1) - 1).abs().max().item()
    logits = torch.randn(1_000, 51, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    target = encoded[::100][:1_000]
    ops.cross_entropy(logits, target).sum().backward()
    gradient = (logits.grad - (logits.detach().softmax(-1) - target)).abs().max().item()
    figures = {"largest error, widths": error, "largest error of the sum": mass, "largest error of the gradient": gradient}
    return Finding(error < 1e-4 and mass < 1e-6 and gradient < 1e-12, figures)


@check(
    "hl-gauss", "noise-and-drift", "small", f"{PROBE}: the squared error on held-out states, over the second half, is below regression's for >= 4 of 5 seeds"
)
def noise_and_drift(folder: Path) -> Finding:
    figures, errors = {}, []
    for loss in (Classified(), Regressed()):
        choosing = {rate: _errors(loss, rate, 100).mean().item() for rate in RATES}
        rate = min(choosing, key=choosing.__getitem__)
        errors.append(_errors(loss, rate, 0))
        figures |= {f"held-out error, {loss.name}": errors[-1].tolist(), f"learning rate, {loss.name}": rate}
    wins = int((errors[0] < errors[1]).sum())
    return Finding(wins >= 4, figures | {"seeds below": wins, "needed": 4}, seeds=SEEDS)


@check("hl-gauss", "beside-dqn", "small", BESIDE)
def beside(folder: Path) -> Finding:
    return beside_dqn("hl-gauss", folder)


@dataclass(frozen=True)
class Regressed:
    """Squared error of a number."""

    name = "squared error"
    head: Head = VALUE

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        return (self.head.mean(outputs) - target).square()


@dataclass(frozen=True)
class Classified:
    """Cross-entropy with HL-Gauss's histogram."""

    name = "HL-Gauss"
    head: HLGauss = HLGauss(-6.0, 6.0, 51)

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        return ops.cross_entropy(outputs, self.head.encode(target))


@cache
def _teachers(first: int) -> tuple[Tensor, Tensor]:
    """(states `[S, STATES, WIDTH]`, the values that two random networks have for them, of mean 0 and deviation 1, `[2, S, STATES]`)."""
    streams = Streams([first + seed for seed in range(SEEDS)])
    states = streams.normal("states", STATES, WIDTH)
    values = []
    for name in ("first", "second"):
        hidden = torch.tanh(states @ streams.normal(f"{name}/hidden", WIDTH, 64))
        value = (hidden @ streams.normal(f"{name}/out", 64, 1)).squeeze(-1)
        values.append((value - value.mean(1, keepdim=True)) / value.std(1, keepdim=True))
    return states, torch.stack(values)


def _errors(loss: Classified | Regressed, rate: float, first: int) -> Tensor:
    """Mean squared error on held-out states of the noiseless values, over the second half of training, `[S]`."""
    streams = Streams([first + seed for seed in range(SEEDS)])
    states, values = _teachers(first)
    net = MLP([WIDTH, 64, 64, loss.head.size], streams.torch_generators("initialize"))
    flat = FlatParameters(net, seeds=SEEDS)
    optimizer = Adam([flat], learning_rate=rate)
    found = []
    for update in range(UPDATES):
        angle = torch.tensor(torch.pi * update / UPDATES)
        now = torch.cos(angle) * values[0] + torch.sin(angle) * values[1]
        index = streams.integers("batch", STATES // 2, BATCH)
        target = now.gather(1, index) + NOISE * streams.normal("noise", BATCH)
        flat.zero_grad()
        loss(net(states.gather(1, index.unsqueeze(-1).expand(-1, -1, WIDTH))), target).mean(-1).sum().backward()
        optimizer.step(flat.grad_norm())
        if update >= UPDATES // 2 and update % EVERY == 0:
            with torch.no_grad():
                found.append((loss.head.mean(net(states[:, STATES // 2 :])) - now[:, STATES // 2 :]).square().mean(1))
    return torch.stack(found).mean(0)
