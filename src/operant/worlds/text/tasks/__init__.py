"""Text tasks: problems made by a seeded program or read from a file, worked traces to learn from, and test problems held out by structure."""

from operant.worlds.text.tasks.arithmetic import Arithmetic, Cued
from operant.worlds.text.tasks.base import Problem, TextTask
from operant.worlds.text.tasks.countdown import Countdown
from operant.worlds.text.tasks.graph_path import GraphPath
from operant.worlds.text.tasks.knights_knaves import KnightsKnaves
from operant.worlds.text.tasks.lookup import Lookup
from operant.worlds.text.tasks.program import Program
from operant.worlds.text.tasks.sort import Sort
from operant.worlds.text.tasks.turns import Reply, TurnTask
from operant.worlds.text.tasks.twenty_questions import TwentyQuestions
from operant.worlds.text.tasks.uncertain import Uncertain

TEXT_TASKS: dict[str, type] = {
    task.name: task for task in (Arithmetic, Countdown, Cued, GraphPath, KnightsKnaves, Lookup, Program, Sort, TwentyQuestions, Uncertain)
}

__all__ = ["TEXT_TASKS", "Arithmetic", "Problem", "Reply", "TextTask", "TurnTask"]
