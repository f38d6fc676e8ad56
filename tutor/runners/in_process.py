"""Runs in this process. On ZeroGPU they are wrapped by `spaces.GPU`, where that package is; elsewhere nothing happens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator, Mapping
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
    """The runner of one machine: each run is a generator in the thread that asks for its next frame."""

    def frames(
        self, demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float
    ) -> Generator[Frame, None, None]:
        """As `Runner.frames`."""
        frames: Generator[Frame, None, None] = run_on_gpu(demo_id, values, device, seed, deadline_s)
        return frames

    def devices(self) -> Mapping[str, str]:
        """The devices of this machine."""
        from demos.core.device import available_devices

        return available_devices()
