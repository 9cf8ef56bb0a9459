"""A loss of value learning is one number for each seed and transition; another shape stops the first update with its name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from operant.core.errors import RunFailed
from operant.core.registry import configure, get_method
from operant.worlds import make_world


@pytest.mark.parametrize("reduce", [lambda loss: loss.mean(), lambda loss: loss.mean(-1), lambda loss: loss.unsqueeze(-1)])
def test_a_loss_of_another_shape_is_named(reduce):
    hyper = {"hidden": (4,), "batch_size": 8, "learning_starts": 8}
    spine = get_method("sac-v2").build(configure("sac-v2", hyper))
    broken = replace(spine, critic_loss=lambda step, target: {"critic": reduce(next(iter(spine.critic_loss(step, target).values())))})
    learner = broken.learner(make_world("gym:Pendulum-v1"), [0, 1], 20, torch.device("cpu"))
    with pytest.raises(RunFailed, match=r"loss 'critic' has shape .*, \[2, 8\], and reduces nothing"):
        while learner.step < 20:
            learner.iterate()
