"""Shared by all tests: the real tutor, loaded once; the real application, served once; nothing is written but to temporary folders."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import serving
from tutor.chat import Tutor
from tutor.config import ROOT, Settings
from tutor.knowledge import KnowledgeBase


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The shipped settings, with cache and feedback in a temporary folder."""
    folder = tmp_path_factory.mktemp("tutor")
    return dataclasses.replace(Settings.from_environment(), cache=folder / "cache", feedback=folder / "feedback.jsonl")


@pytest.fixture(scope="session")
def tutor(settings: Settings) -> Tutor:
    """The shipped knowledge and encoder."""
    return Tutor.load(KnowledgeBase.load(settings.knowledge), settings)


@pytest.fixture(scope="session")
def feedback_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served application keeps its feedback."""
    return tmp_path_factory.mktemp("feedback") / "feedback.jsonl"


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory, feedback_file: Path) -> Iterator[str]:
    """Where `python app.py` is served."""
    settings = {"TUTOR_FEEDBACK": str(feedback_file), "TUTOR_CACHE": str(tmp_path_factory.mktemp("cache"))}
    with serving(sys.executable, ROOT, tmp_path_factory.mktemp("app"), os.environ | settings) as address:
        yield address


@pytest.hookimpl(tryfirst=True)  # before the workers look at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, those of one folder that share a server, a browser or a cluster run in one of them."""
    shared = {"browser": "page", "http": "page", "space": "space", "ray": "ray"}
    for item in items:
        folder = item.path.parent.name
        if folder in shared:
            item.add_marker(pytest.mark.xdist_group(shared[folder]))
