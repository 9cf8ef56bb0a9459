"""What every update keeps to: masked steps count for nothing, a failed verifier is no score, the host is never asked, and compiled code computes the same."""

from __future__ import annotations

import pytest
import torch
from battery import (
    Case,
    combinations,
    credited,
    gradient,
    has_likelihoods,
    is_policy_gradient,
    iterate_scored,
    loops,
    whole_batch,
)
from host import host_reads
from long_tier import in_turn

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput, RunFailed
from operant.core.status import Status
from operant.loops.policy_gradient import RATIO_TOLERANCE
from operant.loops.terms import ANSWER_IMPORTANCE, IMPORTANCE

# ------------------------------------------------------------------------------------------------------------------------------------------ masks


@combinations(is_policy_gradient, lambda case: case.kind == "text")
def test_tokens_behind_the_end_do_not_reach_the_gradient(case: Case):
    learner = case.learner(spine=case.spine(micro_batch=0))
    learner.updater.optimizer.learning_rate = 0.0
    fields = learner.fields(credited(learner))
    fields["advantage"] = fields["mask"] * torch.randn(fields["mask"].shape, generator=torch.Generator().manual_seed(0))
    row = fields["mask"][0].any(-1).nonzero()[0, 0]  # of a learned row (one seed) the end is cut off: on some tasks all answers are equally long
    fields["mask"][0, row, fields["mask"][0, row].nonzero().max()] = False
    fields["inputs.length"][0, row] -= 1
    expected, _ = gradient(learner, fields)
    tokens = fields["inputs.tokens"]
    padding = torch.arange(tokens.shape[-1]) >= fields["inputs.length"].unsqueeze(-1)
    assert padding.any() and (~fields["mask"]).any() and expected.abs().max() > 0
    fields["inputs.tokens"] = torch.where(padding, 7, tokens)
    fields["action"] = torch.where(fields["mask"], fields["action"], 7)
    torch.testing.assert_close(gradient(learner, fields)[0], expected, rtol=1e-5, atol=1e-8)


@loops(is_policy_gradient, lambda case: case.kind in ("text", "sequences"))
def test_a_row_whose_scoring_failed_counts_for_nothing(case: Case):
    """Whatever stands in its reward: the update is the same. With its real status it is another one."""

    def updated(reward: float, status: Status) -> dict:
        learner = case.learner()
        iterate_scored(learner, reward, status)
        return {"policy": dict(learner.policy.state_dict()), "parts": learner.state_dict()["parts"]}  # a credit may learn before the policy does

    expected = updated(0.0, Status.TIMEOUT)["policy"]
    for status in (Status.TIMEOUT, Status.CRASHED, Status.MALFORMED):
        assert first_difference(updated(1e6, status)["policy"], expected) is None
    assert first_difference(updated(1.0, Status.OK), updated(0.0, Status.TIMEOUT)) is not None  # 1 is a reward that every method takes


# ------------------------------------------------------------------------------------------------------------------------------------------ ratio


@loops(is_policy_gradient, has_likelihoods)
def test_a_policy_that_is_not_the_one_that_acted_is_found_out(case: Case, monkeypatch: pytest.MonkeyPatch):
    learner = case.learner()
    replay = learner.policy.replay
    learner.iterate()

    def shifted(*asked):
        found = replay(*asked)
        return found | {"log_prob": found["log_prob"] + 2 * RATIO_TOLERANCE * torch.is_grad_enabled()}  # while it is trained, not while it acts

    monkeypatch.setattr(learner.policy, "replay", shifted)
    with pytest.raises(RunFailed, match=r"the ratio before the first update is not 1: \|log ratio\| reaches 0.01") as told:
        learner.iterate()
    assert "\n" not in str(told.value)


@loops(is_policy_gradient)
def test_a_rollout_of_other_weights_is_refused(case: Case):
    learner = case.learner()
    learner.iterate()
    sample, version = learner.source.sample, learner.version
    learner.source.sample = lambda policy, version: sample(policy, version - 1)
    with pytest.raises(RunFailed, match=f"a rollout of weights' version {version - 1} reached the update of version {version}"):
        learner.iterate()


@loops(is_policy_gradient, has_likelihoods)
def test_what_weighs_nothing_teaches_nothing(case: Case):
    """With weights of 0 for what another policy did, no gradient hangs on advantages; with weights of 1 it is the one without. What takes none is refused."""
    learner = case.learner(spine=case.spine(micro_batch=0))
    if any(getattr(term, "weighed", "") == "never" for term in learner.method.terms):
        with pytest.raises(BadInput, match="--truncate-importance 1: policy of this method fits ratios to the policy that acted, and takes no weights"):
            learner.method.truncated_by(1.0)
        return
    learner.updater.optimizer.learning_rate = 0.0
    fields = learner.fields(credited(learner))
    fields["old_log_prob"] = fields["old_log_prob"] - 0.1  # where a term compares with what acted, there is something to learn
    weights = {IMPORTANCE: torch.ones_like(fields["mask"], dtype=torch.float32)}
    weights |= {ANSWER_IMPORTANCE: torch.ones(fields["mask"].shape[:2])} if learner.policy.span == "row" else {}
    plain, _ = gradient(learner, dict(fields))
    torch.testing.assert_close(gradient(learner, fields | weights)[0], plain)
    nothing = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    doubled = {name: 2 * x for name, x in fields.items() if "advantage" in name}
    torch.testing.assert_close(gradient(learner, fields | nothing)[0], gradient(learner, fields | doubled | nothing)[0], rtol=0, atol=0)


# -------------------------------------------------------------------------------------------------------------------------------------- host reads


def test_host_reads_are_seen(monkeypatch: pytest.MonkeyPatch):
    x = torch.ones(3)
    reads = (lambda: x.sum().item(), lambda: bool(x.any()), lambda: x[x > 0], lambda: x.nonzero(), lambda: x.tolist(), lambda: x.cpu(), lambda: float(x[0]))
    for read in reads:
        with host_reads(monkeypatch) as found:
            read()
        assert found.total() == 1, found
    with host_reads(monkeypatch) as found:
        torch.where(x > 0, x, 0).sum().clamp(min=1)
    assert not found


def test_an_update_outside_reads_nothing(monkeypatch: pytest.MonkeyPatch):
    """With all of its phases: what learns around an inner loop runs some of them rarely."""
    case = Case("dcg-me", "gym:point-maze")
    learner = case.learner(spine=case.spine(critic_updates=1, policy_delay=1))
    learner.iterate()
    with host_reads(monkeypatch) as found:
        learner.probes()["update"]()
    assert not found


# --------------------------------------------------------------------------------------------------------------------------------------- compiled


def close(compiled: dict[str, torch.Tensor], eager: dict[str, torch.Tensor]) -> None:
    assert compiled.keys() == eager.keys()
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@in_turn("inductor", "src/operant/nets/", "src/operant/ops/")
def test_code_that_inductor_generates_equals_eager():
    """One forward pass through the compiler that a user would take; the others stop before code is generated, which takes a hundred times as long."""
    learner = Case("ppo", "gym:CartPole-v1").learner()
    torch.compiler.reset()
    batch = whole_batch(learner, learner.fields(credited(learner)))
    inputs, action = {"observation": batch["inputs.observation"]}, batch["action"]
    with torch.no_grad():
        close(torch.compile(learner.policy.replay)(inputs, action, learner.updater.needs), learner.policy.replay(inputs, action, learner.updater.needs))
