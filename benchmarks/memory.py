"""Resident memory of the application: at rest after its first answer, and whether it stays flat over a hundred experiments."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.core.application import EMPTY, Application, ApplicationError, memory_mb, serving
from benchmarks.core.comparison import Aim, Row, data_of
from demos.core.demo import Demo
from demos.core.parameters import Number
from demos.core.registry import load_demos
from tutor.config import ROOT

RUNS, QUICK_RUNS = 100, 10
LISTED = 5  # points of the memory curve in the result, at equal distances
REST_S = 3.0
RUN_LIMIT_S = 180.0

AT_REST = Aim("result", "≤", 700)
FLAT = Aim("result", "≤", 0.2)
NONE = Aim("result", "≤", 0)


def measure(quick: bool = False) -> dict[str, Any]:
    """Resident memory in MB (10⁶ bytes), beside that of an empty Gradio application."""
    with tempfile.TemporaryDirectory() as cache:
        with serving(ROOT, Path(cache)) as application:
            application.call("ask", "Why does dropout help?", "")  # the cache is warm for the process that is measured
        with serving(EMPTY) as application:
            empty = _at_rest(application)
        with serving(ROOT, Path(cache)) as application:
            application.call("ask", "Why does dropout help?", "")
            at_rest = _at_rest(application)
            curve, seconds, failures = _run_demos(application, QUICK_RUNS if quick else RUNS)
    slope = _slope(curve, len(load_demos()))
    step = len(curve) // LISTED
    rows = [
        Row("at rest after the first answer", at_rest, "MB", empty, "an empty Gradio application", AT_REST),
        *(Row(f"after {runs} experiments", curve[runs - 1], "MB", at_rest, "at rest") for runs in range(step, len(curve) + 1, step)),
        Row("growth over the last third", slope, "MB an experiment", aim=FLAT),
        Row("experiments that failed", len(failures), aim=NONE),
    ]
    return {
        "rows": data_of(rows),
        "experiments": list(load_demos()),
        "runs": len(curve),
        "run_median_s": median(seconds),
        "memory_after_each_run_mb": curve,
        "failures": failures,
    }


def _at_rest(application: Application) -> float:
    time.sleep(REST_S)
    return memory_mb(application.process_id)


def _run_demos(application: Application, count: int) -> tuple[list[float], list[float], list[str]]:
    """Memory after each of `count` small runs, which go round the demos; their seconds; and what went wrong."""
    demos = list(load_demos().values())
    curve: list[float] = []
    seconds: list[float] = []
    failures: list[str] = []
    for run in range(count):
        demo = demos[run % len(demos)]
        started = time.perf_counter()
        try:
            application.call("run_experiment", demo.id, demo.default_preset, small_parameters(demo), run, "en", limit_s=RUN_LIMIT_S)
        except ApplicationError as error:
            failures.append(f"{demo.id}, seed {run}: {error}")
        seconds.append(time.perf_counter() - started)
        curve.append(memory_mb(application.process_id))
    return curve, seconds, failures


def small_parameters(demo: Demo) -> dict[str, int]:
    """Every whole number of the default preset (steps, seeds, widths) at its lowest: the shortest run that the page allows."""
    shown = demo.parameters.parse(demo.presets[demo.default_preset].values).shown()
    return {name: int(spec.low) for name, spec in shown.items() if isinstance(spec, Number) and spec.whole}


def _slope(curve: list[float], demos: int) -> float:
    """MB for each run over the last third (lengthened to whole rounds through the demos, which differ in size), by least squares."""
    rounds = math.ceil(len(curve) / 3 / demos)
    last = curve[-min(len(curve), rounds * demos) :]
    return float(np.polyfit(np.arange(len(last)), last, 1)[0]) if len(last) > 1 else 0.0
