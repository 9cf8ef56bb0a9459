"""Natural-gradient steps: the Fisher matrix, the direction and the line search against matrices that are written down, seed by seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from operant import ops
from operant.core.flat import rows_of, set_rows
from operant.core.random import Streams
from operant.loops.natural import NaturalUpdater, TrustRegion, hessian_products
from operant.loops.terms import Ratio
from operant.nets.actors import ActorCritic, ActorCriticNet
from operant.nets.kernels import twice_differentiable
from operant.worlds.gym.spaces import action_spec, observation_spec

SEEDS, STEPS = 2, 6


def policy(continuous: bool) -> ActorCritic:
    action = action_spec("test", spaces.Box(-1, 1, (2,), np.float32) if continuous else spaces.Discrete(3))
    observation = observation_spec("test", spaces.Box(-1, 1, (2,), np.float32), action)
    net = ActorCriticNet(hidden=(3,), shared=False).build(observation, action, Streams(range(SEEDS)))
    with torch.no_grad():
        for p in net.parameters():  # away from the flat start, where the actor's head is small
            p.add_(0.5 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return net


def batch(net: ActorCritic) -> dict[str, torch.Tensor]:
    streams = Streams(range(SEEDS))
    observation = streams.normal("observation", STEPS, 2)
    with torch.no_grad():
        acted = net(observation)
    action = net.distribution.sample(acted, net.distribution.noise(streams, "action", STEPS))
    return {
        "inputs.observation": observation,
        "inputs.acted": acted,
        "action": action,
        "old_log_prob": net.distribution.log_prob(acted, action),
        "advantage": streams.normal("advantage", STEPS),
        "mask": torch.ones(SEEDS, STEPS, dtype=torch.bool),
    }


def flat_gradient(value: torch.Tensor, net: ActorCritic, seed: int) -> torch.Tensor:
    found = torch.autograd.grad(value, list(net.parameters()), retain_graph=True, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(net.parameters(), found, strict=True)]
    return torch.cat([part[seed].flatten() for part in parts])


def fisher(net: ActorCritic, observation: torch.Tensor, seed: int) -> torch.Tensor:
    """The mean over states of the expected outer product of scores: exactly over three actions; of normals, by the Jacobian of mean and log deviation."""
    total: torch.Tensor | float = 0.0
    parameters = net(observation)
    for step in range(STEPS):
        if net.distribution.deviations:
            rows = [flat_gradient(parameters[seed, step, place], net, seed) for place in range(4)]
            inverse = (-2 * parameters[seed, step, 2:]).exp().detach()
            total = total + sum(w * torch.outer(row, row) for w, row in zip([*inverse, 2.0, 2.0], rows, strict=True)) / STEPS
        else:
            for action, chance in enumerate(parameters[seed, step].softmax(-1).detach()):
                score = flat_gradient(parameters[seed, step].log_softmax(-1)[action], net, seed)
                total = total + chance * torch.outer(score, score) / STEPS
    return total


@pytest.mark.parametrize("continuous", [False, True])
def test_products_are_those_of_the_fisher_matrix(continuous: bool):
    net = policy(continuous)
    fields = batch(net)
    with twice_differentiable():
        found = net.replay({"observation": fields["inputs.observation"], "acted": fields["inputs.acted"]}, fields["action"], {"kl_from_acted"})
        product = hessian_products(found["kl_from_acted"].mean(-1), list(net.parameters()))
        vector = torch.randn(rows_of(net).shape, generator=torch.Generator().manual_seed(0))
        image = product(vector)
    for seed in range(SEEDS):
        torch.testing.assert_close(image[seed], fisher(net, fields["inputs.observation"], seed) @ vector[seed], rtol=1e-4, atol=1e-5)


def test_a_step_is_the_longest_that_lowers_the_loss_within_the_region():
    """One seed's advantages are tiny, so that its damped step is another one; both are found by matrices of their own."""
    net = policy(False)
    fields = batch(net)
    fields["advantage"][1] *= 3
    region = TrustRegion(max_kl=0.05, damping=0.01, iterations=200, backtracks=6, shrink=0.6)
    updater = NaturalUpdater(net, [Ratio()], region=region, seeds=SEEDS, stacked=True, learning_rate=1.0, reduce="token-mean")
    before = rows_of(net)

    def measured() -> tuple[torch.Tensor, torch.Tensor]:
        logits = net(fields["inputs.observation"])
        ratio = (ops.categorical_log_prob(logits, fields["action"]) - fields["old_log_prob"]).exp()
        return -(ratio * fields["advantage"]).mean(-1), ops.categorical_kl(fields["inputs.acted"], logits).mean(-1)

    expected = before.clone()
    loss, _ = measured()
    directions, lengths = [], []
    for seed in range(SEEDS):
        matrix = fisher(net, fields["inputs.observation"], seed) + region.damping * torch.eye(before.shape[1])
        direction = torch.linalg.solve(matrix.double(), -flat_gradient(loss[seed], net, seed).double())
        directions.append((direction * (2 * region.max_kl / (direction @ matrix.double() @ direction)).sqrt()).float())
    for seed in range(SEEDS):
        for place in range(region.backtracks):
            tried = before.clone()
            tried[seed] += region.shrink**place * directions[seed]
            set_rows(net, tried)
            now, kl = measured()
            if now[seed] < loss[seed] and kl[seed] <= region.max_kl:
                expected[seed] = tried[seed]
                lengths.append(region.shrink**place)
                break
    set_rows(net, before)
    told = updater.step(fields, progress=0.0, iteration=0, first=True, last=True)
    assert told.log_ratio < 1e-6 and told.diagnostics["step_length"].tolist() == pytest.approx(lengths)
    torch.testing.assert_close(rows_of(net), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(told.diagnostics["kl_behaviour"], measured()[1].detach(), rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_or_has_no_signal_moves_its_own_seed_alone():
    net = policy(True)
    fields = batch(net)
    updater = NaturalUpdater(net, [Ratio()], region=TrustRegion(), seeds=SEEDS, stacked=True, learning_rate=1.0, reduce="token-mean")
    for broken in (float("nan"), 0.0):
        before = rows_of(net)
        fields["advantage"][0] = broken
        told = updater.step(fields, progress=0.0, iteration=0, last=True)
        after = rows_of(net)
        assert torch.equal(after[0], before[0]) and not torch.equal(after[1], before[1])
        assert told.diagnostics["step_taken"].tolist() == [0.0, 1.0]
        assert torch.isfinite(told.gradient_norm).tolist() == [broken == 0, True]
        set_rows(net, before)


def test_conjugate_gradients_solve_each_system():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 7, 7, generator=generator, dtype=torch.float64)
    matrix, right = root @ root.mT + torch.eye(7), torch.randn(4, 7, generator=generator, dtype=torch.float64)
    right[2] = 0  # nothing to solve: it stands at 0
    found = ops.conjugate_gradients(lambda v: (matrix @ v.unsqueeze(-1)).squeeze(-1), right, iterations=20, tolerance=1e-20)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))
    assert (found[2] == 0).all()
