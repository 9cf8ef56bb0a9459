"""Off-policy credit for turns: a critic of whole utterances, trained on conversations of past policies and on fresh utterances at their states."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import RunFailed
from operant.core.flat import Adam, FlatParameters
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.status import Status
from operant.loops.credit import LearnedCredit
from operant.nets.language import TokenPolicy
from operant.nets.utterance import UtteranceValues
from operant.worlds.plans import Problems, Request, Requests, Turns

AT_ONCE = 128  # rows that the critic reads together
BOUNDS = 3  # of a turn, in tokens of its row: the history's length, with the utterance, with the reply behind it


@dataclass(eq=False)
class Conversations:
    """Rows of past policies, the newest `capacity` of them.

    Attributes:
        rows: group, tokens with the prompt's, and of each turn (its `BOUNDS`, reward, whether it was the last).
    """

    capacity: int
    rows: list[tuple[int, list[int], list[tuple[list[int], float, bool]]]] = field(default_factory=list)
    added: int = 0

    def take_in(self, rollout: Rollout) -> None:
        """Keep the rows of a rollout of one seed that are over, as far as nothing went wrong with them."""
        over = (rollout.status[0] == int(Status.OK)) & ~_fresh(rollout)
        start, end, after, reward, there = (x.tolist() for x in turn_bounds(rollout))
        for row in over.nonzero().flatten().tolist():
            # Where the turns are used up the row is over as well: that is a rule of the task, and no accident that would have to be bootstrapped.
            count = sum(there[row])
            turns = [([start[row][turn], end[row][turn], after[row][turn]], reward[row][turn], turn + 1 == count) for turn in range(count)]
            length = int(rollout.inputs["length"][0, row])
            kept = (int(rollout.group[0, row]), rollout.inputs["tokens"][0, row, :length].tolist(), turns)
            if len(self.rows) < self.capacity:
                self.rows.append(kept)
            else:
                self.rows[self.added % self.capacity] = kept
            self.added += 1

    def states(self) -> list[tuple[int, int]]:
        """(row, turn) of every turn that is kept."""
        return [(place, turn) for place, (_, _, turns) in enumerate(self.rows) for turn in range(len(turns))]

    def state_dict(self) -> dict[str, Any]:
        rows = [[group, tokens, [[*bounds, reward, last] for bounds, reward, last in turns]] for group, tokens, turns in self.rows]
        return {"added": self.added, "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.added = state["added"]
        self.rows = [(group, list(tokens), [(list(turn[:BOUNDS]), turn[-2], turn[-1]) for turn in turns]) for group, tokens, turns in state["rows"]]


def _fresh(rollout: Rollout) -> Tensor:
    """Rows that are one utterance behind a history, `[N]`."""
    return rollout.extras.get("unfinished", torch.zeros_like(rollout.group, dtype=torch.bool))[0]


def turn_bounds(rollout: Rollout) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the turns of a rollout of one seed, `[N, M]` each: the length of the history before the utterance, with it, and with the reply, in tokens of the row
    with its prompt; the reward; and which turns there are."""
    turn, present = rollout.extras["turn"][0], rollout.extras["present"][0]
    turns, spoken = int(turn.max()) + 1, rollout.extras["drawn"][0]
    prompt = rollout.inputs["prompt_length"][0].unsqueeze(1)
    place = torch.arange(turn.shape[1], device=turn.device).expand_as(turn)
    empty = torch.zeros(len(turn), turns, dtype=turn.dtype, device=turn.device)
    first = (empty + turn.shape[1]).scatter_reduce(1, turn, place.masked_fill(~spoken, turn.shape[1]), "amin")
    last = empty.scatter_reduce(1, turn, (place + 1).masked_fill(~spoken, 0), "amax")
    whole = empty.scatter_reduce(1, turn, (place + 1).masked_fill(~present, 0), "amax")
    reward = ops.turn_sums(rollout.reward[0], turn, turns)
    return prompt + first, prompt + last, prompt + whole, reward, last > 0


@dataclass(frozen=True)
class RevisitedTurns(Turns):
    """`Turns`, and beside them `fresh` utterances of the policy of now at states of past conversations: rows that are learned from without the task's reply.

    Attributes:
        fresh: utterances an iteration, once there are past conversations.
        memory: these conversations; whoever gives credit fills it.
    """

    fresh: int = 128
    memory: Conversations = field(default_factory=lambda: Conversations(1), compare=False)

    def __post_init__(self) -> None:
        pass

    def requests(self, problems: Problems) -> Requests:
        conversing = super().requests(problems)
        asked = next(conversing)
        rows, states = self.memory.rows, self.memory.states()
        revisited = []
        for choice in problems.rng.integers(len(states), size=self.fresh).tolist() if states else ():
            place, turn = states[choice]
            group, tokens, turns = rows[place]
            start = turns[turn][0][0]
            room = problems.limit - (start - len(problems.prompt(group).tokens))
            revisited.append(Request(tuple(tokens[:start]), 1, problems.turn_stop, min(problems.turn_limit, room), group))
        found = yield asked + revisited
        found = found.first(sum(request.n for request in asked))
        while True:
            try:
                asked = conversing.send(found)
            except StopIteration:
                return
            found = yield asked


@dataclass(eq=False)
class UtteranceCritic(LearnedCredit):
    """Advantages of utterances by a critic that learns from replay: Q of a turn from its reward and V behind the reply, V from Q of fresh utterances.

    Attributes:
        memory: past conversations, which the sampling plan revisits (`RevisitedTurns`).
        q_target: `(reward, next_value, done) → [B, 2]`; advantage: `(q, value) → [B]`.
        updates, batch_size: of the critic an iteration, and turns in each; as many fresh utterances.
        tau: share of the trained network that the target network takes in after each update.
        warm_up: iterations in which the critic learns alone.
    """

    memory: Conversations
    q_target: Callable[[Tensor, Tensor, Tensor], Tensor]
    advantage: Callable[[Tensor, Tensor], Tensor]
    learning_rate: float = 1e-3
    updates: int = 20
    batch_size: int = 128
    tau: float = 0.1
    max_grad_norm: float = 1.0
    warm_up: int = 5

    def begin(self, policy: TokenPolicy, streams: Streams) -> None:
        if len(streams.seeds) != 1:
            raise RunFailed("an utterance critic belongs to one seed")
        self.device = streams.device
        self.generator = streams.torch_generators("utterances")[0]
        self.values = UtteranceValues(policy, streams.torch_generators("utterances/heads")[0])
        self.target = copy.deepcopy(self.values)
        self.flat, self._target_flat = (FlatParameters(net, seeds=1, stacked=False) for net in (self.values, self.target))
        self.target.requires_grad_(False)
        self.optimizer = Adam([self.flat], learning_rate=self.learning_rate)
        self.iterations = 0

    def __call__(self, rollout: Rollout) -> Tensor:
        self.memory.take_in(rollout)
        start, end, _, _, there = turn_bounds(rollout)
        tokens, fresh = rollout.inputs["tokens"][0], _fresh(rollout)
        self.metrics = self._learn(tokens[fresh], start[fresh, 0], end[fresh, 0])
        self.iterations += 1
        if self.iterations <= self.warm_up:
            return torch.zeros_like(rollout.reward)
        bounds = torch.cat([start, end], 1).masked_fill(~there.repeat(1, 2), 1)
        with torch.no_grad():
            value, q = (torch.cat(parts) for parts in zip(*map(self.values, tokens.split(AT_ONCE), bounds.split(AT_ONCE)), strict=True))
        turns = start.shape[1]
        found = self.advantage(q[:, turns:], value[:, :turns]).masked_fill(~there, 0.0)
        return found.gather(1, rollout.extras["turn"][0])[None] * rollout.mask

    def _learn(self, tokens: Tensor, start: Tensor, end: Tensor) -> dict[str, Tensor]:
        """The critic's updates of an iteration; the fresh utterances are rows `tokens [F, L]` from `start` to `end`."""
        rows, states = self.memory.rows, self.memory.states()
        if not len(tokens) or not states:
            return {}
        losses = []
        for _ in range(self.updates):
            chosen = torch.randint(len(states), (self.batch_size,), generator=self.generator).tolist()
            past = [(rows[states[place][0]][1], *rows[states[place][0]][2][states[place][1]]) for place in chosen]
            pick = torch.randint(len(tokens), (self.batch_size,), generator=self.generator).to(self.device)
            bounds = torch.tensor([bounds for _, bounds, _, _ in past], device=self.device)
            reward, done = (torch.tensor([turn[place] for turn in past], device=self.device) for place in (2, 3))
            # Past turns with their replies, and fresh ones, side by side.
            longest = max(int(bounds[:, 2].max()), int(end[pick].max()))
            said = torch.tensor([(row[: bounds[2]] + [0] * longest)[:longest] for row, bounds, _, _ in past], device=self.device)
            fresh = torch.nn.functional.pad(tokens[pick], (0, max(0, longest - tokens.shape[1])))[:, :longest]
            both, count = torch.cat([said, fresh]), self.batch_size
            read = torch.cat([bounds[:, 2], end[pick]]).unsqueeze(1), torch.cat([bounds[:, 1], start[pick]]).unsqueeze(1)
            with torch.no_grad():
                value, q = (x.squeeze(1) for x in self.target(both, read[0]))
                q_aim, value_aim = self.q_target(reward.float(), value[:count], done), q[count:]
            value, q = (x.squeeze(1) for x in self.values(both, read[1]))
            q_error, value_error = q[:count] - q_aim, value[count:] - value_aim
            errors = torch.stack([q_error.square().mean(), value_error.square().mean()])
            self.flat.zero_grad()
            errors.sum().backward()
            self.optimizer.step(self.flat.clip_grad_norm(self.max_grad_norm))
            with torch.no_grad():
                self._target_flat.data.lerp_(self.flat.data, self.tau)
            losses.append(errors.detach())
        q_loss, value_loss = torch.stack(losses).mean(0).cpu()
        return {"critic/q": q_loss.view(1), "critic/value": value_loss.view(1)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "memory": self.memory.state_dict(),
            "values": dict(self.values.state_dict()),
            "target": dict(self.target.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "iterations": self.iterations,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.memory.load_state_dict(state["memory"])
        self.values.load_state_dict(state["values"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iterations = state["iterations"]

