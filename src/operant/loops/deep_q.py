"""The settings of DQN's family and the loop that they configure: its methods differ in what the net "q" says of a return, and in the loss that fits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import BatchSize, Count, Discount, LearningRate, Range, Share, Tune, Widths
from operant.loops.behaviour import EpsilonGreedy, Greedy
from operant.loops.draw import Prioritized
from operant.loops.settings import Activation, OnlineSettings
from operant.loops.value_learning import Copy, Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActionValueNet
from operant.nets.heads import Histogram

Losses = Callable[[Update], dict[str, Tensor]]


@dataclass(frozen=True)
class DeepQSettings(OnlineSettings):
    learning_rate: LearningRate = 5e-4  # Adam's
    gamma: Discount = 0.99  # discount a step
    batch_size: BatchSize = 64  # transitions an update
    target_every: Annotated[Count, Tune(10, 5_000, log=True)] = 250  # updates between two times that the target network follows
    tau: Annotated[float, Range(0, 1, open_low=True)] = 1.0  # share of the network that enters the target network each time; 1 to copy it
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 0.5  # gradient updates for each environment step
    capacity: Count = 100_000  # transitions kept in replay
    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.05  # and once it has fallen
    epsilon_share: Annotated[Share, Tune(0.05, 0.5)] = 0.2  # share of training in which it falls
    double: bool = True  # the trained network chooses the next action, the target network values it
    duelling: bool = False  # a head for the state's value and one for advantages
    prioritized: bool = False  # draw transitions in proportion to their error
    priority_alpha: Share = 0.6  # exponent of priorities
    priority_beta: Share = 0.4  # share of their bias that is undone at first; it grows to 1 within 100,000 updates
    noisy: bool = False  # layers with learned noise explore, in the place of epsilon
    layer_norm: bool = False  # normalise hidden layers before their activation
    hidden: Widths = (128, 128)  # widths of the network
    activation: Activation = "relu"  # of its hidden layers

    @property
    def network(self) -> dict[str, Any]:
        """The fields of `ActionValueNet` that all share."""
        named = {name: getattr(self, name) for name in ("hidden", "activation", "duelling", "noisy", "layer_norm")}
        return named | {"normalize": self.normalize_observation}


@dataclass(frozen=True)
class HistogramSettings(DeepQSettings):
    """The range is CleanRL's for CartPole, whose discounted returns are up to 100, and holds those of the other classic tasks."""

    v_min: float = -100.0  # the least discounted return that the histogram holds
    v_max: float = 100.0  # the largest one
    bins: Annotated[int, Range(2)] = 101  # values of the histogram


def deep_q_learning(h: DeepQSettings, net: ActionValueNet, losses: Losses, *, eps: float = 1e-8) -> ValueLearning:
    """DQN's loop (Mnih et al. 2015, doi:10.1038/nature14236), as `methods/online/dqn.py` describes it, around a net "q".

    Args:
        eps: Adam's.
    """
    spine = ValueLearning(
        nets={"q": net},
        phases=[Phase(losses, trains=("q",), optim=Optim(h.learning_rate, eps=eps, max_grad_norm=10.0))],
        acts=Greedy("q") if h.noisy else EpsilonGreedy("q", h.epsilon_start, h.epsilon_end, h.epsilon_share),
        track={"q": Copy(h.target_every) if h.tau == 1 else Polyak(h.tau, h.target_every)},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
    return replace(spine, draw=Prioritized(h.batch_size, h.priority_alpha, h.priority_beta)) if h.prioritized else spine


def of_action(outputs: Tensor, action: Tensor) -> Tensor:
    """What is said of one action: `[S, B, A, K]`, `[S, B]` → `[S, B, K]`."""
    return outputs.gather(-2, action[..., None, None].expand(*action.shape, 1, outputs.shape[-1])).squeeze(-2)


def taken_outputs(u: Update) -> Tensor:
    """What the net "q" says of the actions that were taken, `[S, B, K]`."""
    return of_action(u.net("q").outputs(u.batch.observation), u.batch.action)


def next_outputs(u: Update, *, double: bool) -> Tensor:
    """What the target network says of the next actions, `[S, B, K]`: of its best ones, or `double` of the trained network's (arXiv:1509.06461, eq. 4)."""
    target, observation = u.target("q"), u.batch.next_observation
    outputs = target.outputs(observation)
    chooses = u.net("q")(observation) if double else target.values(outputs, observation)
    return of_action(outputs, target.distribution.mode(chooses))


def histogram_learning(h: HistogramSettings, head: Histogram, *, eps: float = 1e-8) -> ValueLearning:
    """The net "q" has a histogram of each action's return, which learns the head's target by cross-entropy. What priorities ask is the divergence of the two.

    Logs "value", the mean of the target, and "edge", its share in the first and last bin: where that is near 1, the range is too narrow.
    """

    def losses(u: Update) -> dict[str, Tensor]:
        with torch.no_grad():
            target = head.target(next_outputs(u, double=h.double), lambda values: u.bellman_each(values, gamma=h.gamma))
        loss = ops.cross_entropy(taken_outputs(u), target)
        u.prioritize((loss.detach() - torch.special.entr(target).sum(-1)).clamp(min=0))
        u.log("value", head.decode(target))
        u.log("edge", target[..., 0] + target[..., -1])
        return {"critic": loss}

    return deep_q_learning(h, ActionValueNet(head=head, **h.network), losses, eps=eps)
