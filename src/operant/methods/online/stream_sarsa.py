"""Stream SARSA(λ) (stream-x): the value of what is done, from each sample once, when it comes, along eligibility traces, without replay or a target network.

Paper: Elsayed, Vasan and Mahmood 2024, arXiv:2410.14606: SARSA(λ), δ = r + γ Q(s', a') − Q(s, a), z ← γλ z + ∇Q(s, a), w ← w + α δ z, with the bounded steps,
networks and normalisation of `stream-q`. The next action is drawn before the step is learned from, and then taken.
Departures: as in `stream-q`; and where an episode ended, the next one's first action is drawn at its first observation (the authors' code takes that which
it drew at the last observation of the episode before).
"""

from __future__ import annotations

from operant.core.registry import method
from operant.loops.streaming import ActionStreamSettings, Lesson, Moment, Streaming
from operant.nets.actors import ActionValueNet


@method("stream-sarsa", name="Stream SARSA(λ) (stream-x)", family="online", paper="arXiv:2410.14606", worlds=("gym",), actions=("discrete",))
def stream_sarsa(h: ActionStreamSettings) -> Streaming:
    def learn(m: Moment) -> Lesson:
        values, following = (of.gather(-1, action.unsqueeze(-1)).squeeze(-1) for of, action in ((m.now("q"), m.action), (m.next("q"), m.next_action)))
        return Lesson(m.td_error(values, following, gamma=h.gamma), {"q": m.taken(m.now("q"))})

    nets = {"q": ActionValueNet(**h.seen, **h.layers)}
    return Streaming(nets=nets, learn=learn, traces={"q": h.trace}, acts=h.acts, ahead=True, **h.course)
