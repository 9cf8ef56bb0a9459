"""Training that goes on from another run: what is taken over, what is new, what is refused, and that nothing of the other run is executed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.core.checkpoint import load_state, save_state
from operant.core.errors import BadInput
from operant.evaluate.compare import compare
from operant.evaluate.records import load_run
from operant.loops.configuration import configure_run
from operant.loops.origin import Origin

QUIET = {"threads": 1, "progress": False, "episodes": 2}
PPO = {"environments": 2, "rollout_length": 16, "hidden": (8,), "normalize_observation": True, "normalize_reward": True}
TD3 = {"hidden": (8, 8), "batch_size": 4, "learning_starts": 8}
DATA = {"hidden": (8, 8), "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def ppo(folder: Path) -> Path:
    return operant.train("ppo", "gym:CartPole-v1", steps=64, seeds=2, seed=5, out=folder / "ppo", **QUIET, **PPO).path


@pytest.fixture(scope="module")
def td3(folder: Path) -> Path:
    return operant.train("td3", "gym:Pendulum-v1", steps=24, out=folder / "td3", **QUIET, **TD3).path


def state_of(run: Path) -> dict:
    return load_state(max(run.glob("checkpoints/step-*")))[0]["learner"]


def learner(method: str, task: str, path: Path, seeds: int, **settings):
    """A learner that has begun from a run, and where it came from."""
    origin = Origin.read(path, method)
    config, world, spine = configure_run(method, task, seeds=seeds, steps=64, origin=origin, hyperparameters=settings)
    made = spine.learner(world, list(range(seeds)), 64, torch.device("cpu"))
    origin.begin(made, list(range(seeds)))
    return made, config["from"]


def same(found, expected, places: list[int]) -> None:
    assert set(found) == set(expected)
    for name, value in found.items():
        assert torch.equal(value, expected[name][places]), name


def test_policy_gradients_take_the_policy_its_normaliser_and_the_scale_of_rewards(ppo: Path):
    begun, about = learner("ppo", "gym:CartPole-v1", ppo, 3, **PPO)
    there, here = state_of(ppo), begun.state_dict()
    same(here["policy"], there["policy"], [0, 1, 0])
    same(here["source"]["reward_scale"], there["source"]["reward_scale"], [0, 1, 0])
    assert here["step"] == 0 and here["policy"]["normalizer.count"].min() > 10 and not any(mean.any() for mean in here["optimizer"]["mean"])
    assert about["takes"] == "all" and list(about["digests"]) == ["checkpoints/step-000000000064/manifest.json"]
    begun.close()


def test_value_learning_takes_critics_and_targets_and_no_replay(td3: Path):
    begun, _ = learner("td3", "gym:Pendulum-v1", td3, 2, **TD3)
    there, here = state_of(td3), begun.state_dict()
    for name in ("nets", "targets"):
        same(here[name], there[name], [0, 0])
    assert not torch.equal(there["nets"]["q.net.layers.0.weight"], there["targets"]["q.net.layers.0.weight"])
    assert begun.stores["replay"].size == 0 and begun.updates == 0
    assert all(torch.equal(frozen, trained) for frozen, trained in zip(begun.frozen.parameters(), begun.nets.parameters(), strict=True))
    begun.close()


def test_streams_take_what_they_know_of_observations_and_rewards(tmp_path: Path):
    settings = {"hidden": (8,)}
    path = operant.train("stream-q", "gym:CartPole-v1", steps=60, seeds=2, out=tmp_path / "run", **QUIET, **settings).path
    begun, _ = learner("stream-q", "gym:CartPole-v1", path, 3, **settings)
    there, here = state_of(path), begun.state_dict()
    same(here["nets"], there["nets"], [0, 1, 0])
    for name in ("samples", "rewards"):
        for part in ("mean", "squares", "count"):
            assert (here[name][part] == there[name][part][[0, 1, 0]]).all() and here[name][part].any()
    assert (here["rewards"]["deviation"] == there["rewards"]["deviation"][[0, 1, 0]]).all() and not here["rewards"]["discounted"].any()
    begun.iterate()
    begun.close()
    other, _ = learner("stream-sarsa", "gym:CartPole-v1", path, 1, **settings)
    found = other.state_dict()["samples"]
    assert found["mean"] == pytest.approx(there["samples"]["mean"][:1]) and found["count"] == there["samples"]["count"][:1]
    assert found["squares"] == pytest.approx(there["samples"]["squares"][:1])
    other.close()


def test_another_method_takes_the_policy_and_its_target_network(td3: Path):
    begun, about = learner("ddpg", "gym:Pendulum-v1", td3, 1, **TD3)
    there, here = state_of(td3)["nets"], begun.state_dict()
    for name in ("nets", "targets"):
        same({key: value for key, value in here[name].items() if key.startswith("actor.")}, {k: v for k, v in there.items() if k.startswith("actor.")}, [0])
    assert not torch.equal(here["nets"]["q.net.layers.0.weight"], there["q.net.layers.0.weight"][:, :1])
    assert about["takes"] == "policy" and list(about["digests"]) == ["policies/last/seed-0/policy.safetensors"]
    begun.close()


def test_a_run_begins_where_the_other_ended_and_says_so(ppo: Path, tmp_path: Path):
    settings = PPO | {"learning_rate": 1e-3}
    run = operant.train("ppo", "gym:CartPole-v1", steps=64, seeds=2, start_from=ppo, out=tmp_path / "run", **QUIET, **settings)
    before = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()][:2]
    ended = operant.load(ppo).result["score"]["per_seed"]
    assert [row["value"] for row in before] == ended and all(row["base"] and row["step"] == 0 for row in before)
    assert run.config["from"]["run"] == str(ppo) and run.config["from"]["method"] == "ppo"
    scratch = operant.train("ppo", "gym:CartPole-v1", steps=64, seeds=2, out=tmp_path / "scratch", **QUIET, **settings)
    rows = compare([load_run(run.path), load_run(scratch.path)]).rows  # are no seeds of one row
    assert [len(row.per_seed) for row in rows] == [2, 2]


def test_a_run_that_grew_begins_its_new_seeds_there_too(ppo: Path, tmp_path: Path):
    source = Path(shutil.copytree(ppo, tmp_path / "source", symlinks=True))
    run = operant.train("ppo", "gym:CartPole-v1", steps=32, start_from=source, out=tmp_path / "run", **QUIET, **PPO)
    operant.resume(run.path, seeds=2, progress=False)
    rows = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows if row["base"]] == operant.load(ppo).result["score"]["per_seed"]
    operant.resume(source, steps=96, progress=False)
    with pytest.raises(BadInput, match="is no longer as it was"):
        operant.resume(run.path, seeds=3, progress=False)


@pytest.mark.parametrize(
    ("method", "task", "settings", "said"),
    [
        ("ppo", "gym:Acrobot-v1", PPO, "its observations are of another form, observation (box of shape (4,)); those of gym:Acrobot-v1"),
        ("ppo", "gym:CartPole-v1", PPO | {"hidden": (16,), "clip": 0.1, "epochs": 3}, "[1, 2, 4, 16] here; it was trained with --hidden 8$"),
        ("ppo", "gym:CartPole-v1", PPO | {"time_feature": True}, "which gym:CartPole-v1 has as it is set here; it was trained with --time-feature false$"),
        ("ppo", "gym:CartPole-v1", PPO | {"frame_stack": 2, "clip_rewards": True}, "; it was trained with --frame-stack none$"),
        ("ppo", "gym:CartPole-v1", PPO | {"normalize_observation": False}, "not there here; it was trained with --normalize-observation true"),
        ("ppo", "gym:CartPole-v1", PPO | {"activation": "relu"}, "its policy was trained with --activation tanh, here it is relu: give the same"),
        ("dqn", "gym:CartPole-v1", {}, "its policy is no network of dqn on gym:CartPole-v1 as it is set here"),
        ("random", "gym:CartPole-v1", {}, "random on gym:CartPole-v1 does not train a network over observations"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(ppo: Path, tmp_path: Path, method: str, task: str, settings: dict, said: str):
    with pytest.raises(BadInput) as refused:
        operant.train(method, task, start_from=ppo, out=tmp_path / "run", **QUIET, **settings)
    assert said.rstrip("$") in str(refused.value) and (said[-1] != "$" or str(refused.value).endswith(said[:-1]))
    assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_passed_over_aloud(ppo: Path, tmp_path: Path):
    hurt = Path(shutil.copytree(ppo, tmp_path / "hurt", symlinks=True))
    newest, before = sorted(hurt.glob("checkpoints/step-*"))[:-3:-1]
    (newest / "state.json").write_text("{")
    said = []
    run = operant.train("ppo", "gym:CartPole-v1", steps=32, start_from=hurt, out=tmp_path / "run", listener=said.append, **QUIET, **PPO)
    (line,) = [update.message for update in said if "is damaged" in update.message]
    assert newest.name in line and line.endswith(f"; beginning from {before.name}")
    assert list(run.config["from"]["digests"]) == [f"checkpoints/{before.name}/manifest.json"]


def test_values_of_actions_are_no_actor(tmp_path: Path, ppo: Path):
    dqn = {"hidden": (8,), "batch_size": 4, "learning_starts": 8}
    values = operant.train("dqn", "gym:CartPole-v1", steps=12, out=tmp_path / "dqn", **QUIET, **dqn).path
    for begun, method, settings, said in (
        (values, "ppo", PPO, "dqn trains values of actions, ppo an actor; take a run of a method that trains an actor too"),
        (ppo, "dqn", dqn, "ppo trains an actor, dqn values of actions; take a run .* too, or begin .*: operant train snapshotrl --teacher-run .*ppo$"),
    ):
        with pytest.raises(BadInput, match=said):
            operant.train(method, "gym:CartPole-v1", start_from=begun, out=tmp_path / "run", **QUIET, **settings)
    assert not (tmp_path / "run").exists()


def test_a_run_without_policies_is_refused(tmp_path: Path, ppo: Path):
    stopped = Path(shutil.copytree(ppo, tmp_path / "stopped", symlinks=True))
    shutil.rmtree(stopped / "policies")
    random = operant.train("random", "gym:CartPole-v1", steps=1, out=tmp_path / "random", **QUIET)
    found = {stopped: "has no policy of seed 5 yet; go on with: operant resume", random.path: "has no policy of seed 0 yet", tmp_path: "is no run"}
    for path, said in found.items():
        with pytest.raises(BadInput, match=said):
            operant.train("ppo", "gym:CartPole-v1", start_from=path, out=tmp_path / "run", **QUIET, **PPO)
    assert not (tmp_path / "run").exists()


def test_a_state_that_is_none_of_the_method_s_is_refused_in_one_line(tmp_path: Path, td3: Path):
    hurt = Path(shutil.copytree(td3, tmp_path / "hurt", symlinks=True))
    last = max(hurt.glob("checkpoints/step-*"))
    state = load_state(last)[0]
    for change in ({"targets": {}}, {"nets": 7}, {"scalars": {"x": torch.zeros(1)}}, {"nets": {"actor": np.zeros(3)}}):
        shutil.rmtree(last)
        save_state(last, state | {"learner": state["learner"] | change}, step=24)
        with pytest.raises(BadInput, match="does not fit") as refused:
            operant.train("td3", "gym:Pendulum-v1", steps=24, start_from=hurt, out=tmp_path / "run", **QUIET, **TD3)
        assert "\n" not in str(refused.value) and not (tmp_path / "run").exists()


class Shifted(gymnasium.Wrapper):
    """Another task of the same spaces."""


def test_nothing_that_the_other_run_names_is_imported(tmp_path: Path, ppo: Path, monkeypatch: pytest.MonkeyPatch):
    stranger = Path(shutil.copytree(ppo, tmp_path / "stranger", symlinks=True))
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    config = json.loads((stranger / "run.json").read_text())
    config |= {"task": "gym:evil:Mine-v0", "imports": [str(tmp_path / "evil.py")], "code": ["the module evil for the task"]}
    (stranger / "run.json").write_text(json.dumps(config))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match="--trust"):
        operant.resume(stranger, steps=96, progress=False)
    run = operant.train("ppo", lambda: Shifted(gymnasium.make("CartPole-v1")), steps=32, start_from=stranger, out=tmp_path / "run", **QUIET, **PPO)
    assert run.config["from"]["task"] == "gym:evil:Mine-v0" and run.config["from"]["takes"] == "all"
