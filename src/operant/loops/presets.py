"""Settings of methods on tasks that somebody tuned, each with where it came from: `--preset NAME`. Free of heavy imports.

"zoo" is RL Baselines3 Zoo (https://github.com/DLR-RM/rl-baselines3-zoo, folder hyperparams).

What differs all the same: with normalised observations the Zoo's statistics move with every step, ours between rollouts, so that a first rollout is seen as it
is; what falls with training (a learning rate, PPO's clip) is read when a rollout begins, there when it is complete, so that all is one rollout later; and
QR-DQN's gradients are cut at a norm of 10 here.
Of classic control, Box2D and MuJoCo (as version 5, there 4) a setting stands here where it can be said in the hyper-parameters of the method; one that takes
more (noise that depends on the state, an initial deviation, a learning rate that falls where the method has none that does) is left out, and not bent. So are
the Zoo's other tasks: Atari, MiniGrid, PyBullet, and those of MuJoCo in version 1 or 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operant.core.commands import command_line
from operant.core.errors import BadInput, unknown
from operant.core.registry import value_text


@dataclass(frozen=True)
class Preset:
    """A method's settings on a task.

    Attributes:
        name: of the collection.
        task: a Gymnasium id.
        steps: the budget that they are for, environment steps a seed.
        settings: hyper-parameters that are not the method's defaults.
        source: where they were published.
    """

    name: str
    method: str
    task: str
    steps: int
    settings: Mapping[str, Any]
    source: str

    @property
    def pair(self) -> str:
        """Method and task in one word, as the check of the claim "presets" that measures it is called."""
        return f"{self.method}-{self.task}"

    @property
    def command(self) -> str:
        """The command line that says it all."""
        return written(self.method, f"gym:{self.task}", self.steps, self.settings)


def written(method: str, task: str, steps: int | None, settings: Mapping[str, Any]) -> str:
    """A training with some settings as a command line."""
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value_text(value))]
    return command_line("train", method, "--task", task, *([] if steps is None else ["--steps", steps]), *words)


NORMALIZED = {"normalize_observation": True, "normalize_reward": True}
_WIDE = {"hidden": (400, 300), "learning_rate": 1e-3, "learning_starts": 10_000}
_NARROW = _WIDE | {"gamma": 0.98, "capacity": 200_000}


def _ppo(environments: int, length: int, batch: int = 64, epochs: int = 10, **settings: Any) -> dict[str, Any]:
    return {"environments": environments, "rollout_length": length, "minibatches": environments * length // batch, "epochs": epochs} | settings


def _a2c(environments: int, **settings: Any) -> dict[str, Any]:
    return {"environments": environments, "rms_prop": "torch"} | settings


def _dqn(updates: float, every: int, target: int, **settings: Any) -> dict[str, Any]:
    return {"updates_per_step": updates, "update_every": every, "target_every": target, "double": False, "hidden": (256, 256)} | settings


def _trpo(length: int, batch: int = 128, **settings: Any) -> dict[str, Any]:
    return {"environments": 2, "rollout_length": length, "value_minibatches": 2 * length // batch} | settings


def _qr_dqn(*given: Any, quantiles: int, **settings: Any) -> dict[str, Any]:
    return _dqn(*given, **settings) | {"quantiles": quantiles}


MUJOCO = ("HalfCheetah-v5", "Ant-v5", "Hopper-v5", "Walker2d-v5")
_LUNAR = _ppo(16, 1024, epochs=4, gamma=0.999, lam=0.98, entropy_coefficient=0.01)
_TRPO_MUJOCO = _trpo(1024, conjugate_gradients=25, value_epochs=20) | NORMALIZED


def _mujoco(settings: dict[str, Any], gamma: float = 0.9999) -> dict[str, tuple[int, dict[str, Any]]]:
    """MuJoCo's tasks with the same settings, but Swimmer's discount."""
    same = dict.fromkeys(MUJOCO, (1_000_000, settings))
    return same | {"Humanoid-v5": (2_000_000, settings), "Swimmer-v5": (1_000_000, settings | {"gamma": gamma})}


# The Zoo counts steps between two copies into the target network, which are updates here. CartPole's 10 are fewer than a round of 128 updates takes, so that
# all of a round see the network as it was before it. Updates are owed from the first step behind the random ones: these end a round before the Zoo's first one.
_CARTPOLE = {"learning_rate": 2.3e-3, "batch_size": 64, "learning_starts": 768, "epsilon_share": 0.16, "epsilon_end": 0.04}
_MOUNTAIN_CAR = {"learning_rate": 4e-3, "batch_size": 128, "learning_starts": 992, "capacity": 10_000, "gamma": 0.98, "epsilon_share": 0.2, "epsilon_end": 0.07}
_ACROBOT = {"learning_rate": 6.3e-4, "batch_size": 128, "capacity": 50_000, "learning_starts": 1, "epsilon_share": 0.12, "epsilon_end": 0.1}
_ZOO: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "ppo": {
        "CartPole-v1": (100_000, _ppo(8, 32, 256, 20, gamma=0.98, lam=0.8, learning_rate=1e-3, anneal=True, anneal_clip=True)),
        "MountainCar-v0": (1_000_000, _ppo(16, 16, epochs=4, lam=0.98) | NORMALIZED),
        "Acrobot-v1": (1_000_000, _ppo(16, 256, epochs=4, lam=0.94) | NORMALIZED),
        "LunarLander-v3": (1_000_000, _LUNAR),
        "LunarLanderContinuous-v3": (1_000_000, _LUNAR),
        "BipedalWalker-v3": (5_000_000, _ppo(32, 2048, gamma=0.999, clip=0.18) | NORMALIZED),
        "Walker2d-v5": (
            1_000_000,
            _ppo(1, 512, 32, 20, learning_rate=5.05041e-05, entropy_coefficient=0.000585045, clip=0.1, max_grad_norm=1.0, value_coefficient=0.871923)
            | NORMALIZED,
        ),
        "Ant-v5": (1_000_000, _ppo(1, 2048) | NORMALIZED),
        "Swimmer-v5": (1_000_000, _ppo(4, 1024, 256, learning_rate=6e-4, lam=0.98, gamma=0.9999) | NORMALIZED),
        "BipedalWalkerHardcore-v3": (
            100_000_000,
            _ppo(16, 2048, entropy_coefficient=0.001, learning_rate=2.5e-4, anneal=True, anneal_clip=True) | NORMALIZED,
        ),
    },
    "a2c": {
        "CartPole-v1": (500_000, _a2c(8)),
        "MountainCar-v0": (1_000_000, _a2c(16) | NORMALIZED),
        "Acrobot-v1": (500_000, _a2c(16) | NORMALIZED),
        "LunarLander-v3": (200_000, _a2c(8, gamma=0.995, learning_rate=8.3e-4, anneal=True, entropy_coefficient=1e-5)),
        **_mujoco(_a2c(1) | NORMALIZED),
    },
    "trpo": {
        "CartPole-v1": (100_000, _trpo(512, 512, damping=1e-3, lam=0.98, value_epochs=20)),
        "MountainCar-v0": (100_000, _trpo(1024, value_epochs=20) | NORMALIZED),
        "Acrobot-v1": (100_000, _trpo(1024) | NORMALIZED),
        "LunarLander-v3": (200_000, _trpo(512, damping=0.01, lam=0.98, value_epochs=15)),
        "LunarLanderContinuous-v3": (100_000, _trpo(1024, value_epochs=20) | NORMALIZED),
        "BipedalWalker-v3": (1_000_000, _TRPO_MUJOCO),
        "BipedalWalkerHardcore-v3": (10_000_000, _TRPO_MUJOCO),
        **_mujoco(_TRPO_MUJOCO),
        "HalfCheetah-v5": (1_000_000, _TRPO_MUJOCO | {"max_kl": 0.04}),
    },
    "dqn": {
        "CartPole-v1": (50_000, _dqn(0.5, 256, 128, **_CARTPOLE)),
        "MountainCar-v0": (120_000, _dqn(0.5, 16, 300, **_MOUNTAIN_CAR)),
        **dict.fromkeys(("LunarLander-v3", "Acrobot-v1"), (100_000, _dqn(1.0, 4, 250, **_ACROBOT))),
    },
    "qr-dqn": {
        "CartPole-v1": (50_000, _qr_dqn(0.5, 256, 128, quantiles=10, **_CARTPOLE)),
        "MountainCar-v0": (120_000, _qr_dqn(0.5, 16, 300, quantiles=25, **_MOUNTAIN_CAR)),
        "Acrobot-v1": (100_000, _qr_dqn(1.0, 4, 250, quantiles=25, **_ACROBOT)),
    },
    "sac-v2": {
        "Pendulum-v1": (20_000, {"learning_rate": 1e-3, "learning_starts": 100}),
        **_mujoco({"learning_starts": 10_000}, gamma=0.999),
    },
    "ddpg": {
        "Pendulum-v1": (20_000, _NARROW),
        "LunarLanderContinuous-v3": (300_000, _NARROW),
        "BipedalWalker-v3": (1_000_000, _NARROW),
        **_mujoco(_WIDE),
    },
    "td3": {
        "Pendulum-v1": (20_000, _NARROW),
        "LunarLanderContinuous-v3": (300_000, _NARROW),
        "BipedalWalker-v3": (1_000_000, _NARROW),
        **_mujoco(_WIDE),
    },
}
_FILES = {"sac-v2": "sac", "qr-dqn": "qrdqn"}  # where the method has another name there
_CONTRIB = ("trpo", "qr-dqn")  # of Stable-Baselines3 contrib


def _source(method: str, task: str) -> str:
    entry = task.replace("-v5", "-v4")  # MuJoCo's tasks stand there in the version before
    defaults = "Stable-Baselines3 contrib 2.9.2's" if method in _CONTRIB else "Stable-Baselines3 2.9.2's"
    return f"rl-baselines3-zoo 22e3ff2, {_FILES.get(method, method)}.yml: {entry}; the rest of it {defaults} defaults"


PRESETS = tuple(
    Preset("zoo", method, task, steps, settings, _source(method, task)) for method, tasks in _ZOO.items() for task, (steps, settings) in tasks.items()
)
NAMES = tuple(dict.fromkeys(preset.name for preset in PRESETS))


def find_preset(name: str, method: str, task: Any) -> Preset:
    """The preset of a method on a task. Raises `BadInput` where there is none."""
    if name not in NAMES:
        raise unknown("preset", str(name), NAMES)
    bare = task.removeprefix("gym:") if isinstance(task, str) else None
    for preset in PRESETS:
        if (preset.name, preset.method, preset.task) == (name, method, bare):
            return preset
    of_method = [preset.task for preset in PRESETS if (preset.name, preset.method) == (name, method)]
    of_task = [preset.method for preset in PRESETS if (preset.name, preset.task) == (name, bare)]
    known = [f"for {method} {', '.join(of_method)}"] * bool(of_method) + [f"for {bare} {', '.join(of_task)}"] * bool(of_task)
    where, instead = "that task" if bare is None else task, f"it has those {', and '.join(known)}" if known else "operant presets lists them"
    raise BadInput(f"--preset {name} has no settings of {method} on {where}; {instead}")
