"""Imagination against hand-worked numbers: what a model answers becomes transitions, rollouts that end go on elsewhere, their length follows training."""

from __future__ import annotations

import pytest
import torch

from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.loops.imagine import Imagination, Imagine
from operant.loops.value_learning import Update
from operant.nets.dynamics import DynamicsNet
from operant.worlds.store import Store, transition_columns

SPEC = Spec((Field("observation", (1,)),))


def replay(values: list[float]) -> Store:
    store = Store(1, len(values), transition_columns(SPEC, ()))
    column = torch.tensor([values])
    flags = dict.fromkeys(("terminated", "truncated"), torch.zeros(1, len(values), dtype=torch.bool))
    seen = column.unsqueeze(-1)
    store.append({"observation": seen, "next_observation": seen, "action": column, "reward": column} | flags)
    return store


def plus_one(update: Update, observation: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each step adds 1 and pays what it reaches; at 12 and beyond it is over."""
    reached = observation + 1
    return {"action": -observation[..., 0], "next_observation": reached, "reward": reached[..., 0], "terminated": reached[..., 0] >= 12}


def test_rollouts_by_hand():
    """Three steps from 10: 10 → 11 → 12, which ends it; another begins at 10. The last step is where the recording is cut."""
    stores = {"replay": replay([10.0])}
    imagination = Imagination(Imagine(plus_one, rows=2, length=(3, 3, 0, 1), capacity=8), stores, Streams([0]))
    imagination.run(lambda batch: None, 0.0)
    store = stores["imagined"]
    assert (store.size, store.lanes) == (6, 2)
    batch = store.gather(torch.arange(6).view(1, -1))
    assert batch.observation[0, :, 0].tolist() == [10, 10, 11, 11, 10, 10]
    assert batch.next_observation[0, :, 0].tolist() == [11, 11, 12, 12, 11, 11]
    assert batch.action[0].tolist() == [-10, -10, -11, -11, -10, -10] and batch.reward[0].tolist() == [11, 11, 12, 12, 11, 11]
    assert batch.terminated[0].tolist() == [False, False, True, True, False, False]
    assert batch.truncated[0].tolist() == [False, False, False, False, True, True]
    imagination.run(lambda batch: None, 0.0)  # a ring of eight: the four oldest have gone
    assert (store.size, store.added) == (8, 12)
    index, there = store.window(torch.tensor([[4]]), 3)  # the window stays in its own rollout
    assert there[0, 0].tolist() == [True, False, False]


def test_length_and_times():
    how = Imagine(plus_one, starts=5, every=10, length=(1, 15, 0.2, 0.6))
    assert [how.steps(progress) for progress in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)] == [1, 1, 4, 8, 15, 15]
    assert Imagine(plus_one).steps(0.5) == 1
    imagination = Imagination(how, {"replay": replay([0.0])}, Streams([0]))
    assert [update for update in range(30) if imagination.due(update)] == [5, 15, 25]


def test_a_model_answers_with_the_member_that_is_asked():
    action = Spec((Field("action", (2,), low=(-1.0,), high=(1.0,)),))
    model = DynamicsNet(hidden=(8,), ensemble=3, log_std_bounds=(-2.0, 0.5)).build(SPEC, action, Streams([0, 1]), "model")
    observation, chosen = torch.randn(2, 4, 1), torch.rand(2, 4, 2)
    mean, log_std, logit = model(observation, chosen)
    assert mean.shape == log_std.shape == (2, 3, 4, 2) and logit.shape == (2, 3, 4)
    assert -2.0 <= log_std.min() and log_std.max() <= 0.5 + 0.1
    far = model(observation * 1e4, chosen)[1]
    assert far.min() >= -2.0 and far.max() <= 0.5 + 0.1
    member, noise = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]]), torch.randn(2, 4, 2)
    found = model.imagine(observation, chosen, member, noise)
    for seed in range(2):
        for row in range(4):
            of = member[seed, row]
            drawn = mean[seed, of, row] + log_std[seed, of, row].exp() * noise[seed, row]
            torch.testing.assert_close(found["next_observation"][seed, row], observation[seed, row] + drawn[:1])
            assert found["reward"][seed, row].item() == pytest.approx(drawn[1].item(), abs=1e-6)
            assert found["terminated"][seed, row] == (logit[seed, of, row] > 0)
