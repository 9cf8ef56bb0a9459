"""The adapter of reasoning-gym, with a small package in its place."""

import json
import sys
import textwrap
import types

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds import make_world
from operant.worlds.text.tasks.reasoning_gym import TEST_SEED, TRAIN_SEED, TRAIN_SIZE, ReasoningGym, pack, unpack
from operant.worlds.text.verifiers import VerifierPool, _folders

PACKAGE = {
    "__init__.py": """
        from reasoning_gym.factory import DATASETS

        def create_dataset(name, seed, size):
            return DATASETS[name](seed, size)

        def get_score_answer_fn(name):
            return DATASETS[name](0, 1).score_answer
    """,
    "factory.py": """
        class Doubles:
            range = 10**9

            def __init__(self, seed, size):
                self.seed = seed

            def __getitem__(self, index):
                n = (self.seed + index) % self.range
                return {"question": f"Twice {n}?", "answer": str(2 * n), "metadata": {"pair": (n, n), "by": {1: "one"}}}

            def score_answer(self, answer, entry):
                assert entry["metadata"]["by"] == {1: "one"} and isinstance(entry["metadata"]["pair"], tuple)
                return 1.0 if answer == str(sum(entry["metadata"]["pair"])) else 0.01

        class Few(Doubles):
            range = 100

        class Spaced(Doubles):
            def __getitem__(self, index):
                found = super().__getitem__(index)
                return found | {"answer": f" {found['answer']}\\n"}

            def score_answer(self, answer, entry):
                return 1.0 if answer == entry["answer"] else 0.0

        class Picky(Doubles):
            def score_answer(self, answer, entry):
                return 0.0

        class Open(Doubles):
            def __getitem__(self, index):
                return super().__getitem__(index) | {"answer": None}

        class Nothing(Doubles):
            def __init__(self, seed, size):
                raise AssertionError("Must specify at least one dataset")

        DATASETS = {"doubles": Doubles, "few": Few, "spaced": Spaced, "picky": Picky, "open": Open, "composite": Nothing}
    """,
}


@pytest.fixture(params=["installed", "editable"])
def package(tmp_path, monkeypatch, request):
    folder = tmp_path / "site-packages" / "reasoning_gym"  # where child processes look for what is installed
    if request.param == "editable":
        folder.parent.mkdir()
        (folder.parent / "reasoning_gym.pth").write_text(f"{tmp_path / 'source'}\n")
        monkeypatch.syspath_prepend(folder.parent)
        folder = tmp_path / "source" / "reasoning_gym"
    folder.mkdir(parents=True)
    for name, text in PACKAGE.items():
        (folder / name).write_text(textwrap.dedent(text))
    for name in [name for name in sys.modules if name.partition(".")[0] == "reasoning_gym"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder.parent)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "reasoning_gym"]:
        del sys.modules[name]


def test_problems_come_from_different_seeds(package):
    task = ReasoningGym("doubles")
    rng = np.random.default_rng(0)
    for _ in range(50):
        problem = task.problem(rng)
        n = int(problem.prompt[6:-1])
        assert 256 <= n < TRAIN_SEED + TRAIN_SIZE  # 0 to 255 are test problems
        assert problem.answer == task.solution(problem, rng) == task.trace(problem, rng) == str(2 * n)
        assert json.loads(json.dumps(problem.metadata)) == problem.metadata
    assert [p.prompt for p in task.held_out("test", 2)] == [f"Twice {TEST_SEED % 10**9}?", f"Twice {(TEST_SEED + 1) % 10**9}?"]
    assert set("Twice 123?") <= set(task.alphabet) and task.longest_prompt >= len("Twice 9999?") and task.longest_completion >= 5
    assert (task.answer(" 7 "), task.reasoning("7")) == ("7", "")


def test_the_dataset_scores_in_a_child_process(package):
    world = make_world("reasoning-gym:doubles")
    problem = world.problems.held_out("test", 1)[0]
    with VerifierPool(world.problems.verifier) as pool:
        verdicts = pool.score([(problem, problem.answer), (problem, f" {problem.answer}\n"), (problem, "7")])
    assert [verdict.value for verdict in verdicts] == [1.0, 1.0, 0.01], [verdict.message for verdict in verdicts]
    assert world.task == "reasoning-gym:doubles" and "doubles" in world.fingerprint()


def test_a_package_that_a_finder_maps_can_be_read(tmp_path, monkeypatch):
    finder = types.ModuleType("__editable___thing_1_0_finder")
    finder.MAPPING = {"thing": str(tmp_path / "source" / "thing")}
    (tmp_path / "source" / "thing").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, finder.__name__, finder)
    for module in ("operant.worlds.text.tasks.reasoning_gym_score", "own"):
        folders = _folders(module, None)
        assert str(tmp_path / "source") in folders["readable"] and str(tmp_path / "source") not in folders["library"]


def test_spaces_around_a_dataset_s_answer_are_no_part_of_it(package):
    world = make_world("reasoning-gym:spaced")
    problem = world.problems.held_out("test", 1)[0]
    with VerifierPool(world.problems.verifier) as pool:
        verdicts = pool.score([(problem, text) for text in (problem.answer, problem.answer.strip(), f"{problem.answer}\n ", "7")])
    assert [verdict.value for verdict in verdicts] == [1.0, 1.0, 1.0, 0.0], [verdict.message for verdict in verdicts]
    world.check(None, [0], 4)


def test_a_dataset_that_rejects_its_own_answers_is_refused(package):
    with pytest.raises(BadInput, match="rejects the own answer of 32 of 32 rows: test problem 0: reward 0"):
        make_world("reasoning-gym:picky").check(None, [0], 4)
    make_world("reasoning-gym:open").check(None, [0], 4)


@pytest.mark.parametrize(
    "value", [None, 1, 0.5, True, "text", [1, "a"], (1, (2, [3])), {"a": 1}, {1: "a", (2, 3): {"b": (4,)}}, {}, (), {"tuple": [1]}, {"dict": 2}]
)
def test_entries_survive_json(value):
    again = unpack(json.loads(json.dumps(pack(value))))
    assert again == value and type(again) is type(value)


def test_faults_are_one_clear_line(package):
    rng = np.random.default_rng(0)
    for call, words in (
        (lambda: ReasoningGym("double"), "unknown reasoning-gym dataset 'double': did you mean doubles"),
        (lambda: ReasoningGym("composite"), "cannot be made with its default settings: Must specify"),
        (lambda: ReasoningGym("few").problem(rng), "too few different questions"),
        (lambda: ReasoningGym("open").trace(ReasoningGym("open").problem(rng), rng), "no reference answers"),
        (lambda: ReasoningGym("doubles").held_out("length", 1), "known: test"),
        (lambda: ReasoningGym("doubles").held_out("test", 0), "1 to 256"),
    ):
        with pytest.raises(BadInput, match=words):
            call()


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(BadInput, match=r"pip install 'operant\[reasoning-gym\]'"):
        make_world("reasoning-gym:chain_sum")
