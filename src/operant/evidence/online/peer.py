"""Scores of Stable-Baselines3, trained here and now, for claims that are relative to it.

What a seed gave is kept in the cache, so that a claim goes on where it stopped. All seeds of a side meet the same starts, so their interval does not hold what
starts add: where a return hangs on them, both sides must meet the same (`on_the_same_starts`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

from operant.core.cache import cache_directory
from operant.core.errors import BadInput, RunFailed
from operant.core.files import write_atomic
from operant.core.processor import model
from operant.loops.results import score_object
from operant.loops.runs import Run

EPISODES, STARTS = 10, 10**6  # of an evaluation, and the seed of the environment in which it begins

SCRIPT = """
import json, sys
import numpy as np
import stable_baselines3, torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
torch.set_num_threads(1)
given = json.loads(sys.argv[1])
settings = given["settings"]
if given["environment"].startswith("MinAtar/"):
    from operant.bench.peers.pictures import behind_pictures
    settings = behind_pictures(given["environment"], settings)
environments = make_vec_env(given["environment"], n_envs=given["environments"], seed=given["seed"])
if "action_noise" in settings:
    size = environments.action_space.shape
    settings["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, settings["action_noise"]))
model = getattr(stable_baselines3, given["algorithm"])("MlpPolicy", environments, device="cpu", seed=given["seed"], **settings).learn(given["steps"])
fresh = make_vec_env(given["environment"], seed=10**6)
print(json.dumps([evaluate_policy(model, fresh, 10, deterministic=mode)[0] for mode in (True, False)]))
"""


def sb3_scores(
    algorithm: str, environment: str, *, steps: int, seeds: int, environments: int = 1, settings: dict[str, Any] | None = None, at_once: int = 2
) -> dict[str, Any]:
    """Mean return over 10 fresh episodes of each seed's final policy, by its mode ("per_seed") and with sampled actions ("sampled").

    Args:
        algorithm: "PPO", "A2C", "DQN", "SAC" or "TD3".
        environments: copies a seed.
        settings: arguments of the algorithm's constructor; its own defaults otherwise. "action_noise" is the deviation of Gaussian noise.
        at_once: processes side by side, of one thread each.

    Returns:
        with the IQM over seeds of the first and its interval.

    Raises:
        BadInput: Stable-Baselines3 is not installed.
        RunFailed: it failed.
    """
    try:
        from stable_baselines3 import __version__
    except ImportError as error:
        raise BadInput("this claim is relative to Stable-Baselines3: pip install 'operant[bench]'") from error
    given = {"algorithm": algorithm, "environment": environment, "steps": steps, "environments": environments, "settings": settings or {}}
    on = {package: version(package) for package in ("stable-baselines3", "torch", "gymnasium")} | {"processor": model(), "script": SCRIPT}
    kept = cache_directory() / "peers"
    files = [kept / f"{hashlib.sha256(json.dumps([given, on, seed], sort_keys=True).encode()).hexdigest()[:32]}.json" for seed in range(seeds)]
    missing = [seed for seed in range(seeds) if not files[seed].exists()]
    kept.mkdir(exist_ok=True)
    for first in range(0, len(missing), at_once):
        started = {seed: _start(given | {"seed": seed}) for seed in missing[first : first + at_once]}
        for seed, process in started.items():
            out, errors = process.communicate()
            if process.returncode:
                raise RunFailed(f"Stable-Baselines3's {algorithm} on {environment} failed: {(errors.strip().splitlines() or ['no message'])[-1]}")
            write_atomic(files[seed], out.strip().splitlines()[-1])
    mode, sampled = map(list, zip(*(json.loads(file.read_text()) for file in files), strict=True))
    return score_object("return", np.array(mode)[:, None]) | {"name": f"stable-baselines3 {__version__}", "sampled": sampled}


def on_the_same_starts(run: Run, environment: str) -> dict[str, Any]:
    """The score object of a run's policies by their mode, on the episodes that the peer's are evaluated on: one environment, seeded once, one after
    the other.

    Where an environment draws in its steps too, later starts hang on what was done before, on either side.

    Args:
        environment: of Gymnasium.
    """
    totals = []
    for seed in range(run.config["seed"], run.config["seed"] + run.config["seeds"]):
        env, act, rewards = gymnasium.make(environment), run.player(seed), []
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=None if episode else STARTS)
            act.reset()
            over = False
            while not over:
                observation, reward, terminated, truncated, _ = env.step(act(observation))
                rewards.append(float(reward))
                over = terminated or truncated
        env.close()
        totals.append(sum(rewards) / EPISODES)
    return score_object("return", np.array(totals)[:, None])


def _start(given: dict[str, Any]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(given)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
