"""Nash-MD: Nash learning by mirror descent against a mixture with the reference, the exact half of it, on a table of preferences.

Paper: Munos et al. 2023, arXiv:2312.00886, section 5. In the game P(π ≻ π') - τ KL(π ‖ reference) + τ KL(π' ‖ reference) an iteration makes the geometric
mixture π_t^(1 - ητ) reference^(ητ), and from it one step of mirror descent against it: π_{t+1} ∝ mixture · exp(η P(· ≻ mixture)). Then KL(π* ‖ π_{t+1}) ≤
(1 - ητ) KL(π* ‖ π_t) + 2η² (theorem 1), and with η_t = 2 / (τ (t + 2)) KL(π* ‖ π_T) ≤ 8 / (τ² (T + 1)).

Self-play by exponentiated gradients without the mixture goes round in circles where preferences do: its exploitability rises and falls and does not shrink to 0
(`operant evidence nash-md`: of 0.12 at first it is anything between 0.06 and 0.33, and after a
thousand steps never below 0.109).

There is no language model here, nor the policy gradients against token-level mixtures that the paper trains one by. τ is the `kl_weight` of the task. The
first step forgets where it began, and is from the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import Range, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class NashMD:
    rate: Annotated[float | None, Range(0, open_low=True)] = None  # step size η, at most 1 / τ; none: 2 / (τ (t + 2)) at iteration t


@method("nash-md", name="Nash-MD", family="preference", paper="arXiv:2312.00886", worlds=("tabular",), example="tabular:regularized-preference")
def nash_md(h: NashMD) -> Planning:
    def start(problem: Problem) -> State:
        problem.game.check_preference(problem.task, "nash-md")
        weight = problem.game.kl_weight
        if h.rate is not None and h.rate * weight > 1:
            raise BadInput(f"nash-md: rate {h.rate:g} is above one over the task's KL weight, {weight:g}: it is at most {1 / weight:g}")
        return {"policy": problem.game.reference_policy.expand_as(problem.uniform()).clone()}

    def improve(problem: Problem, state: State) -> State:
        game, weight = problem.game, problem.game.kl_weight
        rate = 2 / (weight * (problem.step + 2)) if h.rate is None else h.rate
        mixture = ops.geometric_mixture(state["policy"], game.reference_policy, rate * weight)
        return {"policy": ops.kl_regularized_policy(game.preferred(mixture), mixture, temperature=1 / rate)}

    return Planning(start, improve, reads="game", iterations=10)
