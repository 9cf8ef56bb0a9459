"""Nets that draw: in training alone, from the run's own streams, wherever they are copied to."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

import operant
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.nets.actors import ActionValueNet
from operant.nets.layers import MLP, Draws, NoisyLinear
from operant.worlds import make_world

TASK = "gym:CartPole-v1"
SMALL = {"hidden": (8, 8), "batch_size": 8, "learning_starts": 8, "duelling": True, "n_step": 2}


def layer(seeds: list[int], ensemble: int | None = None) -> NoisyLinear:
    streams = Streams(seeds)
    return NoisyLinear(3, 2, streams.torch_generators("initialize"), draws=Draws(streams, "noise"), ensemble=ensemble)


def learner(seeds=(0, 1), method="dqn", **others):
    found = get_method(method).build(configure(method, SMALL | {"noisy": True} | others))
    return replace(found, updates_per_iteration=8).learner(make_world(TASK), list(seeds), 10_000, torch.device("cpu"))


def until(one, step: int):
    while one.step < step:
        one.iterate()
    return one


def test_the_weights_of_a_pass_are_the_equation_literally():
    """Each weight is its mean plus its deviation times f(input's draw) f(output's draw)."""
    one = layer([4])
    with torch.no_grad():
        one.weight_deviation.copy_(torch.arange(6.0).view(1, 3, 2))
        one.bias_deviation.copy_(torch.tensor([[[7.0, 8.0]]]))
    drawn = Streams([4]).normal("noise", 5)[0].tolist()
    f = [abs(e) ** 0.5 * (1 if e > 0 else -1) for e in drawn]
    weight, bias = one.affine()
    for i in range(3):
        for o in range(2):
            assert weight[0, i, o].item() == pytest.approx(one.weight[0, i, o].item() + (2 * i + o) * f[i] * f[3 + o], rel=1e-5)
    for o in range(2):
        assert bias[0, 0, o].item() == pytest.approx(one.bias[0, 0, o].item() + (7 + o) * f[3 + o], rel=1e-5)


def test_deviations_begin_at_the_half_over_the_root_of_the_inputs_and_learn():
    one = layer([0])
    assert torch.equal(one.weight_deviation, torch.full((1, 3, 2), 0.5 / 3**0.5)) and torch.equal(one.bias_deviation, torch.full((1, 1, 2), 0.5 / 3**0.5))
    one(torch.ones(1, 4, 3)).square().sum().backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in one.parameters())


@pytest.mark.parametrize("ensemble", [None, 3])
def test_a_seed_draws_what_it_draws_alone(ensemble):
    together, alone = layer([3, 9], ensemble), layer([9], ensemble)
    for _ in range(2):
        for many, one in zip(together.affine(), alone.affine(), strict=True):
            assert torch.equal(many[1:], one)
            assert not torch.equal(many[0], many[1])


def test_copies_draw_from_the_streams_of_the_run():
    """A target network's draws are the run's, saved with it: the copy goes on where the net stands, and the net behind the copy."""
    net = layer([0])
    target = copy.deepcopy(net)
    reference = layer([0])
    found = [target.affine()[0], net.affine()[0], target.affine()[0]]
    assert all(torch.equal(one, reference.affine()[0]) for one in found)


def test_without_training_it_is_the_net_of_the_means():
    streams = Streams([0, 1])
    noisy = MLP([3, 4, 2], streams.torch_generators("initialize"), noise=Draws(streams, "noise"))
    plain = MLP([3, 4, 2], Streams([0, 1]).torch_generators("initialize"))
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(noisy(x), noisy(x))
    noisy.eval()
    before = streams.state_dict()
    assert torch.equal(noisy(x), plain(x))
    assert str(streams.state_dict()) == str(before)


def test_a_policy_acts_by_the_means_while_it_trains():
    """What is evaluated draws nothing, and training goes on as if it had not been."""
    policy = make_world(TASK).policy(ActionValueNet(hidden=(8,), noisy=True), Streams([0, 1]))
    seen = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    before = policy.trunk.layers[0]._draws.streams.torch_generators("q/noise/0")[0].get_state()
    actions = [policy.act(seen)[0].tolist() for _ in range(5)]
    assert all(action == actions[0] for action in actions) and policy.training
    assert torch.equal(before, policy.trunk.layers[0]._draws.streams.torch_generators("q/noise/0")[0].get_state())
    assert not torch.equal(policy(seen), policy(seen))
    assert policy.make_reference()(seen).equal(policy.eval()(seen))


@pytest.mark.parametrize("prioritized", [False, True])
def test_noise_is_learned_and_goes_on_bit_for_bit(prioritized: bool):
    whole = until(learner(prioritized=prioritized), 48)
    first = until(learner(prioritized=prioritized), 24)
    first.world.evaluate(first.policy, 2, episodes=2)  # which moves nothing
    other = learner(prioritized=prioritized)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    until(other, 48)
    for (name, one), two in zip(whole.nets.named_parameters(), other.nets.parameters(), strict=True):
        assert torch.equal(one, two), name
    deviation = whole.policy.advantage.weight_deviation
    assert deviation.unique().numel() > 10  # they were all alike


def test_a_policy_that_is_loaded_draws_nothing(tmp_path):
    settings = {"hidden": (8,), "batch_size": 8, "learning_starts": 8, "episodes": 1, "progress": False}
    run = operant.train("dqn", TASK, steps=40, noisy=True, out=tmp_path / "run", **settings)
    policy, seen = run.load_policy(), torch.zeros(1, 3, 4)
    assert not policy.training and torch.equal(policy(seen), policy(seen))


def test_streams_that_a_state_does_not_name_begin_anew():
    """As they stood when it was taken: nothing had been drawn from them."""
    streams = Streams([3, 4])
    streams.normal("known", 2)
    state = streams.state_dict()
    first = streams.normal("known", 2), streams.uniform("later", 3), [g.random() for g in streams.numpy_generators("of NumPy")]
    streams.load_state_dict(state)
    again = streams.normal("known", 2), streams.uniform("later", 3), [g.random() for g in streams.numpy_generators("of NumPy")]
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]) and first[2] == again[2]
