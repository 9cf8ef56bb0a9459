"""OGBench's JAX implicit Q-learning (GCIQL) at a given size. Prints {"steps", "seconds"}: updates after compilation, with their draws from memory.

Its objective is set to advantage-weighted regression and its layer norms are left out, so that an update does the work of plain IQL: two critics, a value,
an actor, one Adam, one target network. Each update draws a uniform batch from arrays in memory, the least that a training loop must do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import jax
import numpy as np

from operant.bench.peers.ogbench_source import agents_directory

ROWS, OBSERVATION, ACTION = 100_000, 2, 2  # a point maze's data set
WARM_UP = 20  # updates that are not timed: the first ones compile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256, 256])
    parser.add_argument("--layer-norm", action="store_true", help="as the agent's own default has it")
    given = parser.parse_args()
    sys.path.insert(0, str(agents_directory()))
    from agents.gciql import GCIQLAgent, get_config

    config = get_config()
    config.actor_loss, config.alpha, config.layer_norm = "awr", 3.0, given.layer_norm
    config.batch_size = given.batch
    config.actor_hidden_dims = config.value_hidden_dims = tuple(given.hidden)
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((ROWS, OBSERVATION), dtype=np.float32)
    data = {
        "observations": observations,
        "next_observations": np.roll(observations, -1, axis=0),
        "actions": rng.uniform(-1, 1, (ROWS, ACTION)).astype(np.float32),
        "rewards": np.full(ROWS, -1, dtype=np.float32),
        "masks": np.ones(ROWS, dtype=np.float32),
        "value_goals": rng.permutation(observations),
        "actor_goals": rng.permutation(observations),
    }
    agent = GCIQLAgent.create(0, observations[:1], data["actions"][:1], config)
    begin = 0.0
    for update in range(WARM_UP + given.steps):
        if update == WARM_UP:
            jax.block_until_ready(agent.network.params)
            begin = time.perf_counter()
        rows = rng.integers(0, ROWS, given.batch)
        agent, _ = agent.update({name: values[rows] for name, values in data.items()})
    jax.block_until_ready(agent.network.params)
    print(json.dumps({"steps": given.steps, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main()
