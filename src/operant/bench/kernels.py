"""What this processor multiplies in a second by each set of kernels: the limit of every update, and whether the set that is taken here is the faster one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from operant.bench.harness import aligned, bench
from operant.nets import kernels

# Rows × inputs × outputs of a layer, and how many stand side by side: small towers, SAC's and IQL's critics, many rows.
SHAPES = ((2, 256, 64, 64), (2, 64, 64, 64), (2, 256, 23, 256), (2, 256, 256, 256), (1, 256, 256, 256), (1, 2048, 256, 256))
ROUNDS = 30  # of a shape, of which the fastest counts: what else runs on the machine only ever slows them


@dataclass(frozen=True)
class Kernels:
    """A bench of a layer's three products: forward, and the gradients of its weights and of its input."""

    about = "a layer's products, forward and back, on one thread, by each set of kernels and in bfloat16"
    unit = "10^9 multiplications and additions"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """Each shape `repeats` × `ROUNDS` times; the fastest.

        Returns:
            {"taken", "rows": [{"shape", and for each set and "bfloat16" 10^9 operations a second, None where there are no such products}]}
        """
        before, threads = kernels.taken(), torch.get_num_threads()
        torch.set_num_threads(1)
        rows = []
        try:
            for shape in SHAPES:
                found: dict[str, float | None] = {}
                for taken in kernels.SETS:
                    kernels.take(taken)
                    found[taken] = product_rate(shape, torch.float32, repeats) if kernels.taken() == taken else None
                kernels.take(before)
                found["bfloat16"] = product_rate(shape, torch.bfloat16, repeats) if kernels.has_bfloat16() else None
                rows.append({"shape": " × ".join(map(str, shape)), **found})
                report("  ".join(self._cells(rows[-1])))
        finally:
            kernels.take(before)
            torch.set_num_threads(threads)
        return {"taken": kernels.fitting(), "rows": rows}

    def lines(self, result: dict) -> list[str]:
        head = ("layers × rows × inputs × outputs", *(f"{name}, 10^9/s" for name in (*kernels.SETS, "bfloat16")))
        return ["", *aligned([head, *map(self._cells, result["rows"])]), "", f"taken on this processor: {result['taken']}"]

    def _cells(self, row: dict) -> tuple[str, ...]:
        return row["shape"], *("–" if row[name] is None else f"{row[name]:.0f}" for name in (*kernels.SETS, "bfloat16"))


def product_rate(shape: tuple[int, int, int, int], dtype: torch.dtype, repeats: int) -> float:
    """10^9 multiplications and additions a second in the products of a layer, forward and back, by the kernels and threads that are taken.

    Args:
        shape: layers × rows × inputs × outputs.
        repeats: `ROUNDS` times as often it is tried, of which the fastest counts.
    """
    layers, rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    x, weight, bias, gradient = (
        torch.randn(layers, *size, generator=generator).to(dtype) for size in ((rows, inputs), (inputs, outputs), (1, outputs), (rows, outputs))
    )
    fastest = float("inf")
    for _ in range(3 + repeats * ROUNDS):
        began = time.perf_counter()
        kernels.products(x, weight, bias, gradient)
        fastest = min(fastest, time.perf_counter() - began)
    return 3 * 2 * layers * rows * inputs * outputs / fastest / 1e9


@bench("kernels")
def kernels_bench() -> Kernels:
    return Kernels()
