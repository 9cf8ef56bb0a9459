"""Preference pairs: what a file may hold, and one line for every fault; pairs of a task; reward models kept, read by transformers, and as verifiers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from text_folders import folder_of
from transformers import AutoModelForSequenceClassification

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.base_policy import ensure_base_policy
from operant.loops.pairs import MEASURED
from operant.loops.terms import TermBatch
from operant.worlds import make_world
from operant.worlds.sequences.preferences import SequencePairs
from operant.worlds.sequences.problems import make_problem
from operant.worlds.text.preferences import Pair, PreferenceFile, TokenPair, TokenPairs
from operant.worlds.text.rewards import RewardVerifier
from operant.worlds.text.tasks import Problem

CPU = torch.device("cpu")


def rows(count: int) -> list[dict]:
    """The sum is preferred to its successor."""
    return [{"prompt": f"{n % 10}+{n // 10}=", "chosen": f";{(n % 10 + n // 10) % 10}", "rejected": f";{(n % 10 + n // 10 + 1) % 10}"} for n in range(count)]


@pytest.fixture
def write(tmp_path: Path):
    def to_file(content, name="pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else "\n".join(json.dumps(row) for row in content), encoding="utf-8")
        return path

    return to_file


def learner_of(method: str, **hyper):
    """A learner on pairs of arithmetic."""
    world = make_world("preferences:arithmetic")
    ensure_base_policy(world, lambda message: None)
    return get_method(method).build(configure(method, hyper)).learner(world, [0], 100, CPU)


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED = [said("system", "Be brief."), said("user", "1+1?")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": ASKED, "chosen": [said("assistant", "2")], "rejected": [said("assistant", "3")]},
        {"prompt": ASKED, "chosen": [*ASKED, said("assistant", "2")], "rejected": [*ASKED, said("assistant", "3")]},
        {"chosen": [*ASKED, said("assistant", "2")], "rejected": [*ASKED, said("assistant", "3")]},
    ],
    ids=["answers alone", "whole conversations", "without a prompt"],
)
def test_conversations(write, row):
    read = PreferenceFile(write([row | {"split": "train"}, *({"split": "test"} | item for item in rows(2))]))
    assert read.train == [Pair(tuple(ASKED), "2", "3", "line 1")] and read.chats and len(read.test) == 2


def test_a_prompt_in_words_before_conversations(write):
    row = {"prompt": "1+1?", "chosen": [said("user", "1+1?"), said("assistant", "2")], "rejected": [said("user", "1+1?"), said("assistant", "3")], "score": 7}
    assert PreferenceFile(write([row | {"split": "train"}, {"split": "test"} | rows(1)[0]])).train[0].prompt == (said("user", "1+1?"),)


def test_what_is_dropped_is_told_and_prompts_of_test_rows_are_not_trained_on(write):
    read = PreferenceFile(write([*rows(60), rows(60)[3], *({"split": "test", "chosen": "x", "rejected": "y", "prompt": f"{n}+0="} for n in range(2))]))
    assert read.notes[0] == "1 of 63 rows stand there more than once; each was taken once"
    assert "have the prompt of a test row" in read.notes[1] and not {"0+0=", "1+0="} & {pair.prompt for pair in read.train}


ROW = {"prompt": "a", "chosen": "b", "rejected": "c"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", 'line 2 is no object; write {"prompt"'),
        ({"prompt": "a", "chosen": "b"}, "line 2 has no 'rejected'; it has 'prompt', 'chosen'"),
        ({"chosen": "b", "rejected": "c"}, "line 2 has no 'prompt'; answers that are strings"),
        (ROW | {"prompt": 3}, "line 2 has a 'prompt' that is no string"),
        (ROW | {"chosen": 3}, "line 2: 'chosen' is no string and no list of messages"),
        (ROW | {"chosen": " "}, "line 2: the 'chosen' is empty"),
        (ROW | {"rejected": "b"}, "line 2: 'chosen' and 'rejected' are the same"),
        (ROW | {"split": "dev"}, "line 2: 'split' is 'dev'; 'train' or 'test'"),
        (ROW | {"chosen": "\ud800"}, "line 2: 'chosen' holds half a character"),
        (ROW | {"chosen": [said("assistant", "b")]}, "line 2: 'rejected' is no list of messages"),
        ({"prompt": ASKED, "chosen": [said("assistant", "b")], "rejected": [said("user", "c")]}, "line 2: the last message of"),
        ({"prompt": ASKED, "chosen": [said("robot", "b")], "rejected": [said("assistant", "c")]}, "line 2: message 1 of 'chosen' must be"),
        ({"chosen": [said("user", "x"), said("assistant", "b")], "rejected": [said("user", "y"), said("assistant", "c")]}, "must differ in their last message"),
    ],
)
def test_faults_are_named_with_their_line(write, row, says):
    path = write("\n".join([json.dumps(ROW), row if isinstance(row, str) else json.dumps(row)]))
    with pytest.raises(BadInput) as told:
        PreferenceFile(path)
    assert says in str(told.value) and "\n" not in str(told.value)


def test_a_file_without_test_rows_or_a_model_is_refused(write, tmp_path):
    with pytest.raises(BadInput, match="has no test rows"):
        PreferenceFile(write([{"split": "train"} | ROW]))
    with pytest.raises(BadInput, match="has no rows"):
        PreferenceFile(write(""))
    path = write(rows(60))
    for method in ("dpo", "reward-model"):
        with pytest.raises(BadInput, match="give the model as --model"):
            operant.train(method, f"preferences:{path}", out=tmp_path / "run")
    model = str(folder_of("llama", tmp_path))
    with pytest.raises(BadInput, match="leave --verifier and --evaluate-with out"):
        operant.train("dpo", f"preferences:{path}", model=model, verifier="exact", out=tmp_path / "run")
    with pytest.raises(BadInput, match="leave --lora-rank out"):
        operant.train("reward-model", f"preferences:{path}", model=model, lora_rank=2, out=tmp_path / "run")
    with pytest.raises(BadInput, match=r"line 61 has \d+ tokens, prompt and answer together, and the model reads 64"):
        operant.train("dpo", f"preferences:{write([*rows(60), ROW | {'prompt': '1' * 70, 'chosen': '2', 'rejected': '3'}])}", model=model, out=tmp_path / "run")
    with pytest.raises(BadInput, match="unknown preference task 'arithmetics'"):
        make_world("preferences:arithmetics")
    with pytest.raises(BadInput, match="its task takes turns"):
        operant.train("dpo", "preferences:lookup", out=tmp_path / "run")
    with pytest.raises(BadInput, match="draws no answers"):
        make_world("preferences:arithmetic").check_source(None, 1, 1)
    assert not (tmp_path / "run").exists()


def test_rows_stand_side_by_side_and_end_with_their_answers():
    pairs = TokenPairs([TokenPair((5,), (6, 1), (7, 8, 1)), TokenPair((5, 5, 5), (9, 1), (2, 1))], 0, CPU)
    found = pairs.rows(torch.tensor([[1, 0]]))
    assert found.inputs["tokens"].tolist() == [[[5, 5, 5, 9, 1], [5, 5, 5, 2, 1], [5, 6, 1, 0, 0], [5, 7, 8, 1, 0]]]
    assert found.inputs["prompt_length"].tolist() == [[3, 3, 1, 1]] and found.inputs["length"].tolist() == [[5, 5, 3, 4]]
    assert found.action.tolist() == [[[9, 1, 0], [2, 1, 0], [6, 1, 0], [7, 8, 1]]] and found.mask.sum(-1).tolist() == [[2, 2, 2, 3]]
    assert pairs.rows(torch.tensor([[1]])).action.shape == (1, 2, 2)


def test_made_answers_are_what_was_judged(use_small_cache, monkeypatch):
    """A policy may draw padding in the midst of an answer. Who judges does not read it, and no pair holds it."""
    from operant.worlds.text import engine, preferences, verifiers

    drawn, scorer, judged = engine.generate, verifiers.scorer, set()

    def littered(*args, pad_token_id, **kwargs):
        found = drawn(*args, pad_token_id=pad_token_id, **kwargs)
        found.tokens[::2, 0] = pad_token_id
        return found

    def overheard(*args, **kwargs):
        judge = scorer(*args, **kwargs)
        score = judge.score
        judge.score = lambda items: (judged.update((problem.prompt, text) for problem, text in items), score(items))[1]
        return judge

    monkeypatch.setattr(preferences, "MADE", 128)
    monkeypatch.setattr(engine, "generate", littered)
    monkeypatch.setattr(verifiers, "scorer", overheard)
    world = make_world("preferences:arithmetic")
    ensure_base_policy(world, lambda message: None)
    pairs = world._tokens_of("train")
    assert len(pairs) > 10
    for prompt, answer in ((pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)):
        body = answer[:-1] if answer[-1] == world.tokenizer.eos_token_id else answer
        assert (world.tokenizer.decode(prompt), world.tokenizer.decode(body)) in judged  # special tokens would be spelt out


def test_pairs_of_sequences_are_labelled_by_bradley_terry():
    problem = make_problem("random")
    pairs = SequencePairs(problem, Streams(list(range(20))))
    found = pairs.rows(torch.arange(pairs.size).expand(20, -1))
    reward = problem.reward(found.inputs["prompt"], found.action).unflatten(1, (-1, 2))
    margin = reward[..., 0] - reward[..., 1]
    # Of pairs that are m apart, a share σ(m) is labelled for the better one.
    for low, high in ((0.2, 0.4), (0.9, 1.1), (1.5, 2.0)):
        apart = (margin.abs() >= low) & (margin.abs() < high)
        want = margin[apart].abs().sigmoid().mean()
        assert abs((margin[apart] > 0).double().mean() - want) < 4 * (want * (1 - want) / apart.sum()) ** 0.5


@pytest.mark.parametrize("micro_batch", [0, 6])
def test_the_loop_gives_terms_pairs_and_their_reference(use_small_cache, micro_batch):
    """Micro-batches change neither what a term sees of a pair nor the gradient; at the start the log-ratios are 0."""
    learner = learner_of("dpo", micro_batch=micro_batch)
    heard: list[TermBatch] = []
    batch = learner.draw()
    for _, micro in learner.updater.micro_batches(batch):
        heard.append(TermBatch(micro))
        assert (micro["group"][0, 0::2] == micro["group"][0, 1::2]).all()
        torch.testing.assert_close(micro["log_prob"].detach() * micro["mask"], micro["reference_log_prob"] * micro["mask"], rtol=0, atol=2e-5)
    assert len(heard) == (1 if not micro_batch else -(-batch["mask"].shape[1] // micro_batch))


def test_every_pair_comes_once_before_any_comes_again(use_small_cache):
    learner = learner_of("dpo", batch_size=1)
    tokens = [tuple(learner.draw()["inputs.tokens"][0, 0].tolist()) for _ in range(2 * learner.data._pairs.size)]
    first, second = tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :]
    assert sorted(map(str, first)) == sorted(map(str, second)) and first != second and learner.data._pairs.size > MEASURED


def test_a_reward_model_is_learned_kept_and_rewards_answers(write, tmp_path):
    path, model = write(rows(100)), str(folder_of("qwen2", tmp_path))
    run = operant.train("reward-model", f"preferences:{path}", model=model, steps=60, every=60, learning_rate=3e-3, threads=1, out=tmp_path / "run")
    assert run.result["score"]["name"] == "accuracy"
    folder = run.path / "policies" / "last" / "seed-0"
    kept, theirs = run.load_policy(), AutoModelForSequenceClassification.from_pretrained(folder).eval()
    verifier = RewardVerifier(folder)
    problem, answer = Problem("1+2=", ""), ";3"
    ids = torch.tensor([[*run.world.tokenizer.encode("1+2=;3", add_special_tokens=False), run.world.tokenizer.eos_token_id]])
    with torch.no_grad():
        own = kept.replay({"tokens": ids[None], "prompt_length": torch.tensor([[4]]), "length": torch.tensor([[7]])}, ids[None])["reward"]
        assert theirs(input_ids=ids).logits.item() == pytest.approx(own.item(), rel=1e-4, abs=1e-5)
    verdicts = verifier.score([(problem, answer), (problem, ";44"), (problem, answer)])
    assert verdicts[0].value == verdicts[2].value == pytest.approx(own.item(), rel=1e-4, abs=1e-5) and verdicts[1].value != verdicts[0].value
    assert operant.load(run.path).evaluate(episodes=4)["score"]


def test_a_reward_model_on_the_command_line(use_small_cache, tmp_path):
    made = operant.train("reward-model", "preferences:arithmetic", steps=2, episodes=4, threads=1, out=tmp_path / "reward")
    spec = f"reward-model:{made.path / 'policies' / 'last' / 'seed-0'}"
    run = operant.train("grpo", "text:arithmetic", verifier=spec, steps=2, prompts=2, group_size=4, episodes=2, threads=1, out=tmp_path / "grpo")
    assert run.result["score"]["name"] == "pass@1" and json.loads((run.path / "run.json").read_text())["options"]["verifier"] == spec
    with pytest.raises(BadInput, match="give the model's folder, as in reward-model:runs"):
        make_world("text:arithmetic", verifier="reward-model")
    with pytest.raises(BadInput, match="lacks score.weight"):
        operant.train("grpo", "text:arithmetic", verifier=f"reward-model:{next((use_small_cache / 'base').iterdir())}", steps=2, out=tmp_path / "none")


def test_dpo_learns_what_is_preferred(use_small_cache):
    """Of sequences, where the truth is known: the mean reward rises for every seed."""
    run = operant.train("dpo", "sequences:graded", seeds=4, steps=150, learning_rate=0.03, batch_size=64, progress=False, threads=1)
    start = make_world("sequences:graded").evaluate(make_world("sequences:graded").policy(None, Streams([0])), 1).values.mean()
    assert min(run.result["score"]["per_seed"]) > start + 0.04
