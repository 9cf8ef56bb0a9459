"""Stream AC(λ) (stream-x): an actor and a critic that learn from each sample once, when it comes, each along an eligibility trace of its own.

Paper: Elsayed, Vasan and Mahmood 2024, arXiv:2410.14606: δ = r + γ V(s') − V(s); the critic's trace takes in ∇V(s), the actor's ∇[log π(a|s) + β sign(δ) H(π)],
so that the step along δ z always raises the entropy H; both steps are bounded (ObGD), the actor's with a κ of its own. Networks and normalisation are those of
`stream-q`; of a Gaussian the deviation is what softplus makes of an output, and actions beyond the bounds are clipped by the environment alone.
As in the authors' code: κ of 2 and 3, β of 0.01; two layers of 128 (theirs: 32 where actions are choices).
Departures: as in `stream-q`; log standard deviations are kept within -20 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from operant.core.registry import NonNegative, Positive, Widths, method
from operant.loops.behaviour import Sampled
from operant.loops.streaming import Lesson, Moment, Streaming, StreamSettings
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class StreamAC(StreamSettings):
    kappa_policy: Positive = 3.0  # of the bound on steps of the actor
    entropy_coefficient: NonNegative = 0.01  # weight of the entropy beside the log-probability
    hidden: Widths = (128, 128)  # widths of actor and critic


@method("stream-ac", name="Stream AC(λ) (stream-x)", family="online", paper="arXiv:2410.14606", worlds=("gym",))
def stream_ac(h: StreamAC) -> Streaming:
    def learn(m: Moment) -> Lesson:
        value, parameters = m.now("v"), m.now("actor")
        error = m.td_error(value, m.next("v"), gamma=h.gamma)
        score = m.net("actor").distribution.score(parameters, m.action, h.entropy_coefficient * error.sign())
        return Lesson(error, {"actor": score, "v": torch.ones_like(value)})

    return Streaming(
        nets={
            "actor": ActorNet(log_std="softplus", log_std_bounds=(-20.0, 5.0), **h.seen, **h.layers),
            "v": CriticNet(inputs=("observation",), ensemble=None, **h.layers),
        },
        learn=learn,
        traces={"actor": replace(h.trace, kappa=h.kappa_policy), "v": h.trace},
        acts=Sampled("actor"),
        **h.course,
    )
