"""Recurrent PPO: PPO whose actor and critic remember their episode in an LSTM, for tasks where one observation does not say what the state is.

Paper: Hausknecht & Stone 2015, arXiv:1507.06527 (a recurrent layer in the place of a history of observations, there of DQN); the objective is PPO's,
arXiv:1707.06347, eq. 9. The reference is RecurrentPPO of Stable-Baselines3 contrib: actor and critic have an LSTM each in front of their layers, whose
state goes on from one rollout to the next and is 0 where an episode begins; the value behind a time limit, or behind the rollout's last step, is that of the
true next observation with the state of that moment. Departure: a minibatch is whole rows of a rollout, and not a stretch of steps cut anywhere: gradients go
back to the beginning of the rollout, there to that of the stretch. Both begin with the state in which the policy acted (truncated backpropagation through
time). The LSTMs are 64 wide, there 256; one layer of 64 stands behind each, there (and in `ppo`) two; 4 passes over minibatches of a quarter of the copies,
there 10 over minibatches of 128 steps. The rest as in `ppo`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from operant.core.registry import Count, Widths, method
from operant.loops.clipped import ClippedSettings, clipped_policy_gradient
from operant.loops.on_policy import WorkerSettings
from operant.loops.policy_gradient import PolicyGradient
from operant.nets.memory import LSTM


@dataclass(frozen=True)
class RecurrentPPO(WorkerSettings, ClippedSettings):
    memory: Count = 64  # width of each LSTM
    shared: bool = False  # actor and critic read one LSTM, which learns from both; otherwise one each
    hidden: Widths = (64,)  # widths of the layers behind it, of actor and critic each

    def __post_init__(self):
        super().__post_init__()
        if self.environments < self.minibatches:
            raise ValueError(f"{self.minibatches} minibatches of whole rows need as many environments; there are {self.environments}")


@method("recurrent-ppo", name="Recurrent PPO", family="online", paper="arXiv:1507.06527", worlds=("gym",))
def recurrent_ppo(h: RecurrentPPO) -> PolicyGradient:
    net = replace(h.towers, shared=h.shared, memory=LSTM(h.memory))
    return clipped_policy_gradient(h, policy=net, workers=h.workers)
