"""Workers beside the trainer: the bits of one process, however many there are; how old their weights may be; and a worker that ends or hangs is told."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from learners import state_after

from operant.core.checkpoint import first_difference, join_state, split_state
from operant.core.errors import BadInput, RunFailed, WorkerLost
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.runs import train
from operant.loops.terms import IMPORTANCE, TermBatch, step_losses
from operant.nets.actors import ActorCriticNet
from operant.nets.memory import LSTM
from operant.worlds import workers
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.collect import Steps, row_seeds
from operant.worlds.gym.dealt import deal, join
from operant.worlds.gym.world import GymWorld

PLAN = Steps(environments=4, length=20, normalize_reward=True)


def pieces(seeds: Sequence[int], beside: SampleWorkers | None, task: str = "CartPole-v1", memory: LSTM | None = None, normalize: bool = True):
    world = GymWorld(task)
    streams = Streams(list(seeds))
    policy = world.policy(ActorCriticNet(hidden=(16,), normalize=normalize, memory=memory), streams)
    return policy, world.source(PLAN, streams, workers=beside), streams


def started(source) -> list:
    """The processes of its workers."""
    return [link.process for link in source._environments._workers.links]


def sampled(policy, source, version: int) -> dict[str, torch.Tensor]:
    """A rollout's numbers, and a change of the weights behind it."""
    rollout = source.sample(policy, version)
    found = {name: tensor.clone() for name, tensor in rollout.tensors().items()}
    found |= {"version": torch.tensor(rollout.version), "episodes": torch.tensor(source.episodes[0]).nan_to_num(-1)}
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.01)
    return found


@pytest.mark.parametrize(
    ("seeds", "task", "memory"), [([0], "CartPole-v1", LSTM(8)), ([0, 1, 2], "Pendulum-v1", None), ([0, 1, 2, 3], "CartPole-v1", None)]
)
def test_any_number_of_workers_gives_the_bits_of_one_process(seeds, task, memory):
    """Split by rows where there are fewer seeds than workers, else by seeds; from the second chunk on, workers must have heard of weights and normalisers."""
    policy, alone, _ = pieces(seeds, None, task, memory)
    expected = [sampled(policy, alone, version) for version in range(3)]
    for count in (1, 2, 4) if memory is not None else (2, 4):
        twin, together, _ = pieces(seeds, SampleWorkers(count), task, memory)
        try:
            for version in range(3):
                assert first_difference(expected[version], sampled(twin, together, version)) is None
        finally:
            together.close()


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_run_goes_on_with_another_number_of_workers_bit_for_bit(staleness: int):
    """What was collected ahead is in the state, and is learned from first."""
    policy, source, streams = pieces([0, 1], SampleWorkers(2, staleness), memory=LSTM(8))
    try:
        for version in range(2):
            sampled(policy, source, version)
        state = {"source": source.state_dict(), "streams": streams.state_dict(), "policy": dict(policy.state_dict())}
        state = copy.deepcopy(join_state(*split_state(state)))
        expected = [sampled(policy, source, version) for version in (2, 3, 4, 5)]
    finally:
        source.close()
    for beside in (SampleWorkers(4, staleness), SampleWorkers(1, staleness), *([] if staleness else [None])):
        twin, fresh, other = pieces([0, 1], beside, memory=LSTM(8))
        try:
            twin.load_state_dict(state["policy"])
            other.load_state_dict(state["streams"])
            fresh.load_state_dict(copy.deepcopy(state["source"]))
            for version in (2, 3, 4, 5):
                assert first_difference(expected[version - 2], sampled(twin, fresh, version)) is None
        finally:
            fresh.close()


def test_no_rollout_is_older_than_is_allowed_and_its_log_probabilities_are_those_of_the_weights_that_acted():
    """A chunk acts by the weights of `staleness` updates before, so that its bits hang on no clock and on no number of workers."""
    found = {}
    for count in (1, 4):
        policy, source, _ = pieces([0], SampleWorkers(count, 2), normalize=False)
        try:
            weights, found[count] = [], []
            for version in range(6):
                weights.append({name: value.clone() for name, value in policy.state_dict().items()})
                rollout = source.sample(policy, version)
                assert rollout.version == max(0, version - 2)
                now = {name: value.clone() for name, value in policy.state_dict().items()}
                policy.load_state_dict(weights[rollout.version])
                acted = policy.replay(rollout.inputs, rollout.action, frozenset())["log_prob"]
                torch.testing.assert_close(acted, rollout.log_prob, rtol=0, atol=1e-5)
                policy.load_state_dict(now)
                found[count].append({name: value.clone() for name, value in rollout.tensors().items()})
                with torch.no_grad():
                    for parameter in policy.parameters():
                        parameter.add_(0.05)
        finally:
            source.close()
    assert first_difference(found[1], found[4]) is None


SMALL = {"environments": 4, "rollout_length": 16, "hidden": (16,)}
OF_METHODS = {
    "ppo": {"minibatches": 2, "epochs": 2, "normalize_observation": True},
    "recurrent-ppo": {"minibatches": 2, "epochs": 2},
    "a2c": {},
    "trpo": {},
    "mdpo": {},
    "pqn": {"minibatches": 2, "epochs": 2},
    "props": {"minibatches": 2, "epochs": 2},
    "sac-discrete": {"environments": 4, "learning_starts": 20, "batch_size": 8, "hidden": (16,)},
}


def trained(method: str, beside: SampleWorkers | None, iterations: int, state: dict | None = None) -> dict:
    """A learner's state after some iterations."""
    own = get_method(method).hyperparameters.__dataclass_fields__
    spine = get_method(method).build(configure(method, {name: value for name, value in (SMALL | OF_METHODS[method]).items() if name in own}))
    spine = spine if beside is None else spine.sampled_by(beside)
    learner = spine.learner(GymWorld("CartPole-v1"), [0, 1], 100_000, torch.device("cpu"))
    return state_after(learner, iterations, state)


@pytest.mark.parametrize("method", OF_METHODS)
def test_a_method_learns_the_same_with_workers_and_without(method: str):
    """They go on without them, too."""
    many = 1 if method == "sac-discrete" else 2
    assert first_difference(trained(method, None, many + 1), trained(method, None, 1, trained(method, SampleWorkers(3), many))) is None


def test_a_stale_method_learns_the_same_with_any_number_of_workers_and_goes_on_so():
    expected = trained("ppo", SampleWorkers(1, 2), 5)
    assert first_difference(expected, trained("ppo", SampleWorkers(4, 2), 5)) is None
    assert first_difference(expected, trained("ppo", SampleWorkers(2, 2), 2, trained("ppo", SampleWorkers(3, 2), 3))) is None


class Waits(gymnasium.Wrapper):
    """An environment of at most 100 steps a second."""

    def step(self, action):
        time.sleep(0.01)
        return super().step(action)


def waits() -> gymnasium.Env:
    return Waits(gymnasium.make("CartPole-v1"))


def test_the_speed_of_a_stale_run_is_none_that_its_environments_could_not_have(tmp_path: Path):
    """Whatever is gathered while the trainer saves and evaluates, which it does after each chunk here."""
    given = {"environments": 2, "rollout_length": 4, "epochs": 1, "minibatches": 1, "hidden": (8,), "sample_workers": 1, "staleness": 1}
    run = train("ppo", waits, steps=48, every=8, episodes=1, max_evaluation_steps=5, progress=False, out=tmp_path / "run", **given)
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert run.result["steps_per_second"] < 100 and run.result["steps_per_second"] == pytest.approx(48 / last["seconds"], rel=0.01)
    assert run.result["parts"]["collect"] > 48 * 0.01 and 6 * 5 * 0.01 < run.result["evaluation_seconds"] < run.result["seconds"]


def test_chunks_under_way_keep_one_file_open_however_many():
    """Where a process may have 1,024 open files, a hundred chunks of a network with twenty arrays fit, too."""
    before, _ = len(os.listdir("/proc/self/fd")), pieces([0], None)
    policy, source, _ = pieces([0], SampleWorkers(2, 100))
    try:
        source.sample(policy, 0)
        assert len(os.listdir("/proc/self/fd")) - before < 30
        assert all(len(os.listdir(f"/proc/{worker.pid}/fd")) < 40 for worker in started(source))
    finally:
        source.close()


def test_a_rollout_of_a_worker_whose_weights_are_too_old_is_not_learned_from(monkeypatch):
    spine = get_method("ppo").build(configure("ppo", SMALL | OF_METHODS["ppo"])).sampled_by(SampleWorkers(1, 1))
    learner = spine.learner(GymWorld("CartPole-v1"), [0], 100_000, torch.device("cpu"))
    try:
        for _ in range(3):
            learner.iterate()
        sample = learner.source.sample
        monkeypatch.setattr(learner.source, "sample", lambda policy, version: replace(sample(policy, version), version=version - 2))
        with pytest.raises(RunFailed, match="a rollout of weights' version 1 reached the update of version 3"):
            learner.iterate()
    finally:
        learner.close()


def test_what_older_weights_did_is_weighted_once_and_by_the_ratio_to_them():
    """A2C has no ratio of its own. The first rollouts are fresh, and no weight changes them."""
    settings = SMALL | {"learning_rate": 0.05, "entropy": 0.0}
    own = get_method("a2c").hyperparameters.__dataclass_fields__
    spine = get_method("a2c").build(configure("a2c", {name: value for name, value in settings.items() if name in own}))
    learner = spine.sampled_by(SampleWorkers(2, 1)).truncated_by(1.002).learner(GymWorld("CartPole-v1"), [0], 100_000, torch.device("cpu"))
    try:
        found = [learner.iterate() for _ in range(4)]
        assert [int(metrics["staleness"]) for metrics in found] == [0, 1, 1, 1]
        assert [IMPORTANCE in metrics for metrics in found] == [False, True, True, True]
        rollout = learner.rollout
        weight = rollout.extras[IMPORTANCE]
        assert weight.max().item() == pytest.approx(1.002) and weight.min() < 1
        torch.testing.assert_close(found[-1][IMPORTANCE], weight.mean((1, 2)))
        fields = learner.fields(rollout)
        surrogate, *_ = step_losses(learner.updater.terms, TermBatch(fields | {name: fields["old_log_prob"] for name in ("log_prob", "value", "entropy")}))
        torch.testing.assert_close(surrogate, -rollout.extras["advantage"] * weight * fields["old_log_prob"])
        ratio = rollout.extras["log_importance"].double().exp()
        assert found[-1]["importance/most"].item() == pytest.approx(ratio.max().item())
        assert found[-1]["importance/cut"].item() == pytest.approx((ratio > 1.002).double().mean().item())
        assert found[-1]["importance/ess"].item() == pytest.approx((ratio.sum() ** 2 / (ratio.numel() * ratio.square().sum())).item())
        assert found[-1]["importance/kl"].item() == pytest.approx((ratio - 1 - ratio.log()).mean().item(), rel=1e-5)
        torch.testing.assert_close(fields["returns"], rollout.extras["advantage"] + rollout.extras["value"])
    finally:
        learner.close()
    with pytest.raises(BadInput, match="--truncate-importance 1: this method's policy gives no probabilities"):
        spine = get_method("pqn").build(configure("pqn", {})).sampled_by(SampleWorkers(1, 1)).truncated_by(1.0)
        spine.learner(GymWorld("CartPole-v1"), [0], 1000, torch.device("cpu"))


@pytest.mark.parametrize("task", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "cartpole-levels", "point-maze", "objects", "stacked"])
def test_a_state_is_dealt_and_joined(task: str):
    options = {"frame_stack": 3, "time_feature": True} if task == "stacked" else {}
    world = GymWorld({"objects": partial(gymnasium.make, "Pendulum-v1"), "stacked": "CartPole-v1"}.get(task, task), **options)
    environments, draws = world.make_training(list(range(5))), np.random.default_rng(0)
    environments.reset()

    def action():
        counts, low = world.action.counts, world.action.bounds()[0] if world.action.boxes else ()
        return draws.integers(counts[0], size=5) if counts else draws.uniform(-1, 1, size=(5, len(low))).astype(np.float32)

    for _ in range(40):
        environments.step(action())
    state, places = join_state(*split_state(environments.state_dict())), [np.array([0, 3]), np.array([4, 1, 2])]
    parts = [deal(state, rows) for rows in places]
    assert first_difference(state, join(parts, places)) is None
    chosen = [action() for _ in range(20)]
    whole = [environments.step(each) for each in chosen]
    for part, rows in zip(parts, places, strict=True):
        some = world.make_training([int(row) for row in rows])
        some.load_state_dict(part)
        for each, expected in zip(chosen, whole, strict=True):
            found = some.step(each[rows])
            assert np.array_equal(found.observation, expected.observation[rows]) and np.array_equal(found.reward, expected.reward[rows])
    assert environments.rows == 5


def test_a_death_is_told():
    policy, source, _ = pieces([0, 1], SampleWorkers(2))
    try:
        source.sample(policy, 0)
        os.kill(started(source)[1].pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="sample worker 2 of 2 was ended by SIGKILL"):
            source.sample(policy, 1)
    finally:
        source.close()


def test_a_worker_that_hangs_is_told(monkeypatch, capsys):
    monkeypatch.setattr(workers, "PATIENCE", timedelta(seconds=3))
    monkeypatch.setattr(workers, "WAITED", 1.0)
    monkeypatch.setattr(workers, "CLOSING", 1.0)
    policy, source, _ = pieces([0, 1], SampleWorkers(2))
    try:
        source.sample(policy, 0)
        os.kill(started(source)[0].pid, signal.SIGSTOP)
        with pytest.raises(WorkerLost, match="sample worker 1 of 2 has made no step for 0.05 minutes"):
            source.sample(policy, 1)
        assert capsys.readouterr().err.splitlines() == ["sample worker 1 of 2 has made no step for 1 s; it is waited for, up to 0.05 minutes"]
    finally:
        source.close()
    assert not any(worker.is_alive() for worker in started(source))


class Breaking(gymnasium.Env):
    """Raises at its thirtieth step, where it is the last row of seed 1."""

    seed, raises = row_seeds([1], PLAN.environments, "environment")[-1], ValueError("no licence")
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (1,), np.float32), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.steps, self.mine = 0, getattr(self, "mine", seed == self.seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 30 and self.mine:
            raise self.raises
        return np.zeros(1, np.float32), 0.0, False, False, {}


class Exiting(Breaking):
    raises = SystemExit(3)


class Interrupting(Breaking):
    raises = KeyboardInterrupt()


def failure(task: type[Breaking], beside: SampleWorkers | None) -> RunFailed:
    """What the second chunk ends in, once the worker whose environment it was has ended."""
    policy, source, _ = pieces([0, 1], beside, task, normalize=False)
    try:
        source.sample(policy, 0)
        if beside is not None and beside.staleness:
            started(source)[-1].join()
        with pytest.raises(RunFailed) as told:
            source.sample(policy, 1)
        return told.value
    finally:
        source.close()


@pytest.mark.parametrize("beside", [SampleWorkers(2), SampleWorkers(2, 1), SampleWorkers(3, 1)], ids=str)
def test_what_an_environment_raises_in_a_worker_is_told_as_it_is_here(beside: SampleWorkers):
    """With its row in the run, whether seeds or rows are split, and though the worker is gone when it is told the next thing."""
    for task in (Breaking, Exiting):
        told = failure(task, beside)
        assert type(told) is RunFailed and str(told) == str(failure(task, None))
    assert "row 7, after 29 steps: step raised SystemExit: 3" in str(told)


def test_an_interrupt_of_an_environments_own_in_a_worker_is_an_error_of_it(capfd):
    told = failure(Interrupting, SampleWorkers(2, 1))
    assert type(told) is RunFailed and str(told) == "an environment's code raised KeyboardInterrupt"
    assert "Traceback" not in capfd.readouterr().err


def together(num_envs: int):
    return gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point")


def test_a_script_that_would_train_in_its_workers_again_is_told_to_guard_it_and_leaves_nothing(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text('import operant\noperant.train("ppo", "gym:CartPole-v1", steps=128, environments=2, rollout_length=32, sample_workers=2, threads=1)\n')
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    wanted = f'where it imports {script} and what makes the environment: what a script runs must stand under `if __name__ == "__main__":`'
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1 and done.stderr.splitlines()[-1].endswith(wanted), done.stderr
    assert "BadInput: sample worker 1 of 2 ended before it began" in done.stderr
    assert not any((tmp_path / "runs").glob("*"))


def test_what_workers_cannot_do_is_refused(monkeypatch):
    with pytest.raises(BadInput, match="at most 4"):
        pieces([0], SampleWorkers(5))
    with pytest.raises(BadInput, match="steps all its rows in one computation"):
        pieces([0], SampleWorkers(2), together)
    for name, value in (("__file__", "<stdin>"), ("__spec__", None)):
        monkeypatch.setattr(sys.modules["__main__"], name, value, raising=False)  # of workers of pytest it has no file
    with pytest.raises(BadInput, match="--sample-workers 2: other processes import the script that runs, and <stdin> is no file"):
        pieces([0], SampleWorkers(2))
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + 71 * "x")
    with pytest.raises(BadInput, match="--sample-workers 2: /tmp/x* is too long a name .* set TMPDIR to a folder of at most 75 bytes"):
        pieces([0], SampleWorkers(2))
    monkeypatch.undo()
    spine = get_method("ppo").build(configure("ppo", {"workers": 2}))
    assert spine.beside == SampleWorkers(2, option="--workers")
    with pytest.raises(BadInput, match="--workers 2: 1 seeds × 1 environments can be split over at most 1"):
        GymWorld("CartPole-v1").check_source(replace(PLAN, environments=1), 1, spine.beside)
    with pytest.raises(BadInput, match="--sample-workers 3 and --workers 2 are the same processes"):
        spine.sampled_by(SampleWorkers(3))
    with pytest.raises(BadInput, match="--staleness 1: this method draws what it learns from out of replay"):
        get_method("sac-discrete").build(configure("sac-discrete", {})).sampled_by(SampleWorkers(1, 1))
    with pytest.raises(BadInput, match="--staleness 1: what acts adapts to what was done last"):
        spine = get_method("props").build(configure("props", {})).sampled_by(SampleWorkers(1, 1))
        spine.check(GymWorld("CartPole-v1"), [0], 1000, None)
