"""Reward model: a language model with one number at the end of an answer, fitted to preferences by the Bradley-Terry model.

Paper: Ouyang et al. 2022, "Training language models to follow instructions with human feedback", arXiv:2203.02155, eq. 1, for pairs (K = 2); Stiennon et al.
2020, arXiv:2009.01325. The score is how often it finds the preferred answer of a held-out pair better.
Settled on: the number stands at the answer's last token and has no bias, for differences alone matter; it begins at 0. Rewards are not centred afterwards (the
paper shifts them by a bias to mean 0 on demonstrations). The whole model is trained. It is kept as `transformers` keeps a model for sequence classification
with one label, as TRL's is, and rewards answers as `--verifier reward-model:FOLDER`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant.core.registry import Positive, Range, method
from operant.loops.pairs import Preferences
from operant.loops.preference import PreferredReward
from operant.loops.settings import PreferenceSettings
from operant.nets.reward_model import RewardHead


@dataclass(frozen=True)
class RewardModelFit(PreferenceSettings):
    learning_rate: Positive = 1e-3  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    label_smoothing: Annotated[float, Range(0, 0.5, open_high=True)] = 0.0  # share of preferences that are taken to be wrong


@method("reward-model", name="Bradley-Terry reward model", family="preference", paper="arXiv:2203.02155", worlds=("preferences",))
def reward_model(h: RewardModelFit) -> Preferences:
    return Preferences(policy=RewardHead(), terms=[PreferredReward(h.label_smoothing)], **h.updates)
