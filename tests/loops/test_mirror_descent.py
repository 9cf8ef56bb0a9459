"""MDPO: where the off-policy actor's loss is least, that loss by a loop, when what it is held near is renewed; what falls along training on policy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from operant.core.registry import configure, get_method
from operant.loops.terms import TermBatch
from operant.worlds import make_world


@pytest.mark.parametrize("tsallis", [1.0, 1.5])
def test_the_actor_is_held_near_itself_of_some_updates_ago(tsallis: float):
    """One transition at a time, from the densities of the normals before tanh; π_k stands still between two refreshes."""
    values = {"hidden": (8,), "batch_size": 16, "learning_starts": 16, "learning_rate": 0.05}
    values |= {"alpha": 0.3, "inverse_step_size": 2.0, "refresh": 3, "tsallis": tsallis}
    learner = get_method("mdpo-off").build(configure("mdpo-off", values)).learner(make_world("gym:Pendulum-v1"), [0, 1], 1_000, torch.device("cpu"))
    while learner.step < 17:
        learner.gather(17 - learner.step)
    before = [p.clone() for p in learner.targets["actor"].parameters()]
    for update in range(1, 4):
        learner.update()
        same = all(torch.equal(a, b) for a, b in zip(before, learner.targets["actor"].parameters(), strict=True))
        assert same == (update < 3)
    learner.update()  # the actor has left its older self again
    (phase, drawer), *_ = learner.at_work()
    batch = drawer.draw()
    state = learner.streams.state_dict()
    found = learner.losses(phase, learner.seen(batch, drawer))["actor"].detach()
    with torch.no_grad():
        learner.streams.load_state_dict(state)
        update = learner.seen(batch, drawer)
        update.noise("next_action")
        noise = update.noise("policy_action")
        new, old = (net(batch.observation) for net in (learner.nets["actor"], learner.targets["actor"]))
        for seed in range(2):
            for place in range(16):
                (mean, log_std), (old_mean, old_log_std) = new[seed, place].tolist(), old[seed, place].tolist()
                raw = mean + math.exp(log_std) * float(noise[seed, place])

                def density(mean, log_std, raw=raw):
                    return -0.5 * ((raw - mean) / math.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)

                tanh = -2 * (math.log(2) - raw - math.log1p(math.exp(-2 * raw)))  # −log(1 − tanh²)
                action = torch.full((2, 16, 1), math.tanh(raw))
                q = float(learner.nets["q"](batch.observation, action)[seed, :, place].min())
                log_prob = density(mean, log_std) + tanh
                old_log_prob = density(old_mean, old_log_std) + tanh
                if tsallis != 1:  # log_q(x) = (x^(1 − q) − 1) / (1 − q), q = 2 − tsallis
                    log_prob, old_log_prob = ((math.exp(x * (tsallis - 1)) - 1) / (tsallis - 1) for x in (log_prob, old_log_prob))
                expected = 0.3 * log_prob + 2.0 * (log_prob - tsallis * old_log_prob) - q
                assert math.isclose(float(found[seed, place]), expected, rel_tol=1e-3, abs_tol=2e-4)


@pytest.mark.parametrize("tsallis", [0.8, 1.0, 1.2, 1.5])
def test_what_the_actor_is_held_near_is_where_nothing_pulls_it_away(tsallis: float):
    """With Q = 0 and no entropy the expected gradient, by quadrature over the normal's noise, is 0 at π = π_k, and is not where they differ."""
    noise = torch.linspace(-7, 7, 2_001)
    chance = (-noise.square() / 2).exp()
    values = {"hidden": (8,), "batch_size": len(noise), "learning_starts": 16, "alpha": 0.0, "inverse_step_size": 1.0, "tsallis": tsallis}
    learner = get_method("mdpo-off").build(configure("mdpo-off", values)).learner(make_world("gym:Pendulum-v1"), [0], 1_000, torch.device("cpu"))
    while learner.step < 16:
        learner.gather(16 - learner.step)
    actor, older = learner.nets["actor"], learner.targets["actor"]
    with torch.no_grad():
        for parameter in learner.nets["q"].parameters():
            parameter.zero_()
        for parameter in (*actor.parameters(), *older.parameters()):
            parameter.mul_(0.1)  # a deviation near 1, where densities are far from what a float32 holds
    (phase, drawer), *_ = learner.at_work()
    batch = drawer.draw()
    batch = replace(batch, observation=batch.observation[:, :1].expand_as(batch.observation))  # one state, at which every noise is tried

    def largest_gradient() -> float:
        update = learner.seen(batch, drawer)
        update.noise = lambda name, net="actor": noise.view(1, -1, 1)
        loss = (learner.losses(phase, update)["actor"] * chance).sum() / chance.sum()
        return max(float(gradient.abs().max()) for gradient in torch.autograd.grad(loss, list(actor.parameters())))

    assert largest_gradient() < 1e-4
    with torch.no_grad():
        list(older.parameters())[-1].add_(0.5)
    assert largest_gradient() > 1e-2


def test_on_policy_the_step_size_falls_and_the_learning_rate_stays():
    spine = get_method("mdpo").build(configure("mdpo", {"step_size": 0.5}))
    proximity = next(term for term in spine.terms if term.name == "proximity")
    kl = torch.ones(1, 2, 3)
    for progress, weight in ((0.0, 2.0), (0.75, 8.0)):
        assert torch.equal(proximity(TermBatch({"kl_to_acted": kl}, progress=progress)), weight * kl)
    assert not spine.anneal
