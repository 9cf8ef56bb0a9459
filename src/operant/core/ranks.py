"""The processes that train one run together (torch.distributed): how many there are, which of them this one is, and what they tell each other.

Outside `together`, and in a run of one process, there is one and nothing is sent. All of them run the same program on the same numbers; what one alone can know
(the verdict of a verifier, the clock, a signal) is told to the others. Rank 0 writes and prints. PyTorch is imported where they talk: verifiers read this too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.core.errors import RunFailed

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(minutes=10)  # that the others wait for one at a meeting, which takes seconds where all are well
FOLDER = "OPERANT_RANKS"  # the variable with the folder in which they meet, of the process that started them; not there under torchrun
LOST = 75  # exit code of a process that was left by others: whoever started it says which
RUN = "run.json"  # in that folder: which run it is


class Lost(RunFailed):
    """Another process of the run ended, or did not answer for `PATIENCE`."""


@dataclass
class _Joined:
    rank: int
    count: int
    patient: Any  # a group that waits as long as it takes, for what rank 0 alone does
    active: bool = False


_joined: _Joined | None = None


def started() -> int:
    """Processes that were started together with this one, itself among them, as torchrun says it; 1 for none."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def started_as() -> int:
    """Which of them this one is."""
    return int(os.environ["RANK"]) if started() > 1 else 0


def join() -> None:
    """Meet the others that were started together with this process; once, and nothing where there are none.

    They meet at the file that `FOLDER` holds, or as torchrun says. Tensors on an accelerator go by NCCL, all others by gloo.
    """
    global _joined
    if _joined is not None or started() == 1:
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", started_as())))
    folder = os.environ.get(FOLDER)
    at = {"init_method": f"file://{folder}/meeting", "rank": started_as(), "world_size": started()} if folder else {}
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE, **at)
    _joined = _Joined(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=timedelta(days=365)))


def note_run(path: Path, config: dict[str, Any]) -> None:
    """Tell the process that started these ones which run it is that they train."""
    if folder := os.environ.get(FOLDER):
        Path(folder, RUN).write_text(json.dumps({"path": str(path), "config": config}))


def leave() -> None:
    """Part from the others, when all have come to the end."""
    global _joined
    if _joined is not None:
        from torch.distributed import destroy_process_group

        destroy_process_group()
        _joined = None


def end(code: int) -> int:
    """The exit code, returned; a process that has not parted from the others ends here by it.

    Where an operation of theirs never came to an end, gloo's threads wait for it, and abort the process as Python takes it down.
    """
    if _joined is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@contextmanager
def together() -> Iterator[None]:
    """Meanwhile the processes that have joined work on one run."""
    with _active(True):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Meanwhile this process works by itself, whatever the others do."""
    with _active(False):
        yield


@contextmanager
def _active(value: bool) -> Iterator[None]:
    if _joined is None:
        yield
        return
    before, _joined.active = _joined.active, value
    try:
        yield
    finally:
        if _joined is not None:
            _joined.active = before


def count() -> int:
    """How many processes work on the run."""
    return _joined.count if _joined is not None and _joined.active else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return _joined.rank if count() > 1 else 0


def share(value: Any = None) -> Any:
    """Plain data (what JSON holds) of the first of the processes that joined, on all of them, which wait for it as long as it takes."""
    if _joined is None:
        return value
    import torch
    import torch.distributed as dist

    data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8) if _joined.rank == 0 else torch.empty(0, dtype=torch.uint8)
    size = torch.tensor([len(data)])
    dist.broadcast(size, 0, group=_joined.patient)
    data = data if _joined.rank == 0 else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(data, 0, group=_joined.patient)
    return value if _joined.rank == 0 else json.loads(data.numpy().tobytes())


def by_first(work: Callable[[], Any]) -> Any:
    """Plain data that rank 0 alone makes, on all."""
    if count() == 1:
        return work()
    if rank() > 0:
        return share()
    with alone():
        found = work()
    return share(found)


def add(x: Tensor) -> Tensor:
    """The sum of a tensor over the processes, alike on all; itself where there is one."""
    return x if count() == 1 else _reduced(x, "SUM")


def largest(x: Tensor) -> Tensor:
    """The largest of each number over the processes."""
    return x if count() == 1 else _reduced(x, "MAX")


def _reduced(x: Tensor, how: str) -> Tensor:
    import torch.distributed as dist

    x = x.clone()
    dist.all_reduce(x, getattr(dist.ReduceOp, how))
    return x


def own(length: int) -> slice:
    """This process's share of so many things, side by side."""
    return slice(*(length * place // count() for place in (rank(), rank() + 1)))


def side_by_side(x: Tensor, dim: int, fill: float = 0) -> Tensor:
    """What all processes have, in their order, along an axis in which they may have different sizes.

    In other axes, each is filled up with `fill` to the largest.
    """
    if count() == 1:
        return x
    import torch
    import torch.distributed as dist

    sizes = [torch.empty(x.ndim, dtype=torch.int64, device=x.device) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor(x.shape, device=x.device))
    shape = torch.stack(sizes).amax(0).tolist()
    kind = torch.uint8 if x.dtype == torch.bool else x.dtype
    whole = torch.full(shape, fill, dtype=kind, device=x.device)
    whole[tuple(map(slice, x.shape))] = x.to(kind)
    parts = [torch.empty_like(whole) for _ in range(count())]
    dist.all_gather(parts, whole)
    return torch.cat([part.narrow(dim, 0, int(size[dim])) for part, size in zip(parts, sizes, strict=True)], dim).to(x.dtype)


def lost(error: BaseException) -> bool:
    """Whether an error says that another process ended or does not answer."""
    if _joined is None:
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
