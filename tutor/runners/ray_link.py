"""The page's connection to a Ray cluster."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
import time
import warnings
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tutor.runners.worker import Arguments, Ended, Frames, Item, Lost, News, Switchboard, last_line

log = logging.getLogger(__name__)

NEWS_WAIT_S = 5.0  # how long the switchboard keeps a question to which it has no answer
PROBE_S = 5.0  # for a port to take a connection
HELLO_S = 40.0  # for the switchboard to start

_connecting = threading.Lock()  # Ray knows one connection in a process


@dataclass(frozen=True)
class Unreachable:
    """There is no connection; the log says why."""


@dataclass(frozen=True)
class Start:
    number: int
    arguments: Arguments


@dataclass(frozen=True)
class Stop:
    number: int


@dataclass(frozen=True)
class Close:
    pass


Answer: TypeAlias = Item | Unreachable


class RayLink:
    """Hands runs to a switchboard in the cluster, and what it tells of them to queues here.

    Every call of Ray is made by one thread of the link's own, because any may block while a connection is broken; whoever waits at a queue
    sets himself a limit, and sees by `is_open`, `is_over` and `silent_s` how the link is.
    """

    def __init__(self, address: str, frames: Frames) -> None:
        self._address, self._frames = address, frames
        self._numbers = itertools.count(1)
        self._inbox: SimpleQueue[Start | Stop | Close | Future[News]] = SimpleQueue()
        self._lock = threading.Lock()  # over the two below
        self._queues: dict[int, SimpleQueue[Answer]] = {}
        self._ending: Answer | None = None
        self._waiting_since: float | None = None
        self.is_open = False
        self._thread = threading.Thread(target=self._work, name="ray-link", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it could not be made, or broke, or was closed."""
        return self._ending is not None

    @property
    def silent_s(self) -> float:
        """Seconds by which an answer of the cluster is late; zero while none is due."""
        since = self._waiting_since
        return 0.0 if since is None else max(0.0, time.monotonic() - since - NEWS_WAIT_S)

    def start(self, arguments: Arguments) -> tuple[int, SimpleQueue[Answer]]:
        """Asks for a run. Its number, and the queue of what comes of it; the last is Ended, Lost or Unreachable."""
        number, queue = next(self._numbers), SimpleQueue[Answer]()
        with self._lock:
            self._queues[number] = queue
            if self._ending is not None:
                queue.put(self._ending)
        self._inbox.put(Start(number, arguments))
        return number, queue

    def stop(self, number: int) -> None:
        """Ends a run, if it has not ended. Does not wait."""
        with self._lock:
            known = self._queues.pop(number, None)
        if known is not None:
            self._inbox.put(Stop(number))

    def close(self) -> None:
        """Ends the connection, and with it every run."""
        self._inbox.put(Close())
        self._thread.join(10)

    # --- in the thread ---

    def _work(self) -> None:
        try:
            with _connecting:
                switchboard = _connect(self._address, self._frames)
        except Exception as error:
            log.warning("no connection to %s: %s: %s", self._address, type(error).__name__, last_line(error))
            self._end(Unreachable())
            return
        self.is_open = True
        try:
            self._serve(switchboard)
            self._end(Lost("the connection was closed"))
            _disconnect()
        except Exception as error:
            self._end(Lost(f"{type(error).__name__}: {last_line(error)}"))

    def _serve(self, switchboard: Any) -> None:
        """Passes messages on until one says Close. Raises Ray's errors when the connection or the switchboard is lost."""
        asked = False
        while not isinstance(message := self._inbox.get(), Close):
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
            if isinstance(message, Start):
                switchboard.start.remote(message.number, message.arguments)
            elif isinstance(message, Stop):
                switchboard.stop.remote(message.number)
            else:
                asked = False
                self._deliver(message.result())
                self._waiting_since = time.monotonic()
            if not asked and not self._queues:
                self._waiting_since = None
            elif not asked:
                asked = True
                switchboard.news.remote(NEWS_WAIT_S).future().add_done_callback(self._inbox.put)

    def _deliver(self, news: News) -> None:
        with self._lock:
            for number, item in news:
                queue = self._queues.get(number)
                if queue is not None:
                    queue.put(item)
                if isinstance(item, (Ended, Lost)):
                    self._queues.pop(number, None)

    def _end(self, ending: Answer) -> None:
        with self._lock:
            self._ending = ending
            for queue in self._queues.values():
                queue.put(ending)


def _connect(address: str, frames: Frames) -> Any:
    """The handle of a new switchboard. Raises OSError if nobody listens, and Ray's errors."""
    place = urlsplit(address)
    if place.port is not None:
        socket.create_connection((place.hostname, place.port), PROBE_S).close()  # Ray would try for half a minute
    _authenticate(is_local=place.port is None)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "15")  # seconds
    import ray

    warnings.filterwarnings("ignore", "More than 10MB of messages|Ray Client connection timed out", UserWarning)
    ray.shutdown()  # what is left of a connection that broke
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}  # what matters is logged here
    if place.port is None:
        ray.init("local", num_cpus=_cores(), include_dashboard=False, **quiet)
    else:
        _join(address, quiet)
    switchboard = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(Switchboard).remote(frames)
    ray.get(switchboard.hello.remote(), timeout=HELLO_S)
    return switchboard


def _authenticate(is_local: bool) -> None:
    """With a token if there is one, as `ray start --head` does; a cluster of this process's own gets one that nobody else knows."""
    if "RAY_AUTH_MODE" in os.environ:
        return
    in_environment = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    has_token = in_environment or (Path.home() / ".ray" / "auth_token").exists()
    if is_local and not has_token:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if is_local or has_token:
        os.environ["RAY_AUTH_MODE"] = "token"


def _join(address: str, options: dict[str, Any]) -> None:
    import ray

    try:
        ray.init(address, **options)
    except ConnectionAbortedError:  # ray-project/ray#63202: one in twenty, unless the head was started without gRPC's support of forks
        ray.shutdown()
        ray.init(address, **options)
    logging.getLogger("ray.util.client.logsclient").setLevel(logging.CRITICAL)  # the one logger that sets its own level


def _disconnect() -> None:
    import ray

    with _connecting:
        ray.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
