"""Ten viewers who watch a running experiment each: frames a second that reach every one of them, beside one viewer alone."""

from __future__ import annotations

import json
import threading
import time
import uuid
from statistics import median
from typing import Any

import httpx

from benchmarks.core.application import Application, serving
from benchmarks.core.comparison import Aim, Row, data_of
from demos.core.registry import load_demos
from tutor.config import ROOT

VIEWERS = 10
WATCHED_S = 8.0
DEMOS = ("momentum", "margin_softmax", "batchnorm", "gradient_flow", "learning_rate_sweep")  # planes, points, lines, strips


def measure(quick: bool = False) -> dict[str, Any]:
    """One server whose runs all go at the same time; the viewers' browsers are not on this machine, so only their connections are."""
    there = load_demos()
    demos = [name for name in DEMOS if name in there]
    viewers, watched = (3, 2.0) if quick else (VIEWERS, WATCHED_S)
    with serving(ROOT, settings={"TUTOR_DEMO_CONCURRENCY": str(viewers)}) as application:
        page = Page(application)
        page.watch(demos[0], 1.0)  # torch is imported at the first run
        alone = {name: page.watch(name, watched) for name in demos}
        together = page.watch_all([demos[i % len(demos)] for i in range(viewers)], watched)
    rows = [
        Row(f"slowest of {viewers} viewers", min(rate for _, rate in together), "frames/s", min(alone.values()), "slowest demo, one viewer alone", Aim("result", "≥", 4)),
        Row(f"median of {viewers} viewers", median(rate for _, rate in together), "frames/s", median(alone.values()), "one viewer alone"),
    ]  # fmt: skip
    return {"rows": data_of(rows), "viewers": viewers, "watched_s": watched, "alone": alone, "together": together}


class Page:
    """The page's own events over HTTP: what a browser sends when a card is picked and Run is pressed."""

    def __init__(self, application: Application) -> None:
        self.address = f"{application.address}/gradio_api"
        config = httpx.get(f"{application.address}/config", timeout=60, trust_env=False).raise_for_status().json()
        ids = {component["props"].get("elem_id"): component["id"] for component in config["components"]}
        self.pick, self.pick_inputs = _event(config, ids["gallery"], "select")
        self.run, self.run_inputs = _event(config, ids["run"], "click")

    def watch_all(self, demos: list[str], seconds: float) -> list[tuple[str, float]]:
        """Demo and frames a second of viewers who all watch at the same time."""
        rates: list[tuple[str, float]] = []
        threads = [threading.Thread(target=lambda name=name: rates.append((name, self.watch(name, seconds)))) for name in demos]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(rates) < len(demos):
            raise RuntimeError(f"{len(demos) - len(rates)} of {len(demos)} viewers saw no run")
        return rates

    def watch(self, demo: str, seconds: float) -> float:
        """Frames a second, from the first on, of runs that follow each other (a short one is started again) for so many seconds."""
        session, frames, watched = uuid.uuid4().hex[:10], 0, 0.0
        with httpx.Client(timeout=120, trust_env=False) as client:
            self._follow(client, session, self.pick, self.pick_inputs, {"demo": demo}, None)
            while watched < seconds:
                times = self._follow(client, session, self.run, self.run_inputs, None, seconds - watched)
                if len(times) < 2:
                    raise RuntimeError(f"{demo}: a run without frames")
                frames, watched = frames + len(times) - 1, watched + times[-1] - times[0]
        return frames / watched

    def _follow(self, client: httpx.Client, session: str, event: int, inputs: int, data: Any, seconds: float | None) -> list[float]:
        """Sends an event; the times at which its frames came, until it ends (or `seconds` have passed: the connection is closed, as a tab is)."""
        body = {"data": [None] * inputs, "event_data": data, "fn_index": event, "session_hash": session, "trigger_id": None}
        if event == self.run:
            body["data"][-1] = "en"  # the language; the others are the session's own state, or have a default
            body["data"][2] = 0  # the seed
        client.post(f"{self.address}/queue/join", json=body).raise_for_status()
        times: list[float] = []
        with client.stream("GET", f"{self.address}/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if not line.startswith("data: "):
                    continue
                message = json.loads(line.removeprefix("data: "))
                if message["msg"] == "process_generating":
                    times.append(time.perf_counter())
                if message["msg"] == "process_completed" and not message["success"]:
                    raise RuntimeError(f"event {event}: {message['output']}")
                if message["msg"] in ("process_completed", "close_stream"):
                    break
                if seconds is not None and times and times[-1] - times[0] >= seconds:
                    break
        return times


def _event(config: dict[str, Any], component: int, name: str) -> tuple[int, int]:
    """The number of the event of a component, and how many inputs it has."""
    for dependency in config["dependencies"]:
        if [component, name] in [list(target) for target in dependency["targets"]]:
            return int(dependency["id"]), len(dependency["inputs"])
    raise RuntimeError(f"the page has no event {name} of component {component}")
