"""Named random streams, one a seed, all of them in the checkpoint.

A stream is made from (seed, name) alone: a new consumer never moves another one's draws, and seed 3 of a run with eight seeds draws what a run of seed 3 alone
draws. Nothing in Operant touches a global generator.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.hand_over import handed_over
from operant.core.seeds import derive_seed


def global_generators() -> dict[str, object]:
    """The states of the process's generators, which no seed of a run begins and no checkpoint keeps: whoever drew from one changed its state."""
    states: dict[str, object] = {"torch": torch.get_rng_state().numpy().tobytes(), "NumPy": _numpy_state(), "Python": random.getstate()}
    if torch.cuda.is_initialized():
        states["torch's accelerator"] = torch.cuda.get_rng_state().numpy().tobytes()
    return states


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Whatever is drawn from the process's generators meanwhile, they stand afterwards as they stood before."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def _numpy_state() -> object:
    """The state of NumPy's global generator: of its usual one the memory, for `get_state` takes a tenth of a millisecond."""
    generator = np.random.get_bit_generator()
    if not isinstance(generator, np.random.MT19937):
        return repr(generator.state)
    words = ctypes.c_uint32 * 625  # the key, and the place in it
    return bytes(words.from_address(generator.ctypes.state_address))


def drawn_from(before: dict[str, object]) -> str:
    """Which of the process's generators were drawn from since `before`, in words; empty where none was."""
    return " and ".join(name for name, state in global_generators().items() if name in before and state != before[name])


REPEATED = "--compile or --cuda-graphs"


class Wanted(NamedTuple):
    """A draw that was asked for: of which stream, what it is, and its shape without the axis of seeds."""

    name: str
    draw: Callable[..., object]
    shape: tuple[int, ...]
    dtype: torch.dtype


def names_of(wanted: Sequence[Wanted]) -> list[str]:
    """The streams that draws are of."""
    return [each.name for each in wanted]


def _permuted(shape: tuple[int, ...], generator: torch.Generator, out: Tensor) -> None:
    torch.randperm(*shape, generator=generator, out=out)


def _next_of(given: list[tuple[str, Tensor]], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """The next of the draws that were made before, if it is what is asked for."""
    of, found = given.pop(0) if given else ("", None)
    if found is None or of != name or found.shape != shape or found.dtype != dtype:
        raise BadInput(f"{REPEATED}: an update draws {list(shape)} of the stream {name!r} now, and did not before: leave it out")
    return found


class Streams:
    """Random streams of a run: for each name, one generator a seed.

    What is computed without Python, from a captured graph or compiled code, cannot draw: `noted` says which draws a function asks for, and within `given` it
    gets those that `drawn` made for it before.

    Args:
        seeds: root seeds, one an element of the seed axis (length S).
        device: where draws are wanted. Draws are made on the CPU, so that a run's numbers do not depend on the device, and are moved.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu"):
        self.seeds = list(seeds)
        self.device = torch.device(device)
        self._torch: dict[str, list[torch.Generator]] = {}
        self._numpy: dict[str, list[np.random.Generator]] = {}
        self._notes: list[Wanted] | None = None
        self._given: list[tuple[str, Tensor]] | None = None

    def __deepcopy__(self, memo: dict) -> Streams:
        """Itself: what draws from a run's streams goes on doing so where it is copied (a target network, a frozen view), so that all draws are saved."""
        return self

    def torch_generators(self, name: str) -> list[torch.Generator]:
        """The torch generators of stream `name`, one a seed."""
        self._at_hand(name)
        return self._generators(name)

    def _generators(self, name: str) -> list[torch.Generator]:
        if name not in self._torch:
            self._torch[name] = [torch.Generator().manual_seed(derive_seed(seed, name)) for seed in self.seeds]
        return self._torch[name]

    def numpy_generators(self, name: str) -> list[np.random.Generator]:
        """The NumPy generators of stream `name`, one a seed."""
        self._at_hand(name)
        return self._numpy_generators(name)

    def _numpy_generators(self, name: str) -> list[np.random.Generator]:
        if name not in self._numpy:
            self._numpy[name] = [np.random.default_rng(derive_seed(seed, name)) for seed in self.seeds]
        return self._numpy[name]

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal draws `[S, *shape]`."""
        return self._wanted(name, torch.randn, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform draws in [0, 1), `[S, *shape]`."""
        return self._wanted(name, torch.rand, shape)

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), `[S, *shape]` int64."""
        return self._wanted(name, partial(torch.randint, high), shape, torch.int64)

    def permutations(self, name: str, length: int) -> Tensor:
        """One random permutation of range(length) a seed, `[S, length]` int64."""
        return self._wanted(name, _permuted, (length,), torch.int64)

    def _at_hand(self, name: str) -> None:
        """Raise `BadInput` where generators are out of reach."""
        if self._given is not None or self._notes is not None:
            how = "draw by normal, uniform, integers or permutations"
            raise BadInput(f"{REPEATED}: an update takes generators of the stream {name!r}, which are Python's: {how}, or leave it out")

    def _wanted(self, name: str, draw: Callable[..., object], shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        if self._given is not None:
            return _next_of(self._given, name, (len(self.seeds), *shape), dtype)
        wanted = Wanted(name, draw, shape, dtype)
        if self._notes is not None:
            self._notes.append(wanted)
        return self._draw(wanted)

    def _draw(self, wanted: Wanted) -> Tensor:
        out = torch.empty(len(self.seeds), *wanted.shape, dtype=wanted.dtype)
        for row, generator in zip(out, self._generators(wanted.name), strict=True):
            wanted.draw(wanted.shape, generator=generator, out=row)
        return handed_over(out, self.device)

    @contextmanager
    def noted(self) -> Iterator[list[Wanted]]:
        """The draws that are asked for within it, in their order; they are made as always."""
        before, self._notes = self._notes, []
        notes = self._notes
        try:
            yield notes
        finally:
            self._notes = before
            if before is not None:
                before.extend(notes)

    def drawn(self, wanted: Sequence[Wanted]) -> list[Tensor]:
        """Draws that were noted, made anew."""
        return [self._wanted(*each) for each in wanted]

    @contextmanager
    def given(self, names: Sequence[str], draws: Sequence[Tensor]) -> Iterator[None]:
        """Within it whoever draws is given these, of streams of these names, in their order.

        Raises:
            BadInput: they are not asked for as they were noted, or a generator itself is asked for.
        """
        before, self._given = self._given, list(zip(names, draws, strict=True))
        try:
            yield
        finally:
            self._given = before

    def state_dict(self) -> dict:
        return {
            "torch": {name: [g.get_state() for g in generators] for name, generators in self._torch.items()},
            "numpy": {name: [g.bit_generator.state for g in generators] for name, generators in self._numpy.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Streams that the state does not name had not been drawn from: they begin anew."""
        for name in self._torch.keys() - state["torch"].keys():
            for seed, generator in zip(self.seeds, self._torch[name], strict=True):
                generator.manual_seed(derive_seed(seed, name))
        for name in self._numpy.keys() - state["numpy"].keys():
            for seed, generator in zip(self.seeds, self._numpy[name], strict=True):
                generator.bit_generator.state = np.random.default_rng(derive_seed(seed, name)).bit_generator.state
        for name, states in state["torch"].items():
            for generator, saved in zip(self._generators(name), states, strict=True):
                generator.set_state(saved)
        for name, states in state["numpy"].items():
            for generator, saved in zip(self._numpy_generators(name), states, strict=True):
                generator.bit_generator.state = saved
