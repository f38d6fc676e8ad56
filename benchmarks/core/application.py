"""The application, or an empty one to compare it with, in a fresh process that is always ended; and calls of its API over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tutor.config import ROOT

EMPTY = ROOT / "benchmarks" / "empty"  # holds an app.py, as ROOT does
START_LIMIT_S = 180.0
CALL_LIMIT_S = 900.0  # a first question waits while an encoder without a calibration is calibrated
END_LIMIT_S = 20.0
_POLL_S = 0.02
_KEPT = ("TUTOR_ENCODER", "TUTOR_KNOWLEDGE")  # settings that choose what is measured; the others would change how


class ApplicationError(RuntimeError):
    """An application that did not start, ended, or answered with an error."""


@dataclass(frozen=True)
class Application:
    """A running application. `started` is the `time.perf_counter` at its start, `page_s` the seconds until `GET /` gave 200."""

    address: str
    process_id: int
    started: float
    page_s: float

    def call(self, endpoint: str, *arguments: object, limit_s: float = CALL_LIMIT_S) -> Any:
        """The result of an endpoint of Gradio's API. Raises ApplicationError with the reason it gives, or when it takes longer than `limit_s`."""
        deadline = time.monotonic() + limit_s
        url = f"{self.address}/gradio_api/call/{endpoint}"
        with httpx.Client(timeout=60, trust_env=False) as client:
            try:
                event = client.post(url, json={"data": arguments}).raise_for_status().json()["event_id"]
                with client.stream("GET", f"{url}/{event}") as stream:
                    return _result(stream, endpoint, deadline)
            except httpx.HTTPError as error:
                raise ApplicationError(f"{endpoint}: {type(error).__name__}: {error}") from error


@contextmanager
def serving(folder: Path, cache: Path | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Application]:
    """`python app.py` in `folder`, from its page's first answer on; `cache` is its TUTOR_CACHE (a new, empty one if not given).

    `settings` are further variables of its environment.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "app.log"
        port = _free_port()
        address, environment = f"http://127.0.0.1:{port}", _environment(port, cache or Path(scratch) / "cache") | dict(settings or {})
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            yield Application(address, process.pid, started, _page_answered(address, process, log, started))
        except ApplicationError as error:
            raise ApplicationError(f"{error}\n{_state(process)}; its log ends with:\n{log.read_text(errors='replace')[-3000:]}") from error
        finally:
            _end(process)


def memory_mb(process_id: int) -> float:
    """Resident memory of a process in MB (10⁶ bytes)."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):  # no /proc here: macOS
        done = subprocess.run(["ps", "-o", "rss=", "-p", str(process_id)], capture_output=True, text=True, check=True, timeout=10)
        kibibytes = done.stdout.strip()
    return int(kibibytes) * 1024 / 1e6


def _environment(port: int, cache: Path) -> dict[str, str]:
    """The same for ours and the empty one: own port and cache, no network, and none of the caller's settings that change how it is served."""
    inherited = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(("TUTOR_", "GRADIO_", "SPACE_"))}
    return inherited | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "TUTOR_CACHE": str(cache),
        "TUTOR_FEEDBACK": "off",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _page_answered(address: str, process: subprocess.Popen[bytes], log: Path, started: float) -> float:
    """Seconds from `started` until the page is there."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        while (elapsed := time.perf_counter() - started) < START_LIMIT_S:
            if process.poll() is not None:
                raise ApplicationError(f"the application ended with {process.returncode} before it served a page")
            try:
                if client.get(address).status_code == 200:
                    return time.perf_counter() - started
            except httpx.TransportError:
                pass
            time.sleep(_POLL_S)
    raise ApplicationError(f"no page after {elapsed:.0f} s")


def _result(stream: httpx.Response, endpoint: str, deadline: float) -> Any:
    """What the `complete` event of a stream carries. Gradio sends a heartbeat every 15 s, so the deadline is looked at that often."""
    kind = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: ") and kind == "complete":
            return json.loads(line.removeprefix("data: "))[0]
        elif line.startswith("data: ") and kind == "error":
            raise ApplicationError(f"{endpoint}: {line.removeprefix('data: ')[:500]}")
        if time.monotonic() > deadline:
            raise ApplicationError(f"{endpoint}: no result in time")
    raise ApplicationError(f"{endpoint}: the stream ended without a result")


def _state(process: subprocess.Popen[bytes]) -> str:
    try:
        return f"the application has ended with {process.wait(1)}"
    except subprocess.TimeoutExpired:
        return "the application still runs"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_LIMIT_S)
