"""Named random streams, one a seed, all of them in the checkpoint.

A stream is made from (seed, name) alone: a new consumer never moves another one's draws, and seed 3 of a run with eight seeds draws what a run of seed 3 alone
draws. Nothing in Operant touches a global generator.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

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


class Streams:
    """Random streams of a run: for each name, one generator a seed.

    Args:
        seeds: root seeds, one an element of the seed axis (length S).
        device: where draws are wanted. Draws are made on the CPU, so that a run's numbers do not depend on the device, and are moved.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu"):
        self.seeds = list(seeds)
        self.device = torch.device(device)
        self._torch: dict[str, list[torch.Generator]] = {}
        self._numpy: dict[str, list[np.random.Generator]] = {}

    def __deepcopy__(self, memo: dict) -> Streams:
        """Itself: what draws from a run's streams goes on doing so where it is copied (a target network, a frozen view), so that all draws are saved."""
        return self

    def torch_generators(self, name: str) -> list[torch.Generator]:
        """The torch generators of stream `name`, one a seed."""
        if name not in self._torch:
            self._torch[name] = [torch.Generator().manual_seed(derive_seed(seed, name)) for seed in self.seeds]
        return self._torch[name]

    def numpy_generators(self, name: str) -> list[np.random.Generator]:
        """The NumPy generators of stream `name`, one a seed."""
        if name not in self._numpy:
            self._numpy[name] = [np.random.default_rng(derive_seed(seed, name)) for seed in self.seeds]
        return self._numpy[name]

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal draws `[S, *shape]`."""
        return self._draw(name, torch.randn, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform draws in [0, 1), `[S, *shape]`."""
        return self._draw(name, torch.rand, shape)

    def integers(self, name: str, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), `[S, *shape]` int64."""
        return self._draw(name, lambda size, generator, out: torch.randint(high, size, generator=generator, out=out), shape, torch.int64)

    def permutations(self, name: str, length: int) -> Tensor:
        """One random permutation of range(length) a seed, `[S, length]` int64."""
        return torch.stack([torch.randperm(length, generator=g) for g in self.torch_generators(name)]).to(self.device)

    def _draw(self, name, draw, shape, dtype=torch.float32) -> Tensor:
        out = torch.empty(len(self.seeds), *shape, dtype=dtype)
        for row, generator in zip(out, self.torch_generators(name), strict=True):
            draw(shape, generator=generator, out=row)
        return out.to(self.device)

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
            for generator, saved in zip(self.torch_generators(name), states, strict=True):
                generator.set_state(saved)
        for name, states in state["numpy"].items():
            for generator, saved in zip(self.numpy_generators(name), states, strict=True):
                generator.bit_generator.state = saved
