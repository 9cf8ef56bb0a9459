"""What a real run on text leaves for the collapse report and the browser of completions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import operant
from operant.cli.training import result_text
from operant.evaluate.collapse import run_collapse
from operant.evaluate.records import load_run
from operant.worlds.text.source import TextSource
from operant.worlds.text.world import TextWorld


class FailsOnEvenAnswers:
    """The task's verifier, but for a bug."""

    trusted = True

    def score(self, problem, completion):
        if int(problem.answer) % 2 == 0:
            raise ZeroDivisionError("halved <twice>")
        return float(completion.endswith(problem.answer))


class Fails:
    trusted = True

    def score(self, problem, completion):
        raise ValueError("no answer is read")


def test_a_run_whose_answers_cannot_be_scored_says_so(use_small_cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("operant.worlds.text.references.check_verifier", lambda *a, **k: None)  # it fails once the run goes
    told = []
    world = TextWorld("arithmetic", verifier=Fails())
    run = operant.train(
        "grpo", world, steps=2, threads=1, episodes=4, prompts=4, group_size=2, out=tmp_path / "run", listener=lambda update: told.append(update.message)
    )
    assert "none of the 64 answers of an evaluation could be scored: crashed, ValueError: no answer is read" in told
    assert run.result["collapse"]["diagnoses"][0] == "none of the 16 answers could be scored: 16 CRASHED: ValueError: no answer is read"
    assert [row["unscored"] for row in load_run(run.path).evaluations] == [64, *[64] * (len(load_run(run.path).evaluations) - 1)]
    assert run.result["collapse"]["diagnoses"][1:] == ["none of the answers of the last evaluation (64) could be scored: they count as wrong"]
    assert not any(row.keys() & {"reward", "length", "ended"} for row in load_run(run.path).metrics)
    assert "none of the 16 answers could be scored" in " ".join(result_text(run.result, run.config).split())


@pytest.fixture
def run(use_small_cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> operant.Run:
    monkeypatch.setattr(TextSource, "report", lambda self: {"messages": {"crashed": "ZeroDivisionError: halved <twice>"}}, raising=False)
    world = TextWorld("arithmetic", verifier=FailsOnEvenAnswers())
    return operant.train("grpo", world, steps=2, threads=1, episodes=4, prompts=12, group_size=4, learning_rate=1e-2, out=tmp_path / "run")


def logits(policy, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """The next token's logits before each token of an answer, `[T, V]` float64."""
    with torch.no_grad():
        found = policy.model(torch.tensor([prompt + answer])).logits[0]
    return found[len(prompt) - 1 : -1].double()


def test_a_run_s_result_completions_and_evaluations(run: operant.Run):
    result, read = run.result, load_run(run.path)
    collapse = result["collapse"]
    assert collapse == run_collapse(read)

    drawn = sum(row.get("score/crashed", 0.0) * 48 for row in read.metrics)
    assert collapse["verifier"]["crashed"] == {"count": round(drawn), "share": pytest.approx(drawn / 96), "message": "ZeroDivisionError: halved <twice>"}
    assert any("could not be scored, crashed: ZeroDivisionError" in line for line in collapse["diagnoses"])
    assert collapse["pass_at_k"].keys() == {"1", "2", "4", "8", "16"}
    for k, entry in collapse["pass_at_k"].items():
        assert (entry["policy"], entry["base"]) == pytest.approx((result["pass_at_k"]["policy"][k], result["pass_at_k"]["base"][k]))
        assert entry["low"] <= entry["change"] <= entry["high"]
    before, after = read.evaluations[0], read.evaluations[-1]
    assert before["samples"] == 16 and 1 < before["distinct"] <= 16
    assert collapse["entropy"] == {"start": pytest.approx(before["entropy"]), "end": pytest.approx(after["entropy"])}
    assert 0 < after["entropy"] < math.log(len(run.world.tokenizer))
    text = " ".join(result_text(result, run.config).split())
    assert "distinct answers" in text and "could not be scored" in text and f"pass@1 {result['pass_at_k']['policy']['1']:.3f}, before training" in text

    # Ratio and KL of each token, against one forward pass a row and a sum over the vocabulary.
    trained, world = run.load_policy(), run.world
    base = world.load_policy(world.base)
    kls = []
    for row in read.completions:
        prompt = world.tokenizer.encode(row["prompt"])
        answer = [world.tokenizer.convert_tokens_to_ids(token["text"]) for token in row["tokens"]]
        new, old = (logits(policy, prompt, answer).log_softmax(-1) for policy in (trained, base))
        for t, token in enumerate(row["tokens"]):
            assert token["ratio"] == pytest.approx(math.exp(new[t, answer[t]].item() - token["log_prob"]), rel=1e-3)
            kl = sum(new[t, v].exp().item() * (new[t, v] - old[t, v]).item() for v in range(new.shape[1]))
            assert token["kl"] == pytest.approx(kl, abs=1e-4, rel=1e-3)
            kls.append(kl)
    assert len({row["group"] for row in read.completions}) <= 8 and max(kls) > 0.01
    assert all(json.loads(json.dumps(row, allow_nan=False)) for row in read.completions)


def test_why_an_answer_was_not_scored_is_known_when_the_run_goes_on(use_small_cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("operant.worlds.text.references.check_verifier", lambda *a, **k: None)
    given = {"steps": 3, "every": 1, "threads": 1, "episodes": 4, "prompts": 4, "group_size": 2}
    at_first = TextWorld("arithmetic", verifier=Fails())

    class Stopped(Exception):
        pass

    def stop(update):
        if update.phase == "train" and update.step == 2:
            raise Stopped

    with pytest.raises(Stopped):
        operant.train("grpo", at_first, out=tmp_path / "run", listener=stop, **given)
    later = TextWorld("arithmetic", verifier=FailsOnEvenAnswers())
    run = operant.resume(tmp_path / "run", task=later, progress=False)
    assert run.result["collapse"]["verifier"]["crashed"]["message"] == "ValueError: no answer is read"
