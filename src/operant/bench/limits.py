"""How far the work of the benches stands from the arithmetic limit: the time of its products alone, at the rate at which this processor multiplies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from operant.bench.harness import Comparison, Contestant, aligned, bench, find, pace
from operant.bench.kernels import product_rate
from operant.loops.configuration import configure_run
from operant.loops.learner import Learner
from operant.nets import kernels

WORK = (
    *("ppo-cartpole", "ppo-halfcheetah", "a2c-cartpole", "dqn-cartpole", "recurrent-ppo-cartpole", "ppo-minatar", "sac-halfcheetah", "td3-halfcheetah"),
    "iql-update",
)
"""Benches whose own sides are looked at, beside GRPO's step."""
OF_TASKS = ("mujoco", "minatar", "ogbench")
TOKENS = (64, 256)
LARGE = ((2, 256, 256, 256), (1, 2048, 256, 256))  # products, of which the faster says what the processor can
SECONDS = 3.0  # in which iterations are timed, two at the least


@dataclass(frozen=True)
class Limits:
    """A bench of what is left beside products."""

    about = (
        "of the work of the benches: multiplications and additions in the products of a unit, acting and updates together, the share of the time that these "
        "alone would take at the processor's rate, and how many times that the unit takes"
    )
    unit = "environment steps of all seeds, updates, and GRPO steps"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """The fastest of `repeats` rounds of each.

        Returns:
            {"kernels", "rows": [{"work", "threads", "per_second", "operations" (of a unit), "rate" (10^9 a second), "share" (of the time)}]}
        """
        before, threads, rows = kernels.taken(), torch.get_num_threads(), []
        try:
            for work, its_threads, dtype, learner, seeds in _learners(report):
                torch.set_num_threads(its_threads)
                done = _begin(learner) * seeds
                seconds = min(_seconds(learner) for _ in range(repeats))
                rate = max(product_rate(shape, dtype, repeats) for shape in LARGE)
                operations = _operations(learner)
                learner.close()
                row = {"work": work, "threads": its_threads, "per_second": done / seconds, "operations": operations / done, "rate": rate}
                rows.append(row | {"share": operations / (rate * 1e9) / seconds})
                report("  ".join(self._cells(rows[-1])))
        finally:
            kernels.take(before)
            torch.set_num_threads(threads)
        return {"kernels": before, "rows": rows}

    def lines(self, result: dict) -> list[str]:
        head = ("work", "threads", "units/s", "10^6 operations a unit", "10^9/s", "products' share of the time", "times the limit")
        return ["", *aligned([head, *map(self._cells, result["rows"])]), "", f"kernels: {result['kernels']}"]

    def _cells(self, row: dict) -> tuple[str, ...]:
        operations, share = f"{row['operations'] / 1e6:,.3g}", row["share"]
        return row["work"], str(row["threads"]), pace(row["per_second"]), operations, f"{row['rate']:.0f}", f"{share:.0%}", f"{1 / share:.1f}"


def _learners(report: Callable[[str], None]) -> Iterator[tuple[str, int, torch.dtype, Learner, int]]:
    """(in words, threads, the type that its products are in, it, how many seeds it trains)"""
    for name in WORK:
        entry = find(name)
        for side in entry.ours:
            missing = {module for module in (*side.requires, *entry.peers[0].requires) if module in OF_TASKS and find_spec(module) is None}
            if missing:
                report(f"{entry.title}, {side.label} is left out, for {', '.join(missing)} is not installed")
            else:
                yield _configured(entry, side)
    if find_spec("transformers") is None:
        report("GRPO is left out, for transformers is not installed")
        return
    from operant.bench.peers.operant_grpo import made

    for tokens in TOKENS:
        for dtype in (torch.float32, *([torch.bfloat16] if kernels.has_bfloat16() else [])):
            learner, _ = made("tiny_llama", tokens, str(dtype).removeprefix("torch."), "operant", "cpu", 1_000, cuda_graphs=False)
            yield f"GRPO step, Llama of 0.8M parameters: {tokens} tokens, {str(dtype).removeprefix('torch.')}", 1, dtype, learner, 1


def _configured(entry: Comparison, side: Contestant) -> tuple[str, int, torch.dtype, Learner, int]:
    """What `operant train` of a contestant would train."""
    words = side.arguments[3:]
    method, options = words[0], dict(zip(words[1:-1], words[2:], strict=True))
    given: dict[str, Any] = {name.removeprefix("--"): value for name, value in options.items() if name.startswith("--") and name != "--json"}
    task, seeds, steps = given.pop("task"), int(given.pop("seeds")), int(given.pop("steps"))
    hyperparameters = {name: value for name, value in given.items() if name not in ("seed", "every", "episodes", "out")}
    config, world, spine = configure_run(method, task, seeds=seeds, steps=steps, device="cpu", hyperparameters=hyperparameters)
    learner = spine.learner(world, list(range(seeds)), 10**9, torch.device("cpu"))
    dtype = torch.bfloat16 if world.bfloat16 else torch.float32
    return f"{entry.title}: {side.label.removeprefix('operant, ')}", config["threads"], dtype, learner, seeds


def _begin(learner: Learner) -> int:
    """Iterate until it learns, and what is allocated once is; the steps of an iteration."""
    while getattr(learner, "updates", 1) == 0:
        learner.iterate()
    learner.iterate()
    before = learner.step
    learner.iterate()
    return learner.step - before


def _seconds(learner: Learner) -> float:
    """Of an iteration, the fastest of some: what else runs on the machine only ever slows them."""
    found, began = [], time.perf_counter()
    while len(found) < 2 or time.perf_counter() - began < SECONDS:
        before = time.perf_counter()
        learner.iterate()
        found.append(time.perf_counter() - before)
    return min(found)


def _operations(learner: Learner) -> float:
    """Multiplications and additions in the products of an iteration; those of oneDNN are not counted, so that it is done without them."""
    taken = kernels.taken()
    kernels.take("native")
    try:
        with _Counted() as counted:
            learner.iterate()
    finally:
        kernels.take(taken)
    return counted.operations


class _Counted(TorchDispatchMode):
    """Multiplications and additions of products within it, by PyTorch's own formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if (formula := flop_registry.get(func._overloadpacket)) is None:
            if func._can_decompose():
                with self:
                    return func.decompose(*args, **kwargs)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        self.operations += formula(*args, **kwargs, out_val=result)
        return result


@bench("limits")
def limits() -> Limits:
    return Limits()
