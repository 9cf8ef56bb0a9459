"""What policy-gradient estimators estimate, by enumeration of every sequence and every group."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient, PolicyGradientLearner
from operant.loops.terms import ClippedRatio, EntropyBonus, KLToReference, TermBatch
from operant.nets.tabular import TabularPolicy
from operant.worlds.base import World
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem, make_problem
from operant.worlds.sequences.source import SequenceGroups, SequenceSource

DRAWS = np.random.default_rng(11)
GRADED = SequenceProblem(3, 2, 2, DRAWS.normal(size=(2, 9)))
STOPPING = SequenceProblem(3, 3, 2, DRAWS.normal(size=(2, 15)), stops=True)
BINARY = SequenceProblem(2, 3, 3, (DRAWS.random((3, 8)) < 0.4).astype(float))


def random_policy(problem, seeds=1, seed=0, scale=0.7):
    policy = TabularPolicy(problem, seeds=seeds)
    with torch.no_grad():
        policy.logits.normal_(0, scale, generator=torch.Generator().manual_seed(seed))
    return policy


def close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert expected[name].abs().max() > 1e-3, "a gradient of 0 proves nothing"
        torch.testing.assert_close(value, expected[name], atol=tolerance, rtol=0)


def negative(gradients):
    return {name: -value for name, value in gradients.items()}


def score(rollout, size):
    """Rewards by group, `[S, G, K]`."""
    return rollout.reward.sum(-1).unflatten(-1, (-1, size))


def reinforce(rollout, outputs):
    return -rollout.reward.sum(-1, keepdim=True) * outputs["log_prob"]


def grpo(size, normalize_std):
    def estimator(rollout, outputs):
        advantage = ops.group_normalized_advantage(score(rollout, size), normalize_std=normalize_std).flatten(1).unsqueeze(-1).expand(rollout.shape)
        return ops.clipped_ratio_loss(outputs["log_prob"], rollout.log_prob, advantage, clip_low=0.2, clip_high=0.2)

    return estimator


def literal_probability(policy, problem, seed, prompt, tokens):
    """Probability of a sequence by a walk over its tokens in plain Python."""
    probability, node, branching = 1.0, 0, problem.vocabulary - problem.stops
    for token in tokens:
        weights = np.exp(policy.logits[seed, prompt, node].tolist())
        probability *= weights[token] / weights.sum()
        node = branching * node + token + (not problem.stops)
        if problem.stops and token == 0:
            break
    return probability


@pytest.mark.parametrize("problem", [GRADED, STOPPING, BINARY])
def test_values_against_literal_sums(problem):
    policy, other = random_policy(problem, seeds=2), random_policy(problem, seeds=2, seed=1)
    reward, entropy, kl = (torch.zeros(2, problem.prompts, dtype=torch.float64) for _ in range(3))
    for seed, prompt in itertools.product(range(2), range(problem.prompts)):
        total = 0.0
        for tokens, value in zip(problem.sequences.tolist(), problem.rewards[prompt].tolist(), strict=True):
            p, q = (literal_probability(each, problem, seed, prompt, tokens) for each in (policy, other))
            total += p
            reward[seed, prompt] += p * value
            entropy[seed, prompt] -= p * math.log(p)
            kl[seed, prompt] += p * math.log(p / q)
        assert abs(total - 1) < 1e-12
    tolerance = {"atol": 1e-12, "rtol": 0}
    torch.testing.assert_close(exact.expected_reward(policy, problem), reward, **tolerance)
    torch.testing.assert_close(exact.entropy(policy, problem), entropy, **tolerance)
    torch.testing.assert_close(exact.kl(policy, other, problem), kl, **tolerance)
    torch.testing.assert_close(exact.kl_per_token(policy, other, problem).sum(-1), kl, **tolerance)  # chain rule


def test_uniform_policy_by_hand():
    policy = TabularPolicy(BINARY)
    assert torch.allclose(exact.entropy(policy, BINARY), torch.tensor(3 * math.log(2), dtype=torch.float64))
    assert torch.allclose(exact.expected_reward(policy, BINARY)[0], BINARY.rewards.mean(-1))
    p = BINARY.rewards.mean(-1)
    assert torch.allclose(exact.pass_at_k(policy, BINARY, 3)[0], 1 - (1 - p) ** 3)


def test_pass_at_k_is_the_chance_of_one_right_in_a_group():
    policy = random_policy(BINARY)
    found = exact.pass_at_k(policy, BINARY, 2)
    for prompt in range(BINARY.prompts):
        p = [literal_probability(policy, BINARY, 0, prompt, tokens) for tokens in BINARY.sequences.tolist()]
        right = BINARY.rewards[prompt].tolist()
        expected = sum(p[i] * p[j] for i, j in itertools.product(range(8), repeat=2) if max(right[i], right[j]) == 1)
        assert abs(found[0, prompt].item() - expected) < 1e-12


@pytest.mark.parametrize("problem", [GRADED, STOPPING])
def test_exact_gradient_against_finite_differences(problem):
    policy, reference = random_policy(problem, seeds=2), random_policy(problem, seeds=2, seed=1)
    found = exact.exact_gradient(policy, problem, reference=reference, kl_weight=0.3, entropy_weight=0.2)["logits"]

    def objective():
        value = exact.expected_reward(policy, problem) - 0.3 * exact.kl(policy, reference, problem) + 0.2 * exact.entropy(policy, problem)
        return value.mean(-1).sum().item()

    step, expected, flat = 1e-5, torch.zeros_like(found), policy.logits.data.view(-1)
    for i in range(flat.numel()):
        before = flat[i].item()
        flat[i] = before + step
        above = objective()
        flat[i] = before - step
        expected.view(-1)[i] = (above - objective()) / (2 * step)
        flat[i] = before
    assert found.abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("problem", [GRADED, STOPPING, make_problem("length"), make_problem("sum-mod")])
def test_score_function_estimator_is_unbiased(problem):
    policy = random_policy(problem, seeds=2)
    found = exact.expected_estimator_gradient(policy, problem, reinforce)
    assert found.groups == len(problem.sequences)
    close(found.mean, negative(exact.exact_gradient(policy, problem)), 1e-10)


@pytest.mark.parametrize("size", [2, 3])
def test_grpo_without_std_is_shrunk_by_its_own_sample(size):
    # The group mean contains the sample itself: (K - 1) / K of the gradient, which Dr. GRPO's authors count as a constant of the learning rate.
    policy = random_policy(STOPPING, seeds=2)
    found = exact.expected_estimator_gradient(policy, STOPPING, grpo(size, False), group_size=size)
    expected = exact.exact_gradient(policy, STOPPING)
    close(found.mean, {name: -(size - 1) / size * value for name, value in expected.items()}, 1e-10)


def literal_grpo(policy, problem, size):
    """GRPO's expected loss gradient (arXiv:2402.03300, section 4.1.2, sample standard deviation): a loop over groups, d log p / d logits in closed form."""
    result = np.zeros(policy.logits.shape)
    sequences = problem.sequences.tolist()
    for prompt in range(problem.prompts):
        p = [literal_probability(policy, problem, 0, prompt, tokens) for tokens in sequences]
        gradients = []
        for tokens in sequences:
            g, node, branching = np.zeros(policy.logits.shape[2:]), 0, problem.vocabulary - problem.stops
            for token in tokens:
                weights = np.exp(policy.logits[0, prompt, node].tolist())
                g[node] -= weights / weights.sum()
                g[node, token] += 1
                if problem.stops and token == 0:
                    break
                node = branching * node + token + (not problem.stops)
            gradients.append(g)
        for group in itertools.product(range(len(sequences)), repeat=size):
            rewards = problem.rewards[prompt, list(group)].numpy()
            if np.ptp(rewards) == 0:
                continue
            advantage = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
            weight = math.prod(p[i] for i in group) / problem.prompts
            for a, i in zip(advantage, group, strict=True):
                result[0, prompt] -= weight * a * gradients[i] / size
    return {"logits": torch.from_numpy(result)}


@pytest.mark.parametrize(("problem", "size"), [(GRADED, 2), (GRADED, 3), (STOPPING, 2), (BINARY, 3)])
def test_grpo_is_the_papers_formula(problem, size):
    policy = random_policy(problem)
    found = exact.expected_estimator_gradient(policy, problem, grpo(size, True), group_size=size)
    assert found.groups == len(problem.sequences) ** size
    close(found.mean, literal_grpo(policy, problem, size), 1e-10)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_grpo_on_right_and_wrong_reweights_prompts(size):
    # With 0/1 rewards the advantage depends on the count c of right answers only: a1(c) = (1 - c/K) / (sd + eps), a0(c) = -(c/K) / (sd + eps), with
    # sd(c)^2 = c (K - c) / (K (K - 1)). Of a row's K - 1 mates s ~ Binomial(K - 1, p) are right, so a prompt's gradient is w grad p with
    # w = E[a1(s + 1) - a0(s)] > 0: each prompt's direction is the true one, and what changes is how much it counts (w tends to 1 / sqrt(p (1 - p)) for
    # large K).
    policy = random_policy(BINARY, scale=1.5)
    p = exact.expected_reward(policy, BINARY).detach()[0].tolist()
    assert max(p) - min(p) > 0.1

    def advantages(c):
        sd = math.sqrt(c * (size - c) / (size * (size - 1))) + 1e-6
        return ((1 - c / size) / sd, -(c / size) / sd) if 0 < c < size else (0.0, 0.0)

    weights = []
    for rate in p:
        chance = [math.comb(size - 1, s) * rate**s * (1 - rate) ** (size - 1 - s) for s in range(size)]
        weights.append(sum(each * (advantages(s + 1)[0] - advantages(s)[1]) for s, each in enumerate(chance)))
    assert min(weights) > 0
    found = exact.expected_estimator_gradient(policy, BINARY, grpo(size, True), group_size=size)
    plain = exact.exact_gradient(policy, BINARY)["logits"]
    close(found.mean, {"logits": -torch.tensor(weights, dtype=torch.float64)[None, :, None, None] * plain}, 1e-10)


def test_clipped_ratio_at_ratio_one_is_the_policy_gradient():
    policy = random_policy(GRADED)

    def clipped(rollout, outputs):
        advantage = rollout.reward.sum(-1, keepdim=True).expand(rollout.shape)
        return ops.clipped_ratio_loss(outputs["log_prob"], rollout.log_prob, advantage, clip_low=0.1, clip_high=0.3)

    found = exact.expected_estimator_gradient(policy, GRADED, clipped)
    close(found.mean, exact.expected_estimator_gradient(policy, GRADED, reinforce).mean, 1e-12)
    close(found.mean, negative(exact.exact_gradient(policy, GRADED)), 1e-10)


def test_mean_over_each_sequences_own_steps_is_biased_by_length():
    # Dr. GRPO (arXiv:2503.20783, section 3.1): a sequence's own length is not a constant divisor. It is the gradient for the reward divided by the length.
    problem = make_problem("length")
    policy = random_policy(problem)
    exact_gradient = exact.exact_gradient(policy, problem)["logits"]
    by_length = exact.expected_estimator_gradient(policy, problem, reinforce, reduce="sequence-mean").mean["logits"]
    own_length = problem.mask.sum(-1)
    scaled = SequenceProblem(problem.vocabulary, problem.length, problem.prompts, problem.rewards / own_length, stops=True)
    torch.testing.assert_close(by_length, -exact.exact_gradient(policy, scaled)["logits"], atol=1e-10, rtol=0)
    constant = exact.expected_estimator_gradient(policy, problem, reinforce, reduce="sequence-sum", length=5).mean["logits"]
    torch.testing.assert_close(constant, -exact_gradient / 5, atol=1e-10, rtol=0)
    assert torch.nn.functional.cosine_similarity(by_length.flatten(), -exact_gradient.flatten(), dim=0) < 0.95


def of_sequence(per_sequence):
    """A loss of the whole sequence, put on its first step: `(log_prob [S, N], reference [S, N]) -> [S, N]`."""

    def estimator(rollout, outputs):
        first = torch.zeros(rollout.shape[-1], dtype=torch.float64)
        first[0] = 1
        return per_sequence(outputs["log_prob"].sum(-1), rollout.extras["reference_log_prob"].sum(-1)).unsqueeze(-1) * first

    return estimator


def per_token(kl_estimator):
    return lambda rollout, outputs: kl_estimator(outputs["log_prob"], rollout.extras["reference_log_prob"])


@pytest.mark.parametrize("problem", [GRADED, STOPPING])
class TestKL:
    """What k1, k2 and k3 do in a reward and in a loss, on fresh samples."""

    def policies(self, problem):
        return random_policy(problem), random_policy(problem, seed=1)

    def expected(self, problem, estimator):
        policy, reference = self.policies(problem)
        return exact.expected_estimator_gradient(policy, problem, estimator, reference=reference).mean

    def reverse(self, problem):
        policy, reference = self.policies(problem)
        return exact.gradient(exact.kl(policy, reference, problem), policy)

    def test_k1_and_k3_are_unbiased_in_value_and_k2_is_not(self, problem):
        policy, reference = self.policies(problem)
        log_prob, other = exact.sequence_log_probs(policy, problem), exact.sequence_log_probs(reference, problem)
        kl = exact.kl(policy, reference, problem)
        mean = {each: (log_prob.exp() * each(log_prob, other)).sum(-1) for each in (ops.kl_k1, ops.kl_k2, ops.kl_k3)}
        torch.testing.assert_close(mean[ops.kl_k1], kl, atol=1e-12, rtol=0)
        torch.testing.assert_close(mean[ops.kl_k3], kl, atol=1e-12, rtol=0)
        assert (mean[ops.kl_k2] - kl).abs().min() > 1e-3

    def test_k1_in_the_reward_is_the_gradient_of_the_kl(self, problem):
        def estimator(rollout, outputs):
            penalty = ops.kl_k1(rollout.log_prob, rollout.extras["reference_log_prob"]).sum(-1, keepdim=True)
            return penalty * outputs["log_prob"]

        close(self.expected(problem, estimator), self.reverse(problem), 1e-8)

    def test_k1_in_the_reward_to_go_is_too(self, problem):
        def estimator(rollout, outputs):
            penalty = ops.kl_k1(rollout.log_prob, rollout.extras["reference_log_prob"])
            return penalty.flip(-1).cumsum(-1).flip(-1) * outputs["log_prob"]

        close(self.expected(problem, estimator), self.reverse(problem), 1e-8)

    def test_k1_in_the_loss_has_no_gradient(self, problem):
        for estimator in (of_sequence(ops.kl_k1), per_token(ops.kl_k1)):
            assert self.expected(problem, estimator)["logits"].abs().max() < 1e-8

    def test_k2_in_the_loss_is_the_gradient_of_the_kl(self, problem):
        close(self.expected(problem, of_sequence(ops.kl_k2)), self.reverse(problem), 1e-8)

    def test_k2_a_token_holds_the_prefixes_fixed(self, problem):
        # Put on each token, k2 follows KL of the next token under the present distribution of prefixes, not the KL of the sequence.
        policy, reference = self.policies(problem)
        held = exact.gradient(exact.kl_per_token(policy, reference, problem, through_prefixes=False).sum(-1), policy)
        found = self.expected(problem, per_token(ops.kl_k2))
        close(found, held, 1e-8)
        assert (found["logits"] - self.reverse(problem)["logits"]).abs().max() > 1e-2

    def test_k3_in_the_loss_is_the_gradient_of_the_forward_kl(self, problem):
        policy, reference = self.policies(problem)
        forward = exact.gradient(exact.kl(reference, policy, problem), policy)
        found = self.expected(problem, of_sequence(ops.kl_k3))
        close(found, forward, 1e-8)
        assert (found["logits"] - self.reverse(problem)["logits"]).abs().max() > 1e-2


def test_entropy_in_the_reward_is_the_gradient_of_the_entropy():
    policy = random_policy(STOPPING)
    found = exact.expected_estimator_gradient(
        policy, STOPPING, lambda rollout, outputs: rollout.log_prob.sum(-1, keepdim=True) * outputs["log_prob"], group_size=1
    )
    close(found.mean, negative(exact.gradient(exact.entropy(policy, STOPPING), policy)), 1e-10)


def test_estimators_may_read_entropy_and_logits():
    # The entropy bonus of a token, on samples, is the gradient of the next token's entropy with the prefixes held: minus KL to the uniform policy.
    policy, uniform = random_policy(GRADED), TabularPolicy(GRADED)
    expected = exact.gradient(exact.kl_per_token(policy, uniform, GRADED, through_prefixes=False).sum(-1), policy)
    for estimator, needs in (
        (lambda rollout, outputs: -outputs["entropy"], {"entropy"}),
        (lambda rollout, outputs: -ops.entropy_from_logits(outputs["logits"]), {"logits"}),
    ):
        close(exact.expected_estimator_gradient(policy, GRADED, estimator, needs=needs).mean, expected, 1e-10)


def test_monte_carlo_agrees_with_enumeration():
    policy = random_policy(GRADED, seeds=2)
    enumerated = exact.expected_estimator_gradient(policy, GRADED, grpo(2, True), group_size=2)
    drawn = exact.expected_estimator_gradient(policy, GRADED, grpo(2, True), group_size=2, samples=40_000, generator=torch.Generator().manual_seed(0))
    assert enumerated.standard_error is None
    error = drawn.standard_error["logits"]
    assert 0 < error.max() < 0.02
    # Student's t with 19 degrees of freedom: 6 standard errors are passed once in 200,000.
    assert ((drawn.mean["logits"] - enumerated.mean["logits"]).abs() <= 6 * error + 1e-12).all()


@pytest.mark.parametrize(("size", "estimator", "factor"), [(1, reinforce, 1.0), (4, grpo(4, False), 3 / 4)])
def test_gradient_sampled_by_the_source_converges_to_the_exact_one(size, estimator, factor):
    problem, repeats, groups = STOPPING, 100, 400
    policy = random_policy(problem)
    source = SequenceSource(problem, SequenceGroups(prompts=groups, n=size), Streams([1]))
    gradients = []
    for step in range(repeats):
        rollout = source.score(source.sample(policy, step))
        loss = estimator(rollout, policy.replay(rollout.inputs, rollout.action)) * ops.step_weights(rollout.mask, "sequence-sum", length=1, dtype=torch.float64)
        gradients.append(torch.autograd.grad(loss.sum(), policy.logits)[0])
    gradients = torch.stack(gradients)
    error = gradients.std(0) / repeats**0.5
    expected = -factor * exact.exact_gradient(policy, problem)["logits"]
    assert error.max() < 0.1 * expected.abs().max()
    assert ((gradients.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


def test_the_loops_credit_and_terms_have_the_same_expectation():
    policy, reference = random_policy(STOPPING), random_policy(STOPPING, seed=1)
    credit, terms = Grouped(partial(ops.group_normalized_advantage, normalize_std=False)), [ClippedRatio(), KLToReference(0.1, "k2")]

    def estimator(rollout, outputs):
        batch = outputs | {"old_log_prob": rollout.log_prob, "advantage": credit(rollout), "mask": rollout.mask, **rollout.extras}
        return sum(term(TermBatch(batch)) for term in terms)

    found = exact.expected_estimator_gradient(policy, STOPPING, estimator, group_size=2, reference=reference)
    held = exact.gradient(exact.kl_per_token(policy, reference, STOPPING, through_prefixes=False).sum(-1), policy)["logits"]
    close(found.mean, {"logits": -0.5 * exact.exact_gradient(policy, STOPPING)["logits"] + 0.1 * held}, 1e-10)


class _World(World):
    """As little of a world as the policy-gradient loop asks for."""

    answers = True
    stacked = True

    def __init__(self, problem):
        self.problem = problem

    def policy(self, net, streams):
        return TabularPolicy(self.problem, seeds=len(streams.seeds))

    def source(self, plan, streams, workers):
        return SequenceSource(self.problem, plan, streams)


def test_the_policy_gradient_loop_learns_here_and_restores_bit_for_bit():
    problem = make_problem("graded")
    method = PolicyGradient(
        sample=SequenceGroups(prompts=4, n=8),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(), EntropyBonus(0.0)],
        reduce="sequence-mean",
        minibatches=2,
        learning_rate=0.05,
    )
    learner, other = (PolicyGradientLearner(method, _World(problem), [0, 1], 100, torch.device("cpu")) for _ in range(2))
    for _ in range(60):
        learner.iterate()
    assert exact.expected_reward(learner.policy, problem).min() > 0.6  # a uniform policy has 0.25
    other.load_state_dict(learner.state_dict())
    for each in (learner, other):
        for _ in range(3):
            each.iterate()
    assert torch.equal(learner.policy.logits, other.policy.logits)


def test_following_the_exact_gradient_solves_a_problem():
    problem = make_problem("target")
    policy = TabularPolicy(problem, seeds=2)
    for _ in range(300):
        gradient = exact.exact_gradient(policy, problem)["logits"]
        policy.logits.data += 20 * gradient
    assert exact.expected_reward(policy, problem).min() > 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: exact.expected_estimator_gradient(p, STOPPING, reinforce, group_size=8), "15 sequences make 2562890625 groups of 8, at most 1048576"),
        (lambda p: exact.expected_estimator_gradient(p, STOPPING, reinforce, samples=10), "come with a generator"),
        (
            lambda p: exact.expected_estimator_gradient(p, STOPPING, lambda rollout, outputs: rollout.reward.sum(-1)),
            r"shape \(1, 30\), must be one loss a step",
        ),
        (lambda p: exact.pass_at_k(p, STOPPING, 2), "rewards that are 0 or 1"),
        (lambda p: exact.pass_at_k(p, STOPPING, 0), "k is 0"),
        (lambda p: exact.exact_gradient(p, STOPPING, kl_weight=0.1), "needs a reference"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(BadInput, match=message) as caught:
        call(random_policy(STOPPING))
    assert "\n" not in str(caught.value)
