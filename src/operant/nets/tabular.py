"""A softmax at every prefix: the policy with one free parameter a decision.

A prefix is what a sequence has chosen so far. Prefixes are numbered as the nodes of a complete tree whose branching is the number of tokens that do not end the
sequence: the empty prefix is 0, and prefix `i` followed by the `d`-th such token is `branching * i + d + 1`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from operant import ops
from operant.nets.policy import TrainedPolicy


class SequenceTree(Protocol):
    """What a tabular policy must know of a problem: sizes, and whether token 0 ends a sequence."""

    vocabulary: int
    length: int
    prompts: int
    stops: bool


def prefix_count(tree: SequenceTree) -> int:
    """How many prefixes can be followed by a choice (lengths 0 to `length - 1`)."""
    branching = tree.vocabulary - tree.stops
    return sum(branching**depth for depth in range(tree.length))


def prefix_index(tree: SequenceTree, action: Tensor) -> tuple[Tensor, Tensor]:
    """The prefix in front of each step, and which steps are chosen at all.

    Args:
        action: tokens `[..., T]` int64, T at most `tree.length`; what stands after an end token does not matter.

    Returns:
        Prefix numbers `[..., T]` int64 (0 where nothing is chosen any more) and the mask `[..., T]` (True up to and with the end token).
    """
    branching = tree.vocabulary - tree.stops
    node = torch.zeros(action.shape[:-1], dtype=torch.int64, device=action.device)
    alive = torch.ones_like(node, dtype=torch.bool)
    nodes, mask = [], []
    for token in action.unbind(-1):
        nodes.append(node)
        mask.append(alive)
        if tree.stops:
            alive = alive & (token != 0)
        node = (branching * node + token + (not tree.stops)) * alive
    return torch.stack(nodes, -1), torch.stack(mask, -1)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Tokens by inversion of the cumulative distribution.

    Args:
        logits: `[..., V]`.
        uniform: `[...]` in [0, 1).

    Returns:
        `[...]` int64 in [0, V).
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    return (uniform.unsqueeze(-1) * cumulative[..., -1:] >= cumulative).sum(-1).clamp(max=logits.shape[-1] - 1)


class TabularPolicy(TrainedPolicy):
    """A softmax at every prefix of every prompt, for S seeds at once. Starts uniform.

    Args:
        problem: sizes of the sequence problem.
        seeds: S, the length of the leading axis of the parameter.
        dtype: float64 by default, because this policy is there for exact figures.
        critic: with a table of values beside it.

    Attributes:
        logits: the parameter `[S, P, prefixes, V]`.
        temperature: of the softmax, above 0; 1 unless it is set.
        table: with a critic, the parameter `[S, P, prefixes]`, the value of each prefix.
    """

    span = "row"

    def __init__(self, problem: SequenceTree, seeds: int = 1, dtype: torch.dtype = torch.float64, *, critic: bool = False):
        super().__init__()
        self.problem = problem
        if critic:
            self.table = nn.Parameter(torch.zeros(seeds, problem.prompts, prefix_count(problem), dtype=dtype))
        self.logits = nn.Parameter(torch.zeros(seeds, problem.prompts, prefix_count(problem), problem.vocabulary, dtype=dtype))

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.logits)

    def of_seed(self, seed: int) -> TabularPolicy:
        """The policy of one place of the seed axis alone; it shares the memory."""
        one = TabularPolicy(self.problem)
        one.temperature = self.temperature
        one._parameters = {name: nn.Parameter(value.detach()[seed : seed + 1]) for name, value in self._parameters.items()}
        return one

    def replay(
        self,
        inputs: dict[str, Tensor],
        action: Tensor,
        needs: Collection[str] = (),
        statistics: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Log-probability of given tokens, with gradients.

        Args:
            inputs: `"prompt"` `[S, N]` int64.
            action: `[S, N, T]` int64.
            needs: of "entropy" (of the next token's distribution, nats), "value" (with a critic) and "logits".
            statistics: further numbers a step by name, functions of logits `[R, V]` and tokens `[R]` that give `[R]`.

        Returns:
            `log_prob [S, N, T]`, and as asked `entropy`, `value` and each statistic `[S, N, T]`, `logits [S, N, T, V]`. Numbers are 0 at steps after the end
            token.
        """
        prefix, mask = prefix_index(self.problem, action)
        prompt = inputs["prompt"].unsqueeze(-1)
        logits, token = self._at(self.logits, prompt, prefix) / self.temperature, action * mask
        log_prob, entropy = ops.categorical_log_prob_and_entropy(logits, token)
        outputs = {"log_prob": log_prob * mask}
        if "entropy" in needs:
            outputs["entropy"] = entropy * mask
        if "value" in needs:
            outputs["value"] = self._at(self.table, prompt, prefix) * mask
        if "logits" in needs:
            outputs["logits"] = logits
        for name, statistic in (statistics or {}).items():
            outputs[name] = statistic(logits.flatten(0, -2), token.flatten()).view(mask.shape) * mask
        return outputs

    @torch.no_grad()
    def values(self, rollout: Any) -> tuple[Tensor, Tensor]:
        """The value before each step, and after it, `[S, N, T]` each; 0 after the end of a row."""
        value = self.replay(rollout.inputs, rollout.action, {"value"})["value"]
        return value, torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)

    @torch.no_grad()
    def sample(self, prompt: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw sequences.

        Args:
            prompt: `[S, N]` int64.
            uniforms: `[S, N, T]` in [0, 1), one a step; T is the problem's length.

        Returns:
            action `[S, N, T]` int64 (0 after the end token), log_prob `[S, N, T]`, mask `[S, N, T]`.
        """
        action = torch.zeros(uniforms.shape, dtype=torch.int64, device=prompt.device)
        for step in range(uniforms.shape[-1]):
            prefix, mask = prefix_index(self.problem, action[..., : step + 1])
            action[..., step] = draw(self._at(self.logits, prompt, prefix[..., -1]) / self.temperature, uniforms[..., step]) * mask[..., -1]
        return action, self.replay({"prompt": prompt}, action)["log_prob"], prefix_index(self.problem, action)[1]

    def _at(self, table: Tensor, prompt: Tensor, prefix: Tensor) -> Tensor:
        """Entries `[S, …, *]` of `table [S, P, prefixes, *]` at prompts and prefixes `[S, …]`."""
        seed = torch.arange(self.seeds, device=prefix.device).view(-1, *[1] * (prefix.dim() - 1))
        return table[seed, prompt, prefix]
