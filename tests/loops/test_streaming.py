"""The streaming loop against a literal one: one seed, one sample, autograd, in double precision."""

from __future__ import annotations

import copy
import math
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from operant.core.errors import BadInput
from operant.core.flat import FlatParameters
from operant.core.registry import configure, get_method
from operant.core.traces import AdamTrace, AdaptiveObGD, ObGD, TraceStep
from operant.loops.prediction import prediction_error
from operant.loops.streaming import Lesson, Moment, Streaming, StreamLearner, Trace
from operant.nets.actors import ActionValueNet, ActorNet, CriticNet
from operant.nets.layers import sparse
from operant.nets.normalize import SampleStatistics
from operant.nets.traced import by_autograd
from operant.worlds import make_world
from operant.worlds.gym.world import GymWorld

CPU = torch.device("cpu")
SEEDS = (3, 5)


# --------------------------------------------------------------------------------------------------------------------------------------------- traces


class Pair(nn.Module):
    def __init__(self, seeds: int):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(seeds, 2, 3)), nn.Parameter(torch.zeros(seeds, 1, 3))


def test_a_trace_by_hand():
    """One weight a seed: z is 1, then 0.5 + 2, then (forgotten) 3; w moves by 0.1 δ z."""

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, 1))

    module = One()
    stepper = TraceStep(FlatParameters(module, seeds=2, by_rows=True), learning_rate=0.1, decay=0.5)
    for gradient, error, ends in ((1.0, [1.0, 2.0], [False, False]), (2.0, [1.0, -1.0], [True, False]), (3.0, [1.0, 1.0], [False, False])):
        stepper.take([torch.full((2, 1), gradient)])
        norm = stepper.step(torch.tensor(error))
        stepper.forget(torch.tensor(ends))
    assert norm.tolist() == pytest.approx([3.0, 4.25])
    assert module.w.flatten().tolist() == pytest.approx([0.1 * (1 + 2.5 + 3), 0.1 * (2 - 2.5 + 4.25)])


def test_a_trace_that_nothing_is_added_to_becomes_0():
    module = Pair(1)
    stepper = TraceStep(FlatParameters(module, seeds=1, by_rows=True), learning_rate=0.1, decay=0.8)
    nothing = [torch.zeros(1, 2, 3), torch.zeros(1, 1, 3)]
    stepper.take([torch.ones(1, 2, 3), torch.ones(1, 1, 3)])
    for step in range(600):
        if step % 100 == 0:
            stepper.clear()
        stepper.take(nothing)
    assert (stepper.trace == 0).all()


def literal(kind: type, gradients: np.ndarray, errors: np.ndarray, ends: np.ndarray, rate: float, decay: float, kappa: float) -> np.ndarray:
    """The weights `[P]` of one seed after gradients `[T, P]`."""
    w, z, square, mean, second = (np.zeros(gradients.shape[1]) for _ in range(5))
    for t, (gradient, error, end) in enumerate(zip(gradients, errors, ends, strict=True), 1):
        z = decay * z + gradient
        if kind is TraceStep:
            w = w + rate * error * z
        elif kind is AdamTrace:
            g = -error * z
            mean, second = 0.9 * mean + 0.1 * g, 0.999 * second + 0.001 * g**2
            w = w - rate * (mean / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        else:
            square = 0.999 * square + 0.001 * (error * z) ** 2
            along = z / np.sqrt(square / (1 - 0.999**t) + 1e-8) if kind is AdaptiveObGD else z
            bound = rate * kappa * max(abs(error), 1.0) * np.abs(along).sum()
            w = w + (rate / bound if bound > 1 else rate) * error * along
        z = z * (not end)
    return w


@pytest.mark.parametrize("kind", [TraceStep, ObGD, AdaptiveObGD, AdamTrace])
def test_steps_are_those_of_a_literal_loop(kind: type):
    rng, steps, rate, decay, kappa = np.random.default_rng(0), 12, 0.3, 0.7, 2.0
    gradients = rng.normal(size=(steps, 3, 9)) * 10 ** rng.uniform(-2, 1, (steps, 3, 1))
    errors, ends = rng.normal(size=(steps, 3)) * 3, rng.random((steps, 3)) < 0.3
    module = Pair(3)
    bound = {"kappa": kappa} if kind in (ObGD, AdaptiveObGD) else {}
    stepper = kind(FlatParameters(module, seeds=3, by_rows=True), learning_rate=rate, decay=decay, **bound)
    for t in range(steps):
        if t == 6:  # from a checkpoint
            state = copy.deepcopy(stepper.state_dict())
            weights = {name: p.detach().clone() for name, p in module.named_parameters()}
            module = Pair(3)
            stepper = kind(FlatParameters(module, seeds=3, by_rows=True), learning_rate=rate, decay=decay, **bound)
            module.load_state_dict(weights)
            stepper.load_state_dict(state)
        given = torch.from_numpy(gradients[t]).float()
        stepper.take([given[:, :6].reshape(3, 2, 3), given[:, 6:].reshape(3, 1, 3)])
        stepper.step(torch.from_numpy(errors[t]).float())
        stepper.forget(torch.from_numpy(ends[t]))
    found = torch.cat([module.a.flatten(1), module.b.flatten(1)], 1).detach().numpy()
    for seed in range(3):
        wanted = literal(kind, gradients[:, seed], errors[:, seed], ends[:, seed], rate, decay, kappa)
        np.testing.assert_allclose(found[seed], wanted, rtol=1e-3, atol=1e-5)


def test_sparse_weights():
    weight = torch.empty(20, 50)
    sparse(0.9)(weight, torch.Generator().manual_seed(0))
    assert ((weight == 0).sum(0) == 18).all() and weight.abs().max() <= 20**-0.5 and len({tuple(column.nonzero()[0].tolist()) for column in weight.T}) > 5
    few = torch.empty(4, 50)
    sparse(0.9)(few, torch.Generator().manual_seed(0))
    assert ((few != 0).sum(0) == 1).all()


def test_statistics_of_samples():
    rng = np.random.default_rng(0)
    samples, found = rng.normal(5, 3, (30, 2, 4)), SampleStatistics(2, 4)
    for place, x in enumerate(samples):
        found.take(x)
        if place == 0:
            assert (found.variance == 1).all()
    found.take(np.full((1, 4), 9.0), np.array([False, True]))  # of one seed alone
    both = samples[:, 0], np.concatenate([samples[:, 1], np.full((1, 4), 9.0)])
    np.testing.assert_allclose(found.mean, [x.mean(0) for x in both])
    np.testing.assert_allclose(found.variance, [x.var(0, ddof=1) for x in both])
    assert found.count.tolist() == [[30], [31]]


# ----------------------------------------------------------------------------------------------------------------------------------------------- nets

MASKED = gymnasium.spaces.Dict(x=gymnasium.spaces.Box(-1, 1, (3,), np.float32), action_mask=gymnasium.spaces.MultiBinary(4))


class Masked(gymnasium.Env):
    """Whatever is done, the episode ends after three steps; actions that the mask forbids raise."""

    observation_space, action_space = MASKED, gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self._seen(), {}

    def _seen(self):
        self.mask = np.array([1, *self.np_random.integers(0, 2, 3)], np.int8)
        return {"x": self.np_random.random(3).astype(np.float32), "action_mask": self.mask}

    def step(self, action):
        if not self.mask[action]:
            raise ValueError("forbidden")
        self.clock += 1
        return self._seen(), float(action), self.clock == 3, False, {}


NETS = {
    "values": (ActionValueNet((8, 6), activation="leaky_relu", layer_norm=True), "gym:CartPole-v1"),
    "duelling": (ActionValueNet((8, 6), duelling=True), "gym:CartPole-v1"),
    "critic": (CriticNet(("observation",), (8, 6), "leaky_relu", ensemble=None, layer_norm=True), "gym:CartPole-v1"),
    "choices": (ActorNet((8, 6), "tanh", layer_norm=True), "gym:CartPole-v1"),
    "gaussian": (ActorNet((8, 6)), "gym:Pendulum-v1"),
    "softplus": (ActorNet((8, 6), log_std="softplus", layer_norm=True), "gym:Pendulum-v1"),
    "narrow": (ActorNet((8, 6), log_std="softplus", log_std_bounds=(-0.5, -0.3)), "gym:Pendulum-v1"),
    "free": (ActorNet((8, 6), log_std="free"), "gym:Pendulum-v1"),
    "masked": (ActionValueNet((8, 6)), Masked),
    "masked actor": (ActorNet((8, 6)), Masked),
}


@pytest.mark.parametrize("name", NETS)
def test_a_traced_network_gives_autograds_gradients(name: str):
    from operant.core.random import Streams

    net, task = NETS[name]
    world = make_world(task) if isinstance(task, str) else GymWorld(task)
    built = net.build(world.observation, world.action, Streams(SEEDS), "q")
    FlatParameters(built, seeds=2, by_rows=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, world.observation.size, generator=generator)
    if task is Masked:
        x[..., world.observation.mask] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    with torch.no_grad():
        for p in built.parameters():  # what begins at 0 would hide a gradient
            p += 0.3 * torch.randn(p.shape, generator=generator)
    traced = built.traced()
    (output, pull), (wanted, back) = traced(x), by_autograd(built)(x)
    torch.testing.assert_close(output, wanted)
    direction = torch.randn(output.shape, generator=generator)
    found, right = pull(direction), back(direction)
    assert len(found) == len(right) == len(list(built.parameters()))
    for mine, exact in zip(found, right, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for p in built.parameters():
            p.mul_(1.5)  # where they are: the next pass sees it
    assert not torch.allclose(traced(x)[0], output)


# ------------------------------------------------------------------------------------------------------------------------------------------- the loop


def learner_of(key: str, task, seeds=SEEDS, total: int = 2_000, **values) -> StreamLearner:
    world = make_world(task) if isinstance(task, str) else GymWorld(task)
    return get_method(key).build(configure(key, {"hidden": (8, 6), **values})).learner(world, list(seeds), total, CPU)


def recorded(learner: StreamLearner, steps: int) -> list[dict[str, torch.Tensor]]:
    """What the loop's moments were, of an iteration."""
    from dataclasses import replace

    moments, learn = [], learner.method.learn
    names = ("observation", "action", "reward", "next_observation", "terminated", "truncated")

    def watched(moment: Moment) -> Lesson:
        found = {name: getattr(moment, name).clone() for name in names}
        if learner.method.ahead:
            found["next_action"] = moment.next_action.clone()
        moments.append(found)
        return learn(moment)

    learner.method = replace(learner.method, learn=watched, updates_per_iteration=steps)
    learner.iterate()
    return moments


CASES = {
    "stream-q": ("gym:CartPole-v1", {"epsilon_start": 0.5}),
    "stream-sarsa": ("gym:CartPole-v1", {"epsilon_start": 0.5}),
    "stream-ac": ("gym:CartPole-v1", {"entropy_coefficient": 0.1}),
    "stream-ac gaussian": ("gym:Pendulum-v1", {"entropy_coefficient": 0.1}),
    "stream-td": ("gym:CartPole-v1", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_learns_what_a_literal_loop_learns(case: str):
    """Of one of two seeds, from the same samples."""
    key, (task, values) = case.split()[0], CASES[case]
    learner = learner_of(key, task, **values)
    nets = copy.deepcopy(learner.nets).double()
    gamma, lam, kappa = 0.99, 0.8, {"q": 2.0, "v": 2.0, "actor": 3.0}
    moments = recorded(learner, 60)
    mine, place = copy.deepcopy(nets), 1

    traces = {name: [torch.zeros_like(p[place]) for p in net.parameters()] for name, net in mine.items()}
    ended = 0
    for m in moments:
        m = {name: x.double() if x.is_floating_point() else x for name, x in m.items()}
        s, a, r, following, over, cut = (m[name] for name in ("observation", "action", "reward", "next_observation", "terminated", "truncated"))
        forget = (over | cut)[place, 0]
        outputs = {}
        if key in ("stream-q", "stream-sarsa"):
            q, after = mine["q"](s)[place, 0], mine["q"](following)[place, 0].detach()
            value = q[a[place, 0]]
            ahead = after.max() if key == "stream-q" else after[m["next_action"][place, 0]]
            if key == "stream-q":
                forget = forget | (a[place, 0] != q.argmax())
            outputs["q"] = value
        else:
            value, ahead = mine["v"](s)[place, 0], mine["v"](following)[place, 0].detach()
            outputs["v"] = value
        error = (r[place, 0] + gamma * ahead * (~over[place, 0]) - value).detach()
        if key == "stream-ac":
            parameters = mine["actor"](s)
            log_prob, entropy = mine["actor"].distribution.log_prob_and_entropy(parameters, a)
            outputs["actor"] = (log_prob + 0.1 * error.sign() * entropy)[place, 0]
        for name, output in outputs.items():
            gradients = torch.autograd.grad(output, list(mine[name].parameters()))
            traces[name] = [gamma * lam * z + g[place] for z, g in zip(traces[name], gradients, strict=True)]
            bound = kappa[name] * max(abs(float(error)), 1.0) * sum(float(z.abs().sum()) for z in traces[name])
            with torch.no_grad():
                for p, z in zip(mine[name].parameters(), traces[name], strict=True):
                    p[place] += (1 / bound if bound > 1 else 1.0) * error * z
            if forget:
                traces[name] = [0 * z for z in traces[name]]
        ended += int(forget)
    assert 0 < ended < 60 or case == "stream-ac gaussian"
    for (name, found), (_, wanted), (_, before) in zip(
        learner.nets.named_parameters(), mine.named_parameters(), nets.named_parameters(), strict=True
    ):
        torch.testing.assert_close(found[place].double(), wanted[place].detach(), rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        if name.endswith("bias"):
            assert not torch.equal(wanted[place], before[place])


def test_observations_and_rewards_are_scaled_as_by_a_literal_loop():
    class Recorded(gymnasium.Wrapper):
        log: list = []

        def reset(self, **asked):
            found = self.env.reset(**asked)
            self.log.append((found[0], None, False))
            return found

        def step(self, action):
            found = self.env.step(action)
            self.log.append((found[0], found[1], found[2] or found[3]))
            return found

    learner = learner_of("stream-q", lambda: Recorded(gymnasium.make("CartPole-v1")), seeds=(3,), gamma=0.9)
    Recorded.log.clear()
    moments = recorded(learner, 60)
    seen, sums, total, place = [], [], 0.0, 0
    current = None
    for observation, reward, ended in Recorded.log:
        seen.append(np.asarray(observation, np.float64))
        spread = np.sqrt(np.var(seen, 0, ddof=1) + 1e-8) if len(seen) > 1 else np.sqrt(1 + 1e-8)
        normalized = (seen[-1] - np.mean(seen, 0)) / spread
        if reward is not None and place < 60:
            total = total * 0.9 * (not ended) + reward
            sums.append(total)
            deviation = np.sqrt((np.var(sums, ddof=1) if len(sums) > 1 else 1.0) + 1e-8)
            m = moments[place]
            np.testing.assert_allclose(m["observation"][0, 0], current, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(m["next_observation"][0, 0], normalized, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(m["reward"][0, 0], reward / deviation, rtol=1e-4)
            place += 1
        current = normalized
    assert place == 60 and sum(ended for _, _, ended in Recorded.log) > 1
    np.testing.assert_allclose(learner.policy.normalizer.mean[0], np.mean(seen, 0), rtol=1e-6)


class SeldomOn(gymnasium.Env):
    """A number that is 0 for 399 samples, and then 1."""

    observation_space, action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.full(1, self.steps == 399, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("key", ["stream-q", "stream-sarsa", "stream-ac", "stream-td"])
def test_normalized_observations_are_not_cut(key: str):
    learner = learner_of(key, SeldomOn, seeds=(0,))
    found = recorded(learner, 399)[-1]["next_observation"].item()
    assert math.isclose(found, (1 - 1 / 400) / (1 / 20), rel_tol=1e-5)
    assert math.isclose(learner.policy.normalized(torch.ones(1, 1, 1)).item(), found, rel_tol=1e-5)  # so what is evaluated, kept and played sees it too


class OneStep(gymnasium.Env):
    """Episodes of one step, of reward 1, that end as `ending` says."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32), gymnasium.spaces.Discrete(2)

    def __init__(self, ending: str):
        self.ending = ending

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(2).astype(np.float32), {}

    def step(self, action):
        return self.np_random.random(2).astype(np.float32), 1.0, self.ending == "terminated", self.ending == "truncated", {}


@pytest.mark.parametrize("key", ["stream-q", "stream-sarsa", "stream-ac", "stream-td"])
def test_truncation_bootstraps_and_termination_does_not(key: str):
    from dataclasses import replace

    found = {}
    for ending in ("terminated", "truncated"):
        learner, errors = learner_of(key, partial(OneStep, ending), scale_reward=False), []
        learn = learner.method.learn

        def watched(m: Moment, learn=learn, errors=errors) -> Lesson:
            lesson = learn(m)
            net = "q" if key in ("stream-q", "stream-sarsa") else "v"
            errors.append((lesson.error.clone(), m.now(net).clone(), m.next(net).clone(), m.action.clone()))
            return lesson

        learner.method = replace(learner.method, learn=watched)
        learner.iterate()
        found[ending] = errors
        for stepper in learner._steppers.values():
            assert (stepper._factor == 0).all()  # every episode is over
    for ending, errors in found.items():
        for error, value, following, action in errors[5:20]:
            if value.ndim == 3:
                value = value.gather(-1, action.unsqueeze(-1)).squeeze(-1)
            gone_on = (error + value - 1).abs().max()
            assert (gone_on < 1e-6) == (ending == "terminated"), (ending, gone_on, following)


@pytest.mark.parametrize("key", ["stream-q", "stream-sarsa", "stream-ac", "stream-td"])
def test_masks_are_obeyed(key: str):
    learner = learner_of(key, Masked)
    learner.iterate()  # what is forbidden raises
    assert all(torch.isfinite(p).all() for p in learner.nets.parameters())
    learner.world.evaluate(learner.policy, 2, episodes=2)


def test_a_lesson_of_another_shape_is_told():
    def method(learn) -> Streaming:
        return Streaming(nets={"v": CriticNet(("observation",), (4,), ensemble=None), "q": ActionValueNet((4,))}, learn=learn, traces={"v": Trace()}, acts=acts)

    from operant.loops.behaviour import EpsilonGreedy

    acts, one = EpsilonGreedy("q"), torch.ones(2, 1)
    wrong = {
        "a NoneType: a streaming method gives a Lesson": lambda m: None,
        r"error has shape \[2\], one a seed is wanted, \[2, 1\]": lambda m: Lesson(one[:, 0], {"v": one}),
        r"gradient of 'v' has shape \[2, 1, 1\], and the net's output \[2, 1\]": lambda m: Lesson(one, {"v": one.unsqueeze(-1)}),
        "gradients of q, and the traces are of v": lambda m: Lesson(one, {"q": one}),
        "asks for the net 'w'; there are v, q": lambda m: Lesson(m.now("w"), {"v": one}),
        "asks for the next action, which is decided before it learns": lambda m: Lesson(m.next_action, {"v": one}),
    }
    for words, learn in wrong.items():
        with pytest.raises(BadInput, match=words):
            method(learn).trial(make_world("gym:CartPole-v1"), CPU)
    method(lambda m: Lesson(one, {"v": m.gradient("v", lambda value: 2 * value)})).trial(make_world("gym:CartPole-v1"), CPU)
    with pytest.raises(BadInput, match="has the nets q, and asks for 'v'"):
        Streaming(nets={"q": ActionValueNet()}, learn=lambda m: None, traces={"v": Trace()}, acts=acts)


def test_predictions_are_held_against_returns():
    """Episodes of one step of reward 1: what is predicted is V, and the return 1, or where they are cut 1 + γ V of what came next."""
    learner = learner_of("stream-td", partial(OneStep, "terminated"))
    for p in learner.nets.parameters():
        p.data.zero_()
    found = prediction_error(learner.world, learner.policy, 2, 0.9)
    assert found["value_error"].tolist() == pytest.approx([1, 1]) and np.isnan(found["explained_variance"]).all()
    list(learner.nets.parameters())[-1].data.fill_(0.5)
    assert prediction_error(learner.world, learner.policy, 2, 0.9)["value_error"].tolist() == pytest.approx([0.5, 0.5])
    cut = learner_of("stream-td", partial(OneStep, "truncated"))
    cut.policy.load_state_dict(learner.policy.state_dict())
    assert prediction_error(cut.world, cut.policy, 2, 0.9)["value_error"].tolist() == pytest.approx([1 + 0.9 * 0.5 - 0.5] * 2)
