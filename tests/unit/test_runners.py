"""The two runners behind one interface. The cluster is played by queues that the tests fill."""

from __future__ import annotations

import _thread
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from demos.core.demo import Figure, Snapshot
from demos.core.device import DeviceError, available_devices
from demos.core.parameters import ParameterError
from demos.core.registry import load_demos
from demos.core.runner import DeadlineReached, Frame, deadline_reached, run_demo
from demos.core.text import Text, same
from tutor.runners import ray_cluster
from tutor.runners.errors import RunnerError, RunnerLost, RunnerUnreachable
from tutor.runners.in_process import InProcess
from tutor.runners.ray_cluster import CONNECTING, FULL, LOST, REPEATING, STARTING, UNREACHABLE, WAITING, Limits, RayRunner, RemoteTraceback
from tutor.runners.ray_link import Answer, Unreachable
from tutor.runners.runner import build_runner
from tutor.runners.worker import Arguments, Ended, Lost, Ready, Taken, stream
from tutor.ui import link
from tutor.ui.demo_tab import DemoTab

ARGUMENTS: Arguments = ("learning_rate_sweep", {"steps": 20}, "cpu", 3, 60.0)
TAKEN = Taken("machine", 1)
DRAWN = (Figure(same("loss"), 0.25),)
HALF = Frame(Snapshot(0.5, same("half"), (), DRAWN), 2.0, 2.0, "a processor")
WHOLE = Frame(Snapshot(1.0, same("whole"), (), DRAWN), 4.0, 0.0, "a processor")


class FakeLink:
    """Answers each start with the next script, and nothing after its end."""

    def __init__(self, *scripts: list[Answer]) -> None:
        self.scripts = list(scripts)
        self.started: list[Arguments] = []
        self.stopped: list[int] = []
        self.is_open, self.is_over, self.silent_s = True, False, 0.0

    def start(self, arguments: Arguments) -> tuple[int, SimpleQueue[Answer]]:
        queue: SimpleQueue[Answer] = SimpleQueue()
        for answer in self.scripts[len(self.started)]:
            queue.put(answer)
        self.started.append(arguments)
        return len(self.started), queue

    def stop(self, number: int) -> None:
        self.stopped.append(number)


Linked = Callable[..., RayRunner]


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> Linked:
    """Makes a runner over links, one after the other."""

    def make(*links: FakeLink, **limits: float) -> RayRunner:
        waiting = iter(links)
        monkeypatch.setattr(ray_cluster, "HEARTBEAT_S", 0.01)
        monkeypatch.setattr(ray_cluster, "RayLink", lambda address, frames: next(waiting))
        return RayRunner("ray://head:10001", limits=Limits(**limits))

    return make


def statuses(frames: list[Frame]) -> list[Text]:
    return list(dict.fromkeys(frame.snapshot.status for frame in frames))


# --- in this process ---


def test_in_process_is_run_demo() -> None:
    demo = load_demos()[ARGUMENTS[0]]
    expected = [frame.snapshot for frame in run_demo(demo, demo.parameters.parse(ARGUMENTS[1]), *ARGUMENTS[2:])]
    frames = [frame.snapshot for frame in InProcess().frames(*ARGUMENTS)]
    assert frames[-1] == expected[-1] and frames[-1].outcome is not None
    assert dict(InProcess().devices()) == available_devices()


def test_in_process_no_more_runs_compute_than_have_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    computing, most, lock = [0], [0], threading.Lock()

    def slow(*arguments: Any) -> Generator[Any, None, None]:
        for i in range(5):
            with lock:
                computing[0] += 1
                most[0] = max(most[0], computing[0])
            time.sleep(0.01)
            with lock:
                computing[0] -= 1
            yield i + 1

    monkeypatch.setattr("tutor.runners.in_process.run_on_gpu", slow)
    runner, seen = InProcess(at_once=2), []
    threads = [threading.Thread(target=lambda: seen.append(list(runner.frames(*ARGUMENTS)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[1, 2, 3, 4, 5]] * 6
    assert most[0] == 2


def test_in_process_closes_what_it_runs() -> None:
    frames = InProcess().frames(*ARGUMENTS)
    next(frames)
    frames.close()
    with pytest.raises(StopIteration):
        next(frames)


# --- the choice ---


def test_a_name_gives_one_runner() -> None:
    assert isinstance(build_runner("in-process"), InProcess)
    assert build_runner("in-process") is build_runner("in-process")


def test_a_cluster_is_connected_to_when_its_runner_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(ray_cluster, "RayLink", lambda address, frames: made.append(address) or FakeLink())
    runner = build_runner("ray://built:10001")
    assert isinstance(runner, RayRunner) and list(runner.devices()) == ["cpu"]
    assert made == ["ray://built:10001"]


def test_nothing_loads_ray_before_a_cluster_is_wanted() -> None:
    code = "import sys, tutor.ui.app, tutor.runners.ray_cluster; sys.exit('ray' in sys.modules or 'grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- errors on their way ---


@pytest.mark.parametrize("kind", [ParameterError, DeviceError, DeadlineReached, RunnerError, RunnerLost, RunnerUnreachable])
def test_an_error_survives_the_way_to_another_process(kind: type[Any]) -> None:
    error = pickle.loads(pickle.dumps(kind(Text("原因", "reason"))))
    assert type(error) is kind
    assert (error.text, str(error)) == (Text("原因", "reason"), "reason")


def test_every_word_of_the_runner_is_in_both_languages() -> None:
    for text in (CONNECTING, WAITING, STARTING, REPEATING, LOST, UNREACHABLE, FULL):
        assert text.en.isascii() or "…" in text.en
        assert any("\u4e00" <= character <= "\u9fff" for character in text.zh)


# --- what a worker tells ---


def test_a_worker_tells_a_run_from_its_beginning_to_its_end() -> None:
    first, second, *frames, last = stream(InProcess().frames, ARGUMENTS)
    assert isinstance(first, Taken) and first.process_id > 0
    assert (second, last) == (Ready(), Ended())
    assert all(isinstance(frame, Frame) for frame in frames)
    assert frames[-1].snapshot.outcome is not None  # type: ignore[union-attr]


def test_a_worker_sends_errors_as_they_are_and_says_where() -> None:
    *_, last = stream(InProcess().frames, ("learning_rate_sweep", {"steps": -1}, "cpu", 0, 60.0))
    assert isinstance(last, Ended) and isinstance(last.error, ParameterError)
    assert "步数" in last.error.text.zh and "in parse" in last.where


class SecretError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("a secret")


def test_an_error_that_cannot_be_sent_is_told() -> None:
    def failing(*arguments: object) -> Generator[Frame, None, None]:
        yield HALF
        raise SecretError("of the demo")

    *_, last = stream(failing, ARGUMENTS)
    assert isinstance(last, Ended)
    assert (type(last.error), str(last.error)) == (RuntimeError, "SecretError: of the demo")


def test_a_worker_is_stopped_between_two_frames_and_nowhere_else() -> None:
    told: list[str] = []

    def importing(*arguments: object) -> Generator[Frame, None, None]:
        try:
            yield HALF
            _thread.interrupt_main()  # what Ray does
            told.extend("half a module" for _ in range(1000))
            told.append("a whole module")
            yield WHOLE
        finally:
            told.append("closed")

    before, items = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):
        for item in stream(importing, ARGUMENTS):
            items.append(item)
    assert items[2:] == [HALF]
    assert told[-2:] == ["a whole module", "closed"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timer")
def test_a_worker_that_nobody_can_stop_ends_after_its_deadline() -> None:
    code = """
from tutor.runners import worker
worker.KILL_AFTER_S = 0.2
def hanging(*arguments):
    yield "frame"
    (10 ** 8) ** (10 ** 8)  # one native call that keeps the interpreter's lock
for item in worker.stream(hanging, ("", {}, None, 0, 0.3)):
    print(item, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGALRM, done.stderr
    assert done.stdout.endswith("Ready()\nframe\n")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timer")
@pytest.mark.parametrize("how", ["ended", "closed"])
def test_the_timer_of_a_run_ends_with_it(how: str) -> None:
    items = stream(InProcess().frames, ARGUMENTS)
    next(item for item in items if isinstance(item, Frame))
    assert 60 < signal.getitimer(signal.ITIMER_REAL)[0] <= 70
    list(items) if how == "ended" else items.close()  # type: ignore[attr-defined]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# --- what the learner sees of a cluster ---


def test_the_frames_of_the_worker_arrive_as_they_are(linked: Linked) -> None:
    link = FakeLink([TAKEN, Ready(), HALF, WHOLE, Ended()])
    frames = list(linked(link).frames(*ARGUMENTS))
    assert [frame for frame in frames if frame.device_label] == [HALF, WHOLE]
    assert statuses(frames) == [STARTING, same("half"), same("whole")]
    assert (link.started, link.stopped) == ([ARGUMENTS], [1])


def test_a_run_without_a_device_is_one_on_a_processor(linked: Linked) -> None:
    link = FakeLink([TAKEN, Ready(), WHOLE, Ended()])
    list(linked(link).frames("learning_rate_sweep", {}, None, 0, 60.0))
    assert link.started == [("learning_rate_sweep", {}, "cpu", 0, 60.0)]


def test_while_it_waits_it_says_for_what(linked: Linked) -> None:
    link = FakeLink([])
    link.is_open = False
    frames = linked(link).frames(*ARGUMENTS)
    assert next(frames).snapshot == Snapshot(0.0, CONNECTING, ())
    link.is_open = True
    waiting = [next(frames) for _ in range(3)]
    assert {frame.snapshot.status for frame in waiting} == {WAITING}
    assert 0 < waiting[0].elapsed_s < waiting[1].elapsed_s < waiting[2].elapsed_s
    assert all(frame.remaining_s is None for frame in waiting)


def test_a_silent_worker_leaves_the_last_frame_with_its_clock_going_on(linked: Linked) -> None:
    frames = linked(FakeLink([TAKEN, Ready(), HALF])).frames(*ARGUMENTS)
    shown = [next(frames) for _ in range(6)][2:]
    assert [frame.snapshot for frame in shown] == [HALF.snapshot] * 4
    clocks = [frame.elapsed_s for frame in shown]
    assert clocks == sorted(set(clocks)) and clocks[0] == 2.0
    assert shown[-1].remaining_s == pytest.approx(4.0 - clocks[-1])


def test_closing_stops_the_run_there(linked: Linked) -> None:
    link = FakeLink([TAKEN, Ready(), HALF])
    frames = linked(link).frames(*ARGUMENTS)
    next(frames)
    assert link.stopped == []
    frames.close()
    assert link.stopped == [1]


def test_an_error_of_the_run_is_raised_here_with_its_place_there(linked: Linked) -> None:
    link = FakeLink([TAKEN, Ready(), Ended(ParameterError(Text("错", "wrong")), "line 7 of the demo")])
    with pytest.raises(ParameterError) as caught:
        list(linked(link).frames(*ARGUMENTS))
    assert caught.value.text == Text("错", "wrong")
    assert isinstance(caught.value.__cause__, RemoteTraceback) and str(caught.value.__cause__) == "line 7 of the demo"
    assert link.stopped == [1]


def test_a_lost_worker_is_said_and_the_run_repeated_from_the_beginning(linked: Linked, caplog: pytest.LogCaptureFixture) -> None:
    link = FakeLink([TAKEN, Ready(), HALF, Lost("it crashed")], [TAKEN, Ready(), HALF, WHOLE, Ended()])
    frames = list(linked(link).frames(*ARGUMENTS))
    assert statuses(frames) == [STARTING, same("half"), REPEATING, same("whole")]
    again = next(frame for frame in frames if frame.snapshot.status == REPEATING)
    assert (again.snapshot.progress, again.snapshot.figures) == (0.0, DRAWN), "what was drawn is gone"
    assert [frame.snapshot.progress for frame in frames if frame.device_label] == [0.5, 0.5, 1.0]
    assert (link.started, link.stopped) == ([ARGUMENTS, ARGUMENTS], [1, 2])
    assert "it crashed" in caplog.text


def test_a_run_that_is_lost_twice_is_an_error(linked: Linked) -> None:
    link = FakeLink([TAKEN, Lost("once")], [Lost("twice")])
    with pytest.raises(RunnerLost) as caught:
        list(linked(link).frames(*ARGUMENTS))
    assert caught.value.text == LOST
    assert len(link.started) == 2


def test_an_unreachable_cluster_is_an_error_and_not_repeated(linked: Linked) -> None:
    link = FakeLink([Unreachable()])
    with pytest.raises(RunnerUnreachable) as caught:
        list(linked(link).frames(*ARGUMENTS))
    assert caught.value.text == UNREACHABLE
    assert len(link.started) == 1


def test_a_link_that_is_over_is_replaced(linked: Linked) -> None:
    first, second = FakeLink([TAKEN, Ready(), WHOLE, Ended()]), FakeLink([TAKEN, Ready(), WHOLE, Ended()])
    runner = linked(first, second)
    list(runner.frames(*ARGUMENTS))
    first.is_over = True
    list(runner.frames(*ARGUMENTS))
    assert (len(first.started), len(second.started)) == (1, 1)


def test_a_link_without_a_word_is_given_up(linked: Linked) -> None:
    first, second = FakeLink([TAKEN, Ready(), HALF]), FakeLink([TAKEN, Ready(), WHOLE, Ended()])
    runner, shown = linked(first, second), []
    for frame in runner.frames(*ARGUMENTS):
        shown.append(frame)
        if frame.snapshot == HALF.snapshot:
            first.silent_s = 31.0
    assert statuses(shown) == [STARTING, same("half"), REPEATING, same("whole")]
    assert (first.stopped, len(second.started)) == ([1], 1)


def test_the_page_shows_what_its_runner_says(linked: Linked) -> None:
    runner = linked(FakeLink([TAKEN, Ready(), HALF, Lost("once")], [TAKEN, Lost("twice")]))
    demos, updates = load_demos(), []
    tab = SimpleNamespace(demos=demos, runner=runner, settings=SimpleNamespace(demo_deadline=60.0), guess="guess")
    tab._update = lambda shown, language, running: updates.append(shown) or {}
    configuration = link.of_preset(demos[ARGUMENTS[0]], demos[ARGUMENTS[0]].default_preset)
    list(DemoTab._run(tab, configuration, "cpu", 0, None, "zh"))  # type: ignore[arg-type]  # building a real one wants a whole page
    assert statuses([shown.frame for shown in updates if shown.frame]) == [STARTING, HALF.snapshot.status, REPEATING]
    assert (updates[-1].state, updates[-1].error) == ("error", LOST)


@pytest.mark.parametrize(
    ("script", "is_open", "limits", "kind", "text"),
    [
        ([], False, {"connecting": 0.1}, RunnerUnreachable, UNREACHABLE),
        ([], True, {"waiting": 0.1}, RunnerError, FULL.format(minutes=0.1 / 60)),
        ([TAKEN], True, {"starting": 0.05}, RunnerLost, LOST),
    ],
)  # fmt: skip
def test_no_state_lasts_for_ever(
    linked: Linked, script: list[Answer], is_open: bool, limits: dict[str, float], kind: type[RunnerError], text: Text
) -> None:
    link = FakeLink(script, script)
    link.is_open = is_open
    started = time.monotonic()
    with pytest.raises(RunnerError) as caught:
        list(linked(link, **limits).frames(*ARGUMENTS))
    assert (type(caught.value), caught.value.text) == (kind, text)
    assert time.monotonic() - started < 5


def test_the_deadline_holds_without_the_worker(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "GRACE_S", 0.1)
    link = FakeLink([TAKEN, Ready(), HALF])
    with pytest.raises(DeadlineReached) as caught:
        list(linked(link).frames(*ARGUMENTS[:-1], 0.1))
    assert caught.value.text == deadline_reached(0.1).text
    assert link.stopped == [1]
