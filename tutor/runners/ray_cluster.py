"""Runs on a Ray cluster (extra `ray`): each asks for one CPU, waits in Ray's queue for it, and is repeated once if its worker is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from demos.core.demo import Snapshot
from demos.core.runner import Frame, deadline_reached
from demos.core.text import Text
from tutor.runners.errors import RunnerError, RunnerLost, RunnerUnreachable
from tutor.runners.in_process import frames_of
from tutor.runners.ray_link import Answer, RayLink, Unreachable
from tutor.runners.worker import Arguments, Ended, Frames, Lost, Ready, Taken

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.2  # between two frames at most: a generator can be closed only where it yields
GRACE_S = 2.0  # after its deadline a worker should have said so; then it is said here

CONNECTING = Text("正在连接计算集群……", "Connecting to the cluster …")
WAITING = Text("排队中，等一个空闲的计算节点……", "Waiting for a free worker …")
STARTING = Text("计算节点已接手，正在启动……", "A worker has taken the run and is starting …")
REPEATING = Text("计算节点中断了，正在换一个从头重跑……", "The worker was lost; starting over on another one …")
LOST = Text(
    "负责这次运行的计算节点中断了，自动重跑时又中断了一次，所以没有结果。参数没有丢，请稍后再试。",
    "The worker of this run was lost, and so was that of its second attempt. Your parameters are kept; try again in a moment.",
)
UNREACHABLE = Text(
    "现在连不上运行实验的计算集群。参数没有丢，请稍后再试；如果一直这样，请告诉网站的维护者。",
    "The cluster that runs the experiments cannot be reached. Your parameters are kept; try again in a moment, and tell whoever runs this page "
    "if it stays so.",
)
FULL = Text(
    "等了 {minutes:g} 分钟，计算集群一直没有空位。参数没有丢，请稍后再试。",
    "No worker became free in {minutes:g} minutes. Your parameters are kept; try again later.",
)


@dataclass(frozen=True)
class Limits:
    """Seconds a run may spend in each state before it runs, and without a word from the cluster."""

    connecting: float = 60.0
    waiting: float = 600.0
    starting: float = 60.0
    silence: float = 30.0


class RayRunner:
    """The runner of many machines. `address` is `ray://host:port`, or `ray://local` for processes of this machine.

    `frames` is what a worker calls; it must be importable there. The cluster is connected to when a run wants it, and again after a loss.
    """

    def __init__(self, address: str, frames: Frames = frames_of, limits: Limits | None = None) -> None:
        self._address, self._frames, self._limits = address, frames, limits or Limits()
        self._lock = threading.Lock()
        self._link: RayLink | None = None

    def frames(
        self, demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float
    ) -> Generator[Frame, None, None]:
        """As `Runner.frames`. The first of two attempts counts for nothing: the second starts from the beginning, with a new clock."""
        arguments = (demo_id, dict(values), device or next(iter(self.devices())), seed, deadline_s)
        last: Frame | None = None
        for _ in range(2):
            try:
                with closing(_Attempt(self._connected(), arguments, self._limits, last).frames()) as frames:
                    for last in frames:
                        yield last
                return
            except _WorkerLost as lost:
                log.warning("a run of %s was lost: %s", demo_id, lost)
        raise RunnerLost(LOST)

    def devices(self) -> Mapping[str, str]:
        """The processor: a run asks Ray for nothing else."""
        return {"cpu": "CPU (Ray)"}

    def close(self) -> None:
        """Ends the connection, and with it every run."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def connect(self) -> None:
        """Starts to connect, which takes seconds. Does not wait."""
        self._connected()

    def _connected(self) -> RayLink:
        with self._lock:
            if self._link is None or self._link.is_over or self._link.silent_s > self._limits.silence:
                self._link = RayLink(self._address, self._frames)
            return self._link


class RemoteTraceback(Exception):
    """Where on the worker an error was raised: the cause of the error that is raised here."""


class _WorkerLost(Exception):
    """The attempt came to nothing, through no fault of the run."""


class _Attempt:
    """One attempt at a run. `before` is the last frame of the one that was lost: what that had drawn stays until there is something new."""

    def __init__(self, link: RayLink, arguments: Arguments, limits: Limits, before: Frame | None) -> None:
        self._link, self._arguments, self._limits, self._before = link, arguments, limits, before
        self._state: Literal["connecting", "waiting", "starting", "running"] = "connecting"
        self._frame: Frame | None = None
        self._state_since = self._frame_at = time.monotonic()

    def frames(self) -> Generator[Frame, None, None]:
        """What comes from the worker, and in between that it is still awaited. Raises the error of the run, _WorkerLost and RunnerError."""
        number, queue = self._link.start(self._arguments)
        try:
            while not isinstance(item := _next(queue), Ended):
                self._take(item)
                self._keep_limits()
                yield item if isinstance(item, Frame) else self._still()
            if item.error is not None:
                raise item.error from RemoteTraceback(item.where)
        finally:
            self._link.stop(number)

    def _take(self, item: Answer | None) -> None:
        if isinstance(item, Frame):
            self._frame, self._frame_at = item, time.monotonic()
        elif isinstance(item, Taken):
            log.debug("%s runs in process %d of %s", self._arguments[0], item.process_id, item.machine)
            self._enter("starting")
        elif isinstance(item, Ready):
            self._enter("running")
        elif isinstance(item, Lost):
            raise _WorkerLost(item.reason)
        elif isinstance(item, Unreachable):
            raise RunnerUnreachable(UNREACHABLE)

    def _enter(self, state: Literal["waiting", "starting", "running"]) -> None:
        self._state, self._state_since = state, time.monotonic()

    def _keep_limits(self) -> None:
        """Raises what is due when the state has lasted too long, so that nobody waits for ever, whatever Ray does."""
        if self._state == "connecting" and self._link.is_open:
            self._enter("waiting")
        elapsed, limits, deadline_s = time.monotonic() - self._state_since, self._limits, self._arguments[-1]
        if self._state == "connecting" and elapsed > limits.connecting:
            raise RunnerUnreachable(UNREACHABLE)
        if self._state == "waiting" and elapsed > limits.waiting:
            raise RunnerError(FULL.format(minutes=limits.waiting / 60))
        if self._state == "running" and elapsed > deadline_s + GRACE_S:
            raise deadline_reached(deadline_s)
        if self._state == "starting" and elapsed > limits.starting:
            raise _WorkerLost(f"not ready after {elapsed:.0f} s")
        if self._link.silent_s > limits.silence:
            raise _WorkerLost(f"no word from the cluster for {self._link.silent_s:.0f} s")

    def _still(self) -> Frame:
        """The last frame with its clock gone on; before the first one, what is awaited."""
        gone = time.monotonic() - self._frame_at
        if self._frame is not None:
            remaining = self._frame.remaining_s
            return replace(
                self._frame, elapsed_s=self._frame.elapsed_s + gone, remaining_s=None if remaining is None else max(0.0, remaining - gone)
            )
        status = {"connecting": CONNECTING, "waiting": WAITING}.get(self._state, STARTING)
        if self._before is None:
            return Frame(Snapshot(0.0, status, ()), gone, None, "")
        before = self._before.snapshot
        return Frame(Snapshot(0.0, REPEATING, before.charts, before.figures), gone, None, "")


def _next(queue: SimpleQueue[Answer]) -> Answer | None:
    """What has come; None if nothing did for a heartbeat."""
    try:
        return queue.get(timeout=HEARTBEAT_S)
    except Empty:
        return None
