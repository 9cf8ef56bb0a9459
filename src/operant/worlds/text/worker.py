"""The child process of a verifier pool. Run as a script with the standard library alone; `verifiers.VerifierPool` starts it and speaks JSON lines with it.

The first line it reads names the verifier, the import path and the limits; it imports the verifier, shuts itself in, and says which limits it could not set.
Then, for each problem and completion it reads, it writes a value or an error. What the verifier prints goes to another pipe.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import json
import math
import os
import resource
import shutil
import signal
import struct
import sys
import threading
import time
from types import SimpleNamespace

PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 8, 36, 38
CAPABILITY_VERSION, CAP_DAC_READ_SEARCH = 0x20080522, 2
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
FIRST_USER = 0x60000000  # user ids from here on belong to nobody; one a worker, so that its processes are counted apart from all others
NOBODY = 65534
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446  # system calls, the same on every architecture
LANDLOCK_VERSION = 1  # the flag that asks for the version
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
CHANGE_DIR = sum(1 << bit for bit in range(4, 13))  # remove and make entries of every kind
NO_TCP, NO_OUTSIDE = 3, 3  # neither bind nor connect; neither abstract sockets nor signals to processes outside


def load(module: str, name: str, file: str | None):
    """The object `module:name`, from the file where the module itself cannot be imported (a script, a notebook's helper)."""
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
    return found.score if hasattr(found, "score") else found


def shut_in(limits: dict, readable: list[str], scratch: str) -> list[str]:
    """Set the limits, files beneath `readable` staying open, and `scratch` to write in; the names of those that this platform cannot set."""
    missing = []
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = getattr(libc, "prctl", lambda *a: -1)
    root = os.geteuid() == 0

    # The network goes first: it needs the privileges that are dropped below.
    if getattr(libc, "unshare", lambda flags: -1)(CLONE_NEWNET if root else CLONE_NEWUSER | CLONE_NEWNET) != 0:
        missing.append("network")
    # Orphans of this process become its children, so that none can get away.
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        missing.append("orphans")

    def limit(name: str, kind: int, value: int) -> None:
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):
            missing.append(name)

    limit("core", resource.RLIMIT_CORE, 0)
    limit("files", resource.RLIMIT_FSIZE, limits["output"])
    limit("open files", resource.RLIMIT_NOFILE, 64)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then raises OSError
    if root:
        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        for user in (FIRST_USER + os.getpid(), NOBODY):
            try:
                os.chown(scratch, user, user)
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                break
            except OSError:
                continue
        # Reading past permissions stays allowed, for the interpreter's library may lie in root's home and verifiers import late; Landlock bounds it below.
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        reading = 1 << CAP_DAC_READ_SEARCH
        if getattr(libc, "capset", lambda *a: -1)(header, (ctypes.c_uint32 * 6)(reading, reading, 0, 0, 0, 0)) != 0:
            missing.append("privileges")
    if not limit_processes(limits["processes"]):
        missing.append("processes")
    try:
        with open("/proc/self/statm") as file:  # before files are bounded
            used = int(file.read().split()[0]) * resource.getpagesize()
        limit("memory", resource.RLIMIT_AS, used + limits["memory"])
    except OSError:
        missing.append("memory")
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    unbound = bound(libc, readable, scratch)
    if os.geteuid() == FIRST_USER + os.getpid():  # a user with no other processes than these
        unbound.discard("signals")
    try:
        os.kill(os.getppid(), 0)
        unbound.add("signals")  # tried, not believed
    except PermissionError:
        pass
    return missing + sorted(unbound)


def bound(libc, readable: list[str], scratch: str) -> set[str]:
    """Let this process and its children read only what Python itself needs and what lies beneath `readable`, write only beneath `scratch`, and signal only
    each other (Landlock); the names of those that the kernel cannot.
    """
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < 1:
        return {"reading", "writing", "signals"}
    file_rights = READ_FILE | WRITE_FILE | (TRUNCATE if version >= 3 else 0)
    rights = file_rights | READ_DIR | CHANGE_DIR
    # What an older kernel does not know is left 0: it takes the longer structure only so.
    attributes = (ctypes.c_uint64 * 3)(rights, NO_TCP if version >= 4 else 0, NO_OUTSIDE if version >= 6 else 0)
    ruleset = libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    if ruleset < 0:
        return {"reading", "writing", "signals"}
    system = ("/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__))
    allowed = dict.fromkeys((*system, *python, *readable), READ_FILE | READ_DIR) | dict.fromkeys(("/dev/null", "/dev/zero"), file_rights) | {scratch: rights}
    done = True
    for path, right in allowed.items():
        if path in ("", "/"):
            continue
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there cannot be read
        rule = struct.pack("=Qi", right if os.path.isdir(path) else right & file_rights, place)
        done &= libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0) == 0
        os.close(place)
    done = done and libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    if not done:
        return {"reading", "writing", "signals"}
    return ({"writing"} if version < 3 else set()) | ({"signals"} if version < 6 else set())


def holds_home(path: str) -> bool:
    """Whether a folder is the user's home or holds it, so that reading it would open everything that the user keeps."""
    home = os.path.realpath(os.path.expanduser("~"))
    return os.path.commonpath((home, os.path.realpath(path))) == os.path.realpath(path)


def limit_processes(count: int) -> bool:
    """Limit this user's processes to `count`; False where that does not bind (root), or where other programs count against it, so that none could start."""
    if os.geteuid() == 0:
        return False
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (count, before[1]))
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (count, count))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, before)
        return False
    return True


def children_left() -> bool:
    """Whether a process that the verifier started is still there."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def kill_children(listing: int) -> None:
    """Kill all that this process started, in whatever session: the children of one that is killed become this process's own.

    Args:
        listing: the open file of this process's children in /proc.
    """
    for _ in range(1000):
        children = os.pread(listing, 65536, 0).split()
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.001)
        children_left()  # takes the dead off the list


def main() -> None:
    requests, replies = open(os.dup(0), "rb"), open(int(sys.argv[1]), "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def reply(**message) -> None:
        replies.write(json.dumps(message).encode() + b"\n")

    start = json.loads(requests.readline())
    sys.path[:] = start["path"]
    try:
        listing = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        listing = None  # what left the worker's group then outlives a trainer that is killed
    os.environ["TMPDIR"] = start["scratch"]
    os.chdir(start["scratch"])
    try:
        verifier = load(start["module"], start["name"], start["file"])
        readable = [path for path in start["path"] if not holds_home(path)] + ([start["file"]] if start["file"] else [])
        missing = shut_in(start["limits"], readable, start["scratch"])
    except BaseException as error:
        reply(error=f"{type(error).__name__}: {error}")
        return

    def end_with_trainer() -> None:
        os.read(int(sys.argv[2]), 1)  # the trainer never writes: this returns when it has ended, whatever the verifier is doing
        if listing is not None:
            kill_children(listing)
        shutil.rmtree(start["scratch"], ignore_errors=True)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=end_with_trainer, daemon=True).start()
    reply(missing=missing)
    for line in requests:
        item = json.loads(line)
        problem = SimpleNamespace(**item["problem"])
        try:
            value = verifier(problem, item["completion"])
            number = hasattr(value, "__float__") and math.isfinite(value)
            answer = {"value": float(value)} if number else {"malformed": repr(value)[:200]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.flush()
        sys.stderr.flush()
        reply(word=item["word"], **answer, children=children_left())


if __name__ == "__main__":
    main()
