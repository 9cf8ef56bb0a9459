"""Terms against formulas that are written out: TRL's RLOO, the clip fraction of every clipping term, the KL with and without the ratio."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops
from operant.core.registry import configure, get_method, methods
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.row_terms import ClippedAnswerRatio
from operant.loops.terms import ClippedImportance, ClippedRatio, ClippedSequenceRatio, KLToReference, KLWeighting, TermBatch
from operant.worlds import make_world


def batch(rows: int = 12, length: int = 5) -> dict[str, torch.Tensor]:
    """One seed; answers of different lengths with an advantage each, and ratios on both sides of the clip."""
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(1, rows, length, generator=g, dtype=torch.float64)
    mask = torch.arange(length) < torch.randint(1, length + 1, (1, rows, 1), generator=g)
    advantage = torch.randn(1, rows, 1, generator=g, dtype=torch.float64) * mask
    new = (old + 0.2 * torch.randn(1, rows, length, generator=g, dtype=torch.float64)).requires_grad_()
    return {"log_prob": new, "old_log_prob": old, "mask": mask, "advantage": advantage}


def reduced(loss: torch.Tensor, mask: torch.Tensor, kind: str) -> torch.Tensor:
    return (ops.step_weights(mask, kind, dtype=loss.dtype) * loss).sum()


def test_rloo_clips_the_ratio_of_the_answer_as_trl_does():
    given = batch()
    spine = get_method("rloo").build(configure("rloo", {}))
    reduced(spine.terms[0](TermBatch(given)), given["mask"], spine.reduce).backward()
    found, clipped = given["log_prob"].grad.clone(), spine.terms[0].clipped(TermBatch(given))

    given["log_prob"].grad = None
    losses, cut = [], []
    for row in range(12):
        steps = given["mask"][0, row]
        log_ratio = (given["log_prob"][0, row] - given["old_log_prob"][0, row])[steps].sum()
        ratio, advantage = log_ratio.exp(), given["advantage"][0, row, 0]
        losses.append(-torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage))
        cut.append(float((ratio > 1.2 and advantage > 0) or (ratio < 0.8 and advantage < 0)))
    torch.stack(losses).mean().backward()
    torch.testing.assert_close(found, given["log_prob"].grad, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(reduced(spine.terms[0](TermBatch(given)), given["mask"], spine.reduce), torch.stack(losses).mean())
    assert 0 < sum(cut) < 12 and clipped[0, :, 0].tolist() == cut

    by_token = ClippedRatio(0.2, 0.2)(TermBatch(given))  # the same only while every ratio is 1
    given["log_prob"].grad = None
    (by_token * given["mask"]).sum().div(12).backward()
    assert (given["log_prob"].grad - found).norm() > 0.2 * found.norm()


def test_bounds_that_anneal_are_a_share_of_themselves():
    given = batch()
    for progress, share in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        seen = TermBatch(given, progress, 0)
        annealed, plain = ClippedRatio(0.2, 0.3, anneal=True), ClippedRatio(0.2 * share, 0.3 * share)
        assert torch.equal(annealed(seen), plain(seen)) and torch.equal(annealed.clipped(seen), plain.clipped(seen))
        assert share == 1.0 or not torch.equal(annealed(seen), ClippedRatio(0.2, 0.3)(seen))


def test_clipped_steps_are_those_without_gradient():
    for term, kind in ((ClippedRatio(0.1, 0.2), "token-mean"), (ClippedSequenceRatio(0.02, 0.03), "sequence-mean"), (ClippedAnswerRatio(), "sequence-mean")):
        given = batch(40)
        reduced(term(TermBatch(given)), given["mask"], kind).backward()
        idle = (given["log_prob"].grad == 0)[given["mask"]]
        clipped = term.clipped(TermBatch(given))[given["mask"]]
        assert torch.equal(clipped == 1, idle) and 0 < clipped.mean() < 1, term
    given = batch(40)
    ratio = (given["log_prob"] - given["old_log_prob"]).exp()
    found = ClippedImportance(1.0, 0.2).clipped(TermBatch(given))
    assert torch.equal((found == 1)[given["mask"]], (ratio > 1.2)[given["mask"]])


def clipping() -> list[str]:
    found = []
    for key, entry in methods().items():
        if "sequences" in entry.worlds and isinstance(spine := entry.build(configure(key, {})), PolicyGradient):
            names = [part for part in ("clip", "clip_low") if hasattr(configure(key, {}), part)]
            found += [key] if names else []
            assert not names or any(hasattr(term, "clipped") for term in spine.terms), f"{key} clips and does not say where"
    return found


@pytest.mark.parametrize("key", clipping())
def test_every_method_that_clips_logs_how_much(key: str):
    values = {"prompts": 2, "group_size": 4, "epochs": 2, "minibatches": 1, "micro_batch": 0}
    known = configure(key, {})
    values = {name: value for name, value in values.items() if hasattr(known, name)}
    learner = get_method(key).build(configure(key, values)).learner(make_world("sequences:target"), [0, 1], 100, torch.device("cpu"))
    for _ in range(30):
        metrics = learner.iterate()
        if "clip_fraction" in metrics:
            assert metrics["clip_fraction"].shape == (2,) and (0 <= metrics["clip_fraction"]).all() and (metrics["clip_fraction"] <= 1 + 1e-6).all()
            return
    raise AssertionError(f"{key} logs no clip_fraction")


def test_the_gradients_of_the_kl_by_hand():
    """π = 1/2 where the reference has 1/4 and the policy that acted had 1/2: r = log(1/2)."""
    for weighted, value, gradient in (
        (False, 0.5 - 1 + math.log(2), 1 - 0.5),  # k3 = e^r − 1 − r, and its derivative 1 − e^r
        (True, 0.5 - 1 + math.log(2), math.log(2)),  # ratio 1: the derivative has k3 beside it, which leaves log π − log reference
    ):
        log_prob = torch.tensor([[[math.log(0.5)]]], dtype=torch.float64, requires_grad=True)
        given = {"log_prob": log_prob, "old_log_prob": log_prob.detach(), "reference_log_prob": torch.tensor([[[math.log(0.25)]]], dtype=torch.float64)}
        loss = KLToReference(2.0, "k3", weighted)(TermBatch(given))
        loss.sum().backward()
        assert float(loss) == pytest.approx(2 * value) and float(log_prob.grad) == pytest.approx(2 * gradient)
    given["old_log_prob"] = torch.tensor([[[math.log(0.25)]]], dtype=torch.float64)  # the ratio is 2
    assert float(KLToReference(2.0, "k3", True)(TermBatch(given))) == pytest.approx(2 * 2 * value)


def test_weighted_by_the_ratio_the_kl_has_the_gradient_of_the_reverse_kl():
    """In the mean over one softmax, whichever policy acted; without the weight k3 has the forward KL's, and only of fresh answers."""
    g = torch.Generator().manual_seed(0)
    logits, old, reference = (torch.randn(6, generator=g, dtype=torch.float64) for _ in range(3))
    logits.requires_grad_()
    (truth,) = torch.autograd.grad(ops.categorical_kl(logits, reference), logits)
    (forward,) = torch.autograd.grad(ops.categorical_kl(reference, logits), logits)

    def expected(acted: torch.Tensor, weighted: bool) -> torch.Tensor:
        given = {"log_prob": logits.log_softmax(0), "old_log_prob": acted.log_softmax(0), "reference_log_prob": reference.log_softmax(0)}
        return torch.autograd.grad((acted.softmax(0) * KLToReference(1.0, "k3", weighted)(TermBatch(given))).sum(), logits)[0]

    torch.testing.assert_close(expected(logits.detach(), True), truth)
    torch.testing.assert_close(expected(old, True), truth)
    torch.testing.assert_close(expected(logits.detach(), False), forward)


def test_every_kl_in_a_loss_can_be_weighted():
    found = []
    for key, entry in methods().items():
        settings = configure(key, {})
        if isinstance(settings, KLWeighting):
            values = {"beta": 0.1, "kl_importance_weight": True} | ({"group_baseline": True} if key == "reinforce++" else {})
            terms = entry.build(configure(key, values)).terms
            assert [term.importance_weight for term in terms if isinstance(term, KLToReference)] == [True]
            found.append(key)
        elif isinstance(spine := entry.build(settings), PolicyGradient):
            assert not any(isinstance(term, KLToReference) for term in spine.terms), key
    assert "grpo" in found and len(found) >= 7
