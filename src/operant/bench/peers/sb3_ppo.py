"""Stable-Baselines3's PPO as its users run it. Prints {"steps", "seconds", "score"}; the score is the mean return of the last 100 training episodes."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--rollout", type=int, default=2048, help="steps of each environment between two updates")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = PPO(
        "MlpPolicy",
        make_vec_env(given.env, n_envs=given.envs, seed=given.seed),
        n_steps=given.rollout,
        batch_size=given.batch,
        n_epochs=given.epochs,
        seed=given.seed,
        device="cpu",
    )
    begin = time.perf_counter()
    model.learn(given.steps)
    seconds = time.perf_counter() - begin
    returns = [episode["r"] for episode in model.ep_info_buffer]
    print(json.dumps({"steps": model.num_timesteps, "seconds": seconds, "score": float(np.mean(returns)) if returns else None}))


if __name__ == "__main__":
    main()
