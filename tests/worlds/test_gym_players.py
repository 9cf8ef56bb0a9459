"""Policies that see stacks and the time, or whose actions last, played in a plain loop: over the person's own environment by a player, over the environment as
the policy sees it by `run.policy`. Both make the episodes that evaluations make."""

import gymnasium
import numpy as np
import pytest

import operant
from operant.core.errors import BadInput
from operant.core.seeds import derive_seed
from operant.worlds import make_world

FIRST, SECOND = (derive_seed(1, "evaluation", episode) for episode in range(2))  # the seeds of the episodes that run.evaluate() begins with
TINY = {"steps": 64, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (8,), "episodes": 2, "progress": False}
VIEWS = {
    "all": {"frame_stack": 3, "action_repeat": 2, "time_feature": True},
    "uneven": {"frame_stack": 2, "action_repeat": 7},
    "time": {"time_feature": True},
    "repeat": {"action_repeat": 3},
    "plain": {},
}


class Parts(gymnasium.Env):
    """A Dict of numbers, a choice and a mask, in which all depends on the actions; action 2 is forbidden at first. It ends after 5 to 8 steps."""

    observation_space = gymnasium.spaces.Dict(
        {
            "at": gymnasium.spaces.Box(-9, 9, (2,), np.float32),
            "last": gymnasium.spaces.Discrete(3),
            "action_mask": gymnasium.spaces.Box(0, 1, (3,), np.int8),
        }
    )
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.last, self.count = self.np_random.normal(size=2).astype(np.float32), 0, 0
        self.end = int(self.np_random.integers(5, 9))
        return self._seen(), {}

    def step(self, action):
        self.count, self.last = self.count + 1, int(action)
        self.at += np.float32([action - 1, self.count / 10])
        return self._seen(), float(self.at[0]), self.count == self.end, False, {}

    def _seen(self):
        return {"at": self.at.clip(-9, 9), "last": self.last, "action_mask": np.array([1, 1, self.count > 1], np.int8)}


class MaskedByInfo(gymnasium.Wrapper):
    """The same with the mask in info."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Dict({key: part for key, part in env.observation_space.items() if key != "action_mask"})

    def reset(self, **given):
        seen, _ = self.env.reset(**given)
        return seen, {"action_mask": seen.pop("action_mask")}

    def step(self, action):
        seen, *rest, _ = self.env.step(action)
        return seen, *rest, {"action_mask": seen.pop("action_mask")}


def pendulum():
    return gymnasium.make("Pendulum-v1", max_episode_steps=25)


def limited(kind=Parts):
    return gymnasium.wrappers.TimeLimit(MaskedByInfo(Parts()) if kind is MaskedByInfo else Parts(), 7)


def make_together(num_envs):
    return gymnasium.make_vec("CartPole-v1", num_envs=num_envs)


def masked():
    return limited(MaskedByInfo)


def trained(method, task, folder, **given):
    return operant.train(method, task, out=folder, **TINY | given)


def played(act, env, seed):
    """The return of one episode in a plain loop."""
    seen, info = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        given = {"action_mask": info["action_mask"]} if "action_mask" in info else {}
        seen, reward, terminated, truncated, info = env.step(act(seen, **given))
        total, over = total + float(reward), terminated or truncated
    return total


@pytest.mark.parametrize("method", ["ppo", "recurrent-ppo"])
@pytest.mark.parametrize("view", VIEWS)
def test_loops_over_both_environments_make_the_episodes_of_evaluations(view, method, tmp_path):
    run = trained(method, pendulum, tmp_path / "run", seeds=2, **VIEWS[view])
    own, seen = pendulum(), run.environment()
    for seed in (0, 1):
        raw, player = run.player(seed, raw=True), run.player(seed)
        for episode, begin in enumerate((FIRST, SECOND)):
            found = run.world.evaluate(run.load_policy(seed), 1, episodes=2, seed=1).values[0, episode]
            for act, environment in ((raw, own), (player, seen)):
                act.reset()
                assert played(act, environment, begin) == pytest.approx(found, rel=1e-4)
            if method == "ppo":
                assert played(lambda at, seed=seed: run.policy(at, seed=seed), seen, begin) == pytest.approx(found, rel=1e-4)
    assert seen.observation_space == run.world.observation_space


@pytest.mark.parametrize("make", [limited, masked])
def test_dicts_choices_and_masks_are_seen_alike(make, tmp_path):
    run = trained("ppo", make, tmp_path / "run", frame_stack=3, action_repeat=2, time_feature=True)
    seen, player = run.environment(), run.player(raw=True)
    for episode, begin in enumerate((FIRST, SECOND)):
        player.reset()
        found = run.world.evaluate(run.load_policy(), 1, episodes=2, seed=1).values[0, episode]
        assert played(player, make(), begin) == pytest.approx(found) == played(run.policy, seen, begin)
    shown = seen.reset(seed=3)[0]
    assert seen.observation_space.contains(shown) and shown["at"].shape == (3, 2) and shown["last"].shape == (3,) and shown["time"].tolist() == [1.0]
    assert make is masked or shown["action_mask"].shape == (3,)
    assert seen.step(0)[0]["time"].tolist() == [0.75]  # 7 steps are 4 actions


def test_several_episodes_go_each_their_own_way(tmp_path):
    """Two rows of which one begins anew in the middle do what each does alone, by a policy that remembers."""
    run = trained("recurrent-ppo", "gym:Pendulum-v1", tmp_path / "run", **VIEWS["all"])
    seen = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    both, alone, later = (run.player(raw=True) for _ in range(3))
    for step in range(9):
        if step == 3:
            both.reset([False, True])
        found = both(seen[step])
        assert found.shape == (2, 1)
        np.testing.assert_allclose(found[0], alone(seen[step, 0]), rtol=1e-5)
        if step >= 3:
            np.testing.assert_allclose(found[1], later(seen[step, 1]), rtol=1e-5)
    with pytest.raises(BadInput, match="3 observations, and the player is in the midst of 2 episodes"):
        both(np.zeros((3, 3)))
    with pytest.raises(BadInput, match="True or False for each of 2 episodes"):
        both.reset([True])
    both.reset()
    assert both(np.zeros(3)).shape == (1,)


def test_drawn_actions_last_too(tmp_path):
    run = trained("ppo", "gym:Pendulum-v1", tmp_path / "run", **VIEWS["all"])
    player, again = (run.player(stochastic=True, draw=5, raw=True) for _ in range(2))
    acts = [float(player(np.zeros(3))[0]) for _ in range(6)]
    assert acts == [float(again(np.zeros(3))[0]) for _ in range(6)]
    assert acts[::2] == acts[1::2] and len(set(acts)) == 3


def test_what_is_expected_is_said(tmp_path):
    run = trained("ppo", "gym:Pendulum-v1", tmp_path / "run", **VIEWS["all"])
    player, seen = run.player(raw=True), run.environment()
    parts = r"their shapes are \{observation: \(3, 3\), time: \(1,\)\}, and several"
    for wrong in (np.zeros(3), {"observation": np.zeros((3, 3))}, {"observation": np.zeros(3), "time": np.ones(1)}):
        with pytest.raises(BadInput, match=rf"{parts}.*; policies take what run.environment\(\) gives, run.player\(raw=True\) what the"):
            run.policy(wrong)
        with pytest.raises(BadInput, match=rf"{parts}.*; policies take what"):
            run.player()(wrong)
    with pytest.raises(BadInput, match=r"a dict of observation, time; gym:Pendulum-v1 has one of shape \(3,\).*; a player that is raw takes what"):
        player(seen.reset(seed=0)[0])
    assert run.policy(seen.reset(seed=0)[0]).shape == (1,)
    for _ in range(200):
        player(np.zeros(3))
    with pytest.raises(BadInput, match=r"episodes have 200 steps, and this one is over: player.reset\(\)"):
        player(np.zeros(3))
    player.reset()
    player(np.zeros(3))


def test_several_actions_at_once_are_no_step(tmp_path):
    """Three observations of one stack look like those of three episodes to who is raw; what is made of them is no action of one."""
    run = trained("ppo", "gym:Pendulum-v1", tmp_path / "run", frame_stack=3)
    seen, player = run.environment(), run.player(raw=True)
    actions = player(seen.reset(seed=0)[0])
    with pytest.raises(BadInput, match=r"one action has shape \(1,\), not \(3, 1\)"):
        seen.step(actions)


def test_environments_that_cannot_be_given(tmp_path):
    of_spread = operant.train("random", "agents:spread", steps=1, out=tmp_path / "agents", episodes=1, progress=False)
    with pytest.raises(BadInput, match="agents:spread has no single environment"):
        of_spread.environment()
    run = trained("ppo", gymnasium.make("CartPole-v1"), tmp_path / "object")
    assert played(run.policy, run.environment(), FIRST) > 0
    with pytest.raises(BadInput, match="takes no .*'render_mode'"):
        run.environment(render_mode="rgb_array")
    rows = trained("ppo", gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2), tmp_path / "rows")
    assert played(rows.policy, rows.environment(), FIRST) > 0
    together = trained("ppo", make_together, tmp_path / "together")
    with pytest.raises(BadInput, match="steps all of its rows at once: it has no single environment"):
        together.environment()
    with pytest.raises(BadInput, match="copied as it was given: leave render_mode out"):
        rows.environment(render_mode="rgb_array")
    assert run.world.kind == "gym" and trained("ppo", "gym:CartPole-v1", tmp_path / "cart").environment(render_mode="rgb_array").render_mode == "rgb_array"


@pytest.mark.filterwarnings("ignore:.*initialised with render_mode")
@pytest.mark.parametrize(("task", "modes"), [("gym:CartPole-v1", "human, rgb_array"), ("gym:bit-flip", "none")])
def test_a_render_mode_that_an_environment_has_not_is_refused(task, modes):
    world = make_world(task)
    with pytest.raises(BadInput, match=f"^{task} has no render_mode 'bogus': its metadata has {modes}$"):
        world.as_seen("bogus")
    for mode in (None, *(["rgb_array", "rgb_array_list"] if "rgb_array" in modes else [])):
        assert world.as_seen(mode).render_mode == mode


def test_offline_policies_have_an_environment(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"observations": rng.normal(size=(40, 3)).astype(np.float32), "actions": rng.uniform(-2, 2, (40, 1)).astype(np.float32), "rewards": np.zeros(40)}
    np.savez(tmp_path / "x.npz", **arrays, terminals=np.zeros(40, bool), timeouts=np.arange(40) % 20 == 19)
    given = {"steps": 4, "every": 4, "episodes": 1, "batch_size": 4, "progress": False}
    run = operant.train("bc", f"data:{tmp_path / 'x.npz'}", environment="Pendulum-v1", out=tmp_path / "run", **given)
    found = run.world.evaluate(run.load_policy(), 1, episodes=1, seed=1).values[0, 0]
    assert played(run.policy, run.environment(), FIRST) == pytest.approx(found, rel=1e-4) == played(run.player(), gymnasium.make("Pendulum-v1"), FIRST)
