"""A learner's state after some iterations, for the tests of what samples beside it."""

from __future__ import annotations

import copy

from operant.core.checkpoint import join_state, split_state
from operant.loops.learner import Learner


def state_after(learner: Learner, iterations: int, state: dict | None = None) -> dict:
    """Let it iterate, from a state where one is given, and close it."""
    try:
        if state is not None:
            learner.load_state_dict(state)
        for _ in range(iterations):
            learner.iterate()
        return copy.deepcopy(join_state(*split_state(learner.state_dict())))
    finally:
        learner.close()
