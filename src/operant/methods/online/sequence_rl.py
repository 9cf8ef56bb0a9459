"""Sequence RL (SRL): a soft actor-critic whose actor says the next J actions at once, trained on states that a model imagines, and played without one.

Paper: arXiv:2410.08979. A GRU begins at a state and reads its own actions (`nets/sequence.py`). The critic stays that of single steps, Q(s, a), trained on
real transitions, its next action being the first of the sequence behind the action that was taken. The actor minimises the sum over i ≤ J of
α log π(a_i) − min Q(s_i, a_i), with s_1 = s and s_{i+1} = m'(s_i, a_i) without gradient, m' being the target network of a model of the next state that is
fitted by its squared error. In the environment all J actions are played open loop. The score over decision intervals is `ops.frequency_averaged_score`; a kept
policy's `interval` sets another one.
As in the authors' code (dee0512/Sequence-Reinforcement-Learning): the model says the next state itself and has layers of 400 and 300; entropy is tuned to the
mean over the sequence; target networks of critics and model follow at every update; the action before the first is 0.
Departures: actor and temperature are in units of half the range of the action space; critics and model learn from one batch, theirs from one each; linear
layers begin as PyTorch's, uniform in ±1/√in, theirs Xavier uniform with biases of 0; theirs take 10,000 random steps (1,000 on Pendulum), and their class
updates the actor every time unless told otherwise. There is no n-step return: the model says the next state, and the GRU reads the action just before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from operant import ops
from operant.core.registry import Count, Widths, method
from operant.loops.behaviour import Sampled
from operant.loops.draw import Uniform
from operant.loops.settings import ExperienceSettings, PaceSettings
from operant.loops.soft import SoftSettings, alpha, entropy_loss
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import CriticNet
from operant.nets.sequence import NextObservationNet, SequenceActorNet
from operant.worlds.store import Store, Transitions


@dataclass(frozen=True)
class SequenceRL(ExperienceSettings, PaceSettings, SoftSettings):
    sequence: Count = 8  # actions that are said at a time (J)
    actor_every: Count = 4  # updates of the critics and the model for one of the actor
    hidden: Widths = (256, 256)  # widths of actor and critics
    model_hidden: Widths = (400, 300)  # widths of the model


def with_action_before(batch: Transitions, store: Store, streams) -> Transitions:
    """Beside each transition the action before it, 0 where an episode begins."""
    index, there = store.before(batch.index)
    return replace(batch, extras=batch.extras | {"action_before": store.gather(index).action * there.unsqueeze(-1)})


@method("sequence-rl", name="Sequence RL (SRL)", family="online", paper="arXiv:2410.08979", worlds=("gym",), actions=("continuous",))
def sequence_rl(h: SequenceRL) -> ValueLearning:
    def unrolled(u: Update, observation, before, name: str, length: int):
        actor = u.net("actor")
        return actor.unroll(observation, before, actor.distribution.noise(u.streams, name, observation.shape[1], length))

    def learned(u: Update):
        batch = u.batch
        with torch.no_grad():
            action, log_prob = unrolled(u, batch.next_observation, batch.action, "next_action", 1)
            following = u.target("q")(batch.next_observation, action[:, :, 0])
            y = u.bellman(ops.soft_value(following, log_prob[:, :, 0], alpha(u), dim=1), gamma=h.gamma)
        model = (u.net("model")(batch.observation, batch.action) - batch.next_observation).square().mean(-1)
        return {"critic": (u.net("q")(batch.observation, batch.action) - y.unsqueeze(1)).square().sum(1), "model": model}

    def acted(u: Update):
        state = u.batch.observation
        action, log_prob = unrolled(u, state, u.batch.extras["action_before"], "policy_action", h.sequence)
        loss = torch.zeros_like(u.batch.reward)
        for step in range(h.sequence):
            loss = loss - ops.soft_value(u.frozen("q")(state, action[:, :, step]), log_prob[:, :, step], alpha(u), dim=1)
            with torch.no_grad():
                state = u.target("model")(state, action[:, :, step])
        temperature = entropy_loss(u, action[:, :, 0], log_prob.mean(-1), target_entropy=h.target_entropy)
        return {"actor": loss, "temperature": temperature}

    return ValueLearning(
        nets={
            "actor": SequenceActorNet(hidden=h.hidden, interval=h.sequence, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden),
            "model": NextObservationNet(hidden=h.model_hidden),
        },
        scalars=h.scalars,
        phases=h.tempered(
            Phase(learned, trains=("q", "model"), optim=Optim(h.learning_rate)),
            Phase(acted, trains=("actor", "scalars"), every=h.actor_every, optim=Optim(h.learning_rate)),
        ),
        acts=Sampled("actor"),
        track={"q": Polyak(h.tau), "model": Polyak(h.tau)},
        draw=Uniform(h.batch_size),
        relabel=[with_action_before],
        online=h.experience(h.updates_per_step),
    )
