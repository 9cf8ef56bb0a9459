"""SimBa: SAC with networks that stay simple as they grow: residual blocks with norms, on observations that are normalised as they come in.

Paper: Lee et al. 2024, arXiv:2410.09754, on SAC (arXiv:1812.05905). Three parts: running normalisation of observations, residual blocks with a layer norm
before each, and one behind the last (`nets.layers.Residual`). Other methods have the networks by `layers`, and the normalisation by `normalize_observation`.
As in the authors' code (SonyResearch/simba): one block of 128 in the actor and two of 512 in the critics, AdamW, a temperature that begins at 0.01 and a target
entropy of minus half the number of action dimensions, log standard deviations through tanh onto [-10, 2], two updates a step, of the actor, then the
temperature, then the critics. Two critics are theirs where episodes end; where none does they take one (`critics`). Truncation bootstraps.
Departures: normalised observations are cut at 10 deviations; the temperature sees draws of its own, of the actor after its update (theirs: the ones of that
update), and its loss is in log alpha; layer norms have an epsilon of 1e-5, theirs 1e-6; the discount is 0.99, theirs goes by the length of episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant.core.registry import Count, LearningRate, NonNegative, Positive, Range, Widths, method
from operant.loops.settings import OnlineSettings
from operant.loops.soft import SoftSettings, entropy_loss, policy_loss, soft_critic_losses, soft_sample
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class SimBa(OnlineSettings, SoftSettings):
    learning_rate: LearningRate = 1e-4  # AdamW's, for actor, critics and temperature
    weight_decay: NonNegative = 1e-2  # of the weights of actor and critics, decoupled
    target_entropy: float | None = None  # nats; None for minus half the number of action dimensions
    initial_alpha: Positive = 0.01  # temperature at the start
    learning_starts: Count = 5_000  # steps with random actions before the first update
    normalize_observation: bool = True  # running mean and deviation of observations
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 2.0  # gradient updates for each environment step
    critics: Count = 2  # of which targets and actor take the least
    hidden: Widths = (128,)  # widths of the actor's residual blocks
    critic_hidden: Widths = (512, 512)  # widths of the critics' residual blocks


@method("simba", name="SimBa", family="online", paper="arXiv:2410.09754", worlds=("gym",), actions=("continuous",))
def simba(h: SimBa) -> ValueLearning:
    def actor_losses(u: Update):
        return {"actor": policy_loss(u, *soft_sample(u, u.batch.observation, "policy_action"))}

    def temperature_losses(u: Update):
        with torch.no_grad():
            drawn = soft_sample(u, u.batch.observation, "temperature_action")
        return {"temperature": entropy_loss(u, *drawn, target_entropy=h.target_entropy, per_dimension=-0.5)}

    def critic_losses(u: Update):
        return soft_critic_losses(u, gamma=h.gamma)

    optim = Optim(h.learning_rate, weight_decay=h.weight_decay)
    actor = ActorNet(hidden=h.hidden, residual=True, squash=True, log_std="smooth", log_std_bounds=(-10.0, 2.0), normalize=h.normalize_observation)
    return ValueLearning(
        nets={"actor": actor, "q": CriticNet(hidden=h.critic_hidden, residual=True, ensemble=h.critics)},
        scalars=h.scalars,
        phases=h.tempered(
            Phase(actor_losses, trains=("actor",), optim=optim),
            Phase(temperature_losses, trains=("scalars",), optim=Optim(h.learning_rate)),
            Phase(critic_losses, trains=("q",), optim=optim),
        ),
        track={"q": Polyak(h.tau)},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
