"""Two hosts, which are network namespaces of this machine, each with a real `ray start`: members on both, and a link that is cut under a training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("ray", reason="Ray is not installed: make test-cluster")
pytestmark = pytest.mark.slow
HEAD, OTHER = "10.251.7.1", "10.251.7.2"
PATIENT = 180.0  # seconds
QUICK = {  # a node that does not answer is taken for dead after seconds, and a node that has lost the head ends
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
}
WORDS = ("train", "grpo", "--task", "sequences:target", "--episodes", "1", "--steps", "600", "--every", "100")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """The names of two namespaces with a link between them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and ip")
    a, b = names = f"operant-a{os.getpid()}", f"operant-b{os.getpid()}"
    links = f"opa{os.getpid()}", f"opb{os.getpid()}"
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", links[0], "netns", a, "type", "veth", "peer", "name", links[1], "netns", b)
        for name, link, address in zip(names, links, (HEAD, OTHER), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    yield names
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def within(process_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start Python on a host; what it says goes to a file of that name. All of it ends with the test."""
    started = []

    def run(host: str, log: str, *words: object) -> subprocess.Popen:
        with (tmp_path / log).open("w") as file:
            command = ["ip", "netns", "exec", host, sys.executable, *map(str, words)]
            environment = process_environment | QUICK
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def until(condition: Callable[[], object], process: subprocess.Popen, said: Path) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)


def test_a_member_behind_a_link_that_is_cut_goes_on_where_the_driver_is(hosts, within, operant, tmp_path: Path):
    a, b = hosts
    own = ("--num-cpus=1", "--object-store-memory=90000000", "--block", "--disable-usage-stats")
    start = ("-m", "ray.scripts.scripts", "start")
    with TemporaryDirectory(prefix="ray-") as short:  # names of sockets are short
        head = within(a, "head", *start, "--head", f"--node-ip-address={HEAD}", "--port=6379", "--include-dashboard=false", f"--temp-dir={short}", *own)
        until(lambda: "Ray runtime started" in (tmp_path / "head").read_text(), head, tmp_path / "head")
        other = within(b, "other", *start, f"--address={HEAD}:6379", f"--node-ip-address={OTHER}", *own)
        until(lambda: "Ray runtime started" in (tmp_path / "other").read_text(), other, tmp_path / "other")
        there, log = tmp_path / "there", tmp_path / "driver"
        driver = within(a, "driver", "-m", "operant", *WORDS, "--seeds", 2, "--cluster", f"{HEAD}:6379", "--out", there)
        until(lambda: all((there / f"seed-{seed}" / "checkpoints" / "last").exists() for seed in (0, 1)), driver, log)
        ip("-n", b, "link", "set", f"opb{os.getpid()}", "down")
        assert driver.wait(PATIENT) == 0, log.read_text()
    told = log.read_text()
    assert ": lost on " in told and "it goes on elsewhere, from step-" in told, told
    for seed in (0, 1):
        assert operant(*WORDS, "--seed", seed, "--out", tmp_path / f"here-{seed}").code == 0
        assert operant("diff", tmp_path / f"here-{seed}", there / f"seed-{seed}").code == 0
