"""Runs that misbehave in a way of their own. The workers import this file; any other id is that of an experiment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from demos.core.demo import Snapshot
from demos.core.runner import Frame
from demos.core.text import same
from tutor.runners.in_process import frames_of

TICK_S = 0.05


def frames(demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float) -> Generator[Frame, None, None]:
    """`tick`, `sleep`, `die` and `fail`, or an experiment."""
    run = {"tick": _tick, "sleep": _sleep, "die": _die, "fail": _fail}.get(demo_id)
    yield from run(**values) if run else frames_of(demo_id, values, device, seed, deadline_s)


class UnpicklableError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def _frame(progress: float, said: str = "") -> Frame:
    return Frame(Snapshot(progress, same(said), ()), 0.0, None, str(os.getpid()))


def _tick(ticks: int, file: str | None = None) -> Generator[Frame, None, None]:
    """A frame every 50 ms; a line with the time for each goes to the file."""
    for tick in range(1, ticks + 1):
        if file:
            with Path(file).open("a") as lines:
                lines.write(f"{time.time()}\n")
        yield _frame(tick / ticks, f"tick {tick}")
        time.sleep(TICK_S)


def _sleep() -> Generator[Frame, None, None]:
    """Hangs after its first frame, where no KeyboardInterrupt reaches it."""
    yield _frame(0.1, "asleep")
    time.sleep(3600)


def _die(times: int, file: str) -> Generator[Frame, None, None]:
    """Its process is killed, for so many attempts; the file counts them."""
    yield _frame(0.1, "alive")
    with Path(file).open("a") as attempts:
        attempts.write("x")
    if Path(file).stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    yield _frame(1.0, "survived")


def _fail() -> Generator[Frame, None, None]:
    yield _frame(0.1)
    raise UnpicklableError("out of", "paper")
