"""HIQL: one value function of states and goals, learned without actions, guides a policy of two levels: which subgoal next, and which action leads there.

Paper: Park et al. 2023, arXiv:2307.11949: action-free value by expectile regression (eq. 4), high-level policy over representations of subgoals (eq. 6),
low-level policy (eq. 7), both by advantage-weighted regression.
As in the authors' code, the paper's and OGBench's (arXiv:2410.20092), and not in these equations: there are two value networks, each learning towards its own
target network; the side of the expectile is that of the target networks' advantage, in which the smaller one stands for what follows and their mean for what
is; advantages of the policies are of the trained networks' mean; the representation sees state and goal, has a fixed length, and the policies do not train it;
one step of Adam for all. The high level's deviation is 1, as in OGBench; the low level's is learned, as in the paper's code.
Departures: the target networks have a representation of their own, which follows as they do, where the authors' read the trained one; they follow the weights
behind an update, theirs those before it; relu behind a layer norm without learned scale and shift, where theirs is gelu before a layer norm; actions' mean is
bounded by tanh, and last layers of policies begin as the others do, theirs near 0. Their batches are of 1,024, their networks three layers of 512; the inverse
temperatures are OGBench's (1 in the paper's code), and so is it that the high level has no goals beyond its episode: the paper's code takes 0.3 of them from
anywhere, OGBench's 0.5 where episodes are to be joined (`policy_random_goals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import BatchSize, Count, LearningRate, NonNegative, Positive, Range, Share, TargetShare, Widths, method
from operant.loops.draw import Uniform
from operant.loops.goals import HindsightGoals, Subgoals
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.goals import GoalValueNet, HierarchyNet


@dataclass(frozen=True)
class HIQL:
    learning_rate: LearningRate = 3e-4  # Adam's, for values and both policies
    gamma: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.99  # discount a step; future goals lie 1 / (1 - gamma) steps ahead on average
    expectile: Annotated[float, Range(0.5, 1, open_high=True)] = 0.7  # how far V leans to the best that the data do
    low_beta: NonNegative = 3.0  # inverse temperature of the advantage weights of actions
    high_beta: NonNegative = 3.0  # inverse temperature of the advantage weights of subgoals
    max_weight: Positive = 100.0  # largest advantage weight
    subgoal_steps: Count = 25  # steps from a state to its subgoal
    representation: Count = 10  # numbers of a subgoal's representation
    current_goals: Share = 0.2  # share of V's goals that are the state itself
    policy_random_goals: Share = 0.0  # share of the high level's goals that are random states; the others the episode reached later
    future_goals: Share = 0.5  # share of V's goals that the episode reached later; the others are random states
    tau: TargetShare = 0.005  # share of the values that enters the target network at each update
    batch_size: BatchSize = 256  # transitions an update
    hidden: Widths = (256, 256)  # widths of all networks


@method("hiql", family="offline", paper="arXiv:2307.11949", worlds=("data",), example="ogbench:pointmaze-medium-navigate-v0")
def hiql(h: HIQL) -> ValueLearning:
    def weight(advantage, beta: float):
        return ops.advantage_weight(advantage, beta=beta, max_weight=h.max_weight)

    def losses(u: Update):
        batch, value, actor, target = u.batch, u.net("value"), u.net("actor"), u.target("value")
        parts = value.parts
        with torch.no_grad():
            following = target(batch.next_observation)
            y = torch.stack([u.bellman(each, gamma=h.gamma) for each in following.unbind(1)], 1)
            side = u.bellman(following.amin(1), gamma=h.gamma) - target(batch.observation).mean(1)
            state, next_state = batch.observation[..., parts.state], batch.next_observation[..., parts.state]
            near, way, far = (parts.row(state, batch.extras[name]) for name in ("subgoal", "way", "goal"))
            low_advantage = value(parts.row(next_state, batch.extras["subgoal"])).mean(1) - value(near).mean(1)
            high_advantage = value(parts.row(batch.extras["way"], batch.extras["goal"])).mean(1) - value(far).mean(1)
            subgoal, wanted = value.represent(near), value.represent(way)
        error = y - value(batch.observation)
        proposed = actor.high(far)
        return {
            "value": ops.expectile_loss(error, expectile=h.expectile, side=side.unsqueeze(1)).sum(1),
            "high": -weight(high_advantage, h.high_beta) * ops.gaussian_log_prob(wanted, proposed, torch.zeros_like(proposed)),
            "low": -weight(low_advantage, h.low_beta) * actor.distribution.log_prob(actor.towards(batch.observation, subgoal), batch.action),
        }

    return ValueLearning(
        nets={
            "actor": HierarchyNet(hidden=h.hidden, representation=h.representation),
            "value": GoalValueNet(hidden=h.hidden, representation=h.representation),
        },
        phases=[Phase(losses, trains=("actor", "value"), optim=Optim(h.learning_rate))],
        draw=Uniform(h.batch_size),
        relabel=[Subgoals(h.subgoal_steps, h.policy_random_goals), HindsightGoals(h.current_goals, h.future_goals, h.gamma)],
        track={"value": Polyak(h.tau)},
        rewards=False,
    )
