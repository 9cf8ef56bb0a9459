"""Gymnasium's ids: which are registered, and what an unknown one was meant to be; and names of what makes an environment. Free of PyTorch."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from collections.abc import Callable
from operator import attrgetter
from types import ModuleType
from typing import Any

import gymnasium

from operant.core.errors import CODE, BadInput, nearest, one_line, unknown
from operant.core.registry import import_named, near_module
from operant.worlds.names import NAMES

# Beginnings of ids whose packages are not part of Gymnasium: (the module that registers them, what installs it).
# What Gymnasium's own environments, and ids that name their module, are made with is told by the module that is missing: `EXTRAS`.
PACKAGES = {
    "ALE/": ("ale_py", "'operant[atari]'"),
    "MinAtar/": ("minatar.gym", "'operant[minatar]'"),
    **dict.fromkeys(("MiniGrid-", "BabyAI-"), ("minigrid", "'operant[minigrid]'")),
    **dict.fromkeys(("Fetch", "Hand", "Adroit", "FrankaKitchen-", "PointMaze_", "AntMaze_"), ("gymnasium_robotics", "gymnasium-robotics")),
}

NOT_INSTALLED = "environment {!r} is of a package that is not installed: pip install {}"
OLD_ATARI = re.compile(r"\w+(NoFrameskip|Deterministic)-v[04]")  # Atari's ids from before `ALE/`, whose game says nothing of the package
EXTRAS = {brings.partition(".")[0]: package for brings, package in PACKAGES.values()} | {"mujoco": "'operant[mujoco]'", "Box2D": "'operant[box2d]'"}


def registered(env_id: str) -> str:
    """The id without its module, which is imported, as a known package is that registers it. Raises `BadInput` for an unknown one."""
    module, _, name = env_id.rpartition(":")
    brought = _brought(env_id, module) if module else None
    if name in gymnasium.registry:
        return name
    beginning = "ALE/" if OLD_ATARI.fullmatch(name) else next(filter(name.startswith, PACKAGES), None)
    brings, package = (None, None) if module or beginning is None else PACKAGES[beginning]
    if brings is not None:
        if importlib.util.find_spec(brings.partition(".")[0]) is None:
            raise BadInput(NOT_INSTALLED.format(name, package))
        if brings == "minatar.gym":
            _bring_minatar()
        return registered(f"{brings}:{name}")
    if brought is not None and module.partition(".")[0] not in EXTRAS:
        ids = [spec.id for spec in gymnasium.registry.values() if str(spec.entry_point).startswith(module)]
        makers = [key for key, value in vars(brought).items() if callable(value) and getattr(value, "__module__", None) == module]
        told = "it registers no id and has no function of its own" if not ids + makers else None
        raise BadInput(f"environment {env_id!r}: {module} has no function, class or id {name}: {nearest(name, ids + makers, told)}")
    if "/" in name:
        raise BadInput(f"unknown Gymnasium environment {name!r}: name the module that registers {name.partition('/')[0]}/…, gym:MODULE:{name}")
    own = "gym:MODULE:ID, gym:MODULE:FUNCTION or --import FILE.py brings one of your own"
    raise unknown("Gymnasium environment", name, [*newest_ids(), *NAMES["gym"]], f"`operant tasks` lists the library's; {own}")


def _brought(env_id: str, module: str) -> ModuleType:
    """The module that an id names. Raises `BadInput` where it cannot be imported."""
    if module.endswith(".py"):
        raise BadInput(f"environment {env_id!r}: modules are named without .py: gym:{module[:-3].replace('/', '.')}:{env_id.rpartition(':')[2]}")
    try:
        return import_named(module)
    except ImportError as error:
        raise missing_package(env_id, error) from error
    except CODE as error:
        raise BadInput(f"environment {env_id!r}: importing {module} raised {type(error).__name__}: {one_line(error)}") from error


def called(env_id: str) -> Callable[..., Any] | None:
    """What makes the environments of `module:name` where the module registers no id of that name: its function or class that is called so. None where there is
    none. Raises `BadInput` where the module cannot be imported."""
    module, _, name = env_id.rpartition(":")
    if not module:
        return None
    found = _attribute(_brought(env_id, module), name)
    return found if callable(found) and name not in gymnasium.registry else None


def name_of(make: Callable[..., Any]) -> str | None:
    """The `module:name` by which `called` finds what makes environments in another process; None of an object, a lambda, a function within another one, and of
    what stands in the script that runs."""
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", "")
    if module not in sys.modules or module == "__main__" or name in gymnasium.registry or _attribute(sys.modules[module], name) != make:
        return None
    return f"{module}:{name}"


def _attribute(module: ModuleType, name: str) -> Any:
    """What a dotted name means in a module; None where it means nothing."""
    try:
        return attrgetter(name)(module)
    except AttributeError:
        return None


def _bring_minatar() -> None:
    """Its ids, without the warning that what it would draw with is missing; importing it registers none by itself."""
    logging.disable(logging.WARNING)
    try:
        from minatar.gym import register_envs
    finally:
        logging.disable(logging.NOTSET)
    if "MinAtar/Breakout-v1" not in gymnasium.registry:
        register_envs()


def newest_ids() -> list[str]:
    """The id of each registered environment's newest version."""
    newest: dict[tuple[str | None, str], gymnasium.envs.registration.EnvSpec] = {}
    for spec in gymnasium.registry.values():
        newest[spec.namespace, spec.name] = max(newest.get((spec.namespace, spec.name), spec), spec, key=lambda spec: spec.version or 0)
    return [spec.id for spec in newest.values()]


def missing_package(name: str, error: Exception) -> BadInput:
    """The error for an environment whose package is not installed."""
    missing: str | None = None
    cause: BaseException | None = error
    while cause is not None and missing is None:  # Gymnasium's own error comes of the import's
        absent = cause.name if isinstance(cause, ModuleNotFoundError) else None
        missing, cause = EXTRAS.get((absent or "").partition(".")[0]), cause.__cause__
    if missing is not None:
        return BadInput(NOT_INSTALLED.format(name, missing))
    return BadInput(f"environment {name!r} cannot be made here: {one_line(error)}{near_module(error)}")
