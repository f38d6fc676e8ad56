"""The held-out probes of the knowledge base as labelled queries, and how well a ranker finds their questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tutor.knowledge import KnowledgeBase, passages
from tutor.labelled import LabelledQuery
from tutor.question import LANGUAGES


def texts_of(knowledge: KnowledgeBase) -> dict[str, list[str]]:
    """Question id → the texts under which every system of a comparison indexes it."""
    return {question.id: passages(question) for question in knowledge.questions.values()}


def probes_of(knowledge: KnowledgeBase) -> list[LabelledQuery]:
    """Every probe; its one right answer is the question that it was written for."""
    return [
        LabelledQuery(language, "in", (question.id,), probe)
        for question in knowledge.questions.values()
        for language in LANGUAGES
        for probe in question.meta.probes[language]
    ]


def first_entries(knowledge: KnowledgeBase, count: int) -> KnowledgeBase:
    """The knowledge base with its first `count` questions and outside topics only."""
    questions, outside = list(knowledge.questions.items())[:count], list(knowledge.outside.items())[:count]
    return dataclasses.replace(knowledge, questions=dict(questions), outside=dict(outside))


def reciprocal_rank(ranked: Sequence[str], right: str) -> float:
    """1 / rank of the right id, 0 if it was not found."""
    return 1 / (ranked.index(right) + 1) if right in ranked else 0.0


def accuracy_figures(reciprocal_ranks: Sequence[float] | np.ndarray) -> Mapping[str, float]:
    """accuracy@1, accuracy@3 and MRR, 0 … 1."""
    ranks = np.asarray(reciprocal_ranks, dtype=float)
    return {
        "accuracy_at_1": float((ranks >= 1).mean()),
        "accuracy_at_3": float((ranks >= 1 / 3).mean()),
        "mrr": float(ranks.mean()),
    }
