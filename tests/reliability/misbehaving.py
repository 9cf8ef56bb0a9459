"""Verifiers that never answer, imported by name in the verifier's own processes."""

import os
import time


def hang(problem, completion):
    time.sleep(3600)


def eat_memory(problem, completion):
    return len(b"x" * 2**35)


def fork_and_print(problem, completion):
    while True:
        try:
            os.fork()
        except OSError:
            print("no more processes " * 1_000)
