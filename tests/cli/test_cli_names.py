"""Names are answered at once: from the text of the modules, without PyTorch, and with what the person is likely to have meant."""

from __future__ import annotations

import json
import subprocess

import pytest

from operant import bench
from operant.cli.training import TRAIN, fields_of, method_parser, type_name
from operant.core.elsewhere import ELSEWHERE, named_elsewhere
from operant.core.errors import BadInput, nearest
from operant.core.index import declared, outline
from operant.core.registry import configure, get_method, hyperparameters, methods, value_text
from operant.evidence import claims
from operant.studies import studies
from operant.worlds import check_name, task_names
from operant.worlds.gym.native import NATIVE
from operant.worlds.names import CLASSIC, NAMES

OWN = {key: entry for key, entry in methods().items() if entry.build.__module__.startswith("operant.")}


def test_the_index_says_what_importing_everything_says():
    assert declared("methods", "method") == {key: entry.build.__module__ for key, entry in OWN.items()}
    assert declared("studies", "study") | declared("evidence", "study") == {key: entry.conduct.__module__ for key, entry in studies().items()}
    assert declared("evidence", "check") == {key: entry.module for key, entry in claims().items()}
    assert set(declared("bench", "bench")) == set(bench.names()) and all(bench.find(name).about for name in bench.names())


SAID = """
import json, sys
from operant.core.index import declared
from operant.core.registry import hyperparameters, outlined_method, value_text
from operant.cli.training import TRAIN, fields_of, method_parser, type_name
from operant.core.elsewhere import ELSEWHERE, named_elsewhere
from operant.studies import outlined_study

def settings(cls):
    return [[item.name, type_name(item.type), value_text(item.default), item.help, str(item.range), str(item.tune)] for item in hyperparameters(cls)]

def said(entry, cls, *names):
    return [settings(cls), *(getattr(entry, name) for name in names)]

found = {key: outlined_method(key) for key in declared("methods", "method")}
studied = {key: outlined_study(key) for key in declared("studies", "study") | declared("evidence", "study")}
assert all(found.values()) and all(studied.values()), [key for key, entry in (found | studied).items() if entry is None]
assert "torch" not in sys.modules and "numpy" not in sys.modules
names = "name", "family", "paper", "worlds", "spine", "actions", "baseline", "example", "doc"
of_methods = {key: [*said(entry, entry.hyperparameters, *names), entry.build.__module__] for key, entry in found.items()}
of_studies = {key: said(entry, entry.options, "paper", "summary", "doc") for key, entry in studied.items()}
print(json.dumps([of_methods, of_studies]))
"""


def settings(cls: type) -> list[list[str]]:
    return [[item.name, type_name(item.type), value_text(item.default), item.help, str(item.range), str(item.tune)] for item in hyperparameters(cls)]


def test_the_text_of_every_method_and_study_says_what_importing_it_says(command, environment):
    """Another process reads the text, where nothing is imported yet."""
    found = subprocess.run([command[0], "-c", SAID], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    of_methods, of_studies = json.loads(found.stdout)
    assert of_methods.keys() == OWN.keys() and of_studies.keys() == studies().keys()
    for key, entry in OWN.items():
        said = [entry.name, entry.family, entry.paper, [*entry.worlds], entry.spine, [*entry.actions], entry.baseline, entry.example, entry.doc]
        assert of_methods[key] == [settings(entry.hyperparameters), *said, entry.build.__module__], key
    for key, entry in studies().items():
        assert of_studies[key] == [settings(entry.options), entry.paper, entry.summary, entry.doc], key


def test_what_is_no_plain_dataclass_is_left_to_an_import():
    for module, name in (("operant.core.index", "Register"), ("operant.loops.policy_gradient", "Nothing")):
        with pytest.raises(LookupError):
            outline(module, name)


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
        *("train ppo --help", "train grpo -h", "tune td3 --help", "train iql --task ogbench:x --help", "train --task gym:CartPole-v1 --help"),
        *("compare --help", "compare --methods ppo,td3 --help", "compare --methods ppo,td3 --task gym:nothing -h", "study brorl --help"),
    ],
)
def test_help_and_wrong_names_are_answered_without_pytorch(command, environment, words: str):
    program = "import sys; from operant.cli.main import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules, 'gymnasium' in sys.modules)"
    found = subprocess.run([command[0], "-c", program, *words.split()], env=environment, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == f"{0 if words.endswith(('-h', '--help')) else 2} False False", found.stderr


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


@pytest.mark.parametrize(
    ("method", "typed", "meant"),
    [
        ("ppo", "--n-steps", "--rollout-length"),
        ("dqn", "--n-steps", "--n-step"),
        ("ppo", "--num-envs", "--environments"),
        ("ppo", "--ent-coef", "--entropy-coefficient"),
        ("ppo", "--batch-size", "--minibatches"),
        ("trpo", "--batch-size", "--value-minibatches"),
        ("ppo", "--total-timesteps", "--steps"),
        ("td3", "--gradient-steps", "--updates-per-step"),
        ("redq", "--gradient-steps", "--critic-updates"),
        ("dqn", "--target-update-interval", "--target-every"),
        ("dqn", "--policy-kwargs", "--hidden"),
    ],
)
def test_the_name_of_another_library_is_told_in_ours(method: str, typed: str, meant: str):
    parser = method_parser(get_method(method), ("gym",))
    with pytest.raises(BadInput, match=f"^unknown option '{typed}' of operant train {method}: {typed} is {meant} here") as said:
        parser.reject([typed, "1"])
    assert "\n" not in str(said.value)


def test_in_python_too():
    with pytest.raises(BadInput, match=r"^ppo has no hyper-parameter 'n_steps': n_steps is rollout_length here$"):
        configure("ppo", {"n_steps": 5})
    with pytest.raises(BadInput, match=r"total_timesteps is steps here \(steps of each seed\)"):
        configure("td3", {"total_timesteps": 5})
    with pytest.raises(BadInput, match="there is no clip_range_vf here: the value loss is not clipped"):
        configure("ppo", {"clip_range_vf": 0.2})


def test_what_names_of_other_libraries_mean_is_there():
    of_run = [name for action in TRAIN.parser()._actions for name in action.option_strings]
    control = [fields_of(entry) for entry in OWN.values() if entry.family == "online"]
    said = [(name, here) for each in ELSEWHERE for name in each.names for here in each.here]
    assert len(said) == len(set(said))
    for each in ELSEWHERE:
        for here in each.here:
            assert f"--{here}" in of_run if each.of_run else any(here in fields for fields in control), each
        for fields in control:  # who has the name itself is never told another
            assert all(name in fields or named_elsewhere(name, fields) != f"{name} is {name} here" for name in each.names)


def test_training_a_method_imports_its_file_alone(command, environment):
    program = (
        "import sys; from operant.cli.main import main; main(sys.argv[1:]); "
        "print(*[name for name in sys.modules if name.startswith(('operant.methods.', 'operant.evidence', 'operant.studies', 'operant.bench')) "
        "and sys.modules[name].__file__.rpartition('/')[2] != '__init__.py'])"
    )
    words = "train ppo --task gym:CartPole-v1 --steps 1 --gamma 7"
    found = subprocess.run([command[0], "-c", program, *words.split()], env=environment, capture_output=True, text=True)
    assert found.stdout.split() == ["operant.methods.online.ppo"] and "gamma" in found.stderr
