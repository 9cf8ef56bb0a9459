"""What a GPU gives: control with few seeds and with many, as it stands and from CUDA graphs, and GRPO, beside the processor and the peers on the same chip."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

from operant.bench.harness import aligned, bench, pace, start
from operant.core.errors import BadInput

LIMIT = 480.0  # seconds in which runs are begun
SECONDS = 6  # that a run of control trains
SEEDS = (1, 16)
WAYS = {"processor": ("--device", "cpu"), "GPU": ("--device", "cuda"), "GPU, --cuda-graphs": ("--device", "cuda", "--cuda-graphs")}
STEPS = {"ppo": 60_000, "sac-v2": 2_000, "td3": 2_000}  # of the peer
PEERS = {"ppo": "PPO", "sac-v2": "SAC", "td3": "TD3"}
GRPO = ("--model", "llama_25m", "--steps", "5", "--tokens", "256")


class Run(NamedTuple):
    """One process.

    Attributes:
        work: what is done, a column of rows that are compared.
        way: how.
        unit: what is counted.
        needs: modules that must be importable.
    """

    work: str
    way: str
    unit: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()


def runs() -> Iterator[Run]:
    """All of them, those that say most first."""
    cheetah = "HalfCheetah-v5" if find_spec("mujoco") is not None else "Pendulum-v1"
    for method, peer in PEERS.items():
        task = "CartPole-v1" if method == "ppo" else cheetah
        for seeds in SEEDS:
            for way, options in WAYS.items():
                budget = ("--seeds", str(seeds), "--seconds", str(SECONDS), "--every", str(SECONDS), "--episodes", "1", "--out", "{out}", "--json")
                yield Run(f"{peer}, {task}, seeds {seeds}", way, "steps", ("-m", "operant", "train", method, "--task", f"gym:{task}", *budget, *options))
        given = ("--env", task, "--steps", str(STEPS[method]), "--device", "cuda")
        words = ("-m", "operant.bench.peers.sb3", peer, *given)
        yield Run(f"{peer}, {task}, seeds 1", "GPU, Stable-Baselines3", "steps", words, ("stable_baselines3",))
    text = "GRPO, Llama of 25M parameters in bfloat16"
    ours = ("-m", "operant.bench.peers.operant_grpo", *GRPO, "--dtype", "bfloat16", "--device", "cuda")
    yield Run(text, "GPU", "iterations", ours)
    yield Run(text, "GPU, --cuda-graphs", "iterations", (*ours, "--cuda-graphs"))
    yield Run(text, "GPU, TRL", "iterations", ("-m", "operant.bench.peers.trl_grpo", *GRPO, "--device", "cuda"), ("trl", "datasets"))


@dataclass(frozen=True)
class Gpu:
    """A bench of one GPU."""

    about = (
        f"PPO, SAC and TD3 with {SEEDS[0]} and {SEEDS[1]} seeds on the processor, on a GPU, and there from CUDA graphs, and GRPO with a Llama of 25M "
        f"parameters in bfloat16, beside Stable-Baselines3 and TRL on the same GPU where they are installed; no run is begun after {LIMIT / 60:g} minutes"
    )
    unit = "environment steps of all seeds, or iterations, a second of training"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """All runs `repeats` times, as far as the time goes.

        Returns:
            {"accelerator", "rows": [{"work", "way", "unit", "per_second" (the median), "repeated"}], "left_out": ["work, way: why"]}

        Raises:
            BadInput: there is no GPU.
        """
        import torch

        if not torch.cuda.is_available():
            raise BadInput(f"bench {name} measures a GPU, and PyTorch sees none here")
        began, found, left_out = time.monotonic(), {}, {}
        for repeat in range(repeats):
            for run in runs():
                label = f"{run.work}, {run.way}"
                if missing := [module for module in run.needs if find_spec(module) is None]:
                    left_out[label] = f"{', '.join(missing)} is not installed"
                elif time.monotonic() - began > LIMIT:
                    left_out.setdefault(label, "the time was over") if label not in found else None
                else:
                    rate = _rate(run, name)
                    found.setdefault(label, (run, []))[1].append(rate)
                    report(f"{label}: {pace(rate)} {run.unit}/s (run {repeat + 1} of {repeats})")
        rows = [
            {"work": run.work, "way": run.way, "unit": run.unit, "per_second": statistics.median(rates), "repeated": rates} for run, rates in found.values()
        ]
        return {"accelerator": torch.cuda.get_device_name(), "rows": rows, "left_out": [f"{label}: {why}" for label, why in left_out.items()]}

    def lines(self, result: dict) -> list[str]:
        rows, first = [], {row["work"]: row["per_second"] for row in reversed(result["rows"])}
        for row in result["rows"]:
            rows.append((row["work"], row["way"], f"{pace(row['per_second'])} {row['unit']}/s", f"{row['per_second'] / first[row['work']]:.2f} ×"))
        return ["", result["accelerator"], *aligned(rows), *(f"left out: {each}" for each in result["left_out"])]


def _rate(run: Run, name: str) -> float:
    """Units a second, of all seeds."""
    with tempfile.TemporaryDirectory(prefix="operant-bench-") as directory:
        line = json.loads(start(tuple(word.replace("{out}", f"{directory}/run") for word in run.arguments), name).strip().splitlines()[-1])
    return line["steps_per_second"] if "steps_per_second" in line else line["steps"] / line["seconds"]


@bench("gpu")
def gpu() -> Gpu:
    return Gpu()
