"""MDPO off policy: the actor's loss by a loop, and when what it is held near is renewed."""

from __future__ import annotations

import math

import pytest
import torch

from operant.core.registry import configure, get_method
from operant.worlds import make_world


@pytest.mark.parametrize("tsallis", [1.0, 1.5])
def test_the_actor_is_held_near_itself_of_some_updates_ago(tsallis: float):
    """One transition at a time, from the densities of the normals before tanh; π_k stands still between two refreshes."""
    values = {"hidden": (8,), "batch_size": 16, "learning_starts": 16, "learning_rate": 0.05}
    values |= {"alpha": 0.3, "inverse_step_size": 2.0, "refresh": 3, "tsallis": tsallis}
    learner = get_method("mdpo-off").build(configure("mdpo-off", values)).learner(make_world("gym:Pendulum-v1"), [0, 1], 1_000, torch.device("cpu"))
    while learner.step < 17:
        learner._gather()
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
                expected = 0.3 * log_prob + 2.0 * (log_prob - old_log_prob) - q
                assert math.isclose(float(found[seed, place]), expected, rel_tol=1e-3, abs_tol=2e-4)
