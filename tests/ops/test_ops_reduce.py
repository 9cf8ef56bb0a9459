import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operant import ops

KINDS = (("token-mean", None), ("sequence-mean", None), ("sequence-sum", 5))


def literal_loss(mask, value, kind, length):
    """The loss of one seed by double loop; mask and value [N][T]."""
    row_sums = [sum(float(v) for m, v in zip(ms, vs, strict=True) if m) for ms, vs in zip(mask, value, strict=True)]
    row_lengths = [sum(bool(m) for m in ms) for ms in mask]
    rows = sum(n > 0 for n in row_lengths)
    if rows == 0:
        return 0.0
    if kind == "token-mean":
        return sum(row_sums) / sum(row_lengths)
    if kind == "sequence-mean":
        return sum(s / n for s, n in zip(row_sums, row_lengths, strict=True) if n) / rows
    return sum(row_sums) / (rows * length)


def test_by_hand():
    mask = torch.tensor([[[1, 1, 0], [1, 0, 0], [0, 0, 0]]]).bool()
    assert ops.step_weights(mask, "token-mean").tolist() == [[[pytest.approx(1 / 3), pytest.approx(1 / 3), 0], [pytest.approx(1 / 3), 0, 0], [0, 0, 0]]]
    assert ops.step_weights(mask, "sequence-mean").tolist() == [[[0.25, 0.25, 0], [0.5, 0, 0], [0, 0, 0]]]
    assert ops.step_weights(mask, "sequence-sum", length=4).tolist() == [[[0.125, 0.125, 0], [0.125, 0, 0], [0, 0, 0]]]


def test_a_seed_without_steps_weighs_nothing():
    for kind, length in KINDS:
        assert not ops.step_weights(torch.zeros(2, 3, 4, dtype=torch.bool), kind, length=length).any()


def test_bad_input():
    mask = torch.ones(1, 1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="token-mean, sequence-mean, sequence-sum"):
        ops.step_weights(mask, "tokens")
    for length in (None, 0):
        with pytest.raises(ValueError, match="length"):
            ops.step_weights(mask, "sequence-sum", length=length)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 7), steps=st.integers(1, 6), padding=st.integers(0, 4), parts=st.integers(1, 5), density=st.floats(0, 1)
)
def test_split_padding_and_order_change_nothing(seed, rows, steps, padding, parts, density):
    """The whole batch at once, against: rows permuted, padded by steps of garbage and by an empty row, and accumulated over unequal micro-batches."""
    g = torch.Generator().manual_seed(seed)
    seeds = 2
    x = torch.randn(seeds, rows, steps, 3, generator=g, dtype=torch.float64)
    mask = torch.rand(seeds, rows, steps, generator=g) < density
    order = torch.randperm(rows + 1, generator=g)
    padded_x = torch.full((seeds, rows + 1, steps + padding, 3), 7.0, dtype=torch.float64)
    padded_x[:, :rows, :steps] = x
    padded_mask = torch.zeros(seeds, rows + 1, steps + padding, dtype=torch.bool)
    padded_mask[:, :rows, :steps] = mask
    padded_x, padded_mask = padded_x[:, order], padded_mask[:, order]

    def per_step(inputs, parameter):
        return torch.einsum("sntd,sd->snt", inputs, parameter).sin()

    for kind, length in KINDS:
        parameter = torch.randn(seeds, 3, generator=g, dtype=torch.float64).requires_grad_()
        loss = (ops.step_weights(mask, kind, length=length, dtype=torch.float64) * per_step(x, parameter)).sum((1, 2))
        want = [literal_loss(mask[s].tolist(), per_step(x, parameter)[s].tolist(), kind, length) for s in range(seeds)]
        torch.testing.assert_close(loss.detach(), torch.tensor(want, dtype=torch.float64), rtol=1e-10, atol=1e-12)
        (gradient,) = torch.autograd.grad(loss.sum(), parameter)

        weights = ops.step_weights(padded_mask, kind, length=length, dtype=torch.float64)
        total, accumulated = torch.zeros(seeds, dtype=torch.float64), torch.zeros_like(gradient)
        for part in torch.arange(rows + 1).tensor_split(parts):
            piece = (weights[:, part] * per_step(padded_x[:, part], parameter)).sum((1, 2))
            total += piece.detach()
            accumulated += torch.autograd.grad(piece.sum(), parameter)[0]
        torch.testing.assert_close(total, loss.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(accumulated, gradient, rtol=1e-10, atol=1e-12)
