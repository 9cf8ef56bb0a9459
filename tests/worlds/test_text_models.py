"""The character tokenizer, and models made from a seed, saved and loaded."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from operant.core.errors import BadInput
from operant.worlds.text.models import load_config, load_model, load_tokenizer, make_model, make_tokenizer, save_policy, unwritable
from operant.worlds.text.tasks import Arithmetic


def test_one_token_a_character_there_and_back():
    tokenizer = make_tokenizer(Arithmetic.alphabet)
    text = "3+5+9=8,7;7"
    ids = tokenizer(text)["input_ids"]
    assert ids == [2 + Arithmetic.alphabet.index(c) for c in text]
    assert tokenizer.decode([*ids, tokenizer.eos_token_id, tokenizer.pad_token_id], skip_special_tokens=True) == text
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, len(tokenizer)) == (0, 1, 2 + len(Arithmetic.alphabet))
    spaced = make_tokenizer("a b\n")
    assert spaced.decode(spaced("a \n b")["input_ids"]) == "a \n b"


def test_unknown_characters_and_alphabets():
    with pytest.raises(Exception, match="UNK"):
        make_tokenizer("ab")("c")
    with pytest.raises(BadInput, match="'a' twice"):
        make_tokenizer("aba")
    with pytest.raises(BadInput, match="empty"):
        make_tokenizer("")


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_weights_come_from_the_seed_and_nothing_else_moves(architecture):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make_model(architecture, 16, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    again, other = make_model(architecture, 16, seed=3), make_model(architecture, 16, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert 400_000 < first.num_parameters() < 500_000 and not first.training


@pytest.mark.parametrize("width", [32, 96])
def test_weights_are_as_large_as_the_width_asks(width):
    model = make_model("llama", 16, seed=3, width=width)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            assert weight.std().item() == pytest.approx(width**-0.5, rel=0.1), name


def test_bad_sizes():
    with pytest.raises(BadInput, match="did you mean llama"):
        make_model("lama", 16, 0)
    with pytest.raises(BadInput, match="multiple of 2 x heads"):
        make_model("llama", 16, 0, width=100, heads=8)


def test_saved_and_loaded(tmp_path):
    tokenizer, model = make_tokenizer("abc"), make_model("qwen2", 5, 0, width=32, layers=1)
    save_policy(tmp_path / "policy", model, tokenizer)
    assert not list((tmp_path / "policy").glob("*.bin")) and (tmp_path / "policy" / "model.safetensors").exists()
    ids = tokenizer("abcab", return_tensors="pt")["input_ids"]
    loaded, loaded_tokenizer = load_model(tmp_path / "policy"), load_tokenizer(tmp_path / "policy")
    assert load_config(tmp_path / "policy").vocab_size == 5 and load_model(tmp_path / "policy", torch.bfloat16).dtype == torch.bfloat16
    plain, plain_tokenizer = (kind.from_pretrained(tmp_path / "policy") for kind in (AutoModelForCausalLM, AutoTokenizer))
    for other, other_tokenizer in ((loaded, loaded_tokenizer), (plain, plain_tokenizer)):
        assert torch.equal(other(ids).logits, model(ids).logits)
        assert other_tokenizer("abcab")["input_ids"] == ids[0].tolist() and other_tokenizer.pad_token_id == 0 and other_tokenizer.eos_token_id == 1


def test_a_model_that_is_not_there(tmp_path):
    for load in (load_model, load_tokenizer, load_config):
        with pytest.raises(BadInput, match="cannot be loaded: its folder has no config.json") as raised:
            load(tmp_path)
        assert "\n" not in str(raised.value)


def test_characters_that_a_tokenizer_cannot_write():
    assert unwritable(make_tokenizer("ab"), "abc d\n") == ["c", "d"]
    known = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?")), unk_token="?", eos_token="?")
    assert unwritable(known, "ab") == ["b"]
