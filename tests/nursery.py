"""A process that has everything imported and forks one child a command line: real processes to kill, without seconds of imports for each.

It reads orders from the socket whose number is its argument: `{"words": […], "environment": {…}, "folder": …}` with the three standard files. It answers
`{"pid": …}` at once, and `{"pid": …, "code": …}` when the child has ended (negative: the signal).
"""

import json
import os
import select
import signal
import socket
import sys

MOST = 1 << 20  # bytes of an order


def child(words: list[str], environment: dict[str, str], folder: str, files: list[int]) -> None:
    from operant.cli.main import main

    code = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        paths = environment["PYTHONPATH"].split(os.pathsep)
        sys.path[:] = [folder, *paths, *(path for path in sys.path[1:] if path not in paths)]
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, max(files) + 1)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = main(words)
    finally:
        os._exit(code)


def serve(orders: socket.socket) -> None:
    import gymnasium  # noqa: F401
    import torch

    import operant.loops.runs  # noqa: F401
    import operant.worlds.data.world  # noqa: F401
    import operant.worlds.gym.world  # noqa: F401
    import operant.worlds.text.world  # noqa: F401
    from operant.core.registry import methods

    methods()
    torch.set_num_threads(1)
    heard, wake = socket.socketpair()
    heard.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno())
    orders.send(b"{}")
    running = set()
    while True:
        ready, _, _ = select.select([orders, heard], [], [])
        if heard in ready:
            heard.recv(4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.remove(pid)
                    orders.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
        if orders in ready:
            order, files, _, _ = socket.recv_fds(orders, MOST, 3)
            if not order:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGCHLD, signal.SIGHUP):  # the second is ignored by what nohup starts
                    signal.signal(number, signal.SIG_DFL)
                child(**json.loads(order), files=files)
            for file in files:
                os.close(file)
            running.add(pid)
            orders.send(json.dumps({"pid": pid}).encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
