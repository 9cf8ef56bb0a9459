"""Verifiers in child processes: good ones, and ones that hang, eat memory, fork, print without end, or leave."""

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import text_verifiers as bad
from long_tier import in_turn
from text_processes import below, living

from operant.core.errors import BadInput
from operant.core.registry import import_file
from operant.core.status import Status
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import ExactAnswer, InProcess, VerifierPool, _folders, _Worker, scorer

PROBLEM = Problem("1+1=", "2", {"operands": [1, 1]})
root = pytest.mark.skipif(os.geteuid() != 0, reason="the limit is only enforced for a pool made by root")


@pytest.fixture
def outsider():
    """A process of the trainer's user that no verifier may touch."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def once(verifier, completion="x", **limits):
    with VerifierPool(verifier, **limits) as pool:
        return pool.score([(PROBLEM, completion)])[0]


def test_what_scores_and_replies_starts_without_pytorch():
    """Child processes import the module of a verifier, or of a task that replies: seconds and memory for each."""
    names = [f"operant.worlds.text.{name}" for name in ("tasks", "tasks.file", "tasks.reasoning_gym", "builtin_verifiers", "worker")]
    program = f"import sys, {', '.join(names)}\nprint('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(sys.modules["operant"].__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True).stdout == "False\n"


def test_exact_answer():
    verifier = ExactAnswer(marker=";")
    for completion, value in (("8,7;2", 1.0), ("8;7; 2 ", 1.0), ("8,7;3", 0.0), ("2", 0.0), ("", 0.0), (";22", 0.0)):
        assert verifier.score(PROBLEM, completion) == value, completion
    assert ExactAnswer().score(PROBLEM, " 2\n") == 1.0
    assert isinstance(scorer(verifier), InProcess)


def test_values_come_back_in_order_from_several_workers():
    items = [(PROBLEM, "x" * length) for length in range(60)]
    for verifier in (bad.length, "text_verifiers:length"):
        with VerifierPool(verifier, workers=3) as pool:
            assert [tuple(v)[:3] for v in pool.score(items)] == [(float(length), Status.OK, "") for length in range(60)]
            assert pool.score([]) == []
    assert once(bad.OBJECT).value == 2.0  # an object with a score, found by its name; what it prints goes nowhere


def test_a_long_completion():
    assert once(bad.length, "y" * 3_000_000).value == 3_000_000


@pytest.mark.parametrize(
    ("verifier", "status", "words"),
    [
        (bad.hang, Status.TIMEOUT, "no answer after 0.5 s"),
        (bad.sleep, Status.TIMEOUT, "no answer after 0.5 s"),
        (bad.eat, Status.CRASHED, "MemoryError"),
        (bad.print_forever, Status.CRASHED, "printed more than 1048576 bytes"),
        (bad.leave_at_once, Status.CRASHED, "exited with code 3"),
        (bad.fail, Status.CRASHED, "ValueError: no such thing as x"),
        (bad.answer_text, Status.MALFORMED, "'right'"),
        (bad.answer_nan, Status.MALFORMED, "nan"),
        (bad.write_too_much, Status.CRASHED, "OSError: [Errno 27] File too large"),
        (bad.ignore_signals, Status.TIMEOUT, "no answer after 0.5 s"),
        (bad.stop_itself, Status.TIMEOUT, "no answer after 0.5 s"),
        (bad.recurse, Status.CRASHED, "RecursionError"),
        (bad.break_the_stack, Status.CRASHED, ""),
        (bad.break_memory, Status.CRASHED, "killed by signal 11"),
        (bad.print_on_every_pipe, Status.MALFORMED, ""),
    ],
)
def test_what_goes_wrong_is_a_status(verifier, status, words):
    verdict = once(verifier, time_limit=0.5 if status == Status.TIMEOUT else 60.0)
    assert verdict.status == status and words in verdict.message and math.isnan(verdict.value)


def test_a_busy_machine_makes_no_answer_wrong():
    """Half a second of computing with a limit of 0.6 s, on a processor that four others want as well."""
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this platform does not say how long a process waited")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with VerifierPool(bad.compute, time_limit=60.0) as pool:
            pool.score([(PROBLEM, "0.01")])  # a judge that served others before
            pool.time_limit = 0.6
            assert [verdict.status for verdict in pool.score([(PROBLEM, "0.5")] * 2)] == [Status.OK] * 2
            timed_out = pool.score([(PROBLEM, "60")])[0]
            assert timed_out.status == Status.TIMEOUT and "waiting for a processor apart" in timed_out.message
    finally:
        os.sched_setaffinity(0, allowed)
        for other in others:
            other.kill()
            other.wait()


def test_the_pool_goes_on_after_every_failure():
    items = ["a", "bb", "eat", "ccc", "print", "exit", "dddd", "fail", "text", "child", "eeeee"]
    expected = {"text": Status.MALFORMED} | dict.fromkeys(("eat", "print", "exit", "fail", "child"), Status.CRASHED)
    with VerifierPool(bad.whole, workers=2) as pool:
        for _ in range(2):
            pool.time_limit = 0.5
            assert [v.status for v in pool.score([(PROBLEM, "hang")] * 3)] == [Status.TIMEOUT] * 3
            pool.time_limit = 60.0  # nothing else may meet the limit on a busy machine
            verdicts = pool.score([(PROBLEM, item) for item in items])
            assert [v.status for v in verdicts] == [expected.get(item, Status.OK) for item in items]
            assert [v.value for v in verdicts if v.status == Status.OK] == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("verifier", [bad.fork_bomb, *[bad.leave_a_child] * 5])
def test_no_process_is_left(verifier):
    with VerifierPool(verifier, time_limit=0.5 if verifier is bad.fork_bomb else 60.0, process_limit=8) as pool:
        if verifier is bad.fork_bomb and "processes" in pool.unenforced:
            pytest.skip("the number of processes is not limited for this user; a real fork bomb would hurt the machine")
        template = pool._workers[0].process.pid
        before = below(template)
        assert before
        verdict = pool.score([(PROBLEM, "x")])[0]
        assert len(below(template)) < len(before)  # the judge went, with all that it started
    assert verdict.status == (Status.TIMEOUT if verifier is bad.fork_bomb else Status.CRASHED)
    assert not below(template)


def test_there_is_no_network():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        with VerifierPool(bad.open_a_socket) as pool:
            if "network" in pool.unenforced:
                pytest.skip("this platform cannot take the network away")
            verdict = pool.score([(PROBLEM, f"127.0.0.1:{listener.getsockname()[1]}")])[0]
        assert verdict.status == Status.CRASHED and verdict.message.startswith(("OSError", "PermissionError"))
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("verifier", [bad.read, bad.write_outside, bad.truncate, bad.delete])
def test_files_of_others_are_shut(tmp_path, verifier):
    secret = tmp_path / "locked" / "secret"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("the word")
    for mode in (0o600, 0o666):
        secret.chmod(mode)
        with VerifierPool(verifier) as pool:
            if ("reading" if verifier is bad.read else "writing") in pool.unenforced:
                pytest.skip("this kernel cannot bound files; the run says so")
            verdict = pool.score([(PROBLEM, str(secret))])[0]
        assert verdict.status == Status.CRASHED and "PermissionError" in verdict.message
        assert secret.read_text() == "the word"


def test_a_worker_writes_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with VerifierPool(bad.write_and_read, workers=2) as pool:
        assert [v.value for v in pool.score([(PROBLEM, "a"), (PROBLEM, "b")] * 3)] == [1.0] * 6
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_a_home_on_the_import_path_stays_shut(tmp_path, monkeypatch):
    home, project = tmp_path / "home", tmp_path / "home" / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for folder in (project, home, tmp_path):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            verdict = once(bad.list_folder, str(folder))
        if folder == project:
            assert verdict.status == Status.OK
        else:
            assert verdict.status == Status.CRASHED and "PermissionError" in verdict.message


@pytest.mark.parametrize("verifier", [bad.kill_trainer, bad.kill_parent, bad.kill_everything])
def test_no_signal_gets_out(outsider, verifier):
    with VerifierPool(verifier) as pool:
        if "signals" in pool.unenforced:
            pytest.skip("this kernel cannot hold signals back; the run says so")
        verdict = pool.score([(PROBLEM, str(outsider.pid))])[0]
    assert verdict.status == Status.CRASHED
    assert outsider.poll() is None


def test_a_forged_answer_says_nothing_of_any_item():
    with VerifierPool(bad.whole) as pool:
        verdicts = pool.score([(PROBLEM, completion) for completion in ("a", "forge", "bb", "forge", "ccc", "dddd")])
        assert [v.status for v in verdicts] == [Status.OK, Status.MALFORMED, Status.OK, Status.MALFORMED, Status.OK, Status.OK]
        assert [v.value for v in verdicts if v.status == Status.OK] == [1.0, 2.0, 3.0, 4.0]
        assert pool.restarts == 2


def test_an_interrupted_batch_leaves_no_answer_behind(monkeypatch):
    with VerifierPool(bad.length) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(_Worker, "read", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                pool.score([(PROBLEM, "x")])
        assert pool.score([(PROBLEM, "xx")])[0].value == 2.0
        assert pool.restarts == 0


@in_turn("stopped judge", "src/operant/worlds/text/verifiers", "src/operant/worlds/text/worker", "src/operant/worlds/text/running")
def test_a_stopped_judge_does_not_stop_the_trainer():
    with VerifierPool(bad.length, time_limit=0.5) as pool:
        for member in below(pool._workers[0].process.pid):
            os.kill(member, signal.SIGSTOP)  # the judge, its guard and the template: nobody reads
        begin = time.monotonic()
        stuck = pool.score([(PROBLEM, "x" * 3_000_000)])[0]
        assert stuck.status == Status.TIMEOUT and time.monotonic() - begin < 60
        pool.time_limit = 60.0
        assert pool.score([(PROBLEM, "xx")])[0].value == 2.0


def test_a_judge_is_replaced_after_any_status_but_ok():
    lower = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); resource.setrlimit(resource.RLIMIT_AS, (2**22, 2**22)); 1 / 0"
    with VerifierPool(bad.lower_limits) as pool:
        for _ in range(2):
            assert pool.score([(PROBLEM, lower)])[0].status == Status.CRASHED
            assert pool.score([(PROBLEM, "import json; open('here', 'w').write('x'); bytearray(2**24)")])[0].value == 1.0
        assert pool.restarts == 2


def test_nothing_of_the_environment_and_of_the_working_directory_is_open(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "SECRET")
    assert once(bad.environment).value == 0.0
    look = "import os\n\ndef look(problem, completion):\n    return float(len(os.listdir(completion)))\n\n"
    (tmp_path / "of_my_own.py").write_text(look + "def one(problem, completion):\n    return 1.0\n")
    monkeypatch.chdir(tmp_path)
    assert once("of_my_own:one").value == 1.0  # found where Python would find it
    shut = once("of_my_own:look", str(tmp_path))
    assert shut.status == Status.CRASHED and "PermissionError" in shut.message


@root
def test_root_is_given_up():
    with VerifierPool(bad.who) as pool:
        first = pool.score([(PROBLEM, "x")])[0].value
        assert (first == 0) == ("privileges" in pool.unenforced)


def test_workers_end_with_the_trainer(tmp_path):
    script = (
        "import sys, os, signal, time; sys.path.insert(0, sys.argv[1])\n"
        "import text_verifiers as bad\n"
        "from text_processes import below\n"
        "from operant.worlds.text.verifiers import VerifierPool\n"
        "pool = VerifierPool(bad.fork_away_and_hang, time_limit=600)\n"
        "worker = pool._workers[0]; before = len(below(os.getpid()))\n"
        "worker.begin({'problem': {'prompt': '', 'answer': '', 'metadata': {}}, 'completion': '', 'state': []}); worker.write()\n"
        "while len(below(os.getpid())) < before + 2: time.sleep(0.01)\n"
        "time.sleep(0.1); print(*below(os.getpid()), flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    trainer = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)], capture_output=True, text=True, timeout=600, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert trainer.returncode == -signal.SIGKILL, trainer.stderr
    left = [int(pid) for pid in trainer.stdout.split()]
    assert len(left) >= 4
    for _ in range(3000):
        if not any(living(pid) for pid in left):
            break
        time.sleep(0.02)
    assert not any(living(pid) for pid in left)
    assert not list(tmp_path.iterdir())


def test_verifiers_that_cannot_be_loaded():
    for verifier, words in (
        ("no_such_module:score", "ModuleNotFoundError: .*; modules are looked for on the import path and in the working directory"),
        ("text_verifiers:no_such_function", "no_such_function"),
        ("text_verifiers", "module:function"),
        (lambda problem, completion: 1.0, "top of a module"),
    ):
        with pytest.raises(BadInput, match=words) as raised:
            VerifierPool(verifier)
        assert "\n" not in str(raised.value)
    for limits, words in (({"workers": 0}, "nearest: 1"), ({"time_limit": 0}, "above 0"), ({"memory_limit": 5}, "nearest: 1048576")):
        with pytest.raises(BadInput, match=words):
            VerifierPool(bad.length, **limits)


def test_what_lies_beside_a_verifier_s_file_is_imported_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_a_helper.py").write_text("import json\n")
    import_file(tmp_path / "beside_a_helper.py")
    found = _folders("beside_a_helper", str(tmp_path / "beside_a_helper.py"))
    assert str(tmp_path) in found["path"] and str(tmp_path) not in found["readable"] and str(tmp_path / "beside_a_helper.py") in found["readable"]


def test_a_trusted_verifier_that_fails_is_a_status_too():
    def trusted(problem, completion):
        return 1.0 if completion else float("inf")

    trusted.trusted = True
    verdicts = scorer(trusted).score([(PROBLEM, "x"), (PROBLEM, "")])
    assert [v.status for v in verdicts] == [Status.OK, Status.MALFORMED]
    bad_one = InProcess(bad.fail).score([(PROBLEM, "x")])[0]
    assert bad_one.status == Status.CRASHED and bad_one.message == "ValueError: no such thing as x"
