"""Layers with a seed axis: every parameter and every activation has S in front, and one matrix product serves all seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from operant.core.errors import BadInput
from operant.core.memory import TRAINED, check_memory
from operant.core.random import Streams
from operant.nets.kernels import FUSED, batched_linear, layer_by_layer, perceptron, standing, tanh, towers

Initialize = Callable[[Tensor, torch.Generator], None]


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": tanh,
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
}


def orthogonal(gain: float) -> Initialize:
    """Orthogonal weights times `gain` (the matrix is `[in, out]`)."""

    def fill(weight: Tensor, generator: torch.Generator) -> None:
        transposed = torch.empty(weight.shape[1], weight.shape[0])
        nn.init.orthogonal_(transposed, gain, generator=generator)
        weight.copy_(transposed.T)

    return fill


def uniform_fan_in(weight: Tensor, generator: torch.Generator) -> None:
    """PyTorch's default for linear layers: uniform in ±1/√in."""
    bound = 1 / math.sqrt(weight.shape[0])
    weight.uniform_(-bound, bound, generator=generator)


def sparse(share: float) -> Initialize:
    """Uniform in ±1/√in, with this share of each unit's incoming weights 0, rounded up (the code of arXiv:2410.14606); one is left at the least."""

    def fill(weight: Tensor, generator: torch.Generator) -> None:
        inputs, outputs = weight.shape
        uniform_fan_in(weight, generator)
        order = torch.rand(inputs, outputs, generator=generator).argsort(0)
        weight[order < min(math.ceil(share * inputs), inputs - 1)] = 0.0

    return fill


def he_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Normal of variance 2 / in, cut at two deviations (He et al. 2015, arXiv:1502.01852; cut as Flax and TensorFlow do)."""
    std = math.sqrt(2 / weight.shape[0]) / 0.8796256610342398  # the deviation of a standard normal that is cut at 2
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


class Linear(nn.Module):
    """An affine map a seed (and an ensemble member): `[S, …, in] → [S, …, out]`, or `[S, E, B, out]` with an ensemble of E.

    Args:
        generators: one a seed, from which its weights are drawn: a seed's weights do not depend on its neighbours.
        ensemble: E members with weights of their own; None for a plain layer. The input is then `[S, B, in]` or `[S, E, B, in]`.
    """

    def __init__(
        self, inputs: int, outputs: int, generators: Sequence[torch.Generator], initialize: Initialize = uniform_fan_in, *, ensemble: int | None = None
    ):
        super().__init__()
        self.ensemble = ensemble
        lead = (len(generators),) if ensemble is None else (len(generators), ensemble)
        shape = (*lead, inputs, outputs)
        check_memory(f"training a layer of {' × '.join(map(str, shape))} weights", TRAINED * math.prod(shape), "take narrower layers")
        weight, bias = torch.zeros(*lead, inputs, outputs), torch.zeros(*lead, 1, outputs)
        with torch.no_grad():
            for seed, generator in enumerate(generators):
                for w, b in zip(weight[seed].view(-1, inputs, outputs), bias[seed].view(-1, 1, outputs), strict=True):
                    initialize(w, generator)
                    if initialize is uniform_fan_in:
                        b.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The weight `[S, …, in, out]` and bias `[S, …, 1, out]` of one pass."""
        return self.weight, self.bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.affine()
        if self.ensemble is None:
            if x.ndim == 3:
                return batched_linear(x, weight, bias)
            return batched_linear(x.flatten(1, -2), weight, bias).view(*x.shape[:-1], -1)
        if x.ndim == 3:
            x = x.unsqueeze(1).expand(-1, self.ensemble, -1, -1)
        y = batched_linear(x.flatten(0, 1), weight.flatten(0, 1), bias.flatten(0, 1))
        return y.view(*x.shape[:-1], -1)


_still = False


@contextmanager
def still() -> Iterator[None]:
    """Within it no layer is in training, whatever its mode (which takes a hundred microseconds to set in every part of a net): for what acts as it is kept."""
    global _still
    before, _still = _still, True
    try:
        yield
    finally:
        _still = before


def in_training(layer: nn.Module) -> bool:
    """Whether a layer that computes otherwise in training is to do so."""
    return layer.training and not _still


@dataclass(frozen=True)
class Draws:
    """What a layer draws from in training: the run's streams, by a name of its own. Copies of the layer draw from them too (`Streams.__deepcopy__`)."""

    streams: Streams
    name: str

    def of(self, part: str | int) -> Draws:
        """Those of one of several layers."""
        return replace(self, name=f"{self.name}/{part}")


class NoisyLinear(Linear):
    """An affine map whose weights are drawn at each pass in training, by learned means and deviations; of the means alone otherwise.

    Factorised Gaussian noise (NoisyNet, arXiv:1706.10295): f(e) = sign(e) √|e| of a normal number e for each input and each output, their product for each
    weight, the output's for each bias. All rows of a pass have one draw, and every pass another one, those that act too.

    Args:
        draws: one draw a seed (and an ensemble member) a pass, `[S, …, in + out]`.
    """

    DEVIATION = 0.5  # of a weight at first, times √in

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generators: Sequence[torch.Generator],
        initialize: Initialize = uniform_fan_in,
        *,
        draws: Draws,
        ensemble: int | None = None,
    ):
        super().__init__(inputs, outputs, generators, initialize, ensemble=ensemble)
        self._draws = draws
        self.weight_deviation, self.bias_deviation = (nn.Parameter(torch.full_like(p, self.DEVIATION / math.sqrt(inputs))) for p in (self.weight, self.bias))

    def affine(self) -> tuple[Tensor, Tensor]:
        if not in_training(self):
            return self.weight, self.bias
        sizes = self.weight.shape[-2:]
        drawn = self._draws.streams.normal(self._draws.name, *self.weight.shape[1:-2], 1, sum(sizes))
        into, out = (drawn.sign() * drawn.abs().sqrt()).split(list(sizes), -1)
        return self.weight + self.weight_deviation * (into.mT * out), self.bias + self.bias_deviation * out


def linear(
    inputs: int,
    outputs: int,
    generators: Sequence[torch.Generator],
    initialize: Initialize = uniform_fan_in,
    *,
    ensemble: int | None = None,
    noise: Draws | None = None,
) -> Linear:
    """A `Linear`, or a `NoisyLinear` where there is what it draws from."""
    if noise is None:
        return Linear(inputs, outputs, generators, initialize, ensemble=ensemble)
    return NoisyLinear(inputs, outputs, generators, initialize, ensemble=ensemble, draws=noise)


class MLP(nn.Module):
    """A multilayer perceptron a seed (and an ensemble member): `[S, …, in] → [S, …, out]`.

    Args:
        sizes: widths from input to output.
        generators: one a seed.
        hidden, last: how hidden and last layers are initialised.
        ensemble: as in `Linear`; the output then has shape `[S, E, B, out]`.
        layer_norm: normalise each hidden layer before its activation.
        dropout: share of the numbers of each hidden layer that is left out in training, before it is normalised.
        batch_norm: batch renormalisation of the input, and of each hidden layer behind its activation.
        activate_last: the last layer is a hidden one too.
        noise: its layers are `NoisyLinear`, and draw from there.
        drop: what dropout draws from.

    Attributes:
        plain: it is one perceptron a seed whose layers are their parameters, and may be computed as one step.
        activated: layers that an activation follows.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generators: Sequence[torch.Generator],
        *,
        activation: str = "relu",
        hidden: Initialize = uniform_fan_in,
        last: Initialize | None = None,
        ensemble: int | None = None,
        layer_norm: bool = False,
        dropout: float = 0.0,
        batch_norm: bool = False,
        activate_last: bool = False,
        noise: Draws | None = None,
        drop: Draws | None = None,
    ):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.layer_norm = layer_norm
        self._fused = activation if activation in FUSED and not dropout and not batch_norm else None
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.layers = nn.ModuleList(
            linear(a, b, generators, (last or hidden) if index == len(pairs) - 1 else hidden, ensemble=ensemble, noise=noise and noise.of(index))
            for index, (a, b) in enumerate(pairs)
        )
        self._ensemble = ensemble
        self.plain = self._fused is not None and ensemble is None and noise is None
        self.activated = len(pairs) if activate_last else len(pairs) - 1
        hidden_sizes = sizes[1 : 1 + self.activated]
        self.dropouts = nn.ModuleList(Dropout(dropout, drop.of(place)) for place in range(self.activated if dropout else 0))
        self.batch_norms = nn.ModuleList(BatchRenorm(size, len(generators), ensemble) for size in ([sizes[0], *hidden_sizes] if batch_norm else []))

    @property
    def fused(self) -> str | None:
        """The activation with which all layers are one step, or None where they stand alone (`kernels.layer_by_layer`)."""
        return None if layer_by_layer() else self._fused

    @property
    def parameters_in_turn(self) -> list[Tensor]:
        """Weight and bias of each layer in one pass, one behind the other."""
        return [p for layer in self.layers for p in layer.affine()]

    def forward(self, x: Tensor) -> Tensor:
        if (activation := self.fused) is not None:
            if self._ensemble is not None or x.ndim == 3:
                return perceptron(x, self.parameters_in_turn, activation, self.activated, self.layer_norm)
            return perceptron(x.flatten(1, -2), self.parameters_in_turn, activation, self.activated, self.layer_norm).view(*x.shape[:-1], -1)
        if self._ensemble is not None and x.ndim == 3 and self.batch_norms:
            x = x.unsqueeze(1).expand(-1, self._ensemble, -1, -1)
        x = self.batch_norms[0](x) if self.batch_norms else x
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index < self.activated:
                x = self._activate(self.dropouts[index](x) if self.dropouts else x)
                x = self.batch_norms[index + 1](x) if self.batch_norms else x
        return x

    def member(self, x: Tensor, index: int) -> Tensor:
        """One member of the ensemble alone, where nothing is left out or normalised over batches: `[S, …, in] → [S, …, out]`."""
        shape = x.shape
        x = x.flatten(1, -2) if x.ndim > 3 else x
        if (activation := self.fused) is not None:
            x = perceptron(x, [p[:, index] for p in self.parameters_in_turn], activation, self.activated, self.layer_norm)
        else:
            for place, layer in enumerate(self.layers):
                x = batched_linear(x, *(p[:, index] for p in layer.affine()))
                if place < self.activated:
                    x = self._activate(x)
        return x if len(shape) == 3 else x.view(*shape[:-1], -1)

    def _activate(self, x: Tensor) -> Tensor:
        return self.activation(nn.functional.layer_norm(x, x.shape[-1:]) if self.layer_norm else x)


class Dropout(nn.Module):
    """Leaves out a share of its input's numbers in training, and makes up for it in the others (Srivastava et al. 2014).

    Args:
        share: of the numbers that become 0, below 1.
        draws: of each seed's own.
    """

    def __init__(self, share: float, draws: Draws):
        super().__init__()
        self.share, self._draws = share, draws

    def forward(self, x: Tensor) -> Tensor:
        if not in_training(self):
            return x
        kept = self._draws.streams.uniform(self._draws.name, *x.shape[1:]) >= self.share
        return x * kept * (1 / (1 - self.share))


class LayerNorm(nn.Module):
    """Layer normalisation with a learned scale and shift a seed (and an ensemble member), `[S, …, D]` (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, size: int, seeds: int, ensemble: int | None = None):
        super().__init__()
        shape = (seeds, 1, size) if ensemble is None else (seeds, ensemble, 1, size)
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, nn.functional.layer_norm(x, x.shape[-1:]), self.weight)


class BatchRenorm(nn.Module):
    """Batch normalisation a seed (and an ensemble member) over the rows `[S, B, D]` or `[S, E, B, D]`, with a learned scale and shift.

    While `by_batch`, (x − μ) / σ of the batch, and once `warm_up` batches were counted r (x − μ) / σ + d, so that what is learned from fits the running
    statistics (Ioffe 2017, arXiv:1702.03275): r = σ / σ̄ within [1/3, 3] and d = (μ − μ̄) / σ̄ within ±5, both without gradient. Otherwise (x − μ̄) /
    σ̄. These constants, the momentum of the running statistics and variances without Bessel's correction are those of CrossQ's code (adityab/CrossQ). σ² here is
    the variance plus epsilon wherever it stands; that code adds epsilon behind r, to the variance over r², and none to the σ by which it multiplies d.

    Attributes:
        by_batch: whether it goes by the batch, and its running statistics take that in; a loop says so of the nets that it trains, while it computes losses.
    """

    def __init__(self, size: int, seeds: int, ensemble: int | None = None, *, momentum: float = 0.99, eps: float = 1e-3, warm_up: int = 100_000):
        super().__init__()
        shape = (seeds, 1, size) if ensemble is None else (seeds, ensemble, 1, size)
        self.momentum, self.eps, self.warm_up, self.by_batch = momentum, eps, warm_up, False
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("batches", torch.zeros(seeds, *[1] * (len(shape) - 1)))

    @property
    def statistics(self) -> list[Tensor]:
        return [self.mean, self.variance]

    def forward(self, x: Tensor) -> Tensor:
        if not self.by_batch:
            return torch.addcmul(self.bias, (x - self.mean) * (self.variance + self.eps).rsqrt(), self.weight)
        variance, mean = torch.var_mean(x, -2, keepdim=True, correction=0)
        scale = (variance + self.eps).rsqrt()
        found = (x - mean) * scale
        with torch.no_grad():
            warm = self.batches >= self.warm_up
            running = (self.variance + self.eps).rsqrt()
            ratio = (running / scale).clamp(1 / 3, 3)
            shift = ((mean - self.mean) * running).clamp(-5, 5)
            ratio, shift = torch.where(warm, ratio, 1.0), torch.where(warm, shift, 0.0)
            self.mean.lerp_(mean, 1 - self.momentum)
            self.variance.lerp_(variance, 1 - self.momentum)
            self.batches += 1
        return torch.addcmul(self.bias, found * ratio + shift, self.weight)


def batch_norms(module: nn.Module) -> list[BatchRenorm]:
    """Its layers that may go by the batch, in their order."""
    return [layer for layer in module.modules() if isinstance(layer, BatchRenorm)]


class Residual(nn.Module):
    """Residual blocks behind an affine map, normalised before each and behind the last (SimBa, arXiv:2410.09754; initialised as in its code):
    `[S, …, in] → [S, …, out]`, or `[S, E, B, out]` of an ensemble.

    x = A input; x ← x + W₂ relu(W₁ LN(x)) for each block, W₁ four times as wide; LN(x), and with `outputs` an affine map of it.

    Args:
        widths: of the blocks, all the same, for they add up.
        outputs: None for the last normalised layer itself.
        last: how the map behind it is initialised; None as in SimBa's code, orthogonal of gain 1.
        generators, ensemble: as in `MLP`.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        outputs: int | None,
        generators: Sequence[torch.Generator],
        *,
        last: Initialize | None = None,
        ensemble: int | None = None,
    ):
        super().__init__()
        width, seeds = widths[0], len(generators)
        if set(widths) != {width}:
            raise BadInput(f"residual blocks add up, and are of one width: hidden is {', '.join(map(str, widths))}")
        self.first = Linear(inputs, width, generators, orthogonal(1.0), ensemble=ensemble)
        self.norms = nn.ModuleList(LayerNorm(width, seeds, ensemble) for _ in range(len(widths) + 1))
        self.blocks = nn.ModuleList(MLP([width, 4 * width, width], generators, hidden=he_normal, ensemble=ensemble) for _ in widths)
        self.last = None if outputs is None else Linear(width, outputs, generators, last or orthogonal(1.0), ensemble=ensemble)

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[1:-1]
        x = self.first(x.flatten(1, -2) if self.first.ensemble is None else x)
        for norm, block in zip(self.norms, self.blocks, strict=False):
            x = x + block(norm(x))
        x = self.norms[-1](x)
        x = x if self.last is None else self.last(x)
        return x.unflatten(1, lead) if self.first.ensemble is None else x


class Routed(nn.Module):
    """Experts, and a linear router behind which none of their gradients stand: `[S, …, in] → [S, …, K + out]`, the router's K logits first."""

    def __init__(self, router: Linear, experts: MLP | Residual):
        super().__init__()
        self.router, self.experts = router, experts

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.router(x), self.experts(x)], -1)


def network(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    streams: Streams,
    name: str,
    *,
    activation: str = "relu",
    initialize: Initialize = uniform_fan_in,
    last: Initialize | None = None,
    ensemble: int | None = None,
    layer_norm: bool = False,
    dropout: float = 0.0,
    batch_norm: bool = False,
    residual: bool = False,
) -> MLP | Residual:
    """The layers of an actor or a critic: an `MLP`, or with `residual` a `Residual` of as many blocks as there are widths, which has norms of its own.

    Args:
        last: how the last layer is initialised; None for what the others of its kind have.

    Raises:
        BadInput: residual blocks of different widths, or with what is of plain layers.
    """
    generators = streams.torch_generators(f"initialize/{name}")
    if residual:
        others = {"layer_norm": layer_norm, "dropout": dropout, "batch_norm": batch_norm}
        for option, asked in others.items():
            if asked:
                raise BadInput(f"{option} is of plain hidden layers; residual blocks have norms of their own: take one of the two")
        return Residual(inputs, hidden, outputs, generators, last=last, ensemble=ensemble)
    return MLP(
        [inputs, *hidden, outputs],
        generators,
        activation=activation,
        hidden=initialize,
        last=last,
        ensemble=ensemble,
        layer_norm=layer_norm,
        dropout=dropout,
        batch_norm=batch_norm,
        drop=Draws(streams, f"{name}/dropout"),
    )


class Towers(nn.Module):
    """An actor's and a critic's network of equal widths, side by side: their hidden layers are one ensemble of two, so that an update runs half as many
    operations.

    Args:
        inputs, hidden: width of the input and of the hidden layers.
        outputs: width of the actor's output; the critic's is 1.
        actor_last, critic_last: how the output layers are initialised.
        encoders: what the input goes through before: none, one for both, or the actor's and the critic's; `inputs` is then the width of their output.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        *,
        activation: str,
        initialize: Initialize,
        actor_last: Initialize,
        critic_last: Initialize,
        encoders: Sequence[nn.Module] = (),
    ):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.trunk = MLP([inputs, *hidden], generators, activation=activation, hidden=initialize, ensemble=2, activate_last=True)
        self.actor_head = Linear(hidden[-1], outputs, generators, actor_last)
        self.critic_head = Linear(hidden[-1], 1, generators, critic_last)

    def forward(self, x: Tensor) -> Tensor:
        """The actor's output `[S, …, outputs]`."""
        return self.actor(self.encoders[0](x) if self.encoders else x)

    def standing(self) -> Callable[[Tensor], Tensor]:
        """This network's `forward` at `[S, N, inputs]` without gradients, for many calls between which no weight changes."""
        if self.encoders or (activation := self.trunk.fused) is None:
            return self
        trunk = [p[:, 0] for p in self.trunk.parameters_in_turn]
        return standing([*trunk, self.actor_head.weight, self.actor_head.bias], activation, len(trunk) // 2)

    def value(self, x: Tensor) -> Tensor:
        """The critic's output `[S, …]`."""
        return self.critic(self.encoders[-1](x) if self.encoders else x)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(actor's output, critic's output) in one pass."""
        lead = x.shape[1:-1]
        actor, critic = self.heads(self.encode(x.flatten(1, -2) if x.ndim > 3 else x))
        return actor.unflatten(1, lead) if len(lead) > 1 else actor, critic.view(x.shape[0], *lead)

    def encode(self, x: Tensor) -> Tensor:
        """What both read of an input `[S, B, D]`: `[S, B, F]`, or `[S, 2, B, F]` where each has an encoder of its own."""
        if len(self.encoders) > 1:
            return torch.stack([encoder(x) for encoder in self.encoders], 1)
        return self.encoders[0](x) if self.encoders else x

    def actor(self, features: Tensor) -> Tensor:
        """The actor's output `[S, …, outputs]` from its features `[S, …, F]`."""
        return self.actor_head(self.trunk.member(features, 0))

    def critic(self, features: Tensor) -> Tensor:
        """The critic's output `[S, …]` from its features `[S, …, F]`."""
        return self.critic_head(self.trunk.member(features, 1)).squeeze(-1)

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(actor's output `[S, B, outputs]`, critic's `[S, B]`) in one pass, from features of both `[S, B, F]` or of each `[S, 2, B, F]`."""
        if (activation := self.trunk.fused) is not None:
            heads = [self.actor_head.weight, self.actor_head.bias, self.critic_head.weight, self.critic_head.bias]
            out, value = towers(features, self.trunk.parameters_in_turn, heads, activation)
            return out, value.squeeze(-1)
        h = self.trunk(features)
        return self.actor_head(h[:, 0]), self.critic_head(h[:, 1]).squeeze(-1)
