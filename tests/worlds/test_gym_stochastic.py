"""Policies that draw: evaluated, watched and asked with sampled actions, by the same seed alike; those whose mode is all that they have refuse it."""

import json
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.cli.main import main
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.actors import Stochastic


class Count(gymnasium.Env):
    """Ten steps, each of which pays the action. Action 2 is forbidden at every other step, by `info`."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._seen()

    def step(self, action):
        assert action != 2 or self.count % 2 == 0
        self.count += 1
        return self._seen()[0], float(action), self.count == 10, False, self._seen()[1]

    def _seen(self):
        return np.array([self.count / 10, 0.5], np.float32), {"action_mask": np.array([1, 1, 1 - self.count % 2], np.int8)}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


TINY = {
    "ppo": {"steps": 64, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (4,)},
    "recurrent-ppo": {"steps": 64, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (4,)},
    "dqn": {"steps": 40, "learning_starts": 20, "hidden": (4,), "batch_size": 4},
    "pqn": {"steps": 64, "environments": 2, "rollout_length": 16, "minibatches": 1, "epochs": 1, "hidden": (4,)},
    "stream-q": {"steps": 20, "hidden": (4,)},
    "td3": {"steps": 40, "learning_starts": 20, "hidden": (4,), "batch_size": 4},
    "sac-v2": {"steps": 40, "learning_starts": 20, "hidden": (4,), "batch_size": 4},
    "sequence-rl": {"steps": 40, "learning_starts": 20, "hidden": (4,), "batch_size": 4},
}


def trained(method, task, folder, **given):
    return operant.train(method, task, out=folder, episodes=2, progress=False, **TINY[method] | given)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return trained("ppo", Count, tmp_path_factory.mktemp("runs") / "masked", seeds=2, frame_stack=2)


def test_evaluations_draw_by_their_seed(masked):
    mode, first, again, other = (masked.evaluate(episodes=4, seed=seed, stochastic=drawn) for seed, drawn in ((1, False), (1, True), (1, True), (2, True)))
    assert first == again and first["stochastic"] is True and "stochastic" not in mode
    assert len({str(found["score"]["per_seed"]) for found in (mode, first, other)}) == 3
    assert len(set(first["score"]["per_seed"])) == 2  # each seed's policy draws for itself


def test_calls_draw_on_and_obey_the_mask(masked):
    seen = np.full((2, 2), 0.5, np.float32)
    allowed = {"action_mask": np.array([1, 1, 0])}
    run = operant.load(masked.path, task=Count)
    found, again = ([int(one.policy(seen, stochastic=True, **allowed)) for _ in range(60)] for one in (run, operant.load(masked.path, task=Count)))
    assert found == again and set(found) == {0, 1}  # an untrained policy is nearly uniform
    assert len({int(run.policy(seen, **allowed)) for _ in range(5)}) == 1  # the mode is another matter
    assert [int(run.policy(seen, stochastic=True, seed=1, **allowed)) for _ in range(60)] != found


@pytest.mark.parametrize("method", ["ppo", "recurrent-ppo"])
def test_players_draw_by_their_number(method, tmp_path):
    run = trained(method, "gym:CartPole-v1", tmp_path / "run")

    def played(player):
        found = []
        for _ in range(2):
            player.reset()
            found += [int(player(np.full(4, place / 20, np.float32))) for place in range(20)]
        return found

    first, again, other, mode = (played(run.player(**given)) for given in ({"stochastic": True}, {"stochastic": True}, {"stochastic": True, "draw": 2}, {}))
    assert first == again != other and first[:20] != first[20:] and mode[:20] == mode[20:]  # a new episode draws on
    if method == "recurrent-ppo":  # it carries on what it remembers while it draws: as the policy itself does with the same draws
        act, carry = Stochastic(run.load_policy(), Streams([3])), None
        player = run.player(stochastic=True)
        player._policy.streams = Streams([3])
        for place in range(20):
            seen = np.full(4, place / 20, np.float32)
            action, carry = act.act(torch.from_numpy(seen).view(1, 1, 4), carry)
            assert int(player(seen)) == action.item()
        with pytest.raises(BadInput, match="remembers its episode"):
            run.policy(seen, stochastic=True)


@pytest.mark.parametrize("method", ["sac-v2", "sequence-rl"])
def test_numbers_are_drawn_too(method, tmp_path):
    run = trained(method, "gym:Pendulum-v1", tmp_path / "run")
    first, again = (run.evaluate(episodes=2, stochastic=True)["score"]["per_seed"] for _ in range(2))
    assert first == again != run.evaluate(episodes=2)["score"]["per_seed"]
    acts = [run.player(stochastic=True, draw=draw)(np.zeros(3, np.float32)) for draw in (1, 1, 2)]
    assert acts[0] == acts[1] != acts[2] and np.abs(acts).max() <= 2


def test_agents_draw_each_for_itself(tmp_path):
    run = operant.train("mappo", "agents:spread", steps=64, environments=2, rollout_length=16, hidden=(8,), episodes=2, out=tmp_path / "run", progress=False)
    first, again, mode = (run.evaluate(stochastic=drawn)["score"]["per_seed"] for drawn in (True, True, False))
    assert first == again != mode
    seen = {name: np.zeros(run.world.observation_space.shape, np.float32) for name in run.world.names_of_agents}
    played = [list(map(int, run.policy(seen, stochastic=True).values())) for _ in range(8)]
    assert len({tuple(actions) for actions in played}) > 1


@pytest.mark.parametrize(("method", "task"), [("dqn", "CartPole-v1"), ("pqn", "CartPole-v1"), ("stream-q", "CartPole-v1"), ("td3", "Pendulum-v1")])
def test_what_has_only_a_mode_refuses(method, task, tmp_path):
    run = trained(method, f"gym:{task}", tmp_path / "run")
    seen = np.zeros(run.world.observation_space.shape, np.float32)
    for asked in (run.evaluate, run.player, partial(run.policy, seen), partial(run.watch, tmp_path / "x.gif")):
        with pytest.raises(BadInput, match=r"draws nothing, its mode is all that it has; leave --stochastic out \(in Python stochastic\)"):
            asked(stochastic=True)
    assert not (tmp_path / "x.gif").exists()


def test_what_draws_anyway_goes_on(tmp_path):
    run = operant.train("random", "gym:CartPole-v1", episodes=2, out=tmp_path / "run", progress=False)
    assert run.evaluate(stochastic=True, seed=3)["score"] == run.evaluate(seed=3)["score"]


def test_tables_are_evaluated_as_they_are(tmp_path):
    run = operant.train("vi-lcb", "tabular:bandit", steps=1, out=tmp_path / "run", progress=False)
    with pytest.raises(BadInput, match="computed from all of a policy's probabilities; leave --stochastic out"):
        run.evaluate(stochastic=True)


def test_commands(tmp_path, capsys):
    run = trained("ppo", "gym:CartPole-v1", tmp_path / "run")
    found = []
    for verb, *words in map(str.split, ("evaluate --seed 4", "evaluate --seed 4 --stochastic", f"watch --draw 4 --stochastic --out {tmp_path / 'x.gif'}")):
        assert main([verb, str(run.path), "--json", *words]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[1]["stochastic"] and found[0]["score"] != found[1]["score"] and found[1]["score"] == run.evaluate(seed=4, stochastic=True)["score"]
    assert found[2]["episodes"] == run.watch(tmp_path / "y.gif", draw=4, stochastic=True)
    assert main(["evaluate", str(run.path), "--stochastic"]) == 0
    assert "the last policies as they draw" in capsys.readouterr().out


def test_masked_episodes_are_drawn(masked, tmp_path):
    assert masked.watch(tmp_path / "x.gif", stochastic=True, episodes=2)[1]["steps"] == 10
