"""MAPPO: a critic that sees the game's state teaches a team at least as well as one that sees what an agent does."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.runs import train
from operant.worlds import make_world

STEPS, SEEDS, EPISODES = 320_000, 5, 100
OVER_RANDOM, SLACK = 8.0, 0.5


@check(
    "mappo",
    "spread",
    "small",
    "agents:spread: IQM of the agents' mean return after 320,000 environment steps over 5 seeds at least 8 above that of random actions",
)
def spread(folder: Path) -> Finding:
    world = make_world("agents:spread")
    random = float(world.evaluate(world.random_policy(), 1, episodes=1_000).values.mean())
    found = train("mappo", "agents:spread", seeds=SEEDS, steps=STEPS, every=STEPS, episodes=EPISODES, out=folder / "spread", progress=False).result["score"]
    return Finding(found["iqm"] >= random + OVER_RANDOM, found | {"random": random, "threshold": random + OVER_RANDOM}, seeds=SEEDS)


@check(
    "mappo",
    "central-critic",
    "small",
    "agents:spread, the same budget and settings: IQM at least that of IPPO (the critic sees what its actor does) less 0.5, over 5 seeds",
)
def central_critic(folder: Path) -> Finding:
    settings = {"seeds": SEEDS, "steps": STEPS, "every": STEPS, "episodes": EPISODES, "progress": False}
    scores = {
        name: train("mappo", "agents:spread", out=folder / name, central=central, **settings).result["score"]
        for name, central in (("mappo", True), ("ippo", False))
    }
    return Finding(scores["mappo"]["iqm"] >= scores["ippo"]["iqm"] - SLACK, scores | {"slack": SLACK}, seeds=SEEDS)
