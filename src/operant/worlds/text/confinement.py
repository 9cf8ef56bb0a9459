"""What shuts a process in, on Linux as any user: namespaces, Landlock, a filter of system calls, and limits. The standard library alone is imported.

Whatever cannot be had is named, and nothing is believed that can be tried.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import time

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 22, 36, 38
CAPABILITY_VERSION, CAP_DAC_READ_SEARCH = 0x20080522, 2
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000  # CLONE_NEW…
ANY_NEW = 0x7E020000  # all CLONE_NEW… flags
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 1 << 14, 1 << 18
FIRST_USER = 0x60000000  # user ids from here on belong to nobody; each judge and answer has its own, so that its processes are counted apart from all others
NOBODY = 65534
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446  # system calls, the same on every architecture
LANDLOCK_VERSION = 1  # the flag that asks for the version
WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
CHANGE_DIR = sum(1 << bit for bit in range(4, 13))  # remove and make entries of every kind
NO_TCP, NO_OUTSIDE = 3, 3  # neither bind nor connect; neither abstract sockets nor signals to processes outside
SCRATCH_FILES = 1000

# Architecture of the filter, and numbers of the system calls that it refuses: other processes' memory and limits, shared memory and queues (which outlive a
# process), keys, namespaces and mounts, files by handle, sockets, and what goes around the filter or files' limits.
_REFUSED = {
    "x86_64": (
        0xC000003E,
        (101, 310, 311, 312, 434, 438, 424, 440, 203, 141, 251, 144, 314, 142)  # ptrace, process_vm_*, kcmp, pidfd_*, madvise, priority and affinity of others
        + (29, 30, 31, 64, 66, 65, 68, 69, 70, 71, 240, 241, 242, 243, 248, 249, 250)  # shm*, sem*, msg*, mq_*, keys
        + (272, 308, 165, 166, 155, 161, 428, 429, 430, 432, 303, 304)  # unshare, setns, mounts, chroot, handles
        + (298, 321, 323, 425, 426, 427, 319, 41),  # perf, bpf, userfaultfd, io_uring, memfd_create, socket
        302,  # prlimit64
        56,  # clone
    ),
    "aarch64": (
        0xC00000B7,
        (117, 270, 271, 272, 434, 438, 424, 440, 122, 140, 30, 119, 274, 118)
        + (194, 195, 196, 197, 190, 191, 192, 193, 186, 187, 188, 189, 180, 181, 182, 183, 217, 218, 219)
        + (97, 268, 40, 39, 41, 51, 428, 429, 430, 432, 264, 265)
        + (241, 280, 282, 425, 426, 427, 279, 198),
        261,
        220,
    ),
}
# Calls that change what a file says of itself (mode, owner, times, extended attributes): Landlock bounds none of them, and the files may be the user's own.
_FILE_ATTRIBUTES = {
    "x86_64": (90, 91, 268, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
    "aarch64": (52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16),
}
_NEW_FILE_ATTRIBUTES = (452, 463, 466, 469)  # fchmodat2, setxattrat, removexattrat, file_setattr: the same on every architecture
_CLONE3 = 435
_EPERM, _ENOSYS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments) -> int:
    """A function of the C library; -1 where there is none of that name."""
    return getattr(_libc, name, lambda *a: -1)(*arguments)


def apart(scratch: str) -> bool:
    """Give this process's children process tables of their own, so that ending the first of them ends all; whether that can be done here.

    It is tried whole in a child before: a system may refuse at any step.
    """
    trial = os.fork()
    if trial == 0:
        status = 1
        try:
            if _enter():
                first = os.fork()
                if first == 0:
                    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
                    good = new_table(home, lambda: own_files(scratch, 2**20)) and new_table(home, lambda: True)
                    os._exit(0 if good else 1)
                status = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
        finally:
            os._exit(status & 0xFF)
    return os.waitpid(trial, 0)[1] == 0 and _enter()


def _enter() -> bool:
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        return _call("unshare", NEW_PIDS) == 0
    if _call("unshare", NEW_USER | NEW_PIDS) != 0:
        return False
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        return False
    return True


def new_table(home: int | None, role) -> bool:
    """Fork a child into a new process table (into this one where `home` is None), which runs `role` and ends; whether it said True, once it has ended."""
    child = fork_into(home)
    if child == 0:
        try:
            os._exit(0 if role() else 1)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def fork_into(home: int | None) -> int:
    """`os.fork`, the child being the first of a new process table; `home` is the open table of this process, or None where there are no tables."""
    if home is None:
        return os.fork()
    if _call("unshare", NEW_PIDS) != 0:
        raise OSError(ctypes.get_errno(), "no new process table")
    try:
        return os.fork()
    finally:
        # In the child this is refused, for it has gone one table further, and nothing depends on it.
        _call("setns", home, NEW_PIDS)


def own_files(scratch: str, size: int) -> bool:
    """Put an empty file system of `size` bytes in the place of `scratch`, for this process and its children, with queues and shared memory of their own."""
    if _call("unshare", NEW_MOUNTS | NEW_IPC) != 0:
        return False
    options = f"size={size},nr_inodes={SCRATCH_FILES},mode=0777".encode()
    return (
        _call("mount", None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) == 0
        and _call("mount", b"tmpfs", scratch.encode(), b"tmpfs", ctypes.c_ulong(MS_NOSUID | MS_NODEV), options) == 0
    )


def no_network() -> bool:
    """Take the network from this process and its children; True where that was done."""
    return _call("unshare", NEW_NET) == 0 or _call("unshare", NEW_USER | NEW_NET) == 0


def hidden() -> None:
    """Let no process of the same user read or trace this one."""
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """This process is killed when its parent ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def take_orphans() -> bool:
    """Orphans below this process become its children, so that none can get away."""
    return _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def shut_in(limits: dict, readable: list[str], scratch: str, *, user: int, tables: bool, network: bool) -> list[str]:
    """Set the limits, files beneath `readable` staying open, and `scratch` to write in; the names of those that this platform cannot set.

    Args:
        limits: "memory" on top of what this process has (bytes), "output" of a file (bytes), "processes".
        user: the user id that root becomes.
        tables: this process has a process table, a scratch and queues of its own.
        network: the network was taken away before.
    """
    missing = [] if tables else ["scratch"]
    root = os.geteuid() == 0
    if not take_orphans():
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
        _call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
        for number in (user, NOBODY):
            try:
                os.chown(scratch, number, number)
                os.setgroups([])
                os.setresgid(number, number, number)
                os.setresuid(number, number, number)
                break
            except OSError:
                continue
    if root or tables:
        # Reading past permissions stays allowed to root's, for the interpreter's library may lie in root's home and is imported late; Landlock bounds it below.
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        reading = 1 << CAP_DAC_READ_SEARCH if root else 0
        if _call("capset", header, (ctypes.c_uint32 * 6)(reading, reading, 0, 0, 0, 0)) != 0:
            missing.append("privileges")
    alone = os.geteuid() == user or tables  # no process but these counts
    if not _limit_processes(limits["processes"] + (8 if tables and not root else 0), alone):  # of a user's namespace, those around this one count too
        missing.append("processes")
    try:
        with open("/proc/self/statm") as file:  # before files are bounded
            used = int(file.read().split()[0]) * resource.getpagesize()
        limit("memory", resource.RLIMIT_AS, used + limits["memory"])
    except OSError:
        missing.append("memory")
    hidden()
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    unbound = _bound(readable, scratch)
    filtered = _filter_calls()
    if not filtered:
        missing.append("system calls")
    if not filtered and os.geteuid() != user:  # files of this user are not those of somebody
        missing.append("file attributes")
    if not (network or filtered):
        missing.append("network")
    if tables or os.geteuid() == user:  # no other process is in sight, or it belongs to another user
        unbound.discard("signals")
    with contextlib.suppress(PermissionError):
        if not tables:
            os.kill(os.getppid(), 0)
            unbound.add("signals")  # tried, not believed
    return missing + sorted(unbound)


def _bound(readable: list[str], scratch: str) -> set[str]:
    """Let this process and its children read only what Python itself needs and what lies beneath `readable`, write only beneath `scratch`, and signal only
    each other (Landlock); the names of those that the kernel cannot.
    """
    if not hasattr(_libc, "syscall") or not sys.platform.startswith("linux"):
        return {"reading", "writing", "signals"}
    version = _libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < 1:
        return {"reading", "writing", "signals"}
    file_rights = READ_FILE | WRITE_FILE | (TRUNCATE if version >= 3 else 0)
    rights = file_rights | READ_DIR | CHANGE_DIR
    # What an older kernel does not know is left 0: it takes the longer structure only so.
    attributes = (ctypes.c_uint64 * 3)(rights, NO_TCP if version >= 4 else 0, NO_OUTSIDE if version >= 6 else 0)
    ruleset = _libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    if ruleset < 0:
        return {"reading", "writing", "signals"}
    system = ("/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")
    allowed = dict.fromkeys((*system, *readable), READ_FILE | READ_DIR) | dict.fromkeys(("/dev/null", "/dev/zero"), file_rights) | {scratch: rights}
    done = True
    for path, right in allowed.items():
        if path in ("", "/"):
            continue
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there cannot be read
        rule = struct.pack("=Qi", right if os.path.isdir(path) else right & file_rights, place)
        done &= _libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0) == 0
        os.close(place)
    done = done and _libc.syscall(LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    if not done:
        return {"reading", "writing", "signals"}
    return ({"writing"} if version < 3 else set()) | ({"signals"} if version < 6 else set())


def _filter_calls() -> bool:
    """Refuse the system calls of `_REFUSED` and `_FILE_ATTRIBUTES` to this process and its children; whether that was done."""
    machine = os.uname().machine
    if not sys.platform.startswith("linux") or machine not in _REFUSED:
        return False
    architecture, refused, prlimit, clone = _REFUSED[machine]
    load, equal, least, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF: load a word, jump if equal, if at least, if any bit, return
    number, arch, first = 0, 4, 16  # offsets in what the filter sees: the call's number, the architecture, the first argument
    allow, error = 0x7FFF0000, 0x00050000
    program = [(load, 0, 0, arch), (equal, 1, 0, architecture), (give, 0, 0, error | _EPERM), (load, 0, 0, number)]
    program += [(least, 0, 1, 0x40000000), (give, 0, 0, error | _EPERM)]  # the numbers of another calling convention
    for call in (*refused, *_FILE_ATTRIBUTES[machine], *_NEW_FILE_ATTRIBUTES):
        program += [(equal, 0, 1, call), (give, 0, 0, error | _EPERM)]
    program += [(equal, 0, 1, _CLONE3), (give, 0, 0, error | _ENOSYS)]  # its flags lie in memory, where no filter reads; the C library then takes clone
    program += [(equal, 0, 4, clone), (load, 0, 0, first), (bits, 0, 1, ANY_NEW), (give, 0, 0, error | _EPERM), (give, 0, 0, allow)]
    program += [(equal, 0, 4, prlimit), (load, 0, 0, first), (equal, 1, 0, 0), (give, 0, 0, error | _EPERM), (give, 0, 0, allow)]
    program += [(give, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return _call("prctl", PR_SET_SECCOMP, 2, header, 0, 0) == 0


def _limit_processes(count: int, alone: bool) -> bool:
    """Limit this user's processes to `count`; False where that does not bind (root), or where other programs count against it, so that none could start."""
    if os.geteuid() == 0:
        return False
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    try:
        if alone:
            resource.setrlimit(resource.RLIMIT_NPROC, (count, count))
            return True
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
    """Whether a process that this one started is still there."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def kill_all(listing: int | None) -> None:
    """Kill all that this process started, in whatever session: the children of one that is killed become this process's own.

    Args:
        listing: the open file of this process's children in /proc, or None for all processes of its table, of which it is the first.
    """
    for _ in range(10_000):
        if listing is None:
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)
        else:
            for child in os.pread(listing, 65536, 0).split():
                with contextlib.suppress(OSError):
                    os.kill(int(child), signal.SIGKILL)
        if not children_left():
            return
        time.sleep(0.0005)
