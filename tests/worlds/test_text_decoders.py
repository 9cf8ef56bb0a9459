"""Decoders, and scores of steps."""

from __future__ import annotations

import math

import pytest
import text_verifiers as bad
import torch
from test_text_source import TASK, TOKENIZER, make_policy, make_source

from operant.core.errors import BadInput
from operant.core.status import Status
from operant.worlds.text.decoders import Candidate, decoders, get_decoder
from operant.worlds.text.evaluation import evaluate_policy
from operant.worlds.text.verifiers import ExactAnswer, Score, VerifierPool


def some(*pairs: tuple[str, float]) -> list[Candidate]:
    return [Candidate(answer, answer, value) for answer, value in pairs]


def test_what_each_decoder_chooses():
    candidates = some(("", 0.0), ("7", 0.2), ("3", math.nan), ("7", 0.9), ("3", 0.9))
    assert get_decoder("sample").choose(candidates) == [0, 1, 2, 3, 4]
    assert get_decoder("majority").choose(candidates) == [1] and get_decoder("majority").choose(some(("", 1.0))) == []
    assert get_decoder("best-of-n").choose(candidates) == [3]
    assert get_decoder("best-of-n").choose(some(("1", math.nan), ("2", -3.0))) == [1]
    assert get_decoder("greedy").greedy and get_decoder("greedy").choose(candidates[:1]) == [0]
    assert set(decoders()) >= {"sample", "greedy", "majority", "best-of-n"}
    with pytest.raises(BadInput, match="majority"):
        get_decoder("majoriti")


def test_decoded_answers_are_counted():
    problems, policy = TASK.held_out("operands", 6), make_policy()
    setting = {"max_new_tokens": 8, "seed": 3, "verifier": ExactAnswer(), "answer": str.strip}
    plain = evaluate_policy(policy, problems, TOKENIZER, samples=12, **setting)
    assert (plain.decoded == plain.correct / 12).all() and plain.turns is None
    best = evaluate_policy(policy, problems, TOKENIZER, samples=12, decoder=get_decoder("best-of-n"), **setting)
    assert (best.decoded == (plain.correct > 0)).all()
    most = evaluate_policy(policy, problems, TOKENIZER, samples=12, decoder=get_decoder("majority"), **setting)
    assert (most.decoded == plain.majority).all()
    greedy = [evaluate_policy(policy, problems, TOKENIZER, samples=1, decoder=get_decoder("greedy"), **setting | {"seed": seed}) for seed in (0, 1)]
    assert (greedy[0].entropy == greedy[1].entropy).all()


class Steps:
    """Half a point for each semicolon, where it stands, and a whole one beside for the text."""

    trusted = True

    def score(self, problem, completion):
        return Score(1.0, [(place + 1, 0.5) for place, letter in enumerate(completion) if letter == ";"])


def test_rewards_of_steps_stand_on_the_tokens_in_which_they_end():
    source, policy = make_source(verifier=Steps()), make_policy()
    rollout = source.score(source.sample(policy, 0))
    semicolon = TOKENIZER.convert_tokens_to_ids(";")
    ends = rollout.terminated | rollout.truncated
    expected = 0.5 * ((rollout.action == semicolon) & rollout.mask) + ends.float()
    assert torch.equal(rollout.reward, expected) and (expected == 0.5).any()


def test_rewards_of_steps_come_out_of_a_child_process():
    problem = TASK.held_out("operands", 1)[0]
    with VerifierPool(bad.steps) as pool:
        good, wrong = pool.score([(problem, "ab"), (problem, "bad")])
    assert (good.value, good.per_step, good.status) == (0.25, ((1, 0.5), (2, -0.5)), Status.OK)
    assert wrong.status == Status.MALFORMED
