"""Language models and tokenizers: made from a config and a seed, or loaded and saved in the Hugging Face format (safetensors only).

One change to a model's forward pass is made here: layers whose insides are computed again for the gradient. It replaces `forward` of the object and leaves its
class, its weights' names and its config alone, so that it is saved as what it was.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging

from operant.core import ranks
from operant.core.errors import BadInput, a_type, unknown
from operant.nets.reward_model import RewardModel
from operant.nets.sharded import gathered
from operant.worlds.text.hub import located

logging.disable_progress_bar()  # models here load in milliseconds; the run has a display of its own

PAD, END = "<pad>", "<eos>"
ARCHITECTURES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def make_tokenizer(alphabet: str) -> PreTrainedTokenizerFast:
    """A tokenizer with one token a character: 0 pads, 1 ends, then the characters of `alphabet` in their order.

    It has no unknown token: encoding a character outside the alphabet raises.

    Raises:
        BadInput: the alphabet is empty or names a character twice.
    """
    if not alphabet or len(set(alphabet)) != len(alphabet):
        twice = sorted({c for c in alphabet if alphabet.count(c) > 1})
        raise BadInput(f"tokenizer: the alphabet {alphabet!r} " + (f"names {twice[0]!r} twice" if twice else "is empty; give at least one character"))
    vocabulary = {token: index for index, token in enumerate([PAD, END, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False)


def make_model(
    architecture: str,
    vocabulary: int,
    seed: int,
    *,
    width: int = 96,
    layers: int = 3,
    heads: int = 4,
    positions: int = 256,
    pad_token_id: int = 0,
    eos_token_id: int = 1,
) -> PreTrainedModel:
    """A small causal language model with weights drawn from `seed`; the global generators are left as they were. The defaults make 0.45M parameters.

    Weights have the standard deviation 1 / sqrt(width), which keeps the size of what passes a layer. The libraries' own, 0.02, is meant for widths of
    thousands: at 96 it leaves attention even and the layers near 0, a saddle on which training stands for thousands of updates or for ever.

    Args:
        architecture: "llama" or "qwen2".
        vocabulary: number of tokens.
        width: hidden size; the feed-forward layers are four times as wide.
        heads: attention heads, a divisor of `width` with an even quotient (rotary embeddings turn pairs).
        positions: longest sequence, in tokens.

    Raises:
        BadInput: unknown architecture, or sizes that do not fit together.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    if min(vocabulary, width, layers, heads, positions) < 1 or width % (2 * heads):
        raise BadInput(f"model: width={width} with heads={heads} and layers={layers}: sizes are at least 1 and width is a multiple of 2 x heads")
    config_class, model_class = ARCHITECTURES[architecture]
    config = config_class(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        initializer_range=width**-0.5,
        pad_token_id=pad_token_id,
        eos_token_id=eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also move the accelerators' generators, which fork_rng does not restore here
        return model_class(config).eval()


def _unreadable(what: str, path_or_hub_id: str | Path, error: Exception) -> BadInput:
    reason = str(error).strip().partition("\n")[0]
    if Path(path_or_hub_id).is_dir() and not (Path(path_or_hub_id) / "config.json").exists():
        reason = "its folder has no config.json, which every model in the Hugging Face format has"
    elif not isinstance(error, OSError | ValueError) or not reason:
        reason = f"{type(error).__name__}{': ' * bool(reason)}{reason}"
    return BadInput(f"{what} {str(path_or_hub_id)!r} cannot be loaded: {reason}")


def load_model(path_or_hub_id: str | Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Any Hugging Face causal language model, from a folder or the hub, in evaluation mode. Only safetensors are read, and no code of the repository runs.

    Args:
        dtype: of the weights in memory, whatever they are stored in.

    Raises:
        BadInput: there is no such model, it cannot be loaded this way, or weights of it are missing.
    """
    place = located(path_or_hub_id)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True)
    except Exception as error:  # whatever a folder holds, and transformers raises what it likes
        raise _unreadable("language model", path_or_hub_id, error) from error
    if missing := sorted(found["missing_keys"]):
        raise BadInput(
            f"language model {str(path_or_hub_id)!r} lacks {len(missing)} of the weights of {a_type(model)}, {missing[0]} first: they would be random"
        )
    return model.eval()


def load_tokenizer(path_or_hub_id: str | Path) -> PreTrainedTokenizerBase:
    """A model's tokenizer. One without a padding token pads with its end token.

    Raises:
        BadInput: it cannot be loaded, or it has no end token.
    """
    place = located(path_or_hub_id)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:
        raise _unreadable("tokenizer", path_or_hub_id, error) from error
    if tokenizer.eos_token_id is None:
        raise BadInput(f"tokenizer {str(path_or_hub_id)!r} has no end token, so no answer would end: name one as eos_token in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(path_or_hub_id: str | Path) -> PreTrainedConfig:
    """The config of a model's text part, without its weights."""
    place = located(path_or_hub_id)
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # what it warns of before it fails is no part of the answer
    try:
        return AutoConfig.from_pretrained(place, trust_remote_code=False).get_text_config()
    except Exception as error:
        raise _unreadable("language model", path_or_hub_id, error) from error
    finally:
        logging.set_verbosity(before)


@cache
def count_parameters(path_or_hub_id: str | Path) -> int:
    """How many parameters a model has, from its config alone: no weight is read and no memory taken."""
    config = load_config(path_or_hub_id)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False).num_parameters()
    except Exception as error:
        raise _unreadable("language model", path_or_hub_id, error) from error


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's end token, then those of the model's generation config, such as the end of a turn in a chat.

    A token of the ordinary vocabulary ends nothing: configs that were made without a thought of the tokenizer name such ones.
    """
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    return tuple(dict.fromkeys([tokenizer.eos_token_id, *(token for token in named if token in tokenizer.added_tokens_decoder)]))


ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}  # kinds of layers that keep keys and values
_LENGTHS = ("max_position_embeddings", "max_seq_len")  # what configs call the longest sequence


def longest_row(config: PreTrainedConfig) -> int | None:
    """Tokens that a row of a model can have at most, prompt and answer together; None where nothing bounds them.

    LongRoPE takes other frequencies, for all rows of a batch and all tokens of a row, once one of them goes beyond the original length: there a row would
    depend on its batch mates, and an answer that goes past it on itself. Such a model is used up to the original length.
    """
    lengths = [value for name in _LENGTHS if (value := getattr(config, name, None)) is not None and value > 0]
    return min(lengths + _original_lengths(config, lengths), default=None)


def why_no_longer(config: PreTrainedConfig) -> str:
    """What bounds a model's rows beside the number of its positions, as the end of a message; empty where nothing does."""
    return ": beyond its original length LongRoPE changes all rows beside a long one" if _original_lengths(config, []) else ""


def _original_lengths(config: PreTrainedConfig, otherwise: list[int]) -> list[int]:
    scaling = getattr(config, "rope_parameters", None) or {}
    kinds = scaling.values() if all(isinstance(value, dict) for value in scaling.values()) else [scaling]  # of all layers, or by their kind
    scaled = [kind for kind in kinds if kind.get("rope_type") == "longrope"]
    own = getattr(config, "original_max_position_embeddings", None)
    return [length for kind in scaled if (length := kind.get("original_max_position_embeddings") or own or min(otherwise, default=0))]


def other_layers(config: PreTrainedConfig) -> str:
    """The kinds of a model's layers that keep something else than keys and values, in words; empty where there are none."""
    return ", ".join(sorted({str(kind) for kind in getattr(config, "layer_types", None) or ()} - ATTENTION))


def unwritable(tokenizer: PreTrainedTokenizerBase, characters: str) -> list[str]:
    """Those of `characters` that a tokenizer cannot write. Spaces aside, which many tokenizers drop where they stand alone."""
    return [character for character in characters if not character.isspace() and not _writes(tokenizer, character)]


def _writes(tokenizer: PreTrainedTokenizerBase, character: str) -> bool:
    try:
        tokens = tokenizer.encode(character, add_special_tokens=False)
    except Exception:  # a vocabulary without an unknown token raises what its library likes
        return False
    return bool(tokens) and tokenizer.unk_token_id not in tokens


def save_policy(path: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write model and tokenizer to the folder `path` in the Hugging Face format; `from_pretrained(path)` reads them back. The first process writes."""
    weights = gathered(model.state_dict())
    if ranks.rank() > 0:
        return
    if ranks.count() == 1:
        model.save_pretrained(path)
    else:
        save_weights(path, model, weights)
    tokenizer.save_pretrained(path)


def save_weights(path: str | Path, model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Write `weights` to the folder `path` as a model like `model` that has them, in their own dtype."""
    with torch.device("meta"):
        shell = type(model)(copy.deepcopy(model.config))
    missing = shell.load_state_dict(weights, strict=False, assign=True).missing_keys
    shell.tie_weights()
    if lost := [name for name in missing if shell.get_parameter(name).is_meta]:
        raise ValueError(f"weights to save lack {', '.join(lost)}")
    shell.generation_config = copy.deepcopy(model.generation_config)
    shell.save_pretrained(path)


def sequence_classifier(config: PreTrainedConfig) -> PreTrainedModel:
    """A model for sequence classification with one label, without weights, to load a reward model's into.

    Raises:
        BadInput: `transformers` has none of the kind, or one of another form than a linear layer on the trunk.
    """
    config = copy.deepcopy(config)
    config.num_labels = 1
    try:
        with torch.device("meta"):
            shell = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise BadInput(f"models of the kind {config.model_type} have no form with a reward in transformers; take another model") from error
    if not isinstance(getattr(shell, "score", None), nn.Linear):
        raise BadInput(f"models of the kind {config.model_type} have their reward in another place than those that can be trained here; take another model")
    return shell


def save_reward_model(path: str | Path, policy: RewardModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a reward model and its tokenizer to the folder `path`, as a model for sequence classification with one label. The first process writes."""
    weights = gathered(dict(policy.state_dict()))
    if ranks.rank() > 0:
        return
    shell = sequence_classifier(policy.trunk.config)
    shell.config.pad_token_id = tokenizer.pad_token_id
    shell.score.weight = nn.Parameter(weights.pop("head").detach().clone())
    shell.base_model.load_state_dict({name.removeprefix("trunk."): value.detach().clone() for name, value in weights.items()}, assign=True)
    shell.save_pretrained(path)
    tokenizer.save_pretrained(path)


def is_reward_model(path: str | Path) -> bool:
    """Whether a folder holds a model for sequence classification, by its config."""
    return any(name.endswith("ForSequenceClassification") for name in load_config(path).architectures or ())


def load_reward_model(path_or_hub_id: str | Path) -> RewardModel:
    """A reward model: a model for sequence classification with one label, from a folder or the hub. Only safetensors are read.

    Raises:
        BadInput: there is none, it cannot be loaded this way, it has other labels, or weights of it are missing.
    """
    place = located(path_or_hub_id)
    sequence_classifier(load_config(path_or_hub_id))
    try:
        model, found = AutoModelForSequenceClassification.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # whatever a folder holds, and transformers raises what it likes
        raise _unreadable("reward model", path_or_hub_id, error) from error
    if missing := sorted(found["missing_keys"]):
        raise BadInput(f"reward model {str(path_or_hub_id)!r} lacks {missing[0]}: it is no reward model, or another kind of one")
    if model.score.weight.shape[0] != 1:
        raise BadInput(f"reward model {str(path_or_hub_id)!r} has {model.score.weight.shape[0]} labels; a reward is one number")
    return RewardModel(model.base_model, model.score.weight)


def recompute_layers(model: PreTrainedModel) -> None:
    """Make the layers of a model keep their inputs alone for the gradient, in place.

    Models do this by themselves in training mode only, and policies stay in evaluation mode.

    Raises:
        BadInput: the model's layers do not take it.
    """
    layers = [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise BadInput(f"gradient checkpointing: {type(model).__name__} has no layers that can be computed again; train it without")
    for layer in layers:
        layer.forward = MethodType(_forward_again, layer)


def _forward_again(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return type(layer).forward(layer, *args, **kwargs)
    return checkpoint(type(layer).forward, layer, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
