"""Fixtures over the tiny world of `sample.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.sample import KeywordRetriever, write_knowledge
from tutor.chat import Tutor
from tutor.knowledge import KnowledgeBase


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A knowledge folder of three sound questions."""
    return write_knowledge(tmp_path / "knowledge")


@pytest.fixture
def tiny_tutor(folder: Path) -> Tutor:
    """A tutor over those questions that finds by keyword."""
    return Tutor(KnowledgeBase.load(folder), KeywordRetriever())  # type: ignore[arg-type]  # has all that a tutor asks of a retriever
