"""Memories: PyTorch's own numbers, episodes that do not know of each other, and a policy that replays what it did and bootstraps from what it knew."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.core.seeds import derive_seed
from operant.core.spec import Field, Spec
from operant.loops.behaviour import Greedy, Sampled
from operant.loops.draw import Windows
from operant.loops.value_learning import ValueLearning
from operant.nets.actors import ActorCriticNet, ActorNet, CriticNet
from operant.nets.memory import GRU, LSTM, History
from operant.worlds.gym.collect import Chunk, Steps, fill
from operant.worlds.gym.environments import Step
from operant.worlds.gym.experience import Online
from operant.worlds.gym.world import GymWorld

MEMORIES = [LSTM(6), GRU(6), History(3)]
# PyTorch's order of the gates, by their places here.
GATES = {torch.nn.LSTM: (1, 2, 3, 0), torch.nn.GRU: (0, 1, 2)}


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("net", "kind"), [(LSTM(5), torch.nn.LSTM), (GRU(5), torch.nn.GRU)])
def test_it_is_what_pytorch_computes(net, kind):
    seeds, members, rows, length = 2, 2, 4, 7
    memory = net.build(3, members, Streams([0, 1]), "memory")
    x, carry, weight = draws(seeds, members, rows, length, 3), draws(seeds, rows, memory.carried, seed=1), draws(seeds, members, rows, length, 5, seed=2)
    x.requires_grad_()
    out, carries = memory(x, carry)
    (out * weight).sum().backward()
    order, width = GATES[kind], memory.carried // members

    def theirs(tensor: torch.Tensor) -> torch.Tensor:  # [in, gates] of one member
        parts = tensor.T.chunk(len(order))
        return torch.cat([parts[place] for place in order])

    for seed in range(seeds):
        for member in range(members):
            plain = kind(3, 5, batch_first=True)
            pairs = [(memory.input, "ih"), (memory.recurrent, "hh")]
            with torch.no_grad():
                for layer, name in pairs:
                    getattr(plain, f"weight_{name}_l0").copy_(theirs(layer.weight[seed, member]))
                    getattr(plain, f"bias_{name}_l0").copy_(theirs(layer.bias[seed, member]).squeeze(1))
            given = x.detach()[seed, member].requires_grad_()
            states = [part.contiguous().unsqueeze(0) for part in carry[seed, :, member * width : (member + 1) * width].split(5, -1)]
            wanted, last = plain(given, tuple(states) if len(states) == 2 else states[0])
            (wanted * weight[seed, member]).sum().backward()
            torch.testing.assert_close(out[seed, member], wanted, rtol=0, atol=1e-6)
            last = torch.cat([part[0] for part in last], -1) if isinstance(last, tuple) else last[0]
            torch.testing.assert_close(carries[seed, :, -1, member * width : (member + 1) * width], last, rtol=0, atol=1e-6)
            torch.testing.assert_close(x.grad[seed, member], given.grad, rtol=0, atol=2e-6)
            for layer, name in pairs:
                torch.testing.assert_close(theirs(layer.weight.grad[seed, member]), getattr(plain, f"weight_{name}_l0").grad, rtol=0, atol=1e-5)
                torch.testing.assert_close(theirs(layer.bias.grad[seed, member]).squeeze(1), getattr(plain, f"bias_{name}_l0").grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("net", MEMORIES)
@pytest.mark.parametrize("members", [1, 2])
def test_an_episode_does_not_know_of_the_one_before(net, members):
    memory = net.build(2, members, Streams([0, 1]), "memory")
    x, carry = draws(2, members, 3, 6, 2).requires_grad_(), draws(2, 3, memory.carried, seed=1)
    begins = torch.zeros(2, 3, 6, dtype=torch.bool)
    begins[:, 1, 4] = True
    out, carries = memory(x, carry, begins)
    whole, after = memory(x, carry)
    first, _ = memory(x[:, :, 1:2, :4], carry[:, 1:2])
    second, last = memory(x[:, :, 1:2, 4:], torch.zeros_like(carry[:, 1:2]))
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-6)
    close(out[:, :, 1:2], torch.cat([first, second], 3))
    close(carries[:, 1:2, -1], last[:, :, -1])
    close(out[:, :, [0, 2]], whole[:, :, [0, 2]])
    close(carries[:, [0, 2]], after[:, [0, 2]])
    wanted = torch.autograd.grad(second.square().sum(), x)[0]
    out[:, :, 1, 4:].square().sum().backward()
    close(x.grad, wanted, atol=1e-5)
    assert not x.grad[:, :, 1, :4].any() and not x.grad[:, :, [0, 2]].any()


def test_a_history_is_the_last_observations():
    memory = History(3).build(1, 1, Streams([0]), "memory")
    begins = torch.tensor([[[False, False, False, True, False]]])
    out, carries = memory(torch.arange(1.0, 6).view(1, 1, 1, 5, 1), torch.zeros(1, 1, 2), begins)
    assert out[0, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 4], [0, 4, 5]]
    assert carries[0, 0].tolist() == [[0, 1], [1, 2], [2, 3], [0, 4], [4, 5]]


@pytest.mark.parametrize("net", MEMORIES)
def test_a_seed_among_others_remembers_what_it_does_alone(net):
    together, alone = (net.build(2, 2, Streams(seeds), "memory") for seeds in ([0, 1, 2], [2]))
    x, carry = draws(3, 2, 3, 6, 2), draws(3, 3, together.carried, seed=1)
    for a, b in zip(together(x, carry), alone(x[2:], carry[2:]), strict=True):
        torch.testing.assert_close(a[2:], b, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------------------------------------- policies


def short_episodes() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", max_episode_steps=7)


def pieces(net, *, shared: bool = True, environment="CartPole-v1", plan: tuple[int, int] = (3, 30), **others):
    world, streams = GymWorld(environment), Streams([0, 1])
    policy = world.policy(ActorCriticNet(hidden=(8,), memory=net, shared=shared, **others), streams)
    return world, policy, world.source(Steps(*plan), streams)


@pytest.mark.parametrize("net", MEMORIES)
@pytest.mark.parametrize("shared", [True, False])
def test_replay_gives_the_log_probabilities_of_acting(net, shared):
    _, policy, source = pieces(net, shared=shared)
    source.sample(policy, 0)
    rollout = source.sample(policy, 1)  # begins within episodes
    assert rollout.inputs["carry"].abs().amax(-1).gt(0).all() and rollout.inputs["begins"].any() and policy.span == "row"
    found = policy.replay(rollout.inputs, rollout.action, frozenset({"value"}))
    torch.testing.assert_close(found["log_prob"], rollout.log_prob, rtol=0, atol=1e-6)
    assert torch.equal(policy.replay(rollout.inputs, rollout.action, frozenset())["log_prob"], found["log_prob"])
    torch.testing.assert_close(policy.values(rollout)[0], found["value"], rtol=0, atol=1e-6)
    forgotten = policy.replay(rollout.inputs | {"carry": torch.zeros_like(rollout.inputs["carry"])}, rollout.action, frozenset())
    assert not torch.allclose(forgotten["log_prob"][..., 0], rollout.log_prob[..., 0], atol=1e-5)


@pytest.mark.parametrize("net", MEMORIES)
@pytest.mark.parametrize("shared", [True, False])
def test_values_behind_a_step_are_of_what_was_known_then(net, shared):
    """Step by step: V(s') with the carry behind the step, at the true next observation, be the episode cut there, at its limit, or at the end of the chunk."""
    _, policy, source = pieces(net, shared=shared, environment=short_episodes, plan=(2, 16), normalize=True)
    source.sample(policy, 0)
    normalized = policy.normalized  # the normaliser takes the chunk in behind it
    policy.normalizer, kept = None, policy.normalizer
    rollout = source.sample(policy, 1)
    policy.normalizer = kept
    assert rollout.truncated.any() and normalized is not None
    value, following = policy.values(rollout)
    carry = rollout.inputs["carry"]
    seen, after = rollout.inputs["observation"], rollout.extras["next_observation"]
    for t in range(seen.shape[2]):
        carry = torch.where(rollout.inputs["begins"][:, :, t, None], policy.initial(2), carry)
        found, carries = policy.remember(seen[:, :, t : t + 1], carry)
        carry = carries[:, :, 0]
        beyond, _ = policy.remember(after[:, :, t : t + 1], carry)
        torch.testing.assert_close(value[:, :, t], policy.net.critic(found[:, -1, :, 0]).detach(), rtol=0, atol=1e-5)
        torch.testing.assert_close(following[:, :, t], policy.net.critic(beyond[:, -1, :, 0]).detach(), rtol=0, atol=1e-5)
    going = ~(rollout.terminated | rollout.truncated)[..., :-1]
    torch.testing.assert_close((following[..., :-1] * going), (value[..., 1:] * going), rtol=0, atol=1e-5)


class Script:
    """Environments whose observation is the number of the step, and whose episodes end as is written down: e, cut: c, the action ignored: i."""

    def __init__(self, *rows: str):
        self.script, self.step_number = rows, 0

    def step(self, action: np.ndarray) -> Step:
        signs = [row[self.step_number] for row in self.script]
        self.step_number += 1
        seen = np.full((len(signs), 1), self.step_number + 1, np.float32)
        flags = [np.array([sign == which for sign in signs]) for which in "eci"]
        return Step(seen, seen, np.zeros(len(signs), np.float32), flags[0], flags[1], ~flags[2])


def test_what_is_remembered_ends_with_the_episode():
    observation = Spec((Field("observation", (1,), "float32", "box"),))
    action = Spec((Field("action", (), "int64", "discrete", (2,), (0,)),))
    policy = ActorCriticNet(hidden=(4,), memory=History(3)).build(observation, action, Streams([0]))
    chunk = Chunk(6, 1, 5, 1, policy)
    chunk.carry[0] = torch.arange(10.0).view(1, 5, 2)
    # The fourth row is restarted behind its end by a step that ignores the action (NEXT_STEP autoreset): nothing of that step is known either.
    environments = Script("......", "...e..", ".....c", "...ei.", "c.....")
    fill(chunk, environments, policy, policy.distribution.noise(Streams([0]), "action", 6, 5), np.ones((5, 1), np.float32))
    assert chunk.carry[1, 0].tolist() == [[5, 6], [5, 6], [0, 0], [0, 6], [5, 6]]
    assert chunk.ends(slice(None))[:, 0].T.int().tolist() == [[0] * 6, [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]]


def test_only_what_remembers_has_a_carry():
    world, policy, source = pieces(None)
    assert policy.span == "step" and policy.initial(3) is None and set(source.sample(policy, 0).inputs) == {"observation"}
    assert policy.act(torch.zeros(2, 3, 4))[1] is None and world.random_policy([0, 1]).act(torch.zeros(2, 3, 4))[1] is None


def test_where_a_memory_is_of_no_use_is_told():
    world = GymWorld("CartPole-v1")
    remembers = ActorCriticNet(memory=LSTM(4))
    learning = ValueLearning(nets={"actor": remembers}, phases=[], acts=Sampled("actor"), online=Online())
    with pytest.raises(BadInput, match="net 'actor' remembers its episode, and this method draws single transitions"):
        learning.learner(world, [0], 10, torch.device("cpu"))
    with pytest.raises(BadInput, match="net 'actor' remembers its episode: a Greedy acts at observations alone, take Sampled"):
        replace(learning, acts=Greedy("actor"), draw=Windows(2, 2)).learner(world, [0], 10, torch.device("cpu"))
    with pytest.raises(BadInput, match="a policy that remembers takes no module"):
        world.policy(ActorCriticNet(memory=LSTM(4), module=torch.nn.Linear(4, 2)), Streams([0]))


def test_windows_say_what_steps_said():
    """An actor's numbers over windows are those of deciding step by step from an empty memory; a critic's too, whose memory is one for all its members."""
    world, streams = GymWorld("Pendulum-v1"), Streams([0, 1])
    actor = ActorNet(hidden=(8,), squash=True, memory=LSTM(6)).build(world.observation, world.action, streams)
    critic = CriticNet(hidden=(8,), ensemble=3, memory=LSTM(6)).build(world.observation, world.action, streams, "q")
    seen, begins = draws(2, 4, 5, 3), torch.zeros(2, 4, 5, dtype=torch.bool)
    begins[:, 1, 2] = begins[0, 3, 0] = True
    found, remembered = actor(seen, begins), critic.remember(seen, begins)
    carry = actor.initial(4)
    for step in range(5):
        carry = carry * ~begins[:, :, step].unsqueeze(-1)
        parameters, carry = actor.decide(seen[:, :, step], carry)
        torch.testing.assert_close(found[:, :, step], parameters)
        if step < 2:
            torch.testing.assert_close(remembered[:, 1, 2 + step], critic.remember(seen[:, 1:2, 2 : 3 + step], begins[:, 1:2, 2 : 3 + step])[:, 0, -1])
    assert critic(remembered[:, :, -1], draws(2, 4, 1)).shape == (2, 3, 4)


# -------------------------------------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> operant.Run:
    small = {"memory": 8, "hidden": (8,), "environments": 4, "rollout_length": 16, "learning_rate": 1e-2}
    out = tmp_path_factory.mktemp("run") / "run"
    return operant.train("recurrent-ppo", "gym:CartPole-v1", seeds=2, steps=512, episodes=2, out=out, progress=False, **small)


def test_a_kept_policy_plays_as_it_is_evaluated(run):
    again = operant.load(run.path)
    wanted = again.world.evaluate(again.load_policy(1), 1, episodes=3, seed=5).values[0]
    player, environment, found = again.player(seed=1), gymnasium.make("CartPole-v1"), []
    for episode in range(3):
        player.reset()
        (observation, _), total, over = environment.reset(seed=derive_seed(5, "evaluation", episode)), 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = environment.step(player(observation))
            total, over = total + reward, terminated or truncated
        found.append(total)
    assert found == wanted.tolist()


def test_a_player_keeps_episodes_apart(run):
    seen = draws(4, 3, 4).numpy()
    several, alone = run.player(), run.player()
    policy = run.load_policy()
    for observations in seen:
        several(observations)
    kept = several._carry.clone()
    for observations in seen:
        alone(observations[1])
    torch.testing.assert_close(alone._carry[:, 0], kept[:, 1], rtol=0, atol=1e-6)
    several.reset([True, False, False])
    assert not several._carry[:, 0].any() and torch.equal(several._carry[:, 1:], kept[:, 1:])
    with pytest.raises(BadInput, match="2 observations, and what the policy remembers is of 3 episodes"):
        several(seen[0, :2])
    with pytest.raises(BadInput, match="reset takes True or False for each of 3 episodes"):
        several.reset([True])
    several.reset()
    first, carry = policy.act(torch.from_numpy(seen[0]).unsqueeze(0))
    assert several(seen[0]).tolist() == first[0].tolist() and torch.equal(several._carry, carry)


def test_a_policy_that_remembers_is_not_asked_without_its_episode(run):
    with pytest.raises(BadInput, match=r"this policy remembers its episode: act = run.player\(\)"):
        run.policy([0.0, 0.1, 0.0, -0.1])


@pytest.mark.parametrize(("values", "told"), [
    ({"environments": 2}, "4 minibatches of whole rows need as many environments; there are 2"),
    ({"environments": 4, "rollout_length": 1}, "4 minibatches need two steps each"),
])  # fmt: skip
def test_too_few_rows_for_the_minibatches_are_told(values, told):
    with pytest.raises(BadInput, match=told):
        operant.train("recurrent-ppo", "gym:CartPole-v1", steps=512, progress=False, **values)


def test_value_learning_remembers_while_it_acts():
    """The carry goes on with the episode and is empty at the next one; what it acts by is what deciding step by step gives."""
    world = GymWorld("Pendulum-v1")
    small = {"hidden": (8,), "memory": 4, "batch_size": 2, "window": 3, "learning_starts": 1, "environments": 2, "updates_per_step": 0.01}
    method = get_method("recurrent-sac").build(configure("recurrent-sac", small))
    learner = method.learner(world, [0, 1], 2000, torch.device("cpu"))
    policy, seen = learner.policy, []
    decide = policy.decide

    def recorded(observation, carry):
        parameters, after = decide(observation, carry)
        seen.append((carry, after))
        return parameters, after

    policy.decide = recorded
    while learner.step < 1000:
        learner.iterate()
    begins = [place for place, (before, _) in enumerate(seen) if not before.any()]
    assert begins == [0, 199, 399]  # the first step is random; an episode of each environment is 200 steps
    assert all(torch.equal(seen[place - 1][1], seen[place][0]) for place in range(1, len(seen)) if place not in begins)
    learner.close()


def test_nothing_is_remembered_of_a_step_that_only_resets():
    """NEXT_STEP autoreset: the step behind an episode's end begins the next one, and its observation is the old one's last."""

    def make(num_envs: int):
        return SyncVectorEnv([partial(gymnasium.make, "Pendulum-v1", max_episode_steps=5)] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    small = {"hidden": (8,), "memory": 4, "batch_size": 2, "window": 2, "burn_in": 0, "learning_starts": 1, "updates_per_step": 0.01}
    learner = get_method("recurrent-sac").build(configure("recurrent-sac", small)).learner(GymWorld(make), [0], 100, torch.device("cpu"))
    policy, empty = learner.policy, []
    decide = policy.decide
    policy.decide = lambda observation, carry: empty.append(not carry.any()) or decide(observation, carry)
    learner.gather(1)  # a random step
    learner.gather(17)
    assert [place for place, is_empty in enumerate(empty) if is_empty] == [0, 4, 5, 10, 11, 16]  # four more steps, then one that resets and five, and so on
    learner.close()
