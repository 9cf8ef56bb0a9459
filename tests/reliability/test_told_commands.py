"""A command line that a message tells is one that works: whatever file brought what the run names, and however it was brought."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from long_tier import due, in_turn

import operant
from operant.core.errors import BadInput

BROUGHT = """
import sys
from dataclasses import dataclass
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
import operant
from operant import ops
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups
from operant.worlds.text.tasks import TEXT_TASKS, Arithmetic


@dataclass(frozen=True)
class Mine:
    group_size: int = 4  # answers a prompt


@operant.method("brought", family="mine", paper="none", worlds=("sequences",))
def mine(h: Mine) -> PolicyGradient:
    return PolicyGradient(sample=Groups(2, h.group_size), credit=Grouped(ops.group_normalized_advantage), terms=[ClippedRatio()], reduce="token-mean")


class Short(CartPoleEnv):
    pass


class Sums(Arithmetic):
    pass


gymnasium.register("Brought-v0", Short, max_episode_steps=20)
TEXT_TASKS["brought"] = Sums
if __name__ == "__main__":
    import os
    from pathlib import Path

    model = next(Path(os.environ["OPERANT_CACHE"]).glob("base/text-arithmetic-*"))
    text = {"model": str(model), "prompts": 2, "group_size": 2}
    runs = (("brought", "sequences:target", {}), ("random", "gym:Brought-v0", {}), ("grpo", "text:brought", text))
    for method, task, options in runs[: int(sys.argv[1])]:
        given = {"steps": 1, "episodes": 1, "out": Path("a folder") / task.replace(":", "-"), "progress": False} | options
        operant.train(method, task, **given)
        try:
            operant.train(method, task, **given)
        except operant.BadInput as error:
            print(error)
"""


def told(text: str) -> list[list[str]]:
    """The words of the command lines in what was said, those that are forms of one (METHOD, RUN) left out."""
    found = re.findall(r"(?:^|: |next +|try +|  )(operant [a-z].*?)(?:;|$)", text, re.MULTILINE)
    return [shlex.split(line)[1:] for line in found if not re.search(r"\b[A-Z]{3,}\b|…", line)]


def test_what_is_told_of_runs_that_a_file_made(tmp_path: Path, start, process_environment):
    (tmp_path / "own things.py").write_text(BROUGHT)

    def works(words) -> str:
        child = start(*words, folder=tmp_path)
        assert child.wait() == 0, (words, child.said)
        return child.told

    text = due("told-text", "src/operant/core/commands.py", "src/operant/worlds/text/tasks/")
    runs = ("sequences-target", "gym-Brought-v0", *(["text-brought"] if text else []))
    command = [sys.executable, "own things.py", str(len(runs))]
    script = subprocess.run(command, cwd=tmp_path, env=process_environment, capture_output=True, text=True, timeout=120)
    assert script.returncode == 0, script.stderr
    of_the_script = told(script.stdout)
    assert [words[:2] for words in of_the_script] == [["resume", f"a folder/{run}"] for run in runs]
    for words in of_the_script:
        next_ones = told(works(words))
        assert [words[0] for words in next_ones] == ["report", "evaluate"]
        works(next_ones[1])
    (tmp_path / "own things.py").rename(tmp_path / "moved.py")
    says = start("evaluate", "a folder/sequences-target", "--trust", folder=tmp_path)
    assert says.wait() == 2 and "--import FILE.py" in says.said
    again = told(works(["resume", "a folder/sequences-target", "--steps", 2, "--import", "moved.py"]))
    assert len(again) == 2


@in_turn("told of methods", "src/operant/core/commands.py", "src/operant/cli/")
def test_what_is_told_of_a_method_that_a_file_brings(tmp_path: Path, start):
    (tmp_path / "own.py").write_text(BROUGHT)
    for words in (["train", "brought", "--import", "own.py", "--help"], ["show", "brought", "--import", "own.py"]):
        child = start(*words, folder=tmp_path)
        assert child.wait() == 0
        lines = told(child.told)
        assert lines and all(line[:2] == ["train", "brought"] for line in lines)
        line = min(lines, key=len)
        first = start(*line, "--steps", 1, "--episodes", 1, folder=tmp_path)
        assert first.wait() == 0, (line, first.said)
    words = ("--methods", "brought,rloo", "--task", "sequences:target", "--steps", 1, "--episodes", 1, "--jobs", 2, "--out", "side", "--import", "own.py")
    side = start("compare", *words, folder=tmp_path)
    assert side.wait() == 0, side.said


def test_a_run_on_python_objects_is_gone_on_with_in_python(tmp_path: Path):
    from gymnasium.envs.classic_control import CartPoleEnv

    made = lambda: CartPoleEnv()  # noqa: E731, PLW0108 - it has no name by which a command could find it

    operant.train("random", made, steps=1, episodes=1, out=tmp_path / "run", progress=False)
    with pytest.raises(BadInput, match=re.escape(f"operant.resume('{tmp_path / 'run'}', task=…)")):
        operant.train("random", made, steps=1, episodes=1, out=tmp_path / "run", progress=False)
