"""When to show something: often enough to look alive, seldom enough to cost nothing."""

from __future__ import annotations

import time


class Pace:
    """`due()` is true at the first call, then whenever `interval_s` seconds have passed since it was last true.

    A loop of thousands of steps asks after each step and yields a snapshot when told to. What is computed must not depend on the answer:
    the clock decides only what is shown. `due(share)`, with the share done (0 … 1), is true after each 40th of the way as well, so that a run that
    takes a second can still be watched again in a replay.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self.interval_s = interval_s
        self._shown_at = float("-inf")
        self._shown_share = 0.0

    def due(self, share: float | None = None) -> bool:
        now = time.monotonic()
        moved = share is not None and share - self._shown_share >= 1 / 40
        if now - self._shown_at < self.interval_s and not moved:
            return False
        self._shown_at = now
        self._shown_share = share if share is not None else self._shown_share
        return True
