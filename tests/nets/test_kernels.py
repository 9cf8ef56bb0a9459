"""Kernels: whichever set computes, and whether layers go one by one or in one step, values and gradients are those of plain float64 layers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from operant.nets import kernels
from operant.nets.layers import ACTIVATIONS, MLP, Linear, Towers, orthogonal


@pytest.fixture(params=kernels.SETS)
def taken(request) -> Iterator[str]:
    before = kernels.taken()
    kernels.take(request.param)
    yield kernels.taken()
    kernels.take(before)


def generators(seeds: int = 2) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(seeds)]


def plain(net: MLP, x: Tensor, act) -> Tensor:
    """Layer by layer in float64, differentiable by PyTorch alone."""
    x = x.double()
    ensemble = net.layers[0].weight.ndim == 4
    x = x.unsqueeze(1) if ensemble and x.ndim == 3 else x
    for place, layer in enumerate(net.layers):
        x = x @ layer.weight.double() + layer.bias.double()
        if place < net.activated:
            x = act(torch.nn.functional.layer_norm(x, x.shape[-1:]) if net.layer_norm else x)
    return x


def gradients(found: Tensor | tuple[Tensor, ...], leaves: list[Tensor]) -> list[Tensor]:
    found = found if isinstance(found, tuple) else (found,)
    return list(torch.autograd.grad(sum((x.double() * torch.linspace(-1, 1, x.numel()).view_as(x)).sum() for x in found), leaves))


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("ensemble", "each"), [(None, False), (3, False), (3, True)])
def test_a_perceptron_is_its_layers(taken: str, activation: str, layer_norm: bool, ensemble: int | None, each: bool):
    """Wide enough (96 × 128 × 128) that the set decides."""
    net = MLP([5, 128, 128, 2], generators(), activation=activation, ensemble=ensemble, layer_norm=layer_norm)
    x = torch.randn(2, *([3] if each else []), 96, 5, generator=torch.Generator().manual_seed(7), requires_grad=True)
    leaves = [x, *net.parameters()]
    found, exact = net(x), plain(net, x, ACTIVATIONS[activation])
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    for name, (mine, right) in enumerate(zip(gradients(found, leaves), gradients(exact, leaves), strict=True)):
        torch.testing.assert_close(mine, right.to(mine.dtype), rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"leaf {name}: {text}")
    with torch.no_grad():
        assert torch.equal(net(x), found)


def test_a_frozen_perceptron_passes_gradients_to_its_input_alone():
    net = MLP([5, 8, 1], generators(), ensemble=2).requires_grad_(False)
    x = torch.randn(2, 6, 5, requires_grad=True)
    (mine,) = gradients(net(x), [x])
    (right,) = gradients(plain(net, x, torch.relu), [x])
    torch.testing.assert_close(mine, right)


def test_towers_are_their_layers(taken: str):
    net = Towers(5, [128, 128], 3, generators(), activation="tanh", initialize=orthogonal(1.0), actor_last=orthogonal(0.01), critic_last=orthogonal(1.0))
    x = torch.randn(2, 96, 5, generator=torch.Generator().manual_seed(7), requires_grad=True)
    leaves = [x, *net.parameters()]
    h = plain(net.trunk, x, torch.tanh)
    heads = (net.actor_head, h[:, 0]), (net.critic_head, h[:, 1])
    actor, critic = (inside @ head.weight.double() + head.bias.double() for head, inside in heads)
    found, exact = net.heads(x), (actor, critic.squeeze(-1))
    for mine, right in zip((*found, *gradients(found, leaves)), (*exact, *gradients(exact, leaves)), strict=True):
        torch.testing.assert_close(mine.double(), right.double(), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(net.standing()(x), net(x))
    assert torch.allclose(net(x), found[0], atol=1e-6) and torch.allclose(net.value(x), found[1], atol=1e-6)


def test_wide_layers_alone(taken: str):
    layer = Linear(128, 128, generators())
    x = torch.randn(2, 96, 128, requires_grad=True)
    leaves = [x, *layer.parameters()]
    exact = x.double() @ layer.weight.double() + layer.bias.double()
    for mine, right in zip((layer(x), *gradients(layer(x), leaves)), (exact, *gradients(exact, leaves)), strict=True):
        torch.testing.assert_close(mine.double(), right.double(), rtol=1e-4, atol=1e-4)


def test_linear_is_the_plain_one(taken: str):
    x, weight, bias = torch.randn(3, 400, 12, requires_grad=True), torch.randn(16, 12, requires_grad=True), torch.randn(16, requires_grad=True)
    found, exact = kernels.linear(x, weight, bias), x.double() @ weight.double().t() + bias.double()
    for mine, right in zip((found, *gradients(found, [x, weight, bias])), (exact, *gradients(exact, [x, weight, bias])), strict=True):
        torch.testing.assert_close(mine.double(), right.double(), rtol=1e-4, atol=1e-4)


def test_compiled_wide_losses_are_the_eager_ones(taken: str):
    net = MLP([5, 128, 128, 1], generators(), ensemble=2)
    x = torch.randn(2, 96, 5)
    torch.compiler.reset()
    compiled = torch.compile(lambda rows: net(rows).square().mean(), backend="aot_eager", fullgraph=True)
    leaves = list(net.parameters())
    for mine, right in zip(torch.autograd.grad(compiled(x), leaves), torch.autograd.grad(net(x).square().mean(), leaves), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("maker", "flags", "fits"),
    [("GenuineIntel", "avx2 avx512f", "native"), ("AuthenticAMD", "avx2", "onednn"), ("AuthenticAMD", "avx2 avx512f", "mixed"), ("", "", "native")],
)
def test_the_set_hangs_on_the_processor(monkeypatch, maker: str, flags: str, fits: str):
    monkeypatch.setattr(kernels, "maker", lambda: maker)
    monkeypatch.setattr(kernels, "said", lambda: {"flags": flags})
    monkeypatch.setattr(kernels, "_ONEDNN", lambda *operands: None)
    assert kernels.fitting() == fits
    monkeypatch.setattr(kernels, "_ONEDNN", None)
    assert kernels.fitting() == "native"


def test_the_mixed_set_computes_few_rows_as_the_native_one_and_many_as_onednn():
    if kernels._ONEDNN is None:
        pytest.skip("this build of PyTorch has no oneDNN")
    before, found = kernels.taken(), {}
    generator = torch.Generator().manual_seed(0)
    operands = {
        rows: [torch.randn(1, *size, generator=generator) for size in ((rows, 200), (200, 200), (1, 200), (rows, 200))] for rows in (256, kernels.MANY)
    }
    try:
        for kind in kernels.SETS:
            kernels.take(kind)
            found[kind] = {rows: torch.cat([x.flatten() for x in kernels.products(*operands[rows])]) for rows in operands}
    finally:
        kernels.take(before)
    assert torch.equal(found["mixed"][256], found["native"][256]) and torch.equal(found["mixed"][kernels.MANY], found["onednn"][kernels.MANY])


@pytest.mark.parametrize("taken", kernels.SETS)
def test_bits_of_a_product_do_not_hang_on_whether_gradients_are_wanted(taken):
    """Nor on how many axes the rows have: a worker computes with copies of weights that nobody trains."""
    before = kernels.taken()
    kernels.take(taken)
    try:
        generator = torch.Generator().manual_seed(0)
        x, weight = torch.randn(2, 3, 16, generator=generator), torch.randn(24, 16, generator=generator)
        with torch.inference_mode():
            plain, last = kernels.linear(x, weight), kernels.linear(x[:, -1:], weight)
            flat = kernels.linear(x.view(6, 16), weight).view(2, 3, 24)
        weight.requires_grad_()
        with torch.inference_mode():
            assert torch.equal(kernels.linear(x, weight), plain) and torch.equal(kernels.linear(x[:, -1:], weight), last) and torch.equal(flat, plain)
    finally:
        kernels.take(before)
