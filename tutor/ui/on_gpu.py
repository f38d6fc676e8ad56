"""ZeroGPU: a function that needs the GPU is wrapped by `spaces.GPU` where that package is there; elsewhere nothing happens."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, asking for a GPU while it runs if this is a ZeroGPU Space."""
    if importlib.util.find_spec("spaces") is None:
        return function
    import spaces

    wrapped: Callable[..., Any] = spaces.GPU(function)
    return wrapped
