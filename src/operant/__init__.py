"""Operant: one library for reinforcement learning. Name a method and a task; get a trained policy, statistics over seeds, and a report.

>>> import operant
>>> run = operant.train("ppo", task="gym:CartPole-v1", seeds=8)
>>> run.result["score"]
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Read once, when PyTorch is loaded: how long a thread of OpenMP waits awake for the next piece of work. Its own answer is a thousandth of a second and more,
# and where two processes share their cores each then waits for threads that wait: a TD3 update took twenty times as long. This is as fast where nothing else
# runs.
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")

# Loaded when they are first asked for: `operant --help` should not wait for PyTorch.
_HOMES = {
    "BadInput": "operant.core.errors",
    "Interrupted": "operant.core.errors",
    "OperantError": "operant.core.errors",
    "RunFailed": "operant.core.errors",
    "Run": "operant.loops.runs",
    "train": "operant.loops.runs",
    "resume": "operant.loops.runs",
    "load": "operant.loops.runs",
    "tune": "operant.loops.tuning",
    "method": "operant.core.registry",
}
__all__ = [*_HOMES]

if TYPE_CHECKING:
    from operant.core.errors import BadInput as BadInput
    from operant.core.errors import Interrupted as Interrupted
    from operant.core.errors import OperantError as OperantError
    from operant.core.errors import RunFailed as RunFailed
    from operant.core.registry import method as method
    from operant.loops.runs import Run as Run
    from operant.loops.runs import load as load
    from operant.loops.runs import resume as resume
    from operant.loops.runs import train as train
    from operant.loops.tuning import tune as tune


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'operant' has no attribute {name!r}")
