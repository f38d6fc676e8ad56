"""How well the shipped encoder finds the right question, and turns away what no question answers; BM25 beside it.

In scope are the held-out probes of the knowledge base, out of scope the queries of `tests/data/scope.tsv`. Nothing was trained or calibrated on
either. The intervals draw the queries again, not the questions: they say how much hangs on the wording of the probes.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.core.bm25 import BM25Index
from benchmarks.core.bootstrap import SAMPLES, bootstrap_interval
from benchmarks.core.comparison import Aim, Row, data_of
from benchmarks.core.machine import encoder_label
from benchmarks.core.probes import accuracy_figures, first_questions, probes_of, reciprocal_rank, texts_of
from tutor.chat import Tutor
from tutor.config import ROOT, Settings
from tutor.evaluation import auroc, evaluate
from tutor.knowledge import KnowledgeBase
from tutor.labelled import Kind, LabelledQuery, load_labelled_queries
from tutor.question import LANGUAGES, Language
from tutor.retriever import Decision

SCOPE = ROOT / "tests" / "data" / "scope.tsv"
QUICK_QUESTIONS, QUICK_SAMPLES = 5, 100
BASELINE = "BM25 + jieba"
NO_WORSE = Aim("ratio", "≥", 1)


@dataclass(frozen=True)
class Outcome:
    """What a system did with a query. `decision` is None for a system that makes none."""

    row: LabelledQuery
    found: str
    reciprocal_rank: float
    confidence: float
    decision: Decision | None


def measure(quick: bool = False) -> dict[str, Any]:
    """Accuracy, AUROC and abstention by language with 95 % intervals, accuracy by section, and every probe that went wrong."""
    settings = Settings.from_environment()
    knowledge = KnowledgeBase.load(settings.knowledge)
    queries = probes_of(knowledge) + load_labelled_queries(SCOPE)
    if quick:  # the whole knowledge is searched, so that the figures mean the same
        kept = set(first_questions(knowledge, QUICK_QUESTIONS).questions)
        queries = [query for query in queries if query.kind != "in" or query.answers[0] in kept]
    with tempfile.TemporaryDirectory() as cache:
        tutor = Tutor.load(knowledge, dataclasses.replace(settings, cache=Path(cache)))
    ours, baseline = _ours(tutor, queries), _bm25(knowledge, queries)
    samples = QUICK_SAMPLES if quick else SAMPLES
    figures = {language: _figures(_of(ours, language), samples) for language in LANGUAGES}
    return {
        "rows": data_of(_rows(figures, {language: _figures(_of(baseline, language), samples) for language in LANGUAGES})),
        "encoder": encoder_label(settings.encoder),
        "queries": {kind: sum(query.kind == kind for query in queries) for kind in ("in", "near", "far")},
        "bootstrap_samples": samples,
        "evaluation": {language: dataclasses.asdict(item) for language, item in evaluate(tutor.retriever, knowledge, queries).items()},
        "sections": _sections(knowledge, ours, baseline),
        "wrong": _wrong(ours),
    }


def _ours(tutor: Tutor, queries: Sequence[LabelledQuery]) -> list[Outcome]:
    outcomes = []
    for query in queries:
        retrieval = tutor.retriever.retrieve(query.query, query.language, top_k=len(tutor.knowledge.questions))
        outcomes.append(_outcome(query, [hit.question_id for hit in retrieval.hits], retrieval.confidence, retrieval.decision))
    return outcomes


def _bm25(knowledge: KnowledgeBase, queries: Sequence[LabelledQuery]) -> list[Outcome]:
    """The baseline's confidence is its best score."""
    index = BM25Index(texts_of(knowledge))
    outcomes = []
    for query in queries:
        hits = index.rank(query.query)
        outcomes.append(_outcome(query, [hit.question_id for hit in hits], hits[0].score if hits else 0.0, None))
    return outcomes


def _outcome(query: LabelledQuery, ranked: list[str], confidence: float, decision: Decision | None) -> Outcome:
    rank = reciprocal_rank(ranked, query.answers[0]) if query.kind == "in" else float("nan")
    return Outcome(query, ranked[0] if ranked else "", rank, confidence, decision)


def _of(outcomes: Sequence[Outcome], language: Language) -> dict[Kind, list[Outcome]]:
    kinds: tuple[Kind, ...] = ("in", "near", "far")
    return {kind: [item for item in outcomes if (item.row.language, item.row.kind) == (language, kind)] for kind in kinds}


def _figures(outcomes: Mapping[Kind, Sequence[Outcome]], samples: int) -> dict[str, tuple[float, tuple[float, float]]]:
    """Name → value and interval, for one language."""
    ranks = np.array([item.reciprocal_rank for item in outcomes["in"]])
    figures = {
        name: (value, bootstrap_interval(lambda drawn, name=name: accuracy_figures(drawn)[name], ranks, samples=samples))
        for name, value in accuracy_figures(ranks).items()
    }
    confidence = {kind: [item.confidence for item in of_kind] for kind, of_kind in outcomes.items()}
    for kind in ("far", "near"):
        groups = confidence["in"], confidence[kind]
        interval = bootstrap_interval(lambda inside, outside: auroc(list(inside), list(outside)), *groups, samples=samples)
        figures[f"auroc_{kind}"] = auroc(*groups), interval
    for kind, of_kind in outcomes.items():
        for name, wanted in (("abstained", {Decision.ABSTAIN}), ("unanswered", {Decision.ABSTAIN, Decision.SUGGEST})):
            shares = [float(item.decision in wanted) for item in of_kind if item.decision is not None]
            if shares:
                figures[f"{kind}_{name}"] = float(np.mean(shares)), bootstrap_interval(np.mean, shares, samples=samples)
    return figures


def _rows(ours: Mapping[Language, Mapping[str, Any]], baseline: Mapping[Language, Mapping[str, Any]]) -> list[Row]:
    rows = []
    for language, figures in ours.items():
        for name, (value, interval) in figures.items():
            theirs = baseline[language].get(name, (None, None))[0]
            against, aim = (BASELINE, NO_WORSE) if theirs is not None else ("", None)
            rows.append(Row(f"{name}, {language}", value, "", theirs, against, aim, interval))
    return rows


def _sections(knowledge: KnowledgeBase, ours: Sequence[Outcome], baseline: Sequence[Outcome]) -> list[dict[str, Any]]:
    """accuracy@1 of each question's probes by language, the worst question first."""

    def accuracy(outcomes: Sequence[Outcome], name: str, language: Language) -> float:
        return float(np.mean([item.found == name for item in _of(outcomes, language)["in"] if item.row.answers[0] == name]))

    asked = {item.row.answers[0] for item in ours if item.row.kind == "in"}
    sections = [
        {
            "section": question.meta.section,
            "id": question.id,
            "probes": {language: len(question.meta.probes[language]) for language in LANGUAGES},
            "accuracy_at_1": {language: accuracy(ours, question.id, language) for language in LANGUAGES},
            "baseline": {language: accuracy(baseline, question.id, language) for language in LANGUAGES},
        }
        for question in knowledge.questions.values()
        if question.id in asked
    ]
    return sorted(sections, key=lambda section: sum(section["accuracy_at_1"].values()))


def _wrong(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The probes whose best hit is another question than theirs, with the rank of the right one."""
    return [
        {
            "language": item.row.language,
            "expected": item.row.answers[0],
            "found": item.found or None,
            "rank": round(1 / item.reciprocal_rank) if item.reciprocal_rank else None,
            "query": item.row.query,
        }
        for item in outcomes
        if item.row.kind == "in" and item.reciprocal_rank < 1
    ]
