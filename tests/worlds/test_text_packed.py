"""Packed rows against the literal model on padded ones: values, gradients, and what makes a model be left to its own forward pass."""

import copy

import pytest
import torch
from text_helpers import PAD, REQUESTS, SIZES, V, draw, make
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from operant.nets import kernels, language, packed
from operant.nets.bfloat16 import compute_in_bfloat16
from operant.nets.language import TokenCritic, TokenPolicy, generation_to_inputs
from operant.worlds.plans import Request


def wide_heads():
    """Head size apart from width / heads, grouped keys, scaled rotary positions."""
    config = LlamaConfig(
        **SIZES, num_key_value_heads=2, head_dim=16, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}, pad_token_id=PAD
    )
    with torch.random.fork_rng(devices=[]):
        return LlamaForCausalLM(config)


MODELS = {"llama": lambda: make("llama"), "qwen2": lambda: make("qwen2"), "wide heads": wide_heads}


def both_ways(policy, monkeypatch, loss):
    """(value and gradients of `loss(policy)`) packed and padded."""
    results = []
    for padded in (False, True):
        if padded:
            monkeypatch.setattr(language, "can_join", lambda trunk: False)
        policy.zero_grad()
        values = loss(policy)
        sum((value * (1 + place)).square().sum() for place, value in enumerate(values)).backward()
        results.append((*(value.detach() for value in values), *(p.grad.clone() for p in policy.parameters())))
    return results


@pytest.mark.parametrize("bucket", [2, 8])
@pytest.mark.parametrize("kind", MODELS)
def test_values_and_gradients_are_those_of_the_padded_model(kind, bucket, monkeypatch):
    monkeypatch.setattr(packed, "BUCKET", bucket)
    policy = TokenPolicy(MODELS[kind]())
    assert packed.can_join(policy.model.base_model)
    generation = draw(policy.model)
    inputs, action = generation_to_inputs(generation, PAD), generation.tokens[None]

    def loss(policy):
        outputs = policy.replay(inputs, action, {"entropy"})
        return outputs["log_prob"], outputs["entropy"]

    for mine, theirs in zip(*both_ways(policy, monkeypatch, loss), strict=True):
        assert (mine - theirs).abs().max() <= 2e-5 * max(1.0, theirs.abs().max())


@pytest.mark.parametrize("kind", ["head", "model"])
def test_the_critics_values_and_gradients(kind, monkeypatch):
    policy = TokenPolicy(make("llama"), critic=TokenCritic(kind))
    nn.init.normal_(policy.critic.head.weight, generator=torch.Generator().manual_seed(1))
    generation = draw(policy.model)
    inputs, action = generation_to_inputs(generation, PAD), generation.tokens[None]

    def loss(policy):
        outputs = policy.replay(inputs, action, {"value"})
        return outputs["log_prob"], outputs["value"]

    for mine, theirs in zip(*both_ways(policy, monkeypatch, loss), strict=True):
        assert (mine - theirs).abs().max() <= 2e-5 * max(1.0, theirs.abs().max())


@pytest.mark.parametrize("kind", MODELS)
def test_in_bfloat16_packed_rows_are_as_close_to_the_exact_ones_as_padded_ones_are(kind, monkeypatch):
    exact, rounded = TokenPolicy(MODELS[kind]()), MODELS[kind]()
    rounded.load_state_dict(exact.model.state_dict())
    generation = draw(exact.model)
    compute_in_bfloat16(rounded)
    assert packed.can_join(rounded.base_model)
    inputs, action = generation_to_inputs(generation, PAD), generation.tokens[None]

    def loss(policy):
        return (policy.replay(inputs, action)["log_prob"],)

    truth, _ = both_ways(exact, monkeypatch, loss)
    monkeypatch.undo()
    runs = []
    joined = packed.PackedRows.__init__
    monkeypatch.setattr(packed.PackedRows, "__init__", lambda self, *of: runs.append(1) or joined(self, *of))
    mine, padded = both_ways(TokenPolicy(rounded), monkeypatch, loss)
    assert len(runs) == 1

    def error(found):
        """The worst of values, and the length of what gradients are off by, over that of the gradients."""
        off, whole = (torch.cat([x.flatten() for x in xs]) for xs in ([a - b for a, b in zip(found[1:], truth[1:], strict=True)], truth[1:]))
        return (found[0] - truth[0]).abs().max().item(), (off.norm() / whole.norm()).item()

    for ours, theirs in zip(error(mine), error(padded), strict=True):
        assert 0 < ours < 3 * theirs and ours < 0.3  # the worst of few values: up to 1.7 times on some processors
    assert all(gradient.dtype == torch.float32 for gradient in mine[1:])


def test_only_what_is_needed_is_run():
    tokens = torch.tensor([[5, 6, 7, 8, 9, PAD], [5, 6, 7, PAD, PAD, PAD], [5, 6, 7, 10, 11, 12], [5, 6, 13, 14, PAD, PAD]])
    rows = packed.PackedRows(tokens, torch.tensor([3, 3, 3, 2]), torch.tensor([4, 3, 5, 3]))
    # The prompt (5, 6, 7) once, then what is run of each answer, and one that fills up.
    assert rows.ids.tolist() == [5, 6, 7, 8, 10, 11, 5, 6, 13, 5]
    assert rows.position.tolist() == [0, 1, 2, 3, 3, 4, 0, 1, 2, 0]
    assert rows.place[0, :4].tolist() == [0, 1, 2, 3] and rows.place[1, :3].tolist() == [0, 1, 2]
    assert rows.place[2, :5].tolist() == [0, 1, 2, 4, 5] and rows.place[3, :3].tolist() == [6, 7, 8]
    assert torch.equal(rows.ids[rows.gather[rows.back]][:9], rows.ids[:9])
    padded = sum(count * longest for count, longest in rows.buckets)
    assert len(rows.gather) == len(rows.source) == padded and (rows.source < 9).sum() == 9


def test_rows_without_an_answer_and_rows_of_one_token():
    policy = TokenPolicy(make("llama"))
    tokens = torch.tensor([[[5, 6, 7], [4, PAD, PAD], [4, 9, PAD]]])
    inputs = {"tokens": tokens, "prompt_length": torch.tensor([[2, 1, 1]]), "length": torch.tensor([[3, 1, 2]])}
    log_prob = policy.replay(inputs, torch.tensor([[[7, 0], [0, 0], [9, 0]]]))["log_prob"]
    for row, (prompt, token) in {0: ([5, 6], 7), 2: ([4], 9)}.items():
        with torch.no_grad():
            truth = policy.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)[token]
        assert abs(log_prob[0, row, 0] - truth) < 1e-5
    assert not log_prob[0, 1].any() and not log_prob[:, :, 1].any()


def test_shared_prompts_pass_their_gradients_from_all_rows():
    policy = TokenPolicy(make("qwen2"))
    generation = draw(policy.model, [Request(REQUESTS[0].prefix, 6)])
    inputs, action = generation_to_inputs(generation, PAD), generation.tokens[None]

    def gradient(rows):
        policy.zero_grad()
        policy.replay({name: x[:, rows] for name, x in inputs.items()}, action[:, rows])["log_prob"].sum().backward()
        return [p.grad.clone() for p in policy.parameters()]

    alone = [sum(parts) for parts in zip(*(gradient([row]) for row in range(6)), strict=True)]
    for together, apart in zip(gradient(slice(None)), alone, strict=True):
        assert (together - apart).abs().max() <= 2e-5 * max(1.0, apart.abs().max())


def test_rounded_rows_are_few_and_close():
    counts = range(1, 5000)
    rounded = [kernels.round_rows(count) for count in counts]
    assert all(count <= more <= 1.25 * count for count, more in zip(counts, rounded, strict=True)) and rounded == sorted(rounded)
    assert len({more for more in rounded if 1024 <= more < 2048}) == 4 and rounded[:8] == list(counts)[:8]


@pytest.mark.parametrize("sizes", [(8, 24), (24, 8)])
def test_the_weights_gradient_over_many_rows(sizes):
    generator = torch.Generator().manual_seed(3)
    x, weight = torch.randn(1100, sizes[0], generator=generator), torch.randn(sizes[1], sizes[0], generator=generator, requires_grad=True)
    upstream = torch.randn(1100, sizes[1], generator=generator)
    (found,) = torch.autograd.grad(kernels.linear(x, weight), weight, upstream)
    torch.testing.assert_close(found.double(), upstream.double().t() @ x.double(), atol=1e-4, rtol=1e-5)


def test_models_that_are_left_to_themselves(monkeypatch):
    llama = make("llama").base_model
    assert packed.can_join(llama)
    for kind in ("gpt2", "mistral"):
        assert not packed.can_join(make(kind).base_model)
    assert not packed.can_join(copy.deepcopy(llama).bfloat16())

    class Adapted(nn.Linear):
        pass

    adapted = copy.deepcopy(llama)
    adapted.layers[0].mlp.up_proj.__class__ = Adapted
    assert not packed.can_join(adapted)
    window = Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=4, use_sliding_window=True, sliding_window=8, max_window_layers=1))
    assert not packed.can_join(window.base_model)
    assert not packed.can_join(LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=4, hidden_act="gelu")).base_model)
    assert not packed.can_join(
        LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})).base_model
    )
    monkeypatch.setattr(packed, "SMALL", 1000)
    assert not packed.can_join(llama)


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_other_models_replay_by_their_own_forward_pass(kind):
    policy = TokenPolicy(make(kind))
    tokens = torch.randint(2, V, (1, 4, 9), generator=torch.Generator().manual_seed(0))
    log_prob = policy.replay({"tokens": tokens, "prompt_length": torch.full((1, 4), 3)}, tokens[:, :, 3:])["log_prob"]
    truth = policy.model(tokens[0]).logits[:, 2:-1].log_softmax(-1).gather(-1, tokens[0, :, 3:, None]).squeeze(-1)
    assert (log_prob[0] - truth).abs().max() < 1e-5
