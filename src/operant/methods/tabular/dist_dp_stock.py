"""Distributional dynamic programming with stock: the policy whose return has the largest CVaR, or the largest expected utility, computed from a known MDP.

Paper: arXiv:2501.13028. The state also says a stock c, to which each reward is added: c + G is then the same number at all steps. The law η(s, c) of the
return to come is backed up as a whole, and the action is greedy in what is made large of c + G:

    η_n+1(s, c) = law of r + G', G' ~ η_n(s', c + r),   by the action with the largest E f(c + r + G').

With f(x) = min(x, 0) and the first stock c_0 that makes -c_0 + E f(c_0 + G) / level largest, this is the CVaR of that level; f(x) = x is the mean, f(x) = -|x|
is how near the return comes to a target, c_0 = -target. Greedy CVaR of η without a stock is not the CVaR of the whole return.

Here episodes have an end and nothing is discounted (the paper divides the stock by the discount), and rewards are multiples of the task's `--stock`, so that
the grid is exact. The paper's deep half, DηN, a quantile network that sees the stock, is not there. An iteration is a step of the episode, from the last one
on; after as many as the horizon the policy is the best one, and no further one changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import Range, method
from operant.loops.planning import Planning, Problem, State
from operant.worlds.tabular.stock import StockMDP


@dataclass(frozen=True)
class DistDPStock:
    objective: Literal["cvar", "mean", "target"] = "cvar"  # what is made large
    level: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # of the CVaR: the share of the worst returns
    target: float = 0.0  # that the return comes near to, of that objective


@method("dist-dp-stock", name="Stock-augmented DP", family="tabular", paper="arXiv:2501.13028", worlds=("tabular",), example="tabular:random-risky")
def dist_dp_stock(h: DistDPStock) -> Planning:
    def given(problem: Problem) -> StockMDP:
        if not isinstance(problem.mdp, StockMDP):
            raise BadInput("dist-dp-stock needs states that say what was gained: give --stock, the unit of the rewards, as in tabular:risky --stock 0.1")
        return problem.mdp

    def start(problem: Problem) -> State:
        mdp = given(problem)
        low, high = mdp.low, mdp.high
        law = problem.zeros(mdp.base.states, 2 * (high - low) + 1, high - low + 1)
        law[..., -low] = 1.0
        action = torch.zeros(len(law), mdp.horizon, *law.shape[1:3], dtype=torch.int64, device=law.device)
        return {"law": law, "action": action, "policy": problem.uniform()}

    def utility(mdp: StockMDP, x: Tensor) -> Tensor:
        return {"cvar": x.clamp(max=0), "mean": x, "target": -x.abs()}[h.objective]

    def improve(problem: Problem, state: State) -> State:
        mdp, step = given(problem), problem.shape[0] - 1 - problem.step
        if step < 0:
            return state
        low, high = mdp.low, mdp.high
        stock = torch.arange(low - high, high - low + 1, device=mdp.reward.device)
        total = (stock.unsqueeze(-1) + torch.arange(low, high + 1, device=stock.device)).to(mdp.reward.dtype)
        worth = utility(mdp, total * mdp.spacing)
        law = ops.stock_backup(state["law"], mdp.base.transition[:, 0], mdp.units)  # [S, K, A, C, F]
        best = (law * worth).sum(-1).argmax(2)
        law = law.gather(2, best[:, :, None, :, None].expand(-1, -1, 1, -1, law.shape[-1])).squeeze(2)
        action = state["action"].clone()
        action[:, step] = best
        first = chosen(mdp, stock, torch.einsum("sk,skcf,cf->sc", mdp.base.initial, law, worth))  # of an episode that begins at this step
        held = (first.unsqueeze(-1) + mdp.stock - stock[0]).clamp(0, len(stock) - 1)  # [S, K']
        taken = action[torch.arange(len(action), device=action.device).unsqueeze(-1), :, mdp.state, held].transpose(1, 2)
        policy = (taken.unsqueeze(-1) == torch.arange(problem.shape[-1], device=taken.device)).to(law.dtype)
        return {"law": law, "action": action, "policy": policy}

    def chosen(mdp: StockMDP, stock: Tensor, gain: Tensor) -> Tensor:
        """The first stock, in units, `[S]`."""
        if h.objective != "cvar":
            return torch.full_like(gain[:, 0], round(-h.target / mdp.spacing) if h.objective == "target" else 0).long()
        may = (stock >= -mdp.high) & (stock <= -mdp.low)  # one of the returns, turned
        return stock[0] + torch.where(may, gain / h.level - stock.to(gain.dtype) * mdp.spacing, -torch.inf).argmax(-1)

    def measures(problem: Problem, state: State) -> dict[str, Tensor]:
        mdp = given(problem)
        units, law = mdp.returns(state["policy"])
        value = units.to(law.dtype) * mdp.spacing
        if h.objective == "target":
            return {"distance from the target": (law * (value - h.target).abs()).sum(-1)}
        return {"CVaR": ops.conditional_value_at_risk(value, law, level=h.level)}

    return Planning(start, improve, measures=measures)
