"""Verifiers that behave badly, for test_text_verifiers.py. They run in child processes only."""

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time


def length(problem, completion):
    return len(completion) / len(problem.answer)


def hang(problem, completion):
    while True:
        pass


def sleep(problem, completion):
    time.sleep(3600)


def eat(problem, completion):
    return len(b"x" * 2**34)


def print_forever(problem, completion):
    while True:
        print("all work and no play " * 100)


def fork_bomb(problem, completion):
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            time.sleep(0.01)


def leave_a_child(problem, completion):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    return 1.0


def leave_at_once(problem, completion):
    os._exit(3)


def fail(problem, completion):
    raise ValueError("no such thing as " + completion)


def answer_text(problem, completion):
    return "right"


def answer_nan(problem, completion):
    return float("nan")


def write_too_much(problem, completion):
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 2**22)
    return 1.0


def write_outside(problem, completion):
    """Write to the file that the completion names."""
    with open(completion, "a") as file:
        file.write("x")
    return 1.0


def truncate(problem, completion):
    os.truncate(completion, 0)
    return 1.0


def delete(problem, completion):
    os.unlink(completion)
    return 1.0


def write_and_read(problem, completion):
    """Write a file in the folder for such, and read it."""
    with open("here", "w") as file:
        file.write(completion)
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write(completion)
    with open("here") as file:
        return float(file.read() == completion)


def read(problem, completion):
    with open(completion) as file:
        return float(len(file.read()))


def list_folder(problem, completion):
    return float(len(os.listdir(completion)))


def kill_trainer(problem, completion):
    os.kill(int(completion), signal.SIGKILL)
    return 1.0


def kill_parent(problem, completion):
    os.kill(os.getppid(), signal.SIGKILL)
    return 1.0


def kill_everything(problem, completion):
    """Signal every process there is; where signals turn out to reach the process that the completion names, it says so and signals nobody."""
    with contextlib.suppress(PermissionError):
        os.kill(int(completion), 0)
        return 1.0
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def ignore_signals(problem, completion):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def stop_itself(problem, completion):
    os.kill(os.getpid(), signal.SIGSTOP)


def recurse(problem, completion):
    return recurse(problem, completion)


def break_the_stack(problem, completion):
    sys.setrecursionlimit(2**30)
    one, other = [], []
    for _ in range(2 * 10**5):
        one, other = [one], [other]
    return float(one == other)


def break_memory(problem, completion):
    return float(len(ctypes.string_at(0)))


def print_on_every_pipe(problem, completion):
    for pipe in range(64):
        with contextlib.suppress(OSError):
            os.write(pipe, b'{"value": 7.0, "children": false}\n')
    return 1.0


def fork_away_and_hang(problem, completion):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
    time.sleep(3600)


def open_a_socket(problem, completion):
    import socket

    listener = socket.socket(fileno=None)
    listener.settimeout(2)
    host, port = completion.split(":")
    listener.connect((host, int(port)))
    return 1.0


def who(problem, completion):
    return float(os.geteuid())


def whole(problem, completion):
    """Everything at once, by what the completion says."""
    bad = {
        "hang": hang,
        "eat": eat,
        "print": print_forever,
        "exit": leave_at_once,
        "fail": fail,
        "text": answer_text,
        "child": leave_a_child,
        "forge": print_on_every_pipe,
    }
    return bad[completion](problem, completion) if completion in bad else length(problem, completion)


def environment(problem, completion):
    return float(any("SECRET" in key or "SECRET" in value for key, value in os.environ.items()))


def lower_limits(problem, completion):
    """Exec what a completion says, as a person's own verifier might."""
    exec(completion)
    return 1.0


class Object:
    def score(self, problem, completion):
        print("said", file=sys.stderr)
        return 2.0


OBJECT = Object()


class Stepped:
    """What a verifier of steps gives, by another class of the same form."""

    value = 0.25

    def __init__(self, per_step):
        self.per_step = per_step


def steps(problem, completion):
    return Stepped([(place + 1, 0.5 - place) for place, _ in enumerate(completion)] if completion != "bad" else [(-1, float("nan"))])


def compute(problem, completion):
    """So many seconds of processor time."""
    began = time.process_time()
    while time.process_time() - began < float(completion):
        pass
    return 1.0
