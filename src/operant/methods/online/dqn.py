"""DQN: Q-learning with a network, on transitions drawn from replay, towards a target network that stands still for a while.

Paper: Mnih et al. 2015, doi:10.1038/nature14236 (algorithm 1); double DQN arXiv:1509.06461 (eq. 4), duelling heads arXiv:1511.06581 (eq. 9), several steps
arXiv:1710.02298 (eq. 1 there), prioritised replay arXiv:1511.05952 (section 3.3; the proportional variant), noisy layers arXiv:1706.10295 (all layers behind
an encoder; what chooses the next action, what values it and what learns draw apart), each a switch.
Departures from the papers: the error's loss is Huber's with delta 1, which is what the paper's clipping of the error amounts to; Adam for RMSProp; gradients
are clipped at a norm of 10, as widely used code does. Time limits bootstrap. Epsilon falls linearly over a share of training.

Logs "value": the targets that the network is fitted to, mean over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import method
from operant.loops.deep_q import DeepQSettings, deep_q_learning, next_outputs, taken_outputs
from operant.loops.value_learning import Update, ValueLearning
from operant.nets.actors import ActionValueNet


@dataclass(frozen=True)
class DQN(DeepQSettings):
    pass


@method("dqn", name="DQN", family="online", paper="doi:10.1038/nature14236", worlds=("gym",), actions=("discrete",))
def dqn(h: DQN) -> ValueLearning:
    def losses(u: Update):
        with torch.no_grad():
            y = u.bellman(next_outputs(u, double=h.double).squeeze(-1), gamma=h.gamma)
        error = y - taken_outputs(u).squeeze(-1)
        u.prioritize(error.abs())
        u.log("value", y)
        return {"critic": ops.huber_loss(error, delta=1.0)}

    return deep_q_learning(h, ActionValueNet(**h.network), losses)
