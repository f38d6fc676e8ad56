"""When to show something: often enough to look alive, seldom enough to cost nothing."""

from __future__ import annotations

import time


class Pace:
    """`due()` is true at the first call, then whenever `interval_s` seconds have passed since it was last true.

    A loop of thousands of steps asks after each step and yields a snapshot when told to. What is computed must not depend on the answer:
    the clock decides only what is shown.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self.interval_s = interval_s
        self._shown_at = float("-inf")

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._shown_at < self.interval_s:
            return False
        self._shown_at = now
        return True
