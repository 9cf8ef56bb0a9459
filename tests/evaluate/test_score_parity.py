"""The rank test that score parity rests on."""

from operant.evidence.online.parity import rank_test


def test_rank_test_counts_the_ways_to_split():
    assert rank_test([1, 2, 3], [4, 5, 6]) == 2 / 20  # the two most extreme of 20 splits
    assert rank_test([1, 4, 5], [2, 3, 6]) == 1.0  # rank sums 10 and 11 around 10.5
    assert rank_test([7, 7], [7, 7]) == 1.0
    assert rank_test([0, 0, 1], [1, 1, 1]) == 0.4  # ranks 1.5, 1.5 and 4.5 four times: 8 of 20 splits take both or neither of the low ones
    x, y = list(range(20)), [value + 0.5 for value in range(20)]
    assert abs(rank_test(x, y) - rank_test(y, x)) < 0.02 and 0.7 < rank_test(x, y) < 0.85  # 0.79 by the normal approximation
    assert rank_test(x, [value + 30 for value in x]) < 1e-4
