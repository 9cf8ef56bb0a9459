"""Nash-MP: Nash learning by mirror prox, the exact half of it, on a table of preferences.

Paper: Tiapkin et al. 2025, arXiv:2505.19731, its first version (later ones have other algorithms). In the game P(π ≻ π') - β KL(π ‖ reference) +
β KL(π' ‖ reference) an iteration is two proximal steps from the same policy π_k, the first against π_k and the second against what the first came to; each
has a closed form (`ops.kl_proximal_step`). The last iterate converges linearly, KL(π* ‖ π_k) ≤ (1 + 2β)^-k KL(π* ‖ π_0), whatever the number of answers; an
iteration asks for two tables of preferences against a policy.

Mirror descent in one step of the same size asks for half as many tables, and on mild random preferences comes nearer with the same number of them; where
preferences go round in circles it need not converge at all (`operant evidence nash-mp`).

What was settled: the paper leaves the step size to its proof; 2 is what gives that rate, since preferences lie within 1/2 of 1/2. It begins with the
reference, which answers everything. There is no language model here, nor the approximate steps and the slow target network that the paper trains one by.
β is the `kl_weight` of the task.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class NashMP:
    rate: Positive = 2.0  # step size η of both proximal steps


@method("nash-mp", name="Nash-MP", family="preference", paper="arXiv:2505.19731", worlds=("tabular",), example="tabular:regularized-preference")
def nash_mp(h: NashMP) -> Planning:
    def start(problem: Problem) -> State:
        problem.game.check_preference(problem.task, "nash-mp")
        return {"policy": problem.game.reference_policy.expand_as(problem.uniform()).clone()}

    def improve(problem: Problem, state: State) -> State:
        game, policy = problem.game, state["policy"]
        against = policy
        for _ in range(2):
            gain = game.preferred(against)
            against = ops.kl_proximal_step(policy, game.reference_policy, gain, rate=h.rate, weight=game.kl_weight)
        return {"policy": against}

    return Planning(start, improve, reads="game", iterations=10)
