"""A sampling plan that comes back to problems that were too hard or too easy, with a hint or with noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from operant.core.records import Rollout
from operant.core.status import Status
from operant.worlds.plans import Plan, Problems, Prompt, Request, Requests, check_positive


@dataclass(eq=False)
class Hinted(Plan):
    """`prompts` problems an iteration, `n` completions of each; some are problems of the iteration before, made easier or harder (arXiv:2506.07464).

    A problem whose completions all had the same reward teaches nothing. The iteration after, it comes once more: where its mean reward was below the running
    reference, its answers begin with a part of a right one (a hint); where it was above, tokens of its prompt are exchanged for others of the same prompt
    (noise). The distance from the reference, at most 1, is the strength: the share of the right answer that is given, and the share of `noise` that is put
    in; one token at least. The reference is the mean reward of unchanged problems over the last `window` iterations. Rewards are taken to lie in 0 to 1.

    Attributes:
        revisits: largest share of an iteration's problems that come once more, 0 to 1. 0 samples as `Groups` does.
        noise: share of a prompt's tokens that noise of full strength exchanges, 0 to 1.
        window: iterations that the reference looks back on.
        temperature: of sampling and of the policy that is trained.
        changed: problems that came once more in the latest iteration.
    """

    prompts: int = 16
    n: int = 16
    temperature: float = 1.0
    revisits: float = 0.5
    noise: float = 0.1
    window: int = 10
    changed: frozenset[int] = field(default=frozenset(), init=False, repr=False)
    _again: list[tuple[int, float]] = field(default_factory=list, init=False, repr=False)  # (problem, mean reward less the reference), the farthest first
    _means: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive(self, allow_zero=("revisits", "noise"))

    def requests(self, problems: Problems) -> Requests:
        again, self._again = self._again[: int(self.revisits * self.prompts)], []
        self.changed = frozenset(index for index, _ in again)
        changed = [self._change(problems, problems.prompt(index), gap) for index, gap in again]
        yield changed + [Request(prompt.tokens, self.n, group=prompt.index) for prompt in problems.draw(self.prompts - len(again))]

    def _change(self, problems: Problems, prompt: Prompt, gap: float) -> Request:
        if gap <= 0:
            given = hint(prompt.solution, -gap)
            return Request(prompt.tokens + given, self.n, max_new_tokens=problems.limit - len(given), group=prompt.index)
        tokens, length = list(prompt.tokens), len(prompt.tokens)
        count = min(length, max(1, round(gap * self.noise * length)))
        for place in problems.rng.choice(length, count, replace=False) if length > 1 else ():
            tokens[place] = prompt.tokens[(place + problems.rng.integers(1, length)) % length]
        return Request(tuple(tokens), self.n, group=prompt.index)

    def observe(self, rollout: Rollout) -> None:
        """Look at a scored rollout of one seed: what was too hard, and what too easy."""
        among = rollout.status[0] == int(Status.OK)
        if "probe" in rollout.extras:
            among = among & ~rollout.extras["probe"][0]
        group, score = rollout.group[0][among], rollout.reward[0].sum(-1)[among]
        alike, means = [], []
        for index in group.unique().tolist():
            if index in self.changed:
                continue
            rewards = score[group == index]
            means.append(float(rewards.mean()))
            if bool((rewards == rewards[0]).all()):
                alike.append((index, means[-1]))
        if means:
            self._means = [*self._means, sum(means) / len(means)][-self.window :]
        gaps = [(index, max(-1.0, min(1.0, mean - self.reference))) for index, mean in alike]
        useful = [(index, gap) for index, gap in gaps if gap < 0 or (gap > 0 and self.noise) or (gap == 0 and self.reference < 1)]
        self._again = sorted(useful, key=lambda item: -abs(item[1]))

    @property
    def reference(self) -> float:
        """The running mean of rewards, 0 before the first."""
        return sum(self._means) / max(1, len(self._means))

    def state_dict(self) -> dict[str, Any]:
        return {"again": [list(item) for item in self._again], "means": list(self._means)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._again = [(int(index), float(gap)) for index, gap in state["again"]]
        self._means = [float(mean) for mean in state["means"]]


def hint(solution: tuple[int, ...], strength: float) -> tuple[int, ...]:
    """The beginning of a right answer: a share `strength` (0 to 1) of its tokens, at least one, and never the last two (the answer's end and the end token)."""
    return solution[: max(0, min(len(solution) - 2, max(1, round(strength * len(solution)))))]
