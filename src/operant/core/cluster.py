"""A Ray cluster, joined, and what must be the same on its nodes. Ray is imported where a cluster is asked for, and nowhere else."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import secrets
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from operant.core.errors import BadInput, RunFailed, one_line

ANSWERS = 20.0  # seconds that a cluster may take to answer
NUMERICS = ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG")
"""Variables of the environment on which bits hang."""


def require_ray(option: str) -> Any:
    """The module `ray`. Raises `BadInput` where it is not installed."""
    check_ray(option)
    import ray

    return ray


def check_ray(option: str) -> None:
    """Raise `BadInput` where Ray is not installed. It is not imported: it reads its variables as it is."""
    if find_spec("ray") is None:
        raise BadInput(f"{option} needs ray: pip install 'operant[cluster]'")


@contextmanager
def joined(address: str, option: str) -> Iterator[Any]:
    """A connection to a cluster: the module `ray`.

    Args:
        address: "auto", "local", `ray://HOST:PORT` or `HOST:PORT`.
        option: what it was given by, for messages.

    Raises:
        BadInput: Ray is not installed, or no cluster answers there.
        RunFailed: one of our own does not start.
    """
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own is 15: a member would wait for whatever else this machine does
        if "RAY_AUTH_MODE" not in os.environ:  # nobody else may run code here; Ray would leave a token in the home, which other clusters then ask for
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    ray = require_ray(option)  # which reads these when it is imported
    try:
        _join(ray, address, f"{option} {address}")
        ray._private.worker.print_to_stdstream = lambda *words, **how: None  # of lost nodes, on standard output, whatever `log_to_driver` says
        yield ray
    finally:
        ray.shutdown()


def _join(ray: Any, address: str, given: str) -> None:
    """Connect, in time. A cluster of our own has no dashboard, and ends with this process."""
    quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address == "local":
        try:
            ray.init(address="local", include_dashboard=False, **quiet)
        except Exception as error:
            raise RunFailed(f"{given}: Ray could not be started on this machine: {told(error)}") from error
        return
    if address.startswith("ray://"):
        os.environ.setdefault("RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S", str(int(ANSWERS)))
    if address != "auto":
        _knock(address, given)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        instead = "; start one with `ray start --head`, or give local or HOST:PORT" if address == "auto" else ""
        raise BadInput(f"{given}: Ray could not be joined: {told(error)}{instead}") from error


def _knock(address: str, given: str) -> None:
    """Raise `BadInput` where nobody listens at an address."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise BadInput(f"{given}: give auto, local, ray://HOST:PORT or HOST:PORT, as in 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()
    except TimeoutError:
        raise BadInput(f"{given}: nobody answered within {ANSWERS:.0f} s") from None
    except OSError as error:
        raise BadInput(f"{given}: nobody answers there: {error.strerror or error}") from None


class Lifeline:
    """The processes of Ray on which one hangs that speaks with it: its machine's node, and the head. A call into Ray that meets a dead node ends the process
    that makes it without a word, and one that meets no head does so after a minute.

    Args:
        at: names and addresses, as `of` gives them.
    """

    def __init__(self, at: Mapping[str, str]):
        self._at = at
        self._open: dict[str, socket.socket] = {}

    @staticmethod
    def of(ray: Any) -> dict[str, str]:
        """What this process hangs on, and where it listens, as far as this Ray tells. A client of a cluster (`ray://`) hangs on nothing: Ray raises errors."""
        node = getattr(ray._private.worker, "_global_node", None)
        where = {"the Ray node of this machine": "raylet_socket_name", "the head of the cluster": "gcs_address"}
        return {name: address for name, attribute in where.items() if (address := getattr(node, attribute, None))}

    def check(self) -> None:
        """Raise `ConnectionError` where one is gone."""
        for name, address in self._at.items():
            if name in self._open and not select.select([self._open[name]], [], [], 0)[0]:
                continue
            if name in self._open:  # it has hung up, which Ray also does where nothing is said for long
                self._open.pop(name).close()
            try:
                self._open[name] = _reached(address)
            except OSError:
                raise ConnectionError(f"{name} has ended") from None

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _reached(address: str) -> socket.socket:
    if not address.startswith("/"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.connect(address)
    except OSError:
        found.close()
        raise
    return found


def name_of(node: dict[str, Any]) -> str:
    """A node as a person knows it."""
    host, address = node.get("NodeManagerHostname") or "", node["NodeManagerAddress"]
    return f"{host} ({address})" if host and host != address else address


def told(error: BaseException) -> str:
    """An error of Ray's in a line."""
    text = str(error).strip() or type(error).__name__
    return one_line(next((line for line in text.splitlines() if "because" in line), text))


@cache
def versions() -> dict[str, str]:
    """What must be the same here and there: Python, PyTorch and Operant. An Operant is its code, whatever number it has."""
    code = hashlib.sha256()
    home = Path(__file__).parents[1]
    for path in sorted(home.rglob("*.py")):
        code.update(f"{path.relative_to(home)} {path.stat().st_size}\n".encode() + path.read_bytes())
    torch = importlib.metadata.version("torch").partition("+")[0]  # a build for another accelerator is the same version
    python = ".".join(platform.python_version_tuple()[:2])
    own = importlib.metadata.version("operant")
    return {"Python": python, "PyTorch": torch, "Operant": f"{own} ({code.hexdigest()[:8]})"}


def difference(here: Mapping[str, str], there: Mapping[str, str], node: str) -> str | None:
    """What is wrong with a node's versions, in one line; None where they are the same."""
    for name, version in here.items():
        if there.get(name) != version:
            found = there.get(name) or "none"
            return f"node {node} has {name} {found}, and this machine {version}: a run's bits hang on it; install the same version on both"
    return None
