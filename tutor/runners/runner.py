"""The interface that the page runs experiments through, and the choice of what stands behind it."""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping
from typing import Any, Protocol

from demos.core.runner import Frame
from tutor.config import IN_PROCESS


class Runner(Protocol):
    """Runs an experiment somewhere. Any number of threads may have runs at the same time."""

    def frames(
        self, demo_id: str, values: Mapping[str, Any], device: str | None, seed: int, deadline_s: float
    ) -> Generator[Frame, None, None]:
        """The frames of one run, ending with the one that has the outcome; closing the generator ends the run, wherever it is.

        `values` are those that the demo's parameters parse. While it waits, a runner may yield frames that say so, and the last frame again
        with its clock gone on, so that nobody who wants to stop is kept waiting. Raises what `run_demo` raises, after `deadline_s` seconds of
        running DeadlineReached, and RunnerError for what goes wrong around a run.
        """
        ...

    def devices(self) -> Mapping[str, str]:
        """Torch's name of each device that a run can ask for → its human name; the default first."""
        ...


@functools.cache
def build_runner(name: str) -> Runner:
    """The runner called `name` (as `Settings.runner` has it). One for each name in a process: Ray knows one connection only."""
    if name == IN_PROCESS:
        from tutor.runners.in_process import InProcess

        return InProcess()
    from tutor.runners.ray_cluster import RayRunner

    runner = RayRunner(name)
    runner.connect()
    return runner
