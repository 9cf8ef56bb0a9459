"""Values of whole utterances: what a conversation so far is worth, and what it is worth with one more turn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from operant.core.random import derive_seed


@dataclass(frozen=True)
class UtteranceNet:
    """A recurrent network over tokens, with two heads each for the value of a history and of a history with the utterance behind it.

    Attributes:
        hidden: width of the embedding and of the recurrent layer.
    """

    hidden: int = 64

    def build(self, vocabulary: int, seed: int) -> UtteranceValues:
        """The network with weights drawn from `seed`; the global generators are left as they were."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "initialize/utterances"))
            return UtteranceValues(vocabulary, self.hidden)


class UtteranceValues(nn.Module):
    """A gated recurrent unit (arXiv:1412.3555) and its heads."""

    def __init__(self, vocabulary: int, hidden: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.trunk = nn.GRU(hidden, hidden, batch_first=True)
        self.history = nn.Linear(hidden, 2)
        self.utterance = nn.Linear(hidden, 2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(V, Q) behind each token of rows `tokens [N, L]`, `[N, L, 2]` each: V where the token is the last of a history, Q where it is the last of an
        utterance. What stands to the right of a token changes nothing."""
        states, _ = self.trunk(self.embedding(tokens))
        return self.history(states), self.utterance(states)
