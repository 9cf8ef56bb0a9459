"""Text tasks with a given model: what is trained, saved, loaded and refused, in full and with an adapter, in float32 and in bfloat16."""

import copy
import dataclasses
import json
import shutil
import warnings

import pytest
import torch
from long_tier import turns
from peft import PeftModel
from text_folders import KINDS, folder_of
from text_rewards import by_length
from transformers import AutoModelForCausalLM

import operant
from operant.core.errors import BadInput, RunFailed
from operant.core.flat import FlatParameters
from operant.core.random import Streams
from operant.core.registry import configure, get_method, hyperparameters, methods
from operant.nets.language import TokenCritic
from operant.worlds import make_world, world_options
from operant.worlds.plans import Groups
from operant.worlds.text.options import TextOptions
from operant.worlds.text.world import BFLOAT16_RATIO_TOLERANCE, TextWorld

# Transformers says a version ahead what it will take away.
pytestmark = [pytest.mark.filterwarnings("error::FutureWarning"), pytest.mark.filterwarnings("error::DeprecationWarning")]

TASK = "text:arithmetic"
SIZES = {"prompts": 3, "group_size": 4, "micro_batch": 5}
SMALL = SIZES | {"max_new_tokens": 8}
WAYS = {
    "full": {},
    "adapter": {"lora_rank": 2},
    "bfloat16": {"dtype": "bfloat16"},
    "adapter in bfloat16": {"lora_rank": 2, "dtype": "bfloat16"},
}
EACH_ONCE = ("llama-full", "qwen2-adapter", "qwen3-bfloat16", "gemma-adapter in bfloat16", "gpt2-adapter")  # each kind and each way
RESTS_ON = ("src/operant/worlds/text/models.py", "src/operant/worlds/text/world.py", "src/operant/worlds/text/options.py", "src/operant/nets/")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: folder_of(kind, place) for kind in KINDS}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learner_of(folder, *, method="grpo", hyper=None, seed=0, **options):
    world = TextWorld("arithmetic", model=str(folder), verifier=by_length, max_new_tokens=8, **options)
    spine = get_method(method).build(configure(method, SIZES | (hyper or {})))
    return world, spine.learner(world, [seed], 4, torch.device("cpu"))


@pytest.mark.parametrize("named", turns([f"{kind}-{way}" for kind in KINDS for way in WAYS], *RESTS_ON, always=EACH_ONCE))
def test_trained_saved_and_read_by_transformers(folders, tmp_path, named):
    kind, way = named.split("-")
    options = WAYS[way]
    world, learner = learner_of(folders[kind], hyper={"learning_rate": 1e-2}, **options)
    before = {name: p.detach().clone() for name, p in learner.policy.named_parameters()}
    learner.iterate()
    learner.iterate()
    trained = {name for name, p in learner.policy.named_parameters() if p.requires_grad}
    moved = {name for name, p in learner.policy.named_parameters() if not torch.equal(p, before[name])}
    assert moved and moved <= trained
    flat = learner.updater.flat.data
    assert len(flat) == sum(p.numel() for p in learner.policy.parameters() if p.requires_grad) and flat.dtype == torch.float32
    assert trained == ({name for name in before if "lora_" in name} if "lora_rank" in options else set(before))
    world.save_policy(learner.policy, tmp_path / "policy")
    loaded, model = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").eval(), learner.policy.model
    assert loaded.dtype == torch.float32 and loaded.config.architectures == [type(model).__name__] and not list((tmp_path / "policy").rglob("*.bin"))
    ids = learner.rollout.inputs["tokens"][0, :4, :16]
    with torch.no_grad():
        found, wanted, start = loaded(ids).logits, model(ids).logits.float(), AutoModelForCausalLM.from_pretrained(folders[kind]).eval()(ids).logits
    rounding = 0.02 * wanted.abs().max() if "dtype" in options else 1e-5
    assert (found - wanted).abs().max() < rounding < (wanted - start).abs().max()
    if "lora_rank" in options:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # PEFT's own
            beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folders[kind]), tmp_path / "policy" / "adapter").eval()
        with torch.no_grad():
            torch.testing.assert_close(beside(ids).logits, found, atol=2 * rounding.item() if "dtype" in options else 1e-5, rtol=0)
    policy = world.load_policy(tmp_path / "policy")
    again = policy.replay(learner.rollout.inputs, learner.rollout.action)["log_prob"]
    torch.testing.assert_close(
        again, learner.policy.replay(learner.rollout.inputs, learner.rollout.action)["log_prob"], atol=0.3 if "dtype" in options else 1e-4, rtol=0
    )


@pytest.mark.parametrize("way", turns(WAYS, *RESTS_ON, always=("adapter in bfloat16",)))
def test_a_run_keeps_its_options(folders, tmp_path, way):
    given = {"model": folders["qwen3"], **WAYS[way], "verifier": "text_rewards:by_length"}
    run = operant.train("grpo", TASK, steps=1, episodes=2, out=tmp_path / "run", **SMALL, **given)
    assert run.config["options"] == {"model": str(folders["qwen3"].resolve()), **WAYS[way], "verifier": "text_rewards:by_length", "max_new_tokens": 8}
    opened = operant.load(tmp_path / "run", trust=True)
    assert (
        opened.world.options
        == run.world.options
        == dataclasses.replace(TextOptions(**WAYS[way]), model=str(folders["qwen3"]), verifier=given["verifier"], max_new_tokens=8)
    )
    assert opened.world.longest == run.world.longest
    assert opened.evaluate(episodes=2)["score"] == run.evaluate(episodes=2)["score"]
    (tmp_path / "run" / "result.json").unlink()
    assert operant.resume(tmp_path / "run", trust=True).result["score"] == run.result["score"]


def test_problems_of_a_file_with_a_given_model(tmp_path):
    folder = folder_of("qwen2", tmp_path, alphabet="0123456789+=,; ?")
    rows = [{"prompt": f"{a} + {b}?", "answer": str(a + b), "split": "test" if a < 3 else "train"} for a in range(12) for b in range(12)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = f"file:{tmp_path / 'sums.jsonl'}"
    run = operant.train("grpo", task, model=folder, lora_rank=2, steps=1, episodes=2, out=tmp_path / "run", **SMALL)
    assert run.config["task"] == task and operant.load(run.path).evaluate(episodes=2)["score"]["name"] == "pass@1"
    assert AutoModelForCausalLM.from_pretrained(run.path / "policies" / "last" / "seed-0").config.model_type == "qwen2"
    with pytest.raises(BadInput, match="prompt tokens, .* do not fit"):
        operant.train("grpo", task, model=folder, steps=1, episodes=2, max_new_tokens=60, out=tmp_path / "no")
    with pytest.raises(BadInput, match="cannot write '\\?'"):
        operant.train("grpo", task, model=folder_of("llama", tmp_path), steps=1, episodes=2, out=tmp_path / "no")


def test_answers_in_evaluations_are_as_long_as_in_training(folders):
    own = make_world(TASK, model=str(folders["llama"])).longest
    for limit in (own - 5, own + 5):
        world = make_world(TASK, model=str(folders["llama"]), max_new_tokens=limit)
        assert world.longest == world.source(Groups(2, 2), Streams([0])).limit == limit


@pytest.mark.parametrize("way", WAYS)
def test_a_state_continues_bit_for_bit(folders, way):
    hyper = {"beta": 0.1}
    _, learner = learner_of(folders["llama"], hyper=hyper, **WAYS[way])
    learner.iterate()
    state = learner.state_dict()
    _, other = learner_of(folders["llama"], hyper=hyper, **WAYS[way])
    other.load_state_dict(state)
    a, b = learner.iterate(), other.iterate()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) and torch.equal(learner.updater.flat.data, other.updater.flat.data)


@pytest.mark.parametrize("critic", [None, TokenCritic("head"), TokenCritic("model")])
def test_the_state_of_an_adapter_leaves_the_model_out(folders, tmp_path, critic):
    def policy(folder):
        return make_world(TASK, model=str(folder), lora_rank=2).policy(critic, Streams([0]))

    kept = policy(folders["llama"])
    state = {name: value.clone() for name, value in kept.state_dict().items()}
    assert state.keys() == {"frozen"} | {name for name, p in kept.named_parameters(remove_duplicate=False) if p.requires_grad}
    with torch.no_grad():
        for parameter in kept.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    copied = copy.deepcopy(kept).requires_grad_(False)  # a reference that is reset
    copied.load_state_dict(kept.state_dict())
    kept.load_state_dict(state)
    fresh = policy(folders["llama"]).state_dict()
    assert all(
        torch.equal(value, fresh[name]) and not (name != "frozen" and torch.equal(value, copied.state_dict()[name]))
        for name, value in kept.state_dict().items()
    )
    model = AutoModelForCausalLM.from_pretrained(folders["llama"])
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-3
    shutil.copytree(folders["llama"], tmp_path / "other")
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(RunFailed, match="the weights beside the adapter are not those that it was trained with"):
        policy(tmp_path / "other").load_state_dict(state)


def test_the_adapter_comes_from_the_seed(folders):
    world = make_world(TASK, model=str(folders["llama"]), lora_rank=2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (dict(world.policy(None, Streams([seed])).named_parameters()) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    adapter = [name for name in first if "lora_A" in name]
    assert len(adapter) == 14 and all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in adapter)
    assert not any(first[name].any() for name in first if "lora_B" in name)


def test_the_reference_beside_an_adapter_is_the_model_without_it(folders):
    _, plain = learner_of(folders["gpt2"], hyper={"beta": 0.1})
    _, learner = learner_of(folders["gpt2"], hyper={"beta": 0.1, "learning_rate": 1e-2}, lora_rank=2)
    assert learner.reference.state_dict()["policy"] is None and not list(learner.reference.policy.parameters())
    learner.iterate()
    rollout = learner.rollout
    found = learner.reference.policy.replay(rollout.inputs, rollout.action, {"entropy"})
    wanted = plain.reference.policy.replay(rollout.inputs, rollout.action, {"entropy"})
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=1e-5)
    now = learner.policy.replay(rollout.inputs, rollout.action)["log_prob"]
    assert (now - found["log_prob"]).abs().max() > 1e-3 and now.requires_grad  # the adapter is on again, and is still trained


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("kind", ["head", "model"])
def test_a_critic_beside_a_given_model(folders, kind, lora_rank):
    world = make_world(TASK, model=str(folders["llama"]), lora_rank=lora_rank, dtype="bfloat16")
    policy = world.policy(TokenCritic(kind), Streams([0]))
    trained = [name for name, p in policy.named_parameters() if p.requires_grad]
    assert any(name.startswith("critic.head") for name in trained) and any(name.startswith("critic.trunk") for name in trained) == (kind == "model")
    if lora_rank and kind == "model":
        assert all("lora_" in name for name in trained if not name.startswith("critic.head"))
        ours, theirs = policy.critic.trunk.layers[0].self_attn.q_proj, policy.model.model.layers[0].self_attn.q_proj
        assert ours.base_layer.weight is theirs.base_layer.weight and ours.lora_A["default"].weight is not theirs.lora_A["default"].weight
    FlatParameters(policy, stacked=False)
    inputs = {"tokens": torch.tensor([[[5, 6, 7, 8, 9]]]), "prompt_length": torch.tensor([[2]])}
    found = policy.replay(inputs, torch.tensor([[[7, 8, 9]]]), {"value"})
    assert torch.equal(found["value"], torch.zeros(1, 1, 3))
    found["value"].sum().backward()
    assert policy.critic.head.bias.grad.item() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_layers_computed_again_give_the_same_gradient(folders, kind):
    gradients, calls = [], []
    for again in (False, True):
        world, learner = learner_of(folders[kind], gradient_checkpointing=again)
        rollout = learner.source.sample(learner.policy, 0)
        layer = next(module for module in learner.policy.model.base_model.modules() if type(module).__name__.endswith(("DecoderLayer", "Block")))
        seen = []
        inner = layer.mlp.register_forward_pre_hook(lambda *of, seen=seen: seen.append(1))
        with torch.no_grad():
            learner.policy.replay(rollout.inputs, rollout.action)
        seen.clear()
        learner.policy.replay(rollout.inputs, rollout.action)["log_prob"].sum().backward()
        inner.remove()
        gradients.append(learner.updater.flat.grad.clone())
        calls.append(len(seen))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    assert calls[1] == 2  # forwards, and once more for the gradient


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_computes_in_it_and_the_policy_that_acts_is_the_one_that_is_trained(folders, kind):
    world, learner = learner_of(folders[kind], dtype="bfloat16")
    policy = learner.policy
    assert all(p.dtype == torch.float32 for p in policy.parameters()) and policy.ratio_tolerance == BFLOAT16_RATIO_TOLERANCE
    dtypes = set()
    layers = [module for name, module in policy.model.named_modules() if name.endswith(("down_proj", "mlp.c_proj"))]
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: dtypes.add(output.dtype))
    rollout = learner.source.sample(policy, 0)
    assert dtypes == {torch.bfloat16}
    found = policy.replay(rollout.inputs, rollout.action, {"entropy", "logits"})
    assert found["log_prob"].dtype == found["logits"].dtype == rollout.log_prob.dtype == torch.float32
    drift = ((found["log_prob"] - rollout.log_prob) * rollout.mask).abs().max().item()
    exact = make_world(TASK, model=str(folders[kind])).policy(None, Streams([0])).replay(rollout.inputs, rollout.action)["log_prob"]
    assert drift < 0.1 and 1e-4 < ((exact - rollout.log_prob) * rollout.mask).abs().max().item() < 0.5


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_ratios_are_to_the_training_pass_and_not_to_the_sampler(folders, kind, lora_rank):
    """Rows are cut twice, into minibatches and micro-batches, and each cut rounds in its own way."""
    _, learner = learner_of(folders[kind], method="gspo", hyper={"minibatches": 2, "epochs": 2}, dtype="bfloat16", lora_rank=lora_rank)
    step, ratios = learner.updater.step, []

    def watched(batch, **place):
        ratios.append(torch.cat([(micro["log_prob"] - micro["old_log_prob"])[micro["mask"]].detach() for _, micro in learner.updater.micro_batches(batch)]))
        return step(batch, **place)

    learner.updater.step = watched
    metrics = learner.iterate()
    assert len(ratios) == 4 and ratios[0].abs().max() == 0 and all(part.abs().max() > 0 for part in ratios[1:])
    assert 0 < metrics["kl_sampler"].item() < 1e-3  # rounding is still seen, and is not large
    _, once = learner_of(folders[kind], method="gspo", dtype="bfloat16", lora_rank=lora_rank)
    replay, passes = once.policy.replay, []
    once.policy.replay = lambda *of, **named: passes.append(torch.is_grad_enabled()) or replay(*of, **named)
    metrics = once.iterate()
    assert all(passes) and 0 < metrics["kl_sampler"].item() < 1e-3  # where there is one update, its own pass is the one that ratios are taken to
    assert metrics["clip_fraction"].item() == metrics["kl_behaviour"].item() == 0 and metrics["ratio"].item() == pytest.approx(1, abs=1e-6)


def test_in_float32_the_log_probability_as_drawn_is_the_one_that_ratios_are_taken_to(folders):
    _, learner = learner_of(folders["llama"], method="gspo")
    step, given = learner.updater.step, []
    learner.updater.step = lambda batch, **place: given.append(batch["old_log_prob"]) or step(batch, **place)
    metrics = learner.iterate()
    rollout = learner.rollout
    assert "kl_sampler" not in metrics and sorted(given[0].flatten().tolist()) == sorted(rollout.log_prob.flatten().tolist())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_policy_that_is_its_reference_pays_no_kl_in_its_reward(folders, dtype):
    _, learner = learner_of(folders["llama"], method="rloo", hyper={"beta": 100.0}, dtype=dtype)
    learner.iterate()
    rollout = learner.rollout
    assert set(rollout.reward.unique().tolist()) <= {0.0, 1.0, 2.0}
    paid = (rollout.extras["old_log_prob"] - rollout.extras["reference_log_prob"])[rollout.mask].abs().max().item()
    assert paid == 0 if dtype == "bfloat16" else paid < 1e-4


def test_bfloat16_generates_from_prompts_of_different_lengths(folders):
    for kind, options in (("qwen2", {}), ("gemma", {"lora_rank": 2}), ("gpt2", {})):
        world = make_world(TASK, model=str(folders[kind]), dtype="bfloat16", **options)
        policy = world.policy(None, Streams([0]))
        assert world.count_correct(policy, "length", 4, 2).shape == (4,)  # chains of two lengths, side by side
        generation = world.source(Groups(2, 2), Streams([0]))
        rollout = generation.sample(policy, 0)
        assert torch.isfinite(rollout.log_prob).all()


def test_a_teacher_that_was_given(folders, tmp_path):
    world = make_world(TASK, teacher=str(folders["llama"]))
    with pytest.raises(BadInput, match="reads other tokens"):
        make_world(TASK, teacher=str(folder_of("llama", tmp_path, alphabet="0123456789+=,;x"))).check(None, [0])
    world.check(None, [0])
    teacher = world.teacher()
    inputs, action = {"tokens": torch.tensor([[[5, 6, 7, 8, 9]]]), "prompt_length": torch.tensor([[2]])}, torch.tensor([[[7, 8, 9]]])
    plain = AutoModelForCausalLM.from_pretrained(folders["llama"])(inputs["tokens"][0]).logits.log_softmax(-1)[0]
    torch.testing.assert_close(teacher.replay(inputs, action)["log_prob"][0, 0], plain[[1, 2, 3], [7, 8, 9]], atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in teacher.parameters())
    with pytest.raises(BadInput, match="--teacher"):
        make_world(TASK, model=str(folders["llama"])).teacher()
    with pytest.raises(BadInput, match="this method follows a teacher"):
        operant.train("kdrl", TASK, model=folders["llama"], steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_given_teacher(folders, tmp_path):
    options = {"model": folders["llama"], "teacher": folders["llama"], "verifier": "text_rewards:by_length"}
    run = operant.train("kdrl", TASK, steps=1, episodes=2, prompts=2, group_size=2, max_new_tokens=6, out=tmp_path / "run", **options)
    row = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(row["loss/teacher_kl"]) < 1e-6  # of a policy that still is its teacher


def add_template(tokenizer):
    tokenizer.chat_template = "{% for message in messages %}+{{ message['content'] }}{% endfor %}{% if add_generation_prompt %};{% endif %}"


def test_prompts_go_through_the_chat_template_of_a_given_model(folders, tmp_path):
    folder = folder_of("llama", tmp_path, change=add_template)
    world = make_world(TASK, model=str(folder))
    rollout = world.source(Groups(1, 2), Streams([0])).sample(world.policy(None, Streams([0])), 0)
    prompt = world.tokenizer.decode(rollout.inputs["tokens"][0, 0, : rollout.inputs["prompt_length"][0, 0]])
    assert world.chat and prompt[0] == "+" and prompt.endswith("=;")
    inputs, _, _ = world.demonstrations(None, 1, Streams([0])).draw()
    assert world.tokenizer.decode(inputs["tokens"][0, 0, : inputs["prompt_length"][0, 0]]).endswith("=;")
    assert not make_world(TASK, model=str(folder), chat=False).chat and not make_world(TASK, model=str(folders["llama"])).chat
    with pytest.raises(BadInput, match="no chat template"):
        make_world(TASK, chat=True)


def no_end(tokenizer):
    tokenizer.eos_token = None


def write_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(match, **options):
    with pytest.raises(BadInput, match=match) as raised:
        operant.train("grpo", TASK, steps=1, out="nowhere", **options)
    assert "\n" not in str(raised.value)


def test_bad_days(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("no end token", model=folder_of("llama", tmp_path / "a", change=no_end))
    refused(r"cannot write '9'", model=folder_of("llama", tmp_path / "b", alphabet="012345678+=,;"))
    short = folder_of("llama", tmp_path / "c")
    write_config(short, max_position_embeddings=20)
    refused(r"test problem 0 has 12 prompt tokens, .* up to 16 do not fit the model's 20 positions, nor do 383 other prompts; .* up to 8 would", model=short)
    write_config(short, max_position_embeddings=10)
    refused("longer context", model=short)
    few = folder_of("llama", tmp_path / "d")
    write_config(few, vocab_size=8)
    refused("8 tokens and its tokenizer 16", model=few)
    refused("cannot be loaded", model=tmp_path / "nothing")
    refused("rank = -1: it must be at least 0", model=folders["llama"], lora_rank=-1)
    refused("did you mean bfloat16", model=folders["llama"], dtype="bfloat")
    torch.save({}, tmp_path / "d" / "llama" / "pytorch_model.bin")
    (tmp_path / "d" / "llama" / "model.safetensors").unlink()
    write_config(few, vocab_size=24)
    with pytest.raises(BadInput, match="cannot be loaded"):
        make_world(TASK, model=str(few)).policy(None, Streams([0]))
    assert not (tmp_path / "nowhere").exists()


def test_a_model_without_some_of_its_weights(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = folder_of("llama", tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="lacks 1 of the weights of a LlamaForCausalLM, model.layers.1.mlp.up_proj.weight first"):
        make_world(TASK, model=str(folder)).policy(None, Streams([0]))


def test_options_belong_to_tasks_that_have_them(folders):
    with pytest.raises(BadInput, match="gym:CartPole-v1 has no option 'model'"):
        operant.train("ppo", "gym:CartPole-v1", model=str(folders["llama"]), steps=1)
    with pytest.raises(BadInput, match="made with its own"):
        operant.train("grpo", TextWorld("arithmetic"), model=str(folders["llama"]), steps=1)
    with pytest.raises(BadInput, match="no option 'modle': did you mean model"):
        make_world(TASK, modle="x")
    with pytest.raises(BadInput, match="no hyper-parameter 'modle'"):
        operant.train("grpo", TASK, modle="x")
    for key, entry in methods().items():
        names = {item.name for item in hyperparameters(entry.hyperparameters)}
        assert not any(names & {item.name for item in dataclasses.fields(options)} for options in world_options().values()), key


class Always:
    """Every answer is right."""

    trusted = True

    def score(self, problem, completion) -> float:
        return 1.0


def test_what_scores_training_scores_evaluation():
    """A verifier that was chosen judges held-out answers too, unless another one is named."""
    from operant.worlds.text.builtin_verifiers import NumericAnswer

    def scored(**options) -> object:
        return make_world(TASK, **options).evaluator

    assert scored() is None and isinstance(scored(verifier="numeric"), NumericAnswer)
    assert scored(verifier="numeric", evaluate_with="task") is None
    assert isinstance(scored(evaluate_with="numeric"), NumericAnswer)
    assert scored(verifier="noisy:0.1,0.3") == make_world(TASK).problems.verifier
    always = make_world(TASK, verifier=Always())
    assert always.evaluate(always.policy(None, Streams([0])), 1, episodes=2).values.mean() == 1.0


def test_a_verifier_that_is_a_python_object_is_not_resumed(folders, tmp_path):
    run = operant.train("grpo", TASK, model=folders["llama"], verifier=by_length, steps=1, episodes=2, out=tmp_path / "run", **SMALL)
    assert "verifier" not in run.config["options"] and "verifier is a Python object" in run.config["not_resumable"]
    assert operant.load(tmp_path / "run").evaluate(episodes=2)["episodes"] == 2


def test_on_the_command_line(folders, tmp_path, capsys):
    from operant.cli.main import main

    words = ["--model", folders["gemma"], "--lora-rank", "2", "--dtype", "bfloat16", "--verifier", "text_rewards:by_length", "--gradient-checkpointing"]
    sizes = ["--prompts", "2", "--group-size", "2", "--max-new-tokens", "6", "--episodes", "2", "--steps", "1"]
    assert main([*map(str, ["train", "grpo", "--task", TASK, *words, *sizes, "--out", tmp_path / "run", "--json"])]) == 0
    options = json.loads((tmp_path / "run" / "run.json").read_text())["options"]
    assert options == {
        "model": str(folders["gemma"]),
        "lora_rank": 2,
        "dtype": "bfloat16",
        "verifier": "text_rewards:by_length",
        "gradient_checkpointing": True,
        "max_new_tokens": 6,
    }
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2", "--trust"]) == 0
    assert main(["train", "ppo", "--task", "gym:CartPole-v1", "--model", "x"]) == 2
    assert "unknown option '--model'" in capsys.readouterr().err
