"""How rows are dealt to minibatches."""

from types import SimpleNamespace

import pytest
import torch

from operant.loops.policy_gradient import PolicyGradientLearner, deal_rows


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_idle_rows_change_no_row_that_is_learned_from(count):
    busy = torch.tensor([True, False, True, True, False, True, True])
    beside = torch.cat([busy, torch.zeros(6, dtype=torch.bool)])

    def dealt(rows):
        return deal_rows(rows, count, torch.Generator().manual_seed(3))

    for few, many in zip(dealt(busy), dealt(beside), strict=True):
        assert few[busy[few]].tolist() == many[beside[many]].tolist()
    for rows in (busy, beside, torch.zeros(4, dtype=torch.bool), torch.ones(9, dtype=torch.bool)):
        parts = dealt(rows) if len(rows) >= count else deal_rows(rows, len(rows), torch.Generator())
        assert torch.cat(parts).sort().values.tolist() == list(range(len(rows)))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        learned = [int(rows[part].sum()) for part in parts]
        assert max(learned) - min(learned) <= 1


def test_without_idle_rows_it_is_a_permutation_cut_evenly():
    parts = deal_rows(torch.ones(10, dtype=torch.bool), 3, torch.Generator().manual_seed(0))
    assert torch.cat(parts).tolist() == torch.randperm(10, generator=torch.Generator().manual_seed(0)).tolist()
    assert [len(part) for part in parts] == [4, 3, 3]


@pytest.mark.parametrize("packs", [True, False])
def test_micro_batches_are_of_one_length_or_of_equal_tokens(packs):
    lengths = torch.randperm(20, generator=torch.Generator().manual_seed(0)) + 1
    mask = torch.arange(20) < lengths.view(1, 20, 1)
    learner = SimpleNamespace(method=SimpleNamespace(micro_batch=6), policy=SimpleNamespace(unit="row", packs=packs))
    lots = [lengths[rows] for rows in PolicyGradientLearner._micro_rows(learner, mask)]
    assert torch.cat(lots).sort().values.tolist() == list(range(1, 21)) and max(map(len, lots)) <= 6 and len(lots) == 4
    tokens = [int(lot.sum()) for lot in lots]
    if packs:
        assert max(tokens) - min(tokens) <= 15
    else:
        assert all(lot.max() - lot.min() < 6 for lot in lots) and max(tokens) - min(tokens) > 30
