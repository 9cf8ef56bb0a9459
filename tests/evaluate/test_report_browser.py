"""The report in a real browser: it runs without an error, shows its numbers, answers the mouse and the keyboard, and fits a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from operant.evaluate.records import load_run
from operant.evaluate.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="no Chromium with its driver on this machine")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(makers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of three runs."""
    make_run, make_text_run = makers
    runs = [make_run("r", method="random", final=(20.0, 24.0)), make_run("p", final=(480.0, 500.0), video=True), make_text_run("g")]
    return write_report([load_run(path) for path in runs], tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.fixture
def page(browser, report: str):
    """The browser with a report open, at the width of a desk's screen and in the light theme."""
    from selenium.webdriver.support.wait import WebDriverWait

    size_and_theme(browser, 1200, "light")
    browser.get("about:blank")  # an address that differs in its fragment alone would not load it anew
    browser.get(report)
    WebDriverWait(browser, 60).until(lambda page: find(page, ".group"))  # on a busy machine it may be there later than it is said to be
    yield browser
    assert browser.get_log("browser") == []


def size_and_theme(browser, width: int, theme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})


def find(page, selector: str) -> list:
    return page.find_elements("css selector", selector)


def colours(page) -> list[str]:
    return [token.value_of_css_property("background-color") for token in find(page, ".completion .token")[:9]]


def choose(page, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(find(page, f"#{name}")[0]).select_by_value(value)


def test_the_table_shows_the_numbers(page) -> None:
    rows = [[cell.text for cell in row.find_elements("css selector", "td")] for row in find(page, "table.scores tbody tr")]
    assert rows[0][:5] == ["gym:CartPole-v1", "random", "2", "return", "22.00 [20.00, 24.00] (range)"]
    assert rows[1][:5] == ["gym:CartPole-v1", "ppo", "2", "return", "490.0 [480.0, 500.0] (range)"]
    assert rows[2][4:6] == ["0.750 [0.627, 0.873]", "0.300 [0.300, 0.300] (range)"]
    assert [row.text.split(" [")[0] for row in find(page, "table.pass-at-k tbody tr")][1] == "text:arithmetic grpo 4 0.850"


def test_figures_and_videos_are_drawn(page) -> None:
    for figure in find(page, ".task > .plots svg"):
        assert figure.size["width"] > 250
        assert figure.size["height"] > 60
    assert page.execute_script("const video = document.querySelector('.video img'); return [video.complete, video.naturalWidth, video.naturalHeight]") == [
        True,
        90,
        60,
    ]


def test_pointing_at_a_token_shows_its_figures(page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    token, tip = find(page, ".completion .token")[3], find(page, "#tip")[0]
    assert not tip.is_displayed()
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", token)
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")  # the scroll's own event comes first
    ActionChains(page).move_to_element(token).perform()
    assert tip.is_displayed()
    lines = ["log-probability −0.500", "advantage −0.800", tip.text.splitlines()[3], "ratio 1.000", "KL 0.030", "mask 1: the policy chose it"]
    assert tip.text.splitlines()[1:] == lines
    assert tip.text.splitlines()[3].startswith("entropy 0.") or tip.text.splitlines()[3].startswith("entropy 1.")


def test_the_colouring_switches(page) -> None:
    by_advantage = colours(page)
    find(page, "input[value=log_prob]")[0].click()
    by_log_prob = colours(page)
    find(page, "input[value=ratio]")[0].click()
    by_ratio, scale = colours(page), find(page, "#scale")[0].text.split()
    find(page, "input[value=kl]")[0].click()
    by_kl = colours(page)
    find(page, "input[value=entropy]")[0].click()
    by_entropy = colours(page)
    assert by_advantage[0].startswith("rgba(213, 94, 0")  # below zero
    assert by_log_prob[0].startswith("rgba(204, 94, 160")
    assert by_entropy[0].startswith("rgba(0, 158, 115")
    strengths = [float(colour.removesuffix(")").split(", ")[3]) for colour in by_log_prob[:8]]
    assert strengths == sorted(strengths)  # log-probabilities fall along the row
    assert [colour.split(", 0.")[0] for colour in by_ratio[:3]] == ["rgba(213, 94, 0"] * 3  # below 1
    assert by_ratio[3] == "rgba(0, 114, 178, 0)"  # a ratio of 1 has no strength
    assert by_ratio[7].startswith("rgba(0, 114, 178, 0.6")
    assert scale == ["ratio", "0.063", "16.000"]  # as strong below 1 as above: by the logarithm
    assert by_kl[7].startswith("rgba(214, 140, 0, 0.6")
    assert {by_advantage[8], by_log_prob[8], by_entropy[8], by_ratio[8], by_kl[8]} == {"rgba(0, 0, 0, 0)"}  # masked: no colour
    assert "masked" in find(page, ".completion .token")[8].get_attribute("class")


def test_a_colour_without_figures_cannot_be_chosen(browser, make_text_run, tmp_path: Path) -> None:
    path = make_text_run("g")
    rows = [json.loads(line) for line in (path / "completions.jsonl").read_text().splitlines()]
    for row in rows:
        row["tokens"] = [{name: value for name, value in token.items() if name not in ("ratio", "kl")} for token in row["tokens"]]
    (path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    browser.get(write_report([load_run(path)], tmp_path / "old.html").as_uri())
    assert {radio.get_attribute("value") for radio in find(browser, "input[name=colour]") if not radio.is_enabled()} == {"ratio", "kl"}
    assert browser.get_log("browser") == []


def test_the_collapse_report_says_what_was_lost(page) -> None:
    assert [line.text for line in find(page, "#collapse li")] == []
    assert find(page, "#collapse p")[1].text == "No sign of collapse."
    find(page, "#collapse summary")[0].click()
    cells = [cell.text for cell in find(page, "#collapse tr")]
    assert cells[0].startswith("pass@1 0.300 → 0.750, change +0.450 [+0.3")


def test_groups_come_worst_or_best_first_and_steps_are_chosen(page) -> None:
    def heads() -> list[str]:
        return [head.text for head in find(page, ".group h4")]

    assert [head.split()[1] for head in heads()] == ["0", "1", "2"]
    assert "mean reward 0.250 of 4 answers" in heads()[0]
    choose(page, "order", "best")
    assert [head.split()[1] for head in heads()] == ["2", "1", "0"]
    assert find(page, ".group")[2].find_elements("css selector", ".reward")[0].text == "reward 1.000"
    choose(page, "step", "50")
    assert [reward.text for reward in find(page, ".group")[2].find_elements("css selector", ".reward")][-1] == "no score: out of time"


def test_the_keyboard_reaches_every_token(page) -> None:
    from selenium.webdriver.common.keys import Keys

    first = find(page, ".completion .token")[0]
    page.execute_script("arguments[0].focus()", first)
    tip = find(page, "#tip")[0]
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert tip.text.startswith('token 2 of 9: "+"')
    page.switch_to.active_element.send_keys(Keys.END)
    assert "mask 0" in tip.text
    assert page.switch_to.active_element.get_attribute("aria-describedby") == "tip"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.id == find(page, ".completion .token")[9].id  # the next completion's first token


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_s_width_needs_no_sideways_scroll(page, theme: str) -> None:
    size_and_theme(page, 390, theme)
    assert page.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    cell = find(page, "table.scores td")[4]
    assert cell.is_displayed()
    assert cell.rect["x"] + cell.rect["width"] <= 390


def test_dark_turns_page_and_figures(page) -> None:
    def look() -> tuple[str, str, str]:
        body, line = find(page, "body")[0], find(page, "svg.figure path[style*='--series-0']")[0]
        return body.value_of_css_property("background-color"), body.value_of_css_property("color"), line.value_of_css_property("stroke")

    light = look()
    size_and_theme(page, 1200, "dark")
    assert light == ("rgba(255, 255, 255, 1)", "rgba(22, 32, 43, 1)", "rgb(0, 114, 178)")
    assert look() == ("rgba(18, 22, 27, 1)", "rgba(228, 233, 238, 1)", "rgb(74, 163, 223)")


def test_what_a_model_wrote_is_text(page) -> None:
    assert find(page, ".prompt")[0].text.rstrip() == "0 + 4 <script>alert(1)</script> ="
    assert "<b>" in find(page, ".tokens")[0].text
    assert not find(page, ".tokens b")


def test_the_page_may_not_fetch(page) -> None:
    blocked = page.execute_async_script("const done = arguments[0]; fetch('data:text/plain,x').then(() => done(false), () => done(true))")
    assert blocked
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_a_name_says_what_it_means_and_leads_to_its_entry(page) -> None:
    from selenium.webdriver.common.keys import Keys

    name = find(page, "table.scores th a.term")[1]
    assert name.get_attribute("title").startswith("Interquartile mean")
    name.send_keys(Keys.ENTER)
    entry = find(page, "#glossary div:target")[0]
    assert entry.text.startswith("IQM\nInterquartile mean")
    assert entry.value_of_css_property("outline-style") == "solid"


def test_labels_of_figures_are_readable_on_a_phone_and_a_desk(page) -> None:
    def heights() -> list[float]:
        scale = "((m) => Math.hypot(m.a, m.b))(text.getScreenCTM())"
        height = f"(text) => {scale} * parseFloat(getComputedStyle(text).fontSize)"
        return page.execute_script(f"return [...document.querySelectorAll('.task > .plots svg text')].map({height})")

    assert 11 <= min(heights()) and max(heights()) <= 20
    size_and_theme(page, 390, "light")
    assert min(heights()) >= 11
