"""Verifiers that behave badly, for test_text_verifiers.py. They run in child processes only."""

import os
import sys
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


def write_a_file(problem, completion):
    path = f"/tmp/operant-test-{os.getpid()}"
    try:
        with open(path, "wb") as file:
            file.write(b"x" * 2**22)
    finally:
        os.unlink(path)
    return 1.0


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
    bad = {"hang": hang, "eat": eat, "print": print_forever, "exit": leave_at_once, "fail": fail, "text": answer_text, "child": leave_a_child}
    return bad[completion](problem, completion) if completion in bad else length(problem, completion)


class Object:
    def score(self, problem, completion):
        print("said", file=sys.stderr)
        return 2.0


OBJECT = Object()
