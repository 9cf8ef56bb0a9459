"""Language models as policies: `TokenPolicy.replay` gives log-probabilities of completions, and a linear layer that is fast on processors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from operant import ops
from operant.core.errors import BadInput
from operant.nets.kernels import linear

HEAD_CHUNK = 2**24  # most logits (steps x vocabulary) that stand in memory at once: 64 MB in float32


class FastLinear(nn.Linear):
    """`nn.Linear` that computes by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class TokenPolicy(nn.Module):
    """A Hugging Face causal language model as a policy over tokens; one seed (S is 1). Its linear layers become `FastLinear`.

    The model stays in evaluation mode whatever `train()` is told: with dropout, the policy that is trained would not be the one that acted.

    Args:
        model: a causal language model.
        temperature: of the softmax, above 0; the same as when sampling.
    """

    unit = "row"
    seeds = 1

    def __init__(self, model: nn.Module, temperature: float = 1.0):
        super().__init__()
        if not temperature > 0:
            raise BadInput(f"token policy: temperature={temperature} must be above 0; nearest: 1.0")
        self.model = model
        self.temperature = temperature
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
        self.train(False)
        self._head_alone = self._head_gives_logits()

    def train(self, mode: bool = True) -> TokenPolicy:
        return super().train(False)

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
        return hidden is not None and len(given) == 1 and torch.equal(logits, made[0]) and torch.allclose(hidden, given[0], rtol=1e-4, atol=1e-5)

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = ()) -> dict[str, Tensor]:
        """Log-probabilities of completions, with gradients, by one causal forward pass over right-padded rows.

        A row's numbers do not depend on its batch mates or its padding: nothing attends to what stands to its right.

        Args:
            inputs: "tokens" `[1, N, L]` int64, prompt and completion side by side, padded at the right; "prompt_length" `[1, N]`, at least 1; optionally
                "length" `[1, N]`, prompt and completion together: steps beyond it cost nothing, and the batch is trimmed to the longest row.
            action: `[1, N, T]` int64; `action[…, t]` stands at position `prompt_length + t`.
            needs: of "entropy" (of the next token's distribution, nats) and "logits" (divided by the temperature).

        Returns:
            "log_prob" `[1, N, T]`, and as asked "entropy" `[1, N, T]`, "logits" `[1, N, T, V]`; 0 at steps beyond a row's length.
        """
        tokens, prompt_length, action = inputs["tokens"][0], inputs["prompt_length"][0], action[0]
        count, steps = action.shape
        if "length" in inputs:
            length = inputs["length"][0]
            tokens = tokens[:, : int(length.max())]
        else:
            length = torch.full_like(prompt_length, tokens.shape[1])
        row, step = (prompt_length.unsqueeze(1) + torch.arange(steps, device=tokens.device) < length.unsqueeze(1)).nonzero(as_tuple=True)
        before = row * tokens.shape[1] + prompt_length[row] + step - 1  # the position whose output chooses the token
        taken = action[row, step]
        model = self.model.base_model if self._head_alone else self.model
        output = model(input_ids=tokens, use_cache=False)
        states = (output.last_hidden_state if self._head_alone else output.logits).flatten(0, 1).index_select(0, before)
        entropy_needed = "entropy" in needs
        if "logits" in needs:
            logits = self._logits(states)
            parts = {"logits": logits, **_log_prob_and_entropy(logits, taken, entropy_needed)}
        else:
            parts = self._in_chunks(states, taken, entropy_needed)
        place = row * steps + step
        return {
            name: part.new_zeros(count * steps, *part.shape[1:]).index_copy(0, place, part).view(1, count, steps, *part.shape[1:])
            for name, part in parts.items()
        }

    def _logits(self, states: Tensor) -> Tensor:
        logits = self.model.get_output_embeddings()(states) if self._head_alone else states
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        return logits if self.temperature == 1 else logits / self.temperature

    def _in_chunks(self, states: Tensor, taken: Tensor, entropy: bool) -> dict[str, Tensor]:
        def measure(states: Tensor, taken: Tensor) -> dict[str, Tensor]:
            return _log_prob_and_entropy(self._logits(states), taken, entropy)

        head = self.model.get_output_embeddings()
        size = max(1, HEAD_CHUNK // head.weight.shape[0])
        if len(states) <= size:
            return measure(states, taken)
        # Each chunk's logits are made again for its gradient, so that only one chunk of them stands in memory.
        chunks = [checkpoint(measure, s, t, use_reentrant=False, preserve_rng_state=False) for s, t in zip(states.split(size), taken.split(size), strict=True)]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _log_prob_and_entropy(logits: Tensor, token: Tensor, entropy: bool) -> dict[str, Tensor]:
    if not entropy:
        return {"log_prob": ops.categorical_log_prob(logits, token)}
    log_prob, spread = ops.token_log_prob_and_entropy(logits, token)
    return {"log_prob": log_prob, "entropy": spread}


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
