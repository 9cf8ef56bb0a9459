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
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import Count, Positive, Range, Share, Widths, method
from operant.loops.behaviour import EpsilonGreedy, Greedy
from operant.loops.draw import NStep, Prioritized, Uniform
from operant.loops.value_learning import Copy, Optim, Phase, Update, ValueLearning
from operant.nets.actors import ActionValueNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class DQN:
    learning_rate: Positive = 5e-4  # Adam's
    gamma: Share = 0.99  # discount a step
    batch_size: Count = 64  # transitions an update
    target_every: Count = 250  # updates between two copies of the network into the target network
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 0.5  # gradient updates for each environment step
    capacity: Count = 100_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.05  # and once it has fallen
    epsilon_share: Share = 0.2  # share of training in which it falls
    double: bool = True  # the trained network chooses the next action, the target network values it
    duelling: bool = False  # a head for the state's value and one for advantages
    n_step: Count = 1  # steps of reward before the bootstrap
    prioritized: bool = False  # draw transitions in proportion to their error
    priority_alpha: Share = 0.6  # exponent of priorities
    priority_beta: Share = 0.4  # share of their bias that is undone at first; it grows to 1 within 100,000 updates
    hidden: Widths = (128, 128)  # widths of the network
    noisy: bool = False  # layers with learned noise explore, in the place of epsilon


@method("dqn", name="DQN", family="online", paper="doi:10.1038/nature14236", worlds=("gym",), actions=("discrete",))
def dqn(h: DQN) -> ValueLearning:
    def losses(u: Update):
        batch, q, target = u.batch, u.net("q"), u.target("q")
        with torch.no_grad():
            following = target(batch.next_observation)
            chooses = q(batch.next_observation) if h.double else following
            y = u.bellman(following.gather(-1, q.distribution.mode(chooses).unsqueeze(-1)).squeeze(-1), gamma=h.gamma)
        error = y - q(batch.observation).gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
        u.prioritize(error.abs())
        u.log("value", y)
        return {"critic": ops.huber_loss(error, delta=1.0)}

    return ValueLearning(
        nets={"q": ActionValueNet(hidden=h.hidden, duelling=h.duelling, noisy=h.noisy)},
        phases=[Phase(losses, trains=("q",), optim=Optim(h.learning_rate, max_grad_norm=10.0))],
        acts=Greedy("q") if h.noisy else EpsilonGreedy("q", h.epsilon_start, h.epsilon_end, h.epsilon_share),
        draw=Prioritized(h.batch_size, h.priority_alpha, h.priority_beta) if h.prioritized else Uniform(h.batch_size),
        relabel=[NStep(h.n_step, h.gamma)],
        track={"q": Copy(h.target_every)},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
