"""GORP: greedy over random play: of all sequences of k actions that which is followed by the best random play says what to do next.

Paper: arXiv:2304.09853. For step i = 1, …, H: each of the A^k sequences is played m times behind the actions that were chosen before, with uniformly random
ones after it; the first action of the sequence with the largest mean Σ_{t ≥ i} r_t is taken at step i, whatever the state. So it is for deterministic MDPs; it
is the baseline of `sqirl`, which looks at states.
An iteration is a step of the episode, of A^k · m episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated

import torch

from operant.core.errors import BadInput
from operant.core.registry import Count, Range, method
from operant.loops.planning import Planning, Problem, State

MOST = 10_000  # sequences


@dataclass(frozen=True)
class GORP:
    k: Annotated[int, Range(1, 20)] = 1  # actions of a sequence
    episodes: Count = 50  # played for each sequence (m)


@method("gorp", name="GORP", family="tabular", paper="arXiv:2304.09853", worlds=("tabular",), example="tabular:random-episodes", baseline=True)
def gorp(h: GORP) -> Planning:
    def start(problem: Problem) -> State:
        if (count := problem.shape[-1] ** h.k) > MOST:
            raise BadInput(f"gorp plays all {count:,} sequences of {h.k} of {problem.shape[-1]} actions, of which there can be {MOST:,}: lower --k")
        return {"policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        here, (horizon, _, actions) = problem.step, problem.shape
        if here >= horizon:
            return state
        depth = min(h.k, horizon - here)
        means = []
        for sequence in product(range(actions), repeat=depth):
            tried = state["policy"].clone()
            for step, action in enumerate(sequence, here):
                tried[:, step] = 0.0
                tried[:, step, :, action] = 1.0
            means.append(problem.play(tried, h.episodes).to_go[..., here].mean(1))
        first = torch.stack(means, -1).argmax(-1) // actions ** (depth - 1)
        policy = state["policy"].clone()
        policy[:, here] = (first.view(-1, 1, 1) == torch.arange(actions, device=first.device)).to(policy.dtype)
        return {"policy": policy}

    return Planning(start, improve, reads="episodes", stepwise=True, plays=h.episodes)
