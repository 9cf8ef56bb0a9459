"""Gymnasium's wrappers that change what is learned from, or what scores are of: those that are refused, and those that a person is told of."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
from gymnasium import wrappers
from gymnasium.vector import SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import vector

from operant.core.errors import BadInput

Made = gymnasium.Env | VectorEnv

_NORMALIZING = (
    (
        (wrappers.NormalizeObservation, vector.NormalizeObservation),
        "a policy would be evaluated on other observations than those that it was trained on",
        "normalize_observation",
    ),
    ((wrappers.NormalizeReward, vector.NormalizeReward), "scores would be of scaled rewards, by another scale each time", "normalize_reward"),
)
_CHANGING = (wrappers.TransformReward, wrappers.NormalizeReward, vector.TransformReward, vector.NormalizeReward)


class RefusedWrapper(BadInput):
    """An environment is wrapped in what no run can be trained on."""


def _wrappers(env: Made) -> Iterator[Made]:
    """The wrappers of an environment, outermost first, and of the rows that it steps."""
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        yield env
        env = env.env
    for row in env.envs[:1] if isinstance(env, SyncVectorEnv) else ():
        yield from _wrappers(row)


def refuse_statistics(name: str, env: Made) -> None:
    """Raise `RefusedWrapper` for one that normalises by running statistics: each copy of an environment has its own, and a new one has none. Statistics that
    no longer move (`update_running_mean = False`) are part of the environment."""
    moving = [(type(layer).__name__, why, option) for layer in _wrappers(env) for kinds, why, option in _NORMALIZING if _moves(layer, kinds)]
    if moving:
        names, why, options = (list(dict.fromkeys(column)) for column in zip(*moving, strict=True))
        given, python = " ".join(f"--{option.replace('_', '-')}" for option in options), ", ".join(f"{option}=True" for option in options)
        wrapped = f"environment {name!r} is wrapped in {' and '.join(names)}, whose running statistics each copy has of its own"
        raise RefusedWrapper(f"{wrapped}: {' and '.join(why)}; leave out what normalises and give {given} (in Python {python})")


def _moves(layer: Made, kinds: tuple[type, ...]) -> bool:
    return isinstance(layer, kinds) and layer.update_running_mean


def changed_rewards(env: Made) -> str:
    """What to say of wrappers that change rewards; empty where there is none."""
    if not (names := [type(layer).__name__ for layer in _wrappers(env) if isinstance(layer, _CHANGING)]):
        return ""
    clips = "; --clip-rewards clips in training alone" * ("ClipReward" in names)
    return f"its scores are of rewards as {' and '.join(names)} makes them{clips}"
