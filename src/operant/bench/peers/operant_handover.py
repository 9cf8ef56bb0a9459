"""Weights of several sizes, handed from one process to another that copies them: by a collective (gloo), by shared memory, by Ray's object store.

Prints {"collective_1", "collective_10", "collective_100", "shared_1", …: seconds}, and where Ray is installed {"object_store_1", …}; the numbers are MB.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

SIZES = (1, 10, 100)  # MB
TIMES = 7  # of which the first does not count


def weights(size: int) -> torch.Tensor:
    return torch.rand(size * 250_000)


def timed(hand_over: Callable[[], None]) -> float:
    """Median seconds of handing over, until the other has it."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        hand_over()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _join(rank: int, meeting: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)


def _hears(meeting: str) -> None:
    _join(1, meeting)
    for size in SIZES:
        own = weights(size)
        for _ in range(TIMES):
            dist.broadcast(own, 0)
            dist.barrier()
    dist.destroy_process_group()


def collective() -> dict[str, float]:
    """By a broadcast over two ranks."""
    with tempfile.TemporaryDirectory(prefix="operant-bench-") as folder:
        meeting = os.path.join(folder, "meeting")
        other = multiprocessing.get_context("spawn").Process(target=_hears, args=(meeting,), daemon=True)
        other.start()
        _join(0, meeting)
        found = {}
        for size in SIZES:
            given = weights(size)

            def hand_over(given: torch.Tensor = given) -> None:
                dist.broadcast(given, 0)
                dist.barrier()

            found[f"collective_{size}"] = timed(hand_over)
        dist.destroy_process_group()
        other.join()
    return found


def _copies(pipe, shared: dict[int, torch.Tensor]) -> None:
    own = {size: torch.empty_like(each) for size, each in shared.items()}
    while (size := pipe.recv()) is not None:
        own[size].copy_(shared[size])
        pipe.send(True)


def shared_memory() -> dict[str, float]:
    """Written to memory that both see, and copied from there."""
    context = multiprocessing.get_context("spawn")
    shared = {size: torch.empty(size * 250_000).share_memory_() for size in SIZES}
    ours, theirs = context.Pipe()
    other = context.Process(target=_copies, args=(theirs, shared), daemon=True)
    other.start()
    found = {}
    for size in SIZES:
        given = weights(size)

        def hand_over(given: torch.Tensor = given, size: int = size) -> None:
            shared[size].copy_(given)
            ours.send(size)
            ours.recv()

        found[f"shared_{size}"] = timed(hand_over)
    ours.send(None)
    other.join()
    return found


def object_store() -> dict[str, float]:
    """Put into Ray's store, and copied from there by an actor."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="CRITICAL", object_store_memory=2**30)

    class Copies:
        def take(self, given) -> None:
            torch.from_numpy(given.copy())

    actor = ray.remote(Copies).options(num_cpus=0).remote()
    found = {}
    for size in SIZES:
        given = weights(size).numpy()
        found[f"object_store_{size}"] = timed(lambda given=given: ray.get(actor.take.remote(ray.put(given))))
    ray.shutdown()
    return found


def main() -> None:
    torch.set_num_threads(1)
    print(json.dumps(collective() | shared_memory() | (object_store() if find_spec("ray") is not None else {})))


if __name__ == "__main__":
    main()
