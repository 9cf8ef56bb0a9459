"""The worlds of text tasks that have a scheme of their own: `file:` and `reasoning-gym:`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from operant.worlds.text.tasks import TextTask
from operant.worlds.text.world import TextWorld


class FileTextWorld(TextWorld):
    """Problems of a JSON Lines file (`worlds.text.tasks.file.FileTask`). The task's name has the absolute path, so that a run goes on from anywhere."""

    scheme = "file"

    def __init__(self, name: str, **options: Any):
        super().__init__(str(Path(os.path.expanduser(name)).absolute()), **options)

    @staticmethod
    def find_task(name: str) -> TextTask:
        from operant.worlds.text.tasks.file import FileTask

        return FileTask(name)

    @staticmethod
    def names() -> dict[str, str]:
        return {}


class ReasoningGymWorld(TextWorld):
    """Problems of a reasoning-gym dataset (`worlds.text.tasks.reasoning_gym.ReasoningGym`)."""

    scheme = "reasoning-gym"

    @staticmethod
    def find_task(name: str) -> TextTask:
        from operant.worlds.text.tasks.reasoning_gym import ReasoningGym

        return ReasoningGym(name)

    @staticmethod
    def names() -> dict[str, str]:
        return {}
