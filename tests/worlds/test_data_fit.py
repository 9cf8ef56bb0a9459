"""Whether data belong to their environment: kind, width, count, start and bounds of actions, kind and width of observations; and what a store holds."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from operant.core.errors import BadInput
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.fit import fit_actions, fit_observations, notes

M = 6
UNIT, WIDE, FREE = Box(-2, 2, (1,)), Box(-1, 1, (6,)), Box(-np.inf, np.inf, (2,))
MATRIX, SCALAR = Box(-1, 1, (2, 3)), Box(-1, 1, ())
CORNER = Box(np.array([0.0, -0.4], np.float32), np.array([0.1, 0.4], np.float32))


def floats(*shape, value=0.5):
    return np.full((M, *shape), value, dtype=np.float32)


def integers(*values):
    return np.resize(np.array(values), M)


@pytest.mark.parametrize(
    ("array", "space", "said"),
    [
        (np.tile(np.float32([-1.5, 0.5, 1.9]), (M, 1)), UNIT, "actions are floats, 3 numbers a row, from -1.5 to 1.9; Env-v0 takes Box(-2.0, 2.0, (1,)"),
        (floats(1), WIDE, "actions are floats, one number a row, from 0.5 to 0.5; Env-v0 takes Box(-1.0, 1.0, (6,), float32): give 6 a row"),
        (floats(), WIDE, "give 6 a row"),
        (floats(3, 2), MATRIX, "actions are floats, [3, 2] numbers a row, from 0.5 to 0.5; Env-v0 takes Box(-1.0, 1.0, (2, 3), float32): give 6 a row"),
        (integers(0, 1, 2), UNIT, "actions are integers, one number a row, from 0 to 2; Env-v0 takes Box(-2.0, 2.0, (1,), float32): give floats, 1 a row"),
        (integers(-2, 2), UNIT, "actions are integers, one number a row, from -2 to 2"),
        (
            np.zeros((M, 6), np.int64),
            WIDE,
            "actions are integers, 6 numbers a row, from 0 to 0; Env-v0 takes Box(-1.0, 1.0, (6,), float32): give floats, 6 a row",
        ),
        (floats(1, value=1), Discrete(2), "actions are floats, one number a row, from 1 to 1; Env-v0 takes Discrete(2): give integers, one a row, from 0 to 1"),
        (floats(2), Discrete(2), "actions are floats, 2 numbers a row, from 0.5 to 0.5; Env-v0 takes Discrete(2): give integers"),
        (np.eye(2, dtype=np.int64)[integers(0, 1)], Discrete(2), "actions are integers, 2 numbers a row"),
        (integers(0, 2, 3), Discrete(2), "takes Discrete(2): 4 of 6 are not from 0 to 1 (row 1 is 2, the nearest is 1)"),
        (integers(0, -1), Discrete(2), "3 of 6 are not from 0 to 1 (row 1 is -1, the nearest is 0)"),
        (
            integers(0, 1, 2),
            Discrete(3, start=5),
            "takes Discrete(3, start=5): 6 of 6 are not from 5 to 7 (row 0 is 0, the nearest is 5); if they count from 0, add 5",
        ),
        (integers(5, 8), Discrete(3, start=5), "3 of 6 are not from 5 to 7 (row 1 is 8, the nearest is 7)"),
        (integers(1, 2), Discrete(2, start=-1), "2; Env-v0 takes Discrete(2, start=-1): 6 of 6 are not from -1 to 0 (row 0 is 1, the nearest is 0)"),
        (floats(1, value=2.5), UNIT, "6 of 6 rows are outside (row 0, number 0 is 2.5, the nearest is 2); clip them"),
        (floats(1, value=2.001), UNIT, "6 of 6 rows are outside (row 0, number 0 is 2.001, the nearest is 2)"),
        (np.float32([[0, 0]] * 5 + [[0.1, -0.5]]), CORNER, "1 of 6 rows are outside (row 5, number 1 is -0.5, the nearest is -0.4)"),
    ],
)
def test_actions_that_are_not_those_of_the_environment(array, space, said):
    with pytest.raises(BadInput) as caught:
        fit_actions("rows.npz", array, "Env-v0", space)
    message = str(caught.value)
    assert message.startswith("rows.npz: actions are ") and said in message and "Env-v0 takes" in message and "\n" not in message


@pytest.mark.parametrize(
    ("array", "space", "expected"),
    [
        (integers(0, 1), Discrete(2), integers(0, 1)),
        (integers(5, 6, 7), Discrete(3, start=5), integers(0, 1, 2)),
        (integers(-1, 0), Discrete(2, start=-1), integers(0, 1)),
        (floats(1), UNIT, floats(1)),
        (floats(), UNIT, floats(1)),
        (floats(6), MATRIX, floats(6)),
        (floats(2, 3), MATRIX, floats(6)),
        (floats(), SCALAR, floats(1)),
        (floats(1), SCALAR, floats(1)),
        (floats(2, value=1e6), FREE, floats(2, value=1e6)),
        (floats(1, value=np.nextafter(np.float32(2), np.float32(3))), UNIT, floats(1, value=2)),  # rounding is clipped
        (np.float16([[0.1, 0.4]] * M).astype(np.float32), CORNER, np.float32([[np.float16(0.1), np.float16(0.4)]] * M)),
    ],
)
def test_actions_as_a_policy_gives_them(array, space, expected):
    found = fit_actions("rows.npz", array, "Env-v0", space)
    if isinstance(space, Box):
        expected = np.clip(expected, space.low.reshape(-1), space.high.reshape(-1))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("array", "space", "said"),
    [
        (floats(3), FREE, "observation has 3 numbers a row; Env-v0 has 2 numbers, Box(-inf, inf, (2,), float32)"),
        (floats(), FREE, "observation has one number a row; Env-v0 has 2 numbers"),
        (floats(8, 8, 3), FREE, "observation has [8, 8, 3] numbers a row; Env-v0 has 2 numbers"),
        (floats(3, 2), MATRIX, "observation has [3, 2] numbers a row; Env-v0 has [2, 3] numbers"),
        (floats(2), Discrete(3), "observation has 2 numbers a row; Env-v0 has Discrete(3): one whole number a row, or a one-hot row of 3"),
        (floats(3), Discrete(3), "a one-hot row of 3"),
        (floats(), Discrete(3), "6 of 6 rows are no states of Env-v0, Discrete(3), whole numbers from 0 to 2: row 0 is 0.5, the nearest is 0"),
        (
            integers(0, 3).astype(np.float32),
            Discrete(3),
            "3 of 6 rows are no states of Env-v0, Discrete(3), whole numbers from 0 to 2: row 1 is 3, the nearest is 2",
        ),
        (integers(0, 4).astype(np.float32), Discrete(3, start=4), "row 0 is 0, the nearest is 4"),
    ],
)
def test_observations_that_are_not_those_of_the_environment(array, space, said):
    with pytest.raises(BadInput) as caught:
        fit_observations("rows.npz", "observation", array, "Env-v0", space)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_observations_as_a_policy_sees_them():
    def fit(array, space):
        return fit_observations("rows.npz", "observation", array.astype(np.float32), "Env-v0", space).tolist()

    assert fit(np.array([[4, 0], [5, 1]]), FREE) == [[4, 0], [5, 1]]
    assert fit(np.array([4, 6]), Discrete(3, start=4)) == fit(np.array([[4], [6]]), Discrete(3, start=4)) == [[1, 0, 0], [0, 0, 1]]
    assert fit(np.array([[0, 1, 0]]), Discrete(3)) == [[0, 1, 0]]
    assert fit(np.arange(6).reshape(1, 2, 3), MATRIX) == [[0, 1, 2, 3, 4, 5]] and fit(np.array([7]), UNIT) == fit(np.array([7]), SCALAR) == [[7]]


def test_notes_count_what_is_left_out_or_outside():
    observation = np.float32([[0], [3], [-9]])
    flags = np.zeros(3, dtype=bool)
    data = Dataset(observation, observation, observation, np.zeros(3, np.float32), flags, flags, {"dropped": 2})
    assert notes(data, "Env-v0", Box(-10, 10, (1,))) == [
        "2 rows at the end of a recording are left out: the data do not hold what followed them (3 transitions are left)"
    ]
    assert (
        notes(data, "Env-v0", UNIT)[1] == "2 of 3 observations lie outside the observation space of Env-v0, Box(-2.0, 2.0, (1,), float32) (the first in row 1)"
    )
    assert notes(data, "Env-v0", Discrete(3)) == notes(data, "Env-v0", Box(-np.inf, np.inf, (1,)))[:1]
