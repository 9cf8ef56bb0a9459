"""The scoring of reasoning-gym's datasets, as a verifier. A child process imports it, and the package with it, before its limits are set."""

from __future__ import annotations

from functools import cache

import reasoning_gym

from operant.worlds.text.tasks.reasoning_gym import unpack

scoring = cache(reasoning_gym.get_score_answer_fn)  # some datasets take a second to make


def score(problem, completion: str) -> float:
    """What the problem's dataset gives the completion, by the dataset's own rule: 1 where it is right, some of it for less.

    Spaces around the completion are no part of it. Many datasets compare it with their own answer letter by letter, and some answers begin or end with spaces:
    a completion that is the answer but for them is given to the dataset as the answer itself.
    """
    entry = unpack(problem.metadata["entry"])
    text = completion.strip()
    if isinstance(entry["answer"], str) and text == entry["answer"].strip():
        text = entry["answer"]
    return float(scoring(problem.metadata["dataset"])(text, entry))
