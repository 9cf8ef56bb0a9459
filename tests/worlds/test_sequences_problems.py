"""Sequence problems, the tabular policy and the source."""

import itertools

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.status import Status
from operant.nets.tabular import TabularPolicy, draw, prefix_count, prefix_index
from operant.worlds.sequences.problems import PROBLEMS, SequenceProblem, enumerate_sequences, make_problem
from operant.worlds.sequences.source import SequenceGroups, SequenceSource, evaluate


def random_policy(problem, seeds=1, seed=0):
    policy = TabularPolicy(problem, seeds=seeds)
    with torch.no_grad():
        policy.logits.normal_(generator=torch.Generator().manual_seed(seed))
    return policy


def test_sequences_by_hand():
    assert enumerate_sequences(2, 2, False).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert enumerate_sequences(3, 2, True).tolist() == [[0, 0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]
    problem = SequenceProblem(3, 2, 1, lambda prompt, tokens: len(tokens), stops=True)
    assert problem.mask.tolist() == [[True, False]] + [[True, True]] * 6
    assert problem.rewards.tolist() == [[1, 2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize(("vocabulary", "length", "stops"), [(2, 5, True), (2, 1, True), (6, 5, True), (6, 5, False), (4, 3, True)])
def test_count_and_prefixes(vocabulary, length, stops):
    problem = SequenceProblem(vocabulary, length, 1, lambda prompt, tokens: 0.0, stops=stops)
    b = vocabulary - stops
    assert len(problem.sequences) == (b**length + sum(b**i for i in range(length)) if stops else vocabulary**length)
    assert torch.equal(problem.index(problem.sequences), torch.arange(len(problem.sequences)))
    index, mask = prefix_index(problem, problem.sequences)
    # Two steps stand at the same number exactly when the same tokens were chosen before them, and every number is used.
    prefix_of = {}
    for tokens, numbers, chosen in zip(problem.sequences.tolist(), index.tolist(), mask.tolist(), strict=True):
        for step in range(length):
            if chosen[step]:
                assert prefix_of.setdefault(numbers[step], tokens[:step]) == tokens[:step]
    assert len({tuple(prefix) for prefix in prefix_of.values()}) == len(prefix_of) == prefix_count(problem)
    assert sorted(prefix_of) == list(range(prefix_count(problem)))


def test_what_stands_after_the_end_does_not_matter():
    problem = make_problem("random")
    policy = random_policy(problem)
    prompt = torch.tensor([[1, 1]])
    action = torch.tensor([[[2, 0, 0, 0], [2, 0, 3, 1]]])
    assert torch.equal(problem.reward(prompt, action)[:, 0], problem.reward(prompt, action)[:, 1])
    outputs = policy.replay({"prompt": prompt}, action, {"entropy"})
    for value in outputs.values():
        assert torch.equal(value[:, 0], value[:, 1])
        assert value[0, 0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize("name", PROBLEMS)
def test_built_in_problems(name):
    problem = make_problem(name)
    assert problem.rewards.shape == (problem.prompts, len(problem.sequences))
    assert problem.rewards.std() > 0
    expected = {"parity": 1 / 2, "target": 1 / 27, "sum-mod": 1 / 5}.get(name)
    if expected:
        assert problem.binary
        result = evaluate(TabularPolicy(problem, seeds=2), problem)
        np.testing.assert_allclose(result.values, expected, rtol=1e-12)
        np.testing.assert_allclose(result.details["pass@4"], 1 - (1 - expected) ** 4, rtol=1e-12)
        assert result.score == "pass@1"
        assert result.values.shape == (2, problem.prompts)
    else:
        assert evaluate(TabularPolicy(problem), problem).score == "reward"


def test_built_in_rewards_by_hand():
    length, graded, target, parity, sum_mod = (make_problem(name) for name in ("length", "graded", "target", "parity", "sum-mod"))
    assert length.reward(torch.tensor([0, 1, 0]), torch.tensor([[1, 2, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])).tolist() == [0.4, 0.0, 1.0]
    assert graded.reward(torch.tensor([2]), torch.tensor([[2, 3, 3, 1]])).tolist() == [0.75]
    assert target.rewards.sum(-1).tolist() == [1, 1, 1, 1]
    assert target.rewards.argmax(-1).unique().numel() == 4
    assert parity.reward(torch.tensor([0, 1]), torch.tensor([[1, 1, 0, 0, 1]] * 2)).tolist() == [0, 1]
    assert sum_mod.reward(torch.tensor([2, 3]), torch.tensor([[4, 3, 0, 0]] * 2)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_problem("targt"), "did you mean target"),
        (lambda: SequenceProblem(7, 2, 1, lambda p, t: 0.0), "vocabulary is 7, must be an integer from 2 to 6; nearest: 6"),
        (lambda: SequenceProblem(3, 6, 1, lambda p, t: 0.0), "length is 6, must be an integer from 1 to 5; nearest: 5"),
        (lambda: SequenceProblem(3, 2.5, 1, lambda p, t: 0.0), "length is 2.5"),
        (lambda: SequenceProblem(3, 2, 0, lambda p, t: 0.0), "number of prompts is 0, must be an integer from 1 to 64; nearest: 1"),
        (lambda: SequenceProblem(2, 2, 1, [[1.0, 2.0]]), r"shape \(1, 2\), must be \[prompts, sequences\] = \(1, 4\)"),
        (lambda: SequenceProblem(2, 2, 2, [[1.0, 2.0], [1.0]]), "not an array of numbers"),
        (lambda: SequenceProblem(2, 2, 1, [[0, 0, float("nan"), 0]]), r"prompt 0, tokens \[1, 0\] is nan"),
        (lambda: SequenceGroups(prompts=0, n=4), "prompts is 0"),
    ],
)
def test_bad_input_is_one_line(make, message):
    with pytest.raises(BadInput, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stops", [False, True])
def test_replay_against_a_literal_walk(stops):
    problem = SequenceProblem(3, 3, 2, lambda prompt, tokens: 0.0, stops=stops)
    policy = random_policy(problem, seeds=2)
    prompt = torch.tensor([[0, 1, 1, 0]] * 2)
    action = problem.sequences[[0, 3, 5, -1]].expand(2, -1, -1)
    outputs = policy.replay({"prompt": prompt}, action, {"entropy", "logits"})
    seen = {}
    for seed, row in itertools.product(range(2), range(4)):
        tokens = action[seed, row].tolist()
        for step, token in enumerate(tokens):
            if stops and 0 in tokens[:step]:
                assert outputs["log_prob"][seed, row, step] == outputs["entropy"][seed, row, step] == 0
                continue
            logits = outputs["logits"][seed, row, step].tolist()
            # The same prefix of the same prompt has the same logits, other prefixes have others.
            key = (seed, prompt[seed, row].item(), *tokens[:step])
            assert seen.setdefault(key, logits) == logits
            weights = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(outputs["log_prob"][seed, row, step].item(), np.log(weights[token]), rtol=1e-12)
            np.testing.assert_allclose(outputs["entropy"][seed, row, step].item(), -(weights * np.log(weights)).sum(), rtol=1e-12)
    assert len({tuple(v) for v in seen.values()}) == len(seen) > 6


def test_draw_by_hand():
    logits = torch.tensor([[0.25, 0.0, 0.25, 0.5, 0.0]]).log().expand(6, -1)
    assert draw(logits, torch.tensor([0.0, 0.24, 0.26, 0.49, 0.51, 1 - 2**-24])).tolist() == [0, 0, 2, 2, 3, 3]
    assert draw(torch.tensor([0.0, 0.5, 0.5]).log(), torch.tensor(0.0)).item() == 1  # a token of probability 0 is never drawn


def test_sampled_frequencies_are_the_exact_probabilities():
    problem = SequenceProblem(3, 2, 2, lambda prompt, tokens: 0.0, stops=True)
    policy = random_policy(problem, seeds=2)
    source = SequenceSource(problem, SequenceGroups(prompts=2, n=20_000), Streams([3, 4]))
    rollout = source.sample(policy, version=0)
    index = problem.index(rollout.action)
    for seed, prompt in itertools.product(range(2), range(2)):
        frequency = index[seed][rollout.inputs["prompt"][seed] == prompt].bincount(minlength=7) / 20_000
        log_prob = policy.replay({"prompt": torch.full((2, 7), prompt)}, problem.sequences.expand(2, -1, -1))["log_prob"].sum(-1)[seed]
        probability = log_prob.exp().detach()
        assert torch.allclose(probability.sum(), torch.ones((), dtype=torch.float64))
        error = (probability * (1 - probability) / 20_000).sqrt()
        assert ((frequency - probability).abs() < 5 * error).all()


def test_rollout_fields():
    problem = make_problem("length")
    policy = random_policy(problem, seeds=3)
    source = SequenceSource(problem, SequenceGroups(prompts=3, n=4), Streams([0, 1, 2]))
    unscored = source.sample(policy, version=7)
    assert unscored.reward.abs().sum() == 0
    rollout = source.score(unscored)
    assert rollout.shape == (3, 12, 5)
    assert rollout.version == 7
    assert rollout.group[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert rollout.inputs["prompt"][1].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert (rollout.status == Status.OK).all()
    assert not rollout.truncated.any()
    assert torch.equal(policy.replay(rollout.inputs, rollout.action)["log_prob"].detach(), rollout.log_prob)
    lengths = set()
    for seed, row in itertools.product(range(3), range(12)):
        tokens = rollout.action[seed, row].tolist()
        chosen = tokens.index(0) + 1 if 0 in tokens else 5
        lengths.add(chosen)
        assert rollout.mask[seed, row].tolist() == [step < chosen for step in range(5)]
        assert rollout.terminated[seed, row].tolist() == [step == chosen - 1 for step in range(5)]
        expected = [0.0] * 5
        expected[chosen - 1] = sum(token != 0 for token in tokens) / 5
        assert rollout.reward[seed, row].tolist() == expected
    assert len(lengths) > 2
    metrics = source.metrics(rollout)
    assert metrics["reward"].tolist() == [pytest.approx(rollout.reward[seed].sum().item() / 12) for seed in range(3)]
    assert metrics["length"].tolist() == [pytest.approx(rollout.mask[seed].sum().item() / 12) for seed in range(3)]
    assert source.sample(policy, version=8).inputs["prompt"][0].tolist() == [1] * 4 + [0] * 4 + [1] * 4


@pytest.mark.parametrize("drawn", [False, True])
def test_restored_source_continues_bit_for_bit(drawn):
    problem = make_problem("random")
    policy = random_policy(problem, seeds=2)
    plan = SequenceGroups(prompts=2, n=3, drawn=drawn)
    source = SequenceSource(problem, plan, Streams([5, 6]))
    source.sample(policy, 0)
    state = source.state_dict()
    ahead = [source.score(source.sample(policy, step)) for step in range(3)]
    restored = SequenceSource(problem, plan, Streams([5, 6]))
    restored.load_state_dict(state)
    for step, expected in enumerate(ahead):
        found = restored.score(restored.sample(policy, step))
        assert all(torch.equal(value, found.tensors()[name]) for name, value in expected.tensors().items())


def test_a_seed_draws_the_same_alone():
    problem = make_problem("graded")
    together, alone = random_policy(problem, seeds=2), TabularPolicy(problem)
    with torch.no_grad():
        alone.logits.copy_(together.logits[1:])
    plan = SequenceGroups(prompts=4, n=5)
    both = SequenceSource(problem, plan, Streams([5, 6])).sample(together, 0)
    one = SequenceSource(problem, plan, Streams([6])).sample(alone, 0)
    assert torch.equal(both.action[1], one.action[0])
    assert torch.equal(both.log_prob[1], one.log_prob[0])
