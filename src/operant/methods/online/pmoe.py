"""PMOE: SAC whose policy is a mixture of Gaussians, with a router that learns how often each expert is the best one.

Paper: Ren et al. 2021, arXiv:2104.09122. Which expert acts has no gradient through what is drawn. So every expert draws an action at each state, the critics
say which one is best, and the router's weights regress onto that, ‖w − one-hot of the best‖², which is least where w is the frequency with which each expert is
best. The expert that is best climbs the critics as in SAC (arXiv:1812.05905); with `climbs="all"` every expert does.
As in the code of one of the authors (quantumiracle/Popular-RL-Algorithms, pmoe_sac.py): the router is linear and reads the observation by itself; the entropy
in targets, in the policy's loss and in the temperature's is that of the expert whose action it is, not that of the mixture.
Departures: the router's squared error is summed over experts, theirs averaged; rewards are as they come, theirs are standardised within a batch and multiplied
by 10; the first 1,000 steps are random, theirs none; actor, critics and temperature take one joint
step; what is evaluated is the mean of the likeliest expert, where theirs draws the expert. Theirs are two experts, a share of 0.01 for target networks,
batches of 300 and nets of 512 (four hidden layers in the actor, three in the critics), whose last layers begin within ±3e-3. Truncation bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from operant import ops
from operant.core.registry import Count, method
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.soft import SoftSettings, alpha, entropy_loss
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class PMOE(LayerSettings, OnlineSettings, SoftSettings):
    experts: Count = 4  # of the mixture
    climbs: Literal["best", "all"] = "best"  # which experts climb the critics at each state


@method("pmoe", name="PMOE", family="online", paper="arXiv:2104.09122", worlds=("gym",), actions=("continuous",))
def pmoe(h: PMOE) -> ValueLearning:
    def losses(u: Update):
        batch, actor, temperature = u.batch, u.net("actor"), alpha(u)
        mixture = actor.distribution
        with torch.no_grad():
            action, log_prob, acts = mixture.every(actor(batch.next_observation), u.noise("next_action"))
            log_prob = log_prob.gather(-1, acts.unsqueeze(-1)).squeeze(-1)
            following = u.target("q")(batch.next_observation, mixture.of(action, acts))
            y = u.bellman(ops.soft_value(following, log_prob, temperature, dim=1), gamma=h.gamma)
        q = u.net("q")(batch.observation, batch.action)

        parameters = actor(batch.observation)
        action, log_prob, _ = mixture.every(parameters, u.noise("policy_action"))  # [S, B, K, A], [S, B, K]
        seen = batch.observation.unsqueeze(2).expand(-1, -1, h.experts, -1).flatten(1, 2)
        value = u.frozen("q")(seen, action.flatten(1, 2)).amin(1).unflatten(1, (-1, h.experts))
        climbed, best = temperature.unsqueeze(-1) * log_prob - value, value.argmax(-1, keepdim=True)
        weight = mixture.parts(parameters)[0].exp()
        of_best = log_prob.gather(-1, best).squeeze(-1)
        return {
            "critic": (q - y.unsqueeze(1)).square().sum(1),
            "actor": climbed.sum(-1) if h.climbs == "all" else climbed.gather(-1, best).squeeze(-1),
            "router": (weight - (best == torch.arange(h.experts, device=best.device)).to(weight.dtype)).square().sum(-1),
            "temperature": entropy_loss(u, batch.action, of_best, target_entropy=h.target_entropy),
        }

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, squash=True, experts=h.experts, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, residual=h.residual, layer_norm=h.layer_norm),
        },
        scalars=h.scalars,
        phases=h.tempered(Phase(losses, trains=("actor", "q", "scalars"), optim=Optim(h.learning_rate))),
        track={"q": Polyak(h.tau)},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
