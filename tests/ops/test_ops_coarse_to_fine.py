"""Numbers as paths through bins within bins."""

import pytest
import torch

from operant import ops


def test_bins_and_middles_by_hand():
    """Two levels of three: parts of 2/3, and of these 2/9."""
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 0.9999, 1.0, -7.0, 7.0])
    path = ops.coarse_to_fine_bins(x, levels=2, bins=3)
    assert path.tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 2], [2, 2], [0, 0], [2, 2]]
    middle = ops.coarse_to_fine_middles(path[:4], bins=3)
    wanted = torch.tensor([[0, -2 / 3, -8 / 9], [0, -2 / 3, -4 / 9], [0, 0, 0], [0, 2 / 3, 4 / 9]])
    torch.testing.assert_close(middle, wanted)


@pytest.mark.parametrize(("levels", "bins"), [(1, 41), (2, 7), (3, 5), (4, 2)])
def test_a_path_leads_to_the_number(levels: int, bins: int):
    """Bin after bin as the levels are said, and back within half of the smallest; middles are their own paths."""
    x = torch.rand(3, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    path = ops.coarse_to_fine_bins(x, levels=levels, bins=bins)
    low, width = torch.full_like(x, -1.0), 2.0
    for level in range(levels):
        width = width / bins
        bin = ((x - low) / width).floor().clamp(0, bins - 1)
        torch.testing.assert_close(path[..., level], bin.long())
        low = low + bin * width
        torch.testing.assert_close(ops.coarse_to_fine_middles(path, bins=bins)[..., level + 1], low + width / 2, rtol=0, atol=1e-6)
    middle = ops.coarse_to_fine_middles(path, bins=bins)[..., -1]
    assert (middle - x).abs().max() <= bins**-levels * (1 + 1e-4)
    assert torch.equal(ops.coarse_to_fine_bins(middle, levels=levels, bins=bins), path)
