"""A plan that first looks at what the starting policy can do, and then rehearses what it could (DPH-RL, arXiv:2509.07430)."""

from __future__ import annotations

from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.core.status import Status
from operant.worlds.plans import Groups, Plan, Problems, Request, Requests


class Rehearsal(Plan):
    """Problems from a fixed pool, split by how often the starting policy solves them, and its right answers again.

    At first every iteration samples `tries` probe answers of the next `prompts` problems, from which nothing is learned, until `pool` of them are known.
    Problems solved in at least a share `mastered` of the tries are the rehearsal set: their right answers are kept, with the log-probabilities that the
    starting policy gave them. From then on an iteration draws `prompts` of the other problems, `n` answers each, and `rehearsals` kept answers as given rows.
    Where no problem is left on one side, the other serves alone.

    Args:
        prompts, n: as of `Groups`.
        pool: problems that are looked at, at least `prompts`.
        tries: probe answers a problem.
        mastered: share of right tries from which on a problem is rehearsed and not trained, above 0 and up to 1.
        rehearsals: given answers an iteration.
    """

    def __init__(
        self,
        prompts: int,
        n: int,
        *,
        pool: int = 256,
        tries: int = 8,
        mastered: float = 0.875,
        rehearsals: int = 64,
    ):
        self.groups = Groups(prompts, n)
        if pool < prompts:
            raise BadInput(f"rehearsal: pool={pool} is smaller than an iteration's {prompts} prompts; nearest: {prompts}")
        self.prompts, self.temperature = prompts, 1.0
        self.pool, self.tries, self.mastered, self.rehearsals = pool, tries, mastered, rehearsals
        self.looking = True
        self.seen = 0
        self.hard: list[int] = []
        self.kept: list[tuple[int, tuple[int, ...], tuple[float, ...]]] = []  # problem, tokens, log-probabilities

    def requests(self, problems: Problems) -> Requests:
        if self.looking:
            count = min(self.prompts, self.pool - self.seen)
            yield [Request(prompt.tokens, self.tries, group=prompt.index, train=False) for prompt in problems.draw(count)]
            return
        rng = problems.rng
        chosen = rng.choice(self.hard, min(self.prompts, len(self.hard)), replace=False).tolist() if self.hard else []
        requests = [Request(prompt.tokens, self.groups.n, group=prompt.index) for prompt in map(problems.prompt, chosen)]
        places = rng.choice(len(self.kept), min(self.rehearsals, len(self.kept)), replace=False).tolist() if self.kept else []
        for index, tokens, log_prob in (self.kept[place] for place in places):
            requests.append(Request(problems.prompt(index).tokens, group=index, given=tokens, given_log_prob=log_prob))
        yield requests

    def observe(self, rollout: Rollout) -> None:
        """Take in the probes while the pool is being looked at."""
        if not self.looking:
            return
        right = (rollout.reward[0].sum(-1) > 0.5) & (rollout.status[0] == int(Status.OK))
        present = rollout.extras["present"][0] & rollout.extras["probe"][0].unsqueeze(1)
        for index in rollout.group[0].unique().tolist():
            rows = ((rollout.group[0] == index) & present.any(1)).nonzero().squeeze(1)
            if not len(rows):
                continue
            self.seen += 1
            if float(right[rows].float().mean()) < self.mastered:
                self.hard.append(index)
                continue
            for row in rows[right[rows]].tolist():
                there = present[row]
                self.kept.append((index, tuple(rollout.action[0, row, there].tolist()), tuple(rollout.log_prob[0, row, there].tolist())))
        self.looking = self.seen < self.pool

    def state_dict(self) -> dict:
        kept = [{"index": index, "tokens": list(tokens), "log_prob": list(log_prob)} for index, tokens, log_prob in self.kept]
        return {"looking": self.looking, "seen": self.seen, "hard": list(self.hard), "kept": kept}

    def load_state_dict(self, state: dict) -> None:
        self.looking, self.seen, self.hard = state["looking"], state["seen"], list(state["hard"])
        self.kept = [(item["index"], tuple(item["tokens"]), tuple(item["log_prob"])) for item in state["kept"]]
