"""A gradient that is not finite changes no weight, and ends the run with its step and seed named."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import operant
from operant.core.errors import RunFailed
from operant.core.flat import Adam, FlatParameters
from operant.core.registry import configure, get_method
from operant.loops.terms import ClippedRatio
from operant.worlds import make_world

SAID = r"the gradient is not finite: its norm was (nan|inf) at step (\d+), update (\d+) of the iteration(?: in phase \S+)?, seed (\d+)"


def test_adam_stands_still_where_a_norm_is_not_finite():
    module = torch.nn.Linear(3, 1, bias=False)
    flat = FlatParameters(module, stacked=False)
    adam = Adam([flat], learning_rate=0.1)
    for norm, moves in ((1.0, True), (float("nan"), False), (float("inf"), False), (1.0, True)):
        before = flat.data.detach().clone(), *(x.clone() for x in (*adam._means, *adam._squares, *adam._steps))
        flat.grad.copy_(torch.tensor([1.0, -2.0, float("nan") if norm != 1 else 3.0]))
        adam.step(torch.tensor([1.0, norm]))
        after = flat.data.detach(), *adam._means, *adam._squares, *adam._steps
        assert all(torch.equal(x, y) != moves for x, y in zip(before, after, strict=True))
        assert torch.isfinite(flat.data).all()
    assert adam._steps[0].item() == 2


@dataclass(frozen=True)
class Overflows(ClippedRatio):
    """The clipped surrogate, in which the second seed's first step has a ratio of infinity and a positive advantage from iteration 3 on.

    Its loss is finite, that of the clip; its gradient is 0 times infinity.
    """

    def __call__(self, batch):
        far = torch.zeros_like(batch.old_log_prob)
        far[1, 0, 0] = -1e4 if batch.iteration >= 3 else 0.0
        return super().__call__(batch | {"old_log_prob": batch.old_log_prob + far, "advantage": batch.advantage.where(far == 0, 1.0)})


SMALL = {"minibatches": 2, "prompts": 2, "group_size": 8}


def test_an_overflowing_ratio_does_not_reach_the_weights(tmp_path: Path):
    spine = replace(get_method("grpo").build(configure("grpo", SMALL)), terms=[Overflows()])
    learner = spine.learner(make_world("sequences:target"), [3, 4], 100, torch.device("cpu"))
    learner.failures = tmp_path
    for _ in range(3):
        learner.iterate()
    flat, means = learner.updater.flat, learner.updater.optimizer._means
    before = flat.data.detach().clone(), [x.clone() for x in means]
    with pytest.raises(RunFailed) as told:
        learner.iterate()
    found = re.match(SAID, str(told.value))
    assert found and found[3] == "1" and found[4] == "4" and "try a lower --learning-rate" in str(told.value) and "\n" not in str(told.value)
    assert torch.equal(flat.data, before[0]) and all(torch.equal(x, y) for x, y in zip(means, before[1], strict=True))
    batch = load_file(re.search(r"its batch is in (\S+);", str(told.value))[1])
    assert torch.isfinite(batch["advantage"]).all() and {"old_log_prob", "mask", "action"} <= batch.keys()


def test_a_run_keeps_its_checkpoint_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("operant.methods.rlvr.credit.grpo.ClippedRatio", Overflows)
    with pytest.raises(RunFailed, match="the gradient is not finite: its norm was nan at step 4, update 1 of the iteration, seed 1; its batch is in"):
        operant.train("grpo", "sequences:target", seeds=2, steps=10, every=1, threads=1, out=tmp_path / "run", **SMALL)
    last = (tmp_path / "run" / "checkpoints" / "last").resolve()
    assert last.name == "step-000000000003"
    assert all(torch.isfinite(x).all() for x in load_file(next(last.glob("*.safetensors"))).values() if x.is_floating_point())
    assert not (tmp_path / "run" / "result.json").exists()


def test_weights_that_overflow_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Loss and gradient of the update are finite, and its step is not: it is told at once, and no checkpoint, evaluation or policy is of such weights."""
    monkeypatch.setattr("operant.core.registry.LARGEST_FLOAT", float("inf"))  # so that one update is enough
    settings = {"learning_rate": 1e308, "prompts": 4, "group_size": 16, "threads": 1, "progress": False}
    with pytest.raises(RunFailed, match=r"^the weights are not finite: \S+ of seed [34] at step 1, after an update that overflowed; nothing of it") as told:
        operant.train("grpo", "sequences:target", seeds=2, seed=3, steps=2, out=tmp_path / "run", **settings)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run" / "policies").exists() and not list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert "NaN" not in (tmp_path / "run" / "evaluations.jsonl").read_text()


def steep(x: torch.Tensor) -> torch.Tensor:
    """0, with an infinite slope that times 0 is NaN."""
    return (x * 0).abs().sqrt()


@pytest.mark.usefixtures("use_small_cache")
@pytest.mark.parametrize(("key", "task"), [("sac-v2", "gym:Pendulum-v1"), ("bc", "ogbench:pointmaze-medium-navigate-singletask-v0")])
def test_the_other_loops_look_too(key: str, task: str):
    small = {"hidden": (8,), "learning_starts": 8, "batch_size": 8, "capacity": 100}
    spine = get_method(key).build(configure(key, {name: value for name, value in small.items() if hasattr(configure(key, {}), name)}))
    if key == "bc":
        spine = replace(spine, terms=[lambda batch: steep(batch.log_prob)], updates_per_iteration=3)
    else:

        def steeper(losses):
            return lambda update: {name: loss + steep(loss) for name, loss in losses(update).items()}

        spine = replace(spine, phases=[replace(phase, losses=steeper(phase.losses)) for phase in spine.phases], updates_per_iteration=12)
    learner = spine.learner(make_world(task), [5, 6], 100, torch.device("cpu"))
    before = {name: x.clone() for name, x in learner.policy.state_dict().items()}
    with pytest.raises(RunFailed) as told:
        learner.iterate()
    assert (found := re.match(SAID, str(told.value))) and found[3] == "1" and found[4] == "5"
    for name, x in learner.policy.state_dict().items():
        assert torch.isfinite(x).all() and ("normalizer" in name or torch.equal(x, before[name])), name
