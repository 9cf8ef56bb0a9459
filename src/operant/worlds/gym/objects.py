"""Tasks that are no registered ids: what makes an environment, by its name or as it is; `gym.make(…)` or a vector environment in its place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from operant.core.errors import CODE, BadInput, a_type, one_line
from operant.worlds.gym.ids import called

ADVICE = "give a function that makes one"


class Copies:
    """Makes copies of one environment, as it is now."""

    def __init__(self, env: gymnasium.Env, name: str):
        self.env, self.__qualname__ = env, name

    def __call__(self, **kwargs: Any) -> gymnasium.Env:
        # What was made to draw draws; what was not cannot be told to, as with a function that takes no such argument.
        if set(kwargs) - {"render_mode"} or kwargs.get("render_mode", self.env.render_mode) != self.env.render_mode:
            raise TypeError(f"an environment object takes no unexpected keyword argument {next(iter(kwargs))!r}")
        return copy.deepcopy(self.env)


class Rows:
    """Makes the environments of a vector environment's rows: row i of any number by its function i, and again from the first."""

    def __init__(self, functions: list[Callable[[], gymnasium.Env]], name: str):
        self.functions, self.__qualname__ = functions, name

    def of_row(self, row: int) -> Callable[..., gymnasium.Env]:
        return self.functions[row % len(self.functions)]

    def __call__(self, **kwargs: Any) -> gymnasium.Env:
        return self.functions[0](**kwargs)


def maker_of(task: Any) -> str | Callable[..., Any]:
    """What makes the environments of a task: an id, the callable itself or the one that `module:name` names, copies of an environment, the rows of a vector
    environment.

    An environment that cannot be copied is made again by its id and arguments (`env.spec`).

    Raises:
        BadInput: it can neither be copied nor made again, or is no environment at all; or a module that cannot be imported.
    """
    if isinstance(task, str):
        return called(task) or task
    if isinstance(task, VectorEnv):
        return _vector_maker(task)
    if isinstance(task, gymnasium.Env):
        return _maker(task)
    if callable(task):
        return task
    raise BadInput(f"{a_type(task)} is no environment: {ADVICE}")


def rows_given(task: Any) -> int | None:
    """How many rows a vector environment has that is a task, or what makes one was told to make; None of anything else."""
    if isinstance(task, VectorEnv):
        return task.num_envs
    return task.keywords.get("num_envs") if isinstance(task, partial) else None


def _maker(env: gymnasium.Env) -> Callable[..., gymnasium.Env]:
    spec = env.spec
    name = spec.id if spec is not None else type(env.unwrapped).__qualname__
    try:
        copy.deepcopy(env).close()
        return Copies(env, name)
    except CODE as error:  # an environment's own code, or a window or a process that it holds
        reason = f"{type(error).__name__}: {one_line(error, 100)}"
    try:
        gymnasium.make(spec).close()
    except CODE:  # no spec, or a wrapper that is not in it
        raise BadInput(f"environment {name!r} can neither be copied ({reason}) nor made again by its spec: {ADVICE}") from None
    return named(partial(gymnasium.make, spec), name)


def _vector_maker(env: VectorEnv) -> Callable[..., Any]:
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__qualname__
    if type(env) in (SyncVectorEnv, AsyncVectorEnv):
        return Rows(list(env.env_fns), name)
    if env is env.unwrapped and env.spec is not None:
        mode = env.spec.kwargs.get("vectorization_mode", "vector_entry_point")
        arguments = {key: value for key, value in env.spec.kwargs.items() if key not in ("num_envs", "vectorization_mode")}
        return named(partial(gymnasium.make_vec, env.spec.id, vectorization_mode=mode, **arguments), name)
    raise BadInput(f"the vector environment {name!r} cannot be made again with other numbers of rows: {ADVICE}, given num_envs")


def named(make: partial, name: str) -> partial:
    """A partial that messages call by a name."""
    make.__qualname__ = name
    return make
