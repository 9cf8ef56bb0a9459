"""Marks, and what a term reads: what is not there, or has a name that is taken, is said in one line."""

from __future__ import annotations

import pytest
import torch

from operant import ops
from operant.core.errors import RunFailed
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import TermBatch
from operant.worlds import make_world
from operant.worlds.plans import Groups


def late(rollout):
    """The second half of each row, and the advantage with its sign turned."""
    place = torch.arange(rollout.shape[-1])
    return {"late": rollout.mask & (place >= rollout.shape[-1] // 2), "turned": -rollout.extras["advantage"]}


def iterate(mark, term, needs=(), over=None, focus=()):
    term.needs, term.name = frozenset(needs), "policy"
    if over:
        term.over = over
    method = PolicyGradient(sample=Groups(4, 4), credit=Grouped(ops.group_mean_advantage), terms=[term], mark=[mark], focus=focus, learning_rate=0.1)
    learner = method.learner(make_world("sequences:graded"), [0, 1], 10, torch.device("cpu"))
    return learner.iterate(), learner


def test_marks_reach_focus_and_terms_and_weigh_them():
    heard = []

    def term(batch):
        heard.append(batch)
        return batch["turned"] * batch.log_prob

    def focus(rollout):
        return rollout.extras["late"]

    _, learner = iterate(late, term, needs={"turned"}, over="late", focus=[focus])
    assert torch.equal(learner.rollout.mask, learner.rollout.extras["late"]) and learner.rollout.mask.any()
    assert torch.equal(heard[0]["turned"], -heard[0].advantage) and torch.equal(heard[0]["late"], heard[0].mask)


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (lambda rollout: {"advantage": rollout.reward}, "mark <lambda> gave 'advantage', which the rollout has already"),
        (lambda rollout: {"mask": rollout.mask}, "mark <lambda> gave 'mask', which the rollout has already"),
        (lambda rollout: {"late": rollout.mask[:, :2]}, r"mark <lambda> gave a tensor of shape \[2, 2, 4\] as 'late'; the rollout has \[2, 16, 4\]"),
        (lambda rollout: {"late": rollout.mask[..., :2]}, r"of shape \[2, 16, 2\] as 'late'"),
        (lambda rollout: rollout.mask, "mark <lambda> gave Tensor, not a dict of tensors by name"),
    ],
)
def test_wrong_marks_are_named(mark, says):
    with pytest.raises(RunFailed, match=says):
        iterate(mark, lambda batch: -batch.log_prob)


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda batch: batch.value, "a term reads batch.value, which this loop was not asked for"),
        (lambda batch: batch["advantage"], r"a term reads batch\['advantage'\]: it is an attribute, batch.advantage"),
        (lambda batch: batch["early"], r"a term reads batch\['early'\], which nothing brought"),
    ],
)
def test_what_a_term_cannot_read_is_named(read, says):
    with pytest.raises(RunFailed, match=says):
        iterate(late, lambda batch: read(batch) * batch.log_prob)


def test_an_attribute_that_no_batch_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match="a batch of terms has no 'advantge'"):
        _ = TermBatch({"advantage": torch.zeros(1)}).advantge
