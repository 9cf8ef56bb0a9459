"""A process that has everything imported and forks one child a command line: real processes to kill, without seconds of imports for each.

Standard input: one JSON object a line, `{"words": […], "errors": FILE, "environment": {…}}`. Standard output: the child's process id at once, and its exit
code when it has ended (negative: the signal).
"""

import json
import os
import sys


def child(words: list[str], errors: str, environment: dict[str, str]) -> None:
    from operant.cli.main import main

    code = 1
    os.environ.update(environment)
    try:
        file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = main(words)
    finally:
        os._exit(code)


def serve() -> None:
    import gymnasium  # noqa: F401
    import torch

    import operant.loops.runs  # noqa: F401
    import operant.worlds.data.world  # noqa: F401
    import operant.worlds.gym.world  # noqa: F401
    import operant.worlds.text.world  # noqa: F401
    from operant.core.registry import methods

    methods()
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(**order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
