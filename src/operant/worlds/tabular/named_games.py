"""The finite games that have names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import torch

from operant.core.seeds import derive_seed
from operant.worlds.tabular.games import Chance, End, FiniteGame, Turn

F64 = torch.float64


@dataclass(frozen=True)
class NamedGame:
    """A named finite game.

    Attributes:
        build: `(seeds, **sizes) → FiniteGame`.
        sizes: defaults of the options that a person may choose.
        own: each seed has an instance of its own.
    """

    build: Callable[..., FiniteGame]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False


def bimatrix(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *moves: str) -> NamedGame:
    """Two players with the same moves, and what both are paid."""
    payoff = torch.tensor([first, second], dtype=F64)[None]
    return NamedGame(lambda seeds: FiniteGame.matrix(payoff, [moves, moves]))


def rock_paper_scissors(seeds: Sequence[int], rock: float) -> FiniteGame:
    """A win pays 1, by rock `rock`; the equilibrium plays paper so much more often than each of the others."""
    wins = torch.tensor([[0, -1, rock], [1, 0, -1], [-rock, 1, 0]], dtype=F64)
    return FiniteGame.matrix(torch.stack([wins, -wins])[None], [("rock", "paper", "scissors")] * 2)


def random_zero_sum(seeds: Sequence[int], actions: int) -> FiniteGame:
    """Payoffs of the first player are uniform in [-1, 1]."""
    wins = torch.stack([2 * torch.rand(actions, actions, generator=_generator(seed, "zero-sum"), dtype=F64) - 1 for seed in seeds])
    return FiniteGame.matrix(torch.stack([wins, -wins], 1))


def random_preference(seeds: Sequence[int], actions: int, kl_weight: float) -> FiniteGame:
    """P(a ≻ b) is the logistic function of an antisymmetric matrix of standard normal numbers, which no order of the answers explains. With a KL weight the
    reference policy is the softmax of standard normal numbers."""
    normal = torch.stack([torch.randn(actions, actions, generator=_generator(seed, "preference"), dtype=F64).triu(1) for seed in seeds])
    chance = torch.sigmoid(normal - normal.mT)
    reference = torch.stack([torch.randn(actions, generator=_generator(seed, "reference"), dtype=F64).softmax(-1) for seed in seeds]) if kl_weight else None
    return FiniteGame.preferences((chance + 1 - chance.mT) / 2, reference, kl_weight)


def kuhn(history: tuple[str, str] | None) -> Chance | Turn | End:
    """Kuhn poker (Kuhn 1950): one card each of J, Q, K, an ante of 1 and one bet of 1. A history is (cards, moves): p passes, b bets or calls."""
    if history is None:
        return Chance([(1 / 6, ("".join(cards), "")) for cards in permutations("JQK", 2)])
    cards, moves = history
    wins = 1 if "JQK".index(cards[0]) > "JQK".index(cards[1]) else -1
    ends = {"pp": wins, "bb": 2 * wins, "pbb": 2 * wins, "bp": 1, "pbp": -1}
    if moves in ends:
        return End((ends[moves], -ends[moves]))
    player = len(moves) % 2
    names = ("fold", "call") if moves.endswith("b") else ("pass", "bet")
    seen = f"{cards[player]}{', after ' * bool(moves)}{', '.join({'p': 'pass', 'b': 'bet'}[move] for move in moves)}"
    return Turn(player, seen, [(name, (cards, moves + move)) for name, move in zip(names, "pb", strict=True)])


def leduc(history: tuple[str, tuple[str, ...]] | None) -> Chance | Turn | End:
    """Leduc poker (Southey et al. 2005): two cards each of J, Q, K, whose suits do not count, a private card each, and a public one after the first of two
    rounds of betting. An ante of 1; bets and raises are 2 in the first round and 4 in the second, two of them in each at most. A history is (cards, moves of
    each round), the public card behind the private ones: f folds, c checks or calls, r bets or raises."""
    deck = "JJQQKK"
    if history is None:
        deals = [(f"{deck[first]}{deck[second]}", ("",)) for first, second in permutations(range(6), 2)]
        return Chance([(deals.count(deal) / len(deals), deal) for deal in dict.fromkeys(deals)])
    cards, rounds = history
    now, player = rounds[-1], len(rounds[-1]) % 2
    if now.endswith("f"):
        return End(_folded(rounds, player))
    over = len(now) > 1 and now.endswith("c")
    if over and len(rounds) == 1:
        left = list(deck)
        for card in cards:
            left.remove(card)
        return Chance([(left.count(card) / len(left), (cards + card, (now, ""))) for card in dict.fromkeys(left)])
    if over:
        rank = [("JQK".index(card) + 3 * (card == cards[2])) for card in cards[:2]]
        pot = _paid(rounds)[0]
        win = pot * ((rank[0] > rank[1]) - (rank[0] < rank[1]))
        return End((win, -win))
    raised = now.endswith("r")
    moves = [("fold", "f")] * raised + [("call" if raised else "check", "c")] + [("raise" if raised else "bet", "r")] * (now.count("r") < 2)
    told = " | ".join(", ".join(_words(each)) for each in rounds if each)
    seen = f"{cards[player]}{f' with {cards[2]} on the table' if len(cards) == 3 else ''}{f', after {told}' if rounds != ('',) else ''}"
    return Turn(player, seen, [(name, (cards, (*rounds[:-1], now + move))) for name, move in moves])


def _paid(rounds: Sequence[str]) -> list[int]:
    """What both players have put into the pot."""
    paid = [1, 1]
    for number, moves in enumerate(rounds):
        for place, move in enumerate(moves):
            if move != "f":
                paid[place % 2] = max(paid) + (2, 4)[number] * (move == "r")
    return paid


def _folded(rounds: Sequence[str], winner: int) -> tuple[int, int]:
    lost = _paid(rounds)[1 - winner]
    return (lost, -lost) if winner == 0 else (-lost, lost)


def _words(moves: str) -> list[str]:
    """A round of betting in words."""
    found = []
    for place, move in enumerate(moves):
        raised = "r" in moves[:place]
        found.append({"f": "fold", "c": "call" if moves[:place].endswith("r") else "check", "r": "raise" if raised else "bet"}[move])
    return found


NAMED_GAMES = {
    "rock-paper-scissors": NamedGame(rock_paper_scissors, {"rock": 1.0}),
    "matching-pennies": bimatrix([[1, -1], [-1, 1]], [[-1, 1], [1, -1]], "heads", "tails"),
    "prisoners-dilemma": bimatrix([[3, 0], [5, 1]], [[3, 5], [0, 1]], "cooperate", "defect"),
    "battle-of-the-sexes": bimatrix([[2, 0], [0, 1]], [[1, 0], [0, 2]], "opera", "football"),
    "chicken": bimatrix([[6, 2], [7, 0]], [[6, 7], [2, 0]], "yield", "dare"),
    "random-zero-sum": NamedGame(random_zero_sum, {"actions": 10}, own=True),
    "random-preference": NamedGame(random_preference, {"actions": 10, "kl_weight": 0.0}, own=True),
    "regularized-preference": NamedGame(random_preference, {"actions": 10, "kl_weight": 0.1}, own=True),
    "kuhn-poker": NamedGame(lambda seeds: FiniteGame.extensive(None, kuhn)),
    "leduc-poker": NamedGame(lambda seeds: FiniteGame.extensive(None, leduc)),
}


def _generator(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "tabular", name))
