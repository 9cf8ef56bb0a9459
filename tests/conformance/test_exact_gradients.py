"""On an enumerable problem the gradient that the loop computes from samples is, in the mean, the one that its objective has when every group is summed over.

The batch is one group: whatever a method computes over a batch (statistics, filters, selections) is then part of what is summed over.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from battery import Case, is_policy_gradient, long
from long_tier import due

from operant.core.records import Rollout
from operant.worlds.hints import Hinted
from operant.worlds.plans import Groups
from operant.worlds.sequences.exact import exact_gradient, replay_all
from operant.worlds.temperature import EntropyTemperature
from operant.worlds.trees import ExploringStage, Windows

TASK = "sequences:parity"  # 32 sequences, half of them right under a uniform policy
ROWS = 2  # of a group: 32² groups a prompt are summed over
REPLICAS = 250  # independent seeds
ROUNDS = 12  # iterations of one group each
SETTINGS = {"epochs": 1, "minibatches": 1, "learning_rate": 0.0, "max_grad_norm": float("inf")}


# Plans that draw independent answers too, if at another time (windows), prompt (hints) or temperature, or in their last stage. Here they draw them at once.
LIKE_GROUPS = (Groups, Windows, Hinted, EntropyTemperature, ExploringStage)


def enumerable(case: Case) -> bool:
    """Methods whose batch is one group of independent answers; plans that sample otherwise have their own tests."""
    return case.task == "sequences:target" and type(case.spine().sample) in LIKE_GROUPS


@long(is_policy_gradient, enumerable)
def test_the_sampled_gradient_converges_to_the_exact_one(case: Case):
    """Filling a batch is left out: it chooses whole groups, and what a chosen one contributes is what is summed over here."""
    case = Case(case.key, TASK)
    spine = replace(case.spine(group_size=ROWS, prompts=1, micro_batch=0), sample=Groups(1, ROWS), fill=None, **SETTINGS)
    learner = case.learner(tuple(range(REPLICAS)), spine=spine)
    start = away_from_uniform(learner)
    mean, error = sampled_gradient(learner)
    exact = enumerated_gradient(case, spine, start)
    assert learner.policy.logits.dtype == torch.float64
    assert_agrees(mean, error, exact)


@pytest.mark.parametrize("cut_every", [pytest.param(each, marks=() if due("spo") else pytest.mark.long) for each in (1, 2)])
def test_advantages_of_probed_segments_give_the_policy_gradient(cut_every: int):
    """SPO's objective is the expected reward; with every token learned from, answers of one length L are weighted by 1 / L."""
    case = Case("spo", TASK)
    spine = replace(case.spine(group_size=1, prompts=1, micro_batch=0, probes=2, cut_every=cut_every, threshold=1.0), **SETTINGS)
    learner = case.learner(tuple(range(REPLICAS)), spine=spine)
    away_from_uniform(learner)
    mean, error = sampled_gradient(learner)
    problem = learner.world.problem
    exact = -exact_gradient(learner.policy, problem)["logits"][0].flatten() / problem.length
    assert_agrees(mean, error, exact)


def assert_agrees(mean: torch.Tensor, error: torch.Tensor, exact: torch.Tensor) -> None:
    assert exact.abs().max() > 10 * error.max()  # there is something to see
    unseen = (error == 0) & (exact.abs() < 1e-4)  # what only answers contribute that are hardly ever drawn
    assert (((mean - exact).abs() <= 6 * error + 1e-12) | unseen).all(), ((mean - exact).abs() / error.clamp(min=1e-12)).max()


def sampled_gradient(learner) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gradient of many iterations of one group each, mean over prompts, and its standard error; the parameters of a seed side by side."""
    rounds = []
    for _ in range(ROUNDS):  # every prompt in turn
        learner.updater.flat.grad.zero_()
        learner.iterate()
        rounds.append(torch.cat([p.grad.flatten(1) for p in learner.updater.flat.parameters], 1).clone())
    sampled = torch.stack(rounds).unflatten(0, (-1, learner.world.problem.prompts)).mean(1).flatten(0, 1)  # a row: all prompts once
    return sampled.mean(0), sampled.std(0) / len(sampled) ** 0.5


def away_from_uniform(learner) -> dict[str, torch.Tensor]:
    """Give every replica the same policy (and critic, and reference), and return its parameters."""
    generator = torch.Generator().manual_seed(5)
    start = {}
    with torch.no_grad():
        for name, parameter in learner.policy.named_parameters():
            start[name] = torch.randn(parameter.shape[1:], generator=generator, dtype=parameter.dtype)
            parameter.copy_(start[name].expand_as(parameter))
    return start


def enumerated_gradient(case: Case, spine, start: dict[str, torch.Tensor]) -> torch.Tensor:
    """The expectation over every group of one prompt, mean over prompts: each group is a seed of its own, so that the loop's own code sees it as a batch."""
    problem = case.world().problem
    members = torch.tensor(list(itertools.product(range(len(problem.sequences)), repeat=ROWS)))
    learner = case.learner(tuple(range(len(members))), spine=spine)
    with torch.no_grad():
        for name, parameter in learner.policy.named_parameters():
            parameter.copy_(start[name].expand_as(parameter))
    log_probs = replay_all(learner.policy, problem)["log_prob"].detach()
    total = 0
    for prompt in range(problem.prompts):
        rows = torch.full((len(members), ROWS), prompt)
        log_prob = log_probs[0, prompt][members]  # [groups, ROWS, L]
        weight = log_prob.sum((1, 2)).exp()
        rollout = problem.score(problem.pack(rows, problem.sequences[members], log_prob, ROWS, version=0))
        learner.source.sample = lambda policy, version, rollout=rollout: replace_version(rollout, version)
        learner.source.score = lambda rollout: rollout
        learner.updater.flat.grad.zero_()
        learner.iterate()
        gradient = torch.cat([p.grad.flatten(1) for p in learner.updater.flat.parameters], 1)
        total = total + (weight.unsqueeze(1) * gradient).sum(0) / problem.prompts
    return total


def replace_version(rollout: Rollout, version: int) -> Rollout:
    return replace(rollout, version=version, mask=rollout.mask.clone(), extras={})
