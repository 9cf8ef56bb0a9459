"""Models, tokenizers and templates that are broken, and prompts that do not fit: one line each, before anything is written. And which tokens end what."""

import json

import pytest
from safetensors.torch import load_file, save_file
from text_folders import folder_of
from tokenizers import processors

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.plans import Groups
from operant.worlds.text.models import end_tokens, load_model, load_tokenizer
from operant.worlds.text.source import completion_texts, prompt_tokens
from operant.worlds.text.tasks import Problem

TASK = "text:arithmetic"


def write_json(path, **values):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


def weights(folder, change):
    found = load_file(folder / "model.safetensors")
    change(found)
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def nan(found):
    found["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


BROKEN = {
    "no heads": (lambda folder: write_json(folder / "config.json", num_attention_heads=0), "llama' cannot be loaded"),
    "weights that are not finite": (lambda folder: weights(folder, nan), "its weights model.layers.1.mlp.up_proj.weight hold NaN or infinity"),
    "a file of weights that was cut": (cut, "cannot be loaded"),
    "no tokenizer": (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "tokenizer '.*' cannot be loaded|has no end token"),
    "a tokenizer of a larger vocabulary": (lambda folder: write_json(folder / "config.json", vocab_size=8), "8 tokens and its tokenizer 16"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "cannot be loaded"),
    "a config that is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
    "a template that raises": (
        lambda folder: (folder / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}"),
        "the chat template of .* cannot write the prompt .*: roles must alternate; --chat false leaves the template out",
    ),
    "a template that does not parse": (lambda folder: (folder / "chat_template.jinja").write_text("{% for"), "the chat template of .* cannot write"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_said_in_one_line_before_anything_is_written(name, tmp_path):
    change, words = BROKEN[name]
    folder = folder_of("llama", tmp_path)
    change(folder)
    with pytest.raises(BadInput, match=words) as raised:
        operant.train("grpo", TASK, model=folder, steps=1, episodes=2, out=tmp_path / "run", progress=False)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_row_of_a_file_is_measured(split, tmp_path):
    folder = folder_of("llama", tmp_path)
    rows = [{"prompt": f"{a}+{b}+{c}=", "answer": "5", "split": "test" if c == 0 else "train"} for a in range(10) for b in range(10) for c in range(10)]
    rows.append({"prompt": "1+" * 40 + "1=", "answer": "5", "split": split})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match="line 1001 has 82 prompt tokens, .* up to 6 do not fit the model's 64 positions; take a model of longer context"):
        operant.train("grpo", f"file:{tmp_path / 'rows.jsonl'}", model=folder, max_new_tokens=6, steps=1, episodes=2, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [33, 10**6])
def test_a_rank_above_every_layer(rank, tmp_path):
    with pytest.raises(BadInput, match=f"lora_rank={rank}: the widest layer of LlamaForCausalLM has rank 32; nearest: 32"):
        operant.train("grpo", TASK, model=folder_of("llama", tmp_path), lora_rank=rank, steps=1, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def closes(tokenizer):
    ids = [("<pad>", tokenizer.pad_token_id), ("<eos>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<pad> $A <eos>", special_tokens=ids)


def test_what_a_tokenizer_puts_behind_every_text_is_left_out_of_prompts(tmp_path):
    tokenizer = load_tokenizer(folder_of("llama", tmp_path, change=closes))
    (first, *text) = prompt_tokens(tokenizer, Problem("1+2=", "3"))
    assert tokenizer("1+2=")["input_ids"] == [first, *text, tokenizer.eos_token_id]  # what it puts before stays
    assert first == tokenizer.pad_token_id and tokenizer.decode(text) == "1+2="
    assert prompt_tokens(tokenizer, Problem("1+<eos>", "3"))[-1] == tokenizer.eos_token_id  # what the prompt itself says stays too


def second_end(tokenizer):
    tokenizer.add_tokens(["<turn>"])


def test_the_generation_configs_end_tokens_end_answers(tmp_path):
    folder = folder_of("llama", tmp_path, change=second_end)
    tokenizer = load_tokenizer(folder)
    turn, digit = tokenizer.convert_tokens_to_ids("<turn>"), tokenizer.convert_tokens_to_ids("7")
    write_json(folder / "generation_config.json", eos_token_id=[tokenizer.eos_token_id, turn, digit, 10**6])
    model = load_model(folder)
    assert end_tokens(model, tokenizer) == (tokenizer.eos_token_id, turn)  # a digit is text, whatever a config says
    write_json(folder / "generation_config.json", eos_token_id=turn)
    world = make_world(TASK, model=str(folder), max_new_tokens=8)
    policy = world.policy(None, Streams([0]))
    rollout = world.source(Groups(8, 8), Streams([0])).sample(policy, 0)
    rows = [row[mask].tolist() for row, mask in zip(rollout.action[0], rollout.mask[0], strict=True)]
    ended = [row for row in rows if row[-1] == turn]
    assert ended and not any(turn in row[:-1] for row in rows)
    assert all(bool(end) == (row[-1] in (turn, tokenizer.eos_token_id)) for row, end in zip(rows, rollout.terminated[0].any(-1), strict=True))
    texts = completion_texts(tokenizer, rollout.action[0], rollout.mask[0], (turn,))
    assert not any("<turn>" in text for text in texts)
