"""Rainbow: double, duelling, noisy, three-step, prioritised DQN with C51's distribution of the return.

Paper: Hessel et al. 2018, arXiv:1710.02298. An atom z moves to Σ γ^k r_k + γ³ z, the sum over three steps, and is projected; loss and priority are the
Kullback-Leibler divergence Σ m log (m / p) of the target m and the prediction p, up to a constant of the loss; the duelling head has a value and advantages for
each atom; actions are greedy under the noise of the layers; Adam's epsilon is 1.5e-4.
Departures: 101 atoms from -100 to 100 and DQN's learning rate, batch and schedule of the target network, as `c51` has them; beta grows to 1 within 100,000
updates; value and advantages are two layers behind one trunk, where the paper gives each a hidden layer of its own; the first steps are random, and noise alone
explores after them. Every pass through the network draws noise of its own.

Logs "value" and "edge" as `c51` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import Count, Share, method
from operant.loops.deep_q import HistogramSettings, histogram_learning
from operant.loops.value_learning import ValueLearning
from operant.nets.heads import C51


@dataclass(frozen=True)
class Rainbow(HistogramSettings):
    duelling: bool = True  # a head for the state's value and one for advantages
    n_step: Count = 3  # steps of reward before the bootstrap
    prioritized: bool = True  # draw transitions in proportion to their error
    priority_alpha: Share = 0.5  # exponent of priorities
    noisy: bool = True  # layers with learned noise explore, in the place of epsilon


@method("rainbow", name="Rainbow", family="online", paper="arXiv:1710.02298", worlds=("gym",), actions=("discrete",))
def rainbow(h: Rainbow) -> ValueLearning:
    return histogram_learning(h, C51(h.v_min, h.v_max, h.bins), eps=1.5e-4)
