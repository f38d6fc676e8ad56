"""Calibration: from cosine similarities to a confidence, and from a confidence to a decision, for one encoder.

Cosines mean different things to different encoders and in different languages. For each language one logistic regression (Platt,
"Probabilistic Outputs for Support Vector Machines", 1999) estimates whether a query lies in scope, another whether the best question is the
right one if it does. Their product is the confidence; thresholds separate ANSWER (sure or not), SUGGEST and ABSTAIN.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutor.encoder import Encoder, encoder_folder, fingerprint
from tutor.knowledge import KnowledgeBase
from tutor.labelled import LabelledQuery, load_labelled_queries
from tutor.question import LANGUAGES, Language
from tutor.ranking import Ranker, Ranking

QUERIES = Path(__file__).resolve().parent / "training" / "calibration.tsv"
KNOWLEDGE = Path(__file__).resolve().parent.parent / "knowledge"  # what the labelled queries are about

# What the thresholds aim at, as shares of the labelled queries. They are stricter than what is promised, so that other queries keep it.
MAX_IN_ABSTAINED = 0.03
MIN_FAR_UNANSWERED = 0.97
MIN_NEAR_UNANSWERED = 0.85
MIN_SURE_RIGHT = 0.97
LEAST_TO_ANSWER = 0.5  # confidence below which the best question is more likely wrong than right

_OUT_OF_SCOPE = 1 / 3  # share of the queries that are taken to lie beyond the questions
_FOLDS = 5
_FEWEST = 5  # labelled queries of one kind and language
_SCOPE = ("score", "lead", "over_neighbor", "over_everyday", "words")
_FROM_OUTSIDE = _SCOPE[2:]  # what a knowledge base without outside topics does not give
_RIGHT = ("score", "lead")

_log = logging.getLogger(__name__)


class CalibrationError(ValueError):
    """A calibration that cannot be read or made; the message says why."""


@dataclass(frozen=True)
class Logistic:
    """probability = sigmoid(intercept + sum of weight * feature); features as in `features`."""

    intercept: float
    weights: Mapping[str, float]

    def __call__(self, values: Mapping[str, float]) -> float:
        logit = self.intercept + sum(weight * values[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True)
class Judgement:
    """The probability that a query is in scope, and that the first question answers it (0 … 1)."""

    scope: float
    confidence: float


@dataclass(frozen=True)
class Scale:
    """One language. `scope` and `right` are the two regressions, `usual` stands in for features that a knowledge base does not give.

    Out of scope below `in_scope`; else the best question is answered from a confidence of `answer`, and called sure from `sure`.
    """

    scope: Logistic
    right: Logistic
    usual: Mapping[str, float]
    in_scope: float
    answer: float
    sure: float

    def judge(self, ranking: Ranking) -> Judgement:
        """0 for a ranking without hits."""
        if not ranking.hits:
            return Judgement(0.0, 0.0)
        values = features(ranking, self.usual)
        scope = self.scope(values)
        return Judgement(scope, scope * self.right(values))

    @classmethod
    def from_json(cls, data: Any) -> Scale:
        """Raises KeyError, TypeError or ValueError for anything but what `asdict` made."""
        scope, right = (
            Logistic(float(data[name]["intercept"]), {key: float(data[name]["weights"][key]) for key in keys})
            for name, keys in (("scope", _SCOPE), ("right", _RIGHT))
        )
        usual = {name: float(data["usual"][name]) for name in _FROM_OUTSIDE}
        scale = cls(scope, right, usual, *(float(data[name]) for name in ("in_scope", "answer", "sure")))
        parts = (scope.intercept, right.intercept, *scope.weights.values(), *right.weights.values(), *usual.values())
        if not all(map(math.isfinite, (*parts, scale.in_scope, scale.answer, scale.sure))):
            raise ValueError("a parameter is not finite")
        return scale


@dataclass(frozen=True)
class Calibration:
    """The scales of an encoder. `encoder` is its fingerprint, `made_from` counts the labelled queries by language and kind."""

    encoder: str
    scales: Mapping[Language, Scale]
    made_from: Mapping[str, int]

    def save(self, path: Path) -> None:
        """Writes JSON, moved into place when it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}-{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Reads what `save` wrote. Raises CalibrationError, naming the file."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            scales = {language: Scale.from_json(data["scales"][language]) for language in LANGUAGES}
            return cls(str(data["encoder"]), scales, dict(data["made_from"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path}: not a calibration: {type(error).__name__}: {error}") from error


def calibration_for(path_or_hub_id: str | Path, encoder: Encoder, cache_dir: Path | None = None) -> Calibration:
    """The calibration of an encoder: beside its weights, or from the cache, or made now on the shipped questions and kept in the cache.

    One with another fingerprint belongs to other weights and is not used.
    """
    mark = fingerprint(path_or_hub_id)
    folder = encoder_folder(path_or_hub_id)
    cached = cache_dir / f"calibration-{hashlib.sha256(mark.encode()).hexdigest()[:24]}.json" if cache_dir else None
    for path in (folder / "calibration.json" if folder else None, cached):
        if path is None or not path.is_file():
            continue
        try:
            calibration = Calibration.load(path)
        except CalibrationError as error:
            _log.warning("%s", error)
            continue
        if calibration.encoder == mark:
            return calibration
        _log.warning("%s belongs to other weights (%s, not %s)", path, calibration.encoder, mark)
    _log.warning("the encoder %s has no calibration of its own; calibrating it on %s", path_or_hub_id, QUERIES.name)
    calibration = calibrate(KnowledgeBase.load(KNOWLEDGE), encoder, load_labelled_queries(QUERIES), mark, cache_dir)
    if cached is not None:
        try:
            calibration.save(cached)
        except OSError as error:
            _log.warning("the calibration cannot be kept in %s: %s", cached, error)
    return calibration


def calibrate(
    knowledge: KnowledgeBase, encoder: Encoder, rows: Sequence[LabelledQuery], encoder_fingerprint: str = "", cache_dir: Path | None = None
) -> Calibration:
    """Fits a scale to each language. Rows whose questions the knowledge base lacks are left out. Raises CalibrationError if few remain."""
    ranker = Ranker.build(knowledge, encoder, encoder_fingerprint, cache_dir)
    usable = [row for row in rows if row.kind != "in" or row.question_ids(knowledge)]
    made_from = Counter(f"{row.language} {row.kind}" for row in usable)
    scales: dict[Language, Scale] = {}
    for language in LANGUAGES:
        short = [kind for kind in ("in", "near", "far") if made_from[f"{language} {kind}"] < _FEWEST]
        if short:
            raise CalibrationError(
                f"fewer than {_FEWEST} usable queries of kind {', '.join(short)} in {language} to calibrate the encoder on"
            )
        scales[language] = _fit([row for row in usable if row.language == language], ranker, knowledge)
    return Calibration(encoder_fingerprint, scales, dict(sorted(made_from.items())))


def features(ranking: Ranking, usual: Mapping[str, float]) -> dict[str, float]:
    """The best score; its lead over the second question (0 where there is none), a neighbouring topic, everyday matters; the words' evidence."""
    best = ranking.hits[0].score
    return {
        "score": best,
        "lead": best - (ranking.hits[1].score if len(ranking.hits) > 1 else 0.0),
        "over_neighbor": best - ranking.neighbor.score if ranking.neighbor else usual["over_neighbor"],
        "over_everyday": best - ranking.everyday.score if ranking.everyday else usual["over_everyday"],
        "words": ranking.words if ranking.words is not None else usual["words"],
    }


def _fit(rows: Sequence[LabelledQuery], ranker: Ranker, knowledge: KnowledgeBase) -> Scale:
    ranked = [(row, ranking) for row in rows if (ranking := ranker.rank(row.query)).hits]
    kinds = np.array([row.kind for row, _ in ranked])
    inside = kinds == "in"
    right = np.array([ranking.hits[0].question_id in row.question_ids(knowledge) for row, ranking in ranked])
    values = [features(ranking, dict.fromkeys(_SCOPE, 0.0)) for _, ranking in ranked]
    table = {name: np.array([item[name] for item in values]) for name in _SCOPE}
    outside_weight = inside.sum() / max(1, (~inside).sum()) * _OUT_OF_SCOPE / (1 - _OUT_OF_SCOPE)
    scope, scope_unseen = _regression({name: table[name] for name in _SCOPE}, inside, np.where(inside, 1.0, outside_weight))
    correct, right_unseen = _regression({name: table[name] for name in _RIGHT}, right, inside.astype(float))
    confidence = scope_unseen * right_unseen
    # A query of which the encoder knows no token has neither scope nor confidence.
    unknown = Counter(row.kind for row in rows) - Counter(kinds.tolist())
    scopes, confidences = (
        {kind: np.concatenate([of_known[kinds == kind], np.zeros(unknown[kind])]) for kind in ("in", "near", "far")}
        for of_known in (scope_unseen, confidence)
    )
    answer = max(LEAST_TO_ANSWER, _above(confidences["near"], MIN_NEAR_UNANSWERED), _above(confidences["far"], MIN_FAR_UNANSWERED))
    return Scale(
        scope=scope,
        right=correct,
        usual={name: float(np.median(table[name][inside])) for name in _FROM_OUTSIDE},
        in_scope=_least_scope(scopes),
        answer=answer,
        sure=max(answer, _least_sure(confidence, right)),
    )


def _regression(columns: Mapping[str, np.ndarray], labels: np.ndarray, weights: np.ndarray) -> tuple[Logistic, np.ndarray]:
    """The regression on these features, and for each row the probability from fits that have not seen it: thresholds are set on those."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weighted = labels[weights > 0]
    if weighted.all() or not weighted.any():  # nothing to tell apart
        chance = (weighted.sum() + 0.5) / (len(weighted) + 1)
        return Logistic(float(np.log(chance / (1 - chance))), dict.fromkeys(columns, 0.0)), np.full(len(labels), chance)
    table = np.column_stack(list(columns.values()))
    model = make_pipeline(StandardScaler(), LogisticRegression())
    weighting = {"logisticregression__sample_weight": weights}
    folds = min(_FOLDS, int(np.bincount(labels.astype(int)).min()))
    unseen = cross_val_predict(model, table, labels, cv=folds, method="predict_proba", params=weighting)[:, 1] if folds > 1 else None
    scaler, fitted = model.fit(table, labels, **weighting).named_steps.values()
    slopes = fitted.coef_[0] / scaler.scale_
    logistic = Logistic(float(fitted.intercept_[0] - slopes @ scaler.mean_), dict(zip(columns, map(float, slopes), strict=True)))
    return logistic, model.predict_proba(table)[:, 1] if unseen is None else unseen


def _above(confidences: np.ndarray, share: float) -> float:
    """The least threshold that this share of the confidences stays below."""
    return math.nextafter(float(np.quantile(confidences, share, method="higher")), 2.0)


def _least_scope(scopes: Mapping[str, np.ndarray]) -> float:
    """The threshold with the least balanced error between in and out of scope, as long as few in scope fall below it."""
    outside = np.concatenate([scopes["near"], scopes["far"]])
    candidates = np.unique(np.concatenate([scopes["in"], outside]))
    allowed = float(np.quantile(scopes["in"], MAX_IN_ABSTAINED, method="lower"))
    errors = [float((scopes["in"] < candidate).mean() + (outside >= candidate).mean()) for candidate in candidates]
    return min(float(candidates[int(np.argmin(errors))]), allowed)


def _least_sure(confidence: np.ndarray, right: np.ndarray) -> float:
    """The least confidence such that of the queries at or above it enough are right; above all if there is none."""
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(precision >= MIN_SURE_RIGHT)
    return float(confidence[order[enough[-1]]]) if enough.size else 1.0
