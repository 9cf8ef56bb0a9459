"""What tests of several folders share: a cache with a small point-maze data set and a small language model as the base policy."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from children import Nursery
from long_tier import SHARES, changed, share

MAZE = "ogbench:pointmaze-medium-navigate-singletask-v0"
LONG_FILES = (  # longest first, so that processes which share the tests end together
    *("conformance/test_contract.py", "worlds/test_text_world.py", "evidence/test_claims.py", "conformance/test_updates.py", "worlds/test_python_tests.py"),
    *("worlds/test_text_verifiers.py", "reliability/test_killed.py", "worlds/test_text_builtin_verifiers.py", "conformance/test_exact_gradients.py"),
    *("reliability/test_interrupted.py", "reliability/test_mutilated_runs.py", "conformance/test_learning.py", "cli/test_cli_results.py"),
    *("reliability/test_bad_days.py", "studies/test_studies_of_training.py", "worlds/test_gym_spaces.py", "worlds/test_hostile_answers.py"),
    *("bench/test_bench_harness.py", "cli/test_cli_bad_input.py", "extension/test_extension.py", "conformance/test_configuration.py"),
    "worlds/test_text_hub.py",
)


def pytest_report_header() -> str:
    of = f", and of what changed: {', '.join(sorted(changed()))}" if changed() else ""
    return f"long tests: share {share() + 1} of {SHARES}{of}; all of them: make test-all"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {Path(__file__).parent / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory: 2,000 steps of the point maze, base policies of `text:arithmetic`, `text:uncertain` and `text:lookup` (which finds no answer), a
    teacher of the first. Tests in this process name it by `use_small_cache`.

    Each is a small model that knows the form of an answer and guesses its digits: about one answer in ten is right. They have the names that warmed-up ones
    would have, so that processes which the tests start find them too. They are made once a session; each of the processes that share it has a copy.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "made.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_size == 0:
            make_small_cache(shared / "made")
            lock.write("whole")
    return Path(shutil.copytree(shared / "made", own / "cache"))


def make_small_cache(cache: Path) -> None:
    from operant.loops import base_policy
    from operant.loops.pairs import Pairs
    from operant.loops.terms import NegativeLogLikelihood
    from operant.nets.language import TokenPolicy
    from operant.worlds import make_world
    from operant.worlds.data.collect import make_dataset
    from operant.worlds.text.models import make_model

    def formed(world, recipe, folder: Path, content: dict, say) -> None:
        folder.mkdir(parents=True)
        tokenizer = world.tokenizer
        ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        world.save_policy(TokenPolicy(make_model("llama", len(tokenizer), 0, width=32, layers=1, heads=2, positions=64, **ends)), folder)
        world.base = folder
        pairs = Pairs(terms=[NegativeLogLikelihood()], batch_size=32, learning_rate=1e-2, updates_per_iteration=80)
        learner = pairs.learner(world, [0], 80, torch.device("cpu"))
        learner.iterate()
        assert world.takes_turns or world.count_correct(learner.policy, world.base_split, 64, 8).mean() / 8 > 0.04
        world.save_policy(learner.policy, folder)
        (folder / "base.json").write_text(json.dumps(content))

    cache.mkdir()
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPERANT_CACHE", str(cache))
        patch.setattr(base_policy, "_make", formed)
        torch.set_num_threads(1)
        make_dataset(MAZE, steps=2_000, seed=0)
        for task in ("text:arithmetic", "text:uncertain", "text:lookup"):
            base_policy.ensure_base_policy(make_world(task), lambda message: None)
        base_policy.ensure_teacher(make_world("text:arithmetic"), lambda message: None)
    torch.set_num_threads(threads)


@pytest.fixture
def use_small_cache(small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """OPERANT_CACHE names the small cache, and PyTorch takes one thread, as long as a test lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OPERANT_CACHE", str(small_cache))
    yield small_cache
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def process_environment(small_cache: Path) -> dict[str, str]:
    """The environment of a process that runs the package under test on one thread, with the small cache."""
    import operant

    source = str(Path(operant.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "OPERANT_CACHE": str(small_cache)}


@pytest.fixture(scope="session")
def start(process_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Start command lines as processes: `Nursery.__call__`."""
    nursery = Nursery(process_environment, tmp_path_factory.mktemp("said"))
    yield nursery
    nursery.close()
