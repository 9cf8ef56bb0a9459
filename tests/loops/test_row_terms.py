"""Terms that couple the rows of a group, and the selections and plans of the methods that fit log-ratios."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.loops.row_terms import GroupedLogRatio
from operant.loops.terms import TermBatch
from operant.worlds import make_world


def batch(seed: int = 0) -> dict:
    """Two stacked seeds, six rows in two groups that are not side by side, the third row masked."""
    g = torch.Generator().manual_seed(seed)
    new, old = (torch.randn(2, 6, 4, generator=g, dtype=torch.float64) for _ in range(2))
    mask = torch.rand(2, 6, 4, generator=g) < 0.7
    mask[..., 0] = True
    mask[:, 2] = False
    score = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]] * 2, dtype=torch.float64)
    return {"log_prob": new, "old_log_prob": old, "mask": mask, "score": score, "group": torch.tensor([[7, 3, 7, 3, 7, 3]] * 2)}


def test_rows_of_a_group_are_coupled_and_no_others():
    given = batch()
    loss = GroupedLogRatio(partial(ops.leave_one_out_cross_entropy, beta=2.0), target="score")(TermBatch(given))
    assert loss.shape == given["mask"].shape
    rho = ((given["log_prob"] - given["old_log_prob"]) * given["mask"]).sum(-1)
    for seed in range(2):
        for rows in ([0, 4], [1, 3, 5]):  # row 2 is learned from nowhere
            want = ops.leave_one_out_cross_entropy(rho[seed, rows], given["score"][seed, rows], beta=2.0)
            torch.testing.assert_close(loss[seed, rows], want.unsqueeze(-1).expand(-1, 4))
        assert (loss[seed, 2] == 0).all()


def test_the_order_of_rows_changes_nothing():
    given, order = batch(), torch.tensor([5, 0, 3, 2, 1, 4])
    term = GroupedLogRatio(ops.standardized_log_ratio_loss, target="advantage")
    given["advantage"] = given["score"].unsqueeze(-1).expand(2, 6, 4)
    torch.testing.assert_close(term(TermBatch(given))[:, order], term(TermBatch({name: x[:, order] for name, x in given.items()})))


def learner(key: str, **values):
    return get_method(key).build(configure(key, values)).learner(make_world("sequences:sum-mod"), [0, 1], 100, torch.device("cpu"))


def test_oreal_learns_from_one_right_and_one_wrong_answer_of_each_mixed_group():
    from operant.methods.rlvr.imitation.oreal import either_side, one_right_one_wrong

    at_work = learner("oreal", prompts=6, group_size=5)
    rollout = at_work._collect()[0]
    rollout.extras |= one_right_one_wrong(rollout)
    keep = either_side(rollout)
    right = rollout.reward.sum(-1) > 0.5
    for seed in range(2):
        for group in rollout.group[seed].unique():
            rows = (rollout.group[seed] == group).nonzero().squeeze(1)
            kept = rows[keep[seed, rows].any(-1)]
            mixed = bool(right[seed, rows].any()) and not bool(right[seed, rows].all())
            assert right[seed, kept].tolist().count(True) == right[seed, kept].tolist().count(False) == int(mixed)
    assert not (keep & ~rollout.mask).any() and not (rollout.extras["right"] & rollout.extras["wrong"]).any()


def test_oreals_policy_stands_still_while_the_token_model_learns():
    at_work = learner("oreal", prompts=6, group_size=5, critic_iterations=1, learning_rate=0.01)
    policy, table = at_work.policy.logits.clone(), at_work.policy.table.clone()
    at_work.iterate()
    assert torch.equal(at_work.policy.logits, policy)
    assert not torch.equal(at_work.policy.table, table)
    at_work.iterate()
    assert not torch.equal(at_work.policy.logits, policy)


def test_candidate_steps_are_worth_what_their_completions_reached():
    at_work = learner("direct-apo", prompts=5, candidates=3, completions=2, step_tokens=2)
    with torch.no_grad():
        at_work.policy.table.normal_(generator=torch.Generator().manual_seed(0))
    rollout: Rollout = at_work._collect()[0]
    at_work._provide(rollout, at_work._after)
    advantage = at_work.method.credit(rollout)
    rollout.extras |= at_work.method.mark[0](rollout)
    extras, reward = rollout.extras, rollout.reward.sum(-1)
    seen = 0
    for seed in range(2):
        parent, cut = rollout.parent[seed].tolist(), rollout.branch_at[seed].tolist()

        def worth(row: int, seed: int = seed, parent: list[int] = parent) -> float:
            below = [other for other in range(len(parent)) if parent[other] == row]
            return float(reward[seed, below].mean()) if below else float(reward[seed, row])

        for row in rollout.mask[seed].any(-1).nonzero().squeeze(1).tolist():
            siblings = [other for other in range(len(parent)) if parent[other] == parent[row]]
            assert len(siblings) == 3 and len({cut[other] for other in siblings}) == 1
            success = sum(map(worth, siblings)) / 3
            assert float(extras["success"][seed, row]) == pytest.approx(success)
            assert extras["states"][seed, row].nonzero().squeeze(1).tolist() == [cut[row]]
            assert float(extras["label"][seed, row, cut[row]]) == pytest.approx(success)
            below = [other for other in range(len(parent)) if parent[other] == row]
            before = float(extras["value"][seed, row, cut[row]].sigmoid())
            if below:
                labelled = [other for other in below if bool(extras["states"][seed, other].any())]
                assert labelled == below[:1]
                assert float(extras["label"][seed, below[0], cut[below[0]]]) == pytest.approx(worth(row))
                after = float(extras["value"][seed, below[0], cut[below[0]]].sigmoid())  # what the critic says in front of the completion
            else:
                after = float(reward[seed, row])
            assert advantage[seed, row][rollout.mask[seed, row]].tolist() == pytest.approx([after - before] * int(rollout.mask[seed, row].sum()))
            seen += bool(below)
    assert seen > 10


def test_labels_other_than_0_and_1_are_refused():
    from operant.core.errors import RunFailed

    at_work = get_method("pacs").build(configure("pacs", {})).learner(make_world("sequences:graded"), [0], 100, torch.device("cpu"))
    with pytest.raises(RunFailed, match="must be 0 or 1"):
        at_work.iterate()
