"""An utterance critic: what it keeps of conversations, what its plan revisits, what it learns, and how it goes on."""

from __future__ import annotations

import copy

import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence.agentic.archer import fixed_point_error
from operant.loops.utterances import Conversations, turn_bounds
from operant.nets.language import TokenPolicy
from operant.nets.utterance import UtteranceValues
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import TEXT_TASKS

TASK = TEXT_TASKS["lookup"]()


def parts(seed: int = 0):
    """(source, credit, policy) of ArCHer on fresh weights."""
    sizes = {"prompts": 2, "group_size": 3, "fresh": 12, "critic_updates": 3, "critic_batch": 16, "warm_up": 1}
    method = get_method("archer").build(configure("archer", sizes))
    tokenizer = make_tokenizer(TASK.alphabet)
    policy = TokenPolicy(make_model("llama", len(tokenizer), 3, width=16, layers=1, heads=2, positions=128))
    streams = Streams([seed])
    method.credit.begin(policy, streams)
    return TextSource(TASK, tokenizer, method.sample, streams), method.credit, policy


def rollout_of(source, policy, version: int = 0):
    return source.score(source.sample(policy, version))


def test_turns_are_kept_with_their_bounds_and_revisited_at_their_states():
    source, credit, policy = parts()
    first = rollout_of(source, policy)
    assert first.shape[1] == 6 and "unfinished" not in first.extras  # there is nothing to revisit yet
    start, end, after, reward, there = turn_bounds(first)
    turn, mask, present = first.extras["turn"][0], first.mask[0], first.extras["present"][0]
    prompt = first.inputs["prompt_length"][0]
    for row in range(6):
        for number in range(int(there[row].sum())):
            own = (mask[row] & (turn[row] == number)).nonzero().flatten()
            whole = (present[row] & (turn[row] == number)).nonzero().flatten()
            assert (start[row, number], end[row, number]) == (prompt[row] + own[0], prompt[row] + own[-1] + 1)
            assert after[row, number] == prompt[row] + whole[-1] + 1
            assert reward[row, number] == first.reward[0, row, whole].sum()
    first.reward = (first.terminated | first.truncated) * torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0]).unsqueeze(1)  # nothing of fresh weights is right
    credit(first)
    assert len(credit.memory.rows) == 6
    second = rollout_of(source, policy)
    fresh = second.extras["unfinished"][0]
    assert int(fresh.sum()) == 12 and not second.reward[0, fresh].any()
    states = {(group, tuple(tokens[: bounds[0]])) for group, tokens, turns in credit.memory.rows for bounds, _, _ in turns}
    for row in fresh.nonzero().flatten().tolist():
        length = int(second.inputs["prompt_length"][0, row]) + int(second.mask[0, row].nonzero()[0])
        assert (int(second.group[0, row]), tuple(second.inputs["tokens"][0, row, :length].tolist())) in states
    replayed = policy.replay(second.inputs, second.action)["log_prob"].detach()
    assert ((replayed - second.log_prob) * second.mask).abs().max() < 1e-4
    before = credit.values.history.bias.detach().clone()
    advantage = credit(second)
    assert advantage.shape == second.reward.shape and not advantage[~second.mask].any() and advantage[0, fresh].abs().sum() > 0
    assert not torch.equal(before, credit.values.history.bias) and {"critic/q", "critic/value"} == set(credit.metrics)


def test_the_two_estimates_of_a_value_are_two():
    """Of one start they would have one target, and the smaller of them would say nothing."""
    source, credit, policy = parts()
    for _ in range(3):
        rollout = rollout_of(source, policy)
        rollout.reward = rollout.reward + torch.randn(rollout.reward.shape, generator=torch.Generator().manual_seed(0)) * rollout.mask
        credit(rollout)
    tokens, length = rollout.inputs["tokens"][0], rollout.inputs["length"][0].unsqueeze(1)
    for found in credit.values(tokens, length):
        assert (found[..., 0] - found[..., 1]).abs().mean() > 0.01
    heads = [UtteranceValues(policy, torch.Generator().manual_seed(seed)).history.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_restored_critic_goes_on_bit_for_bit():
    source, credit, policy = parts()
    for _ in range(2):
        credit(rollout_of(source, policy))
    state, streams = copy.deepcopy((source.state_dict(), credit.state_dict())), credit.generator.get_state()
    expected = credit(rollout_of(source, policy))
    again, other, _ = parts()
    again.load_state_dict(state[0])
    other.load_state_dict(state[1])
    other.generator.set_state(streams)
    assert torch.equal(other(rollout_of(again, policy)), expected)


def test_the_newest_conversations_are_kept():
    source, credit, policy = parts()
    memory = Conversations(4)
    rollout = rollout_of(source, policy)
    memory.take_in(rollout)
    assert memory.added == 6 and len(memory.rows) == 4
    groups = rollout.group[0].tolist()
    assert [group for group, _, _ in memory.rows] == [groups[4], groups[5], groups[2], groups[3]]


def test_what_stands_to_the_right_changes_no_value():
    generator = torch.Generator().manual_seed(0)
    net = UtteranceValues(parts()[2], generator)
    tokens = torch.randint(2, 20, (3, 7), generator=generator)
    changed = tokens.clone()
    changed[:, 4:] = 0
    length = torch.tensor([[1, 4], [2, 3], [4, 1]])
    for whole, cut in zip(net(tokens, length), net(changed, length), strict=True):
        torch.testing.assert_close(whole, cut)
        assert whole.shape == (3, 2, 2) and whole.std() > 0.1


def test_both_regressions_have_the_policys_values_as_their_fixed_point():
    assert fixed_point_error(7) < 1e-6
