"""Finite MDPs with known features or kernels: their tables are what they say, by factors and by hand; what is told reaches planners; what is not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.loops.planning import Problem
from operant.worlds import make_world
from operant.worlds.tabular.problems import LINEAR_BANDIT, LINEAR_MDP, LINEAR_MIXTURE, LinearMDP

SEEDS = [100, 101]


def test_a_linear_mdp_is_the_product_of_its_factors():
    """P = phi mu and r = <phi, theta>, so that the rank of P is d at most; phi and mu are distributions; one that is written out sum by sum."""
    mdp = make_world("tabular:linear-mdp", states=7, actions=3).mdp(Streams(SEEDS))
    features, measures, theta = LINEAR_MDP.features(7, 3, SEEDS), LINEAR_MDP.measures(7, SEEDS), LINEAR_MDP.theta(SEEDS)
    assert torch.equal(mdp.features, features.unsqueeze(1)) and mdp.shape == (6, 7, 3) and mdp.features.shape == (2, 1, 7, 3, 5)
    for table in (features, measures):
        assert table.min() >= 0
        torch.testing.assert_close(table.sum(-1), torch.ones_like(table.sum(-1)))
    assert torch.linalg.matrix_rank(mdp.transition[1, 0].flatten(0, 1)) == 5
    by_hand = sum(features[1, 4, 2, i] * measures[1, i, 6] for i in range(5))
    assert mdp.transition[1, 0, 4, 2, 6].item() == pytest.approx(by_hand.item())
    assert mdp.reward[1, 0, 4, 2].item() == pytest.approx(sum(features[1, 4, 2, i] * theta[1, i] for i in range(5)).item())
    q = mdp.backup(mdp.value(torch.full((2, 6, 7, 3), 1 / 3).double()))  # every Q is linear: the projection on the features leaves nothing
    fitted = features.flatten(1, 2).unsqueeze(1) @ torch.linalg.pinv(features.flatten(1, 2)).unsqueeze(1) @ q.flatten(2).unsqueeze(-1)
    torch.testing.assert_close(fitted.squeeze(-1), q.flatten(2))
    endless = make_world("tabular:linear-mdp", discount=0.9).mdp(Streams(SEEDS))
    assert endless.features.shape == (2, 20, 4, 5) and endless.horizon is None


def test_the_low_rank_mdp_is_the_same_and_tells_models():
    """No features, but 31 models of which one is right and the others are distributions too, wherever it stands."""
    known, hidden = (make_world(f"tabular:{name}").mdp(Streams(SEEDS)) for name in ("linear-mdp", "low-rank"))
    assert torch.equal(known.transition, hidden.transition) and torch.equal(known.reward, hidden.reward) and hidden.features is None
    models = torch.einsum("smkad,smdj->smkaj", hidden.candidate_features, hidden.candidate_measures)
    torch.testing.assert_close(models.sum(-1), torch.ones(2, 31, 20, 4).double())
    off = (models - known.transition).abs().amax((-3, -2, -1))
    assert ((off < 1e-12).sum(1) == 1).all() and off.amax(1).min() > 0.5 and off.argmin(1).unique().numel() == 2


def test_a_linear_bandit_by_hand():
    """(1 + <x, w>) / 2 of directions; features of length 1; rewards 0 or 1."""
    mdp = make_world("tabular:linear-bandit").mdp(Streams(SEEDS))
    features, theta = LINEAR_BANDIT.features(10, 5, SEEDS), LINEAR_BANDIT.theta(SEEDS)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2, 10, 5).double())
    x, w = features[1, 3, 2, 1:] * 2**0.5, theta[1, 1:] * 2**0.5
    assert (x.norm().item(), w.norm().item()) == pytest.approx((1, 1))
    assert mdp.reward[1, 0, 3, 2].item() == pytest.approx((1 + x.dot(w).item()) / 2) and mdp.bernoulli and mdp.horizon == 1
    assert torch.equal(mdp.features[:, 0], features)


def test_a_linear_mixture_mixes_its_kernels():
    mdp, theta = make_world("tabular:linear-mixture").mdp(Streams(SEEDS)), LINEAR_MIXTURE.theta(SEEDS)
    assert mdp.kernels.shape == (2, 5, 15, 4, 15) and theta.min() > 0
    torch.testing.assert_close(theta.sum(-1), torch.ones(2).double())
    torch.testing.assert_close(mdp.transition[0, 0], sum(theta[0, j] * mdp.kernels[0, j] for j in range(5)))
    torch.testing.assert_close(mdp.kernels.sum(-1), torch.ones(2, 5, 15, 4).double())


def test_a_peak_of_one_is_uniform_on_the_simplex():
    """The mean of each coordinate is 1/d and its variance (d - 1) / (d² (d + 1)), those of the flat Dirichlet."""
    flat = LinearMDP(4, peaked=1.0).features(500, 20, [100])[0].flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.full((4,), 0.25).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(flat.var(0), torch.full((4,), 3 / 80).double(), atol=0.002, rtol=0)


def file(path: Path, **arrays) -> str:
    np.savez(path, transition=np.eye(2)[:, None].repeat(3, 1), reward=np.zeros((2, 3)), horizon=4, **arrays)
    return f"tabular:{path}"


def problem(task: str) -> Problem:
    return Problem("samples", make_world(task), Streams(SEEDS))


def test_a_file_tells_what_it_has(tmp_path: Path):
    phi = np.arange(12.0).reshape(2, 3, 2)
    assert problem(file(tmp_path / "a.npz", features=phi)).features.tolist() == [[phi.tolist()]]
    each = np.stack([phi, phi, phi, 2 * phi])
    assert problem(file(tmp_path / "b.npz", features=each)).features.tolist() == [each.tolist()]
    kernels = np.stack([np.eye(2)[:, None].repeat(3, 1), np.full((2, 3, 2), 0.5)])
    kernels = np.concatenate([kernels, kernels[:1]])  # weights need not be unique
    assert problem(file(tmp_path / "c.npz", kernels=kernels)).kernels.tolist() == [kernels.tolist()]
    candidates = {"candidate_features": np.full((2, 2, 3, 1), 1.0), "candidate_measures": np.full((2, 1, 2), 0.5)}
    told = problem(file(tmp_path / "d.npz", **candidates)).candidates
    assert [table.shape for table in told] == [(1, 2, 2, 3, 1), (1, 2, 1, 2)]
    assert make_world(f"tabular:{tmp_path}/a.npz").fingerprint() != make_world(f"tabular:{tmp_path}/c.npz").fingerprint().replace("c.npz", "a.npz")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"features": np.zeros((3, 2, 2))}, r"features has shape \[1, 1, 3, 2, 2\], must be \[S, H, K, A, d\] with 2 states and 3 actions"),
        ({"features": np.zeros((3, 2, 3, 2))}, r"features has shape \[1, 3, 2, 3, 2\]"),
        ({"features": np.full((2, 3, 1), np.nan)}, r"features\[0, 0, 0\] is nan, must be a finite number"),
        ({"kernels": np.zeros((2, 3, 2))}, r"kernels has shape \[2, 3, 2\], must be \[d, K, A, K\]$"),
        ({"kernels": np.full((1, 2, 3, 2), [2, -1])}, r"kernels\[0, 0, 0, 1\] is -1: a probability is at least 0"),
        ({"kernels": np.full((1, 2, 3, 2), 0.4)}, r"kernels\[0, 0, 0\] sums to 0.8, must be 1"),
        ({"kernels": np.full((1, 2, 3, 2), 0.5)}, "transition is no mixture of the kernels: the nearest one, by least squares, is off by 0.5"),
    ],
)
def test_what_a_file_tells_has_the_sizes_of_its_tables(tmp_path: Path, arrays: dict, says: str):
    with pytest.raises(BadInput, match=says):
        make_world(file(tmp_path / "m.npz", **arrays))


def test_what_is_not_told_is_refused_in_one_line():
    with pytest.raises(BadInput, match="^tabular:chain tells no features, and this planner needs them: take tabular:linear-mdp or tabular:linear-bandit, or a"):
        problem("tabular:chain").features  # noqa: B018
    with pytest.raises(BadInput, match="^tabular:linear-mdp tells no kernels, and this planner needs them: take tabular:linear-mixture, or a file"):
        problem("tabular:linear-mdp").kernels  # noqa: B018
