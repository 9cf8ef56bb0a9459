"""Names are answered at once: from the text of the modules, without PyTorch, and with what the person is likely to have meant."""

from __future__ import annotations

import subprocess

import pytest

from operant import bench
from operant.core.errors import nearest
from operant.core.index import declared, declared_fields, declared_worlds
from operant.core.registry import hyperparameters, methods
from operant.evidence import claims
from operant.studies import studies
from operant.worlds import check_name, task_names
from operant.worlds.gym.native import NATIVE
from operant.worlds.names import CLASSIC, NAMES

OWN = {key: entry for key, entry in methods().items() if entry.build.__module__.startswith("operant.")}


def test_the_index_says_what_importing_everything_says():
    assert declared("methods", "method") == {key: entry.build.__module__ for key, entry in OWN.items()}
    assert declared("studies", "study") == {key: entry.conduct.__module__ for key, entry in studies().items()}
    assert declared("evidence", "check") == {key: entry.module for key, entry in claims().items()}
    assert set(declared("bench", "bench")) == set(bench.names()) and all(bench.find(name).about for name in bench.names())
    for key, entry in OWN.items():
        module = entry.build.__module__
        assert sorted(declared_fields(module, "method", key)) == sorted(item.name for item in hyperparameters(entry.hyperparameters)), key
        assert declared_worlds(module, key) == entry.worlds


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "trian ppo",
        "train nope --task gym:CartPole-v1",
        "train ppo --task gmy:CartPole-v1",
        "train ppo --task gym:CartPole-v1 --lr 3",
        "show nope",
        "study nope",
        "evidence nope",
        "bench nope",
        "train grpo --task text:arithmatic",
        "train grpo --task sequences:targt",
        "compare --methods grpo,rloo --task text:arithmatic",
    ],
)
def test_a_wrong_name_is_answered_without_pytorch(command, environment, words: str):
    program = "import sys; from operant.cli.main import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules, 'gymnasium' in sys.modules)"
    found = subprocess.run([command[0], "-c", program, *words.split()], env=environment, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == f"{0 if words == '--help' else 2} False False", found.stderr


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("gym:CartPol-v1", "CartPole-v1"),
        ("gym:LunarLandr-v3", "LunarLander-v3"),
        ("CartPol-v1", "gym:CartPole-v1 or gym:CartPole-v0"),
        ("LunarLander-v3", "gym:LunarLander-v3"),
        ("arithmatic", "text:arithmetic"),
        ("pointmaze-medium-navigat-v0", "ogbench:pointmaze-medium-navigate-v0"),
    ],
)
def test_a_wrong_task_is_answered_without_pytorch(command, environment, task: str, meant: str):
    program = "import sys; from operant.cli.main import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    found = subprocess.run([command[0], "-c", program, "train", "ppo", "--task", task], env=environment, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "2 False" and f"did you mean {meant}" in found.stderr, found.stderr


def test_the_names_of_tasks_are_those_that_the_worlds_say():
    assert [f"{scheme}:{name}" for scheme, names in NAMES.items() for name in names] == list(task_names())
    for task in task_names():
        check_name(task)
        check_name(task.partition(":")[2])
    assert tuple(NATIVE) == CLASSIC


METHODS = ("bc", "d3s", "grpo", "iql", "ppo", "ppo-text", "reinforce++", "sac-v2", "t-ppo")


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("--lr", ("--lam", "--learning-rate", "--task"), "--learning-rate"),
        ("--bs", ("--batch-size", "--beta"), "--batch-size"),
        ("--lambda", ("--gae-lambda", "--gamma"), "--gae-lambda"),
        ("sac", METHODS, "sac-v2"),
        ("PPO", METHODS, "ppo"),
        ("reinforce", METHODS, "reinforce++"),
        ("cartpole", ("CartPole-v1", "Ant-v5"), "CartPole-v1"),
        ("trian", ("train", "resume"), "train"),
        ("grop", METHODS, "grpo"),
    ],
)
def test_what_was_meant(typed: str, known: tuple[str, ...], meant: str):
    assert nearest(typed, known) == f"did you mean {meant}?"


@pytest.mark.parametrize("typed", ["td3", "dqn", "nope", "a2c", ""])
def test_a_name_that_is_near_to_nothing_suggests_nothing(typed: str):
    assert nearest(typed, METHODS, "`operant methods` lists what there is") == "`operant methods` lists what there is"


def test_training_a_method_imports_its_file_alone(command, environment):
    program = (
        "import sys; from operant.cli.main import main; main(sys.argv[1:]); "
        "print(*[name for name in sys.modules if name.startswith(('operant.methods.', 'operant.evidence', 'operant.studies', 'operant.bench')) "
        "and sys.modules[name].__file__.rpartition('/')[2] != '__init__.py'])"
    )
    words = "train ppo --task gym:CartPole-v1 --steps 1 --gamma 7"
    found = subprocess.run([command[0], "-c", program, *words.split()], env=environment, capture_output=True, text=True)
    assert found.stdout.split() == ["operant.methods.online.ppo"] and "gamma" in found.stderr
