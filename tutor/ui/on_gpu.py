"""Runs of the page and of the API. On ZeroGPU they are wrapped by `spaces.GPU`, where that package is; elsewhere nothing happens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from demos.core.runner import Frame, run_demo


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, asking for a GPU while it runs if this is a ZeroGPU Space."""
    if importlib.util.find_spec("spaces") is None:
        return function
    import spaces

    wrapped: Callable[..., Any] = spaces.GPU(function)
    return wrapped


@on_gpu
def run_on_gpu(demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float) -> Iterator[Frame]:
    """The frames of a run. On ZeroGPU this is another process, so only plain values go in and data come out."""
    from demos.core.registry import load_demos

    demo = load_demos()[demo_id]
    yield from run_demo(demo, demo.parameters.parse(values), device, seed, deadline_s)
