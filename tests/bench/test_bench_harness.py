import dataclasses
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from long_tier import turns

from operant import bench
from operant.bench import base_policies, harness, records
from operant.bench.peers import ogbench_source
from operant.core.errors import BadInput, RunFailed
from operant.evidence.online import scores


def contestant(label, log, *, line, target=None, code=0, **more):
    """A process that notes its turn in `log` and prints `line`."""
    program = f"open({str(log)!r}, 'a').write({label!r} + ' '); print('chatter'); print({line!r}); raise SystemExit({code})"
    return bench.Contestant(label, ("-c", program), target=target, **more)


@pytest.fixture
def register(monkeypatch):
    monkeypatch.setattr(harness._benches, "entries", dict(harness._benches.all()))  # all are imported before, and stay
    return lambda entry: harness.bench("toy")(lambda: entry)


def toy(tmp_path, *, peer_line=None, basis="training", **more):
    log = tmp_path / "turns"
    train = {"run": "x", "steps": 100, "seeds": 8, "seconds": 99.0, "steps_per_second": 400.0, "score": {"name": "return", "iqm": 475.0}}
    return bench.Comparison(
        title="Toy",
        about="a toy",
        unit="steps",
        basis=basis,
        package="torch",
        peers=(contestant("peer", log, line=peer_line or json.dumps({"steps": 100, "seconds": 2.0, "score": 3.5}), **more),),
        ours=(
            contestant("one", log, line=json.dumps({"steps": 100, "seconds": 0.5}), target=3),
            contestant("eight", log, line=json.dumps(train), target=10),
        ),
    )


def test_contestants_alternate_and_ratios_are_of_medians(register, tmp_path):
    register(toy(tmp_path))
    told = []
    result = bench.run("toy", repeats=2, report=told.append)
    assert (tmp_path / "turns").read_text().split() == ["peer", "one", "eight", "one", "eight", "peer"]
    # The peer: 100 steps in 2 s. One seed: 100 in 0.5 s. Eight: 400 a second by its own account of all seeds.
    assert result["peers"]["peer"]["training_per_second"] == 50
    assert result["ratio"] == {"one": 4.0, "eight": 8.0}
    assert result["reached"] == {"one": True, "eight": False}
    assert result["ours"]["eight"]["work"] == 800
    assert result["ours"]["eight"]["score"] == [475.0, 475.0] and result["peers"]["peer"]["score"] == [3.5, 3.5]
    assert len(result["peers"]["peer"]["process_seconds"]) == 2 and min(result["peers"]["peer"]["process_seconds"]) > 0
    assert result["machine"]["cores"] >= 1 and "torch" in result["versions"]
    assert len(told) == 6
    json.dumps(result)
    text = bench.table(result)
    assert "a toy" in text and "4.00" in text and "8.00" in text


def test_the_whole_process_can_be_the_basis(register, tmp_path):
    register(toy(tmp_path, basis="process"))
    result = bench.run("toy", repeats=1)
    peer, eight = result["peers"]["peer"], result["ours"]["eight"]
    assert eight["per_second"] == pytest.approx(800 / eight["process_seconds"][0])
    assert result["ratio"]["eight"] == pytest.approx(800 / eight["process_seconds"][0] / (100 / peer["process_seconds"][0]))


def test_the_fastest_of_a_peer_s_settings_counts_and_a_contestant_may_name_them(register, tmp_path):
    log = tmp_path / "turns"
    lines = {"short": (20, 4.0), "long": (20, 10.0), "ours, short": (20, 1.0), "ours, long": (20, 2.0)}
    sides = {
        label: contestant(
            label.replace(", ", "-"),
            log,
            line=json.dumps(
                {"steps": steps, "seconds": seconds, "memory_mib": 10 * seconds, "answer_length": 30 + seconds}
                | {"parts": {"sample": seconds / 4, "update": seconds / 2}}
            ),
            target=None if label in ("short", "long") else 4.5,
        )
        for label, (steps, seconds) in lines.items()
    }
    other = dataclasses.replace(sides["ours, long"], beside=("long",))
    peers = (sides["long"], sides["short"])  # 2 and 5 steps a second
    register(bench.Comparison("Toy", "two settings", "steps", "training", package="torch", peers=peers, ours=(sides["ours, short"], other)))
    result = bench.run("toy", repeats=2)
    assert (tmp_path / "turns").read_text().split() == ["long", "short", "ours-short", "ours-long", "short", "ours-short", "ours-long", "long"]
    assert result["ratio"] == {"ours-short": 4.0, "ours-long": 5.0} and result["reached"] == {"ours-short": False, "ours-long": True}
    assert result["beside"] == {"ours-short": "short", "ours-long": "long"}
    assert result["ours"]["ours-long"]["memory_mib"] == [20.0, 20.0]
    assert result["ours"]["ours-long"]["parts"] == {"sample": 0.025, "update": 0.05}  # 0.5 s and 1 s of 20 steps
    text = bench.table(result)
    assert "ours-long: sample 25.0 ms, update 50.0 ms, 20 MiB, answers of 32.0 characters" in text and "long: sample 125.0 ms, update 250.0 ms, 100 MiB" in text


def test_threads_and_a_fresh_output_directory(register):
    program = "import json, os, sys; os.mkdir(sys.argv[1]); print(json.dumps({'steps': int(os.environ['OMP_NUM_THREADS']), 'seconds': 1.0}))"
    one = bench.Contestant("one", ("-c", program, "{out}"), threads=3)
    two = bench.Contestant("two", one.arguments, threads=6)
    register(bench.Comparison("Toy", "x", "steps", "training", package="torch", peers=(one,), ours=(two,)))
    assert bench.run("toy", repeats=2)["ratio"] == {"two": 2.0}  # a second mkdir of one directory would have failed


def test_what_is_kept_is_the_newest_on_each_processor_and_a_table_is_made_of_it(register, tmp_path):
    register(toy(tmp_path))
    result = bench.run("toy", repeats=1)
    kept = tmp_path / "kept"
    for processor, one in (("A", 4.0), ("B", 2.0), ("A", 3.0)):
        given = result | {"machine": result["machine"] | {"processor": processor}, "ratio": result["ratio"] | {"one": one}}
        records.record(given, kept)
    assert [each["machine"]["processor"] for each in records.recorded("toy", kept)] == ["A", "B"]
    page = tmp_path / "PAGE.md"
    with pytest.raises(BadInput, match="No such file"):
        records.write_table(page, kept)
    page.write_text("before\n")
    with pytest.raises(BadInput, match="it has no lines"):
        records.write_table(page, kept)
    page.write_text(f"before\n<!-- {records.MARK}: from here; do not edit -->\nold\n<!-- {records.MARK}: to here -->\nafter\n")
    for _ in range(2):  # again is the same
        records.write_table(page, kept)
    text = page.read_text()
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    assert [line.split(" | ")[5] for line in text.splitlines() if line.startswith("| Toy: one")] == ["3.00×", "2.00×"]
    assert "| reached |" in text and "| missed |" in text and "- `toy`, B: " in text
    with pytest.raises(BadInput, match="kernels compares with no peer"):
        records.check("kernels")


@pytest.mark.parametrize(("page", "table"), [("README.md", records), ("docs/benchmarks.md", records), ("docs/benchmarks.md", scores)])
def test_the_tables_of_the_docs_are_of_the_records(page, table):
    text = (Path(__file__).parents[2] / page).read_text()
    begin, end = f"<!-- {table.MARK}: from here", f"<!-- {table.MARK}: to here -->"
    assert text.count(begin) == text.count(end) == 1
    inside = text[text.index(begin) : text.index(end)]
    assert inside.split("\n", 1)[1].strip() == table.markdown().strip(), f"make it again: {table.MARK} {page}"


def test_failures_name_the_contestant(register, tmp_path):
    register(toy(tmp_path, code=3))
    with pytest.raises(RunFailed, match=r"ended with 3: "):
        bench.run("toy", repeats=1)
    for line in ("no json", '{"steps": 100}', "[1]", '{"steps": 1, "steps_per_second": 0}'):
        register(toy(tmp_path, peer_line=line))
        with pytest.raises(RunFailed, match="the last line of peer is not a result"):
            bench.run("toy", repeats=1)


def test_bad_input(register, tmp_path):
    with pytest.raises(BadInput, match="did you mean ppo-cartpole"):
        bench.run("ppo-cartpol")
    register(toy(tmp_path, requires=("a_module_that_is_not_there",)))
    with pytest.raises(BadInput, match=r"a_module_that_is_not_there: pip install 'operant\[bench\]'"):
        bench.run("toy")
    with pytest.raises(BadInput, match="repeats = 0"):
        bench.run("toy", repeats=0)
    assert not (tmp_path / "turns").exists()


def comparisons():
    return [entry for entry in map(bench.find, bench.names()) if isinstance(entry, bench.Comparison)]


def test_every_bench_is_whole():
    language = {"grpo-step", "grpo-vllm", "grpo-smollm2", "generate", "base-policies", "teachers"}
    assert set(bench.names()) >= {"ppo-cartpole", "ppo-halfcheetah", "sac-halfcheetah", "iql-update", *language}
    for entry in comparisons():
        assert entry.ours and all(c.target for c in entry.ours)
        labels = [c.label for c in (*entry.peers, *entry.ours)]
        assert len(set(labels)) == len(labels)
        assert {label for c in entry.ours for label in c.beside} <= {c.label for c in entry.peers}


def test_our_hyperparameters_exist():
    """A renamed hyper-parameter must fail here and not in the middle of a bench."""
    from operant.core.registry import configure

    own = {"--task", "--seeds", "--steps", "--seed", "--threads", "--every", "--episodes", "--dtype", "--out", "--states"}
    for entry in comparisons():
        for c in entry.ours:
            if c.arguments[:3] == ("-m", "operant", "train"):
                options = dict(zip(c.arguments[4:], c.arguments[5:], strict=False))
                configure(c.arguments[3], {k[2:]: v for k, v in options.items() if k.startswith("--") and k not in own and k != "--json"})


def test_recipes_are_measured_seed_by_seed_on_each_kernel(monkeypatch, register):
    """What a child prints is made up here; that it starts with each kernel's variables and an empty cache is not."""
    asked = []

    def start(arguments, name, threads=None, variables=None):
        asked.append((arguments[arguments.index("--task") + 1], variables.get("ATEN_CPU_CAPABILITY"), os.listdir(variables["OPERANT_CACHE"])))
        good = {"seed": 0, "pass@1": 0.4, "updates": 250, "restarts": 1, "seconds": 20.0, "failed": None}
        bad = {"seed": 1, "pass@1": None, "updates": None, "restarts": None, "seconds": 90.0, "failed": "it stood at pass@1 0.10"}
        return f"a warning\n{json.dumps(good)}\n{json.dumps(good | {'updates': 750, 'pass@1': 0.3})}\n{json.dumps(bad)}\n"

    monkeypatch.setattr(base_policies, "start", start)
    harness.bench("toy")(lambda: base_policies.Recipe("base policy", ("sort", "cued")))
    result = bench.run("toy", repeats=3)
    assert asked == [("text:sort", None, []), ("text:sort", "avx2", []), ("text:cued", None, []), ("text:cued", "avx2", [])]
    lines = bench.table(json.loads(json.dumps(result))).splitlines()
    assert lines[3].split("  ")[0] == "sort" and "AVX2" in lines[4] and "cued" in lines[5]
    assert "2 of 3" in lines[3] and "0.30 to 0.40" in lines[3] and "500 / 750" in lines[3] and "20 / 20" in lines[3] and lines[3].endswith("2")


def archive(path, name="ogbench-1.2.2/impls/agents/gciql.py"):
    with tarfile.open(path, "w:gz") as opened:
        for member in (name, "ogbench-1.2.2/README.md"):
            info = tarfile.TarInfo(member)
            info.size = 5
            opened.addfile(info, io.BytesIO(b"x = 1"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_source_archive_is_checked_before_it_is_unpacked(tmp_path):
    path, target = tmp_path / "ogbench.tar.gz", tmp_path / "ogbench"
    sha256 = archive(path)
    with pytest.raises(RunFailed, match="SHA-256"):
        ogbench_source.unpack(path, "0" * 64, target)
    assert not target.exists()
    ogbench_source.unpack(path, sha256, target)
    ogbench_source.unpack(path, sha256, target)  # another process came first: nothing is lost
    assert [p.relative_to(target).as_posix() for p in sorted(target.rglob("*.py"))] == ["impls/agents/gciql.py"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ogbench", "ogbench.tar.gz"]
    escaping = tmp_path / "escape.tar.gz"
    sha256 = archive(escaping, "ogbench-1.2.2/impls/../../../escaped.py")
    with pytest.raises(tarfile.FilterError):
        ogbench_source.unpack(escaping, sha256, tmp_path / "other")
    assert not (tmp_path.parent / "escaped.py").exists()


def test_a_peer_runs():
    pytest.importorskip("stable_baselines3", reason="the bench extra is not installed")
    sb3 = bench.find("ppo-cartpole").peers[0]
    small = list(sb3.arguments)
    small[small.index("--steps") + 1] = "2048"
    figures = harness._measure(bench.Contestant(sb3.label, tuple(small), threads=1), "ppo-cartpole")
    assert figures["work"] == 2048 and 0 < figures["training"] < figures["process"] and figures["score"] > 5


@pytest.mark.parametrize("name", turns(["grpo-step", "generate"], "src/operant/bench/"))
def test_our_language_sides_run(name):
    work, parts = {"grpo-step": ("--steps", {"sample", "score", "replay", "update"}), "generate": ("--batches", set())}[name]
    side = bench.find(name).ours[0]
    small = list(side.arguments)
    small[small.index(work) + 1], small[small.index("--tokens") + 1] = "1", "8"
    measured = harness._measure(dataclasses.replace(side, arguments=tuple(small)), name)
    assert measured["training"] > 0 and measured["memory_mib"] > 50
    assert set(measured["parts"]) == parts and all(seconds > 0 for seconds in measured["parts"].values())
