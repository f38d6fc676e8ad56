"""What this machine reproduced: the newest result of each preset, kept in a file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from demos.core.runner import run_demo
from tests.unit.sample import TINY, TinyParameters
from tutor.results import Result, ResultFile, keep


def result(preset: str, seed: int = 0) -> Result:
    both = {"zh": "三", "en": "three"}
    return Result("tiny", preset, seed, "reproduced", both, both, "a device", 1.5, "2026-01-01 00:00")


def test_the_newest_result_of_each_preset_is_kept(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "deep" / "results.json")
    assert file.load() == []
    for each in (result("small"), result("large"), result("small", seed=7)):
        file.add(each)
    assert file.load() == [result("large"), result("small", seed=7)]
    assert [path.name for path in file.path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"demo": "x"}]', "\ufffd"])
def test_a_broken_file_counts_as_none_and_is_replaced(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file = ResultFile(tmp_path / "results.json")
    file.path.write_text(text, encoding="utf-8")
    assert file.load() == [] and "cannot be read" in caplog.text
    file.add(result("small"))
    assert file.load() == [result("small")]


def test_where_nothing_can_be_written_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    ResultFile(tmp_path / "file" / "results.json").add(result("small"))
    assert "was not kept" in caplog.text


def test_only_a_preset_as_it_is_counts(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "results.json")
    preset = TINY.parameters.parse(TINY.presets["small"].values)
    *_, last = run_demo(TINY, preset, "cpu")
    keep(TINY, "small", dataclasses.replace(preset, count=5), 0, last, file)
    assert file.load() == []
    keep(TINY, "small", preset, 3, last, file)
    (kept,) = file.load()
    assert (kept.demo, kept.preset, kept.seed, kept.status) == ("tiny", "small", 3, "reproduced")
    assert kept.measured["zh"].startswith("乘积: ") and kept.measured["en"].startswith("Product: ")
    assert isinstance(preset, TinyParameters) and json.loads(file.path.read_text(encoding="utf-8"))
