"""Verifiers in child processes: good ones, and ones that hang, eat memory, fork, print without end, or leave."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import text_verifiers as bad

from operant.core.errors import BadInput
from operant.core.records import Status
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import ExactAnswer, InProcess, VerifierPool, _descendants, scorer

PROBLEM = Problem("1+1=", "2", {"operands": [1, 1]})
root = pytest.mark.skipif(os.geteuid() != 0, reason="the limit is only enforced for a pool made by root")


def once(verifier, completion="x", **limits):
    with VerifierPool(verifier, **limits) as pool:
        return pool.score([(PROBLEM, completion)])[0]


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
            assert [tuple(v) for v in pool.score(items)] == [(float(length), Status.OK, "") for length in range(60)]
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
        (bad.write_a_file, Status.CRASHED, "OSError"),
    ],
)
def test_what_goes_wrong_is_a_status(verifier, status, words):
    verdict = once(verifier, time_limit=0.5)
    assert verdict.status == status and words in verdict.message and math.isnan(verdict.value)


def test_the_pool_goes_on_after_every_failure():
    items = ["a", "hang", "bb", "eat", "ccc", "print", "exit", "dddd", "fail", "text", "child", "eeeee"]
    expected = {"hang": Status.TIMEOUT, "text": Status.MALFORMED} | dict.fromkeys(("eat", "print", "exit", "fail", "child"), Status.CRASHED)
    with VerifierPool(bad.whole, workers=2, time_limit=1.0) as pool:
        for _ in range(2):
            verdicts = pool.score([(PROBLEM, item) for item in items])
            assert [v.status for v in verdicts] == [expected.get(item, Status.OK) for item in items]
            assert [v.value for v in verdicts if v.status == Status.OK] == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("verifier", [bad.fork_bomb, *[bad.leave_a_child] * 5])
def test_no_process_is_left(verifier):
    before = {pid for pid in _descendants(1) if _is_worker(pid)}
    with VerifierPool(verifier, time_limit=0.5, process_limit=8) as pool:
        if verifier is bad.fork_bomb and "processes" in pool.unenforced:
            pytest.skip("the number of processes is not limited for this user; a real fork bomb would hurt the machine")
        verdict = pool.score([(PROBLEM, "x")])[0]
    assert verdict.status == (Status.TIMEOUT if verifier is bad.fork_bomb else Status.CRASHED)
    time.sleep(0.1)
    assert not {pid for pid, living in _descendants(1).items() if living and _is_worker(pid)} - before


def _is_worker(pid):
    try:
        return b"worker.py" in Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return False


def test_there_is_no_network():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        with VerifierPool(bad.open_a_socket) as pool:
            if "network" in pool.unenforced:
                pytest.skip("this platform cannot take the network away")
            verdict = pool.score([(PROBLEM, f"127.0.0.1:{listener.getsockname()[1]}")])[0]
        assert verdict.status == Status.CRASHED and "OSError" in verdict.message
        with pytest.raises(TimeoutError):
            listener.accept()


@root
def test_root_is_given_up():
    with VerifierPool(bad.who) as pool:
        first = pool.score([(PROBLEM, "x")])[0].value
        assert (first == 0) == ("privileges" in pool.unenforced)


def test_workers_end_with_the_trainer():
    script = (
        "import sys, os, signal; sys.path.insert(0, sys.argv[1])\n"
        "import text_verifiers as bad\n"
        "from operant.worlds.text.verifiers import VerifierPool\n"
        "pool = VerifierPool(bad.hang, time_limit=60)\n"
        "worker = pool._workers[0]; worker.begin({'problem': {'prompt': '', 'answer': '', 'metadata': {}}, 'completion': ''})\n"
        "print(worker.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    trainer = subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], capture_output=True, text=True, timeout=60)
    assert trainer.returncode == -signal.SIGKILL
    pid = int(trainer.stdout)
    for _ in range(200):
        if not _is_worker(pid):
            break
        time.sleep(0.02)
    assert not _is_worker(pid)


def test_verifiers_that_cannot_be_loaded():
    for verifier, words in (
        ("no_such_module:score", "ModuleNotFoundError"),
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


def test_a_trusted_verifier_that_fails_is_a_status_too():
    def trusted(problem, completion):
        return 1.0 if completion else float("inf")

    trusted.trusted = True
    verdicts = scorer(trusted).score([(PROBLEM, "x"), (PROBLEM, "")])
    assert [v.status for v in verdicts] == [Status.OK, Status.MALFORMED]
    bad_one = InProcess(bad.fail).score([(PROBLEM, "x")])[0]
    assert bad_one.status == Status.CRASHED and bad_one.message == "ValueError: no such thing as x"
