"""Preference pairs of an enumerable problem, labelled by the Bradley-Terry model of its rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.worlds.base import GivenRows, Preferred
from operant.worlds.sequences.problems import SequenceProblem

PAIRS = 1024  # a seed


class SequencePairs(Preferred):
    """Pairs of sequences, each drawn uniformly from all of a prompt's; y is preferred to z with probability σ(r(y) − r(z)), r being the table's reward.

    Args:
        streams: each seed has pairs of its own.
    """

    size = PAIRS

    def __init__(self, problem: SequenceProblem, streams: Streams):
        self.problem = problem
        self._prompt = streams.integers("preferences/prompt", problem.prompts, PAIRS)
        either = streams.integers("preferences/sequence", len(problem.sequences), PAIRS, 2)
        reward = problem.rewards.to(streams.device)[self._prompt.unsqueeze(-1), either]
        first = streams.uniform("preferences/label", PAIRS) < (reward[..., 0] - reward[..., 1]).sigmoid()
        self._sequence = torch.where(first.unsqueeze(-1), either, either.flip(-1))  # [S, PAIRS, 2], the preferred one first

    def rows(self, index: Tensor) -> GivenRows:
        problem = self.problem
        prompt = self._prompt.gather(1, index).repeat_interleave(2, 1)
        sequence = self._sequence.gather(1, index.unsqueeze(-1).expand(-1, -1, 2)).flatten(1)
        return GivenRows({"prompt": prompt}, problem.sequences.to(index.device)[sequence], problem.mask.to(index.device)[sequence])
