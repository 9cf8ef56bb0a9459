from itertools import product

import pytest
import torch

from operant import ops
from operant.ops import finite_mdp

F64 = torch.float64


def two_states(discount: float = 0.5):
    """State 0: action 0 stays and gives 1, action 1 goes to state 1 and gives 0. State 1: both stay and give 2."""
    reward = torch.tensor([[1.0, 0.0], [2.0, 2.0]], dtype=F64)
    transition = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], dtype=F64)
    return reward, transition


def drawn(*lead: int, states: int = 4, actions: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    reward = torch.rand(*lead, states, actions, generator=generator, dtype=F64)
    transition = torch.rand(*lead, states, actions, states, generator=generator, dtype=F64) ** 3
    policy = torch.rand(*lead, states, actions, generator=generator, dtype=F64)
    initial = torch.rand(*lead, states, generator=generator, dtype=F64)
    return reward, transition / transition.sum(-1, keepdim=True), policy / policy.sum(-1, keepdim=True), initial / initial.sum(-1, keepdim=True)


def test_bellman_q_and_greedy_policy():
    reward, transition = two_states()
    q = ops.bellman_q(reward, transition, torch.tensor([2.0, 4.0], dtype=F64), discount=0.5)
    assert q.tolist() == [[2.0, 2.0], [4.0, 4.0]]
    assert ops.greedy_policy(q).tolist() == [[1.0, 0.0], [1.0, 0.0]]  # the first of equals
    assert ops.greedy_policy(torch.tensor([[1.0, 3.0, 2.0]])).tolist() == [[0.0, 1.0, 0.0]]


def test_bellman_q_is_a_double_loop():
    reward, transition, _, value = drawn(2)
    found = ops.bellman_q(reward, transition, value, discount=0.9)
    for s, k, a in product(range(2), range(4), range(3)):
        expected = float(reward[s, k, a]) + 0.9 * sum(float(transition[s, k, a, j]) * float(value[s, j]) for j in range(4))
        assert found[s, k, a].item() == pytest.approx(expected, rel=1e-14)
    shared = ops.bellman_q(reward[:1], transition[:1], value, discount=0.9)  # one process, two value functions
    torch.testing.assert_close(shared[1], ops.bellman_q(reward[0], transition[0], value[1], discount=0.9))


def test_values_of_a_policy():
    """Staying gives 1 / (1 − 1/2) = 2; going gives 0 + 1/2 · 4, for state 1 is worth 2 / (1 − 1/2). Half of each: v = (1 + v/2)/2 + (4/2)/2, v = 2."""
    reward, transition = two_states()
    for stays in (1.0, 0.0, 0.5):
        policy = torch.tensor([[stays, 1 - stays], [1.0, 0.0]], dtype=F64)
        torch.testing.assert_close(ops.stationary_value(reward, transition, policy, discount=0.5), torch.tensor([2.0, 4.0], dtype=F64))
    policy = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=F64)
    value = ops.horizon_value(reward.unsqueeze(0), transition.unsqueeze(0), policy.expand(3, 2, 2))
    assert value.tolist() == [[4.0, 6.0], [2.0, 4.0], [0.0, 2.0]]  # go, then 2 a step
    assert ops.next_step_value(value).tolist() == [[2.0, 4.0], [0.0, 2.0], [0.0, 0.0]]


def test_values_are_sums_of_discounted_rewards():
    """A literal loop: what 400 more steps give, from the last one back."""
    reward, transition, policy, _ = drawn()
    value = [0.0] * 4
    for _ in range(400):
        value = [
            sum(float(policy[k, a]) * (float(reward[k, a]) + 0.9 * sum(float(transition[k, a, j]) * value[j] for j in range(4))) for a in range(3))
            for k in range(4)
        ]
    assert ops.stationary_value(reward, transition, policy, discount=0.9).tolist() == pytest.approx(value, rel=1e-12)


def test_occupancies():
    """From state 0, always going: half of the time in 0, for (1 − 1/2) · 1, the rest in 1."""
    reward, transition = two_states()
    policy, initial = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=F64), torch.tensor([1.0, 0.0], dtype=F64)
    found = ops.stationary_occupancy(initial, transition, policy, discount=0.5)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.5], [0.5, 0.0]], dtype=F64))
    found = ops.horizon_occupancy(initial, transition.unsqueeze(0), policy.expand(2, 2, 2))
    assert found.tolist() == [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]


def test_an_occupancy_gives_the_value():
    """Σ d(s, a) r(s, a) = (1 − γ) Σ ρ(s) V(s), and over steps without the factor; each occupancy sums to 1."""
    reward, transition, policy, initial = drawn(3)
    d = ops.stationary_occupancy(initial, transition, policy, discount=0.9)
    torch.testing.assert_close(d.sum((-2, -1)), torch.ones(3, dtype=F64))
    value = ops.stationary_value(reward, transition, policy, discount=0.9)
    torch.testing.assert_close((d * reward).sum((-2, -1)), 0.1 * (initial * value).sum(-1))
    reward, transition, policy, _ = drawn(3, 5)
    d = ops.horizon_occupancy(initial, transition, policy)
    torch.testing.assert_close(d.sum((-2, -1)), torch.ones(3, 5, dtype=F64))
    value = ops.horizon_value(reward, transition, policy)
    torch.testing.assert_close((d * reward).sum((-3, -2, -1)), (initial * value[:, 0]).sum(-1))


def test_values_do_not_hang_on_how_many_chains_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Five steps at once, two at a time, one: with steps that differ, with steps that are alike, and with two policies for one process."""
    reward, transition, policy, _ = drawn(2, 5)
    found = []
    for chains in (10**6, 2 * 2 * 16, 1):
        monkeypatch.setattr(finite_mdp, "CHAINS", chains)
        tables = (reward, transition, policy), (reward[:, :1], transition[:, :1], policy), (reward[:1], transition[:1], policy)
        found.append(torch.stack([ops.horizon_value(*given, discount=0.9) for given in tables]))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    last = (reward[:, 4] * policy[:, 4]).sum(-1)
    expected = (policy[:, 3] * ops.bellman_q(reward[:, 3], transition[:, 3], last, discount=0.9)).sum(-1)
    torch.testing.assert_close(found[0][0, :, 3:], torch.stack([expected, last], 1))


def test_the_optimum_is_the_best_of_all_policies():
    """Of all 3^4 deterministic policies none is better in any state."""
    reward, transition, _, _ = drawn(2)
    value, policy = ops.stationary_optimum(reward, transition, discount=0.9)
    best = torch.full((2, 4), -1.0, dtype=F64)
    for actions in product(range(3), repeat=4):
        one = torch.nn.functional.one_hot(torch.tensor(actions), 3).to(F64)
        best = torch.maximum(best, ops.stationary_value(reward, transition, one.expand(2, 4, 3), discount=0.9))
    torch.testing.assert_close(value, best)
    torch.testing.assert_close(ops.stationary_value(reward, transition, policy, discount=0.9), best)


def test_the_optimum_over_steps():
    reward, transition = two_states()
    value, policy = ops.horizon_optimum(reward.unsqueeze(0), transition.unsqueeze(0), horizon=3)
    assert value.tolist() == [[4.0, 6.0], [2.0, 4.0], [1.0, 2.0]]  # with two steps left staying and going give 2, and the last step stays
    assert policy[:, 0].tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    reward, transition, _, _ = drawn(2, 3)
    value, policy = ops.horizon_optimum(reward, transition, horizon=3)
    torch.testing.assert_close(ops.horizon_value(reward, transition, policy), value)
    other, _ = ops.horizon_optimum(reward[:, :1], transition[:, :1], horizon=3)
    torch.testing.assert_close(other[:, 2], reward[:, 0].amax(-1))  # the same at every step


def test_an_improved_policy_by_hand():
    """State 0: going is worth 3 and staying 2, so half of each becomes going. State 1: both are worth 4, and the choice stays as it is."""
    q, half = torch.tensor([[2.0, 3.0], [4.0, 4.0]], dtype=F64), torch.full((2, 2), 0.5, dtype=F64)
    policy, better = ops.improved_policy(q, half)
    assert policy.tolist() == [[0, 1], [0.5, 0.5]] and better.tolist() == [True, False]
    assert not ops.improved_policy(q, policy)[1].any()


def test_policy_iteration_ends_where_actions_are_equal():
    reward, transition = torch.ones(5, 3, dtype=F64) / 3, torch.full((5, 3, 5), 0.2, dtype=F64)
    value, _ = ops.stationary_optimum(reward, transition, discount=0.99)
    torch.testing.assert_close(value, torch.full((5,), 100 / 3, dtype=F64))


def test_hitting_times_by_hand():
    """0 goes to 1 every second time, or stays; 1 goes back, or on to 2, which is not left. From 0 one gets to 1 in two steps, and to 2 in three."""
    transition = torch.tensor([[[0.5, 0.5, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]], dtype=F64)
    infinite = float("inf")
    assert [ops.hitting_times(transition, target).tolist() for target in range(3)] == [[0, 1, infinite], [2, 0, infinite], [3, 1, 0]]


def test_hitting_times_are_for_sure():
    """0 goes to 1 or to the trap 2, equally likely, or, safely, to 1 every tenth time: ten steps, for the short way may never end."""
    transition = torch.tensor([[[0, 0.5, 0.5], [0.9, 0.1, 0]], [[0, 1, 0]] * 2, [[0, 0, 1]] * 2], dtype=F64)
    assert ops.hitting_times(transition, 1).tolist() == pytest.approx([10, 0, float("inf")])


def test_hitting_times_meet_their_equation():
    """h(s) = 1 + min_a Σ P h, and 0 at the end; no shorter than along any of a few policies."""
    _, transition, policy, _ = drawn()
    for target in range(4):
        steps = ops.hitting_times(transition, target)
        expected = (1 + transition @ steps).amin(-1)
        expected[target] = 0
        torch.testing.assert_close(steps, expected)
        others = [state for state in range(4) if state != target]
        chain = torch.einsum("kaj,ka->kj", transition, policy)[others][:, others]
        slower = torch.linalg.solve(torch.eye(3, dtype=F64) - chain, torch.ones(3, dtype=F64))
        assert (steps[others] <= slower).all()


def test_concentrability():
    occupancy = torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    assert ops.concentrability(occupancy, occupancy).item() == 1
    assert ops.concentrability(occupancy, torch.tensor([[0.4, 0.1], [0.25, 0.25]])).item() == 2
    assert ops.concentrability(occupancy, torch.tensor([[1.0, 0.0], [0.0, 0.0]])).item() == float("inf")


def test_empirical_model():
    """Pair 1 (state 0, action 1) was seen twice, gave 1 and 2, and led to states 0 and 1; pair 2 once."""
    pair, following = torch.tensor([[1, 1, 2]]), torch.tensor([[0, 1, 1]])
    count, reward, transition = ops.empirical_model(pair, following, torch.tensor([[1.0, 2.0, 5.0]]), shape=(2, 2))
    assert count.tolist() == [[[0, 2], [1, 0]]] and reward.tolist() == [[[0, 1.5], [5, 0]]]
    assert transition.tolist() == [[[[0, 0], [0.5, 0.5]], [[0, 1], [0, 0]]]]


def test_count_penalty():
    """2 √(4 / N): 4 of one visit, 2 of four; with a scale below 1 a pair that was not seen still costs all that there is."""
    assert ops.count_penalty(torch.tensor([0.0, 1.0, 4.0]), scale=4.0, most=2.0).tolist() == [4.0, 4.0, 2.0]
    assert ops.count_penalty(torch.tensor([0.0, 1.0, 4.0]), scale=0.25, most=2.0).tolist() == [2.0, 1.0, 0.5]


def test_moments_of_the_next_value_by_hand():
    transition = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.25, 0.75], [0.0, 1.0]]], dtype=torch.float64)
    mean, variance = ops.next_value_moments(transition, torch.tensor([2.0, 6.0], dtype=torch.float64))
    assert mean.tolist() == [[4, 2], [5, 6]] and variance.tolist() == [[4, 0], [3, 0]]
    step_axis = transition.expand(3, 1, 2, 2, 2)
    values = torch.rand(3, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ops.next_value_moments(step_axis, values)[0], torch.einsum("...kaj,...j->...ka", step_axis, values))


def test_empirical_bernstein_by_hand():
    count, variance = torch.tensor([0.0, 1.0, 100.0, 100.0]), torch.tensor([0.0, 0.0, 0.25, 0.0])
    width = ops.empirical_bernstein(count, variance, log=2.0, most=3.0)
    assert width.tolist() == pytest.approx([3, 3, 0.1 + 0.14, 0.14])  # 2 · 2 · 0.25 / 100 under the root, and 7 · 3 · 2 / 300


def test_limit_matrix_by_hand():
    # from 0 to two absorbing states, 1/4 and 3/4; and a cycle of two, which has no limit but has shares of time
    chain = torch.tensor([[0.5, 0.125, 0.375], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=F64)
    assert torch.allclose(ops.limit_matrix(chain), torch.tensor([[0, 0.25, 0.75], [0, 1, 0], [0, 0, 1]], dtype=F64))
    assert torch.allclose(ops.limit_matrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=F64)), torch.full((2, 2), 0.5, dtype=F64))


def test_limit_matrix_is_the_mean_of_the_powers():
    _, transition, policy, _ = drawn()
    chain = torch.einsum("kaj,ka->kj", transition, policy)
    found = ops.limit_matrix(chain)
    assert torch.allclose(found, torch.matrix_power(chain, 200)) and torch.allclose(found @ chain, found)
