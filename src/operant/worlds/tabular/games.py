"""Finite games of two players, of which everything can be computed: best responses, exploitability and equilibria."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from reprlib import Repr
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.worlds.tabular.linear_program import check_solver, maximum
from operant.worlds.tabular.mdp import LARGEST, ROUNDING, place

PLAYERS = 2
LEAST = 1e-300  # range of payoffs of a game that pays the same whatever is done
EXACT = 2**-44  # what rounding may do to a sum of payoffs, as a share of the largest of them
MOST_SEQUENCES = 4_096  # of a player: the payoffs of all pairs are a table
MOST_HISTORIES, MOST_MOVES = 2**21, 10_000  # of a tree, and on the way to one of its ends
FAR = 1e13  # ordinary distances between payoffs that one may be away: HiGHS takes 1e15 for infinite, and 1e-9 for 0
SETTLED = 1e-9  # ordinary distances between payoffs by which an equilibrium may be exploitable
LEAST_WEIGHT = 1e-3  # of the reference: the steps to an equilibrium, and what rounding does to it, grow with its inverse
NEWTON, SMALLER = 10, 1.4  # most steps at each weight on the way to one, and by how much the next weight is smaller
CLOSE, STEPS = 1e-13, 100_000  # residual at which a regularised equilibrium is found, and most steps to it


@dataclass(frozen=True)
class Chance:
    """Chance moves: `outcomes` are `(probability, what follows)`."""

    outcomes: Sequence[tuple[float, Any]]


@dataclass(frozen=True)
class Turn:
    """A player moves, 0 or 1, who has `seen` so much: the same in all histories that it cannot tell apart. `moves` are `(name, what follows)`."""

    player: int
    seen: Hashable
    moves: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class End:
    """The game is over and pays both players."""

    payoff: tuple[float, float]


@dataclass(frozen=True)
class FiniteGame:
    """S finite games of two players of the same shape: a seed each, or one that all seeds share (S = 1, which broadcasts). Players remember what they did and
    saw (perfect recall); a game in which both move once and see nothing is a matrix game.

    It is kept in sequence form (von Stengel 1996). A sequence of a player is what it did so far: number 0 is nothing, and 1 + i · A + a action a in its i-th
    information set. What both do is one table `[S, I, A]` over all information sets, the first player's before the second's.

    Attributes:
        payoff: `[S, 2, X, Y]` float64: what each player is paid where the game ends after sequence x of the first and y of the second, times the probability
            of chance's moves on the way, summed over such ends; 0 where it does not end there.
        ends: `[X, Y]` float64, that probability itself, summed over these ends: 1 in all of a matrix game.
        available: `[I, A]` bool, the actions that each information set has.
        parent: `[I]` int64, the place i · A + a in the table of its player's move before; -1 where there was none.
        player: `[I]` int64, whose set it is: 0s, then 1s.
        sets, moves: their names, I and for each set those of its actions.
        preference: it is symmetric, and payoffs are the probabilities P(a ≻ b) with which the one player's answer is preferred.
        reference: `[S or 1, A]`, of preference games that are regularised: both players pay `kl_weight` · KL(π ‖ reference), and gain what the other pays.
        kl_weight: 0 where they are not.

    Raises:
        BadInput: a shape or a number that cannot be, with its place.
    """

    payoff: Tensor
    ends: Tensor
    available: Tensor
    parent: Tensor
    player: Tensor
    sets: tuple[str, ...]
    moves: tuple[tuple[str, ...], ...]
    preference: bool = False
    reference: Tensor | None = None
    kl_weight: float = 0.0

    def __post_init__(self):
        sets, actions = self.available.shape
        first = int((self.player == 0).sum())
        expected = [PLAYERS, 1 + first * actions, 1 + (sets - first) * actions]
        if list(self.payoff.shape[1:]) != expected:
            raise BadInput(f"finite game: payoff has shape {list(self.payoff.shape)}, must be [S, {', '.join(map(str, expected))}]")
        if (wrong := ~self.payoff.isfinite()).any() or (wrong := self.payoff.abs() > LARGEST).any():
            raise BadInput(f"finite game: payoff{place(wrong)} is {self.payoff[wrong][0].item():g}, must be a finite number, at most {LARGEST:g} in size")
        if self.kl_weight < 0 or (self.kl_weight > 0 and self.reference is None) or (self.kl_weight and not self.preference):
            raise BadInput("finite game: a KL weight is above 0, of a preference game, and needs a reference policy")
        if 0 < self.kl_weight < LEAST_WEIGHT:
            weight, least = self.kl_weight, LEAST_WEIGHT
            raise BadInput(f"finite game: a KL weight of {weight:g} is too small to find the equilibrium: take {least:g} or more, or 0 and no reference")
        if (reference := self.reference) is not None and ((reference <= 0).any() or ((reference.sum(-1) - 1).abs() > ROUNDING).any()):
            raise BadInput("finite game: the reference policy must give every answer a probability above 0, and they sum to 1")
        if reference is not None and not self.kl_weight:
            raise BadInput("finite game: a reference policy needs kl_weight above 0: give --kl-weight, or leave the reference out")

    @staticmethod
    def matrix(payoff: Tensor, moves: Sequence[Sequence[str]] | None = None, **others: Any) -> FiniteGame:
        """Of payoffs `[S, 2, m, n]` of both players at each pair of actions; `moves` are the names of the actions of each."""
        if payoff.ndim != 4 or payoff.shape[1] != PLAYERS or 0 in payoff.shape:
            raise BadInput(f"matrix game: payoffs have shape {list(payoff.shape)}, must be [S, 2, m, n]")
        rows, columns = payoff.shape[2:]
        actions = max(rows, columns)
        table = payoff.new_zeros(len(payoff), PLAYERS, 1 + actions, 1 + actions)
        table[:, :, 1 : 1 + rows, 1 : 1 + columns] = payoff
        ends = payoff.new_zeros(1 + actions, 1 + actions)
        ends[1 : 1 + rows, 1 : 1 + columns] = 1
        available = torch.arange(actions) < torch.tensor([[rows], [columns]])
        names = tuple(map(tuple, moves or [[f"a{number}" for number in range(count)] for count in (rows, columns)]))
        return FiniteGame(table, ends, available, torch.full((2,), -1), torch.tensor([0, 1]), ("player 1", "player 2"), names, **others)

    @staticmethod
    def preferences(chance: Tensor, reference: Tensor | None = None, kl_weight: float = 0.0) -> FiniteGame:
        """Of the probabilities `[S, n, n]` that an answer is preferred to another one, P(a ≻ b) = 1 - P(b ≻ a). Raises `BadInput` for others."""
        if chance.ndim != 3 or chance.shape[1] != chance.shape[2] or chance.shape[1] < 2:
            raise BadInput(f"preference game: preferences have shape {list(chance.shape)}, must be [S, n, n] of two answers or more")
        if (wrong := ~((chance >= 0) & (chance <= 1))).any():
            raise BadInput(f"preference game: P{place(wrong)} is {chance[wrong][0].item():g}, must be a probability, in [0, 1]")
        if (off := (chance + chance.mT - 1).abs() > ROUNDING).any():
            both = (chance + chance.mT)[off][0].item()
            raise BadInput(f"preference game: P{place(off)} and the same the other way round sum to {both:.12g}, must be 1 (and 1/2 on the diagonal)")
        if reference is not None and reference.shape[-1] != chance.shape[-1]:
            raise BadInput(f"preference game: the reference has {reference.shape[-1]} answers, and the preferences {chance.shape[-1]}")
        return FiniteGame.matrix(torch.stack([chance, chance.mT], 1), preference=True, reference=reference, kl_weight=kl_weight)

    @staticmethod
    def extensive(root: Any, follow: Callable[[Any], Chance | Turn | End]) -> FiniteGame:
        """Of a tree, whose histories `follow` says what happens at, from the root on.

        Args:
            root: the history that it begins with: anything that `follow` knows.

        Raises:
            BadInput: what is no `Chance`, `Turn` or `End`, or has a field that cannot be, with its history; an information set that is not one (other moves, or
                a player who has forgotten what it did), a player without a move, more sequences than `MOST_SEQUENCES`, more histories than `MOST_HISTORIES`,
                or one of more moves than `MOST_MOVES`, as of a tree without an end.
        """
        return _Walk(follow, root).game()

    @property
    def shape(self) -> tuple[int, int]:
        """Of what is decided, (I, A)."""
        return tuple(self.available.shape)

    @property
    def seeds(self) -> int:
        """S: of one that all seeds share, 1."""
        return len(self.payoff)

    @cached_property
    def first(self) -> int:
        """Information sets of the first player."""
        return int((self.player == 0).sum())

    @property
    def is_matrix(self) -> bool:
        """Both players move once and see nothing."""
        never = self.payoff[:, :, 0].any() or self.payoff[..., 0].any()  # it may end before somebody moves
        return self.shape[0] == PLAYERS and self.first == 1 and not never

    @cached_property
    def matrices(self) -> Tensor:
        """`[S, 2, m, n]`, the payoffs of a matrix game."""
        rows, columns = self.available.sum(-1).tolist()
        return self.payoff[:, :, 1 : 1 + rows, 1 : 1 + columns]

    @cached_property
    def total(self) -> float | None:
        """What both players' payoffs sum to, wherever the game ends; None where that hangs on what they do."""
        both = self.payoff.sum(1)
        constant = (both.sum() / (self.seeds * self.ends.sum())).item()
        rounding = self.rounding + ROUNDING * self.preference  # by which preferences may miss 1
        return constant if ((both - constant * self.ends).abs() <= rounding).all() else None

    @cached_property
    def scales(self) -> tuple[Tensor, Tensor]:
        """What each player is paid where it ends: the median, and the median distance from it of what is another number, 1 where nothing is: `[S, 2]` both.

        Unlike the range it says what is ordinary also where one payoff lies far away from the others.
        """
        there = self.ends > 0
        paid = self.payoff[:, :, there] / self.ends[there]
        middle = paid.median(-1, keepdim=True).values
        distance = (paid - middle).abs()
        other = distance > EXACT * (paid.abs() + middle.abs())
        return middle.squeeze(-1), torch.where(other, distance, torch.nan).nanmedian(-1).values.nan_to_num(nan=1.0)

    @cached_property
    def rounding(self) -> Tensor:
        """What two sums of payoffs may differ by and still be the same, `[S, 1, 1]`."""
        ordinary, largest = self.scales[1].amax(-1) * self.ends.max(), self.payoff.abs().amax((1, 2, 3))
        return torch.maximum(ROUNDING * ordinary, EXACT * largest).view(-1, 1, 1)

    @cached_property
    def normal(self) -> FiniteGame:
        """The same game in ordinary numbers: of each player the median payoff is 0, and 1 an ordinary distance from it. Raises `BadInput` where one is far."""
        middle, size = (each.view(-1, PLAYERS, 1, 1) for each in self.scales)
        payoff = self.payoff / size - self.ends * (middle / size)
        if not (farthest := payoff.abs().max()) <= FAR:  # infinite less infinite is no number
            raise _far(farthest)
        return replace(self, payoff=payoff, preference=False)

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest payoff of each matrix game, `[S, 1, 1]` both."""
        return self.matrices.amin((1, 2, 3)).view(-1, 1, 1), self.matrices.amax((1, 2, 3)).view(-1, 1, 1)

    def to(self, device: torch.device) -> FiniteGame:
        """The same on a device."""
        tables = {item.name: table for item in fields(self) if isinstance(table := getattr(self, item.name), Tensor)}
        return replace(self, **{name: table.to(device) for name, table in tables.items()})

    @cached_property
    def levels(self) -> tuple[Tensor, ...]:
        """Information sets by how many moves their player has made before."""
        actions, parent, depth = self.shape[1], self.parent.tolist(), []
        for before in parent:  # a set's parent stands before it
            depth.append(0 if before < 0 else depth[before // actions] + 1)
        depth = torch.tensor(depth, device=self.parent.device)
        return tuple((depth == level).nonzero().flatten() for level in range(int(depth.max()) + 1))

    @cached_property
    def uniform(self) -> Tensor:
        """The policy that takes all actions alike, `[1, I, A]`."""
        return self.policy(torch.zeros(1, *self.shape, dtype=self.payoff.dtype, device=self.payoff.device))

    def plan(self, policy: Tensor) -> Tensor:
        """The realization plan of a policy, `[S, I, A]` both."""
        return ops.realization_plan(policy, self.parent, self.levels)

    def policy(self, plan: Tensor) -> Tensor:
        """The policy of a realization plan, `[S, I, A]` both; uniform where it never comes."""
        return ops.plan_policy(plan, self.available)

    def described(self, policy: Tensor) -> list[dict[str, Any]]:
        """What one policy `[I, A]` does in each information set: `{"player", "seen", "policy", "reached"}`, the player 1 or 2, each move's probability by its
        name, and whether the player's own moves ever lead there."""
        reach = self.plan(policy.unsqueeze(0))[0].sum(-1)
        rows = zip(self.player.tolist(), self.sets, self.moves, policy.tolist(), reach.tolist(), strict=True)
        return [
            {"player": player + 1, "seen": seen, "policy": dict(zip(moves, chance, strict=False)), "reached": reached > 0}
            for player, seen, moves, chance, reached in rows
        ]

    def _gains(self, plan: Tensor, payoff: Tensor) -> tuple[Tensor, Tensor]:
        """What both players' sequences gain against the plan of the other: `[S, I, A]`, and where they never move `[S, 2]`."""
        one = torch.ones_like(plan[:, 0, :1])
        x, y = (torch.cat([one, part.flatten(1)], 1) for part in (plan[:, : self.first], plan[:, self.first :]))
        mine, other = _product(payoff[:, 0], y), _product(payoff[:, 1].mT, x)
        return torch.cat([mine[:, 1:], other[:, 1:]], 1).view_as(plan), torch.stack([mine[:, 0], other[:, 0]], -1)

    def _values(self, plan: Tensor, worth: Callable[[Tensor, Tensor], Tensor], payoff: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gain, never = self._gains(plan, self.payoff if payoff is None else payoff)
        q, value = ops.sequence_values(gain, self.parent, self.player, self.levels, worth)
        return q, value + never

    def _largest(self, level: Tensor, q: Tensor) -> Tensor:
        return q.masked_fill(~self.available[level], -torch.inf).amax(-1)

    def counterfactual(self, policy: Tensor) -> tuple[Tensor, Tensor]:
        """Counterfactual values `[S, I, A]` of every action, and what both players are paid, `[S, 2]`, when both play a policy `[S, I, A]`."""
        return self._values(self.plan(policy), lambda level, q: (policy[:, level] * q).sum(-1))

    def advantage(self, policy: Tensor) -> Tensor:
        """Immediate counterfactual regrets `[S, I, A]`: by how much each action is worth more than the policy (Zinkevich et al. 2007, section 3.1)."""
        q, _ = self.counterfactual(policy)
        return (q - (policy * q).sum(-1, keepdim=True)) * self.available

    def shares(self, policy: Tensor) -> Tensor:
        """What each action of a matrix game is paid against the other's policy `[S, 2, A]`, as a share of the range of all payoffs: `[S, 2, A]` in [0, 1]."""
        low, high = self.bounds
        return (self.counterfactual(policy)[0] - low) / (high - low).clamp(min=LEAST)

    def value(self, policy: Tensor) -> Tensor:
        """What both players are paid on average when they play a policy, `[S, 2]`; without what regularised games take for leaving the reference."""
        return self.counterfactual(policy)[1]

    def best_response(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """Of each player a deterministic policy that is best against the other's realization plan, in one table `[S, I, A]`, and what it is paid, `[S, 2]`.

        It takes the first of several best actions, and what rounding alone tells apart is as good.
        """
        q, value = self._values(plan, self._largest)
        best = q.masked_fill(~self.available, -torch.inf)
        return ops.greedy_policy((best >= best.amax(-1, keepdim=True) - self.rounding).to(q.dtype)), value

    def worst_case(self, policy: Tensor) -> Tensor:
        """What each player is paid at the least, whatever the other does, `[S, 2]`: of zero-sum games what a best response leaves it.

        Of a regularised preference game, what counts here and in `exploitability` is the regularised payoff.
        """
        if self.kl_weight:
            return torch.stack([1 - self._answered(half) - self.kl_weight * ops.policy_divergence(half, self.reference) for half in policy.unbind(1)], -1)
        return -self._values(self.plan(policy), self._largest, -self.payoff.flip(1))[1].flip(-1)

    def exploitability(self, policy: Tensor) -> Tensor:
        """NashConv / 2, `[S]`: the mean over both players of what each gains by a best response in the place of the policy. 0 of equilibria alone."""
        if self.kl_weight:
            first, second = policy.unbind(1)
            leaves = sum(self._answered(half) + self.kl_weight * ops.policy_divergence(half, self.reference) for half in (first, second))
            return (leaves / PLAYERS - 0.5).clamp(min=0)  # what both are paid sums to 1
        return (self.best_response(self.plan(policy))[1] - self.value(policy)).sum(-1).clamp(min=0) / PLAYERS

    def _answered(self, policy: Tensor) -> Tensor:
        """What the best answer to a policy `[S, A]` gets, less what it pays for leaving the reference: `[S]`."""
        return ops.kl_regularized_value(_product(self.matrices[:, 0], policy), self.reference, temperature=self.kl_weight)

    def preferred(self, policy: Tensor) -> Tensor:
        """Of a preference game how likely each answer of each player is preferred to the other's, who answers by a policy `[S, 2, A]`: `[S, 2, A]`."""
        return torch.stack([_product(self.matrices[:, 0], half) for half in policy.flip(1).unbind(1)], 1)

    @property
    def reference_policy(self) -> Tensor:
        """Of a regularised preference game, of both players: `[S or 1, 2, A]`."""
        return self.reference.unsqueeze(1).expand(-1, PLAYERS, -1)

    def check_matrix(self, task: str, key: str) -> None:
        """Raise `BadInput` where a method of this key, which is for matrix games, would meet another one."""
        if not self.is_matrix:
            raise BadInput(f"{key} is for matrix games, and {task} has {self.shape[0]} information sets: take tabular:rock-paper-scissors, or cfr for this one")

    def check_unregularized(self, task: str, key: str) -> None:
        """Raise `BadInput` where a method of this key, which knows no reference policy, would meet one."""
        if self.kl_weight:
            without = "leave --kl-weight out" if task == "tabular:random-preference" else "take tabular:random-preference"
            raise BadInput(f"{key} knows no reference policy, and {task} has one: {without}, or nash-mp for this one")

    def check_preference(self, task: str, key: str) -> None:
        """Raise `BadInput` where a method of this key, which is for regularised preference games, would meet another game."""
        if not self.kl_weight:
            less = f"{task} has no reference policy" if self.preference else f"{task} is none"
            own = "leave --kl-weight out" if task == "tabular:regularized-preference" else "take tabular:regularized-preference"
            advice = f"{own}, or give --kl-weight 0.1" if self.preference else own
            raise BadInput(f"{key} is for preference games with a reference policy, and {less}: {advice}")

    # Equilibria

    @cached_property
    def equilibrium(self) -> tuple[Tensor, Tensor]:
        """An equilibrium `[S, I, A]` of a zero-sum game, and what it pays both players, `[S, 2]`: by linear programs, or the one of a regularised game.

        Where a player's own moves never lead the program says nothing, and the policy is uniform.

        Raises:
            BadInput: the game is not zero-sum, nor constant-sum, its payoffs lie too far apart for the program, or SciPy is missing.
        """
        if self.kl_weight:
            policy = self.regularized_equilibrium.unsqueeze(1).expand(-1, PLAYERS, -1)
            return policy, self.value(policy)
        if self.total is None:
            raise BadInput("finite game: an equilibrium is computed of zero-sum games; this one is general-sum, and has correlated equilibria")
        check_solver()
        host = self.normal.to(torch.device("cpu"))
        try:
            plans = torch.stack([torch.cat([host._safest(seed, player) for player in range(PLAYERS)]) for seed in range(self.seeds)])
        except RunFailed as error:
            raise _far(host.payoff.abs().max()) from error
        policy = host.policy(plans)
        if (left := host.exploitability(policy).max()) > SETTLED:
            raise _far(host.payoff.abs().max(), left)
        policy = policy.to(self.payoff.device)
        return policy, self.value(policy)

    def _safest(self, seed: int, player: int) -> Tensor:
        """The realization plan `[I of the player, A]` whose worst case is best: max over x, q of e·q with q the other player's values, below what x leaves.
        Of games in ordinary numbers (`normal`)."""
        mine, other = (self._constraints(who) for who in (player, 1 - player))
        payoff = self.payoff[seed, player].numpy()
        payoff = payoff if player == 0 else payoff.T  # [X, Y] of this player's sequences and the other's
        x, y, sets = len(payoff), payoff.shape[1], len(other)
        # x ≥ 0, q = q⁺ - q⁻ and slack ≥ 0: payoffᵀ x - otherᵀ q - slack = 0, mine x = e
        equations = np.block([[payoff.T, -other.T, other.T, -np.eye(y)], [mine, np.zeros((len(mine), 2 * sets + y))]])
        right = np.concatenate([np.zeros(y), [1.0], np.zeros(len(mine) - 1)])
        gain = np.zeros(equations.shape[1])
        gain[x], gain[x + sets] = 1.0, -1.0
        from scipy.sparse import csr_array

        plan = torch.from_numpy(maximum(gain, csr_array(equations), right)[1:x])
        return plan.view(-1, self.shape[1]) * self.available[self.player == player]

    def _constraints(self, player: int) -> np.ndarray:
        """The equations of a player's realization plans, `[1 + sets, sequences]`: x(nothing) = 1, and Σ_a x(i, a) = x(parent(i)) over what is available."""
        here = (self.player == player).nonzero().flatten().tolist()
        actions, begin = self.shape[1], here[0] * self.shape[1]
        rows = np.zeros((1 + len(here), 1 + len(here) * actions))
        rows[0, 0] = 1
        for row, place_of in enumerate(here):
            parent = int(self.parent[place_of])
            rows[1 + row, 0 if parent < 0 else 1 + parent - begin] = -1
            rows[1 + row, 1 + row * actions : 1 + (row + 1) * actions] = self.available[place_of].numpy()
        return rows

    @cached_property
    def regularized_equilibrium(self) -> Tensor:
        """The one policy `[S, A]` of a regularised preference game that is its own best answer: π ∝ reference · exp(P(· ≻ π) / kl_weight).

        Newton's method follows it from a large weight to the game's own. From where that comes to, and from anywhere else, mirror prox leads to it at a linear
        rate, 1 + 2 · kl_weight; that it is there is checked by the equation itself.

        Raises:
            RunFailed: it was not found.
        """
        chance = self.matrices[:, 0]
        policy, reference = self._followed, self.reference
        close = max(CLOSE, 1e-14 / self.kl_weight)  # gains are known but for rounding, and an answer hangs on them over the weight
        for step in range(STEPS):
            middle = ops.kl_proximal_step(policy, reference, _product(chance, policy), rate=2.0, weight=self.kl_weight)
            policy = ops.kl_proximal_step(policy, reference, _product(chance, middle), rate=2.0, weight=self.kl_weight)
            if step % 20 == 0:
                answer = ops.kl_regularized_policy(_product(chance, policy), reference, temperature=self.kl_weight)
                if (answer - policy).abs().max() <= close:
                    return policy
        raise RunFailed(f"the equilibrium of a preference game with KL weight {self.kl_weight:g} was not found in {STEPS:,} steps: take a larger one")

    @property
    def _followed(self) -> Tensor:
        """Nearly the equilibrium of a regularised preference game `[S, A]`; the reference where Newton's method did not settle."""
        chance, reference = self.matrices[:, 0] - 0.5, self.reference.expand(self.seeds, -1)
        logits, eye, weight = reference.log(), torch.eye(reference.shape[-1], dtype=reference.dtype, device=reference.device), max(1.0, self.kl_weight)
        while True:
            for _ in range(NEWTON):
                policy = logits.softmax(-1)
                off = logits - reference.log() - _product(chance, policy) / weight
                if off.abs().max() <= 1e-12:
                    break
                spread = torch.diag_embed(policy) - policy.unsqueeze(-1) * policy.unsqueeze(-2)
                logits = logits - torch.linalg.solve(eye - chance @ spread / weight, off)  # never singular: a preference is antisymmetric but for 1/2
            if weight == self.kl_weight:
                policy = logits.softmax(-1)
                return torch.where(policy.isfinite().all(-1, keepdim=True), policy, reference)
            weight = max(weight / SMALLER, self.kl_weight)

    def correlated(self, *, coarse: bool = False) -> Tensor:
        """The correlated equilibrium of a matrix game whose payoffs have the largest sum, `[S, m, n]`, by a linear program (Aumann 1974).

        Args:
            coarse: players decide whether to follow before they are told what to do (Moulin and Vial 1978), which more distributions survive.

        Raises:
            BadInput: no matrix game, payoffs that lie too far apart for the program, or SciPy is missing.
        """
        if not self.is_matrix:
            raise BadInput("finite game: correlated equilibria are computed of matrix games")
        check_solver()
        tables = (game.matrices.cpu().numpy() for game in (self.normal, self))
        found = [_correlated(payoff, paid.sum(0), coarse) for payoff, paid in zip(*tables, strict=True)]
        return torch.from_numpy(np.stack(found)).to(self.payoff.device)


def _far(farthest: Tensor, left: Tensor | None = None) -> BadInput:
    """What is said of a game whose equilibrium a linear program does not find; both in ordinary distances between payoffs."""
    off = "" if left is None else f" (what it finds is exploitable by {left.item():.2g} of that)"
    why = f"finite game: payoffs lie too far apart for a linear program, one {farthest.item():.2g} times as far from the median as is ordinary"
    return BadInput(f"{why}{off}: bring them nearer together, or train cfr on it")


def _correlated(payoff: np.ndarray, total: np.ndarray, coarse: bool) -> np.ndarray:
    """Of one game in ordinary numbers (`normal`), `[2, m, n]`, what has the largest mean of a table `[m, n]`."""
    shape, rows = payoff.shape[1:], []
    for player in range(PLAYERS):
        mine = payoff[player] if player == 0 else payoff[player].T
        for deviation in range(len(mine)):
            better = mine - mine[deviation]  # [told, other]: what following pays more than the deviation
            for told in range(1 if coarse else len(mine)):
                if coarse or told != deviation:
                    row = better if coarse else np.where(np.arange(len(mine))[:, None] == told, better, 0.0)
                    rows.append((row if player == 0 else row.T).ravel())
    gain = np.concatenate([(total - np.median(total)).ravel(), np.zeros(len(rows))])
    equations = np.block([[np.array(rows), -np.eye(len(rows))], [np.ones((1, payoff[0].size)), np.zeros((1, len(rows)))]])
    farthest = np.abs(payoff).max()
    try:
        found = maximum(gain, equations, np.concatenate([np.zeros(len(rows)), [1.0]]))[: payoff[0].size]
    except RunFailed as error:
        raise _far(farthest) from error
    found /= found.sum()
    if (left := -(np.array(rows) @ found).min()) > SETTLED:
        raise _far(farthest, left)
    return found.reshape(shape)


def _product(table: Tensor, vector: Tensor) -> Tensor:
    """`[S, n]` of tables `[S or 1, n, m]` and vectors `[S, m]`."""
    return vector @ table[0].mT if len(table) == 1 else (table @ vector.unsqueeze(-1)).squeeze(-1)


def _shown(history: Any) -> str:
    """A history, information set or move for a message: one short line, whatever it is."""
    brief = Repr()
    brief.maxstring = brief.maxother = 60
    return " ".join(brief.repr(history).split())


def _number(given: Any) -> float | None:
    """A number as such; None of anything else, text and NaN among it."""
    try:
        number = None if isinstance(given, str | bytes) else float(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return None if number != number else number


def _pairs(given: Any) -> list[tuple[Any, Any]] | None:
    """A list of pairs; None of what is none."""
    try:
        return [(first, second) for first, second in given]
    except (TypeError, ValueError):
        return None


class _Walk:
    """A tree, walked once and depth first, from which the sequence form is made."""

    def __init__(self, follow: Callable[[Any], Chance | Turn | End], root: Any):
        self.sets: tuple[dict[Hashable, tuple[int, tuple[int, int] | None, tuple[str, ...]]], ...] = ({}, {})  # by what is seen: number, parent, moves
        self.ends: dict[tuple, list[float]] = {}  # by the last (set, action) of both: the chance, times it what both are paid, and the same's size
        self.actions = 0
        # What is left to walk: (history, the chance of what led there, of each player its last (set, action), None before its first move, moves until then).
        left: list[tuple[Any, float, tuple, int]] = [(root, 1.0, (None, None), 0)]
        walked = 0
        while left:
            history, chance, own, moves = left.pop()
            if (walked := walked + 1) > MOST_HISTORIES:
                raise BadInput(f"finite game: it has more than {MOST_HISTORIES:,} histories: take a smaller game")
            if moves > MOST_MOVES:
                raise BadInput(f"finite game: {MOST_MOVES:,} moves lead to the history {_shown(history)}, and it goes on: every history must come to an End")
            node = follow(history)
            if isinstance(node, End):
                self._end(history, node, chance, own)
            elif isinstance(node, Chance):
                left += [(after, chance * share, own, moves + 1) for share, after in reversed(self._outcomes(history, node))]
            elif isinstance(node, Turn):
                number, following = self._turn(history, node, own)
                for action, after in reversed(list(enumerate(following))):
                    left.append((after, chance, (own[0], (number, action)) if node.player else ((number, action), own[1]), moves + 1))
            else:
                raise BadInput(f"finite game: at the history {_shown(history)} follow gives {_shown(node)}, must be a Chance, a Turn or an End")

    def _end(self, history: Any, node: End, chance: float, own: tuple) -> None:
        try:
            paid = [] if isinstance(node.payoff, str) else [_number(each) for each in node.payoff]
        except TypeError:
            paid = []
        if len(paid) != PLAYERS or any(each is None or abs(each) > LARGEST for each in paid):
            where = f"the End at the history {_shown(history)}"
            raise BadInput(f"finite game: {where} pays {_shown(node.payoff)}, must be two finite numbers, at most {LARGEST:g} in size")
        here = self.ends.setdefault(own, [0.0] * (1 + 2 * PLAYERS))
        for number, add in enumerate((1.0, *paid, *map(abs, paid))):
            here[number] += chance * add

    def _outcomes(self, history: Any, node: Chance) -> list[tuple[float, Any]]:
        if not (outcomes := _pairs(node.outcomes)):
            what = f"the Chance at the history {_shown(history)} has outcomes {_shown(node.outcomes)}"
            raise BadInput(f"finite game: {what}, must be one or more (probability, what follows)")
        chance = [_number(share) for share, _ in outcomes]
        if any(share is None or share < 0 for share in chance) or abs(sum(chance) - 1) > ROUNDING:
            told = ", ".join(_shown(share) for share, _ in outcomes[:6])
            raise BadInput(f"finite game: chance's probabilities at the history {_shown(history)} are {told}, must be at least 0 and sum to 1")
        return [(share, after) for share, (_, after) in zip(chance, outcomes, strict=True)]

    def _turn(self, history: Any, node: Turn, own: tuple) -> tuple[int, Iterable[Any]]:
        """The number of the information set, and what follows each move."""
        where = f"the Turn at the history {_shown(history)}"
        if not isinstance(node.player, int | np.integer) or node.player not in range(PLAYERS):
            raise BadInput(f"finite game: {where} is of player {_shown(node.player)}, must be 0 or 1")
        try:
            hash(node.seen)
        except TypeError:
            raise BadInput(f"finite game: {where} has seen {_shown(node.seen)}, must be hashable, such as text or a tuple") from None
        if node.seen != node.seen:
            raise BadInput(f"finite game: {where} has seen {_shown(node.seen)}, which is not the same as itself: take text or a tuple")
        if not (pairs := _pairs(node.moves)):
            raise BadInput(f"finite game: {where} has moves {_shown(node.moves)}, must be one or more (name, what follows)")
        names = tuple(str(name) for name, _ in pairs)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadInput(f"finite game: the information set {_shown(node.seen)} of player {node.player + 1} has two moves {_shown(twice)}")
        sets, mine = self.sets[node.player], own[node.player]
        number, parent, moves = sets.setdefault(node.seen, (len(sets), mine, names))
        if parent != mine or moves != names:
            why = "its player has forgotten what it did" if parent != mine else f"its moves are {_shown(moves)} and {_shown(names)}"
            raise BadInput(f"finite game: the information set {_shown(node.seen)} of player {node.player + 1} is none: {why}")
        self.actions = max(self.actions, len(names))
        if (size := 1 + len(sets) * self.actions) > MOST_SEQUENCES:
            raise BadInput(f"finite game: player {node.player + 1} has {size:,} sequences or more, there can be {MOST_SEQUENCES:,}: take a smaller game")
        return number, [after for _, after in pairs]

    def game(self) -> FiniteGame:
        if not all(self.sets):
            raise BadInput(f"finite game: player {1 if not self.sets[0] else 2} never moves")
        actions, first = self.actions, len(self.sets[0])
        sizes = [1 + len(sets) * actions for sets in self.sets]
        if max(sizes) > MOST_SEQUENCES:  # as many of a player as have the most actions of both
            raise BadInput(f"finite game: a player has {max(sizes):,} sequences, there can be {MOST_SEQUENCES:,}: take a smaller game")
        table = torch.zeros(1 + PLAYERS, *sizes, dtype=torch.float64)
        for own, sums in self.ends.items():
            x, y = (0 if last is None else 1 + last[0] * actions + last[1] for last in own)
            pays = [0.0 if abs(paid) <= EXACT * size else paid for paid, size in zip(sums[1:3], sums[3:], strict=True)]  # what sums to nothing but for rounding
            table[:, x, y] = torch.tensor([sums[0], *pays], dtype=torch.float64)
        entries = [(player, seen, *entry) for player, sets in enumerate(self.sets) for seen, entry in sets.items()]
        parent = [-1 if before is None else (before[0] + first * player) * actions + before[1] for player, _, _, before, _ in entries]
        available = torch.tensor([[place < len(moves) for place in range(actions)] for *_, moves in entries])
        sets, moves = tuple(str(seen) for _, seen, *_ in entries), tuple(moves for *_, moves in entries)
        player = torch.tensor([player for player, *_ in entries])
        return FiniteGame(table[1:].unsqueeze(0), table[0], available, torch.tensor(parent), player, sets, moves)
