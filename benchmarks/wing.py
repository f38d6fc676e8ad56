"""The page with all experiments beside the same page with the three it began with: until it is served, usable, and its gallery is shown."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.core.application import serving
from benchmarks.core.comparison import Aim, Row, data_of
from demos.core.registry import load_demos
from tutor.config import ROOT

ROUNDS = 5
FIRST = ("batchnorm", "dropout_ensemble", "learning_rate_sweep")
AS_FAST = Aim("ratio", "≤", 1.2)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def measure(quick: bool = False) -> dict[str, Any]:
    """Medians over rounds in which the two take turns, each in a fresh process, seen by a fresh Chromium page."""
    samples: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=ARGUMENTS)
        few = _with_three(Path(scratch) / "few")
        cache = Path(scratch) / "cache"
        for turn in range(1 + (1 if quick else ROUNDS)):
            for kind, folder in (("all", ROOT), ("few", few)) if turn % 2 else (("few", few), ("all", ROOT)):
                times = _visit(browser, folder, cache)
                for what, seconds in times.items() if turn else ():  # the first round brings the files into memory
                    samples[f"{kind}: {what}"].append(seconds)
        browser.close()
    steps = ("served", "usable", "gallery")
    names = {
        "served": "server start to page served",
        "usable": "browser: page opened to question box ready",
        "gallery": "browser: tab clicked to cards shown",
    }
    rows = [
        Row(names[step], median(samples[f"all: {step}"]), "s", median(samples[f"few: {step}"]), "the page with three experiments", AS_FAST) for step in steps
    ]  # fmt: skip
    return {"rows": data_of(rows), "experiments": len(load_demos()), "samples_s": dict(samples)}


def _visit(browser: Browser, folder: Path, cache: Path) -> dict[str, float]:
    with serving(folder, cache) as application:
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(application.address)
        page.locator("#ask textarea").wait_for()
        usable = time.perf_counter()
        page.wait_for_timeout(1500)  # the load events
        clicked = time.perf_counter()
        page.get_by_role("tab").nth(1).click()
        page.locator(".gallery-card").last.wait_for()
        shown = time.perf_counter()
        page.close()
        return {"served": application.page_s, "usable": usable - started, "gallery": shown - clicked}


def _with_three(folder: Path) -> Path:
    """A copy of the project that has the first three experiments only."""
    for name in ("tutor", "demos", "knowledge"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    for file in (folder / "demos").glob("*.py"):
        if file.stem not in (*FIRST, "__init__"):
            file.unlink()
    for file in (folder / "knowledge").glob("*/*.md"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("demo: ") or any(f"id: {name}," in line for name in FIRST)]
        file.write_text("".join(kept), encoding="utf-8")
    return folder


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise RuntimeError("no Chromium here: install your system's chromium package")
    return found
