"""The planning loop: what it hands to a planner, what it takes back, and the two planners against what can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.configuration import configure_run
from operant.loops.planning import Planning
from operant.worlds import make_world
from operant.worlds.tabular import linear_program
from operant.worlds.tabular.linear_program import maximum
from operant.worlds.tabular.mdp import Samples

CPU = torch.device("cpu")


def planner(key: str, world, seeds=(0, 1), **hyper):
    """A learner that is looked at after every iteration."""
    return replace(get_method(key).build(configure(key, hyper)), iterations=1).learner(world, list(seeds), 1_000, CPU)


@pytest.mark.parametrize("name", ["river-swim", "cliff", "random-dense"])
def test_value_iteration_comes_nearer_by_the_discount(name: str):
    """‖V_t − V*‖ ≤ discount^t ‖V_0 − V*‖, and the greedy policy is an optimal one in the end."""
    world = make_world(f"tabular:{name}", discount=0.9)
    learner, best = planner("value-iteration", world), world.mdp(Streams([0, 1])).optimum[0]
    before = (learner.state["value"] - best).abs().amax()
    for step in range(1, 151):
        change = learner.iterate()["change"]
        assert (learner.state["value"] - best).abs().amax() <= 0.9**step * before + 1e-12
    assert change.shape == (2,) and change.max() < 1e-5
    assert world.evaluate(learner.policy, 2).measures["suboptimality"] == pytest.approx(0, abs=1e-9)


def test_value_iteration_is_exact_after_the_horizon():
    world = make_world("tabular:random-sparse", horizon=4)
    learner = planner("value-iteration", world)
    for _ in range(4):
        learner.iterate()
    torch.testing.assert_close(learner.state["value"], world.mdp(Streams([0, 1])).optimum[0])


@pytest.mark.parametrize(("name", "options"), [("river-swim", {"discount": 0.999}), ("four-rooms", {}), ("random-sparse", {"horizon": 4})])
def test_policy_iteration_is_optimal_after_a_few_policies(name: str, options: dict):
    """No policy is worse than the one before in any state; ten are enough for a discount of 0.999, with which value iteration is far from done."""
    world = make_world(f"tabular:{name}", **options)
    learner, slow = planner("policy-iteration", world), planner("value-iteration", world)
    for _ in range(10):
        before = learner.state["value"]
        change = learner.iterate()["change"]
        slow.iterate()
        assert (learner.state["value"] >= before - 1e-9).all()
    best = world.mdp(Streams([0, 1])).optimum[0]
    assert change.tolist() == [0, 0]
    torch.testing.assert_close(learner.state["value"], best.expand_as(learner.state["value"]))
    if not options.get("horizon"):
        assert (slow.state["value"] - best).abs().amax() > 0.1 * best.amax()


@pytest.mark.parametrize(("name", "options"), [("random-sparse", {}), ("four-rooms", {}), ("random-episodes", {}), ("deep-sea", {"states": 5})])
def test_a_linear_program_finds_the_occupancy_of_the_optimum(name: str, options: dict):
    world = make_world(f"tabular:{name}", **options)
    learner, mdp = planner("linear-program", world), world.mdp(Streams([0, 1]))
    learner.iterate()
    found = world.evaluate(learner.policy, 2).measures
    assert found["suboptimality"] == pytest.approx(0, abs=1e-8)
    torch.testing.assert_close(learner.state["occupancy"], mdp.occupancy(learner.policy.probabilities), rtol=0, atol=1e-8)
    before = learner.state["policy"]
    learner.iterate()
    assert learner.state["policy"] is before


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1e-100, 0.0), (1e100, 0.0), (1.0, 1e6)])
@pytest.mark.parametrize("options", [{"discount": 0.95}, {"horizon": 10}])
def test_an_optimum_is_one_in_whatever_rewards_are_counted(options: dict, scale: float, shift: float):
    """Of the program, whose solver knows absolute numbers, and of policy iteration and backward induction."""
    plain = make_world("tabular:river-swim", **options).mdp(Streams([0]))
    mdp = replace(plain, reward=scale * (plain.reward + shift))
    lived = 10 if options.get("horizon") else 20
    optimum, earns = plain.start_value(plain.optimum[0]).item(), 1 if options.get("horizon") else 20
    assert mdp.start_value(mdp.optimum[0]).item() / scale == pytest.approx(optimum + lived * shift, rel=1e-12)
    found = (linear_program.optimal_occupancy(mdp) * mdp.reward).sum().item() * earns
    assert found / scale == pytest.approx(optimum + lived * shift, rel=1e-9 if shift == 0 else 1e-14)


def test_linear_programs_that_have_no_answer_are_one_line(monkeypatch):
    one = np.ones((1, 1))
    for gain, right, says in ((1.0, -1.0, "of 1 variables is infeasible"), (1.0, 0.0, "of 2 variables is unbounded")):
        equations = one if right else np.array([[1.0, -1.0]])
        with pytest.raises(RunFailed, match=says):
            maximum(np.full(equations.shape[1], gain), equations, np.array([right]))
    world = make_world("tabular:chain")
    monkeypatch.setattr(linear_program, "MOST", 3)
    with pytest.raises(BadInput, match="a linear program of 20 transitions is too large, there can be 3: take fewer states, or value-iteration"):
        planner("linear-program", world)
    monkeypatch.setattr(linear_program, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"a linear program needs SciPy: pip install 'operant\[tabular\]'"):
        planner("linear-program", world)


def logged(*rows: tuple[int, int, int, float], horizon: int | None = None, discount: float = 0.5) -> Samples:
    """Transitions (state, action, next state, reward) of two states and two actions."""
    state, action, following, reward = (torch.tensor([column]) for column in zip(*rows, strict=True))
    shape = (2, 2) if horizon is None else (horizon, 2, 2)
    return Samples(2 * state + action, following, reward.double(), shape, discount, horizon)


def on_samples(key: str, samples: Samples, monkeypatch, iterations: int, **hyper):
    world = make_world("tabular:chain", states=2, **({"horizon": samples.horizon} if samples.horizon else {"discount": samples.discount}))
    monkeypatch.setattr(world, "samples", lambda streams: samples)
    learner = planner(key, world, seeds=(0,), **hyper)
    for _ in range(iterations):
        learner.iterate()
    return learner.state


def vi_lcb(samples: Samples, monkeypatch, iterations: int, **hyper):
    return on_samples("vi-lcb", samples, monkeypatch, iterations, **hyper)


def test_vi_lcb_by_hand(monkeypatch):
    """Without penalty: Q(0, 1) = 1 + V(0)/2, which grows to 2. With L = log(…) scaled to 1/4 and N = 4, 1 the penalties are V_max/4 and V_max/2: 1/2 and 1."""
    samples = logged((0, 1, 0, 1.0), (0, 1, 0, 1.0), (0, 1, 0, 1.0), (0, 1, 0, 1.0), (0, 0, 1, 0.9), (1, 0, 1, 0.75))
    state = vi_lcb(samples, monkeypatch, 40, scale=0.0)
    torch.testing.assert_close(state["value"], torch.tensor([[2.0, 1.5]]).double())
    log = torch.tensor(2.0 * 5 * 4 * 6).log().item()  # 2 (T + 1) K A N, T = ⌈log 6 / (1/2)⌉ = 4
    state = vi_lcb(samples, monkeypatch, 1, scale=0.25 / log)
    torch.testing.assert_close(state["value"], torch.tensor([[0.5, 0.0]]).double())  # 1 − 2/4; 0.75 − 2/2 is below 0
    assert state["policy"].tolist() == [[[0, 1], [1, 0]]]  # where nothing is above 0, the action that was seen most
    state = vi_lcb(samples, monkeypatch, 40, scale=0.25 / log)
    torch.testing.assert_close(state["value"], torch.tensor([[1.0, 0.0]]).double())  # v = 1/2 + v/2


def test_vi_lcb_on_a_bandit_takes_the_best_lower_bound(monkeypatch):
    """State 0: a reward of 1 seen once, 0.9 seen four times; state 1: action 1 alone was seen, and was worth nothing. A penalty of √(L / N)."""
    samples = logged((0, 0, 0, 1.0), (0, 1, 0, 0.9), (0, 1, 0, 0.9), (0, 1, 0, 0.9), (0, 1, 0, 0.9), (1, 1, 0, 0.0), horizon=1)
    assert vi_lcb(samples, monkeypatch, 1, scale=0.0)["policy"][0, 0].argmax(-1).tolist() == [0, 1]
    state = vi_lcb(samples, monkeypatch, 1, scale=0.1)
    assert state["policy"][0, 0].argmax(-1).tolist() == [1, 1]
    scale = 0.1 * torch.tensor(2.0 * 2 * 4 * 6).log()
    torch.testing.assert_close(state["value"][0, 0, 0], 0.9 - (scale / 4).sqrt().double())


def test_vi_lcb_values_never_fall_and_stay_below_the_truth():
    """The lower bounds are lower bounds, of every seed and state, with a scale for which theory says so."""
    world = make_world("tabular:random-sparse", states=5, transitions=2_000, concentrability="none")
    learner = planner("vi-lcb", world, seeds=range(10), scale=2.0)
    best = world.mdp(Streams(range(10))).optimum[0]
    for _ in range(60):
        before = learner.state["value"]
        learner.iterate()
        assert (learner.state["value"] >= before).all()
    assert (learner.state["value"] <= best).all()


def test_a_split_uses_each_part_once():
    """Iteration t reads part t alone, and after the last one nothing changes."""
    world = make_world("tabular:random-sparse", states=3, actions=2, discount=0.5, transitions=400)
    learner = planner("vi-lcb", world, split=True, scale=0.0)
    last = 12  # ⌈log 400 / 0.5⌉
    samples, value = world.samples(Streams([0, 1])), torch.zeros(2, 3, dtype=torch.float64)
    for number in range(last):
        _, reward, transition = samples.part(number + 1, last + 1).model
        value = torch.maximum(value, ops.bellman_q(reward, transition, value, discount=0.5).amax(-1))
        learner.iterate()
        torch.testing.assert_close(learner.state["value"], value)
    for _ in range(3):
        assert learner.iterate()["change"].tolist() == [0, 0]
    with pytest.raises(RunFailed, match="part 13 of 13 parts"):
        samples.part(last + 1, last + 1)


def test_a_bandit_s_split_ends_with_its_parts():
    learner = planner("vi-lcb", make_world("tabular:bandit"), split=True)
    learner.iterate()
    policy = learner.state["policy"].clone()
    for _ in range(3):
        learner.iterate()
        assert torch.equal(learner.state["policy"], policy)


def test_fitted_q_iteration_by_hand(monkeypatch):
    """State 1: 1/2 and again, 1 in all. State 0: 1 and on to state 1, or nothing and again: v = (1 + 1/2 + v/2) / 2. What was not seen is not
    preferred."""
    samples = logged((0, 0, 1, 1.0), (0, 0, 0, 0.0), (1, 1, 1, 0.5))
    state = on_samples("fqi", samples, monkeypatch, 60)
    torch.testing.assert_close(state["value"], torch.ones(1, 2).double())
    assert state["policy"].tolist() == [[[1, 0], [0, 1]]]
    worse = on_samples("fqi", logged((0, 1, 0, -1.0)), monkeypatch, 60)
    torch.testing.assert_close(worse["value"], torch.tensor([[-2.0, 0.0]]).double())
    assert worse["policy"].tolist() == [[[0, 1], [0.5, 0.5]]]
    steps = Samples(torch.tensor([[0, 4]]), torch.tensor([[0, 1]]), torch.tensor([[1.0, 2.0]]).double(), (2, 2, 2), 1.0, 2)
    assert on_samples("fqi", steps, monkeypatch, 2)["value"].tolist() == [[[3, 0], [2, 0]]]  # pair 4 is of step 1, state 0, action 0


@pytest.mark.parametrize("options", [{}, {"horizon": 4}])
def test_fitted_q_iteration_of_a_table_is_value_iteration_on_what_was_seen(options: dict):
    """Data of which an optimal policy would be a quarter are enough to find one that is nearly optimal."""
    world = make_world("tabular:random-dense", states=6, actions=3, transitions=20_000, **options)
    learner, samples = planner("fqi", world), world.samples(Streams([0, 1]))
    _, reward, transition = samples.model
    value = torch.zeros_like(learner.state["value"])
    for _ in range(40):
        value = samples.backup(reward, transition, value).amax(-1)
        learner.iterate()
    torch.testing.assert_close(learner.state["value"], value)
    found = world.evaluate(learner.policy, 2).measures
    assert (found["suboptimality"] < 0.02 * found["optimal value"]).all()


@pytest.mark.parametrize(
    ("key", "task", "steps"),
    [
        ("ucb", "bandit", 1_000),
        ("psrl", "river-swim", 1_000),
        ("drrl", "random-episodes", 1_000),
        ("sqirl", "random-episodes", 5),
        ("gorp", "random-episodes", 5),
        ("value-iteration", "random-episodes", 5),
        ("fqi", "chain", 185),
    ],
)
def test_a_run_without_a_budget_has_what_the_planner_needs(key: str, task: str, steps: int):
    assert configure_run(key, f"tabular:{task}", episodes=1)[0]["steps"] == steps


def test_what_vi_lcb_refuses(tmp_path):
    spine = get_method("vi-lcb").build(configure("vi-lcb", {"split": True}))
    with pytest.raises(BadInput, match="vi-lcb --split has 48 parts of 10 transitions: give more --transitions"):
        spine.check(make_world("tabular:chain", transitions=10), [0], 10, None)
    np.savez(tmp_path / "m.npz", transition=np.ones((1, 2, 1)), reward=[[-1.0, 5.0]], discount=0.5)
    with pytest.raises(BadInput, match=r"vi-lcb needs rewards in \[0, 1\]; these are from -1 to 5: scale them"):
        spine.check(make_world(f"tabular:{tmp_path / 'm.npz'}", transitions=100), [0], 10, None)


def test_a_planner_reads_what_it_says():
    world = make_world("tabular:chain")
    for reads, says in (("mdp", "asked for samples, and reads the MDP itself"), ("samples", "asked for the MDP, and reads samples")):
        spine = Planning(lambda problem: {"policy": problem.uniform()}, lambda problem, state, reads=reads: ask(problem, reads), reads=reads)
        with pytest.raises(RunFailed, match=says):
            spine.learner(world, [0], 10, CPU).iterate()


def ask(problem, reads):
    return problem.samples if reads == "mdp" else problem.mdp


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda problem: {"value": problem.zeros(5)}, r"the planner's state has no policy; \[S, \*shape\] is \[2, 5, 2\]"),
        (lambda problem: {"policy": problem.zeros(5)}, r"has a policy of shape \[2, 5\]"),
        (lambda problem: {"policy": problem.zeros(5, 2)}, r"the policy of iteration 1 is no distribution over actions: seed 3, state \[0\]"),
    ],
)
def test_a_state_that_is_none_is_named(state, says: str):
    spine = Planning(lambda problem: {"policy": problem.uniform()}, lambda problem, before: state(problem))
    with pytest.raises(RunFailed, match=says):
        spine.learner(make_world("tabular:chain"), [3, 4], 10, CPU).iterate()
    with pytest.raises(BadInput, match="is no finite MDP"):
        replace(spine, reads="samples").check(make_world("sequences:target"), [0], 1, None)


@pytest.mark.parametrize(("key", "task", "options", "told"), [
    ("ftpedel", "layered", {"batch_episodes": 10**9}, "playing 1,000,000,000 episodes of 3 steps at a time takes 300 GB"),
    ("sqirl", "random-episodes", {"episodes": 10**9}, "playing 1,000,000,000 episodes"),
    ("gorp", "random-episodes", {"episodes": 10**9}, "playing 1,000,000,000 episodes"),
    ("optimal-design", "misspecified-bandit", {"repeats": 10**9}, "playing 1,000,000,000 episodes of 1 step at a time"),
    ("sparse-misspecified-bandit", "misspecified-bandit", {"repeats": 10**9}, "playing 1,000,000,000 episodes"),
    ("igw-payments", "payments", {"memory": 10**9}, "a table of 1 × 1,000,000,000 × "),
    ("igw-payments", "payments", {"task.batch": 10**9}, "playing 1,000,000,000 episodes of 1 step"),
    ("igw-payments", "payments", {"task.delay": 10**9}, "a table of 1 × 1,000,000,001 × "),
    ("hf-rf-linmix", "linear-mixture", {"moments": 10**9}, "moments = 1000000000: it must be in"),
    ("vi-lcb", "river-swim", {"transitions": 10**9}, "1,000,000,000 transitions takes"),
    ("value-iteration", "chain", {"horizon": 10**9}, "a policy for 5 states over 1,000,000,000 steps takes 320 GB.*: take a shorter horizon$"),
    ("ftpedel", "tiger", {}, "341 states and 3 actions, here about 1e163, and can 512 at most"),
])  # fmt: skip
def test_what_a_planner_has_no_memory_for_is_refused_before_its_run(key, task, options, told):
    with pytest.raises(BadInput, match=told):
        configure_run(key, f"tabular:{task}", hyperparameters=options)


@pytest.mark.parametrize(("task", "options", "axes", "told"), [
    ("chain", {}, (4,), r"values have shape \[1, 4\], must be \[S, K\], here \[S, 5\]"),
    ("chain", {"horizon": 3}, (5,), r"values have shape \[1, 5\], must be \[S, H, K\], here \[S, 3, 5\]"),
    ("garnet", {"states": 20}, (5,), r"values have shape \[1, 5\], must be \[S, K\], here \[S, 20\]"),
])  # fmt: skip
def test_values_of_another_shape_are_told(task, options, axes, told):
    mdp = make_world(f"tabular:{task}", **options).mdp(Streams([0]))
    with pytest.raises(RunFailed, match=told):
        mdp.backup(torch.zeros(1, *axes, dtype=torch.float64))
    with pytest.raises(RunFailed, match="policies have shape"):
        make_world("tabular:chain").mdp(Streams([0])).value(torch.zeros(1, 3, 2, dtype=torch.float64))
