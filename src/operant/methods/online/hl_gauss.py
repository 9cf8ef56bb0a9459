"""HL-Gauss: DQN whose values are classified and not regressed: a histogram over fixed bins learns each target by cross-entropy.

Paper: Farebrother et al. 2024, arXiv:2403.03950 (the loss: Imani & White 2018, arXiv:1806.04613). The target is DQN's number, made a histogram: a normal
distribution around it, cut into the bins ("hl-gauss"), or shared by the two bins beside it ("two-hot"); the loss is −Σ m log p of that histogram m and the
predicted one p. An action's expectation is its Q; greedy choice, target actions and all switches are DQN's, and so is everything that `dqn` says of departures
from its papers. `c51` is the third kind, which learns the return's own distribution.
Departures: 101 bins from -100 to 100, for tasks whose rewards are not clipped: `v_min` and `v_max` must hold all discounted returns, with a few bins to spare,
for a target beyond them counts as the nearest end, and near an end the histogram is cut off. The next action is the trained network's as in double DQN, which
`double=False` undoes.

Logs "value", the target's expectation, and "edge", its share in the outermost bins (near 1 where the range is too narrow), means over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operant.core.registry import Positive, method
from operant.loops.deep_q import HistogramSettings, histogram_learning
from operant.loops.value_learning import ValueLearning
from operant.nets.heads import HLGauss, TwoHot


@dataclass(frozen=True)
class HLGaussDQN(HistogramSettings):
    target: Literal["hl-gauss", "two-hot"] = "hl-gauss"  # what histogram is made of a target
    deviation: Positive = 0.75  # of the normal distribution of "hl-gauss", in widths of a bin


@method("hl-gauss", name="HL-Gauss", family="online", paper="arXiv:2403.03950", worlds=("gym",), actions=("discrete",))
def hl_gauss(h: HLGaussDQN) -> ValueLearning:
    heads = {"hl-gauss": HLGauss(h.v_min, h.v_max, h.bins, h.deviation), "two-hot": TwoHot(h.v_min, h.v_max, h.bins)}
    return histogram_learning(h, heads[h.target])
