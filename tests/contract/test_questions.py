"""What holds for every question of the knowledge base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demos.core.registry import load_demos
from tutor.chat import Tutor
from tutor.config import ROOT
from tutor.evaluation import evaluate, outcomes_of
from tutor.knowledge import KnowledgeBase, passages
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.question import LANGUAGES, Language, Question

KNOWLEDGE = KnowledgeBase.load(ROOT / "knowledge", {name: demo.presets for name, demo in load_demos().items()})
QUESTIONS = list(KNOWLEDGE.questions.values())
SECTIONS = [f"1.{number}" for number in (*range(1, 11), 111, *range(12, 37)) if number != 13]
COMMITTED = json.loads((Path(__file__).parent / "accuracy.json").read_text())


def test_the_whole_source_document_is_answered() -> None:
    assert KNOWLEDGE.faults == ()
    assert [question.meta.section for question in QUESTIONS if question.meta.section] == [
        *SECTIONS[: SECTIONS.index("1.111") + 1],
        "1.111a",
        "1.111b",
        *SECTIONS[SECTIONS.index("1.111") + 1 :],
    ]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_most_of_its_own_probes_find_it(question: Question, tutor: Tutor) -> None:
    for language in LANGUAGES:
        probes = question.meta.probes[language]
        found = [probe for probe in probes if tutor.retriever.retrieve(probe, language).hits[0].question_id == question.id]
        assert len(found) > len(probes) / 2, f"{question.id} ({language}): only {found} of {probes}"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_probes_are_not_indexed(question: Question) -> None:
    indexed = {text.casefold() for other in QUESTIONS for text in passages(other)}
    for language in LANGUAGES:
        assert not indexed & {probe.casefold() for probe in question.meta.probes[language]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_accuracy_is_not_below_the_committed_figures(language: Language, tutor: Tutor) -> None:
    probes = [LabelledQuery(language, "in", (question.id,), probe) for question in QUESTIONS for probe in question.meta.probes[language]]
    beyond = [row for row in load_labelled_queries(ROOT / "tests" / "data" / "scope.tsv") if row.language == language]
    figures = evaluate(outcomes_of(tutor.retriever, KNOWLEDGE, [*probes, *beyond]))[language]
    for name, committed in COMMITTED["probes"][language].items():
        assert figures[name] >= committed, name


def test_links_between_questions_and_demos_lead_both_ways() -> None:
    linked = {question.meta.demo.id for question in QUESTIONS if question.meta.demo}
    assert linked == set(load_demos())
