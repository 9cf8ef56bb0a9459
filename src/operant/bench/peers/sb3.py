"""An algorithm of Stable-Baselines3 as its users run it, at its defaults unless settings are given.

Prints {"steps", "seconds", "score", "parts"}; the score is the mean return of the last 100 training episodes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time

import numpy as np
from stable_baselines3.common.env_util import make_vec_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm")
    parser.add_argument("--package", default="stable_baselines3")
    parser.add_argument("--env", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--settings", type=json.loads, default={}, help="arguments of the algorithm's constructor, JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    settings = given.settings
    if given.env.startswith("MinAtar/"):
        from operant.bench.peers.pictures import behind_pictures

        settings = behind_pictures(given.env, settings)
    environments = make_vec_env(given.env, n_envs=given.envs, seed=given.seed)
    policy = "MlpLstmPolicy" if given.algorithm == "RecurrentPPO" else "MlpPolicy"
    model = getattr(importlib.import_module(given.package), given.algorithm)(policy, environments, seed=given.seed, device=given.device, **settings)
    updating, train = 0.0, model.train

    def timed(*arguments, **named) -> None:
        nonlocal updating
        begin = time.perf_counter()
        train(*arguments, **named)
        updating += time.perf_counter() - begin

    model.train = timed
    begin = time.perf_counter()
    model.learn(given.steps)
    seconds = time.perf_counter() - begin
    returns = [episode["r"] for episode in model.ep_info_buffer]
    parts = {"collect": seconds - updating, "update": updating}
    print(json.dumps({"steps": model.num_timesteps, "seconds": seconds, "score": float(np.mean(returns)) if returns else None, "parts": parts}))


if __name__ == "__main__":
    main()
