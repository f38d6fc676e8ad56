"""What runs on a Ray cluster: each run as a stream of items, and the switchboard that collects them for one page.

Ray Client, the connection from outside (`ray://host:port`), cannot stream what a task yields. So a page starts one `Switchboard` inside the
cluster: an actor without a CPU of its own, to which every run of that page streams, and which hands on whatever is new, of all runs at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import platform
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

from demos.core.runner import Frame

FORCE_AFTER_S = 2.0  # a stopped run that does not come to its next frame by then loses its process
KILL_AFTER_S = 10.0  # so long after its deadline a run that nobody could stop loses its process, too

Arguments: TypeAlias = tuple[str, Mapping[str, Any], str | None, int, float]  # of `Runner.frames`
Frames: TypeAlias = Callable[[str, Mapping[str, Any], str | None, int, float], Generator[Frame, None, None]]


@dataclass(frozen=True)
class Taken:
    """A worker has taken the run out of the queue."""

    machine: str
    process_id: int


@dataclass(frozen=True)
class Ready:
    """PyTorch is loaded; the clock of the run starts."""


@dataclass(frozen=True)
class Ended:
    """The run is over, by itself or by the error that it raised; `where` is the traceback there."""

    error: Exception | None = None
    where: str = ""


@dataclass(frozen=True)
class Lost:
    """The worker is gone, or could not begin; `reason` is for the log."""

    reason: str


Item: TypeAlias = Taken | Ready | Frame | Ended | Lost
News: TypeAlias = list[tuple[int, Item]]  # (number of the run, item) in the order of their coming


def stream(frames: Frames, arguments: Arguments) -> Iterator[Item]:
    """One run as a worker executes it: what `frames` yields, between its beginning and its end.

    Ray stops a task by a KeyboardInterrupt wherever it is. In the middle of an import that would leave half a module behind, for every later run
    of the worker; so the interrupt is put off until the next item.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        with closing(_items(frames, arguments)) as items:
            for item in items:
                if interrupts:
                    raise KeyboardInterrupt
                yield item
    finally:
        signal.signal(signal.SIGINT, before)


def _items(frames: Frames, arguments: Arguments) -> Generator[Item, None, None]:
    yield Taken(platform.node(), os.getpid())
    import torch  # noqa: F401  # a worker's first run waits seconds for it, which no clock should count

    yield Ready()
    _end_this_process_in(arguments[-1] + KILL_AFTER_S)
    try:
        yield from frames(*arguments)
        yield Ended()
    except Exception as error:
        yield Ended(_portable(error), "".join(traceback.format_exception(error)))
    finally:
        _end_this_process_in(0)


def _end_this_process_in(seconds: float) -> None:
    """Has the kernel do it, because a native call that hangs may hold the interpreter's lock. Zero calls it off."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _portable(error: Exception) -> Exception:
    """The error, or a RuntimeError that says the same if it cannot be pickled."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = None
    return copy if isinstance(copy, type(error)) else RuntimeError(f"{type(error).__name__}: {error}")


class Switchboard:
    """The actor. The page gives each run a number of its own."""

    def __init__(self, frames: Frames) -> None:
        import ray

        # Ray itself would repeat a lost run in silence; the page tells the learner.
        self._task = ray.remote(num_cpus=1, max_retries=0)(stream)
        self._frames = frames
        self._runs: dict[int, tuple[Any, asyncio.Task[None]]] = {}
        self._news: News = []
        self._arrived = asyncio.Event()

    async def hello(self) -> None:
        """Returns once the actor is there."""

    async def start(self, number: int, arguments: Arguments) -> None:
        """Puts a run into Ray's queue; it begins when a worker has a CPU to spare."""
        items = self._task.remote(self._frames, arguments)
        self._runs[number] = items, asyncio.create_task(self._follow(number, items))

    async def stop(self, number: int) -> None:
        """Ends a run, waiting or running, and gives its CPU back. Does nothing to one that is over."""
        import ray

        if number not in self._runs:
            return
        items, following = self._runs[number]
        ray.cancel(items)
        done, _ = await asyncio.wait({following}, timeout=FORCE_AFTER_S)
        if not done:
            ray.cancel(items, force=True)

    async def news(self, wait_s: float) -> News:
        """What has come since the last call: at once if there is something, after `wait_s` seconds if there is nothing."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), wait_s)
        self._arrived.clear()
        news, self._news = self._news, []
        return news

    async def _follow(self, number: int, items: Any) -> None:
        try:
            async for reference in items:
                self._tell(number, await reference)
        except Exception as error:  # Ray's: those of the run itself come as an item
            self._tell(number, Lost(f"{type(error).__name__}: {last_line(error)}"))
        finally:
            del self._runs[number]

    def _tell(self, number: int, item: Item) -> None:
        self._news.append((number, item))
        self._arrived.set()


def last_line(error: Exception) -> str:
    """The end of an error's message, where Ray puts what was wrong; 200 characters of it."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
