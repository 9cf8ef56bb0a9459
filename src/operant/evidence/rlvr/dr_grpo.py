"""Dr. GRPO: without the two divisions, GRPO's gradient is a constant times the exact one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import GROUP, direction_error, loss_gradient, random_policy, relative_error, spine
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem


@claim(
    "dr-grpo",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2, the gradient of the loss times K/(K - 1) and its constant length "
    "is the exact gradient of the reward, relative error at most 1e-9; with either of GRPO's divisions (by the group's deviation, by the answer's length) "
    "its direction is another (sine of the angle at least 0.01)",
)
def check(folder: Path) -> Finding:
    own, with_std, with_length = [], [], []
    method = spine("dr-grpo")
    scale = GROUP / (GROUP - 1) * method.reduce_length
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            truth = exact.exact_gradient(policy, problem)["logits"]
            own.append(relative_error(-scale * loss_gradient(method, policy, problem), truth))
            with_length.append(direction_error(-loss_gradient(spine("grpo", normalize_std=False), policy, problem), truth))
            summed = replace(spine("grpo"), reduce="sequence-sum", reduce_length=1)
            with_std.append(direction_error(-loss_gradient(summed, policy, problem), truth))
    figures = {
        "relative_error": {"largest": max(own), "tolerance": 1e-9},
        "sine_with_deviation": {"smallest": min(with_std), "threshold": 0.01},
        "sine_with_length": {"smallest": min(with_length), "threshold": 0.01},
    }
    return Finding(verdict([max(own) <= 1e-9, min(with_std) >= 0.01, min(with_length) >= 0.01]), figures, seeds=5)
