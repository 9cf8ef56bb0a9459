"""What every policy that a loop trains offers to it, for actions in an environment, tokens and denoising steps alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from operant.core.records import Rollout

RATIO_TOLERANCE = 5e-3  # largest |log ratio| before the first update on fresh data; float32 passes of different shapes differ by 1e-5, sharp policies by 1e-3

Statistics = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
"""Further numbers a step by name, each a function of next-token logits `[R, V]` and the tokens taken `[R]` that gives `[R]`."""


class TrainedPolicy(nn.Module):
    """A network that says of given actions what its numbers are now.

    Attributes:
        span: what an action hangs on, and a minibatch is therefore made of: "step", what is seen at that step alone; "row", the steps before it too.
        packs: rows of any length go through it together at the cost of what they hold.
        shares_weights: it has none of its own, and none are saved with it.
        ratio_tolerance: the largest |log ratio| that may stand between two passes over the same actions.
        temperature: of a softmax that it draws from.
        consists: what its network gives, in words.
        far: where what it draws at first is far from the range of the actions, in words.
        likelihoods: ratios of its log-probabilities say how far it is from a policy that acted; False where a maximum decides what it does.
    """

    span: ClassVar[Literal["step", "row"]] = "step"
    packs: bool = False
    shares_weights: bool = False
    ratio_tolerance: float = RATIO_TOLERANCE
    temperature: float = 1.0
    consists: ClassVar[str] = "a policy"
    likelihoods: ClassVar[bool] = True
    far: str = ""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs: Collection[str] = (), statistics: Statistics | None = None) -> dict[str, Tensor]:
        """Numbers of given actions, with gradients.

        Args:
            inputs: what the policy saw, by name, as rollouts and demonstrations of its world have it.
            action: `[S, N, T, …]`, or single steps `[S, U, …]`.
            needs: of "entropy", "value", "logits"; "log_prob" is always given.
            statistics: further functions of a step's logits, where actions are tokens.
        """
        raise NotImplementedError

    def values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """V at each step and behind it, `[S, N, T]` each, without gradients; of policies with a value function."""
        raise NotImplementedError

    def explore(self, progress: float) -> None:
        """Be what draws at this share of training, 0 to 1, where that changes along it."""

    def make_reference(self) -> TrainedPolicy:
        """The policy as it is now, to be held against later: a frozen copy, which draws nothing."""
        return copy.deepcopy(self).requires_grad_(False).eval()
