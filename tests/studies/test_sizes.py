"""What a study's options ask more memory for than there is is refused before anything is made, and what diverges gives no number."""

from __future__ import annotations

import pytest

from operant import studies
from operant.core.errors import BadInput, RunFailed

MANY = 10**9


@pytest.mark.parametrize(("key", "options", "told"), [
    ("video-rep-learning", {"batch_size": MANY}, "batches of 1,000,000,000 pairs of frames"),
    ("video-rep-learning", {"episodes": MANY}, "1,000,000,000 videos of 20 frames"),
    ("video-rep-learning", {"seeds": MANY}, "of each of 1,000,000,000 seeds"),
    ("video-rep-learning", {"features": MANY}, "encoders of .* weights"),
    ("video-rep-learning", {"codes": MANY}, "encoders of .* weights"),
    ("video-rep-learning", {"max_offset": 20}, "max_offset=20: videos of grid have 20 frames: at most 19"),
    ("recovering-ppp", {"pulls": (MANY,)}, "5,000,000,000 arms with 12 delays"),
    ("recovering-ppp", {"delays": MANY}, "160 arms with 1,000,000,000 delays"),
    ("recovering-ppp", {"arms": MANY}, "1,000,000,000 arms"),
    ("revealing-pomdp-lb", {"observations": (MANY,)}, "1,000,000,000 symbols"),
    ("revealing-pomdp-lb", {"branches": MANY}, "1,000,000,000 branches"),
    ("revealing-pomdp-lb", {"repeats": MANY}, "1,000,000,000 repeats"),
    ("umt-psr", {"tasks": (MANY,)}, "of each of 1,000,000,000 tasks apart"),
    ("umt-psr", {"emissions": MANY}, "telling 5,000,000,000 models"),
    ("umt-psr", {"transitions": MANY}, "telling 20,000,000,000 models"),
    ("vr-halpern", {"components": (MANY,)}, "1,000,000,000 components in 20 dimensions"),
    ("vr-halpern", {"dimension": MANY, "components": (MANY,)}, "in 1,000,000,000 dimensions"),
    ("vr-halpern", {"components": (4,)}, "dimension=20: 4 components have no zero of their own"),
    ("brorl", {"vocabulary": MANY}, r"vocabulary = 1000000000: it must be in \[2, "),
    ("brorl", {"draws": (MANY * 10,)}, "it must be at most 1,000,000,000"),
    ("continual-rl-definition", {"runs": MANY}, "1,000,000,000 runs of 8 learners"),
    ("rlhf-irl-view", {"horizons": (10, MANY)}, "over 1,000,000,000 steps"),
    ("rlhf-irl-view", {"seeds": MANY}, "policies of 1,000,000,000 seeds"),
    ("video-rep-learning", {"encoders": ("inverse", "inverse")}, "study video-rep-learning: encoders has inverse twice"),
    ("bounds", {"keys": ("cfr", "cfr")}, "study bounds: keys has cfr twice"),
    ("ope", {"repeats": MANY}, "1,000,000,000 data sets"),
    ("ope", {"horizon": MANY}, "take fewer --repeats or --episodes"),
])  # fmt: skip
def test_what_there_is_no_memory_for_is_refused_before_anything_is_made(key, options, told, tmp_path):
    with pytest.raises(BadInput, match=told):
        studies.run(key, out=tmp_path / "study", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("key", "options", "told"), [
    ("brorl", {"radius": 1e300, "draws": (8,)}, "8 draws a step, seed 0: the logits are not finite after 1 updates: try a smaller --radius"),
    ("brorl", {"spread": 1e308, "draws": (8,)}, "the logits are not finite after 0 updates: try a smaller --spread"),
    ("rlhf-irl-view", {"temperature": 1e-320, "horizons": (2, 3), "seeds": 2, "rounds": 2}, "the soft-optimal policy is not finite"),
])  # fmt: skip
def test_what_diverges_gives_no_number(key, options, told, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("operant.core.registry.LARGEST_FLOAT", float("inf"))  # or it would take many updates
    with pytest.raises(RunFailed, match=told):
        studies.run(key, out=tmp_path / "study", **options)
    assert not list(tmp_path.iterdir())
