"""Rollouts from sequence problems, and their exact evaluation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.records import Evaluation, Rollout
from operant.core.status import Status
from operant.nets.tabular import draw
from operant.worlds.base import SamplingPlan, Source
from operant.worlds.plans import Generation, Heard, Plan, Prompt, Request, Utterance
from operant.worlds.rows import Rows, run_plan
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import Policy, SequenceProblem, last_step

PASS_AT = (2, 4, 8, 16)


@dataclass(frozen=True)
class SequenceGroups(SamplingPlan):
    """Sampling plan: N = prompts * n rows, the n rows of a prompt side by side."""

    prompts: int  # prompts an iteration
    n: int  # sequences a prompt
    drawn: bool = False  # prompts drawn uniformly with replacement, instead of every prompt in turn

    def __post_init__(self):
        for name in ("prompts", "n"):
            if getattr(self, name) < 1:
                raise BadInput(f"sequence groups: {name} is {getattr(self, name)}, must be 1 or more; nearest: 1")


class SequenceSource(Source):
    """Samples sequences from a policy of this world and scores them by the table.

    Args:
        problem: the problem.
        plan: how many prompts and sequences (`SequenceGroups`), or a plan of `worlds.plans`, which is carried out for each seed apart.
        streams: one random stream a seed; as many seeds as the policy has.
    """

    def __init__(self, problem: SequenceProblem, plan: SequenceGroups | Plan, streams: Streams):
        self.problem, self.plan, self.streams = problem, plan, streams
        self._cursor = 0
        self._seeds = []
        if not isinstance(plan, SequenceGroups):
            self._seeds = [_Seed(problem, copy.deepcopy(plan), streams, place) for place in range(len(streams.seeds))]

    def sample(self, policy: Policy, version: int) -> Rollout:
        """One iteration's sequences, `[S, N, L]`, with the policy's log-probabilities. The rewards are still 0."""
        if self._seeds:
            return self._planned(policy, version)
        seeds, plan = len(self.streams.seeds), self.plan
        if plan.drawn:
            prompt = self.streams.integers("sequences/prompt", self.problem.prompts, plan.prompts)
        else:
            prompt = (self._cursor + torch.arange(plan.prompts, device=self.streams.device)).remainder(self.problem.prompts).expand(seeds, -1)
            self._cursor = (self._cursor + plan.prompts) % self.problem.prompts
        prompt = prompt.repeat_interleave(plan.n, dim=1)
        action, log_prob, _ = policy.sample(prompt, self.streams.uniform("sequences/token", prompt.shape[1], self.problem.length))
        return self.problem.pack(prompt, action, log_prob, plan.n, version)

    def _planned(self, policy: Policy, version: int) -> Rollout:
        """The rows of each seed's plan. Seeds whose plans gave fewer rows are filled up with probes that hold no token."""
        rows = [seed.run(policy, self.progress) for seed in self._seeds]
        count, length = max(len(part.group) for part in rows), self.problem.length

        def stack(name: str, value: float = 0) -> Tensor:
            parts = [getattr(part, name) for part in rows]
            if parts[0].ndim == 2:
                parts = [torch.nn.functional.pad(part, (0, length - part.shape[1])) for part in parts]
            filled = [torch.cat([part, part.new_full((count - len(part), *part.shape[1:]), value)]) for part in parts]
            return torch.stack(filled).to(self.streams.device)

        present, finished = stack("present"), stack("finished")
        last = last_step(present)
        group = stack("group", -1)
        unfinished = ~finished & ~stack("cut") & (present.sum(-1) < length) & present.any(-1)
        probe = stack("probe", True)
        extras = {"present": present, "drawn": stack("drawn"), "probe": probe, "entropy": stack("entropy")}
        extras |= {name: flags for name, flags in (("unfinished", unfinished), ("outside", stack("outside"))) if bool(flags.any())}
        turns = any(part.turn is not None for part in rows)
        if not turns and not bool(probe.any()) and len(extras) == 4 and bool((present == stack("mask")).all()):
            extras = {"entropy": extras["entropy"]}
        if any(part.given_log_prob is not None for part in rows):
            for part in rows:
                part.given_log_prob = torch.zeros_like(part.log_prob) if part.given_log_prob is None else part.given_log_prob
            extras["given_log_prob"] = stack("given_log_prob")
        if turns:
            for part in rows:
                part.turn = torch.zeros_like(part.action) if part.turn is None else part.turn
                part.reward = torch.zeros_like(part.log_prob) if part.reward is None else part.reward
            extras |= {"turn": stack("turn"), "turn_reward": stack("reward")}
        if rows[0].behaviour_log_prob is not None:  # a plan draws from its policy's distribution, or from another one
            extras["behaviour_log_prob"] = stack("behaviour_log_prob")
        parent = stack("parent", -1)
        tree = {"parent": parent, "branch_at": stack("branch_at")} if bool((parent >= 0).any()) else {}
        return Rollout(
            inputs={"prompt": self._prompts(rows, count)},
            action=stack("action"),
            log_prob=stack("log_prob"),
            mask=stack("mask"),
            reward=torch.zeros_like(stack("log_prob")),
            terminated=last & ~(unfinished | stack("cut")).unsqueeze(-1),
            truncated=last & (unfinished | stack("cut")).unsqueeze(-1),
            group=group,
            status=stack("status", int(Status.OK)),
            version=version,
            extras=extras,
            **tree,
        )

    def _prompts(self, rows: list[Rows], count: int) -> Tensor:
        """The prompt that each row was shown, `[S, count]`."""
        shown = [[prompt[0] - self.problem.vocabulary for prompt in part.prompts] for part in rows]
        return torch.tensor([line + [0] * (count - len(line)) for line in shown], device=self.streams.device)

    def score(self, rollout: Rollout) -> Rollout:
        """The record with each row's reward on its last step. Sequences that are still being written are not scored."""
        if not self._seeds:
            return self.problem.score(rollout)
        present = rollout.extras.get("present", rollout.mask)
        prompt = rollout.group.remainder(self.problem.prompts)  # what is asked, which a plan may show otherwise
        reward = self.problem.reward(prompt, rollout.action).to(rollout.log_prob.dtype)
        rollout.reward = reward.unsqueeze(-1) * (last_step(present) & rollout.terminated)
        if "turn_reward" in rollout.extras:
            rollout.reward = rollout.reward + rollout.extras["turn_reward"]
        for place, seed in enumerate(self._seeds):
            kept = {name: value[place : place + 1] for name, value in rollout.tensors().items()}
            seed.plan.observe(rollout.with_tensors(kept))
        return rollout

    def measure(self, names: Collection[str], rollout: Rollout, policy: Policy) -> dict[str, Tensor]:
        """What this world can say of a scored rollout's rows beyond their reward, of what is asked, `[S, N]` each.

        "limit": tokens of the longest sequence.
        "answer": the number of the sequence; "sound": 1 for the first sequence of the highest reward of its prompt and for whatever scores less (a second right
        sequence stands for an answer that is right for a wrong reason); "clean_score": the table's reward; "confidence": the last token, as a share of the
        highest; "answer_probability": probability of that first sequence's last token behind all of the row's tokens but its last, and
        "answer_probability_alone" behind none.
        """
        problem = self.problem
        prompt = rollout.group.remainder(problem.prompts) if self._seeds else rollout.inputs["prompt"]
        index = problem.index(rollout.action)
        reward, best = problem.reward(prompt, rollout.action), problem.rewards.argmax(-1).to(prompt.device)[prompt]
        found = {}
        if "limit" in names:
            found["limit"] = torch.full_like(reward, problem.length)
        if "answer" in names:
            found["answer"] = index
        if "sound" in names:
            found["sound"] = ((index == best) | (reward < problem.rewards.amax(-1).to(prompt.device)[prompt])).to(rollout.log_prob.dtype)
        if "confidence" in names:  # the last token, as a share of the highest
            last = rollout.action.gather(-1, (rollout.extras.get("present", rollout.mask).sum(-1, keepdim=True) - 1).clamp(min=0)).squeeze(-1)
            found["confidence"] = last.to(rollout.log_prob.dtype) / (problem.vocabulary - 1)
        if "clean_score" in names:
            found["clean_score"] = reward.to(rollout.log_prob.dtype)
        length = rollout.extras.get("present", rollout.mask).sum(-1)
        sequence, mask = problem.sequences.to(prompt.device)[best], problem.mask.to(prompt.device)[best]
        answer = sequence.gather(-1, mask.sum(-1, keepdim=True) - 1)
        for name, place in (("answer_probability", (length - 1).clamp(min=0)), ("answer_probability_alone", torch.zeros_like(length))):
            if name in names:
                action = rollout.action.scatter(-1, place.unsqueeze(-1), answer)
                with torch.no_grad():
                    log_prob = policy.replay(rollout.inputs, action)["log_prob"]
                found[name] = log_prob.gather(-1, place.unsqueeze(-1)).squeeze(-1).exp()
        return found

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """Mean reward and number of tokens of a sequence, `[S]` each; NaN of no sequences."""
        mask = rollout.extras.get("present", rollout.mask)
        among = mask.any(-1)
        for name in ("unfinished", "outside"):
            among = among & ~rollout.extras[name] if name in rollout.extras else among
        count = among.sum(-1)
        return {
            "reward": ((rollout.reward.sum(-1) * among).sum(-1) / count).cpu(),
            "length": ((mask.sum(-1) * among).sum(-1).double() / count).cpu(),
        }

    def close(self) -> None:
        """Nothing is held open."""

    def state_dict(self) -> dict:
        return {"cursor": self._cursor, "streams": self.streams.state_dict(), "seeds": [seed.state_dict() for seed in self._seeds]}

    def load_state_dict(self, state: dict) -> None:
        self._cursor = state["cursor"]
        self.streams.load_state_dict(state["streams"])
        for seed, saved in zip(self._seeds, state["seeds"], strict=True):
            seed.load_state_dict(saved)


class _Seed:
    """One seed's plan at work: the problems that it draws from, and the tokens that it asks for.

    As in the transformer's rows, the prompt is a token behind the vocabulary: prompt p is `vocabulary + p`.
    """

    def __init__(self, problem: SequenceProblem, plan: Plan, streams: Streams, place: int):
        self.problem, self.plan, self.place = problem, plan, place
        self.limit = problem.length
        self.turns, self.turn_limit, self.turn_stop = 0, problem.length, ()
        self.end = (0,) if problem.stops else ()
        self.rng = streams.numpy_generators("sequences/plan")[place]
        self._generator = streams.torch_generators("sequences/token")[place]
        self._cursor = 0
        self.policy: Policy | None = None
        self.progress = 0.0

    def draw(self, count: int) -> list[Prompt]:
        start, self._cursor = self._cursor, self._cursor + count
        return [self.prompt(index) for index in range(start, start + count)]

    def prompt(self, index: int) -> Prompt:
        problem, number = self.problem, index % self.problem.prompts

        def solve() -> tuple[int, ...]:
            best = int(problem.rewards[number].argmax())
            return tuple(problem.sequences[best][problem.mask[best]].tolist())

        return Prompt(index, (problem.vocabulary + number,), solve)

    def run(self, policy: Policy, progress: float) -> Rows:
        self.progress = progress
        self.policy = policy.of_seed(self.place) if policy.seeds > 1 else policy
        return run_plan(self.plan, self, self._generate, self._measure, self._judge, pad=0)

    def reply(self, said: Sequence[Utterance]) -> list[Heard]:
        raise RunFailed("sequences have nobody who replies")

    def _judge(self, answers: list[tuple[int, tuple[int, ...]]]) -> list[tuple[float, float]]:
        """The table's reward of each answer; of one that goes on, that of the sequence that ends there with zeros."""
        action = torch.zeros(len(answers), self.problem.length, dtype=torch.int64)
        for row, (_, tokens) in zip(action, answers, strict=True):
            row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        prompt = torch.tensor([group % self.problem.prompts for group, _ in answers])
        return [(float(value), float(value)) for value in self.problem.reward(prompt[None], action[None])[0]]

    @torch.no_grad()
    def _generate(self, requests: list[Request]) -> Generation:
        """Draw token by token behind each prefix."""
        length = self.problem.length
        request = torch.arange(len(requests)).repeat_interleave(torch.tensor([item.n for item in requests]))
        start = torch.tensor([len(item.prefix) - 1 for item in requests])[request]
        stop = torch.tensor([length if item.max_new_tokens is None else min(length, len(item.prefix) - 1 + item.max_new_tokens) for item in requests])[request]
        action = self._rows(requests, [item.prefix[1:] for item in requests])[request]
        uniforms = torch.rand(len(request), length, generator=self._generator)
        stops = [set(item.stop) | set(self.end) for item in requests]
        ends = torch.tensor([[token in stops[place] for token in range(self.problem.vocabulary)] for place in request.tolist()])
        done = torch.zeros(len(request), dtype=torch.bool)
        drawn = torch.zeros(action.shape, dtype=torch.bool)
        adapt = self.plan.temperature if callable(self.plan.temperature) else None
        guide = self.plan.logits
        behaviour = torch.zeros(action.shape, dtype=torch.float64) if adapt or guide is not None else None
        for step in range(length):
            now = (step >= start) & (step < stop) & ~done
            logits = self._replay(requests, request, action, {"logits"})["logits"][:, step]
            if guide is not None:
                logits = guide(logits, *(self._replay(requests, request, action, {"logits"}, other)["logits"][:, step] for other in guide.others))
            if adapt:
                log_p = logits.log_softmax(-1)
                logits = log_p / adapt(torch.special.entr(log_p.exp()).sum(-1), log_p).unsqueeze(1)
            action[:, step] = torch.where(now, draw(logits, uniforms[:, step].to(logits.dtype)), action[:, step])
            if behaviour is not None:
                behaviour[:, step] = logits.log_softmax(-1).gather(1, action[:, step : step + 1]).squeeze(1)
            drawn[:, step] = now
            done = done | (now & ends[torch.arange(len(request)), action[:, step]])
        finished = done | (drawn.sum(1) + start == length)
        return self._behind(requests, request, start, action, drawn, finished, behaviour)

    @torch.no_grad()
    def _measure(self, requests: list[Request]) -> Generation:
        request = torch.arange(len(requests))
        start = torch.tensor([len(item.prefix) - 1 for item in requests])
        action = self._rows(requests, [item.prefix[1:] + item.given for item in requests])
        step = torch.arange(self.problem.length)
        given = (step >= start.unsqueeze(1)) & (step < (start + torch.tensor([len(item.given) for item in requests])).unsqueeze(1))
        finished = torch.tensor([len(item.prefix) - 1 + len(item.given) == self.problem.length or item.given[-1] in self.end for item in requests])
        return self._behind(requests, request, start, action, given, finished)

    def _rows(self, requests: list[Request], tokens: list[tuple[int, ...]]) -> Tensor:
        rows = torch.zeros(len(requests), self.problem.length, dtype=torch.int64)
        for row, given in zip(rows, tokens, strict=True):
            row[: len(given)] = torch.tensor(given, dtype=torch.int64)
        return rows

    def _replay(
        self, requests: list[Request], request: Tensor, action: Tensor, needs: Collection[str], policy: Policy | None = None
    ) -> dict[str, Tensor]:
        policy = policy or self.policy
        prompt = torch.tensor([item.prefix[0] - self.problem.vocabulary for item in requests])[request].to(policy.device)
        return {name: value[0].cpu() for name, value in policy.replay({"prompt": prompt[None]}, action.to(policy.device)[None], needs).items()}

    def _behind(
        self, requests: list[Request], request: Tensor, start: Tensor, action: Tensor, new: Tensor, finished: Tensor, behaviour: Tensor | None = None
    ) -> Generation:
        """The record of the tokens `new [R, L]`, which begin at step `start` of their row. `behaviour [R, L]`: log-probabilities that they were drawn with."""
        figures = self._replay(requests, request, action, {"entropy"})
        width = int(new.sum(1).max())
        column = (start.unsqueeze(1) + torch.arange(width)).clamp(max=self.problem.length - 1)
        mask = torch.arange(width) < new.sum(1, keepdim=True)
        tokens, log_prob, entropy = (x.gather(1, column) * mask for x in (action, figures["log_prob"], figures["entropy"]))
        behaviour = None if behaviour is None else behaviour.to(log_prob.dtype).gather(1, column) * mask
        return Generation([item.prefix for item in requests], request, tokens, log_prob, entropy, mask, finished, behaviour)

    def state_dict(self) -> dict:
        return {"cursor": self._cursor, "plan": self.plan.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self._cursor = state["cursor"]
        self.plan.load_state_dict(state["plan"])


@torch.no_grad()
def evaluate(policy: Policy, problem: SequenceProblem) -> Evaluation:
    """Exact score: "pass@1" for 0/1 rewards, else "reward"; `values [S, P]`. Details: "entropy" `[S, P]` nats, and "pass@k" `[S, P]` for 0/1 rewards."""
    reward = exact.expected_reward(policy, problem).double().cpu()
    details = {"entropy": exact.entropy(policy, problem).double().cpu().numpy()}
    if problem.binary:
        details |= {f"pass@{k}": exact.at_least_one(reward, k).numpy() for k in PASS_AT}
    return Evaluation("pass@1" if problem.binary else "reward", reward.numpy(), details)
