"""Atari games as agents are trained on them: the usual preprocessing, of grey frames, as `gymnasium.wrappers.AtariPreprocessing` has it.

That one gives the same frames, up to a rounding of its image library, which this one does without. Where a game ends in the midst of an action, this shows the
screen as it is then, Gymnasium's the brighter of two screens of before.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.worlds.gym.snapshot import Whole

SIDE = 84
FRAMES = 4  # that an action lasts, and that are seen at a time
NOOPS = 30
STEPS = 27_000  # of an episode: ALE cuts one at 108,000 frames
MADE = {"frameskip": 1, "obs_type": "grayscale"}  # how the environment inside is made


def is_atari(spec: gymnasium.envs.registration.EnvSpec) -> bool:
    """Whether an id is a game of the Arcade Learning Environment that is seen as pictures, with as many frames an action each time."""
    kwargs = spec.kwargs
    return str(spec.entry_point).startswith("ale_py") and kwargs.get("obs_type", "rgb") != "ram" and isinstance(kwargs.get("frameskip", 4), int)


def hush() -> None:
    """Let ALE print nothing but errors: it greets whoever makes its first game."""
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class AtariFrames(Whole):
    """A game in steps of several frames: the brighter of the last two, shrunk to 84 × 84 bytes.

    Args:
        env: of ALE, made with `MADE`.
        repeat: frames that an action lasts.
        noops: an episode begins with 1 to so many frames in which nothing is done; 0 for none.
        episodic_life: an episode ends where a life is lost, and the next one goes on from there.
    """

    def __init__(self, env: gymnasium.Env, repeat: int = FRAMES, noops: int = NOOPS, *, episodic_life: bool = False):
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
        self._ale, self._repeat, self._noops, self._episodic_life = env.unwrapped.ale, repeat, noops, episodic_life
        known = self._ale.getLegalActionSet()
        self._actions = known if env.action_space.n == len(known) else self._ale.getMinimalActionSet()
        height, width = env.observation_space.shape
        self._screens = np.zeros((2, height, width), np.uint8)  # the last two
        self._shrink = _Shrink(height, width)
        self._lives, self._over = 0, True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        if self._episodic_life and seed is None and not self._over:
            self._ale.act(self._actions[0])  # the game goes on
        else:
            self.env.reset(seed=seed, options=options)
            noops = self.unwrapped.np_random.integers(1, self._noops + 1) if self._noops else 0
            for _ in range(noops):
                self._ale.act(self._actions[0])
                if self._ale.game_over() or self._ale.game_truncated():
                    self.env.reset()
        self._lives, self._over = self._ale.lives(), False
        self._ale.getScreenGrayscale(self._screens[0])
        return self._shrink(self._screens[0]), {"lives": self._lives}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        ale, chosen, reward = self._ale, self._actions[action], 0.0
        for frame in range(self._repeat):
            reward += ale.act(chosen)
            terminated, truncated = ale.game_over(with_truncation=False), ale.game_truncated()
            if over := terminated or truncated:
                break
            if frame == self._repeat - 2:
                ale.getScreenGrayscale(self._screens[1])
        ale.getScreenGrayscale(self._screens[0])
        whole = self._repeat > 1 and not over
        seen = self._shrink(np.maximum(*self._screens) if whole else self._screens[0])
        lives = ale.lives()
        terminated |= self._episodic_life and lives < self._lives
        self._lives, self._over = lives, over
        return seen, float(reward), terminated, truncated, {"lives": lives}

    def state_dict(self) -> dict:
        """The machine itself, with its random numbers, and those of the beginnings."""
        emulator = np.frombuffer(self._ale.cloneState(include_rng=True).__getstate__(), np.uint8).copy()
        return {"emulator": emulator, "draws": self.unwrapped.np_random, "lives": self._lives, "over": self._over, "screens": self._screens.copy()}

    def load_state_dict(self, state: dict) -> None:
        kind = type(self._ale.cloneState(include_rng=True))
        machine = kind.__new__(kind)
        machine.__setstate__(state["emulator"].tobytes())
        self._ale.restoreState(machine)
        self.unwrapped.np_random = state["draws"]
        self._lives, self._over, self._screens[...] = state["lives"], state["over"], state["screens"]


class _Shrink:
    """Each pixel of the small picture is the mean of the area that it covers: whole numbers until the last division, so that it is exact."""

    def __init__(self, height: int, width: int):
        self._rows, self._columns = _shares(height), _shares(width)
        self._area = float(self._rows[0].sum() * self._columns[0].sum())

    def __call__(self, screen: np.ndarray) -> np.ndarray:
        rows, columns = self._rows, self._columns
        found = screen.astype(np.float32).reshape(-1, columns.shape[1]) @ columns.T
        found = rows @ found.reshape(-1, rows.shape[1], SIDE)
        return np.rint(found.reshape(SIDE, SIDE) / self._area).astype(np.uint8)


def _shares(length: int) -> np.ndarray:
    """What each of n pixels takes of m others, `[n, m]` whole numbers, where m : n is `length` : 84 in lowest terms: the pattern repeats."""
    shared = gcd(length, SIDE)
    many, few = length // shared, SIDE // shared
    # In units of which an old pixel has `few` and a new one `many`.
    old, new = np.arange(many) * few, np.arange(few)[:, None] * many
    return np.clip(np.minimum(old + few, new + many) - np.maximum(old, new), 0, None).astype(np.float32)
