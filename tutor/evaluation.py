"""Evaluation: how well labelled queries find their questions, and how well the rest is turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutor.knowledge import KnowledgeBase
from tutor.labelled import LabelledQuery
from tutor.question import LANGUAGES, Language
from tutor.retriever import Decision, Retrieval, Retriever

_NOTHING = float("nan")


@dataclass(frozen=True)
class Figures:
    """Figures of one language, 0 … 1; NaN where no query of the kind was asked.

    auroc_far, auroc_near: the chance that a query in scope has a higher confidence than one out of scope (ties count half).
    abstained and unanswered (not answered outright) are shares of the queries of that kind.
    """

    queries: int
    accuracy_at_1: float
    accuracy_at_3: float
    mrr: float
    auroc_far: float
    auroc_near: float
    in_abstained: float
    in_unanswered: float
    near_abstained: float
    near_unanswered: float
    far_abstained: float
    far_unanswered: float


def evaluate(retriever: Retriever, knowledge: KnowledgeBase, rows: Sequence[LabelledQuery]) -> dict[Language, Figures]:
    """Figures for each language that has rows. A query in scope whose question is missing from the knowledge base counts as not found."""
    return {
        language: _figures(retriever, knowledge, of_language)
        for language in LANGUAGES
        if (of_language := [row for row in rows if row.language == language])
    }


def _figures(retriever: Retriever, knowledge: KnowledgeBase, rows: Sequence[LabelledQuery]) -> Figures:
    found: dict[str, list[Retrieval]] = {"in": [], "near": [], "far": []}
    reciprocal_ranks: list[float] = []
    for row in rows:
        retrieval = retriever.retrieve(row.query, row.language, top_k=len(knowledge.questions))
        found[row.kind].append(retrieval)
        if row.kind == "in":
            right = row.question_ids(knowledge)
            ranks = [rank for rank, hit in enumerate(retrieval.hits, start=1) if hit.question_id in right]
            reciprocal_ranks.append(1 / ranks[0] if ranks else 0.0)
    confidence = {kind: [retrieval.confidence for retrieval in of_kind] for kind, of_kind in found.items()}
    return Figures(
        queries=len(rows),
        accuracy_at_1=_mean([rank >= 1 for rank in reciprocal_ranks]),
        accuracy_at_3=_mean([rank >= 1 / 3 for rank in reciprocal_ranks]),
        mrr=_mean(reciprocal_ranks),
        auroc_far=auroc(confidence["in"], confidence["far"]),
        auroc_near=auroc(confidence["in"], confidence["near"]),
        in_abstained=_share(found["in"], Decision.ABSTAIN),
        in_unanswered=1 - _share(found["in"], Decision.ANSWER),
        near_abstained=_share(found["near"], Decision.ABSTAIN),
        near_unanswered=1 - _share(found["near"], Decision.ANSWER),
        far_abstained=_share(found["far"], Decision.ABSTAIN),
        far_unanswered=1 - _share(found["far"], Decision.ANSWER),
    )


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """The chance that a positive scores above a negative, ties counting half; NaN without either."""
    if not positives or not negatives:
        return _NOTHING
    above, below = np.asarray(positives)[:, None], np.asarray(negatives)[None, :]
    return float((above > below).mean() + (above == below).mean() / 2)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else _NOTHING


def _share(retrievals: Sequence[Retrieval], decision: Decision) -> float:
    return _mean([retrieval.decision is decision for retrieval in retrievals])
