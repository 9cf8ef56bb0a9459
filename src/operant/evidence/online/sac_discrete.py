"""SAC on discrete actions: balances CartPole, with DQN's budget and settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.runs import train

SETTINGS = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3}
STEPS = 40_000


@check(
    "sac-discrete",
    "cartpole",
    "small",
    "CartPole-v1: IQM of the return of 20 evaluation episodes >= 400 over 5 seeds by 40,000 steps, with two layers of 64, batches of 128, a learning rate of "
    "1e-3 and a target entropy of half the largest; DQN with the same is reported beside it",
)
def cartpole(folder: Path) -> Finding:
    scores = {}
    for method, own in (("sac-discrete", {"entropy_share": 0.5}), ("dqn", {"updates_per_step": 1.0})):
        out = folder / method
        run = train(method, "gym:CartPole-v1", seeds=5, steps=STEPS, every=STEPS, episodes=20, progress=False, out=out, **SETTINGS, **own)
        scores[method] = run.result["score"]
    figures = scores["sac-discrete"] | {"threshold": 400, "steps": STEPS, "dqn iqm": scores["dqn"]["iqm"], "dqn per seed": scores["dqn"]["per_seed"]}
    return Finding(scores["sac-discrete"]["iqm"] >= 400, figures, seeds=5)
