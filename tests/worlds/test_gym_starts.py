"""Episodes that begin in the middle: what comes of a state is what came of it before, and who draws, cuts and resets."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.gym.adapter import make_objects
from operant.worlds.gym.starts import StartedEnvironments, Starts, clusters, make_started, recorded
from operant.worlds.gym.views import PLAIN
from operant.worlds.gym.world import GymWorld


@pytest.mark.parametrize("task", ["Pendulum-v1", "MountainCarContinuous-v0", "CartPole-v1", "Hopper-v5"])
def test_a_state_gives_what_it_gave_before(task: str):
    """The next 50 steps with the same actions, of a row that was somewhere else before, to the bit."""
    if task.startswith("Hopper"):
        pytest.importorskip("mujoco")
    rng = np.random.default_rng(0)
    there, other = make_objects(task, [1]), make_objects(task, [2])
    space = there.envs[0].action_space
    actions = [np.array([space.sample()]) for space in [space] for _ in range(80) if space.seed(int(rng.integers(2**31))) or True]
    seen, _ = there.reset(), other.reset()
    for action in actions[:5]:
        seen = there.step(action).observation
        other.step(actions[-1])
    state = there.taken(0)
    other.place(0, state, seen[0])
    assert np.array_equal(other.observation, seen)
    for action in actions[5:55]:
        ours, theirs = there.step(action), other.step(action)
        for name in ("next_observation", "reward", "terminated", "truncated"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
        if (ours.terminated | ours.truncated).any():
            assert not np.array_equal(ours.observation, theirs.observation)  # resets go on by each row's own generator
            break
    if task == "Pendulum-v1":
        assert there.taken(0)[0]["attributes"]["_elapsed_steps"] == 55


class Line(gymnasium.Env):
    """A walk to the right from a drawn start, that ends at 30; its whole state is a number."""

    observation_space, action_space = gymnasium.spaces.Box(0, 100, (1,), np.float32), gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(3))
        return self._seen(), {}

    def _seen(self):
        return np.array([self.place], np.float32)

    def step(self, action):
        self.place += 1
        return self._seen(), 1.0, self.place == 30, False, {}

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Still:
    def act(self, observation, carry=None):
        return np.zeros((1, observation.shape[1], 1), np.float32), None


def starts(until: int = 20, length: int | None = 4, count: int = 3) -> Starts:
    states, seen = GymWorld(Line).starts(Still(), 2, 0, 1_000)
    assert len(states) == len(seen) and seen.max() == 29 and (seen.ravel() == [state[0]["own"]["dict"][0][1] for state in states]).all()
    return Starts(states, seen, clusters(seen, count), until, length)


def test_episodes_begin_there_are_cut_and_later_begin_as_ever():
    rows = make_started(Line, starts(), [5, 6, 7], view=PLAIN)
    before, ends, begun = rows.reset().copy(), [], [*rows.observation.ravel()]
    assert before.max() > 2
    for tick in range(1, 41):
        step = rows.step(np.zeros((3, 1), np.float32))
        assert np.array_equal(step.next_observation, before + 1)  # the true outcome, whatever begins behind it
        assert np.array_equal(step.terminated, step.next_observation[:, 0] == 30) and not (step.terminated & step.truncated).any()
        for row in (step.terminated | step.truncated).nonzero()[0]:
            ends.append((tick, bool(step.truncated[row])))
            if tick < 20:
                begun.append(step.observation[row, 0])
            else:
                assert step.observation[row, 0] <= 2
        before = step.observation.copy()
    assert len(set(begun)) > 6 and max(begun) > 10
    assert any(cut for tick, cut in ends if tick < 20) and not any(cut for tick, cut in ends if tick > 24)
    assert all(tick % 4 == 0 or not cut for tick, cut in ends[:3])


def test_clusters_are_drawn_alike():
    crowd = np.concatenate([np.zeros((90, 1)), np.full((5, 1), 10.0), np.full((5, 1), 20.0)]).astype(np.float32)
    found = Starts([[{}]] * 100, crowd, clusters(crowd, 3), 10)
    rng = np.random.default_rng(0)
    drawn = crowd[[found.draw(rng) for _ in range(3_000)], 0]
    assert all(abs((drawn == place).mean() - 1 / 3) < 0.04 for place in (0, 10, 20))


def test_rows_go_on_from_their_state():
    given = starts(until=1_000)
    whole, other = (StartedEnvironments(make_objects(Line, [5, 6]), given, [5, 6]) for _ in range(2))
    whole.reset()
    for _ in range(7):
        whole.step(np.zeros((2, 1), np.float32))
    other.reset()
    other.load_state_dict(whole.state_dict())
    for _ in range(20):
        ours, theirs = (rows.step(np.zeros((2, 1), np.float32)) for rows in (whole, other))
        assert np.array_equal(ours.observation, theirs.observation) and np.array_equal(ours.truncated, theirs.truncated)
    assert first_difference(whole.state_dict(), other.state_dict()) is None


def test_what_cannot_begin_in_the_middle_is_told():
    class Closed(Line):
        state_dict = load_state_dict = None

    with pytest.raises(BadInput, match="cannot give its state"):
        recorded(lambda seeds: make_objects(Closed, seeds), Still().act, 1, 0, 10)
    with pytest.raises(BadInput, match="time_feature"):
        GymWorld(lambda: gymnasium.wrappers.TimeLimit(Line(), 50), time_feature=True).begun_at(starts())


def test_a_teacher_is_a_run_on_the_task(tmp_path, monkeypatch):
    import operant

    small = {"hidden": (4,), "batch_size": 4, "learning_starts": 10}
    monkeypatch.chdir(tmp_path)
    operant.train("td3", "gym:Pendulum-v1", steps=20, episodes=1, progress=False, out="teacher", **small)
    h = configure("snapshotrl", {"teacher_run": "teacher", "trajectories": 2, "clusters": 3, "share": 0.5} | small)
    assert h.teacher_run == str(tmp_path / "teacher")  # from wherever the run goes on
    world = make_world("gym:Pendulum-v1")
    learner = get_method("snapshotrl").build(h).learner(world, [0], 60, torch.device("cpu"))
    given = learner.inner.world.make_training.args[1]
    policy, seen = operant.load(tmp_path / "teacher").load_policy(), torch.from_numpy(given.observation)
    assert len(given.states) == 400 and given.until == 30 and len(np.unique(given.cluster)) == 3
    rows = make_objects("Pendulum-v1", [0])
    rows.reset()
    rows.place(0, given.states[7], given.observation[7])  # of the second episode, whose next state the teacher's mode leads to
    found = rows.step(policy.act(seen[7].view(1, 1, -1))[0][0]).next_observation[0]
    np.testing.assert_allclose(found, given.observation[9], rtol=1e-5, atol=1e-6)
    other = learner.state_dict()
    other["outside"]["digest"] = "another"
    with pytest.raises(BadInput, match="no longer those"):
        learner.load_state_dict(other)
    with pytest.raises(BadInput, match="was trained on gym:Pendulum-v1"):
        get_method("snapshotrl").build(h).check(make_world("gym:MountainCarContinuous-v0"), [0], 60, 1)
