"""How well the tutor finds the right question, turns away what no question answers, and knows how sure it is; BM25 beside it.

Two sets of queries, reported apart. The strangers (`tests/data/strangers.tsv`) were written blind, after the manner of questions asked
elsewhere and without sight of what the entries are indexed under: they stand for visitors, and the aims are set for them. The probes were
written together with the entries that they ask for, and are joined by what `tests/data/scope.tsv` asks beyond them. Nothing was trained or
calibrated on either. The intervals draw the queries again, not the questions: they say how much hangs on the wording.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.core.bm25 import BM25Index
from benchmarks.core.comparison import Aim, Interval, Row, data_of
from benchmarks.core.machine import encoder_label
from benchmarks.core.probes import probes_of, texts_of
from benchmarks.core.reliability import reliability_svg
from tutor.chat import Tutor
from tutor.config import ROOT, Settings
from tutor.evaluation import SAMPLES, Bin, Outcome, by_section, calibration_error, evaluate, intervals, outcomes_of, rank_of, reliability
from tutor.knowledge import KnowledgeBase
from tutor.labelled import KINDS, LabelledQuery, load_labelled_queries
from tutor.question import LANGUAGES, Language
from tutor.retriever import Decision

DATA = ROOT / "tests" / "data"
STRANGERS, SCOPE = DATA / "strangers.tsv", DATA / "scope.tsv"
QUICK_SAMPLES = 50
BASELINE = "BM25 + jieba"
COMPARED = ("accuracy_at_1", "accuracy_at_3", "mrr", "auroc_far", "auroc_near")  # figures that BM25 has too: it decides nothing

NO_WORSE = Aim("ratio", "≥", 1)  # of the compared figures that have no aim of their own
AIMS = {
    "accuracy_at_1": Aim("result", "≥", 0.90),
    "accuracy_at_3": Aim("result", "≥", 0.97),
    "auroc_far": Aim("result", "≥", 0.995),
    "auroc_near": Aim("result", "≥", 0.97),
    "in_abstained": Aim("result", "≤", 0.05),
    "far_unanswered": Aim("result", "≥", 0.95),
    "near_unanswered": Aim("result", "≥", 0.75),
    "sure_right": Aim("result", "≥", 0.95),
}


@dataclass(frozen=True)
class QuerySet:
    """The outcomes of one set of queries, ours and BM25's; `aims` are those of the set, by figure."""

    name: str
    ours: Sequence[Outcome]
    bm25: Sequence[Outcome]
    aims: Mapping[str, Aim]


def measure(quick: bool = False) -> dict[str, Any]:
    """Every figure of `tutor.evaluation` by set and language with its 95 % interval; sections, reliability and every wrong query by set."""
    settings = Settings.from_environment()
    knowledge = KnowledgeBase.load(settings.knowledge)
    with tempfile.TemporaryDirectory() as cache:
        tutor = Tutor.load(knowledge, dataclasses.replace(settings, cache=Path(cache)))
    bm25 = BM25Index(texts_of(knowledge))
    samples = QUICK_SAMPLES if quick else SAMPLES
    strangers, probes = (
        QuerySet(name, outcomes_of(tutor.retriever, knowledge, rows), _bm25_outcomes(bm25, knowledge, rows), aims)
        for name, rows, aims in (
            ("strangers", load_labelled_queries(STRANGERS), AIMS),
            ("probes", probes_of(knowledge) + load_labelled_queries(SCOPE), {}),
        )
    )
    return {
        "rows": data_of([row for queries in (strangers, probes) for row in _rows(queries, samples)]),
        "files": {"reliability.svg": reliability_svg(_diagrams(strangers))},
        "encoder": encoder_label(settings.encoder),
        "bootstrap_samples": samples,
        "sets": {queries.name: _details(queries, knowledge, samples) for queries in (strangers, probes)},
    }


def _bm25_outcomes(index: BM25Index, knowledge: KnowledgeBase, rows: Sequence[LabelledQuery]) -> list[Outcome]:
    """BM25's best score serves as its confidence (no probability). It answers everything: its decisions say nothing."""
    outcomes = []
    for row in rows:
        hits = index.rank(row.query)
        rank = rank_of(hits, row.question_ids(knowledge))
        found, score = (hits[0].question_id, hits[0].score) if hits else ("", 0.0)
        outcomes.append(Outcome(row, found, rank, score, Decision.ANSWER, sure=False))
    return outcomes


def _rows(queries: QuerySet, samples: int) -> list[Row]:
    """One row for each language and figure, the expected calibration error last."""
    figures, spread, theirs = evaluate(queries.ours), intervals(queries.ours, samples), evaluate(queries.bm25)
    diagrams = _diagrams(queries)
    rows = []
    for language, by_name in figures.items():
        about = f"{queries.name}, {language}"
        rows += [
            _row(
                f"{about}: {name}",
                value,
                spread[language][name],
                theirs[language][name] if name in COMPARED else None,
                queries.aims.get(name),
            )
            for name, value in by_name.items()
        ]
        rows.append(Row(f"{about}: calibration error", calibration_error(diagrams[language])))
    return rows


def _row(name: str, value: float, interval: Interval, baseline: float | None, aim: Aim | None) -> Row:
    if baseline is None:
        return Row(name, value, aim=aim, interval=interval)
    return Row(name, value, "", baseline, BASELINE, aim or NO_WORSE, interval)


def _diagrams(queries: QuerySet) -> dict[Language, list[Bin]]:
    """The reliability diagram of each language."""
    return {language: reliability([item for item in queries.ours if item.row.language == language]) for language in LANGUAGES}


def _details(queries: QuerySet, knowledge: KnowledgeBase, samples: int) -> dict[str, Any]:
    rows = [outcome.row for outcome in queries.ours]
    return {
        "queries": {
            language: {kind: sum((row.language, row.kind) == (language, kind) for row in rows) for kind in KINDS} for language in LANGUAGES
        },
        "reliability": {language: [dataclasses.asdict(item) for item in bins] for language, bins in _diagrams(queries).items()},
        "sections": {language: _sections(queries, knowledge, language, samples) for language in LANGUAGES},
        "wrong": _wrong(queries.ours),
    }


def _sections(queries: QuerySet, knowledge: KnowledgeBase, language: Language, samples: int) -> list[dict[str, Any]]:
    """accuracy@1 of each question that is asked for, with its 95 % interval and BM25's accuracy@1, the worst question first."""
    theirs = by_section(queries.bm25, knowledge, language, samples=1)  # its intervals are not shown
    sections = [
        {
            "id": name,
            "section": knowledge.questions[name].meta.section if name in knowledge.questions else None,
            "queries": count,
            "accuracy_at_1": accuracy,
            "interval": interval,
            "baseline": theirs[name][0],
        }
        for name, (accuracy, interval, count) in by_section(queries.ours, knowledge, language, samples).items()
    ]
    return sorted(sections, key=lambda section: section["accuracy_at_1"])


def _wrong(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The queries in scope whose best hit is not a right question, with the rank of the first right one and the confidence in the best."""
    return [
        {
            "language": item.row.language,
            "expected": ", ".join(item.row.answers),
            "found": item.found or None,
            "rank": item.rank or None,
            "confidence": item.confidence,
            "decision": item.decision.value,
            "query": item.row.query,
        }
        for item in outcomes
        if item.row.kind == "in" and not item.right
    ]
