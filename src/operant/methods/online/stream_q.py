"""Stream Q(λ) (stream-x): Q-learning from each sample once, when it comes, along eligibility traces, without replay, batches or a target network.

Paper: Elsayed, Vasan and Mahmood 2024, arXiv:2410.14606: Watkins's Q(λ), δ = r + γ max Q(s', ·) − Q(s, a), z ← γλ z + ∇Q(s, a), w ← w + α δ z, with steps
that are bounded so as not to overshoot (ObGD, `ops.bounded_step_size`), layer norms without learned scale and shift, a sparse initialisation, and running
normalisation of observations and rewards. An action that is not the best one ends the trace, as an episode's end does.
As in the authors' code: bounds count the trace of all parameters of a network together; observations are taken in before they are used; a random action that is
the best one does not end the trace; epsilon falls from 1 to 0.01 within 5 % of the steps; two layers of 32.
Departures: time limits bootstrap, where theirs end a return, so that the time within an episode need not be seen (theirs is an input, from -1/2 to 1/2 and not
normalised; `--time-feature` is the share that is left, normalised like the rest). Theirs lets every environment go on for 10,000 steps, so that CartPole does
not end at 500; here tasks keep their limits. One incoming weight of each unit stays at the least.
"""

from __future__ import annotations

from operant.core.registry import method
from operant.loops.streaming import ActionStreamSettings, Lesson, Moment, Streaming
from operant.nets.actors import ActionValueNet


@method("stream-q", name="Stream Q(λ) (stream-x)", family="online", paper="arXiv:2410.14606", worlds=("gym",), actions=("discrete",))
def stream_q(h: ActionStreamSettings) -> Streaming:
    def learn(m: Moment) -> Lesson:
        values = m.now("q")
        error = m.td_error(values.gather(-1, m.action.unsqueeze(-1)).squeeze(-1), m.next("q").amax(-1), gamma=h.gamma)
        return Lesson(error, {"q": m.taken(values)}, cut=m.action != values.argmax(-1))

    return Streaming(nets={"q": ActionValueNet(**h.seen, **h.layers)}, learn=learn, traces={"q": h.trace}, acts=h.acts, **h.course)
