"""A loss of value learning is one number for each seed and transition; another shape stops the first update with its name, and so does whatever else a method
hands to its update."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import operant
from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.behaviour import Sampled
from operant.loops.draw import Uniform
from operant.loops.value_learning import Phase, Polyak, ValueLearner
from operant.nets.actors import ActionValueNet
from operant.worlds import make_world


@pytest.mark.parametrize("reduce", [lambda loss: loss.mean(), lambda loss: loss.mean(-1), lambda loss: loss.unsqueeze(-1)])
def test_a_loss_of_another_shape_is_named(reduce):
    hyper = {"hidden": (4,), "batch_size": 8, "learning_starts": 8}
    spine = get_method("sac-v2").build(configure("sac-v2", hyper))
    (phase,) = spine.phases
    losses = lambda update: {name: reduce(loss) if name == "critic" else loss for name, loss in phase.losses(update).items()}  # noqa: E731
    broken = replace(spine, phases=[replace(phase, losses=losses)])
    learner = broken.learner(make_world("gym:Pendulum-v1"), [0, 1], 20, torch.device("cpu"))
    with pytest.raises(BadInput, match=r"loss 'critic' has shape .*, \[2, 8\], and reduces nothing"):
        while learner.step < 20:
            learner.iterate()


def spine_of(**changes):
    return replace(get_method("sac-v2").build(configure("sac-v2", {"hidden": (4,)})), **changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: spine_of(acts=Sampled("actr")), "the net that acts, 'actr'; there are actor, q"),
        (lambda: spine_of(track={"qq": Polyak()}), "the net that is tracked, 'qq'; there are actor, q"),
        (lambda: spine_of(phases=[Phase(lambda update: {}, trains=("q", "critic"))]), "the net that a phase trains, 'critic'; there are actor, q, scalars"),
    ],
)
def test_a_net_that_is_not_there_is_told_before_a_run(make, words: str):
    with pytest.raises(BadInput, match=words):
        make()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda u: u.net("q3"), "net 'q3'; there are actor, q"),
        (lambda u: u.frozen("q3"), "net 'q3'; there are actor, q"),
        (lambda u: u.target("actor"), "net that is tracked 'actor'; there is q"),
        (lambda u: u.scalar("alpha"), "scalar 'alpha'; there is log_alpha"),
    ],
)
def test_what_a_loss_asks_for_and_is_not_there(ask, words: str):
    learner = spine_of(phases=[Phase(lambda update: {"x": ask(update)}, trains=("q",))]).learner(make_world("gym:Pendulum-v1"), [0], 2_000, torch.device("cpu"))
    with pytest.raises(BadInput, match=words):
        while learner.step < 2_000:
            learner.iterate()


def ensemble(u):
    """Targets of each critic, `[S, E, B]`: with as many critics as seeds, rewards would line up with the wrong ones."""
    return u.target("q")(u.batch.next_observation, u.batch.action)


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (lambda u: u.bellman(ensemble(u), gamma=0.9), r"u.bellman takes next values \[S, B\] = \[2, 2\], one a transition, found \[2, 2, 2\]; of an ensemble"),
        (lambda u: u.bellman(ensemble(u).transpose(1, 2), gamma=0.9), r"u.bellman takes next values"),
        (lambda u: u.bellman(ensemble(u)[0, 0], gamma=0.9), r"found \[2\]"),
        (lambda u: u.bellman(u.batch.reward, gamma=0.9, reward=u.batch.reward[0]), r"u.bellman takes rewards \[S, B\] = \[2, 2\], .* found \[2\]"),
        (lambda u: u.bellman_each(ensemble(u)[0], gamma=0.9), r"u.bellman_each takes .* \[S, B, K\] = \[2, 2, K\], K of each transition, found \[2, 2\]"),
        (lambda u: u.prioritize(ensemble(u)), r"u.prioritize takes priorities \[S, B\] = \[2, 2\]"),
        (lambda u: u.log("value", ensemble(u).mean()), r"u.log\('value'\) takes numbers of each of 2 seeds, \[S, …\], found \[\]"),
        (lambda u: u.log("value", 1.0), r"found a float"),
        (lambda u: [u.batch.reward], r"the losses of phase q are a list: a method gives them by name"),
        (lambda u: {}, r"the losses of phase q are a dict"),
        (lambda u: {"x": u.batch.reward}, r"no loss of phase q hangs on a weight"),
        (lambda u: {"x": 0.0}, r"loss 'x' has shape a float"),
    ],
)
def test_what_a_method_hands_to_its_update(give, words: str):
    """With two seeds, two critics and two transitions, where every shape would broadcast; the error names the line."""
    spine = spine_of(phases=[Phase(give, trains=("q",))], draw=Uniform(2))
    learner = spine.learner(make_world("gym:Pendulum-v1"), [0, 1], 2_000, torch.device("cpu"))
    with pytest.raises(BadInput, match=words + r".*\(.*test_value_losses.py, line \d+\)$"):
        while learner.step < 2_000:
            learner.iterate()


@pytest.mark.parametrize("axes", [(1, 2), (2, 1)])
def test_ops_do_not_line_up_axes_that_are_none(axes):
    """Two tensors of another number of axes are refused by every op of values and policies that combines them."""
    a, b = (torch.zeros([2] * count) for count in axes)
    combine = [
        lambda: ops.td_target(a, b, a > 0, gamma=0.9),
        lambda: ops.td_target(a, a, b > 0, gamma=0.9),
        lambda: ops.expectile_loss(a, expectile=0.7, side=b),
        lambda: ops.clipped_value_loss(a, b, a, clip=0.2),
        lambda: ops.soft_value(a.unsqueeze(0), b, 0.1, dim=0),
        lambda: ops.temperature_loss(a, b, -1.0),
        lambda: ops.policy_ratio(a, b),
        lambda: ops.clipped_ratio_loss(a, a, b, clip_low=0.2, clip_high=0.2),
        lambda: ops.clipped_importance_loss(a, a, b, clip_low=0.2, clip_high=0.2),
        lambda: ops.ratio_clip_fraction(a, a, b, clip_low=0.2, clip_high=0.2),
    ]
    for each in combine:
        with pytest.raises(ValueError, match="the same number of axes is wanted"):
            each()


def test_values_of_actions_that_are_no_choice():
    with pytest.raises(BadInput, match=r"net 'q' has a value for each of the actions, and an action here is no single choice"):
        make_world("gym:Pendulum-v1").policy(ActionValueNet(), Streams([0]))


def test_a_run_without_an_update_is_told(tmp_path):
    """Before it begins, and not where there is one."""
    told: list[str] = []
    settings = {"hidden": (4,), "batch_size": 4, "learning_starts": 50, "episodes": 1, "listener": lambda update: told.append(update.message)}
    run = operant.train("sac-v2", "gym:Pendulum-v1", steps=50, out=tmp_path / "run", **settings)
    assert [line for line in told if "nothing is learned" in line] == [
        "all 50 steps are random ones, of which there are 50 before the first update: nothing is learned; take more --steps"
    ]
    told.clear()
    operant.resume(run.path, steps=60, listener=lambda update: told.append(update.message))
    assert not any("nothing is learned" in line for line in told)
    short = {"steps": 50, "preset": "zoo", "hidden": (4,), "episodes": 1, "max_evaluation_steps": 5}
    operant.train("td3", "gym:Pendulum-v1", out=tmp_path / "preset", listener=lambda update: told.append(update.message), **short)
    assert any("nothing is learned" in line for line in told)
    late = spine_of(phases=[Phase(lambda update: {}, trains=("q",)), Phase(lambda update: {}, trains=("actor",), starts=100)])
    starts = late.online.learning_starts
    assert late.notes(starts + 200) == []
    assert late.notes(starts + 50) == [f"{starts + 50:,} steps give 50 updates, fewer than actor waits for: it is not trained; take more --steps"]


def test_what_changes_along_a_run_follows_its_budget(tmp_path, monkeypatch):
    """Under --seconds too: epsilon would stay at its first value if steps were counted, of which there is no end."""
    learner = get_method("dqn").build(configure("dqn", {"hidden": (4,)})).learner(make_world("gym:CartPole-v1"), [0], 1_000, torch.device("cpu"))
    learner.step = 250
    assert learner.progress == 0.25
    learner.limit, learner.seconds = ("seconds", 8.0), 6.0
    assert learner.progress == 0.75
    seen, iterate = [], ValueLearner.iterate
    monkeypatch.setattr(ValueLearner, "iterate", lambda self: (seen.append((self.limit, self.seconds, self.progress)), iterate(self))[1])
    operant.train("dqn", "gym:CartPole-v1", seconds=1.5, episodes=1, threads=1, hidden=(4,), learning_starts=50, progress=False, out=tmp_path / "run")
    assert {limit for limit, _, _ in seen} == {("seconds", 1.5)}
    assert len(seen) > 1 and all(progress == min(1.0, seconds / 1.5) for _, seconds, progress in seen) and seen[-1][1] > 0
