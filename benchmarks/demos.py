"""Every preset of every experiment: seconds to the first chart, to the end and to a stop, and its verdict.

`results/demos.jsonl` holds the reports themselves, as `python -m tutor demo --all --json` prints them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.core.comparison import Aim, Row, data_of
from demos.core.demo import Demo
from demos.core.registry import load_demos
from demos.core.runner import run_demo
from tutor.demo_command import run_all
from tutor.results import ResultFile

DEADLINE_S = 300.0
LOOKS = 3  # moments of a run at which it is stopped


def measure(quick: bool = False) -> dict[str, Any]:
    """Runs all of them, one after the other (`quick`: two of the experiments)."""
    demos = load_demos()
    chosen = {name: demos[name] for name in (list(demos)[:2] if quick else demos)}
    with tempfile.TemporaryDirectory() as folder:
        reports = list(run_all(chosen, None, 0, DEADLINE_S, "en", ResultFile(Path(folder) / "results.json"), quiet=True))
    failed = [report for report in reports if "error" in report]
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed: {failed}")
    defaults = {report["demo"]: report for report in reports if report["preset"] == chosen[report["demo"]].default_preset}
    stops = {name: stop_s(demo) for name, demo in chosen.items()}
    slowest, first, stop = (
        max(defaults.values(), key=lambda report: report["elapsed_s"]),
        max(reports, key=lambda report: report["first_frame_s"]),
        max(stops, key=lambda name: stops[name]),
    )
    rows = [
        Row(f"slowest default preset ({slowest['demo']})", slowest["elapsed_s"], "s", aim=Aim("result", "≤", 15)),
        Row("all presets together", sum(report["elapsed_s"] for report in reports), "s"),
        Row(f"latest first chart ({first['demo']} · {first['preset']})", first["first_frame_s"], "s", aim=Aim("result", "≤", 1)),
        Row(f"slowest stop ({stop})", stops[stop], "s", aim=Aim("result", "≤", 0.3)),
        *(Row(f"presets with the verdict {status}", count) for status, count in Counter(r["verdict"]["status"] for r in reports).items()),
    ]
    lines = "".join(json.dumps(report, ensure_ascii=False) + "\n" for report in reports)
    return {
        "rows": data_of(rows),
        "stop_s": stops,
        "default_s": {name: report["elapsed_s"] for name, report in defaults.items()},
        "not_reproduced": [
            {"demo": r["demo"], "preset": r["preset"], "status": r["verdict"]["status"], "why": r["verdict"]["explanation"]}
            for r in reports
            if r["verdict"]["status"] != "reproduced"
        ],
        "files": {"demos.jsonl": lines},
    }


def stop_s(demo: Demo) -> float:
    """The longest that a run of the default preset goes on after it was asked to stop, at moments spread over its first seconds.

    A run can be stopped where it yields, so this is the longest time between two frames, plus what closing takes.
    """
    frames = run_demo(demo, demo.parameters.parse(demo.presets[demo.default_preset].values), None, 0, DEADLINE_S)
    longest, last = 0.0, time.perf_counter()
    for frame in frames:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if frame.elapsed_s > LOOKS:
            break
    started = time.perf_counter()
    frames.close()
    return longest + time.perf_counter() - started
