"""Filling a batch, the reference policy, and rehearsal: what the loop keeps between iterations, and what it does with it."""

from __future__ import annotations

import pytest
import torch

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.loops.fill import AccuracyWindow, Fill, group_statistic, mixed_groups
from operant.loops.reference import Reference
from operant.worlds import make_world


def rollout(scores: list[list[float]], groups: list[list[int]]) -> Rollout:
    """One step a row."""
    reward = torch.tensor(scores, dtype=torch.float64).unsqueeze(-1)
    shape = reward.shape
    mask = torch.ones(shape, dtype=torch.bool)
    return Rollout(
        {},
        torch.zeros(shape, dtype=torch.int64),
        torch.zeros(shape),
        mask,
        reward,
        mask,
        ~mask,
        torch.tensor(groups),
        torch.zeros(shape[:2], dtype=torch.int64),
        0,
    )


def test_mixed_groups_and_windows_by_hand():
    found = rollout([[0, 1, 1, 1, 0, 0]], [[5, 5, 2, 2, 9, 9]])
    assert mixed_groups(found).tolist() == [[True, True, False, False, False, False]]
    assert AccuracyWindow(0.5, 1.0)(found).tolist() == [[True, True, True, True, False, False]]
    assert group_statistic(found, lambda score, mask: score.sum(1)).tolist() == [[1, 1, 2, 2, 0, 0]]


def test_a_failed_row_does_not_make_a_group_mixed():
    found = rollout([[0, 1, 1, 1]], [[0, 0, 1, 1]])
    found.status[0, 0] = 1
    assert mixed_groups(found).tolist() == [[False] * 4]


def test_fill_keeps_the_first_groups_wanted_of_all_rounds():
    rounds = [rollout([[0, 1, 1, 1], [0, 1, 1, 0]], [[0, 0, 1, 1]] * 2), rollout([[1, 0, 0, 1], [1, 1, 1, 1]], [[0, 0, 1, 1]] * 2)]
    whole, count = Fill(mixed_groups).kept(rounds, [mixed_groups(one) for one in rounds], 2)
    assert count.tolist() == [2, 2]
    assert whole.shape == (2, 8, 1)
    assert whole.mask[0, :, 0].tolist() == [True, True, False, False, True, True, False, False]
    assert whole.mask[1, :, 0].tolist() == [True] * 4 + [False] * 4
    one = rollout([[1, 1, 0, 1]], [[0, 0, 1, 1]])
    alone, count = Fill(mixed_groups).kept([one], [mixed_groups(one)], 2)
    assert count.tolist() == [1] and alone.shape == (1, 2, 1)  # rows of one seed are dropped


def learner(key: str, task: str = "sequences:graded", seeds: tuple[int, ...] = (0,), **hyper):
    return get_method(key).build(configure(key, hyper)).learner(make_world(task), list(seeds), 100, torch.device("cpu"))


def distance(one) -> float:
    with torch.no_grad():
        return float((one.policy.logits - one.reference.policy.logits).abs().max())


def test_the_reference_is_reset_on_its_schedule_and_the_optimiser_forgets():
    one = learner("prorl", prompts=2, group_size=8, learning_rate=0.1, patience=0, reset_every=3, beta=0.1)
    distances = []
    for _ in range(6):
        metrics = one.iterate()
        distances.append(distance(one))
    assert distances[2] == distances[5] == 0.0
    assert min(distances[:2] + distances[3:5]) > 0
    assert "reference_reset" in metrics and not one.updater.optimizer.state_dict()["mean"][0].any()


def test_patience_resets_where_the_reward_does_not_rise():
    one = learner("prorl", prompts=2, group_size=8, learning_rate=1e-9, patience=4, beta=0.1)
    resets = ["reference_reset" in one.iterate() for _ in range(30)]
    assert any(resets) and not any(resets[:4])


@pytest.mark.parametrize("schedule", [{"patience": 2, "reset_every": 0}, {"patience": 3, "reset_every": 7}])
def test_a_seed_is_judged_by_its_own_reward(schedule: dict):
    """Among others a seed's reference and its optimiser are reset when they would be alone, and what it learns is the same."""
    from dataclasses import replace

    spine = get_method("prorl").build(configure("prorl", {"prompts": 2, "group_size": 8, "learning_rate": 0.1, "beta": 0.1} | schedule))
    spine, world = replace(spine, fill=None), make_world("sequences:graded")
    together, *alone = (spine.learner(world, seeds, 100, torch.device("cpu")) for seeds in ([3, 4, 5], [3], [4], [5]))
    resets = torch.zeros(20, 3)
    for iteration in range(20):
        resets[iteration] = together.iterate().get("reference_reset", torch.zeros(3))
        own = torch.cat([one.iterate().get("reference_reset", torch.zeros(1)) for one in alone])
        assert torch.equal(resets[iteration], own)
    assert (resets.sum(0) > 0).all() and (resets.std(1) > 0).any()  # not at the same time
    for place, one in enumerate(alone):
        for found, expected in ((together.policy, one.policy), (together.reference.policy, one.reference.policy)):
            torch.testing.assert_close(found.logits[place : place + 1], expected.logits, rtol=1e-9, atol=1e-12)
    other = spine.learner(world, [3, 4, 5], 100, torch.device("cpu"))
    other.load_state_dict(together.state_dict())
    assert first_difference(other.state_dict(), together.state_dict()) is None


def test_a_moving_average_follows_by_hand():
    from dataclasses import replace

    spine = replace(
        get_method("prorl").build(configure("prorl", {"prompts": 2, "group_size": 8, "learning_rate": 0.1})), reference=Reference("average", decay=0.9)
    )
    one = spine.learner(make_world("sequences:graded"), [0], 100, torch.device("cpu"))
    expected = one.policy.logits.detach().clone()
    for _ in range(3):
        one.iterate()
        expected = 0.9 * expected + 0.1 * one.policy.logits.detach()
    torch.testing.assert_close(one.reference.policy.logits.detach(), expected)


@pytest.mark.parametrize(
    "make", [lambda: Reference("reset"), lambda: Reference("average", decay=1.5), lambda: Fill(mixed_groups, rounds=0), lambda: AccuracyWindow(0.9, 0.1)]
)
def test_settings_that_cannot_be_are_refused(make):
    with pytest.raises(BadInput):
        make()


def test_rehearsal_looks_first_and_then_keeps_right_answers():
    one = learner("dph-rl", "sequences:sum-mod", prompts=4, group_size=4, pool=8, tries=4, mastered=0.5, rehearsals=3, learning_rate=0.05)
    start = one.policy.logits.detach().clone()
    plan = one.source._seeds[0].plan
    one.iterate()
    one.iterate()
    assert not plan.looking and torch.equal(one.policy.logits.detach(), start)  # nothing was learned from the probes
    assert plan.kept and len(plan.hard) + len({index for index, _, _ in plan.kept}) == 8
    for index, tokens, log_prob in plan.kept:
        prompt = index % one.world.problem.prompts
        assert sum(tokens) % 5 == prompt
        torch.testing.assert_close(torch.tensor(log_prob, dtype=torch.float64), torch.full((4,), 1 / 5, dtype=torch.float64).log(), rtol=1e-6, atol=1e-6)
    metrics = one.iterate()
    assert int(one.rollout.extras["outside"].sum()) == min(3, len(plan.kept)) and "loss/rehearsal" in metrics
    assert not torch.equal(one.policy.logits.detach(), start)


def test_rehearsal_is_resumed_bit_for_bit_while_it_looks():
    settings = {"prompts": 2, "group_size": 4, "pool": 6, "tries": 4, "mastered": 0.5, "rehearsals": 3}
    one = learner("dph-rl", "sequences:sum-mod", (0, 1), **settings)
    one.iterate()
    state = one.state_dict()
    other = learner("dph-rl", "sequences:sum-mod", (0, 1), **settings)
    other.load_state_dict(state)
    for _ in range(5):
        one.iterate()
        other.iterate()
    assert first_difference(one.state_dict(), other.state_dict()) is None


def test_the_rate_of_false_negatives_is_learned_from_appeals():
    from operant.loops.shape import NoiseCorrection

    correction = NoiseCorrection("backward", false_positive=0.1, false_negative=0.0, appeals=0.2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        clean = (torch.rand(1, 400, generator=generator) < 0.4).double()
        draw = torch.rand(1, 400, generator=generator)
        verdict = torch.where(clean > 0.5, draw >= 0.3, draw < 0.1).double()
        one = rollout(verdict.tolist(), [list(range(400))])
        one.extras["clean_score"] = clean
        correction(one)
    assert float(correction.false_negative(1)) == pytest.approx(0.3, abs=0.05)


def test_the_spread_filter_waits_and_then_leaves_out_uniform_groups():
    from operant.loops.fill import SpreadFilter

    accept = SpreadFilter(0.5)
    one = rollout([[0, 1, 1, 1, 0.4, 0.5]], [[0, 0, 1, 1, 2, 2]])
    for _ in range(10):
        assert accept(one).all()
    assert accept(one).tolist() == [[True, True, False, False, False, False]]  # deviations 0.5, 0 and 0.05 against a mean of 0.18
