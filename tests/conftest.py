"""Shared by all tests: the real tutor, loaded once, and settings that write nowhere but a temporary folder."""

from __future__ import annotations

import dataclasses

import pytest

from tutor.chat import Tutor
from tutor.config import Settings
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
