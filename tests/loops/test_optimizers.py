"""Optimisers over flat buffers against PyTorch's and against a loop over single numbers."""

from __future__ import annotations

import math

import torch

from operant.core.flat import Adam, FlatParameters, RMSProp
from operant.core.registry import configure, get_method


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def trained(module: torch.nn.Module, step, zero) -> list[torch.Tensor]:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        zero()
        (module(x) - x.sum(1, keepdim=True)).square().mean().backward()
        step()
    return [p.detach().clone() for p in module.parameters()]


def test_rmsprop_is_pytorchs():
    ours, theirs = net(), net()
    flat = FlatParameters(ours, stacked=False)
    rule, other = RMSProp([flat], learning_rate=0.01, decay=0.97, eps=1e-3, inside=False), torch.optim.RMSprop(theirs.parameters(), 0.01, alpha=0.97, eps=1e-3)
    found = trained(ours, lambda: rule.step(flat.grad_norm()), flat.zero_grad)
    for a, b in zip(found, trained(theirs, other.step, other.zero_grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_rmsprop_with_its_epsilon_within_the_root():
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 2.0)
    flat = FlatParameters(module, stacked=False)
    rule, weight, square = RMSProp([flat], learning_rate=0.1, decay=0.9, eps=0.5), 2.0, 1.0
    for gradient in (3.0, -1.0, 0.5):
        flat.grad.fill_(gradient)
        rule.step(flat.grad_norm())
        square = 0.9 * square + 0.1 * gradient**2
        weight -= 0.1 * gradient / math.sqrt(square + 0.5)
        assert math.isclose(module.weight.item(), weight, rel_tol=1e-6)


def test_rmsprop_stands_still_where_a_norm_is_not_finite_and_forgets_one_seed():
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.ones(2, 3))  # two seeds
    flat = FlatParameters(module, seeds=2)
    rule = RMSProp([flat], learning_rate=0.1, apart=True)
    flat.grad.fill_(1.0)
    rule.step(flat.grad_norm())
    before = flat.data.detach().clone(), rule.state_dict()["square"][0].clone()
    flat.grad[0] = float("nan")
    rule.step(flat.grad_norm())
    assert torch.equal(flat.data, before[0]) and torch.equal(rule.state_dict()["square"][0], before[1])
    flat.grad.fill_(3.0)
    rule.step(flat.grad_norm())
    rule.reset(torch.tensor([False, True]))
    squares = rule.state_dict()["square"][0].view(2, 3)
    assert (squares[1] == 1).all() and (squares[0] > 1).all()


def test_methods_have_the_epsilon_of_those_that_they_follow():
    """Of Adam, where it is not 1e-8; of DQN's family it goes with the size of a batch."""
    wanted = {"qr-dqn": 1e-4, "c51": 1e-4, "iqn": 1e-4, "rainbow": 1.5e-4, "dqn": 1e-8, "hl-gauss": 1e-8}
    built = {key: get_method(key).build(configure(key, {"batch_size": 100})) for key in wanted}
    assert {key: spine.phases[0].optim.eps for key, spine in built.items()} == wanted
    assert {key: get_method(key).build(configure(key, {})).fit.eps for key in ("trpo", "mdpo")} == {"trpo": 1e-5, "mdpo": 1e-8}


def test_adam_whose_seeds_are_apart_lets_one_stand_still():
    def made(seeds: int) -> tuple[FlatParameters, Adam]:
        module = torch.nn.Module()
        module.weight, module.bias = torch.nn.Parameter(torch.ones(seeds, 3, 2)), torch.nn.Parameter(torch.ones(seeds, 5))
        flat = FlatParameters(module, seeds=seeds)
        return flat, Adam([flat], learning_rate=0.1, apart=True)

    (both, rule), (alone, other) = made(2), made(1)
    for step in range(4):
        gradient = torch.full((13,), 1.0 + step)
        both.set_gradient(torch.stack([gradient, -gradient])[:, :11])
        rule.step(torch.tensor([1.0, math.inf if step % 2 else 1.0]))  # the second one moves every other time
        if step % 2 == 0:
            alone.set_gradient(-gradient[None, :11])
            other.step(torch.ones(1))
    assert torch.equal(both.parameters[0][1], alone.parameters[0][0]) and torch.equal(both.parameters[1][1], alone.parameters[1][0])
    assert [count.item() for count in rule.state_dict()["step"]] == [4, 2]
