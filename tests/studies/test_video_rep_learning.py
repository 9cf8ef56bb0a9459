"""The study of video encoders: its videos, clusters and Q-learning, and a small run of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant import studies
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.nets.representation import EncoderSettings, FrameEncoder
from operant.studies.video_rep_learning import VideoOptions, bed, clusters, decoded, q_learned, videos

SEEDS = [100, 101]
SMALL = {"seeds": 2, "seed": 100, "episodes": 20, "updates": 4, "batch_size": 8, "q_episodes": 2, "evaluated": 1, "codes": 4}


class Green(FrameEncoder):
    """What the state's own colour shows, without the noise."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return (frames.unflatten(-1, (64, 3))[..., 1] * 255 >= 200).float()


def test_videos_are_of_the_habit_and_pairs_of_one_video():
    shown = videos(bed("grid", "exogenous"), SEEDS, 100, "videos")
    assert shown.picture.shape == (2, 100, 20, 192) and shown.action.shape == shown.hidden.shape == (2, 100, 20)
    # the second pixel of a place's first row and column, in its own colour
    bright = shown.picture.unflatten(-1, (8, 8, 3))[..., ::2, ::2, 1] >= 200
    assert torch.equal(bright.flatten(-2).int().argmax(-1), shown.hidden)
    assert torch.bincount(shown.action.flatten()).div(4_000).tolist() == pytest.approx([0.25] * 4, abs=0.04)
    alone = videos(bed("grid", "exogenous"), SEEDS[1:], 100, "videos")
    assert torch.equal(alone.picture[0], shown.picture[1]) and torch.equal(alone.action[0], shown.action[1])
    found = shown.pairs(50, 3, Streams(SEEDS))
    assert found.offset.min() == 1 and found.offset.max() == 3
    frames = shown.picture[1].float() / 255
    for first, second, offset, action in zip(found.first[1], found.second[1], found.offset[1], found.action[1], strict=True):
        episode, at = (frames == first).all(-1).nonzero()[0].tolist()
        assert torch.equal(frames[episode, at + offset], second) and shown.action[1, episode, at] == action


def test_clusters_of_an_encoder_that_keeps_the_state_are_the_states():
    points = torch.tensor([[[0.0, 0], [0, 1], [9, 9], [9, 8], [-7, 0]]])
    found = clusters(points, 3, Streams([100]))
    assert sorted(found[0].tolist()) == [[-7, 0], [0, 0.5], [9, 8.5]]
    kind, streams = bed("grid", "mimic"), Streams(SEEDS)
    encoder = Green(192, 4, EncoderSettings(hidden=(2,)), streams)
    decode, accuracy = decoded(encoder, videos(kind, SEEDS, 100, "videos"), videos(kind, SEEDS, 20, "held out"), streams)
    assert accuracy.tolist() == pytest.approx([1, 1], abs=0.07)  # k-means may merge two places
    options = VideoOptions(q_episodes=60, evaluated=20)
    truth, blind = (q_learned(kind, read, SEEDS, options) for read in (lambda pictures, hidden: hidden, lambda pictures, hidden: 0 * hidden))
    assert truth.min() > 2 + blind.max()
    assert q_learned(kind, lambda pictures, hidden: hidden, SEEDS[1:], options)[0] == truth[1]


@pytest.mark.parametrize("hidden", ["grid", "lock"])
def test_a_small_run(hidden: str, tmp_path):
    found, result = studies.run("video-rep-learning", out=tmp_path / "study", bed=hidden, **SMALL)
    assert result["figures"]["optimal_return"] == pytest.approx({"grid": 15.3805, "lock": 1.0}[hidden], abs=1e-4)
    assert [row[:2] for row in found.tables[0].rows[:3]] == [("iid", "hidden state"), ("iid", "random"), ("iid", "autoencoder")]
    assert len(found.tables[0].rows) == 3 * 7 and (tmp_path / "study" / "mimic.svg").exists()
    for of in result["figures"]["noises"].values():
        assert all(0 <= value <= 1 for each in of.values() for value in each["accuracy"]) and np.isfinite([each["return"] for each in of.values()]).all()


def test_names_that_are_none_are_one_line(tmp_path):
    with pytest.raises(BadInput, match="did you mean iid"):
        studies.run("video-rep-learning", out=tmp_path / "study", noises="iit")
    with pytest.raises(BadInput, match="did you mean inverse"):
        studies.run("video-rep-learning", out=tmp_path / "study", encoders="inverze")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("updates", "told"), [
    (3, "encoder inverse, iid noise, seed 100, update 2 of 3: the loss is not finite"),
    (1, "encoder inverse, iid noise, seed 100, update 1 of 1: what the encoder makes of frames is not finite"),
])  # fmt: skip
def test_an_encoder_that_diverges_gives_no_number(updates: int, told: str, tmp_path):
    given = SMALL | {"q_episodes": 1, "updates": updates, "encoders": ("inverse",), "noises": ("iid",), "learning_rate": 1e30}
    with pytest.raises(RunFailed, match=told):
        studies.run("video-rep-learning", out=tmp_path / "study", **given)
    assert not list(tmp_path.iterdir())
