"""The generation engine against plain forward passes, Hugging Face's own greedy decoding, and the distribution itself."""

import dataclasses

import pytest
import torch
from other_device import DEVICE, other_device
from recorded_graph import RecordedGraph
from text_helpers import END, KINDS, PAD, REQUESTS, SIZES, V, draw, make, slow
from transformers import MambaConfig, MambaForCausalLM, Phi3Config, Phi3ForCausalLM

from operant.core import graphs
from operant.core.errors import BadInput, RunFailed
from operant.nets.bfloat16 import BFloat16Linear, compute_in_bfloat16
from operant.worlds.plans import Request
from operant.worlds.text import engine

# Transformers says a version ahead what it will take away.
pytestmark = [pytest.mark.filterwarnings("error::FutureWarning"), pytest.mark.filterwarnings("error::DeprecationWarning")]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_figures_are_those_of_a_plain_forward_pass(kind, temperature):
    model = make(kind)
    generation = draw(model, temperature=temperature)
    log_probs, entropies = slow(model, generation, temperature)
    assert (generation.log_prob - log_probs).abs().max() < 1e-4
    assert (generation.entropy - entropies).abs().max() < 1e-4
    assert 0.2 < generation.finished.float().mean() < 1  # some rows ended, and were dropped while others went on


@pytest.mark.parametrize("kind", KINDS)
def test_the_written_out_step_and_the_models_own_are_the_same(kind, monkeypatch):
    model = make(kind)
    assert engine.can_join(model) == (kind in ("llama", "qwen2"))
    first = draw(model)
    monkeypatch.setattr(engine, "can_join", lambda model: False)
    second = draw(model)
    assert torch.equal(first.tokens, second.tokens)
    assert (first.log_prob - second.log_prob).abs().max() < 1e-5


@pytest.mark.parametrize("requests", [REQUESTS, [Request((5, 6, 7), 9)]], ids=["padded", "of one length"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_captured_step_draws_what_the_plain_one_draws(kind, requests, monkeypatch):
    wanted = draw(make(kind), requests)
    monkeypatch.setattr(engine, "ROOM", 8)
    monkeypatch.setattr(RecordedGraph, "replays", 0)
    monkeypatch.setitem(graphs.GRAPHS, DEVICE.type, RecordedGraph)
    with other_device(monkeypatch) as device:
        found = draw(make(kind).to(device), requests, cuda_graphs=True)
        tokens, log_prob, mask = found.tokens.cpu(), found.log_prob.cpu(), found.mask.cpu()
    assert RecordedGraph.replays >= 8  # of 20 tokens, in rooms of 8 places, with rows that end on the way
    assert torch.equal(tokens, wanted.tokens) and torch.equal(mask, wanted.mask)
    assert (log_prob - wanted.log_prob).abs().max() < 1e-5


def test_a_step_that_is_not_written_out_is_not_captured():
    with pytest.raises(BadInput, match="--cuda-graphs: the step of Llama and Qwen2 models of at most 50M parameters is captured; GPT2LMHeadModel is none"):
        draw(make("gpt2"), cuda_graphs=True)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("wide", [0, 256])
def test_in_bfloat16_recorded_figures_are_near_the_exact_ones(kind, wide, monkeypatch):
    monkeypatch.setattr(engine, "WIDE", wide)
    model, exact = make(kind), make(kind)
    compute_in_bfloat16(model)
    calls, cast = [], BFloat16Linear.cast
    monkeypatch.setattr(BFloat16Linear, "cast", lambda self: calls.append(self) or cast(self))
    generation = draw(model)
    layers = [module for module in model.modules() if isinstance(module, BFloat16Linear)]
    assert calls == layers and all(layer.held is None for layer in layers)  # once each, however many tokens were drawn
    log_probs, _ = slow(exact, generation, 1.0)
    off = (generation.log_prob - log_probs).abs().max().item()
    assert 1e-3 < off < 0.3
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_what_hugging_face_generates(kind):
    model = make(kind).eval()
    mine = draw(model, [Request(prompt.prefix) for prompt in REQUESTS], greedy=True, generator=None)
    for row, request in enumerate(REQUESTS):
        ids = torch.tensor([request.prefix])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[0, len(request.prefix) :]
        assert mine.tokens[row, mine.mask[row]].tolist() == theirs.tolist()


def test_shapes_ends_and_padding():
    model = make("llama")
    generation = draw(model)
    assert generation.prompts == [request.prefix for request in REQUESTS]
    assert generation.request.tolist() == [0] * 3 + [1] * 4 + [2] * 2 + [3] * 12
    assert (generation.tokens[~generation.mask] == PAD).all() and not generation.log_prob[~generation.mask].any()
    lengths = generation.mask.sum(1)
    assert int(lengths.max()) == generation.tokens.shape[1]
    for row, request in enumerate(generation.request.tolist()):
        ends = {END, *REQUESTS[request].stop}
        tokens = generation.tokens[row, : lengths[row]].tolist()
        assert not ends & set(tokens[:-1])
        assert bool(generation.finished[row]) == (tokens[-1] in ends)
        assert generation.finished[row] or lengths[row] == 20
    assert torch.isin(generation.tokens, torch.tensor([3, 12, 13, 14, 15, 16, 17])).any()  # stop tokens of their own ended rows
    short = draw(model, max_new_tokens=3)
    assert short.tokens.shape[1] == 3
    for row, request in enumerate(short.request.tolist()):
        assert bool(short.finished[row]) == bool({END, *REQUESTS[request].stop} & set(short.tokens[row, short.mask[row]].tolist()))
    assert 0 < short.finished.sum() < len(short.finished)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_draws_do_not_depend_on_which_rows_were_dropped(kind, monkeypatch):
    model = make(kind)
    dropping = draw(model)
    monkeypatch.setattr(engine, "DROP_AT", -1.0)
    keeping = draw(model)
    assert torch.equal(dropping.tokens, keeping.tokens) and torch.equal(dropping.mask, keeping.mask)
    assert (dropping.log_prob - keeping.log_prob).abs().max() < 1e-5


def test_rows_are_dropped(monkeypatch):
    sizes = []
    step = engine._JoinedStep.__call__
    monkeypatch.setattr(engine._JoinedStep, "__call__", lambda self, token: sizes.append(len(token)) or step(self, token))
    draw(make("llama"))
    assert sizes[0] == 21 and sizes[-1] < 0.75 * 21 and sizes == sorted(sizes, reverse=True)


def test_each_prompt_is_run_once():
    model = make("llama")
    seen = []
    handle = model.register_forward_hook(lambda module, args, kwargs, output: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
    draw(model)
    handle.remove()
    assert seen[0] == (3, 9) and (len(seen) == 1 or all(shape[1] == 1 for shape in seen[1:]))


def test_the_same_generator_state_gives_the_same_bits_and_takes_the_same_number_of_draws():
    model = make("qwen2")
    first, second = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    a = draw(model, generator=first)
    b = draw(model, generator=second)
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.log_prob, b.log_prob) and torch.equal(a.entropy, b.entropy)
    draw(make("llama"), generator=second.manual_seed(3))  # another model, other lengths
    assert torch.equal(first.get_state(), second.get_state())


def test_frequencies_are_the_models_probabilities():
    model, count, temperature = make("llama"), 20_000, 1.3
    generation = draw(model, [Request((4, 5), count)], max_new_tokens=1, temperature=temperature)
    with torch.no_grad():
        p = (model(torch.tensor([[4, 5]])).logits[0, -1].double() / temperature).softmax(-1)
    found = torch.bincount(generation.tokens[:, 0], minlength=V).double() / count
    assert ((found - p).abs() <= 5 * (p * (1 - p) / count).sqrt() + 1e-9).all()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_requests_own_limit_ends_its_rows(kind):
    model = make(kind)
    free = draw(model)
    limits = [2, 7, None, 9]
    generation = draw(model, [dataclasses.replace(request, max_new_tokens=limit) for request, limit in zip(REQUESTS, limits, strict=True)])
    for row, request in enumerate(generation.request.tolist()):
        length, before = int(generation.mask[row].sum()), int(free.mask[row].sum())
        assert length == min(before, limits[request] or 20)
        assert torch.equal(generation.tokens[row, :length], free.tokens[row, :length])  # the same draws
        assert bool(generation.finished[row]) == (bool(free.finished[row]) and before == length)
        assert (generation.log_prob[row, :length] - free.log_prob[row, :length]).abs().max() < 1e-5
    assert generation.behaviour_log_prob is None


def test_a_long_prefix_with_a_short_limit_fits_beside_a_short_one():
    model = make("gpt2")  # positions are learned: there is no row 64
    generation = draw(model, [Request(tuple([5] * 60), 2, max_new_tokens=4), Request((5,), 2)], max_new_tokens=60, eos_token_id=None)
    assert generation.mask.sum(1).tolist() == [4, 4, 60, 60]
    log_probs, _ = slow(model, generation, 1.0)
    assert (generation.log_prob - log_probs).abs().max() < 1e-4


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_p": 0.6}, {"top_k": 5, "top_p": 0.5, "temperature": 1.4}])
def test_truncation_draws_from_the_likeliest_and_records_the_policy(options):
    model, count, temperature = make("llama"), 5000, options.get("temperature", 1.0)
    generation = draw(model, [Request((4, 5), count)], max_new_tokens=1, **options)
    with torch.no_grad():
        p = (model(torch.tensor([[4, 5]])).logits[0, -1].double() / temperature).softmax(-1)
    kept, mass, total = [], 0.0, sum(sorted(p.tolist(), reverse=True)[: options.get("top_k", V)])
    for token in sorted(range(V), key=lambda token: -p[token].item())[: options.get("top_k", V)]:  # by the definition, token by token
        if mass / total >= options.get("top_p", 1.0):
            break
        kept.append(token)
        mass += p[token].item()
    assert 1 < len(kept) < V and set(generation.tokens[:, 0].tolist()) == set(kept)
    taken = generation.tokens[:, 0]
    assert (generation.log_prob[:, 0] - p.log()[taken]).abs().max() < 1e-5
    assert (generation.behaviour_log_prob[:, 0] - (p / mass).log()[taken]).abs().max() < 1e-5
    for token in kept:
        share = p[token].item() / mass
        assert abs((taken == token).double().mean().item() - share) < 5 * (share * (1 - share) / count) ** 0.5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_adaptive_temperature_changes_what_is_drawn_and_not_what_the_policy_says(kind):
    model, seen = make(kind), []

    def temperature(entropy, log_p):
        assert entropy.shape == log_p.shape[:1] and torch.allclose(entropy, -(log_p.exp() * log_p).sum(1), atol=1e-5)
        seen.append(len(entropy))
        return 0.5 + 0.4 * entropy

    generation = draw(model, temperature=temperature)
    log_probs, entropies = slow(model, generation, 1.0)
    assert (generation.log_prob - log_probs).abs().max() < 1e-4 and (generation.entropy - entropies).abs().max() < 1e-4
    assert seen[0] == 21 and seen[-1] < 21  # rows that are going alone are asked about
    for row in (0, 4, 12, 20):
        prompt, length = list(generation.prompts[int(generation.request[row])]), int(generation.mask[row].sum())
        answer = generation.tokens[row, :length].tolist()
        with torch.no_grad():
            log_p = model.eval()(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
        hot = 0.5 + 0.4 * -(log_p.exp() * log_p).sum(1, keepdim=True)
        truth = (log_p / hot).log_softmax(-1)[torch.arange(length), answer]
        assert (generation.behaviour_log_prob[row, :length] - truth).abs().max() < 1e-4
        assert not generation.behaviour_log_prob[row, length:].any()
    # A temperature of 1 everywhere draws what no temperature draws.
    plain, one = draw(model), draw(model, temperature=lambda entropy, log_p: torch.ones_like(entropy))
    assert torch.equal(plain.tokens, one.tokens)
    torch.testing.assert_close(one.behaviour_log_prob, plain.log_prob, atol=1e-6, rtol=0)


def test_results_can_be_trained_on_and_the_mode_is_put_back():
    model = make("gpt2").train()
    generation = draw(model)
    assert model.training and not generation.log_prob.is_inference()
    assert torch.equal(generation.tokens, draw(model).tokens)  # no dropout in sampling


def test_models_and_arguments_that_do_not_fit():
    model = make("llama")
    mamba = MambaForCausalLM(MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=1, state_size=4))
    scaled = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 12}
    config = Phi3Config(**SIZES, num_key_value_heads=2, pad_token_id=PAD, original_max_position_embeddings=12, rope_parameters=scaled)
    longrope = Phi3ForCausalLM(config)
    for call, words in (
        (lambda: draw(mamba), "has layers of linear_attention"),
        (lambda: draw(longrope), "do not fit the model's 12 positions: beyond its original length LongRoPE"),
        (lambda: draw(model, []), "no requests"),
        (lambda: draw(model, [Request(())]), "at least 1"),
        (lambda: draw(model, [Request((4,), n=0)]), "at least 1"),
        (lambda: draw(model, max_new_tokens=60), "64 positions"),
        (lambda: draw(model, max_new_tokens=0), "nearest: 1"),
        (lambda: draw(model, temperature=0.0), "greedy=True"),
        (lambda: draw(model, generator=None), "generator"),
        (lambda: draw(model, [Request((4,), max_new_tokens=21)]), "request 0 has max_new_tokens=21; nearest: 20"),
        (lambda: draw(model, top_k=0), "nearest: 1"),
        (lambda: draw(model, top_p=1.5), "nearest: 1.0"),
        (lambda: draw(model, top_k=3, greedy=True), "greedy=True draws nothing"),
        (lambda: draw(model, temperature=lambda entropy, log_p: entropy * 0), "lowest is 0"),
        (lambda: draw(model, temperature=lambda entropy, log_p: torch.ones(3)), "3. values for 21 rows"),
    ):
        with pytest.raises(BadInput, match=words) as raised:
            call()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", [{}, {"greedy": True}, {"top_p": 0.9}])
def test_a_policy_that_diverged_is_told(given):
    model = make("llama")
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(RunFailed, match="log-probabilities are not numbers: its weights have diverged; try a lower --learning-rate"):
        draw(model, **given)
