"""Block MDPs: a small finite MDP is hidden, and what is seen are pictures of its state under noise, all rows in one NumPy computation.

Every picture has one state that it can be of (the *block* property), so that nothing is lost; but no picture is ever seen twice. Noise is of three kinds:

- *iid*: beside the state two blobs are seen somewhere, anew in each frame;
- *exogenous*: the same blobs wander, whatever is done. A single picture is distributed as before;
- *mimic*: in the place of the blobs are two more chains of the same hidden MDP, in which `habit` acts and nobody else. A video of somebody who follows the
  habit looks the same whichever of the three chains is the one that obeys: nothing but actions tells. The hard instance of the lower bound of Misra et al.
  2024 (arXiv:2403.13765), in which one chain of many obeys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from gymnasium import spaces

from operant.core.seeds import derive_seed
from operant.worlds.gym.native import NativeEnvironments
from operant.worlds.tabular.problems import TABLES

SIDE, COLOURS, OWN = 8, 3, 1  # of a picture; the state is seen in the second colour
BRIGHT, HAZE = 200, 55  # of what is shown, and how much is added to every pixel at the most: together a byte
STAYS = 0.1  # chance that a blob does not move on


class BlockEnvironments(NativeEnvironments):
    """Native environments of which a picture `[8, 8, 3]` of bytes is seen, and a finite MDP is hidden: one of the named tasks `tabular:…`, whose optimum is
    known.

    Each state is a pattern of pixels, bright in green; two others are seen in red and in blue; uniform noise of up to 55 is added to each pixel. A fresh draw
    of a row's own generator makes each frame.

    Attributes:
        task: the hidden MDP's name, of its seed 0.
        noise: see the module.
        transition, reward, initial, habit: `[K, A, K]`, `[K, A]`, `[K]` and, of what is done in the videos that encoders learn from, `[K, A]`.
        patterns: `[K, 8, 8]` bool, where a state is bright.
        hidden, outcome: `[R]`, the state of each row, and the one that its last step led to, also where a new episode began behind it.
    """

    task: str
    noise: Literal["iid", "exogenous", "mimic"]
    _saved = ("_chains", "_outcome", "_picture")

    def __init__(self, row_seeds: Sequence[int], max_episode_steps: int | None = None):
        table = TABLES[self.task]
        self.transition, self.reward, self.initial = (found[0].numpy() for found in table.build(table.states, table.actions, (0,)))
        self.limit = table.horizon(table.states) if callable(table.horizon) else table.horizon
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, COLOURS), np.uint8)
        self.action_space = spaces.Discrete(table.actions)
        self.patterns, self.habit = self._patterns(), self._habit()
        super().__init__(row_seeds, max_episode_steps)

    @property
    def hidden(self) -> np.ndarray:
        return self._chains[:, OWN].copy()

    @property
    def outcome(self) -> np.ndarray:
        return self._outcome.copy()

    def _patterns(self) -> np.ndarray:
        raise NotImplementedError

    def _habit(self) -> np.ndarray:
        raise NotImplementedError

    def _allocate(self):
        self._chains = np.zeros((self.rows, COLOURS), np.int64)  # the state, and on both sides of it the places of blobs, or other states
        self._outcome = np.zeros(self.rows, np.int64)
        self._picture = np.zeros((self.rows, SIDE * SIDE * COLOURS), np.float32)
        self._draws = np.zeros((self.rows, COLOURS + SIDE * SIDE * COLOURS))
        self._shown = _blobs() if self.noise != "mimic" else self.patterns  # beside the state
        self._moves = self.transition.cumsum(-1)
        self._habits = np.einsum("ka,kaj->kj", self.habit, self.transition).cumsum(-1)

    def _place(self, row, generator):
        generator.random(out=self._draws[row])
        draw = self._draws[row, :COLOURS]
        first = _drawn(np.broadcast_to(self.initial.cumsum(), (COLOURS, len(self.initial))), draw)
        self._chains[row] = first if self.noise == "mimic" else np.floor(draw * len(self._shown))
        self._chains[row, OWN] = first[OWN]
        self._show(slice(row, row + 1))
        return self._picture[row]

    def _advance(self, action):
        for generator, draw in zip(self._generators, self._draws, strict=True):
            generator.random(out=draw)
        before, draw = self._chains[:, OWN], self._draws[:, :COLOURS]
        reward = self._chosen(self.reward.T, action)[np.arange(self.rows), before].astype(np.float32)
        self._outcome[:] = self._chains[:, OWN] = _drawn(self._moves[before, action], draw[:, OWN])
        for colour, way in ((0, (0, 1)), (2, (1, 0))):  # rightwards, downwards
            chain, chance = self._chains[:, colour], draw[:, colour]
            if self.noise == "mimic":
                self._chains[:, colour] = _drawn(self._habits[chain], chance)
            elif self.noise == "iid":
                self._chains[:, colour] = np.floor(chance * len(self._shown))
            else:
                y, x = np.divmod(chain, SIDE)
                moves = chance >= STAYS
                self._chains[:, colour] = (y + way[0] * moves) % SIDE * SIDE + (x + way[1] * moves) % SIDE
        self._show(slice(None))
        return reward, self._false.copy()

    def _show(self, rows: slice) -> None:
        """Draw the pictures of some rows."""
        chains, haze = self._chains[rows], self._draws[rows, COLOURS:]
        bright = np.stack([(self.patterns if colour == OWN else self._shown)[chains[:, colour]] for colour in range(COLOURS)], -1)
        self._picture[rows] = BRIGHT * bright.reshape(len(chains), -1) + np.floor(haze * (HAZE + 1))

    def _observe(self):
        return self._picture.copy()


class BlockGrid(BlockEnvironments):
    """A walk over 4 × 4 places (`tabular:corner`), each shown as 2 × 2 pixels. In videos actions are uniformly random."""

    env_id = "block-grid"
    task, noise = "corner", "iid"

    def _patterns(self):
        place = np.arange(len(self.initial)).reshape(4, 4).repeat(2, 0).repeat(2, 1)
        return place == np.arange(len(self.initial))[:, None, None]

    def _habit(self):
        return np.full(self.reward.shape, 1 / self.reward.shape[1])


class BlockLock(BlockEnvironments):
    """A combination lock (`tabular:combination-lock`), whose places are shown as patterns of eight pixels. In videos the right action is taken 8 times in
    10."""

    env_id = "block-lock"
    task, noise = "combination-lock", "iid"

    def _patterns(self):
        rng = np.random.default_rng(derive_seed(0, "block-lock"))
        bright = np.stack([rng.permutation(SIDE * SIDE) < SIDE for _ in self.initial])
        return bright.reshape(-1, SIDE, SIDE)

    def _habit(self):
        opens = (self.transition[..., -1] == 0) | (self.reward == 1)  # the last state is where it ends, well or not
        return 0.8 * opens / opens.sum(1, keepdims=True).clip(1) + (1 - 0.8 * opens.any(1, keepdims=True)) / opens.shape[1]


class BlockGridExogenous(BlockGrid):
    """The same walk, beside which blobs wander."""

    env_id, noise = "block-grid-exogenous", "exogenous"


class BlockGridMimic(BlockGrid):
    """The same walk beside two that nobody controls."""

    env_id, noise = "block-grid-mimic", "mimic"


class BlockLockExogenous(BlockLock):
    """The same lock, beside which blobs wander."""

    env_id, noise = "block-lock-exogenous", "exogenous"


class BlockLockMimic(BlockLock):
    """The same lock beside two that nobody turns."""

    env_id, noise = "block-lock-mimic", "mimic"


BLOCKS = (BlockGrid, BlockGridExogenous, BlockGridMimic, BlockLock, BlockLockExogenous, BlockLockMimic)


def _blobs() -> np.ndarray:
    """Blobs of 2 × 2 pixels at each place, over the edges, `[64, 8, 8]` bool."""
    one = np.zeros((SIDE, SIDE), bool)
    one[:2, :2] = True
    return np.stack([np.roll(one, (y, x), (0, 1)) for y in range(SIDE) for x in range(SIDE)])


def _drawn(cumulative: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Choices `[R]` of cumulative chances `[R, K]` by uniform draws `[R]`; never one of chance 0 at the end, where rounding leaves sums below 1."""
    return (draw[:, None] * cumulative[:, -1:] >= cumulative).sum(1)
