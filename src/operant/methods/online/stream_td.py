"""Stream TD(λ) (stream-x): predicts the discounted return of a policy, learning from each sample once, when it comes, along an eligibility trace.

Paper: Elsayed, Vasan and Mahmood 2024, arXiv:2410.14606: TD(λ), δ = r + γ V(s') − V(s), z ← γλ z + ∇V(s), w ← w + α δ z, with the bounded steps, networks and
normalisation of `stream-q`. It is not a method of control: the policy whose return is predicted is the one that acts uniformly at random (the paper's task is a
time series, on which nobody acts).
The score of an evaluation is therefore the return of random actions, which does not change; how good the prediction is stands beside it: "value_error", the
root mean squared difference of predicted and observed returns in fresh episodes, and "explained_variance", their explained share.
Departures: as in `stream-q`; two layers of 128, as the authors' code has them for this, which feeds them exponential means of the observations.
Where outcomes are noisy the prediction stays so, and plain small steps of SGD come nearer to the mean (the claim's random walk): a bounded step goes by the
sign of δ where |δ| is above 1, as it is with scaled rewards, which draws the prediction to the median of outcomes, and long steps do not average. On the walk a
`--kappa` of 20 with `--scale-reward false` has a third of the error. The paper's series has no noise of outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from operant.core.registry import Widths, method
from operant.loops.behaviour import UniformlyRandom
from operant.loops.prediction import prediction_error
from operant.loops.streaming import Lesson, Moment, Streaming, StreamLearner, StreamSettings
from operant.nets.prediction import PredictorNet


@dataclass(frozen=True)
class StreamTD(StreamSettings):
    hidden: Widths = (128, 128)  # widths of the network


@method("stream-td", name="Stream TD(λ) (stream-x)", family="online", paper="arXiv:2410.14606", worlds=("gym",))
def stream_td(h: StreamTD) -> Streaming:
    def learn(m: Moment) -> Lesson:
        value = m.now("v")
        m.net("v").deviation.copy_(m.deviation)
        return Lesson(m.td_error(value, m.next("v"), gamma=h.gamma), {"v": torch.ones_like(value)})

    def measures(learner: StreamLearner) -> dict[str, np.ndarray]:
        return prediction_error(learner.world, learner.policy, len(learner.seeds), h.gamma)

    nets = {"v": PredictorNet(**h.seen, **h.layers)}
    return Streaming(nets=nets, learn=learn, traces={"v": h.trace}, acts=UniformlyRandom("v"), measures=measures, **h.course)
