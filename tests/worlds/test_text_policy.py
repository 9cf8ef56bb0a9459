"""TokenPolicy: replay against plain forward passes, against what the engine recorded, and its independence of padding and batch mates."""

import copy

import pytest
import torch
from text_helpers import KINDS, PAD, REQUESTS, SIZES, V, draw, make, slow
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM

from operant.core.errors import BadInput
from operant.nets import language
from operant.nets.kernels import FastLinear, linear
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.worlds.plans import Request

# Transformers says a version ahead what it will take away.
pytestmark = [pytest.mark.filterwarnings("error::FutureWarning"), pytest.mark.filterwarnings("error::DeprecationWarning")]


def replay_of(policy, generation, needs=("entropy",)):
    return policy.replay(generation_to_inputs(generation, PAD), generation.tokens[None], set(needs))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_replay_is_what_the_engine_recorded(kind, temperature):
    model = make(kind)
    generation = draw(model, temperature=temperature)
    outputs = replay_of(TokenPolicy(model, temperature), generation)
    log_probs, entropies = slow(model, generation, temperature)
    for found, recorded, truth in ((outputs["log_prob"][0], generation.log_prob, log_probs), (outputs["entropy"][0], generation.entropy, entropies)):
        assert found.shape == recorded.shape
        assert (found - recorded).abs().max() < 1e-4 and (found - truth).abs().max() < 1e-4
        assert not found[~generation.mask].any()


def test_rows_are_laid_out_as_the_contract_says():
    generation = draw(make("llama"))
    inputs = generation_to_inputs(generation, PAD)
    for row, request in enumerate(generation.request.tolist()):
        prompt, length = list(REQUESTS[request].prefix), int(generation.mask[row].sum())
        whole = prompt + generation.tokens[row, :length].tolist()
        assert inputs["tokens"][0, row, : len(whole)].tolist() == whole and (inputs["tokens"][0, row, len(whole) :] == PAD).all()
        assert inputs["prompt_length"][0, row] == len(prompt) and inputs["length"][0, row] == len(whole)


def test_a_rows_figures_do_not_depend_on_mates_or_padding():
    model = make("llama")
    generation, policy = draw(model), TokenPolicy(model)
    inputs, action = generation_to_inputs(generation, PAD), generation.tokens[None]
    together = policy.replay(inputs, action)["log_prob"]
    wider = inputs | {"tokens": torch.cat([inputs["tokens"], torch.full((1, len(action[0]), 17), 7)], -1)}
    assert torch.equal(policy.replay(wider, action)["log_prob"], together)
    for row in range(0, len(action[0]), 4):
        alone = policy.replay({name: x[:, row : row + 1] for name, x in inputs.items()}, action[:, row : row + 1])["log_prob"]
        assert (alone[0, 0] - together[0, row]).abs().max() < 1e-5


def test_without_lengths_every_step_counts():
    policy = TokenPolicy(make("llama"))
    tokens = torch.randint(2, V, (1, 5, 9), generator=torch.Generator().manual_seed(0))
    log_prob = policy.replay({"tokens": tokens, "prompt_length": torch.full((1, 5), 3)}, tokens[:, :, 3:])["log_prob"]
    truth = policy.model(tokens[0]).logits[:, 2:-1].log_softmax(-1).gather(-1, tokens[0, :, 3:, None]).squeeze(-1)
    assert (log_prob[0] - truth).abs().max() < 1e-5


def test_chunks_change_neither_values_nor_gradients(monkeypatch):
    model = make("qwen2")
    generation, policy = draw(model), TokenPolicy(model)

    def gradients():
        model.zero_grad()
        outputs = replay_of(policy, generation)
        (outputs["log_prob"].square().sum() + 0.3 * outputs["entropy"].sum()).backward()
        return outputs["log_prob"].detach(), [parameter.grad.clone() for parameter in model.parameters()]

    whole, whole_gradients = gradients()
    monkeypatch.setattr(language, "HEAD_CHUNK", 50 * V)
    chunked, chunked_gradients = gradients()
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)
    for a, b in zip(chunked_gradients, whole_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_logits_are_those_of_the_policy():
    model = make("llama")
    generation = draw(model, temperature=0.5)
    outputs = replay_of(TokenPolicy(model, 0.5), generation, needs=("logits",))
    again = outputs["logits"].log_softmax(-1).gather(-1, generation.tokens[None, ..., None]).squeeze(-1)
    assert outputs["logits"].shape == (1, *generation.tokens.shape, V) and "entropy" not in outputs
    torch.testing.assert_close(again[0][generation.mask], outputs["log_prob"][0][generation.mask], atol=1e-5, rtol=0)


def test_models_whose_logits_are_more_than_the_head():
    config = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0, attn_implementation="eager")
    with torch.random.fork_rng(devices=[]):
        model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(100)
    policy = TokenPolicy(model)
    tokens = torch.randint(2, V, (1, 3, 8), generator=torch.Generator().manual_seed(1))
    log_prob = policy.replay({"tokens": tokens, "prompt_length": torch.full((1, 3), 2)}, tokens[:, :, 2:])["log_prob"]
    logits = model(tokens[0]).logits
    assert 1.5 < logits.abs().max() <= 2.0
    truth = logits[:, 1:-1].log_softmax(-1).gather(-1, tokens[0, :, 2:, None]).squeeze(-1)
    assert (log_prob[0] - truth).abs().max() < 1e-5


@pytest.mark.parametrize("bias", [True, False])
def test_fast_linear_is_linear(bias):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 7, 12, generator=generator, requires_grad=True)
    weight = torch.randn(5, 12, generator=generator, requires_grad=True)
    offset = torch.randn(5, generator=generator, requires_grad=True) if bias else None
    leaves = [x, weight] + ([offset] if bias else [])
    upstream = torch.randn(3, 7, 5, generator=generator)
    mine = linear(x, weight, offset)
    exact = nn.functional.linear(*(leaf.double() for leaf in leaves))
    torch.testing.assert_close(mine.double(), exact, atol=1e-5, rtol=1e-5)
    for a, b in zip(torch.autograd.grad(mine, leaves, upstream), torch.autograd.grad(exact, leaves, upstream.double()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(linear(x, weight, offset), mine)
        assert linear(x.double(), weight.double()).dtype == torch.float64 and linear(x[:0], weight).shape == (0, 7, 5)


def test_linear_layers_are_replaced_and_the_state_is_not():
    model = make("llama")
    names = list(model.state_dict())
    policy = TokenPolicy(model)
    assert all(type(module) is FastLinear for module in model.modules() if isinstance(module, nn.Linear))
    assert list(model.state_dict()) == names
    twin = copy.deepcopy(policy)
    generation = draw(model)
    assert torch.equal(replay_of(twin, generation)["log_prob"], replay_of(policy, generation)["log_prob"])


def test_dropout_stays_off():
    model = make("gpt2")
    policy = TokenPolicy(model).train()
    generation = draw(model, [Request((4, 5, 6), 4)])
    assert not model.training and torch.equal(replay_of(policy, generation)["log_prob"], replay_of(policy, generation)["log_prob"])


def test_temperature_must_be_above_zero():
    with pytest.raises(BadInput, match="nearest: 1.0"):
        TokenPolicy(make("llama"), 0.0)
