"""Runs a demo: device, seed, clock and deadline. The page, the command line and the tests all go through `run_demo`."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from demos.core.demo import Demo, Snapshot
from demos.core.device import device_label, pick_device
from demos.core.lazy import torch
from demos.core.parameters import ParameterError, Parameters
from demos.core.text import Text

LARGEST_SEED = 2**31 - 1


class DeadlineReached(RuntimeError):
    """The run was stopped because its time was up; `text` says so in both languages."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text

    def __reduce__(self) -> tuple[type[DeadlineReached], tuple[Text]]:
        """Made again from its text: a run may be in another process."""
        return type(self), (self.text,)


def deadline_reached(deadline_s: float) -> DeadlineReached:
    """The error that says what the limit was."""
    return DeadlineReached(
        Text(
            f"运行超过了 {deadline_s:g} 秒的时限，已停下；请减少步数、种子数或网络大小再试。",
            f"The run passed its limit of {deadline_s:g} s and was stopped; try fewer steps, seeds or smaller networks.",
        )
    )


@dataclass(frozen=True)
class Frame:
    """A snapshot with the clock beside it: seconds so far, seconds to go (None while unknown), and the device's human name."""

    snapshot: Snapshot
    elapsed_s: float
    remaining_s: float | None
    device_label: str


def run_demo(
    demo: Demo, parameters: Parameters, device_name: str | None = None, seed: int = 0, deadline_s: float = 60.0
) -> Generator[Frame, None, None]:
    """The frames of one run, ending with the snapshot that has the outcome.

    Raises ParameterError for a seed or a device that does not exist (before the first frame), and DeadlineReached after the first frame
    later than `deadline_s` unless that frame is the last. Closing the iterator stops the demo.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        shown = f"{seed!r:.60}"
        raise ParameterError(
            Text(f"随机种子不接受 {shown}，应为 0 … {LARGEST_SEED} 的整数", f"seed {shown} must be a whole number in 0 … {LARGEST_SEED}")
        )
    return _frames(demo, parameters, pick_device(device_name), seed, deadline_s)


def _frames(demo: Demo, parameters: Parameters, device: torch.device, seed: int, deadline_s: float) -> Generator[Frame, None, None]:
    label = device_label(device)
    # Thousands of tiny operations gain little from a second thread, and each waits for the scheduler whenever another process wants that core.
    # Measured on two busy cores: 300 steps of 24 stacked networks took 0.2 s with one thread, 0.6 to 17 s with two.
    torch.set_num_threads(1)
    started = time.monotonic()
    with closing(demo.run(parameters, device, torch.Generator().manual_seed(seed))) as snapshots:  # type: ignore[type-var]
        for snapshot in snapshots:
            elapsed = time.monotonic() - started
            yield Frame(snapshot, elapsed, _remaining(elapsed, snapshot.progress), label)
            if snapshot.outcome is not None:
                return
            if elapsed > deadline_s:
                raise deadline_reached(deadline_s)


def _remaining(elapsed: float, progress: float) -> float | None:
    """Seconds to go at the pace so far; None before 2 % or half a second, when a guess would only jump about."""
    if progress < 0.02 or elapsed < 0.5:
        return 0.0 if progress >= 1 else None
    return elapsed * (1 - progress) / progress
