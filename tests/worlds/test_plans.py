"""Sampling plans: what rows they give in a text world and in an enumerable one, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.nets.language import TokenPolicy
from operant.nets.tabular import TabularPolicy
from operant.worlds.plans import Branches, Groups, Request, WithSolutions
from operant.worlds.sequences.problems import make_problem
from operant.worlds.sequences.source import SequenceSource
from operant.worlds.temperature import EntropyTemperature
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import Arithmetic

TASK = Arithmetic(operands=4)


def text_source(plan, seed: int = 0) -> tuple[TextSource, TokenPolicy]:
    tokenizer = make_tokenizer(TASK.alphabet)
    policy = TokenPolicy(make_model("llama", len(tokenizer), 3, width=16, layers=1, heads=2, positions=64))
    return TextSource(TASK, tokenizer, plan, Streams([seed])), policy


def sequence_source(plan, problem: str = "random", seeds: tuple[int, ...] = (0, 1)) -> tuple[SequenceSource, TabularPolicy]:
    made = make_problem(problem)
    policy = TabularPolicy(made, seeds=len(seeds))
    with torch.no_grad():
        policy.logits.copy_(torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    return SequenceSource(made, plan, Streams(list(seeds))), policy


def made(kind: str, plan):
    return text_source(plan) if kind == "text" else sequence_source(plan)


def recorded_log_prob(policy, rollout) -> torch.Tensor:
    return policy.replay(rollout.inputs, rollout.action)["log_prob"].detach()


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_branches_share_their_trunk_up_to_the_cut_and_learn_only_what_is_new(kind: str):
    source, policy = made(kind, Branches(prompts=2, n=3, branches=2, uncertain=2))
    rollout = source.score(source.sample(policy, 0))
    assert rollout.parent is not None
    seeds, rows, _ = rollout.shape
    present = rollout.extras["present"]
    branches = 0
    for seed in range(seeds):
        for row in range(rows):
            parent, cut = int(rollout.parent[seed, row]), int(rollout.branch_at[seed, row])
            if parent < 0:
                continue
            branches += 1
            assert cut >= 1
            assert rollout.group[seed, row] == rollout.group[seed, parent]
            assert torch.equal(rollout.action[seed, row, :cut], rollout.action[seed, parent, :cut])
            assert not rollout.mask[seed, row, :cut].any() and present[seed, row, :cut].all()
            assert torch.equal(rollout.mask[seed, row, cut:], present[seed, row, cut:])
            assert torch.equal(rollout.log_prob[seed, row, :cut], rollout.log_prob[seed, parent, :cut])
    assert branches > 0
    difference = (recorded_log_prob(policy, rollout) - rollout.log_prob) * rollout.mask
    assert difference.abs().max() < 1e-4
    lengths = present.sum(-1)
    assert int(lengths.max()) <= (source.limit if kind == "text" else source.problem.length)


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_given_answers_stand_beside_the_drawn_ones_with_the_policys_own_figures(kind: str):
    source, policy = made(kind, WithSolutions(prompts=3, n=2, solutions=1))
    rollout = source.score(source.sample(policy, 0))
    outside = rollout.extras["outside"]
    assert outside.sum(-1).tolist() == [3] * len(outside)
    assert ((recorded_log_prob(policy, rollout) - rollout.log_prob) * rollout.mask).abs().max() < 1e-4
    assert not rollout.extras["drawn"][outside].any()
    reward = rollout.reward.sum(-1)
    best = torch.ones_like(reward) if kind == "text" else source.problem.rewards.amax(-1)[rollout.inputs["prompt"]]
    assert torch.equal(reward[outside], best[outside].to(reward.dtype))  # a worked solution is right
    for seed in range(len(outside)):
        assert sorted(rollout.group[seed].tolist()) == sorted([*rollout.group[seed].unique().tolist()] * 3)


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_a_restored_plan_goes_on_bit_for_bit(kind: str):
    plan = Branches(prompts=2, n=2, branches=1)
    source, policy = made(kind, plan)
    source.sample(policy, 0)
    state = source.state_dict()
    expected = [source.score(source.sample(policy, step)).tensors() for step in range(2)]
    restored, _ = made(kind, plan)
    restored.load_state_dict(state)
    for step in range(2):
        found = restored.score(restored.sample(policy, step)).tensors()
        assert all(torch.equal(value, found[name]) for name, value in expected[step].items())


@dataclass(frozen=True)
class Odd(Groups):
    """A plan that asks for what cannot be."""

    what: object = None

    def requests(self, problems):
        prompt = problems.draw(1)[0]
        yield self.what if not callable(self.what) else self.what(prompt)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ([], "at least one Request"),
        (["a prompt"], "at least one Request"),
        (lambda prompt: [Request(prompt.tokens, group=prompt.index, parent=4)], "parent row that is not there"),
    ],
)
def test_a_plan_that_asks_for_what_cannot_be_is_named(what, line: str):
    source, policy = text_source(Odd(what=what))
    with pytest.raises(RunFailed, match=f"Odd.*{line}"):
        source.sample(policy, 0)


@pytest.mark.parametrize("plan", [lambda: Groups(n=0), lambda: Branches(branches=0), lambda: Groups(temperature=0.0), lambda: Branches(uncertain=-1)])
def test_sizes_out_of_range_are_refused(plan):
    with pytest.raises(BadInput, match="nearest: 1"):
        plan()


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_an_adaptive_temperature_says_what_tokens_were_drawn_from(kind: str):
    source, policy = made(kind, EntropyTemperature(prompts=2, n=400 if kind == "sequences" else 6, scale=0.9, quantile=0.5))
    first = source.score(source.sample(policy, 0))
    torch.testing.assert_close(first.extras["behaviour_log_prob"], first.log_prob, atol=1e-5, rtol=0)  # no batch came before: drawn at 1
    rollout = source.sample(policy, 0)
    torch.testing.assert_close(rollout.log_prob, recorded_log_prob(policy, rollout) * rollout.mask, atol=1e-4, rtol=0)
    plans = [seed.plan for seed in source._seeds] if kind == "sequences" else [source.plan]
    log_p = policy.replay(rollout.inputs, rollout.action, {"logits"})["logits"].detach().log_softmax(-1)
    for place, plan in enumerate(plans):
        temperature = plan.temperature(torch.special.entr(log_p[place].exp()).sum(-1), log_p[place])
        assert temperature.min() < 0.7 and temperature.max() > 1.3
        hot = (log_p[place] / temperature.unsqueeze(-1)).log_softmax(-1)
        taken = hot.gather(-1, rollout.action[place].unsqueeze(-1)).squeeze(-1)
        found = rollout.extras["behaviour_log_prob"][place]
        assert ((found - taken) * rollout.mask[place]).abs().max() < 1e-3 and not found[~rollout.mask[place]].any()
        if kind == "sequences":  # the first tokens of a prompt have the frequencies that are claimed
            same = rollout.inputs["prompt"][place] == rollout.inputs["prompt"][place, 0]
            chance, count = hot[same][0, 0].exp(), int(same.sum())
            share = torch.bincount(rollout.action[place, same, 0], minlength=len(chance)) / count
            assert ((share - chance).abs() < 5 * (chance * (1 - chance) / count).sqrt() + 1e-9).all()


@dataclass(frozen=True)
class Best(Groups):
    """Of `n` short beginnings, the best goes on, twice; scores come back with each list."""

    seen: list = field(default_factory=list, compare=False)

    def __post_init__(self):
        pass

    def requests(self, problems):
        prompt = problems.draw(1)[0]
        found = yield [Request(prompt.tokens, self.n, group=prompt.index, scored=True), Request(prompt.tokens, 1, group=prompt.index)]
        self.seen.append(found.score)
        best = int(found.score[: self.n].argmax())
        prefix = prompt.tokens + found.completions()[best][:1]
        found = yield [Request(prefix, 2, max_new_tokens=problems.limit - 1, group=prompt.index, parent=best, scored=True)]
        self.seen.append(found.score)


def short(problem, completion: str) -> float:
    return -float(len(completion))


short.trusted = True


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_scores_come_back_to_a_plan_and_are_not_asked_for_again(kind: str):
    plan = Best(prompts=1, n=3)
    if kind == "text":
        tokenizer = make_tokenizer(TASK.alphabet)
        policy = text_source(plan)[1]
        source = TextSource(TASK, tokenizer, plan, Streams([0]), short)
    else:
        source, policy = sequence_source(plan, seeds=(0,))
        plan = source._seeds[0].plan
    sampled = source.sample(policy, 0)
    if kind == "text":
        asked = []
        source._scorer._score = lambda problem, text: asked.append(text) or -float(len(text))
    rollout = source.score(sampled)
    first, second = plan.seen
    assert first[:3].isfinite().all() and first[3].isnan() and second.isfinite().all()
    reward = rollout.reward.sum(-1)[0]
    if kind == "text":
        assert len(asked) == 1  # the row that was not scored
        torch.testing.assert_close(reward[[0, 1, 2, 4, 5]], torch.cat([first[:3], second]))
    else:
        torch.testing.assert_close(reward[:3], first[:3].to(reward.dtype))


class Mixture:
    """An even mixture of the policy and another one."""

    def __init__(self, other):
        self.others = (other,)

    def __call__(self, own, other):
        return torch.logaddexp(own.log_softmax(-1), other.log_softmax(-1))


@dataclass(frozen=True)
class Mixed(Groups):
    logits: Mixture | None = None

    def __post_init__(self):
        pass


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_tokens_are_drawn_from_the_logits_that_a_plan_makes(kind: str):
    _, other = made(kind, Groups(prompts=1, n=1))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5), dtype=parameter.dtype))
    if kind == "sequences":
        other = other.of_seed(0)
    n = 6 if kind == "text" else 2000
    source, policy = text_source(Mixed(2, n, logits=Mixture(other))) if kind == "text" else sequence_source(Mixed(2, n, logits=Mixture(other)), seeds=(0,))
    rollout = source.sample(policy, 0)
    own, beside = (net.replay(rollout.inputs, rollout.action, {"logits"})["logits"].detach().log_softmax(-1) for net in (policy, other))
    mixed = ((own.exp() + beside.exp()) / 2).log()
    found = mixed.gather(-1, rollout.action.unsqueeze(-1)).squeeze(-1)
    assert ((found - rollout.extras["behaviour_log_prob"]) * rollout.mask).abs().max() < 1e-4
    assert ((recorded_log_prob(policy, rollout) - rollout.log_prob) * rollout.mask).abs().max() < 1e-4
    assert (rollout.extras["behaviour_log_prob"] - rollout.log_prob).abs().max() > 0.1
    if kind == "sequences":  # the first tokens have the frequencies that are claimed
        same = rollout.inputs["prompt"][0] == rollout.inputs["prompt"][0, 0]
        chance, count = mixed[0, same][0, 0].exp(), int(same.sum())
        share = torch.bincount(rollout.action[0, same, 0], minlength=len(chance)) / count
        assert ((share - chance).abs() < 5 * (chance * (1 - chance) / count).sqrt() + 1e-9).all()
