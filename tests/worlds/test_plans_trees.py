"""Plans that go on in the middle of an answer: windows, probes of segments, trees, and the stage of branching."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.language import TokenPolicy
from operant.nets.tabular import TabularPolicy
from operant.worlds.plans import Branches
from operant.worlds.sequences.problems import make_problem
from operant.worlds.sequences.source import SequenceSource
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import Arithmetic
from operant.worlds.trees import ExploringStage, SegmentProbes, Tree, Windows

TASK = Arithmetic(operands=4)
KINDS = pytest.mark.parametrize("kind", ["text", "sequences"])


def made(kind: str, plan):
    """(source, policy) of an untrained policy."""
    if kind == "text":
        tokenizer = make_tokenizer(TASK.alphabet)
        policy = TokenPolicy(make_model("llama", len(tokenizer), 3, width=16, layers=1, heads=2, positions=64))
        return TextSource(TASK, tokenizer, plan, Streams([0])), policy
    problem = make_problem("random")
    policy = TabularPolicy(problem, seeds=2)
    with torch.no_grad():
        policy.logits.copy_(torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    return SequenceSource(problem, plan, Streams([0, 1])), policy


def scored(source, policy, version: int = 0):
    return source.score(source.sample(policy, version))


def limit(source) -> int:
    return source.limit if isinstance(source, TextSource) else source.problem.length


# ------------------------------------------------------------------------------------------------------------------------------------------ windows


@KINDS
def test_windows_go_on_where_the_last_one_stopped_and_keep_the_batch_full(kind: str):
    window = {"text": 3, "sequences": 2}[kind]
    source, policy = made(kind, Windows(prompts=2, n=3, window=window))
    going: list[Counter] = [Counter()] * (1 if kind == "text" else 2)
    begun = [Counter() for _ in going]
    ended = 0
    for version in range(6):
        rollout = scored(source, policy, version)
        assert rollout.shape[1] == 6
        present = rollout.extras.get("present", rollout.mask)
        unfinished = rollout.extras.get("unfinished", torch.zeros_like(rollout.group, dtype=torch.bool))
        length = present.sum(-1)
        for seed in range(len(going)):
            carried, left = Counter(), Counter()
            for row in range(6):
                new = int(rollout.mask[seed, row].sum())
                whole = rollout.action[seed, row, : length[seed, row]].tolist()
                old = tuple(whole[: len(whole) - new])
                group = int(rollout.group[seed, row])
                assert 1 <= new <= window and len(whole) <= limit(source)
                assert rollout.mask[seed, row, len(old) : len(whole)].all()
                begun[seed][group] += not old
                carried.update([(group, old)] if old else [])
                if unfinished[seed, row]:
                    assert rollout.reward[seed, row].sum() == 0
                    left.update([(group, tuple(whole))])
                else:
                    ended += 1
            assert carried == going[seed]
            going[seed] = left
        difference = (policy.replay(rollout.inputs, rollout.action)["log_prob"] - rollout.log_prob).detach() * rollout.mask
        assert difference.abs().max() < 1e-4
    assert ended > 6
    for counts in begun:
        assert all(count == 3 for _, count in counts.most_common()[:-1])  # every problem gets its answers; the latest may still wait for some
        assert len(counts) > 2


@KINDS
def test_windows_as_long_as_answers_never_cut_one(kind: str):
    source, policy = made(kind, Windows(prompts=2, n=2, window=50))
    for version in range(3):
        rollout = scored(source, policy, version)
        assert "unfinished" not in rollout.extras and rollout.group.unique().numel() == 2


@KINDS
@pytest.mark.parametrize("plan", [lambda: Windows(prompts=2, n=3, window=2), lambda: SegmentProbes(prompts=2, n=2, probes=2, every=1)])
def test_a_restored_plan_goes_on_bit_for_bit(kind: str, plan):
    source, policy = made(kind, plan())
    scored(source, policy)
    state = source.state_dict()
    expected = [scored(source, policy, step).tensors() for step in range(3)]
    restored, _ = made(kind, plan())
    restored.load_state_dict(state)
    for step in range(3):
        found = scored(restored, policy, step).tensors()
        assert all(torch.equal(value, found[name]) for name, value in expected[step].items())


# ------------------------------------------------------------------------------------------------------------------------------------------- probes


@KINDS
def test_every_boundary_of_a_segment_is_probed_and_probes_are_not_learned_from(kind: str):
    source, policy = made(kind, SegmentProbes(prompts=2, n=3, probes=4, every=2))
    rollout = scored(source, policy)
    probe, present = rollout.extras["probe"], rollout.extras["present"]
    for seed in range(len(probe)):
        answers = (~probe[seed]).nonzero().flatten()
        assert len(answers) == 6 and rollout.mask[seed, answers].any(-1).all()
        assert not rollout.mask[seed, probe[seed]].any()
        starts = ops.segment_starts(rollout.log_prob[seed], rollout.mask[seed], threshold=0.9, every=2)
        wanted = Counter({(row, place): 4 for row in answers.tolist() for place in starts[row].nonzero().flatten().tolist() if place})
        found: Counter = Counter()
        for row in (probe[seed] & present[seed].any(-1)).nonzero().flatten().tolist():
            parent, place = int(rollout.parent[seed, row]), int(rollout.branch_at[seed, row])
            if parent < 0:
                assert place == 0
                continue
            found[(parent, place)] += 1
            assert torch.equal(rollout.action[seed, row, :place], rollout.action[seed, parent, :place])
        assert found == wanted and wanted
        beginnings = probe[seed] & (rollout.parent[seed] < 0) & present[seed].any(-1)
        assert Counter(rollout.group[seed, beginnings].tolist()) == Counter({int(group): 4 for group in rollout.group[seed, answers].unique()})


# -------------------------------------------------------------------------------------------------------------------------------------------- trees


@KINDS
def test_a_tree_branches_behind_every_chunk_that_does_not_end_the_answer(kind: str):
    source, policy = made(kind, Tree(prompts=2, branching=(3, 2, 2), chunk=1))
    rollout = scored(source, policy)
    present = rollout.extras["present"]
    unfinished = rollout.extras["unfinished"]
    for seed in range(len(present)):
        rows = present[seed].any(-1).nonzero().flatten().tolist()
        children = Counter(int(rollout.parent[seed, row]) for row in rows)
        assert children[-1] == 6
        depth: dict[int, int] = {-1: 0}
        for row in rows:
            parent, place = int(rollout.parent[seed, row]), int(rollout.branch_at[seed, row])
            assert parent < row
            depth[row] = depth[parent] + 1
            new = int(rollout.mask[seed, row].sum())
            assert new == 1 if depth[row] < 3 else new >= 1
            assert place == depth[parent] and not rollout.mask[seed, row, :place].any()
            assert bool(unfinished[seed, row]) == (children[row] > 0)
            assert children[row] in (0, 2)
            if parent >= 0:
                assert rollout.group[seed, row] == rollout.group[seed, parent]
                assert torch.equal(rollout.action[seed, row, :place], rollout.action[seed, parent, :place])
        assert max(depth.values()) == 3
    difference = (policy.replay(rollout.inputs, rollout.action)["log_prob"] - rollout.log_prob).detach() * rollout.mask
    assert difference.abs().max() < 1e-4


# -------------------------------------------------------------------------------------------------------------------------------------------- stages


@KINDS
def test_answers_branch_until_the_stage_is_over(kind: str):
    source, policy = made(kind, ExploringStage(prompts=2, n=2, branches=3, uncertain=2, explore=0.5))
    for progress in (0.0, 0.49, 0.5, 1.0):
        source.progress = progress
        rollout = scored(source, policy)
        assert rollout.shape[1] == 2 * 2 * (1 + 3)
        assert all(set(Counter(groups.tolist()).values()) == {8} for groups in rollout.group)
        branched = rollout.parent is not None and bool((rollout.parent >= 0).any())
        assert branched == (progress < 0.5)


def test_answers_do_not_branch_at_their_end_token():
    source, policy = made("sequences", Branches(prompts=6, n=4, branches=2, uncertain=0))
    rollout = scored(source, policy)
    ends = [
        bool(rollout.action[seed, parent, rollout.branch_at[seed, row]] == 0)
        for seed in range(2)
        for row, parent in enumerate(rollout.parent[seed].tolist())
        if parent >= 0
    ]
    assert ends and not any(ends)
    assert rollout.shape[1] == 6 * 4 * 3  # answers that are too short are written again from the start


@pytest.mark.parametrize("plan", [lambda: Windows(window=0), lambda: SegmentProbes(probes=0), lambda: Tree(chunk=0), lambda: ExploringStage(explore=-0.1)])
def test_sizes_out_of_range_are_refused(plan):
    with pytest.raises(BadInput, match="nearest: 1"):
        plan()
