"""The processes of a verifier pool beside the trainer. `verifiers.VerifierPool` starts `main` in an interpreter of its own; the standard library
alone is imported.

    trainer ── template ─┬─ guard ── judge     knows the problem and says the verdict
                         └─ guard ── answer    runs what a model wrote (`answer`); a fresh one for every run

The template loads the verifier once and never sees a problem or a completion. On a word from the trainer it forks a judge, on a word from the judge an answer,
so that each begins with clean memory, and costs a fork. A guard stands outside the limits of the process that it guards: it kills it, and all that it started,
when the other side lets go of its leash, says how it ended, and leaves nothing behind. Between judge and answer go bytes alone (`plain`).
"""

import contextlib
import importlib
import importlib.util
import itertools
import json
import math
import os
import resource
import secrets
import selectors
import signal
import socket
import sys
from types import SimpleNamespace

from operant.worlds.text import answer, confinement, plain

JUDGE, ANSWER = b"J", b"A"  # the words to the template
MOST_PIPES = 8
LONGEST_START = 2**20  # bytes
HIGHEST_PIPE = 4096
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes
_FILLED = 0.25  # of the memory: what grows by doubling fails with no more in use


def load(module: str, name: str, file: str | None, made_of: dict | None = None):
    """The object `module:name`, from the file where the module itself cannot be imported (a script, a notebook's helper).

    Args:
        made_of: it is the class of a task, made of these arguments, and its `reply` is wanted.
    """
    try:
        if module == "__main__":
            raise ModuleNotFoundError(name=module)
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if file is None or error.name != module:
            raise
        spec = importlib.util.spec_from_file_location("verifier_module", file)
        found = importlib.util.module_from_spec(spec)
        sys.modules["verifier_module"] = found
        spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    if made_of is not None:
        return found(**made_of).reply
    return found.score if hasattr(found, "score") else found


class Template:
    """Forks judges and answers.

    Args:
        start: what the trainer said first: limits, readable folders, import path, scratch.
        score: the verifier.
        trainer: the socket to the trainer.
        tables: children can have process tables of their own.
        number: tells this template's user ids from those of others.
    """

    def __init__(self, start: dict, score, trainer: socket.socket, *, tables: bool, number: int):
        self.start, self.score, self.trainer = start, score, trainer
        self.home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if tables else None
        self.users = {JUDGE: confinement.FIRST_USER + 2 * number, ANSWER: confinement.FIRST_USER + 2 * number + 1}
        self.network = confinement.no_network() if os.geteuid() == 0 or tables else False
        self.doors: list[socket.socket] = []

    def serve(self) -> None:
        """Fork what is asked for until the trainer ends."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while True:
            for asker in _readable(self.trainer, *self.doors):
                try:
                    word, pipes, _, _ = socket.recv_fds(asker, 1, MOST_PIPES)
                except OSError:
                    word, pipes = b"", []
                if not word:
                    if asker is self.trainer:
                        return
                    self.doors.remove(asker)
                    asker.close()
                elif word == JUDGE and asker is self.trainer:
                    inside, outside = socket.socketpair()
                    if self.fork(JUDGE, [*pipes, outside.detach()]):
                        self.doors.append(inside)
                    else:
                        inside.close()
                elif len(pipes) >= 3:
                    self.fork(ANSWER, pipes)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    def fork(self, kind: bytes, pipes: list[int]) -> bool:
        """Fork a guard, which forks a judge or an answer with these pipes; the first two are the leash and where the guard says how it ended."""
        try:
            if confinement.fork_into(self.home) == 0:
                try:
                    self.guard(kind, pipes)
                finally:
                    os._exit(1)
            return True
        except OSError:
            return False  # the other side sees its pipes close
        finally:
            for pipe in pipes:
                os.close(pipe)

    def guard(self, kind: bytes, pipes: list[int]) -> None:
        """Guard one process until it ends or its leash is let go."""
        confinement.hidden()
        self.trainer.close()
        for door in self.doors:
            door.close()
        leash, ending, *rest = pipes
        tables = self.home is not None
        scratch = os.path.join(self.start["scratch"], ("judge" if kind == JUDGE else "answer") if tables else secrets.token_hex(8))
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        listing = None
        if not tables:
            os.mkdir(scratch, 0o700)
            confinement.take_orphans()
            with contextlib.suppress(OSError):
                listing = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
        elif not confinement.own_files(scratch, self.start["limits"]["scratch"]):
            return
        child = os.fork()
        if child == 0:
            try:
                self.become(kind, rest, scratch)
            finally:
                os._exit(1)
        for pipe in rest:
            os.close(pipe)
        ended = b""
        while not ended:
            if leash in _readable(leash, woken):
                ended = b"was let go"
                break
            os.read(woken, 4096)
            found, status = os.waitpid(child, os.WNOHANG)
            if found:  # a child that only stops wakes this one too
                code = os.waitstatus_to_exitcode(status)
                ended = f"exited with code {code}".encode() if code >= 0 else f"was killed by signal {-code}".encode()
        if tables or listing is not None:
            confinement.kill_all(listing)
        else:
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
        if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _RSS_UNIT > self.start["limits"]["memory"] * _FILLED:
            ended += plain.FILLED_MEMORY.encode()
        with contextlib.suppress(OSError):  # nobody may be left to hear it
            os.write(ending, ended)
        os.close(ending)
        if not tables:
            empty(scratch)
            os.rmdir(scratch)
        os._exit(0)

    def become(self, kind: bytes, pipes: list[int], scratch: str) -> None:
        """Turn this fresh process into a judge or an answer, and shut it in."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if kind == ANSWER and len(pipes) == 3:
            channel, given, printed = pipes
        else:
            channel = pipes[0]
            given = os.open(os.devnull, os.O_RDWR)
            printed = pipes[2] if kind == JUDGE else given
        os.dup2(given, 0)
        os.dup2(printed, 1)
        os.dup2(printed if kind == JUDGE else os.open(os.devnull, os.O_WRONLY), 2)
        keep = pipes if kind == JUDGE else [channel]
        for last, following in itertools.pairwise((2, *sorted(keep), HIGHEST_PIPE)):
            os.closerange(last + 1, following)
        os.chdir(scratch)
        readable = self.start["readable"] if kind == JUDGE else self.start["library"]
        missing = confinement.shut_in(
            self.start["limits"], readable, scratch, user=self.users[kind], tables=self.home is not None, network=self.network
        )
        if kind == JUDGE:
            judge(self.score, keep, missing)
        else:
            answer.run(socket.socket(fileno=keep[0]), self.start["library"])


def _readable(*pipes) -> list:
    """Those of these pipes and sockets that have something to read, or have ended; at least one, which is waited for."""
    with selectors.PollSelector() as selector:  # select refuses numbers above 1023
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select()]


def judge(score, pipes: list[int], missing: list[str]) -> None:
    """Say which limits are missing; then, for each problem and completion that is read, a value or an error."""
    requests, replies, door = open(pipes[0], "rb"), open(pipes[1], "wb", buffering=0), socket.socket(fileno=pipes[3])

    def reply(**message) -> None:
        replies.write(json.dumps(message).encode() + b"\n")

    reply(missing=missing)
    runs = {"door": door} if getattr(score, "runs_answers", False) else {}
    for line in requests:
        item = json.loads(line)
        problem = SimpleNamespace(**item["problem"])
        try:
            found = score(problem, item["completion"], *item["state"], **runs)
            said = replied(found) if item["state"] else valued(found)
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.flush()
        sys.stderr.flush()
        reply(word=item["word"], **said, children=confinement.children_left())


def valued(found) -> dict:
    """What a verifier gave, a number or a `verifiers.Score`, as a message."""
    value, per_step = (found.value, [[int(end), float(reward)] for end, reward in found.per_step]) if hasattr(found, "per_step") else (found, [])
    if hasattr(value, "__float__") and math.isfinite(value):
        return {"value": float(value), "per_step": per_step}
    return {"malformed": repr(found)[:200]}


def replied(found) -> dict:
    """What a task replied (`turns.Reply`) as a message. It is looked at where it is read; here it need only be plain."""
    if not hasattr(found, "state"):
        raise TypeError(f"{found!r:.80} is no Reply")
    said = [found.text, found.reward, found.done, found.state]
    json.dumps(said)
    return {"reply": said}


def empty(folder: str) -> None:
    """Remove what a folder holds, however deep and locked: each folder's folders are moved to the top before it goes."""
    waiting, moved = [folder], 0
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(OSError):
            os.chmod(place, 0o700)  # a folder can be made without any permission
            for entry in list(os.scandir(place)):
                if entry.is_dir(follow_symlinks=False):
                    above = os.path.join(folder, f"{secrets.token_hex(8)}-{moved}")
                    moved += 1
                    os.chmod(entry.path, 0o700)
                    os.rename(entry.path, above)
                    waiting.append(above)
                else:
                    os.unlink(entry.path)
            if place != folder:
                os.rmdir(place)


def main() -> None:
    trainer = socket.socket(fileno=int(sys.argv[1]))
    start = json.loads(sys.stdin.buffer.readline(LONGEST_START))
    number = os.getpid()
    for name in ("judge", "answer"):
        os.mkdir(os.path.join(start["scratch"], name))
    tables = confinement.apart(start["scratch"])
    if tables and (first := os.fork()):
        # What the trainer started waits here; ending it ends the template, and with it every process below.
        trainer.close()
        os.closerange(0, 3)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    if tables:
        confinement.end_with_parent()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.path[:] = start["path"]
    try:
        score = load(start["module"], start["name"], start["file"], start["made_of"])
        sys.path[:] = start["readable"]
        confinement.hidden()
        template = Template(start, score, trainer, tables=tables, number=number)
    except BaseException as error:
        trainer.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"[:2000]}).encode() + b"\n")
        return
    trainer.sendall(b"{}\n")
    template.serve()
    with contextlib.suppress(OSError):  # the trainer may have been killed
        empty(start["scratch"])
        os.rmdir(start["scratch"])

