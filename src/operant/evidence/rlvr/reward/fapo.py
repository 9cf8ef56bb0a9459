"""FAPO: flawed right answers are rewarded while nothing better is at hand, and then unlearned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, held_out_answers, language
from operant.loops.runs import Run

RUNS = "text:cued, 100 iterations, means over 5 seeds"


@check(
    "fapo",
    "sign",
    "exact",
    "the sign of a flawed right answer's advantage is that of (share of wrong) - (share of sound right) answers in every group of up to 12",
)
def sign(folder: Path) -> Finding:
    agree, groups = sign_identity()
    return Finding(agree == groups, {"groups": groups, "agree": agree})


@check(
    "fapo",
    "fewer-flawed",
    "small",
    f"{RUNS}: the share of right answers by flawed steps after training is at most half of that of outcome-only GRPO",
)
def fewer_flawed(folder: Path) -> Finding:
    flawed = {name: [flawed_share(run) for run in language(name, "text:cued").runs] for name in ("fapo", "grpo")}
    return Finding(bool(np.mean(flawed["fapo"]) <= 0.5 * np.mean(flawed["grpo"])), {"flawed_share_of_right": flawed}, SEEDS)


@check("fapo", "pass@1", "small", f"{RUNS}: accuracy with the cue is at least GRPO's less 0.01")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("fapo", "text:cued"), language("grpo", "text:cued")
    figures = {"fapo": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()}
    return Finding(bool(own.score.mean() >= grpo.score.mean() - 0.01), figures, SEEDS)


@check("fapo", "without-the-cue", "small", f'{RUNS}: accuracy without the cue (split "uncued") is at least 0.03 above GRPO\'s')
def without_the_cue(folder: Path) -> Finding:
    uncued = {name: [uncued_score(run) for run in language(name, "text:cued").runs] for name in ("fapo", "grpo")}
    gain = float(np.mean(uncued["fapo"]) - np.mean(uncued["grpo"]))
    return Finding(gain >= 0.03, uncued | {"gain": gain, "threshold": 0.03}, SEEDS)


def sign_identity() -> tuple[int, int]:
    """(groups whose flawed answers have the sign that the shares say, all groups) over every mixture of sound, flawed and wrong answers up to 12."""
    agree = total = 0
    for size in range(2, 13):
        for sound in range(size):
            for wrong in range(size - sound):
                flawed = size - sound - wrong
                if flawed < 1 or flawed == size:
                    continue
                correct = torch.tensor([1.0] * (sound + flawed) + [0.0] * wrong, dtype=torch.float64)
                steps = torch.tensor([1.0] * sound + [0.0] * (flawed + wrong), dtype=torch.float64)
                advantage = ops.group_normalized_advantage(ops.flaw_penalized_reward(correct, steps, penalty=1.0)[None])[0, sound]
                total += 1
                agree += int(torch.sign(advantage.round(decimals=9))) == int(np.sign(wrong - sound))
    return agree, total


def _held_out(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(right, sound) of 16 answers to 128 problems of a split by the trained policy."""
    task = run.world.problems
    problems, answers = held_out_answers(run, split)
    right = [[task.verifier.score(problem, text) > 0.5 for text in texts] for problem, texts in zip(problems, answers, strict=True)]
    sound = [[task.process.score(problem, text) > 0.5 for text in texts] for problem, texts in zip(problems, answers, strict=True)]
    return np.array(right), np.array(sound)


def flawed_share(run: Run) -> float:
    """Of the right answers to held-out problems with the cue, the share by flawed steps."""
    right, sound = _held_out(run, "operands")
    return float((right & ~sound).sum() / max(1, right.sum()))


def uncued_score(run: Run) -> float:
    """pass@1 on problems whose cue says nothing."""
    return float(_held_out(run, "uncued")[0].mean())
