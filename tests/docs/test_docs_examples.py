"""What the pages show works: Python blocks run, shell lines parse, links lead somewhere, and nothing is left out of the pages that list things."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from long_tier import in_turn

from operant import evidence
from operant.cli.main import COMMANDS, main, parse
from operant.core import elsewhere, registry
from operant.core.errors import BadInput
from operant.loops.value_learning import ValueLearning
from operant.worlds.data.world import DataWorld
from operant.worlds.gym.world import GymWorld
from operant.worlds.sequences.world import SequenceWorld
from operant.worlds.text.world import TextWorld

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TINY = {"gym": 1024, "data": 4, "text": 2, "sequences": 40}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The command lines of `operant` in a piece of shell, comments cut off."""
    lines = (line.split("  #")[0].strip() for line in re.sub(r"\\\n\s*", "", text).splitlines())
    return [line for line in lines if line.startswith("operant ")]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, use_small_cache: Path) -> Path:
    """An empty directory to run in, where every run without `steps` is short, and a registry that forgets what the examples add."""
    from operant.worlds.text.tasks import TEXT_TASKS

    registry.methods()
    before = set(sys.modules)
    monkeypatch.setattr(registry._methods, "entries", dict(registry._methods.entries))
    for world in (GymWorld, DataWorld, TextWorld, SequenceWorld):
        monkeypatch.setattr(world, "default_steps", TINY[world.kind])
    tasks = dict(TEXT_TASKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    TEXT_TASKS.clear()
    TEXT_TASKS.update(tasks)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run_blocks(page: str, folder: Path) -> None:
    """Write each block that begins with the name of a file to that file, and run every block in the order of the page."""
    for number, block in enumerate(blocks(ROOT / page, "python")):
        named = re.match(r"# (\w+\.py)\n", block)
        path = folder / (named[1] if named else f"block_{number}.py")
        path.write_text(block, encoding="utf-8")
        if not re.search(r"^@operant\.method", block, re.MULTILINE) or "__main__" in block:  # a file that registers a method is imported by the next one
            runpy.run_path(str(path), run_name="__main__")


def test_the_readme_runs(tiny: Path, capsys: pytest.CaptureFixture[str]):
    run_blocks("README.md", tiny)
    before, after = re.search(r"^([\d.]+) before, ([\d.]+) after$", capsys.readouterr().out, re.MULTILINE).groups()
    assert float(after) > float(before) + 0.1  # in 40 iterations


@in_turn("methods of a file", "docs/extending.md")
def test_the_methods_of_a_file_train(tiny: Path, capsys: pytest.CaptureFixture[str]):
    """Every `operant train KEY --import FILE` of the page, with the file that the page shows."""
    page = ROOT / "docs/extending.md"
    files = {re.match(r"# (\w+\.py)\n", block)[1]: block for block in blocks(page, "python") if re.match(r"# (\w+\.py)\n", block)}
    found = [line for block in blocks(page, "sh") for line in commands(block) if re.search(r"^operant train .*--import", line)]
    assert len(found) >= 3
    for line in found:
        name = re.search(r"--import (\S+)", line)[1]
        Path(name).write_text(files[name], encoding="utf-8")
        words = shlex.split(re.sub(r" --(steps|seeds) \d+", "", line))[1:]
        assert main([*words, "--seeds", "2", "--steps", "700", "--episodes", "1", "--out", f"run-{name}"]) == 0, capsys.readouterr().err


def test_the_page_of_environments_runs(tiny: Path):
    run_blocks("docs/environments.md", tiny)


def test_the_page_of_finite_problems_runs(tiny: Path, capsys: pytest.CaptureFixture[str]):
    run_blocks("docs/finite.md", tiny)
    assert capsys.readouterr().out.startswith("call\n{'pass': 0.")


def test_the_statistics_run(tiny: Path, capsys: pytest.CaptureFixture[str]):
    run_blocks("docs/statistics.md", tiny)
    out = capsys.readouterr().out
    assert "IQM 491.7 [" in out  # (480 + 495 + 500) / 3
    assert "probability of improvement 0.84" in out  # of 25 pairs 20 are won and two tied: 21 / 25
    assert "right: 0.607" in out  # 1 − C(13, 4) / C(16, 4) = 1 − 715 / 1820


@in_turn("extending", "docs/extending.md")
def test_extending_runs(tiny: Path, capsys: pytest.CaptureFixture[str]):
    run_blocks("docs/extending.md", tiny)
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if re.search(r"OK|CRASHED", line)] == [
        "1.0 OK ",
        "0.5 OK ",
        "nan CRASHED ValueError: invalid literal for int() with base 10: 'three'",
    ]
    for name in ("advantage-regression-*", "best", "score", "soft-planning", "population", "ppo-corridor-*", "sft-*", "higher-lower"):
        assert list((tiny / "runs").glob(f"{name}/result.json")), name
    trained = registry.methods()["advantage-regression"]
    assert trained.spine == "value learning" and trained.build.__module__ == "advantage_regression"
    for line in shell_commands(ROOT / "docs" / "extending.md"):  # among them the methods that the page adds
        for name in re.findall(r"--import (\w+)\.py", line):
            importlib.import_module(name)
        parse(shlex.split(line)[1:])


def test_the_entry_point_names_the_file_of_the_page():
    page = ROOT / "docs" / "extending.md"
    (table,) = blocks(page, "toml")
    (points,) = tomllib.loads(table)["project"]["entry-points"].values()
    assert registry.ENTRY_POINTS in table
    assert all(re.search(rf"^# {module}\.py$", page.read_text(encoding="utf-8"), re.MULTILINE) for module in points.values())


def shell_commands(page: Path) -> list[str]:
    """Every command line of `operant` that a page shows: in blocks of shell, and in tables and text between backticks with an option."""
    quoted = re.findall(r"`(operant [^`…]*\s--[^`…\[]*)`", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL))
    found = commands("\n".join([*blocks(page, "sh"), *quoted]))
    return [line for line in found if not re.search(r"\b[A-Z]{3,}\b", line.split("--")[0])]  # `operant train METHOD --help` is a form, not a command


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "extending.md"], ids=lambda page: page.name)
def test_every_command_line_is_understood(page: Path):
    for line in shell_commands(page):
        try:
            parse(shlex.split(line)[1:])
        except SystemExit as end:  # --help
            assert end.code == 0, line
        except BadInput as error:
            assert "is of a package that is not installed" in str(error), line


def test_every_command_has_an_example():
    shown = shell_commands(ROOT / "docs" / "command-line.md")
    assert {name for name in COMMANDS if not any(line.startswith(f"operant {name} ") or line == f"operant {name}" for line in shown)} == set()
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for section in sections for name in section.split(", ")} >= set(COMMANDS)


def test_the_demo_is_made_of_commands_that_are_understood(tmp_path: Path):
    script = (ROOT / "scripts" / "demo.sh").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^(\w+)=([\w:-]+)$", script, re.MULTILINE)) | {"out": str(tmp_path)}
    lines = [re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], line) for line in commands(script)]
    parsed = [parse(shlex.split(line.partition(" > ")[0])[1:]) for line in lines]
    trained = {args.out: args.method for command, args in parsed if command.name == "train"}
    assert set(trained.values()) == {"ppo", "random", "sac-v2", "grpo"}
    compared = [args.runs for command, args in parsed if command.name in ("compare", "report")]
    assert len(compared) == 2 and all(set(runs) == set(trained) for runs in compared)  # every run is in the table and in the report


def test_the_readme_says_which_extras_all_leaves_out():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    taken = re.fullmatch(r"operant\[(.*)\]", extras["all"][0])[1].split(",")
    sentence = re.search(r"`\[all\]` is every extra but (.*?);", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert set(re.findall("`([a-z0-9-]+)`", sentence)) == set(extras) - set(taken) - {"all"}


def numbers(figures: object) -> list[float]:
    """All numbers of a record's figures, and the means of its lists of numbers."""
    if isinstance(figures, dict):
        return [number for value in figures.values() for number in numbers(value)]
    if isinstance(figures, list):
        found = [number for value in figures for number in numbers(value)]
        return [*found, sum(found) / len(found)] if found else []
    return [float(figures)] if isinstance(figures, int | float) else []


def test_the_readme_tells_the_figures_of_the_records():
    """Each figure with a point, and each interval, of a row of its table stands in that claim's record, to as many digits as are told."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| Method | Measured | Verdict |")[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        key, text, verdict = (cell.strip() for cell in line.strip("|").split(" | "))
        record = evidence.recorded(key.strip("`"))
        assert verdict.partition(":")[0] == record["verdict"], key
        known = [abs(number) for each in record["checks"] for number in numbers(each["figures"])]
        known += [float(number) for each in record["checks"] for number in re.findall(r"\d+\.\d+", each["says"])]
        told = re.findall(r"\d[\d,]*\.\d+|[\d,]*\d(?= \[)|(?<=\[)[\d,]*\d|[\d,]*\d(?=\])", text)
        assert told
        for number in told:
            value, digits = float(number.replace(",", "")), len(number.partition(".")[2])
            near = [each for each in known for scale in (1, 100) if abs(each * scale - value) <= 0.5001 * 10**-digits]
            assert near, f"{key}: {number} of the README is in no figure of its record"


def test_the_readme_counts_the_claims():
    told = r"Of (\d+) claims that were measured (\d+) were reproduced whole, (\d+) in part and (\w+) not"
    sentence = re.search(told, (ROOT / "README.md").read_text(encoding="utf-8"))
    records = [record for key in evidence.claims() if (record := evidence.recorded(key)) is not None]
    verdicts = [record["verdict"] for record in records]
    assert [int(number) for number in sentence.groups()[:3]] == [len(records), verdicts.count("reproduced"), verdicts.count("partly")]
    assert ["none", "one", "two", "three"].index(sentence[4]) == verdicts.count("not reproduced")


def test_the_page_of_control_says_how_many_updates_a_step_has():
    table = (ROOT / "docs/control.md").read_text().split("| Updates a step | Methods |")[1].split("\n\n")[0]
    said = {key: float(line.split("|")[1]) for line in table.splitlines()[2:] for key in re.findall("`(.*?)`", line)}
    spines = {key: registry.get_method(key).build(registry.configure(key, {})) for key in registry.methods()}
    assert said == {key: spine.online.updates_per_step for key, spine in spines.items() if isinstance(spine, ValueLearning) and spine.online is not None}


def test_the_page_of_control_says_which_methods_have_a_switch():
    has = {key: {field.name for field in registry.hyperparameters(entry.hyperparameters)} for key, entry in registry.methods().items()}
    control = {key for key, entry in registry.methods().items() if entry.family in ("online", "hybrid")}
    groups = {"all with replay": {key for key in control if "capacity" in has[key]}, "the family of `dqn`": {key for key in control if "double" in has[key]}}
    rows = re.findall(r"^\| (`--[^|]*(?:\\\|[^|]*)*) \| ([^|]*) \|", (ROOT / "docs/control.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {switch: methods for switches, methods in rows for switch in re.findall(r"--([a-z-]+)", switches) if methods != "every method"}
    assert {"n-step", "normalize-observation", "layers", "update-every"} <= told.keys()
    for switch, text in told.items():
        meant: set[str] = set()
        for part in text.split("; "):
            whole, _, but = part.partition(" but ")
            meant |= groups.get(whole, set(re.findall("`([^`]+)`", whole))) - set(re.findall("`([^`]+)`", but))
        assert meant == {key for key in control if switch.replace("-", "_") in has[key]}, switch


def test_the_page_of_control_says_what_names_of_other_libraries_mean():
    table = "\n".join(elsewhere.table())
    assert table in (ROOT / "docs/control.md").read_text(encoding="utf-8"), table


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        assert {line.split()[1] for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("make ")} <= targets


def test_every_bench_is_on_the_page():
    from operant import bench

    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").partition("## Figures")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == set(bench.names())
