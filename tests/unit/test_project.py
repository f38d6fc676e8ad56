"""The files that a Space and a newcomer read: they agree with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tutor.config import ROOT

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = yaml.safe_load(README.split("---\n")[1])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Keys and values that Spaces accept; the hub's own class checks nothing.
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
ALLOWED = {
    "title": lambda value: 0 < len(value) <= 60,
    "emoji": lambda value: len(value) <= 2 and not value.isascii(),
    "colorFrom": COLOURS.__contains__,
    "colorTo": COLOURS.__contains__,
    "sdk": {"gradio"}.__contains__,
    "sdk_version": re.compile(r"6\.\d+\.\d+").fullmatch,
    "python_version": {"3.10.13", "3.12.12"}.__contains__,  # what ZeroGPU offers
    "app_file": lambda value: (ROOT / value).is_file(),
    "short_description": lambda value: 0 < len(value) <= 60,
    "license": {"apache-2.0"}.__contains__,
    "tags": lambda value: all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in value),
    "suggested_hardware": {"cpu-basic", "cpu-upgrade", "zero-a10g", "t4-small"}.__contains__,
}
REQUIRED = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"}


def test_the_front_matter_is_what_a_space_accepts() -> None:
    assert set(CARD) >= REQUIRED
    for key, value in CARD.items():
        assert key in ALLOWED, f"unknown key {key}"
        assert ALLOWED[key](value), f"{key}: {value!r}"


def test_a_space_installs_what_the_project_asks_for() -> None:
    assert (ROOT / "requirements.txt").read_text().split("\n")[:-1] == PROJECT["dependencies"]


def test_the_pinned_torch_is_one_that_zerogpu_offers_inside_the_range() -> None:
    name, version = (ROOT / "pre-requirements.txt").read_text().strip().split("==")
    assert name == "torch"
    assert version in {"2.8.0", "2.9.1", "2.10.0", "2.11.0"}
    low, high = re.fullmatch(r"torch>=(\S+),<(\S+)", next(d for d in PROJECT["dependencies"] if d.startswith("torch"))).groups()  # type: ignore[union-attr]
    assert numbers(low) <= numbers(version) < numbers(high)


def test_the_space_runs_a_gradio_inside_the_range() -> None:
    low, high = re.fullmatch(r"gradio>=(\S+),<(\S+)", next(d for d in PROJECT["dependencies"] if d.startswith("gradio"))).groups()  # type: ignore[union-attr]
    assert numbers(low) <= numbers(CARD["sdk_version"]) < numbers(high)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("path", [path for path in ROOT.glob("tutor/models/**/*") if path.is_file()], ids=lambda path: path.name)
def test_no_file_of_the_encoder_needs_large_file_storage(path: Path) -> None:
    assert path.stat().st_size < 10_000_000


def test_the_readme_names_every_setting() -> None:
    settings = set(re.findall(r"TUTOR_[A-Z_]+", (ROOT / "tutor" / "config.py").read_text()))
    assert settings == set(re.findall(r"TUTOR_[A-Z_]+", README))
