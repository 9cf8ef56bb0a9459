"""Observations that value learning normalises: by the running mean and deviation of what the policy acted on, kept with the policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.core.checkpoint import Checkpoints, first_difference
from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.loops.imagine import Imagine
from operant.loops.value_learning import ValueLearner
from operant.nets.actors import ActorNet
from operant.worlds import make_world
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz

SMALL = {"hidden": (6,), "batch_size": 8, "learning_starts": 20, "normalize_observation": True}


def learner_of(seeds: tuple[int, ...] = (3, 4), **hyper) -> ValueLearner:
    spine = replace(get_method("td3").build(configure("td3", SMALL | hyper)), updates_per_iteration=10)
    return spine.learner(make_world("gym:Pendulum-v1"), list(seeds), 1_000, torch.device("cpu"))


def test_statistics_are_of_what_the_policy_acted_on_and_batches_follow_them():
    learner = learner_of(n_step=2)
    while learner.step < 60:
        learner.iterate()
    store, normalizer = learner.stores["replay"], learner.policy.normalizer
    seen = store.gather(torch.arange(60).expand(2, -1))
    torch.testing.assert_close(normalizer.mean.float(), seen.observation.mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(normalizer.variance.float(), seen.observation.var(1, correction=0), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(normalizer.mean[0], normalizer.mean[1])
    batch = learner.drawer.draw()
    ahead = batch.index + batch.steps - 1
    for found, raw in ((batch.observation, store.gather(batch.index).observation), (batch.next_observation, store.gather(ahead).next_observation)):
        wanted = (raw - normalizer.mean.float().unsqueeze(1)) / normalizer.variance.float().unsqueeze(1).sqrt()
        torch.testing.assert_close(found, wanted.clamp(-10, 10), rtol=1e-4, atol=1e-4)
    raw = seen.observation[:, :5]
    acted = learner.policy.distribution.mode(learner.policy(normalizer(raw)))
    np.testing.assert_allclose(learner.policy.act(raw)[0], 2 * acted.detach().numpy(), rtol=1e-5)


def test_it_goes_on_bit_for_bit_and_seeds_do_not_meet(tmp_path: Path):
    whole, again, alone = learner_of(), learner_of(), learner_of((4,))
    for _ in range(4):
        whole.iterate()
    Checkpoints(tmp_path).save(whole.step, whole.state_dict())
    again.load_state_dict(Checkpoints(tmp_path).load()[0])
    for learner in (whole, again):
        learner.iterate()
    assert first_difference(again.state_dict(), whole.state_dict()) is None
    while alone.step < whole.step:
        alone.iterate()
    for name, value in alone.policy.state_dict().items():
        torch.testing.assert_close(whole.policy.state_dict()[name][1:], value, rtol=1e-4, atol=1e-5)


def test_a_kept_policy_has_its_normaliser(tmp_path: Path):
    run = operant.train("td3", "gym:Pendulum-v1", seeds=2, steps=40, every=40, episodes=1, progress=False, out=tmp_path / "run", **SMALL)
    first, second = run.load_policy(0).normalizer, run.load_policy(1).normalizer
    assert first.count.item() == pytest.approx(40, abs=1e-3) and not torch.equal(first.mean, second.mean)


def test_of_a_data_set_they_are_of_all_its_observations(tmp_path: Path):
    rng, count = np.random.default_rng(0), 100
    seen = rng.normal(2, 3, (count + 1, 3)).astype(np.float32)
    action, flag = rng.uniform(-2, 2, (count, 1)).astype(np.float32), np.zeros(count, bool)
    said = {"environment": "Pendulum-v1", "reward": "environment", "action_low": [-2.0], "action_high": [2.0]}
    space = gymnasium.make("Pendulum-v1").observation_space
    data = Dataset(np.clip(seen[:-1], space.low, space.high), action, np.clip(seen[1:], space.low, space.high), np.zeros(count, np.float32), flag, flag, said)
    world = make_world(f"data:{save_npz(data, tmp_path / 'data.npz')}")
    spine = get_method("iql").build(configure("iql", {"hidden": (6,), "batch_size": 8}))
    spine = replace(spine, nets={**spine.nets, "actor": replace(spine.nets["actor"], normalize=True)})
    learner = spine.learner(world, [0, 1], 10, torch.device("cpu"))
    np.testing.assert_allclose(learner.policy.normalizer.mean, np.tile(data.observation.mean(0), (2, 1)), rtol=1e-4)
    np.testing.assert_allclose(learner.policy.normalizer.variance, np.tile(data.observation.var(0), (2, 1)), rtol=1e-4)


def test_models_that_imagine_take_observations_as_they_are():
    spine = get_method("mbpo").build(configure("mbpo", {"hidden": (4,)}))
    assert isinstance(spine.imagine, Imagine)
    with pytest.raises(BadInput, match="net 'actor' normalises observations, and models imagine them as they are"):
        replace(spine, nets={**spine.nets, "actor": ActorNet(squash=True, normalize=True)}).learner(
            make_world("gym:Pendulum-v1"), [0], 2_000, torch.device("cpu")
        )
