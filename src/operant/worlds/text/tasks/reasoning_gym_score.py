"""The scoring of reasoning-gym's datasets, as a verifier. A child process imports it, and the package with it, before its limits are set."""

from __future__ import annotations

from functools import cache

import reasoning_gym

from operant.worlds.text.tasks.reasoning_gym import unpack

scoring = cache(reasoning_gym.get_score_answer_fn)  # some datasets take a second to make


def score(problem, completion: str) -> float:
    """What the problem's dataset gives the completion, spaces around it aside: 1 where it is right, some of it for less, by the dataset's own rule."""
    return float(scoring(problem.metadata["dataset"])(completion.strip(), unpack(problem.metadata["entry"])))
