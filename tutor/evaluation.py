"""Evaluation: how well labelled queries find their questions, how well the rest is turned away, and whether the confidence can be believed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tutor.knowledge import KnowledgeBase
from tutor.labelled import KINDS, Kind, LabelledQuery
from tutor.question import LANGUAGES, Language
from tutor.retriever import Decision, Hit, Retriever

SAMPLES = 2000  # of a bootstrap
_NOTHING = float("nan")


@dataclass(frozen=True)
class Outcome:
    """What was found for a labelled query. `rank` is that of the first right question, 0 if none was found."""

    row: LabelledQuery
    found: str
    rank: int
    confidence: float
    decision: Decision
    sure: bool

    @property
    def right(self) -> bool:
        return self.rank == 1


@dataclass(frozen=True)
class Bin:
    """Queries whose confidence lies in low … high: how many, their mean confidence, and the share whose best question is right."""

    low: float
    high: float
    queries: int
    confidence: float
    right: float


def outcomes_of(retriever: Retriever, knowledge: KnowledgeBase, rows: Sequence[LabelledQuery]) -> list[Outcome]:
    """The outcome of every row. A query in scope whose question is missing from the knowledge base counts as not found."""
    outcomes = []
    for row in rows:
        retrieval = retriever.retrieve(row.query, row.language, top_k=len(knowledge.questions))
        rank = rank_of(retrieval.hits, row.question_ids(knowledge))
        found = retrieval.hits[0].question_id if retrieval.hits else ""
        outcomes.append(Outcome(row, found, rank, retrieval.confidence, retrieval.decision, retrieval.sure))
    return outcomes


def rank_of(hits: Sequence[Hit], right: Collection[str]) -> int:
    """The rank of the first right question, 0 if there is none."""
    return next((rank for rank, hit in enumerate(hits, start=1) if hit.question_id in right), 0)


def evaluate(outcomes: Sequence[Outcome]) -> dict[Language, dict[str, float]]:
    """Figures for each language that has outcomes, as shares in 0 … 1; NaN where no query of the kind was asked.

    accuracy_at_1, accuracy_at_3, mrr: of the queries in scope. auroc_far, auroc_near: the chance that a query in scope has a higher
    confidence than one out of scope (ties count half). <kind>_abstained, <kind>_unanswered (not answered outright): of the queries of that
    kind. sure: of the queries in scope, those answered as sure; sure_right: of all answers shown as sure, those that are right.
    """
    return {language: _figures(_by_kind(of_language)) for language in LANGUAGES if (of_language := _of(outcomes, language))}


def intervals(outcomes: Sequence[Outcome], samples: int = SAMPLES) -> dict[Language, dict[str, tuple[float, float]]]:
    """The 95 % bootstrap interval of each figure of `evaluate`: the queries of each kind are drawn again, apart from the other kinds."""
    found: dict[Language, dict[str, tuple[float, float]]] = {}
    for language in LANGUAGES:
        groups = _by_kind(_of(outcomes, language))
        if not any(groups.values()):
            continue
        generator = np.random.default_rng(0)
        drawn = [_figures({kind: _redrawn(group, generator) for kind, group in groups.items()}) for _ in range(samples)]
        found[language] = {name: _interval([figures[name] for figures in drawn]) for name in drawn[0]}
    return found


def by_section(
    outcomes: Sequence[Outcome], knowledge: KnowledgeBase, language: Language, samples: int = SAMPLES
) -> dict[str, tuple[float, tuple[float, float], int]]:
    """accuracy@1 with its 95 % interval and the number of queries, for each question that a query in scope names first."""
    groups: dict[str, list[float]] = {}
    ids = {name: question.id for question in knowledge.questions.values() for name in (question.id, question.meta.section) if name}
    for outcome in _of(outcomes, language):
        if outcome.row.kind == "in":
            groups.setdefault(ids.get(outcome.row.answers[0], outcome.row.answers[0]), []).append(float(outcome.right))
    order = {name: position for position, name in enumerate(knowledge.questions)}
    return {
        name: (float(np.mean(values)), bootstrap_interval(np.mean, values, samples=samples), len(values))
        for name, values in sorted(groups.items(), key=lambda item: order.get(item[0], len(order)))
    }


def reliability(outcomes: Sequence[Outcome], bins: int = 10) -> list[Bin]:
    """The reliability diagram: of all queries, in scope or not, by confidence. Believable where `right` is near `confidence`."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.digitize([outcome.confidence for outcome in outcomes], edges) - 1, 0, bins - 1)
    diagram = []
    for place in range(bins):
        inside = [outcome for outcome, where in zip(outcomes, places, strict=True) if where == place]
        confidence, right = _mean([outcome.confidence for outcome in inside]), _mean([outcome.right for outcome in inside])
        diagram.append(Bin(float(edges[place]), float(edges[place + 1]), len(inside), confidence, right))
    return diagram


def calibration_error(diagram: Sequence[Bin]) -> float:
    """The expected calibration error: the mean distance of confidence and share right over the bins, weighted by their queries.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), https://arxiv.org/abs/1706.04599.
    """
    queries = sum(item.queries for item in diagram)
    return sum(item.queries * abs(item.confidence - item.right) for item in diagram if item.queries) / queries if queries else _NOTHING


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """The chance that a positive scores above a negative, ties counting half; NaN without either."""
    if not len(positives) or not len(negatives):
        return _NOTHING
    above, below = np.asarray(positives)[:, None], np.asarray(negatives)[None, :]
    return float((above > below).mean() + (above == below).mean() / 2)


def bootstrap_interval(
    statistic: Callable[..., float], *groups: Sequence[float] | np.ndarray, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of `statistic(*groups)`: each group's values are drawn again with replacement, apart from the others.

    NaN without a value to draw from. Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979).
    """
    arrays = [np.asarray(group, dtype=float) for group in groups]
    if any(len(array) == 0 for array in arrays):
        return _NOTHING, _NOTHING
    generator = np.random.default_rng(seed)
    return _interval([statistic(*(array[generator.integers(0, len(array), len(array))] for array in arrays)) for _ in range(samples)])


def _interval(drawn: Sequence[float]) -> tuple[float, float]:
    values = np.asarray(drawn)
    values = values[~np.isnan(values)]  # a drawn sample may hold no answer shown as sure
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (_NOTHING, _NOTHING)
    return float(low), float(high)


def _of(outcomes: Sequence[Outcome], language: Language) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.row.language == language]


def _by_kind(outcomes: Sequence[Outcome]) -> dict[Kind, list[Outcome]]:
    return {kind: [outcome for outcome in outcomes if outcome.row.kind == kind] for kind in KINDS}


def _redrawn(group: Sequence[Outcome], generator: np.random.Generator) -> list[Outcome]:
    return [group[position] for position in generator.integers(0, len(group), len(group))] if group else []


def _figures(groups: Mapping[Kind, Sequence[Outcome]]) -> dict[str, float]:
    inside = groups["in"]
    confidence = {kind: [outcome.confidence for outcome in group] for kind, group in groups.items()}
    figures = {
        "accuracy_at_1": _mean([outcome.rank == 1 for outcome in inside]),
        "accuracy_at_3": _mean([1 <= outcome.rank <= 3 for outcome in inside]),
        "mrr": _mean([1 / outcome.rank if outcome.rank else 0.0 for outcome in inside]),
        "auroc_far": auroc(confidence["in"], confidence["far"]),
        "auroc_near": auroc(confidence["in"], confidence["near"]),
    }
    for kind, group in groups.items():
        figures[f"{kind}_abstained"] = _mean([outcome.decision is Decision.ABSTAIN for outcome in group])
        figures[f"{kind}_unanswered"] = _mean([outcome.decision is not Decision.ANSWER for outcome in group])
    figures["sure"] = _mean([outcome.sure for outcome in inside])
    figures["sure_right"] = _mean([outcome.right for group in groups.values() for outcome in group if outcome.sure])
    return figures


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else _NOTHING
