"""The data set record: episodes, returns, checks, quality and hash."""

import math

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds.data.dataset import Dataset


def line_walk(**changes) -> Dataset:
    """Two recordings on a line: 0→1→2 (cut) and 5→6→7→8 with the goal at 6 and 7, where the recording goes on behind terminated rows."""
    fields = {
        "observation": np.array([[0], [1], [5], [6], [7]], dtype=np.float32),
        "action": np.array([[0.5], [1.0], [1.0], [-1.0], [0.25]], dtype=np.float32),
        "next_observation": np.array([[1], [2], [6], [7], [8]], dtype=np.float32),
        "reward": np.array([-1, -1, -1, 0, 0], dtype=np.float32),
        "terminated": np.array([0, 0, 0, 1, 1], dtype=bool),
        "truncated": np.array([0, 1, 0, 0, 1], dtype=bool),
        "metadata": {"action_low": [-1.0], "action_high": [1.0]},
    }
    return Dataset(**fields | changes)


def test_episodes_end_at_cuts_and_at_terminations_that_jump():
    data = line_walk()
    assert data.episode_starts.tolist() == [0, 2]
    assert data.returns.tolist() == [-2.0, -1.0]
    # The same flags, but the row behind the first termination starts elsewhere: now it is an episode of its own.
    jumped = line_walk(observation=np.array([[0], [1], [5], [6], [3]], dtype=np.float32))
    assert jumped.episode_starts.tolist() == [0, 2, 4]
    assert jumped.returns.tolist() == [-2.0, -1.0, 0.0]


def test_episode_returns_equal_a_literal_loop():
    generator = np.random.default_rng(0)
    rows = 200
    truncated = generator.random(rows) < 0.1
    reward = generator.normal(size=rows).astype(np.float32)
    observation = np.arange(rows, dtype=np.float32)[:, None]
    data = Dataset(observation, observation, observation + 1, reward, np.zeros(rows, dtype=bool), truncated)
    expected, total = [], 0.0
    for row in range(rows):
        total += float(reward[row])
        if truncated[row] or row == rows - 1:
            expected.append(total)
            total = 0.0
    np.testing.assert_allclose(data.returns, expected, rtol=0, atol=1e-12)


def nan_at(row: int, value: float) -> np.ndarray:
    array = np.array([[0], [1], [5], [6], [7]], dtype=np.float32)
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observation": nan_at(3, math.nan)}, "observation row 3 is NaN"),
        ({"next_observation": nan_at(1, -math.inf)}, "next_observation row 1 is infinite"),
        ({"reward": np.array([0, 0, math.nan, 0, math.nan], dtype=np.float32)}, "reward row 2 is NaN"),
        ({"action": np.array([[0], [0], [0], [0], [1.01]], dtype=np.float32)}, "action row 4 is [1.00"),
        ({"action": np.zeros((4, 1), dtype=np.float32)}, "action has shape [4, 1], it must be [5, 1]"),
        ({"action": np.zeros((5, 1), dtype=np.float64)}, "action is float64, it must be float32"),
        ({"reward": np.zeros((5, 1), dtype=np.float32)}, "reward has shape [5, 1], it must be [5]"),
        ({"terminated": np.zeros(5, dtype=np.float32)}, "terminated is float32, it must be bool"),
        ({"next_observation": np.zeros((5, 2), dtype=np.float32)}, "next_observation has shape [5, 2]"),
        ({"observation": np.zeros(5, dtype=np.float32)}, "next_observation has shape [5, 1], it must be [5]"),
        ({"reward": [0.0] * 5}, "reward is a list"),
        ({"action": np.array([0, 1, 2, 3, 1]), "metadata": {"action_count": 3}}, "action row 3 is 3, it must be in [0, 2]"),
        ({"action": np.array([5, 6, 4, 7, 6]), "metadata": {"action_count": 3, "action_start": 5}}, "action row 2 is 4, it must be in [5, 7]"),
        ({"metadata": {"action_low": [-1.0, -1.0], "action_high": [1.0, 1.0]}}, "bounds 2 and 2 action dimensions, the data have 1"),
        ({"metadata": {"action_low": "a", "action_high": [1.0]}}, "must be lists of 1 numbers"),
    ],
)
def test_faults_are_named_in_one_line(changes, said):
    with pytest.raises(BadInput) as caught:
        line_walk(**changes).validate("some.npz")
    message = str(caught.value)
    assert message.startswith("some.npz: ") and said in message and "\n" not in message


def test_good_and_empty_data():
    line_walk().validate()
    line_walk(action=np.array([0, 1, 2, 0, 1]), metadata={"action_count": 3}).validate()
    empty = Dataset(*(np.zeros((0, 1), dtype=np.float32),) * 3, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    with pytest.raises(BadInput, match="no transitions"):
        empty.validate()


def test_quality_by_hand():
    said = line_walk().quality()
    assert (said["transitions"], said["episodes"], said["terminated"]) == (5, 2, 2)
    assert (said["return_mean"], said["return_std"], said["return_min"], said["return_max"]) == (-1.5, 0.5, -2.0, -1.0)
    assert (said["action_low"], said["action_high"]) == ([-1.0], [1.0])
    assert said["coverage"] == 5 / 20  # 0, 1, 5, 6, 7 over [0, 7] fall into cells 0, 2, 14, 17 and 19
    # Two dimensions that vary and one that does not: four corners of the 20 × 20 grid.
    corners = np.array([[0, 3, 0], [0, 3, 1], [9, 3, 0], [9, 3, 1], [9, 3, 1]], dtype=np.float32)
    assert line_walk(observation=corners, next_observation=corners).quality()["coverage"] == 4 / 400
    discrete = line_walk(action=np.array([0, 1, 1, 0, 1]), metadata={"action_count": 3})
    assert discrete.quality()["action_counts"] == [2, 3, 0]


def test_hash_sees_every_array_and_no_metadata():
    base = line_walk().content_hash()
    assert base == line_walk(metadata={"seed": 3}).content_hash()
    changed = {
        "observation": nan_at(0, 9),
        "action": np.zeros((5, 1), dtype=np.float32),
        "next_observation": nan_at(0, 9),
        "reward": np.zeros(5, dtype=np.float32),
        "terminated": np.zeros(5, dtype=bool),
        "truncated": np.zeros(5, dtype=bool),
    }
    hashes = {base} | {line_walk(**{name: array}).content_hash() for name, array in changed.items()}
    assert len(hashes) == 7
