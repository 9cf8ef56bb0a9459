"""The names that tasks have, free of heavy imports: a wrong one is answered before PyTorch is loaded."""

from __future__ import annotations

CLASSIC = ("CartPole-v1", "CartPole-v0", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1")
MUJOCO = ("Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "InvertedPendulum-v5", "Reacher-v5", "Swimmer-v5", "Walker2d-v5")
BLOCKS = tuple(f"block-{hidden}{noise}" for hidden in ("grid", "lock") for noise in ("", "-exogenous", "-mimic"))
BEDS = ("cartpole-levels", "planar-arm", "point-maze", "point-maze-dense", "coverage-grid", "coverage-grid-modular", "bit-flip", "point-reach", *BLOCKS)
MAZES, COLLECTIONS = ("medium", "large", "giant", "teleport"), ("navigate", "stitch", "mixed")
OGBENCH = tuple(
    f"pointmaze-{maze}-{collection}{suffix}"
    for maze in MAZES
    for collection in COLLECTIONS
    for suffix in ("-v0", "-singletask-v0", *(f"-singletask-task{task}-v0" for task in range(1, 6)))
)
"""Without "singletask" the data have goals but no reward; `-singletask-v0` is OGBench's default task, 1."""
TEXT = ("arithmetic", "countdown", "cued", "graph-path", "knights-knaves", "lookup", "program", "sort", "twenty-questions", "uncertain")
PROBLEMS = ("parity", "target", "sum-mod", "graded", "length", "random")
TRANSFORMER = "-transformer"
SEQUENCES = PROBLEMS + tuple(f"{name}{TRANSFORMER}" for name in PROBLEMS)
GAMES = ("spread",)
TABULAR = (
    "chain",
    "river-swim",
    "deep-sea",
    "combination-lock",
    "four-rooms",
    "cliff",
    "windy",
    "corner",
    "random-dense",
    "random-sparse",
    "garnet",
    "random-episodes",
    "layered",
    "bandit",
    "latent",
    "tiger",
    "revealing",
    "gusty",
    "random-uncertain",
    "random-risky",
    "risky",
    "adversarial-bandit",
    "payments",
    "misspecified-bandit",
    "linear-bandit",
    "linear-mdp",
    "adversarial-linear-mdp",
    "low-rank",
    "linear-mixture",
    "rock-paper-scissors",
    "matching-pennies",
    "prisoners-dilemma",
    "battle-of-the-sexes",
    "chicken",
    "random-zero-sum",
    "random-preference",
    "regularized-preference",
    "kuhn-poker",
    "leduc-poker",
)
FROM_GYMNASIUM = "gym/"  # before the id of an environment whose own table of transitions is a finite MDP


def own_maker(name: str) -> tuple[str, str] | None:
    """(module, function) of `tabular:MODULE:NAME`, a function of a person's own that makes a finite MDP or a game; None of other names."""
    module, _, function = name.rpartition(":")
    return (module, function) if module and not name.endswith(".npz") and not name.startswith(FROM_GYMNASIUM) else None


GENERATIVE = ("mixture", "region")

NAMES = {
    "gym": CLASSIC + MUJOCO + BEDS,
    "ogbench": OGBENCH,
    "text": TEXT,
    "sequences": SEQUENCES,
    "generative": GENERATIVE,
    "agents": GAMES,
    "tabular": TABULAR,
}
"""The library's own names by scheme. Modules from outside may add to `TEXT_TASKS`, and to what Gymnasium has registered."""
