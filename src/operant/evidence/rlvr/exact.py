"""The exact tier: what a method's loss does on average, by summing over every group of an enumerable problem."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import TermBatch
from operant.nets.tabular import TabularPolicy, prefix_count, prefix_index
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem

GROUP = 2  # rows of a group


def spine(key: str, **hyper: object) -> PolicyGradient:
    """The configured loop of a method."""
    return get_method(key).build(configure(key, hyper))


def random_policy(problem: SequenceProblem, seed: int) -> TabularPolicy:
    """A table of standard normal logits, float64."""
    policy = TabularPolicy(problem)
    with torch.no_grad():
        policy.logits.copy_(torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(seed), dtype=policy.logits.dtype))
    return policy


def loss_gradient(method: PolicyGradient, policy: TabularPolicy, problem: SequenceProblem, reference: TabularPolicy | None = None) -> Tensor:
    """Expected gradient of a method's loss over all groups of two, mean over prompts. For methods whose statistics stay within a group."""

    def estimator(rollout: Rollout, outputs: dict[str, Tensor]) -> Tensor:
        rollout.group = torch.arange(rollout.shape[1] // GROUP).repeat_interleave(GROUP).expand(rollout.group.shape)
        for shape in method.shape:
            rollout.reward = shape(rollout)
        batch = {"old_log_prob": rollout.log_prob, "mask": rollout.mask, "advantage": method.credit(rollout)} | rollout.extras | outputs
        return sum(term(TermBatch(batch)) for term in method.terms)

    found = exact.expected_estimator_gradient(
        policy, problem, estimator, group_size=GROUP, reference=reference, reduce=method.reduce, length=method.reduce_length
    )
    return found.mean["logits"]


def true_values(policy: TabularPolicy, problem: SequenceProblem) -> Tensor:
    """Mean reward behind every prefix, `[S, P, prefixes]`, in the order of a tabular critic."""
    with torch.no_grad():
        probability = exact.sequence_log_probs(policy, problem).exp()
    prefix, mask = prefix_index(problem, problem.sequences)
    index = prefix[mask]

    def through(weight: Tensor) -> Tensor:
        total = weight.new_zeros(*weight.shape[:2], prefix_count(problem))
        return total.index_add(-1, index, weight.unsqueeze(-1).expand(*weight.shape, mask.shape[-1])[..., mask])

    return through(probability * problem.rewards) / through(probability)


def relative_error(found: Tensor, truth: Tensor) -> float:
    """|found − truth| / |truth|, L2."""
    return float((found - truth).norm() / truth.norm())


def direction_error(found: Tensor, truth: Tensor) -> float:
    """Relative error of the multiple of `found` that comes closest to `truth`: the sine of the angle between them."""
    scale = (found * truth).sum() / found.square().sum()
    return relative_error(scale * found, truth)
