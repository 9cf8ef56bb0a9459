import math

import pytest
import torch

from operant import ops


def test_forbidden_choices_have_no_share():
    logits = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    allowed = torch.tensor([True, False, True])
    found = ops.forbid(logits, allowed)
    probability = found.softmax(-1)
    assert probability[1] == 0
    torch.testing.assert_close(probability[[0, 2]], torch.tensor([1.0, 3.0]).softmax(-1))
    ops.categorical_log_prob(found, torch.tensor(0)).backward()
    assert logits.grad[1] == 0 and logits.grad[0] > 0 > logits.grad[2]


def test_gaussian_by_hand_and_by_loop():
    # Standard normal at 0 in two dimensions: 1 / (2 pi).
    assert ops.gaussian_log_prob(torch.zeros(2), torch.zeros(2), torch.zeros(2)).item() == pytest.approx(-math.log(2 * math.pi))
    assert ops.gaussian_entropy(torch.zeros(2)).item() == pytest.approx(1 + math.log(2 * math.pi))
    g = torch.Generator().manual_seed(0)
    x, mean = torch.randn(4, 3, generator=g, dtype=torch.float64), torch.randn(4, 3, generator=g, dtype=torch.float64)
    log_std = torch.randn(3, generator=g, dtype=torch.float64)
    got = ops.gaussian_log_prob(x, mean, log_std)
    for n in range(4):
        want = 0.0
        for a in range(3):
            std = math.exp(log_std[a])
            want += math.log(math.exp(-((float(x[n, a] - mean[n, a])) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi)))
        assert got[n].item() == pytest.approx(want, rel=1e-12)
    assert ops.gaussian_entropy(log_std).item() == pytest.approx(torch.distributions.Normal(0, log_std.exp()).entropy().sum().item())


def test_gaussian_entropy_is_minus_the_mean_log_density():
    x = torch.linspace(-40, 40, 200_001, dtype=torch.float64).unsqueeze(-1)
    log_std = torch.tensor([0.8], dtype=torch.float64)
    log_prob = ops.gaussian_log_prob(x, torch.tensor([0.3], dtype=torch.float64), log_std)
    assert torch.trapezoid(-log_prob.exp() * log_prob, x[:, 0]).item() == pytest.approx(ops.gaussian_entropy(log_std).item(), abs=1e-8)


def test_tanh_log_det():
    u = torch.tensor([[0.3, -1.2], [4.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(ops.tanh_log_det(u), (1 - u.tanh() ** 2).log().sum(-1), rtol=1e-10, atol=1e-12)
    # tanh(20) is 1 in float32 and the formula as written is log 0; the identity gives log 4 - 2 u.
    far = torch.tensor([20.0, -50.0], requires_grad=True)
    assert ops.tanh_log_det(far).item() == pytest.approx(2 * math.log(4) - 140, rel=1e-6)
    ops.tanh_log_det(far).backward()
    torch.testing.assert_close(far.grad, torch.tensor([-2.0, 2.0]))


def test_tanh_gaussian_density_integrates_to_one_over_the_actions():
    action = torch.linspace(-1, 1, 400_003, dtype=torch.float64)[1:-1]
    for mean, log_std in ((0.0, 0.0), (0.7, -0.5), (-0.4, -1.5)):
        m, s = torch.tensor([mean], dtype=torch.float64), torch.tensor([log_std], dtype=torch.float64)
        density = ops.tanh_gaussian_log_prob(action.atanh().unsqueeze(-1), m, s).exp()
        assert torch.trapezoid(density, action).item() == pytest.approx(1, abs=1e-4)


def test_a_tanh_gaussian_sample_and_its_gradients_are_those_of_its_parts():
    generator = torch.Generator().manual_seed(3)
    mean, log_std = (torch.randn(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    noise = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    u = mean + log_std.exp() * noise
    parts, found = (u.tanh(), ops.tanh_gaussian_log_prob(u, mean, log_std)), ops.tanh_gaussian_sample(mean, log_std, noise)
    for mine, right in zip(found, parts, strict=True):
        torch.testing.assert_close(mine, right)
    for of in (0, 1):  # what flows through the action alone, and through its log-density alone
        gradients = [torch.autograd.grad(given[of].square().sum(), (mean, log_std), retain_graph=True) for given in (found, parts)]
        torch.testing.assert_close(*gradients)
    # Where tanh rounds to 1 in float32, all stays finite.
    far = torch.tensor([[30.0]], requires_grad=True)
    action, log_prob = ops.tanh_gaussian_sample(far, torch.zeros(1, 1), torch.ones(1, 1))
    assert action.item() == 1 and log_prob.item() == pytest.approx(ops.tanh_gaussian_log_prob(far + 1, far, torch.zeros(1, 1)).item(), rel=1e-6)
    log_prob.backward()
    assert far.grad.item() == 2


def test_gradients_of_densities_are_those_of_finite_differences_and_so_are_theirs():
    generator = torch.Generator().manual_seed(4)
    x, mean, log_std, logits = (torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in ((2, 3), (2, 3), (3,), (2, 4)))
    action = torch.tensor([3, 0])
    for function, inputs in ((ops.gaussian_log_prob, (x, mean, log_std)), (lambda z: ops.categorical_log_prob_and_entropy(z, action), (logits,))):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_categorical_and_tokens():
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    action = torch.tensor([1, 0])
    want = torch.tensor([math.log(0.75), math.log(0.5)], dtype=torch.float64)
    torch.testing.assert_close(ops.categorical_log_prob(logits, action).detach(), want)
    log_prob, entropy = ops.categorical_log_prob_and_entropy(logits, action)
    torch.testing.assert_close(log_prob.detach(), want)
    torch.testing.assert_close(entropy, ops.entropy_from_logits(logits))
    ops.categorical_log_prob(logits, action).sum().backward()
    # The score function: one-hot minus the probabilities.
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.25], [0.5, -0.5]], dtype=torch.float64))


def test_token_entropy_has_a_finite_gradient_where_tokens_are_forbidden():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    log_prob, entropy = ops.categorical_log_prob_and_entropy(logits, torch.tensor([0]))
    (log_prob + entropy).sum().backward()
    free = torch.tensor([[0.0, 1.0]], requires_grad=True)
    free_log_prob, free_entropy = ops.categorical_log_prob_and_entropy(free, torch.tensor([0]))
    (free_log_prob + free_entropy).sum().backward()
    torch.testing.assert_close(logits.grad[:, :2], free.grad)
    assert logits.grad[0, 2] == 0
