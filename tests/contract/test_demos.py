"""What holds for every demo and each of its presets."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
import warnings
from itertools import pairwise
from pathlib import Path

import pytest

from demos.core.charts import to_data
from demos.core.demo import Demo, Snapshot
from demos.core.device import available_devices
from demos.core.own_data import OwnData
from demos.core.parameters import Number, ParameterError
from demos.core.registry import load_demos
from demos.core.report import report
from demos.core.runner import DeadlineReached, Frame, run_demo
from demos.core.text import LANGUAGES, Text
from tutor.config import ROOT
from tutor.knowledge import KnowledgeBase

DEMOS = load_demos()
PRESETS = [(demo, preset) for demo in DEMOS.values() for preset in demo.presets]
HAN = range(0x4E00, 0xA000)


def _of(demo: Demo, *rest: str) -> object:
    """A case in the group of its demo: with several workers, one of them runs all of a demo's tests, and each preset once."""
    return pytest.param(demo, *rest, id="-".join([demo.id, *rest]), marks=pytest.mark.xdist_group(demo.id))


on_every_preset = pytest.mark.parametrize(("demo", "preset"), [_of(demo, preset) for demo, preset in PRESETS])
on_every_demo = pytest.mark.parametrize("demo", [_of(demo) for demo in DEMOS.values()])


def run(demo: Demo, preset: str, seed: int = 0, device: str = "cpu") -> list[Frame]:
    parameters = demo.parameters.parse(demo.presets[preset].values)
    return list(run_demo(demo, parameters, device, seed, deadline_s=300))


@functools.cache
def frames_of(name: str, preset: str, seed: int = 0) -> list[Frame]:
    """Frames of a preset, run once for all tests."""
    return run(DEMOS[name], preset, seed)


def texts(thing: object) -> list[Text]:
    """Every bilingual text inside a dataclass, mapping or tuple."""
    if isinstance(thing, Text):
        return [thing]
    if isinstance(thing, dict):
        return [text for value in thing.values() for text in texts(value)]
    if isinstance(thing, (tuple, list)):
        return [text for value in thing for text in texts(value)]
    if dataclasses.is_dataclass(thing):
        return [text for field in dataclasses.fields(thing) for text in texts(getattr(thing, field.name))]
    return []


@on_every_preset
def test_a_run_tells_its_story(demo: Demo, preset: str) -> None:
    frames = frames_of(demo.id, preset)
    snapshots = [frame.snapshot for frame in frames]
    assert snapshots[0].charts, "the first snapshot has no chart"
    assert [snapshot.outcome is not None for snapshot in snapshots] == [False] * (len(snapshots) - 1) + [True]
    assert all(0 <= earlier.progress <= later.progress <= 1 for earlier, later in pairwise(snapshots))
    last = snapshots[-1]
    assert last.progress == 1
    assert last.figures
    assert all(not math.isnan(figure.value) for figure in last.figures)
    assert last.outcome is not None
    assert last.outcome.answer in demo.predict(demo.parameters.parse(demo.presets[preset].values)).options
    assert last.outcome.verdict.source.url.startswith("https://")


@on_every_preset
def test_everything_said_is_said_in_both_languages(demo: Demo, preset: str) -> None:
    said = texts(demo.presets[preset]) + [text for frame in frames_of(demo.id, preset) for text in texts(frame.snapshot)]
    said += [demo.title, demo.question, demo.look_for, demo.scaled_down]
    said += texts(demo.predict(demo.parameters.parse(demo.presets[preset].values)))
    said += [text for spec in demo.parameters.specs().values() for text in (spec.label, spec.help)]
    for text in said:
        assert text.zh.strip() and text.en.strip()
        assert not any(ord(character) in HAN for character in text.en), text.en
    for text in (demo.title, demo.question, demo.look_for, demo.scaled_down, *texts(demo.presets[preset])):
        assert any(ord(character) in HAN for character in text.zh), text.zh


@on_every_demo
def test_a_seed_fixes_the_result(demo: Demo) -> None:
    preset = demo.default_preset
    first, again, other = frames_of(demo.id, preset)[-1], run(demo, preset)[-1], frames_of(demo.id, preset, 1)[-1]
    if demo.timed:  # no two runs take the same time
        assert first.snapshot.outcome and again.snapshot.outcome
        assert first.snapshot.outcome.verdict.status == again.snapshot.outcome.verdict.status
        return
    assert comparable(first.snapshot) == comparable(again.snapshot)
    assert comparable(first.snapshot) != comparable(other.snapshot)


@on_every_preset
def test_another_set_of_seeds_agrees_on_the_verdict(demo: Demo, preset: str) -> None:
    first, other = (frames_of(demo.id, preset, seed)[-1].snapshot.outcome for seed in (0, 1))
    assert first is not None and other is not None
    assert first.verdict.status == other.verdict.status


@on_every_demo
def test_the_textbook_has_a_case_and_so_have_its_limits(demo: Demo) -> None:
    cases = {name: preset.case for name, preset in demo.presets.items()}
    assert cases[demo.default_preset] == "textbook"
    assert "limits" in cases.values()


def comparable(snapshot: Snapshot) -> object:
    return [to_data(snapshot.charts, "en"), to_data(snapshot.figures, "en")]


@on_every_demo
def test_a_run_leaves_the_global_random_state_alone(demo: Demo) -> None:
    import torch

    before = torch.get_rng_state()
    frames = run_demo(demo, demo.parameters(), "cpu", 0)
    next(frames)
    next(frames)
    frames.close()
    assert torch.equal(before, torch.get_rng_state())


@on_every_demo
@pytest.mark.parametrize("device", [name for name in available_devices() if name != "cpu"] or ["cpu"])
def test_it_runs_on_every_device_here(demo: Demo, device: str) -> None:
    frames = frames_of(demo.id, demo.default_preset) if device == "cpu" else run(demo, demo.default_preset, device=device)
    assert frames[-1].snapshot.outcome is not None


@on_every_preset
def test_snapshots_come_often_enough(demo: Demo, preset: str) -> None:
    """At least every 200 ms on two idle cores; here other tests may run beside, so the typical gap is held, and no long silence."""
    times = [frame.elapsed_s for frame in frames_of(demo.id, preset)]
    gaps = sorted(later - earlier for earlier, later in pairwise([0.0, *times]))
    assert gaps[len(gaps) // 2] < 0.2
    assert gaps[-1] < 1.0


@on_every_demo
def test_a_stopped_run_ends_at_once(demo: Demo) -> None:
    frames = run_demo(demo, demo.parameters(), "cpu", 0)
    next(frames)
    started = time.monotonic()
    frames.close()
    assert time.monotonic() - started < 0.3
    with pytest.raises(StopIteration):
        next(frames)


@on_every_demo
def test_the_deadline_holds(demo: Demo) -> None:
    with pytest.raises(DeadlineReached):
        list(run_demo(demo, demo.parameters(), "cpu", 0, deadline_s=0.001))


@on_every_demo
def test_the_extremes_of_every_parameter_run_without_an_error(demo: Demo) -> None:
    """The start of each run: what an extreme breaks, it breaks there or at the first divergence. All of them at once run longer."""
    numbers = {name: spec for name, spec in demo.parameters.specs().items() if isinstance(spec, Number)}
    for name, spec in numbers.items():
        for extreme in (spec.low, spec.high):
            start(demo, {name: extreme}, seconds=0.5)
    start(demo, {name: spec.low for name, spec in numbers.items()}, seconds=3)
    start(demo, {name: spec.high for name, spec in numbers.items()}, seconds=3)


def start(demo: Demo, values: dict[str, object], seconds: float) -> None:
    began = time.monotonic()
    for frame in run_demo(demo, demo.parameters.parse(values), "cpu", 0, deadline_s=300):
        json.dumps(to_data(frame.snapshot.charts, "en"), allow_nan=False)
        if time.monotonic() - began > seconds:
            break


@on_every_demo
def test_bad_values_are_refused(demo: Demo) -> None:
    for name, spec in demo.parameters.specs().items():
        for value in (float("nan"), None, [1], {"a": 1}, "no such value", float("inf")):
            with pytest.raises(ParameterError) as caught:
                demo.parameters.parse({name: value})
            assert spec.label.zh in caught.value.text.zh and spec.label.en in caught.value.text.en


@on_every_preset
def test_the_report_is_plain_data(demo: Demo, preset: str) -> None:

    parameters = demo.parameters.parse(demo.presets[preset].values)
    for language in LANGUAGES:
        data = json.loads(json.dumps(report(demo, preset, parameters, 0, frames_of(demo.id, preset)[-1], language), allow_nan=False))
        assert data["verdict"]["status"] in ("reproduced", "same_direction", "not_at_this_scale")


@on_every_preset
def test_the_code_to_copy_runs(demo: Demo, preset: str, tmp_path: Path) -> None:
    code = demo.code(demo.parameters.parse(demo.presets[preset].values))
    assert "demos" not in code and "tutor" not in code
    assert any(character.isdigit() for character in output_of(code, tmp_path)), "it prints no number"


def tables(demo: Demo) -> dict[str, OwnData]:
    return {name: spec for name, spec in demo.parameters.specs().items() if isinstance(spec, OwnData)}


@pytest.mark.parametrize("demo", [_of(demo) for demo in DEMOS.values() if tables(demo)])
def test_it_runs_on_a_table_of_the_learners_own_and_so_does_its_code(demo: Demo, tmp_path: Path) -> None:
    for name, spec in tables(demo).items():
        table = own_table(spec)
        presets = [preset for preset in demo.presets if name in demo.parameters.parse(demo.presets[preset].values).shown()]
        assert presets, f"no preset shows {name}"
        parameters = demo.parameters.parse({**demo.presets[presets[0]].values, name: table})
        *_, last = run_demo(demo, parameters, "cpu", 0, deadline_s=300)
        assert last.snapshot.outcome is not None
        assert table[:40] not in json.dumps(report(demo, presets[0], parameters, 0, last, "en"))
        (tmp_path / "data.csv").write_text(table, encoding="utf-8")
        code = demo.code(parameters)
        assert "data.csv" in code
        assert any(character.isdigit() for character in output_of(code, tmp_path))


def own_table(spec: OwnData) -> str:
    """240 rows of three classes (or a number) that can be learnt, with as many features as are asked for."""
    rows = []
    for i in range(240):
        kind = i % 3
        features = [math.sin(i * (j + 1)) + kind * (j % 3 == kind) * 2 for j in range(spec.columns or 5)]
        rows.append(
            ",".join(f"{value:.3f}" for value in features) + f",{'abc'[kind] if spec.target == 'classes' else round(sum(features), 3)}"
        )
    return "\n".join(rows) + "\n"


def output_of(code: str, folder: Path) -> str:
    """What a script prints, run by itself in a process that has imported torch and scikit-learn already; warnings are errors."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "sklearn.datasets"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_execute, args=(code, str(folder), theirs))
    process.start()
    theirs.close()
    assert ours.poll(120), "the script takes more than two minutes"
    printed, error = ours.recv()
    process.join()
    assert error == "", error
    return str(printed)


def _execute(code: str, folder: str, answer: object) -> None:
    os.chdir(folder)
    printed, error = io.StringIO(), ""
    warnings.simplefilter("error")
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "script.py", "exec"), {"__name__": "__main__"})
    except BaseException:
        error = traceback.format_exc()
    answer.send((printed.getvalue(), error))  # type: ignore[attr-defined]


@on_every_demo
def test_its_topic_exists(demo: Demo) -> None:
    assert demo.topic in KnowledgeBase.load(ROOT / "knowledge").topics


def test_the_catalogue_opens_without_torch() -> None:
    code = (
        "import sys; from demos.core.registry import load_demos; load_demos(); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
