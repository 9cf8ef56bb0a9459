"""Members on a Ray cluster, and `operant cluster status`. Ray places members, says when a node is lost, and carries files; what a member does is `agent`'s.

Ray is imported where a cluster is asked for, and nowhere else.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import secrets
import shutil
import site
import sys
import sysconfig
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operant.cli import agent
from operant.cli.members import OWN_CODES, Member, Place
from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json
from operant.core.cache import cache_directory
from operant.core.cluster import ANSWERS, joined, name_of, require_ray, told
from operant.core.errors import PACKAGE, BadInput, RunFailed
from operant.core.files import disk_fault, read_json, remove, replacing
from operant.core.terminal import note

STARTS = 90.0  # seconds that a node may take to start a process that tells its versions
TRIES = 4  # times that a member is lost without coming further, before it is given up
WAITED = 30.0  # seconds after which a member that finds no place is told of
MOST = 2**30  # bytes that are sent along with a member
COUNTED = {"processors": "CPU", "gpus": "GPU", "memory": "memory"}  # of a node, by Ray's names


@contextmanager
def _joined(address: str, given: str) -> Iterator[Any]:
    """`core.cluster.joined`, with nothing on standard output, where Ray tells of lost nodes."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), joined(address, given) as ray:
        yield ray


@contextmanager
def connected(address: str, cpus: float, gpus: float) -> Iterator[None]:
    """A connection to a cluster, on which a member of so many processors and GPUs fits, and whose nodes have our versions. Raises `BadInput` where not."""
    with _joined(address, "--cluster") as ray:
        here, looked = agent.versions(), _looked(ray, _fitting(ray, address, cpus, gpus))
        if not looked:
            tokens = "a token (~/.ray/auth_token) on one side alone does that: start the cluster with it, or set RAY_AUTH_MODE=disabled"
            raise BadInput(f"--cluster {address}: no process could be begun on its nodes; {tokens}")
        for node, found in looked.items():
            if (line := agent.difference(here, found, node)) is not None:
                raise BadInput(line)
        yield


def _fitting(ray: Any, address: str, cpus: float, gpus: float) -> list[dict[str, Any]]:
    """The nodes that are up and have as much. Raises `BadInput` where none has."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    fit = [node for node in alive if node["Resources"].get("CPU", 0) >= cpus and node["Resources"].get("GPU", 0) >= gpus]
    if not fit:
        largest = max(alive, key=lambda node: (node["Resources"].get("GPU", 0), node["Resources"].get("CPU", 0)), default={"Resources": {}})["Resources"]
        has = f"{largest.get('CPU', 0):g} processors and {largest.get('GPU', 0):g} GPUs"
        raise BadInput(f"--cluster {address}: none of its {len(alive)} nodes has {cpus:g} processors and {gpus:g} GPUs for a member; the largest has {has}")
    return fit


def _looked(ray: Any, nodes: Iterable[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What a process on each node says of versions, by the node's name; nothing of one that does not say in time."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Looks:  # an actor, as an agent is; it travels as code: an Operant need not be there
        def look(self) -> dict[str, str]:
            import platform

            try:
                from operant.cli.agent import versions

                return versions()
            except ImportError:
                return {"Python": ".".join(platform.python_version_tuple()[:2])}

    actor, actors, asked = ray.remote(Looks), [], {}
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        actors.append(actor.options(num_cpus=0, scheduling_strategy=strategy).remote())
        asked[actors[-1].look.remote()] = node
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=STARTS)
    for each in late:
        note(f"node {name_of(asked[each])} did not say within {STARTS:.0f} s what it has")
    found = {}
    for each in ready:
        try:
            found[name_of(asked[each])] = ray.get(each)
        except ray.exceptions.RayError as error:
            note(f"node {name_of(asked[each])} could not say what it has: {told(error)}")
    return found


def _free(ray: Any) -> dict[str, dict[str, float]]:
    """What is free on each node, by its id; empty where this version of Ray does not say."""

    def look() -> dict[str, dict[str, float]]:  # on the cluster, for a client of it cannot ask
        try:
            from ray._private.state import available_resources_per_node
        except ImportError:
            return {}
        return available_resources_per_node()

    asked = ray.remote(look).options(num_cpus=0, max_retries=0).remote()
    return ray.get(asked) if ray.wait([asked], timeout=STARTS)[0] else {}


@dataclass
class _Held:
    """A member on the cluster.

    Attributes:
        actor: its agent.
        pending: what was asked of it, by `asked`: "arrive", "begin" or "look".
        host: where it is; None while it has no place.
        shared: its storage is ours.
        said: bytes of its log that are known.
        stands: what its run was when it was last fetched.
        marks: of files that were fetched, what told their content, and where they lie here.
        tries: times that it was lost at `at`, its newest checkpoint then.
        since: when it was begun.
        again: when it is begun again; None where it is at work.
        stopped: its end was asked for.
        lock: what holds its place here, where storage is not shared.
    """

    member: Member
    actor: Any = None
    pending: Any = None
    asked: str = ""
    host: str | None = None
    shared: bool = True
    said: int = 0
    stands: str = ""
    marks: dict[str, Path] = field(default_factory=dict)
    tries: int = 0
    at: str = ""
    since: float = 0.0
    waits_told: bool = False
    again: float | None = None
    stopped: bool = False
    lock: ExitStack = field(default_factory=ExitStack)

    def ask(self, what: str, *arguments: Any) -> None:
        """Ask something of the agent."""
        self.asked, self.pending = what, getattr(self.actor, what).remote(*arguments)


class Cluster(Place):
    """A Ray cluster that is connected.

    Args:
        cpus, gpus: of a member.
    """

    def __init__(self, interrupted: str, cpus: float, gpus: float):
        super().__init__(interrupted)
        self._ray = require_ray("--cluster")
        self._need = {"num_cpus": cpus, "num_gpus": gpus}
        self._held: dict[str, _Held] = {}
        self._sums: dict[Path, list[tuple[str, int, str | None]]] = {}  # of what members read: each file's name, size and digest
        self._sent: dict[str, list] = {}  # and its parts in the object store
        self._token = f"operant {secrets.token_hex(16)}"
        self._tokens: set[Path] = set()
        self._brought: dict[str, tuple[list[Path], list[str]]] = {}

    def __exit__(self, *error) -> None:
        try:
            super().__exit__(*error)
        finally:
            for path in self._tokens:
                path.unlink(missing_ok=True)
            self._tokens.clear()

    def check(self, member: Member) -> None:
        self._brought[member.key] = brought(member)

    def start(self, member: Member) -> None:
        held = self._held[member.key] = _Held(member)
        member.log.write_bytes(b"")
        self.going[member.key] = member
        self._begin(held)

    def where(self, member: Member) -> str:
        held = self._held[member.key]
        return held.host or ("lost its node" if held.again is not None else "waiting for a place")

    def stop(self, member: Member) -> None:
        held = self._held[member.key]
        held.stopped = True
        if held.host is None or self._at_once:
            self._drop(held)
            held.pending = held.again = None
        else:
            held.actor.stop.remote()

    def _begin(self, held: _Held) -> None:
        """Ask for a place, and what is there."""
        member = held.member
        roots, paths = self._brought[member.key]
        token = member.out.parent.absolute() / ".operant-storage"
        if token not in self._tokens:
            token.write_text(self._token)
            self._tokens.add(token)
        order = {
            "member": Member(member.key, member.out.absolute(), member.begin, member.imports),
            "versions": agent.versions(),
            "token": (str(token), self._token),
            "reads": {str(root): self._summed(root) for root in roots},
            "cache": str(cache_directory()),
            "here": os.getcwd(),
            "paths": paths,
            "numerics": {name: os.environ[name] for name in agent.NUMERICS if name in os.environ},
        }
        options = {"max_concurrency": 8, "max_restarts": 0, "scheduling_strategy": "SPREAD", **self._need}
        held.actor = self._ray.remote(agent.Agent).options(**options).remote()
        held.host, held.again, held.said, held.marks, held.stands = None, None, 0, {}, ""
        held.since, held.waits_told = time.monotonic(), False
        held.ask("arrive", order)

    def _summed(self, root: Path) -> list[tuple[str, int, str | None]]:
        if root not in self._sums:
            files = [root] if root.is_file() else [path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
            self._sums[root] = [(str(path), path.stat().st_size, agent.digest(path)) for path in files]
        return self._sums[root]

    def _parts(self, path: Path | str) -> list:
        """A file's parts in the object store."""
        parts = []
        with open(path, "rb") as file:
            while block := file.read(agent.CHUNK):
                parts.append(self._ray.put(block))
        return parts

    def _send(self, held: _Held, missing: list[str]) -> int | None:
        """Send what a member lacks there, and have it begun."""
        files = {root: [name for name, *_ in self._summed(Path(root))] for root in missing}
        for root in missing:
            if (size := sum(size for _, size, _ in self._summed(Path(root)))) > MOST:
                found = f"{root} has {size / MOST:.1f} GiB, more than is sent along: put it where node {held.host} sees it under that name"
                return self._refuse(held, found)
        for name in (name for names in files.values() for name in names):
            if name not in self._sent:
                self._sent[name] = self._parts(name)
        out = held.member.out.absolute()
        run = [] if held.shared else [(str(path), self._parts(path)) for path in _files(out)]
        held.ask("begin", {root: [(name, self._sent[name]) for name in names] for root, names in files.items()}, run)
        return None

    @staticmethod
    def _refuse(held: _Held, line: str) -> int:
        with held.member.log.open("a") as log:
            log.write(f"operant: error: {line}\n")
        return 2

    def ended(self) -> Iterator[tuple[Member, int]]:
        for held in list(self._held.values()):
            code = self._look(held)
            if code is not None:
                self._drop(held)
                member = self.going.pop(held.member.key)
                del self._held[member.key]
                yield member, code

    def _look(self, held: _Held) -> int | None:
        """Go on with a member as far as can be done at once; its exit code where it has ended."""
        ray, member = self._ray, held.member
        if held.again is not None:
            if time.monotonic() >= held.again:
                self._begin(held)
            return None
        if held.pending is None:  # dropped
            return 130
        if not ray.wait([held.pending], timeout=0)[0]:
            if held.host is None and not held.waits_told and time.monotonic() - held.since > WAITED:
                held.waits_told = True
                note(f"{member.key}: waits for a node with {self._need['num_cpus']:g} processors and {self._need['num_gpus']:g} GPUs to be free")
            return None
        try:
            found = ray.get(held.pending)
            if "refused" in found:
                return self._refuse(held, found["refused"])
            if held.asked == "arrive":
                return self._arrived(held, found)
            if held.asked == "begin":
                held.ask("look", 0)
                return None
            return self._seen(held, found)
        except ray.exceptions.RayError as error:
            return self._lost(held, told(error))

    def _arrived(self, held: _Held, found: dict[str, Any]) -> int | None:
        from operant.core.run import RunDirectory

        held.host, held.shared = found["host"], found["shared"]
        if not held.shared and held.member.config:  # hold the run's place here while it is written elsewhere
            held.member.out.mkdir(parents=True, exist_ok=True)
            try:
                held.lock.enter_context(RunDirectory(held.member.out).locked())
            except BadInput as error:
                return self._refuse(held, str(error))
        return self._send(held, found["missing"])

    def _seen(self, held: _Held, found: dict[str, Any]) -> int | None:
        code = found["code"]
        if found["at"] == held.said:
            held.said += found["bytes"]
            with held.member.log.open("a") as log:
                log.write(found["said"])
        if code is None:
            held.ask("look", held.said)
        if not held.shared and found["stands"] != held.stands:
            try:
                held.stands = found["stands"] if self._fetch(held) else ""
            except OSError as error:
                raise RunFailed(f"{held.member.out} could not be written: {disk_fault(error) or error}") from error
        if code is None:
            return None
        self._ray.wait([held.actor.end.remote()], timeout=ANSWERS)
        if code not in OWN_CODES and not held.stopped:
            return self._lost(held, f"its process was ended from outside, code {code}")
        return code

    def _lost(self, held: _Held, why: str) -> int | None:
        """A member is gone with its node, or its process: begin it again elsewhere, from its newest checkpoint, unless it comes no further."""
        self._drop(held)
        if held.stopped:
            return 130
        at = agent.newest(held.member.out)
        held.tries, held.at = (held.tries + 1 if at == held.at else 1), at
        place, held.host, held.pending = held.host, None, None
        if held.tries >= TRIES:
            with held.member.log.open("a") as log:
                log.write(f"operant: error: lost {held.tries} times at the same checkpoint, at last on {place or 'no node'}: {why}\n")
            return 1
        held.again = time.monotonic() + 2.0 ** (held.tries - 1)
        note(f"{held.member.key}: lost on {place or 'its node'} ({why}); it goes on elsewhere, from {at or 'its beginning'}")
        return None

    def _drop(self, held: _Held) -> None:
        """Let go of a member's actor: what it still runs ends, its state saved where it is."""
        if held.actor is not None:
            try:
                self._ray.kill(held.actor)
            except self._ray.exceptions.RayError:
                pass
            held.actor = None
        held.lock.close()
        out = held.member.out
        if not held.shared and out.is_dir() and [path.name for path in out.iterdir()] == ["lock"]:  # nothing came of it
            remove(out)

    def _fetch(self, held: _Held) -> bool:
        """Bring a run's state here, so that at each moment what is here can be gone on with: logs, then the checkpoint that remembers them, then the result.

        False where it was written too fast for a picture of it.
        """
        out = held.member.out
        picture = self._ray.get(held.actor.picture.remote())
        if not picture:
            return False
        newest = [file for file in picture if file[0].startswith("checkpoints/")]
        others = [file for file in picture if not file[0].startswith("checkpoints/")]
        marks = {}
        for name, mark, size in sorted(others, key=lambda file: file[0] == "result.json"):
            if name != "result.json":
                marks[mark] = self._bring(held, name, mark, size, out / name)
        if newest:
            name = newest[0][0].split("/")[1]
            target, staged = out / "checkpoints" / name, out / "checkpoints" / f".writing-{name}-{os.getpid()}"
            if not target.exists():
                remove(staged)
                staged.mkdir(parents=True)
            for each, mark, size in newest:
                place = target / Path(each).name
                if not target.exists():
                    self._bring(held, each, mark, size, staged / place.name)
                marks[mark] = place
            if not target.exists():
                os.rename(staged, target)
                link = out / "checkpoints" / f".last-{os.getpid()}"
                link.unlink(missing_ok=True)
                link.symlink_to(name)
                os.replace(link, out / "checkpoints" / "last")
                for old in sorted((out / "checkpoints").glob("step-*"))[: -read_json(out / "run.json").get("keep", 2)]:
                    shutil.rmtree(old, ignore_errors=True)
        for name, mark, size in others:
            if name == "result.json":
                marks[mark] = self._bring(held, name, mark, size, out / name)
        held.marks = marks
        return True

    def _bring(self, held: _Held, name: str, mark: str, size: int, target: Path) -> Path:
        """One file of a run, unless it is here."""
        there = held.marks.get(mark)
        if there == target and target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if there is not None and there.exists() and there.suffix == ".safetensors":
            remove(target)
            os.link(there, target)
            return target
        with replacing(target) as file:
            at = 0
            while at < size:
                part = self._ray.get(held.actor.read.remote(name, at))
                file.write(part)
                at += len(part)
        return target


def _files(folder: Path) -> Iterator[Path]:
    """The files of a run that another node needs to go on with it."""
    for at, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".") and not (Path(at, name)).is_symlink()]
        yield from (Path(at, name) for name in names if not name.startswith(".") and not (Path(at) == folder and name == "lock"))


def brought(member: Member) -> tuple[list[Path], list[str]]:
    """What of this machine a member needs: files and folders, by their whole names, and the folders in which its modules are found.

    These are the files that it imports, with the modules beside them that they import; the modules of a person's own that its task or its options name; the
    files and folders that stand in its task and options; and what it reads of the cache.

    Raises:
        BadInput: a module that is nowhere.
    """
    from operant.loops.trust import modules_named

    config, found, paths = member.config, dict.fromkeys(path.absolute() for path in member.files), {}
    code = [Path(file) for file in member.imports]
    for module in modules_named(config) if config else ():
        top = module.partition(".")[0]
        if (place := _place_of(top)) is not None:
            code.append(place)
    for file in code:
        for path in _with_siblings(file):
            found[path] = None
            paths[str(path.parent)] = None
    named = [config.get("task", ""), *map(str, config.get("options", {}).values())] if config else []
    for text in named:
        path = text if text.startswith("/") else text.partition(":/")[2] and "/" + text.partition(":/")[2]
        if path and os.path.exists(path):
            found[Path(path)] = None
    return list(found), list(paths)


def _place_of(module: str) -> Path | None:
    """The file or folder of a person's own module; None for one that is installed."""
    loaded = sys.modules.get(module)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(module)
    if spec is not None and not (spec.has_location or spec.submodule_search_locations):  # built in
        return None
    here = next((path for path in (Path.cwd() / module, Path.cwd() / f"{module}.py") if path.exists()), None)
    if spec is None and here is None:
        raise BadInput(f"the module {module} is not found on this machine: it cannot be brought to a node")
    path = here if spec is None else Path(next(iter(spec.submodule_search_locations or ()), spec.origin)).absolute()
    installed = [*site.getsitepackages(), site.getusersitepackages(), *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))]
    return None if any(path.is_relative_to(folder) for folder in (*installed, PACKAGE)) else path


def _with_siblings(file: Path) -> list[Path]:
    """A module's file or folder, and those beside it that its text imports, and theirs."""
    found: dict[Path, None] = {}
    waiting = [file.absolute()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = None
        for text in [path] if path.is_file() else path.rglob("*.py"):
            try:
                tree = ast.parse(text.read_bytes())
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
                for top in {name.partition(".")[0] for name in names}:
                    beside = (path.parent / f"{top}.py", path.parent / top)
                    waiting += [each for each in beside if each.is_file() or (each / "__init__.py").is_file()]
    return list(found)


def _status_arguments(parser: Parser) -> None:
    parser.add_argument("address", nargs="?", default="auto", metavar="ADDRESS", help="auto (the default), ray://HOST:PORT or HOST:PORT")
    add_json(parser)


def _status(args: Namespace) -> int:
    with _joined(args.address, "operant cluster status") as ray:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        free, here, versions = _free(ray), agent.versions(), _looked(ray, nodes)
        rows = []
        for node in nodes:
            has, left = node["Resources"], free.get(node["NodeID"], {})
            what = versions.get(name_of(node))
            line = None if what is None else agent.difference(here, what, name_of(node))
            rows.append(
                {
                    "node": name_of(node),
                    **{name: {"all": has.get(key, 0), "free": left.get(key, 0)} for name, key in COUNTED.items()},
                    "versions": what,
                    "ready": line is None and what is not None,
                    "why": line or ("" if what is not None else "it did not answer"),
                }
            )
    if args.json:
        write_json({"address": args.address, "nodes": rows})
        return 0
    lines = [
        (
            row["node"],
            *(f"{row[name]['free']:g} of {row[name]['all']:g}" for name in ("processors", "gpus")),
            f"{row['memory']['free'] / 2**30:.1f} of {row['memory']['all'] / 2**30:.1f} GiB",
            "yes" if row["ready"] else row["why"],
        )
        for row in rows
    ]
    write(table(lines, ("node", "processors free", "GPUs free", "memory free", "ready for members"), right=(1, 2, 3)))
    return 0


COMMANDS = (
    Command(
        "cluster status",
        "Show the nodes of a Ray cluster: what they have, what of it is free, and whether members can run there.",
        ("operant cluster status", "operant cluster status 10.0.0.1:6379", "operant cluster status ray://10.0.0.1:10001 --json"),
        _status_arguments,
        _status,
    ),
)
