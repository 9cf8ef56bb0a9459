"""Language models as policies: `TokenPolicy.replay` gives log-probabilities of completions (and values, with a critic)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from operant import ops
from operant.core.errors import BadInput
from operant.nets.kernels import FastLinear, round_rows
from operant.nets.packed import PackedRows, can_join, packed_states
from operant.nets.policy import Statistics, TrainedPolicy

HEAD_CHUNK = 2**24  # most logits (steps x vocabulary) that stand in memory at once: 64 MB in float32


@dataclass(frozen=True)
class TokenCritic:
    """A value function over tokens: of each step, the value of what stands before its token.

    Attributes:
        kind: "head", a linear layer on the policy's last hidden states, which learns through the shared trunk; "model", the same on a copy of the whole model.
            Both begin at 0. In an enumerable world both are a table.
    """

    kind: Literal["head", "model"] = "model"


class _Critic(nn.Module):
    """The linear layer, and for kind "model" the trunk in front of it."""

    def __init__(self, model: nn.Module, kind: str):
        super().__init__()
        weight = model.get_output_embeddings().weight
        self.head = nn.Linear(weight.shape[1], 1, device=weight.device, dtype=torch.promote_types(weight.dtype, torch.float32))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.trunk = None
        if kind == "model":
            self.trunk = copy.deepcopy(model.base_model).requires_grad_(True)

    def forward(self, states: Tensor) -> Tensor:
        return self.head(states.to(self.head.weight.dtype)).squeeze(-1)


class TokenPolicy(TrainedPolicy):
    """A Hugging Face causal language model as a policy over tokens; one seed (S is 1). Its linear layers become `FastLinear`.

    The model stays in evaluation mode whatever `train()` is told: with dropout, the policy that is trained would not be the one that acted.

    Args:
        model: a causal language model.
        temperature: of the softmax, above 0; the same as when sampling.
        critic: a value function beside the policy; None for none.
    """

    span = "row"
    seeds = 1
    decode: tuple[str, int] | None = None  # the decoder by which it answers in evaluations, and from how many completions; None for the mean of the usual ones

    def __init__(self, model: nn.Module, temperature: float = 1.0, critic: TokenCritic | None = None):
        super().__init__()
        if not temperature > 0:
            raise BadInput(f"token policy: temperature={temperature} must be above 0; nearest: 1.0")
        self.model = model
        self.temperature = temperature
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
        self._head_alone = self._head_gives_logits()
        self.critic = None if critic is None else _Critic(model, critic.kind)
        self.train(False)

    @property
    def packs(self) -> bool:
        """Whether `replay` runs packed rows: rows together then cost what their tokens do, however long each is."""
        return self._head_alone and _packs(self.model.base_model, self.model.device)

    def train(self, mode: bool = True) -> TokenPolicy:
        return super().train(False)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The model's weights by name, without gradients, as a checkpoint in the Hugging Face format holds them; a weight that two layers share once."""
        for name, weight in self.model.named_parameters():
            yield name, weight.detach()

    @torch.no_grad()
    def _head_gives_logits(self) -> bool:
        """Whether logits are the output layer on the last hidden states and nothing more (some models scale or cap them). Tried with a known, large output."""
        head = self.model.get_output_embeddings()
        if head is None:
            return False
        given, made = [], []

        def replace(module, inputs, output):
            given.append(inputs[0])
            made.append(torch.linspace(-1000, 1000, output.numel(), dtype=output.dtype, device=output.device).view_as(output))
            return made[-1]

        probe = torch.tensor([[0, 1]], device=next(self.model.parameters()).device)
        handle = head.register_forward_hook(replace)
        try:
            logits = self.model(input_ids=probe, use_cache=False).logits
        finally:
            handle.remove()
        hidden = getattr(self.model.base_model(input_ids=probe, use_cache=False), "last_hidden_state", None)
        if hidden is None or len(given) != 1:
            return False
        return torch.equal(logits, made[0]) and torch.allclose(hidden.float(), given[0].float(), rtol=1e-4, atol=1e-5)

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = (), statistics: Statistics | None = None) -> dict[str, Tensor]:
        """Log-probabilities of completions, with gradients, by one causal forward pass.

        A row's numbers do not depend on its batch mates or its padding: nothing attends to what stands to its right. On a processor, models that `can_join` run
        packed rows, in which padding and shared prompts cost nothing; others run the padded rows.

        Args:
            inputs: "tokens" `[1, N, L]` int64, prompt and completion side by side, padded at the right; "prompt_length" `[1, N]`, at least 1; optionally
                "length" `[1, N]`, prompt and completion together: steps beyond it cost nothing, and the batch is trimmed to the longest row.
            action: `[1, N, T]` int64; `action[…, t]` stands at position `prompt_length + t`.
            needs: of "entropy" (of the next token's distribution, nats), "value" (with a critic) and "logits" (divided by the temperature).
            statistics: further numbers a step; their logits never stand in memory whole.

        Returns:
            "log_prob" `[1, N, T]`, and as asked "entropy", "value" and each statistic `[1, N, T]`, "logits" `[1, N, T, V]`; 0 at steps beyond a row's length.
        """
        tokens, prompt_length, length, action = self._rows(inputs, action)
        count, steps = action.shape
        row, step = (prompt_length.unsqueeze(1) + torch.arange(steps, device=tokens.device) < length.unsqueeze(1)).nonzero(as_tuple=True)
        rounding = (0, round_rows(len(row)) - len(row))
        before = F.pad(row * tokens.shape[1] + prompt_length[row] + step - 1, rounding)  # the position whose output chooses the token
        taken = F.pad(action[row, step], rounding)
        # A row's last token chooses nothing and is not run.
        states, hidden = self._forward(tokens, prompt_length, torch.maximum(length - 1, prompt_length), before, hidden="value" in needs)
        measure = _Measure(self, "entropy" in needs, statistics or {})
        if "logits" in needs:
            logits = self._logits(states)
            parts = {"logits": logits, **measure.of_logits(logits, taken)}
        else:
            parts = self._in_chunks(states, taken, measure)
        if "value" in needs:
            parts["value"] = self.critic(hidden)
        place = row * steps + step
        return {
            name: part.new_zeros(count * steps, *part.shape[1:]).index_copy(0, place, part[: len(place)]).view(1, count, steps, *part.shape[1:])
            for name, part in parts.items()
        }

    def _rows(self, inputs: dict[str, Tensor], action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(tokens `[N, L]` trimmed to the longest row, prompt_length `[N]`, length `[N]`, action `[N, T]`)."""
        tokens, prompt_length = inputs["tokens"][0], inputs["prompt_length"][0]
        if "length" not in inputs:
            return tokens, prompt_length, torch.full_like(prompt_length, tokens.shape[1]), action[0]
        length = inputs["length"][0]
        return tokens[:, : int(length.max())], prompt_length, length, action[0]

    def _forward(self, tokens: Tensor, prompt_length: Tensor, length: Tensor, wanted: Tensor, *, hidden: bool) -> tuple[Tensor, Tensor | None]:
        """What `_logits` takes, at the positions `wanted [W]` of the flattened rows, and where asked the hidden states there that the critic reads."""
        own = self.critic is not None and self.critic.trunk is not None
        shared = hidden and not own
        packed: list[PackedRows] = []

        def last_states(trunk: nn.Module) -> Tensor:
            if not _packs(trunk, tokens.device):
                return trunk(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1).index_select(0, wanted)
            if not packed:
                packed.append(PackedRows(tokens, prompt_length, length))
            return packed_states(trunk, packed[0], packed[0].place.flatten()[wanted])

        if self._head_alone:
            output = states = last_states(self.model.base_model)
        else:
            whole = self.model(input_ids=tokens, use_cache=False, output_hidden_states=shared)
            output = whole.logits.flatten(0, 1).index_select(0, wanted)
            states = whole.hidden_states[-1].flatten(0, 1).index_select(0, wanted) if shared else None
        if hidden and own:
            states = last_states(self.critic.trunk)
        return output, states if hidden else None

    @torch.no_grad()
    def values(self, rollout: Any) -> tuple[Tensor, Tensor]:
        """The critic's value before each step, and after it, `[1, N, T]` each; rows of a rollout, in the same padding. 0 beyond a row's last position."""
        tokens, prompt_length, length, action = self._rows(rollout.inputs, rollout.action)
        steps = torch.arange(action.shape[1] + 1, device=tokens.device)
        position = prompt_length.unsqueeze(1) - 1 + steps  # of the token before each step, and of the last one
        row, step = (position < length.unsqueeze(1)).nonzero(as_tuple=True)
        _, hidden = self._forward(tokens, prompt_length, length, row * tokens.shape[1] + position[row, step], hidden=True)
        found = self.critic(hidden)
        value = found.new_zeros(position.shape).index_put((row, step), found)
        return value[None, :, :-1], value[None, :, 1:]

    def _logits(self, states: Tensor) -> Tensor:
        logits = self.model.get_output_embeddings()(states) if self._head_alone else states
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        return logits if self.temperature == 1 else logits / self.temperature

    def _in_chunks(self, states: Tensor, taken: Tensor, measure: _Measure) -> dict[str, Tensor]:
        head = self.model.get_output_embeddings()
        size = max(1, HEAD_CHUNK // head.weight.shape[0])
        if len(states) <= size:
            return measure(states, taken)
        # Each chunk's logits are made again for its gradient, so that only one chunk of them stands in memory.
        chunks = [checkpoint(measure, s, t, use_reentrant=False, preserve_rng_state=False) for s, t in zip(states.split(size), taken.split(size), strict=True)]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _packs(trunk: nn.Module, device: torch.device) -> bool:
    return device.type == "cpu" and can_join(trunk)


@dataclass(frozen=True)
class _Measure:
    """The numbers a step that are made from logits."""

    policy: TokenPolicy
    entropy: bool
    statistics: Statistics

    def __call__(self, states: Tensor, taken: Tensor) -> dict[str, Tensor]:
        return self.of_logits(self.policy._logits(states), taken)

    def of_logits(self, logits: Tensor, taken: Tensor) -> dict[str, Tensor]:
        if self.entropy:
            log_prob, spread = ops.categorical_log_prob_and_entropy(logits, taken)
            found = {"log_prob": log_prob, "entropy": spread}
        else:
            found = {"log_prob": ops.categorical_log_prob(logits, taken)}
        return found | {name: statistic(logits, taken) for name, statistic in self.statistics.items()}


class Completions(Protocol):
    """What `generation_to_inputs` reads of a generation: prompts a request, and for R rows the request, the tokens `[R, T]` and the mask `[R, T]`."""

    prompts: list[tuple[int, ...]]
    request: Tensor
    tokens: Tensor
    mask: Tensor


def generation_to_inputs(generation: Completions, pad_token_id: int) -> dict[str, Tensor]:
    """The inputs of `TokenPolicy.replay` for a generation: "tokens" `[1, R, L]`, "prompt_length" `[1, R]`, "length" `[1, R]`. The action is `tokens[None]`."""
    device = generation.tokens.device
    longest = max(map(len, generation.prompts))
    prompts = torch.tensor([[*prompt, *[pad_token_id] * (longest - len(prompt))] for prompt in generation.prompts], device=device)
    prompt_length = torch.tensor([len(prompt) for prompt in generation.prompts], device=device)[generation.request]
    count, steps = generation.tokens.shape
    rows = torch.full((count, longest + steps), pad_token_id, device=device)
    rows[:, :longest] = prompts[generation.request]
    rows.scatter_(1, prompt_length.unsqueeze(1) + torch.arange(steps, device=device), generation.tokens.masked_fill(~generation.mask, pad_token_id))
    return {"tokens": rows[None], "prompt_length": prompt_length[None], "length": (prompt_length + generation.mask.sum(1))[None]}
