"""Runs one command line in N processes that begin at the same moment: `race.py N WORD …`. Prints [[exit code, standard error], …] as JSON."""

import json
import os
import sys
import tempfile
import time


def race(count: int, words: list[str]) -> list[tuple[int, str]]:
    import torch

    import operant.loops.runs
    import operant.worlds.gym.world
    from operant.cli.main import main
    from operant.core.registry import methods
    from operant.core.run import RunDirectory

    methods()
    torch.set_num_threads(1)
    began = time.monotonic() + 1.0
    create = RunDirectory.create

    def together(*arguments):
        time.sleep(max(0.0, began - time.monotonic() - 0.005))  # then in step
        while time.monotonic() < began:
            pass
        return create(*arguments)

    RunDirectory.create = operant.loops.runs.RunDirectory.create = together
    children = []
    for _ in range(count):
        file = tempfile.TemporaryFile()
        pid = os.fork()
        if pid == 0:
            os.dup2(file.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            os._exit(main(words))
        children.append((pid, file))
    answers = []
    for pid, file in children:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        answers.append((code, file.read().decode()))
    return answers


if __name__ == "__main__":
    print(json.dumps(race(int(sys.argv[1]), sys.argv[2:])))
