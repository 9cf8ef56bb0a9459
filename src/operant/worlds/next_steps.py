"""A sampling plan of single steps: several next steps at a state in the middle of an answer, and completions that say what each is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from operant.worlds.plans import Plan, Problems, Request, Requests, check_positive


@dataclass(frozen=True)
class NextSteps(Plan):
    """For each of `prompts` problems: an answer, a state drawn from the beginnings of its steps, `candidates` next steps, `completions` of each.

    The candidates are what is learned from; answers and completions are probes. A row of a candidate has the answer as parent, a completion its candidate. A
    candidate that ends the answer, or reaches the limit, has no completions: its own reward says what it is worth.

    Attributes:
        step_tokens: a step is so many tokens (plans see tokens and know no line ends); the last of an answer may be shorter.
        temperature: of sampling and of the policy that is trained.
    """

    prompts: int = 16
    candidates: int = 4
    completions: int = 3
    step_tokens: int = 2
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self)

    def requests(self, problems: Problems) -> Requests:
        prompts = problems.draw(self.prompts)
        answers = yield [Request(prompt.tokens, group=prompt.index, train=False) for prompt in prompts]
        cuts, states = [], []
        for row, (prompt, length) in enumerate(zip(prompts, answers.mask.sum(1).tolist(), strict=True)):
            cut = self.step_tokens * int(problems.rng.integers(math.ceil(length / self.step_tokens)))
            prefix = prompt.tokens + tuple(answers.tokens[row, :cut].tolist())
            cuts.append(cut)
            states.append(Request(prefix, self.candidates, max_new_tokens=min(self.step_tokens, problems.limit - cut), group=prompt.index, parent=row))
        steps = yield states
        begun = []
        for row, (place, length) in enumerate(zip(steps.request.tolist(), steps.mask.sum(1).tolist(), strict=True)):
            left = problems.limit - cuts[place] - length
            if bool(steps.finished[row]) or left < 1:
                continue
            prefix = states[place].prefix + tuple(steps.tokens[row, :length].tolist())
            begun.append(Request(prefix, self.completions, max_new_tokens=left, group=states[place].group, parent=len(prompts) + row, train=False))
        if begun:
            yield begun
