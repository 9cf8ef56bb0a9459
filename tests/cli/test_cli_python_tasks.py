"""Runs that were made in Python on a class or a function, and are then used by commands: by other processes, which have seen nothing of it."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import operant as api

SMALL = {"steps": 64, "environments": 2, "rollout_length": 16, "hidden": (4,), "episodes": 1, "threads": 1, "progress": False}
MODULE = """
import gymnasium
import numpy as np


class Corridor(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([3, 2]))
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 0.0
        return np.float32([self.cell]), {}

    def step(self, action):
        self.cell += 1
        return np.float32([self.cell]), -1.0, self.cell == 5, False, {}

    def render(self):
        return np.zeros((20, 20, 3), np.uint8)


def corridor(**settings):
    return gymnasium.wrappers.TimeLimit(Corridor(**settings), 4)
"""


COUNT = itertools.count()  # the processes that a nursery starts may share a folder that is looked through


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of environments in that folder."""
    name = f"own_corridors_{next(COUNT)}"
    (here / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(here)
    yield importlib.import_module(name)
    del sys.modules[name]


def stopped(run: api.Run, folder: Path) -> Path:
    """A copy of a run that has not written its result yet."""
    copy = Path(shutil.copytree(run.path, folder, symlinks=True))
    (copy / "result.json").unlink()
    return copy


@pytest.mark.parametrize(("name", "score"), [("Corridor", -5.0), ("corridor", -4.0)])
def test_commands_find_what_a_module_has_under_its_name(start, here: Path, own: ModuleType, name: str, score: float):
    run = api.train("ppo", getattr(own, name), out="run", **SMALL)
    assert run.config["task"] == f"gym:{own.__name__}:{name}" and "task_callable" not in run.config and run.result["score"]["iqm"] == score
    stopped(run, here / "stopped")
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    commands = [("evaluate", here / "run", "--json"), ("watch", here / "run", "--out", here / "film.gif", "--json"), ("resume", here / "stopped", "--json")]
    for words in commands:
        refused = start(*words, folder=elsewhere)
        assert refused.wait() == 2 and f"the module {own.__name__} for the task {run.config['task']} (" in refused.said, refused.said
        assert "say --trust" in refused.said and refused.said.splitlines()[-1].startswith("operant: error: ")
    evaluated, watched, resumed = [start(*words, "--trust", folder=elsewhere) for words in commands]  # from a folder that does not have the module
    for process in (evaluated, watched, resumed):
        assert process.wait() == 0, process.said
    assert json.loads(evaluated.told.splitlines()[-1])["score"]["iqm"] == score
    assert json.loads(watched.told.splitlines()[-1])["episodes"] == [{"return": score, "steps": -score, "cut": False}] and (here / "film.gif").exists()
    assert json.loads(resumed.told.splitlines()[-1])["score"] == run.result["score"]
    trained = start("train", "ppo", "--task", f"gym:{own.__name__}:{name}", "--steps", 32, "--environments", 2, "--rollout-length", 16, "--json", folder=here)
    assert trained.wait() == 0, trained.said


def test_commands_find_what_stands_beside_a_file(start, here: Path):
    """A module of environments that imports another one of its folder, and a file of `--import` in a folder of its own that does."""
    (here / "one").mkdir()
    for folder, name in ((here, "base_of_some"), (here / "one", "base_of_others")):
        (folder / f"{name}.py").write_text(MODULE)
    (here / "some.py").write_text("from base_of_some import Corridor\n\n\nclass Own(Corridor):\n    pass\n")
    late = "import gymnasium\n\n\ndef other():\n    from base_of_others import corridor\n    return corridor()\n\n\n"
    (here / "one" / "others.py").write_text(f"{late}gymnasium.register('Others-v0', other)\n")
    words = ("--steps", 32, "--environments", 2, "--rollout-length", 16, "--episodes", 1, "--threads", 1)
    for run, given in (("a", ("--task", "gym:some:Own")), ("b", ("--task", "gym:Others-v0", "--import", "one/others.py"))):
        trained = start("train", "ppo", *given, *words, "--out", run, folder=here)
        assert trained.wait() == 0, trained.said
    (here / "elsewhere").mkdir()
    for run, folder in itertools.product("ab", (here, here / "elsewhere")):
        evaluated = start("evaluate", here / run, "--episodes", 1, "--trust", folder=folder)
        assert evaluated.wait() == 0, evaluated.said


def test_what_has_no_name_is_refused_with_what_to_do(start, here: Path, own: ModuleType):
    run = api.train("ppo", lambda: own.Corridor(), out="run", **SMALL)
    for words in (("evaluate", "run"), ("watch", "run", "--out", "film.gif"), ("resume", stopped(run, here / "stopped"))):
        refused = start(*words, "--trust", folder=here)
        assert refused.wait() == 2
        last = refused.said.splitlines()[-1]
        assert "<lambda>, a Python object that no module has under that name: in Python give it again, operant." in last
        assert "a function or class at the top of a module, other than the script that runs, is found again by itself" in last


@pytest.mark.parametrize("named", [True, False])
def test_an_export_needs_neither_the_environment_nor_trust(start, here: Path, own: ModuleType, named: bool):
    run = api.train("ppo", own.Corridor if named else lambda: own.Corridor(), out="run", **SMALL)
    (here / f"{own.__name__}.py").unlink()
    exported = start("export", here / "run", "--format", "torch", "--json", folder=here)
    assert exported.wait() == 0, exported.said
    assert json.loads(exported.told.splitlines()[-1])["outputs"] == [{"name": "action", "shape": ["N", 2], "dtype": "float32"}]
    seen = np.float32([[0.0], [3.0], [-200.0]])
    found = torch.export.load(here / "run-seed-0.pt2").module()(torch.from_numpy(seen))[0]
    np.testing.assert_allclose(found.numpy(), run.policy(seen), atol=1e-6)


GAME = """
import torch

from operant.worlds.tabular.games import Chance, End, FiniteGame, Turn
from operant.worlds.tabular.mdp import FiniteMDP


def follow(history):
    if len(history) == 2:
        return End((1, -1) if history[0] == history[1] else (-1, 1))
    return Turn(len(history), "a coin", [(side, (*history, side)) for side in ("heads", "tails")])


def pennies():
    return FiniteGame.extensive((), follow)


def stay():
    return FiniteMDP(torch.ones(1, 1, 2, 1).double(), torch.tensor([[[0.0, 1.0]]]).double(), torch.ones(1, 1).double(), 0.5)


def neither():
    return 3


def endless():
    return FiniteGame.extensive(0, lambda at: Chance([(1.0, at)]))
"""


@pytest.fixture
def own_game(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of finite problems in that folder."""
    name = f"own_game_{next(COUNT)}"
    (here / f"{name}.py").write_text(GAME)
    monkeypatch.syspath_prepend(here)
    yield name
    sys.modules.pop(name, None)


def test_commands_make_a_game_by_the_function_that_is_named(operant, start, here: Path, own_game: str):
    task = f"tabular:{own_game}:pennies"
    assert operant("solve", task, "--json").json["value"] == [0, 0]
    assert operant("train", "cfr", "--task", task, "--steps", 6, "--out", "run").code == 0
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    copy = Path(shutil.copytree(here / "run", here / "stopped", symlinks=True))
    (copy / "result.json").unlink()
    for words in (("evaluate", here / "run"), ("resume", copy)):
        refused = operant(*words)
        assert refused.code == 2 and f"the module {own_game} for the task {task}" in refused.err and "say --trust" in refused.err
    evaluated = start("evaluate", here / "run", "--json", "--trust", folder=elsewhere)  # which does not have the module
    assert evaluated.wait() == 0, evaluated.said
    found = json.loads(evaluated.told.splitlines()[-1])["strategies"][0]
    assert found[0] == {"player": 1, "seen": "a coin", "policy": {"heads": 0.5, "tails": 0.5}, "reached": True}
    assert operant("resume", copy, "--trust").code == 0
    assert operant("report", here / "run", "--trust", "--out", "page.html").code == 0 and "<td>a coin</td>" in Path("page.html").read_text()


def test_commands_make_an_mdp_by_the_function_that_is_named(operant, own_game: str):
    assert operant("solve", f"tabular:{own_game}:stay", "--json").json["optimal_value"] == pytest.approx(2)
    for name, says in (("neither", "makes int, must be a FiniteGame or a FiniteMDP"), ("gone", "has no attribute 'gone'"), ("endless", "must come to an End")):
        answer = operant("solve", f"tabular:{own_game}:{name}")
        assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1 and says in answer.err
    answer = operant("solve", "tabular:no_such_module:game")
    assert answer.code == 2 and "No module named 'no_such_module'" in answer.err and "tabular:MODULE:FUNCTION" in answer.err
    assert f"in the working directory, {Path.cwd()}: it has none of nearly that name" in answer.err


def test_the_code_that_a_run_names_is_named_once():
    from operant.loops.trust import code_named

    config = {"task": "gym:courier:Courier", "imports": ["/a/munchausen.py", "/a/courier.py"], "options": {"environment": "other:Make"}}
    told = ["the module courier for the task gym:courier:Courier (/a/courier.py)", "the module other as its environment", "the file /a/munchausen.py"]
    assert code_named(config) == told


def test_what_gymnasium_brings_to_a_table_is_code_that_a_run_names():
    from operant.loops.trust import modules_named

    assert modules_named({"task": "tabular:gym/own_lakes:Lake-v0"}) == {"own_lakes": "for the task tabular:gym/own_lakes:Lake-v0"}
    assert modules_named({"task": "tabular:gym/FrozenLake-v1"}) == modules_named({"task": "tabular:/a:b/own.npz"}) == {}
