"""Layers with a seed axis against torch's own modules, one a seed and member."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.actors import ActionValueNet, ActorCriticNet
from operant.nets.layers import MLP, BatchRenorm, Draws, Dropout, LayerNorm, Residual, batch_norms, network, still
from operant.nets.memory import LSTM
from operant.worlds import make_world

SEEDS, MEMBERS, ROWS, SIZE = 2, 3, 16, 5


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 1


@pytest.mark.parametrize("ensemble", [None, MEMBERS])
def test_batch_norm_is_torchs_of_each_seed(ensemble: int | None):
    """In training and at rest: outputs, gradients and running statistics, whose variance torch takes with Bessel's correction."""
    lead = (SEEDS,) if ensemble is None else (SEEDS, ensemble)
    layer = BatchRenorm(SIZE, SEEDS, ensemble)
    plain = [nn.BatchNorm1d(SIZE, eps=layer.eps, momentum=1 - layer.momentum) for _ in range(torch.Size(lead).numel())]
    with torch.no_grad():
        layer.weight.copy_(rows(*layer.weight.shape, seed=1))
        layer.bias.copy_(rows(*layer.bias.shape, seed=2))
    for one, weight, bias in zip(plain, layer.weight.view(-1, SIZE), layer.bias.view(-1, SIZE), strict=True):
        one.weight.data, one.bias.data = weight.detach().clone(), bias.detach().clone()
    layer.by_batch = True
    for step in range(3):
        x = rows(*lead, ROWS, SIZE, seed=3 + step).requires_grad_()
        found, wanted = layer(x), torch.stack([one(each) for one, each in zip(plain, x.reshape(-1, ROWS, SIZE), strict=True)]).view(x.shape)
        torch.testing.assert_close(found, wanted)
        gradients = [torch.autograd.grad(y.square().sum() + y.sum(), x)[0] for y in (found, wanted)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.mean.view(-1, SIZE), torch.stack([one.running_mean for one in plain]))
    kept = layer.momentum**3  # of the variance that both begin with, which has no correction
    biased = kept + (torch.stack([one.running_var for one in plain]) - kept) * (ROWS - 1) / ROWS
    torch.testing.assert_close(layer.variance.view(-1, SIZE), biased)
    layer.by_batch = False
    x = rows(*lead, ROWS, SIZE, seed=9)
    for one, running in zip(plain, layer.variance.view(-1, SIZE), strict=True):
        one.eval().running_var.copy_(running)
    wanted = torch.stack([one(each) for one, each in zip(plain, x.view(-1, ROWS, SIZE), strict=True)]).view(x.shape)
    torch.testing.assert_close(layer(x), wanted)


def test_batch_renorm_once_it_is_warm():
    """r and d of the paper's algorithm 1, both cut and without gradient."""
    layer = BatchRenorm(1, 1, warm_up=1, eps=0.0)
    layer.by_batch = True
    layer(torch.tensor([[[-1.0], [1.0]]]))  # counted, and not warm yet: running mean 0, variance 1
    assert layer.batches.item() == 1 and layer.mean.item() == 0 and layer.variance.item() == 1
    x = torch.tensor([[[2.0], [6.0]]], requires_grad=True)  # μ = 4, σ = 2: r = 2, d = 4
    found = layer(x)
    torch.testing.assert_close(found, torch.tensor([[[2.0], [6.0]]]))
    torch.testing.assert_close(layer.mean, torch.tensor([[[0.04]]]))
    torch.testing.assert_close(layer.variance, torch.tensor([[[0.99 + 0.04]]]))
    found[0, 1, 0].backward()  # r (x - μ) / σ alone: of two rows the standardised ones are ±1 wherever they lie
    torch.testing.assert_close(x.grad, torch.zeros_like(x), atol=1e-5, rtol=0)
    layer.mean.zero_(), layer.variance.fill_(1.0)
    torch.testing.assert_close(layer(torch.tensor([[[0.0], [40.0]]])), torch.tensor([[[2.0], [8.0]]]))  # r = 20 and d = 20 are cut to 3 and 5


@pytest.mark.parametrize("shape", [(ROWS, 200), (MEMBERS, ROWS, 200)])
def test_dropout_leaves_out_its_share_and_each_seed_draws_for_itself(shape: tuple[int, ...]):
    x = torch.ones(SEEDS, *shape)
    layer = Dropout(0.25, Draws(Streams([3, 4]), "q/dropout/0"))
    with still():
        assert layer(x) is x
    found = layer(x)
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 1 / 0.75])
    assert abs((found == 0).float().mean().item() - 0.25) < 0.02
    alone = Dropout(0.25, Draws(Streams([4]), "q/dropout/0"))
    assert torch.equal(alone(x[:1])[0], found[1]) and not torch.equal(found[0], found[1])
    twin = copy.deepcopy(layer)
    assert not torch.equal(twin(x), found) and not torch.equal(layer(x), found)  # a target network goes on drawing


def torch_mlp(net: MLP, seed: int, member: int, *extra) -> nn.Sequential:
    parts: list[nn.Module] = []
    for place, layer in enumerate(net.layers):
        linear = nn.Linear(*layer.weight.shape[-2:])
        linear.weight.data, linear.bias.data = layer.weight[seed, member].T.detach().clone(), layer.bias[seed, member, 0].detach().clone()
        parts.append(linear)
        if place + 1 < len(net.layers):
            parts += [make(linear.out_features) for make in extra]
    return nn.Sequential(*parts)


def test_a_critics_layers_stand_in_the_order_of_their_papers():
    """Dropout, layer norm, relu in DroQ; a normalised input and relu, batch norm in CrossQ."""
    streams, x = Streams([0, 1]), rows(SEEDS, ROWS, SIZE)
    net = network(SIZE, (6, 7), 2, streams, "q", ensemble=MEMBERS, layer_norm=True, dropout=0.5)
    norm = lambda width: nn.LayerNorm(width, elementwise_affine=False)  # noqa: E731
    with still():
        torch.testing.assert_close(net(x)[1, 2], torch_mlp(net, 1, 2, norm, lambda width: nn.ReLU())(x[1]))
    found, again = net(x), Streams([0, 1])
    masks = [again.uniform(f"q/dropout/{place}", MEMBERS, ROWS, width)[1, 2] >= 0.5 for place, width in enumerate((6, 7))]
    drops = iter(masks)

    class Drop(nn.Module):
        def forward(self, y):
            return y * next(drops) * 2

    torch.testing.assert_close(found[1, 2], torch_mlp(net, 1, 2, lambda width: Drop(), norm, lambda width: nn.ReLU())(x[1]))

    net = network(SIZE, (6, 7), 2, streams, "q", ensemble=MEMBERS, batch_norm=True)
    for layer in batch_norms(net):
        layer.by_batch = True
    first = nn.BatchNorm1d(SIZE, eps=1e-3)
    wanted = nn.Sequential(first, *torch_mlp(net, 1, 2, lambda width: nn.ReLU(), lambda width: nn.BatchNorm1d(width, eps=1e-3)))
    torch.testing.assert_close(net(x)[1, 2], wanted(x[1]))


def test_residual_blocks_are_those_of_the_paper():
    streams, x = Streams([0, 1]), rows(SEEDS, ROWS, SIZE)
    net = network(SIZE, (8, 8), 2, streams, "q", ensemble=MEMBERS, residual=True)
    assert isinstance(net, Residual)
    with torch.no_grad():
        for norm in net.norms:
            norm.weight.copy_(rows(*norm.weight.shape, seed=1))
            norm.bias.copy_(rows(*norm.bias.shape, seed=2))

    def linear(layer, y):
        return y @ layer.weight[1, 2] + layer.bias[1, 2]

    def normed(layer: LayerNorm, y):
        return nn.functional.layer_norm(y, (8,), layer.weight[1, 2, 0], layer.bias[1, 2, 0])

    y = linear(net.first, x[1])
    for norm, block in zip(net.norms, net.blocks, strict=False):
        assert [layer.weight.shape[-1] for layer in block.layers] == [32, 8]
        y = y + linear(block.layers[1], torch.relu(linear(block.layers[0], normed(norm, y))))
    torch.testing.assert_close(net(x)[1, 2], linear(net.last, normed(net.norms[-1], y)), rtol=1e-4, atol=1e-4)
    plain = network(SIZE, (8,), 2, streams, "actor", residual=True)
    torch.testing.assert_close(plain(x.view(SEEDS, 4, 4, SIZE)).flatten(1, 2), plain(x))


@pytest.mark.parametrize("others", [{"layer_norm": True}, {"dropout": 0.1}, {"batch_norm": True}])
def test_residual_blocks_take_nothing_of_plain_layers(others: dict):
    with pytest.raises(BadInput, match=f"{next(iter(others))} is of plain hidden layers"):
        network(SIZE, (8,), 1, Streams([0]), "q", residual=True, **others)
    with pytest.raises(BadInput, match="of one width: hidden is 8, 9"):
        network(SIZE, (8, 9), 1, Streams([0]), "q", residual=True)


@pytest.mark.parametrize("residual", [False, True])
def test_a_policy_begins_with_no_preference(residual: bool):
    world = make_world("gym:CartPole-v1")
    policy = ActorCriticNet(hidden=(32, 32), residual=residual).build(world.observation, world.action, Streams(range(8)))
    assert float(policy(rows(8, 64, 4)).softmax(-1).detach().max()) < 0.52


def test_every_actor_and_critic_takes_residual_blocks():
    """And, where it has a trunk or two towers, without what is of plain layers."""
    pendulum, cart_pole = make_world("gym:Pendulum-v1"), make_world("gym:CartPole-v1")
    streams, hidden = Streams([0, 1]), (8, 8)
    both = ActorCriticNet(hidden=hidden, residual=True).build(pendulum.observation, pendulum.action, streams)
    seen = rows(SEEDS, ROWS, 3)
    found = both.replay({"observation": seen}, both.distribution.mode(both(seen)), frozenset({"value"}))
    assert found["value"].shape == found["log_prob"].shape == (SEEDS, ROWS)
    values = ActionValueNet(hidden=hidden, residual=True).build(cart_pole.observation, cart_pole.action, streams)
    assert values(rows(SEEDS, ROWS, 4)).shape == (SEEDS, ROWS, 2)
    for net in (both.net.actor, both.net.critic, values.trunk):
        assert isinstance(net, Residual) and len(net.blocks) == 2
    with pytest.raises(BadInput, match="residual blocks are of a policy that sees the observation alone"):
        ActorCriticNet(hidden=hidden, residual=True, memory=LSTM(4)).build(pendulum.observation, pendulum.action, streams)
    with pytest.raises(BadInput, match="net 'q': residual blocks have norms of their own and are not noisy"):
        ActionValueNet(hidden=hidden, residual=True, noisy=True).build(cart_pole.observation, cart_pole.action, streams)
