"""Seconds of a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """The seconds that `work(*arguments)` took, and what it returned."""
    started = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - started, result
