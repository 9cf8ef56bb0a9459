"""A one-layer transformer under the same exact computations."""

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.random import Streams
from operant.nets.tabular import TabularPolicy, prefix_index
from operant.worlds.sequences import exact
from operant.worlds.sequences.model import SequenceModelPolicy, sequence_model
from operant.worlds.sequences.problems import SequenceProblem
from operant.worlds.sequences.source import SequenceGroups, SequenceSource, evaluate

DRAWS = np.random.default_rng(5)
STOPPING = SequenceProblem(3, 3, 2, DRAWS.normal(size=(2, 15)), stops=True)
FIXED = SequenceProblem(2, 3, 2, (DRAWS.random((2, 8)) < 0.4).astype(float))


def make_policy(problem, seed=0, **options):
    return SequenceModelPolicy(sequence_model(problem, seed, **options), problem)


def test_weights_come_from_the_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (sequence_model(FIXED, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again[name]) and value.isfinite().all() for name, value in first.items())
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    assert first["lm_head.weight"].dtype == torch.float64


@pytest.mark.parametrize("problem", [STOPPING, FIXED])
def test_probabilities_sum_to_one_and_depend_on_the_prompt(problem):
    probability = exact.sequence_log_probs(make_policy(problem), problem).exp()[0]
    torch.testing.assert_close(probability.sum(-1), torch.ones(problem.prompts, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (probability[0] - probability[1]).abs().max() > 1e-3
    assert probability[0].std() > 1e-3


def test_a_table_with_the_models_logits_is_the_same_policy():
    policy, table = make_policy(STOPPING), TabularPolicy(STOPPING)
    logits = exact.replay_all(policy, STOPPING, {"logits"})["logits"]
    places = prefix_index(STOPPING, STOPPING.sequences)
    with torch.no_grad():
        for prompt in range(STOPPING.prompts):
            for index, mask, row in zip(*places, logits[0, prompt], strict=True):
                table.logits[0, prompt, index[mask]] = row[mask]
    for a, b in (
        (exact.sequence_log_probs(policy, STOPPING), exact.sequence_log_probs(table, STOPPING)),
        (exact.expected_reward(policy, STOPPING), exact.expected_reward(table, STOPPING)),
        (exact.kl(policy, table, STOPPING), torch.zeros(1, 2, dtype=torch.float64)),
    ):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    # Prefixes share the table's one prefix as they share the model's causal attention, so drawing from both gives the same tokens.
    drawn = [SequenceSource(STOPPING, SequenceGroups(prompts=4, n=8), Streams([2])).sample(each, 0) for each in (policy, table)]
    assert torch.equal(drawn[0].action, drawn[1].action)
    torch.testing.assert_close(drawn[0].log_prob, drawn[1].log_prob, atol=1e-12, rtol=0)


def test_exact_gradient_against_finite_differences():
    policy = make_policy(STOPPING)
    gradients = exact.exact_gradient(policy, STOPPING)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-5, -2e-5):
            parameter.data += step * direction
            values.append(exact.expected_reward(policy, STOPPING).mean().item())
        parameter.data += 1e-5 * direction
        expected = (values[0] - values[1]) / 2e-5
        assert (gradients[name] * direction).sum().item() == pytest.approx(expected, rel=1e-7, abs=1e-8), name
    assert max(gradient.abs().max() for gradient in gradients.values()) > 0.01


def test_score_function_and_grpo_expectations():
    policy = make_policy(FIXED)
    expected = exact.exact_gradient(policy, FIXED)

    def reinforce(rollout, outputs):
        return -rollout.reward.sum(-1, keepdim=True) * outputs["log_prob"]

    def grpo(rollout, outputs):
        score = rollout.reward.sum(-1).unflatten(-1, (-1, 3))
        advantage = ops.group_normalized_advantage(score, normalize_std=False).flatten(1).unsqueeze(-1).expand(rollout.shape)
        return ops.clipped_ratio_loss(outputs["log_prob"], rollout.log_prob, advantage, clip_low=0.2, clip_high=0.2)

    found = exact.expected_estimator_gradient(policy, FIXED, reinforce).mean
    grouped = exact.expected_estimator_gradient(policy, FIXED, grpo, group_size=3).mean
    for name, value in expected.items():
        torch.testing.assert_close(found[name], -value, atol=1e-10, rtol=0)
        torch.testing.assert_close(grouped[name], -2 / 3 * value, atol=1e-10, rtol=0)
    assert expected["tokens.model.lm_head.weight"].abs().max() > 1e-3


def test_evaluation():
    policy = make_policy(FIXED)
    result = evaluate(policy, FIXED)
    assert result.score == "pass@1"
    probability = exact.sequence_log_probs(policy, FIXED).exp()[0].detach().numpy()
    np.testing.assert_allclose(result.values[0], (probability * FIXED.rewards.numpy()).sum(-1), rtol=1e-12)
