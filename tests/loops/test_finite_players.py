"""A policy of a finite MDP with a horizon hangs on the step: who plays it by the run gets what it is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import operant
from operant.core.errors import BadInput

# Left pays 1 for staying and nothing for leaving; right pays 5 for coming back. Over five steps the best is there and back twice, and to stay once.
TRANSITION = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])  # [state, action, next state]
REWARD = np.array([[1.0, 0.0], [0.5, 5.0]])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> operant.Run:
    folder = tmp_path_factory.mktemp("finite")
    np.savez(folder / "own.npz", transition=TRANSITION, reward=REWARD, initial=[1.0, 0.0], horizon=5)
    return operant.load(operant.train("value-iteration", f"tabular:{folder}/own.npz", out=folder / "run", progress=False).path)


def played(choose) -> float:
    """The return of one episode of five steps from the left state, by `(state, step) → action`."""
    state, total = 0, 0.0
    for step in range(5):
        action = choose(state, step)
        state, total = int(TRANSITION[state, action].argmax()), total + REWARD[state, action]
    return total


def test_playing_a_run_gives_its_value(run: operant.Run):
    value = run.result["score"]["per_seed"][0]
    assert value == 11.0
    assert max(  # of tables that are the same at all steps
        played(lambda state, step, table=table: table[state]) for table in ((0, 0), (0, 1), (1, 0), (1, 1))
    ) == 10.0
    act = run.player()
    for _ in range(2):
        assert played(lambda state, step: act(state)) == value
        act.reset()
    assert played(lambda state, step: run.policy(state, step=step)) == value


def test_several_episodes_count_their_own_steps(run: operant.Run):
    several, table = run.player(), [run.policy(np.array([0, 1]), step=step).tolist() for step in range(5)]
    assert [several(np.array([0, 1])).tolist() for _ in range(3)] == table[:3]
    several.reset([False, True])
    assert several(np.array([0, 1])).tolist() == [table[3][0], table[0][1]]
    with pytest.raises(BadInput, match="1 observations, and what the policy remembers is of 2 episodes"):
        several(0)
    several(np.array([0, 1]))
    with pytest.raises(BadInput, match=r"episodes have 5 steps, and these are over: act.reset\(\)"):
        several(np.array([0, 1]))


def test_the_step_is_asked_for(run: operant.Run, tmp_path: Path):
    with pytest.raises(BadInput, match=r"hangs on the step: run.policy\(state, step=0\), or act = run.player\(\)"):
        run.policy(0)
    with pytest.raises(BadInput, match="step 5: an episode has 5, counted from 0"):
        run.policy(0, step=5)
    for step in (-1, 0.5, True):
        with pytest.raises(BadInput, match=f"^step={step}: it must be"):
            run.policy(0, step=step)
    endless = operant.train("value-iteration", "tabular:chain", steps=1, out=tmp_path / "endless", progress=False)
    assert endless.policy(0) == endless.player()(0)
    with pytest.raises(BadInput, match="step is given, and what its policies do hangs on no count of steps"):
        endless.policy(0, step=0)
    once = operant.train("value-iteration", "tabular:bandit", out=tmp_path / "once", progress=False)
    assert once.policy(0) == once.policy(0, step=0)
