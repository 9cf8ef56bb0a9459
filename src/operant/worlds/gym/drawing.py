"""Episodes of a policy as pictures, or in a window that the environment opens itself."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.errors import CODE, BadInput, OperantError, one_line
from operant.worlds.base import Drawn, NothingToDraw
from operant.worlds.gym.adapter import VectorEnvironments, callable_name
from operant.worlds.gym.beds import BEDS
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.ids import registered
from operant.worlds.gym.tensors import TensorEnvironment, TensorRows
from operant.worlds.gym.views import within

Drawing = gymnasium.Env | TensorEnvironment
FPS = 30  # of an environment that does not say


def draw_episodes(
    make: Callable[..., Environments],
    env: str | Callable[..., gymnasium.Env],
    policy: Any,
    seed: int,
    most_steps: int,
    *,
    repeat: int = 1,
    window: bool = False,
) -> Iterator[Drawn]:
    """Episodes of a policy's mode, one behind the other, each step as it was drawn: the start of the first, and what follows each step. They do not end.

    Args:
        make: the environment's rows, from their seeds and `env_kwargs`; native ids are drawn by Gymnasium's original.
        env: what it makes, an id or a callable that takes `render_mode`.
        policy: of one seed.
        seed: of the first episode; the others follow from it.
        most_steps: of an episode, which is cut there.
        repeat: steps of the environment that an action lasts.
        window: the environment draws into a window of its own, and gives no pictures.

    Raises:
        NothingToDraw: the environment draws nothing, or cannot here (no display, no pygame).
        BadInput, RunFailed: as `make_environments`.
    """
    name = _called(env)
    if not window:
        _draw_into_memory(name, env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns once a call that there is no display
        environments, drawn = _drawing(make, env, seed, "human" if window else "rgb_array")
        try:
            yield from _steps(name, environments, drawn, policy, most_steps, repeat, window)
        finally:
            environments.close()


def undrawn(make: Callable[..., Environments], env: str | Callable[..., gymnasium.Env]) -> str:
    """Why `draw_episodes` would have no pictures of an environment, whatever this machine has to draw with; empty where it would have some."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever trains on it has heard them
        try:
            _drawing(make, env, 0, "rgb_array")[0].close()
        except OperantError as error:
            return str(error)
    return ""


def _drawing(make: Callable[..., Environments], env: str | Callable[..., gymnasium.Env], seed: int, mode: str) -> tuple[Environments, Drawing]:
    """One row that draws, and what draws it. Raises `NothingToDraw` where it does not draw so."""
    name = _called(env)
    try:
        environments = make([seed], env_kwargs={"render_mode": mode})
    except BadInput as error:
        if isinstance(error.__cause__, TypeError):
            raise NothingToDraw(f"{name} takes no argument render_mode: let what makes it take one, and pass it on") from error
        raise
    try:
        inner = within(environments)
        if isinstance(inner, VectorEnvironments):
            raise NothingToDraw(f"{name} makes a vector environment, of which none is drawn: train on a function that makes one environment")
        drawn = inner.env if isinstance(inner, TensorRows) else inner.envs[0]
        if mode not in (drawn.metadata or {}).get("render_modes", ()):
            raise NothingToDraw(f"{name} does not draw: its render_modes have no {mode}")
    except BaseException:
        environments.close()
        raise
    return environments, drawn


def _called(env: str | Callable[..., gymnasium.Env]) -> str:
    """How messages call what is drawn. Raises `NothingToDraw` for a test bed."""
    if isinstance(env, str):
        if env in BEDS:
            raise NothingToDraw(f"{env} is a test bed that draws nothing")
        return env
    return f"{getattr(env, '__module__', '')}.{callable_name(env)}".removeprefix("__main__.").lstrip(".")


def _steps(name: str, environments: Environments, drawn: Drawing, policy: Any, most_steps: int, repeat: int, window: bool) -> Iterator[Drawn]:
    fps = float((drawn.metadata or {}).get("render_fps") or FPS) / repeat

    def picture() -> np.ndarray | None:
        if window:
            return None
        try:
            found = drawn.render()
        except CODE as error:  # each drawing library fails in its own way
            raise NothingToDraw(f"{name} cannot draw here: {type(error).__name__}: {one_line(error, 100)}") from error
        if not isinstance(found, np.ndarray) or found.ndim != 3 or found.shape[2] != 3:
            raise NothingToDraw(f"{name} draws no picture [height, width, 3] but {one_line(found, 60)}")
        return np.array(found, np.uint8)

    try:
        observation, carry = environments.reset(), None
    except CODE as error:
        if window:
            raise NothingToDraw(f"{name} opens no window here: {one_line(error, 100)}") from error
        raise
    total, steps = 0.0, 0
    yield Drawn(picture(), fps, total, steps, False, False)
    while True:
        action, carry = policy.act(torch.from_numpy(observation).view(1, 1, -1), carry)
        step = environments.step(action.reshape(1, *action.shape[2:]))
        total, steps, observation = total + float(step.reward[0]), steps + 1, step.observation
        over, cut = bool(step.terminated[0] or step.truncated[0]), steps == most_steps
        if cut and not over:
            observation = environments.reset()
        yield Drawn(picture(), fps, total, steps, over, cut and not over)
        if over or cut:
            total, steps, carry = 0.0, 0, None


def _draw_into_memory(name: str, env: str | Callable[..., gymnasium.Env]) -> None:
    """Without these pygame looks for a display and complains when there is none."""
    drawn = sys.modules if callable(env) else str(gymnasium.registry[registered(env)].entry_point)  # what a callable makes has been made before
    if not _can_draw_mujoco() and "mujoco" in drawn:
        raise NothingToDraw(f"{name}: MuJoCo has nothing to draw with here: no display, and no EGL library")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())


@cache
def _can_draw_mujoco() -> bool:
    """Whether MuJoCo has something to draw with. Without a display GLFW fails in a way that can end the process later, so EGL is taken where there is one."""
    if not sys.platform.startswith("linux") or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"}:
        return True
    if find_library("EGL") is None:
        return False
    os.environ["MUJOCO_GL"] = "egl"
    return True
