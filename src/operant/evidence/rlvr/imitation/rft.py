"""RFT: fitting the right answers climbs the logarithm of the pass rate."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from operant.core.records import Rollout
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import GROUP, random_policy, relative_error, spine
from operant.loops.terms import TermBatch
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem


@check(
    "rft",
    "log-pass-rate",
    "exact",
    "sequences:parity, sequences:target and sequences:sum-mod (answers of one length L, rewards of 0 and 1), 5 random tables: summed over every group of "
    "K = 2, the gradient of the loss is minus that of (1 - (1 - p)^K) log p / L, the factor held fixed and p the prompt's pass rate, relative error at "
    "most 1e-9",
)
def log_pass_rate(folder: Path) -> Finding:
    errors = []
    for name in ("parity", "target", "sum-mod"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            found = exact.expected_estimator_gradient(policy, problem, estimator, group_size=GROUP, reduce="token-mean").mean["logits"]
            rate = exact.expected_reward(policy, problem)
            truth = exact.gradient(exact.at_least_one(rate, GROUP).detach() * rate.log() / problem.length, policy)["logits"]
            errors.append(relative_error(-found, truth))
    return Finding(max(errors) <= 1e-9, {"largest_relative_error": max(errors), "tolerance": 1e-9})


def estimator(rollout: Rollout, outputs: dict[str, Tensor]) -> Tensor:
    """The method's loss a step, every group being a batch of its own."""
    method = spine("rft")
    batches = rollout.with_tensors({name: value.reshape(-1, GROUP, *value.shape[2:]) for name, value in rollout.tensors().items()})
    advantage = method.credit(batches).reshape(rollout.shape)
    return method.terms[0](TermBatch({"advantage": advantage, "log_prob": outputs["log_prob"]}))
