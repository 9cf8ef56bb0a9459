"""What critics say of a return: whatever the head, a value in the same shape, for actions and for ensembles."""

from __future__ import annotations

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.actors import ActionValueNet, CriticNet, ImplicitQuantileNet
from operant.nets.heads import C51, VALUE, Histogram, HLGauss, Quantiles, TwoHot
from operant.worlds import make_world

HEADS = [VALUE, Quantiles(5), C51(-2.0, 2.0, 7), TwoHot(-2.0, 2.0, 7), HLGauss(-2.0, 2.0, 7)]


def rows(size: int) -> torch.Tensor:
    return torch.randn(2, 6, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("head", HEADS)
def test_a_critic_of_any_head_gives_values_and_gradients(head):
    """An ensemble `[S, E, B]`, of which a member is one; a loss of its outputs trains it, and an actor's gradient passes through its value."""
    world = make_world("gym:Pendulum-v1")
    critic = CriticNet(hidden=(8,), ensemble=3, head=head).build(world.observation, world.action, Streams([0, 1]), "q")
    seen, action = rows(3), rows(1).requires_grad_()
    value = critic(seen, action)
    assert value.shape == (2, 3, 6) and critic.outputs(seen, action).shape == (2, 3, 6, head.size)
    torch.testing.assert_close(critic.member(1, seen, action), value[:, 1])
    torch.testing.assert_close(head.mean(critic.outputs(seen, action)), value)
    value.sum().backward()
    assert action.grad.abs().min() > 0
    if isinstance(head, Histogram):
        assert value.abs().max() < 2


def test_a_histogram_learns_a_value():
    """By cross-entropy with what it encodes, a critic comes to say it."""
    world, head = make_world("gym:Pendulum-v1"), HLGauss(-2.0, 2.0, 21)
    critic = CriticNet(inputs=("observation",), hidden=(16,), ensemble=1, head=head).build(world.observation, world.action, Streams([0]), "v")
    seen = rows(3)[:1]
    wanted = seen[..., 0].clamp(-1, 1)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-2)
    for _ in range(150):
        optimizer.zero_grad()
        ops.cross_entropy(critic.outputs(seen)[:, 0], head.encode(wanted)).sum().backward()
        optimizer.step()
    torch.testing.assert_close(critic(seen)[:, 0].detach(), wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize("duelling", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_values_of_actions_are_those_of_their_outputs(head, duelling: bool):
    net = make_world("gym:CartPole-v1").policy(ActionValueNet(hidden=(8,), head=head, duelling=duelling), Streams([0, 1]))
    seen = rows(4)
    outputs = net.outputs(seen)
    assert outputs.shape == (2, 6, 2, head.size)
    torch.testing.assert_close(net(seen), net.values(outputs, seen))
    torch.testing.assert_close(net(seen.unflatten(1, (2, 3))), net(seen).unflatten(1, (2, 3)))
    assert net(seen).shape == (2, 6, 2)


@pytest.mark.parametrize("hidden", [(8,), (7, 8)])
def test_fractions_are_drawn_in_training_alone(hidden: tuple[int, ...]):
    streams = Streams([0, 1])
    net = make_world("gym:CartPole-v1").policy(ImplicitQuantileNet(hidden=hidden, head=Quantiles(4), duelling=True), streams)
    seen = rows(4)
    given = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(net.eval()(seen), net.quantiles(seen, given.expand(2, 6, 4)).mean(-1))
    assert torch.equal(torch.from_numpy(net.train().act(seen)[0]), net.eval()(seen).argmax(-1))
    fresh = Streams([0, 1])
    drawn = [fresh.uniform("q/fractions", 4).unsqueeze(1).expand(2, 6, 4) for _ in range(2)]
    torch.testing.assert_close(net.train()(seen), net.quantiles(seen, drawn[0]).mean(-1))
    torch.testing.assert_close(net.outputs(seen), net.quantiles(seen, drawn[1]))
    one = net.quantiles(seen, torch.rand(2, 6, 1, generator=torch.Generator().manual_seed(1)))
    assert one.shape == (2, 6, 2, 1)
    assert net.eval()(seen.unflatten(1, (2, 3))).shape == (2, 2, 3, 2)


@pytest.mark.parametrize(("low", "high", "bins"), [(1.0, 1.0, 5), (2.0, 1.0, 5), (0.0, 1.0, 1)])
def test_a_range_that_is_none_is_told(low: float, high: float, bins: int):
    with pytest.raises(BadInput, match="a lower end below the higher one"):
        HLGauss(low, high, bins)
