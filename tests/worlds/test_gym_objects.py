"""Environment objects, vector environments and things that are no environment as tasks."""

import importlib
import sys
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import operant
from operant.cli.main import main
from operant.core.errors import BadInput, RunFailed, apart
from operant.loops.configuration import configure_run
from operant.worlds import make_world

PPO = {"steps": 16, "environments": 2, "rollout_length": 8, "minibatches": 1, "epochs": 1, "hidden": (4,), "episodes": 2}


class Walk(gymnasium.Env):
    """Its goal is an attribute that a person may set; the observation tells it."""

    observation_space = spaces.Box(-10, 10, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, goal=1.0):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.float32([self.goal]), {}

    def step(self, action):
        return np.float32([self.goal]), 0.0, True, False, {}


class Uncopied(Walk):
    """Holds something that cannot be copied."""

    def __init__(self, goal=1.0):
        super().__init__(goal)
        self.lines = (line for line in ())


def starts(world, rows):
    environments = world.make(list(range(rows)))
    try:
        return environments.reset()[:, 0].tolist()
    finally:
        environments.close()


def test_an_environment_is_copied_as_it_is():
    env = Walk()
    env.goal = 3.0
    world = make_world(env)
    assert world.task == "gym:Walk"
    assert starts(world, 3) == [3.0, 3.0, 3.0]
    env.goal = 5.0
    assert starts(make_world(env), 1) == [5.0]
    assert env.reset()[0] == 5.0  # it is still the person's own


def test_a_made_environment_trains_and_resumes(tmp_path):
    env = gymnasium.make("CartPole-v1", sutton_barto_reward=True)
    run = operant.train("ppo", env, out=tmp_path / "run", **PPO)
    assert run.config["task"] == "gym:CartPole-v1"
    assert run.result["score"]["iqm"] == -1.0  # as that reward says
    assert run.policy(env.reset(seed=0)[0]) in (0, 1)
    assert operant.resume(tmp_path / "run", task=env).result == run.result
    with pytest.raises(BadInput, match=r"trained on gym:CartPole-v1, a Python object that no module has under that name: .* operant.load\(path, task=…\)"):
        operant.load(tmp_path / "run").policy(np.zeros(4))
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(BadInput, match=r"trained on another task than this one: on gym:CartPole-v1 Box.*Discrete\(2\); this is gym:Walk Box.* Discrete\(2\)$"):
        operant.resume(tmp_path / "run", task=Walk())
    with pytest.raises(BadInput, match=r"operant.resume\(path, task=…\); a function or class at the top of a module, other than the script that runs"):
        operant.resume(tmp_path / "run")


def test_tasks_that_differ_at_their_ends_are_told_from_there():
    many = " ".join(f"'part {number}': Box(0, 1)" for number in range(30))
    assert apart(f"gym:Walk {many} Discrete(2)", f"gym:Walk {many} Discrete(3)") == ("gym:Walk … 1) Discrete(2)", "gym:Walk … 1) Discrete(3)")
    assert apart("gym:Walk Discrete(2)", "gym:Run Discrete(2)") == ("gym:Walk Discrete(2)", "gym:Run Discrete(2)")


def test_an_environment_that_cannot_be_copied_is_made_again():
    gymnasium.register("OperantUncopied-v0", Uncopied)
    try:
        world = make_world(gymnasium.make("OperantUncopied-v0", goal=4.0))
        assert starts(world, 2) == [4.0, 4.0]
        assert world.task == "gym:OperantUncopied-v0"
    finally:
        del gymnasium.registry["OperantUncopied-v0"]
    with pytest.raises(BadInput, match=r"'Uncopied' can neither be copied \(TypeError: .*\) nor made again by its spec: give a function that makes one"):
        make_world(Uncopied())


def test_rows_of_a_vector_environment():
    vector = SyncVectorEnv([lambda: Walk(1.0), lambda: Walk(2.0), lambda: Walk(3.0)])
    world = make_world(vector)
    assert starts(world, 5) == starts(world, 5) == [1.0, 2.0, 3.0, 1.0, 2.0]
    batched = make_world(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"))
    assert batched.task == "gym:CartPole-v1"
    assert len(starts(batched, 4)) == 4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_vector_environment_trains(tmp_path):
    run = operant.train("ppo", gymnasium.make_vec("Pendulum-v1", 2), out=tmp_path / "run", max_evaluation_steps=7, **PPO)
    assert run.config["options"] == {"max_evaluation_steps": 7}
    assert run.policy(np.zeros((3, 3), np.float32)).shape == (3, 1)


@pytest.mark.parametrize("make", [partial(gymnasium.make_vec, "CartPole-v1", num_envs=3), partial(partial, gymnasium.make_vec, "CartPole-v1", num_envs=3)])
def test_as_many_copies_are_trained_on_as_a_vector_environment_has_rows(make):
    def taken(method, **hyperparameters):
        config = configure_run(method, make(), steps=64, hyperparameters=hyperparameters)[0]
        return config["hyperparameters"].get("environments"), [line for line in config["notes"] if "environments" in line]

    assert taken("ppo") == (3, ["environments is 3, the rows of the vector environment that was given; ppo's default is 8"])
    assert taken("dqn") == (3, ["environments is 3, the rows of the vector environment that was given; dqn's default is 1"])
    assert taken("ppo", environments=5) == (5, [])
    assert configure_run("ppo", "gym:CartPole-v1", steps=64)[0]["hyperparameters"]["environments"] == 8


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"observation": np.zeros((3, 2))}, r"a dict of arrays is no task: save it with numpy.savez"),
        ([1, 2], "a list is no environment"),
        (None, "a NoneType is no environment"),
        (3, "^an int is no environment"),
        ("gym:ALE/Pong-v5", r"'ALE/Pong-v5' is of a package that is not installed: pip install 'operant\[atari\]'"),
        ("gym:PongNoFrameskip-v4", r"pip install 'operant\[atari\]'"),
        ("gym:SpaceInvadersDeterministic-v0", r"pip install 'operant\[atari\]'"),
        ("gym:MinAtar/Breakout-v1", r"pip install 'operant\[minatar\]'"),
        ("gym:MiniGrid-Empty-5x5-v0", r"pip install 'operant\[minigrid\]'"),
        ("gym:FetchReach-v4", "pip install gymnasium-robotics"),
        ("gym:acme/Thing-v0", "name the module that registers acme/…, gym:MODULE:acme/Thing-v0"),
    ],
)
def test_what_is_no_environment(task, message, monkeypatch):
    # As if none of these packages were installed; some are in Gymnasium's registry from the start where they are.
    monkeypatch.setattr("operant.worlds.gym.ids.importlib.util.find_spec", lambda name: None)
    for name in [name for name in gymnasium.registry if name.startswith(("ALE/", "MinAtar/", "MiniGrid-", "Fetch", "Pong", "SpaceInvaders"))]:
        monkeypatch.delitem(gymnasium.registry, name)
    with pytest.raises(BadInput, match=message):
        make_world(task)


@pytest.mark.parametrize("code", ["raise RuntimeError('no licence')", "raise SystemExit(0)", "def broken(:", "import sys; sys.exit()"])
def test_a_module_that_raises_on_import(code, tmp_path, monkeypatch):
    name = f"bad_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=f"importing {name} raised (RuntimeError: no licence|SystemExit|SyntaxError)"):
        make_world(f"gym:{name}:Thing-v0")


class Leaving(Walk):
    """Exits at a chosen moment."""

    def __init__(self, when="step"):
        super().__init__()
        self.when, self.count = when, 0
        if when == "make":
            raise SystemExit(0)

    def reset(self, *, seed=None, options=None):
        if self.when == "reset":
            raise SystemExit(0)
        return super().reset(seed=seed)

    def step(self, action):
        self.count += 1
        if self.when == "step" and self.count == 3:
            raise SystemExit(0)
        return np.float32([0.0]), 0.0, False, self.count == 5, {}

    def close(self):
        if self.when == "close":
            raise SystemExit(0)


@pytest.mark.parametrize("when", ["make", "reset", "step"])
def test_an_environment_that_exits_fails_the_run(when, tmp_path):
    with pytest.raises(RunFailed, match="raised SystemExit: 0"):
        operant.train("ppo", lambda: Leaving(when), out=tmp_path / "run", **PPO)


def test_what_closing_raises_is_told_and_spoils_nothing(tmp_path):
    with pytest.warns(RuntimeWarning, match="close raised SystemExit: 0"):
        assert operant.train("ppo", lambda: Leaving("close"), out=tmp_path / "run", **PPO).result is not None


class Wrong(Walk):
    def __init__(self, where):
        super().__init__()
        self.where = where

    def reset(self, *, seed=None, options=None):
        return (np.zeros(3, np.float32) if self.where == "reset" else np.zeros(1, np.float32)), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, *(() if self.where == "step" else (False,)), {}


@pytest.mark.parametrize(("where", "message"), [("reset", r"observation has shape \(3,\)"), ("step", "got 4 values")])
def test_a_first_step_that_breaks_the_api_is_told_before_a_run_exists(where, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        operant.train("ppo", lambda: Wrong(where), out=tmp_path / "run", **PPO)
    assert not (tmp_path / "run").exists()


class Spaceless(gymnasium.Env):
    pass


class Empty(Walk):
    observation_space = spaces.Box(-1, 1, (0,), np.float32)


@pytest.mark.parametrize(("make", "message"), [(Spaceless, "its observation_space is None, no gymnasium.Space"), (Empty, r"Box\(.*\) has no elements")])
def test_spaces_are_checked_before_a_run_exists(make, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        operant.train("ppo", make, out=tmp_path / "run", **PPO)
    assert not (tmp_path / "run").exists()


def test_observations_outside_their_space_are_told_once():
    class Far(Walk):
        def reset(self, *, seed=None, options=None):
            return np.float32([12.0]), {}

    with pytest.warns(RuntimeWarning, match=r"'.*Far', row 0, after 0 steps: observation element 0 is 12, outside \[-10, 10\]") as told:
        world = make_world(Far)
        starts(world, 3)
    assert len(told) == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_workers_need_a_function_that_other_processes_can_import(seeds, tmp_path):
    with pytest.raises(BadInput, match=r"--workers 2: what makes the environment cannot be sent to another process \(.*\); give a function at the top level"):
        operant.train("ppo", lambda: Walk(), out=tmp_path / "run", workers=2, seeds=seeds, **PPO)
    with pytest.raises(BadInput, match="can be split over at most 2"):
        operant.train("ppo", Walk, out=tmp_path / "run", workers=3, seeds=seeds, **PPO)
    assert not (tmp_path / "run").exists()


def test_a_replay_that_memory_cannot_hold_is_refused(tmp_path):
    class Large(Walk):
        observation_space = spaces.Box(0, 1, (300, 300, 3), np.float32)
        action_space = spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros((300, 300, 3), np.float32), {}

        def step(self, action):
            return np.zeros((300, 300, 3), np.float32), 0.0, True, False, {}

    assert make_world(Large).notes == []  # a picture goes through convolutions
    says = r"replay of 1,000,000 transitions for 2 seeds takes [\d,.]+ [GT]B .* and this machine has [\d.]+ GB: at most --capacity \d+"
    with pytest.raises(BadInput, match=says):
        operant.train("sac-v2", Large, steps=10**7, seeds=2, out=tmp_path / "run", hidden=(2,))
    assert not (tmp_path / "run").exists()


class Within:
    Walk = Walk

    @classmethod
    def make(cls):
        return Walk(2.0)

    class Own(Walk):
        pass


def walk():
    return Walk(7.0)


MADE = partial(Walk, 3.0)


@pytest.mark.parametrize(("make", "name"), [(Walk, "Walk"), (walk, "walk"), (Within.Own, "Within.Own"), (Within.make, "Within.make")])
def test_what_a_module_has_under_its_name_is_found_again_by_it(make, name):
    world = make_world(make)
    assert world.named and world.task == f"gym:{__name__}:{name}"
    again = make_world(world.task)
    assert again.named and again.fingerprint() == world.fingerprint() and starts(again, 2) == starts(world, 2)
    assert again.modules == world.modules == (__name__,)


def test_what_has_no_name_of_its_own_is_not_named(monkeypatch):
    def within():
        return Walk()

    moved = type("Walk", (Walk,), {"__module__": __name__})  # the module's Walk is another one
    for make in (within, lambda: Walk(), MADE, Walk(), SyncVectorEnv([Walk]), moved):
        world = make_world(make)
        assert not world.named and not world.modules and world.task.startswith("gym:")
    for module in ("__main__", "not_loaded"):
        monkeypatch.setattr(walk, "__module__", module)
        assert make_world(walk).task == "gym:walk"
    monkeypatch.undo()
    gymnasium.register("walk", Uncopied)  # an id comes before a name
    try:
        assert make_world(walk).task == "gym:walk" and starts(make_world(f"gym:{__name__}:walk"), 1) == [1.0]
    finally:
        del gymnasium.registry["walk"]


def test_a_part_of_a_package_is_remembered_by_its_name_alone():
    from gymnasium.envs.classic_control import MountainCarEnv

    world = make_world(MountainCarEnv)
    assert world.task == "gym:gymnasium.envs.classic_control.mountain_car:MountainCarEnv" and not world.modules


@pytest.mark.parametrize(("name", "said"), [("wlak", r"class or id wlak: did you mean Walk or walk\?"), ("PPO", "class or id PPO: known: ")])
def test_a_name_that_a_module_does_not_have(name, said):
    with pytest.raises(BadInput, match=said):
        make_world(f"gym:{__name__}:{name}")


def test_the_command_line_says_that_an_environment_exits(tmp_path, monkeypatch, capsys):
    (tmp_path / "operant_leaving.py").write_text(
        "import gymnasium\nfrom test_gym_objects import Leaving\ngymnasium.register('OperantLeaving-v0', Leaving)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    code = main(["train", "ppo", "--task", "gym:operant_leaving:OperantLeaving-v0", "--steps", "100", "--out", str(tmp_path / "run")])
    assert code == 1
    assert "step raised SystemExit: 0" in capsys.readouterr().err


def test_a_module_of_the_working_directory_is_found(tmp_path, monkeypatch):
    """Of an environment as of a game, as verifiers find theirs; and it takes no name that is there already."""
    (tmp_path / "beside_the_run.py").write_text(
        "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Beside-v0', CartPoleEnv, max_episode_steps=5)\ndef parallel_env():\n    raise ValueError('found')\n"
    )
    (tmp_path / "json.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    assert make_world("gym:beside_the_run:Beside-v0").task == "gym:beside_the_run:Beside-v0"
    with pytest.raises((BadInput, RunFailed), match="found"):
        make_world("agents:beside_the_run:parallel_env")
    with pytest.raises(BadInput, match="No module named 'not_beside'"):
        make_world("gym:not_beside:Beside-v0")
    assert "dumps" in vars(importlib.import_module("json"))
