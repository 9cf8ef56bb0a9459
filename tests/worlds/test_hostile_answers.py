"""The hostile answers, in a process of their own: as this user, as one who is nobody, and where the system gives no namespaces."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import hostile_answers
import pytest
from long_tier import in_turn, turns

RESTS_ON = (
    *(f"src/operant/worlds/text/{name}.py" for name in ("confinement", "python_tests", "running", "verifiers", "worker")),
    "tests/worlds/hostile_answers.py",
)
HERE = Path(__file__).parent
SOURCE = Path(sys.modules["operant"].__file__).parents[1]
AS_ANOTHER = "import os, sys\nos.setgroups([]); os.setresgid({0}, {0}, {0}); os.setresuid({0}, {0}, {0})\nos.execv(sys.argv[1], sys.argv[1:])"
SUITE = "import json, sys; sys.path[:0] = sys.argv[1:3]\nimport hostile_answers\n{before}print(json.dumps(hostile_answers.run({select}, {every}, {first})))"
NO_NAMESPACES = (
    "from operant.worlds.text import confinement\nconfinement._FILE_ATTRIBUTES = dict.fromkeys(confinement._FILE_ATTRIBUTES, ())\n"  # guards need them
    "confinement._call('prctl', 38, 1, 0, 0, 0)\nassert confinement._filter_calls()\n"
    "hostile_answers._probe = lambda *a: []\n"  # which listens to sockets, and so does the filter
)


def run(tmp_path: Path, *, user: int | None = None, before: str = "", select: str = "", every: int = 1, first: int = 0) -> dict:
    python, command = sys.executable, []
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    if user is not None:
        if not _open_to_all(python):
            python = "/usr/bin/python3"  # this one lies in root's home
        version = subprocess.run([python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True).stdout.strip()
        if version != "True" or not _open_to_all(str(SOURCE)) or not _open_to_all(str(tmp_path)):
            pytest.skip("no other user can read the interpreter, the library and a temporary folder here")
        command = [sys.executable, "-c", AS_ANOTHER.format(user)]
    command += [python, "-c", SUITE.format(before=before, select=repr(select), every=every, first=first), str(SOURCE), str(HERE)]
    environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, cwd=HERE, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["user"] == (os.geteuid() if user is None else user)
    return found


def _open_to_all(path: str) -> bool:
    place = Path(path).resolve()
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (place, *place.parents))


def test_a_spread_of_hostile_answers_does_not_take_over(tmp_path):
    """A fifth of each family, the same ones every time."""
    found = run(tmp_path, every=5)
    assert not found["failures"]
    assert found["answers"] >= 100


@in_turn("hostile answers", *RESTS_ON)
def test_no_hostile_answer_takes_over(tmp_path):
    found = run(tmp_path)
    assert not found["failures"]
    assert found["answers"] >= 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("part", turns([f"another user {part}" for part in range(5)], *RESTS_ON))
def test_nor_does_it_for_a_user_who_is_not_root(part: str):
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), user=60_000 + os.getpid() % 1000, every=5, first=int(part[-1]))
    assert not found["failures"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("family", turns(["others", "eats"], *RESTS_ON, always=("others",)))
def test_nor_where_the_system_gives_no_namespaces(family):
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), user=61_000 + os.getpid() % 1000, before=NO_NAMESPACES, select=family)
    assert not found["failures"]
    assert "scratch" in found["unenforced"] and "network" not in found["unenforced"]


def test_the_probe_finds_what_is_open(tmp_path):
    """Outside of any confinement the same probe reads, signals and connects: it can fail."""
    code = hostile_answers.PROBES
    places = {"secret!r": repr(str(tmp_path / "secret")), "outsider": "os.getpid()", "port": "0", "unix!r": "''", "cwd!r": "'/'", "mark": hostile_answers.MARK}
    for name, value in places.items():
        code = code.replace("{" + name + "}", value)
    code = code.replace("{tests!r}", repr(__file__)).replace("{source!r}", repr(__file__)).replace("for number in (0, 9, 19)", "for number in (0,)")
    code = code.split("attempt('limit'")[0] + "\nprint(len(done))"
    (tmp_path / "secret").write_text("x")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={"SECRET_KEY": "x"})
    assert int(done.stdout) > 8, done.stderr
