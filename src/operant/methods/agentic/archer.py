"""ArCHer: a critic of whole utterances that learns off policy says what each turn was worth, and its tokens follow by REINFORCE.

Paper: Zhou et al. 2024, arXiv:2402.19446, section 3. Q_i(s, u) is regressed to r + γ V̄_i(s'), V_i(s) to Q̄_i(s, u) of a fresh utterance of the policy (i = 1, 2;
bars: target networks that follow by τ), on turns of all past policies. The policy takes its gradient from fresh utterances at past states: −A log π(u | s) with
A = min_i Q_i − min_i V_i, summed over an utterance's tokens with the one that ends it.
Settled on: fresh utterances are drawn once an iteration, for all of its critic updates (the policy stands still in between); the new conversations' own turns
are learned from too. The critic is a copy of the model that training starts from, with four linear heads, where the authors' code has another pre-trained
encoder, which reads history and utterance apart, and perceptrons of three layers. Advantages are shifted and scaled to mean 0 and deviation 1 over a batch: a
young critic is wrong by about the same everywhere. Gradients are clipped at 1, as in the code's settings. The learned baseline for single tokens is left out.

What to expect: a critic needs conversations before it says anything. With a model of 0.45M parameters on text:lookup, the policy held still, it explains a
tenth of the variance of returns after 640 of them (800 updates, 1e-3), and what learns from it falls behind REINFORCE, which needs fewer in all. Watch
`critic/q` against the variance of returns, and let `warm_up` last until it is below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operant import ops
from operant.core.registry import Count, Positive, Share, method
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import WeightedLogLikelihood
from operant.loops.utterances import Conversations, RevisitedTurns, UtteranceCritic


@dataclass(frozen=True)
class ArCHer(GroupSettings):
    prompts: Count = 4  # problems an iteration that are played
    group_size: Count = 4  # conversations of each
    turns: int = 0  # most turns of a row, 0 for the task's own number
    fresh: Count = 64  # utterances an iteration at states of past conversations
    capacity: Count = 2_000  # past conversations that are kept
    gamma: Share = 0.95  # discount a turn
    tau: Share = 0.1  # share of the critic that its target network takes in at an update
    critic_learning_rate: Positive = 1e-3  # Adam's
    critic_updates: Count = 20  # an iteration
    critic_batch: Count = 32  # turns in each, and as many fresh utterances
    warm_up: int = 20  # iterations in which the critic learns alone


@method("archer", name="ArCHer", family="agentic", paper="arXiv:2402.19446", worlds=("text",), example="text:lookup")
def archer(h: ArCHer) -> PolicyGradient:
    memory = Conversations(h.capacity)
    return PolicyGradient(
        sample=RevisitedTurns(h.prompts, h.group_size, turns=h.turns, fresh=h.fresh, memory=memory),
        credit=UtteranceCritic(
            memory,
            q_target=partial(ops.utterance_q_target, gamma=h.gamma),
            advantage=ops.utterance_advantage,
            learning_rate=h.critic_learning_rate,
            updates=h.critic_updates,
            batch_size=h.critic_batch,
            tau=h.tau,
            warm_up=h.warm_up,
        ),
        terms=[WeightedLogLikelihood()],
        reduce="token-mean",
        normalize_advantage="rollout",
        **h.updates,
    )
