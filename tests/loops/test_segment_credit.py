"""Credit of answers in parts: how answers end for GAE, windows, segments by probes, edges of trees."""

from __future__ import annotations

import torch

from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.status import Status
from operant.loops.credit import TokenGAE
from operant.methods.rlvr.credit.spo import TreeAdvantage, UncertainTokens, chain_advantage, deciding_edges
from operant.methods.rlvr.credit.t_ppo import finished_answers
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.problems import make_problem
from operant.worlds.sequences.source import SequenceSource
from operant.worlds.trees import SegmentProbes, Tree


def sampled(plan, seed: int = 0) -> Rollout:
    """A scored rollout of two seeds of a random table."""
    problem = make_problem("random")
    policy = TabularPolicy(problem, seeds=2)
    with torch.no_grad():
        policy.logits.copy_(torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    source = SequenceSource(problem, plan, Streams([0, 1]))
    return source.score(source.sample(policy, 0))


def answers(lengths: list[int], steps: int, going: list[bool], reward: list[float]) -> Rollout:
    """Answers of one seed; those that are `going` are still being written, the second of the others is at its limit."""
    mask = (torch.arange(steps) < torch.tensor(lengths).unsqueeze(1))[None]
    last = mask & ~torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)
    flags = torch.tensor(going)
    cut = flags | (torch.arange(len(going)) == 1)
    zeros = torch.zeros(mask.shape, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rows = torch.zeros(1, len(lengths), dtype=torch.int64)
    value, following = (torch.randn(mask.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return Rollout(
        inputs={},
        action=zeros.long(),
        log_prob=zeros,
        mask=mask,
        reward=zeros + last * torch.tensor(reward, dtype=torch.float64).unsqueeze(1),
        terminated=last & ~cut.unsqueeze(1),
        truncated=last & cut.unsqueeze(1),
        group=rows,
        status=rows,
        version=0,
        extras={"unfinished": flags[None], "present": mask.clone(), "value": value, "next_value": following},
    )


def test_an_answer_at_its_limit_is_over_and_one_that_goes_on_keeps_its_value():
    rollout = answers([3, 4, 2], 4, [False, False, True], [1.0, 0.5, 0.0])
    value, following = rollout.extras["value"][0], rollout.extras["next_value"][0]
    advantage = TokenGAE(1.0, 0.5)(rollout)[0]
    torch.testing.assert_close(advantage[0, 2], 1.0 - value[0, 2])
    torch.testing.assert_close(advantage[1, 3], 0.5 - value[1, 3])  # nothing is expected behind the limit
    assert advantage[2, 1] == 0.0
    torch.testing.assert_close(advantage[2, 0], following[2, 0] - value[2, 0])


def test_the_critic_of_windows_learns_returns_of_finished_answers_on_all_of_their_tokens():
    rollout = answers([3, 4, 2, 3], 4, [False, False, True, False], [1.0, 0.5, 0.0, 1.0])
    rollout.status = torch.tensor([[0, 0, 0, int(Status.TIMEOUT)]])
    rollout.mask = rollout.mask & (rollout.status == 0).unsqueeze(-1)
    rollout.mask[0, 0, :2] = False  # what earlier windows wrote
    marks = finished_answers(rollout)
    assert marks["finished"][0].sum(-1).tolist() == [3, 4, 0, 0]
    assert marks["returns"][0, 0].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert marks["returns"][0, 1].tolist() == [0.5] * 4


def literal_chain(rollout: Rollout, seed: int, row: int) -> list[float]:
    """The advantages of one answer: values are means over the probes of a boundary that were scored."""
    score, status = rollout.reward[seed].sum(-1).tolist(), rollout.status[seed].tolist()
    present, probe = rollout.extras["present"][seed].any(-1).tolist(), rollout.extras["probe"][seed].tolist()
    parent, place = rollout.parent[seed].tolist(), rollout.branch_at[seed].tolist()
    group = rollout.group[seed].tolist()
    found: dict[int, list[float]] = {}
    for other in range(len(score)):
        if not probe[other] or not present[other] or status[other]:
            continue
        if parent[other] == row:
            found.setdefault(place[other], []).append(score[other])
        elif parent[other] < 0 and group[other] == group[row]:
            found.setdefault(0, []).append(score[other])
    if 0 not in found:
        found[0] = [score[other] for other in range(len(score)) if not probe[other] and group[other] == group[row] and not status[other]]
    length = int(rollout.mask[seed, row].sum())
    bounds = sorted(found)
    values = [sum(found[bound]) / len(found[bound]) for bound in bounds] + [score[row]]
    advantages = []
    for step in range(length):
        segment = max(number for number, bound in enumerate(bounds) if bound <= step)
        advantages.append(values[segment + 1] - values[segment])
    return advantages


def check_chain(rollout: Rollout) -> None:
    advantage = chain_advantage(rollout)
    for seed in range(2):
        for row in rollout.mask[seed].any(-1).nonzero().flatten().tolist():
            want = torch.tensor(literal_chain(rollout, seed, row), dtype=torch.float64)
            torch.testing.assert_close(advantage[seed, row, : len(want)], want, rtol=0, atol=1e-12)
    assert (advantage * ~rollout.mask).abs().max() == 0


def test_chain_advantages_are_differences_of_mean_probes():
    rollout = sampled(SegmentProbes(prompts=3, n=4, probes=3, every=1))
    assert (rollout.parent >= 0).sum() > 10
    check_chain(rollout)


def test_probes_that_could_not_be_scored_are_no_zeros():
    rollout = sampled(SegmentProbes(prompts=3, n=4, probes=3, every=1))
    failed = torch.rand(rollout.status.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    first = rollout.group == rollout.group[:, :1]
    failed |= rollout.extras["probe"] & first & (rollout.parent < 0)  # nothing is known of the first problem's start
    failed &= rollout.extras["probe"]
    branch = [(int(rollout.parent[0, row]), int(rollout.branch_at[0, row])) for row in range(rollout.shape[1])]
    inner = next(pair for pair in branch if pair[0] >= 0)
    failed[0] |= torch.tensor([pair == inner for pair in branch])  # nor of one boundary
    rollout.status = torch.where(failed, int(Status.CRASHED), rollout.status)
    rollout.reward = rollout.reward.masked_fill(failed.unsqueeze(-1), 1e6)
    check_chain(rollout)


def check_tree(parent: list[int], group: list[int], rows: list[int], score: list[float], edge: list[float]) -> None:
    """Edges of siblings sum to 0; edges from the problem to a leaf sum to the leaf's score less the problem's value."""

    def value(row: int) -> float:
        children = [child for child in rows if parent[child] == row]
        return sum(map(value, children)) / len(children) if children else score[row]

    families = [(parent[row], group[row] if parent[row] < 0 else 0) for row in rows]
    for family in set(families):
        assert abs(sum(edge[row] for row, own in zip(rows, families, strict=True) if own == family)) < 1e-12
    for leaf in set(rows) - set(parent):
        beginnings = [value(row) for row in rows if parent[row] < 0 and group[row] == group[leaf]]
        total, row = 0.0, leaf
        while row >= 0:
            total, row = total + edge[row], parent[row]
        assert abs(total - (score[leaf] - sum(beginnings) / len(beginnings))) < 1e-12


def test_siblings_of_a_tree_sum_to_zero_and_edges_up_to_the_problem_telescope():
    rollout = sampled(Tree(prompts=2, branching=(3, 2, 2), chunk=1))
    edge = (TreeAdvantage()(rollout) * rollout.mask).sum(-1) / rollout.mask.sum(-1).clamp(min=1)
    assert edge.abs().max() > 0.1
    for seed in range(2):
        rows = rollout.mask[seed].any(-1).nonzero().flatten().tolist()
        check_tree(rollout.parent[seed].tolist(), rollout.group[seed].tolist(), rows, rollout.reward[seed].sum(-1).tolist(), edge[seed].tolist())


def test_tree_advantages_can_be_divided_by_the_siblings_deviation():
    rollout = sampled(Tree(prompts=2, branching=(3, 2, 2), chunk=1))
    plain, divided = TreeAdvantage()(rollout), TreeAdvantage(normalize_std=True)(rollout)
    siblings = [row for row in range(rollout.shape[1]) if rollout.parent[0, row] < 0 and rollout.group[0, row] == rollout.group[0, 0]]
    centred = plain[0, siblings, 0]
    torch.testing.assert_close(divided[0, siblings, 0], centred / (centred.square().sum() / (len(siblings) - 1)).sqrt(), rtol=1e-4, atol=0)


def test_only_uncertain_tokens_of_deciding_edges_are_learned_from():
    rollout = sampled(Tree(prompts=2, branching=(3, 2), chunk=1))
    rollout.reward[:, :, :] = 0.5 * (rollout.reward != 0)  # all leaves alike: no edge decides anything
    rollout.extras["advantage"] = TreeAdvantage()(rollout)
    assert not deciding_edges(rollout).any()
    uncertain = UncertainTokens(0.3)(rollout)
    assert torch.equal(uncertain, rollout.mask & (rollout.log_prob < torch.tensor(0.3, dtype=torch.float64).log()))
    assert uncertain.any() and not torch.equal(uncertain, rollout.mask)
