"""Action masks: from the observation, from info and from `action_masks()`, in environments one by one, in vectors and in workers; never violated."""

from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import operant
from operant.core.errors import BadInput, RunFailed
from operant.core.registry import configure, get_method
from operant.evidence.online.beds import Picks
from operant.loops.behaviour import EpsilonGreedy
from operant.loops.draw import Uniform
from operant.loops.value_learning import Copy, Phase, ValueLearning
from operant.nets.actors import ActionValueNet
from operant.nets.heads import Quantiles
from operant.worlds import make_world
from operant.worlds.gym.adapter import make_environments
from operant.worlds.gym.beds import BATCHED
from operant.worlds.gym.experience import Online
from operant.worlds.gym.native import NativeEnvironments
from operant.worlds.gym.world import GymWorld

PPO = {"environments": 3, "rollout_length": 12, "minibatches": 2, "epochs": 2, "hidden": (8,)}


class Beside(Picks):
    """The mask stands in info, or is what `action_masks()` says."""

    where = "info"

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 1, (6,), np.float32)

    def info(self):
        return {"action_mask": self.left.copy()} if self.where == "info" else {}

    def reset(self, **kwargs):
        super().reset(**kwargs)
        return self.values, self.info()

    def step(self, action):
        _, *rest = super().step(action)
        return self.values, *rest[:3], self.info()


class ByMethod(Beside):
    where = "method"

    def action_masks(self):
        assert self.round < self.rounds  # nobody is asked to act where an episode is over
        return self.left.astype(bool)


def test_what_is_compared_was_written(monkeypatch: pytest.MonkeyPatch):
    """Whether a reset obeys its seed is asked of observations; a mask that stands beside them is compared too, so that its place may hold nothing by chance."""
    chance = iter(range(1000))
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **_: np.full(shape, next(chance), dtype))
    for beside in (Beside, ByMethod):
        assert not any("ignores the seed" in note for note in GymWorld(beside).notes)


class Several(gymnasium.Env):
    """Two choices and a bit, of which a random part is allowed; acts outside of it raise."""

    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Dict(pair=spaces.MultiDiscrete([3, 2], start=[1, 0]), bit=spaces.MultiBinary(1), push=spaces.Box(-1, 1, (1,)))

    def draw(self):
        self.bit = np.ones(2, np.int8)
        self.bit[self.np_random.integers(2)] = self.np_random.integers(2)
        self.pair = (np.zeros(3, np.int8), np.ones(2, np.int8))
        self.pair[0][self.np_random.integers(3)] = 1
        return self.observation_space.sample(), {"action_mask": {"pair": self.pair, "bit": self.bit, "else": 3}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.draw()

    def step(self, action):
        assert self.action_space.contains(action), action
        assert self.pair[0][action["pair"][0] - 1] and self.bit[action["bit"][0]], (action, self.pair, self.bit)
        self.count += 1
        seen, info = self.draw()
        return seen, 0.0, self.count == 4, False, info


def vector(env, mode):
    return lambda num_envs=1: SyncVectorEnv([env] * num_envs, autoreset_mode=mode)


BEDS = {"observation": Picks, "info": Beside, "method": ByMethod, "several": Several}
VECTORS = {f"{name} {mode.name}": vector(env, mode) for name, env in (("observation", Picks), ("info", Beside)) for mode in AutoresetMode}


def learner(task, seeds=(0, 1), **hyper):
    return get_method("ppo").build(configure("ppo", PPO | hyper)).learner(make_world(task), list(seeds), 10_000, torch.device("cpu"))


@pytest.mark.parametrize("task", [*BEDS.values(), *VECTORS.values()], ids=[*BEDS, *VECTORS])
def test_masks_are_obeyed_in_training_evaluation_and_at_random(task):
    """An action that is not allowed would raise."""
    one = learner(task)
    for _ in range(3):
        one.iterate()
    rollout = one.rollout
    assert torch.isfinite(rollout.log_prob).all() and (rollout.log_prob[rollout.mask] > -1e3).all()
    world = one.world
    for policy in (one.policy, world.random_policy()):
        world.evaluate(policy, 2 if policy is one.policy else 1, episodes=5)
    one.close()


@pytest.mark.parametrize(
    ("task", "method"), [(Picks, "dqn"), (Beside, "dqn"), (ByMethod, "dqn"), (Beside, "qr-dqn"), (Beside, "c51"), (Beside, "iqn"), (Beside, "rainbow")]
)
def test_values_are_learned_and_explored_under_masks(task, method: str):
    """Random, epsilon-greedy and greedy actions are allowed ones, and no target comes from a forbidden one."""
    hyper = {"learning_starts": 20, "batch_size": 16, "hidden": (8,), "environments": 2, "epsilon_end": 0.5}
    one = get_method(method).build(configure(method, hyper)).learner(make_world(task), [0, 1], 10_000, torch.device("cpu"))
    for _ in range(2):
        metrics = one.iterate()
    one.world.evaluate(one.policy, 2, episodes=5)
    assert all(abs(value).max() < 10 for name, value in metrics.items() if name.startswith("loss/"))  # -1e8 in a target would show


def quantile_method(acts) -> ValueLearning:
    """Quantile regression by the obvious code: the following action is the one whose quantiles have the largest mean."""

    def losses(u):
        following = u.target("q").outputs(u.batch.next_observation)
        best = following.mean(-1).argmax(-1)
        allowed = u.batch.next_observation[..., u.net("q").observation.mask]
        assert allowed.gather(-1, best.unsqueeze(-1)).all()
        targets = following.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
        y = torch.stack([u.bellman(one, gamma=0.9) for one in targets.unbind(-1)], -1)
        quantiles = u.net("q").outputs(u.batch.observation)
        quantiles = quantiles.gather(-2, u.batch.action[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
        torch.testing.assert_close(u.net("q")(u.batch.observation), u.net("q").outputs(u.batch.observation).mean(-1))
        return {"q": (y - quantiles).square().mean(-1)}

    return ValueLearning(
        nets={"q": ActionValueNet(hidden=(8,), head=Quantiles(4), duelling=True)},
        phases=[Phase(losses, trains=("q",))],
        acts=acts,
        draw=Uniform(16),
        track={"q": Copy(every=5)},
        online=Online(environments=2, learning_starts=20),
    )


@pytest.mark.parametrize("task", [Picks, Beside])
def test_a_method_of_ones_own_prefers_no_forbidden_action(task):
    one = quantile_method(EpsilonGreedy("q")).learner(make_world(task), [0, 1], 10_000, torch.device("cpu"))
    metrics = one.iterate()
    assert all(value.abs().max() < 10 for name, value in metrics.items() if name.startswith("loss/"))


class Careless:
    """Explores without a look at the mask."""

    net = "q"

    def act(self, policy, observation, streams, progress):
        return streams.integers("careless", policy.distribution.size, observation.shape[1])


class Flat(Careless):
    def act(self, policy, observation, streams, progress):
        return super().act(policy, observation, streams, progress)[0]


class Halves(Careless):
    def act(self, policy, observation, streams, progress):
        return super().act(policy, observation, streams, progress) / 2


@pytest.mark.parametrize(
    ("acts", "words"),
    [
        (Careless(), "gave an action that the mask forbids: take what a net prefers"),
        (Flat(), r"gave \[2\] of torch.int64; actions are \[2, 2\] of torch.int64"),
        (Halves(), r"gave \[2, 2\] of torch.float32; actions are \[2, 2\] of torch.int64"),
    ],
)
def test_a_behaviour_of_ones_own_is_held_to_the_mask(acts, words: str):
    one = quantile_method(acts).learner(make_world(Beside), [0, 1], 10_000, torch.device("cpu"))
    with pytest.raises(BadInput, match=words):
        one.iterate()


def test_workers_obey_masks():
    apart, together = learner(Beside, workers=2), learner(Beside)
    for one in (apart, together):
        one.iterate()
    torch.testing.assert_close(apart.rollout.inputs["observation"], together.rollout.inputs["observation"])
    apart.close()


def test_the_mask_is_the_last_field_where_it_stands_beside_the_observation():
    for task, names in ((Picks, ["values", "round", "action_mask"]), (Beside, ["observation", "action_mask"]), (ByMethod, ["observation", "action_mask"])):
        world = make_world(task)
        assert [field.name for field in world.observation.fields] == names
        assert world.observation.role("action_mask").numbers == 6
        environments = world.make([0, 1])
        seen = environments.reset()
        assert seen.shape == (2, world.observation.size) and (seen[:, world.observation.mask] == 1).all()
        stepped = environments.step(np.array([2, 5])).observation[:, world.observation.mask]
        assert stepped.tolist() == [[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0]]


@pytest.mark.parametrize("task", [Beside, ByMethod])
def test_a_run_is_given_the_mask_that_stands_beside_the_observation(task, tmp_path):
    run = operant.train("ppo", task, steps=36, episodes=2, out=tmp_path / "run", progress=False, **PPO)
    env = task()
    seen, _ = env.reset(seed=3)
    for _ in range(3):
        seen, *_ = env.step(run.policy(seen, action_mask=env.left))
    several = np.stack([seen, seen])
    only = np.eye(6)[[4, 1]]
    assert run.policy(several, action_mask=only).tolist() == [4, 1]
    with pytest.raises(BadInput, match=r"give its action mask too: policy\(observation, action_mask=…\)"):
        run.policy(seen)
    with pytest.raises(BadInput, match="the action mask of observation 0 forbids every action"):
        run.policy(seen, action_mask=np.zeros(6))
    with pytest.raises(BadInput, match="the action mask has 5 entries .* it is 1 or 0 for each of 6 choices"):
        run.policy(seen, action_mask=np.ones(5))


class NativePicks(NativeEnvironments):
    """Two of four numbers, all rows in one computation."""

    env_id, limit, _saved = "NativePicks-v0", 9, ("values", "left")
    observation_space = spaces.Dict(values=spaces.Box(0, 1, (4,), np.float32), action_mask=spaces.MultiBinary(4))
    action_space = spaces.Discrete(4)
    least = 3

    def _allocate(self):
        self.values, self.left = np.zeros((2, self.rows, 4), np.float32)

    def _place(self, row, generator):
        self.values[row], self.left[row] = generator.random(4), 1
        return np.concatenate([self.values[row], self.left[row]])

    def _advance(self, action):
        rows = np.arange(self.rows)
        assert self.left[rows, action].all()
        self.left[rows, action] = 0
        return self.values[rows, action], self.left.sum(1) < self.least

    def _observe(self):
        return np.concatenate([self.values, self.left], 1)


def test_native_environments_have_masks(monkeypatch):
    monkeypatch.setitem(BATCHED, "NativePicks-v0", NativePicks)
    one = learner("gym:NativePicks-v0")
    for _ in range(3):
        one.iterate()
    monkeypatch.setattr(NativePicks, "least", 0)
    environments = NativePicks([0, 1])
    environments.reset()
    with pytest.raises(RunFailed, match="'NativePicks-v0', row 0, after 4 steps: the action mask forbids every action"):
        for action in range(4):
            environments.step(np.full(2, action))


def test_a_run_reads_the_mask_in_the_observation(tmp_path):
    run = operant.train("ppo", Picks, steps=36, episodes=2, out=tmp_path / "run", progress=False, **PPO)
    env = Picks()
    seen, _ = env.reset(seed=3)
    for _ in range(3):
        seen, *_ = env.step(run.policy(seen))
    with pytest.raises(BadInput, match="action_mask is given"):
        run.policy(seen, action_mask=env.left)


class Broken(Beside):
    def __init__(self, fault, when=1):
        super().__init__()
        self.fault, self.when = fault, when

    def info(self):
        given = super().info()
        return self.fault(given) if self.round == self.when else given


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda given: {"action_mask": np.zeros(6, np.int8)}, "the action mask forbids every action"),
        (lambda given: {}, r"info\['action_mask'\] was there at the first reset, and is missing now"),
        (lambda given: {"action_mask": np.ones(5, np.int8)}, "the action mask has 5 entries of type int8; it is 1 or 0 for each of 6 choices"),
        (lambda given: {"action_mask": np.full(6, 2)}, "the action mask is .* it is 1 or 0 for each choice"),
        (lambda given: {"action_mask": ["x"] * 6}, "the action mask has 6 entries of type <U1"),
    ],
)
def test_a_mask_that_is_none_is_one_clear_error(fault, message):
    with pytest.raises(BadInput, match=message):
        GymWorld(partial(Broken, fault))
    environments = make_environments(partial(Broken, fault, when=2), [0])
    environments.reset()
    environments.step(np.array([0]))
    with pytest.raises(RunFailed, match=f"row 0, after .*{message}"):
        environments.step(np.array([1]))


def test_an_episodes_last_mask_may_forbid_everything():
    """As board games say it: nobody acts there."""
    environments = make_world(partial(Broken, lambda given: {"action_mask": np.zeros(6, np.int8)}, when=3)).make([0])
    environments.reset()
    for action in range(3):
        step = environments.step(np.array([action]))
    assert step.terminated.all() and (step.observation[:, 6:] == 1).all() and (step.next_observation[:, 6:] == 1).all()


@pytest.mark.parametrize("where", ["observation", "info"])
def test_what_is_cut_where_nothing_is_allowed_still_has_a_value(where):
    """A bootstrap from the value of what is forbidden, -1e8, would be the end of learning."""

    class Cut(gymnasium.Env):
        observation_space = spaces.Dict({"x": spaces.Box(0, 1, (1,))} | ({"action_mask": spaces.MultiBinary(2)} if where == "observation" else {}))
        action_space = spaces.Discrete(2)

        def seen(self, mask):
            mask = np.full(2, mask, np.int8)
            return {"x": np.ones(1, np.float32)} | ({"action_mask": mask} if where == "observation" else {}), {"action_mask": mask} if where == "info" else {}

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.seen(1)

        def step(self, action):
            seen, info = self.seen(0)
            return seen, 1.0, False, True, info

    spine = get_method("dqn").build(configure("dqn", {"hidden": (8,), "learning_starts": 8, "batch_size": 8}))
    one = spine.learner(make_world(Cut), [0, 1], 50, torch.device("cpu"))
    one.iterate()
    assert one.experience.store.gather(torch.zeros(2, 8, dtype=torch.int64)).truncated.all()
    batch = one.drawer.draw()
    assert one.targets["q"](batch.next_observation).amax(-1).abs().max() < 100


def test_masks_mean_nothing_where_nothing_is_chosen():
    class Numbers(Beside):
        action_space = spaces.Box(-1, 1, (1,))

        def __init__(self):
            super().__init__()
            self.action_space = spaces.Box(-1, 1, (1,))

        def step(self, action):
            return self.values, 0.0, True, False, self.info()

    assert make_world(Numbers).observation.mask is None


def test_ppo_learns_where_actions_are_masked():
    """0.8 of the way from random (1.5) to the best (15 / 7), by each of three seeds."""
    one = learner(Picks, (0, 1, 2), environments=8, rollout_length=48, minibatches=4, epochs=4, hidden=(32,), learning_rate=3e-3)
    wanted = Picks.random + 0.8 * (Picks.best - Picks.random)
    for _ in range(8):
        for _ in range(5):
            one.iterate()
        score = one.world.evaluate(one.policy, 3, episodes=200).values.mean(1)
        if score.min() > wanted:
            return
    raise AssertionError(f"returns {score}, wanted {wanted}")
