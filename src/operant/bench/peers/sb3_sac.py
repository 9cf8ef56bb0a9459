"""Stable-Baselines3's SAC at its defaults. Prints {"steps", "seconds", "score"}; the score is the mean return of the last 100 training episodes."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = SAC("MlpPolicy", make_vec_env(given.env, n_envs=1, seed=given.seed), seed=given.seed, device="cpu")
    begin = time.perf_counter()
    model.learn(given.steps)
    seconds = time.perf_counter() - begin
    returns = [episode["r"] for episode in model.ep_info_buffer]
    print(json.dumps({"steps": model.num_timesteps, "seconds": seconds, "score": float(np.mean(returns)) if returns else None}))


if __name__ == "__main__":
    main()
