"""Recurrent SAC: SAC whose actor and critics remember their episode in an LSTM, for tasks where one observation does not say what the state is.

Papers: Ni, Eysenbach & Salakhutdinov 2022, arXiv:2110.05038 (a memory of its own for the actor and for the critics, which share one; windows of episodes from
replay); the losses are SAC's, arXiv:1812.05905, eq. 2, 3, 7 and 18. A memory is empty where a window begins; where that is not the beginning of the episode,
the first `burn_in` steps are taken in and not learned from (R2D2, Kapturowski et al. 2019, section 3). Gradients go back to the beginning of the window.
Departures: the memories see observations alone, theirs the action and the reward before as well; what a memory gives is all that actor and critics see, beside
the action, where the authors' code (twni2016/pomdp-baselines) leads the observation around the memory too, through layers of its own, and embeds the memory's
inputs; sizes and lengths of windows are others; an LSTM begins as PyTorch's, uniform in ±1/√width, theirs orthogonal with biases of 0. The action that is drawn
at a step is the next action of the step before and what the actor is judged by. The rest as in `sac-v2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import Count, Range, TargetShare, Tune, Widths, method
from operant.loops.behaviour import Sampled
from operant.loops.draw import Windows
from operant.loops.settings import ExperienceSettings, PaceSettings
from operant.loops.soft import SoftSettings, alpha, entropy_loss
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.nets.memory import LSTM


@dataclass(frozen=True)
class RecurrentSAC(ExperienceSettings, PaceSettings, SoftSettings):
    batch_size: Annotated[Count, Tune(choices=(8, 16, 32))] = 16  # windows an update
    window: Count = 32  # steps of a window that are learned from
    burn_in: Annotated[int, Range(0)] = 8  # steps before them that fill the memories
    memory: Count = 64  # width of each LSTM
    hidden: Widths = (256, 256)  # widths of the layers behind it, of actor and critics
    tau: TargetShare = 0.005  # share of the critics and their memory that enters the target networks at each update

    def __post_init__(self):
        if self.capacity < self.window + self.burn_in:
            raise ValueError(f"a window is {self.window + self.burn_in} steps with its burn-in, and capacity is {self.capacity}: keep as many at least")


@method("recurrent-sac", name="Recurrent SAC", family="online", paper="arXiv:2110.05038", worlds=("gym",), actions=("continuous",))
def recurrent_sac(h: RecurrentSAC) -> ValueLearning:
    draw = Windows(h.batch_size, h.window, h.burn_in)

    def losses(u: Update):
        batch, actor = u.batch, u.net("actor")
        seen, begins = draw.unrolled(batch)
        places = seen.shape[1:3]
        parameters = actor(seen, begins)
        noise = actor.distribution.noise(u.streams, "action_drawn", places.numel()).unflatten(1, places)
        action, log_prob = actor.distribution.sample_with_log_prob(parameters, noise)
        with torch.no_grad():
            later = [x[:, :, 1:].flatten(1, 2) for x in (u.target("q").remember(seen, begins), action, log_prob)]
            y = u.bellman(ops.soft_value(u.target("q")(*later[:2]), later[2], alpha(u), dim=1), gamma=h.gamma)
        remembered = u.net("q").remember(seen[:, :, :-1], begins[:, :, :-1]).flatten(1, 2)
        critic = (u.net("q")(remembered, batch.action) - y.unsqueeze(1)).square().sum(1)
        action, log_prob = (x[:, :, :-1].flatten(1, 2) for x in (action, log_prob))
        return {
            "critic": critic,
            "actor": -ops.soft_value(u.frozen("q")(remembered.detach(), action), log_prob, alpha(u), dim=1),
            "temperature": entropy_loss(u, action, log_prob, target_entropy=h.target_entropy),
        }

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, squash=True, normalize=h.normalize_observation, memory=LSTM(h.memory)),
            "q": CriticNet(hidden=h.hidden, memory=LSTM(h.memory)),
        },
        scalars=h.scalars,
        phases=h.tempered(Phase(losses, trains=("actor", "q", "scalars"), optim=Optim(h.learning_rate))),
        acts=Sampled("actor"),
        draw=draw,
        track={"q": Polyak(h.tau)},
        online=h.experience(h.updates_per_step),
    )
