"""Operant: one library for reinforcement learning. Name a method and a task; get a trained policy, statistics over seeds, and a report.

>>> import operant
>>> run = operant.train("ppo", task="gym:CartPole-v1", seeds=8)
>>> run.result["score"]
"""

from operant.api import Run, load, resume, train
from operant.core.errors import BadInput, OperantError, RunFailed
from operant.core.registry import method

__all__ = ["BadInput", "OperantError", "Run", "RunFailed", "load", "method", "resume", "train"]
__version__ = "0.1.0"
