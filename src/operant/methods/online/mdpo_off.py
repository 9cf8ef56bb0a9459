"""MDPO, off policy: an actor between SAC's and a trust region's, held near itself of some updates ago.

Paper: Tomar et al. 2020, arXiv:2005.09814. The actor minimises the mean of α log π(a|s) + (1 / t) (log π(a|s) − log π_k(a|s)) − Q(s, a) over replayed states
and reparameterised actions, π_k being the actor as it was at the last of every `refresh` updates. Without the KL (`inverse_step_size` 0) that is SAC's actor
with a fixed temperature, and so are the critics' targets. Defaults are the example of the authors' code (manantomar/Mirror-Descent-Policy-Optimization,
mdpo_off), whose weights of log π and of log π_k, 1 and 0.2 − 1, are here written apart: α = 0.2, 1 / t = 0.8; π_k is renewed every 1,000 steps. `tsallis`, the
order s, replaces log by the (2 − s)-logarithm, and weighs that of π_k by s besides, as the authors' code does: (1 / t) (log_q π − s log_q π_k) is Tsallis'
Bregman divergence from π_k up to a constant, and least at π_k. Departures from that code: no network of state values, the critics' targets stand in its place;
the actor follows the smaller of two critics, there the first one; no penalty on the mean and the deviation; actions are drawn while experience is gathered,
there modes; 1,000 random steps, there 10,000; layers begin as PyTorch's, uniform in ±1/√in, there as TensorFlow's, Xavier uniform with biases of 0; the
q-logarithm is of the whole action's density, there a sum of those of its numbers. The on-policy form, whose loop is another one, is `mdpo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import BatchSize, Count, Discount, LearningRate, NonNegative, Range, TargetShare, Widths, method
from operant.loops.draw import Uniform
from operant.loops.soft import soft_sample
from operant.loops.value_learning import Copy, Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class MDPOOff:
    learning_rate: LearningRate = 3e-4  # Adam's, for actor and critics
    gamma: Discount = 0.99  # discount a step
    tau: TargetShare = 0.005  # share of the critics that enters the target networks at each update
    alpha: NonNegative = 0.2  # weight of the entropy
    inverse_step_size: NonNegative = 0.8  # 1 / t, weight of the KL to the actor of some updates ago; 0 for SAC's actor
    tsallis: Annotated[float, Range(0, 2, open_low=True, open_high=True)] = 1.0  # of entropy and divergence, whose log is the (2 - this)-logarithm; 1 for log
    refresh: Count = 1_000  # updates after which the actor that it is held near is renewed
    batch_size: BatchSize = 256  # transitions an update
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("mdpo-off", name="MDPO (off policy)", family="online", paper="arXiv:2005.09814", worlds=("gym",), actions=("continuous",))
def mdpo_off(h: MDPOOff) -> ValueLearning:
    log = partial(ops.q_logarithm, q=2 - h.tsallis)

    def losses(u: Update):
        batch, actor = u.batch, u.net("actor")
        with torch.no_grad():
            action, log_prob = soft_sample(u, batch.next_observation, "next_action")
            y = u.bellman(ops.soft_value(u.target("q")(batch.next_observation, action), log(log_prob), h.alpha, dim=1), gamma=h.gamma)
            old = actor.distribution.split(u.target("actor")(batch.observation))
        q = u.net("q")(batch.observation, batch.action)
        parameters, noise = actor(batch.observation), u.noise("policy_action")
        action, log_prob = actor.distribution.sample_with_log_prob(parameters, noise)
        mean, log_std = actor.distribution.split(parameters)
        # Before tanh, whose density both have alike: log π is that of the noise there.
        before = torch.addcmul(mean, log_std.exp(), noise)
        log_ratio = ops.gaussian_log_prob(before, mean, log_std) - ops.gaussian_log_prob(before, *old)
        u.log("log_ratio", log_ratio)
        value = ops.soft_value(u.frozen("q")(batch.observation, action), log(log_prob), h.alpha, dim=1)
        away = log_ratio if h.tsallis == 1 else log(log_prob) - h.tsallis * log(log_prob - log_ratio)
        return {"critic": (q - y.unsqueeze(1)).square().sum(1), "actor": h.inverse_step_size * away - value}

    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, squash=True), "q": CriticNet(hidden=h.hidden)},
        phases=[Phase(losses, trains=("actor", "q"), optim=Optim(h.learning_rate))],
        draw=Uniform(h.batch_size),
        track={"actor": Copy(h.refresh), "q": Polyak(h.tau)},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
