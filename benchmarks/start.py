"""How long a learner waits: until the page answers, and until the first question is answered, in fresh processes."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.core.application import EMPTY, Application, serving
from benchmarks.core.comparison import Aim, Row, data_of
from tutor.config import ROOT

ROUNDS = 5
QUESTION = "Why does dropout help?"
PAGE = Aim("ratio", "≤", 1.3)

Samples = dict[str, list[float]]


def measure(quick: bool = False) -> dict[str, Any]:
    """Medians over rounds in which an empty Gradio application, ours with a warm cache and ours with an empty one take turns."""
    rounds = 1 if quick else ROUNDS
    samples: Samples = defaultdict(list)
    kinds = ["empty", "warm", "cold"]
    with tempfile.TemporaryDirectory() as warm:
        _time("warm", Path(warm), defaultdict(list))  # fills the cache, and brings every file into memory
        for turn in range(rounds):
            for kind in kinds[turn % 3 :] + kinds[: turn % 3]:  # another one first in each round
                _time(kind, Path(warm), samples)
    return {"rows": data_of(_rows(samples)), "rounds": rounds, "question": QUESTION, "samples_s": dict(samples)}


def _time(kind: str, warm: Path, samples: Samples) -> None:
    folder, cache = (EMPTY if kind == "empty" else ROOT), (warm if kind == "warm" else None)
    with serving(folder, cache) as application:
        samples[f"{kind}: page"].append(application.page_s)
        if kind != "empty":
            samples[f"{kind}: first answer"].append(_first_answer(application))


def _first_answer(application: Application) -> float:
    """Seconds from the process's start until the first question is answered, asked as soon as the page is there."""
    reply = application.call("ask", QUESTION, "")
    elapsed = time.perf_counter() - application.started
    if not reply["hits"]:
        raise RuntimeError(f"the first question found nothing: {reply}")
    return elapsed


def _rows(samples: Samples) -> list[Row]:
    empty = median(samples["empty: page"])
    baseline = "page of an empty Gradio application"
    return [
        Row(f"{what}, {kind} cache", median(samples[f"{kind}: {what}"]), "s", empty, baseline, PAGE if what == "page" else None)
        for what in ("page", "first answer")
        for kind in ("warm", "cold")
    ]
