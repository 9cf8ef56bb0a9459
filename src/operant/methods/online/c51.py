"""C51: DQN that learns the distribution of the return on fixed atoms: the next one, shrunk, shifted and projected onto them, by cross-entropy.

Paper: Bellemare et al. 2017, arXiv:1707.06887. An atom z with its probability moves to r + γ z, and its two neighbours there share it; the loss is −Σ m log p
of the target m and the prediction p. An action's expectation Σ p z is its Q: greedy choice and target actions are DQN's, and so are all switches and everything
that `dqn` says of departures from its papers.
Adam's epsilon is 0.01 over the size of a batch, as in CleanRL.
Departures: 101 atoms from -100 to 100, which are CleanRL's for CartPole (the paper: 51 from -10 to 10, for rewards clipped to 1): `v_min` and `v_max` must hold
all discounted returns. The next action is the trained network's as in double DQN, which `double=False` undoes; DQN's
learning rate, batches, updates a step, exploration and clip of gradients (CleanRL: batches of 128, an update every 10 steps, 10,000 random steps, epsilon
falling for half of 500,000 steps, no clip).

Logs "value", the target's expectation, and "edge", its share on the outermost atoms (near 1 where the range is too narrow), means over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import method
from operant.loops.deep_q import HistogramSettings, histogram_learning
from operant.loops.value_learning import ValueLearning
from operant.nets import heads


@dataclass(frozen=True)
class C51(HistogramSettings):
    pass


@method("c51", name="C51", family="online", paper="arXiv:1707.06887", worlds=("gym",), actions=("discrete",))
def c51(h: C51) -> ValueLearning:
    return histogram_learning(h, heads.C51(h.v_min, h.v_max, h.bins), eps=0.01 / h.batch_size)
