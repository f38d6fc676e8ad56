"""A Ray cluster on this machine, of nodes with one CPU each, in processes that are always ended."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tutor.config import ROOT

START_LIMIT_S = 120.0
END_LIMIT_S = 15.0
_HOST = "127.0.0.1"
_STORE_BYTES = 100_000_000  # of an object store that holds a few frames
_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # one a process, because Ray reads it once


class ClusterError(RuntimeError):
    """A node that did not start."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster. `address` is for `TUTOR_RUNNER`; each of `nodes`, the head first, leads the process group of its node."""

    address: str
    nodes: list[subprocess.Popen[bytes]]


@contextmanager
def ray_cluster(nodes: int = 2) -> Iterator[Cluster]:
    """A head that takes connections, and further nodes that join it; this process has their token meanwhile. Raises ClusterError."""
    port, client_port = _free_port(), _free_port()
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, _TOKEN))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp")))  # a socket's path must be short
        head = ["--head", f"--port={port}", f"--ray-client-server-port={client_port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        started = [_start(stack, folder, [*head, f"--node-ip-address={_HOST}"])]
        _wait_for(port, started[0], folder)
        started += [_start(stack, folder, [f"--address={_HOST}:{port}", f"--node-ip-address={_HOST}"]) for _ in range(nodes - 1)]
        _wait_for(client_port, started[0], folder)
        yield Cluster(f"ray://{_HOST}:{client_port}", started)


def _start(stack: ExitStack, folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    # Without gRPC's support of forks, because of which one connection in twenty fails (ray-project/ray#63202).
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "GRPC_ENABLE_FORK_SUPPORT": "false"}
    with (folder / "start.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, f"--object-store-memory={_STORE_BYTES}", *options], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    stack.callback(_end, process)
    return process


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((_HOST, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise ClusterError(f"the head of the cluster did not start:\n{(folder / 'start.log').read_text(errors='replace')[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """`ray start --block` ends what it started, as a rule; what is left of its process group is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_LIMIT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_LIMIT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
