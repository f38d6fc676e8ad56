"""The application in a process of its own, and calls of its endpoints."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(python: str | Path, repository: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Runs `python app.py` in `repository` until the block ends; gives its address. The log goes to `folder`."""
    port, log = free_port(), folder / "app.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, "app.py"], cwd=repository, env={**environment, "GRADIO_SERVER_PORT": str(port)}, stdout=output, stderr=output
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    """Returns once the page answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the application ended with {process.returncode}:\n{log.read_text()}")
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {url} within {seconds} s:\n{log.read_text()}")


class CallError(RuntimeError):
    """What the server said instead of a result."""


def call(address: str, name: str, *arguments: Any) -> Any:
    """The result of an endpoint of Gradio's API. Raises CallError with the server's message."""
    content = json.dumps({"data": arguments})  # json.dumps writes NaN as it is, which httpx would refuse
    answer = httpx.post(f"{address}/gradio_api/call/{name}", content=content, headers={"content-type": "application/json"}, timeout=60)
    if answer.status_code != 200:
        raise CallError(answer.text)
    with httpx.stream("GET", f"{address}/gradio_api/call/{name}/{answer.json()['event_id']}", timeout=120) as stream:
        kind = None
        for line in stream.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "complete":
                return json.loads(line.removeprefix("data: "))[0]
            elif line.startswith("data: ") and kind == "error":
                raise CallError(line.removeprefix("data: "))
    raise CallError("the stream ended without a result")
