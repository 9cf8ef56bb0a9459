"""Reward models: a language model with one number at the end of an answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from operant.nets.kernels import FastLinear
from operant.nets.packed import PackedRows, can_join, packed_states
from operant.nets.policy import TrainedPolicy


@dataclass(frozen=True)
class RewardHead:
    """Asks a world for a `RewardModel` on its language model."""


class RewardModel(TrainedPolicy):
    """A scalar on the last hidden state of an answer: r(x, y), of which differences alone mean something. One seed (S is 1).

    What `transformers` calls a model for sequence classification with one label. It stays in evaluation mode whatever `train()` is told.

    Args:
        trunk: a causal language model without its output layer.
        head: `[1, D]`, from hidden states to the reward; None for zeros.
    """

    span = "row"
    seeds = 1

    def __init__(self, trunk: nn.Module, head: Tensor | None = None):
        super().__init__()
        self.trunk = trunk
        like = next(trunk.parameters())
        if head is None:
            head = torch.zeros(1, trunk.config.hidden_size, device=like.device)
        self.head = nn.Parameter(head.detach().float())
        for module in trunk.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear
        self.train(False)

    def train(self, mode: bool = True) -> RewardModel:
        return super().train(False)

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = ()) -> dict[str, Tensor]:
        """The rewards of answers, with gradients.

        Args:
            inputs: as `TokenPolicy.replay` takes them; "length" `[1, N]`, prompt and answer together, says where each row ends.
            action, needs: nothing is read of them; there is one number, whatever is needed.

        Returns:
            "reward" `[1, N]`.
        """
        prompt_length, length = inputs["prompt_length"][0], inputs["length"][0]
        tokens = inputs["tokens"][0][:, : int(length.max())]
        last = torch.arange(len(tokens), device=tokens.device) * tokens.shape[1] + length - 1
        if tokens.device.type == "cpu" and can_join(self.trunk):
            packed = PackedRows(tokens, prompt_length, length)
            states = packed_states(self.trunk, packed, packed.place.flatten()[last])
        else:
            states = self.trunk(input_ids=tokens, use_cache=False).last_hidden_state.flatten(0, 1).index_select(0, last)
        return {"reward": (states.float() @ self.head.T).squeeze(-1)[None]}
