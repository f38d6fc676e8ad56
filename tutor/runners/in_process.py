"""Runs in this process. On ZeroGPU they are wrapped by `spaces.GPU`, where that package is; elsewhere nothing happens."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any

from demos.core.runner import Frame, run_demo


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, asking for a GPU while it runs if this is a ZeroGPU Space."""
    if importlib.util.find_spec("spaces") is None:
        return function
    import spaces

    wrapped: Callable[..., Any] = spaces.GPU(function)
    return wrapped


def frames_of(demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float) -> Generator[Frame, None, None]:
    """The frames of a run. It may be called in another process, so only plain values go in and data come out."""
    from demos.core.registry import load_demos

    demo = load_demos()[demo_id]
    yield from run_demo(demo, demo.parameters.parse(values), device, seed, deadline_s)


run_on_gpu = on_gpu(frames_of)


class InProcess:
    """The runner of one machine: each run is a generator in the thread that asks for its next frame.

    As many runs as there are cores compute at the same time; the others wait for their turn between two frames. Without turns, ten threads of tiny
    operations hand the interpreter round at each one, and those with the most operations starve: 2.3 frames a second for the slowest of ten on two
    cores (`benchmarks/viewers.py`).
    """

    def __init__(self, at_once: int | None = None) -> None:
        """`at_once`: how many runs compute at the same time; one for each core without it."""
        self._turns = threading.Semaphore(at_once or os.cpu_count() or 1)

    def frames(
        self, demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float
    ) -> Generator[Frame, None, None]:
        """As `Runner.frames`."""
        with closing(run_on_gpu(demo_id, values, device, seed, deadline_s)) as frames:
            while True:
                with self._turns:
                    frame = next(frames, None)
                if frame is None:
                    return
                yield frame

    def devices(self) -> Mapping[str, str]:
        """The devices of this machine."""
        from demos.core.device import available_devices

        return available_devices()
