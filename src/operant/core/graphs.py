"""How updates are computed: by Python as they stand, by code that `torch.compile` made of their losses, or from a CUDA graph.

A graph is what a GPU was told once, kept: the same kernels run on the same memory, and Python says nothing between them. Whatever changes from one replay to
the next is therefore a tensor. What goes in is copied to where the graph reads it, draws are made before, numbers become tensors of one element, and what comes
out is copied before it is overwritten.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from operant.core.cache import cache_directory
from operant.core.errors import BadInput, one_line
from operant.core.random import Streams, Wanted, names_of

WARM = 3  # calls before the one that is captured, in which libraries allocate what they keep

Result = TypeVar("Result")
Aside = Callable[[tuple], tuple]
Work = Callable[..., Result]  # (tensors by name, numbers by name, what decides which kernels there are …) → a tree of tensors and constants


class Graph(Protocol):
    """Work that a device repeats."""

    def warm(self, work: Callable[[], Result]) -> Result:
        """Do it, as a capture will find it."""

    def capture(self, work: Callable[[], Result]) -> Result:
        """Keep it without doing it; what it gives is there, and has no numbers yet."""

    def replay(self) -> None:
        """Do what was kept."""


class CudaGraph:
    """PyTorch's `torch.cuda.CUDAGraph`. All are warmed up and captured on one stream beside the usual one: what autograd and cuBLAS keep by stream is then kept
    once, and belongs to the stream of every capture."""

    _aside: torch.cuda.Stream | None = None

    def __init__(self) -> None:
        if CudaGraph._aside is None:
            CudaGraph._aside = torch.cuda.Stream()
        self._graph, self._stream = torch.cuda.CUDAGraph(), CudaGraph._aside

    def warm(self, work: Callable[[], Result]) -> Result:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], Result]) -> Result:
        # Other threads may use the device meanwhile.
        with _nothing_collected(), torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        self._graph.replay()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Within it Python collects no garbage: graphs of an earlier run may be in it, and one that is destroyed breaks off the capture of another (PyTorch's pull
    requests 161037 and 195397)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


GRAPHS: dict[str, Callable[[], Graph]] = {"cuda": CudaGraph}
"""What captures work, by the type of device."""


@dataclass(frozen=True)
class Execution:
    """How updates are computed.

    Attributes:
        compile: their losses go through `torch.compile`.
        cuda_graphs: they are captured, and replayed.
    """

    compile: bool = False
    cuda_graphs: bool = False

    def repeated(self, work: Work[Result], streams: Streams, what: str) -> Work[Result]:
        """Work whose tensors have the shapes of few batches: captured, if that is wanted.

        Args:
            what: the work in words, for who must be told that it cannot be captured.
        """
        return Repeated(work, streams, what) if self.cuda_graphs else work

    def compiled(self, work: Callable[..., Result], streams: Streams, aside: Aside = tuple) -> Callable[..., Result]:
        """Work that is differentiated: compiled, if that is wanted. Further arguments as of `Compiled`."""
        return Compiled(work, streams, aside) if self.compile else work


PLAIN = Execution()
"""By Python as they stand."""


def check_compiler(device: str) -> None:
    """Raise `BadInput` where `torch.compile` has nothing here that makes code for a type of device."""
    _keep_code()
    if device == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise BadInput("--compile: for a GPU PyTorch compiles by triton, which is not installed or does not know this one: pip install triton")
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise BadInput("--compile: for a processor PyTorch compiles by a C++ compiler, and there is none: install g++, or leave it out") from error


class Repeated:
    """Work that is captured when it has been done a few times, once for each set of shapes, and replayed from then on. It draws from `streams` alone.

    Raises:
        BadInput: the work reads a number to the host, or draws from a generator.
    """

    def __init__(self, work: Work[Any], streams: Streams, what: str):
        self._work, self._streams, self._what = work, streams, what
        self._kept: dict[Hashable, _Kept] = {}

    def __call__(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float], *fixed: Hashable) -> Any:
        """What the work gives.

        Args:
            tensors, numbers: what may change; numbers reach the work as tensors of one element.
            fixed: what decides which kernels there are.
        """
        key = (fixed, *((name, x.shape, x.dtype) for name, x in tensors.items()))
        if key not in self._kept:
            self._kept[key] = _Kept(lambda *given: self._work(*given, *fixed), self._streams, self._what)
        return self._kept[key](tensors, numbers)


class _Kept:
    """`Repeated` for one set of shapes."""

    def __init__(self, work: Work[Any], streams: Streams, what: str):
        self._work, self._streams, self._what = work, streams, what
        self._graph = GRAPHS[streams.device.type]()
        self._tensors: dict[str, Tensor] = {}
        self._numbers: dict[str, Tensor] = {}
        self._wanted: list[Wanted] = []
        self._draws: list[Tensor] = []
        self._calls = 0
        self._result: Any = None

    def __call__(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, float]) -> Any:
        if not self._calls:
            device = self._streams.device
            self._tensors = {name: torch.empty_like(x, memory_format=torch.contiguous_format) for name, x in tensors.items()}
            self._numbers = {name: torch.zeros((), dtype=torch.float64 if isinstance(x, float) else torch.int64, device=device) for name, x in numbers.items()}
        for name, x in tensors.items():
            self._tensors[name].copy_(x)
        for name, number in numbers.items():
            self._numbers[name].fill_(number)
        self._calls += 1
        if self._calls <= WARM:
            with self._streams.noted() as self._wanted:
                result = self._graph.warm(self._do)
            return _copied(result)
        if self._calls == WARM + 1:
            self._capture()
        for place, draw in zip(self._draws, self._streams.drawn(self._wanted), strict=True):
            place.copy_(draw)
        self._graph.replay()
        return _copied(self._result)

    def _do(self) -> Any:
        return self._work(self._tensors, self._numbers)

    def _capture(self) -> None:
        seeds = len(self._streams.seeds)
        self._draws = [torch.zeros(seeds, *wanted.shape, dtype=wanted.dtype, device=self._streams.device) for wanted in self._wanted]
        try:
            with self._streams.given(names_of(self._wanted), self._draws):
                self._result = self._graph.capture(self._do)
        except RuntimeError as error:
            first = _first(error)
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            why = f"it reads a number to the host, or hands one over: {one_line(first)}"
            raise BadInput(f"--cuda-graphs: {self._what} cannot be captured, for {why}; leave it out") from error


def _first(error: BaseException) -> BaseException:
    """What an error came of: where work fails in a capture, ending the capture fails too, and says only that something failed before."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error


def _copied(result: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, result)


class Compiled:
    """Work that goes through `torch.compile`. What is compiled is kept on disk for the next run.

    Before it is compiled, it is done once for nothing, to see what it draws; so a run that goes on computes its first update as it would have been.

    Args:
        aside: from its arguments to those of that time, where it changes them.
    """

    def __init__(self, work: Callable[..., Any], streams: Streams, aside: Aside = tuple):
        _keep_code()
        self.work, self._streams, self._aside = work, streams, aside
        self._wanted: list[Wanted] | None = None

        def given(names: list[str], draws: list[Tensor], *arguments: Any) -> Any:
            with streams.given(names, draws):
                return work(*arguments)

        given.__code__ = given.__code__.replace()  # of its own: PyTorch compiles one anew a few times, and then no more without a word
        self._compiled = torch.compile(given)

    def __call__(self, *arguments: Any) -> Any:
        if self._wanted is None:
            self._wanted = self._noted(arguments)
        return self._compiled(names_of(self._wanted), self._streams.drawn(self._wanted), *arguments)

    def _noted(self, arguments: tuple) -> list[Wanted]:
        streams = self._streams.state_dict()
        with self._streams.noted() as wanted, _Undone():
            self.work(*self._aside(arguments))
        self._streams.load_state_dict(streams)
        return wanted


class _Undone(TorchDispatchMode):
    """Whatever is written into tensors within it is put back at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # by the place of the memory: all of it, and what stood there

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        wanted = {argument.name: argument for argument in func._schema.arguments}
        named = [*zip(func._schema.arguments, args, strict=False), *((wanted[name], x) for name, x in kwargs.items())]
        written = [x for argument, x in named if argument.alias_info is not None and argument.alias_info.is_write]
        for x in tree_leaves(written):
            if isinstance(x, Tensor) and (place := x.untyped_storage().data_ptr()) not in self._before:
                whole = torch.empty(0, dtype=x.dtype, device=x.device).set_(x.untyped_storage())
                self._before[place] = whole, whole.clone()
        return func(*args, **kwargs)

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        for whole, before in self._before.values():
            whole.copy_(before)


def _keep_code() -> None:
    """Say where compiled code is kept, before PyTorch's compiler is imported, which takes a temporary folder otherwise."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "compiled"))
