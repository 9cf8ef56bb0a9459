"""Losses of value-learning methods against the authors' equations in float64 NumPy, on networks and target networks that have parted."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from operant.core.registry import configure, get_method
from operant.evidence.online.beds import Picks
from operant.loops.value_learning import Update, ValueLearner
from operant.nets.actors import CriticNet
from operant.nets.layers import MLP, batch_norms
from operant.worlds import make_world
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz
from operant.worlds.gym.world import GymWorld

SEED = 1  # of two: the one that is looked at


def learner_of(method: str, task: str, steps: int = 80, **hyper) -> ValueLearner:
    """A learner of two seeds after some updates."""
    hyper = {"hidden": (6, 5), "batch_size": 16, "learning_rate": 1e-2} | hyper
    learner = get_method(method).build(configure(method, hyper)).learner(make_world(task), [3, 4], 1_000, torch.device("cpu"))
    while learner.step < steps:
        learner.iterate()
    return learner


def test_updates_come_in_rounds_and_are_as_many():
    """SB3's `train_freq` and `gradient_steps`: every 8 steps, 4 updates."""
    counts = {}
    for every in (1, 8):
        learner = learner_of("td3", "gym:Pendulum-v1", 0, learning_starts=16, updates_per_step=0.5, update_every=every, environments=2)
        learner.method = replace(learner.method, updates_per_iteration=2)
        counts[every] = []
        while learner.step < 48:
            learner.iterate()
            counts[every].append((learner.step, learner.updates))
    assert dict(counts[1])[48] == dict(counts[8])[48] == 16
    assert counts[8] == [(step, 0 if step <= 16 else 4 * ((step - 16) // 8)) for step in range(2, 49, 2)]


def losses_of(learner: ValueLearner, place: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(losses `[B]` of a phase on a new batch, that batch), both of one seed; the streams stand where they stood before the losses were taken."""
    batch = learner.drawer.draw()
    state = learner.streams.state_dict()
    losses = learner.losses(learner.method.phases[place], Update(learner, batch, learner.drawer))
    learner.streams.load_state_dict(state)
    return {name: numbers(x) for name, x in losses.items()}, {name: numbers(x) for name, x in batch.tensors().items()}


def numbers(x: torch.Tensor) -> np.ndarray:
    x = x[SEED].detach().numpy()
    return x.astype(np.float64) if x.dtype == np.float32 else x


def forward(net: MLP, x: np.ndarray, member: int | None = None, activation=lambda x: np.maximum(x, 0), last: bool = False) -> np.ndarray:
    """A perceptron of one seed (and member) at `[B, in]`."""
    for place, layer in enumerate(net.layers):
        weight, bias = numbers(layer.weight), numbers(layer.bias)
        x = x @ (weight if member is None else weight[member]) + (bias if member is None else bias[member])
        if place + 1 < len(net.layers) or last:
            if net.layer_norm:
                x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
            x = activation(x)
    return x


def critics(net, *inputs: np.ndarray) -> np.ndarray:
    """`[E, B]`."""
    count = net.net.layers[0].weight.shape[1]
    return np.stack([forward(net.net, np.concatenate(inputs, -1), member)[:, 0] for member in range(count)])


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape and np.ptp(wanted) > 0
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


def values_of_actions(net, x: np.ndarray, duelling: bool) -> np.ndarray:
    hidden = forward(net.trunk, x, last=True)
    advantage = hidden @ numbers(net.advantage.weight) + numbers(net.advantage.bias)
    if not duelling:
        return advantage
    return hidden @ numbers(net.value.weight) + numbers(net.value.bias) + advantage - advantage.mean(1, keepdims=True)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("duelling", [True, False])
@pytest.mark.parametrize("n_step", [1, 3])
def test_dqn(double: bool, duelling: bool, n_step: int):
    learner = learner_of("dqn", "gym:CartPole-v1", learning_starts=40, target_every=7, double=double, duelling=duelling, n_step=n_step, gamma=0.9)
    loss, batch = losses_of(learner)
    trained, target = (values_of_actions(net, batch["next_observation"], duelling) for net in (learner.nets["q"], learner.targets["q"]))
    following = target[np.arange(16), (trained if double else target).argmax(1)]
    store = learner.stores["replay"]
    reward, index = store.gather(torch.arange(store.size).expand(2, -1)), batch["index"]
    steps = np.ones(16, int)
    y = np.zeros(16)
    for row in range(16):  # rewards of up to n steps, until the episode ends or nothing newer is there
        for ahead in range(n_step):
            place = index[row] + ahead
            if place >= store.size:
                break
            y[row] += 0.9**ahead * reward.reward[SEED, place].item()
            steps[row] = ahead + 1
            if reward.terminated[SEED, place] or reward.truncated[SEED, place]:
                break
        last = index[row] + steps[row] - 1
        assert np.allclose(batch["next_observation"][row], reward.next_observation[SEED, last])
        if not reward.terminated[SEED, last]:
            y[row] += 0.9 ** steps[row] * following[row]
    error = y - values_of_actions(learner.nets["q"], batch["observation"], duelling)[np.arange(16), batch["action"]]
    close(loss["critic"], np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5))


FAMILY = {"learning_starts": 40, "target_every": 7, "gamma": 0.9}


def outputs_of_actions(net, x: np.ndarray, fractions: np.ndarray | None = None) -> np.ndarray:
    """What a net says of each action, `[B, A, K]`; of implicit quantiles at `fractions [B, K]`."""
    hidden = forward(net.trunk, x, last=True)
    if fractions is not None:
        cosines = np.cos(np.pi * np.arange(1, 65) * fractions[..., None])
        hidden = hidden[:, None] * np.maximum(cosines @ numbers(net.embedding.weight) + numbers(net.embedding.bias), 0)  # [B, K, H]
        hidden = forward(net.behind, hidden, last=True)
    found = hidden @ numbers(net.advantage.weight) + numbers(net.advantage.bias)
    found = found.swapaxes(1, 2) if fractions is not None else found.reshape(len(x), 2, -1)
    if net.value is None:
        return found
    value = hidden @ numbers(net.value.weight) + numbers(net.value.bias)
    return (value.swapaxes(1, 2) if fractions is not None else value[:, None]) + found - found.mean(1, keepdims=True)


def pinball(quantiles: np.ndarray, targets: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Quantile regression `[B]` of `[B, K]` onto `[B, L]`, with Huber's loss of delta 1."""
    error = targets[:, None, :] - quantiles[:, :, None]
    huber = np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5)
    return (np.abs(fractions[..., None] - (error < 0)) * huber).mean(-1).sum(-1)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("duelling", [True, False])
def test_qr_dqn(double: bool, duelling: bool):
    learner = learner_of("qr-dqn", "gym:CartPole-v1", double=double, duelling=duelling, quantiles=4, **FAMILY)
    loss, batch = losses_of(learner)
    q, target = learner.nets["q"], learner.targets["q"]
    following = outputs_of_actions(target, batch["next_observation"])
    best = (outputs_of_actions(q, batch["next_observation"]) if double else following).mean(-1).argmax(1)
    y = batch["reward"][:, None] + 0.9 * (1 - batch["terminated"])[:, None] * following[np.arange(16), best]
    close(loss["critic"], pinball(outputs_of_actions(q, batch["observation"])[np.arange(16), batch["action"]], y, (np.arange(4) + 0.5) / 4))


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("duelling", [True, False])
def test_iqn(double: bool, duelling: bool):
    """With the fractions that the loss drew: what chooses draws its own, for all transitions of a seed."""
    learner = learner_of("iqn", "gym:CartPole-v1", double=double, duelling=duelling, fractions=3, target_fractions=5, policy_fractions=7, **FAMILY)
    loss, batch = losses_of(learner)
    drawn = {"q/fractions": (1, 7), "target fractions": (16, 5), "fractions": (16, 3)}
    chooses, fractions_of_target, fractions = (numbers(learner.streams.uniform(name, *shape)) for name, shape in drawn.items())
    q, target = learner.nets["q"], learner.targets["q"]
    best = outputs_of_actions(q if double else target, batch["next_observation"], chooses).mean(-1).argmax(1)
    following = outputs_of_actions(target, batch["next_observation"], fractions_of_target)[np.arange(16), best]
    y = batch["reward"][:, None] + 0.9 * (1 - batch["terminated"])[:, None] * following
    close(loss["critic"], pinball(outputs_of_actions(q, batch["observation"], fractions)[np.arange(16), batch["action"]], y, fractions))


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def shared(p: np.ndarray, z: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Atoms z `[B, L]` with masses p, each shared by its two neighbours, `[B, K]`."""
    z = z.clip(atoms[0], atoms[-1])
    return (p[..., None] * np.maximum(0, 1 - np.abs(z[..., None] - atoms) / (atoms[1] - atoms[0]))).sum(1)


@pytest.mark.parametrize(
    ("method", "hyper"),
    [
        ("c51", {}),
        ("c51", {"double": False, "duelling": True}),
        ("rainbow", {"n_step": 1, "prioritized": False}),
        ("hl-gauss", {"target": "hl-gauss"}),
        ("hl-gauss", {"target": "two-hot", "double": False}),
    ],
)
def test_histograms_of_returns(method: str, hyper: dict):
    """The range ends within what is bootstrapped, so that some mass is cut off. Noisy layers are looked at by their means."""
    learner = learner_of(method, "gym:CartPole-v1", v_min=-3.0, v_max=1.5, bins=7, **FAMILY, **hyper)
    learner.nets.eval(), learner.targets.eval()
    loss, batch = losses_of(learner)
    q, target = learner.nets["q"], learner.targets["q"]
    edges, atoms = np.linspace(-3, 1.5, 8), np.linspace(-3, 1.5, 7)
    centres = (edges[1:] + edges[:-1]) / 2 if hyper.get("target") == "hl-gauss" else atoms
    following = softmax(outputs_of_actions(target, batch["next_observation"]))
    chooses = softmax(outputs_of_actions(q, batch["next_observation"])) if hyper.get("double", True) else following
    following = following[np.arange(16), (chooses * centres).sum(-1).argmax(1)]
    goes_on = 0.9 * (1 - batch["terminated"])[:, None]
    if method != "hl-gauss":
        wanted = shared(following, batch["reward"][:, None] + goes_on * centres, atoms)
    else:
        y = batch["reward"] + goes_on[:, 0] * (following * centres).sum(-1)
        below = np.array([[math.erf((edge - min(max(one, -3), 1.5)) / (math.sqrt(2) * 0.75 * 4.5 / 7)) for edge in edges] for one in y])
        gauss = np.diff(below) / (below[:, -1:] - below[:, :1])
        wanted = gauss if hyper["target"] == "hl-gauss" else shared(np.ones((16, 1)), y[:, None], atoms)
    found = outputs_of_actions(q, batch["observation"])[np.arange(16), batch["action"]]
    close(loss["critic"], -(wanted * np.log(softmax(found))).sum(-1))


def test_td3():
    learner = learner_of("td3", "gym:Pendulum-v1", learning_starts=40, tau=0.2)
    loss, batch = losses_of(learner)
    noise = np.clip(0.2 * numbers(learner.streams.normal("target_action", 16, 1)), -0.5, 0.5)
    action = np.clip(np.tanh(forward(learner.targets["actor"].net, batch["next_observation"])) + noise, -1, 1)
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * critics(learner.targets["q"], batch["next_observation"], action).min(0)
    close(loss["critic"], ((critics(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    loss, batch = losses_of(learner, 1)
    action = np.tanh(forward(learner.nets["actor"].net, batch["observation"]))
    close(loss["actor"], -critics(learner.nets["q"], batch["observation"], action)[0])


def test_ddpg():
    learner = learner_of("ddpg", "gym:Pendulum-v1", learning_starts=40, tau=0.2)
    loss, batch = losses_of(learner)
    y = np.tanh(forward(learner.targets["actor"].net, batch["next_observation"]))
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * critics(learner.targets["q"], batch["next_observation"], y)[0]
    close(loss["critic"], (critics(learner.nets["q"], batch["observation"], batch["action"])[0] - y) ** 2)
    loss, batch = losses_of(learner, 1)
    action = np.tanh(forward(learner.nets["actor"].net, batch["observation"]))
    close(loss["actor"], -critics(learner.nets["q"], batch["observation"], action)[0])


def squashed(net, x: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An action of a Gaussian behind tanh in (-1, 1), and its log-density there."""
    mean, log_std = np.split(forward(net.net, x), 2, -1)
    log_std = np.clip(log_std, -20, 2)
    action = np.tanh(mean + np.exp(log_std) * noise)
    density = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)
    return action, density.sum(-1)


@pytest.fixture(scope="module")
def swings(tmp_path_factory) -> str:
    """A task of transitions of Pendulum-v1."""
    env, rng, rows = gymnasium.make("Pendulum-v1"), np.random.default_rng(0), []
    seen, _ = env.reset(seed=0)
    for step in range(100):
        action = rng.uniform(-2, 2, 1).astype(np.float32)
        following, reward, *_ = env.step(action)
        rows.append((seen, action, following, np.float32(reward), False, step % 50 == 49))
        seen = following
    observation, action, following, reward, over, cut = (np.array(column) for column in zip(*rows, strict=True))
    said = {"environment": "Pendulum-v1", "reward": "environment", "action_low": [-2.0], "action_high": [2.0]}
    return f"data:{save_npz(Dataset(observation, action, following, reward, over, cut, said), tmp_path_factory.mktemp('swings') / 'swings.npz')}"


@pytest.mark.parametrize("entropy_backup", [True, False])
def test_rlpd(swings: str, entropy_backup: bool):
    learner = learner_of(
        "rlpd", swings, critics=4, target_critics=2, critic_updates=3, learning_starts=40, tau=0.2, initial_alpha=0.3, entropy_backup=entropy_backup
    )
    loss, batch = losses_of(learner)
    alpha = np.exp(numbers(learner.scalars["log_alpha"])[0])
    noise = numbers(learner.nets["actor"].distribution.noise(learner.streams, "next_action", 16))
    action, log_prob = squashed(learner.nets["actor"], batch["next_observation"], noise)
    chosen = numbers(learner.streams.permutations("target_critics", 4))[:2]
    following = critics(learner.targets["q"], batch["next_observation"], action)[chosen].min(0) - entropy_backup * alpha * log_prob
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * following
    close(loss["critic"], ((critics(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    loss, batch = losses_of(learner, 1)
    noise = numbers(learner.nets["actor"].distribution.noise(learner.streams, "policy_action", 16))
    action, log_prob = squashed(learner.nets["actor"], batch["observation"], noise)
    close(loss["actor"], alpha * log_prob - critics(learner.nets["q"], batch["observation"], action).mean(0))
    close(loss["temperature"], -np.log(alpha) * (log_prob - 0.5))


def test_arsq(swings: str):
    """Zooming in on one number twice, three bins at a time; the second half of a batch is from the data."""
    learner = learner_of("arsq", swings, bins=3, learning_starts=40, tau=0.2, alpha=0.3, margin=-0.2, margin_coefficient=0.7)
    loss, batch = losses_of(learner)
    q, target, rows = learner.nets["q"], learner.targets["q"], np.arange(16)
    following = [forward(target.state_value, batch["next_observation"], net, np.tanh)[:, 0] for net in (0, 1)]
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * np.minimum(*following)
    critic, margin = np.zeros(16), np.zeros(16)
    for net in (0, 1):
        total = forward(q.state_value, batch["observation"], net, np.tanh)[:, 0]
        low, width = np.full(16, -1.0), 2.0
        for level in (0, 1):
            told = np.concatenate([batch["observation"], (low + width / 2)[:, None]], -1)
            scores = forward(q.advantage, told, net, np.tanh)[:, 3 * level : 3 * level + 3]
            advantage = scores - 0.3 * np.log(np.exp(scores / 0.3).sum(-1, keepdims=True))
            width = width / 3
            bin = np.clip(np.floor((batch["action"][:, 0] - low) / width), 0, 2).astype(int)
            low, shown = low + bin * width, advantage[rows, bin]
            total = total + shown
            margin += np.maximum(advantage - shown[:, None], -0.2).sum(-1)
        critic += 0.5 * (total - y) ** 2
    close(loss["critic"], critic)
    assert not loss["margin"][:8].any()
    close(loss["margin"][8:], 2 * 0.7 * margin[8:])
    store = learner.stores["data"].gather(torch.arange(100).unsqueeze(0))
    assert np.allclose(store.observation[0, batch["index"][8:]], batch["observation"][8:])


def test_mbpo():
    learner = learner_of(
        "mbpo", "gym:Pendulum-v1", learning_starts=40, tau=0.2, models=3, model_batch=5, model_hidden=(7, 6), model_warmup=20, rollout_every=10, rollouts=8,
        updates_per_step=2.0, initial_alpha=0.3,
    )  # fmt: skip
    model, phase = learner.nets["model"], learner._phases[0]
    batch = phase.drawer.draw()
    loss = learner.losses(phase.phase, Update(learner, batch, phase.drawer))
    here, there, action, reward = (numbers(x) for x in (batch.observation, batch.next_observation, batch.action, batch.reward))
    wanted = np.concatenate([there - here, reward[:, None]], -1)
    model_loss, over = [], []
    for member in range(3):  # each on rows of its own
        own = slice(5 * member, 5 * member + 5)
        out = forward(model.net, np.concatenate([here[own], action[own]], -1), member, activation=lambda x: x / (1 + np.exp(-x)))
        mean, log_std, logit = out[:, :4], out[:, 4:8], out[:, 8]
        log_std = 0.5 - np.logaddexp(0, 0.5 - log_std)
        log_std = -5 + np.logaddexp(0, log_std + 5)
        model_loss.append(-gaussian(wanted[own], mean, log_std))
        over.append(np.logaddexp(0, logit))  # nothing ends here
    close(numbers(loss["model"]), np.concatenate(model_loss))
    close(numbers(loss["termination"]), np.concatenate(over))
    loss, batch = losses_of(learner, 1)
    imagined = learner.stores["imagined"].gather(torch.arange(learner.stores["imagined"].size).expand(2, -1))
    assert np.array_equal(batch["reward"][1:], numbers(imagined.reward)[batch["index"][1:]].astype(np.float64))  # one of 16 was replayed
    alpha, actor = np.exp(numbers(learner.scalars["log_alpha"])[0]), learner.nets["actor"]
    noise = [numbers(actor.distribution.noise(learner.streams, name, 16)) for name in ("next_action", "policy_action")]
    action, log_prob = squashed(actor, batch["next_observation"], noise[0])
    following = critics(learner.targets["q"], batch["next_observation"], action).min(0) - alpha * log_prob
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * following
    close(loss["critic"], ((critics(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    action, log_prob = squashed(actor, batch["observation"], noise[1])
    close(loss["actor"], alpha * log_prob - critics(learner.nets["q"], batch["observation"], action).min(0))
    close(loss["temperature"], -np.log(alpha) * (log_prob - 1))


def gaussian(action: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    return (-0.5 * ((action - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)


@pytest.mark.parametrize("weight", ["dual", "residual"])
def test_odice(swings: str, weight: str):
    """The policy's weight is the mean of both networks', as the authors' code has it."""
    learner = learner_of("odice", swings, steps=120, tau=0.2, weight=weight, balance=0.7, max_weight=1.5)
    dual = lambda x: x * np.maximum(x / 2 + 1, 0) - (np.maximum(x / 2 + 1, 0) - 1) ** 2  # noqa: E731
    loss, batch = losses_of(learner, 1)
    here, there = batch["observation"], batch["next_observation"]
    gamma = 0.99 * (1 - batch["terminated"])
    value, target = learner.nets["v"], learner.targets["v"]
    forward_residual = batch["reward"] + gamma * critics(target, there).min(0) - critics(value, here)
    close(loss["values"], 0.3 * critics(value, here).mean(0))
    close(loss["forward"], 0.7 * dual(forward_residual).mean(0))
    close(loss["backward"], 0.7 * dual(batch["reward"] + gamma * critics(value, there) - critics(target, here).min(0)).mean(0))
    with torch.no_grad():  # where residuals are of both signs
        value.net.layers[-1].bias += target.net.layers[-1].bias + torch.tensor([-9.0, -5.0]).view(1, 2, 1, 1)
    loss, batch = losses_of(learner, 0)
    residual = batch["reward"] + 0.99 * (1 - batch["terminated"]) * critics(target, batch["next_observation"]).min(0) - critics(value, batch["observation"])
    each = np.clip(residual / 2 + 1 if weight == "dual" else residual, 0, 1.5)
    assert (each[0] != each[1]).any()
    actor = learner.nets["actor"]
    mean = 2 * np.tanh(forward(actor.net, batch["observation"]))
    close(loss["actor"], -each.mean(0) * gaussian(batch["action"], mean, np.clip(numbers(actor.log_std), -5, 2)))


def test_hiql(strolls: str):
    learner = learner_of("hiql", strolls, steps=100, tau=0.1, expectile=0.8, subgoal_steps=7, representation=3, low_beta=2.0, high_beta=4.0)
    loss, batch = losses_of(learner)
    value, target, actor = learner.nets["value"], learner.targets["value"], learner.nets["actor"]
    parts = value.parts

    def represent(net, rows: np.ndarray) -> np.ndarray:
        x = forward(net.represents, rows)
        return x / np.linalg.norm(x, axis=-1, keepdims=True) * np.sqrt(3)

    def v(net, rows: np.ndarray) -> np.ndarray:
        x = np.concatenate([rows[:, parts.state], represent(net, rows)], -1)
        return np.stack([forward(net.values, x, member)[:, 0] for member in range(2)])

    def towards(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        rows = np.empty_like(batch["observation"])
        rows[:, parts.state], rows[:, parts.goal] = state, goal
        return rows

    state, next_state = (batch[name][:, parts.state] for name in ("observation", "next_observation"))
    following = v(target, batch["next_observation"])
    discount = 0.99 * (1 - batch["terminated"])
    advantage = batch["reward"] + discount * following.min(0) - v(target, batch["observation"]).mean(0)
    error = batch["reward"] + discount * following - v(value, batch["observation"])
    close(loss["value"], (np.where(advantage >= 0, 0.8, 0.2) * error**2).sum(0))
    near, way, far = (towards(state, batch[name]) for name in ("subgoal", "way", "goal"))
    low = v(value, towards(next_state, batch["subgoal"])).mean(0) - v(value, near).mean(0)
    high = v(value, towards(batch["way"], batch["goal"])).mean(0) - v(value, far).mean(0)
    wanted, proposed = represent(value, way), forward(actor.high, far)
    close(loss["high"], -np.minimum(np.exp(4 * high), 100) * gaussian(wanted, proposed, np.zeros(3)))
    mean = np.tanh(forward(actor.low.net, np.concatenate([state, represent(value, near)], -1)))
    close(loss["low"], -np.minimum(np.exp(2 * low), 100) * gaussian(batch["action"], mean, np.clip(numbers(actor.low.log_std), -5, 2)))


@pytest.mark.parametrize("method", ["redq", "droq"])
def test_ensembles_of_critics(method: str):
    """Without dropout, whose layers are tested by themselves, DroQ is REDQ of two normalised critics."""
    count = {"redq": 4, "droq": 2}[method]
    hyper = {"droq": {"dropout": 0.0}}.get(method, {})
    learner = learner_of(method, "gym:Pendulum-v1", critics=count, critic_updates=3, learning_starts=40, tau=0.2, initial_alpha=0.3, **hyper)
    loss, batch = losses_of(learner)
    alpha = np.exp(numbers(learner.scalars["log_alpha"])[0])
    noise = numbers(learner.nets["actor"].distribution.noise(learner.streams, "next_action", 16))
    action, log_prob = squashed(learner.nets["actor"], batch["next_observation"], noise)
    chosen = numbers(learner.streams.permutations("target_critics", 4))[:2] if method == "redq" else [0, 1]
    following = critics(learner.targets["q"], batch["next_observation"], action)[chosen].min(0) - alpha * log_prob
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * following
    close(loss["critic"], ((critics(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    loss, batch = losses_of(learner, 1)
    noise = numbers(learner.nets["actor"].distribution.noise(learner.streams, "policy_action", 16))
    action, log_prob = squashed(learner.nets["actor"], batch["observation"], noise)
    close(loss["actor"], alpha * log_prob - critics(learner.nets["q"], batch["observation"], action).mean(0))
    close(loss["temperature"], -np.log(alpha) * (log_prob - 1))


def normed(net: MLP, x: np.ndarray, member: int | None = None, batch: bool = False) -> np.ndarray:
    """A perceptron with batch norms: by the batch, or by running statistics."""

    def norm(layer, x):
        kept = {name: numbers(value) for name, value in layer.state_dict().items() if name != "batches"}
        own = kept if member is None else {name: value[member] for name, value in kept.items()}
        mean, variance = (x.mean(0), x.var(0)) if batch else (own["mean"], own["variance"])
        return (x - mean) / np.sqrt(variance + 1e-3) * own["weight"] + own["bias"]

    x = norm(net.batch_norms[0], x)
    for place, layer in enumerate(net.layers):
        weight, bias = numbers(layer.weight), numbers(layer.bias)
        x = x @ (weight if member is None else weight[member]) + (bias if member is None else bias[member])
        if place + 1 < len(net.layers):
            x = norm(net.batch_norms[place + 1], np.maximum(x, 0))
    return x


def test_crossq():
    """The critics go by a batch of both halves, the actor in their target and the critics that it climbs by running statistics."""
    learner = learner_of("crossq", "gym:Pendulum-v1", learning_starts=40, critic_hidden=(7, 6), initial_alpha=0.3, updates_per_step=2.0)
    assert not learner.targets and learner.nets["q"].net.batch_norms[0].batches[SEED].item() == learner.updates
    state = {name: value.clone() for name, value in learner.nets.state_dict().items()}
    loss, batch = losses_of(learner)
    actor, q = learner.nets["actor"], learner.nets["q"].net
    alpha = np.exp(numbers(learner.scalars["log_alpha"])[0])

    def drawn(name: str, seen: np.ndarray, by_batch: bool) -> tuple[np.ndarray, np.ndarray]:
        noise = numbers(actor.distribution.noise(learner.streams, name, 16))
        mean, log_std = np.split(normed(actor.net, seen, batch=by_batch), 2, -1)
        log_std = np.clip(log_std, -20, 2)
        action = np.tanh(mean + np.exp(log_std) * noise)
        return action, (-0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)).sum(-1)

    action, log_prob = drawn("next_action", batch["next_observation"], False)
    here, there = np.concatenate([batch["observation"], batch["action"]], -1), np.concatenate([batch["next_observation"], action], -1)
    both = np.stack([normed(q, np.concatenate([here, there]), member, batch=True)[:, 0] for member in range(2)])
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * (both[:, 16:].min(0) - alpha * log_prob)
    close(loss["critic"], ((both[:, :16] - y) ** 2).sum(0))
    learner.nets.load_state_dict(state)
    loss, batch = losses_of(learner, 1)
    learner.nets.load_state_dict(state)
    action, log_prob = drawn("policy_action", batch["observation"], True)
    climbed = np.stack([normed(q, np.concatenate([batch["observation"], action], -1), member)[:, 0] for member in range(2)])
    close(loss["actor"], alpha * log_prob - climbed.min(0))
    close(loss["temperature"], -np.log(alpha) * (log_prob - 1))


def test_target_networks_take_in_statistics_of_batches():
    spine = get_method("sac-v2").build(configure("sac-v2", {"hidden": (6, 5), "batch_size": 16, "learning_starts": 40, "tau": 0.2}))
    spine = replace(spine, nets={**spine.nets, "q": CriticNet(hidden=(6, 5), batch_norm=True)}, updates_per_iteration=41)
    learner = spine.learner(make_world("gym:Pendulum-v1"), [3, 4], 1_000, torch.device("cpu"))
    learner.iterate()  # one update
    for target, trained in zip(batch_norms(learner.targets["q"]), batch_norms(learner.nets["q"]), strict=True):
        assert trained.batches.eq(1).all() and not trained.by_batch
        torch.testing.assert_close(target.mean, 0.2 * trained.mean)
        torch.testing.assert_close(target.variance, 0.8 + 0.2 * trained.variance)


def test_simba():
    """On normalised observations, its log standard deviations through tanh; the temperature's draws are its own."""
    learner = learner_of("simba", "gym:Pendulum-v1", learning_starts=40, hidden=(6,), critic_hidden=(5, 5), tau=0.2, initial_alpha=0.3)
    actor, alpha = learner.nets["actor"], np.exp(numbers(learner.scalars["log_alpha"])[0])

    def residual(net, x: np.ndarray, member: int | None = None) -> np.ndarray:
        own = lambda p: numbers(p) if member is None else numbers(p)[member]  # noqa: E731
        affine = lambda layer, x: x @ own(layer.weight) + own(layer.bias)  # noqa: E731
        norm = lambda layer, x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * own(layer.weight) + own(layer.bias)  # noqa: E731
        x = affine(net.first, x)
        for place, block in enumerate(net.blocks):
            x = x + affine(block.layers[1], np.maximum(affine(block.layers[0], norm(net.norms[place], x)), 0))
        return affine(net.last, norm(net.norms[-1], x))

    def values(net, *inputs: np.ndarray) -> np.ndarray:
        return np.stack([residual(net.net, np.concatenate(inputs, -1), member)[:, 0] for member in range(2)])

    def drawn(name: str, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        noise = numbers(actor.distribution.noise(learner.streams, name, 16))
        mean, log_std = np.split(residual(actor.net, seen), 2, -1)
        log_std = -10 + 6 * (1 + np.tanh(log_std))
        action = np.tanh(mean + np.exp(log_std) * noise)
        return action, (-0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)).sum(-1)

    loss, batch = losses_of(learner, 2)
    assert np.abs(batch["observation"] - numbers(learner.stores["replay"].gather(learner.drawer.draw().index).observation)).max() > 0.1
    action, log_prob = drawn("next_action", batch["next_observation"])
    y = batch["reward"] + 0.99 * (values(learner.targets["q"], batch["next_observation"], action).min(0) - alpha * log_prob)
    close(loss["critic"], ((values(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    loss, batch = losses_of(learner, 0)
    action, log_prob = drawn("policy_action", batch["observation"])
    close(loss["actor"], alpha * log_prob - values(learner.nets["q"], batch["observation"], action).min(0))
    loss, batch = losses_of(learner, 1)
    close(loss["temperature"], -np.log(alpha) * (drawn("temperature_action", batch["observation"])[1] - 0.5))


@pytest.mark.parametrize("masked", [False, True])
def test_sac_discrete(masked: bool):
    """Sums over what is allowed; of a mask the target entropy is a share of the logarithm of what it allows."""
    world = GymWorld(Picks) if masked else make_world("gym:CartPole-v1")
    spine = get_method("sac-discrete").build(
        configure(
            "sac-discrete",
            {"hidden": (6, 5), "batch_size": 16, "learning_rate": 1e-2, "learning_starts": 40, "tau": 0.2, "entropy_share": 0.6, "initial_alpha": 0.3},
        )
    )
    learner = spine.learner(world, [3, 4], 1_000, torch.device("cpu"))
    while learner.step < 80:
        learner.iterate()
    loss, batch = losses_of(learner)
    alpha = np.exp(numbers(learner.scalars["log_alpha"])[0])
    mask = learner.policy.observation.slices.get("action_mask")
    inputs = learner.policy.observation.size - (0 if mask is None else mask.stop - mask.start)

    def both(nets, x: np.ndarray) -> np.ndarray:
        seen = np.delete(x, np.arange(x.shape[1])[mask], 1) if mask is not None else x
        assert seen.shape[1] == inputs
        trunk = lambda net: net.trunk.net if mask is not None else net.trunk  # noqa: E731
        heads = [(trunk(nets[name]), nets[name].advantage) for name in ("q1", "q2")]
        return np.stack([forward(net, seen, last=True) @ numbers(head.weight) + numbers(head.bias) for net, head in heads])

    def probabilities(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(probabilities, their logarithms with 0 where they are 0, and which are allowed)"""
        seen = np.delete(x, np.arange(x.shape[1])[mask], 1) if mask is not None else x
        net = learner.nets["actor"].net
        logits = forward(net.net if mask is not None else net, seen)
        allowed = x[:, mask] > 0.5 if mask is not None else np.ones_like(logits, bool)
        p = np.exp(logits) * allowed
        p = p / p.sum(-1, keepdims=True)
        return p, np.log(np.where(allowed, p, 1)), allowed

    p, log_p, _ = probabilities(batch["next_observation"])
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * (p * (both(learner.targets, batch["next_observation"]).min(0) - alpha * log_p)).sum(-1)
    q = both(learner.nets, batch["observation"])
    close(loss["critic"], ((q[:, np.arange(16), batch["action"]] - y) ** 2).sum(0))
    p, log_p, allowed = probabilities(batch["observation"])
    close(loss["actor"], (p * (alpha * log_p - q.min(0))).sum(-1))
    close(loss["temperature"], -np.log(alpha) * ((p * log_p).sum(-1) + 0.6 * np.log(allowed.sum(-1))))


@pytest.mark.parametrize("climbs", ["best", "all"])
def test_pmoe(climbs: str):
    """Every expert draws at every state; the router regresses onto the best one, of whose action the entropy is."""
    learner = learner_of("pmoe", "gym:Pendulum-v1", learning_starts=40, tau=0.2, initial_alpha=0.3, experts=3, climbs=climbs)
    loss, batch = losses_of(learner)
    actor, alpha = learner.nets["actor"], np.exp(numbers(learner.scalars["log_alpha"])[0])

    def drawn(name: str, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(actions `[B, K]` of one number, their log-probabilities, weights, who acts `[B]`)"""
        noise = numbers(actor.distribution.noise(learner.streams, name, 16))
        logits = seen @ numbers(actor.net.router.weight) + numbers(actor.net.router.bias)
        mean, log_std = np.split(forward(actor.net.experts, seen), 2, -1)
        action = np.tanh(mean + np.exp(log_std) * noise[:, 3:])
        log_prob = -0.5 * noise[:, 3:] ** 2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)
        return action, log_prob, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), (logits + noise[:, :3]).argmax(-1)

    rows = np.arange(16)
    action, log_prob, _, acts = drawn("next_action", batch["next_observation"])
    following = critics(learner.targets["q"], batch["next_observation"], action[rows, acts][:, None]).min(0) - alpha * log_prob[rows, acts]
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * following
    close(loss["critic"], ((critics(learner.nets["q"], batch["observation"], batch["action"]) - y) ** 2).sum(0))
    action, log_prob, weight, _ = drawn("policy_action", batch["observation"])
    value = np.stack([critics(learner.nets["q"], batch["observation"], action[:, [place]]).min(0) for place in range(3)], -1)
    best = value.argmax(-1)
    assert len(set(best)) > 1
    climbed = alpha * log_prob - value
    close(loss["actor"], climbed.sum(-1) if climbs == "all" else climbed[rows, best])
    close(loss["router"], ((weight - np.eye(3)[best]) ** 2).sum(-1))
    close(loss["temperature"], -np.log(alpha) * (log_prob[rows, best] - 1))


@pytest.mark.parametrize("baseline", [True, False])
def test_mex(baseline: bool):
    """TD3's errors, minus what the critics are raised by: with the baseline each critic beside its own values of other actions."""
    learner = learner_of("mex", "gym:Pendulum-v1", learning_starts=40, tau=0.2, eta=0.3, baseline=baseline)
    loss, batch = losses_of(learner)
    noise = np.clip(0.2 * numbers(learner.streams.normal("target_action", 16, 1)), -0.5, 0.5)
    action = np.clip(np.tanh(forward(learner.targets["actor"].net, batch["next_observation"])) + noise, -1, 1)
    y = batch["reward"] + 0.99 * (1 - batch["terminated"]) * critics(learner.targets["q"], batch["next_observation"], action).min(0)
    q, actor = learner.nets["q"], learner.nets["actor"]
    taken = critics(q, batch["observation"], batch["action"])
    close(loss["critic"], ((taken - y) ** 2).sum(0))
    here, there = (np.tanh(forward(actor.net, batch[name])) for name in ("observation", "next_observation"))
    anywhere = numbers(actor.distribution.uniform(learner.streams, "random_action", 16))
    own, following, drawn = (critics(q, batch["observation"], each) for each in (here, there, anywhere))
    raised = own - np.log(np.exp(taken) + np.exp(following) + np.exp(drawn)) if baseline else taken
    close(loss["optimism"], -0.3 * raised.sum(0))
