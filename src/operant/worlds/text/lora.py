"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): the model's own weights stay as they are, and beside each linear layer W a product B A is trained."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from operant.core import ranks
from operant.core.errors import BadInput, RunFailed
from operant.nets.language import Statistics, TokenCritic, TokenPolicy
from operant.nets.policy import TrainedPolicy
from operant.nets.sharded import gathered, whole
from operant.worlds.text.models import save_weights

NAME = "default"  # of the one adapter
SCALING = 2
_LINEAR = (nn.Linear, Conv1D)


def add_adapter(model: PreTrainedModel, rank: int, seed: int) -> None:
    """Put an adapter beside every linear layer but the output layer, in place. B is 0, so that the model is still the same function.

    A layer's output is W x + (α / rank) B A x with α twice the rank, as is usual: the adapter counts `SCALING` times at every rank.

    The adapter is kept in float32 and is all that is trained. Of mixtures of experts, PEFT adapts the experts of some families too and leaves those of others
    as they are; a router that is more than a linear layer is never adapted.

    Args:
        rank: of B A, at least 1.
        seed: of A's weights; the global generators are left as they were.

    Raises:
        BadInput: a rank above the width of every layer, or a model that PEFT cannot adapt, or whose adapter cannot be merged again.
    """
    name, before = type(model).__name__, set(model.state_dict())
    routers = _routers(model)
    most = max((min(module.weight.shape) for path, module in model.named_modules() if isinstance(module, _LINEAR) and path not in routers), default=0)
    if rank > most:
        raise BadInput(f"lora_rank={rank}: {f'the widest layer of {name} has rank {most}; nearest: {most}' if most else f'{name} has no linear layers'}")
    config = LoraConfig(
        r=rank,
        lora_alpha=SCALING * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=routers or None,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            inject_adapter_in_model(config, model, adapter_name=NAME)
    except Exception as error:  # PEFT raises what it likes
        raise BadInput(f"lora_rank={rank}: PEFT cannot adapt {name}: {str(error).strip().partition(chr(10))[0]}; train it whole") from error
    if {_plain_name(key) for key in model.state_dict() if "lora_" not in key} != before or not _deltas(model).keys() <= before:
        raise BadInput(f"lora_rank={rank}: the adapter that PEFT gives {name} cannot be merged into its weights; train it whole")
    for key, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in key)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.eval()


@torch.no_grad()
def _routers(model: PreTrainedModel) -> list[str]:
    """The linear layers that give more than a product, by name: PEFT would add to what they give."""
    subclasses = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.Linear) and type(module) is not nn.Linear]
    found: list[str] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, path=path: None if isinstance(output, Tensor) else found.append(path))
        for path, module in subclasses
    ]
    try:
        if hooks:
            model(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _plain_name(name: str) -> str:
    """What a weight beside an adapter is called without it."""
    return name.replace(".base_layer.", ".").replace(".base_layer.", ".")  # experts stand within two


def _deltas(model: nn.Module) -> dict[str, LoraLayer]:
    """The layer that adapts each weight, by the weight's plain name."""
    return {
        _plain_name(f"{name}.{layer.parameter_name if isinstance(layer, ParamWrapper) else 'weight'}"): layer
        for name, layer in _layers(model).items()
    }


class LoraPolicy(TokenPolicy):
    """A model with an adapter as a policy. A critic of kind "model" has an adapter of its own beside the same weights.

    Args: as of `TokenPolicy`; the model has an adapter.
    """

    def __init__(self, model: PreTrainedModel, temperature: float = 1.0, critic: TokenCritic | None = None):
        super().__init__(model, temperature, critic)
        if self.critic is not None and self.critic.trunk is not None:
            for (name, mine), theirs in zip(list(self.critic.trunk.named_modules()), model.base_model.modules(), strict=True):
                for kind in mine._parameters:
                    if "lora_" not in name:
                        mine._parameters[kind] = theirs._parameters[kind]
        trained = {name for name, parameter in self.named_parameters(remove_duplicate=False) if parameter.requires_grad}
        self._frozen = frozenset(super().state_dict()) - trained  # kept here: a copy that is a reference trains nothing

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        """What is trained, without the model's own weights, and a digest of those under "frozen"."""
        whole = super().state_dict(*args, **kwargs)
        return {name: value for name, value in whole.items() if name not in self._frozen} | {"frozen": self._digest}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """
        Raises:
            RunFailed: the state belongs beside other weights.
        """
        if not torch.equal(state["frozen"], self._digest):
            raise RunFailed("the weights beside the adapter are not those that it was trained with; give the model as it was then, or start a new run")
        missing, unexpected = super().load_state_dict({name: value for name, value in state.items() if name != "frozen"}, strict=False)
        if unexpected or not self._frozen.issuperset(missing):
            raise RunFailed(f"the adapter does not fit the model: missing {sorted({*missing} - self._frozen)}, unexpected {unexpected}")

    @cached_property
    def _digest(self) -> Tensor:
        """SHA-256 `[32]` of the weights that are not trained."""
        digest = hashlib.sha256()
        for name, value in super().state_dict().items():
            if name in self._frozen:
                digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """As `TokenPolicy.weights`, the adapter merged into them, in float32."""
        return _merged(self.model, dict(self.model.named_parameters()))

    def make_reference(self) -> WithoutAdapter:
        """The policy that training starts from: this one with its adapter off."""
        return WithoutAdapter(self)


@torch.no_grad()
def _merged(model: PreTrainedModel, weights: Mapping[str, Tensor | None]) -> Iterator[tuple[str, Tensor]]:
    """The weights of an adapted model by their plain names, in float32, the adapter's product added to each.

    Args:
        weights: by name, those of the adapter among them; None for what another process has.
    """
    deltas = _deltas(model)
    for name, value in weights.items():
        if value is None or "lora_" in name:
            continue
        weight, plain = value.detach().float(), _plain_name(name)
        yield plain, weight + deltas[plain].get_delta_weight(NAME).detach().float().to(weight.device) if plain in deltas else weight


class WithoutAdapter(TrainedPolicy):
    """The policy as it was before training. It holds no weights of its own."""

    shares_weights = True

    def __init__(self, policy: LoraPolicy):
        super().__init__()
        self._policy = [policy]  # in a list, so that it is no submodule: its weights are not this one's to move, save or freeze

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = (), statistics: Statistics | None = None) -> dict[str, Tensor]:
        """As `TokenPolicy.replay`, without gradients."""
        policy = self._policy[0]
        with torch.no_grad(), _adapter_off(policy.model):
            return policy.replay(inputs, action, needs, statistics)


def _layers(model: nn.Module) -> dict[str, LoraLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def _adapter_off(model: PreTrainedModel) -> Iterator[None]:
    layers = _layers(model).values()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_lora(path: Path, policy: LoraPolicy, tokenizer: PreTrainedTokenizerBase, base: str | Path | None) -> None:
    """Write the model with its adapter merged to the folder `path` in the Hugging Face format, and the adapter alone to `path/adapter` in PEFT's.

    Merged weights are float32: in bfloat16 the small changes of an adapter would be rounded away. Of several processes the first writes.

    Args:
        base: the folder or hub id that the adapter belongs to, for whoever loads it.
    """
    model = policy.model
    weights = gathered(dict(model.state_dict()))
    adapter = {
        "base_model.model." + name.replace(f".{NAME}", ""): value.detach().cpu().contiguous().clone()
        for name, value in weights.items()
        if value is not None and "lora_" in name
    }
    with whole(policy):
        merged = dict(_merged(model, weights))
    if ranks.rank() > 0:
        return
    save_weights(path, model, merged)
    tokenizer.save_pretrained(path)
    folder = path / "adapter"
    folder.mkdir()
    config = copy.deepcopy(model.peft_config[NAME])
    config.base_model_name_or_path = None if base is None else str(base)
    config.inference_mode = True
    config.save_pretrained(folder)
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
