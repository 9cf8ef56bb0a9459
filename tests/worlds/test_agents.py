"""Games of several agents: the numbers of their original, rows that belong together, actors that see no state, and agents that leave."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from long_tier import in_turn

import operant
from operant.core.checkpoint import first_difference, join_state, split_state
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.nets.actors import ActorCriticNet
from operant.worlds import make_world
from operant.worlds.agents.games import AgentRows
from operant.worlds.agents.spread import Spread
from operant.worlds.agents.world import AgentsWorld
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.collect import Steps

SMALL = {"environments": 2, "rollout_length": 10, "epochs": 2, "hidden": (8,)}


def test_spread_by_hand():
    """Two agents that stand on the same landmark's two sides, 0.2 apart, and a third far away; nobody pushes."""
    games = Spread([0])
    games.reset()
    games.position[0] = [[0.0, 0.0], [0.2, 0.0], [0.0, 3.0]]
    games.landmark[0] = [[0.1, 0.0], [0.0, 3.0], [0.0, 4.0]]
    games.velocity[0] = [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    step = games.step(np.array([[0, 0, 4]]))
    np.testing.assert_allclose(games.position[0], [[0.1, 0.0], [0.3, 0.0], [0.0, 3.0]])
    within = 0.1  # 2 radii less 0.2; the soft bound adds next to nothing
    np.testing.assert_allclose(games.velocity[0], [[0.75 - 10 * within, 0], [0.75 + 10 * within, 0], [0, 0.5]], atol=1e-9)
    team = -(0.0 + 0.0 + 1.0)
    np.testing.assert_allclose(step.reward[0], [0.5 * team - 0.5, 0.5 * team - 0.5, 0.5 * team], atol=1e-6)
    assert step.observation.shape == (1, 3, 18) and np.array_equal(step.state[0], step.observation[0].ravel())
    np.testing.assert_allclose(step.observation[0, 2, :6], [0, 0.5, 0, 3, 0.1, -3], atol=1e-6)


def test_spread_is_simple_spread_of_mpe2():
    mpe2 = pytest.importorskip("mpe2.simple_spread_v3")
    theirs, ours = mpe2.parallel_env(), Spread([0])
    theirs.reset(seed=3)
    ours.reset()
    for place, agent in enumerate(theirs.unwrapped.world.agents):
        ours.position[0, place] = agent.state.p_pos
    for place, landmark in enumerate(theirs.unwrapped.world.landmarks):
        ours.landmark[0, place] = landmark.state.p_pos
    draws = np.random.default_rng(0)
    for number in range(25):
        action = draws.integers(5, size=3)
        observation, reward, over, cut, _ = theirs.step({name: int(action[place]) for place, name in enumerate(ours.names)})
        step = ours.step(action[None])
        for place, name in enumerate(ours.names):
            np.testing.assert_allclose(step.next_observation[0, place], observation[name], atol=1e-5)
            assert step.reward[0, place] == pytest.approx(reward[name], abs=1e-5)
            assert (step.terminated[0, place], step.truncated[0, place]) == (over[name], cut[name]) == (False, number == 24)


def test_rows_of_a_game_stand_side_by_side():
    rows = AgentRows(Spread([0, 1]), 2)
    seen = rows.reset()
    fields = rows.observation_spec.unpack(torch.from_numpy(seen))
    assert fields["agent"].tolist() == np.tile(np.eye(3), (2, 1)).tolist()
    assert torch.equal(fields["state"][0], fields["observation"][:3].flatten()) and torch.equal(fields["state"][3], fields["state"][5])
    twin = AgentRows(Spread([0, 1]), 2)
    draws = np.random.default_rng(0)
    for _ in range(30):
        rows.step(draws.integers(5, size=6))
    twin.load_state_dict(join_state(*split_state(rows.state_dict())))
    action = draws.integers(5, size=6)
    assert first_difference(vars_of(rows.step(action)), vars_of(twin.step(action))) is None


def vars_of(step) -> dict[str, np.ndarray]:
    return {name: getattr(step, name) for name in ("observation", "next_observation", "reward", "terminated", "truncated", "valid")}


@pytest.mark.parametrize("central", [True, False])
def test_no_actor_sees_the_state(central: bool):
    world = make_world("agents:spread")
    policy = world.policy(ActorCriticNet(hidden=(8,), central=central), Streams([0, 1]))
    source = world.source(Steps(2, 5), Streams([0, 1]))
    rollout = source.sample(policy, 0)
    assert rollout.group.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 and source.steps_per_sample == 10
    observation = rollout.inputs["observation"]
    changed = observation.clone()
    changed[..., world.observation.slices["state"]] += 1.0
    assert torch.equal(policy(observation), policy(changed))
    assert torch.equal(policy.value(observation), policy.value(changed)) != central


class Leaving:
    """Two agents; the second leaves after its second step, the first is cut after four. The reward is the number of the step, ten times that of the second."""

    possible_agents = ["a", "b"]

    def __init__(self, **faults):
        self.faults = faults

    def observation_space(self, agent):
        return self.faults.get("spaces", {}).get(agent, gymnasium.spaces.Box(-1, 100, (1,), np.float32))

    def action_space(self, agent):
        return gymnasium.spaces.Discrete(3, start=1)

    def seen(self):
        return {name: np.array([self.count], np.float32) for name in self.agents}

    def reset(self, seed=None, options=None):
        self.agents, self.count = list(self.possible_agents), 0
        return self.seen(), {name: {} for name in self.agents}

    def step(self, actions):
        if "raises" in self.faults:
            raise ValueError("the board is full")
        assert set(actions) == set(self.agents) and all(1 <= action <= 3 for action in actions.values())
        self.count += 1
        acted = list(self.agents)
        over = {name: name == "b" and self.count == 2 for name in acted}
        cut = {name: self.count == 4 for name in acted}
        reward = {name: float("nan") if "nan" in self.faults else self.count * (10.0 if name == "b" else 1.0) for name in acted}
        seen = self.seen()
        self.agents = [name for name in acted if not over[name] and not cut[name]]
        return seen, reward, over, cut, {name: {} for name in acted}

    def close(self):
        pass


def test_agents_that_leave_wait_for_the_others():
    rows = AgentsWorld(Leaving).make([0, 0])
    rows.reset()
    steps = [rows.step(np.array([0, 2])) for _ in range(5)]
    assert [step.valid.tolist() for step in steps] == [[True, True], [True, True], [True, False], [True, False], [True, True]]
    assert [step.reward.tolist() for step in steps] == [[1, 10], [2, 20], [3, 0], [4, 0], [1, 10]]
    assert [step.terminated.tolist() for step in steps] == [[False, False], [False, True], [False, False], [False, False], [False, False]]
    assert [step.truncated.tolist() for step in steps] == [[False, False], [False, False], [False, False], [True, False], [False, False]]
    world = AgentsWorld(Leaving)
    evaluation = world.evaluate(world.random_policy(), 1, episodes=3)
    assert evaluation.values.tolist() == [[(1 + 2 + 3 + 4 + 10 + 20) / 2] * 3] and evaluation.details["length"].tolist() == [[4, 4, 4]]


def test_a_run_of_any_parallel_environment(tmp_path):
    run = operant.train("mappo", AgentsWorld(Leaving), seeds=2, steps=40, out=tmp_path / "run", episodes=2, progress=False, **SMALL)
    assert run.result["score"]["iqm"] == 20.0
    actions = run.policy({"a": np.array([1.0], np.float32), "b": np.array([1.0], np.float32)})
    assert set(actions) == {"a", "b"} and all(1 <= action <= 3 for action in actions.values())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: AgentsWorld("nowhere.at_all"), BadInput, "agents:nowhere.at_all: ModuleNotFoundError"),
        (lambda: AgentsWorld("math:pi"), BadInput, "no function that makes an environment"),
        (lambda: AgentsWorld(object), BadInput, "has no possible_agents"),
        (lambda: AgentsWorld(lambda: Leaving(raises=True)), RunFailed, "could not step: ValueError: the board is full"),
        (lambda: AgentsWorld(lambda: Leaving(nan=True)), BadInput, "breaks PettingZoo's parallel API: reward is nan"),
        (
            lambda: AgentsWorld(lambda: Leaving(spaces={"b": gymnasium.spaces.Box(0, 1, (2,), np.float32)})),
            BadInput,
            "the agents of a game share one policy here, and their observation_spaces differ",
        ),
        (lambda: make_world("agents:spread").check_workers(SampleWorkers(2)), BadInput, "agents:spread is sampled by the process that trains"),
        (lambda: make_world("agents:sprad"), BadInput, "spread"),
    ],
)
def test_bad_games_are_told_in_one_line(make, error, words: str):
    with pytest.raises(error) as told:
        make()
    assert words in str(told.value) and "\n" not in str(told.value)


SEEN = {"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)}
NOTHING, NO = {"a": 0.0, "b": 0.0}, {"a": False, "b": False}


def game(**changed) -> AgentsWorld:
    return AgentsWorld(type("Game", (Leaving,), changed))


def steps(result):
    return {"step": lambda self, actions: result}


def sees(space, value):
    return {"observation_space": lambda self, agent: space, "seen": lambda self: dict.fromkeys(self.agents, value)}


MASKED = gymnasium.spaces.Dict(o=gymnasium.spaces.Discrete(2), action_mask=gymnasium.spaces.Box(0, 1, (3,)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"possible_agents": []}, "its possible_agents are []"),
        ({"possible_agents": [0, 1]}, "its possible_agents are [0, 1]; each has a name of its own, which is text"),
        ({"possible_agents": ["a", "a"]}, "a name of its own"),
        ({"observation_space": gymnasium.spaces.Discrete(2)}, "its observation_space is Discrete; in PettingZoo's parallel API it is a function"),
        ({"reset": lambda self, seed: {"a": 0}}, "reset returns (observation, info), with info a dict; got one dict"),
        ({"reset": lambda self, seed: ({}, {})}, "reset gave no observation of any agent"),
        (steps((SEEN, NOTHING, NO, NO)), "got 4 values"),
        (steps((SEEN, {"a": 0.0}, NO, NO, {})), "a step gave no reward of it"),
        (steps((SEEN, NOTHING, {}, NO, {})), "a step gave no termination of it"),
        (steps((SEEN, NOTHING, NO, {"a": False, "b": 0}, {})), "truncated is 0 (int); it is True or False"),
        (steps(({"a": SEEN["a"]}, NOTHING, NO, NO, {})), "a step gave no observation of it"),
        (steps(({}, NOTHING, NO, {"a": True, "b": True}, {})), "or was cut, and then still has a value"),
        (steps((SEEN, {"a": 0.0, "b": 1e300}, NO, NO, {})), "reward is 1e+300"),
        (steps((SEEN, {"a": np.zeros(2), "b": 0.0}, NO, NO, {})), "is not one number"),
        (sees(MASKED, {"o": 0, "action_mask": np.zeros(3, np.float32)}), "the action mask forbids every action"),
        (sees(MASKED, {"o": 0, "action_mask": np.full(3, 0.6, np.float32)}), "it is 1 or 0 for each choice"),
        ({"state_space": gymnasium.spaces.Discrete(3), "state": lambda self: 1}, "a state is a Box"),
        ({"state_space": gymnasium.spaces.Box(-1, 1, (2,))}, "a state is a Box, which state() gives"),
        ({"state_space": gymnasium.spaces.Box(-1, 1, (2,)), "state": lambda self: np.zeros(3)}, "it is finite numbers of shape (2,)"),
        ({"state_space": gymnasium.spaces.Box(-1, 1, (2,)), "state": lambda self: np.full(2, np.nan)}, "it is finite numbers of shape (2,)"),
    ],
)
def test_games_that_break_their_api_are_told_in_one_line(changed, words: str):
    with pytest.raises(BadInput) as told:
        game(**changed)
    assert words in str(told.value) and "\n" not in str(told.value)


def test_an_agent_that_joins_later_is_told():
    class Joining(Leaving):
        def reset(self, seed=None, options=None):
            super().reset()
            self.agents = ["a"]
            return self.seen(), {}

        def step(self, actions):
            found = super().step(actions)
            self.agents = ["a", "b"]
            return found

    with pytest.raises(RunFailed, match="agents:.*Joining, b: it joins a game that goes on"):
        AgentsWorld(Joining)


@in_turn("mappo", "src/operant/worlds/agents/")
@pytest.mark.trains
def test_mappo_learns_to_spread():
    """Better than random by a margin, every seed (a random team gets about -27 here)."""
    spine = get_method("mappo").build(configure("mappo", {"environments": 16, "hidden": (32, 32)}))
    world = make_world("agents:spread")
    learner = spine.learner(world, [0, 1], 60_000, torch.device("cpu"))
    random = world.evaluate(world.random_policy(), 1, episodes=50).values.mean()
    for _ in range(15):
        for _ in range(10):
            learner.iterate()
        score = world.evaluate(learner.policy, 2, episodes=20).values.mean(1)
        if (score > random + 4).all():
            return
    raise AssertionError(f"{score} against {random}")
