"""A seed whose KL passed the target makes no more updates on the rollout, whatever others do."""

from __future__ import annotations

import pytest
import torch

from operant.core.flat import rows_of
from operant.core.registry import configure, get_method
from operant.worlds import make_world

SMALL = {"environments": 4, "rollout_length": 16, "hidden": (8,), "minibatches": 2, "epochs": 4, "learning_rate": 1e-2}


def learner(seeds: list[int], key: str = "ppo", **settings):
    return get_method(key).build(configure(key, SMALL | settings)).learner(make_world("gym:CartPole-v1"), seeds, 10_000, torch.device("cpu"))


def test_nothing_moves_behind_the_update_that_passed():
    """Before the first update the KL is 0, so that with the least of targets there is just one."""
    once, stopped = learner([100], epochs=1, minibatches=1), learner([100], minibatches=1, target_kl=1e-12)
    found, told = once.iterate(), stopped.iterate()
    torch.testing.assert_close(rows_of(once.policy), rows_of(stopped.policy))
    assert told["updates"].tolist() == [1] and "updates" not in found
    torch.testing.assert_close(
        {name: told[name] for name in found if name.startswith("loss/")}, {name: x for name, x in found.items() if name.startswith("loss/")}
    )
    assert told["kl_behaviour"] > 0  # of the policy as it was left


def test_a_target_that_is_never_passed_changes_nothing():
    plain, bounded = learner([100, 101]), learner([100, 101], target_kl=1e6)
    for _ in range(2):
        found, told = plain.iterate(), bounded.iterate()
    torch.testing.assert_close(rows_of(plain.policy), rows_of(bounded.policy))
    assert told["updates"].tolist() == [8, 8]
    torch.testing.assert_close(told["gradient_norm"], found["gradient_norm"])


@pytest.mark.parametrize("key", ["ppo", "recurrent-ppo"])
def test_what_a_seed_learns_does_not_hang_on_when_others_stop(key: str):
    """Bits are those beside any others; alone they are the same but for rounding, with and without a target."""
    settings = {"key": key, "target_kl": 0.001}
    beside, other, alone = (learner(seeds, **settings) for seeds in ([100, 101, 102], [100, 103], [100]))
    counts = []
    for _ in range(4):
        told, same, single = beside.iterate(), other.iterate(), alone.iterate()
        counts.append([*told["updates"].tolist(), same["updates"][1].item()])
        assert torch.equal(rows_of(beside.policy)[0], rows_of(other.policy)[0])
        torch.testing.assert_close(rows_of(beside.policy)[:1], rows_of(alone.policy))
        assert told["updates"][0] == same["updates"][0] == single["updates"][0]
        kept = [name for name, x in told.items() if not x.isnan().any()]
        assert [told[name][0].item() for name in kept] == [same[name][0].item() for name in kept]
    assert any(len(set(found)) > 2 for found in counts) and min(map(min, counts)) < 8, counts


def test_it_goes_on_from_a_state_bit_for_bit():
    first = learner([100, 101], target_kl=0.001)
    first.iterate()
    second = learner([100, 101], target_kl=0.001)
    second.load_state_dict(first.state_dict())
    first.iterate()
    second.iterate()
    assert torch.equal(rows_of(first.policy), rows_of(second.policy))
