"""A policy as a graph acts as the policy does, in every kind of space: as tensors, as a program of torch.export, and in ONNX Runtime."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from long_tier import turns

from operant.core import schema
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method, methods
from operant.core.spec import Spec
from operant.loops.configuration import fields_of
from operant.loops.export import traced, write_policy
from operant.loops.policy_files import Bare
from operant.nets.actors import ActionValueNet, ActorCriticNet, ActorNet, Policy
from operant.nets.elites import Elites
from operant.nets.graph import Graph
from operant.nets.memory import GRU, LSTM, History
from operant.worlds import make_world
from operant.worlds.gym.spaces import Actions, Observations, action_spec, leaves, observation_spec

NUMBERS, CHOICE = spaces.Box(-2, 2, (3,)), spaces.Discrete(4, start=-1)
BOX = spaces.Box(np.float32([-1, 0]), np.float32([3, 0.1]))
MANY = spaces.Dict(
    picture=spaces.Box(0, 255, (12, 12, 3), np.uint8), numbers=NUMBERS, choice=CHOICE, action_mask=spaces.MultiBinary(9), bits=spaces.MultiBinary(3)
)
MIXED = spaces.Dict(a=spaces.Discrete(5), b=spaces.Box(-1, 1, (2,)), c=CHOICE)
CASES = {  # observation space, action space, network, an action mask beside the observation
    "numbers": (NUMBERS, CHOICE, ActorCriticNet(normalize=True), False),
    "float64": (spaces.Box(-2, 2, (3, 2), np.float64), spaces.Box(-1, 3, (2,), np.float64), ActorNet(squash=True), False),
    "values, masked": (NUMBERS, CHOICE, ActionValueNet(duelling=True), True),
    "a point": (NUMBERS, spaces.Box(-1, 3, (2, 2)), ActorNet(deterministic=True), False),
    "clipped": (NUMBERS, BOX, ActorCriticNet(), False),
    "cloned": (NUMBERS, BOX, ActorNet(log_std="free", tanh_mean=True), False),
    "choices, masked": (spaces.MultiDiscrete([3, 2], start=[1, 2]), spaces.MultiDiscrete([3, 2], start=[1, 5]), ActorCriticNet(), True),
    "bits": (spaces.MultiBinary(4), spaces.MultiBinary((2, 3)), ActorCriticNet(normalize=True), False),
    "a choice": (CHOICE, CHOICE, ActionValueNet(), False),
    "everything": (MANY, MIXED, ActorCriticNet(normalize=True), False),
    "a tuple": (spaces.Tuple([NUMBERS, CHOICE]), spaces.Tuple([spaces.Box(-1, 1, (1,)), CHOICE]), ActorCriticNet(), False),
    "a large picture": (spaces.Box(0, 255, (4, 36, 36), np.uint8), CHOICE, ActionValueNet(hidden=(16,)), False),
    "LSTM": (NUMBERS, CHOICE, ActorCriticNet(memory=LSTM(8), normalize=True), False),
    "LSTMs": (NUMBERS, BOX, ActorCriticNet(memory=LSTM(8), shared=False), False),
    "GRU": (NUMBERS, CHOICE, ActorCriticNet(memory=GRU(8)), False),
    "history": (NUMBERS, CHOICE, ActorCriticNet(memory=History(3)), False),
    "a module": (NUMBERS, CHOICE, ActorCriticNet(module=torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))), False),
}
ROWS = 5


class Played:
    """A policy with unlike weights over three steps of five rows: what a program is fed at each, and what the environment is to be given."""

    def __init__(self, name: str):
        seen, acts, net, masked = CASES[name]
        self.action = action_spec(name, acts)
        spec = observation_spec(name, seen, self.action, masked=masked)
        self.policy = net.build(spec, self.action, Streams([3]))
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.policy.parameters():
                weight += 0.3 * torch.randn(weight.shape, generator=draws)
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(torch.rand(1, 50, spec.size, generator=draws) * 3, torch.ones(1, 50, dtype=torch.bool))
        self.graph = Graph(self.policy, self.action)
        reader, writer, random = Observations(name, seen, spec, self.action), Actions(name, acts), np.random.default_rng(0)
        seen.seed(0)
        self.fed, self.expected = [], []
        carry = self.policy.initial(ROWS)
        for _ in range(3):
            elements = [self._playable(seen.sample()) for _ in range(ROWS)]
            masks = self._masks(random) if masked else None
            rows, _ = reader.rows(elements if isinstance(seen, spaces.Dict | spaces.Tuple) else np.stack(elements), masks)
            fed = [np.stack([_part(one, path) for one in elements]).astype(leaf.dtype) for path, leaf in leaves(seen)]
            fed += ([masks.astype(np.int8)] if masked else []) + ([] if carry is None else [carry[0].numpy()])
            found, carry = self.policy.act(torch.from_numpy(rows).unsqueeze(0), carry)
            actions = writer.to_environment(found[0], ROWS)
            order = sorted(leaves(acts), key=lambda leaf: isinstance(leaf[1], spaces.Box))
            given = [np.stack([_part(writer.of_row(actions, row), path) for row in range(ROWS)]) for path, _ in order]
            self.fed.append(fed)
            self.expected.append(given + ([] if carry is None else [carry[0].numpy()]))

    def _playable(self, element):
        if isinstance(element, dict):
            element["action_mask"][[4, 8]] = 1
        return element

    def _masks(self, random: np.random.Generator) -> np.ndarray:
        masks = random.random((ROWS, sum(self.action.counts))) > 0.5
        masks[:, np.cumsum(self.action.counts) - 1] = True
        return masks

    def agree(self, run) -> None:
        for fed, expected in zip(self.fed, self.expected, strict=True):
            found = run(fed)
            assert len(found) == len(expected) == len(self.graph.outputs)
            for one, other in zip(found, expected, strict=True):
                assert one.shape == other.shape and one.dtype == other.dtype
                np.testing.assert_allclose(one.astype(float), other.astype(float), atol=1e-5, rtol=1e-5)


def test_parts_of_an_observation_are_called_by_their_keys():
    """That of a part which is called "observation" too, as in environments with goals."""
    goals = spaces.Dict(observation=NUMBERS, desired_goal=NUMBERS, action_mask=spaces.MultiBinary(4))
    for space, action, names in (
        (NUMBERS, CHOICE, ["observation"]),
        (goals, CHOICE, ["action_mask", "observation.desired_goal", "observation.observation"]),
        (NUMBERS, spaces.Dict(action=CHOICE, push=BOX), ["observation"]),
    ):
        acts = action_spec("it", action)
        graph = Graph(ActorCriticNet().build(observation_spec("it", space, acts), acts, Streams([0])), acts)
        assert sorted(port.name for port in graph.inputs) == names
    assert [port.name for port in graph.outputs] == ["action.action", "action.push"]


@pytest.mark.parametrize("name", CASES)
def test_what_spaces_consist_of_is_kept_and_read_again(name: str):
    played = Played(name)
    for spec in (played.action, played.policy.observation):
        kept = json.loads(json.dumps(spec.to_json(), allow_nan=False))
        assert Spec.from_json(kept) == spec
        assert schema.RUN_FIELDS(kept) == ""


def _part(element, path):
    for key in path:
        element = element[key]
    return np.asarray(element)


@pytest.mark.parametrize("name", CASES)
def test_a_graph_acts_as_its_policy(name: str):
    played = Played(name)
    with torch.no_grad():
        played.agree(lambda fed: [x.numpy() for x in played.graph(*map(torch.from_numpy, fed))])


METHODS = sorted(key for key, entry in methods().items() if "gym" in entry.worlds)


@pytest.mark.parametrize("key", turns(METHODS, "src/operant/nets/", always=("ppo", "iqn")))
def test_the_policy_of_every_method_is_a_graph(key: str):
    """A method that is registered later is covered without a line here."""
    entry = get_method(key)
    world = make_world(entry.example or ("gym:CartPole-v1" if "discrete" in entry.actions else "gym:Pendulum-v1"))
    net = entry.build(configure(key, {})).policy
    made = world.policy(net, Streams([3])) if hasattr(net, "build") else None
    if not isinstance(made, Policy | Elites):
        pytest.skip("its policy is no network over observations")
    if key == "stream-td":
        with pytest.raises(BadInput, match="acts at random"):
            made.acting  # noqa: B018
        return
    policy = made.eval().acting
    graph, seen = Graph(policy, world.action), torch.randn(1, ROWS, world.observation.size)
    carry = policy.initial(ROWS)
    expected, _ = policy.act(seen, carry)
    fed = [seen[0]] if carry is None else [seen[0], carry[0]]
    found = traced(graph).module()(*fed)[0]
    np.testing.assert_allclose(found.reshape(ROWS, -1), expected[0].reshape(ROWS, -1), atol=1e-5)
    bare = Bare.of({"method": key, "fields": json.loads(json.dumps(fields_of(world)))})
    again = bare.policy(net, Streams([3])).eval().acting
    with torch.no_grad():
        assert torch.equal(Graph(again, bare.action)(*fed)[0], graph(*fed)[0])


RESTS_ON = ("src/operant/nets/", "src/operant/loops/export.py", "tests/nets/test_graph.py")


@pytest.mark.parametrize("name", turns(CASES, *RESTS_ON, always=("everything", "LSTM")))
def test_a_program_acts_as_its_policy_for_any_number_of_rows(name: str, tmp_path):
    played = Played(name)
    about = write_policy(tmp_path / "policy.pt2", played.graph, "torch", {"method": "mine"})
    extra = {"operant.json": ""}
    program = torch.export.load(io.BytesIO((tmp_path / "policy.pt2").read_bytes()), extra_files=extra).module()
    assert json.loads(extra["operant.json"]) == about and about["method"] == "mine"
    played.agree(lambda fed: [x.numpy() for x in program(*map(torch.from_numpy, fed))])
    played.agree(lambda fed: [np.concatenate([program(*(torch.from_numpy(x[row : row + 1]) for x in fed))[k].numpy() for row in range(ROWS)])
                              for k in range(len(about["outputs"]))])


@pytest.mark.parametrize("name", turns(CASES, *RESTS_ON, always=("everything",)))
def test_onnx_runtime_acts_as_the_policy(name: str, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    pytest.importorskip("onnxscript", reason="the extra export is not installed")
    played = Played(name)
    about = write_policy(tmp_path / "policy.onnx", played.graph, "onnx", {})
    session = runtime.InferenceSession(tmp_path / "policy.onnx")
    assert [port.name for port in session.get_inputs()] == [port["name"] for port in about["inputs"]]
    assert [port.name for port in session.get_outputs()] == [port["name"] for port in about["outputs"]]
    assert {port.shape[0] for port in session.get_inputs()} == {"N"}  # as the metadata call it
    assert json.loads(session.get_modelmeta().custom_metadata_map["operant"]) == about
    names = [port["name"] for port in about["inputs"]]
    played.agree(lambda fed: session.run(None, dict(zip(names, fed, strict=True))))
