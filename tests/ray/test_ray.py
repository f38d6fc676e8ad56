"""Runs on a real Ray cluster of two workers: as in this process, and what happens when something is lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.core.cluster import Cluster
from demos.core.device import DeviceError
from demos.core.parameters import ParameterError
from demos.core.registry import load_demos
from demos.core.runner import DeadlineReached, Frame
from tests.ray.fakes import TICK_S
from tests.serving import call, serving
from tutor.config import ROOT
from tutor.runners.errors import RunnerLost, RunnerUnreachable
from tutor.runners.in_process import InProcess
from tutor.runners.ray_cluster import REPEATING, WAITING, RayRunner, RemoteTraceback
from tutor.ui.api import run_to_end

FOR_EVER: dict[str, Any] = {"ticks": 100_000}
SOON_S = 20  # the longest wait for what takes a second on an idle machine


def start(runner: RayRunner, name: str, values: dict[str, Any], deadline_s: float = 60) -> Generator[Frame, None, None]:
    return runner.frames(name, values, None, 0, deadline_s)


def run(runner: RayRunner, name: str, values: dict[str, Any], deadline_s: float = 60) -> list[Frame]:
    """The frames of a whole run."""
    return list(start(runner, name, values, deadline_s))


def working(frames: Generator[Frame, None, None]) -> Frame:
    """The first frame of a worker."""
    return next(frame for frame in frames if frame.snapshot.progress > 0)


def said(frames: list[Frame]) -> list[str]:
    """What the frames say, each once, in order."""
    return list(dict.fromkeys(frame.snapshot.status.en for frame in frames))


def test_the_result_is_that_of_this_process(runner: RayRunner) -> None:
    values = {"steps": 60}
    *_, here = InProcess().frames("learning_rate_sweep", values, "cpu", 7, 60)
    *_, there = runner.frames("learning_rate_sweep", values, "cpu", 7, 60)
    *_, other = runner.frames("learning_rate_sweep", values, "cpu", 8, 60)
    assert here.snapshot.outcome is not None
    assert there.snapshot == here.snapshot
    assert other.snapshot != here.snapshot
    assert there.device_label == here.device_label


def test_frames_come_as_they_are_made(runner: RayRunner, tmp_path: Path) -> None:
    arrivals = {frame.snapshot.progress: time.time() for frame in start(runner, "tick", {"ticks": 20, "file": str(tmp_path / "ticks")})}
    made = [float(line) for line in (tmp_path / "ticks").read_text().split()]
    assert len(made) == 20
    assert [progress for progress in arrivals if progress > 0] == [tick / 20 for tick in range(1, 21)]
    lags = [arrivals[tick / 20] - at for tick, at in enumerate(made, start=1)]
    assert median(lags) < 0.3
    assert made[-1] - made[0] > 19 * TICK_S > 3 * median(lags)


def test_a_closed_run_stops_at_once_and_leaves_its_place(runner: RayRunner, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks"
    with closing(start(runner, "tick", FOR_EVER)) as other, closing(start(runner, "tick", FOR_EVER | {"file": str(ticks)})) as frames:
        working(other)
        working(frames)
        waiting = start(runner, "tick", {"ticks": 40})
        assert next(waiting).snapshot.status == WAITING
        closed = time.time()
        frames.close()
        assert time.time() - closed < 0.3
        list(waiting)  # two seconds in the place that was left
    last = float(ticks.read_text().split()[-1])
    assert last - closed < 1


def test_a_run_that_waits_can_be_stopped(runner: RayRunner, tmp_path: Path) -> None:
    with closing(start(runner, "tick", FOR_EVER)) as one, closing(start(runner, "tick", FOR_EVER)) as other:
        working(one)
        working(other)
        waiting = start(runner, "tick", FOR_EVER | {"file": str(tmp_path / "ticks")})
        assert next(waiting).snapshot.status == WAITING
        waiting.close()
        one.close()
        run(runner, "tick", {"ticks": 5})  # is next, and the stopped one never begins
    assert not (tmp_path / "ticks").exists()


def test_more_runs_than_workers_all_finish(runner: RayRunner, tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(6)]
    with ThreadPoolExecutor(len(files)) as pool:
        runs = list(pool.map(lambda file: run(runner, "tick", {"ticks": 12, "file": str(file)}), files))
    assert all(frames[-1].snapshot.progress == 1 for frames in runs)
    assert any(WAITING.en in said(frames) for frames in runs)
    spans = [[float(line) for line in file.read_text().split()] for file in files]
    assert max(sum(ticks[0] <= begun <= ticks[-1] for ticks in spans) for begun, *_ in spans) == 2


def test_the_deadline_holds(runner: RayRunner) -> None:
    with pytest.raises(DeadlineReached) as caught:
        run(runner, "learning_rate_sweep", {"steps": 1000}, deadline_s=0.2)
    assert "0.2 秒" in caught.value.text.zh and "0.2 s" in caught.value.text.en


def test_the_deadline_holds_for_a_worker_that_hangs_and_its_place_is_free_again(runner: RayRunner) -> None:
    frames, shown = start(runner, "sleep", {}, deadline_s=0.5), []
    started = time.monotonic()
    with pytest.raises(DeadlineReached):
        for frame in frames:
            shown.append((time.monotonic(), frame))
    assert time.monotonic() - started < SOON_S
    asleep = [(at, frame) for at, frame in shown if frame.snapshot.progress > 0]
    assert len(asleep) > 5, "somebody who wants to stop has to wait"
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(asleep)) < 1
    assert all(later.elapsed_s > earlier.elapsed_s for (_, earlier), (_, later) in pairwise(asleep))
    with closing(start(runner, "tick", FOR_EVER)) as one, closing(start(runner, "tick", FOR_EVER)) as other:
        working(one)
        working(other)


def test_a_refused_parameter_arrives_with_both_languages(runner: RayRunner) -> None:
    with pytest.raises(ParameterError) as caught:
        run(runner, "learning_rate_sweep", {"steps": -1})
    assert "步数" in caught.value.text.zh and "Steps" in caught.value.text.en
    with pytest.raises(DeviceError) as caught:
        list(runner.frames("learning_rate_sweep", {}, "cuda:99", 0, 60))
    assert "没有设备" in caught.value.text.zh and "no device" in caught.value.text.en
    with pytest.raises(ParameterError, match="seed"):
        list(runner.frames("learning_rate_sweep", {}, "cpu", -1, 60))


def test_any_other_error_says_what_it_was_and_where(runner: RayRunner) -> None:
    with pytest.raises(RuntimeError, match=r"^UnpicklableError: out of paper$") as caught:
        run(runner, "fail", {})
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert 'raise UnpicklableError("out of", "paper")' in str(caught.value.__cause__)


def test_a_lost_worker_costs_one_attempt_and_the_learner_is_told(runner: RayRunner, tmp_path: Path) -> None:
    frames = run(runner, "die", {"times": 1, "file": str(tmp_path / "attempts")})
    assert [text for text in said(frames) if text in ("alive", REPEATING.en, "survived")] == ["alive", REPEATING.en, "survived"]
    first, last = (next(frame.device_label for frame in frames if frame.snapshot.status.en == text) for text in ("alive", "survived"))
    assert first != last, "both attempts in one process"
    assert (tmp_path / "attempts").read_text() == "xx"


def test_a_run_that_is_lost_twice_is_an_error(runner: RayRunner, tmp_path: Path) -> None:
    with pytest.raises(RunnerLost) as caught:
        run(runner, "die", {"times": 9, "file": str(tmp_path / "attempts")})
    assert "中断" in caught.value.text.zh and "lost" in caught.value.text.en
    assert (tmp_path / "attempts").read_text() == "xx"


def test_a_lost_connection_is_made_again(runner: RayRunner) -> None:
    import ray

    frames = start(runner, "tick", {"ticks": 40})
    working(frames)
    ray.shutdown()
    rest = list(frames)
    assert REPEATING.en in said(rest)
    assert rest[-1].snapshot.progress == 1


def test_a_cluster_that_is_not_there_is_an_error_at_once(runner: RayRunner) -> None:
    started = time.monotonic()
    with pytest.raises(RunnerUnreachable) as caught:
        run(RayRunner("ray://127.0.0.1:1"), "tick", {"ticks": 1})
    assert time.monotonic() - started < SOON_S
    assert "连不上" in caught.value.text.zh and "cannot be reached" in caught.value.text.en
    assert run(runner, "tick", {"ticks": 1})[-1].snapshot.progress == 1, "the other connection is gone"


def test_the_page_runs_on_the_cluster(runner: RayRunner, cluster: Cluster, tmp_path: Path) -> None:
    settings = {"TUTOR_RUNNER": cluster.address, "TUTOR_CACHE": str(tmp_path), "TUTOR_FEEDBACK": "off"}
    demos, arguments = load_demos(), ("learning_rate_sweep", "", {"steps": 60}, 5, "zh")
    expected = run_to_end(demos, *arguments, 60, InProcess())  # type: ignore[arg-type]
    with serving(sys.executable, ROOT, tmp_path, os.environ | settings) as address, ThreadPoolExecutor(1) as pool:
        with closing(start(runner, "tick", FOR_EVER)) as one, closing(start(runner, "tick", FOR_EVER)) as other:
            working(one)
            working(other)
            called = pool.submit(call, address, "run_experiment", *arguments)
            with pytest.raises(TimeoutError):
                called.result(3)  # longer than the run takes, but both workers are taken
        report = called.result(SOON_S)
    assert {**report, "elapsed_s": 0} == {**expected, "elapsed_s": 0}


def test_a_lost_machine_costs_one_attempt(runner: RayRunner, cluster: Cluster) -> None:
    """The last test: one of the two machines is switched off."""
    runs = [start(runner, "tick", {"ticks": 60}) for _ in range(2)]
    for frames in runs:
        working(frames)
    os.killpg(cluster.nodes[1].pid, signal.SIGKILL)
    with ThreadPoolExecutor(2) as pool:
        rests = list(pool.map(list, runs))
    assert sorted(REPEATING.en in said(rest) for rest in rests) == [False, True]
    assert all(rest[-1].snapshot.progress == 1 for rest in rests)
