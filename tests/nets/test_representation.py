"""Encoders of frames: what each learns from, a seed alone and among others."""

from __future__ import annotations

import pytest
import torch

from operant.core.random import Streams
from operant.nets.representation import ENCODERS, EncoderSettings, FramePairs

SETTINGS = EncoderSettings(features=4, hidden=(8,), codes=3)


def pairs(seeds: int) -> FramePairs:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 1, 5, 6, generator=generator).expand(-1, seeds, -1, -1).unbind()
    return FramePairs(first, second, torch.tensor([1, 2, 1, 2, 1]).expand(seeds, -1), torch.tensor([0, 1, 2, 0, 1]).expand(seeds, -1))


@pytest.mark.parametrize("name", ENCODERS)
def test_a_seed_learns_among_others_what_it_learns_alone(name: str):
    found = []
    for seeds in ([100, 101], [101]):
        encoder, given = ENCODERS[name](6, 3, SETTINGS, Streams(seeds)), pairs(len(seeds))
        if encoder.learns:
            encoder.settle(given.first, torch.rand(len(seeds), 3, generator=torch.Generator().manual_seed(0))[:1].expand(len(seeds), -1))
            loss = encoder.loss(given)
            assert loss.shape == (len(seeds), 5) and (loss > 0).all()
            loss.mean(1).sum().backward()
            assert all(p.grad is not None for p in encoder.parameters()) and encoder.encoder.layers[0].weight.grad[-1].any()
        found.append([encoder(given.first)[-1], *(p.grad[-1] for p in encoder.parameters() if encoder.learns)])
    assert found[0][0].shape == (5, 4)
    for among, alone in zip(*found, strict=True):
        torch.testing.assert_close(among, alone)


def test_what_is_contrasted_has_length_one_where_that_is_wanted():
    for normalize in (True, False):
        settings = EncoderSettings(features=4, hidden=(8,), normalize=normalize)
        length = ENCODERS["contrastive"](6, 3, settings, Streams([100]))(pairs(1).first).norm(dim=-1)
        assert torch.allclose(length, torch.ones(5)) == normalize


def test_codes_take_the_place_of_features_once_they_are_settled():
    encoder, given = ENCODERS["forward-vq"](6, 3, SETTINGS, Streams([100])), pairs(1)
    assert torch.equal(encoder(given.first), encoder.encoder(given.first))
    encoder.settle(given.first, torch.tensor([[0.1, 0.5, 0.9]]))
    codes = encoder.codes[0].tolist()
    assert all(any(row == pytest.approx(code, abs=1e-6) for code in codes) for row in encoder(given.first)[0].tolist())
