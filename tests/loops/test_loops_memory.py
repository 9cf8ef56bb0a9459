"""What a run says where memory runs out."""

import pytest
import torch

from operant.core.errors import RunFailed
from operant.loops.learner import suggest_micro_batch

ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4611686018427387904 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "size, advice", [(64, "64 answers at a time: try --micro-batch 32,"), (3, "--micro-batch 1,"), (1, "1 answer at a time: one .* shorter")]
)
def test_half_the_micro_batch_is_suggested(error, size, advice):
    with pytest.raises(RunFailed, match=advice) as raised, suggest_micro_batch(size):
        raise error
    assert "\n" not in str(raised.value) and raised.value.__cause__ is error


def test_a_real_allocation_that_fails():
    with pytest.raises(RunFailed, match="memory ran out"), suggest_micro_batch(2):
        torch.empty(2**60, dtype=torch.float32)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), suggest_micro_batch(4):
        raise RuntimeError("shapes do not match")
    with suggest_micro_batch(4):
        pass
