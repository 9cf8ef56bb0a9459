"""The contract of every method in every kind of world, as one short run: a few iterations, a checkpoint in the middle, the same again from it, bit for bit;
then the learner that did it is asked for masks, failed scores and host reads.

A method that trains on text and on sequences is asked on sequences, and one of each combination of parts on text. What hangs on the loops alone is tested
once for each combination of their parts, or for each loop and world (`test_updates.py`, `test_same_bits.py`); what takes longer is the long tier.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from battery import Case, battery_seeds, covering, credited, gradient, iterate_scored
from host import host_reads

from operant.core.checkpoint import Checkpoints, first_difference
from operant.core.random import Streams
from operant.core.status import Status
from operant.loops.pairs import PairsLearner
from operant.loops.policy_gradient import PolicyGradientLearner
from operant.loops.update import Fields
from operant.nets.actors import Policy, Stochastic


@covering()
def test_the_contract(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learner = resumes(case, tmp_path)
    if not learner.trains:
        return
    if learner.world.stacked and getattr(case.spine(), "fill", None) is None:  # seeds that fill a batch sample as often as the one that needs it most
        learns_alone_what_it_learns_among_others(case, learner)
    if isinstance(learner, PolicyGradientLearner) and learner.world.answers:
        a_failed_scoring_counts_for_nothing(learner)
    if isinstance(learner.policy, Policy):
        says_whether_it_draws(learner.policy, battery_seeds(learner.world))
    never_asks_the_host(learner, monkeypatch)
    if isinstance(learner, PolicyGradientLearner):
        masked_steps_count_for_nothing(learner)
    elif isinstance(learner, PairsLearner):
        masked_demonstrations_count_for_nothing(learner)
    learner.close()


def resumes(case: Case, folder: Path) -> Any:
    """A learner of two iterations; a second one of the same seed starts in the same bits and, from a checkpoint of the first, goes on in the same bits."""
    whole, again = case.learner(), case.learner()
    assert whole.resume == "bitwise"
    assert first_difference(again.state_dict(), whole.state_dict()) is None
    start = copy.deepcopy(dict(whole.policy.state_dict())) if whole.trains else {}
    whole.iterate()
    checkpoints = Checkpoints(folder)
    checkpoints.save(whole.step, whole.state_dict())
    whole.iterate()
    again.load_state_dict(checkpoints.load()[0])
    again.iterate()
    assert first_difference(again.state_dict(), whole.state_dict()) is None
    again.close()
    if whole.trains and whole.world.stacked:
        trained = dict(whole.policy.state_dict())
        assert first_difference(start, trained) is not None
        assert any(not torch.equal(value[0], value[1]) for value in trained.values()), "the seeds are all alike"
    return whole


def learns_alone_what_it_learns_among_others(case: Case, together: Any) -> None:
    """The last of the seeds, up to the rounding of batched products."""
    alone = case.learner(battery_seeds(together.world)[-1:])
    for _ in range(2):
        alone.iterate()
    for name, value in alone.policy.state_dict().items():
        found = together.policy.state_dict()[name][-1:]
        torch.testing.assert_close(found, value, rtol=1e-4, atol=5e-5, msg=lambda text, name=name: f"{name}: {text}")
    alone.close()


def a_failed_scoring_counts_for_nothing(learner: PolicyGradientLearner) -> None:
    """Whatever stands in its reward: the update is the same. With its real status it is another one."""
    state = copy.deepcopy(learner.state_dict())

    def updated(reward: float, status: Status) -> dict[str, torch.Tensor]:
        learner.load_state_dict(copy.deepcopy(state))
        iterate_scored(learner, reward, status)
        return copy.deepcopy(dict(learner.policy.state_dict()))

    expected = updated(0.0, Status.TIMEOUT)
    assert first_difference(updated(1e6, Status.CRASHED), expected) is None
    assert first_difference(updated(1.0, Status.OK), expected) is not None  # 1 is a reward that every method takes
    learner.load_state_dict(state)


def says_whether_it_draws(policy: Policy, seeds: tuple[int, ...]) -> None:
    """A stochastic policy draws by its seeds, and not always the same at one observation."""
    if not policy.stochastic:
        return
    seen = torch.ones(len(seeds), 64, policy.observation.size)
    mode, _ = policy.act(seen)
    first, again = (Stochastic(policy, Streams(seeds)).act(seen)[0] for _ in range(2))
    assert first.shape == mode.shape and first.dtype == mode.dtype and (first == again).all()
    assert all((of_seed != of_seed[:1]).any() for of_seed in first)


def never_asks_the_host(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update reads nothing but what the forward passes of rows read: lengths, so that a replay is as small as its rows allow."""
    probes = learner.probes()
    if not probes:  # a loop around others updates nothing of its own
        return
    allowed = {}
    if "replay" in probes and learner.policy.span == "row":
        with host_reads(monkeypatch) as allowed:
            probes["replay"]()
    with host_reads(monkeypatch) as found:
        probes["update"]()
    assert found == allowed


def masked_steps_count_for_nothing(learner: PolicyGradientLearner) -> None:
    """Neither in the gradient nor in what is said of ratios. The learner is of no use afterwards."""
    learner.updater.optimizer.learning_rate = 0.0
    rollout = credited(learner)
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(rollout.mask.shape, generator=generator) < 0.7
    keep[:, 0, 0] = True
    rollout.mask = rollout.mask & (keep if learner.policy.span == "step" else keep[..., :1])  # rows are masked whole, steps one by one
    rollout.extras["advantage"] = torch.randn(rollout.mask.shape, generator=generator, dtype=rollout.log_prob.dtype)
    fields = learner.fields(rollout)
    expected, log_ratio = gradient(learner, fields)
    assert expected.abs().max() > 0

    def corrupt(where: torch.Tensor) -> Fields:
        corrupted = {}
        for name, value in fields.items():
            if name == "mask" or value.shape[: where.ndim] != where.shape or not value.is_floating_point():
                corrupted[name] = value
                continue
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            corrupted[name] = torch.where(where.view(*where.shape, *[1] * (value.ndim - where.ndim)), value + noise, value)
        return corrupted

    chosen = rollout.mask
    for over in learner.updater.overs:  # what a term is weighted over instead
        chosen = chosen | fields[over]
    found, found_ratio = gradient(learner, corrupt(~chosen))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.equal(found_ratio, log_ratio)
    assert not torch.allclose(gradient(learner, corrupt(chosen))[0], expected)


def masked_demonstrations_count_for_nothing(learner: PairsLearner) -> None:
    learner.updater.optimizer.learning_rate = 0.0
    batch = learner.draw()
    action, mask = batch["action"], batch["mask"].clone()
    mask[:, ::3] = False
    off = ~mask if action.ndim == mask.ndim else ~mask.unsqueeze(-1)

    def trained(action: torch.Tensor) -> torch.Tensor:
        learner.updater.step(batch | {"action": action, "mask": mask}, progress=0.0, iteration=0)
        return learner.updater.flat.grad.clone()

    expected = trained(action)
    assert expected.abs().max() > 0
    torch.testing.assert_close(trained(torch.where(off, torch.full_like(action, 1), action)), expected, rtol=0, atol=0)
