"""A loss of value learning is one number for each seed and transition; another shape stops the first update with its name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import operant
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.behaviour import Sampled
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
    with pytest.raises(RunFailed, match=r"loss 'critic' has shape .*, \[2, 8\], and reduces nothing"):
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


def test_values_of_actions_that_are_no_choice():
    with pytest.raises(BadInput, match=r"net 'q' has a value for each of the actions, and an action here is no single choice"):
        make_world("gym:Pendulum-v1").policy(ActionValueNet(), Streams([0]))


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
