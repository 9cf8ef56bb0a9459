"""Relabels for observations that say what is to be reached: data hold what was reached, and any of it may have been the goal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from operant.core.random import Streams
from operant.nets.goals import Parts
from operant.worlds.gym.goals import Goals
from operant.worlds.store import Store, Transitions


def _parts(store: Store) -> Parts:
    return Parts(store.columns["observation"].observation)


@dataclass(frozen=True)
class HindsightGoals:
    """Relabels a transition with a goal: its own state, a state behind it in its episode, or any state of the data (arXiv:1707.01495; shares as OGBench's,
    arXiv:2410.20092, appendix).

    The reward is -1, or 0 where the goal is the state itself, which ends the episode.

    Attributes:
        current, future: shares of the first two; the others are random ones.
        gamma: a state behind it lies a geometrically distributed number of steps ahead, with a mean of 1 / (1 - gamma), at most at the end of the episode.
    """

    current: float = 0.2
    future: float = 0.5
    gamma: float = 0.99

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        parts, size = _parts(store), batch.index.shape[1]
        kind, far, anywhere = (streams.uniform(f"goal/{name}", size) for name in ("kind", "steps", "random"))
        ahead = (torch.log1p(-far) / math.log(self.gamma)).long()  # transitions beyond its own
        future = store.gather(store.later(batch.index, torch.minimum(ahead, store.left(batch.index)))).next_observation[..., parts.state]
        place = (anywhere * store.size).long().clamp_(max=store.size - 1)
        other = store.gather(place).observation[..., parts.state]
        own = batch.observation[..., parts.state]
        current, later = (kind < self.current).unsqueeze(-1), (kind < self.current + self.future).unsqueeze(-1)
        goal = torch.where(current, own, torch.where(later, future, other))
        reached = current.squeeze(-1) | (~later.squeeze(-1) & (place == batch.index))
        return replace(
            batch,
            observation=parts.row(own, goal),
            next_observation=parts.row(batch.next_observation[..., parts.state], goal),
            reward=reached.float() - 1,
            terminated=reached,
        )


@dataclass(frozen=True)
class AchievedLater:
    """Gives a share k / (k + 1) of transitions a goal that their episode achieved with them or later, in both observations, with the reward and the ending that
    the environment computes for it (HER, Andrychowicz et al. 2017, arXiv:1707.01495, algorithm 1, strategy "future").

    Every outcome from the transition's own (as in Stable-Baselines3; the paper draws from those behind it) to the last of its episode is drawn alike; of an
    episode that goes on, to the newest. The others keep their goal. The paper's experiments also cut targets to what returns can be, [-1 / (1 - gamma), 0], and
    charge the actor for actions before their tanh: neither is here.

    Attributes:
        goals: of the task.
        ratio: k, goals in hindsight for each that was set.

    Raises:
        RunFailed: a step paid something else than is computed of it.
    """

    goals: Goals
    ratio: int

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        goals, left = self.goals, store.left(batch.index)
        chance, share = (streams.uniform(f"hindsight/{name}", batch.index.shape[1]) for name in ("chance", "steps"))
        given = chance < self.ratio / (self.ratio + 1)
        outcome = store.gather(store.later(batch.index, torch.minimum((share * (left + 1)).long(), left))).next_observation
        goal = torch.where(given.unsqueeze(-1), outcome[..., goals.achieved], batch.observation[..., goals.desired])
        reward, terminated = goals.of(batch.next_observation, goal, batch.terminated)
        own = ~given & (batch.next_observation[..., goals.desired] == goal).all(-1)  # a goal that moves is of either observation
        goals.hold(batch.reward[own], reward[own])
        seen, following = batch.observation.clone(), batch.next_observation.clone()
        seen[..., goals.desired], following[..., goals.desired] = goal, goal
        return replace(
            batch,
            observation=seen,
            next_observation=following,
            reward=torch.where(given, reward, batch.reward),
            terminated=torch.where(given, terminated, batch.terminated),
        )


@dataclass(frozen=True)
class Subgoals:
    """Adds to a transition what two levels of a policy learn from, states `[S, B, D]` (HIQL, arXiv:2307.11949, section 4.2).

    `subgoal` lies `steps` ahead, `goal` anywhere ahead, and `way` on the way to that goal, at most `steps` ahead; none beyond the episode's end. Where `goal`
    is any state of the data, `way` is `subgoal`.

    Attributes:
        steps: k, at least 1.
        random: share of goals that are any state of the data.
    """

    steps: int
    random: float = 0.0

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        parts, left, size = _parts(store), store.left(batch.index), batch.index.shape[1]
        share, kind, anywhere = (streams.uniform(f"goal/{name}", size) for name in ("policy", "policy kind", "policy random"))
        far, near, other = (share * (left + 1)).long(), left.clamp(max=self.steps - 1), kind < self.random
        way = store.later(batch.index, torch.where(other, near, torch.minimum(near, far)))
        near, far = (store.later(batch.index, ahead) for ahead in (near, far))
        goal = torch.where(other, (anywhere * store.size).long().clamp_(max=store.size - 1), far)
        found = {name: store.gather(place).next_observation[..., parts.state] for name, place in {"subgoal": near, "goal": goal, "way": way}.items()}
        return replace(batch, extras=batch.extras | found)
