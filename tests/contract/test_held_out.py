"""The shipped tutor on data that it was neither trained nor indexed on (`benchmarks/core/held_out.py` says what it is, and what was tuned)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.core.held_out import conversations, is_split_right, messy, several, strangers, talk
from tutor.chat import Tutor
from tutor.config import ROOT
from tutor.evaluation import evaluate, outcomes_of
from tutor.knowledge import KnowledgeBase, comparable, passages
from tutor.labelled import load_labelled_queries
from tutor.question import LANGUAGES, Language

KNOWLEDGE = KnowledgeBase.load(ROOT / "knowledge")
COMMITTED = json.loads((Path(__file__).parent / "accuracy.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_strangers_ask(language: Language, tutor: Tutor) -> None:
    rows = [row for row in strangers() if row.language == language]
    figures = evaluate(outcomes_of(tutor.retriever, KNOWLEDGE, rows))[language]
    for name, committed in COMMITTED["strangers"][language].items():
        assert figures[name] >= committed, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_messy_input(language: Language, tutor: Tutor) -> None:
    rows = [row for _, row in messy() if row.language == language]
    figures = evaluate(outcomes_of(tutor.retriever, KNOWLEDGE, rows))[language]
    assert figures["accuracy_at_1"] >= COMMITTED["messy"][language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_conversations(language: Language, tutor: Tutor) -> None:
    held = [talk(tutor, turns) for turns in conversations() if turns[0].language == language]
    assert len(held) >= 30
    right = [is_right for turns in held for _, _, is_right in turns]
    assert sum(right) / len(right) >= COMMITTED["conversations"][language]


def test_several_questions_in_a_message(tutor: Tutor) -> None:
    right = [is_split_right(tutor.reply(message).turn.parts, answers) for _, answers, message in several()]
    assert sum(right) / len(right) >= COMMITTED["several"]


def test_nothing_held_out_is_indexed_or_calibrated_on() -> None:
    known = {comparable(text) for question in KNOWLEDGE.questions.values() for text in passages(question)}
    known |= {comparable(text) for topic in KNOWLEDGE.outside.values() for text in topic.all_texts}
    known |= {comparable(row.query) for row in load_labelled_queries(ROOT / "tutor" / "training" / "calibration.tsv")}
    held_out = [row.query for row in strangers()] + [row.query for _, row in messy()]
    held_out += [row.query for row in load_labelled_queries(ROOT / "tests" / "data" / "scope.tsv")]
    assert not [query for query in held_out if comparable(query) in known]
