"""Rollouts from text tasks: layout, rewards, resumption, descriptions, evaluation, and that a policy learns from them."""

import json

import numpy as np
import pytest
import text_verifiers as bad
import torch
from text_helpers import slow

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.status import Status
from operant.nets.language import TokenPolicy
from operant.worlds.plans import Groups
from operant.worlds.text.evaluation import evaluate_policy
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource, completion_texts
from operant.worlds.text.tasks import Arithmetic

TASK = Arithmetic(operands=4)
TOKENIZER = make_tokenizer(TASK.alphabet)
PLAN = Groups(prompts=3, n=4)


def make_policy(seed=0, temperature=1.0):
    return TokenPolicy(make_model("llama", len(TOKENIZER), seed, width=32, layers=1), temperature)


def make_source(seed=7, plan=PLAN, verifier=None, limit=10):
    return TextSource(TASK, TOKENIZER, plan, Streams([seed]), verifier, limit=limit)


def test_a_rollout_is_laid_out_as_the_record_says():
    source, policy = make_source(), make_policy()
    rollout = source.score(source.sample(policy, version=5))
    assert rollout.shape[:2] == (1, 12) and rollout.version == 5
    assert rollout.group[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    ends = rollout.terminated | rollout.truncated
    assert (ends.sum(-1) == 1).all() and not (rollout.terminated & rollout.truncated).any()
    for row in range(12):
        length = int(rollout.mask[0, row].sum())
        assert ends[0, row, length - 1]
        assert bool(rollout.terminated[0, row].any()) == (int(rollout.action[0, row, length - 1]) == TOKENIZER.eos_token_id)
        prompt = rollout.inputs["tokens"][0, row, : rollout.inputs["prompt_length"][0, row]]
        assert TOKENIZER.decode(prompt) == source.problem(int(rollout.group[0, row])).prompt
    replayed = policy.replay(rollout.inputs, rollout.action, {"entropy"})
    assert (replayed["log_prob"] - rollout.log_prob).abs().max() < 1e-5
    assert (replayed["entropy"] - rollout.extras["entropy"]).abs().max() < 1e-5
    assert source.sample(policy, 6).group[0].unique().tolist() == [3, 4, 5]


def test_rewards_stand_on_the_last_step_and_failures_are_statuses():
    policy = make_policy()
    source = make_source(verifier=bad.length)
    rollout = source.score(source.sample(policy, 0))
    texts = completion_texts(TOKENIZER, rollout.action[0], rollout.mask[0])
    assert rollout.reward.sum(-1)[0].tolist() == [float(len(text)) for text in texts]
    assert (rollout.reward[~(rollout.terminated | rollout.truncated)] == 0).all() and (rollout.status == Status.OK).all()
    source.close()
    failing = make_source(verifier=bad.fail)
    rollout = failing.score(failing.sample(policy, 0))
    assert (rollout.status == Status.CRASHED).all() and not rollout.reward.any()
    metrics = failing.metrics(rollout)  # nothing was scored: that is no reward of 0, nor a length of 0
    assert all(metrics[name].isnan().all() for name in ("reward", "length", "ended")) and not metrics["entropy"].isnan().any()
    failing.close()


def test_the_right_answer_is_rewarded():
    source = make_source()
    rollout = source.sample(make_policy(), 0)
    for row, good in enumerate([True, False] * 6):
        problem = source.problem(int(rollout.group[0, row]))
        text = TASK.trace(problem, np.random.default_rng(row), corrupt=0.0 if good else 1.0)
        ids = [*TOKENIZER(text)["input_ids"], TOKENIZER.eos_token_id]
        rollout.action[0, row], rollout.mask[0, row] = TOKENIZER.pad_token_id, False
        rollout.action[0, row, : len(ids)], rollout.mask[0, row, : len(ids)] = torch.tensor(ids), True
    rollout.terminated = torch.arange(rollout.shape[2]) == rollout.mask.sum(-1, keepdim=True) - 1
    rollout.truncated = torch.zeros_like(rollout.terminated)
    scored = source.score(rollout)
    assert scored.reward.sum(-1)[0].tolist() == [1.0, 0.0] * 6
    metrics = source.metrics(scored)
    assert metrics["reward"].item() == 0.5 and metrics["groups_alike"].item() == 0.0 and metrics["ended"].item() == 1.0 and metrics["length"].item() == 8.0


def test_resumed_goes_on_with_the_same_bits():
    policy, source = make_policy(), make_source()
    source.sample(policy, 0)
    state = source.state_dict()
    expected = [source.score(source.sample(policy, version)) for version in (1, 2)]
    other = make_source()
    other.load_state_dict(state)
    for rollout in expected:
        again = other.score(other.sample(policy, rollout.version))
        for name, tensor in rollout.tensors().items():
            assert torch.equal(tensor, again.tensors()[name]), name
    different = make_source(seed=8).sample(policy, 0)
    assert not torch.equal(different.inputs["tokens"], make_source().sample(policy, 0).inputs["tokens"])


def test_rows_described_for_people():
    source = make_source()
    rollout = source.score(source.sample(make_policy(), 0))
    before = source.describe(rollout, [0])[0]
    assert all(token["advantage"] is None for token in before["tokens"])
    rollout.extras["advantage"] = torch.full(rollout.shape, 0.5)
    rows = source.describe(rollout, [0, 5])
    assert json.loads(json.dumps(rows)) == rows
    assert rows[1]["group"] == 1 and rows[1]["prompt"] == source.problem(1).prompt and rows[1]["status"] == "ok"
    tokens = rows[1]["tokens"]
    assert len(tokens) == int(rollout.mask[0, 5].sum()) and set(tokens[0]) == {"text", "log_prob", "advantage", "entropy", "mask", "ratio", "kl"}
    assert "".join(token["text"] for token in tokens).removesuffix("<eos>") == completion_texts(TOKENIZER, rollout.action[0, 5:6], rollout.mask[0, 5:6])[0]
    assert tokens[0]["log_prob"] == pytest.approx(rollout.log_prob[0, 5, 0].item()) and tokens[0]["advantage"] == 0.5 and tokens[0]["mask"] is True


def test_evaluation_counts_by_the_probability_of_the_answer():
    # One new token after a prompt: the chance of a right completion is the model's probability of the answer's digit, known exactly.
    class OneDigit:
        trusted = True

        def score(self, problem, completion):
            return float(completion == problem.answer)

    problems, policy = TASK.held_out("operands", 6), make_policy(seed=3)
    found = evaluate_policy(
        policy, problems, TOKENIZER, samples=2000, max_new_tokens=1, seed=1, verifier=OneDigit(), answer=lambda text: text if text in "012" else ""
    )
    counts = found.correct
    assert counts.shape == (6,) and counts.dtype == np.int64
    ids = TOKENIZER([problem.prompt for problem in problems], return_tensors="pt")["input_ids"]
    answers = torch.tensor([TOKENIZER(problem.answer)["input_ids"][0] for problem in problems])
    with torch.no_grad():
        chances = policy.model(ids).logits[:, -1].softmax(-1).double().numpy()
    p = chances[np.arange(6), answers.numpy()]
    assert (np.abs(counts / 2000 - p) < 5 * np.sqrt(p * (1 - p) / 2000)).all()
    again = evaluate_policy(policy, problems, TOKENIZER, samples=2000, max_new_tokens=1, seed=1, verifier=OneDigit())
    assert (again.correct == counts).all()
    other = evaluate_policy(policy, problems, TOKENIZER, samples=2000, max_new_tokens=1, seed=2, verifier=OneDigit())
    assert (other.correct != counts).any()
    assert found.entropy == pytest.approx(-(chances * np.log(chances)).sum(-1), abs=1e-5)
    assert (found.distinct == 3).all()


def test_a_policy_learns_to_begin_with_a_digit():
    source, policy = make_source(plan=Groups(prompts=8, n=8), verifier=bad.length, limit=1), make_policy()
    digits = torch.tensor(TOKENIZER("0123456789")["input_ids"])
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    shares = []
    for version in range(25):
        rollout = source.sample(policy, version)
        reward = torch.isin(rollout.action, digits).float()
        shares.append(reward.mean().item())
        log_prob = policy.replay(rollout.inputs, rollout.action)["log_prob"]
        optimizer.zero_grad()
        (-(reward - reward.mean()) * log_prob * rollout.mask).sum().div(64).backward()
        optimizer.step()
    source.close()
    assert shares[0] < 0.85 and np.mean(shares[-5:]) > 0.95


def test_bad_plans_and_policies():
    with pytest.raises(BadInput, match="n=0"):
        Groups(n=0)
    with pytest.raises(BadInput, match="must be the same"):
        make_source().sample(make_policy(temperature=0.5), 0)
    with pytest.raises(BadInput, match="one seed at a time"):
        TextSource(TASK, TOKENIZER, PLAN, Streams([0, 1]))
    with pytest.raises(BadInput, match="at least 1"):
        evaluate_policy(make_policy(), [], TOKENIZER, samples=1, max_new_tokens=1, seed=0, verifier=TASK.verifier)


def test_temperature_goes_through():
    plan = Groups(prompts=2, n=4, temperature=0.7)
    policy, source = make_policy(temperature=0.7), make_source(plan=plan)
    rollout = source.sample(policy, 0)

    class Recorded:
        prompts = [tuple(TOKENIZER(source.problem(index).prompt)["input_ids"]) for index in range(2)]
        request, tokens, mask = rollout.group[0], rollout.action[0], rollout.mask[0]

    log_probs, _ = slow(policy.model, Recorded, 0.7)
    assert (rollout.log_prob[0] - log_probs).abs().max() < 1e-4
