"""Scores of Stable-Baselines3, trained here and now, for claims that are relative to it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from operant.core.errors import BadInput, RunFailed
from operant.loops.results import score_object

SCRIPT = """
import json, sys
import stable_baselines3, torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
torch.set_num_threads(1)
given = json.loads(sys.argv[1])
environments = make_vec_env(given["environment"], n_envs=given["environments"], seed=given["seed"])
model = getattr(stable_baselines3, given["algorithm"])("MlpPolicy", environments, device="cpu", seed=given["seed"], **given["settings"]).learn(given["steps"])
fresh = make_vec_env(given["environment"], seed=10**6)
print(json.dumps([evaluate_policy(model, fresh, 10, deterministic=mode)[0] for mode in (True, False)]))
"""


def sb3_scores(
    algorithm: str, environment: str, *, steps: int, seeds: int, environments: int = 1, settings: dict[str, Any] | None = None, at_once: int = 2
) -> dict[str, Any]:
    """Mean return over 10 fresh episodes of each seed's final policy, by its mode ("per_seed") and with sampled actions ("sampled").

    Args:
        algorithm: "PPO" or "SAC".
        environments: copies a seed.
        settings: arguments of the algorithm's constructor; its own defaults otherwise.
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
    scores: list[list[float]] = []
    for first in range(0, seeds, at_once):
        started = [
            subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(given | {"seed": seed})], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for seed in range(first, min(first + at_once, seeds))
        ]
        for process in started:
            out, errors = process.communicate()
            if process.returncode:
                raise RunFailed(f"Stable-Baselines3's {algorithm} on {environment} failed: {(errors.strip().splitlines() or ['no message'])[-1]}")
            scores.append(json.loads(out.strip().splitlines()[-1]))
    mode, sampled = map(list, zip(*scores, strict=True))
    return score_object("return", np.array(mode)[:, None]) | {"name": f"stable-baselines3 {__version__}", "sampled": sampled}
