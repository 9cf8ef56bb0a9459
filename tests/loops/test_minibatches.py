"""How rows are dealt to minibatches."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from operant.loops.credit import GAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import SquaredValueError
from operant.loops.update import Updater, deal_rows
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.world import GymWorld


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
    updater = SimpleNamespace(micro_batch=6, policy=SimpleNamespace(span="row", packs=packs))
    lots = [lengths[lot.rows] for lot in Updater.rows_together(updater, mask)]
    assert torch.cat(lots).sort().values.tolist() == list(range(1, 21)) and max(map(len, lots)) <= 6 and len(lots) == 4
    tokens = [int(lot.sum()) for lot in lots]
    if packs:
        assert max(tokens) - min(tokens) <= 15
    else:
        assert all(lot.max() - lot.min() < 6 for lot in lots) and max(tokens) - min(tokens) > 30


class Hears:
    """A term that keeps the advantages and masks it is given."""

    name, needs = "policy", frozenset()

    def __init__(self):
        self.advantage, self.mask = [], []

    def __call__(self, batch):
        self.advantage.append(batch.advantage.clone())
        self.mask.append(batch.mask.clone())
        return -batch.log_prob * batch.advantage


class Quits(gymnasium.Env):
    """Its episodes end at random, so that a vector environment ignores some actions."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(self.np_random.normal()), bool(self.np_random.random() < 0.3), False, {}


def ignores_some(num_envs=1):
    return SyncVectorEnv([Quits] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize("make", [Quits, ignores_some])
@pytest.mark.parametrize("rule", ["rollout", "minibatch", None])
def test_what_shares_a_mean_and_a_deviation(rule, make):
    method = PolicyGradient(
        policy=ActorCriticNet(hidden=(4,)),
        sample=Steps(environments=2, length=30),
        credit=GAE(),
        terms=[Hears(), SquaredValueError()],
        normalize_advantage=rule,
        minibatches=3,
    )
    learner = method.learner(GymWorld(make), [0, 1], 60, torch.device("cpu"))
    learner.iterate()
    learner.close()
    heard = learner.method.terms[0]
    masks = torch.stack(heard.mask, 1)  # [S, minibatch, step]
    values = torch.stack(heard.advantage, 1)
    assert masks.all() == (make is Quits)
    for seed in range(2):
        raw = learner.rollout.extras["advantage"][seed]
        chosen = [values[seed, place][masks[seed, place]] for place in range(3)]
        whole = torch.cat(chosen)
        assert not values[seed][~masks[seed]].any() or rule is None
        even = [bool(part.mean().abs() < 1e-5 and (part.std(correction=0) - 1).abs() < 1e-4) for part in (*chosen, whole)]
        assert even == {"rollout": [False, False, False, True], "minibatch": [True, True, True, True], None: [False] * 4}[rule]
        if rule != "minibatch":  # no value is changed after credit
            torch.testing.assert_close(whole.sort().values, raw[learner.rollout.mask[seed]].sort().values)
