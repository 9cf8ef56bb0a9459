"""Gymnasium's ids: which are registered, and what an unknown one was meant to be. Free of PyTorch."""

from __future__ import annotations

import importlib.util
import logging
import re

import gymnasium

from operant.core.errors import CODE, BadInput, one_line, unknown
from operant.core.registry import import_named

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
    if module:
        try:
            import_named(module)
        except ImportError as error:
            raise missing_package(env_id, error) from error
        except CODE as error:
            raise BadInput(f"environment {env_id!r}: importing {module} raised {type(error).__name__}: {one_line(error)}") from error
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
    if "/" in name:
        raise BadInput(f"unknown Gymnasium environment {name!r}: name the module that registers {name.partition('/')[0]}/…, gym:MODULE:{name}")
    raise unknown("Gymnasium environment", name, newest_ids(), "`operant tasks` lists the library's; gym:MODULE:ID or --import FILE.py brings one of your own")


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
    return BadInput(f"environment {name!r} cannot be made here: {one_line(error)}")
