"""Off-policy evaluation: what a policy is worth, from episodes of another one; bias and variance of eight estimators against the exact value.

The target plays an optimal policy and takes a random action now and then (`--target-epsilon`); the behaviour does so more often (`--behaviour-epsilon`), plays
the episodes, and its probabilities are known. Each repeat is a data set of its own; the target's value is computed (`FiniteMDP.value`), so that error, bias and
standard deviation are those of the estimator and of nothing else. The estimators (`ops.off_policy`):

- `ips`, importance sampling: whole episodes weighted by the product of their ratios; `per-decision`, each reward by the ratios up to it;
- `snips`, the same, divided by the sum of the weights;
- `dm`, the direct method: a model of the counts, which in a table is what fitted Q evaluation converges to; pairs that were not seen are worth 0;
- `dr`, doubly robust: the model, corrected by weighted errors; `switch`, the same where a step's ratio is at most `--threshold`, and the model elsewhere;
  `mrdr`, with the action values that make it vary least (in a bandit they are the model's);
- `dice`, marginalised weights: the target's share of a state over the behaviour's, so that no product over steps is left.

A model that corrects an estimate is fitted to the other half of the episodes (each half in its turn), so that what is said of means holds exactly. `dm` and
`dice` use all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.registry import Positive, Range, Share
from operant.evaluate.plots import learning_curves
from operant.studies import Say, StudyResult, Table, study
from operant.worlds import kind_of, make_world
from operant.worlds.tabular.mdp import FiniteMDP, Played


@dataclass(frozen=True)
class OpeOptions:
    task: str = "tabular:random-episodes"  # a finite MDP with a horizon, tabular:NAME or tabular:PATH.npz; tabular:bandit is one of a single step
    horizon: Annotated[int | None, Range(1)] = None  # steps of an episode; none for the task's own
    instance: Annotated[int, Range(0)] = 0  # of tasks that have one for each seed
    episodes: Annotated[tuple[int, ...], Range(2)] = (50, 200, 800, 3200)  # of a data set, each number by itself
    repeats: Annotated[int, Range(2)] = 400  # data sets
    target_epsilon: Share = 0.1  # how often the target takes a random action, and an optimal one otherwise
    behaviour_epsilon: Share = 0.6  # how often the behaviour does
    threshold: Positive = 1.0  # of switch: the largest ratio of a step that is believed
    seed: Annotated[int, Range(0)] = 0  # of the data sets, counted up


@dataclass(frozen=True)
class Logged:
    """Data sets of episodes whose behaviour is known, a seed each.

    Attributes:
        played: the episodes.
        ratio: `[S, M, H]`, of the probabilities of the actions taken, target's over behaviour's.
        target: `[1, H, K, A]`.
        stationary: all steps are alike, and a model may count them together.
        discount: of the rewards, a step.
    """

    played: Played
    ratio: Tensor
    target: Tensor
    stationary: bool
    discount: float = 1.0

    @property
    def reward(self) -> Tensor:
        return self.played.reward

    @property
    def state(self) -> Tensor:
        """Without the one behind the last step, `[S, M, H]`."""
        return self.played.state[..., :-1]

    def halves(self) -> tuple[Logged, Logged]:
        """The first and the second half of the episodes."""
        at = self.reward.shape[1] // 2
        first, second = (self.played.part(*part) for part in ((0, at), (at, self.reward.shape[1] - at)))
        return replace(self, played=first, ratio=self.ratio[:, :at]), replace(self, played=second, ratio=self.ratio[:, at:])

    @cached_property
    def model(self) -> Tensor:
        """Action values of the target in a model of the counts, `[S, H, K, A]`."""
        following, gained = self.played.seen(tuple(self.target.shape[1:]), stationary=self.stationary)
        count = following.sum(-1)
        reward, transition = gained / count.clamp(min=1), following / count.clamp(min=1).unsqueeze(-1)
        if self.stationary:
            reward, transition = reward.unsqueeze(1), transition.unsqueeze(1)
        value = ops.horizon_value(reward, transition, self.target.expand(len(reward), -1, -1, -1), discount=self.discount)
        return ops.bellman_q(reward, transition, ops.next_step_value(value), discount=self.discount)

    @cached_property
    def robust(self) -> Tensor:
        """The action values of MRDR, `[S, H, K, A]`; the model's of pairs that were not seen."""
        to_go = ops.doubly_robust_returns(self.ratio, self.reward, *self.met(self.model), discount=self.discount)
        return ops.robust_action_values(self.state, self.played.action, self.ratio, to_go, self.model)

    def met(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Of action values `[S, H, K, A]` those of the pairs taken, and of the target those of the states met: `[S, M, H]` each."""
        states = self.state.transpose(1, 2)  # [S, H, M]
        v = (q * self.target).sum(-1).gather(-1, states).transpose(1, 2)
        pair = states * q.shape[-1] + self.played.action.transpose(1, 2)
        return q.flatten(2).gather(-1, pair).transpose(1, 2), v


def crossed(logged: Logged, values: Callable[[Logged], Tensor], ratio: Callable[[Tensor], Tensor] = lambda ratio: ratio) -> Tensor:
    """DR with action values that each half gives the other."""
    first, second = logged.halves()
    parts = []
    for here, there in ((first, second), (second, first)):
        found = ops.doubly_robust_value(ratio(here.ratio), here.reward, *here.met(values(there)), discount=logged.discount)
        parts.append(found * here.reward.shape[1])
    return sum(parts) / logged.reward.shape[1]


def estimators(threshold: float = 1.0) -> dict[str, Callable[[Logged], Tensor]]:
    """All of them, by name: a value `[S]` of data sets."""
    return {
        "ips": lambda d: ops.importance_sampling_value(d.ratio, d.reward, discount=d.discount),
        "per-decision": lambda d: ops.per_decision_value(d.ratio, d.reward, discount=d.discount),
        "snips": lambda d: ops.self_normalized_value(d.ratio, d.reward, discount=d.discount),
        "dm": lambda d: d.met(d.model)[1][..., 0].mean(-1),
        "dr": lambda d: crossed(d, lambda half: half.model),
        "switch": lambda d: crossed(d, lambda half: half.model, lambda ratio: ops.switched_ratio(ratio, threshold=threshold)),
        "mrdr": lambda d: crossed(d, lambda half: half.robust),
        "dice": lambda d: ops.marginal_value(ops.marginal_weights(d.state, d.ratio, states=d.target.shape[-2]), d.reward, discount=d.discount),
    }


def softened(policy: Tensor, epsilon: float) -> Tensor:
    """A policy that takes a random action with probability `epsilon`."""
    return (1 - epsilon) * policy + epsilon / policy.shape[-1]


def logged(mdp: FiniteMDP, target: Tensor, behaviour: Tensor, episodes: int, streams: Streams) -> Logged:
    """Episodes of a behaviour, a data set for each seed of the streams.

    Args:
        target, behaviour: `[1, H, K, A]`; the behaviour takes every action that the target does.
    """
    played = mdp.play(behaviour.expand(len(streams.seeds), -1, -1, -1), episodes, streams)
    steps = torch.arange(behaviour.shape[1])
    acted = (policy[0][steps, played.state[..., :-1], played.action] for policy in (target, behaviour))
    stationary = mdp.transition.shape[1] == mdp.reward.shape[1] == 1
    return Logged(played, next(acted) / next(acted), target, stationary)


def problem(options: OpeOptions) -> tuple[FiniteMDP, Tensor, Tensor]:
    """The MDP, the target and the behaviour."""
    if kind_of(options.task) != "tabular":
        raise BadInput(f"study ope: --task {options.task} is no finite MDP, whose values could be computed: take one, such as tabular:random-episodes")
    if options.behaviour_epsilon == 0 < options.target_epsilon:
        raise BadInput("study ope: behaviour_epsilon=0 never takes actions that the target takes, and says nothing of them: above 0")
    world = make_world(options.task, **({} if options.horizon is None else {"horizon": options.horizon}))
    if world.horizon is None:
        raise BadInput(f"study ope: --task {options.task} has no episodes: give --horizon, as in --horizon 10")
    mdp = world.mdp(Streams([options.instance]))
    most = options.repeats * max(options.episodes) * mdp.horizon
    check_memory(f"{options.repeats:,} data sets of {max(options.episodes):,} episodes", 8 * most * (8 + mdp.actions**2), "take fewer --repeats or --episodes")
    policy = mdp.optimum[1]
    return mdp, softened(policy, options.target_epsilon), softened(policy, options.behaviour_epsilon)


def errors(found: Tensor, value: float) -> dict[str, float]:
    """Bias with its standard error, standard deviation and root mean squared error of estimates `[S]`."""
    off = (found - value).numpy()
    spread = float(off.std(ddof=1))
    return {"bias": float(off.mean()), "standard_error": spread / math.sqrt(len(off)), "deviation": spread, "rmse": float(np.sqrt((off**2).mean()))}


@study(
    "ope", paper="arXiv:1103.4601", summary="Off-policy evaluation on bandits and finite MDPs: bias and variance of IPS, SNIPS, DM, DR, SWITCH, MRDR and DICE"
)
def ope(options: OpeOptions, folder: Path, say: Say) -> StudyResult:
    mdp, target, behaviour = problem(options)
    value, own = (mdp.start_value(mdp.value(policy))[0].item() for policy in (target, behaviour))
    figures: dict[str, Any] = {"task": options.task, "value": value, "behaviour_value": own, "episodes": {}}
    tables: list[Table] = []
    roots: dict[str, list[float]] = {}
    for episodes in options.episodes:
        data = logged(mdp, target, behaviour, episodes, Streams(range(options.seed, options.seed + options.repeats)))
        found = {name: errors(estimate(data), value) for name, estimate in estimators(options.threshold).items()}
        figures["episodes"][episodes] = found
        for name, each in found.items():
            roots.setdefault(name, []).append(each["rmse"])
        say(f"{episodes:,} episodes: the smallest error is of {min(found, key=lambda name: found[name]['rmse'])}")
        rows = tuple((name, f"{x['bias']:+.4f} ± {2 * x['standard_error']:.4f}", f"{x['deviation']:.4f}", f"{x['rmse']:.4f}") for name, x in found.items())
        title = f"{options.task}, {episodes:,} episodes, {options.repeats} data sets; target {value:.4f}, behaviour {own:.4f}"
        tables.append(Table(title, ("estimator", "bias ± 2 standard errors", "standard deviation", "RMSE"), rows))
    plots = {}
    if len(options.episodes) > 1:
        x = np.array(sorted(options.episodes), dtype=float)
        order = np.argsort(options.episodes)
        plots["errors"] = learning_curves({name: [(x, np.array(each)[order])] for name, each in roots.items()}, ylabel="RMSE", xlabel="episodes")
    return StudyResult(figures, tuple(tables), plots)
