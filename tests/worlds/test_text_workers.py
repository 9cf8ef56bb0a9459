"""Processes that draw answers: the bits of one process, older weights, deaths, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from learners import state_after

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput, RunFailed, WorkerLost
from operant.core.registry import configure, get_method
from operant.loops.runs import resume, train
from operant.loops.terms import IMPORTANCE, TermBatch, step_losses
from operant.nets.language import TokenPolicy
from operant.worlds.base import SampleWorkers
from operant.worlds.plans import Request
from operant.worlds.text.engine import generate
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.tasks import Arithmetic
from operant.worlds.text.workers import AnswerWorkers, Versions
from operant.worlds.text.world import TextWorld

SMALL = {"prompts": 4, "group_size": 4}
TASK = "arithmetic"
BATCH = {"generation_batch_size": 6}  # a request's answers are in several batches, and the last batch is smaller


def learner_of(method: str, beside: SampleWorkers | None, task: str = TASK, truncated: float | None = None, **options):
    own = get_method(method).hyperparameters.__dataclass_fields__
    spine = get_method(method).build(configure(method, {name: value for name, value in SMALL.items() if name in own}))
    spine = spine if beside is None else spine.sampled_by(beside)
    spine = spine if truncated is None else spine.truncated_by(truncated)
    world = TextWorld(task, **options)
    world.check_source(spine.sample, 1, beside)
    return spine.learner(world, [0], 100, torch.device("cpu"))


def trained(method: str, beside: SampleWorkers | None, iterations: int = 2, state: dict | None = None, **options) -> dict:
    """A learner's state after some iterations."""
    return state_after(learner_of(method, beside, **options), iterations, state)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grpo", {}),
        ("grpo", {"lora_rank": 2, "dtype": "bfloat16"}),
        ("dapo", {}),  # rounds until enough groups are kept
        ("hapo", {}),  # a temperature for each token
        ("direct-apo", {"generation_batch_size": 1}),  # trees
        ("rl-plus", {}),  # given answers
        ("t-ppo", {}),  # rows that go on in the next iteration; a value function
        ("igpo", {"task": "twenty-questions"}),
    ],
)
def test_any_number_of_workers_learns_the_bits_of_one_process(method: str, options: dict):
    options = BATCH | options
    assert first_difference(trained(method, None, **options), trained(method, SampleWorkers(3), **options)) is None


def test_a_run_goes_on_with_another_number_of_workers_or_none():
    expected = trained("grpo", SampleWorkers(1), 3)
    assert first_difference(expected, trained("grpo", SampleWorkers(4), 1, trained("grpo", SampleWorkers(2), 2))) is None
    assert first_difference(expected, trained("grpo", None, 1, trained("grpo", SampleWorkers(2), 2), generation_batch_size=4)) is None


@pytest.mark.parametrize("method", ["dapo", "t-ppo"])
def test_what_is_drawn_ahead_hangs_on_no_clock_and_is_in_the_state(method: str):
    """Some rollouts are under way, or wait, at every checkpoint."""
    expected = trained(method, SampleWorkers(1, 2), 4)
    assert first_difference(expected, trained(method, SampleWorkers(2, 2), 1, trained(method, SampleWorkers(3, 2), 3))) is None
    with pytest.raises(BadInput, match="this run draws answers ahead of what is learned from: go on with --sample-workers 1 or more"):
        trained(method, None, 0, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_older_weights_are_told_of_and_weighted_by_the_ratio_to_them(dtype: str):
    """Their log-probabilities are theirs: of the weights one update before, whatever has been learned since."""
    learner = learner_of("grpo", SampleWorkers(2, 1), truncated=1.5, dtype=dtype, **BATCH)
    try:
        found = []
        before = []
        for _ in range(3):
            before.append({name: value.clone() for name, value in learner.policy.state_dict().items()})
            found.append(learner.iterate())
        assert [int(metrics["staleness"]) for metrics in found] == [0, 1, 1]
        assert [IMPORTANCE in metrics for metrics in found] == [False, True, True]
        rollout = learner.source.sample(learner.policy, learner.version)
        assert rollout.version == learner.version - 1
        if dtype == "float32":
            learner.policy.load_state_dict(before[-1])
            acted = learner.policy.replay(rollout.inputs, rollout.action)["log_prob"]
            torch.testing.assert_close(acted * rollout.mask, rollout.log_prob * rollout.mask, atol=1e-4, rtol=1e-4)
    finally:
        learner.close()


def test_an_answer_that_is_one_action_has_one_weight_and_a_given_one_none():
    """RLOO's ratio is an answer's, and so is its weight: min(C, the product of its tokens' ratios). What no policy drew counts whole."""
    learner = learner_of("rloo", None, truncated=1.5)
    rollout = learner._collect()[0]
    apart = torch.linspace(-0.3, 0.5, rollout.mask.numel()).view_as(rollout.log_prob) * rollout.mask
    rollout.extras["behaviour_log_prob"] = rollout.log_prob - apart
    fields = learner.fields(learner.prepare(rollout))
    rows = apart.sum(-1).exp().clamp(max=1.5)
    [loss] = step_losses(learner.updater.terms, TermBatch(fields | {"log_prob": fields["old_log_prob"]}))
    advantage = (fields["advantage"] * fields["mask"]).sum(-1) / fields["mask"].sum(-1)
    torch.testing.assert_close(loss[..., 0], -rows * advantage)

    learner = learner_of("rl-plus", None, truncated=1.5)
    rollout = learner._collect()[0]
    rollout.extras["behaviour_log_prob"] = rollout.log_prob - 0.2
    found = learner.prepare(rollout)
    given = found.extras["outside"]
    assert given.any() and not given.all()
    assert bool((found.extras[IMPORTANCE][given] == 1).all())
    torch.testing.assert_close(found.extras[IMPORTANCE][~given], torch.full_like(found.extras[IMPORTANCE][~given], 0.2).exp())


def test_the_age_of_rows_is_told_where_rounds_are_of_several_weights():
    learner = learner_of("dapo", SampleWorkers(2, 1), **BATCH)
    try:
        found = [learner.iterate() for _ in range(3)]
        assert all(0 <= metrics["staleness"] <= metrics["staleness/most"] <= 1 for metrics in found if "staleness" in metrics)
        rows = learner.rollout.extras["behind"]
        assert int(rows.max()) == learner.version - 1 - learner.rollout.version
    finally:
        learner.close()


def test_the_size_of_a_batch_stays_with_the_run(tmp_path: Path):
    model = tmp_path / "model"
    tokenizer = make_tokenizer(Arithmetic.alphabet)
    for part in (tokenizer, make_model("llama", len(tokenizer), 0, width=16, layers=1, heads=2)):
        part.save_pretrained(model)
    run = train("grpo", f"text:{TASK}", steps=1, sample_workers=2, out=tmp_path / "run", model=str(model), episodes=2, progress=False, **SMALL)
    resume(run.path, steps=2, sample_workers=0, progress=False)
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert config["options"] == {"model": str(model), "generation_batch_size": 4} and "sample_workers" not in config


def test_batches_larger_than_a_pipe_are_drawn():
    """A request of 128 rows with draws for 250 tokens is 256 kB, and an answer more: two of either wait for the other end to read."""
    requests = [Request((2, 3, 4), 512)]
    model = make_model("llama", 24, 0, width=16, layers=1, heads=2, positions=300)
    versions = Versions(TokenPolicy(model), 1, shared=True)
    how = {"max_new_tokens": 250, "eos_token_id": None, "pad_token_id": 0}
    expected = generate(model, requests, generator=torch.Generator().manual_seed(0), batch_size=128, **how)
    workers = AnswerWorkers(SampleWorkers(2), 128)
    try:
        workers.take(versions, TokenPolicy(model))
        found = workers.generate(requests, generator=torch.Generator().manual_seed(0), **how)
    finally:
        workers.close()
    assert torch.equal(found.tokens, expected.tokens) and torch.equal(found.log_prob, expected.log_prob)


SCRIPT = """
import torch
from operant.core.registry import configure, get_method
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.world import GymWorld

if __name__ == "__main__":
    spine = get_method("ppo").build(configure("ppo", {"environments": 2, "rollout_length": 8})).sampled_by(SampleWorkers(1))
    learner = spine.learner(GymWorld("CartPole-v1"), [0], 100, torch.device("cpu"))
    learner.iterate()
"""


def test_a_script_that_closes_nothing_ends(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    assert subprocess.run([sys.executable, str(tmp_path / "script.py")], timeout=60).returncode == 0


def test_a_death_is_told():
    learner = learner_of("grpo", SampleWorkers(2), **BATCH)
    try:
        learner.iterate()
        os.kill(learner.source.workers._workers.links[1].process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="sample worker 2 of 2 was ended by SIGKILL"):
            learner.iterate()
    finally:
        learner.close()


def test_a_death_while_it_is_learned_is_told_and_everything_ends():
    learner = learner_of("grpo", SampleWorkers(2, 1), **BATCH)
    try:
        learner.iterate()
        processes = [link.process for link in learner.source._source.workers._workers.links]
        os.kill(processes[0].pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="sample worker 1 of 2 was ended by SIGKILL"):
            for _ in range(3):
                learner.iterate()
    finally:
        began = time.monotonic()
        learner.close()
    assert time.monotonic() - began < 10 and not any(process.is_alive() for process in processes)


def breaks(problem, completion: str) -> float:
    raise RuntimeError("broken")


def test_what_goes_wrong_ahead_is_told_where_it_is_learned_from(monkeypatch):
    learner = learner_of("grpo", SampleWorkers(1, 1), **BATCH)
    try:
        learner.iterate()
        monkeypatch.setattr(learner.source._source, "score", lambda rollout: (_ for _ in ()).throw(RunFailed("a verifier is gone")))
        with pytest.raises(RunFailed, match="a verifier is gone"):
            for _ in range(3):
                learner.iterate()
    finally:
        learner.close()


def test_what_workers_cannot_do_is_refused(tmp_path: Path):
    for beside, options, line in (
        (SampleWorkers(5), {}, "5: a round of 16 answers in batches of 4 keeps at most 4 of them busy; nearest: .* 4, or --generation-batch-size 3"),
        (SampleWorkers(2), {"generation_batch_size": 16}, "at most 1 of them busy; nearest: --sample-workers 1, or --generation-batch-size 8"),
        (SampleWorkers(2), {"engine": "vllm"}, "--sample-workers 2: vLLM is the one process that draws; --sample-workers 1 --staleness 1 lets"),
        (SampleWorkers(1), {"engine": "vllm"}, "--sample-workers 1: vLLM is the one process that draws"),
        (None, {"engine": "vllm", "generation_batch_size": 4}, "--engine vllm makes its batches by itself; leave --generation-batch-size out"),
    ):
        with pytest.raises(BadInput, match=line):
            learner_of("grpo", beside, **options)
    for method, part in (("rover", "policy"), ("lp-reg", "policy")):
        with pytest.raises(BadInput, match=f"--staleness 1: {part} of this method reads distributions of the policy that acted, which are measured when"):
            train(method, f"text:{TASK}", steps=1, sample_workers=1, staleness=1, out=tmp_path / "run")
    with pytest.raises(BadInput, match="--sample-workers 2: what this method learns from is gathered by the process that trains"):
        train("sft", f"text:{TASK}", steps=1, sample_workers=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
