"""Sampling at a temperature that follows how uncertain the policy is at each token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.worlds.plans import Plan, Problems, Request, Requests, check_positive


@dataclass(eq=False)
class EntropyTemperature(Plan):
    """`n` completions a prompt; each token is drawn at 1 + `scale` · ĥ, ĥ in [−1, 1] its normalised log-entropy (HAPO, arXiv:2509.16591).

    The range that ĥ is measured by is that of the batch before; the first batch is drawn at 1. The policy that is trained stays at temperature 1.

    Attributes:
        scale: largest change of the temperature, 0 to below 1.
        quantile: of the log-entropies, where ĥ is 0.
    """

    prompts: int = 16
    n: int = 16
    scale: float = 0.05
    quantile: float = 0.8
    _range: tuple[float, ...] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive(self, allow_zero=("scale", "quantile"))

    def requests(self, problems: Problems) -> Requests:
        yield [Request(prompt.tokens, self.n, group=prompt.index) for prompt in problems.draw(self.prompts)]

    def temperature(self, entropy: Tensor, log_p: Tensor) -> Tensor:
        """The temperature of each row's next token `[R]`, from its entropy at temperature 1."""
        if self._range is None:
            return entropy.new_ones(entropy.shape)
        return 1 + self.scale * ops.normalized_log_entropy(entropy, *self._range)

    def observe(self, rollout: Rollout) -> None:
        """Take the range of a batch's entropies."""
        if bool(rollout.mask.any()):
            found = ops.log_entropy_range(rollout.extras["entropy"], rollout.mask, quantile=self.quantile)
            self._range = tuple(float(value) for value in found)

    def state_dict(self) -> dict[str, Any]:
        return {"range": None if self._range is None else list(self._range)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._range = None if state["range"] is None else tuple(float(value) for value in state["range"])
