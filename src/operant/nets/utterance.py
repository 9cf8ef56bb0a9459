"""Values of whole utterances: what a conversation so far is worth, and what it is worth with one more turn."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from operant.nets.language import TokenPolicy
from operant.nets.layers import uniform_fan_in
from operant.nets.packed import PackedRows, can_join, packed_states


class UtteranceValues(nn.Module):
    """A copy of a language model's trunk, with two linear heads each for the value of a history and of a history with the utterance behind it.

    Args:
        policy: whose trunk is copied, as it is when this is made.
        generator: from which the heads' weights are drawn. Two estimates that began alike would have the same targets and gradients, and stay one.
    """

    def __init__(self, policy: TokenPolicy, generator: torch.Generator):
        super().__init__()
        self.trunk = copy.deepcopy(policy.model.base_model).requires_grad_(True)
        width = policy.model.get_output_embeddings().weight.shape[1]
        self.history, self.utterance = nn.Linear(width, 2), nn.Linear(width, 2)
        with torch.no_grad():
            for head in (self.history, self.utterance):
                uniform_fan_in(head.weight.T, generator)
                nn.init.zeros_(head.bias)
                head.to(policy.model.device)

    def forward(self, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """(V, Q) behind the first `length [N, M]` tokens (at least 1) of rows `tokens [N, L]`, `[N, M, 2]` each: V where a history ends there, Q where an
        utterance does. What stands to the right changes nothing."""
        wanted = torch.arange(len(tokens), device=tokens.device).unsqueeze(1) * tokens.shape[1] + length - 1
        if tokens.device.type == "cpu" and can_join(self.trunk):
            rows = PackedRows(tokens, torch.ones_like(length[:, 0]), length.amax(1))
            states = packed_states(self.trunk, rows, rows.place.flatten()[wanted.flatten()])
        else:
            states = self.trunk(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1)[wanted.flatten()]
        states = states.float().view(*length.shape, -1)
        return self.history(states), self.utterance(states)
