"""MBPO: SAC on what an ensemble of learned models imagines, in short rollouts that branch off replayed states.

Paper: Janner et al. 2019, arXiv:1906.08253, algorithm 2: probabilistic ensemble (section 4.2, after arXiv:1805.12114), branched rollouts whose length grows
(section 4.2, table 2 of the appendix), SAC (arXiv:1812.05905) on imagined and 5 % real transitions, many updates a step.
Departures: models learn all along, a step every few updates, each member on rows of its own, where the authors train until a held-out part of replay stops
improving, every 250 steps; every member imagines, where they choose the best five of seven; a termination is learned too, where they write each environment's
by hand; observations are not standardised but the models' hidden layers, of which there are two and not four, normalised; the bounds of the models' deviations
are fixed. A rollout that ends early goes on from another replayed state. Some 1.6 transitions are imagined for each update, where theirs are 20. Truncation
bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from operant import ops
from operant.core.registry import Count, LearningRate, Range, Share, Widths, method
from operant.loops.draw import Mixed, Uniform
from operant.loops.imagine import Imagine
from operant.loops.soft import SoftSettings, soft_losses, soft_sample
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.nets.dynamics import DynamicsNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class MBPO(SoftSettings):
    model_learning_rate: LearningRate = 1e-3  # Adam's, for the models
    model_weight_decay: Share = 1e-5  # of the models' weights, decoupled
    models: Count = 5  # of the ensemble
    model_every: Count = 4  # updates of the policy for each of the models
    model_batch: Count = 256  # replayed transitions an update of each model
    model_warmup: Count = 1_000  # updates before the first of the policy, in which only the models learn, at their own pace
    rollouts: Count = 400  # imagined side by side each time
    rollout_every: Count = 250  # updates between two times
    rollout_start: Count = 1  # steps of an imagined rollout at first
    rollout_end: Count = 1  # and at the end of training; linear between
    imagined: Count = 100_000  # imagined transitions kept
    real: Share = 0.05  # share of a batch that is replayed, not imagined
    learning_starts: Count = 500  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 20.0  # updates of the policy for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    hidden: Widths = (256, 256)  # widths of actor and critics
    model_hidden: Widths = (200, 200)  # widths of the models


@method("mbpo", name="MBPO", family="online", paper="arXiv:1906.08253", worlds=("gym",), actions=("continuous",))
def mbpo(h: MBPO) -> ValueLearning:
    def of_members(x: Tensor) -> Tensor:  # [S, E · B, …] -> [S, E, B, …]: rows of its own for each member
        return x.unflatten(1, (h.models, -1))

    def model_losses(u: Update):
        batch = u.batch
        mean, log_std, logit = u.net("model")(of_members(batch.observation), of_members(batch.action))
        wanted = torch.cat([batch.next_observation - batch.observation, batch.reward.unsqueeze(-1)], -1)
        over = F.binary_cross_entropy_with_logits(logit, of_members(batch.terminated.float()), reduction="none")
        return {"model": -ops.gaussian_log_prob(of_members(wanted), mean, log_std).flatten(1), "termination": over.flatten(1)}

    def step(u: Update, observation: Tensor) -> dict[str, Tensor]:
        action, _ = soft_sample(u, observation, "imagined_action")
        member = u.streams.integers("member", h.models, observation.shape[1])
        noise = u.streams.normal("imagined", observation.shape[1], observation.shape[-1] + 1)
        return {"action": action} | u.net("model").imagine(observation, action, member, noise)

    real = min(max(1, round(h.real * h.batch_size)), max(1, h.batch_size - 1))
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, squash=True),
            "q": CriticNet(hidden=h.hidden),
            "model": DynamicsNet(hidden=h.model_hidden, ensemble=h.models),
        },
        scalars=h.scalars,
        phases=h.tempered(
            Phase(
                model_losses,
                trains=("model",),
                every=h.model_every,
                optim=Optim(h.model_learning_rate, weight_decay=h.model_weight_decay),
                draw=Uniform(h.models * h.model_batch, "replay"),
            ),
            Phase(
                partial(soft_losses, gamma=h.gamma, target_entropy=h.target_entropy),
                trains=("actor", "q", "scalars"),
                starts=h.model_warmup,
                optim=Optim(h.learning_rate),
            ),
        ),
        draw=Mixed((Uniform(real, "replay"), Uniform(h.batch_size - real, "imagined"))),
        track={"q": Polyak(h.tau)},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
        imagine=Imagine(
            step,
            rows=h.rollouts,
            every=h.rollout_every,
            starts=h.model_warmup + 1,
            length=(h.rollout_start, h.rollout_end, 0.0, 1.0),
            capacity=h.imagined,
        ),
    )
