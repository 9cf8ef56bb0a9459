"""Scores of Stable-Baselines3, trained here and now, for claims that are relative to it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from operant.core.errors import BadInput
from operant.evaluate.statistics import iqm, stratified_bootstrap

SCRIPT = """
import json, sys
import gymnasium, torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
torch.set_num_threads(1)
environment, steps, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = PPO("MlpPolicy", environment, device="cpu", seed=seed).learn(steps)
returns, _ = evaluate_policy(model, Monitor(gymnasium.make(environment)), n_eval_episodes=10, return_episode_rewards=True)
print(json.dumps(sum(returns) / len(returns)))
"""


def sb3_ppo_scores(environment: str, *, steps: int, seeds: int) -> dict[str, Any]:
    """Mean deterministic return of Stable-Baselines3's PPO with its defaults, a seed, with the IQM and its interval; two seeds at a time, one thread each.

    Raises:
        BadInput: Stable-Baselines3 is not installed.
    """
    try:
        from stable_baselines3 import __version__
    except ImportError as error:
        raise BadInput("this claim is relative to Stable-Baselines3: pip install 'operant[bench]'") from error
    scores = []
    for first in range(0, seeds, 2):
        started = [
            subprocess.Popen([sys.executable, "-c", SCRIPT, environment, str(steps), str(seed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for seed in range(first, min(first + 2, seeds))
        ]
        scores += [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in started]
    interval = stratified_bootstrap(np.array(scores)[:, None], iqm)
    return {
        "name": f"stable-baselines3 {__version__}",
        "iqm": interval.point,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "per_seed": scores,
    }
