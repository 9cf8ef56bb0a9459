"""On an enumerable problem the gradient that the loop computes from samples is, in the mean, the one that its estimator has when every group is summed over."""

from __future__ import annotations

from dataclasses import replace

import torch
from battery import Case, is_policy_gradient, parametrize

from operant.core.records import Rollout
from operant.worlds.sequences.exact import expected_estimator_gradient, replay_all

ROWS = 3  # of a group: 27³ groups a prompt are summed over
REPLICAS, ROUNDS, GROUPS = 64, 25, 32  # independent seeds, iterations, groups an iteration


@parametrize(is_policy_gradient, lambda case: case.task == "sequences:target")
def test_the_sampled_gradient_converges_to_the_exact_one(case: Case):
    spine = replace(
        case.spine(group_size=ROWS, prompts=GROUPS, micro_batch=0),
        epochs=1, minibatches=1, learning_rate=0.0, max_grad_norm=float("inf"),
    )  # fmt: skip
    learner = case.learner(tuple(range(REPLICAS)), spine=spine)
    weights = learner.policy.logits
    with torch.no_grad():  # every replica the same policy, away from uniform
        weights.copy_(torch.randn(weights.shape[1:], generator=torch.Generator().manual_seed(5), dtype=weights.dtype).expand_as(weights))

    sampled = []
    for _ in range(ROUNDS):
        learner.iterate()
        sampled.append(weights.grad.clone())
    sampled = torch.cat(sampled)
    mean, error = sampled.mean(0), sampled.std(0) / len(sampled) ** 0.5

    single = case.learner((0,), spine=spine)
    single.policy.load_state_dict({"logits": weights.detach()[:1]})

    def estimator(rollout: Rollout, outputs: dict[str, torch.Tensor]) -> torch.Tensor:
        # `exact` lays the groups of a prompt side by side under one number; here each has its own, as in a batch.
        rollout.group = torch.arange(rollout.mask.shape[1] // ROWS).repeat_interleave(ROWS).expand(1, -1)
        single._assign_credit(rollout)
        batch = {"old_log_prob": rollout.log_prob, "mask": rollout.mask, "advantage": rollout.extras["advantage"]} | rollout.extras | outputs
        return sum(term(batch) for term in spine.terms)

    weighting = {"reduce": spine.reduce, "length": spine.reduce_length}
    expected = expected_estimator_gradient(
        single.policy, single.world.problem, estimator, group_size=ROWS, needs=single.needs, reference=single.reference, **weighting
    )
    exact = expected.mean["logits"][0]

    assert replay_all(single.policy, single.world.problem)["log_prob"].dtype == torch.float64
    assert exact.abs().max() > 10 * error.max()  # there is something to see
    assert ((mean - exact).abs() <= 5 * error + 1e-12).all(), ((mean - exact).abs() / error).max()
