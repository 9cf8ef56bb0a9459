"""An actor that says several actions at a time: what it sees and does not, that it is played as it is trained, and scores over decision intervals."""

from __future__ import annotations

import pytest
import torch

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method, hyperparameters
from operant.loops.value_learning import Update
from operant.nets.sequence import SequenceActor, SequenceActorNet
from operant.worlds import make_world
from operant.worlds.store import Store, transition_columns

SEEDS = (0, 1)


def actor(interval: int) -> SequenceActor:
    world = make_world("gym:Pendulum-v1")
    built = SequenceActorNet((8, 6), interval).build(world.observation, world.action, Streams(SEEDS))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in built.parameters():
            p += 0.5 * torch.randn(p.shape, generator=generator)
    return built


def test_scores_over_intervals():
    interval = torch.tensor([1, 2, 4, 8, 16])
    assert ops.frequency_averaged_score(interval, torch.full((3, 5), 0.7, dtype=torch.float64)).tolist() == pytest.approx([0.7] * 3, abs=1e-12)
    falling = torch.tensor([4.0, 2.0, 0.0], dtype=torch.float64)
    assert ops.frequency_averaged_score(torch.tensor([1, 2, 4]), falling).item() == pytest.approx((3 + 2 * 1) / 3)


@pytest.mark.parametrize("key", ["sequence-rl", "mbpo"])
def test_a_model_learns_from_single_steps(key: str):
    """What stands n steps behind an action is not what the action leads to."""
    assert "n_step" not in {field.name for field in hyperparameters(get_method(key).hyperparameters)}


def test_it_is_played_open_loop():
    policy, generator = actor(3), torch.Generator().manual_seed(1)
    seen = torch.randn(7, 2, 4, 3, generator=generator)
    other = torch.where((torch.arange(7) % 3 == 0).view(-1, 1, 1, 1), seen, torch.randn(seen.shape, generator=generator))

    def played(observations: torch.Tensor) -> list:
        carry, found = None, []
        for observation in observations:
            action, carry = policy.act(observation, carry)
            found.append(action.copy())
        return found

    first, second = played(seen), played(other)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))  # between its decisions it sees nothing
    changed = seen.clone()
    changed[3] += 1.0
    third = played(changed)
    assert all((a == b).all() for a, b in zip(first[:3], third[:3], strict=True)) and not (first[3] == third[3]).any()
    assert len({action.tobytes() for action in first[:3]}) == 3  # and does not repeat itself


def test_it_draws_as_it_is_trained():
    policy, streams = actor(4), Streams(SEEDS)
    observation = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    carry, found = policy.initial(5), []
    for _ in range(4):
        action, carry = policy.drawn(observation, carry, streams)
        found.append(action)
    again = Streams(SEEDS)
    noise = torch.stack([policy.distribution.noise(again, "action", 5) for _ in range(4)], 2)
    actions, log_prob = policy.unroll(observation, torch.zeros(2, 5, 1), noise)
    torch.testing.assert_close(torch.stack(found, 2), actions.detach())
    assert log_prob.shape == (2, 5, 4) and log_prob.requires_grad


def test_the_transition_before():
    world = make_world("gym:Pendulum-v1")
    store = Store(1, 6, transition_columns(world.observation, (1,)), lanes=1)
    for place in range(9):  # the last six are kept; an episode ends with the fifth
        row = {"observation": torch.full((1, 1, 3), float(place)), "next_observation": torch.zeros(1, 1, 3), "action": torch.full((1, 1, 1), float(place))}
        ends = torch.tensor([[place == 4]])
        store.append(row | {"reward": torch.zeros(1, 1), "terminated": ends, "truncated": torch.zeros_like(ends)})
    index = torch.arange(6).unsqueeze(0)
    before, there = store.before(index)
    kept, found = store.gather(index).action[0, :, 0].tolist(), store.gather(before).action[0, :, 0].tolist()
    for mine, earlier, is_there in zip(kept, found, there[0].tolist(), strict=True):
        assert is_there == (mine not in (3.0, 5.0)), mine  # the oldest, and the first of an episode
        assert earlier == (mine - 1 if is_there else mine)


def test_the_actor_learns_from_what_the_model_imagines():
    """Against a loop by hand, of one seed."""
    world = make_world("gym:Pendulum-v1")
    settings = {"hidden": (8, 6), "model_hidden": (7,), "sequence": 3, "batch_size": 5, "learning_starts": 10}
    learner = get_method("sequence-rl").build(configure("sequence-rl", settings)).learner(world, list(SEEDS), 100, torch.device("cpu"))
    learner.iterate()
    batch = learner.drawer.draw()
    state = learner.streams.state_dict()
    phase = learner.method.phases[1]
    loss = learner.losses(phase, Update(learner, batch, learner.drawer))["actor"][1]
    learner.streams.load_state_dict(state)
    policy, critic, model = learner.nets["actor"], learner.nets["q"], learner.targets["model"]
    noise = policy.distribution.noise(learner.streams, "policy_action", 5, 3)
    actions, log_prob = policy.unroll(batch.observation, batch.extras["action_before"], noise)
    seen, wanted = batch.observation, 0.0
    for step in range(3):
        q = critic(seen, actions[:, :, step])[1].amin(0)
        wanted = wanted + learner.scalars["log_alpha"][1].exp() * log_prob[1, :, step] - q
        seen = model(seen, actions[:, :, step])
    torch.testing.assert_close(loss, wanted)
    assert (learner.stores["replay"].before(batch.index)[1].unsqueeze(-1) | (batch.extras["action_before"] == 0)).all()
