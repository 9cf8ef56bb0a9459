"""Rollouts from sequence problems, and their exact evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import Policy, SequenceProblem

PASS_AT = (2, 4, 8, 16)


@dataclass(frozen=True)
class SequenceGroups:
    """Sampling plan: N = prompts * n rows, the n rows of a prompt side by side."""

    prompts: int  # prompts an iteration
    n: int  # sequences a prompt
    drawn: bool = False  # prompts drawn uniformly with replacement, instead of every prompt in turn

    def __post_init__(self):
        for name in ("prompts", "n"):
            if getattr(self, name) < 1:
                raise BadInput(f"sequence groups: {name} is {getattr(self, name)}, must be 1 or more; nearest: 1")


class SequenceSource:
    """Samples sequences from a policy of this world and scores them by the table.

    Args:
        problem: the problem.
        plan: how many prompts, and how many sequences for each.
        streams: one random stream a seed; as many seeds as the policy has.
    """

    resume = "bitwise"
    steps_per_sample = 1  # a step of this world is an iteration

    def __init__(self, problem: SequenceProblem, plan: SequenceGroups, streams: Streams):
        self.problem, self.plan, self.streams = problem, plan, streams
        self._cursor = 0

    def sample(self, policy: Policy, version: int) -> Rollout:
        """One iteration's sequences, `[S, prompts * n, L]`, with the policy's log-probabilities. The rewards are still 0."""
        seeds, plan = len(self.streams.seeds), self.plan
        if plan.drawn:
            prompt = self.streams.integers("sequences/prompt", self.problem.prompts, plan.prompts)
        else:
            prompt = (self._cursor + torch.arange(plan.prompts, device=self.streams.device)).remainder(self.problem.prompts).expand(seeds, -1)
            self._cursor = (self._cursor + plan.prompts) % self.problem.prompts
        prompt = prompt.repeat_interleave(plan.n, dim=1)
        action, log_prob, _ = policy.sample(prompt, self.streams.uniform("sequences/token", prompt.shape[1], self.problem.length))
        return self.problem.pack(prompt, action, log_prob, plan.n, version)

    def score(self, rollout: Rollout) -> Rollout:
        """The record with each row's reward on its last chosen step."""
        return self.problem.score(rollout)

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """Mean reward and number of tokens of a sequence, `[S]` each."""
        return {"reward": rollout.reward.sum(-1).mean(-1).cpu(), "length": rollout.mask.sum(-1).double().mean(-1).cpu()}

    def close(self) -> None:
        """Nothing is held open."""

    def state_dict(self) -> dict:
        return {"cursor": self._cursor, "streams": self.streams.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self._cursor = state["cursor"]
        self.streams.load_state_dict(state["streams"])


@torch.no_grad()
def evaluate(policy: Policy, problem: SequenceProblem) -> Evaluation:
    """Exact score: "pass@1" for 0/1 rewards, else "reward"; `values [S, P]`. Details: "entropy" `[S, P]` nats, and "pass@k" `[S, P]` for 0/1 rewards."""
    reward = exact.expected_reward(policy, problem).double().cpu()
    details = {"entropy": exact.entropy(policy, problem).double().cpu().numpy()}
    if problem.binary:
        details |= {f"pass@{k}": exact.at_least_one(reward, k).numpy() for k in PASS_AT}
    return Evaluation("pass@1" if problem.binary else "reward", reward.numpy(), details)
