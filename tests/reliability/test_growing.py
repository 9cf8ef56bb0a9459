"""A run goes on to more steps or seeds, and brings its own code and modules back only when somebody says so."""

from __future__ import annotations

import copy
import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import operant
from operant.cli.main import main
from operant.cli.results import difference_of_runs
from operant.core.errors import BadInput, RunFailed
from operant.core.registry import import_file
from operant.nets import kernels

CARTPOLE = {"task": "gym:CartPole-v1", "episodes": 2, "environments": 2, "rollout_length": 32, "every": 128, "progress": False}
REPLAY = {"task": "gym:CartPole-v1", "episodes": 1, "learning_starts": 20, "batch_size": 8, "progress": False}
TABLE = {"task": "sequences:target", "prompts": 2, "group_size": 4, "progress": False}


@pytest.mark.parametrize(("method", "given"), [("ppo", CARTPOLE), ("grpo", TABLE)])
def test_more_steps_give_the_bits_of_a_run_of_as_many(tmp_path, method, given):
    unit = 128 if method == "ppo" else 2
    whole = operant.train(method, seeds=2, steps=3 * unit, out=tmp_path / "whole", **given)
    operant.train(method, seeds=2, steps=unit, out=tmp_path / "grown", **given)
    grown = operant.resume(tmp_path / "grown", steps=3 * unit, progress=False)
    assert difference_of_runs(whole.path, grown.path) is None
    assert grown.result["score"] == whole.result["score"] and grown.result["steps"] == 3 * unit
    with pytest.raises(BadInput, match=f"--steps {unit}: the run has {3 * unit:,}"):
        operant.resume(grown.path, steps=unit, progress=False)


def test_what_was_asked_and_what_is_done_are_told_apart(tmp_path):
    run = operant.train("ppo", steps=100, out=tmp_path / "run", **CARTPOLE)
    (stride, done), asked = (run.config["iteration"], run.result["steps"]), 100
    assert done < asked < done + stride
    for steps in (10, asked, done + stride - 1):
        said = f"--steps {steps}: the run was asked for 100, of which {done} are done, in whole iterations of {stride}; to go on give {done + stride} or more"
        with pytest.raises(BadInput, match=f"^{said}$"):
            operant.resume(run.path, steps=steps, progress=False)
    assert operant.resume(run.path, steps=done + stride, progress=False).result["steps"] == done + stride


def test_replay_grows_with_the_steps(tmp_path):
    given = {"task": "gym:Pendulum-v1", "episodes": 1, "learning_starts": 50, "hidden": (8, 8), "batch_size": 16, "every": 100, "progress": False}
    whole = operant.train("sac-v2", steps=200, out=tmp_path / "whole", **given)
    operant.train("sac-v2", steps=100, out=tmp_path / "grown", **given)
    assert difference_of_runs(whole.path, operant.resume(tmp_path / "grown", steps=200, progress=False).path) is None


def test_more_seeds_train_after_the_others(tmp_path, capsys):
    alone = operant.train("ppo", seeds=2, seed=2, steps=128, out=tmp_path / "alone", **CARTPOLE)
    operant.train("ppo", seeds=2, steps=128, out=tmp_path / "grown", **CARTPOLE)
    before = operant.load(tmp_path / "grown").result["score"]["per_seed"]
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "grown"), "--seeds", "4", "--json"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert told[-1].startswith("step 128 of 128 (100 %)") and all(" of 128 (" in line for line in told)  # of the new seeds, which train together
    grown = operant.load(tmp_path / "grown")
    assert grown.result["seeds"] == 4 and grown.result["score"]["per_seed"] == [*before, *alone.result["score"]["per_seed"]]
    assert grown.evaluate(episodes=2)["score"]["per_seed"][2:] == alone.evaluate(episodes=2)["score"]["per_seed"]
    rows = [json.loads(line) for line in (grown.path / "evaluations.jsonl").read_text().splitlines()]
    assert {row["seed"] for row in rows} == {0, 1, 2, 3} and len({(row["seed"], row["step"]) for row in rows}) == len(rows)
    with pytest.raises(BadInput, match="one after the other"):
        operant.resume(grown.path, steps=512, progress=False)


METHOD = """
from dataclasses import dataclass
import operant
from operant import ops
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class Mine:
    group_size: int = 4  # answers a prompt


@operant.method("of-a-file", family="mine", paper="none", worlds=("sequences",))
def mine(h: Mine) -> PolicyGradient:
    return PolicyGradient(sample=Groups(2, h.group_size), credit=Grouped(ops.group_normalized_advantage), terms=[ClippedRatio()], reduce="token-mean")
"""


def test_a_method_of_a_file_is_found_again(tmp_path, start):
    def run(*words) -> tuple[int, str]:
        child = start(*words, folder=tmp_path)
        return child.wait(), child.said

    (tmp_path / "of_a_file.py").write_text(METHOD)
    words = ("train", "of-a-file", "--task", "sequences:target", "--steps", "2", "--group-size", "3", "--out", "run")
    assert "unknown method 'of-a-file'" in run(*words)[1]
    code, said = run(*words, "--import", "of_a_file.py")
    assert code == 0, said
    code, said = run("evaluate", "run")
    assert code == 2 and "say --trust" in said and said.endswith("of_a_file.py\n") and ": the file /" in said and "--trust" in said
    for words in (("evaluate", "run", "--trust"), ("evaluate", "run", "--import", "of_a_file.py"), ("resume", "run", "--steps", 4, "--trust")):
        code, said = run(*words)
        assert code == 0, said
    (tmp_path / "of_a_file.py").rename(tmp_path / "moved.py")
    code, said = run("evaluate", "run", "--trust")
    assert code == 2 and "which is not there: give the file where it is now, --import FILE.py" in said
    assert run("evaluate", "run", "--import", "moved.py")[0] == 0
    (tmp_path / "moved.py").rename(tmp_path / "of_a_file.py")
    helped = start("train", "of-a-file", "--import", "of_a_file.py", "--help", folder=tmp_path)
    assert helped.wait() == 0 and "group-size" in helped.told
    (tmp_path / "json.py").write_text("")
    with pytest.raises(BadInput, match="another module is called json"):
        import_file(tmp_path / "json.py")
    (tmp_path / "json.py").unlink()
    (tmp_path / "bad.py").write_text("1 / 0")
    for file, says in {"none.py": "no Python file is there", "run": "no Python file", "bad.py": "raised ZeroDivisionError"}.items():
        code, said = run("methods", "--import", file)
        assert code == 2 and says in said and said.count("\n") == 1


ENVIRONMENT = """
import gymnasium
gymnasium.register("OfAFile-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
"""


def test_an_environment_of_a_file_is_found_again(tmp_path, start):
    (tmp_path / "environment.py").write_text(ENVIRONMENT)
    words = ("--steps", 10, "--episodes", 1, "--import", "environment.py", "--out", "run")
    done = start("train", "random", "--task", "gym:OfAFile-v0", *words, folder=tmp_path)
    assert done.wait() == 0 and "operant evaluate run --trust" in done.told, done.said
    refused = start("evaluate", "run", folder=tmp_path)
    assert refused.wait() == 2 and ": the file /" in refused.said and "/environment.py\n" in refused.said
    assert start("evaluate", "run", "--trust", "--episodes", 1, folder=tmp_path).wait() == 0


WRONG = [{"steps": 8192.0}, {"steps": float("nan")}, {"steps": "x"}, {"steps": 2**70}, {"seeds": 3.0}, {"seeds": "3"}, {"seeds": True}]


@pytest.mark.parametrize("given", WRONG)
def test_what_is_no_number_of_steps_or_seeds_costs_nothing(tmp_path, given):
    run = operant.train("ppo", steps=128, out=tmp_path / "run", **CARTPOLE)
    before = {path: path.read_bytes() for path in (run.path / "run.json", run.path / "result.json")}
    with pytest.raises(BadInput, match=next(iter(given))):
        operant.resume(run.path, progress=False, **given)
    assert before == {path: path.read_bytes() for path in before}


class Net(nn.Module):
    """A person's own network."""

    def __init__(self, outputs: int = 2, width: int = 8):
        super().__init__()
        self.a, self.b = nn.Linear(4 if outputs == 2 else 3, width), nn.Linear(width, outputs)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_plain_module_is_trained_kept_and_loaded(tmp_path, seeds):
    torch.manual_seed(seeds)
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    run = operant.train("ppo", policy=net, seeds=seeds, steps=128, out=tmp_path / "run", **CARTPOLE)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())  # the person's own is left as it was
    opened = operant.load(run.path, policy=Net())
    observation = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    for seed in range(seeds):
        assert opened.policy(observation, seed=seed) == run.policy(observation, seed=seed)
    assert opened.evaluate(episodes=2)["score"] == run.evaluate(episodes=2)["score"]
    with pytest.raises(BadInput, match=r"Python module as its policy \(Net\)"):
        operant.load(run.path).evaluate(episodes=1)
    with pytest.raises(BadInput, match="Python module"):
        operant.resume(run.path, steps=256, progress=False)
    whole = operant.train("ppo", policy=net, seeds=seeds, steps=256, out=tmp_path / "whole", **CARTPOLE)
    assert difference_of_runs(whole.path, operant.resume(run.path, policy=net, steps=256, progress=False).path) is None


def test_a_module_with_a_seed_axis_computes_what_it_computes_alone():
    from operant.core.random import Streams
    from operant.nets.lifted import Lifted, lift

    nets, x = [Net(), Net(), Net()], torch.randn(3, 5, 4)
    assert torch.allclose(Lifted(nets)(x), torch.stack([net(row) for net, row in zip(nets, x, strict=True)]), atol=1e-6)
    assert torch.allclose(Lifted(nets[:1])(x[:1].view(1, 1, 5, 4))[0, 0], nets[0](x[0]), atol=1e-6)
    made = lift(Net, 4, 2, Streams([3, 4]))
    alone = lift(Net, 4, 2, Streams([4]))
    first, second = made.parameter_0
    assert not torch.equal(first, second) and torch.equal(second, alone.parameter_0[0])


class Shared(nn.Module):
    """One layer under two names, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.first = self.again = nn.Linear(4, 4)
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)
        self.other.weight = self.one.weight

    def forward(self, x):
        x = torch.tanh(self.again(torch.tanh(self.first(x))))
        return self.one(x) + self.other(x)


@pytest.mark.parametrize("method", ["ppo", "dqn"])
def test_what_a_module_shares_stays_shared_in_every_seed(tmp_path, method):
    torch.manual_seed(0)
    net, x = Shared(), torch.randn(2, 5, 4)
    from operant.nets.lifted import Lifted

    lifted = Lifted([net, copy.deepcopy(net)])
    assert torch.allclose(lifted(x), net(x), atol=1e-6) and len(list(lifted.parameters())) == len(list(net.parameters())) == 5
    lifted(x).sum().backward()
    net(x).sum().backward()
    assert all(torch.allclose(p.grad.sum(0), q.grad, atol=1e-4) for p, q in zip(lifted.parameters(), net.parameters(), strict=True))
    operant.train(method, policy=net, seeds=2, steps=64, out=tmp_path / "run", **(CARTPOLE if method == "ppo" else REPLAY))


class Counts(nn.Module):
    """Gives other numbers at every call."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 2), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) + self.calls


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


class Whole(nn.Linear):
    def forward(self, x):
        return super().forward(x) - super().forward(x).mean(0)


class Breaks(nn.Linear):
    def forward(self, x):
        raise KeyError("no such\nkey")


class Few(nn.Linear):
    """Takes one row or two."""

    def forward(self, x):
        return super().forward(x) if len(x) < 3 else x.view(7, 5)


def test_a_module_that_fails_while_it_is_trained_ends_the_run_in_one_line(tmp_path):
    with pytest.raises(RunFailed, match=r"Few raised RuntimeError: shape .*, at \d+ rows of observations"):
        operant.train("dqn", policy=Few(4, 2), steps=64, out=tmp_path / "run", **REPLAY)


@pytest.mark.parametrize(
    ("method", "policy", "says"),
    [
        ("dqn", Counts(), "gives other numbers when it is asked again"),
        ("dqn", Pair(4, 2), "raised TypeError: its forward gave a tuple, not one tensor"),
        ("ppo", Whole(4, 2), "gives a row other numbers beside another row"),
        ("ppo", Breaks(4, 2), r"it raised KeyError: no such key$"),
        ("ppo", nn.Sequential(nn.Unflatten(-1, (1, 4)), nn.InstanceNorm1d(1, track_running_stats=True), nn.Flatten(), nn.Linear(4, 2)), "holds InstanceNorm1d"),
        ("dqn", nn.LazyLinear(2), "has no shape for weight yet"),
        ("ppo", Net(5), r"must map observations \[N, 4\] to \[N, 2\]"),
        ("ppo", nn.Sequential(nn.Linear(4, 2), nn.Dropout()), "holds Dropout"),
        ("ppo", nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), "holds BatchNorm1d"),
        ("ppo", nn.ReLU(), "no parameter"),
        ("ppo", lambda: 3, "made int, no torch.nn.Module"),
        ("random", Net(), "takes no module as policy"),
    ],
)
def test_modules_that_do_not_fit_are_refused(tmp_path, method, policy, says):
    with pytest.raises(BadInput, match=says):
        operant.train(method, "gym:CartPole-v1", policy=policy, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_what_makes_a_module_gives_every_seed_the_same_form(tmp_path):
    widths = itertools.count(8)
    with pytest.raises(BadInput, match=r"gave seeds other shapes, a.weight \[\d+, 4\] and \[\d+, 4\]$"):
        operant.train("ppo", "gym:CartPole-v1", policy=lambda: Net(width=next(widths)), seeds=2, out=tmp_path / "run", progress=False)


def test_sac_takes_mean_and_log_standard_deviation(tmp_path):
    given = {"episodes": 1, "learning_starts": 50, "hidden": (8, 8), "batch_size": 16, "progress": False}
    run = operant.train("sac-v2", "gym:Pendulum-v1", policy=_pendulum, steps=100, out=tmp_path / "run", **given)
    assert run.world.action_space.contains(run.policy(np.zeros(3, np.float32)))


def _pendulum() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))




def test_a_run_goes_on_with_the_kernels_it_began_with(tmp_path, monkeypatch):
    """As on a processor of another maker; they are those of this process until another run begins."""
    own = kernels.fitting()
    other = next(kind for kind in kernels.SETS if kind != own)
    small = {"hidden": (8,), "environments": 1, "rollout_length": 32, "threads": 1, "episodes": 1, "progress": False}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(kernels, "fitting", lambda: other)
        elsewhere.setattr(kernels, "_ONEDNN", kernels._ONEDNN or torch.addmm)
        operant.train("ppo", "gym:CartPole-v1", steps=64, out=tmp_path / "run", **small)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["kernels"] == kernels.taken() == other
    told = []
    operant.resume(tmp_path / "run", steps=128, listener=lambda update: told.append(update.message))
    assert kernels.taken() == other and sum(f"began with, {other}; this processor's own are {own}" in line for line in told) == 1
    operant.train("ppo", "gym:CartPole-v1", steps=32, out=tmp_path / "next", **small)
    assert kernels.taken() == own


@pytest.mark.parametrize(("name", "value"), [("seed", 7), ("batch_size", 4), ("capacity", 50), ("hidden", [6])])
def test_a_run_whose_settings_were_changed_by_hand_is_not_gone_on_with(tmp_path, name: str, value: object):
    """Its weights, replay and draws are those of other settings."""
    run = operant.train("dqn", "gym:CartPole-v1", steps=60, learning_starts=20, hidden=(4,), episodes=1, out=tmp_path / "run", progress=False, threads=1)
    file = run.path / "run.json"
    config = json.loads(file.read_text())
    (config if name == "seed" else config["hyperparameters"])[name] = value
    file.write_text(json.dumps(config))
    with pytest.raises(BadInput, match=rf"run.json says {name} .*, and its checkpoint is of .*put it back"):
        operant.resume(run.path, steps=120, progress=False)


def test_what_a_killed_writer_had_left_to_do_is_done(tmp_path):
    """Killed between its last checkpoint and the removal of the oldest: a run with nothing more to save has as many as any other, and `last` is the newest."""
    run = operant.train("ppo", seeds=1, steps=384, out=tmp_path / "run", **CARTPOLE)
    kept = run.path / "checkpoints"
    before = sorted(path.name for path in kept.iterdir())
    newest, older = sorted(path for path in kept.glob("step-*"))[::-1]
    shutil.copytree(older, kept / f"step-{0:012d}")
    (kept / "last").unlink()
    (kept / "last").symlink_to(older.name)
    (run.path / "result.json").unlink()
    operant.resume(run.path, progress=False)
    assert sorted(path.name for path in kept.iterdir()) == before and (kept / "last").resolve() == newest.resolve()
