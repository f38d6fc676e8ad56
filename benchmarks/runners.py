"""Eight learners press *run* at once: in this process, two runs at a time, against a Ray cluster of two workers on the same machine.

One machine cannot show what a second one adds. It shows what the way through Ray costs, and what runs gain from not sharing one interpreter.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from benchmarks.core.cluster import ray_cluster
from benchmarks.core.comparison import Row, data_of
from benchmarks.core.timing import timed
from demos.core.demo import Snapshot
from demos.core.runner import Frame
from tutor.runners.in_process import InProcess
from tutor.runners.ray_cluster import RayRunner
from tutor.runners.runner import Runner

RUNS = 8
WORKERS = 2
ROUNDS = 3
DEMO, VALUES = "learning_rate_sweep", {"steps": 300}
DEADLINE_S = 300.0

Samples = Mapping[str, list[float]]


def measure(quick: bool = False) -> dict[str, Any]:
    """Runs a minute and seconds to the first frame, medians over rounds in which both take turns; both must draw the same."""
    runs, rounds = (2, 1) if quick else (RUNS, ROUNDS)
    samples: dict[str, list[float]] = defaultdict(list)
    with ray_cluster(WORKERS) as cluster:
        ray = RayRunner(cluster.address)
        try:
            cold, _ = timed(_first_frame, ray)
            # All learners stand in Ray's queue, and in the page's for want of another: it lets two of them through at a time.
            runners: dict[str, tuple[Runner, int]] = {"in process": (InProcess(), WORKERS), "Ray": (ray, runs)}
            for runner, _ in runners.values():
                _batch(runner, WORKERS, WORKERS)  # loads PyTorch in each worker
            for turn in range(rounds):
                for name in sorted(runners, reverse=turn % 2 == 1):
                    _sample(name, *runners[name], runs, samples)
        finally:
            ray.close()
    details = {"runs": runs, "workers": WORKERS, "rounds": rounds, "demo": DEMO, "values": VALUES, "cold_cluster_first_frame_s": cold}
    return {"rows": data_of(_rows(samples)), **details, "samples": dict(samples)}


def _sample(name: str, runner: Runner, at_once: int, runs: int, samples: dict[str, list[float]]) -> None:
    seconds, _ = timed(_batch, runner, runs, at_once)
    samples[f"{name}: runs a minute"].append(60 * runs / seconds)
    samples[f"{name}: first frame"].append(timed(_first_frame, runner)[0])


def _batch(runner: Runner, runs: int, at_once: int) -> None:
    """Whole runs, so many at once. Raises RuntimeError if they do not end alike."""
    with ThreadPoolExecutor(at_once) as pool:
        ends = list(pool.map(lambda _: _run(runner), range(runs)))
    if any(end != _expected() for end in ends):
        raise RuntimeError("two runs with one seed ended differently")


def _run(runner: Runner) -> Snapshot:
    frame: Frame
    *_, frame = runner.frames(DEMO, VALUES, "cpu", 0, DEADLINE_S)
    return frame.snapshot


def _first_frame(runner: Runner) -> None:
    """Until a lone learner sees the first picture; the run is then stopped."""
    frames = runner.frames(DEMO, VALUES, "cpu", 0, DEADLINE_S)
    next(frame for frame in frames if frame.snapshot.charts)
    frames.close()


@functools.cache
def _expected() -> Snapshot:
    return _run(InProcess())


def _rows(samples: Samples) -> list[Row]:
    baseline = "in this process, two at a time"
    return [
        Row(f"{what}, Ray with two workers", median(samples[f"Ray: {what}"]), unit, median(samples[f"in process: {what}"]), baseline)
        for what, unit in (("runs a minute", ""), ("first frame", "s"))
    ]
