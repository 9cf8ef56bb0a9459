"""Figures: well-formed SVG that names its series, follows the page's colours, and draws the numbers it was given."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.evaluate.plots import final_scores, learning_curves, pass_at_k_curves, performance_profiles, shared_grid
from operant.evaluate.statistics import Interval, stratified_bootstrap

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def curve(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values)) * 100.0, np.asarray(values)


def test_learning_curves_name_axes_and_series_and_follow_the_page() -> None:
    svg = learning_curves({"ppo": [curve([0, 1, 2]), curve([0, 2, 3])], "a$b$ <i>": [curve([1, 1, 1])]}, ylabel="return")
    found = words(svg)
    assert {"ppo", "a$b$ <i>", "steps", "return"} <= set(found)
    assert "currentColor" in svg
    assert "var(--series-0, #0072b2)" in svg
    assert "#0f1e2d" not in svg
    assert not re.search(r'<svg[^>]*\s(width|height)="', svg)


def test_bands_are_drawn_for_several_seeds_and_for_no_single_one() -> None:
    several, single = ({"ppo": [curve([0, 1, 2])] * count} for count in (3, 1))
    assert "FillBetween" in learning_curves(several, ylabel="return")
    assert "FillBetween" not in learning_curves(single, ylabel="return")


def thin_lines(svg: str) -> list[list[float]]:
    """The heights of the points of each seed's line."""
    paths = re.findall(r'<path d="([^"]*)" clip-path="[^"]*" style="[^"]*stroke-opacity: 0.45[^"]*"', svg)
    return [[float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path)] for path in paths]


def test_each_seed_is_a_thin_line_and_one_seed_is_the_line_itself() -> None:
    svg = learning_curves({"ppo": [curve([0, 1, 2]), curve([0, 3, 4]), curve([0, 0, 1])]}, ylabel="return")
    ends = [line[-1] for line in thin_lines(svg)]
    assert len(ends) == 3 and ends[1] < ends[0] < ends[2]  # heights count from the top
    assert thin_lines(learning_curves({"ppo": [curve([0, 1, 2])]}, ylabel="return")) == []


def test_a_band_far_beyond_the_seeds_does_not_press_them_flat() -> None:
    seeds = [curve([0, 1]), curve([0, 2]), curve([0, 9])]  # the band of the last point goes from -8 to 16
    heights = [y for line in thin_lines(learning_curves({"ppo": seeds}, ylabel="return")) for y in line]
    frame = re.search(r'id="patch_2">\s*<path d="M [\d.]+ ([\d.]+) \s*L [\d.]+ [\d.]+ \s*L [\d.]+ ([\d.]+)', learning_curves({"ppo": seeds}, ylabel="return"))
    bottom, top = map(float, frame.groups())
    assert max(heights) - min(heights) > 0.6 * (bottom - top)


def test_final_scores_have_a_dot_a_seed() -> None:
    def dots(scores: list[float]) -> int:
        interval = Interval(2.0, 1.0, 3.0, len(scores), 0.95) if len(scores) > 1 else Interval(2.0, None, None, 1, 0.95)
        return final_scores({"a": (interval, np.array(scores))}, xlabel="return").count("<use ")

    assert dots([1.0, 2.0, 3.0]) - dots([2.0]) == 3


def test_a_label_without_curves_keeps_its_colour() -> None:
    svg = learning_curves({"random": [], "ppo": [curve([0, 1, 2])]}, ylabel="return")
    assert "var(--series-1" in svg
    assert "var(--series-0" not in svg


def test_long_labels_are_wrapped_and_stay_inside_the_figure() -> None:
    label = "ppo (" + ", ".join(f"learning_rate_{i}=0.0003" for i in range(4)) + ")"
    svg = learning_curves({label: [curve([0, 1, 2])], "b": [curve([0, 1, 2])]}, ylabel="return")
    lines = [word for word in words(svg) if "learning_rate" in word]
    assert max(map(len, "\n".join(lines).splitlines())) <= 42
    assert "learning_rate_3=0.0003)" in "".join(lines)


def test_the_same_data_draw_the_same_text() -> None:
    groups = {"ppo": [curve([0, 1, 2]), curve([0, 2, 3])]}
    assert learning_curves(groups, ylabel="return") == learning_curves(groups, ylabel="return")


def test_grid_keeps_shared_steps_and_interpolates_the_rest() -> None:
    steps, values = shared_grid([curve([0, 1, 2]), (np.array([50.0, 150.0]), np.array([10.0, 20.0]))])
    assert steps.tolist() == [50.0, 100.0, 150.0]
    assert values.tolist() == [[0.5, 1.0, 1.5], [10.0, 15.0, 20.0]]
    steps, values = shared_grid([curve(list(range(1000)))])
    assert len(steps) == 120
    assert (values[0][0], values[0][-1]) == (0.0, 999.0)
    steps, values = shared_grid([(np.array([0.0, 10.0]), np.array([1.0, 2.0])), (np.array([20.0, 30.0]), np.array([3.0, 4.0]))])
    assert (steps.tolist(), values.tolist()) == ([10.0], [[2.0], [3.0]])


def test_interval_bars_and_profiles_and_pass_at_k_name_what_they_show() -> None:
    one, several = Interval(3.0, None, None, 1, 0.95), stratified_bootstrap([1.0, 2.0, 4.0])
    scores = {"one": (one, np.array([3.0])), "several": (several, np.array([1.0, 2.0, 4.0]))}
    assert {"one", "several", "return"} <= set(words(final_scores(scores, xlabel="return")))
    assert {"a", "b", "success threshold"} <= set(words(performance_profiles({"a": np.array([0.1, 0.4]), "b": np.array([0.3])}, xlabel="success")))
    assert {"1", "4", "16", "grpo", "grpo, before training"} <= set(words(pass_at_k_curves({"grpo": ({1: several, 4: several, 16: several}, {1: one})})))


def test_scores_that_are_all_equal_still_draw() -> None:
    assert "0.5" in "".join(words(performance_profiles({"a": np.array([0.5, 0.5])}, xlabel="success")))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: learning_curves({}, ylabel="x"),
        lambda: learning_curves({"a": []}, ylabel="x"),
        lambda: final_scores({}, xlabel="x"),
        lambda: pass_at_k_curves({}),
    ],
)
def test_nothing_to_draw_is_refused(draw) -> None:
    with pytest.raises(BadInput, match="nothing to draw"):
        draw()
