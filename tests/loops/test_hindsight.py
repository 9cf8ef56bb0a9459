"""Goals in hindsight for replay: which may be drawn and what they pay, by hand; runs that go on, seeds beside others, workers; what cannot have them."""

from __future__ import annotations

import copy
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from learners import state_after

from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method, methods
from operant.core.spec import Field, Spec
from operant.loops.draw import Uniform, Windows
from operant.loops.goals import AchievedLater
from operant.loops.imagine import Imagine
from operant.loops.settings import ReplaySettings
from operant.loops.value_learning import ValueLearner
from operant.worlds import make_world
from operant.worlds.base import SampleWorkers
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz
from operant.worlds.gym.beds import PointReach
from operant.worlds.store import Store, transition_columns

SPEC = Spec((Field("achieved_goal", (1,)), Field("desired_goal", (1,), role="goal"), Field("observation", (1,))))
SMALL = {"hidden": (6,), "batch_size": 16, "learning_starts": 20, "hindsight": 4}
STEPS = 24  # of an iteration


class Counting:
    """Goals of a walk along the numbers, which pay 10 where they are reached, and -1 elsewhere, and end it there."""

    achieved, desired = slice(0, 1), slice(1, 2)

    def of(self, outcome, goal, terminated):
        there = outcome[..., 0] == goal[..., 0]
        return torch.where(there, 10.0, -1.0), there | terminated

    def hold(self, paid, computed):
        assert len(paid) and torch.equal(paid, computed)


def walks(ends: list[int], lanes: int, *, capacity: int) -> Store:
    """Lane l at turn t goes from 100 l + t to the next number, towards -1, for -1 a step; each of `ends` is a turn behind which all episodes were cut."""
    store = Store(1, capacity, transition_columns(SPEC, (1,)), lanes=lanes)
    for turn in range(max(ends) + 1):
        at = 100.0 * torch.arange(lanes) + turn
        rows = torch.stack([at, torch.full_like(at, -1), at], -1).unsqueeze(0)
        flags = {"terminated": torch.zeros(1, lanes, dtype=torch.bool), "truncated": torch.full((1, lanes), turn in ends)}
        columns = {"observation": rows, "next_observation": rows + torch.tensor([1.0, 0, 1]), "action": torch.zeros(1, lanes, 1)}
        store.append(columns | flags | {"reward": -torch.ones(1, lanes)})
    return store


@pytest.mark.parametrize("lanes", [1, 3])
def test_goals_are_what_the_episode_achieved_from_the_transition_on(lanes: int):
    """Turns 0 to 9 in a ring of 7: left are 3 to 9, of an episode that ends behind 5, another one behind 8, and one that goes on."""
    store, count = walks([2, 5, 8, 9], lanes, capacity=7 * lanes), 6_000
    store.ends[0, torch.arange(lanes) + 9 % 7 * lanes] = False  # nothing ended there yet
    batch = store.gather(torch.arange(store.size).repeat_interleave(count).unsqueeze(0))
    found = AchievedLater(Counting(), 4)(batch, store, Streams([0]))
    assert torch.equal(found.observation[..., [0, 2]], batch.observation[..., [0, 2]])
    assert torch.equal(found.next_observation[..., [0, 2]], batch.next_observation[..., [0, 2]])
    assert torch.equal(found.observation[..., 1], found.next_observation[..., 1]) and torch.equal(found.index, batch.index)
    kept = found.observation[..., 1] == -1
    assert kept.float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert (found.reward[kept] == -1).all() and not found.terminated[kept].any()
    there = found.next_observation[..., 0] == found.observation[..., 1]
    assert torch.equal(found.reward[~kept], torch.where(there, 10.0, -1.0)[~kept]) and torch.equal(found.terminated, there)
    for place in range(store.size):
        lane, turn = place % lanes, int(store.gather(torch.tensor([[place]])).observation[0, 0, 0]) % 100
        last = next(end for end in (5, 8, 9) if turn <= end)
        goals = found.observation[0, place * count : (place + 1) * count, 1]
        drawn, times = goals[goals != -1].unique(return_counts=True)
        assert drawn.tolist() == [100 * lane + reached + 1 for reached in range(turn, last + 1)]
        assert times.float().div(times.sum()).tolist() == pytest.approx([1 / len(drawn)] * len(drawn), abs=0.04)


def learner_of(key: str, task: str, seeds: tuple[int, ...] = (3, 4), workers: SampleWorkers | None = None, **hyper) -> ValueLearner:
    spine = get_method(key).build(configure(key, {"environments": 2} | SMALL | hyper))
    spine = replace(spine, updates_per_iteration=STEPS, sample_workers=workers)
    return spine.learner(make_world(task), list(seeds), 10_000, torch.device("cpu"))


@pytest.mark.parametrize(
    ("key", "task", "hyper"),
    [("dqn", "gym:bit-flip", {"prioritized": True, "capacity": 40}), ("td3", "gym:point-reach", {"normalize_observation": True, "capacity": 80})],
)
def test_a_run_goes_on_bit_for_bit_and_seeds_do_not_meet(key: str, task: str, hyper: dict):
    """Also across the seam of the ring, in the midst of an episode, and with workers."""
    whole = state_after(learner_of(key, task, **hyper), 4)
    half = state_after(learner_of(key, task, **hyper), 2)
    assert first_difference(state_after(learner_of(key, task, **hyper), 2, copy.deepcopy(half)), whole) is None
    if key == "td3":
        assert first_difference(state_after(learner_of(key, task, workers=SampleWorkers(2), **hyper), 2, half), whole) is None
    alone, without = state_after(learner_of(key, task, (4,), **hyper), 4), state_after(learner_of(key, task, **hyper | {"hindsight": 0}), 4)
    for name, value in alone["nets"].items():
        torch.testing.assert_close(whole["nets"][name][1:], value, rtol=1e-3, atol=1e-4)
    assert first_difference(dict(without["nets"]), dict(whole["nets"])) is not None


def test_a_policy_and_its_batches_see_goals_by_the_same_statistics():
    learner = learner_of("sac-v2", "gym:point-reach", normalize_observation=True)
    for _ in range(3):
        learner.iterate()
    store, normalizer = learner.stores["replay"], learner.policy.normalizer
    batch = learner.drawer.draw()
    mean, deviation = normalizer.mean.float().unsqueeze(1), normalizer.variance.float().unsqueeze(1).sqrt()
    raw, following = (x * deviation + mean for x in (batch.observation, batch.next_observation))
    torch.testing.assert_close(raw[..., [0, 1, 4, 5]], store.gather(batch.index).observation[..., [0, 1, 4, 5]], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(raw[..., 2:4], following[..., 2:4], rtol=1e-3, atol=1e-4)
    set_goal = ((raw[..., 2:4] - store.gather(batch.index).observation[..., 2:4]).abs() < 1e-3).all(-1)
    assert 0 < set_goal.sum() < set_goal.numel() / 2
    reached = (following[..., :2] - raw[..., 2:4]).norm(dim=-1) <= 0.05 + 1e-4
    assert torch.equal(batch.terminated, reached) and torch.equal(batch.reward, reached.float() - 1) and reached.any()
    learner.close()


class Reach(gymnasium.Env):
    """The reach as an object."""

    def __init__(self):
        self.bed = PointReach([0])
        self.observation_space, self.action_space = self.bed.observation_space, self.bed.action_space
        self.compute_reward, self.compute_terminated = self.bed.compute_reward, self.bed.compute_terminated

    def reset(self, *, seed=None, options=None):
        return self._seen(self.bed.reset()), {}

    def step(self, action):
        step = self.bed.step(np.asarray(action)[None])
        return self._seen(step.next_observation), float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), {}

    def _seen(self, rows):
        return dict(zip(("achieved_goal", "desired_goal", "observation"), np.split(rows[0], 3), strict=True))


def shown(folder) -> str:
    """A data set of the reach, whose observations have goals."""
    if "HindsightReach-v0" not in gymnasium.registry:
        gymnasium.register("HindsightReach-v0", Reach)
    rng, count = np.random.default_rng(0), 60
    at, goal = rng.uniform(-0.5, 0.5, (count + 1, 2)).astype(np.float32), np.full((count, 2), 0.5, np.float32)
    seen, following = (np.concatenate([x, goal, x], 1) for x in (at[:-1], at[1:]))
    said = {"environment": "HindsightReach-v0", "reward": "environment", "action_low": [-1.0, -1.0], "action_high": [1.0, 1.0]}
    flags = np.zeros(count, bool), np.arange(count) % 20 == 19
    data = Dataset(seen, rng.uniform(-1, 1, (count, 2)).astype(np.float32), following, -np.ones(count, np.float32), *flags, said)
    return f"data:{save_npz(data, folder / 'data.npz')}"


def test_every_method_that_replays_single_transitions_has_them(tmp_path):
    keys = [key for key, entry in methods().items() if issubclass(entry.hyperparameters, ReplaySettings)]
    assert len(keys) >= 16 and {"dqn", "sac-v2", "td3", "ddpg", "rlpd", "arsq", "rainbow"} <= {*keys}
    tasks = {"discrete": "gym:bit-flip", "continuous": "gym:point-reach", "data": shown(tmp_path)}
    for key in keys:
        entry = get_method(key)
        small = {"critic_updates": 1, "updates_per_step": 0.5, "n_step": 1, "critic_hidden": (6,), "v_min": -17.0, "v_max": 1.0}
        known = {name: value for name, value in (SMALL | small).items() if hasattr(entry.hyperparameters, name)}
        spine = replace(entry.build(configure(key, known)), updates_per_iteration=STEPS)
        world = make_world(tasks["data"] if spine.data else tasks[entry.actions[0]])
        spine.check(world, [0, 1], 1_000, 2)
        learner = spine.learner(world, [0, 1], 1_000, torch.device("cpu"))
        learner.iterate()
        assert learner.updates and isinstance(learner.drawer.draw().reward, torch.Tensor)
        learner.close()


@pytest.mark.parametrize(
    ("key", "hyper", "changed", "task", "says"),
    [
        ("dqn", {"n_step": 3}, {}, "gym:bit-flip", "given to single steps, and n_step makes one of 3: take --n-step 1"),
        ("rainbow", {}, {}, "gym:bit-flip", "n_step makes one of 3: take --n-step 1"),
        ("dqn", {}, {}, "gym:CartPole-v1", "observations of gym:CartPole-v1 consist of observation; goals in hindsight need a Dict"),
        ("td3", {}, {"draw": Windows(2, 4)}, "gym:point-reach", "draw no Windows, and imagine nothing"),
        ("td3", {}, {"imagine": Imagine(lambda update, seen: {}, capacity=10)}, "gym:point-reach", "draw no Windows, and imagine nothing"),
    ],
)
def test_what_they_do_not_go_with_is_refused(key, hyper, changed, task, says):
    spine = replace(get_method(key).build(configure(key, SMALL | hyper)), **changed)
    with pytest.raises(BadInput, match=f"^hindsight: .*{says}"):
        spine.check(make_world(task), [0], 1_000, 2)


def test_without_them_nothing_is_asked():
    spine = get_method("dqn").build(configure("dqn", SMALL | {"hindsight": 0}))
    learner = spine.learner(make_world("gym:bit-flip"), [0], 1_000, torch.device("cpu"))
    assert isinstance(learner.method.draw, Uniform) and learner._goals is None
