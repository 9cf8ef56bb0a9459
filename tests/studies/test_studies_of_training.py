"""The studies that train: each at its smallest, and the parts that can be worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from long_tier import due

from operant import studies
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.nets.language import TokenPolicy
from operant.studies.echo_chamber import FormattedSums, format_of
from operant.studies.lite_ppo import TricksOptions, variants, without_cut_answers
from operant.studies.one_shot_rlvr import Pool, after_saturation
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import Arithmetic

TASK = Arithmetic(operands=4)


def source(plan, limit=None) -> tuple[TextSource, TokenPolicy]:
    tokenizer = make_tokenizer(TASK.alphabet)
    policy = TokenPolicy(make_model("llama", len(tokenizer), 3, width=16, layers=1, heads=2, positions=64))
    return TextSource(TASK, tokenizer, plan, Streams([0]), limit=limit), policy


def test_a_pool_repeats_its_problems():
    one, policy = source(Pool(prompts=3, n=2, indices=(7,)))
    assert one.sample(policy, 0).group[0].tolist() == [7] * 6
    many, policy = source(Pool(prompts=3, n=2, indices=(1, 4, 6, 9)))
    groups = many.sample(policy, 0).group[0].tolist()
    assert len(set(groups)) == 3 and set(groups) <= {1, 4, 6, 9}


def test_what_comes_after_saturation_by_hand():
    run = {"step": [0, 2, 4], "pass@1": [0.2, 0.3, 0.5]}
    assert after_saturation(run, [0.1, 1.0, 1.0, 1.0]) == pytest.approx(0.2)
    assert after_saturation(run, [0.1, 0.9, 0.2, 0.3]) is None


def test_cut_answers_leave_the_rollout():
    from operant.worlds.plans import Groups

    made, policy = source(Groups(prompts=2, n=8), limit=2)
    rollout = made.score(made.sample(policy, 0))
    cut = ~rollout.terminated.any(-1)
    assert cut.any()
    kept = without_cut_answers(rollout)
    assert not kept.mask[cut].any() and bool(kept.mask[~cut].any(-1).all())


def test_each_variant_changes_one_thing():
    made = variants(TricksOptions(), longest=20)
    centre = vars(made["grpo"])
    for name, spine in made.items():
        changed = {key for key, value in vars(spine).items() if repr(value) != repr(centre[key])}
        expected = {"grpo": 0, "sum over tokens": 2, "lite ppo": 2}.get(name, 1)
        assert len(changed) == expected, (name, changed)


def test_formats_are_told_apart_and_reliabilities_hold():
    assert [format_of(text) for text in ("8,7;7", "<8><7>;7", ";7", "8,7")] == ["steps", "brackets", "direct", "none"]
    task = FormattedSums(shares=(0.5, 0.3, 0.2), reliabilities=(0.9, 0.5, 0.2))
    rng = np.random.default_rng(0)
    right: dict[str, list[float]] = {}
    for _ in range(3_000):
        problem = task.problem(rng)
        trace = task.trace(problem, rng)
        assert len(trace) <= task.longest_completion and set(trace) <= set(task.alphabet)
        right.setdefault(format_of(trace), []).append(task.verifier.score(problem, trace))
    for name, share, reliability in zip(("steps", "brackets", "direct"), (0.5, 0.3, 0.2), (0.9, 0.5, 0.2), strict=True):
        assert len(right[name]) / 3_000 == pytest.approx(share, abs=0.04)
        assert np.mean(right[name]) == pytest.approx(reliability, abs=0.06)


SMALL = {
    "lite-ppo": {"task": "text:sort", "steps": 2, "seeds": 1, "prompts": 2, "group_size": 2, "problems": 2},
    "one-shot-rlvr": {"task": "text:sort", "pool": 4, "prompts": 2, "group_size": 2, "epochs": 2, "steps": 2, "looks": 1, "problems": 2},
    "echo-chamber": {"pretraining": 100, "steps": 2, "looks": 1, "problems": 4, "samples": 4},
    "limit-of-rlvr": {"task": "text:arithmetic", "steps": 2, "problems": 2, "samples": 2, "demonstrations": 128, "updates": 2},
    "invisible-leash": {"task": "text:arithmetic", "steps": 2, "problems": 2, "samples": 2, "base_samples": 2},
    "bounds": {"keys": ("objective-expressivity",)},
    "continual-rl-definition": {"steps": 100, "runs": 3, "commits": (10,)},
    "rlhf-irl-view": {"horizons": (1, 4, 8), "seeds": 2, "rounds": 5, "rarity": 0.01},
    "ope": {"episodes": (20, 40), "repeats": 5},
    "recovering-ppp": {"pulls": (1, 2), "instances": 2, "steps": (100, 200)},
    "revealing-pomdp-lb": {"observations": (4, 8), "alpha": (0.3, 0.4), "repeats": 20, "episodes": (100, 1_000)},
    "umt-psr": {"tasks": (1, 2), "emissions": 4, "transitions": 2, "iterations": 3, "seeds": 1},
    "vr-halpern": {"components": (4, 16), "dimension": 3, "residual": 1e-2, "seeds": 1},
    "video-rep-learning": {"noises": ("iid",), "seeds": 1, "episodes": 20, "updates": 4, "q_episodes": 2, "evaluated": 1, "codes": 4},
    "ecm": {"updates": 100, "problems": 2},
    "objective-expressivity": {"instances": 10, "discounts": (0.5,)},
    "brorl": {"vocabulary": 8, "draws": (4,), "updates": 2, "seeds": 1, "task": "text:arithmetic", "groups": (2, 4), "batch": 8, "steps": 2},
}


def test_each_has_a_turn():
    assert SMALL.keys() == studies.studies().keys()


@pytest.mark.parametrize("key", [pytest.param(key, marks=() if due(key) else pytest.mark.long) for key in SMALL])
def test_each_runs(key: str, tmp_path, use_small_cache):
    torch.set_num_threads(1)
    found, result = studies.run(key, out=tmp_path / "study", **SMALL[key])
    assert (tmp_path / "study" / "study.json").exists() and result["study"] == key
    for table in found.tables:
        assert table.rows and all(len(row) == len(table.head) for row in table.rows)
    assert all(text.startswith("<svg") or "<svg" in text for text in found.plots.values())


def test_bad_options_are_one_line(tmp_path):
    with pytest.raises(BadInput, match="three numbers"):
        studies.run("echo-chamber", out=tmp_path / "a", shares=(0.5, 0.5))
    with pytest.raises(BadInput, match="takes a text task"):
        studies.run("lite-ppo", out=tmp_path / "b", task="sequences:target")
