"""Several processes that train one run together: every method on text has the losses, the weights and the optimiser of one process.

What is drawn is the same, and sums are made in another order. Two processes train all methods once, one after the other.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from battery import cases
from spread import Trial

from operant.core import ranks

HERE = Path(__file__).parent
EPS = {"direct-apo": 1e-3, "pacs": 1e-3}  # whose first gradient is nothing but rounding: its critic is 0, groups have one label alone
OF_TEXT = [Trial(case.key, case.task, eps=EPS.get(case.key)) for case in cases() if case.kind in ("text", "preferences")]
LONGER = [  # what a run may be besides
    Trial("grpo", "text:arithmetic", 10),
    Trial("dpo", "preferences:arithmetic", 10),
    Trial("grpo", "text:arithmetic", 10, {"lora_rank": 4}),
    Trial("grpo", "text:arithmetic", 10, layers=True),
    Trial("ppo-text", "text:arithmetic", 2, {"lora_rank": 4}, layers=True),
    Trial("grpo", "text:arithmetic", 2, {"gradient_checkpointing": True}, layers=True),
    Trial("grpo", "text:arithmetic", 3, values={"beta": 0.1, "micro_batch": 0}, average=True),
    Trial("brorl", "text:arithmetic", 4, values={"beta": 0.1, "reset_every": 2, "prompts": 16}),
]


def trained(trials: list[Trial], count: int, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """What so many processes found, by the trial's name."""
    (folder / "trials.json").write_text(json.dumps([asdict(trial) for trial in trials]))
    path = f"{HERE}:{HERE.parent}:{environment['PYTHONPATH']}"
    common = environment | {"PYTHONPATH": path, "WORLD_SIZE": str(count), ranks.FOLDER: str(folder), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(HERE / "spread.py"), str(folder)]
    said = [(folder / f"{rank}.out").open("w") for rank in range(count)]
    processes = [subprocess.Popen(command, env=common | {"RANK": str(rank)}, stdout=said[rank], stderr=subprocess.STDOUT) for rank in range(count)]
    try:
        codes = [process.wait(timeout=900) for process in processes]
    finally:
        for process, file in zip(processes, said, strict=True):
            process.kill()
            file.close()
    assert codes == [0] * count, "\n".join((folder / f"{rank}.out").read_text()[-2000:] for rank in range(count))
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def by_two(process_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(OF_TEXT + LONGER, 2, tmp_path_factory.mktemp("two"), process_environment)


@pytest.mark.parametrize("trial", OF_TEXT + LONGER, ids=lambda trial: trial.name)
def test_two_processes_train_as_one_does(trial: Trial, by_two: dict[str, Any]):
    agrees(by_two[trial.name])


@pytest.mark.long
def test_four_processes_train_as_one_does(process_environment: dict[str, str], tmp_path: Path):
    for found in trained(OF_TEXT + LONGER, 4, tmp_path, process_environment).values():
        agrees(found)


def agrees(found: dict[str, Any]) -> None:
    assert not found["names"]
    for name, (alone, together) in found["metrics"].items():
        assert alone is not None and together is not None, name
        assert math.isclose(alone, together, rel_tol=1e-3, abs_tol=1e-4) or math.isnan(alone) and math.isnan(together), (name, alone, together)
    assert all(found["differences"].get(kind, 0.0) <= 5e-6 for kind in ("policy", "reference")), found["differences"]
