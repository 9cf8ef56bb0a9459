"""MAPPO: PPO for teams: all agents share a policy that sees what each of them sees, and a critic that sees the state of the game.

Paper: Yu et al. 2022, "The Surprising Effectiveness of PPO in Cooperative, Multi-Agent Games", arXiv:2103.01955 (algorithm 1; section 5 on what the critic
sees: here the agent's own observation, which one it is, and the state, its "agent-specific" input). `central` False gives IPPO (arXiv:2011.09533): the critic
sees what its actor does.
Departures from the authors' code (marlbenchmark/on-policy): values are neither normalised (section 5.1) nor clipped, and their error is squared, there Huber's;
inputs and layers have no layer norm; gradients of actor and critic are clipped together at 0.5, there apart at 10; 32 games at a time, there
128 of this one; advantages are normalised over each minibatch; no recurrent networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from operant.core.registry import Count, NonNegative, Passes, Positive, Widths, method
from operant.loops.clipped import ClippedSettings, clipped_policy_gradient
from operant.loops.policy_gradient import PolicyGradient


@dataclass(frozen=True)
class MAPPO(ClippedSettings):
    environments: Count = 32  # games a seed
    rollout_length: Count = 25  # steps of each game between updates
    epochs: Passes = 10  # passes over each rollout
    minibatches: Count = 1  # optimiser steps in each pass
    learning_rate: Positive = 7e-4  # Adam's
    entropy_coefficient: NonNegative = 0.01  # weight of the entropy bonus
    hidden: Widths = (64, 64)  # widths of actor and critic
    central: bool = True  # the critic sees the state of the game; False for IPPO


@method("mappo", name="MAPPO", family="multiagent", paper="arXiv:2103.01955", worlds=("agents",), example="agents:spread")
def mappo(h: MAPPO) -> PolicyGradient:
    spine = clipped_policy_gradient(h)
    return replace(spine, policy=replace(spine.policy, central=h.central))
