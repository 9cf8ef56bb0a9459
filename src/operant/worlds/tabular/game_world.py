"""The world of finite games, where exploitability is computed and not estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, unknown
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import read_settings
from operant.nets.finite import FinitePolicy
from operant.worlds.base import World
from operant.worlds.data.formats import read_arrays
from operant.worlds.tabular.arrays import table_of
from operant.worlds.tabular.games import PLAYERS, FiniteGame
from operant.worlds.tabular.named_games import NAMED_GAMES, NamedGame
from operant.worlds.tabular.options import TabularOptions

FILE_ARRAYS = {"payoff": "m, n] or [2, m, n", "preference": "n, n", "reference": "n", "kl_weight": ""}
"""The arrays of a file that holds a game, and their axes."""
OF_GAMES = ("payoff", "preference")  # a file that has one of these holds a game
ITERATIONS = 1_000


class GameWorld(World):
    """One finite game, or one for each seed, which a policy plays against itself: it is both players' strategies, a table over all information sets.

    The score of a policy is its worst-case value: what it is paid at the least, against the opponent that is worst for it, mean over both players.

    Args:
        task: one of `NAMED_GAMES`, a file `PATH.npz` of payoffs or preferences (see docs/extending.md), or a game that is ready.
        named: what a game that is ready is called.
        options: fields of `TabularOptions`, values or text.

    Raises:
        BadInput: an unknown name or option, an option that the game does not have, a file that holds no game, more than the machine's memory.
    """

    kind = "tabular"
    option_type = TabularOptions
    stacked = True
    score = "worst-case value"
    step_unit = "iterations"
    acts = True
    exact = True
    is_game = True
    default_steps = ITERATIONS

    def __init__(self, task: str | FiniteGame, *, named: str = "a game", **options: Any):
        name = task if isinstance(task, str) else named
        self.file = Path(name).expanduser().resolve() if name.endswith(".npz") else None
        self.task = f"tabular:{name if self.file is None else self.file}"
        if isinstance(task, str) and self.file is None and name not in NAMED_GAMES:
            raise unknown("finite game", name, NAMED_GAMES)
        self.options: TabularOptions = read_settings(TabularOptions, options, self.task, "option")
        self._named, self._found = NAMED_GAMES.get(name, _GIVEN), {}
        sizes = self._named.sizes if self.file is None else {"kl_weight": None}
        if (other := next((option for option in self.options.given() if option not in sizes), None)) is not None:
            raise BadInput(f"{self.task} has no option {other}: it is a game, of which {' and '.join(sizes) or 'nothing'} can be chosen")
        self._given = task if isinstance(task, FiniteGame) else None if self.file is None else _read(self.file, self.options.kl_weight)
        game = self._game((0,))
        self.shape, self._uniform = game.shape, game.uniform

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(NAMED_GAMES, "finite game of two players, exact truth (also a file of payoffs, tabular:PATH.npz)")

    def fingerprint(self) -> str:
        game = self._game((0,))
        told = "" if game.reference is None else f" {game.reference.square().sum().item()!r} {game.kl_weight}"
        return f"{self.task} {list(self.shape)} {game.payoff.square().sum().item()!r} {game.payoff[:, 0].sum().item()!r}{told}"

    def _game(self, seeds: Sequence[int]) -> FiniteGame:
        """The games of these seeds; the newest are kept."""
        if self._given is not None:
            return self._given
        seeds = tuple(seeds) if self._named.own else (0,)
        if seeds not in self._found:
            sizes = {name: default if getattr(self.options, name) is None else getattr(self.options, name) for name, default in self._named.sizes.items()}
            self._check_size(len(seeds), sizes.get("actions", 0))
            self._found = {seeds: self._named.build(seeds, **sizes)}
        return self._found[seeds]

    def _check_size(self, seeds: int, actions: int) -> None:
        what = f"{self.task} with {actions:,} actions{f' for each of {seeds:,} seeds' * (seeds > 1)}"
        check_memory(what, 4 * 8 * seeds * PLAYERS * (1 + actions) ** 2, "take fewer actions, or fewer seeds")

    def check_game(self, seeds: int) -> None:
        if self._named.own:
            self._check_size(seeds, self.shape[1])
        elif seeds > 1:
            self.notes = ("every seed plays the same game, and its methods draw nothing: seeds are alike, one is enough",)
        check_memory(f"policies of {seeds:,} seeds", 4 * 8 * seeds * math.prod(self.shape), "take fewer seeds")

    def check_mdp(self, seeds: int) -> None:
        raise BadInput(f"{self.task} is a game, and this planner needs a finite MDP: take tabular:river-swim, or cfr for the game")

    def game(self, streams: Streams) -> FiniteGame:
        return self._game(streams.seeds)

    def policy(self, net: Any, streams: Streams) -> FinitePolicy:
        policy = FinitePolicy(streams.seeds, self.shape)
        policy.probabilities.copy_(self._uniform.expand_as(policy.probabilities))
        return policy

    def strategies(self, policy: FinitePolicy) -> list[list[dict[str, Any]]]:
        game = self._game(policy.seeds)
        return [game.described(table) for table in policy.probabilities.cpu()]

    def act(self, policy: FinitePolicy, observation: Any, action_mask: Any = None, carry: Tensor | None = None) -> tuple[Any, None]:
        """The name of the likeliest move in an information set, or of each in a list of them. A set is named as `operant solve` prints it; where both players
        have one of that name, (player, name) with 1 or 2 says whose. No mask is known here, and nothing is carried on."""
        if action_mask is not None:
            raise BadInput(f"{self.task}: action_mask is given, and every move of an information set can be made")
        rows = self.strategies(policy)[0]
        found = [max(chance, key=chance.get) for chance in (self._at(rows, each) for each in (observation if isinstance(observation, list) else [observation]))]
        return found if isinstance(observation, list) else found[0], None

    def _at(self, rows: list[dict[str, Any]], information_set: Any) -> dict[str, float]:
        """The probabilities of the moves in an information set."""
        player, seen = information_set if isinstance(information_set, tuple) and len(information_set) == PLAYERS else (None, information_set)
        found = [row for row in rows if row["seen"] == seen and player in (None, row["player"])]
        if not found:
            names = dict.fromkeys(row["seen"] for row in rows)
            raise BadInput(f"{self.task}: {unknown('information set', str(seen), names)}")
        if len(found) > 1:
            raise BadInput(f"{self.task}: several information sets are called {seen!r}: take {(found[0]['player'], seen)!r} or {(found[1]['player'], seen)!r}")
        return found[0]["policy"]

    def evaluate(self, policy: FinitePolicy, seeds: int, *, episodes: int = 1, seed: int = 0) -> Evaluation:
        """Of each policy its worst case, and how much best responses gain over it; of regularised games how far it is from the equilibrium."""
        game, probabilities = self._game(policy.seeds), policy.probabilities.cpu()
        measures = {"exploitability": game.exploitability(probabilities), "value of player 1": game.value(probabilities)[:, 0]}
        if game.kl_weight:
            best = game.regularized_equilibrium.expand(seeds, -1)
            measures["divergence from equilibrium"] = sum(ops.policy_divergence(best, half) for half in probabilities.unbind(1)) / PLAYERS
        worst = game.worst_case(probabilities).mean(-1, keepdim=True)
        return Evaluation(self.score, worst.numpy(), measures={name: of.numpy() for name, of in measures.items()})


_GIVEN = NamedGame(lambda seeds: NotImplemented)


def holds_game(path: Path) -> bool:
    """Whether a file holds a game, and no MDP, by the names of its arrays. Raises `BadInput` where it cannot be read."""
    return any(name in OF_GAMES for name in read_arrays(path, ())[1])


def _read(path: Path, kl_weight: float | None) -> FiniteGame:
    """The game of a file: `payoff` `[m, n]` of the first player, who is paid what the other pays, or `[2, m, n]` of both; or `preference` `[n, n]`, and as
    it is there `kl_weight`, in whose place an option comes, and `reference` (uniform)."""
    arrays, keys = read_arrays(path, FILE_ARRAYS)
    if (other := next((key for key in keys if key not in FILE_ARRAYS), None)) is not None:
        raise BadInput(f"{path}: {unknown('array', other, FILE_ARRAYS)}")
    tables = {name: _checked(path, name, array) for name, array in arrays.items()}
    if len([name for name in OF_GAMES if name in tables]) != 1:
        raise BadInput(f"{path} has {'both payoff and preference' if tables else 'neither payoff nor preference'}: a game has one of them")
    weight = kl_weight if kl_weight is not None else tables["kl_weight"].item() if "kl_weight" in tables else 0.0
    if "payoff" in tables and (weight or "reference" in tables):
        raise BadInput(f"{path}: a KL weight and a reference are of preference games: give preference in the place of payoff, or leave them out")
    try:
        if (payoff := tables.get("payoff")) is not None:
            return FiniteGame.matrix((torch.stack([payoff, -payoff]) if payoff.ndim == 2 else payoff).unsqueeze(0))
        chance, reference = tables["preference"], tables.get("reference")
        if reference is None:
            reference = torch.full((len(chance),), 1 / len(chance), dtype=torch.float64) if weight else None
        return FiniteGame.preferences(chance.unsqueeze(0), None if reference is None else reference.unsqueeze(0), weight)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _checked(path: Path, name: str, array: np.ndarray) -> Tensor:
    """One array of a file: finite numbers with the axes that it must have, in float64."""
    if not (axes := FILE_ARRAYS[name]):
        return table_of(path, name, array, array.size == 1, "one number").reshape(())
    counted = array.ndim == 2 or (array.ndim == 3 and len(array) == PLAYERS) if name == "payoff" else array.ndim == len(axes.split(", "))
    return table_of(path, name, array, array.size > 0 and counted, f"[{axes}]")
